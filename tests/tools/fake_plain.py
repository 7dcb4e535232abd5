# SPDX-License-Identifier: Apache-2.0
"""What the fake runtime says to calls without turns: POST */embeddings and */rerank.

A script (fake_script.py) may stand at the beginning of the first input or of the query. Honoured besides:
  dims=N          length of the vectors (8); without it as the request's dimensions say
  form=float|base64   whatever was asked for
  order=reverse   the entries the other way round; noindex=1: without their index; lose=1: without the last
  count=N         tokens to report (7); usage=never: no usage
  shape=NAME      of ranks: jina (default), tei (a list with score), voyage (data); in the order of the documents
Called by fake_runtime.py only; vector() also by tests, which must know what was said.
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
