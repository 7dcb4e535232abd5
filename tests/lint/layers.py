#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The layers, proved by the include lines: an arrow may only point left.

    common/base <- common/{event,conf,json,db,spool} <- common/{dialect,wire,http,ctl} <- common/daemon <- the daemons
    keyctl stands on ctl, and only billingd and stored have a database

and each foreign library is included where it belongs and nowhere else.
"""
import os
import re

import tree

RANK = {'common/base': 0, 'common/event': 1, 'common/conf': 1, 'common/json': 1, 'common/db': 1, 'common/spool': 1, 'common/dialect': 2, 'common/wire': 2,
        'common/http': 2, 'common/ctl': 2, 'common/daemon': 3, 'gatewayd': 4, 'routerd': 4, 'workerd': 4, 'billingd': 4,
        'stored': 4, 'keyctl': 4, 'sql': 0}
# what a module of the same rank may still take: nothing, but for these
BESIDE = set()
# folders that may include a header of the pattern
LIBRARIES = [
    (r'zmq.*\.h', {'common/event'}),
    (r'event2/(event|event_struct|event_compat|thread|util)\.h', {'common/event', 'common/http'}),
    (r'event2/.*', {'common/http', 'common/event'}),
    (r'sqlite3.*\.h', {'common/db', 'billingd', 'stored'}),
    (r'json-c/.*|json\.h', {'common/json'}),
    (r'ini\.h', {'common/conf'}),
    (r'openssl/.*', {'common/base', 'common/http'}),
    (r'cmocka\.h', {'tests'}),
]
# headers that another folder may not see although its rank would allow it
PRIVATE = re.compile(r'(_int|inside|_impl|-impl)\.h$')


def folder(path):
    parts = path.split('/')
    return '/'.join(parts[:2]) if parts[0] == 'common' else parts[0]


def check_own(path, line, name):
    me, it = folder(path), folder(name)
    if me == 'tests':
        return
    if it not in RANK:
        tree.fault(path, line, f'includes {name}, which belongs to no module')
    elif it == me:
        return
    elif RANK[it] > RANK[me] or (RANK[it] == RANK[me] and (me, it) not in BESIDE):
        tree.fault(path, line, f'{me} may not include {name}: the arrow points the wrong way')
    elif it == 'common/db' and me not in ('billingd', 'stored'):
        tree.fault(path, line, f'{me} may not include {name}: only billingd and stored have a database')
    elif PRIVATE.search(name):
        tree.fault(path, line, f'{name} is private to {it}')
    elif me == 'keyctl' and it in ('common/event', 'common/wire', 'common/http', 'common/dialect', 'common/daemon'):
        tree.fault(path, line, f'keyctl may not include {name}')


def check_library(path, line, name):
    for pattern, allowed in LIBRARIES:
        if re.fullmatch(pattern, name):
            if folder(path) not in allowed and folder(path) != 'tests':
                tree.fault(path, line, f'<{name}> belongs to {", ".join(sorted(allowed))} alone')
            return


def check_files(path):
    text = tree.read(path)
    includes = [(i + 1, m) for i, l in enumerate(text.split('\n'))
                for m in [re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', l)] if m]
    for line, m in includes:
        if m.group(1) == '<':
            check_library(path, line, m.group(2))
        elif m.group(2) == 'config.h':
            if path.endswith('.h'):
                tree.fault(path, line, 'a header does not include config.h')
        elif '/' not in m.group(2):
            tree.fault(path, line, f'"{m.group(2)}": name it from the top of the tree')
        else:
            check_own(path, line, m.group(2))
            if not m.group(2).startswith('sql/') and not os.path.exists(os.path.join(tree.TOP, m.group(2))):
                tree.fault(path, line, f'{m.group(2)} does not exist')
    if path.endswith('.c') and (not includes or includes[0][1].group(2) != 'config.h'):
        tree.fault(path, 1, '"config.h" must be the first include')


sources = tree.files('.c', '.h')
for p in sources:
    check_files(p)
tree.finish('layers', len(sources))
