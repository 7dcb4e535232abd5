#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The man pages: clean mdoc, current with the tables, cross references that lead somewhere, every
option that a program's --help names, and a page for every program and file format.
"""
import os
import re
import shutil
import subprocess

import tree

BUILD = os.environ.get('top_builddir') or tree.TOP
PROGRAMS = {'gatewayd': 8, 'routerd': 8, 'workerd': 8, 'billingd': 8, 'stored': 8, 'keyctl': 1}
OURS = {'tokenfactory.conf(5)', 'tokenfactory(7)', 'tokenfactory-errors(7)', 'tokenfactory-fields(7)'}
OURS |= {f'{p}({s})' for p, s in PROGRAMS.items()}


def run(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, text=True, check=False)


pages = {os.path.basename(p): p for p in tree.files() if re.match(r'man/[\w.-]+\.[1-8]$', p)}
for want in OURS:
    if re.sub(r'\((\d)\)', r'.\1', want) not in pages:
        tree.fault('man', 0, f'there is no {want}')

tables = run('python3', os.path.join(tree.TOP, 'man', 'tables.py'))
if tables.returncode != 0:
    tree.fault('man', 0, tables.stdout.strip())

for name, path in pages.items():
    text = tree.read(path)
    for m in re.finditer(r'^\.Xr (\S+) (\d)', text, re.M):
        ref = f'{m.group(1)}({m.group(2)})'
        if f'{m.group(1)}.{m.group(2)}' not in pages and ref != 'bash(1)':
            tree.fault(path, text.count('\n', 0, m.start()) + 1, f'{ref} is no page of ours')
    if '.\\" table: ' in text and text.count('.\\" table: ') != text.count('.\\" end of table'):
        tree.fault(path, 0, 'a table does not end')
    if shutil.which('mandoc'):
        lint = run('mandoc', '-Tlint', '-W', 'warning', os.path.join(tree.TOP, path))
        for line in lint.stdout.splitlines():
            tree.fault(path, 0, line)

for program, section in PROGRAMS.items():
    binary = os.path.join(BUILD, program, program)
    page = tree.read(f'man/{program}.{section}')
    if not os.path.exists(binary):
        continue
    text = run(binary, '--help')
    if text.returncode != 0:
        tree.fault(program, 0, f'--help ends with status {text.returncode}')
    for option in sorted(set(re.findall(r'(?<![\w-])--([a-z][a-z-]+)', text.stdout))):
        if not re.search(r'Fl -%s\b' % re.escape(option), page):
            tree.fault(f'man/{program}.{section}', 0, f'--{option} is in --help and not here')
tree.finish('man', len(pages))
