# SPDX-License-Identifier: Apache-2.0
"""Clients that leave, and clients that read slowly: the runtime stops within a second, one row in the
ledger, memory stays bounded, and nobody else notices."""
import json
import time

import pytest

from factory import SLOW, soon, wait_for

FACTORY = {"conf": {"gatewayd": {"write-timeout": "8s"}}}


def left(factory, tag, at):
    """How long it took the runtime to see its caller leave."""
    record = wait_for("the runtime is left", lambda: (r := factory.fake.last(tag))["ended"] and r, every=0.01)
    assert record["outcome"] == "left"
    return record["ended"] - at


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_leaving_a_stream(factory, how):
    def leave(i):
        tag = "leave-%s-%d" % (how, i)
        answer = factory.open("tokens=6000&delay_ms=10&tag=" + tag)
        it = iter(answer)
        for _ in range(4):
            next(it)
        at = time.time()
        if how == "half":
            answer.raw.shutdown()
        elif how == "reset":
            answer.raw.reset()
        else:
            answer.raw.close()
        return left(factory, tag, at)

    soon(1.0, leave)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("script", ["tokens=6000&delay_ms=10", "head_ms=60000", "first_ms=60000"])
def test_leaving_an_unstreamed_call(factory, script, how):
    def leave(i):
        tag = "whole-%s-%s-%d" % (how, script[:5], i)
        body = json.dumps(factory.body(script + "&tag=" + tag)).encode()
        with factory.raw() as raw:
            raw.send(factory.head("POST", "/v1/chat/completions", length=len(body)) + body)
            wait_for("the call", lambda: factory.fake.requests(tag))
            time.sleep(0.1)
            at = time.time()
            if how == "reset":
                raw.reset()
        return left(factory, tag, at)

    soon(1.0, leave)


def test_leaving_before_the_first_byte_of_a_stream(factory):
    def leave(i):
        body = json.dumps(factory.body("first_ms=60000&tag=early%d" % i, stream=True)).encode()
        with factory.raw() as raw:
            raw.send(factory.head("POST", "/v1/chat/completions", length=len(body)) + body)
            wait_for("the call", lambda: factory.fake.requests("early%d" % i))
            at = time.time()
        return left(factory, "early%d" % i, at)

    soon(1.0, leave)


def test_leaving_in_the_middle_of_a_body(factory):
    factory.fake.forget()
    for _ in range(20):
        with factory.raw() as raw:
            raw.send(factory.head("POST", "/v1/chat/completions", length=1000) + b'{"model":')
    time.sleep(0.3)
    assert factory.fake.requests() == [] and factory.chat("tokens=1").status == 200


def test_one_row_for_each_that_left(factory):
    factory.keyctl("workspace", "create", "leavers", "--plan", "local")
    key = factory.mint(workspace="leavers")
    for i in range(10):
        answer = factory.open("tokens=5000&delay_ms=5&tag=rows", key=key)
        next(iter(answer))
        answer.raw.close() if i % 2 else answer.raw.reset()
    row = factory.settled(10, workspace="leavers")
    time.sleep(1)
    assert factory.usage(workspace="leavers") == row
    assert 0 < int(row["output_tokens"]) < 10 * 5000


def test_leaving_after_the_end_is_no_abort(factory):
    factory.keyctl("workspace", "create", "late", "--plan", "local")
    key = factory.mint(workspace="late")
    for _ in range(5):
        answer = factory.open("tokens=3&prompt=4", key=key)
        for _ in answer:
            pass
        answer.raw.reset()
    row = factory.settled(5, workspace="late")
    assert int(row["total_tokens"]) == 5 * 7


def test_slow_reader_has_bounded_memory_and_disturbs_nobody(factory):
    """50 MB for a client that reads nothing for a while, then all of it."""
    gateway, worker = factory.daemons["gatewayd"], factory.daemons["fake"]
    factory.chat("tokens=3", stream=True)
    before = gateway.memory(), worker.memory()
    slow = factory.open("tokens=500&big=100000&tag=slow", rcvbuf=4096)
    time.sleep(1.5)

    def gap(_):
        times = factory.chat("tokens=50&delay_ms=2", stream=True).check_canonical().sse.times
        return max(b - a for a, b in zip(times, times[1:]))

    soon(0.3, gap)
    grown = gateway.memory() - before[0], worker.memory() - before[1]
    assert factory.fake.last("slow")["ended"] is None, "the runtime must be held back"
    assert max(grown) < 6_000_000 * (4 if SLOW > 1 else 1), grown
    slow.take_all(slow.raw)
    slow.check_canonical()
    assert len(slow.text()) == 500 * 100000


def test_a_reader_that_stands_still_is_cut_off(factory):
    answer = factory.open("tokens=500&big=100000&tag=still", rcvbuf=4096)
    record = wait_for("cut off", lambda: (r := factory.fake.last("still"))["ended"] and r, 30)
    assert record["outcome"] == "left"
    answer.raw.close()


def test_many_slow_readers(factory):
    gateway = factory.daemons["gatewayd"]
    before = gateway.memory()
    answers = [factory.open("tokens=100&big=100000", rcvbuf=4096) for _ in range(20)]
    time.sleep(1)
    assert gateway.memory() - before < 40_000_000 * (3 if SLOW > 1 else 1)
    for answer in answers:
        answer.raw.close()
    wait_for("all let go", lambda: factory.fake.running() == 0, 3)


def test_no_step_of_40_ms(factory):
    """Nagle and delayed acknowledgements must not meet anywhere on the way."""
    def step(_):
        firsts, gaps = [], []
        with factory.raw() as raw:
            for _ in range(15):
                began = time.monotonic()
                answer = factory.open("tokens=20&delay_ms=3", raw=raw).take_all(raw)
                firsts.append(answer.sse.times[0] - began)
                gaps += [b - a for a, b in zip(answer.sse.times, answer.sse.times[1:])]
        return max(sorted(series)[int(len(series) * 0.9)] for series in (firsts, gaps))

    soon(0.030, step)
