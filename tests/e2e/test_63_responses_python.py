# SPDX-License-Identifier: Apache-2.0
"""The Responses API with the official OpenAI Python SDK against the whole factory: the real runtime with the project's
model, and the fake one where an answer has to be known or go wrong."""
import json
import urllib.parse

import openai
import pydantic
import pytest

from factory import MODEL, TINY, wait_for

FACTORY = {"runtime": "both"}
HELLO = "What is Token Factory?"
WEATHER = {"type": "function", "name": "get_weather", "description": "w", "strict": True,
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
AGENT = {  # as a coding agent declares its tools
    "tools": [{"type": "function", "name": "exec_command", "strict": False, "parameters": {"type": "object"}},
              {"type": "custom", "name": "apply_patch", "description": "Edits files.",
               "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin"}},
              {"type": "namespace", "name": "multi_agent_v1", "description": "Sub-agents.",
               "tools": [{"type": "function", "name": "close_agent", "strict": False, "parameters": {"type": "object"}}]},
              {"type": "web_search", "external_web_access": True}],
    "tool_choice": "auto", "parallel_tool_calls": True, "reasoning": {"summary": "auto"}, "store": False,
    "include": ["reasoning.encrypted_content"], "prompt_cache_key": "01a1",
}


def make(factory, **options):
    options = {"api_key": factory.key, "max_retries": 0, "timeout": 60, **options}
    return openai.OpenAI(base_url=factory.url + "/v1/", **options)


@pytest.fixture(scope="module")
def client(factory):
    return make(factory)


def fake(**script):
    return "fake?" + urllib.parse.urlencode(script)


def sent(factory, tag):
    body = factory.fake.last(tag)["body"]
    return json.loads(body) if isinstance(body, str) else body


def test_create(client):
    answer = client.responses.create(model=TINY, input=HELLO, temperature=0, max_output_tokens=60, metadata={"a": "b"})
    assert answer.object == "response" and answer.id.startswith("resp_") and answer.model == TINY and answer._request_id
    assert "control plane" in answer.output_text.lower() and answer.output[0].id.startswith("msg_")
    assert answer.status in ("completed", "incomplete") and answer.metadata == {"a": "b"} and answer.store is True
    assert answer.usage.input_tokens > 0 and 0 < answer.usage.output_tokens <= 60
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_stream_equals_create(client):
    ask = {"model": TINY, "input": [{"role": "user", "content": HELLO}], "temperature": 0, "max_output_tokens": 60}
    whole = client.responses.create(**ask)
    with client.responses.stream(**ask) as stream:
        pieces = [e.delta for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(pieces) == whole.output_text == final.output_text and len(pieces) > 5
    assert final.usage == whole.usage and final.status == whole.status and final.id != whole.id


def test_events(client):
    events = list(client.responses.create(model=MODEL, input=fake(tokens=3, prompt=12, cached=5), stream=True))
    assert [e.type.removeprefix("response.") for e in events] == (
        ["created", "in_progress", "output_item.added", "content_part.added"] + 3 * ["output_text.delta"]
        + ["output_text.done", "content_part.done", "output_item.done", "completed"])
    assert [e.sequence_number for e in events] == list(range(len(events)))
    usage = events[-1].response.usage
    assert (usage.input_tokens, usage.input_tokens_details.cached_tokens) == (12, 5)


@pytest.mark.parametrize("path", ["/v1/responses", "/openai/v1/responses", "/openai/responses", "/v1/v1/responses"])
def test_paths(factory, path):
    answer = factory.call("POST", path, {"model": MODEL, "input": fake(tokens=1)})
    assert answer.status == 200 and answer.json()["output"][0]["content"][0]["type"] == "output_text"


class City(pydantic.BaseModel):
    city: str
    days: int


@pytest.mark.parametrize("stream", [False, True])
def test_parse(client, factory, stream):
    ask = {"model": MODEL, "input": fake(say='{"city":"Oslo","days":3}', tag="parse"), "text_format": City}
    if stream:
        with client.responses.stream(**ask) as s:
            answer = s.get_final_response()
    else:
        answer = client.responses.parse(**ask)
    assert answer.output_parsed == City(city="Oslo", days=3)
    told = sent(factory, "parse")["response_format"]
    assert told["type"] == "json_schema" and told["json_schema"]["name"] == "City" and told["json_schema"]["strict"] is True


@pytest.mark.parametrize("stream", [False, True])
def test_tool_turn(client, factory, stream):
    ask = [{"role": "user", "content": fake(tools=2, interleave=1, reasoning="reasoning_content")}]
    if stream:
        with client.responses.stream(model=MODEL, input=ask, tools=[WEATHER]) as s:
            first = s.get_final_response()
    else:
        first = client.responses.create(model=MODEL, input=ask, tools=[WEATHER])
    assert [i.type for i in first.output] == ["reasoning", "function_call", "function_call"]
    calls = first.output[1:]
    assert [json.loads(c.arguments) for c in calls] == [{"city": "Paris", "days": i} for i in range(2)]
    assert len({c.call_id for c in calls}) == 2 and len({i.id for i in first.output}) == 3
    # the SDK's own way: what came back is said again, results behind it
    history = ask + [i.model_dump(exclude_none=True) for i in first.output]
    history += [{"type": "function_call_output", "call_id": c.call_id, "output": "5 degrees"} for c in reversed(calls)]
    history += [{"role": "user", "content": fake(tokens=2, tag="turn")}]
    second = client.responses.create(model=MODEL, input=history, tools=[WEATHER], instructions="be brief")
    assert second.status == "completed" and second.output_text == factory.text(2)
    messages = sent(factory, "turn")["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "tool", "tool", "user"]
    assert [m["tool_call_id"] for m in messages[3:5]] == [c.call_id for c in calls]
    assert messages[2]["reasoning_content"] == first.output[0].content[0].text


def test_reasoning_as_a_summary(client):
    ask = {"model": MODEL, "input": fake(tokens=2, thought=4, completion=9, reasoning="reasoning_content")}
    plain = client.responses.create(**ask)
    assert plain.output[0].type == "reasoning" and plain.output[0].content[0].text and plain.output[0].summary == []
    shown = client.responses.create(**ask, reasoning={"summary": "auto", "effort": "low"})
    assert shown.output[0].summary[0].text == plain.output[0].content[0].text and not shown.output[0].content
    assert shown.reasoning.effort == "low" and shown.usage.output_tokens_details.reasoning_tokens == 4
    with client.responses.stream(**ask, reasoning={"summary": "auto"}) as stream:
        assert stream.get_final_response().output[0].summary[0].text == shown.output[0].summary[0].text


def test_sealed_reasoning(client, factory):
    ask = {"model": MODEL, "input": fake(tokens=2, reasoning="reasoning_content"), "include": ["reasoning.encrypted_content"],
           "reasoning": {"summary": "auto"}, "store": False}
    whole = client.responses.create(**ask).output[0]
    with client.responses.stream(**ask) as stream:
        streamed = stream.get_final_response().output[0]
    assert whole.encrypted_content != streamed.encrypted_content and whole.summary[0].text == streamed.summary[0].text
    plain = client.responses.create(model=MODEL, input=ask["input"]).output[0]
    assert plain.encrypted_content is None

    def back(token, tag):
        item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": token}
        history = [{"role": "user", "content": "a"}, item, {"role": "assistant", "content": "b"},
                   {"role": "user", "content": fake(tokens=1, tag=tag)}]
        client.responses.create(model=MODEL, input=history)
        return sent(factory, tag)["messages"][1].get("reasoning_content")

    text = plain.content[0].text
    assert back(whole.encrypted_content, "sealed") == back(streamed.encrypted_content, "sealed2") == text
    # another provider's, and one that was changed: no reason to refuse a request
    assert back("gAAAAABelsewhere", "foreign") != text and back(whole.encrypted_content[:-8] + "AAAAAAA=", "changed") != text


@pytest.mark.parametrize("stream", [False, True])
def test_agent(client, factory, stream):
    """Namespaces, a custom tool and developer messages towards a runtime that knows functions only."""
    history = [{"type": "message", "id": "msg_1", "role": "developer", "content": [{"type": "input_text", "text": "one"}]},
               {"type": "message", "id": "msg_2", "role": "developer", "content": [{"type": "input_text", "text": "two"}]}]

    def ask(script, **more):
        body = {"model": MODEL, "input": history + [{"role": "user", "content": fake(**script)}] + more.pop("input", []),
                "stream": stream, **AGENT, **more}
        answer = factory.call("POST", "/v1/responses", body)
        assert answer.status == 200
        if not stream:
            return answer.json()
        last = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")][-1]
        assert last["type"] == "response.completed"
        return last["response"]

    patch = '*** Begin Patch\n"x"\\\u00e9\U0001f600'
    answer = ask({"tools": 1, "tool": "apply_patch", "args": json.dumps({"input": patch}), "tag": "agent"})
    (call,) = answer["output"]
    assert call["type"] == "custom_tool_call" and call["name"] == "apply_patch" and call["input"] == patch
    assert answer["tools"] == AGENT["tools"] and answer["store"] is False
    told = sent(factory, "agent")
    assert [t["function"]["name"] for t in told["tools"]] == ["exec_command", "apply_patch", "multi_agent_v1__close_agent"]
    assert told["messages"][0] == {"role": "system", "content": "one\n\ntwo"}
    answer = ask({"tools": 1, "tool": "multi_agent_v1__close_agent", "args": '{"target":"a"}'})
    (call,) = answer["output"]
    assert (call["type"], call["name"], call["namespace"]) == ("function_call", "close_agent", "multi_agent_v1")
    # the call is said again, with its result
    back = [call, {"type": "function_call_output", "call_id": call["call_id"], "output": "closed"},
            {"role": "user", "content": fake(tokens=1, tag="back")}]
    assert ask({"tokens": 1}, input=back)["status"] == "completed"
    (made,) = [m for m in sent(factory, "back")["messages"] if m["role"] == "assistant"]
    assert made["tool_calls"][0]["function"]["name"] == "multi_agent_v1__close_agent"


def test_a_cut_answer_is_incomplete(client):
    answer = client.responses.create(model=MODEL, input=fake(tokens=3, finish="length"))
    assert answer.status == "incomplete" and answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output[0].status == "incomplete" and answer.output_text
    with client.responses.stream(model=MODEL, input=fake(tokens=3, finish="length")) as stream:
        assert [e.type for e in stream][-1] == "response.incomplete"


@pytest.mark.parametrize("how", ["abort", "error_at", "cut"])
def test_a_broken_stream_fails(factory, how):
    answer = factory.call("POST", "/v1/responses", {"model": MODEL, "input": fake(tokens=6, **{how: 3}), "stream": True})
    assert answer.status == 200
    events = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    assert events[-1]["type"] == "response.failed" and events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"]["code"] == "upstream_error" and events[-1]["response"]["model"] == MODEL
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    first = events[0]["response"]
    assert (first["id"], first["created_at"]) == (events[-1]["response"]["id"], events[-1]["response"]["created_at"])


def test_nothing_given_is_an_http_error(client):
    with pytest.raises(openai.APIStatusError) as e:
        client.responses.create(model=MODEL, input=fake(status=400, message="too+odd", kind="invalid_request_error"))
    assert e.value.status_code == 400 and e.value.type == "invalid_request_error"


BAD = [({"input": []}, "input"), ({"tool_choice": "required"}, "tool_choice"), ({"max_output_tokens": 0}, "max_output_tokens"),
       ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"), ({"background": True}, "background"),
       ({"conversation": "conv_1"}, "conversation"), ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
       ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}]}, "input"),
       ({"input": [{"role": "user", "content": "a"}, {"type": "item_reference", "id": "msg_1"}]}, "input")]


@pytest.mark.parametrize("field,param", BAD, ids=[p + str(i) for i, (_, p) in enumerate(BAD)])
@pytest.mark.parametrize("stream", [False, True])
def test_bad_request(client, field, param, stream):
    with pytest.raises(openai.BadRequestError) as e:
        client.responses.create(**{"model": TINY, "input": "x", "stream": stream}, extra_body=field)
    assert e.value.param == param and e.value.type == "invalid_request_error" and e.value.code == "bad_request"


def test_unknown_previous_response(client):
    with pytest.raises(openai.NotFoundError) as e:
        client.responses.create(model=MODEL, input="x", previous_response_id="resp_gone")
    assert e.value.code == "previous_response_not_found" and e.value.param == "previous_response_id"


def test_unknown_model_and_key(factory, client):
    with pytest.raises(openai.NotFoundError) as e:
        client.responses.create(model="no/such", input="x")
    assert e.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        make(factory, api_key="tf-prod-wrong").responses.create(model=MODEL, input="x")


def test_input_tokens(client):
    small = client.responses.input_tokens.count(model=MODEL, input=HELLO)
    large = client.responses.input_tokens.count(model=MODEL, input=HELLO, tools=[WEATHER], instructions="word " * 200)
    assert small.object == "response.input_tokens"
    assert 0 < small.input_tokens < 30 and small.input_tokens + 200 < large.input_tokens < small.input_tokens + 600


def test_responses_body_on_the_chat_path(factory, client):
    """As one editor sends it: a body of this API where chat completions are, which is the answer it awaits."""
    body = {"tools": [WEATHER], "tool_choice": "auto", "model": MODEL, "instructions": "be brief", "user": "u",
            "input": [{"role": "system", "content": "one"}, {"role": "user", "content": fake(tools=1, tag="editor")}],
            "reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}}, "include": ["reasoning.encrypted_content"]}
    whole = factory.call("POST", "/v1/chat/completions", body).json()
    assert whole["object"] == "chat.completion" and whole["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    told = sent(factory, "editor")
    assert [m["role"] for m in told["messages"]] == ["system", "user"] and told["reasoning_effort"] == "low"
    assert told["messages"][0]["content"] == "be brief\n\none" and told["tools"][0]["function"]["name"] == "get_weather"
    answer = factory.call("POST", "/v1/chat/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})
    answer = answer.body.decode()
    assert answer.endswith("data: [DONE]\n\n") and "event:" not in answer
    chunks = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {")]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"} and chunks[-1]["usage"]["prompt_tokens"] > 0
    # what is wrong with it is said in its own words; with messages it is a chat body, whatever else it has
    refused = factory.call("POST", "/v1/chat/completions", {**body, "input": [{"role": "tool", "content": "x"}]})
    assert refused.status == 400 and refused.json()["error"]["param"] == "input[0].role"
    chat = factory.call("POST", "/v1/chat/completions", {"model": MODEL, "input": 3, "messages": [{"role": "user", "content": "x"}]})
    assert chat.status == 200
    broken = factory.call("POST", "/v1/chat/completions", {**body, "input": fake(tokens=6, abort=3), "stream": True})
    assert broken.body.decode().splitlines()[-2].startswith('data: {"error":')


def test_usage_is_recorded(factory, client):
    def totals():
        t = factory.call("GET", "/v1/usage?period=month").json()["totals"]
        return [int(t[n]) for n in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")]

    before = totals()
    client.responses.create(model=MODEL, input=fake(tokens=2, prompt=100000, cached=1000, completion=70000, thought=500))
    # other tests' answers may be booked meanwhile: theirs are small
    wait_for("the row", lambda: totals()[0] - before[0] >= 100000, 5)
    grown = [a - b for a, b in zip(totals(), before)]
    assert [g // 500 for g in grown] == [200, 2, 140, 1], grown
