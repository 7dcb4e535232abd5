# SPDX-License-Identifier: Apache-2.0
"""What programs do with LlamaIndex on both APIs."""
import sys

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai_like import OpenAILike

from cases import KEY, MODEL, URL, main, setting, words


def get_weather(city: str, days: int) -> str:
    """Weather of a city."""
    return "sunny in " + city


WEATHER = FunctionTool.from_defaults(get_weather)
openai = OpenAILike(
    model=MODEL, api_base=URL + "/openai/v1", api_key=KEY, is_chat_model=True, is_function_calling_model=True, max_retries=0,
    timeout=60, context_window=8000,
)
# knows the vendor's own names only
anthropic = Anthropic(model=setting("CLAUDE"), base_url=URL + "/anthropic", api_key=KEY, max_retries=0, timeout=60, max_tokens=2000)


def says(script):
    return ChatMessage(role="user", content="fake?" + script)


def check_text(llm):
    assert llm.complete("fake?tokens=4").text == words(4)
    assert llm.chat([ChatMessage(role="system", content="s"), says("tokens=4")]).message.content == words(4)
    pieces = [piece.delta for piece in llm.stream_chat([says("tokens=4")])]
    assert "".join(p or "" for p in pieces) == words(4) and len(pieces) >= 4


def check_tool_turn(llm):
    turns = [says("tools=1&once=1&tokens=3")]
    answer = llm.chat_with_tools([WEATHER], chat_history=turns)
    calls = llm.get_tool_calls_from_response(answer)
    assert [(c.tool_name, c.tool_kwargs) for c in calls] == [("get_weather", {"city": "Paris", "days": 0})]
    turns.append(answer.message)
    turns += [ChatMessage(role="tool", content="sunny", additional_kwargs={"tool_call_id": c.tool_id}) for c in calls]
    assert llm.chat_with_tools([WEATHER], chat_history=turns).message.content == words(3)


def case_openai_text():
    check_text(openai)


def case_openai_tool_turn():
    check_tool_turn(openai)


def case_openai_embeddings():
    embed = OpenAILikeEmbedding(model_name=setting("EMBED"), api_base=URL + "/openai/v1", api_key=KEY, max_retries=0)
    many = embed.get_text_embedding_batch(["one", "two"])
    assert len(many) == 2 and len(many[0]) == 8 and embed.get_text_embedding("one") == many[0]


def case_anthropic_text():
    check_text(anthropic)


def case_anthropic_tool_turn():
    check_tool_turn(anthropic)


if __name__ == "__main__":
    main(sys.modules[__name__])
