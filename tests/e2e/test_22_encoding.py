# SPDX-License-Identifier: Apache-2.0
"""Compressed request bodies."""
import gzip
import json
import zlib

import pytest

FACTORY = {"conf": {"gatewayd": {"body-max": "4m", "body-memory": "8m"}}}
CHAT = "/v1/chat/completions"
MESSAGES = "/anthropic/v1/messages"


def send(factory, path, data, coding="gzip", **more):
    return factory.call("POST", path, data, fields=[("Content-Encoding", coding)], **more)


@pytest.mark.parametrize("coding,pack", [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress),
                                         ("identity", bytes)])
def test_decoded(factory, coding, pack):
    body = factory.body("tokens=2&tag=packed", messages=[{"role": "user", "content": "fake?tokens=2&tag=packed&" + "x=y&" * 50000}])
    answer = send(factory, CHAT, pack(json.dumps(body).encode()), coding)
    assert answer.status == 200 and answer.json()["choices"][0]["message"]["content"] == factory.text(2)
    # the runtime gets it plain
    seen = factory.fake.last("packed")
    assert seen["body"]["messages"] == body["messages"]
    assert "content-encoding" not in {k.lower() for k, _ in seen["headers"]}


def test_messages(factory):
    body = {"model": "fake/model", "max_tokens": 9, "messages": [{"role": "user", "content": "fake?tokens=1"}]}
    assert send(factory, MESSAGES, gzip.compress(json.dumps(body).encode())).status == 200
    count = send(factory, MESSAGES + "/count_tokens", gzip.compress(json.dumps(body).encode()))
    assert count.status == 200 and count.json()["input_tokens"] > 0


def test_refused(factory):
    good = gzip.compress(json.dumps(factory.body("tokens=1")).encode())
    for data in (good[:-1], good + b"x", b"{}", good[:20] + b"????" + good[24:]):
        answer = send(factory, CHAT, data)
        assert answer.status == 400 and answer.json()["error"]["code"] == "bad_request", data
    assert send(factory, CHAT, gzip.compress(b'{"model":')).status == 400
    answer = send(factory, CHAT, good, "br")
    assert answer.status == 415 and answer.json()["error"]["code"] == "unsupported_media_type"
    answer = send(factory, MESSAGES, good, "zstd")
    error = answer.json()["error"]
    assert answer.status == 400 and error["type"] == "invalid_request_error"
    assert error["details"]["error_code"] == "request_body_encoding_unsupported"
    # nothing is decoded for who has no key
    assert send(factory, CHAT, b"no gzip at all", key="tf-prod-wrong").status == 401


def test_size_is_what_it_decodes_to(factory):
    big = json.dumps(factory.body(messages=[{"role": "user", "content": "word %d " * 700000}])).encode()
    assert len(big) > 4 << 20 > len(gzip.compress(big))
    for path in (CHAT, MESSAGES):
        answer = send(factory, path, gzip.compress(big))
        error = answer.json()["error"]
        assert answer.status == 413
        assert (error.get("code") or error["details"]["error_code"]) == "request_too_large"


def test_bombs_hold_nobody_up(factory):
    bomb = gzip.compress(b" " * (200 << 20), 9)
    before = factory.daemons["gatewayd"].memory()
    with factory.raw() as raw:
        raw.send(factory.head("POST", CHAT, fields=[("Content-Encoding", "gzip")], length=len(bomb)) + bomb)
        assert raw.response().status == 413
    assert factory.daemons["gatewayd"].memory() < before + (12 << 20)
    assert factory.chat("tokens=1").status == 200
