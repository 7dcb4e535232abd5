# SPDX-License-Identifier: Apache-2.0
"""valid.py finds what is wrong: right answers pass, and each of them with one thing broken does not."""
import json

import pytest

import valid

ASKED = {"model": "m"}
WITH_USAGE = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def chat():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": dict(USAGE)}


def sse(events, done=True):
    text = "".join("data: %s\n\n" % json.dumps(e) for e in events) + ("data: [DONE]\n\n" if done else "")
    return valid.frames(text)


def chunks():
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [
        ({"role": "assistant", "content": ""}, None),
        ({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}, None),
        ({}, "tool_calls"),
    ]
    made = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": f}]} for d, f in deltas]
    return made + [{**head, "choices": [], "usage": dict(USAGE)}]


def block(index, start, *deltas):
    made = [{"type": "content_block_start", "index": index, "content_block": start}]
    made += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
    return made + [{"type": "content_block_stop", "index": index}]


def messages():
    counts = {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
            "stop_sequence": None, "stop_details": None, "container": None, "diagnostics": None, "usage": counts}
    return (
        [{"type": "message_start", "message": head}]
        + block(0, {"type": "text", "text": "", "citations": None}, {"type": "text_delta", "text": "a"})
        + block(1, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, {"type": "input_json_delta", "partial_json": "{}"})
        + [{"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": counts},
           {"type": "message_stop"}]
    )


def named(events):
    return [(e["type"], json.dumps(e)) for e in events]


def responses():
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_tokens_details": {"cached_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}
    part = {"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    head = {"id": "resp_1", "object": "response", "created_at": 1, "completed_at": None, "status": "in_progress", "model": "m",
            "output": [], "background": False, "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
            "parallel_tool_calls": True, "reasoning": {}, "store": False, "text": {"format": {"type": "text"}}, "tools": [],
            "truncation": "disabled", "usage": None, "previous_response_id": None}
    last = {**head, "status": "completed", "completed_at": 2, "output": [item], "usage": usage}
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = [
        {"type": "response.created", "response": head},
        {"type": "response.in_progress", "response": head},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **where, "delta": "a"},
        {"type": "response.output_text.delta", **where, "delta": "b"},
        {"type": "response.output_text.done", **where, "text": "ab"},
        {"type": "response.content_part.done", **where, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": last},
    ]
    return [{**json.loads(json.dumps(e)), "sequence_number": i} for i, e in enumerate(events)]


def test_right_answers_pass():
    valid.chat(chat(), ASKED)
    valid.chat_stream(sse(chunks()), WITH_USAGE)
    valid.chat_stream(sse(chunks()[:-1]), ASKED)
    valid.message_stream(named(messages()), ASKED)
    valid.response_stream(named(responses()), ASKED)


def refused(check, answer, asked=ASKED):
    with pytest.raises((AssertionError, KeyError, ValueError, TypeError)):
        check(answer, asked)


@pytest.mark.parametrize("name", ["id", "object", "created", "model", "choices", "usage"])
def test_chat_without_a_member(name):
    answer = chat()
    del answer[name]
    refused(valid.chat, answer)


@pytest.mark.parametrize("name", ["role", "content", "refusal"])
def test_chat_message_without_a_member(name):
    answer = chat()
    del answer["choices"][0]["message"][name]
    refused(valid.chat, answer)


@pytest.mark.parametrize("change", [{"finish_reason": "stop"}, {"finish_reason": None}, {"index": 1}])
def test_chat_choice(change):
    answer = chat()
    answer["choices"][0].update(change)
    refused(valid.chat, answer)


@pytest.mark.parametrize("arguments", ["", "{", "[]", "1"])
def test_chat_arguments(arguments):
    answer = chat()
    answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = arguments
    refused(valid.chat, answer)


@pytest.mark.parametrize("lost", range(5))
def test_chat_stream_without_a_chunk(lost):
    events = chunks()
    del events[lost]
    refused(valid.chat_stream, sse(events), WITH_USAGE)


def test_chat_stream_ends():
    refused(valid.chat_stream, sse(chunks(), done=False), WITH_USAGE)
    refused(valid.chat_stream, sse(chunks()), ASKED)  # usage that nobody asked for
    refused(valid.chat_stream, sse(chunks() + chunks()[3:]), WITH_USAGE)
    with pytest.raises(AssertionError):
        valid.frames("data: {}\n")


@pytest.mark.parametrize("lost", range(9))
def test_message_stream_without_an_event(lost):
    events = messages()
    assert len(events) == 9
    del events[lost]
    if lost in (2, 5):  # a block may be empty
        valid.message_stream(named(events), ASKED)
    else:
        refused(valid.message_stream, named(events))


@pytest.mark.parametrize("n,change", [(1, {"index": 1}), (7, {"usage": {}}), (0, {"message": {}}), (2, {"type": "ping"})])
def test_message_stream_changed(n, change):
    events = messages()
    events[n].update(change)
    if change == {"type": "ping"}:
        valid.message_stream(named(events), ASKED)
    else:
        refused(valid.message_stream, named(events))


def test_message_stream_needs_names():
    refused(valid.message_stream, [(None, data) for _, data in named(messages())])
    refused(valid.message_stream, named(messages()[:1] + messages()))


@pytest.mark.parametrize("lost", range(10))
def test_response_stream_without_an_event(lost):
    events = responses()
    del events[lost]
    for i, event in enumerate(events):
        event["sequence_number"] = i
    if lost == 6:  # what it says the next one says again
        valid.response_stream(named(events), ASKED)
    else:
        refused(valid.response_stream, named(events))


@pytest.mark.parametrize(
    "n,change",
    [(4, {"item_id": "msg_2"}), (4, {"output_index": 1}), (4, {"content_index": 1}), (4, {"delta": "x"}), (6, {"text": "x"}),
     (3, {"type": "response.unheard.added"}), (5, {"sequence_number": 4}), (9, {"type": "response.failed"})],
)
def test_response_stream_changed(n, change):
    events = responses()
    events[n].update(change)
    refused(valid.response_stream, named(events))
