# SPDX-License-Identifier: Apache-2.0
"""What programs do with the openai package, in words that its majors from 1.x on share."""
import asyncio
import json
import sys
import time

import openai
import pydantic

from cases import KEY, MODEL, URL, Refused, ask, main, setting, words


def make(kind=openai.OpenAI, **options):
    return kind(**{"base_url": URL + "/openai/v1/", "api_key": KEY, "max_retries": 0, "timeout": 60, **options})


client = make()
chat = client.chat.completions
helpers = chat if hasattr(chat, "stream") else client.beta.chat.completions  # beta until 1.92
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object", "additionalProperties": False, "required": ["city", "days"],
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}


class Verdict(pydantic.BaseModel):
    city: str
    ok: bool


SAID = 'say={"city":"Paris","ok":true}'


def case_create():
    answer = chat.create(model=MODEL, messages=ask("tokens=4&prompt=11"), max_tokens=20, temperature=0.5)
    assert answer.object == "chat.completion" and answer.model == MODEL and answer._request_id
    assert answer.choices[0].message.content == words(4) and answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.refusal is None and answer.choices[0].message.tool_calls is None
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (11, 4, 15)


def case_bases():
    for base in ("/v1", "/v1/", "/openai/v1", "/openai/v1/", "/openai", "/openai/"):
        answer = make(base_url=URL + base).chat.completions.create(model=MODEL, messages=ask("tokens=1"))
        assert answer.choices[0].message.content == words(1), base


def case_stream():
    chunks = list(chat.create(model=MODEL, messages=ask("tokens=5"), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == words(5)
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].choices[0].finish_reason == "stop"
    assert len({(c.id, c.created, c.model) for c in chunks}) == 1 and all(c.usage is None for c in chunks)


def case_stream_usage():
    chunks = list(
        chat.create(model=MODEL, messages=ask("tokens=5&prompt=9"), stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == 14


def case_stream_helper():
    with helpers.stream(model=MODEL, messages=ask("tokens=6")) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert "".join(e.delta for e in events if e.type == "content.delta") == words(6)
    assert final.choices[0].message.content == words(6) and final.choices[0].finish_reason == "stop"
    assert [e.content for e in events if e.type == "content.done"] == [words(6)]


LOOSE = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def case_stream_helper_tools():
    with helpers.stream(model=MODEL, messages=ask("tools=2"), tools=[WEATHER]) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    done = [e for e in events if e.type == "tool_calls.function.arguments.done"]
    assert sorted(json.loads(e.arguments)["days"] for e in done) == [0, 1], done
    assert [c.function.parsed_arguments for c in final.choices[0].message.tool_calls] == [
        {"city": "Paris", "days": i} for i in range(2)
    ]
    # with a strict tool the package itself gives up a call as soon as a fragment of another one comes
    with helpers.stream(model=MODEL, messages=ask("tools=2&interleave=1"), tools=[LOOSE]) as stream:
        for _ in stream:
            pass
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert [json.loads(c.function.arguments)["days"] for c in calls] == [0, 1]


def case_stream_helper_parse():
    with helpers.stream(model=MODEL, messages=ask(SAID), response_format=Verdict) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.parsed == Verdict(city="Paris", ok=True)


def case_parse():
    answer = helpers.parse(model=MODEL, messages=ask(SAID), response_format=Verdict)
    assert answer.choices[0].message.parsed == Verdict(city="Paris", ok=True)


def case_parse_cut_short():
    with_length = ask(SAID + "&finish=length")
    try:
        helpers.parse(model=MODEL, messages=with_length, response_format=Verdict)
    except openai.LengthFinishReasonError:
        return
    raise AssertionError("a cut answer was parsed")


def case_parse_tools():
    answer = helpers.parse(model=MODEL, messages=ask("tools=1"), tools=[WEATHER])
    assert answer.choices[0].message.tool_calls[0].function.parsed_arguments == {"city": "Paris", "days": 0}


def case_tool_turn():
    turns = ask("tools=2&once=1&tokens=3")
    first = chat.create(model=MODEL, messages=turns, tools=[WEATHER], tool_choice="auto")
    assert first.choices[0].finish_reason == "tool_calls" and first.choices[0].message.content is None
    turns.append(first.choices[0].message)
    for call in first.choices[0].message.tool_calls:
        assert json.loads(call.function.arguments)["city"] == "Paris" and call.type == "function"
        turns.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    second = chat.create(model=MODEL, messages=turns, tools=[WEATHER])
    assert second.choices[0].message.content == words(3) and second.choices[0].finish_reason == "stop"


def case_many_choices():
    answer = chat.create(model=MODEL, messages=ask("tokens=2"), n=3)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    with helpers.stream(model=MODEL, messages=ask("tokens=2"), n=2) as stream:
        for _ in stream:
            pass
        assert [c.message.content for c in stream.get_final_completion().choices] == [words(2)] * 2


def case_refusal():
    with helpers.stream(model=MODEL, messages=ask("refusal=1")) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.refusal == "no"


def case_extra_body_and_headers():
    raw = chat.with_raw_response.create(
        model=MODEL, messages=ask("tokens=1"), extra_body={"top_k": 5, "unheard_of": {"a": 1}},
        extra_headers={"X-Client-Request-Id": "mine"},
    )
    assert raw.headers["x-request-id"] and raw.headers["request-id"]
    assert raw.parse().choices[0].message.content == words(1)


def case_x_api_key():
    answer = make(api_key="sk-elsewhere", default_headers={"x-api-key": KEY}).models.list()
    assert MODEL in [m.id for m in answer]


def case_models():
    assert MODEL in [m.id for m in client.models.list()] and all(m.object == "model" for m in client.models.list())
    assert client.models.retrieve(MODEL).id == MODEL
    with Refused(openai.NotFoundError, 404):
        client.models.retrieve("no/such")


def case_embeddings():
    embed = client.embeddings
    model = setting("EMBED")
    packed = embed.create(model=model, input=["one", "two"])  # the package asks for base64 by itself
    assert [e.index for e in packed.data] == [0, 1] and packed.model == model and packed.usage.total_tokens > 0
    plain = embed.create(model=model, input=["one", "two"], encoding_format="float")
    assert [list(e.embedding) for e in plain.data] == [list(e.embedding) for e in packed.data]
    assert len(embed.create(model=model, input="one", dimensions=3).data[0].embedding) == 3
    assert len(embed.create(model=model, input=[1, 2, 3]).data) == 1
    assert len(embed.create(model=model, input=[[1, 2], [3]]).data) == 2
    for wrong in ("", []):
        with Refused(openai.BadRequestError, 400) as e:
            embed.create(model=model, input=wrong)
        assert e.error.param == "input"


def case_completions():
    answer = client.completions.create(model=MODEL, prompt="fake?tokens=4&prompt=3", max_tokens=9)
    assert answer.object == "text_completion" and answer.choices[0].text == words(4) and answer.usage.total_tokens == 7
    chunks = list(client.completions.create(model=MODEL, prompt="fake?tokens=4", stream=True))
    assert "".join(c.choices[0].text for c in chunks) == words(4) and chunks[-1].choices[0].finish_reason == "stop"


def case_completions_of_many():
    many = client.completions.create(model=MODEL, prompt=["fake?tokens=1", "fake?tokens=1"], n=2)
    assert [c.index for c in many.choices] == [0, 1, 2, 3]


FLAT = {"type": "function", "strict": True, **{k: v for k, v in WEATHER["function"].items() if k != "strict"}}


def case_responses():
    answer = client.responses.create(model=MODEL, input="fake?tokens=4&prompt=11", instructions="s", store=False)
    assert answer.output_text == words(4) and answer.status == "completed" and answer.model == MODEL
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (11, 4, 15)
    events = list(client.responses.create(model=MODEL, input=ask("tokens=4"), stream=True))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == words(4)
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    assert events[-1].response.output[0].content[0].text == words(4)


def case_responses_tool_turn():
    turns = ask("tools=2&once=1&tokens=3")
    first = client.responses.create(model=MODEL, input=turns, tools=[FLAT], store=False)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(c.arguments)["days"] for c in calls] == [0, 1]
    turns += first.output
    turns += [{"type": "function_call_output", "call_id": c.call_id, "output": "sunny"} for c in calls]
    assert client.responses.create(model=MODEL, input=turns, tools=[FLAT], store=False).output_text == words(3)


def case_responses_helpers():
    if not hasattr(client.responses, "parse"):
        raise AssertionError("no responses.parse in %s" % openai.__version__)
    answer = client.responses.parse(model=MODEL, input="fake?" + SAID, text_format=Verdict)
    assert answer.output_parsed == Verdict(city="Paris", ok=True)
    with client.responses.stream(model=MODEL, input="fake?" + SAID, text_format=Verdict) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_parsed == Verdict(city="Paris", ok=True)
    with client.responses.stream(model=MODEL, input="fake?reasoning=both&tools=2&interleave=1", tools=[FLAT]) as stream:
        kinds = {e.type for e in stream}
        final = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert [json.loads(i.arguments)["days"] for i in final.output if i.type == "function_call"] == [0, 1]


def case_responses_kept():
    answer = client.responses.create(model=MODEL, input="fake?tokens=2")
    again = client.responses.retrieve(answer.id)
    assert again.id == answer.id and again.output_text == words(2) and again.store is not False
    items = list(client.responses.input_items.list(answer.id))
    assert [i.content[0].text for i in items] == ["fake?tokens=2"] and items[0].id
    then = client.responses.create(model=MODEL, input="fake?tokens=3", previous_response_id=answer.id)
    assert then.output_text == words(3) and then.previous_response_id == answer.id
    whole = client.responses.retrieve(then.id)
    assert whole.previous_response_id == answer.id
    with Refused(openai.BadRequestError, 400):
        client.post("/responses/%s/cancel" % answer.id, cast_to=object)  # not in the background
    client.responses.delete(answer.id)
    with Refused(openai.NotFoundError, 404):
        client.responses.retrieve(answer.id)


def case_responses_errors():
    with Refused(openai.NotFoundError, 404) as e:
        client.responses.create(model="no/such", input="hi")
    assert e.error.code == "model_not_found"
    with Refused(openai.BadRequestError, 400) as e:
        client.responses.create(model=MODEL, input="hi", temperature=7)
    assert e.error.param == "temperature"
    with Refused(openai.NotFoundError, 404) as e:
        client.responses.create(model=MODEL, input="hi", previous_response_id="resp_" + 24 * "a")
    assert e.error.code == "previous_response_not_found"
    with Refused(openai.InternalServerError, 503):
        client.responses.create(model=MODEL, input="fake?status=503")
    events = list(client.responses.create(model=MODEL, input="fake?tokens=5&abort=2", stream=True))
    assert events[-1].type == "response.failed" and events[-1].response.error.message


def case_leaving_a_stream():
    stream = chat.create(model=MODEL, messages=ask("tokens=500&delay_ms=20"), stream=True)
    for i, _ in enumerate(stream):
        if i == 3:
            break
    stream.close()
    assert client.models.list().data


def case_timeout():
    try:
        make(timeout=0.3).chat.completions.create(model=MODEL, messages=ask("tokens=100&delay_ms=50"))
    except openai.APITimeoutError:
        return
    raise AssertionError("no timeout")


def case_error_401():
    for key in ("tf-your-api-key-here", "tf-prod-wrong", "sk-oais-nothing"):
        began = time.monotonic()
        with Refused(openai.AuthenticationError, 401) as e:
            make(api_key=key, max_retries=6).chat.completions.create(model=MODEL, messages=ask(""))
        assert e.error.code == "unauthorized" and e.error.type == "authentication_error" and e.error.request_id
        assert time.monotonic() - began < 10  # not the pauses of six retries, 17 s


def case_error_404():
    with Refused(openai.NotFoundError, 404) as e:
        chat.create(model="no/such", messages=ask(""))
    assert e.error.code == "model_not_found" and e.error.param == "model"
    with Refused(openai.NotFoundError, 404) as e:
        client.get("/nowhere", cast_to=object)
    assert e.error.code == "not_found"


def case_error_400():
    for wrong, param in (({"temperature": 3}, "temperature"), ({"n": 0}, "n"), ({"messages": []}, "messages")):
        with Refused(openai.BadRequestError, 400) as e:
            chat.create(**{"model": MODEL, "messages": ask(""), **wrong})
        assert e.error.param == param and e.error.type == "invalid_request_error" and e.error.code == "bad_request"


def case_error_413():
    with Refused(openai.APIStatusError, 413) as e:
        chat.create(model=MODEL, messages=ask("tokens=1\n" + "x" * int(setting("BODY_MAX"))))
    assert e.error.code == "request_too_large"


def case_error_429():
    slow = make(api_key=setting("SLOW_KEY")).chat.completions
    raw = None
    with Refused(openai.RateLimitError, 429) as e:
        for _ in range(3):
            raw = slow.with_raw_response.create(model=MODEL, messages=ask("tokens=1"))
    assert raw is None or raw.headers["x-ratelimit-limit"] == "2"
    assert e.error.code == "rate_limit_exceeded" and int(e.error.response.headers["retry-after"]) > 0


def case_error_503():
    with Refused(openai.InternalServerError, 503) as e:
        chat.create(model=setting("GONE"), messages=ask(""))
    assert e.error.code == "model_unavailable" and int(e.error.response.headers["retry-after"]) >= 5
    with Refused(openai.InternalServerError, 503) as e:
        chat.create(model=MODEL, messages=ask("status=503"))
    assert e.error.code == "overloaded"


def case_error_inside_a_stream():
    try:
        for _ in chat.create(model=MODEL, messages=ask("tokens=5&abort=2"), stream=True):
            pass
    except openai.APIError as e:
        assert e.message and e.code == "upstream_error"
    else:
        raise AssertionError("the broken stream looked whole")


def case_async():
    async def run():
        async with make(openai.AsyncOpenAI) as other:
            create = other.chat.completions.create
            whole = await asyncio.gather(*(create(model=MODEL, messages=ask("tokens=%d" % i)) for i in range(1, 9)))
            assert [a.choices[0].message.content for a in whole] == [words(i) for i in range(1, 9)]
            text = ""
            async for chunk in await create(model=MODEL, messages=ask("tokens=4"), stream=True):
                text += chunk.choices[0].delta.content or ""
            assert text == words(4)

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.modules[__name__])
