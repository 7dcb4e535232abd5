# SPDX-License-Identifier: Apache-2.0
"""What the fake runtime says to POST */responses: the scripts of fake_script.py, as items and events.

Honoured besides:
  summary=1       reasoning comes as a summary, not as raw text
  late=1          nothing is said before an item is done; last=1: before the answer is
  noevent=1       no event lines; noseq=1: no sequence numbers; noid=1: no ids of items and no indexes
  custom=1        calls are of custom tools; search=1: a hosted search comes first
  encrypted=TEXT  of reasoning
  nolast=1        the last event is missing; failed=K: response.failed after K deltas
  finish=REASON   length and content_filter are incomplete answers
Called by fake_runtime.py only.
"""
import itertools

from fake_script import Answer

SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
PATCH = '*** Begin Patch\n"%d"\n'


class ResponsesAnswer(Answer):
    def __init__(self, request, params, out):
        super().__init__(request, params, out)
        self.id = "resp_fake_" + self.id.rpartition("-")[2]
        self.n = 1
        items = request.get("input")
        last = items[-1] if isinstance(items, list) and items else {}
        self.answered = params.flag("once") and str(last.get("type")).endswith("_call_output")
        self.number = itertools.count()

    # ---- items --------------------------------------------------------------------------------

    def thought(self):
        part = {"type": "summary_text" if self.p.flag("summary") else "reasoning_text", "text": "thinking"}
        summary = [part] if self.p.flag("summary") else []
        more = {"encrypted_content": self.p.str("encrypted")} if self.p.str("encrypted") else {}
        return {"type": "reasoning", "id": "rs_1", "summary": summary, **({} if summary else {"content": [part]}), **more}

    def said(self):
        p = self.p
        if p.flag("refusal"):
            part = {"type": "refusal", "refusal": "no"}
        else:
            part = {"type": "output_text", "text": "".join(self.pieces()), "annotations": [], "logprobs": []}
        return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}

    def call(self, i):
        ids = {"id": "fc_%d" % i, "call_id": "call_%s_%d" % (self.id.rpartition("_")[2], i), "status": "completed"}
        if self.p.flag("custom"):
            return {"type": "custom_tool_call", "name": "apply_patch", "input": PATCH % i, **ids}
        return {"type": "function_call", **self.called(i), **ids}

    def items(self):
        calls = [self.call(i) for i in range(self.tools())]
        items = [SEARCH] if self.p.flag("search") else []
        items += ([self.thought()] if self.p.str("reasoning") else []) + (calls or [self.said()])
        if self.p.flag("noid"):
            for item in items:
                del item["id"]
        return items

    # ---- the answer ---------------------------------------------------------------------------

    def usage(self):
        u = super().usage()
        return {
            "input_tokens": u["prompt_tokens"], "input_tokens_details": u["prompt_tokens_details"],
            "output_tokens": u["completion_tokens"], "output_tokens_details": u["completion_tokens_details"],
            "total_tokens": u["total_tokens"],
        }

    def response(self, status, output=(), **more):
        return {
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "error": None,
            "incomplete_details": None, "model": "fake-model", "output": list(output), "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": self.request.get("tools") or [], "usage": None,
            "store": self.request.get("store", True), "previous_response_id": None, **more,
        }

    def over(self):
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self.p.str("finish"))
        more = {} if self.p.str("usage") == "never" else {"usage": self.usage()}
        if why:
            return self.response("incomplete", self.items(), incomplete_details={"reason": why}, **more)
        return self.response("completed", self.items(), **more)

    def object(self):
        return self.over()

    # ---- events -------------------------------------------------------------------------------

    def sse(self, data):
        if isinstance(data, list):
            return b"".join(self.sse(one) for one in data)
        if not isinstance(data, dict) or "type" not in data:
            return super().sse(data)
        if not self.p.flag("noseq"):
            data = {**data, "sequence_number": next(self.number)}
        if self.p.flag("noid"):
            data = {k: v for k, v in data.items() if k not in ("item_id", "output_index")}
        line = b"" if self.p.flag("noevent") else b"event: %s\n" % data["type"].encode()
        return line + super().sse(data)

    def failure(self):
        return {"type": "error", "code": "server_error", "message": "backend died", "param": None}

    def opening(self):
        events = [{"type": "response.created", "response": self.response("in_progress")},
                  {"type": "response.in_progress", "response": self.response("in_progress")}]
        if self.p.flag("search"):
            events.append({"type": "response.output_item.added", "output_index": 0, "item": {**SEARCH, "status": "in_progress"}})
            events.append({"type": "response.web_search_call.searching", "output_index": 0, "item_id": SEARCH["id"]})
            events.append({"type": "response.output_item.done", "output_index": 0, "item": SEARCH})
        if self.p.str("reasoning") and not self.p.flag("last"):
            events += self.steps(1 if self.p.flag("search") else 0, self.thought(), ["think", "ing"])
        return events

    def steps(self, index, item, pieces):
        """All events of an item."""
        at = {"item_id": item.get("id"), "output_index": index}
        if item["type"] == "custom_tool_call":
            name, member, shell = "custom_tool_call_input", "input", {**item, "input": "", "status": "in_progress"}
        elif item["type"] == "function_call":
            name, member, shell = "function_call_arguments", "arguments", {**item, "arguments": "", "status": "in_progress"}
        else:
            (part,) = item.get("content") or item["summary"]
            member = "refusal" if part["type"] == "refusal" else "text"
            at["summary_index" if part["type"] == "summary_text" else "content_index"] = 0
            name = {"summary_text": "reasoning_summary_text"}.get(part["type"], part["type"])
            shell = {**item, **{k: [] for k in ("content", "summary") if k in item}, "status": "in_progress"}
        begin = [{"type": "response.output_item.added", "output_index": index, "item": shell}]
        end = [{"type": "response.output_item.done", "output_index": index, "item": item}]
        if self.p.flag("late"):
            return begin + end
        if "call_id" not in item:
            kind = "reasoning_summary_part" if name == "reasoning_summary_text" else "content_part"
            begin.append({"type": "response.%s.added" % kind, "part": {**part, member: ""}, **at})
            end.insert(0, {"type": "response.%s.done" % kind, "part": part, **at})
        whole = item[member] if "call_id" in item else part[member]
        end.insert(0, {"type": "response.%s.done" % name, member: whole, **at})
        deltas = [{"type": "response.%s.delta" % name, "delta": piece, **at} for piece in pieces]
        return begin + deltas + end

    def said_steps(self):
        """The message or the calls: lists of events, one per delta and one for what closes it."""
        first = sum(bool(self.p.str(name)) for name in ("reasoning", "search"))
        calls = [i for i in self.items() if "call_id" in i]
        if self.p.flag("last"):
            return [[] for _ in self.pieces()] + [[]]
        if not calls:
            item = self.items()[-1]
            pieces = ["no"] if self.p.flag("refusal") else self.pieces()
            steps = self.steps(first, item, pieces)
            if self.p.flag("late"):
                return [steps]
            return [steps[:3]] + [[s] for s in steps[3:2 + len(pieces)]] + [steps[2 + len(pieces):]]
        lists = []
        for i, call in enumerate(calls):
            args = call.get("arguments") or call.get("input")
            lists.append(self.steps(first + i, call, [args[:7], args[7:]]))
        if self.p.flag("interleave"):
            return [[x] for group in itertools.zip_longest(*lists) for x in group if x is not None]
        return [[x] for steps in lists for x in steps]

    def content_deltas(self):
        return self.said_steps()[:-1]

    tool_deltas = content_deltas

    def closing(self):
        if self.p.flag("nolast"):
            return [self.said_steps()[-1]]
        over = self.over()
        return [self.said_steps()[-1] + [{"type": "response." + over["status"], "response": over}]]

    async def faults_at(self, k):
        if k == self.p.num("failed"):
            failed = self.response("failed", error={"code": "server_error", "message": "backend died"})
            await self.out.body(self.sse({"type": "response.failed", "response": failed}))
            return True
        return await super().faults_at(k)
