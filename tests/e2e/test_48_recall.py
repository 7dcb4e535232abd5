# SPDX-License-Identifier: Apache-2.0
"""Reasoning that led to tool calls comes back to runtimes that want it, from clients that drop it: whatever their API,
streamed or not, however they write the arguments; each workspace on its own, for a while, and never at the price of a call."""
import json

import anthropic
import openai
import pytest

from factory import MODEL, wait_for

DEEP, CLAUDE, HOSTED = "fake/deep", "fake/claude", "fake/hosted"
ABLE = {"capabilities": "chat, streaming, tools, json, thinking"}
WORKER = {"probe-interval": "200ms", "drain-timeout": "5s"}
FACTORY = {
    "start": False,
    "conf": {
        "gatewayd": {"threads": "2"},
        "model " + DEEP: ABLE, "model " + CLAUDE: ABLE, "model " + HOSTED: ABLE,
        "worker deep": {**WORKER, "models": DEEP + " = deep", "quirks": "replay-reasoning"},
        "worker claude": {**WORKER, "models": CLAUDE + " = claude", "dialect": "anthropic_messages", "runtime-kind": "anthropic"},
        "worker hosted": {**WORKER, "models": HOSTED + " = hosted", "dialect": "openai_responses", "runtime-kind": "openai"},
    },
}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
CLIENT_TOOL = {"name": "get_weather", "input_schema": {"type": "object"}}
FLAT_TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(scope="module")
def works(factory):
    for name in ("worker deep", "worker claude", "worker hosted"):
        factory.conf[name]["url"] = factory.fake.url
    factory.write_conf()
    factory.start()
    for model in (DEEP, CLAUDE, HOSTED):
        wait_for(model, lambda: factory.call("POST", "/v1/chat/completions", factory.body("tokens=1", model=model)).status == 200)
    linked(factory)
    return factory


def linked(factory):
    wait_for("stored", lambda: factory.call("GET", "/v1/responses/resp_none").status == 404)


def post(factory, path, body, key=None):
    got = factory.call("POST", path, body, key=key)
    assert got.status == 200, got.body
    if not body.get("stream"):
        return got.json()
    return [json.loads(line[6:]) for line in got.body.decode().splitlines() if line.startswith("data: {")]


def user(script):
    return {"role": "user", "content": "fake?" + script}


def called(factory, script, stream=False, model=DEEP, key=None, **more):
    """The tool calls of one answer, as a client keeps them: without the reasoning."""
    body = {"model": model, "messages": [user("tools=2&reasoning=reasoning_content" + script)], "tools": [TOOL], **more}
    got = post(factory, "/v1/chat/completions", {**body, **({"stream": True} if stream else {})}, key)
    if not stream:
        return got["choices"][0]["message"]["tool_calls"]
    calls = {}
    for delta in (e["choices"][0]["delta"] for e in got if e["choices"]):
        for piece in delta.get("tool_calls", ()):
            call = calls.setdefault(piece["index"], {"id": piece.get("id"), "type": "function",
                                                     "function": {"name": piece["function"].get("name"), "arguments": ""}})
            call["function"]["arguments"] += piece["function"].get("arguments") or ""
    return [calls[i] for i in sorted(calls)]


def answered(calls, script, tag):
    """What the user asked, the calls, their results."""
    return [user("tokens=1&tag=" + tag + script), {"role": "assistant", "content": None, "tool_calls": calls},
            *({"role": "tool", "tool_call_id": c["id"], "content": "5"} for c in calls)]


def sent(factory, tag):
    return factory.fake.last(tag)["body"]


def thought(factory, tag):
    """Reasoning in the assistant's turns, as the runtime saw it."""
    return [m.get("reasoning_content") for m in sent(factory, tag)["messages"] if m["role"] == "assistant"]


def ask(factory, calls, tag, key=None, model=DEEP, script="", **more):
    post(factory, "/v1/chat/completions", {"model": model, "tools": [TOOL], "messages": answered(calls, script, tag), **more}, key)
    return thought(factory, tag)


@STREAM
def test_chat(works, stream):
    calls = called(works, "", stream)
    assert ask(works, calls, "chat-%d" % stream) == ["thinking"]
    # again: it is kept for its time
    assert ask(works, calls, "chat-%d" % stream, stream=True) == ["thinking"]


def test_written_otherwise(works):
    """Frameworks parse arguments and write them anew; another call is another one, whatever its id."""
    calls = called(works, "&args=" + json.dumps({"city": "K\u00f6ln", "days": [1, 2.5]}).replace("%", "%25"))
    calls[0]["function"]["arguments"] = ' { "city":"K\u00f6ln" ,\n"days":[1,2.5]}'
    assert ask(works, calls, "otherwise") == ["thinking"]
    calls[0]["function"]["arguments"] = '{"city":"Bonn","days":[1,2.5]}'
    assert ask(works, calls, "otherwise") == [" "]


def test_turns(works):
    """Every turn behind the last question, and none before it."""
    first, second = called(works, ""), called(works, "")
    turns = answered(first, "", "turns") + answered(second, "", "turns")[1:]
    body = {"model": DEEP, "tools": [TOOL], "messages": turns}
    post(works, "/v1/chat/completions", body)
    assert thought(works, "turns") == ["thinking", "thinking"]
    post(works, "/v1/chat/completions", {**body, "messages": turns + [{"role": "assistant", "content": "so"}, user("tokens=1&tag=turns")]})
    assert thought(works, "turns") == [" ", " ", None]


def test_brought_back(works):
    """What the client brings back itself stands."""
    calls = called(works, "")
    turns = answered(calls, "", "own")
    turns[1]["reasoning_content"] = "my own"
    post(works, "/v1/chat/completions", {"model": DEEP, "tools": [TOOL], "messages": turns})
    assert thought(works, "own") == ["my own"]


def test_not_wanted(works):
    """A runtime that does not ask for it gets nothing more than the client sent."""
    calls = called(works, "", model=MODEL)
    assert ask(works, calls, "plain", model=MODEL) == [None]


def test_workspaces(works):
    works.keyctl("workspace", "create", "stranger", "--plan", "local")
    calls = called(works, "")
    assert ask(works, calls, "spaces", key=works.mint(workspace="stranger")) == [" "]
    assert ask(works, calls, "spaces", key=works.mint()) == ["thinking"]


@STREAM
def test_messages_client(works, stream):
    """One who did not ask to see thinking never had it."""
    body = {"model": DEEP, "max_tokens": 500, "tools": [CLIENT_TOOL], "messages": [user("tools=1&reasoning=reasoning_content")]}
    client = anthropic.Anthropic(base_url=works.url, api_key=works.key, max_retries=0, timeout=60)
    if stream:
        with client.messages.stream(**body) as s:
            message = s.get_final_message()
    else:
        message = client.messages.create(**body)
    assert [b.type for b in message.content] == ["tool_use"]
    call = message.content[0]
    tag = "messages-%d" % stream
    client.messages.create(**{**body, "messages": [
        user("tokens=1"),
        {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "5"}, {"type": "text", "text": "fake?tokens=1&tag=" + tag}]}]})
    assert thought(works, tag) == ["thinking"]


def test_responses_client(works):
    client = openai.OpenAI(base_url=works.url + "/v1", api_key=works.key, max_retries=0, timeout=60)
    first = client.responses.create(model=DEEP, input="fake?tools=2&reasoning=reasoning_content", tools=[FLAT_TOOL], store=False)
    calls = [i for i in first.output if i.type == "function_call"]
    assert len(calls) == 2
    client.responses.create(model=DEEP, tools=[FLAT_TOOL], store=False, input=[
        {"role": "user", "content": "fake?tokens=1&tag=responses"},
        *({"type": "function_call", "call_id": c.call_id, "name": c.name, "arguments": c.arguments} for c in calls),
        *({"type": "function_call_output", "call_id": c.call_id, "output": "5"} for c in calls)])
    assert thought(works, "responses") == ["thinking"]


@STREAM
def test_signed(works, stream):
    """The provider of the Messages API gets its thinking back with its signature, and so may go on thinking."""
    calls = called(works, "", stream, model=CLAUDE, reasoning_effort="high")
    tag = "signed-%d" % stream
    turns = answered(calls, "", tag)
    post(works, "/v1/chat/completions", {"model": CLAUDE, "tools": [TOOL], "messages": turns, "reasoning_effort": "high"})
    body = sent(works, tag)
    assert [b["type"] for b in body["messages"][1]["content"]] == ["thinking", "tool_use", "tool_use"]
    assert body["messages"][1]["content"][0]["signature"].startswith("sig-")
    assert body["thinking"]["type"] != "disabled"
    # another model's signature is none here
    turns[0] = user("tokens=1&tag=%s-other" % tag)
    calls = called(works, "")
    turns = answered(calls, "", tag + "-other")
    post(works, "/v1/chat/completions", {"model": CLAUDE, "tools": [TOOL], "messages": turns, "reasoning_effort": "high"})
    body = sent(works, tag + "-other")
    assert [b["type"] for b in body["messages"][1]["content"]] == ["tool_use", "tool_use"]
    assert body["thinking"]["type"] == "disabled"


@STREAM
def test_encrypted(works, stream):
    """The provider of the Responses API is asked for what it encrypts, and gets it back in front of the calls."""
    calls = called(works, "&summary=1&encrypted=gAAA&tag=first", stream, model=HOSTED, reasoning_effort="low")
    assert sent(works, "first")["include"] == ["reasoning.encrypted_content"]
    tag = "encrypted-%d" % stream
    post(works, "/v1/chat/completions", {"model": HOSTED, "tools": [TOOL], "messages": answered(calls, "", tag)})
    items = sent(works, tag)["input"]
    assert [i.get("type") for i in items[1:]] == ["reasoning", "function_call", "function_call", *["function_call_output"] * 2]
    assert items[1] == {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
    # nobody calls, nothing is to come back
    works.call("POST", "/v1/chat/completions", works.body("tokens=1&tag=plain-hosted", model=HOSTED))
    # a script in a message is read from models of that name alone
    assert "include" not in works.fake.requests()[-1]["body"]


def test_expiry(works):
    calls = called(works, "")
    assert ask(works, calls, "expiry") == ["thinking"]
    works.shift_clock(25 * 3600)
    works.wait_ready()
    linked(works)
    assert ask(works, calls, "expiry") == [" "]


@pytest.mark.timeout(60)
def test_store_away(works):
    """Without stored a blank stands for it, and nothing fails."""
    calls = called(works, "")
    assert ask(works, calls, "away") == ["thinking"]
    works.daemons["stored"].kill()
    wait_for("it is missed", lambda: works.call("GET", "/v1/responses/resp_none").status == 503)
    assert ask(works, calls, "away") == [" "]
    lost = called(works, "")
    works.restart("stored")
    linked(works)
    wait_for("stored is back", lambda: ask(works, calls, "away") == ["thinking"])
    assert ask(works, lost, "away") == [" "]
