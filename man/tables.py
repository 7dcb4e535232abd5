#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The parts of the man pages that a table of the source states: options, errors, commands, metrics.
A page holds them between comment lines

    .\\" table: NAME ARGUMENT
    .\\" end of table

and this script writes what stands between. Run it after changing a table:  man/tables.py --write
Without --write it only says which pages are not current; the test run does that.
"""
import os
import re
import sys
import textwrap

TOP = os.environ.get('top_srcdir') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
os.environ['top_srcdir'] = TOP
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, 'tests', 'lint'))
import tree  # noqa: E402


def text(s):
    """Plain text as roff lines: escaped, wrapped, a line per sentence, none that roff would take for a request."""
    s = s.replace('\\', '\\e')
    lines = []
    for one in re.split(r'(?<=[.:])\s+(?=[A-Z])', s):
        lines += textwrap.wrap(one, 78, break_long_words=False, break_on_hyphens=False)
    return [('\\&' if l[0] in ".'" else '') + l for l in lines]


def word(s):
    """One macro argument."""
    s = s.replace('\\', '\\e').replace('"', '\\(dq')
    return '"%s"' % s if ' ' in s or s == '' or (len(s) <= 2 and not s.isalnum()) else s


def sentence(s):
    s = s[0].upper() + s[1:]
    return s if s.endswith('.') else s + '.'


TYPES = {'BOOL': 'yes | no', 'INT': 'number', 'SIZE': 'size', 'MS': 'time', 'STR': 'text', 'PATH': 'path', 'SECRET': 'path',
         'ADDRS': 'addresses', 'LIST': 'list', 'MONEY': 'amount'}


def default(a):
    """The sentence about the default and the range of one option."""
    if 'CONF_REQUIRED' in a[6]:
        return ['Must be set.']
    out = [f'Default: {a[3]}' if a[3] else 'Default: unset']
    if a[2] in ('INT', 'SIZE', 'MS', 'MONEY'):
        out[0] += f'; {a[4]} to {a[5]}'
    out[0] += '.'
    return out


def options(section):
    out = ['.Bl -tag -width Ds']
    for _, a, _ in tree.table('common/conf/conf.def', 'CONF'):
        if a[0] != section:
            continue
        kind = a[5].replace('|', ' | ') if a[2] == 'ENUM' else TYPES[a[2]]
        out.append('.It Ic %s = Ar %s' % (a[1].replace('_', '-'), word(kind)))
        out += text(sentence(a[7]))
        if a[2] == 'LIST' and a[5]:
            out += text('Words: ' + a[5].replace('|', ', ') + '.')
        if a[2] == 'SECRET':
            out.append('The file must not be readable by others.')
        out += text(default(a)[0])
        out.append('A reload applies it.' if 'CONF_RELOAD' in a[6] else 'Needs a restart.')
    return out + ['.El']


def plans(_):
    out = ['.Bl -column "token-ultra" "requests/min" "100000000000" "24h from first use" "20000000" -compact',
           '.It Em plan Ta Em requests/min Ta Em tokens/min Ta Em window Ta Em tokens in it']
    for _, a, _ in tree.table('common/conf/plan.def', 'PLAN'):
        window = a[4] + ' from first use' if a[3] == 'first-use' else a[3]
        out.append(f'.It {a[0]} Ta {a[1]} Ta {a[2]} Ta {window} Ta {a[5] or "-"}')
    return out + ['.El']


def quirks(_):
    out = ['.Bl -tag -width Ds']
    for _, a, _ in tree.table('common/dialect/quirk.def', 'QUIRK'):
        out.append('.It Cm ' + a[2])
        out += text(sentence(a[3]))
    return out + ['.El']


def runtimes(_):
    names = {'DL_Q_' + a[0]: a[2] for _, a, _ in tree.table('common/dialect/quirk.def', 'QUIRK')}
    out = ['.Bl -tag -width Ds']
    for _, a, _ in tree.table('common/dialect/quirk.def', 'RUNTIME'):
        out.append('.It Cm ' + a[0])
        out += text(sentence(a[2]) + ' Starts with: ' + ', '.join(names[q.strip()] for q in a[1].split('|')) + '.')
    return out + ['.El']


RETRY = {'TF_FINAL': 'Asking again changes nothing (x-should-retry: false).', 'TF_RETRY': 'Asking again may help.',
         'TF_RETRY_AFTER': 'Ask again after the time in retry-after.'}


def errors(_):
    out = ['.Bl -tag -width Ds']
    for _, a, _ in tree.table('common/base/err.def', 'ERR'):
        out.append(f'.It Li {a[3]} Pq {a[1]}')
        out += text(a[7])
        out += text(f'OpenAI type {a[2]}; Anthropic type {a[4]}.')
        out += text(RETRY[a[5]])
    return out + ['.El']


def routes(_):
    names = {a[0]: a[1] for _, a, _ in tree.table('common/base/operation.def', 'OPERATION')}
    out = ['.Bl -tag -width Ds']
    for _, a, _ in tree.table('gatewayd/route.def', 'ROUTE'):
        path = ('/' if 'ROOT' in a[3] else '/v1/') + a[2].replace('{rest}', 'ID')
        out.append(f'.It Li {a[1]} {path}')
        out += text(sentence(a[7]))
        out.append('Needs no key.' if a[4] == 'OPEN' else f'Operation {names[a[4]]}.')
    return out + ['.El']


def metrics(daemon):
    out = ['.Bl -tag -width Ds']
    for _, a, _ in tree.table('common/base/metric.def', 'METRIC'):
        if a[1] not in (daemon, 'all'):
            continue
        labels = f'; by {a[4].replace(",", ", ")}' if a[4] else ''
        out.append(f'.It Va {a[3]} Pq {a[2].lower()}{labels}')
        out += text(sentence(a[5]))
    return out + ['.El']


def statuses(_):
    out = ['.Bl -tag -width Ds', '.It 0', 'Done.']
    for _, a, _ in tree.table('common/ctl/err.def', 'CTL_ERR'):
        out.append('.It ' + a[1])
        out += text(sentence(a[3]))
    return out + ['.El']


def usage(rows):
    """The arguments of one command, for its .It line."""
    out = []
    for macro, a, _ in rows:
        if macro == 'CMD_POS':
            out.append(f'Ar {word(a[3])}' if a[2] == 'REQ' else f'Op Ar {word(a[3])}')
    for macro, a, _ in rows:
        if macro == 'CMD_OPT':
            arg = '' if a[1] == 'FLAG' else f' Ar {word(a[3])}'
            more = ' ...' if a[1] == 'MANY' else ''
            out.append(f'Fl -{a[0]}{arg}' if a[2] == 'REQ' else f'Oo Fl -{a[0]}{arg}{more} Oc')
    return ' '.join(out)


def commands(_):
    rows = tree.table('keyctl/cmd.def', 'CMD_BEGIN', 'CMD_POS', 'CMD_OPT', 'CMD_COL')
    starts = [i for i, r in enumerate(rows) if r[0] == 'CMD_BEGIN'] + [len(rows)]
    out = ['.Bl -tag -width Ds']
    for i, j in zip(starts, starts[1:]):
        a, mine = rows[i][1], rows[i + 1:j]
        out.append(f'.It Cm {a[0]} {usage(mine)}'.rstrip())
        out += text(sentence(a[4]))
        if a[2] == 'CTL_ADMIN':
            out.append("Only for root and the daemon's own user.")
        args = [r for r in mine if r[0] in ('CMD_POS', 'CMD_OPT')]
        if args:
            out.append('.Bl -tag -width Ds -compact')
            for macro, b, _ in args:
                out.append(f'.It Ar {word(b[3])}' if macro == 'CMD_POS' else f'.It Fl -{b[0]}')
                out += text(sentence(b[4]))
            out.append('.El')
    return out + ['.El']


SKELETON = """
.Sh OPTIONS
.Bl -tag -width Ds
.It Fl c Ar file , Fl -config Ar file
The configuration, in place of
.Pa /etc/tokenfactory/tokenfactory.conf .
.It Fl -check-config
Check the configuration, say on standard error what is wrong with it, and end.
.It Fl -dump-config
Print the configuration that would be in force, and end.
.It Fl -log-level Ar level
One of
.Cm error , warn , info
and
.Cm debug ,
whatever the configuration says.
%(own)s
.It Fl v , Fl -version
Print the version, and end.
.It Fl h , Fl -help
Print a summary, and end.
.El
.Sh SIGNALS
.Bl -tag -width Ds
.It Dv SIGTERM
Take no new work, finish what is running, and end.
A second one ends at once.
.It Dv SIGINT , SIGQUIT
End at once.
.It Dv SIGHUP
Read the configuration again.
With any error in it nothing changes, and the log says why.
.It Dv SIGUSR1
Write the state to the log.
.El
"""
EXITS = """
.Sh EXIT STATUS
.Bl -tag -width Ds -compact
.It 0
Ended as it was asked to.
.It 1
Failed; the log says why.
.It 2
The command line is wrong.
.It 78
The configuration is wrong.
.El
"""
OWN = {'workerd': """.It Fl -worker Ar name
The section
.Ic worker Ar name
of the configuration to serve.
Must be given."""}


def skeleton(daemon):
    return [l for l in (SKELETON % {'own': OWN.get(daemon, '')}).split('\n') if l]


def exits(_):
    return [l for l in EXITS.split('\n') if l]


WIRE_NUMBERS = (('ROLES', 'Roles'), ('OUTCOMES', 'Outcomes of an attempt'), ('CANCELS', 'Reasons of CANCEL'),
                ('KEY_STATUSES', 'States of a key'), ('SCOPES', 'What a key may do, bits'), ('EV_FLAGS', 'Bits of EVENT.flags'),
                ('KINDS', 'Kinds of values'), ('VIEWS', 'Views of a response'), ('CLAIM_STATES', 'What a claim finds'))


def wire(_):
    src = open(os.path.join(TOP, 'common/wire/wire.def'), encoding='utf-8').read()
    version = [re.search(r'#define WIRE_%s (\d+)' % v, src).group(1) for v in ('MAJOR', 'MINOR')]
    part = dict(re.findall(r'#define WIRE_(\w+)\(\w\)((?:[^\n]*\\\n)*[^\n]*)', src))

    def fields(name):
        found = re.findall(r'F\(%s, (\d+), (\w), (\w+), (REQ|OPT), "([^"]*)"\)' % name, part['FIELDS_' + name])
        rows = [f'.It {n} Ta {t} Ta {f} Ta {"*" if need == "REQ" else "-"} Ta {h}' for n, t, f, need, h in found]
        return ['.Bl -column "00" "U" "retry_after_msx" "x" -compact'] + rows + ['.El'] if rows else []

    out = ['This is version %s.%s.' % tuple(version), 'Directions are FROM_TO: GW is a thread of gatewayd, RT routerd, WK workerd, BL',
           'billingd, ST stored.', "The columns are the field's number, type, name, a star when it is required,", 'and its meaning.',
           '.Bl -tag -width Ds']
    for num, name, way, what in re.findall(r'M\((\d+), (\w+), \w+, ([\w |]+), "([^"]*)"\)', part['MESSAGES']):
        out += [f'.It Cm {name} Pq {num}, {way.replace(" |", "")}'] + text(sentence(what)) + fields(name)
    out += ['.El', '.Ss Records', '.Bl -tag -width Ds']
    for name in re.findall(r'M\((\w+), \w+\)', part['RECORDS']):
        out += [f'.It Cm {name}'] + fields(name)
    out += ['.El', '.Ss Numbers']
    for name, title in WIRE_NUMBERS:
        out += [title + ':', '.Bl -column "00" "GATEWAY_LOST_" -compact']
        out += [f'.It {n} Ta {sym} Ta {what}' for n, sym, what in re.findall(r'E\((\d+), (\w+), "([^"]*)"\)', part[name])]
        out += ['.El', '.Pp']
    return out[:-1]


TABLES = {'skeleton': skeleton, 'wire': wire, 'exits': exits, 'options': options, 'plans': plans, 'quirks': quirks, 'runtimes': runtimes, 'errors': errors, 'metrics': metrics, 'routes': routes,
          'statuses': statuses, 'commands': commands}
MARK = re.compile(r'^\.\\" table: (\w+)(?: (\S+))?\n(.*?)^\.\\" end of table\n', re.M | re.S)


def current(page):
    def fill(m):
        lines = TABLES[m.group(1)](m.group(2))
        head = m.group(0)[:m.group(0).index('\n') + 1]
        return head + '\n'.join(lines) + '\n.\\" end of table\n'
    return MARK.sub(fill, page)


def main():
    for path in [p for p in tree.files() if re.match(r'man/[\w.-]+\.[1-8]$', p)]:
        old = tree.read(path)
        new = current(old)
        if new == old:
            continue
        if '--write' in sys.argv[1:]:
            with open(os.path.join(TOP, path), 'w', encoding='utf-8') as f:
                f.write(new)
        else:
            tree.fault(path, 0, 'not current: run man/tables.py --write')


if __name__ == '__main__':
    main()
    for f in tree.faults:
        print(f)
    sys.exit(1 if tree.faults else 0)
