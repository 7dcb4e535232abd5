# SPDX-License-Identifier: Apache-2.0
"""Bodies that are no JSON, or not the JSON of a chat: 400 that names the place or the parameter, and
nothing reaches the runtime."""
import concurrent.futures
import json

import pytest

from factory import MODEL, soon

M = b'"model":"fake/model"'
MSG = b'"messages":[{"role":"user","content":"x"}]'
GOOD = b"{" + M + b"," + MSG + b"}"


def body(*members):
    return b"{" + b",".join(members) + b"}"


# Words of which the message must hold one: where in the body it went wrong.
PLACE = ("column", "byte")

# name -> (body, words)
BROKEN = {
    "empty": (b"", ("empty", "JSON", "end", "byte", "body")),
    "blank": (b"   ", PLACE + ("end",)),
    "truncated": (GOOD[:-5], PLACE + ("end",)),
    "truncated-in-string": (b'{"model":"fa', PLACE + ("end",)),
    "truncated-in-escape": (b'{"model":"\\u12', PLACE + ("end",)),
    "trailing-garbage": (GOOD + b"x", PLACE),
    "two-documents": (GOOD + GOOD, PLACE),
    "trailing-comma": (b"{" + M + b"," + MSG + b",}", PLACE),
    "array-trailing-comma": (body(M, MSG, b'"x":[1,]'), PLACE),
    "no-colon": (b'{"model" "x"}', PLACE),
    "single-quotes": (b"{'model':'x'}", PLACE),
    "comment": (b"{/* */" + M + b"," + MSG + b"}", PLACE),
    "nan": (body(M, MSG, b'"temperature":NaN'), PLACE),
    "infinity": (body(M, MSG, b'"temperature":-Infinity'), PLACE),
    "number-overflow": (body(M, MSG, b'"temperature":1e999'), PLACE + ("temperature", "range", "large")),
    "integer-overflow": (body(M, MSG, b'"max_tokens":99999999999999999999'), ("max_tokens",)),
    "leading-zero": (body(M, MSG, b'"max_tokens":01'), PLACE),
    "plus-number": (body(M, MSG, b'"max_tokens":+1'), PLACE),
    "hex-number": (body(M, MSG, b'"seed":0x10'), PLACE),
    "dot-number": (body(M, MSG, b'"temperature":.5'), PLACE),
    "raw-newline-in-string": (body(b'"model":"a\nb"', MSG), PLACE),
    "nul-in-string": (body(b'"model":"a\0b"', MSG), PLACE),
    "bad-escape": (body(b'"model":"\\x"', MSG), PLACE),
    "lone-surrogate": (body(b'"model":"\\ud800"', MSG), PLACE),
    "overlong-utf8": (body(b'"model":"\xc0\xaf"', MSG), PLACE + ("UTF-8",)),
    "utf8-surrogate": (body(b'"model":"\xed\xa0\x80"', MSG), PLACE + ("UTF-8",)),
    "latin1": (body(b'"model":"caf\xe9"', MSG), PLACE + ("UTF-8",)),
    "utf8-above-10ffff": (body(b'"model":"\xf4\x90\x80\x80"', MSG), PLACE + ("UTF-8",)),
    "bom": (b"\xef\xbb\xbf" + GOOD, PLACE),
    "utf16": (GOOD.decode().encode("utf-16-le"), PLACE),
    "depth-10000": (b'{"x":' + b"[" * 10000 + b"]" * 10000 + b"," + M + b"," + MSG + b"}", PLACE + ("deep", "nest")),
    "million-keys": (
        b"{" + b",".join(b'"k%d":1' % i for i in range(1_000_000)) + b"," + M + b"," + MSG + b"}",
        PLACE + ("many", "values"),
    ),
    "not-an-object": (b"[" + GOOD + b"]", ("object", "byte")),
    "a-string": (b'"hello"', ("object", "byte")),
    "a-literal": (b"null", ("object", "byte")),
}


@pytest.mark.parametrize("row", BROKEN)
def test_broken_json(factory, row):
    text, words = BROKEN[row]
    r = factory.call("POST", "/v1/chat/completions", text)
    assert r.status == 400, (r.status, r.body)
    error = r.error
    assert error["type"] == "invalid_request_error" and error["code"] == "bad_request", error
    assert any(w.lower() in (error["message"] + " " + str(error["param"])).lower() for w in words), error


# name -> (members, param)
WRONG = {
    "no-model": ([MSG], "model"),
    "model-null": ([b'"model":null', MSG], "model"),
    "model-number": ([b'"model":1', MSG], "model"),
    "model-empty": ([b'"model":""', MSG], "model"),
    "duplicate-model": ([M, b'"model":"other"', MSG], "model"),
    "duplicate-messages": ([M, MSG, MSG], "messages"),
    "duplicate-stream": ([M, MSG, b'"stream":true', b'"stream":false'], "stream"),
    "duplicate-escaped": ([M, b'"mod\\u0065l":"other"', MSG], "mod\\u0065l"),  # as the client wrote it
    "no-messages": ([M], "messages"),
    "messages-null": ([M, b'"messages":null'], "messages"),
    "messages-empty": ([M, b'"messages":[]'], "messages"),
    "messages-object": ([M, b'"messages":{}'], "messages"),
    "messages-of-strings": ([M, b'"messages":["hi"]'], "messages"),
    "role-missing": ([M, b'"messages":[{"content":"x"}]'], "messages"),
    "role-unknown": ([M, b'"messages":[{"role":"wizard","content":"x"}]'], "messages"),
    "content-number": ([M, b'"messages":[{"role":"user","content":5}]'], "messages"),
    "stream-string": ([M, MSG, b'"stream":"yes"'], "stream"),
    "stream-number": ([M, MSG, b'"stream":1'], "stream"),
    "stream-options-array": ([M, MSG, b'"stream":true', b'"stream_options":[]'], "stream_options"),
    "temperature-high": ([M, MSG, b'"temperature":2.1'], "temperature"),
    "temperature-low": ([M, MSG, b'"temperature":-0.1'], "temperature"),
    "temperature-string": ([M, MSG, b'"temperature":"1"'], "temperature"),
    "top-p-high": ([M, MSG, b'"top_p":1.5'], "top_p"),
    "n-zero": ([M, MSG, b'"n":0'], "n"),
    "n-too-many": ([M, MSG, b'"n":129'], "n"),
    "n-fraction": ([M, MSG, b'"n":1.5'], "n"),
    "max-tokens-zero": ([M, MSG, b'"max_tokens":0'], "max_tokens"),
    "max-tokens-negative": ([M, MSG, b'"max_tokens":-5'], "max_tokens"),
    "max-tokens-fraction": ([M, MSG, b'"max_tokens":1.5'], "max_tokens"),
    "max-tokens-string": ([M, MSG, b'"max_tokens":"10"'], "max_tokens"),
    "max-completion-tokens": ([M, MSG, b'"max_completion_tokens":0'], "max_completion_tokens"),
    "stop-number": ([M, MSG, b'"stop":1'], "stop"),
    "tools-object": ([M, MSG, b'"tools":{}'], "tools"),
    "tool-choice-number": ([M, MSG, b'"tool_choice":1'], "tool_choice"),
    "response-format-string": ([M, MSG, b'"response_format":"json"'], "response_format"),
    "frequency-penalty": ([M, MSG, b'"frequency_penalty":3'], "frequency_penalty"),
    "presence-penalty": ([M, MSG, b'"presence_penalty":-2.5'], "presence_penalty"),
    "top-logprobs": ([M, MSG, b'"logprobs":true', b'"top_logprobs":21'], "top_logprobs"),
    "logprobs-string": ([M, MSG, b'"logprobs":"yes"'], "logprobs"),
    "seed-string": ([M, MSG, b'"seed":"x"'], "seed"),
    "user-number": ([M, MSG, b'"user":5'], "user"),
}


@pytest.mark.parametrize("row", WRONG)
def test_wrong_field(factory, row):
    members, param = WRONG[row]
    factory.fake.forget()
    r = factory.call("POST", "/v1/chat/completions", body(*members))
    assert r.status == 400, (r.status, r.body)
    error = r.error
    assert error["type"] == "invalid_request_error" and error["code"] == "bad_request", error
    assert (error["param"] or "").split("[")[0].split(".")[0] == param, error
    assert error["message"] and factory.fake.requests() == []


ACCEPTED = {
    "nulls": [
        M, MSG, b'"stream":null', b'"max_tokens":null', b'"temperature":null', b'"top_p":null', b'"n":null', b'"stop":null',
        b'"user":null', b'"logprobs":null', b'"response_format":null', b'"seed":null',
    ],
    "bounds": [M, MSG, b'"temperature":2', b'"top_p":1', b'"n":1', b'"max_tokens":1', b'"frequency_penalty":-2'],
    "integral-float": [M, MSG, b'"max_tokens":5.0'],
    "escaped-key": [b'"mod\\u0065l":"fake/model"', MSG],
    "escaped-value": [b'"model":"fake\\/model"', MSG],
    "unknown-fields": [M, MSG, b'"new_thing":{"a":[1,2,{"b":null}]}'],
    "content-parts": [M, b'"messages":[{"role":"user","content":[{"type":"text","text":"x","new":1}]}]'],
    "developer": [M, b'"messages":[{"role":"developer","content":"be brief"},{"role":"user","content":"x"}]'],
    "two-users": [M, b'"messages":[{"role":"user","content":"x"},{"role":"user","content":"y"}]'],
    "stop-list": [M, MSG, b'"stop":["a","b","c","d"]'],
    "big-unread-number": [M, MSG, b'"whatever":123456789012345678901234567890'],
    "surrogate-pair": [M, b'"messages":[{"role":"user","content":"\\ud83d\\ude00 \xf0\x9f\x98\x80"}]'],
    "white-space": [b" \n\t" + M, b"\r\n " + MSG],
    "effort-unknown": [M, MSG, b'"reasoning_effort":"gigantic"'],
    "tool-history": [
        M,
        b'"messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",'
        b'"function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"ok"}]',
    ],
}


@pytest.mark.parametrize("row", ACCEPTED)
def test_accepted(factory, row):
    r = factory.call("POST", "/v1/chat/completions", body(*ACCEPTED[row]))
    assert r.status == 200, r.body


def test_depth_within_the_limit(factory):
    deep = b'"x":' + b"[" * 100 + b"]" * 100
    assert factory.call("POST", "/v1/chat/completions", body(M, MSG, deep)).status == 200


def test_content_types(factory):
    text = json.dumps(factory.body("tokens=1")).encode()
    for kind in ("application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain"):
        with factory.raw() as raw:
            raw.send(factory.head("POST", "/v1/chat/completions", fields=[("Content-Type", kind), ("Content-Length", str(len(text)))]) + text)
            assert raw.response().status == 200, kind
    for fields in ([("Content-Type", "multipart/form-data; boundary=x")], [("Content-Encoding", "br")]):
        with factory.raw() as raw:
            raw.send(factory.head("POST", "/v1/chat/completions", fields=fields + [("Content-Length", str(len(text)))]) + text)
            r = raw.response()
            assert r.status == 415 and r.error["code"] == "unsupported_media_type", r.body


def test_a_million_keys_stall_nobody(factory):
    """A stream of 5 ms goes on while large bodies are looked through."""
    text = BROKEN["million-keys"][0]

    def gap(_):
        stream = factory.open("tokens=150&delay_ms=5")
        it = iter(stream)
        next(it)
        with concurrent.futures.ThreadPoolExecutor(1) as pool, factory.raw() as raw:
            rest = pool.submit(list, it)
            raw.send(factory.head("POST", "/v1/chat/completions", length=len(text)))
            raw.send_some(text)
            assert raw.response().status == 400
            rest.result()
        stream.raw.close()
        assert stream.text() == factory.text(150)
        return max(b - a for a, b in zip(stream.sse.times, stream.sse.times[1:]))

    soon(0.5, gap)


def test_nothing_of_a_body_is_in_the_error(factory):
    secret = "CANARY-" + MODEL.replace("/", "")
    r = factory.call("POST", "/v1/chat/completions", ('{"messages":[{"role":"user","content":"%s"}],' % secret).encode())
    assert r.status == 400 and secret not in r.body.decode() and secret not in factory.logs()
