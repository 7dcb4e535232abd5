# SPDX-License-Identifier: Apache-2.0
"""What is particular to runtimes that speak the Responses API, as its provider does and as other servers do. What
clients see of every API is in test_69_runtimes.py."""
import json

import openai
import pytest

from doors import ARGS, FACTORY, HOSTED, OPEN, STREAM, THINKING, TOOL, ask, chat, claude, message, oai, respond

# how servers differ in what they say when
MANNERS = pytest.mark.parametrize("manner", ["", "&late=1", "&last=1", "&noevent=1&noseq=1", "&noid=1", "&split=7"])


@STREAM
def test_request(oai, factory, stream):
    chat(oai, stream, OPEN, "tokens=1&tag=request")
    assert factory.fake.last("request")["body"]["store"] is False


def test_tool_turn(oai, factory):
    first = oai.chat.completions.create(**ask(OPEN, "tools=2"), tools=[TOOL])
    calls = first.choices[0].message.tool_calls
    turns = [{"role": "system", "content": "be brief"}, *ask(OPEN, "tools=2")["messages"],
             first.choices[0].message.model_dump(exclude_none=True)]
    turns += [{"role": "tool", "tool_call_id": c.id, "content": "5 degrees"} for c in reversed(calls)]
    turns.append({"role": "user", "content": "fake?tokens=1&tag=turn"})
    oai.chat.completions.create(model=OPEN, messages=turns, tools=[TOOL], tool_choice="auto", parallel_tool_calls=False,
                                max_completion_tokens=50, reasoning_effort="low", verbosity="low")
    sent = factory.fake.last("turn")["body"]
    assert sent["instructions"] == "be brief" and sent["max_output_tokens"] == 50
    assert [i["type"] for i in sent["input"]] == ["message"] + 2 * ["function_call"] + 2 * ["function_call_output"] + ["message"]
    assert [i["call_id"] for i in sent["input"][1:3]] == [c.id for c in calls]
    assert sent["tools"][0]["name"] == "get_weather" and sent["tools"][0]["strict"] is False
    assert sent["parallel_tool_calls"] is False and sent["reasoning"] == {"effort": "low"}
    assert sent["text"] == {"verbosity": "low"} and sent["tool_choice"] == "auto"


@MANNERS
@STREAM
def test_summary(oai, claude, factory, stream, manner):
    script = "reasoning=1&tokens=2&summary=1" + manner
    answer = chat(oai, stream, OPEN, script).choices[0].message
    assert answer.content == factory.text(2) and answer.model_extra["reasoning_content"] == "thinking"
    shown = message(claude, stream, OPEN, script, thinking=THINKING)
    assert [b.type for b in shown.content] == ["thinking", "text"] and shown.content[0].thinking == "thinking"
    assert [b.type for b in message(claude, stream, OPEN, script).content] == ["text"]


@STREAM
def test_schema(oai, factory, stream):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    chat(oai, stream, OPEN, "tokens=1&tag=schema",
         response_format={"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}})
    assert factory.fake.last("schema")["body"]["text"] == {
        "format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}


@STREAM
@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_incomplete(oai, stream, finish):
    with oai.chat.completions.with_streaming_response.create(**ask(OPEN, "tokens=2&finish=" + finish), stream=stream) as answer:
        assert '"finish_reason":"%s"' % finish in answer.text()


@STREAM
def test_refusal(oai, stream):
    assert chat(oai, stream, OPEN, "refusal=1").choices[0].message.refusal == "no"


@STREAM
def test_stop(oai, factory, stream):
    """The API has no stop strings: they are looked for on the way."""
    answer = chat(oai, stream, OPEN, "tokens=9&delay_ms=5&tag=stop", stop=["tok3"])
    assert answer.choices[0].message.content == factory.text(3) and answer.choices[0].finish_reason == "stop"
    assert "stop" not in factory.fake.last("stop")["body"]


def test_errors_before(oai):
    for script in ("error_first=1", "failed=0", "nolast=1&tokens=0"):
        with pytest.raises(openai.APIError):
            list(oai.chat.completions.create(**ask(OPEN, script), stream=True))
    with pytest.raises(openai.APIError):
        oai.chat.completions.create(**ask(OPEN, "error_first=1"))


def test_usage_is_billed(fresh):
    factory = fresh(**FACTORY)
    client = openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0, timeout=60)
    for stream in (False, True):
        chat(client, stream, OPEN, "tokens=2&prompt=10&cached=4&completion=5&thought=1")
    row = factory.settled(2)
    assert (int(row["input_tokens"]), int(row["output_tokens"])) == (20, 10), row


# ---- the same API at both ends --------------------------------------------------------------------

@MANNERS
@STREAM
def test_responses(oai, factory, stream, manner):
    answer = respond(oai, stream, OPEN, "tokens=3&prompt=9&cached=3&completion=6&thought=2&tag=same" + manner)
    assert answer.output_text == factory.text(3) and answer.status == "completed" and answer.model == OPEN
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 6)
    assert answer.usage.input_tokens_details.cached_tokens == 3 and answer.usage.output_tokens_details.reasoning_tokens == 2
    sent = factory.fake.last("same")["body"]
    assert sent["store"] is False and sent["model"] == "upstream-name"
    tool = {"type": "function", **TOOL["function"], "strict": None}
    answer = respond(oai, stream, OPEN, "tools=3" + manner, tools=[tool])
    assert [json.loads(i.arguments) for i in answer.output if i.type == "function_call"] == ARGS
    answer = respond(oai, stream, OPEN, "reasoning=1&tokens=1" + manner)
    assert [i.type for i in answer.output] == ["reasoning", "message"] and answer.output[0].content[0].text == "thinking"


@STREAM
def test_responses_custom_tool(oai, factory, stream):
    """To this runtime it is a function of one string, and so is what it calls."""
    tools = [{"type": "custom", "name": "apply_patch", "description": "d"}]
    answer = respond(oai, stream, OPEN, "tools=1&tag=custom", tools=tools)
    assert factory.fake.last("custom")["body"]["tools"][0]["type"] == "function"
    assert answer.output[0].type == "function_call"
    answer = respond(oai, stream, OPEN, "tools=1&custom=1", tools=tools)
    assert answer.output[0].type == "custom_tool_call" and answer.output[0].input == '*** Begin Patch\n"0"\n'


@STREAM
def test_responses_incomplete(oai, stream):
    if stream:  # the SDK's helper knows but one end
        *_, last = oai.responses.create(model=OPEN, input="fake?tokens=2&finish=length", stream=True)
        assert last.type == "response.incomplete"
        answer = last.response
    else:
        answer = respond(oai, stream, OPEN, "tokens=2&finish=length")
    assert answer.status == "incomplete" and answer.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("fault", ["error_at=2", "failed=2", "abort=2", "nolast=1"])
def test_responses_errors_inside(oai, factory, fault):
    """A failed response is what clients of this API understand."""
    seen = []
    for event in oai.responses.create(model=OPEN, input="fake?tokens=4&delay_ms=5&" + fault, stream=True):
        seen.append(event)
    assert seen[-1].type == "response.failed" and seen[-1].response.error.message
    assert [e.sequence_number for e in seen] == list(range(len(seen)))


# ---- the provider itself: what it says is passed on ------------------------------------------------

@STREAM
def test_hosted(oai, factory, stream):
    more = {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"},
           "tools": [{"type": "web_search"}], "extra_body": {"client_metadata": {"a": "b"}}}
    answer = respond(oai, stream, HOSTED, "tokens=3&reasoning=1&summary=1&search=1&encrypted=abc&prompt=9&completion=6&tag=hosted", **more)
    assert [i.type for i in answer.output] == ["web_search_call", "reasoning", "message"] and answer.model == HOSTED
    assert answer.output[1].encrypted_content == "abc" and answer.output_text == factory.text(3)
    assert answer.id.startswith("resp_") and answer.usage.output_tokens == 6
    sent = factory.fake.last("hosted")["body"]
    assert sent["model"] == "upstream-name" and sent["store"] is False and "client_metadata" not in sent
    assert sent["include"] == ["reasoning.encrypted_content"] and sent["tools"] == [{"type": "web_search"}]
    # what it encrypted goes back to it, what another model thought does not
    turns = [i.model_dump(exclude_none=True) for i in answer.output[1:]]
    turns.insert(0, {"type": "reasoning", "id": "rs_x", "summary": [], "content": [{"type": "reasoning_text", "text": "x"}]})
    respond(oai, stream, HOSTED, "", input=turns + [{"role": "user", "content": "fake?tokens=1&tag=back"}])
    sent = factory.fake.last("back")["body"]["input"]
    assert [i.get("encrypted_content") for i in sent if i.get("type") == "reasoning"] == ["abc"]


@STREAM
def test_hosted_is_kept(oai, factory, stream):
    """As the provider said it, also what nobody else knows."""
    more = {"store": True, "include": ["reasoning.encrypted_content"]}
    first = respond(oai, stream, HOSTED, "tokens=2&reasoning=1&summary=1&search=1&encrypted=abc", **more)
    kept = oai.responses.retrieve(first.id)
    assert first.store is True and kept.output_text == first.output_text == factory.text(2)
    assert [(i.type, i.id) for i in kept.output] == [(i.type, i.id) for i in first.output]
    turn = [{"role": "user", "content": "fake?tokens=1&tag=kept"}]
    second = respond(oai, stream, HOSTED, "", **more, previous_response_id=first.id, input=turn)
    assert second.previous_response_id == first.id and second.id != first.id
    sent = factory.fake.last("kept")["body"]
    assert "previous_response_id" not in sent and sent["store"] is False
    assert [i["type"] for i in sent["input"][1:-1]] == ["web_search_call", "reasoning", "message"]
    assert sent["input"][2]["encrypted_content"] == "abc"


def test_hosted_calls(oai, factory):
    for stream in (False, True):
        answer = respond(oai, stream, HOSTED, "tools=2&custom=1", tools=[{"type": "custom", "name": "apply_patch"}])
        assert [i.input for i in answer.output] == ['*** Begin Patch\n"%d"\n' % i for i in range(2)]


@pytest.mark.parametrize("fault", ["error_at=2", "failed=2", "abort=2", "nolast=1"])
def test_hosted_errors_inside(oai, factory, fault):
    seen = list(oai.responses.create(model=HOSTED, input="fake?tokens=4&delay_ms=5&" + fault, stream=True, store=False))
    assert seen[-1].type == "response.failed" and seen[-1].response.error.message
    assert [e.sequence_number for e in seen] == list(range(len(seen)))


def test_hosted_error_before(oai):
    with pytest.raises(openai.BadRequestError) as failed:
        respond(oai, False, HOSTED, "status=400&kind=invalid_request_error&message=no+such+tool")
    assert "no such tool" in failed.value.message
    with pytest.raises(openai.InternalServerError):
        respond(oai, True, HOSTED, "failed=0&tokens=1")


def test_hosted_for_others(oai, claude, factory):
    answer = oai.chat.completions.create(**ask(HOSTED, "tokens=2&reasoning=1&summary=1&tag=others"), max_tokens=5)
    assert answer.choices[0].message.content == factory.text(2)
    assert factory.fake.last("others")["body"]["max_output_tokens"] == 16
    answer = claude.messages.create(**ask(HOSTED, "tokens=2&reasoning=1&summary=1&tag=others"), max_tokens=2000,
                                    thinking={"type": "enabled", "budget_tokens": 1024})
    assert [b.type for b in answer.content] == ["thinking", "text"]
    assert factory.fake.last("others")["body"]["reasoning"]["summary"] == "auto"
