# SPDX-License-Identifier: Apache-2.0
"""
Conversations that are true in every dialect, written in each of them, and read back from each of them. What is read is a
flat list of what was said, so that two dialects can be compared although they group it differently.
"""
import json

WORDS = ['tide', 'Ärger', '日本', '🚢', 'a "quoted" one', 'back\\slash', 'line\nbreak', 'tab\t', '</think>', '\u2028', 'zero\u0001',
         'plain', 'words', 'and', 'more', '{"json": 1}', '<b>', '& so on']
NAMES = ['get_weather', 'read-file', 'f', 'Search_2', 'x' * 64]
PIXEL = ('data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==')
NUMBERS = ['0', '1.0', '-3', '12345678901234567890', '1e-7', '0.1']


def compact(v):
    return json.dumps(v, ensure_ascii=False, separators=(',', ':'))


def text(r, least=1):
    return ' '.join(r.choice(WORDS) for _ in range(r.randint(least, 6))).strip() or 'x'


def args(r):
    """Argument text as a model writes it: compact, numbers that no double holds."""
    def value(depth):
        k = r.randint(0, 6 if depth < 3 else 4)
        if k == 0:
            return r.choice(NUMBERS)
        if k == 1:
            return r.choice(['true', 'false', 'null'])
        if k <= 4:
            return compact(text(r))
        if k == 5:
            return '[' + ','.join(value(depth + 1) for _ in range(r.randint(0, 3))) + ']'
        return '{' + ','.join('%s:%s' % (compact('k%d' % i), value(depth + 1)) for i in range(r.randint(0, 3))) + '}'
    return '{' + ','.join('%s:%s' % (compact(r.choice(['city', 'b', 'Ü', 'n']) + str(i)), value(0))
                          for i in range(r.randint(0, 4))) + '}'


def calls(r, n, serial):
    out = []
    for _ in range(n):
        serial[0] += 1
        out.append(('call_%04dZz' % serial[0], r.choice(NAMES), args(r)))
    return out


def conversation(r, turns=None):
    """
    system, then ('user', parts) | ('assistant', text, calls, [(thought, its signature)]) | ('results', [(id, text, error)]),
    legal in every dialect. details: clients of chat bring signatures along.
    """
    serial, talk = [0], []
    think = (lambda: thoughts(r, serial)) if r.random() < 0.5 else (lambda: [])
    for _ in range(turns or r.choice([1, 2, 3, 8, 50])):
        parts = [('text', text(r))]
        if r.random() < 0.2:
            parts.insert(r.randint(0, 1), ('image', PIXEL))
        talk.append(('user', parts))
        while r.random() < 0.5:
            c = calls(r, r.choice([1, 1, 2, 5]), serial)
            talk.append(('assistant', text(r) if r.random() < 0.5 else '', c, think()))
            done = [(i, text(r), r.random() < 0.2) for i, _, _ in c]
            r.shuffle(done)
            talk.append(('results', done))
        talk.append(('assistant', text(r), [], think()))
    talk.append(('user', [('text', text(r))]))
    return {'system': text(r) if r.random() < 0.7 else '', 'talk': talk, 'details': r.random() < 0.5}


def thoughts(r, serial):
    out = []
    for _ in range(r.choice([0, 1, 1, 2])):
        serial[0] += 1
        out.append((text(r), 'c2ln%d+/==' % serial[0]))
    return out


def prompt(r):
    """A conversation as bare completions know it."""
    return {'system': '', 'talk': [('user', [('text', text(r))])], 'details': False}


def schema(r):
    return {'type': 'object', 'properties': {'city0': {'type': 'string', 'description': text(r)}}, 'required': ['city0']}


# ---- writing -------------------------------------------------------------------------------------

def chat_request(r, conv, **more):
    m = [{'role': 'system', 'content': conv['system']}] if conv['system'] else []
    for t in conv['talk']:
        if t[0] == 'user':
            parts = [{'type': 'text', 'text': p[1]} if p[0] == 'text' else {'type': 'image_url', 'image_url': {'url': p[1]}}
                     for p in t[1]]
            m.append({'role': 'user', 'content': parts[0]['text'] if len(parts) == 1 and r.random() < 0.5 else parts})
        elif t[0] == 'assistant':
            m.append({'role': 'assistant', 'content': t[1] or r.choice([None, ''])})
            if t[3]:
                m[-1][r.choice(['reasoning', 'reasoning_content'])] = ''.join(s for s, _ in t[3])
            if t[3] and conv['details']:
                m[-1]['reasoning_details'] = [{'type': 'reasoning.text', 'text': s, 'signature': g, 'index': k,
                                               'format': 'anthropic-claude-v1'} for k, (s, g) in enumerate(t[3])]
            if t[2]:
                m[-1]['tool_calls'] = [{'id': i, 'type': 'function', 'function': {'name': n, 'arguments': a}} for i, n, a in t[2]]
        else:
            m += [{'role': 'tool', 'tool_call_id': i, 'content': ('Error: ' if e else '') + s} for i, s, e in t[1]]
    tools = [{'type': 'function', 'function': {'name': n, 'description': text(r), 'parameters': schema(r)}} for n in NAMES]
    return dict({'model': 'asked', 'messages': m, 'tools': tools, 'max_tokens': 999}, **more)


def messages_request(r, conv, **more):
    m = []

    def say(role, blocks):
        if m and m[-1]['role'] == role:
            m[-1]['content'] += blocks
        else:
            m.append({'role': role, 'content': list(blocks)})
    for t in conv['talk']:
        if t[0] == 'user':
            say('user', [{'type': 'text', 'text': p[1]} if p[0] == 'text' else
                         {'type': 'image', 'source': {'type': 'base64', 'media_type': 'image/png', 'data': p[1].split(',')[1]}}
                         for p in t[1]])
        elif t[0] == 'assistant':
            say('assistant', [{'type': 'thinking', 'thinking': s, 'signature': g} for s, g in t[3]] +
                ([{'type': 'text', 'text': t[1]}] if t[1] else []) +
                [{'type': 'tool_use', 'id': i, 'name': n, 'input': Raw(a)} for i, n, a in t[2]])
        else:
            say('user', [{'type': 'tool_result', 'tool_use_id': i, 'content': s, **({'is_error': True} if e else {})}
                         for i, s, e in t[1]])
    tools = [{'name': n, 'description': text(r), 'input_schema': schema(r)} for n in NAMES]
    return dict({'model': 'asked', 'max_tokens': 999, 'messages': m, 'tools': tools},
                **({'system': conv['system']} if conv['system'] else {}), **more)


def responses_request(r, conv, **more):
    items = []
    for t in conv['talk']:
        if t[0] == 'user':
            parts = [{'type': 'input_text', 'text': p[1]} if p[0] == 'text' else
                     {'type': 'input_image', 'image_url': p[1], 'detail': 'auto'} for p in t[1]]
            items.append({'role': 'user', 'content': parts[0]['text'] if len(parts) == 1 and r.random() < 0.5 else parts})
        elif t[0] == 'assistant':
            items += [{'type': 'reasoning', 'id': 'rs_%s' % g[4], 'summary': [], 'content': [{'type': 'reasoning_text', 'text': s}]}
                      for s, g in t[3]]
            if t[1]:
                items.append({'type': 'message', 'role': 'assistant', 'content': [{'type': 'output_text', 'text': t[1]}]})
            items += [{'type': 'function_call', 'call_id': i, 'name': n, 'arguments': a} for i, n, a in t[2]]
        else:
            items += [{'type': 'function_call_output', 'call_id': i, 'output': ('Error: ' if e else '') + s} for i, s, e in t[1]]
    tools = [{'type': 'function', 'name': n, 'description': text(r), 'parameters': schema(r), 'strict': False} for n in NAMES]
    return dict({'model': 'asked', 'input': items, 'tools': tools, 'max_output_tokens': 999},
                **({'instructions': conv['system']} if conv['system'] else {}), **more)


def completions_request(r, conv, **more):
    return dict({'model': 'asked', 'prompt': conv['talk'][0][1][0][1], 'max_tokens': 999}, **more)


class Raw(str):
    """JSON text that goes into a body as it is."""


def body(v):
    if isinstance(v, Raw):
        return str(v)
    if isinstance(v, dict):
        return '{' + ','.join(compact(k) + ':' + body(x) for k, x in v.items()) + '}'
    if isinstance(v, list):
        return '[' + ','.join(map(body, v)) + ']'
    return compact(v)


# ---- reading -------------------------------------------------------------------------------------

class Number(str):
    """A number as it was written."""


def exact(s):
    """JSON with order, duplicates and the text of numbers kept."""
    return json.loads(s, object_pairs_hook=lambda p: ('object', p), parse_int=Number, parse_float=Number)


def load(s):
    return json.loads(s, parse_int=Number, parse_float=Number)


def words(content, kinds):
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    return [p['text'] for p in content if p['type'] in kinds]


def chat_said(b):
    out = []
    for m in load(b)['messages']:
        role, c = m['role'], m.get('content')
        if role == 'tool':
            out.append(('result', m['tool_call_id'], ''.join(words(c, ['text']))))
            continue
        if m.get('reasoning_content'):
            out.append(('think', m['reasoning_content'], ()))
        for p in c if isinstance(c, list) else [{'type': 'text', 'text': c}] if c else []:
            out.append((role, p['text']) if p['type'] == 'text' else ('image', p['image_url']['url']))
        for call in m.get('tool_calls') or []:
            out.append(('call', call['id'], call['function']['name'], exact(call['function']['arguments'])))
    return out


def messages_said(b):
    v, rough = load(b), exact(b)
    whole = dict(rough[1])
    out = [('system', t) for t in words(v.get('system'), ['text'])]
    for m, em in zip(v['messages'], whole['messages']):
        blocks, eb = m['content'], dict(em[1])['content']
        if isinstance(blocks, str):
            out.append((m['role'], blocks))
            continue
        for k, e in zip(blocks, eb):
            if k['type'] == 'text':
                out.append((m['role'], k['text']))
            elif k['type'] == 'thinking':
                out.append(('think', k['thinking'], (k['signature'],) if k['signature'] else ()))
            elif k['type'] == 'image':
                s = k['source']
                out.append(('image', s['url'] if s['type'] == 'url' else 'data:%s;base64,%s' % (s['media_type'], s['data'])))
            elif k['type'] == 'tool_use':
                out.append(('call', k['id'], k['name'], dict(e[1])['input']))
            elif k['type'] == 'tool_result':
                said = ''.join(words(k.get('content'), ['text']))
                if k.get('is_error') and not said.startswith('Error: '):
                    said = 'Error: ' + said
                out.append(('result', k['tool_use_id'], said))
            else:
                raise AssertionError('unexpected block %r' % k)
    return out


def responses_said(b):
    v = load(b)
    out = [('system', v['instructions'])] if v.get('instructions') else []
    items = v['input']
    for i in [{'role': 'user', 'content': items}] if isinstance(items, str) else items:
        kind = i.get('type', 'message')
        if kind == 'message':
            c = i['content']
            for p in [{'type': 'input_text', 'text': c}] if isinstance(c, str) else c:
                out.append(('image', p['image_url']) if p['type'] == 'input_image' else (i['role'], p['text']))
        elif kind == 'reasoning':
            out.append(('think', ''.join(p['text'] for p in i['content']), ()))
        elif kind == 'function_call':
            out.append(('call', i['call_id'], i['name'], exact(i['arguments'])))
        elif kind == 'function_call_output':
            out.append(('result', i['call_id'], ''.join(words(i['output'], ['input_text']))))
        else:
            raise AssertionError('unexpected item %r' % i)
    return out


def carried(conv, surface, runtime, hosted):
    """Do thoughts reach the runtime, and their signatures?"""
    signed = surface == 'anthropic_messages' or (surface == 'openai_chat' and conv['details'])
    if runtime == 'anthropic_messages':
        # the provider takes what it has signed, and nothing else
        return signed or not hosted, signed
    # no other provider has a field for thoughts that are not its own
    return not hosted, False


def meant(conv, thoughts=False, signatures=False):
    """The same list from the conversation itself."""
    out = [('system', conv['system'])] if conv['system'] else []
    for t in conv['talk']:
        if t[0] == 'user':
            out += [('user' if p[0] == 'text' else 'image', p[1]) for p in t[1]]
        elif t[0] == 'assistant':
            out += [('think', s, (g,) if signatures else ()) for s, g in t[3] if thoughts]
            out += [('assistant', t[1])] if t[1] else []
            out += [('call', i, n, exact(a)) for i, n, a in t[2]]
        else:
            out += [('result', i, ('Error: ' if e else '') + s) for i, s, e in t[1]]
    return out


def settled(said):
    """Runs of the same role are one text; results of one batch stand in the order of their calls."""
    out, order = [], {}
    for e in said:
        if e[0] == 'call':
            order[e[1]] = len(order)
        if out and e[0] in ('user', 'assistant', 'system') and out[-1][0] == e[0]:
            out[-1] = (e[0], out[-1][1] + '\n\n' + e[1])
            continue
        if out and e[0] == 'think' and out[-1][0] == 'think':
            out[-1] = ('think', out[-1][1] + e[1], out[-1][2] + e[2])
            continue
        out.append(e)
    i = 0
    while i < len(out):
        j = i
        while j < len(out) and out[j][0] == 'result':
            j += 1
        out[i:j] = sorted(out[i:j], key=lambda e: order.get(e[1], -1))
        i = max(j, i + 1)
    return out


WRITE = {'openai_chat': chat_request, 'anthropic_messages': messages_request, 'openai_responses': responses_request,
         'openai_completions': completions_request}
READ = {'openai_chat': chat_said, 'anthropic_messages': messages_said, 'openai_responses': responses_said}
