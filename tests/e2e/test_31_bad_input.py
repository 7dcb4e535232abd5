# SPDX-License-Identifier: Apache-2.0
"""The same mistakes on every surface that takes turns: 400 in that surface's shape, which names the field, with nothing sent
to the runtime; and the large and odd things that are no mistakes."""
import json

import pytest

from factory import MODEL

FACTORY = {"conf": {
    "model " + MODEL: {"capabilities": "chat, streaming, tools, json, vision, thinking, files"},
    "model fake/blind": {"capabilities": "chat,streaming,tools"},
    "worker fake": {"models": "%s = upstream-name, fake/blind = upstream-name" % MODEL},
}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


class Chat:
    path, cap, turns = "/v1/chat/completions", "max_completion_tokens", "messages"
    hot, ok = 2.5, {"messages": [{"role": "user", "content": "hi"}]}

    @staticmethod
    def parts(*parts):
        return {"messages": [{"role": "user", "content": list(parts)}]}

    @staticmethod
    def image(url):
        return {"type": "image_url", "image_url": {"url": url}}

    file = {"type": "file", "file": {"file_id": "file-abc"}}
    empty = {"messages": []}
    orphan = {"messages": [{"role": "user", "content": "hi"}, {"role": "tool", "tool_call_id": "gone", "content": "42"}]}

    @staticmethod
    def tool(name, schema):
        return {"type": "function", "function": {"name": name, "parameters": schema}}

    @staticmethod
    def said(answer):
        return answer["choices"][0]["message"]["content"]


class Messages(Chat):
    path, cap = "/anthropic/v1/messages", "max_tokens"
    hot, ok = 1.5, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 99}
    file = {"type": "image", "source": {"type": "file", "file_id": "file_abc"}}
    empty = {"messages": [], "max_tokens": 99}
    orphan = {"max_tokens": 99, "messages": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "gone", "content": "42"}, {"type": "text", "text": "hi"}]}]}

    @staticmethod
    def parts(*parts):
        return dict(Chat.parts(*parts), max_tokens=99)

    @staticmethod
    def image(url):
        if url.startswith("data:"):
            return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": url.split(",")[1]}}
        return {"type": "image", "source": {"type": "url", "url": url}}

    @staticmethod
    def tool(name, schema):
        return {"name": name, "input_schema": schema}

    @staticmethod
    def said(answer):
        return answer["content"][0]["text"]


class Responses(Chat):
    path, cap, turns = "/v1/responses", "max_output_tokens", "input"
    ok = {"input": "hi", "store": False}
    file = {"type": "input_file", "file_id": "file-abc"}
    empty = {"input": []}
    orphan = {"input": [{"role": "user", "content": "hi"}, {"type": "function_call_output", "call_id": "gone", "output": "42"}]}

    @staticmethod
    def parts(*parts):
        said = [dict(p, type="input_text") if p["type"] == "text" else p for p in parts]
        return {"input": [{"role": "user", "content": said}]}

    @staticmethod
    def image(url):
        return {"type": "input_image", "image_url": url}

    @staticmethod
    def tool(name, schema):
        return {"type": "function", "name": name, "parameters": schema}

    @staticmethod
    def said(answer):
        return answer["output"][0]["content"][0]["text"]


SURFACES = [Chat, Messages, Responses]
each = pytest.mark.parametrize("surface", SURFACES, ids=lambda s: s.__name__.lower())


def call(factory, surface, body, model=MODEL, fields=()):
    return factory.call("POST", surface.path, json.dumps(dict({"model": model}, **body)).encode(), fields=fields)


def refused(factory, surface, body, param, status=400, **more):
    factory.fake.forget()
    r = call(factory, surface, body, **more)
    assert r.status == status, (r.status, r.body)
    v = json.loads(r.body)
    if surface is Messages:
        assert v["type"] == "error" and v["request_id"] and v["error"]["type"] == "invalid_request_error", v
        assert v["error"]["details"]["error_code"] == "bad_request", v
    else:
        assert set(v["error"]) == {"message", "type", "param", "code"} and v["error"]["code"] == "bad_request", v
        assert (v["error"]["param"] or "").split("[")[0].split(".")[0] == param, v
    assert factory.fake.requests() == [], "it went to the runtime"


@each
@pytest.mark.parametrize("cap", [0, -1, 1.5, "9"])
def test_output_cap(factory, surface, cap):
    refused(factory, surface, dict(surface.ok, **{surface.cap: cap}), surface.cap)


@each
def test_temperature_out_of_the_range(factory, surface):
    for t in (surface.hot, -0.1, "warm"):
        refused(factory, surface, dict(surface.ok, temperature=t), "temperature")


@each
def test_no_turns(factory, surface):
    refused(factory, surface, surface.empty, surface.turns)
    refused(factory, surface, {k: v for k, v in surface.ok.items() if k != surface.turns}, surface.turns)


@each
def test_a_file_of_a_store_that_is_not_there(factory, surface):
    refused(factory, surface, surface.parts(surface.file), surface.turns)


@each
def test_an_image_for_a_model_without_eyes(factory, surface):
    body = surface.parts(surface.image("data:image/png;base64," + PNG))
    refused(factory, surface, body, surface.turns, model="fake/blind")


@each
def test_a_result_without_its_call_is_mended(factory, surface):
    r = call(factory, surface, surface.orphan)
    assert r.status == 200, r.body
    assert "42" in json.dumps(factory.fake.last()["body"])


@each
def test_what_nobody_knows_is_ignored(factory, surface):
    fields = [("anthropic-version", "2031-01-01"), ("anthropic-beta", "made-up-2031-01-01,another"), ("openai-beta", "x=1")]
    r = call(factory, surface, dict(surface.ok, brand_new={"deep": [1, 2]}, another_new=None), fields=fields)
    assert r.status == 200, r.body


@each
def test_500_tools_and_a_schema_of_1_mb(factory, surface):
    big = {"type": "object", "properties": {"p%d" % i: {"type": "string", "description": "d" * 980} for i in range(1024)}}
    tools = [surface.tool("tool_%d" % i, SCHEMA) for i in range(500)] + [surface.tool("large", big)]
    r = call(factory, surface, dict(surface.ok, tools=tools))
    assert r.status == 200, r.body
    sent = json.dumps(factory.fake.last()["body"])
    assert '"tool_499"' in sent and '"p1023"' in sent


@each
def test_a_data_url_of_10_mb(factory, surface):
    url = "data:image/png;base64," + PNG + "A" * (10 << 20)
    r = call(factory, surface, surface.parts(surface.image(url), {"type": "text", "text": "what is it"}))
    assert r.status == 200, r.body
    assert len(json.dumps(factory.fake.last()["body"])) > 10 << 20


@each
def test_a_body_above_the_cap(factory, surface):
    """Announced or not: 413 in the surface's shape, before it was read."""
    with factory.raw() as raw:
        raw.send(factory.head("POST", surface.path, length=33 << 20))
        r = raw.response()
    assert r.status == 413, r.body
    v = json.loads(r.body)
    assert (v["error"]["type"] == "request_too_large") == (surface is Messages), v


@each
def test_fields_that_say_nothing(factory, surface):
    r = call(factory, surface, dict(surface.ok, n=1, logprobs=False) if surface is Chat else dict(surface.ok, top_k=None, tools=None))
    assert r.status == 200 and surface.said(json.loads(r.body)), r.body
