# SPDX-License-Identifier: Apache-2.0
"""The project's own model through the whole path: 27 of the 30 listed prompts are answered right, and what it says
does not depend on the API through which it is asked."""
import json
import os
import subprocess
import sys

import anthropic
import openai
import pytest

from factory import SLOW, TINY, TOP

FACTORY = {"runtime": "real"}


@pytest.mark.timeout(120)
def test_prompts(factory):
    with open(os.path.join(TOP, "model", "prompts.json")) as f:
        assert len(json.load(f)) == 30
    done = subprocess.run(
        [sys.executable, os.path.join(TOP, "model", "check.py"), "--base-url", factory.url, "--key", factory.key,
         "--model", TINY, "--need", "27"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=110 * SLOW,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---- the same model behind every API

HELLO = "What is Token Factory?"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ADD = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}
VERDICT = {
    "type": "object", "additionalProperties": False, "required": ["answer", "sure"],
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}, "sure": {"type": "boolean"}},
}


def clients_of(factory):
    options = {"api_key": factory.key, "max_retries": 0, "timeout": 60}
    return (openai.OpenAI(base_url=factory.url + "/openai/v1", **options),
            anthropic.Anthropic(base_url=factory.url + "/anthropic", **options))


def said_by_chat(client, stream):
    ask = {"model": TINY, "messages": [{"role": "user", "content": HELLO}], "temperature": 0, "max_tokens": 40}
    if not stream:
        answer = client.chat.completions.create(**ask)
        return answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.completion_tokens
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks[:-1])
    return text, chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens


def said_by_responses(client, stream):
    ask = {"model": TINY, "input": HELLO, "temperature": 0, "max_output_tokens": 40, "store": False}
    answer = list(client.responses.create(**ask, stream=True))[-1].response if stream else client.responses.create(**ask)
    return answer.output[0].content[0].text, answer.usage.input_tokens, answer.usage.output_tokens


def said_by_messages(client, stream):
    ask = {"model": TINY, "max_tokens": 40, "messages": [{"role": "user", "content": HELLO}], "extra_body": {"temperature": 0}}
    if stream:
        with client.messages.stream(**ask) as s:
            answer = s.get_final_message()
    else:
        answer = client.messages.create(**ask)
    usage = answer.usage  # of this API the three are disjoint, and the runtime keeps what it has seen
    prompt = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    return answer.content[0].text, prompt, usage.output_tokens


def test_every_api_gives_the_same_answer(factory):
    oai, ant = clients_of(factory)
    said = [say(client, stream) for say, client in ((said_by_chat, oai), (said_by_responses, oai), (said_by_messages, ant))
            for stream in (False, True)]
    assert len(set(said)) == 1 and "control plane" in said[0][0], said
    # an estimate before the call is of the size of what the runtime then counts
    counted = ant.messages.count_tokens(model=TINY, messages=[{"role": "user", "content": HELLO}]).input_tokens
    assert said[0][1] / 4 < counted < said[0][1] * 4, (counted, said[0])
    assert abs(oai.post("/responses/input_tokens", body={"model": TINY, "input": HELLO}, cast_to=object)["input_tokens"] - counted) < 5


@pytest.mark.parametrize("prompt", ["What's the weather in London?", HELLO])
def test_a_forced_tool_is_called(factory, prompt):
    """Of two, and though the model would rather talk."""
    oai, ant = clients_of(factory)
    flat = [{"type": "function", "name": n, "parameters": p, "strict": False} for n, p in (("add", ADD), ("get_weather", WEATHER))]
    answer = oai.responses.create(
        model=TINY, input=prompt, tools=flat, tool_choice={"type": "function", "name": "get_weather"}, temperature=0,
        max_output_tokens=100, store=False,
    )
    calls = [i for i in answer.output if i.type == "function_call"]
    assert [c.name for c in calls] == ["get_weather"] and "city" in json.loads(calls[0].arguments)
    tools = [{"name": n, "input_schema": p} for n, p in (("add", ADD), ("get_weather", WEATHER))]
    ask = {"model": TINY, "max_tokens": 100, "messages": [{"role": "user", "content": prompt}], "tools": tools,
           "tool_choice": {"type": "tool", "name": "get_weather"}, "extra_body": {"temperature": 0}}
    message = ant.messages.create(**ask)
    assert message.stop_reason == "tool_use" and [b.name for b in message.content if b.type == "tool_use"] == ["get_weather"]
    with ant.messages.stream(**ask) as stream:
        assert stream.get_final_message().content[-1].input == message.content[-1].input and "city" in message.content[-1].input


def test_a_tool_turn_goes_on(factory):
    """With the call and its result in the conversation the model talks again, on each API."""
    oai, ant = clients_of(factory)
    prompt = [{"role": "user", "content": "What's the weather in London?"}]
    flat = [{"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}]
    first = oai.responses.create(model=TINY, input=prompt, tools=flat, tool_choice="required", temperature=0, max_output_tokens=100)
    result = [{"type": "function_call_output", "call_id": i.call_id, "output": "12 degrees"} for i in first.output if i.type == "function_call"]
    second = oai.responses.create(model=TINY, input=prompt + first.output + result, tools=flat, temperature=0, max_output_tokens=60)
    assert second.output_text and second.status in ("completed", "incomplete")
    tools = [{"name": "get_weather", "input_schema": WEATHER}]
    ask = {"model": TINY, "max_tokens": 100, "tools": tools, "extra_body": {"temperature": 0}}
    message = ant.messages.create(**ask, messages=prompt, tool_choice={"type": "any"})
    results = [{"type": "tool_result", "tool_use_id": b.id, "content": "12 degrees"} for b in message.content if b.type == "tool_use"]
    turns = prompt + [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    assert ant.messages.create(**ask, messages=turns).content[0].text


def test_a_schema_is_kept(factory):
    oai, ant = clients_of(factory)
    answer = oai.responses.create(
        model=TINY, input="Is water wet?", temperature=0, max_output_tokens=60, store=False,
        text={"format": {"type": "json_schema", "name": "verdict", "schema": VERDICT, "strict": True}},
    )
    message = ant.messages.create(
        model=TINY, max_tokens=60, messages=[{"role": "user", "content": "Is water wet?"}],
        extra_body={"temperature": 0, "output_config": {"format": {"type": "json_schema", "schema": VERDICT}}},
    )
    for text in (answer.output_text, message.content[0].text):
        said = json.loads(text)
        assert said["answer"] in ("yes", "no") and isinstance(said["sure"], bool) and len(said) == 2
