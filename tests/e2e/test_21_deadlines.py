# SPDX-License-Identifier: Apache-2.0
"""Deadlines and caps of a request, and early answers that an uploading client must really read."""
import json
import threading
import time

import pytest

from factory import SLOW, wait_for
from raw import Closed

FACTORY = {
    "conf": {
        "gatewayd": {
            "head-timeout": "500ms", "body-timeout": "700ms", "idle-timeout": "1500ms", "body-max": "1m",
        }
    }
}


def timed(fn):
    began = time.monotonic()
    value = fn()
    return time.monotonic() - began, value


def test_slow_head(factory):
    with factory.raw() as raw:
        took, r = timed(lambda: (raw.send("GET /healthz HTTP/1.1\r\nHos"), raw.response())[1])
        assert r.status == 408 and r.error["code"] == "request_timeout" and r.closes()
        assert 0.3 < took < 15 * SLOW and raw.closed_within(20 * SLOW)


def test_slow_head_by_drops(factory):
    """Single bytes do not move the deadline of the head."""
    with factory.raw() as raw:
        for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 400:
            try:
                raw.send(bytes([byte]))
                raw.fill(0.05)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            if raw.buf:
                break
        else:
            pytest.fail("each byte has moved it")
        assert raw.head().status == 408


def test_idle_connection_is_closed_silently(factory):
    with factory.raw() as raw:
        began = time.monotonic()
        raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.response().status == 200
        assert raw.closed_within(20 * SLOW) and time.monotonic() - began > 1


def test_connection_that_says_nothing(factory):
    with factory.raw() as raw:
        assert raw.closed_within(20 * SLOW)


def test_slow_body(factory):
    with factory.raw() as raw:
        part = factory.head("POST", "/v1/chat/completions", length=50) + b'{"model":'
        took, r = timed(lambda: (raw.send(part), raw.response())[1])
        assert r.status == 408 and r.error["code"] == "request_timeout" and r.closes(), r.body
        assert 0.4 < took < 15 * SLOW and raw.closed_within(20 * SLOW)


def test_slow_chunked_body(factory):
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", fields=[("Transfer-Encoding", "chunked")]) + b"5\r\n{")
        assert raw.response().status == 408


def test_body_over_the_cap_is_refused_unread(factory):
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", length=2_000_000))
        r = raw.response()  # not one byte of the body was sent
        assert r.status == 413 and r.error["code"] == "request_too_large" and r.closes()


def test_chunked_body_over_the_cap(factory):
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", fields=[("Transfer-Encoding", "chunked")]))
        raw.send_some(b"20000\r\n%s\r\n" % (b"x" * 0x20000) * 20)
        assert raw.response().status in (400, 413)  # not JSON, or too much, whichever is seen first


def test_chunked_json_over_the_cap(factory):
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", fields=[("Transfer-Encoding", "chunked")]))
        raw.send(b'10\r\n{"x":["aaaaaaaaa\r\n')
        raw.send_some(b"20000\r\n%s\r\n" % (b"x" * 0x20000) * 20)
        r = raw.response()
        assert r.status == 413 and r.closes()


@pytest.mark.parametrize("status", [401, 413])
def test_early_answer_is_read_by_an_uploading_client(factory, status):
    """20 times of 20: a reset would lose the answer."""
    key = "tf-prod-wrong" if status == 401 else None
    length = 900_000 if status == 401 else 10_000_000
    for _ in range(20):
        with factory.raw() as raw:
            result = {}

            def read():
                result["r"] = raw.response()

            reader = threading.Thread(target=read)
            reader.start()
            try:
                raw.send(factory.head("POST", "/v1/chat/completions", key=key, length=length))
                for _ in range(length // 100_000):
                    raw.sock.sendall(b" " * 100_000)
            except ConnectionError:
                pass  # after the answer it may close
            reader.join(30 * SLOW)
            assert result["r"].status == status and result["r"].closes()


def test_no_upload_is_paid_for_a_wrong_key(factory):
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", key="tf-prod-wrong", length=500_000))
        assert raw.response().status == 401  # the body's deadline would be a 408


def test_expect_continue(factory):
    body = json.dumps(factory.body("tokens=1")).encode()
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", fields=[("Expect", "100-continue")], length=len(body)))
        assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        raw.send(body)
        r = raw.response()
        assert r.status == 200 and r.interim == []


def test_expect_continue_with_a_wrong_key(factory):
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", key="x", fields=[("Expect", "100-continue")], length=9))
        r = raw.response()
        assert r.status == 401 and r.interim == []


def test_a_fast_body_is_not_hit_by_the_deadline(fresh):
    """A large body that moves is given time."""
    factory = fresh(conf={"gatewayd": {"body-timeout": "3s"}})
    text = b'{"model":"fake/model","messages":[{"role":"user","content":"fake?tokens=1\\n' + b"x" * 400_000 + b'"}]}'
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", length=len(text)))
        for i in range(0, len(text), 20_000):
            raw.send(text[i : i + 20_000])
            time.sleep(0.2)
        assert raw.response().status == 200


def test_connections_per_address(fresh):
    """Those above the cap are turned away; the others go on, and room comes back."""
    factory = fresh(conf={"gatewayd": {"connections-per-address": "40"}})
    ask = lambda: factory.call("GET", "/healthz").status == 200
    wait_for("those of the start are gone", ask)
    opened, refused = [], 0
    try:
        for _ in range(60):
            raw = factory.raw()
            opened.append(raw)
            try:
                raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                refused += raw.response().status != 200
            except (OSError, Closed):
                refused += 1
        assert 15 <= refused <= 25, refused
        for raw in opened[:10]:
            raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.response().status == 200
    finally:
        for raw in opened:
            raw.close()

    def room():
        try:
            return ask()
        except (OSError, Closed):
            return False

    wait_for("room again", room)
