# SPDX-License-Identifier: Apache-2.0
"""A runtime that speaks the Messages API as its provider does: the vendors' SDKs, streamed and not, with tools,
reasoning, structured output, and what goes wrong before and in the middle of an answer."""
import json

import anthropic
import openai
import pytest

from factory import MODEL

FACTORY = {"conf": {"worker fake": {"dialect": "anthropic_messages", "runtime-kind": "anthropic"}, "gatewayd": {"retries": "0"}}}
TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "w", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
CLIENT_TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
ARGS = [{"city": "Paris", "days": i} for i in range(3)]
STREAM = pytest.mark.parametrize("stream", [False, True])
MANNERS = pytest.mark.parametrize("manner", ["", "&whole_input=1", "&nostop=1", "&split=7", "&future=1"])
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture(scope="module")
def oai(factory):
    return openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def claude(factory):
    return anthropic.Anthropic(base_url=factory.url + "/anthropic", api_key=factory.key, max_retries=0, timeout=60)


def ask(script, **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": "fake?" + script}], **more}


def chat(client, stream, script, **more):
    """The whole completion either way."""
    if not stream:
        return client.chat.completions.create(**ask(script, **more))
    with client.chat.completions.stream(**ask(script, **more), stream_options={"include_usage": True}) as s:
        for _ in s:
            pass
        return s.get_final_completion()


def message(client, stream, **more):
    more = {"max_tokens": 2000, **more}
    if not stream:
        return client.messages.create(**more)
    with client.messages.stream(**more) as s:
        return s.get_final_message()


def fields(record):
    return {name.lower(): value for name, value in record["headers"]}


@MANNERS
@STREAM
def test_chat(oai, factory, stream, manner):
    answer = chat(oai, stream, "tokens=4&prompt=9&cached=3&completion=6&thought=2&tag=chat" + manner)
    assert answer.choices[0].message.content == factory.text(4) and answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL and answer.object == "chat.completion"
    u = answer.usage
    assert (u.prompt_tokens, u.completion_tokens, u.prompt_tokens_details.cached_tokens) == (9, 6, 3)
    assert u.completion_tokens_details.reasoning_tokens == 2
    sent = factory.fake.last("chat")
    assert sent["target"] == "/v1/messages" and sent["body"]["model"] == "upstream-name"
    assert sent["body"]["stream"] is stream and sent["body"]["max_tokens"] > 4096
    assert fields(sent)["anthropic-version"] == "2023-06-01" and "anthropic-beta" not in fields(sent)


@MANNERS
@STREAM
def test_tools(oai, stream, manner):
    answer = chat(oai, stream, "tools=3" + manner, tools=[TOOL])
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls" and not answer.choices[0].message.content
    assert [json.loads(c.function.arguments) for c in calls] == ARGS
    assert {c.function.name for c in calls} == {"get_weather"} and len({c.id for c in calls}) == 3


def test_tool_turn(oai, factory):
    first = oai.chat.completions.create(**ask("tools=2"), tools=[TOOL])
    calls = first.choices[0].message.tool_calls
    turns = [{"role": "system", "content": "be brief"}, *ask("tools=2")["messages"],
             first.choices[0].message.model_dump(exclude_none=True)]
    turns += [{"role": "tool", "tool_call_id": c.id, "content": "5 degrees"} for c in reversed(calls)]
    turns.append({"role": "user", "content": "fake?tokens=1&tag=turn"})
    oai.chat.completions.create(model=MODEL, messages=turns, tools=[TOOL], tool_choice="auto", parallel_tool_calls=False,
                                max_completion_tokens=3000, reasoning_effort="low", temperature=0.5)
    sent = factory.fake.last("turn")["body"]
    assert sent["system"] == "be brief" and sent["max_tokens"] == 3000
    assert [b["type"] for m in sent["messages"] for b in m["content"]] == \
        ["text", "tool_use", "tool_use", "tool_result", "tool_result", "text"]
    assert [b["tool_use_id"] for b in sent["messages"][2]["content"][:2]] == [c.id for c in calls]
    assert sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    # the calls came without reasoning: none may be asked for now
    assert sent["thinking"] == {"type": "disabled"}


def test_reasoning(oai, factory):
    for stream in (False, True):
        answer = chat(oai, stream, "reasoning=1&tokens=2&tag=reason", reasoning_effort="high", temperature=0.5).choices[0].message
        assert answer.content == factory.text(2) and answer.model_extra["reasoning_content"] == "thinking"
        sent = factory.fake.last("reason")["body"]
        assert sent["thinking"] == {"type": "adaptive"} and sent["output_config"] == {"effort": "high"}
        assert "temperature" not in sent


@STREAM
def test_schema(oai, factory, stream):
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}
    answer = chat(oai, stream, 'say={"a":7}&tag=schema',
                  response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    assert json.loads(answer.choices[0].message.content) == {"a": 7}
    sent = factory.fake.last("schema")["body"]["output_config"]["format"]
    assert sent["type"] == "json_schema" and sent["schema"]["additionalProperties"] is False
    assert sent["schema"]["properties"]["a"] == {"type": "integer", "description": "(minimum: 1)"}


@STREAM
def test_finish(oai, stream):
    with oai.chat.completions.with_streaming_response.create(**ask("refusal=1"), stream=stream) as answer:
        assert '"refusal":"no"' in answer.text()
    for said, told in (("max_tokens", "length"), ("pause_turn", "stop"), ("refusal", "content_filter")):
        with oai.chat.completions.with_streaming_response.create(**ask("tokens=2&finish=" + said), stream=stream) as answer:
            assert '"finish_reason":"%s"' % told in answer.text()


@MANNERS
@STREAM
def test_messages(claude, factory, stream, manner):
    answer = message(claude, stream, **ask("tokens=3&prompt=8&cached=5&completion=3&tag=own" + manner),
                     extra_headers={"anthropic-beta": "some-beta-2026"}, extra_body={"nobody_knows": {"a": 1}, "priority": 1})
    assert [b.text for b in answer.content] == [factory.text(3)] and answer.stop_reason == "end_turn" and answer.model == MODEL
    u = answer.usage
    assert (u.input_tokens, u.cache_read_input_tokens, u.output_tokens) == (3, 5, 3)
    sent = factory.fake.last("own")
    assert fields(sent)["anthropic-beta"] == "some-beta-2026" and "authorization" not in fields(sent)
    assert sent["body"]["nobody_knows"] == {"a": 1} and "priority" not in sent["body"]
    answer = message(claude, stream, **ask("tools=3" + manner), tools=[CLIENT_TOOL])
    assert answer.stop_reason == "tool_use" and [b.input for b in answer.content] == ARGS
    assert message(claude, stream, **ask("tokens=2&finish=length" + manner)).stop_reason == "max_tokens"


def test_unknown_survives(factory, claude):
    with claude.messages.with_streaming_response.create(**ask("future=1&tokens=1"), max_tokens=9, stream=True) as answer:
        said = answer.text()
    assert "event: future_event\n" in said and '"future_member"' in said and "fake-model" not in said


@STREAM
def test_thinking_goes_back(claude, factory, stream):
    """What the provider signed it gets back as it was, or it would refuse it."""
    turns = ask("reasoning=1&tools=1")["messages"]
    for n in range(2):
        first = message(claude, stream, model=MODEL, messages=turns, tools=[CLIENT_TOOL], thinking=THINKING)
        assert [b.type for b in first.content] == ["thinking", "tool_use"] and first.content[0].signature.startswith("sig-")
        turns.append({"role": "assistant", "content": first.content})
        last = "fake?reasoning=1&tools=1" if n == 0 else "fake?tokens=1&tag=back%d" % stream
        turns.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": first.content[1].id, "content": "5 degrees"}, {"type": "text", "text": last}]})
    message(claude, stream, model=MODEL, messages=turns, tools=[CLIENT_TOOL], thinking=THINKING)
    sent = factory.fake.last("back%d" % stream)["body"]
    assert [m["content"][0]["signature"] for m in sent["messages"] if m["role"] == "assistant"] == \
        [first.content[0].signature] * 2 and sent["thinking"] == THINKING


def test_foreign_thinking(claude, factory):
    """Reasoning that another model's answer brought along: the provider would refuse it, and calls without any."""
    turns = [*ask("x=1")["messages"], {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "tf1.abc"}, {"type": "tool_use", "id": "toolu_1", "name": "get_weather",
                                                                       "input": {}}]},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "5"},
                                          {"type": "text", "text": "fake?tokens=1&tag=foreign"}]}]
    message(claude, False, model=MODEL, messages=turns, tools=[CLIENT_TOOL], thinking=THINKING)
    sent = factory.fake.last("foreign")["body"]
    assert [b["type"] for b in sent["messages"][1]["content"]] == ["tool_use"] and sent["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize("more, param", [
    ({"n": 2}, "n"), ({"logprobs": True}, "logprobs"),
    ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "modalities"),
])
def test_what_it_cannot(factory, oai, more, param):
    before = len(factory.fake.requests())
    with pytest.raises(openai.BadRequestError) as failed:
        oai.chat.completions.create(**ask("tokens=1"), **more)
    assert failed.value.param == param and len(factory.fake.requests()) == before


@STREAM
def test_errors_before(oai, claude, stream):
    for client, error in ((oai.chat.completions, openai.BadRequestError), (claude.messages, anthropic.BadRequestError)):
        with pytest.raises(error) as failed:
            client.create(**ask("status=400&message=too+much&kind=invalid_request_error"), max_tokens=9, stream=stream)
        assert "too much" in str(failed.value)
    for script, status in (("status=529&kind=overloaded_error", 503), ("status=500", 503), ("status=401", 503),
                           ("status=429&kind=rate_limit_error&retry_after=3", 429), ("die=head", 502)):
        for client, error in ((oai.chat.completions, openai.APIStatusError), (claude.messages, anthropic.APIStatusError)):
            with pytest.raises(error) as failed:
                client.create(**ask(script), max_tokens=9, stream=stream)
            assert failed.value.status_code == status, script


@pytest.mark.parametrize("fault", ["error_at=2", "abort=2", "fin=2", "cut=2"])
def test_errors_inside(oai, claude, factory, fault):
    said = ""
    with pytest.raises(openai.APIError):
        for chunk in oai.chat.completions.create(**ask("tokens=4&delay_ms=5&" + fault), stream=True):
            said += chunk.choices[0].delta.content or ""
            assert chunk.choices[0].finish_reason is None
    assert said and factory.text(4).startswith(said)
    with pytest.raises((anthropic.APIError, anthropic.APIStatusError)):
        with claude.messages.stream(**ask("tokens=4&delay_ms=5&" + fault), max_tokens=9) as s:
            for event in s:
                assert event.type != "message_stop"
    if fault != "error_at=2":
        with pytest.raises(openai.InternalServerError):
            oai.chat.completions.create(**ask("tokens=4&" + fault))
