# SPDX-License-Identifier: Apache-2.0
"""What programs do with openai-agents."""
import asyncio
import sys

import agents
import openai
import pydantic

from cases import KEY, MODEL, URL, main, words

agents.set_tracing_disabled(True)
asked = []


@agents.function_tool
def get_weather(city: str, days: int) -> str:
    """Weather of a city."""
    asked.append((city, days))
    return "sunny"


class Verdict(pydantic.BaseModel):
    city: str
    ok: bool


def provider(responses):
    client = openai.AsyncOpenAI(base_url=URL + "/openai/v1", api_key=KEY, max_retries=0, timeout=60)
    return agents.RunConfig(
        model_provider=agents.OpenAIProvider(openai_client=client, use_responses=responses), tracing_disabled=True,
    )


def agent(**more):
    return agents.Agent(name="a", instructions="be brief", model=MODEL, **more)


def run(script, responses, **more):
    asked.clear()
    return asyncio.run(agents.Runner.run(agent(**more), "fake?" + script, run_config=provider(responses)))


async def streamed(script, responses, **more):
    asked.clear()
    result = agents.Runner.run_streamed(agent(**more), "fake?" + script, run_config=provider(responses))
    kinds = [event.type async for event in result.stream_events()]
    return result, kinds


def check_tool_turn(responses):
    done = run("tools=2&once=1&tokens=3", responses, tools=[get_weather])
    assert done.final_output == words(3) and asked == [("Paris", 0), ("Paris", 1)]
    assert done.context_wrapper.usage.requests == 2 and done.context_wrapper.usage.total_tokens > 0
    result, kinds = asyncio.run(streamed("tools=2&once=1&tokens=3", responses, tools=[get_weather]))
    assert result.final_output == words(3) and asked == [("Paris", 0), ("Paris", 1)] and "run_item_stream_event" in kinds


def check_output_type(responses):
    said = 'say={"city":"Paris","ok":true}'
    assert run(said, responses, output_type=Verdict).final_output == Verdict(city="Paris", ok=True)
    result, _ = asyncio.run(streamed(said, responses, output_type=Verdict))
    assert result.final_output == Verdict(city="Paris", ok=True)


def check_next_turn(responses):
    first = run("tools=1&once=1&tokens=2", responses, tools=[get_weather])
    turns = first.to_input_list() + [{"role": "user", "content": "fake?tokens=4"}]
    second = asyncio.run(agents.Runner.run(agent(tools=[get_weather]), turns, run_config=provider(responses)))
    assert second.final_output == words(4)


def case_chat_tool_turn():
    check_tool_turn(False)


def case_chat_output_type():
    check_output_type(False)


def case_chat_next_turn():
    check_next_turn(False)


def case_responses_tool_turn():
    check_tool_turn(True)


def case_responses_output_type():
    check_output_type(True)


def case_responses_next_turn():
    check_next_turn(True)


def case_responses_previous():
    first = run("tools=1&once=1&tokens=2", True, tools=[get_weather])
    second = asyncio.run(agents.Runner.run(
        agent(tools=[get_weather]), "fake?tokens=4", run_config=provider(True), previous_response_id=first.last_response_id))
    assert second.final_output == words(4)


def case_chat_error():
    try:
        run("status=503", False)
    except openai.InternalServerError as e:
        assert e.code == "overloaded"
    else:
        raise AssertionError("no error")


if __name__ == "__main__":
    main(sys.modules[__name__])
