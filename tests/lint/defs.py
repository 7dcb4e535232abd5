#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The tables: sorted, unique, and every row put to use. A row of a daemon that is not in the
tree has nobody to use it yet and is only held to its form.
"""
import os
import re

import tree


def code_of(*folders):
    return '\n'.join(tree.read(p) for p in tree.files('.c', '.h') if p.startswith(folders))


def ordered(path, rows, key, what):
    keys = [key(args) for _, args, _ in rows]
    for i in range(1, len(rows)):
        if keys[i] < keys[i - 1]:
            tree.fault(path, rows[i][2], f'{keys[i]} stands behind {keys[i - 1]}: sort by {what}')


def unique(path, rows, column, what):
    seen = {}
    for _, args, line in rows:
        if args[column] in seen:
            tree.fault(path, line, f'{what} {args[column]} stands on line {seen[args[column]]} too')
        seen[args[column]] = line


def errors():
    path = 'common/base/err.def'
    rows = tree.table(path, 'ERR')
    ordered(path, rows, lambda a: int(a[1]), 'status')
    unique(path, rows, 0, 'symbol')
    unique(path, rows, 3, 'code')
    for _, a, line in rows:
        if not a[7].endswith('.'):
            tree.fault(path, line, f'{a[0]}: the sentence has no full stop')
        if a[3] != a[3].lower() or a[0] != a[3].upper():
            tree.fault(path, line, f'{a[0]}: the code {a[3]} is not the symbol in lower case')
    return len(rows)


def metrics():
    path = 'common/base/metric.def'
    rows = tree.table(path, 'METRIC')
    ordered(path, rows, lambda a: (a[1], a[0]), 'daemon, then symbol')
    unique(path, rows, 0, 'symbol')
    unique(path, rows, 3, 'name')
    ending = {'COUNTER': '_total', 'HISTOGRAM': '_seconds', 'GAUGE': ''}
    everything = code_of('common/', 'gatewayd/', 'routerd/', 'workerd/', 'billingd/', 'stored/')
    for _, a, line in rows:
        if not a[3].startswith('tf_') or not a[3].endswith(ending[a[2]]):
            tree.fault(path, line, f'{a[3]}: a {a[2].lower()} is named tf_...{ending[a[2]]}')
        if here(a[1]) and not re.search(r'\bTF_M_%s\b' % a[0], everything):
            tree.fault(path, line, f'{a[0]} is never counted')
    return len(rows)


def here(daemon):
    return all(os.path.exists(os.path.join(tree.TOP, d, 'main.c')) for d in
               (['gatewayd', 'routerd', 'workerd', 'billingd', 'stored'] if daemon == 'all' else [daemon]))


OWNER = {'model': 'all', 'plan': 'billingd', 'common': 'all', 'worker': 'workerd'}


def options():
    path = 'common/conf/conf.def'
    rows = tree.table(path, 'CONF')
    ordered(path, rows, lambda a: (a[0], a[1]), 'section, then field')
    everything = code_of('common/daemon/', 'common/http/', 'gatewayd/', 'routerd/', 'workerd/', 'billingd/', 'stored/')
    for _, a, line in rows:
        if here(OWNER.get(a[0], a[0])) and not re.search(r'(->|\.)%s\b' % a[1], everything):
            tree.fault(path, line, f'[{a[0]}] {a[1]} has no effect: nobody reads it')
    return len(rows)


def commands():
    path = 'keyctl/cmd.def'
    rows = tree.table(path, 'CMD_BEGIN')
    ordered(path, rows, lambda a: a[0], 'words')
    unique(path, rows, 0, 'command')
    for _, a, line in rows:
        daemon = a[1].lower()
        if daemon in ('local', 'daemon') or not here(daemon):
            continue
        found = re.search(r'"%s",\s*\w+,\s*(CTL_\w+)' % re.escape(a[0]), code_of(daemon + '/'))
        if not found:
            tree.fault(path, line, f'{daemon} has no command "{a[0]}"')
        elif found.group(1) != a[2]:
            tree.fault(path, line, f'{a[0]}: {a[2]} here, {found.group(1)} in {daemon}')
    return len(rows)


def flags():
    """Sets of bits in headers: an anonymous enum whose members are all powers of two. Merged branches may each
    have taken the same one."""
    n = 0
    for path in tree.files('.h'):
        text = tree.read(path)
        for block in re.finditer(r'^enum \{\n(.*?)^\};', text, re.M | re.S):
            bits = re.findall(r'^\t(\w+) = (\d+),', block.group(1), re.M)
            if len(bits) < 3 or any(int(v) == 0 or int(v) & (int(v) - 1) for _, v in bits):
                continue
            n += 1
            seen = {}
            for name, value in bits:
                if value in seen:
                    line = text[:block.start()].count('\n') + 1
                    tree.fault(path, line, f'{name} and {seen[value]} are the same bit, {value}')
                seen[value] = name
    return n


def numbers():
    """What stands in messages or in one word of bits: two branches may each have taken the next free one."""
    n = 0
    for path, macro, what in (('common/dialect/dialect.def', 'DIALECT', 'number'), ('common/dialect/quirk.def', 'QUIRK', 'bit')):
        rows = tree.table(path, macro)
        unique(path, rows, 1, what)
        n += len(rows)
    return n


tree.finish('defs', numbers() + errors() + metrics() + options() + commands() + flags())
