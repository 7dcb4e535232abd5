# SPDX-License-Identifier: Apache-2.0
"""What the fake runtime says to POST */messages: the scripts of fake_script.py, as blocks and events.

It is as strict as the provider: a request without anthropic-version, max_tokens or alternating turns, with blank
text, results in the wrong place, or reasoning that it did not sign itself is answered with 400.

Honoured besides:
  whole_input=1   a call's input stands in content_block_start, no piece of it follows
  nostop=1        message_stop is missing; future=1: events and members nobody knows yet
  bare=1          as servers say it that learnt the API early: without what is null, signatures and counts of caches
  omitted=1       thinking without its text, signed all the same
  finish=REASON   of the API (end_turn, max_tokens, refusal, ...), or of the chat API
Called by fake_runtime.py only.
"""
import hashlib
import itertools
import json

from fake_script import Answer, holds

THOUGHT = ["think", "ing"]
FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def sign(text):
    return "sig-" + hashlib.sha256(text.encode()).hexdigest()[:24]


def blocks(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def fault_of(request):
    """What the provider would refuse; None when all is well."""
    if not isinstance(request.get("max_tokens"), int):
        return "max_tokens: Field required"
    turns = request["messages"]
    if turns[0]["role"] != "user":
        return "messages: first message must use the user role"
    calls = []
    for i, turn in enumerate(turns):
        if i and turn["role"] == turns[i - 1]["role"]:
            return "messages.%d: roles must alternate" % i
        said = blocks(turn["content"])
        results = [b["tool_use_id"] for b in said if b["type"] == "tool_result"]
        if sorted(results) != sorted(calls) or [b["type"] for b in said[: len(results)]] != ["tool_result"] * len(results):
            return "messages.%d: tool_result blocks do not answer the tool_use blocks" % i
        calls = [b["id"] for b in said if b["type"] == "tool_use"]
        for b in said:
            if b["type"] == "text" and not b["text"].strip():
                return "messages.%d: text content blocks must contain non-whitespace text" % i
            if b["type"] == "thinking" and b["thinking"] and b["signature"] != sign(b["thinking"]):
                return "messages.%d: Invalid `signature` in `thinking` block" % i
    thinks = request.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if thinks and request.get("tool_choice", {}).get("type") in ("any", "tool"):
        return "Thinking may not be enabled when tool_choice forces tool use."
    if thinks and request.get("temperature", 1) != 1:
        return "`temperature` may only be set to 1 when thinking is enabled."
    return None


class MessagesAnswer(Answer):
    def __init__(self, request, params, out):
        super().__init__(request, params, out)
        self.id = "msg_fake_" + self.id.rpartition("-")[2]
        self.n = 1
        self.number = itertools.count()
        self.answered = params.flag("once") and holds(request["messages"][-1], "tool_result")

    # ---- pieces -------------------------------------------------------------------------------

    def usage(self):
        u = super().usage()
        cached = u["prompt_tokens_details"]["cached_tokens"]
        if self.p.flag("bare"):
            return {"input_tokens": u["prompt_tokens"], "output_tokens": u["completion_tokens"]}
        return {
            "input_tokens": u["prompt_tokens"] - cached, "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": self.p.num("wrote", 0), "output_tokens": u["completion_tokens"],
            "output_tokens_details": {"thinking_tokens": u["completion_tokens_details"]["reasoning_tokens"]},
        }

    def stop(self):
        finish = self.finish()
        details = {"type": "refusal", "category": None, "explanation": "no"} if self.p.flag("refusal") else None
        reason = {"stop_reason": "refusal" if details else FINISH.get(finish, finish)}
        return reason if self.p.flag("bare") else {**reason, "stop_sequence": None, "stop_details": details}

    def thinks(self):
        return bool(self.p.str("reasoning"))

    def calls(self):
        return [{"type": "tool_use", "id": "toolu_%s_%d" % (self.id.rpartition("_")[2], c["index"]),
                 "name": c["function"]["name"], "input": json.loads(c["function"]["arguments"])} for c in self.tool_calls()]

    def thought(self):
        text = "" if self.p.flag("omitted") else "".join(THOUGHT)
        signature = {} if self.p.flag("bare") else {"signature": sign(text)}
        return {"type": "thinking", "thinking": text, **signature}

    def message(self, **more):
        future = {"future_member": {"a": [1]}} if self.p.flag("future") else {}
        return {"id": self.id, "type": "message", "role": "assistant", "model": "fake-model", "content": [], **future, **more}

    def object(self):
        content = [self.thought()] if self.thinks() else []
        content += self.calls() or ([] if self.p.flag("refusal") else [{"type": "text", "text": "".join(self.pieces())}])
        return self.message(content=content, usage=self.usage(), **self.stop())

    # ---- events -------------------------------------------------------------------------------

    def sse(self, data):
        if isinstance(data, list):
            return b"".join(self.sse(one) for one in data)
        if not isinstance(data, dict) or "type" not in data:
            return super().sse(data)
        return b"event: %s\n" % data["type"].encode() + super().sse(data)

    def error(self, message):
        return {"type": "error", "error": {"type": self.p.str("kind", "api_error"), "message": message}, "request_id": "req_fake"}

    def block(self, start, deltas):
        """The events of one block: what begins it, its deltas, what ends it."""
        at = {"index": next(self.number)}
        events = [{"type": "content_block_delta", "delta": d, **at} for d in deltas]
        return [{"type": "content_block_start", "content_block": start, **at}, *events, {"type": "content_block_stop", **at}]

    def opening(self):
        null = {} if self.p.flag("bare") else {"stop_reason": None, "stop_sequence": None}
        shell = {**null, "usage": {**self.usage(), "output_tokens": 1}}
        events = [{"type": "message_start", "message": self.message(**shell)}, {"type": "ping"}]
        if self.p.flag("future"):
            events.append({"type": "future_event", "a": 1})
        if self.thinks():
            deltas = [] if self.p.flag("omitted") else [{"type": "thinking_delta", "thinking": t} for t in THOUGHT]
            signature = self.thought().get("signature")
            deltas += [{"type": "signature_delta", "signature": signature}] if signature else []
            events += self.block({"type": "thinking", "thinking": "", **({"signature": ""} if signature else {})}, deltas)
        return events

    def content_deltas(self):
        if self.p.flag("refusal"):
            return []
        first, *rest = self.block({"type": "text", "text": ""}, [{"type": "text_delta", "text": t} for t in self.pieces()])
        # what begins and ends the block goes with a delta, so that faults count deltas
        return [[first, rest[0]]] + [[e] for e in rest[1:-2]] + ([rest[-2:]] if len(rest) > 2 else [rest[1:]])

    def tool_deltas(self):
        events = []
        for call in self.calls():
            text = json.dumps(call["input"], separators=(",", ":"))
            pieces = [] if self.p.flag("whole_input") else ["", text[:7], text[7:]]
            start = call if self.p.flag("whole_input") else {**call, "input": {}}
            events += self.block(start, [{"type": "input_json_delta", "partial_json": t} for t in pieces])
        return [[e] for e in events]

    def closing(self):
        usage = {} if self.p.flag("bare") else {"usage": self.usage()}
        events = [{"type": "message_delta", "delta": self.stop(), **usage}]
        return events if self.p.flag("nostop") else [*events, {"type": "message_stop"}]

    # ---- all of it ----------------------------------------------------------------------------

    async def run(self):
        fault = fault_of(self.request)
        if fault is None:
            await super().run()
            return
        raw = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": fault}}).encode()
        await self.out.head(400, "application/json", length=len(raw))
        await self.out.body(raw)
        await self.out.end()
