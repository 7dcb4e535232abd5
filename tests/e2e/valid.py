# SPDX-License-Identifier: Apache-2.0
"""Whether an answer has the shape that its API promises: required members, their types, the order of a
stream's events, and that its parts agree. AssertionError when not. Each function takes the parsed answer,
or a stream's frames as frames() gives them; they know nothing of gateway or transport.

Used by test_66_recordings.py and by whoever has an answer to check.
"""
import base64
import json
import struct

CHAT_FINISH = {"stop", "length", "tool_calls", "content_filter", "function_call"}
STOP_REASONS = {"end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"}


def frames(text):
    """[(event name or None, data text)] of an SSE body; comments are left out."""
    assert text.endswith("\n\n"), "the stream ends inside an event: %r" % text[-80:]
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        name, data = None, []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            else:
                assert field == "", "a line of no known field: %r" % line
        if data:
            found.append((name, "\n".join(data)))
    return found


def has(thing, **kinds):
    """Members and their types; a tuple of types may hold type(None)."""
    assert isinstance(thing, dict), thing
    for name, kind in kinds.items():
        assert name in thing, "%s is missing in %r" % (name, thing)
        value = thing[name]
        assert isinstance(value, kind) and (kind is not int or not isinstance(value, bool)), (name, value)
    return thing


NULL = type(None)
TEXT = (str, NULL)


# ---- errors


def openai_error(answer, status, code=None):
    error = has(has(answer, error=dict)["error"], message=str, type=str, param=TEXT, code=TEXT)
    assert error["message"] and (code is None or error["code"] == code), error
    return error


def anthropic_error(answer, status, code=None):
    has(answer, type=str, error=dict, request_id=str)
    error = has(answer["error"], type=str, message=str, details=dict)
    assert answer["type"] == "error" and error["message"], answer
    assert code is None or error["details"]["error_code"] == code, error
    return error


# ---- chat completions, completions


def openai_usage(usage):
    has(usage, prompt_tokens=int, completion_tokens=int, total_tokens=int)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], usage
    assert usage["prompt_tokens"] > 0 and usage["completion_tokens"] >= 0, usage


def chat_call(call):
    has(call, id=str, type=str)
    if call["type"] == "custom":
        has(call["custom"], name=str, input=str)
    else:
        assert call["type"] == "function", call
        has(call["function"], name=str, arguments=str)
        assert isinstance(json.loads(call["function"]["arguments"]), dict), call
    assert call["id"]


def chat(answer, request):
    has(answer, id=str, object=str, created=int, model=str, choices=list, usage=dict)
    assert answer["object"] == "chat.completion" and answer["model"] == request["model"] and answer["id"], answer
    assert [c["index"] for c in answer["choices"]] == list(range(request.get("n") or 1))
    for choice in answer["choices"]:
        assert choice["finish_reason"] in CHAT_FINISH and "logprobs" in choice, choice
        message = has(choice["message"], role=str, content=TEXT, refusal=TEXT)
        assert message["role"] == "assistant"
        assert message.get("reasoning") == message.get("reasoning_content")
        if "tool_calls" in message:
            assert message["tool_calls"] and choice["finish_reason"] == "tool_calls", choice
            assert len({c["id"] for c in message["tool_calls"]}) == len(message["tool_calls"])
            for call in message["tool_calls"]:
                chat_call(call)
        else:
            assert choice["finish_reason"] != "tool_calls", choice
    openai_usage(answer["usage"])


class ChatChoice:
    """One choice of a stream, as it grows."""

    def __init__(self):
        self.finish = None
        self.role = False
        self.calls = {}

    def feed(self, choice):
        assert self.finish is None or choice["delta"] == {}, "a delta behind the finish reason: %r" % choice
        delta = has(choice, delta=dict, index=int)["delta"]
        assert self.role or delta.get("role") == "assistant", "no role in the first delta: %r" % delta
        self.role = True
        assert delta.get("reasoning") == delta.get("reasoning_content"), delta
        for piece in delta.get("tool_calls") or []:
            self.call(piece)
        if choice.get("finish_reason"):
            assert self.finish is None, "a second finish reason"
            self.finish = choice["finish_reason"]

    def call(self, piece):
        has(piece, index=int)
        call = self.calls.get(piece["index"])
        if call is None:
            assert piece["index"] == len(self.calls), "index %d out of turn" % piece["index"]
            has(piece, id=str, type=str, function=dict)
            has(piece["function"], name=str)
            assert piece["id"] and piece["function"]["name"], piece
            call = self.calls[piece["index"]] = {**piece, "function": {**piece["function"], "arguments": ""}}
        else:
            assert piece.get("id") in (None, call["id"]), piece
        call["function"]["arguments"] += piece.get("function", {}).get("arguments") or ""

    def end(self):
        assert self.finish in CHAT_FINISH, self.finish
        assert bool(self.calls) == (self.finish == "tool_calls"), self.finish
        for call in self.calls.values():
            chat_call(call)
        assert len({c["id"] for c in self.calls.values()}) == len(self.calls)


def data_events(events):
    """The objects of a stream of the OpenAI API's older kind: data only, [DONE] at the end."""
    assert events and events[-1] == (None, "[DONE]"), events[-1:]
    assert all(name is None for name, _ in events), "event names on a surface that has none"
    return [json.loads(data) for _, data in events[:-1]]


def take_usage(chunks, request):
    """Takes off the chunk that reports usage, which must be there when asked for and only then."""
    asked = bool((request.get("stream_options") or {}).get("include_usage"))
    if asked:
        assert chunks[-1]["choices"] == [], "no usage at the end"
        openai_usage(chunks[-1]["usage"])
        chunks = chunks[:-1]
    assert all(c["choices"] and not c.get("usage") for c in chunks), "usage that nobody asked for"
    return chunks


def chat_stream(events, request):
    chunks = data_events(events)
    for chunk in chunks:
        has(chunk, id=str, object=str, created=int, model=str, choices=list)
        assert chunk["object"] == "chat.completion.chunk" and chunk["model"] == request["model"], chunk
    assert len({(c["id"], c["created"]) for c in chunks}) == 1
    choices = {}
    for chunk in take_usage(chunks, request):
        for choice in chunk["choices"]:
            choices.setdefault(choice["index"], ChatChoice()).feed(choice)
    assert sorted(choices) == list(range(request.get("n") or 1))
    for choice in choices.values():
        choice.end()


def completion(answer, request):
    has(answer, id=str, object=str, created=int, model=str, choices=list, usage=dict)
    assert answer["object"] == "text_completion" and answer["model"] == request["model"], answer
    for i, choice in enumerate(answer["choices"]):
        has(choice, text=str, index=int, finish_reason=str)
        assert choice["index"] == i and "logprobs" in choice, choice
    assert answer["choices"]
    openai_usage(answer["usage"])


def completion_stream(events, request):
    chunks = take_usage(data_events(events), request)
    assert {c["object"] for c in chunks} == {"text_completion"} and len({c["id"] for c in chunks}) == 1
    finished = [x["index"] for c in chunks for x in c["choices"] if x.get("finish_reason")]
    assert finished and len(set(finished)) == len(finished), finished


# ---- messages


def anthropic_usage(usage):
    has(usage, input_tokens=int, output_tokens=int, cache_creation_input_tokens=int, cache_read_input_tokens=int)


def block(one, request):
    has(one, type=str)
    kind = one["type"]
    if kind == "text":
        has(one, text=str)
        assert "citations" in one, one
    elif kind == "thinking":
        has(one, thinking=str, signature=str)
        assert one["signature"] and (request.get("thinking") or {}).get("type") in ("enabled", "adaptive"), one
    else:
        assert kind == "tool_use", kind
        has(one, id=str, name=str, input=dict)
        assert one["id"] and one["name"], one


def message_head(message, request):
    has(message, id=str, type=str, role=str, model=str, content=list, stop_sequence=TEXT, usage=dict)
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", request["model"])
    for name in ("stop_details", "container", "diagnostics"):
        assert name in message, name
    anthropic_usage(message["usage"])


def message(answer, request):
    message_head(answer, request)
    assert answer["stop_reason"] in STOP_REASONS, answer["stop_reason"]
    for one in answer["content"]:
        block(one, request)
    called = [b["id"] for b in answer["content"] if b["type"] == "tool_use"]
    assert len(set(called)) == len(called) and bool(called) == (answer["stop_reason"] == "tool_use"), answer
    assert answer["usage"]["input_tokens"] > 0, answer["usage"]


class Blocks:
    """The content of a stream of messages, block after block."""

    def __init__(self, request):
        self.request = request
        self.done = []
        self.open = None
        self.input = ""

    def start(self, event):
        assert self.open is None and event["index"] == len(self.done), event
        self.open, self.input = dict(event["content_block"]), ""
        kind = self.open["type"]
        assert kind in ("text", "thinking", "tool_use"), kind
        assert self.open.get({"text": "text", "thinking": "thinking", "tool_use": "input"}[kind]) in ("", {}), self.open

    def delta(self, event):
        assert self.open is not None and event["index"] == len(self.done), event
        delta, kind = event["delta"], self.open["type"]
        name = delta["type"]
        if name == "input_json_delta":
            assert kind == "tool_use"
            self.input += delta["partial_json"]
            return
        field = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}[name]
        assert kind == ("text" if field == "text" else "thinking"), event
        assert not (field != "signature" and self.open.get("signature")), "text behind the signature"
        self.open[field] = (self.open.get(field) or "") + delta[field]

    def stop(self, event):
        assert self.open is not None and event["index"] == len(self.done), event
        if self.open["type"] == "tool_use":
            self.open["input"] = json.loads(self.input or "{}")
        block(self.open, self.request)
        self.done.append(self.open)
        self.open = None


def message_stream(events, request):
    got = []
    for name, data in events:
        event = json.loads(data)
        assert name == event["type"], (name, data)
        if name != "ping":
            got.append(event)
    assert [got[0]["type"], got[-2]["type"], got[-1]["type"]] == ["message_start", "message_delta", "message_stop"], got
    message_head(got[0]["message"], request)
    assert got[0]["message"]["content"] == [] and got[0]["message"]["stop_reason"] is None
    assert got[0]["message"]["usage"]["input_tokens"] > 0
    blocks = Blocks(request)
    for event in got[1:-2]:
        step = {"content_block_start": blocks.start, "content_block_delta": blocks.delta, "content_block_stop": blocks.stop}
        step[event["type"]](event)
    assert blocks.open is None
    end = got[-2]
    assert end["delta"]["stop_reason"] in STOP_REASONS and "stop_sequence" in end["delta"], end
    has(end["usage"], output_tokens=int, input_tokens=int)
    called = [b["id"] for b in blocks.done if b["type"] == "tool_use"]
    assert len(set(called)) == len(called) and bool(called) == (end["delta"]["stop_reason"] == "tool_use")


def token_count(answer, request):
    assert has(answer, input_tokens=int)["input_tokens"] > 0


# ---- responses


def response_item(item, declared):
    """declared: the request's tools."""
    has(item, id=str, type=str, status=str)
    if item["type"] == "message":
        has(item, role=str, content=list)
        assert item["id"].startswith("msg_") and item["role"] == "assistant" and item["content"]
        for part in item["content"]:
            if part["type"] == "refusal":
                has(part, refusal=str)
            else:
                assert part["type"] == "output_text"
                has(part, text=str, annotations=list, logprobs=list)
    elif item["type"] == "reasoning":
        has(item, summary=list)
        assert item["id"].startswith("rs_") and (item["summary"] or item.get("content"))
        for part in item["summary"]:
            assert part["type"] == "summary_text" and isinstance(part["text"], str)
        for part in item.get("content") or []:
            assert part["type"] == "reasoning_text" and isinstance(part["text"], str)
    else:
        assert item["type"] in ("function_call", "custom_tool_call"), item
        has(item, call_id=str, name=str)
        if item["type"] == "function_call":
            assert item["id"].startswith("fc_") and isinstance(json.loads(item["arguments"]), dict)
        else:
            assert item["id"].startswith("ctc_") and isinstance(item["input"], str)
        spaces = [t for t in declared if t.get("type") == "namespace" and t["name"] == item.get("namespace")]
        assert spaces or "namespace" not in item, "a namespace that nobody declared: %r" % item


def response_head(answer, request, status):
    has(answer, id=str, object=str, created_at=int, status=str, model=str, output=list, background=bool, error=(dict, NULL),
        incomplete_details=(dict, NULL), instructions=TEXT, metadata=dict, parallel_tool_calls=bool, reasoning=dict, store=bool,
        text=dict, tools=list, truncation=str, usage=(dict, NULL), previous_response_id=TEXT)
    assert answer["object"] == "response" and answer["id"].startswith("resp_") and answer["model"] == request["model"]
    assert answer["status"] in status, answer["status"]
    assert answer["tools"] == (request.get("tools") or []) and answer["metadata"] == (request.get("metadata") or {})
    assert answer["instructions"] == request.get("instructions")
    assert answer["text"]["format"] == (request.get("text") or {}).get("format", {"type": "text"})


def response(answer, request):
    response_head(answer, request, ("completed", "incomplete"))
    assert (answer["status"] == "incomplete") == (answer["incomplete_details"] is not None)
    assert isinstance(answer["completed_at"], int) or answer["status"] == "incomplete"
    usage = has(answer["usage"], input_tokens=int, input_tokens_details=dict, output_tokens=int, output_tokens_details=dict,
                total_tokens=int)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert 0 <= usage["input_tokens_details"]["cached_tokens"] <= usage["input_tokens"]
    assert 0 <= usage["output_tokens_details"]["reasoning_tokens"] <= usage["output_tokens"]
    assert answer["output"] and len({i["id"] for i in answer["output"]}) == len(answer["output"])
    for item in answer["output"]:
        response_item(item, request.get("tools") or [])


class Outputs:
    """The output of a stream of the Responses API, item after item."""

    DELTAS = {
        "response.output_text": ("output_text", "text"),
        "response.refusal": ("refusal", "refusal"),
        "response.reasoning_text": ("reasoning_text", "text"),
    }
    INPUTS = {"response.function_call_arguments": "arguments", "response.custom_tool_call_input": "input"}

    def __init__(self, declared):
        self.declared = declared
        self.done = []
        self.item = None
        self.parts = None  # of a message's or a reasoning's content
        self.summary = None
        self.open = None  # the part that grows
        self.text = ""
        self.input = ""

    def where(self, event):
        assert self.item is not None, "%s outside of any item" % event["type"]
        assert event["item_id"] == self.item["id"] and event["output_index"] == len(self.done), event

    def feed(self, event):
        kind = event["type"]
        if kind == "response.output_item.added":
            self.start(event)
        elif kind == "response.output_item.done":
            self.stop(event)
        else:
            self.where(event)
            self.inside(event, kind)

    def start(self, event):
        assert self.item is None and event["output_index"] == len(self.done), event
        self.item, self.parts, self.summary, self.input = event["item"], [], [], ""
        assert not self.item.get("content") and not self.item.get("arguments") and not self.item.get("input"), self.item

    def inside(self, event, kind):
        name, _, step = kind.rpartition(".")
        if name in ("response.content_part", "response.reasoning_summary_part"):
            self.part(event, step, self.parts if name == "response.content_part" else self.summary)
        elif name in self.INPUTS:
            if step == "delta":
                self.input += event["delta"]
            else:
                assert event[self.INPUTS[name]] == self.input, event
        elif name == "response.reasoning_summary_text":
            self.piece(event, step, "summary_text", "text", event["summary_index"], self.summary)
        else:
            part, field = self.DELTAS[name]
            self.piece(event, step, part, field, event["content_index"], self.parts)

    def part(self, event, step, parts):
        index = event["content_index"] if parts is self.parts else event["summary_index"]
        assert index == len(parts), event
        if step == "added":
            assert self.open is None, "two open parts"
            self.open, self.text = event["part"], ""
            return
        assert step == "done" and self.open is not None and event["part"]["type"] == self.open["type"], event
        assert event["part"].get("text", event["part"].get("refusal")) == self.text, event
        parts.append(event["part"])
        self.open = None

    def piece(self, event, step, part, field, index, parts):
        assert self.open is not None and self.open["type"] == part and index == len(parts), event
        if step == "delta":
            self.text += event["delta"]
        else:
            assert step == "done" and event[field] == self.text, event

    def stop(self, event):
        assert self.item is not None and self.open is None and event["output_index"] == len(self.done), event
        item = event["item"]
        assert (item["id"], item["type"]) == (self.item["id"], self.item["type"]), event
        response_item(item, self.declared)
        if item["type"] in ("message", "reasoning"):
            assert (item.get("content") or []) == self.parts, (item, self.parts)
            assert (item.get("summary") or []) == self.summary, (item, self.summary)
        else:
            assert item["arguments" if item["type"] == "function_call" else "input"] == self.input, (item, self.input)
        self.done.append(item)
        self.item = None


def response_stream(events, request):
    got = []
    for name, data in events:
        event = json.loads(data)
        assert name == event["type"], (name, data)
        got.append(event)
    assert [e["sequence_number"] for e in got] == list(range(len(got)))
    assert [e["type"] for e in got[:2]] == ["response.created", "response.in_progress"], got[:2]
    for event in got[:2]:
        response_head(event["response"], request, ("in_progress",))
        assert event["response"]["output"] == [] and event["response"]["usage"] is None
    outputs = Outputs(request.get("tools") or [])
    for event in got[2:-1]:
        outputs.feed(event)
    end = got[-1]
    assert outputs.item is None and end["type"] in ("response.completed", "response.incomplete"), end["type"]
    assert end["type"] == "response." + end["response"]["status"] and end["response"]["id"] == got[0]["response"]["id"]
    assert end["response"]["output"] == outputs.done, (end["response"]["output"], outputs.done)
    response(end["response"], request)


def input_tokens(answer, request):
    has(answer, object=str, input_tokens=int)
    assert answer["object"] == "response.input_tokens" and answer["input_tokens"] > 0


# ---- embeddings, models


def embeddings(answer, request):
    has(answer, object=str, data=list, model=str, usage=dict)
    assert answer["object"] == "list" and answer["model"] == request["model"]
    many = request["input"]
    count = len(many) if isinstance(many, list) and not isinstance(many[0], int) else 1
    assert [e["index"] for e in answer["data"]] == list(range(count))
    for one in answer["data"]:
        assert one["object"] == "embedding"
        if request.get("encoding_format") == "base64":
            raw = base64.b64decode(one["embedding"], validate=True)
            vector = struct.unpack("<%df" % (len(raw) // 4), raw)
        else:
            vector = one["embedding"]
        assert vector and all(isinstance(x, (int, float)) for x in vector)
    has(answer["usage"], prompt_tokens=int, total_tokens=int)


def transcript(answer, verbose):
    has(answer, text=str, usage=dict)
    assert answer["usage"]["type"] in ("duration", "tokens")
    if verbose:
        has(answer, task=str, language=str, duration=(int, float), segments=list)
        for one in answer["segments"]:
            has(one, id=int, start=(int, float), end=(int, float), text=str)


def images(answer, request):
    """request: None or a text when it came as a form."""
    has(answer, created=int, data=list)
    form = request.get("response_format", "url") if isinstance(request, dict) else "url"
    assert len(answer["data"]) == (request.get("n") or 1 if isinstance(request, dict) else 1)
    for one in answer["data"]:
        has(one, **{form: str})
        if form == "b64_json":
            assert base64.b64decode(one[form], validate=True)
        else:
            assert one[form].startswith("http"), one[form]


def openai_models(answer, request):
    has(answer, object=str, data=list)
    assert answer["object"] == "list" and answer["data"]
    for one in answer["data"]:
        openai_model(one, request)


def openai_model(one, request):
    has(one, id=str, object=str, created=int, owned_by=str)
    assert one["object"] == "model"


def anthropic_models(answer, request):
    has(answer, data=list, has_more=bool, first_id=TEXT, last_id=TEXT)
    for one in answer["data"]:
        anthropic_model(one, request)


def anthropic_model(one, request):
    has(one, type=str, id=str, display_name=str, created_at=str)
    assert one["type"] == "model"
