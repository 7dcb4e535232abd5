# SPDX-License-Identifier: Apache-2.0
"""The official Python SDK against the whole factory with the real runtime and the project's model."""
import json
import time

import openai
import pytest

from factory import TINY, soon, wait_for

FACTORY = {"runtime": "real"}
HELLO = [{"role": "user", "content": "What is Token Factory?"}]


@pytest.fixture(scope="module")
def client(factory):
    return openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0, timeout=60)


def test_create(client):
    answer = client.chat.completions.create(model=TINY, messages=HELLO, temperature=0, max_tokens=60)
    assert answer.object == "chat.completion" and answer.model == TINY and answer.id and answer._request_id
    assert "control plane" in answer.choices[0].message.content.lower()
    assert answer.choices[0].finish_reason in ("stop", "length") and answer.choices[0].message.role == "assistant"
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream_equals_create(client):
    whole = client.chat.completions.create(model=TINY, messages=HELLO, temperature=0, max_tokens=60)
    chunks = list(client.chat.completions.create(model=TINY, messages=HELLO, temperature=0, max_tokens=60, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].choices[0].finish_reason
    assert all(c.usage is None for c in chunks) and len({c.id for c in chunks}) == 1 and len(chunks) > 5


def test_include_usage(client):
    chunks = list(
        client.chat.completions.create(
            model=TINY, messages=HELLO, temperature=0, max_tokens=20, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == [] and 0 < chunks[-1].usage.completion_tokens <= 20
    assert all(c.usage is None for c in chunks[:-1])


def test_stream_helper(client):
    with client.chat.completions.stream(model=TINY, messages=HELLO, temperature=0, max_tokens=200) as stream:
        text = "".join(e.delta for e in stream if e.type == "content.delta")
        assert stream.get_final_completion().choices[0].message.content == text and text


def test_models(client):
    assert [m.id for m in client.models.list()] == [TINY]
    assert client.models.retrieve(TINY).id == TINY
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no/such")


def test_wrong_key(factory, client):
    with pytest.raises(openai.AuthenticationError) as e:
        client.with_options(api_key="tf-prod-wrong").models.list()
    assert e.value.status_code == 401 and e.value.code == "unauthorized" and e.value.request_id
    # our own "do not try again" is obeyed: one call, no sleeping
    began = time.monotonic()
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="tf-prod-wrong", max_retries=6).models.list()  # with pauses of 17 s
    assert time.monotonic() - began < 10


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as e:
        client.chat.completions.create(model="no/such", messages=HELLO)
    assert e.value.code == "model_not_found" and e.value.param == "model"


def test_bad_request(client):
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=TINY, messages=HELLO, temperature=7)
    assert e.value.param == "temperature" and e.value.type == "invalid_request_error"


def busy(factory):
    """How many slots of the real runtime generate."""
    import http.client
    import socket

    path = next(
        word for _, line in factory.leftovers() if "gguf" in line for word in line.split() if word.endswith(".sock")
    )
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    connection.request("GET", "/slots")
    slots = json.load(connection.getresponse())
    connection.close()
    return sum(s["is_processing"] for s in slots)


LONG = {"max_tokens": 1500, "temperature": 1.5, "extra_body": {"ignore_eos": True}}


def stops(factory, leave):
    """What leave() begins and leaves goes on for seconds when nobody stops it."""
    def measure(_):
        leave()
        left = time.monotonic()
        wait_for("idle slots", lambda: busy(factory) == 0)
        return time.monotonic() - left

    soon(1.5, measure)


def test_abort_stops_the_runtime(factory, client):
    def leave():
        stream = client.chat.completions.create(model=TINY, messages=HELLO, stream=True, **LONG)
        for i, _ in enumerate(stream):
            if i == 5:
                break
        assert busy(factory) >= 1
        stream.close()

    stops(factory, leave)


def test_leaving_an_unstreamed_call_stops_the_runtime(factory, client):
    """llama.cpp's server does not notice by itself."""
    def leave():
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.3).chat.completions.create(model=TINY, messages=HELLO, **LONG)

    stops(factory, leave)


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


OTHER = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}}


@pytest.mark.parametrize("prompt", ["What's the weather in London?", "Hello!"])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_forced_tool(client, choice, prompt):
    """Also when the model would rather talk, and when there are others to choose from."""
    answer = client.chat.completions.create(
        model=TINY, messages=[{"role": "user", "content": prompt}],
        tools=TOOLS if choice == "required" else [OTHER] + TOOLS, tool_choice=choice, temperature=0, max_tokens=200,
    )
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls" and call.function.name == "get_weather" and call.id
    assert "city" in json.loads(call.function.arguments)


def test_forced_tool_streamed(client):
    with client.chat.completions.stream(
        model=TINY, messages=[{"role": "user", "content": "What's the weather in London?"}], tools=TOOLS,
        tool_choice="required", temperature=0, max_tokens=100,
    ) as stream:
        for _ in stream:
            pass
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls" and "city" in json.loads(choice.message.tool_calls[0].function.arguments)


def test_json_schema(client):
    schema = {
        "type": "object", "additionalProperties": False, "required": ["answer"],
        "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    }
    answer = client.chat.completions.create(
        model=TINY, messages=[{"role": "user", "content": "Is water wet?"}], temperature=0, max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema, "strict": True}},
    )
    assert json.loads(answer.choices[0].message.content)["answer"] in ("yes", "no")


def test_json_object(client):
    answer = client.chat.completions.create(
        model=TINY, messages=HELLO, temperature=0, max_tokens=200, response_format={"type": "json_object"}
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_max_tokens_and_stop(client):
    answer = client.chat.completions.create(model=TINY, messages=HELLO, temperature=0, max_tokens=3)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 3
    answer = client.chat.completions.create(model=TINY, messages=HELLO, temperature=0, max_completion_tokens=4)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 4
    answer = client.chat.completions.create(
        model=TINY, messages=[{"role": "user", "content": "Count from 1 to 10"}], temperature=0, stop=["5"]
    )
    assert "5" not in answer.choices[0].message.content and answer.choices[0].finish_reason == "stop"


def test_n_and_logprobs(client):
    answer = client.chat.completions.create(
        model=TINY, messages=HELLO, n=2, max_tokens=5, temperature=0, logprobs=True, top_logprobs=2
    )
    assert [c.index for c in answer.choices] == [0, 1]
    assert len(answer.choices[0].logprobs.content) == 5 and len(answer.choices[0].logprobs.content[0].top_logprobs) == 2


def test_context_length(client):
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=TINY, messages=[{"role": "user", "content": "word " * 5000}])
    assert "maximum context length" in e.value.message


def test_async_client(factory):
    import asyncio

    async def run():
        async with openai.AsyncOpenAI(base_url=factory.url + "/v1", api_key=factory.key) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model=TINY, messages=HELLO, max_tokens=10) for _ in range(12))
            )
            assert all(a.choices[0].message.content for a in answers)

    asyncio.run(run())


def test_usage_agrees_with_the_answers(factory):
    """The real runtime's own figures, streamed, whole and joined."""
    factory.keyctl("workspace", "create", "sums", "--plan", "local")
    client = openai.OpenAI(base_url=factory.url + "/openai/v1/", api_key=factory.mint(workspace="sums"))
    total = requests = 0
    for i in range(8):
        more = {"stream": True, "stream_options": {"include_usage": True}} if i % 2 else {}
        answer = client.chat.completions.create(model=TINY, messages=HELLO, max_tokens=5 + i, **more)
        total += (list(answer)[-1] if more else answer).usage.total_tokens
        requests += 1
    row = factory.settled(requests, workspace="sums")
    assert int(row["total_tokens"]) == total
    said = factory.call("GET", "/v1/usage", key=client.api_key).json()["totals"]
    assert said["total_tokens"] == total and said["requests"] == requests


def test_runtime_comes_back(factory, client):
    """The managed child is killed: workerd starts it again."""
    import os
    import signal

    pid = next(pid for pid, line in factory.leftovers() if "gguf" in line)
    os.kill(pid, signal.SIGKILL)

    def answers():
        try:
            return client.chat.completions.create(model=TINY, messages=HELLO, max_tokens=3)
        except openai.InternalServerError:
            return None

    assert wait_for("the runtime is back", answers, 15, 0.2)


def test_the_runtime_goes_with_its_workerd(factory):
    worker = factory.daemons["tiny"]
    runtime = lambda: [pid for pid, line in factory.leftovers() if "gguf" in line]
    assert len(runtime()) == 1
    worker.kill()
    wait_for("nothing is left over", lambda: not runtime(), 2)
    factory.restart("tiny")
    # readyz may say for a moment yet what was true before, and a call waits a second for a runtime that starts
    wait_for("the runtime is back", lambda: factory.chat("Hello!", model=TINY, max_tokens=3).status == 200)
