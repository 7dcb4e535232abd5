# SPDX-License-Identifier: Apache-2.0
"""What programs do with the anthropic package, in words that its majors share."""
import asyncio
import json
import sys
import time

import anthropic

from cases import KEY, MODEL, URL, Refused, ask, main, setting, words

NEW = int(anthropic.__version__.split(".")[0]) >= 2


def make(kind=anthropic.Anthropic, **options):
    return kind(**{"base_url": URL + "/anthropic/", "api_key": KEY, "max_retries": 0, "timeout": 60, **options})


client = make()
messages = client.messages
WEATHER = {
    "name": "get_weather",
    "description": "w",
    "input_schema": {
        "type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    },
}


def case_create():
    raw = messages.with_raw_response.create(model=MODEL, max_tokens=20, messages=ask("tokens=4&prompt=11"), system="s")
    sent = raw.http_request.headers
    assert sent["anthropic-version"] == ("2026-10-21" if NEW else "2023-06-01")
    assert ("authorization" in sent) == NEW and ("x-api-key" in sent) != NEW
    answer = raw.parse()
    assert answer.type == "message" and answer.role == "assistant" and answer.model == MODEL
    assert [b.text for b in answer.content] == [words(4)] and answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 4)
    assert raw.headers["request-id"] == answer._request_id


def case_bases():
    for base in ("", "/", "/anthropic", "/anthropic/", "/anthropic/v1", "/anthropic/v1/"):
        answer = make(base_url=URL + base).messages.create(model=MODEL, max_tokens=9, messages=ask("tokens=1"))
        assert answer.content[0].text == words(1), base


def case_sampling_fields():
    answer = messages.create(
        model=MODEL, max_tokens=9, messages=ask("tokens=1"), stop_sequences=["never"], metadata={"user_id": "u"},
        extra_body={"temperature": 1, "top_p": 0.5, "top_k": 3},
    )
    assert answer.content[0].text == words(1)


def case_raw_stream():
    events = list(messages.create(model=MODEL, max_tokens=20, messages=ask("tokens=3&prompt=12"), stream=True))
    assert [e.type for e in events] == (
        ["message_start", "content_block_start"] + 3 * ["content_block_delta"]
        + ["content_block_stop", "message_delta", "message_stop"]
    )
    assert events[0].message.usage.input_tokens > 0 and events[-2].usage.output_tokens == 3


def case_stream_helper():
    with messages.stream(model=MODEL, max_tokens=20, messages=ask("tokens=6")) as stream:
        assert "".join(stream.text_stream) == words(6)
        final = stream.get_final_message()
    assert final.content[0].text == words(6) and final.stop_reason == "end_turn" and final.usage.output_tokens == 6


def case_stream_helper_events():
    with messages.stream(model=MODEL, max_tokens=99, messages=ask("tools=2"), tools=[WEATHER]) as stream:
        kinds = [e.type for e in stream]
        final = stream.get_final_message()
    assert "input_json" in kinds and kinds.count("content_block_stop") == 2
    assert [b.input for b in final.content] == [{"city": "Paris", "days": i} for i in range(2)]
    assert final.stop_reason == "tool_use"


def case_tool_turn():
    turns = ask("tools=2&once=1&tokens=3")
    first = messages.create(model=MODEL, max_tokens=99, messages=turns, tools=[WEATHER])
    assert first.stop_reason == "tool_use" and all(b.type == "tool_use" for b in first.content)
    turns += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": b.id, "content": "sunny"} for b in first.content]},
    ]
    second = messages.create(model=MODEL, max_tokens=99, messages=turns, tools=[WEATHER])
    assert second.content[0].text == words(3) and second.stop_reason == "end_turn"


def case_forced_tool():
    ask_json = ask('tools=1&tool=record&args={"ok":true}')
    tool = {"name": "record", "input_schema": {"type": "object", "properties": {"ok": {"type": "boolean"}}}}
    answer = messages.create(
        model=MODEL, max_tokens=99, messages=ask_json, tools=[tool],
        tool_choice={"type": "tool", "name": "record", "disable_parallel_tool_use": True},
    )
    assert answer.content[0].input == {"ok": True}


def case_thinking():
    script = ask("reasoning=reasoning_content&tokens=2&thought=4&completion=9")
    more = {"model": MODEL, "max_tokens": 2000, "messages": script}
    assert [b.type for b in messages.create(**more).content] == ["text"]
    more["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    shown = messages.create(**more)
    assert [b.type for b in shown.content] == ["thinking", "text"] and shown.content[0].thinking == "thinking"
    with messages.stream(**more) as stream:
        kinds = [e.type for e in stream]
        final = stream.get_final_message()
    assert "thinking" in kinds and "signature" in kinds and final.content[0].signature
    # its own signature comes back
    more["messages"] = script + [{"role": "assistant", "content": final.content}, {"role": "user", "content": "fake?tokens=1"}]
    assert messages.create(**more).content


def case_structured_output():
    schema = {"type": "object", "additionalProperties": False, "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
    answer = messages.create(
        model=MODEL, max_tokens=99, messages=ask('say={"ok":true}'),
        extra_body={"output_config": {"format": {"type": "json_schema", "schema": schema}}},
    )
    assert json.loads(answer.content[0].text) == {"ok": True}
    if NEW:
        import pydantic

        class Verdict(pydantic.BaseModel):
            ok: bool

        parsed = messages.parse(model=MODEL, max_tokens=99, messages=ask('say={"ok":true}'), output_format=Verdict)
        assert parsed.parsed_output == Verdict(ok=True)


def case_beta_messages():
    beta = client.beta.messages
    answer = beta.create(model=MODEL, max_tokens=9, messages=ask("tokens=1"), betas=["interleaved-thinking-2025-05-14"])
    assert answer.content[0].text == words(1)
    with beta.stream(model=MODEL, max_tokens=9, messages=ask("tokens=2")) as stream:
        assert stream.get_final_message().content[0].text == words(2)
    assert beta.count_tokens(model=MODEL, messages=ask("")).input_tokens > 0


def case_tool_runner():
    if not NEW:  # came with 0.68
        assert not hasattr(client.beta.messages, "tool_runner")
        return
    asked = []

    @anthropic.beta_tool
    def get_weather(city: str, days: int) -> str:
        """Weather of a city."""
        asked.append((city, days))
        return "sunny"

    for stream in (False, True):
        runner = client.beta.messages.tool_runner(
            model=MODEL, max_tokens=99, messages=ask("tools=1&once=1&tokens=3"), tools=[get_weather], stream=stream,
        )
        last = None
        for turn in runner:
            last = turn.get_final_message() if stream else turn
        assert last.content[0].text == words(3)
    assert asked == [("Paris", 0)] * 2


def case_count_tokens():
    small = messages.count_tokens(model=MODEL, messages=ask("")).input_tokens
    large = messages.count_tokens(model=MODEL, messages=ask(""), tools=[WEATHER], system="word " * 200).input_tokens
    assert 0 < small < 30 and large > small + 150


def case_models():
    ids = [m.id for m in client.models.list()]
    assert MODEL in ids and [m.id for m in client.models.list(limit=1)] == ids
    assert client.models.retrieve(MODEL).type == "model"
    with Refused(anthropic.NotFoundError, 404):
        client.models.retrieve("no/such")


def case_auth_token():
    answer = make(api_key=None, auth_token=KEY).messages.create(model=MODEL, max_tokens=9, messages=ask("tokens=1"))
    assert answer.content[0].text == words(1)


def case_leaving_a_stream():
    with messages.stream(model=MODEL, max_tokens=2000, messages=ask("tokens=500&delay_ms=20")) as stream:
        for i, _ in enumerate(stream.text_stream):
            if i == 3:
                break
    assert client.models.list().data


def case_timeout():
    try:
        make(timeout=0.3).messages.create(model=MODEL, max_tokens=200, messages=ask("tokens=100&delay_ms=50"))
    except anthropic.APITimeoutError:
        return
    raise AssertionError("no timeout")


def body_of(e, kind, code):
    error = e.error.body["error"]
    assert (error["type"], error["details"]["error_code"]) == (kind, code), error
    assert e.error.body["type"] == "error" and e.error.body["request_id"] == e.error.response.headers["request-id"]
    return error


def case_error_401():
    began = time.monotonic()
    with Refused(anthropic.AuthenticationError, 401) as e:
        make(api_key="tf-your-api-key-here", max_retries=6).messages.create(model=MODEL, max_tokens=5, messages=ask(""))
    body_of(e, "authentication_error", "unauthorized")
    assert time.monotonic() - began < 10  # not the pauses of six retries, 17 s


def case_error_404():
    with Refused(anthropic.NotFoundError, 404) as e:
        messages.create(model="no/such", max_tokens=5, messages=ask(""))
    body_of(e, "not_found_error", "model_not_found")
    with Refused(anthropic.NotFoundError, 404) as e:
        client.get("/v1/embeddings", cast_to=object)
    body_of(e, "not_found_error", "not_found")


def case_error_400():
    for wrong in ({"max_tokens": 0}, {"messages": []}, {"system": 5}):
        with Refused(anthropic.BadRequestError, 400) as e:
            messages.create(**{"model": MODEL, "max_tokens": 5, "messages": ask(""), **wrong})
        assert body_of(e, "invalid_request_error", "bad_request")["details"]["param"] in wrong


def case_error_413():
    with Refused(anthropic.APIStatusError, 413) as e:
        messages.create(model=MODEL, max_tokens=5, messages=ask("tokens=1\n" + "x" * int(setting("BODY_MAX"))))
    body_of(e, "request_too_large", "request_too_large")


def case_error_429():
    slow = make(api_key=setting("SLOW_KEY")).messages
    with Refused(anthropic.RateLimitError, 429) as e:
        for _ in range(3):
            slow.create(model=MODEL, max_tokens=5, messages=ask("tokens=1"))
    body_of(e, "rate_limit_error", "rate_limit_exceeded")
    assert int(e.error.response.headers["retry-after"]) > 0


def case_error_503():
    with Refused(anthropic.InternalServerError, 503) as e:
        messages.create(model=setting("GONE"), max_tokens=5, messages=ask(""))
    body_of(e, "api_error", "model_unavailable")
    with Refused(anthropic.InternalServerError, 503) as e:
        messages.create(model=MODEL, max_tokens=5, messages=ask("status=503"))
    body_of(e, "overloaded_error", "overloaded")


def case_error_inside_a_stream():
    try:
        with messages.stream(model=MODEL, max_tokens=20, messages=ask("tokens=5&abort=2")) as stream:
            list(stream.text_stream)
    except anthropic.APIStatusError as e:
        assert e.body["error"]["type"] == "api_error"
    else:
        raise AssertionError("the broken stream looked whole")


def case_async():
    async def run():
        async with make(anthropic.AsyncAnthropic) as other:
            create = other.messages.create
            whole = await asyncio.gather(*(create(model=MODEL, max_tokens=9, messages=ask("tokens=%d" % i)) for i in range(1, 9)))
            assert [a.content[0].text for a in whole] == [words(i) for i in range(1, 9)]
            async with other.messages.stream(model=MODEL, max_tokens=9, messages=ask("tokens=4")) as stream:
                assert "".join([t async for t in stream.text_stream]) == words(4)

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.modules[__name__])
