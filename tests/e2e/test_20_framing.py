# SPDX-License-Identifier: Apache-2.0
"""Request framing on raw sockets (RFC 9112): what could let one request be read as two is refused,
on a fresh connection and on one that has served a request before. Nothing behind a refused request
is answered."""
import json

import pytest

GET = "GET /healthz HTTP/1.1\r\n"
POST = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %KEY%\r\n"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n"
NEXT = "GET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n"

REFUSED = {
    "two-lengths": (POST + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "two-lengths-that-differ": (POST + "Content-Length: 3\r\nContent-Length: 0\r\n\r\nabc", 400),
    "length-list": (POST + "Content-Length: 3, 3\r\n\r\nabc", 400),
    "length-and-chunked": (POST + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked-and-length": (POST + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "te-gzip": (POST + "Transfer-Encoding: gzip\r\n\r\n", 400),
    "te-gzip-chunked": (POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "te-chunked-identity": (POST + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "te-twice": (POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "te-unlike-chunked": (POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "te-space-before-colon": (POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "length-plus": (POST + "Content-Length: +3\r\n\r\nabc", 400),
    "length-minus": (POST + "Content-Length: -3\r\n\r\nabc", 400),
    "length-hex": (POST + "Content-Length: 0x3\r\n\r\nabc", 400),
    "length-empty": (POST + "Content-Length:\r\n\r\nabc", 400),
    "length-inner-space": (POST + "Content-Length: 1 2\r\n\r\nabc", 400),
    "length-overflow": (POST + "Content-Length: 18446744073709551619\r\n\r\nabc", 400),
    "chunk-size-0x": (CHUNKED + "0x3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk-size-plus": (CHUNKED + "+3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk-size-leading-space": (CHUNKED + " 3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk-size-minus": (CHUNKED + "-3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk-size-empty": (CHUNKED + "\r\nabc\r\n0\r\n\r\n", 400),
    "chunk-size-letters": (CHUNKED + "xyz\r\nabc\r\n0\r\n\r\n", 400),
    "chunk-size-overflow": (CHUNKED + "10000000000000003\r\nabc\r\n0\r\n\r\n", 400),
    "chunk-bare-lf": (CHUNKED + "3\nabc\r\n0\r\n\r\n", 400),
    "chunk-longer-than-said": (CHUNKED + "3\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk-without-its-end": (CHUNKED + "3\r\nabc0\r\n\r\n", 400),
    "chunk-trailer-without-colon": (CHUNKED + "0\r\nnonsense\r\n\r\n", 400),
    "bare-lf": ("GET /healthz HTTP/1.1\nHost: x\n\n", 400),
    "bare-lf-in-a-field": (GET + "Host: x\nX: y\r\n\r\n", 400),
    "bare-lf-at-the-end": (GET + "Host: x\r\n\n", 400),
    "obs-fold": (GET + "Host: x\r\nX: a\r\n b\r\n\r\n", 400),
    "obs-fold-tab": (GET + "Host: x\r\nX: a\r\n\tb\r\n\r\n", 400),
    "first-line-folded": (GET + " Host: x\r\n\r\n", 400),
    "nul-in-value": (GET + "Host: x\r\nX: a\0b\r\n\r\n", 400),
    "bare-cr-in-value": (GET + "Host: x\r\nX: a\rb\r\n\r\n", 400),
    "del-in-value": (GET + "Host: x\r\nX: a\x7fb\r\n\r\n", 400),
    "space-in-name": (GET + "Host: x\r\nX Y: a\r\n\r\n", 400),
    "space-after-name": (GET + "Host : x\r\n\r\n", 400),
    "nul-in-name": (GET + "Host: x\r\nX\0Y: a\r\n\r\n", 400),
    "high-byte-in-name": (GET + "Host: x\r\nX\xe9: a\r\n\r\n", 400),
    "empty-name": (GET + "Host: x\r\n: a\r\n\r\n", 400),
    "no-colon": (GET + "Host: x\r\nnonsense\r\n\r\n", 400),
    "no-host": (GET + "\r\n", 400),
    "two-hosts": (GET + "Host: x\r\nHost: y\r\n\r\n", 400),
    "two-equal-hosts": (GET + "Host: x\r\nhost: x\r\n\r\n", 400),
    "host-with-space": (GET + "Host: x y\r\n\r\n", 400),
    "space-in-target": ("GET /healthz /x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two-spaces-before-target": ("GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "tab-for-space": ("GET\t/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "nul-in-target": ("GET /heal\0thz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "high-byte-in-target": ("GET /heal\xffthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "target-without-slash": ("GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no-version": ("GET /healthz\r\nHost: x\r\n\r\n", 400),
    "leading-space": (" GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "control-in-method": ("GE\x01T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "http-1.2": ("GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n", 505),
    "http-2.0": ("GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "http-1.11": ("GET /healthz HTTP/1.11\r\nHost: x\r\n\r\n", (400, 505)),
    "lower-case-version": ("GET /healthz http/1.1\r\nHost: x\r\n\r\n", (400, 505)),
    "tls-hello": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "header-block-too-large": (GET + "Host: x\r\nX: " + "a" * 17000 + "\r\n\r\n", 431),
    "too-many-fields": (GET + "Host: x\r\n" + "".join("X%d: a\r\n" % i for i in range(120)) + "\r\n", 431),
    "target-too-long": ("GET /" + "a" * 10000 + " HTTP/1.1\r\nHost: x\r\n\r\n", (400, 414)),
    "expect-nonsense": (POST + "Expect: 200-ok\r\nContent-Length: 3\r\n\r\n", (400, 417)),
}


@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
@pytest.mark.parametrize("row", REFUSED)
def test_refused(factory, row, kept):
    text, status = REFUSED[row]
    with factory.raw() as raw:
        if kept:
            raw.send(GET + "Host: x\r\n\r\n")
            assert raw.response().status == 200
        raw.send_some((text.replace("%KEY%", factory.key) + NEXT).encode("latin-1"))
        r = raw.response("POST")
        assert r.status in (status if isinstance(status, tuple) else (status,)), (r.status, r.body)
        assert r.closes() and raw.closed_within(5), "the connection must end, and nothing behind it be answered"
        error = r.json()["error"]
        assert error["message"] and error["type"] == "invalid_request_error" and error["code"]
        assert r.get("x-request-id")


@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
@pytest.mark.parametrize("method", ["BREW", "get", "TRACE", "CONNECT", "PROPFIND"])
def test_unknown_method(factory, method, kept):
    with factory.raw() as raw:
        if kept:
            raw.send(GET + "Host: x\r\n\r\n")
            assert raw.response().status == 200
        raw.send("%s /healthz HTTP/1.1\r\nHost: x\r\n\r\n" % method)
        r = raw.response()
        assert r.status == 405 and r.error["code"] == "method_not_allowed", r.body
        assert r.get("allow")


ACCEPTED = {
    "leading-crlf": "\r\n" + GET + "Host: x\r\n\r\n",
    "no-space-after-colon": GET + "Host:x\r\n\r\n",
    "blanks-around-value": GET + "Host: \t x \t\r\n\r\n",
    "empty-value": GET + "Host: x\r\nX:\r\n\r\n",
    "high-bytes-in-value": GET + "Host: x\r\nX: caf\xc3\xa9\r\n\r\n",
    "tab-in-value": GET + "Host: x\r\nX: a\tb\r\n\r\n",
    "absolute-target": "GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "query": "GET /healthz?a=b&c HTTP/1.1\r\nHost: x\r\n\r\n",
    "host-with-port": GET + "Host: [::1]:8080\r\n\r\n",
    "empty-body": GET + "Host: x\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("row", ACCEPTED)
def test_accepted(factory, row):
    with factory.raw() as raw:
        for _ in range(2):
            raw.send(ACCEPTED[row])
            r = raw.response()
            assert r.status == 200 and not r.closes(), r.body


def test_byte_by_byte(factory):
    body = json.dumps(factory.body("tokens=1")).encode()
    with factory.raw() as raw:
        for byte in factory.head("POST", "/v1/chat/completions", length=len(body)) + body:
            raw.send(bytes([byte]))
        assert raw.response().status == 200


def test_chunk_extension_and_trailer(factory):
    body = json.dumps(factory.body("tokens=1")).encode()
    with factory.raw() as raw:
        for _ in range(2):
            raw.send(factory.head("POST", "/v1/chat/completions", fields=[("Transfer-Encoding", "Chunked")]))
            raw.send(b'%X;a=b;c="d;e"\r\n%s\r\n000;x\r\nX-T: 1\r\n\r\n' % (len(body), body))
            assert raw.response().status == 200


def test_many_connections_of_garbage_disturb_nobody(factory):
    stream = factory.open("tokens=100&delay_ms=10")
    for i in range(100):
        with factory.raw() as raw:
            raw.send_some(bytes((i * 7 + k * 31) % 256 for k in range(500)) + b"\r\n\r\n")
    stream.take_all(stream.raw)
    stream.check_canonical()
    assert stream.text() == factory.text(100)
