#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
House rules that a compiler does not hold: the licence line, sizes, banned functions, nothing left for later,
nothing that points out of the tree.
"""
import re

import tree

FUNCTION_LINES, FILE_LINES, COLUMNS, PARAMETERS, NESTING = 80, 800, 132, 6, 4
BANNED = ('strcpy', 'strncpy', 'strcat', 'strncat', 'sprintf', 'vsprintf', 'strtok', 'gets', 'atoi', 'atol', 'alloca',
          'system', 'popen', 'tmpnam', 'mktemp')
DAEMONS = ('gatewayd/', 'routerd/', 'workerd/', 'billingd/', 'stored/', 'common/')
# --help and --check-config of the skeleton speak to a terminal before there is a log
SPEAKS = ('common/daemon/',)
LATER = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b')
ME = 'tests/lint/style.py'
SPDX = 'SPDX-License-Identifier: Apache-2.0'


def spdx(path, lines):
    first = lines[1] if lines[0].startswith('#!') and len(lines) > 1 else lines[0]
    if SPDX not in first:
        tree.fault(path, 1, 'no SPDX line at the top')


def functions(path, lines):
    """Definitions have their name in column one and braces of their own lines."""
    name, start = None, 0
    for i, l in enumerate(lines):
        if re.match(r'[A-Za-z_]\w*\(', l) and not l.rstrip().endswith(';'):
            name, start = l.split('(')[0], i
        elif l.startswith('}') and name is not None:
            if i - start + 1 > FUNCTION_LINES:
                tree.fault(path, start + 1, f'{name} has {i - start + 1} lines, at most {FUNCTION_LINES}')
            parameters(path, start, name, lines)
            name = None
        elif re.match(r'\S.*\)\s*\{$', l) and not re.match(r'(struct|enum|union|typedef|extern|#|\w+ \w+\[)', l):
            tree.fault(path, i + 1, 'the return type and the brace of a function stand on lines of their own')


def parameters(path, start, name, lines):
    text = ' '.join(lines[start:start + 8])
    depth, n = 0, 1
    for c in text[text.index('('):]:
        depth += (c == '(') - (c == ')')
        n += c == ',' and depth == 1
        if depth == 0:
            break
    n -= '...' in text[text.index('('):text.index('(') + 400].split('{')[0]
    if n > PARAMETERS:
        tree.fault(path, start + 1, f'{name} has {n} parameters, at most {PARAMETERS}')


def c_file(path, text):
    code = tree.code_only(text).split('\n')
    functions(path, code)
    for i, l in enumerate(code):
        for m in re.finditer(r'(?<![\w.>])(\w+)\(', l):
            word = m.group(1)
            if word in BANNED:
                tree.fault(path, i + 1, f'{word}() is banned')
            elif word in ('printf', 'puts', 'putchar') and path.startswith(DAEMONS) and not path.startswith(SPEAKS):
                tree.fault(path, i + 1, f'{word}() in a daemon: use the log')
            elif word == 'exit' and not path.startswith(('common/daemon/', 'tests/', 'bench/')):
                tree.fault(path, i + 1, 'exit() outside common/daemon')
        if re.match(r'\t{%d,}(if|for|while|switch|do)\b' % (NESTING + 1), l):
            tree.fault(path, i + 1, f'nested deeper than {NESTING}')
    for i, l in enumerate(text.split('\n')):
        if len(l.expandtabs(8)) > COLUMNS:
            tree.fault(path, i + 1, f'{len(l.expandtabs(8))} columns, at most {COLUMNS}')
        if l.rstrip() != l:
            tree.fault(path, i + 1, 'white space at the end of the line')


count = 0
for path in tree.files():
    text = tree.read(path)
    lines = text.split('\n')
    if path.endswith(('.c', '.h', '.def', '.py', '.sh', '.am', '.ac', '.sql', '.awk', '.mjs', '.js')) or \
            lines[0].startswith('#!'):
        count += 1
        spdx(path, lines)
        if len(lines) > FILE_LINES:
            tree.fault(path, 0, f'{len(lines)} lines, at most {FILE_LINES}')
    if path.endswith(('.c', '.h')):
        c_file(path, text)
    if path == ME or path.endswith(('.gguf', '.db', '.pem', '.png')):
        continue
    for i, l in enumerate(lines):
        if LATER.search(l):
            tree.fault(path, i + 1, 'something is left for later')
tree.finish('style', count)
