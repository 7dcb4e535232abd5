# SPDX-License-Identifier: Apache-2.0
"""What programs do with LangChain on both APIs."""
import sys

import pydantic
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from cases import KEY, MODEL, URL, main, setting, words


@tool
def get_weather(city: str, days: int) -> str:
    """Weather of a city."""
    return "sunny in " + city


class Verdict(pydantic.BaseModel):
    """Whether it is so."""

    city: str
    ok: bool


SAID = 'fake?say={"city":"Paris","ok":true}'
CALLED = 'fake?tools=1&tool=Verdict&args={"city":"Paris","ok":true}'


def make_openai(**more):
    return ChatOpenAI(model=MODEL, base_url=URL + "/openai/v1", api_key=KEY, max_retries=0, timeout=60, **more)


def make_anthropic(**more):
    return ChatAnthropic(model=MODEL, base_url=URL + "/anthropic", api_key=KEY, max_retries=0, timeout=60, max_tokens=2000, **more)


def check_text(model):
    answer = model.invoke("fake?tokens=4&prompt=11")
    assert answer.text == words(4) and answer.usage_metadata["output_tokens"] == 4
    assert answer.usage_metadata["input_tokens"] == 11
    chunks = list(model.stream("fake?tokens=4&prompt=11"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text == words(4) and len(chunks) >= 4 and whole.usage_metadata["total_tokens"] == 15, whole.usage_metadata


def check_tool_turn(model):
    bound = model.bind_tools([get_weather])
    turns = [HumanMessage("fake?tools=2&once=1&tokens=3")]
    for streamed in (False, True):
        if streamed:
            answer = None
            for chunk in bound.stream(turns):
                answer = chunk if answer is None else answer + chunk
        else:
            answer = bound.invoke(turns)
        assert [c["args"] for c in answer.tool_calls] == [{"city": "Paris", "days": i} for i in range(2)], answer
        results = [get_weather.invoke(c) for c in answer.tool_calls]
        assert all(isinstance(r, ToolMessage) for r in results)
        assert bound.invoke(turns + [answer] + results).text == words(3)


def case_openai_text():
    check_text(make_openai(stream_usage=True))


def case_openai_tool_turn():
    check_tool_turn(make_openai())


def case_responses_text():
    check_text(make_openai(use_responses_api=True))


def case_responses_tool_turn():
    check_tool_turn(make_openai(use_responses_api=True))


def case_openai_structured():
    for method, script in (("json_schema", SAID), ("function_calling", CALLED), ("json_mode", SAID)):
        answer = make_openai().with_structured_output(Verdict, method=method).invoke(script)
        assert answer == Verdict(city="Paris", ok=True), method


def case_openai_batch():
    answers = make_openai().batch(["fake?tokens=%d" % i for i in range(1, 6)])
    assert [a.text for a in answers] == [words(i) for i in range(1, 6)]


def case_openai_embeddings():
    embed = OpenAIEmbeddings(
        model=setting("EMBED"), base_url=URL + "/openai/v1", api_key=KEY, max_retries=0,
        check_embedding_ctx_length=False,  # would count with a tokenizer that it fetches
    )
    many = embed.embed_documents(["one", "two"])
    assert len(many) == 2 and len(many[0]) == 8 and embed.embed_query("one") == many[0]


def case_anthropic_text():
    check_text(make_anthropic())


def case_anthropic_tool_turn():
    check_tool_turn(make_anthropic())


def case_anthropic_structured():
    assert make_anthropic().with_structured_output(Verdict).invoke(CALLED) == Verdict(city="Paris", ok=True)


def case_anthropic_thinking():
    model = make_anthropic(thinking={"type": "enabled", "budget_tokens": 1024})
    answer = model.invoke("fake?reasoning=reasoning_content&tokens=2&thought=4&completion=9")
    assert [b["type"] for b in answer.content] == ["thinking", "text"] and answer.content[0]["signature"]


if __name__ == "__main__":
    main(sys.modules[__name__])
