# SPDX-License-Identifier: Apache-2.0
"""Runtimes that speak another API than chat completions, behind the clients of each API: the vendors' SDKs,
streamed and not, with tools, reasoning, usage, and what goes wrong before and in the middle of an answer."""
import anthropic
import openai
import pytest

from doors import (ARGS, CLAUDE, CLIENT_TOOL, FACTORY, OPEN, STREAM, THINKING, TOOL, arguments, ask, chat, claude, message, oai)

# how servers of an API differ in what they say when
MANNERS = {
    CLAUDE: ["", "&whole_input=1", "&nostop=1", "&split=7", "&future=1"],
    OPEN: ["", "&late=1", "&last=1", "&noevent=1&noseq=1", "&noid=1", "&split=7"],
}
PATHS = {CLAUDE: "/v1/messages", OPEN: "/v1/responses"}
MODELS = pytest.mark.parametrize("model", MANNERS)
MANNERED = pytest.mark.parametrize("model,manner", [(m, manner) for m, manners in MANNERS.items() for manner in manners])


@MANNERED
@STREAM
def test_chat(oai, factory, stream, model, manner):
    answer = chat(oai, stream, model, "tokens=4&prompt=9&cached=3&completion=6&thought=2&tag=chat" + manner)
    assert answer.choices[0].message.content == factory.text(4) and answer.choices[0].finish_reason == "stop"
    assert answer.model == model and answer.object == "chat.completion"
    u = answer.usage
    assert (u.prompt_tokens, u.completion_tokens, u.prompt_tokens_details.cached_tokens) == (9, 6, 3)
    assert u.completion_tokens_details.reasoning_tokens == 2
    sent = factory.fake.last("chat")
    assert sent["target"] == PATHS[model] and sent["body"]["model"] == "upstream-name"
    assert sent["body"]["stream"] is stream and "stream_options" not in sent["body"]


@MANNERED
@STREAM
def test_tools(oai, stream, model, manner):
    # without ids and indexes calls cannot come in turn
    script = "tools=3" + ("" if "noid" in manner or model == CLAUDE else "&interleave=1") + manner
    answer = chat(oai, stream, model, script, tools=[TOOL])
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls" and not answer.choices[0].message.content
    assert arguments(answer) == ARGS and {c.function.name for c in calls} == {"get_weather"} and len({c.id for c in calls}) == 3
    one = chat(oai, stream, model, script, tools=[TOOL], parallel_tool_calls=False)
    assert arguments(one) == ARGS[:1]


@MANNERED
@STREAM
def test_messages(claude, factory, stream, model, manner):
    answer = message(claude, stream, model, "tokens=3&prompt=8&cached=5&completion=3" + manner)
    assert [b.text for b in answer.content] == [factory.text(3)] and answer.stop_reason == "end_turn" and answer.model == model
    u = answer.usage
    assert (u.input_tokens, u.cache_read_input_tokens, u.output_tokens) == (3, 5, 3)
    answer = message(claude, stream, model, "tools=3" + manner, tools=[CLIENT_TOOL])
    assert answer.stop_reason == "tool_use" and [b.input for b in answer.content] == ARGS
    assert message(claude, stream, model, "tokens=2&finish=length" + manner).stop_reason == "max_tokens"


@MANNERED
@STREAM
def test_reasoning(oai, claude, factory, stream, model, manner):
    script = "reasoning=1&tokens=2" + manner
    answer = chat(oai, stream, model, script).choices[0].message
    assert answer.content == factory.text(2) and answer.model_extra["reasoning_content"] == "thinking"
    shown = message(claude, stream, model, script, thinking=THINKING)
    assert [b.type for b in shown.content] == ["thinking", "text"] and shown.content[0].thinking == "thinking"
    assert shown.content[0].signature
    assert [b.type for b in message(claude, stream, model, script).content] == ["text"]


@MODELS
@STREAM
def test_completions(oai, factory, stream, model):
    answer = oai.completions.create(model=model, prompt="fake?tokens=3", stream=stream)
    said = "".join(c.choices[0].text for c in answer) if stream else answer.choices[0].text
    assert said == factory.text(3)


@MODELS
@pytest.mark.parametrize("more, param", [
    ({"n": 2}, "n"), ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "modalities"),
])
def test_what_it_cannot(factory, oai, model, more, param):
    before = len(factory.fake.requests())
    with pytest.raises(openai.BadRequestError) as failed:
        oai.chat.completions.create(**ask(model, "tokens=1"), **more)
    assert failed.value.param == param and len(factory.fake.requests()) == before


@MODELS
@STREAM
def test_errors_before(oai, claude, stream, model):
    for client, error in ((oai.chat.completions, openai.BadRequestError), (claude.messages, anthropic.BadRequestError)):
        with pytest.raises(error) as failed:
            client.create(**ask(model, "status=400&message=too+much&kind=invalid_request_error"), max_tokens=9, stream=stream)
        assert "too much" in str(failed.value)
    for script, status in (("status=500", 503), ("status=401", 503), ("die=head", 502)):
        for client, error in ((oai.chat.completions, openai.APIStatusError), (claude.messages, anthropic.APIStatusError)):
            with pytest.raises(error) as failed:
                client.create(**ask(model, script), max_tokens=9, stream=stream)
            assert failed.value.status_code == status, script


@MODELS
@pytest.mark.parametrize("fault", ["error_at=2", "failed=2", "abort=2", "fin=2", "cut=2", "nolast=1"])
def test_errors_inside(oai, claude, factory, model, fault):
    if model == CLAUDE and fault in ("failed=2", "nolast=1"):
        pytest.skip("that API has no such events")
    said = ""
    with pytest.raises(openai.APIError):
        for chunk in oai.chat.completions.create(**ask(model, "tokens=4&delay_ms=5&" + fault), stream=True):
            said += chunk.choices[0].delta.content or ""
            assert chunk.choices[0].finish_reason is None
    assert said and factory.text(4).startswith(said)
    with pytest.raises((anthropic.APIError, anthropic.APIStatusError)):
        with claude.messages.stream(**ask(model, "tokens=4&delay_ms=5&" + fault), max_tokens=9) as s:
            for event in s:
                assert event.type != "message_stop"
    # whoever waits for the whole gets none of it
    if fault in ("abort=2", "fin=2", "cut=2"):
        with pytest.raises(openai.InternalServerError):
            oai.chat.completions.create(**ask(model, "tokens=4&" + fault))
