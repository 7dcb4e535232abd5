# SPDX-License-Identifier: Apache-2.0
"""What the tests of translation share: one factory whose runtime is reached by three models, each time taken for
one that speaks another API, and the vendors' SDKs in front, streamed and not."""
import json

import anthropic
import openai
import pytest

CLAUDE = "fake/claude"   # taken for the provider of the Messages API
OLDER = "fake/older"     # a server of that API that knows no schema of answers, and leaves out what is new in it
OPEN = "fake/open"       # a server of the Responses API
HOSTED = "fake/hosted"   # taken for the provider of that API
ABLE = {"capabilities": "chat, streaming, tools, json, vision, thinking"}


def worker(model, dialect, **more):
    return {"dialect": dialect, "models": model + " = upstream-name", "probe-interval": "200ms", "drain-timeout": "5s", **more}


FACTORY = {"conf": {
    **{"model " + name: ABLE for name in (CLAUDE, OLDER, OPEN, HOSTED)},
    "worker claude": worker(CLAUDE, "anthropic_messages", **{"runtime-kind": "anthropic"}),
    "worker older": worker(OLDER, "anthropic_messages", quirks="no-output-format"),
    "worker open": worker(OPEN, "openai_responses"),
    "worker hosted": worker(HOSTED, "openai_responses", **{"runtime-kind": "openai"}),
    "gatewayd": {"retries": "0"},
}}
TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "w", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
CLIENT_TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}
ARGS = [{"city": "Paris", "days": i} for i in range(3)]
THINKING = {"type": "enabled", "budget_tokens": 1024}
STREAM = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture(scope="module")
def oai(factory):
    return openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def claude(factory):
    return anthropic.Anthropic(base_url=factory.url + "/anthropic", api_key=factory.key, max_retries=0, timeout=60)


def ask(model, script, **more):
    return {"model": model, "messages": [{"role": "user", "content": "fake?" + script}], **more}


def chat(client, stream, model, script, **more):
    """The whole completion either way."""
    if not stream:
        return client.chat.completions.create(**ask(model, script, **more))
    with client.chat.completions.stream(**ask(model, script, **more), stream_options={"include_usage": True}) as s:
        for _ in s:
            pass
        return s.get_final_completion()


def message(client, stream, model, script, **more):
    more = {"max_tokens": 2000, **ask(model, script), **more}
    if not stream:
        return client.messages.create(**more)
    with client.messages.stream(**more) as s:
        return s.get_final_message()


def respond(client, stream, model, script, **more):
    more = {"model": model, "input": [{"role": "user", "content": "fake?" + script}], "store": False, **more}
    if not stream:
        return client.responses.create(**more)
    with client.responses.stream(**more) as s:
        for _ in s:
            pass
        return s.get_final_response()


def fields(record):
    return {name.lower(): value for name, value in record["headers"]}


def arguments(completion):
    return [json.loads(c.function.arguments) for c in completion.choices[0].message.tool_calls]
