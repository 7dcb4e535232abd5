# SPDX-License-Identifier: Apache-2.0
"""Clients that leave, and clients that read slowly: the runtime stops within a second, one row in the
ledger, memory stays bounded, and nobody else notices."""
import json
import time

import pytest

from factory import SLOW, wait_for

FACTORY = {"conf": {"gatewayd": {"write-timeout": "3s"}}}


def left(factory, tag):
    """When the runtime saw its caller leave."""
    wait_for("the runtime is left", lambda: factory.fake.last(tag)["ended"], 3, 0.01)
    return factory.fake.last(tag)


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_leaving_a_stream(factory, how):
    tag = "leave-" + how
    answer = factory.open("tokens=3000&delay_ms=10&tag=" + tag)
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
    record = left(factory, tag)
    assert record["outcome"] == "left" and record["ended"] - at < 1.0 * SLOW


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("script", ["tokens=3000&delay_ms=10", "head_ms=30000", "first_ms=30000"])
def test_leaving_an_unstreamed_call(factory, script, how):
    tag = "whole-%s-%s" % (how, script[:5])
    body = json.dumps(factory.body(script + "&tag=" + tag)).encode()
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", length=len(body)) + body)
        wait_for("the call", lambda: factory.fake.requests(tag))
        time.sleep(0.1)
        at = time.time()
        if how == "reset":
            raw.reset()
    record = left(factory, tag)
    assert record["outcome"] == "left" and record["ended"] - at < 1.0 * SLOW


def test_leaving_before_the_first_byte_of_a_stream(factory):
    body = json.dumps(factory.body("first_ms=30000&tag=early", stream=True)).encode()
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", length=len(body)) + body)
        wait_for("the call", lambda: factory.fake.requests("early"))
        at = time.time()
    assert left(factory, "early")["ended"] - at < 1.0 * SLOW


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
        answer = factory.open("tokens=500&delay_ms=5&tag=rows", key=key)
        next(iter(answer))
        answer.raw.close() if i % 2 else answer.raw.reset()
    row = factory.settled(10, workspace="leavers")
    time.sleep(1)
    assert factory.usage(workspace="leavers") == row
    assert 0 < int(row["output_tokens"]) < 10 * 200


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
    other = factory.chat("tokens=50&delay_ms=2", stream=True).check_canonical()
    gaps = [b - a for a, b in zip(other.sse.times, other.sse.times[1:])]
    assert max(gaps) < 0.3 * SLOW, max(gaps)
    grown = gateway.memory() - before[0], worker.memory() - before[1]
    assert factory.fake.last("slow")["ended"] is None, "the runtime must be held back"
    assert max(grown) < 6_000_000 * (4 if SLOW > 1 else 1), grown
    slow.take_all(slow.raw)
    slow.check_canonical()
    assert len(slow.text()) == 500 * 100000


def test_a_reader_that_stands_still_is_cut_off(factory):
    answer = factory.open("tokens=500&big=100000&tag=still", rcvbuf=4096)
    record = wait_for("cut off", lambda: (r := factory.fake.last("still"))["ended"] and r, 8)
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
    firsts, gaps = [], []
    with factory.raw() as raw:
        for _ in range(15):
            began = time.monotonic()
            answer = factory.open("tokens=20&delay_ms=3", raw=raw).take_all(raw)
            firsts.append(answer.sse.times[0] - began)
            gaps += [b - a for a, b in zip(answer.sse.times, answer.sse.times[1:])]
    for series, limit in ((sorted(firsts), 0.030), (sorted(gaps), 0.030)):
        assert series[len(series) // 2] < limit * SLOW, series[len(series) // 2]
        assert series[int(len(series) * 0.9)] < limit * SLOW, series[-len(series) // 10 :]
