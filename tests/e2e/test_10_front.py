# SPDX-License-Identifier: Apache-2.0
"""The plainest things: health, listings, one answer, one stream, errors in the right shape."""
import json
import re

import pytest

from factory import MODEL

ID = re.compile(r"^[0-9A-Za-z]{26}$")


def check_ids(response):
    assert ID.match(response.get("x-request-id")), response.pairs
    assert response.get("request-id") == response.get("x-request-id")


def check_openai_error(response, status, kind, code, param=None):
    assert response.status == status, response.body
    assert response.get("content-type").startswith("application/json")
    body = response.json()
    assert set(body["error"]) >= {"message", "type", "param", "code"}, body
    assert body["error"]["type"] == kind and body["error"]["code"] == code and body["error"]["param"] == param, body
    assert body["error"]["message"]
    check_ids(response)
    return body["error"]


@pytest.mark.parametrize("path", ["/healthz", "/health", "/readyz", "/ready"])
def test_health_needs_no_key(factory, path):
    r = factory.call("GET", path, key=False)
    assert r.status == 200 and r.json()["status"] in ("ok", "ready")


def test_head_has_no_body(factory):
    with factory.raw() as raw:
        raw.send("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        head = raw.response("HEAD")
        assert head.status == 200
        assert raw.response("GET").status == 200


def test_metrics(factory):
    r = factory.call("GET", "/metrics", key=False)
    assert r.status == 200 and r.get("content-type").startswith("text/plain")
    for line in r.body.decode().splitlines():
        assert line.startswith("#") or re.match(r"^[a-z_0-9]+(\{[^}]*\})? [-+0-9.eInfNa]+$", line), line


@pytest.mark.parametrize("base", ["/v1", "/openai/v1", "/openai", "/v1/v1"])
def test_base_urls(factory, base):
    assert factory.call("GET", base + "/models").status == 200
    assert factory.chat("tokens=2", path=base + "/chat/completions").text() == factory.text(2)


def test_models(factory):
    r = factory.call("GET", "/v1/models")
    check_ids(r)
    listing = r.json()
    assert listing["object"] == "list" and [m["id"] for m in listing["data"]] == [MODEL]
    model = listing["data"][0]
    assert model["object"] == "model" and isinstance(model["created"], int) and model["owned_by"]
    for path in ("/v1/models/" + MODEL, "/v1/models/" + MODEL.replace("/", "%2F"), "/openai/models/" + MODEL):
        assert factory.call("GET", path).json() == model
    error = check_openai_error(
        factory.call("GET", "/v1/models/no/such"), 404, "invalid_request_error", "model_not_found", "model",
    )
    assert "no/such" in error["message"]


def test_answer(factory):
    answer = factory.chat("tokens=3&prompt=11&cached=4")
    check_ids(answer.response)
    whole = answer.whole
    assert whole["object"] == "chat.completion" and whole["model"] == MODEL and isinstance(whole["created"], int)
    choice = whole["choices"][0]
    assert choice["index"] == 0 and choice["finish_reason"] == "stop" and choice["logprobs"] is None
    message = choice["message"]
    assert message["role"] == "assistant" and message["content"] == factory.text(3) and message["refusal"] is None
    assert "tool_calls" not in message
    usage = whole["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (11, 3, 14)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 4


def test_stream(factory):
    answer = factory.chat("tokens=3", stream=True).check_canonical()
    check_ids(answer.response)
    assert answer.response.get("content-type") == "text/event-stream; charset=utf-8"
    assert answer.response.get("cache-control") == "no-cache" and answer.response.get("x-accel-buffering") == "no"
    assert answer.text() == factory.text(3) and answer.finish() == "stop"
    assert all(e["model"] == MODEL for e in answer.events)


def test_stream_usage_on_request_only(factory):
    answer = factory.chat("tokens=3&prompt=9", stream=True, stream_options={"include_usage": True})
    answer.check_canonical(usage=True)
    assert answer.usage["prompt_tokens"] == 9 and answer.usage["completion_tokens"] == 3
    factory.chat("tokens=3&usage=always", stream=True).check_canonical(usage=False)
    # ours is always asked, whatever the client said
    assert factory.fake.last()["body"]["stream_options"]["include_usage"] is True


def test_keep_alive_serves_many(factory):
    with factory.raw() as raw:
        for i in range(20):
            answer = factory.open("tokens=%d" % (i % 3 + 1), stream=i % 2 == 0, raw=raw).take_all(raw)
            assert answer.text() == factory.text(i % 3 + 1)


def test_pipelined_requests_are_answered_in_order(factory):
    bodies = [json.dumps(factory.body("tokens=%d" % n)).encode() for n in (1, 2, 3)]
    with factory.raw() as raw:
        raw.send(b"".join(factory.head("POST", "/v1/chat/completions", length=len(b)) + b for b in bodies))
        for n in (1, 2, 3):
            assert raw.response().json()["choices"][0]["message"]["content"] == factory.text(n)


def test_the_runtime_sees_its_own_name_and_no_credentials(factory):
    factory.chat("tokens=1&tag=cred", fields=[("Cookie", "a=b"), ("OpenAI-Organization", "org"), ("X-Secret", "s")])
    seen = factory.fake.last("cred")
    assert seen["body"]["model"] == "upstream-name"
    names = {k.lower() for k, _ in seen["headers"]}
    assert not names & {"authorization", "x-api-key", "cookie", "openai-organization", "x-secret"}, names
    assert factory.key not in json.dumps(seen)


def test_x_api_key(factory):
    body = json.dumps(factory.body("tokens=1")).encode()
    r = factory.call("POST", "/v1/chat/completions", body, key=False, fields=[("X-Api-Key", factory.key)])
    assert r.status == 200


@pytest.mark.parametrize("path", ["/v2/x", "/openai/v1/files", "/v1/batches"])
def test_unknown_path(factory, path):
    check_openai_error(factory.call("POST", path, {}), 404, "invalid_request_error", "not_found")


def test_stored_completions_are_no_html(factory):
    r = factory.call("GET", "/v1/chat/completions/chatcmpl-1")
    check_openai_error(r, 404, "invalid_request_error", "not_found")


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/anthropic/v1/messages/batches", "/anthropic/embeddings", "/anthropic/nothing"])
def test_anthropic_shape(factory, path):
    r = factory.call("POST", path, {"model": "x"})
    assert r.status == 404
    body = r.json()
    assert body["type"] == "error" and body["error"]["type"] == "not_found_error" and body["error"]["message"]
    assert body["request_id"] == r.get("request-id")
    check_ids(r)


def test_wrong_method(factory):
    r = factory.call("GET", "/v1/chat/completions")
    check_openai_error(r, 405, "invalid_request_error", "method_not_allowed")
    assert "POST" in r.get("allow")
    r = factory.call("DELETE", "/v1/models")
    assert r.status == 405 and "GET" in r.get("allow")


def test_unknown_model(factory):
    r = factory.chat("", model="no/such")
    assert r.status == 404 and r.error["code"] == "model_not_found" and r.error["param"] == "model", r.error
    assert r.error["type"] == "invalid_request_error" and "no/such" in r.error["message"]


def test_tools_pass_through(factory):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    answer = factory.chat("tools=2&tag=tools", tools=tools, tool_choice="auto")
    calls = answer.whole["choices"][0]["message"]["tool_calls"]
    assert [json.loads(c["function"]["arguments"])["days"] for c in calls] == [0, 1]
    assert answer.finish() == "tool_calls" and answer.whole["choices"][0]["message"]["content"] is None
    assert factory.fake.last("tools")["body"]["tools"] == tools


def test_unknown_fields_pass_and_dangerous_ones_do_not(factory):
    factory.chat(
        "tokens=1&tag=deny", top_k=5, min_p=0.1, made_up={"a": [1]}, chat_template="x", priority=9, cache_salt="s",
        id_slot=3, request_id="r", kv_transfer_params={}, prompt_logprobs=1, slot_id=1, vllm_xargs={},
        mm_processor_kwargs={},
    )
    seen = factory.fake.last("deny")["body"]
    assert seen["top_k"] == 5 and seen["made_up"] == {"a": [1]}
    assert not set(seen) & {
        "chat_template", "priority", "cache_salt", "id_slot", "request_id", "kv_transfer_params", "prompt_logprobs",
        "slot_id", "vllm_xargs", "mm_processor_kwargs",
    }, sorted(seen)


def test_duplicate_keys_the_gateway_does_not_read(factory):
    body = b'{"model":"%s","seed":1,"seed":2,"messages":[{"role":"user","content":"fake?tokens=1"}]}' % MODEL.encode()
    assert factory.call("POST", "/v1/chat/completions", body).status == 200


def test_large_body_travels_whole(factory):
    text = "fake?tokens=1&tag=large\n" + "x" * 3_000_000 + "end"
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    assert factory.call("POST", "/v1/chat/completions", body).status == 200
    assert factory.fake.last("large")["body"]["messages"][0]["content"] == text


def test_chunked_body(factory):
    body = json.dumps(factory.body("tokens=1")).encode()
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", fields=[("Transfer-Encoding", "chunked")]))
        for i in range(0, len(body), 7):
            piece = body[i : i + 7]
            raw.send(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
        raw.send("0\r\nTrailer: x\r\n\r\n")
        assert raw.response().status == 200


def test_http_1_0(factory):
    body = json.dumps(factory.body("tokens=2", stream=True)).encode()
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", length=len(body)).replace(b"HTTP/1.1", b"HTTP/1.0") + body)
        r = raw.response()
        assert r.status == 200 and r.get("transfer-encoding") is None and r.body.endswith(b"data: [DONE]\n\n")


def test_usage_endpoint_shape(factory):
    r = factory.call("GET", "/v1/usage")
    assert r.status == 200
    u = r.json()
    assert u["object"] == "usage" and u["currency"] in ("USD", None)
    for name in ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "total_tokens"):
        assert isinstance(u["totals"][name], int), u
    for name in ("workspace", "period", "surface", "start", "end", "by_surface", "by_model", "by_key", "by_day", "budget", "caps"):
        assert name in u, name


def test_status_and_config(factory):
    assert "fake" in factory.keyctl_run("status").stdout
    rows = factory.keyctl("config", "show", "--daemon", "gatewayd", "--set")
    assert any(r["section"] == "gatewayd" and r["key"] == "drain-timeout" for r in rows)


def test_strict(factory):
    """What would have no effect is said in a field of the answer, or refused when the caller wants that."""
    more = {"chat_template": "x", "priority": 3}
    answer = factory.chat("tokens=1", **more)
    assert answer.status == 200 and set(answer.response.get("x-tf-dropped-params").split(",")) == set(more)
    for value in ("true", "True", "1"):
        for stream in (False, True):
            refused = factory.chat("tokens=1", stream=stream, fields=[("X-TF-Strict", value)], **more)
            assert refused.status == 400 and refused.error["code"] == "bad_request"
            assert refused.error["param"] in more and all(name in refused.error["message"] for name in more)
    assert factory.chat("tokens=1", fields=[("x-tf-strict", "true")]).status == 200
    assert factory.chat("tokens=1", fields=[("x-tf-strict", "false")], **more).status == 200
