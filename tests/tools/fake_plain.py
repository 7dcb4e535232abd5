# SPDX-License-Identifier: Apache-2.0
"""What the fake runtime says to calls without turns: POST */embeddings, */rerank and */images/*.

A script (fake_script.py) may stand at the beginning of the first input, the query or the prompt. Honoured besides:
  dims=N          length of the vectors (8); without it as the request's dimensions say
  form=float|base64   whatever was asked for
  order=reverse   the entries the other way round; noindex=1: without their index; lose=1: without the last
  count=N         tokens to report (7); usage=never: no usage
  shape=NAME      of ranks: jina (default), tei (a list with score), voyage (data); in the order of the documents
  form=b64_json|url   of images, whatever was asked for; host=URL: what their addresses begin with
  big=BYTES       so many more bytes in each image; nostream=1: no events, also to who asks for them; extra=1: one more
Called by fake_runtime.py only; vector() and image() also by tests, which must know what was said.
"""
import base64
import json
import random
import struct

from fake_script import Answer


def vector(said, dims=8):
    """Single-precision numbers that depend on the input alone, as doubles."""
    dice = random.Random(json.dumps(said))
    made = [dice.uniform(-1, 1) * 10 ** dice.randint(-9, 2) for _ in range(dims)]
    return list(struct.unpack("<%df" % dims, struct.pack("<%df" % dims, *made)))


class PlainAnswer(Answer):
    """One answer, not streamed: object() says it."""

    async def whole(self):
        await self.out.sleep(self.p.num("first_ms", 0))
        await self.send(json.dumps(self.error("backend died") if self.p.flag("error_first") else self.object()).encode())


class EmbeddingsAnswer(PlainAnswer):
    def inputs(self):
        said = self.request["input"]
        return said if isinstance(said, list) and not isinstance(said[0], int) else [said]

    def written(self, numbers):
        form = self.p.str("form", self.request.get("encoding_format") or "float")
        return base64.b64encode(struct.pack("<%df" % len(numbers), *numbers)).decode() if form == "base64" else numbers

    def object(self):
        p = self.p
        dims = p.num("dims") or self.request.get("dimensions") or 8
        data = [
            {"object": "embedding", "index": i, "embedding": self.written(vector(said, dims))}
            for i, said in enumerate(self.inputs())
        ]
        if p.flag("noindex"):
            for entry in data:
                del entry["index"]
        if p.flag("lose"):
            data.pop()
        if p.str("order") == "reverse":
            data.reverse()
        answer = {"object": "list", "data": data, "model": "fake-model"}
        if p.str("usage") != "never":
            answer["usage"] = {"prompt_tokens": p.num("count", 7), "total_tokens": p.num("count", 7)}
        return answer


def score(query, document):
    """Words that both have, of all that the document has."""
    words = document.split()
    return sum(word in query.split() for word in words) / (len(words) or 1)


class RerankAnswer(PlainAnswer):
    def object(self):
        p = self.p
        texts = self.request.get("documents") or self.request["texts"]
        shape = p.str("shape", "jina" if "documents" in self.request else "tei")
        name = "score" if shape == "tei" else "relevance_score"
        ranks = [{"index": i, name: score(self.request["query"], text)} for i, text in enumerate(texts)]
        if shape == "tei":
            return ranks
        for rank, text in zip(ranks, texts):
            rank["document"] = {"text": text}
        answer = {"id": "rank-1", "model": "fake-model", "data" if shape == "voyage" else "results": ranks}
        if p.str("usage") != "never":
            answer["usage"] = {"total_tokens": p.num("count", 7)}
        return answer


def image(prompt, i, more=0):
    """A PNG, or bytes that begin as one."""
    return b"\x89PNG\r\n\x1a\n" + ("%s %d" % (prompt, i)).encode() + b"." * more


class ImagesAnswer(PlainAnswer):
    name = "image_generation"

    def one(self, i):
        p, prompt = self.p, self.request["prompt"]
        form = p.str("form", self.request.get("response_format") or "b64_json")
        if form == "url":
            return {"url": "%s/%d.png" % (p.str("host", "http://127.0.0.1:1"), i)}
        return {"b64_json": base64.b64encode(image(prompt, i, p.num("big", 0))).decode(), "revised_prompt": prompt[:20]}

    def facts(self):
        usage = {"input_tokens": self.p.num("count", 7), "output_tokens": 100, "total_tokens": self.p.num("count", 7) + 100}
        return {"size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png", "usage": usage}

    def object(self):
        n = self.n + self.p.flag("extra")
        return {"created": self.created, "data": [self.one(i) for i in range(n)], **self.facts()}

    def event_of(self, name, i, **more):
        kind = "%s.%s" % (self.name, name)
        data = {"type": kind, **self.one(i), "created_at": self.created, **self.facts(), **more}
        return b"event: " + kind.encode() + b"\n" + self.sse(data)

    async def stream(self):
        p, out = self.p, self.out
        if p.flag("nostream"):
            await self.whole()
            return
        await out.head(200, p.str("ctype", "text/event-stream"))
        if p.flag("error_first"):
            await out.body(self.sse(self.error("backend died")))
        else:
            for i in range(self.request.get("partial_images") or 0):
                await out.sleep(p.num("delay_ms", 0))
                await out.body(self.event_of("partial_image", i, partial_image_index=i))
                self.sent += 1
                if await self.faults_at(self.sent):
                    await out.end()
                    return
            await out.body(self.event_of("completed", 0))
        await out.end()


class EditsAnswer(ImagesAnswer):
    """The same of a form."""

    name = "image_edit"

    def __init__(self, request, params, out):
        numbers = {name: int(request[name]) for name in ("n", "partial_images") if name in request}
        super().__init__({**request, **numbers, "stream": request.get("stream") == "true"}, params, out)
