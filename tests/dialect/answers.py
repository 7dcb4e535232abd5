# SPDX-License-Identifier: Apache-2.0
"""
Answers that are true in every dialect: written as each runtime streams or states them, and read from what a client gets by
readers as strict as the strictest official SDK.
"""
import json

from talks import Raw, args, body, calls, exact, text

SIGNATURE = 'c2lnbmF0dXJl'
FINISH = {'stop': ('stop', 'end_turn', 'completed'), 'length': ('length', 'max_tokens', 'incomplete'),
          'tool_calls': ('tool_calls', 'tool_use', 'completed')}


def answer(r):
    """{'think', 'text', 'calls', 'finish', 'usage': (prompt, cached, output, reasoning)}"""
    a = {'think': text(r) if r.random() < 0.4 else '', 'text': text(r) if r.random() < 0.8 else '', 'calls': []}
    if r.random() < 0.5 or not a['text']:
        a['calls'] = calls(r, r.choice([1, 1, 2, 4]), [r.randint(1, 5000)])
    a['finish'] = 'tool_calls' if a['calls'] else r.choice(['stop', 'stop', 'length'])
    cached = r.choice([0, 0, 7])
    a['usage'] = (cached + r.randint(1, 500), cached, r.randint(40, 400), r.randint(1, 39) if a['think'] else 0)
    return a


def pieces(r, s):
    """Cut at characters, never empty."""
    out, at = [], 0
    while at < len(s):
        n = r.choice([1, 1, 2, 5, 40])
        out.append(s[at:at + n])
        at += n
    return out


# ---- runtimes ------------------------------------------------------------------------------------

def data(v, event=None):
    return (('event: %s\n' % event) if event else '') + 'data: ' + body(v) + '\n\n'


def chat_usage(u):
    return {'prompt_tokens': u[0], 'completion_tokens': u[2], 'total_tokens': u[0] + u[2],
            'prompt_tokens_details': {'cached_tokens': u[1]}, 'completion_tokens_details': {'reasoning_tokens': u[3]}}


def interleave(r, lists):
    """One list that keeps the order of each, and in which they begin in turn."""
    out, begun, waiting = [], [], [list(one) for one in lists]
    while begun or waiting:
        if waiting and (not begun or r.random() < 0.3):
            begun.append(waiting.pop(0))
            one = begun[-1]
        else:
            one = r.choice(begun)
        out.append(one.pop(0))
        begun = [x for x in begun if x]
    return out


def chat_stream(r, a):
    head = {'id': 'chatcmpl-q', 'object': 'chat.completion.chunk', 'created': 1790000000, 'model': 'runtime-model'}

    def chunk(delta, finish=None):
        return data(dict(head, choices=[{'index': 0, 'delta': delta, 'finish_reason': finish}]))
    out = chunk({'role': 'assistant', 'content': ''})
    name = r.choice(['reasoning', 'reasoning_content'])
    out += ''.join(chunk({name: p}) for p in pieces(r, a['think']))
    out += ''.join(chunk({'content': p}) for p in pieces(r, a['text']))
    told = []
    for i, (cid, fn, arg) in enumerate(a['calls']):
        first = {'index': i, 'id': cid, 'type': 'function', 'function': {'name': fn, 'arguments': ''}}
        told.append([chunk({'tool_calls': [first]})] +
                    [chunk({'tool_calls': [{'index': i, 'function': {'arguments': p}}]}) for p in pieces(r, arg)])
    out += ''.join(interleave(r, told) if r.random() < 0.5 else sum(told, []))
    out += chunk({}, a['finish'])
    return out + data(dict(head, choices=[], usage=chat_usage(a['usage']))) + 'data: [DONE]\n\n'


def chat_whole(r, a):
    m = {'role': 'assistant', 'content': a['text'] or None}
    if a['think']:
        m['reasoning_content'] = a['think']
    if a['calls']:
        m['tool_calls'] = [{'id': i, 'type': 'function', 'function': {'name': n, 'arguments': x}} for i, n, x in a['calls']]
    return body({'id': 'chatcmpl-q', 'object': 'chat.completion', 'created': 1790000000, 'model': 'runtime-model',
                 'choices': [{'index': 0, 'message': m, 'finish_reason': a['finish']}], 'usage': chat_usage(a['usage'])})


def messages_usage(u):
    return {'input_tokens': u[0] - u[1], 'cache_read_input_tokens': u[1], 'cache_creation_input_tokens': 0,
            'output_tokens': u[2], 'output_tokens_details': {'thinking_tokens': u[3]}}


def messages_shell(a, content, stop, usage):
    return {'id': 'msg_q', 'type': 'message', 'role': 'assistant', 'model': 'runtime-model', 'content': content,
            'stop_reason': stop, 'stop_sequence': None, 'usage': usage}


def messages_stream(r, a):
    out = [data({'type': 'message_start', 'message': messages_shell(a, [], None, dict(messages_usage(a['usage']), output_tokens=1))},
                'message_start')]
    index = [0]

    def block(start, deltas):
        out.append(data({'type': 'content_block_start', 'index': index[0], 'content_block': start}, 'content_block_start'))
        for d in deltas:
            if r.random() < 0.1:
                out.append(data({'type': 'ping'}, 'ping'))
            out.append(data({'type': 'content_block_delta', 'index': index[0], 'delta': d}, 'content_block_delta'))
        out.append(data({'type': 'content_block_stop', 'index': index[0]}, 'content_block_stop'))
        index[0] += 1
    if a['think']:
        block({'type': 'thinking', 'thinking': '', 'signature': ''},
              [{'type': 'thinking_delta', 'thinking': p} for p in pieces(r, a['think'])] +
              [{'type': 'signature_delta', 'signature': SIGNATURE}])
    if a['text']:
        block({'type': 'text', 'text': ''}, [{'type': 'text_delta', 'text': p} for p in pieces(r, a['text'])])
    for i, n, x in a['calls']:
        block({'type': 'tool_use', 'id': i, 'name': n, 'input': {}},
              [{'type': 'input_json_delta', 'partial_json': p} for p in [''] + (pieces(r, x) if x != '{}' else [])])
    out.append(data({'type': 'message_delta', 'delta': {'stop_reason': FINISH[a['finish']][1], 'stop_sequence': None},
                     'usage': messages_usage(a['usage'])}, 'message_delta'))
    return ''.join(out) + data({'type': 'message_stop'}, 'message_stop')


def messages_whole(r, a):
    c = [{'type': 'thinking', 'thinking': a['think'], 'signature': SIGNATURE}] if a['think'] else []
    c += [{'type': 'text', 'text': a['text']}] if a['text'] else []
    c += [{'type': 'tool_use', 'id': i, 'name': n, 'input': Raw(x)} for i, n, x in a['calls']]
    return body(messages_shell(a, c, FINISH[a['finish']][1], messages_usage(a['usage'])))


def responses_object(a, status, output, usage):
    return {'id': 'resp_q', 'object': 'response', 'created_at': 1790000000, 'status': status, 'error': None,
            'incomplete_details': {'reason': 'max_output_tokens'} if status == 'incomplete' else None,
            'model': 'runtime-model', 'output': output, 'usage': usage}


def responses_output(a):
    out = [{'id': 'rs_q', 'type': 'reasoning', 'summary': [], 'content': [{'type': 'reasoning_text', 'text': a['think']}]}] \
        if a['think'] else []
    if a['text']:
        out.append({'id': 'msg_q', 'type': 'message', 'role': 'assistant', 'status': 'completed',
                    'content': [{'type': 'output_text', 'text': a['text'], 'annotations': []}]})
    return out + [{'id': 'fc_%d' % k, 'type': 'function_call', 'call_id': i, 'name': n, 'arguments': x, 'status': 'completed'}
                  for k, (i, n, x) in enumerate(a['calls'])]


def responses_usage(u):
    return {'input_tokens': u[0], 'input_tokens_details': {'cached_tokens': u[1]}, 'output_tokens': u[2],
            'output_tokens_details': {'reasoning_tokens': u[3]}, 'total_tokens': u[0] + u[2]}


def responses_stream(r, a):
    out, seq = [], [0]

    def ev(kind, **more):
        out.append(data(dict({'type': kind, 'sequence_number': seq[0]}, **more), kind))
        seq[0] += 1
    ev('response.created', response=responses_object(a, 'in_progress', [], None))
    ev('response.in_progress', response=responses_object(a, 'in_progress', [], None))
    for k, item in enumerate(responses_output(a)):
        at = {'item_id': item['id'], 'output_index': k}
        ev('response.output_item.added', output_index=k,
           item=dict(item, **({'arguments': ''} if 'arguments' in item else {'content': []}), status='in_progress'))
        if item['type'] == 'function_call':
            for p in pieces(r, item['arguments']) if r.random() < 0.8 else []:
                ev('response.function_call_arguments.delta', delta=p, **at)
            ev('response.function_call_arguments.done', arguments=item['arguments'], **at)
        else:
            part = item['content'][0]
            name = part['type']
            ev('response.content_part.added', content_index=0, part=dict(part, text=''), **at)
            for p in pieces(r, part['text']):
                ev('response.%s.delta' % name, content_index=0, delta=p, **at)
            ev('response.%s.done' % name, content_index=0, text=part['text'], **at)
            ev('response.content_part.done', content_index=0, part=part, **at)
        ev('response.output_item.done', output_index=k, item=item)
    status = FINISH[a['finish']][2]
    ev('response.' + status, response=responses_object(a, status, responses_output(a), responses_usage(a['usage'])))
    return ''.join(out)


def responses_whole(r, a):
    return body(responses_object(a, FINISH[a['finish']][2], responses_output(a), responses_usage(a['usage'])))


STREAM = {'openai_chat': chat_stream, 'anthropic_messages': messages_stream, 'openai_responses': responses_stream}
WHOLE = {'openai_chat': chat_whole, 'anthropic_messages': messages_whole, 'openai_responses': responses_whole}


# ---- clients -------------------------------------------------------------------------------------

def need(ok, what):
    if not ok:
        raise AssertionError(what)


def frames(raw):
    """(event, data) of a stream; every byte must belong to an event or a comment."""
    out = []
    s = raw.decode('utf-8')
    need(s == '' or s.endswith('\n\n'), 'the stream ends inside an event')
    for f in s.split('\n\n')[:-1]:
        event = lines = None
        for line in f.split('\n'):
            if line.startswith(':'):
                continue
            name, _, value = line.partition(': ')
            need(name in ('event', 'data'), 'odd line %r' % line)
            if name == 'event':
                event = value
            else:
                need(lines is None, 'two data lines')
                lines = value
        if lines is not None:
            out.append((event, lines))
    return out


def details(message):
    """Signatures that reach clients of chat."""
    for d in message.get('reasoning_details') or []:
        need(d['type'] == 'reasoning.text' and isinstance(d['text'], str) and isinstance(d['index'], int), 'an odd detail')
    return [d['signature'] for d in message.get('reasoning_details') or []]


def chat_read_stream(raw, whole=True):
    got = {'think': '', 'text': '', 'calls': [], 'finish': None, 'usage': None, 'signed': []}
    fs = frames(raw)
    if whole:
        need(fs and fs[-1] == (None, '[DONE]'), 'no [DONE]')
        fs = fs[:-1]
    same = None
    for n, (event, d) in enumerate(fs):
        need(event is None, 'an event name on the chat surface')
        c = json.loads(d)
        same = same or (c['id'], c['created'], c['model'])
        need((c['id'], c['created'], c['model']) == same and c['model'] == 'asked', 'chunks disagree')
        if not c['choices']:
            got['usage'] = c['usage']
            continue
        (ch,) = c['choices']
        need(got['finish'] is None, 'a delta after the finish')
        delta = ch['delta']
        need(n > 0 or delta.get('role') == 'assistant', 'no role first')
        need(delta.get('reasoning') == delta.get('reasoning_content'), 'the two names of reasoning differ')
        got['think'] += delta.get('reasoning_content') or ''
        got['signed'] += details(delta)
        got['text'] += delta.get('content') or ''
        for t in delta.get('tool_calls') or []:
            if t['index'] == len(got['calls']):
                need(t['type'] == 'function' and t['id'], 'a call without type or id')
                got['calls'].append([t['id'], t['function']['name'], ''])
            need(t['index'] == len(got['calls']) - 1, 'a piece of a call behind the beginning of the next')
            got['calls'][t['index']][2] += t['function'].get('arguments') or ''
        got['finish'] = ch['finish_reason']
    need(not whole or got['finish'], 'no finish reason')
    return got


def chat_read_whole(raw):
    v = json.loads(raw)
    need(v['object'] == 'chat.completion' and v['model'] == 'asked' and isinstance(v['created'], int), 'not a completion')
    (c,) = v['choices']
    m = c['message']
    need('refusal' in m and 'logprobs' in c and ('tool_calls' not in m or m['tool_calls']), 'nulls are missing or too many')
    return {'think': m.get('reasoning_content') or '', 'text': m['content'] or '', 'finish': c['finish_reason'],
            'signed': details(m),
            'calls': [[t['id'], t['function']['name'], t['function']['arguments']] for t in m.get('tool_calls') or []],
            'usage': v['usage']}


def messages_read_stream(raw, whole=True):
    got = {'think': '', 'text': '', 'calls': [], 'finish': None, 'usage': None, 'signed': []}
    block, index, begun, over = None, 0, False, False
    for event, d in frames(raw):
        v = json.loads(d)
        need(event == v['type'], 'event line and type differ')
        need(not over, 'something after message_stop')
        if event == 'ping':
            continue
        need(begun == (event != 'message_start'), 'message_start not once and first')
        if event == 'message_start':
            begun = True
            need(v['message']['model'] == 'asked' and v['message']['usage']['input_tokens'] > 0, 'message_start is wrong')
        elif event == 'content_block_start':
            need(block is None and v['index'] == index, 'blocks overlap or leave a gap')
            block = v['content_block']['type']
            pieces_ = 0
            if block == 'tool_use':
                need(v['content_block']['input'] == {}, 'input in the start')
                got['calls'].append([v['content_block']['id'], v['content_block']['name'], ''])
        elif event == 'content_block_delta':
            need(block is not None and v['index'] == index, 'a delta outside its block')
            k = v['delta']
            pieces_ += 1
            if k['type'] == 'text_delta':
                need(block == 'text' and k['text'], 'text in a %s block, or none' % block)
                got['text'] += k['text']
            elif k['type'] == 'thinking_delta':
                need(block == 'thinking' and k['thinking'], 'thinking in a %s block, or none' % block)
                got['think'] += k['thinking']
            elif k['type'] == 'signature_delta':
                need(block == 'thinking' and k['signature'], 'a signature elsewhere, or none')
                got['signed'].append(k['signature'])
            else:
                need(k['type'] == 'input_json_delta' and block == 'tool_use', 'odd delta')
                got['calls'][-1][2] += k['partial_json']
        elif event == 'content_block_stop':
            need(block is not None and v['index'] == index, 'a stop without block')
            need(pieces_ > 0 or block == 'tool_use', 'an empty block')
            block, index = None, index + 1
        elif event == 'message_delta':
            need(block is None, 'message_delta inside a block')
            got['finish'], got['usage'] = v['delta']['stop_reason'], v['usage']
        else:
            need(event == 'message_stop', 'unknown event ' + event)
            over = True
    need(over or not whole, 'no message_stop')
    for c in got['calls']:
        c[2] = c[2] or '{}'
    return got


def messages_read_whole(raw):
    v, e = json.loads(raw), dict(exact(raw)[1])
    need(v['type'] == 'message' and v['model'] == 'asked', 'not a message')
    got = {'think': '', 'text': '', 'calls': [], 'finish': v['stop_reason'], 'usage': v['usage'], 'signed': []}
    for b, eb in zip(v['content'], e['content']):
        if b['type'] == 'text':
            need(b['text'], 'an empty text block')
            got['text'] += b['text']
        elif b['type'] == 'thinking':
            need(b['thinking'] and b['signature'], 'an empty thinking block')
            got['think'] += b['thinking']
            got['signed'].append(b['signature'])
        else:
            need(b['type'] == 'tool_use', 'odd block')
            got['calls'].append([b['id'], b['name'], dict(eb[1])['input']])
    return got


def responses_items(out):
    got = {'think': '', 'text': '', 'calls': []}
    ids = [i['id'] for i in out]
    need(len(set(ids)) == len(ids), 'item ids repeat')
    for i in out:
        if i['type'] == 'reasoning':
            got['think'] += ''.join(p['text'] for p in i.get('content') or []) or ''.join(p['text'] for p in i['summary'])
        elif i['type'] == 'message':
            need(i['role'] == 'assistant' and i['content'], 'an empty message')
            got['text'] += ''.join(p['text'] for p in i['content'] if p['type'] == 'output_text')
        else:
            need(i['type'] == 'function_call', 'odd item')
            got['calls'].append([i['call_id'], i['name'], i['arguments']])
    return got


def responses_read_whole(raw):
    v = json.loads(raw)
    need(v['object'] == 'response' and v['model'] == 'asked', 'not a response')
    return dict(responses_items(v['output']), finish=v['status'], usage=v['usage'])


def responses_read_stream(raw, whole=True):
    items, parts, last, rid = [], {}, None, None
    for n, (event, d) in enumerate(frames(raw)):
        v = json.loads(d)
        need(event == v['type'] and v['sequence_number'] == n, 'event line, type or sequence number wrong: ' + event)
        need(n > 0 or event == 'response.created', 'response.created is not first')
        need(last is None, 'something after the last event')
        if 'response' in v:
            rid = rid or v['response']['id']
            need(v['response']['id'] == rid and v['response']['model'] == 'asked', 'the response changes')
        if event == 'response.output_item.added':
            need(v['output_index'] == len(items), 'output_index leaves a gap')
            need(not items or items[-1].get('over'), 'items overlap')
            items.append({'id': v['item']['id'], 'type': v['item']['type'], 'args': ''})
        elif event == 'response.output_item.done':
            need(v['output_index'] == len(items) - 1 and v['item']['id'] == items[-1]['id'], 'done of another item')
            items[-1].update(over=True, item=v['item'])
            if v['item']['type'] == 'function_call':
                need(v['item']['arguments'] == items[-1]['args'], 'the pieces are not the whole')
        elif event.endswith('.delta') or event.endswith('.done') or event.endswith('.added'):
            need(v['item_id'] == items[-1]['id'] and v['output_index'] == len(items) - 1, 'of another item')
            key = (v['item_id'], v.get('content_index', v.get('summary_index')))
            if event.endswith('part.added'):
                parts[key] = ''
            elif event.startswith('response.function_call_arguments.'):
                if event.endswith('.delta'):
                    items[-1]['args'] += v['delta']
                else:
                    need(v['arguments'] == items[-1]['args'], 'arguments.done differs')
            elif event.endswith('.delta'):
                need(key in parts and v['delta'], 'a delta without part, or empty')
                parts[key] += v['delta']
            elif event.endswith('text.done'):
                need(v['text'] == parts[key], 'text.done differs')
        elif event in ('response.completed', 'response.incomplete', 'response.failed'):
            last = v['response']
        else:
            need(event in ('response.created', 'response.in_progress'), 'unknown event ' + event)
    need(last is not None or not whole, 'no last event')
    if last is None:
        return responses_items([i['item'] for i in items if i.get('over')])
    need([i['item'] for i in items] == last['output'], 'the items are not those of the response')
    return dict(responses_items(last['output']), finish=last['status'], usage=last['usage'])


def completions_read_stream(raw, whole=True):
    got = {'think': '', 'text': '', 'calls': [], 'finish': None, 'usage': None}
    fs = frames(raw)
    if whole:
        need(fs and fs[-1] == (None, '[DONE]'), 'no [DONE]')
        fs = fs[:-1]
    for event, d in fs:
        c = json.loads(d)
        need(event is None and c['object'] == 'text_completion' and c['model'] == 'asked', 'not a completion')
        if not c['choices']:
            got['usage'] = c['usage']
            continue
        (ch,) = c['choices']
        need(got['finish'] is None and ch['index'] == 0 and 'logprobs' in ch, 'a piece behind the finish, or an odd one')
        got['text'] += ch['text']
        got['finish'] = ch['finish_reason']
    need(not whole or got['finish'], 'no finish reason')
    return got


def completions_read_whole(raw):
    v = json.loads(raw)
    need(v['object'] == 'text_completion' and v['model'] == 'asked' and isinstance(v['created'], int), 'not a completion')
    (c,) = v['choices']
    return {'think': '', 'text': c['text'], 'calls': [], 'finish': c['finish_reason'], 'usage': v['usage']}


READ_STREAM = {'openai_chat': chat_read_stream, 'anthropic_messages': messages_read_stream,
               'openai_responses': responses_read_stream, 'openai_completions': completions_read_stream}
READ_WHOLE = {'openai_chat': chat_read_whole, 'anthropic_messages': messages_read_whole, 'openai_responses': responses_read_whole,
              'openai_completions': completions_read_whole}
USAGE = {'openai_chat': chat_usage, 'anthropic_messages': messages_usage, 'openai_responses': responses_usage,
         'openai_completions': chat_usage}
NTH = {'openai_chat': 0, 'anthropic_messages': 1, 'openai_responses': 2, 'openai_completions': 0}
