# SPDX-License-Identifier: Apache-2.0
"""What the fake runtime says: scripts of chat answers with faults on demand.

A script is a query string. It stands in the model's name ("m?tokens=3&abort=2"), in the text of the
last user message ("fake?tokens=3&abort=2", which any gateway passes on), or is set for every call
at /control/script; the message wins over the name and the name over the control endpoint.

This file must not know sockets: it speaks to an `out` with the methods interim, head, body, end, fin,
reset and sleep (fake_runtime.Out). Called by fake_runtime.py only.

How the call begins
  head_ms=N       silence before the status line
  die=head        the connection ends before the first byte; die=reset: by RST; die=half: in the head
  status=N        an error with that status; retry_after=S; kind=TYPE; message=TEXT; html=1: no JSON;
                  location=URL; times=K: only the first K calls with the same tag, later ones succeed
  interim=1       102 and 103 before the answer
  closed=1        no Content-Length and no chunks: the body ends with the connection
  short=1         an unstreamed answer ends before its Content-Length
  ctype=TYPE      content type of the 200
What is answered
  tokens=N        deltas (5); delay_ms=N between them (0); first_ms=N: silence after the head
  text=KIND       words (default), emoji, quotes: what a delta holds; big=BYTES: so many instead
  say=TEXT        this text instead, in deltas of SAY_PIECE characters
  finish=REASON   finish reason (stop, tool_calls with tools); refusal=1
  prompt=N cached=N completion=N thought=N   usage to report; completion defaults to the tokens sent
                  wrote=N: tokens written to a cache, beside those of the prompt (Messages only)
  usage=MODE      asked (default), always, never
  reasoning=NAME  reasoning_content, reasoning or both: two deltas before the content
  tools=N         N tool calls instead of text; interleave=1: their fragments in turn
                  tool=NAME args=JSON: of this function, with these arguments
                  once=1: text when the conversation ends with a tool's result
What is wrong with it
  norole nofinish nodone usagenochoices usagelast error_first
  tool_notype tool_noid tool_noindex tool_noargs tool_emptyargs tool_namerepeat
  abort=K         RST after K deltas; fin=K: FIN inside the chunked body; cut=K: a clean end of the body
  error_at=K      an error event after K deltas; then the body ends
  bad=K           an event that is not JSON after K deltas; bad_field=K: an SSE line of no known field
  stall_at=K stall_ms=N   silence after K deltas
  comments=1 crlf=1 nospace=1 event=NAME   variants of SSE that are legal or nearly so
  split=N         every write holds N bytes, each in its own packet; split_ms=N between them
  frame=N         HTTP chunks of N bytes, whatever the events
  stay=1          does not notice that the caller has left
  close_ms=N      a kept connection is closed unannounced N ms after the answer
  drop_reused=1   calls on a connection that has served one before are dropped unanswered
  tag=TEXT        found again in /control/requests
"""
import itertools
import json
import time
import urllib.parse

TOOL_ARGUMENTS = '{"city":"Paris","days":%d}'
WORDS = "tok"
EMOJI = "h\u00e9\U0001f600\u4e16"
QUOTES = '"\\\n\u2028'
SAY_PIECE = 7


def token(kind, i, big=0):
    """Text of delta i."""
    if big:
        return chr(ord("a") + i % 26) * big
    if kind == "emoji":
        return "%s%d " % (EMOJI, i)
    if kind == "quotes":
        return "%s%d " % (QUOTES, i)
    return "%s%d " % (WORDS, i)


def text(tokens, kind="words", big=0):
    """The whole answer a client must have seen."""
    return "".join(token(kind, i, big) for i in range(tokens))


class Params:
    """A parsed script; unknown names are kept, so that a typo shows in the record."""

    def __init__(self, *queries):
        self.values = {}
        for query in queries:
            self.values.update(urllib.parse.parse_qsl(query or "", keep_blank_values=True))

    def num(self, name, default=None):
        value = self.values.get(name)
        return default if value is None else int(value)

    def str(self, name, default=None):
        return self.values.get(name, default)

    def flag(self, name):
        return self.values.get(name, "0") not in ("", "0")


def content_text(content):
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(p.get("text", "") for p in content if isinstance(p, dict))
    return ""


def holds(message, kind):
    """Whether a message of the Messages API has a block of that kind."""
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, list) and any(isinstance(b, dict) and b.get("type") == kind for b in content)


def params_of(request, default=""):
    """The script of a request (a dict)."""
    model = request.get("model")
    in_name = model.partition("?")[2] if isinstance(model, str) else ""
    in_text = ""
    turns = request.get("input")
    for message in request.get("messages") or (turns if isinstance(turns, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            said = content_text(message.get("content"))
            if not said and holds(message, "tool_result"):
                continue  # results alone: what the user said before stands
            in_text = said[5:].split("\n")[0] if said.startswith("fake?") else ""
    for name in ("prompt", "input", "query"):
        prompt = request.get(name)
        prompt = prompt[0] if isinstance(prompt, list) and prompt else prompt
        if isinstance(prompt, str) and prompt.startswith("fake?"):
            in_text = prompt[5:].split("\n")[0]
    return Params(default, in_name, in_text)


class Scripted(Exception):
    """The script ends the connection here."""


class Answer:
    """One chat completion."""

    serial = itertools.count(1)
    failed = {}  # tag -> calls that were refused

    def __init__(self, request, params, out):
        self.request = request
        self.p = params
        self.out = out
        self.sent = 0  # deltas
        self.id = "chatcmpl-fake-%d" % next(self.serial)
        self.created = int(time.time())
        self.n = request.get("n") or 1
        messages = request.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        self.answered = params.flag("once") and isinstance(last, dict) and last.get("role") == "tool"

    # ---- pieces -----------------------------------------------------------------------------

    def usage(self):
        completion = self.p.num("completion", self.sent * self.n)
        prompt = self.p.num("prompt", 7)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": self.p.num("cached", 0)},
            "completion_tokens_details": {"reasoning_tokens": self.p.num("thought", 0)},
        }

    def wants_usage(self):
        mode = self.p.str("usage", "asked")
        asked = (self.request.get("stream_options") or {}).get("include_usage")
        return mode == "always" or (mode == "asked" and bool(asked))

    def tools(self):
        return 0 if self.answered else self.p.num("tools", 0)

    def pieces(self):
        """The text, delta by delta."""
        said = self.p.str("say")
        if said is not None:
            return [said[i : i + SAY_PIECE] for i in range(0, len(said), SAY_PIECE)]
        kind, big = self.p.str("text", "words"), self.p.num("big", 0)
        return [token(kind, i, big) for i in range(self.p.num("tokens", 5))]

    def finish(self):
        return self.p.str("finish", "tool_calls" if self.tools() else "stop")

    def chunk(self, choices, **more):
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": "fake-model",
            "choices": choices,
            **more,
        }

    def delta(self, index, delta, finish=None):
        return self.chunk([{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}])

    def called(self, i):
        return {"name": self.p.str("tool", "get_weather"), "arguments": self.p.str("args", TOOL_ARGUMENTS % i)}

    def tool_calls(self):
        return [
            {
                "index": i,
                "id": "call_%s_%d" % (self.id.rpartition("-")[2], i),
                "type": "function",
                "function": self.called(i),
            }
            for i in range(self.tools())
        ]

    def tool_fragments(self, call):
        """The deltas of one call: its head, then its arguments in two pieces."""
        args = call["function"]["arguments"]
        head = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        tail = [{"index": call["index"], "function": {"arguments": a}} for a in (args[:7], args[7:])]
        if self.p.flag("tool_noargs"):
            del head["function"]["arguments"]
        if self.p.flag("tool_noargs") or self.p.flag("tool_emptyargs"):
            tail = []
        for name in ("type", "id", "index"):
            if self.p.flag("tool_no" + name):
                for piece in [head] + tail:
                    piece.pop(name, None)
        if self.p.flag("tool_namerepeat"):
            tail[0].update(id="", type="function")
            tail[0]["function"]["name"] = ""
            tail[1].update(id=None, type="function")
            tail[1]["function"]["name"] = None
        return [head] + tail

    def tool_deltas(self):
        lists = [self.tool_fragments(call) for call in self.tool_calls()]
        if self.p.flag("interleave"):
            pieces = [x for group in itertools.zip_longest(*lists) for x in group if x is not None]
        else:
            pieces = [x for group in lists for x in group]
        return [self.delta(i, {"tool_calls": [piece]}) for i in range(self.n) for piece in pieces]

    def reasoning(self, name):
        names = ("reasoning_content", "reasoning") if name == "both" else (name,)
        return [{n: part for n in names} for part in ("think", "ing")]

    def content_deltas(self):
        p = self.p
        if p.flag("refusal"):
            return [self.delta(i, {"refusal": "no"}) for i in range(self.n)]
        return [self.delta(i, {"content": piece}) for piece in self.pieces() for i in range(self.n)]

    # ---- unstreamed ---------------------------------------------------------------------------

    def message(self):
        p = self.p
        message = {"role": "assistant", "content": None}
        if p.flag("norole"):
            del message["role"]
        if p.str("reasoning"):
            for part in self.reasoning(p.str("reasoning")):
                for name, value in part.items():
                    message[name] = message.get(name, "") + value
        if self.tools():
            calls = self.tool_calls()
            for call in calls:
                del call["index"]
                for name in ("type", "id"):
                    if p.flag("tool_no" + name):
                        del call[name]
                if p.flag("tool_emptyargs"):
                    call["function"]["arguments"] = ""
                if p.flag("tool_noargs"):
                    del call["function"]["arguments"]
            message["tool_calls"] = calls
        elif p.flag("refusal"):
            message["refusal"] = "no"
        else:
            message["content"] = "".join(self.pieces())
        return message

    def choices(self):
        return [
            {"index": i, "message": self.message(), "logprobs": None, "finish_reason": self.finish()}
            for i in range(self.n)
        ]

    async def whole(self):
        p, out = self.p, self.out
        await out.sleep(p.num("first_ms", 0))
        for _ in self.pieces():
            await out.sleep(p.num("delay_ms", 0))
            self.sent += 1
        await self.send(json.dumps(self.error("backend died") if p.flag("error_first") else self.object()).encode())

    def object(self):
        choices = self.choices()
        if self.p.flag("nofinish"):
            for choice in choices:
                del choice["finish_reason"]
        answer = self.chunk(choices, usage=self.usage())
        answer["object"] = answer["object"].replace(".chunk", "")
        if self.p.str("usage") == "never":
            del answer["usage"]
        return answer

    async def send(self, raw):
        """A whole answer, with the faults that it may have."""
        p, out = self.p, self.out
        if p.num("bad") is not None:
            raw = raw[: len(raw) // 2]
        cut = any(p.num(name) is not None for name in ("abort", "fin", "cut"))
        await out.head(200, p.str("ctype", "application/json"), length=len(raw) + (9 if p.flag("short") else 0))
        await out.body(raw[: len(raw) // 2] if cut else raw)
        if p.num("abort") is not None:
            out.reset()
        if cut or p.flag("short"):
            out.fin()
        await out.end()

    # ---- streamed -----------------------------------------------------------------------------

    def error(self, message):
        return {"error": {"message": message, "type": self.p.str("kind", "server_error"), "param": None, "code": 500}}

    def failure(self):
        """The event of an answer that fails on its way."""
        return self.error("backend died")

    def sse(self, data):
        """One event as bytes; data: an object, or bytes as they are."""
        p = self.p
        raw = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=p.flag("ascii")).encode()
        eol = b"\r\n" if p.flag("crlf") else b"\n"
        lines = [b": comment" + eol] if p.flag("comments") else []
        if p.str("event"):
            lines.append(b"event: " + p.str("event").encode() + eol)
        lines.append((b"data:" if p.flag("nospace") else b"data: ") + raw + eol + eol)
        return b"".join(lines)

    def opening(self):
        events = []
        if not self.p.flag("norole"):
            events = [self.delta(i, {"role": "assistant", "content": ""}) for i in range(self.n)]
        if self.p.str("reasoning"):
            for part in self.reasoning(self.p.str("reasoning")):
                events += [self.delta(i, part) for i in range(self.n)]
        return events

    def closing(self):
        p = self.p
        events = [] if p.flag("nofinish") else [self.delta(i, {}, self.finish()) for i in range(self.n)]
        if p.flag("usagelast") and events:
            events[-1]["usage"] = self.usage()
        elif self.wants_usage():
            last = self.chunk([], usage=self.usage())
            if p.flag("usagenochoices"):
                del last["choices"]
            events.append(last)
        if not p.flag("nodone"):
            events.append(b"[DONE]")
        return events

    async def faults_at(self, k):
        """What the script does after k deltas."""
        p, out = self.p, self.out
        if k == p.num("stall_at", 0):
            await out.sleep(p.num("stall_ms", 0))
        if k == p.num("abort"):
            out.reset()
        if k == p.num("fin"):
            out.fin()
        if k == p.num("bad"):
            await out.body(self.sse(b'{"choices":[{"index":0,"delta":{"content":"x'))
        if k == p.num("bad_field"):
            await out.body(b"nonsense without a colon\nfoo: bar\n\n")
        if k == p.num("error_at"):
            await out.body(self.sse(self.failure()))
        return k == p.num("cut") or k == p.num("error_at")

    async def stream(self):
        p, out = self.p, self.out
        await out.head(200, p.str("ctype", "text/event-stream"))
        await out.sleep(p.num("first_ms", 0))
        if p.flag("error_first"):
            await out.body(self.sse(self.failure()))
            await out.end()
            return
        for event in self.opening():
            await out.body(self.sse(event))
        for k, event in enumerate(self.tool_deltas() if self.tools() else self.content_deltas()):
            if k % self.n == 0:
                if await self.faults_at(k // self.n):
                    await out.end()
                    return
                await out.sleep(p.num("delay_ms", 0))
            await out.body(self.sse(event))
            self.sent = k // self.n + 1
            out.sent = self.sent
        if await self.faults_at(self.sent):
            await out.end()
            return
        for event in self.closing():
            await out.body(self.sse(event))
        await out.end()

    # ---- all of it ----------------------------------------------------------------------------

    async def refuse(self):
        p, out = self.p, self.out
        fields = []
        if p.str("retry_after"):
            fields.append(("Retry-After", p.str("retry_after")))
        if p.str("location"):
            fields.append(("Location", p.str("location")))
        error = self.error(p.str("message", "scripted failure"))
        error["error"]["code"] = p.num("status")
        raw = b"<html>oops</html>" if p.flag("html") else json.dumps(error).encode()
        kind = "text/html" if p.flag("html") else "application/json"
        await out.head(p.num("status"), kind, length=len(raw), fields=fields)
        await out.body(raw)
        await out.end()

    def fails(self):
        """Does the fault that opens the script apply to this call?"""
        times, tag = self.p.num("times"), self.p.str("tag", "")
        if times is None:
            return True
        self.failed[tag] = self.failed.get(tag, 0) + 1
        return self.failed[tag] <= times

    async def run(self):
        p, out = self.p, self.out
        await out.sleep(p.num("head_ms", 0))
        if (p.str("die") or p.num("status")) and self.fails():
            if p.str("die") == "half":
                await out.raw(b"HTTP/1.1 200 OK\r\nContent-Ty")
            if p.str("die") == "reset":
                out.reset()
            if p.str("die"):
                out.fin()
            await self.refuse()
            return
        if p.flag("interim"):
            await out.raw(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        if self.request.get("stream"):
            await self.stream()
        else:
            await self.whole()
