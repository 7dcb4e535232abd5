# SPDX-License-Identifier: Apache-2.0
"""The official Anthropic Python SDK against the whole factory: the real runtime with the project's model,
and the fake one where an answer has to be known or go wrong."""
import json
import time
import urllib.parse

import anthropic
import pytest

from factory import MODEL, TINY, wait_for

FACTORY = {"runtime": "both"}
HELLO = [{"role": "user", "content": "What is Token Factory?"}]
COLD = {"temperature": 0}  # of the API, though the newest SDK no longer has the argument
WEATHER = {
    "name": "get_weather",
    "description": "w",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def make(factory, **options):
    options = {"api_key": factory.key, "max_retries": 0, "timeout": 60, **options}
    return anthropic.Anthropic(base_url=factory.url + "/anthropic/", **options)


@pytest.fixture(scope="module")
def client(factory):
    return make(factory)


def fake(script):
    return [{"role": "user", "content": "fake?" + script}]


def test_create(client):
    answer = client.messages.create(model=TINY, messages=HELLO, extra_body=COLD, max_tokens=60)
    assert answer.type == "message" and answer.role == "assistant" and answer.model == TINY and answer._request_id
    assert answer.id.startswith("msg_") and answer.content[0].type == "text"
    assert "control plane" in answer.content[0].text.lower()
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert answer.usage.input_tokens > 0 and 0 < answer.usage.output_tokens <= 60


def test_stream_equals_create(client):
    whole = client.messages.create(model=TINY, messages=HELLO, extra_body=COLD, max_tokens=60)
    with client.messages.stream(model=TINY, messages=HELLO, extra_body=COLD, max_tokens=60) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == whole.content[0].text == final.content[0].text and len(pieces) > 5
    assert final.stop_reason == whole.stop_reason and final.usage.output_tokens == whole.usage.output_tokens


def test_raw_stream(client):
    events = list(client.messages.create(model=MODEL, messages=fake("tokens=3&prompt=12"), max_tokens=20, stream=True))
    assert [e.type for e in events] == (
        ["message_start", "content_block_start"] + 3 * ["content_block_delta"]
        + ["content_block_stop", "message_delta", "message_stop"]
    )
    # known before the runtime says it: an estimate that is never nothing
    assert events[0].message.usage.input_tokens > 0
    assert events[-2].usage.input_tokens == 12 and events[-2].delta.stop_reason == "end_turn"


@pytest.mark.parametrize("path", ["/v1/messages", "/anthropic/v1/messages", "/anthropic/messages",
                                  "/anthropic/v1/v1/messages", "/v1/v1/messages", "/anthropic/v1/messages?beta=true"])
def test_paths(factory, path):
    body = {"model": MODEL, "max_tokens": 9, "messages": fake("tokens=1")}
    answer = factory.call("POST", path, body)
    assert answer.status == 200 and json.loads(answer.body)["content"][0]["type"] == "text"
    assert answer.get("request-id") == answer.get("x-request-id") is not None


def test_both_key_headers(factory):
    for options in ({"api_key": factory.key}, {"api_key": None, "auth_token": factory.key}):
        assert make(factory, **options).messages.create(model=MODEL, messages=fake("tokens=1"), max_tokens=5).content
    # another vendor's key in the other header does no harm
    for ours, x in ((factory.key, "sk-ant-api03-elsewhere-0123456789"), ("sk-elsewhere-0123456789", factory.key)):
        assert factory.call("GET", "/v1/models", key=ours, fields=[("x-api-key", x)]).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_tools(client, stream):
    ask = {"model": MODEL, "max_tokens": 99, "tools": [WEATHER], "messages": fake("tools=2&interleave=1")}
    if stream:
        with client.messages.stream(**ask) as s:
            answer = s.get_final_message()
    else:
        answer = client.messages.create(**ask)
    assert answer.stop_reason == "tool_use" and [b.type for b in answer.content] == ["tool_use", "tool_use"]
    assert [b.input for b in answer.content] == [{"city": "Paris", "days": i} for i in range(2)]
    assert len({b.id for b in answer.content}) == 2


def test_tool_turn(client, factory):
    first = client.messages.create(model=MODEL, max_tokens=99, tools=[WEATHER], messages=fake("tools=2"))
    results = [{"type": "tool_result", "tool_use_id": b.id, "content": "5 degrees"} for b in reversed(first.content)]
    turns = fake("tools=2") + [{"role": "assistant", "content": first.content},
                               {"role": "user", "content": results + [{"type": "text", "text": "fake?tokens=2&tag=turn"}]}]
    second = client.messages.create(model=MODEL, max_tokens=99, tools=[WEATHER], messages=turns, system="be brief")
    assert second.stop_reason == "end_turn" and second.content[0].text
    sent = factory.fake.last("turn")["body"]
    sent = json.loads(sent) if isinstance(sent, str) else sent
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "tool", "tool", "user"]
    assert [m["tool_call_id"] for m in sent["messages"][3:5]] == [b.id for b in first.content]


def test_thinking_is_shown_when_asked_for(client):
    ask = {"model": MODEL, "max_tokens": 2000, "messages": fake("reasoning=reasoning_content&tokens=2&thought=4&completion=9")}
    plain = client.messages.create(**ask)
    assert [b.type for b in plain.content] == ["text"]
    shown = client.messages.create(**ask, thinking={"type": "enabled", "budget_tokens": 1024})
    assert [b.type for b in shown.content] == ["thinking", "text"] and shown.content[0].signature
    # hidden or not, it is paid for
    assert plain.usage.output_tokens == shown.usage.output_tokens
    with client.messages.stream(**ask) as stream:
        assert [b.type for b in stream.get_final_message().content] == ["text"]


@pytest.mark.parametrize("stream", [False, True])
def test_long_tool_name(client, factory, stream):
    """Runtimes take 64 characters: they get fewer, and the client its own back, in the next turn too."""
    long = {**WEATHER, "name": "mcp__" + "x" * 100}
    short = "mcp__" + "x" * 50 + "_66d9c770"
    ask = {"model": MODEL, "max_tokens": 99, "tools": [WEATHER, long]}
    script = 'tools=1&tool=%s&args={"city":"Rome"}' % short
    if stream:
        with client.messages.stream(messages=fake(script), **ask) as s:
            (call,) = s.get_final_message().content
    else:
        (call,) = client.messages.create(messages=fake(script), **ask).content
    assert call.name == long["name"] and call.input == {"city": "Rome"}
    turns = fake(script) + [{"role": "assistant", "content": [call]}, {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": call.id, "content": "5"}, {"type": "text", "text": "fake?tokens=1&tag=long"}]}]
    client.messages.create(messages=turns, tool_choice={"type": "tool", "name": long["name"]}, **ask)
    sent = factory.fake.last("long")["body"]
    assert [t["function"]["name"] for t in sent["tools"]] == ["get_weather", short]
    assert sent["messages"][1]["tool_calls"][0]["function"]["name"] == short == sent["tool_choice"]["function"]["name"]


def test_typed_tools(client, factory):
    """Tools of the API's own that clients run work with any model; those that its provider runs are left out."""
    tools = [{"type": "bash_20250124", "name": "bash"}, {"type": "memory_20250818", "name": "memory"},
             {"type": "web_search_20250305", "name": "web_search"}]
    answer = client.messages.create(model=MODEL, max_tokens=99, tools=tools,
                                    messages=fake('tools=1&tool=bash&args={"command":"ls"}&tag=typed'))
    assert answer.content[0].name == "bash" and answer.content[0].input == {"command": "ls"}
    sent = factory.fake.last("typed")["body"]["tools"]
    assert [t["function"]["name"] for t in sent] == ["bash", "memory"]
    assert "command" in sent[0]["function"]["parameters"]["properties"] and sent[0]["function"]["description"]


def test_changed_thinking_is_left_out(client, factory):
    """Reasoning comes back with a signature: what the client changed is nothing that the model thought."""
    first = client.messages.create(model=MODEL, max_tokens=2000, messages=fake("reasoning=reasoning_content&tokens=1"),
                                   thinking={"type": "enabled", "budget_tokens": 1024})
    assert first.content[0].type == "thinking"
    for said, tag in ((first.content[0].thinking, "same"), ("something else", "changed")):
        block = {"type": "thinking", "thinking": said, "signature": first.content[0].signature}
        client.messages.create(model=MODEL, max_tokens=99, messages=fake("x=1") + [
            {"role": "assistant", "content": [block, {"type": "text", "text": "b"}]}, *fake("tokens=1&tag=sig" + tag)])
    sent = [factory.fake.last("sig" + tag)["body"]["messages"][1] for tag in ("same", "changed")]
    assert sent[0]["reasoning_content"] == "thinking" and "reasoning_content" not in sent[1]


@pytest.mark.parametrize("text, told", [
    ("This model's maximum context length is 4096 tokens. However, you requested 5009 tokens "
     "(5000 in the messages, 9 in the completion).", "prompt is too long: 5000 tokens > 4096 maximum"),
    ("The input (5000 tokens) is longer than the model's context length (4096 tokens).",
     "prompt is too long: 5000 tokens > 4096 maximum"),
])
def test_too_long(client, text, told):
    with pytest.raises(anthropic.BadRequestError) as failed:
        client.messages.create(model=MODEL, max_tokens=9,
                               messages=fake("status=400&kind=BadRequestError&message=" + urllib.parse.quote(text)))
    assert failed.value.body["error"]["message"] == told


def test_count_tokens(client):
    small = client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens
    large = client.messages.count_tokens(model=MODEL, messages=HELLO, tools=[WEATHER], system="word " * 200).input_tokens
    assert 0 < small < 30 and small + 200 < large < small + 600


def test_count_tokens_is_what_the_runtime_charges(client, factory):
    """The real runtime counts with its own tokenizer and template."""
    system = "Answer in one word. " * 9
    before = int(factory.usage()["requests"])
    count = client.messages.count_tokens(model=TINY, messages=HELLO, system=system).input_tokens
    answer = client.messages.create(model=TINY, messages=HELLO, system=system, max_tokens=1)
    used = answer.usage.input_tokens + answer.usage.cache_read_input_tokens
    assert used - 1 <= count <= used, (count, answer.usage)  # its count leaves out the token that begins a text
    factory.settled(before + 1)


def test_a_cap_above_the_limit_is_lowered(factory, fresh):
    small = fresh(conf={"model " + MODEL: {"max-output": "50"}})
    make(small).messages.create(model=MODEL, messages=fake("tokens=1&tag=cap"), max_tokens=128000)
    make(small).messages.create(model=MODEL, messages=fake("tokens=1&tag=low"), max_tokens=20)
    small.chat("tokens=1&tag=chat", max_tokens=128000)
    small.chat("tokens=1&tag=none")
    bodies = [small.fake.last(tag)["body"] for tag in ("cap", "low", "chat", "none")]
    bodies = [json.loads(b) if isinstance(b, str) else b for b in bodies]
    assert [b.get("max_tokens") for b in bodies] == [50, 20, 50, None]


def test_models(factory, client):
    listed = list(client.models.list())
    assert sorted(m.id for m in listed) == sorted([MODEL, TINY]) and all(m.type == "model" for m in listed)
    assert client.models.retrieve(TINY).id == TINY and client.models.retrieve(TINY).created_at.year == 1970
    # page by page, both ways
    page = client.models.list(limit=1)
    assert [m.id for m in page.data] == [listed[0].id] and page.has_more and page.first_id == page.last_id == listed[0].id
    assert [m.id for m in client.models.list(limit=1)] == [m.id for m in listed]
    back = client.models.list(limit=1, before_id=listed[1].id)
    assert [m.id for m in back.data] == [listed[0].id] and not back.has_more
    with pytest.raises(anthropic.BadRequestError):
        client.models.list(limit=0)
    with pytest.raises(anthropic.BadRequestError):
        client.models.list(after_id="no/such")
    # on the bare prefix the version header decides
    version = [("anthropic-version", "2023-06-01")]
    assert "has_more" in factory.call("GET", "/v1/models", fields=version).json()
    assert factory.call("GET", "/v1/models").json()["object"] == "list"


def test_wrong_key(factory):
    with pytest.raises(anthropic.AuthenticationError) as e:
        make(factory, api_key="tf-prod-wrong").messages.create(model=TINY, messages=HELLO, max_tokens=5)
    assert e.value.status_code == 401 and e.value.body["error"]["type"] == "authentication_error"
    # clients of this API repeat even a 401 unless they are told not to
    began = time.monotonic()
    with pytest.raises(anthropic.AuthenticationError):
        make(factory, api_key="tf-prod-wrong", max_retries=6).models.list()  # with pauses of 17 s
    assert time.monotonic() - began < 10


def test_unknown_model(client):
    with pytest.raises(anthropic.NotFoundError) as e:
        client.messages.create(model="no/such", messages=HELLO, max_tokens=5)
    error = e.value.body["error"]
    assert error["type"] == "not_found_error" and error["details"]["error_code"] == "model_not_found"
    assert e.value.body["request_id"] == e.value.response.headers["request-id"]


@pytest.mark.parametrize("field", [{"max_tokens": 0}, {"messages": []}, {"tool_choice": {"type": "any"}}])
def test_bad_request(client, field):
    with pytest.raises(anthropic.BadRequestError) as e:
        client.messages.create(**{"model": MODEL, "messages": HELLO, "max_tokens": 5, **field})
    assert e.value.body["error"]["type"] == "invalid_request_error"
    assert e.value.body["error"]["details"]["param"] in field


def test_thread_is_refused_with_the_code_that_sdks_know(factory):
    body = {"model": MODEL, "max_tokens": 9, "messages": HELLO, "thread": {"type": "create"}}
    answer = factory.call("POST", "/anthropic/v1/messages?beta=true", body)
    assert answer.status == 400
    assert answer.json()["error"]["details"]["error_code"] == "thread_unsupported_request"


def test_rate_limit(fresh):
    factory = fresh(conf={"plan slow": {"rpm": "2"}}, plan="slow")
    client = make(factory)
    for _ in range(2):
        raw = client.messages.with_raw_response.create(model=MODEL, messages=fake("tokens=1"), max_tokens=5)
        assert raw.headers["anthropic-ratelimit-requests-limit"] == "2"
        assert raw.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    with pytest.raises(anthropic.RateLimitError) as e:
        client.messages.create(model=MODEL, messages=fake("tokens=1"), max_tokens=5)
    assert e.value.body["error"]["type"] == "rate_limit_error" and int(e.value.response.headers["retry-after"]) > 0
    assert e.value.body["error"]["details"]["error_code"] == "rate_limit_exceeded"


def test_error_inside_a_stream(client):
    with pytest.raises(anthropic.APIStatusError) as e:
        with client.messages.stream(model=MODEL, messages=fake("tokens=5&abort=2"), max_tokens=20) as stream:
            list(stream.text_stream)
    assert e.value.body["error"]["type"] == "api_error" and e.value.body["request_id"]


def test_ping_keeps_a_silent_stream_alive(fresh):
    factory = fresh(conf={"gatewayd": {"ping-after": "1s"}})
    body = {"model": MODEL, "max_tokens": 9, "stream": True, "messages": fake("tokens=2&first_ms=2500")}
    text = factory.call("POST", "/anthropic/v1/messages", body).body.decode()
    assert text.startswith('event: ping\ndata: {"type":"ping"}\n\n') and text.count("event: message_stop") == 1
    client = make(factory)
    with client.messages.stream(model=MODEL, messages=body["messages"], max_tokens=9) as stream:
        assert stream.get_final_text()


def test_usage_counts_as_anthropic(factory, client):
    before = factory.call("GET", "/v1/usage?surface=anthropic").json()["totals"]["requests"]
    client.messages.create(model=MODEL, messages=fake("tokens=1"), max_tokens=5)
    wait_for("the ledger", lambda: factory.call("GET", "/v1/usage?surface=anthropic").json()["totals"]["requests"] > before)
