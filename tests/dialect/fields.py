#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The table of tokenfactory-fields(7): every field of every surface, and what becomes of it at each kind of runtime. Names and
meanings come from the field tables, outcomes from the translator itself: each field is sent through it and looked for on the
other side. Without arguments: is the page current? --write: makes it so (after a build; run in the build directory).
"""
import json
import os
import re
import sys

TOP = os.environ.get('top_srcdir') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(TOP, 'tests', 'dialect'), os.path.join(TOP, 'tests', 'lint')]
import pipe  # noqa: E402
import tree  # noqa: E402

PAGE = os.path.join(TOP, 'man', 'tokenfactory-fields.7')
SCHEMA = {'type': 'object', 'properties': {'a': {'type': 'string'}}, 'required': ['a'], 'additionalProperties': False}
USER = {'role': 'user', 'content': 'hi'}
# the least a body must have, per surface
LEAST = {
    'openai_chat': {'model': 'm', 'messages': [USER]},
    'openai_completions': {'model': 'm', 'prompt': 'hi'},
    'openai_responses': {'model': 'm', 'input': 'hi'},
    'anthropic_messages': {'model': 'm', 'messages': [USER], 'max_tokens': 9},
    'openai_embeddings': {'model': 'm', 'input': 'hi'},
    'openai_rerank': {'model': 'm', 'query': 'q', 'documents': ['a', 'b']},
    'openai_images': {'model': 'm', 'prompt': 'hi'},
    'openai_speech': {'model': 'm', 'input': 'hi', 'voice': 'v'},
}
# a field that means something only beside others, or whose value is no matter of its type alone
BESIDE = {'stream_options': {'stream': True}, 'top_logprobs': {'logprobs': True}}
CHAT_TOOLS = [{'type': 'function', 'function': {'name': 'f', 'parameters': SCHEMA}}]
FLAT_TOOLS = [{'type': 'function', 'name': 'f', 'parameters': SCHEMA, 'strict': True}]
CLAUDE_TOOLS = [{'name': 'f', 'input_schema': SCHEMA}]
VALUE = {
    'openai_chat': {
        'messages': [USER, {'role': 'assistant', 'content': 'x'}, USER], 'tools': CHAT_TOOLS, 'tool_choice': 'required',
        'stop': ['x'],
        'response_format': {'type': 'json_schema', 'json_schema': {'name': 'n', 'schema': SCHEMA, 'strict': True}},
        'reasoning_effort': 'low', 'stream_options': {'include_usage': True}, 'functions': [{'name': 'f', 'parameters': SCHEMA}],
        'function_call': 'auto', 'modalities': ['text'], 'verbosity': 'low', 'n': 2, 'logit_bias': {'5': 1},
        'parallel_tool_calls': False, 'service_tier': 'flex', 'chat_template_kwargs': {'enable_thinking': False}},
    'openai_responses': {
        'tools': FLAT_TOOLS, 'tool_choice': 'required',
        'text': {'format': {'type': 'json_schema', 'name': 'n', 'schema': SCHEMA, 'strict': True}},
        'reasoning': {'effort': 'low', 'summary': 'auto'}, 'include': ['reasoning.encrypted_content'], 'truncation': 'disabled',
        'stream_options': {'include_obfuscation': True}, 'parallel_tool_calls': False, 'background': True,
        'previous_response_id': 'resp_x', 'conversation': 'conv_x', 'prompt': {'id': 'p'}, 'service_tier': 'flex',
        'metadata': {'a': 'b'}},
    'anthropic_messages': {
        'messages': [USER, {'role': 'assistant', 'content': 'x'}, USER], 'tools': CLAUDE_TOOLS, 'tool_choice': {'type': 'any'},
        'system': 'x',
        'stop_sequences': ['x'], 'thinking': {'type': 'enabled', 'budget_tokens': 1024}, 'output_config': {'effort': 'low'},
        'output_format': {'type': 'json_schema', 'schema': SCHEMA}, 'metadata': {'user_id': 'u'}, 'max_tokens': 4096,
        'thread': {'type': 'create'}, 'container': 'c', 'mcp_servers': [{'type': 'url'}], 'compaction': {'type': 'x'},
        'cache_control': {'type': 'ephemeral'}, 'top_k': 5},
    'openai_completions': {'stream_options': {'include_usage': True}, 'stop': ['x'], 'logit_bias': {'5': 1}, 'best_of': 2, 'n': 2},
    'openai_embeddings': {'encoding_format': 'base64'},
    'openai_rerank': {'documents': ['a', 'b', 'c']},
    'openai_images': {'response_format': 'b64_json', 'size': '1024x1024', 'output_format': 'png', 'quality': 'high'},
    'openai_speech': {'response_format': 'wav', 'stream_format': 'audio', 'speed': 2},
}
BESIDES = {'tool_choice': 'tools', 'parallel_tool_calls': 'tools', 'function_call': 'functions'}
silent = []  # what is lost without a word
MEANT = {'U': 'honoured', '-': 'honoured', 'P': 'passed', 'S': 'honoured', 'X': 'ignored', 'D': 'ignored'}


def value(surface, name, types, low):
    v = VALUE.get(surface, {}).get(name)
    if v is not None:
        return v
    if name in LEAST[surface]:
        return LEAST[surface][name]
    for t, v in (('BOOL', True), ('INT', max(1, int(low))), ('NUMBER', 0.5), ('STRING', 'x'), ('ARRAY', ['x']),
                 ('OBJECT', {'a': 'b'})):
        if 'DL_T_' + t in types:
            return v
    return 'x'


def outcome(p, surface, runtime, name, row):
    base = dict(LEAST[surface], **BESIDE.get(name, {}))
    if name in BESIDES:
        base[BESIDES[name]] = VALUE[surface][BESIDES[name]]
    low = float(row[3]) if re.fullmatch(r'-?[\d.]+', row[3]) else 1
    full = dict(base, **{name: value(surface, name, row[2], low)})
    one, two = (p.run(surface, runtime, json.dumps(b).encode()) for b in (base, full))
    if one.error != '-':
        return '-'
    if two.error != '-':
        return 'refused'
    if name in two.dropped.split(','):
        return 'honoured' if row[5] == 'S' and row[7] else 'ignored'
    if one.sent == two.sent:
        if row[5] == 'P':
            silent.append(f'{surface}: {name} is gone at {runtime}, and nobody is told')
        return MEANT[row[5]]
    try:
        same = json.loads(two.sent).get(name) == full[name]
    except (ValueError, AttributeError):
        same = False
    return 'passed' if same and row[5] != 'U' else 'honoured'


# surfaces whose requests have the table of another
SAME = {'openai_translations': 'openai_transcriptions'}


def roff(s):
    return s.replace('\\', '\\e').replace('"', '\\(dq')


def cell(s):
    return ('\\&' + s) if s[:1] in ".'" else s


def section(p, surface, path, runtimes):
    rows = [a[:5] + [a[5].strip("'")] + a[6:] for _, a, _ in tree.table(f'common/dialect/fields_{surface}.def', 'FIELD')]
    out = [f'.Ss {surface}', f'.Li POST {path}', '.Bl -tag -width Ds -compact']
    head = len(out)
    for a in rows:
        name = a[1]
        if name == '' or name.endswith('[*]') or name.endswith('.*'):
            continue
        if re.search(r'[.\[]', name):
            if a[6 + 1]:
                out += [f'.It \\ \\ {name}', cell(roff(a[7])) + ('' if a[7].endswith('.') else '.')]
            continue
        if surface in LEAST:
            got = {r: outcome(p, surface, r, name, a) for r in runtimes}
            got = {r: v for r, v in got.items() if v != '-'}
        else:
            got = {'': MEANT[a[5]]}
        words = sorted(set(got.values()))
        if len(words) == 1:
            said = words[0].capitalize() + '.'
        else:
            said = '\n'.join('%s: %s.' % (w.capitalize(), ', '.join(r for r, v in got.items() if v == w)) for w in words)
        out += [f'.It Ic {name}', said]
        if a[7]:
            out.append(cell(roff(a[7][0].upper() + a[7][1:])) + ('' if a[7].endswith('.') else '.'))
    return out + ['.El'] if len(out) > head else []


def form(surface, path):
    """A request that is a form: what its table says, for every runtime alike."""
    out = [f'.Ss {surface}', f'.Li POST {path}', 'with a form (multipart/form-data).', '.Bl -tag -width Ds -compact']
    for _, a, _ in tree.table(f'common/dialect/fields_{SAME.get(surface, surface)}.def', 'FORM'):
        out += [f'.It Ic {a[1]}', MEANT[a[5].strip("'")].capitalize() + '.']
        if a[7]:
            out.append(cell(roff(a[7][0].upper() + a[7][1:])) + ('' if a[7].endswith('.') else '.'))
    return out + ['.El']


HEAD = '''.\\" SPDX-License-Identifier: Apache-2.0
.\\" written by tests/dialect/fields.py from the field tables and the translator: do not edit
.Dd November 21, 2026
.Dt TOKENFACTORY-FIELDS 7
.Os "Token Factory"
.Sh NAME
.Nm tokenfactory-fields
.Nd what becomes of each field of a request
.Sh DESCRIPTION
For every API that
.Xr gatewayd 8
serves, the fields it knows and what becomes of them:
.Bl -tag -width honoured
.It honoured
has its effect, in the runtime's own words or by our doing
.It passed
goes to the runtime as it came, which may heed it or not
.It ignored
has no effect; the answer's header
.Li x-tf-dropped-params
names it when it was taken out of the way
.It refused
the call is answered with status 400 that names the field, before anything is charged
.El
.Pp
Where runtimes differ, the dialect that they speak is named after the word; it is the
.Ic dialect
of their
.Li [worker]
section in
.Xr tokenfactory.conf 5 .
Fields that are not listed are passed where client and runtime speak the same API and left out elsewhere; they never fail
a call.
Indented names are parts of the field above them.
.Sh FIELDS'''
TAIL = '''.Sh SEE ALSO
.Xr tokenfactory.conf 5 ,
.Xr tokenfactory-errors 7 ,
.Xr gatewayd 8'''


def page():
    p = pipe.Pipe(pipe.program())
    (row,) = [a for _, a, _ in tree.table('common/conf/conf.def', 'CONF') if a[:2] == ['worker', 'dialect']]
    out = [HEAD]
    for _, a, _ in tree.table('common/dialect/dialect.def', 'DIALECT'):
        rows = tree.table(f'common/dialect/fields_{SAME.get(a[2], a[2])}.def', 'FIELD', 'FORM')
        if any(kind == 'FIELD' for kind, _, _ in rows):
            out += section(p, a[2], a[4], row[5].split('|'))
        if any(kind == 'FORM' for kind, _, _ in rows):
            out += form(a[2], a[4])
    if p.close() != 0:
        sys.exit('xlate_pipe failed')
    return '\n'.join(out + [TAIL]) + '\n'


def main():
    fresh = page()
    if silent:
        print('\n'.join(silent))
        return 1
    if sys.argv[1:] == ['--write']:
        with open(PAGE, 'w', encoding='utf-8') as f:
            f.write(fresh)
        return 0
    with open(PAGE, encoding='utf-8') as f:
        if f.read() != fresh:
            print('man/tokenfactory-fields.7 is not current: run tests/dialect/fields.py --write in the build directory')
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
