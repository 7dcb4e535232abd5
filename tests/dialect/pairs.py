#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Every surface against every runtime dialect, with conversations and answers nobody chose by hand: nothing that was said may
be lost, changed or reordered, whatever way the bytes are cut. PAIRS=N runs N cases of each pair (default 40), SEED=N other ones.
"""
import os
import random
import re
import sys

TOP = os.environ.get('top_srcdir') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(TOP, 'tests', 'dialect'), os.path.join(TOP, 'tests', 'lint')]
import answers  # noqa: E402
import pipe  # noqa: E402
import talks  # noqa: E402
import tree  # noqa: E402

CASES, SEED = int(os.environ.get('PAIRS', '40')), int(os.environ.get('SEED', '20261121'))


def dialects():
    """Surfaces that the gateway serves and the tests can write, and runtimes that a worker can be told to speak."""
    known = [a[6] for _, a, _ in tree.table('gatewayd/route.def', 'ROUTE')]
    (row,) = [a for _, a, _ in tree.table('common/conf/conf.def', 'CONF') if a[:2] == ['worker', 'dialect']]
    return [d for d in talks.WRITE if d in known], [d for d in row[5].split('|') if d in answers.STREAM]


def wanted(surface, stream, think):
    """What makes a surface stream, tell its usage and show reasoning."""
    more = {'stream': stream}
    if surface in ('openai_chat', 'openai_completions') and stream:
        more['stream_options'] = {'include_usage': True}
    if surface == 'anthropic_messages' and think:
        more['thinking'] = {'type': 'adaptive'}
    return more


def steady(b):
    """Without the second in which it was made."""
    return re.sub(rb'"(created|created_at|completed_at)":\d+', b'"\\1":0', b)


HOSTED = {'openai_chat': 'openai', 'anthropic_messages': 'anthropic', 'openai_responses': 'openai'}


def check_request(p, r, surface, runtime):
    bare, hosted = surface == 'openai_completions', r.random() < 0.4
    conv = talks.prompt(r) if bare else talks.conversation(r)
    req = talks.body(talks.WRITE[surface](r, conv, **wanted(surface, r.random() < 0.5, False))).encode()
    got = p.run(surface, runtime, req, canonical=r.random() < 0.5, kind=HOSTED[runtime] if hosted else 'generic')
    assert got.stage == 'answer' and got.error == '-', (got.stage, got.error, got.param, got.message)
    said = talks.settled(talks.READ[runtime](got.sent.decode()))
    meant = talks.settled(talks.meant(conv, *talks.carried(conv, surface, runtime, hosted)))
    for i, (a, b) in enumerate(zip(said, meant)):
        assert a == b, 'entry %d: sent %r, meant %r\n%s' % (i, a, b, got.sent.decode())
    assert len(said) == len(meant), (said[len(meant):], meant[len(said):])
    names = re.findall(r'"name":"([^"]+)"', got.sent.decode())
    assert bare or set(talks.NAMES) <= set(names), 'tools are missing'
    assert '"runtime-model"' in got.sent.decode() and '"asked"' not in got.sent.decode()


def cuts(r, n):
    kind = r.randint(0, 3)
    if kind == 0 and n < 20000:
        return range(1, n)
    return sorted(r.sample(range(n), min(n, r.choice([1, 3, 40]))))


def compare(surface, a, got, think, runtime):
    shown = think if surface == 'anthropic_messages' else surface != 'openai_completions'
    want = {'think': a['think'] if shown else '', 'text': a['text'], 'finish': answers.FINISH[a['finish']][answers.NTH[surface]]}
    for k, v in want.items():
        assert got[k] == v, '%s: got %r, said %r' % (k, got[k], v)
    if runtime == 'anthropic_messages' and 'signed' in got:
        assert got['signed'] == ([answers.SIGNATURE] if a['think'] and shown else []), 'signatures: %r' % got['signed']
    elif surface == 'openai_chat':
        assert not got['signed'], 'signatures of nobody'
    calls = [[i, n, talks.exact(x)] for i, n, x in a['calls']]
    have = [[i, n, talks.exact(x) if isinstance(x, str) else x] for i, n, x in got['calls']]
    assert have == calls, 'calls: got %r, said %r' % (have, calls)
    if surface != 'anthropic_messages':
        assert [c[2] for c in got['calls']] == [c[2] for c in a['calls']], 'the arguments are not the same bytes'
    usage = answers.USAGE[surface](a['usage'])
    for k in usage:
        if isinstance(usage[k], dict):
            for j in usage[k]:
                assert got['usage'][k][j] == usage[k][j], 'usage.%s.%s: %r' % (k, j, got['usage'])
        else:
            assert got['usage'][k] == usage[k], 'usage.%s: %r, said %r' % (k, got['usage'], usage)


def said_by(r, surface):
    """An answer; nobody calls tools of a client that knows none."""
    a = answers.answer(r)
    while surface == 'openai_completions' and a['calls']:
        a = answers.answer(r)
    return a


def check_answer(p, r, surface, runtime):
    a, stream, streamed, think = said_by(r, surface), r.random() < 0.6, r.random() < 0.7, r.random() < 0.5
    conv = talks.prompt(r) if surface == 'openai_completions' else talks.conversation(r, 1)
    req = talks.body(talks.WRITE[surface](r, conv, **wanted(surface, stream, think))).encode()
    up = (answers.STREAM if streamed else answers.WHOLE)[runtime](r, a).encode()
    form = {'content_type': 'text/event-stream' if streamed else 'application/json', 'canonical': r.random() < 0.5}
    one = p.run(surface, runtime, req, up, **form)
    assert one.error == '-' and one.complete, (one.error, one.message)
    read = answers.READ_STREAM if stream else answers.READ_WHOLE
    compare(surface, a, read[surface](one.client), think, runtime)
    u = a['usage']
    assert (one.prompt, one.cache_read, one.completion + one.reasoning) == (u[0] - u[1], u[1], u[2]), 'what is charged: %r' % (one,)
    for _ in range(2):
        two = p.run(surface, runtime, req, up, cuts=cuts(r, len(up)), **form)
        assert steady(two.client) == steady(one.client) or loose(surface, stream, two, a, think, runtime), 'another cut, another answer'
        assert two[9:] == one[9:], 'another cut, other facts'


def loose(surface, stream, got, a, think, runtime):
    """Deltas may be joined by the way bytes arrive; what a client makes of them may not differ."""
    if not stream:
        return False
    compare(surface, a, answers.READ_STREAM[surface](got.client), think, runtime)
    return True


def check_broken(p, r, surface, runtime):
    """The connection breaks in mid-answer: what was given stands, nothing claims to be an end."""
    a = said_by(r, surface)
    conv = talks.prompt(r) if surface == 'openai_completions' else talks.conversation(r, 1)
    req = talks.body(talks.WRITE[surface](r, conv, **wanted(surface, True, True))).encode()
    up = answers.STREAM[runtime](r, a).encode()
    end = up.find(b'"finish_reason":"' if runtime == 'openai_chat' else b'"message_delta"' if runtime == 'anthropic_messages'
                  else b'event: response.%s' % answers.FINISH[a['finish']][2].encode())
    up = up[:r.randint(1, end)]
    got = p.run(surface, runtime, req, up, cuts=cuts(r, len(up)), broken=True, canonical=r.random() < 0.5)
    assert got.error == 'upstream_error' and not got.complete, got
    part = answers.READ_STREAM[surface](got.client, whole=False) if got.client else {'text': '', 'calls': []}
    assert a['text'].startswith(part['text'])
    assert part.get('finish') in (None, ''), part


def main():
    p = pipe.Pipe(pipe.program())
    surfaces, runtimes = dialects()
    failed = 0
    for surface in surfaces:
        for runtime in runtimes:
            for check in (check_request, check_answer, check_broken):
                for n in range(CASES):
                    seed = '%d %s %s %s %d' % (SEED, surface, runtime, check.__name__, n)
                    try:
                        check(p, random.Random(seed), surface, runtime)
                    except AssertionError as e:
                        failed += 1
                        print('FAILED %s: %s' % (seed, e))
                        break
    rc = p.close()
    print('%d pairs, %d cases of each kind, %d kinds failed' % (len(surfaces) * len(runtimes), CASES, failed))
    return 1 if failed or rc else 0


if __name__ == '__main__':
    sys.exit(main())
