# SPDX-License-Identifier: Apache-2.0
"""What is particular to runtimes that speak the Messages API, as its provider does and as older servers do. What
clients see of every API is in test_69_runtimes.py."""
import json

import anthropic
import openai
import pytest

import valid
from doors import (CLAUDE, CLIENT_TOOL, FACTORY, OLDER, SCHEMA, STREAM, THINKING, TOOL, ask, chat, claude, fields, message, oai,
                   respond)

SHELL = {"type": "custom", "custom": {"name": "shell", "description": "runs it", "format": {
    "type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "a"'}}}}


def test_request(oai, factory):
    chat(oai, False, CLAUDE, "tokens=1&tag=request")
    sent = factory.fake.last("request")
    assert sent["body"]["max_tokens"] > 4096
    assert fields(sent)["anthropic-version"] == "2023-06-01" and "anthropic-beta" not in fields(sent)


def test_tool_turn(oai, factory):
    first = oai.chat.completions.create(**ask(CLAUDE, "tools=2"), tools=[TOOL])
    calls = first.choices[0].message.tool_calls
    turns = [{"role": "system", "content": "be brief"}, *ask(CLAUDE, "tools=2")["messages"],
             first.choices[0].message.model_dump(exclude_none=True)]
    turns += [{"role": "tool", "tool_call_id": c.id, "content": "5 degrees"} for c in reversed(calls)]
    turns.append({"role": "user", "content": "fake?tokens=1&tag=turn"})
    oai.chat.completions.create(model=CLAUDE, messages=turns, tools=[TOOL], tool_choice="auto", parallel_tool_calls=False,
                                max_completion_tokens=3000, reasoning_effort="low", temperature=0.5)
    sent = factory.fake.last("turn")["body"]
    assert sent["system"] == "be brief" and sent["max_tokens"] == 3000
    assert [b["type"] for m in sent["messages"] for b in m["content"]] == \
        ["text", "tool_use", "tool_use", "tool_result", "tool_result", "text"]
    assert [b["tool_use_id"] for b in sent["messages"][2]["content"][:2]] == [c.id for c in calls]
    assert sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    # the calls came without reasoning: none may be asked for now
    assert sent["thinking"] == {"type": "disabled"}


@STREAM
def test_custom_tool(oai, factory, stream):
    """To this API it is a function of one string; to the client its call is text, and so is the history."""
    text = 'ls "a"\n'
    script = "tools=1&tool=shell&args=%s&tag=custom" % json.dumps({"input": text}).replace("%", "%25")
    more = {"tools": [SHELL], "tool_choice": {"type": "custom", "custom": {"name": "shell"}}}
    answer = oai.chat.completions.create(**ask(CLAUDE, script), **more, stream=stream)
    if stream:  # the SDK's helper knows functions only
        chunks = [c.choices[0].model_dump(exclude_none=True) for c in answer]
        call, *pieces = [c["delta"]["tool_calls"][0] for c in chunks if "tool_calls" in c["delta"]]
        assert call["index"] == 0 and all(p["index"] == 0 for p in pieces)
        call["custom"]["input"] += "".join(p["custom"]["input"] for p in pieces)
        finish = chunks[-1]["finish_reason"]
    else:
        call, finish = answer.choices[0].message.tool_calls[0].model_dump(exclude_none=True), answer.choices[0].finish_reason
    assert call["type"] == "custom" and call["custom"] == {"name": "shell", "input": text} and finish == "tool_calls"
    sent = factory.fake.last("custom")["body"]
    assert sent["tools"][0]["input_schema"]["required"] == ["input"] and 'start: "a"' in sent["tools"][0]["description"]
    turns = [*ask(CLAUDE, "x=1")["messages"], {"role": "assistant", "tool_calls": [{k: call[k] for k in ("id", "type", "custom")}]},
             {"role": "tool", "tool_call_id": call["id"], "content": "b"}, *ask(CLAUDE, "tokens=1&tag=customs")["messages"]]
    oai.chat.completions.create(model=CLAUDE, messages=turns, tools=[SHELL])
    assert factory.fake.last("customs")["body"]["messages"][1]["content"][0]["input"] == {"input": text}


def test_reasoning_asked_for(oai, factory):
    for stream in (False, True):
        chat(oai, stream, CLAUDE, "reasoning=1&tokens=2&tag=reason", reasoning_effort="high", temperature=0.5)
        sent = factory.fake.last("reason")["body"]
        assert sent["thinking"] == {"type": "adaptive"} and sent["output_config"] == {"effort": "high"}
        assert "temperature" not in sent


@STREAM
def test_schema(oai, factory, stream):
    answer = chat(oai, stream, CLAUDE, 'say={"a":7}&tag=schema',
                  response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}})
    assert json.loads(answer.choices[0].message.content) == {"a": 7}
    sent = factory.fake.last("schema")["body"]["output_config"]["format"]
    assert sent["type"] == "json_schema" and sent["schema"]["additionalProperties"] is False
    assert sent["schema"]["properties"]["a"] == {"type": "integer", "description": "(minimum: 1)"}


@STREAM
def test_schema_as_tool(oai, claude, factory, stream):
    """A server that knows no schema of answers has to call a tool with it; clients of every API see the answer."""
    script = 'tools=1&tool=json_response&args={"a":7}&tag=older'
    answer = chat(oai, stream, OLDER, script, response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}})
    assert json.loads(answer.choices[0].message.content) == {"a": 7} and answer.choices[0].finish_reason == "stop"
    assert not answer.choices[0].message.tool_calls
    sent = factory.fake.last("older")["body"]
    assert sent["tool_choice"] == {"type": "tool", "name": "json_response", "disable_parallel_tool_use": True}
    assert sent["tools"][0]["input_schema"]["required"] == ["a"] and "output_config" not in sent and "system" not in sent
    answer = message(claude, stream, OLDER, script, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    assert json.loads(answer.content[0].text) == {"a": 7} and answer.stop_reason == "end_turn"
    answer = respond(oai, stream, OLDER, script, text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}})
    assert json.loads(answer.output_text) == {"a": 7} and answer.status == "completed"


@STREAM
def test_json_without_its_fence(oai, stream):
    answer = chat(oai, stream, CLAUDE, "say=```json%0A{%22a%22:+[7]}%0A```%0AThat is all.", response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content) == {"a": [7]}
    answer = respond(oai, stream, CLAUDE, "say=```json%0A{%22a%22:+[7]}%0A```", text={"format": {"type": "json_object"}})
    assert json.loads(answer.output_text) == {"a": [7]}


@STREAM
def test_finish(oai, stream):
    with oai.chat.completions.with_streaming_response.create(**ask(CLAUDE, "refusal=1"), stream=stream) as answer:
        assert '"refusal":"no"' in answer.text()
    for said, told in (("max_tokens", "length"), ("pause_turn", "stop"), ("refusal", "content_filter")):
        with oai.chat.completions.with_streaming_response.create(**ask(CLAUDE, "tokens=2&finish=" + said), stream=stream) as answer:
            assert '"finish_reason":"%s"' % told in answer.text()


# ---- the same API at both ends --------------------------------------------------------------------

@STREAM
def test_unknown_request(claude, factory, stream):
    message(claude, stream, CLAUDE, "tokens=1&tag=own", extra_headers={"anthropic-beta": "some-beta-2026"},
            extra_body={"nobody_knows": {"a": 1}, "priority": 1})
    sent = factory.fake.last("own")
    assert fields(sent)["anthropic-beta"] == "some-beta-2026" and "authorization" not in fields(sent)
    assert sent["body"]["nobody_knows"] == {"a": 1} and "priority" not in sent["body"]


def test_unknown_survives(claude):
    with claude.messages.with_streaming_response.create(**ask(CLAUDE, "future=1&tokens=1"), max_tokens=9, stream=True) as answer:
        said = answer.text()
    assert "event: future_event\n" in said and '"future_member"' in said and "fake-model" not in said


@pytest.mark.parametrize("script", ["tokens=3&bare=1", "reasoning=1&tokens=3&bare=1", "tools=2&bare=1", "tokens=3"])
def test_older_answers_are_whole(claude, factory, script):
    """What today's types have in every answer is there, though the server has never heard of it."""
    asked = {**ask(OLDER, script), "max_tokens": 2000, "thinking": THINKING, "tools": [CLIENT_TOOL]}
    answer = factory.call("POST", "/anthropic/v1/messages", asked)
    assert answer.status == 200, answer.body
    valid.message(json.loads(answer.body), asked)
    answer = factory.call("POST", "/anthropic/v1/messages", {**asked, "stream": True})
    valid.message_stream(valid.frames(answer.body.decode()), asked)
    events = [json.loads(data) for _, data in valid.frames(answer.body.decode())]
    assert all(m in e["delta"] for e in events if e["type"] == "message_delta" for m in ("stop_details", "container"))
    text = [e["content_block"] for e in events if e["type"] == "content_block_start" and e["content_block"]["type"] == "text"]
    assert all("citations" in b for b in text)


# ---- thinking that goes back ----------------------------------------------------------------------

@STREAM
def test_thinking_goes_back(claude, factory, stream):
    """What the provider signed it gets back as it was, or it would refuse it."""
    turns = ask(CLAUDE, "reasoning=1&tools=1")["messages"]
    for n in range(2):
        first = message(claude, stream, CLAUDE, "", messages=turns, tools=[CLIENT_TOOL], thinking=THINKING)
        assert [b.type for b in first.content] == ["thinking", "tool_use"] and first.content[0].signature.startswith("sig-")
        turns.append({"role": "assistant", "content": first.content})
        last = "fake?reasoning=1&tools=1" if n == 0 else "fake?tokens=1&tag=back%d" % stream
        turns.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": first.content[1].id, "content": "5 degrees"}, {"type": "text", "text": last}]})
    message(claude, stream, CLAUDE, "", messages=turns, tools=[CLIENT_TOOL], thinking=THINKING)
    sent = factory.fake.last("back%d" % stream)["body"]
    assert [m["content"][0]["signature"] for m in sent["messages"] if m["role"] == "assistant"] == \
        [first.content[0].signature] * 2 and sent["thinking"] == THINKING


@STREAM
def test_thinking_goes_back_from_chat(oai, factory, stream):
    """Clients of chat completions bring it as reasoning_details; the provider, who looks, takes it."""
    first = chat(oai, stream, CLAUDE, "reasoning=1&tools=1", tools=[TOOL], reasoning_effort="low").choices[0].message
    detail, = first.model_extra["reasoning_details"]
    assert detail["type"] == "reasoning.text" and detail["text"] == "thinking" and detail["signature"].startswith("sig-")
    said = first.model_dump(exclude_none=True, exclude={"parsed", "tool_calls"})
    said["tool_calls"] = [{"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
                          for c in first.tool_calls]
    turns = [*ask(CLAUDE, "x=1")["messages"], said, {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "5"},
             *ask(CLAUDE, "tokens=1&tag=details")["messages"]]
    chat(oai, stream, CLAUDE, "", messages=turns, tools=[TOOL], reasoning_effort="low")
    sent = factory.fake.last("details")["body"]
    assert sent["messages"][1]["content"][0] == {"type": "thinking", "thinking": "thinking", "signature": detail["signature"]}
    assert sent["thinking"] == {"type": "adaptive"}


@STREAM
def test_thinking_goes_back_from_responses(oai, factory, stream):
    """Sealed into what agents bring back with every turn."""
    tool = {"type": "function", **TOOL["function"], "strict": None}
    more = {"tools": [tool], "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}}
    first = respond(oai, stream, CLAUDE, "reasoning=1&tools=1", **more)
    assert [i.type for i in first.output] == ["reasoning", "function_call"] and first.output[0].encrypted_content
    items = [i.model_dump(exclude_none=True, exclude={"parsed_arguments", "content"}) for i in first.output]
    items = [{"role": "user", "content": "hi"}, *items, {"type": "function_call_output", "call_id": first.output[1].call_id, "output": "5"},
             {"role": "user", "content": "fake?tokens=1&tag=sealed"}]
    respond(oai, stream, CLAUDE, "", input=items, **more)
    sent = factory.fake.last("sealed")["body"]
    assert sent["messages"][1]["content"][0]["thinking"] == "thinking"
    assert sent["messages"][1]["content"][0]["signature"].startswith("sig-") and sent["thinking"] == {"type": "adaptive"}


def test_foreign_thinking(claude, factory):
    """Reasoning that another model's answer brought along: the provider would refuse it, and calls without any."""
    turns = [*ask(CLAUDE, "x=1")["messages"], {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "tf1.abc"}, {"type": "tool_use", "id": "toolu_1", "name": "get_weather",
                                                                       "input": {}}]},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "5"},
                                          {"type": "text", "text": "fake?tokens=1&tag=foreign"}]}]
    message(claude, False, CLAUDE, "", messages=turns, tools=[CLIENT_TOOL], thinking=THINKING)
    sent = factory.fake.last("foreign")["body"]
    assert [b["type"] for b in sent["messages"][1]["content"]] == ["tool_use"] and sent["thinking"] == {"type": "disabled"}


# ---- what it cannot, and errors -------------------------------------------------------------------

def test_what_it_cannot(oai):
    with pytest.raises(openai.BadRequestError) as failed:
        oai.chat.completions.create(**ask(CLAUDE, "tokens=1"), logprobs=True)
    assert failed.value.param == "logprobs"


@STREAM
def test_provider_errors(oai, claude, stream):
    for script, status in (("status=529&kind=overloaded_error", 503), ("status=429&kind=rate_limit_error&retry_after=3", 429)):
        for client, error in ((oai.chat.completions, openai.APIStatusError), (claude.messages, anthropic.APIStatusError)):
            with pytest.raises(error) as failed:
                client.create(**ask(CLAUDE, script), max_tokens=9, stream=stream)
            assert failed.value.status_code == status, script
