# SPDX-License-Identifier: Apache-2.0
"""What programs do with LiteLLM as a client of both APIs."""
import asyncio
import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it looks for a newer one in the network
import litellm  # noqa: E402

from cases import KEY, MODEL, URL, ask, main, setting, words  # noqa: E402

litellm.telemetry = False
OPENAI = {"model": "openai/" + MODEL, "api_base": URL + "/openai/v1", "api_key": KEY, "num_retries": 0, "timeout": 60}
ANTHROPIC = {"model": "anthropic/" + MODEL, "api_base": URL + "/anthropic", "api_key": KEY, "num_retries": 0, "timeout": 60, "max_tokens": 2000}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather", "description": "w",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


def check_text(where):
    answer = litellm.completion(messages=ask("tokens=4&prompt=11"), **where)
    assert answer.choices[0].message.content == words(4) and answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 4), answer.usage
    chunks = list(litellm.completion(messages=ask("tokens=4&prompt=11"), stream=True, stream_options={"include_usage": True}, **where))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == words(4)
    whole = litellm.stream_chunk_builder(chunks, messages=ask(""))
    assert whole.choices[0].message.content == words(4) and whole.usage.completion_tokens == 4


def check_tool_turn(where):
    turns = ask("tools=2&once=1&tokens=3")
    answer = litellm.completion(messages=turns, tools=[WEATHER], **where)
    calls = answer.choices[0].message.tool_calls
    assert [json.loads(c.function.arguments) for c in calls] == [{"city": "Paris", "days": i} for i in range(2)]
    assert answer.choices[0].finish_reason == "tool_calls"
    turns.append(answer.choices[0].message.model_dump())
    turns += [{"role": "tool", "tool_call_id": c.id, "content": "sunny"} for c in calls]
    assert litellm.completion(messages=turns, tools=[WEATHER], **where).choices[0].message.content == words(3)
    chunks = list(litellm.completion(messages=ask("tools=2"), tools=[WEATHER], stream=True, **where))
    whole = litellm.stream_chunk_builder(chunks)
    assert len(whole.choices[0].message.tool_calls) == 2


def check_errors(where):
    for script, more, kind in (
        ("", {"model": where["model"] + "-unknown"}, litellm.NotFoundError),
        ("", {"api_key": "tf-prod-wrong"}, litellm.AuthenticationError),
    ):
        try:
            litellm.completion(messages=ask(script), **{**where, **more})
        except kind:
            continue
        raise AssertionError("no %s" % kind.__name__)


def case_openai_text():
    check_text(OPENAI)


def case_openai_tool_turn():
    check_tool_turn(OPENAI)


def case_openai_errors():
    check_errors(OPENAI)


def case_openai_json():
    schema = {"type": "object", "additionalProperties": False, "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
    answer = litellm.completion(
        messages=ask('say={"ok":true}'),
        response_format={"type": "json_schema", "json_schema": {"name": "v", "schema": schema, "strict": True}}, **OPENAI,
    )
    assert json.loads(answer.choices[0].message.content) == {"ok": True}


def case_openai_async():
    async def run():
        answers = await asyncio.gather(*(litellm.acompletion(messages=ask("tokens=%d" % i), **OPENAI) for i in range(1, 5)))
        assert [a.choices[0].message.content for a in answers] == [words(i) for i in range(1, 5)]

    asyncio.run(run())


def case_responses():
    answer = litellm.responses(input="fake?tokens=3", **OPENAI)
    assert answer.output[0].content[0].text == words(3) and answer.usage.output_tokens == 3
    events = list(litellm.responses(input="fake?tokens=3", stream=True, **OPENAI))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == words(3)


def case_openai_embeddings():
    answer = litellm.embedding(input=["one", "two"], **{**OPENAI, "model": "openai/" + setting("EMBED")})
    assert [len(e["embedding"]) for e in answer.data] == [8, 8] and answer.usage.total_tokens > 0


def case_anthropic_text():
    check_text(ANTHROPIC)


def case_anthropic_tool_turn():
    check_tool_turn(ANTHROPIC)


def case_anthropic_errors():
    check_errors(ANTHROPIC)


def case_anthropic_messages():
    """Its own form of the Messages API."""
    async def run():
        return await litellm.anthropic.messages.acreate(messages=ask("tokens=3"), **ANTHROPIC)

    answer = asyncio.run(run())
    assert answer["content"][0]["text"] == words(3)


if __name__ == "__main__":
    main(sys.modules[__name__])
