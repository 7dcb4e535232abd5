# SPDX-License-Identifier: Apache-2.0
"""What the lint scripts share: the project's files, and X-macro tables as Python values."""
import ast
import os
import re
import sys

TOP = os.environ.get('top_srcdir') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
PARTS = ('.ci', 'bench', 'billingd', 'common', 'console', 'gatewayd', 'keyctl', 'man', 'model', 'packaging', 'routerd',
         'sql', 'stored', 'tests', 'workerd')
SINGLE = ('Makefile.am', 'configure.ac', 'quickstart', 'runtests', 'README.md')
SKIP = {'corpus', 'node_modules', '__pycache__', '.deps', 'golden', 'vectors', 'recordings', 'media'}
# load tools that link nothing of ours and keep the density they came with
ALONE = {'bench/mockup.c', 'bench/sseload.c'}
faults = []


def fault(path, line, text):
    faults.append(f'{path}:{line}: {text}' if line else f'{path}: {text}')


def finish(what, count):
    for f in faults:
        print(f)
    print(f'{what}: {count} looked at, {len(faults)} faults')
    sys.exit(1 if faults or count == 0 else 0)


def files(*suffixes):
    """Paths below TOP with one of the suffixes ('' for all), sorted; the tree as shipped, no build output."""
    out = [s for s in SINGLE if os.path.isfile(os.path.join(TOP, s)) and (not suffixes or s.endswith(suffixes))]
    for part in PARTS:
        for where, dirs, names in os.walk(os.path.join(TOP, part)):
            dirs[:] = sorted(d for d in dirs if d not in SKIP)
            for n in sorted(names):
                if not suffixes or n.endswith(suffixes):
                    out.append(os.path.relpath(os.path.join(where, n), TOP))
    out = [f for f in out if f not in ALONE]
    return out


def read(path):
    with open(os.path.join(TOP, path), encoding='utf-8', errors='replace') as f:
        return f.read()


def code_only(text):
    """C text with comments, strings and character constants blanked; lines stay where they are."""
    def blank(m):
        return re.sub(r'[^\n]', ' ', m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text, flags=re.S)


def table(path, *macros):
    """Rows of a .def: (macro, [arguments], line). Strings are decoded and joined, the rest stays text."""
    raw = read(path)
    text = re.sub(r'/\*.*?\*/', lambda m: re.sub(r'[^\n]', ' ', m.group(0)), raw, flags=re.S)
    rows = []
    for m in re.finditer(r'^(%s)\(' % '|'.join(macros), text, flags=re.M):
        args, word, depth, i = [], '', 1, m.end()
        while depth:
            s = re.compile(r'"(?:\\.|[^"\\])*"').match(text, i)
            if s:
                word, i = word + s.group(0), s.end()
                continue
            c = text[i]
            depth += (c == '(') - (c == ')')
            if depth == 0 or (c == ',' and depth == 1):
                args.append(word.strip())
                word = ''
            else:
                word += c
            i += 1
        rows.append((m.group(1), [unquote(a) for a in args], text.count('\n', 0, m.start()) + 1))
    return rows


def unquote(a):
    if not a.startswith('"'):
        return a
    return ''.join(ast.literal_eval(s) for s in re.findall(r'"(?:\\.|[^"\\])*"', a))
