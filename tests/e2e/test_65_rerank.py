# SPDX-License-Identifier: Apache-2.0
"""Reranking: one answer for what runtimes write in several shapes, refusals, what is billed."""
import pytest

import clients
from factory import MODEL

RANK, TEI = "fake/rank", "fake/tei"
FACTORY = {
    "conf": {
        "model " + RANK: {"capabilities": "rerank"},
        "model " + TEI: {"capabilities": "rerank"},
        "worker fake": {"models": "%s = upstream-name, %s = upstream-rank" % (MODEL, RANK)},
        "worker tei": {"runtime-kind": "tei", "models": TEI, "probe-interval": "200ms"},
    }
}
DOCS = ["red apple", {"text": "green apple pie", "id": 7}, "blue"]
BEST = [0, 1, 2]


def ask(factory, query="apple", path="/v1/rerank", **more):
    return factory.call("POST", path, {"model": RANK, "query": query, "documents": DOCS, **more})


@pytest.mark.parametrize("shape", ["jina", "tei", "voyage"])
def test_shapes(factory, shape):
    answer = ask(factory, "fake?tag=shape&count=9&shape=%s\nred apple" % shape)
    said = answer.json()
    assert answer.status == 200 and said["model"] == RANK
    assert [r["index"] for r in said["results"]] == BEST and set(said["results"][0]) == {"index", "relevance_score"}
    assert [r["relevance_score"] for r in said["results"]] == [1.0, 1 / 3, 0.0]
    assert said["usage"]["total_tokens"] == 9 or shape == "tei" and said["usage"]["total_tokens"] > 9
    sent = factory.fake.last("shape")
    assert sent["target"] == "/v1/rerank" and sent["body"]["model"] == "upstream-rank"
    assert sent["body"]["documents"] == ["red apple", "green apple pie", "blue"]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/openai/v1/rerank", "/openai/rerank", "/v2/rerank"])
def test_documents(factory, path):
    said = ask(factory, path=path, query="x\nred apple", top_n=2, return_documents=True).json()
    assert [r["index"] for r in said["results"]] == [0, 1]
    assert [r["document"] for r in said["results"]] == [{"text": "red apple"}, {"text": "green apple pie", "id": 7}]


@pytest.mark.parametrize("body,param,says", [
    ({"model": RANK, "documents": DOCS}, "query", "required"),
    ({"model": RANK, "query": "x"}, "documents", "required"),
    ({"model": RANK, "query": "x", "documents": []}, "documents", "empty"),
    ({"model": RANK, "query": "x", "documents": [{"id": 1}]}, "documents[0]", "no text"),
    ({"model": RANK, "query": "x", "documents": DOCS, "top_n": 0}, "top_n", "at least 1"),
    ({"model": MODEL, "query": "x", "documents": DOCS}, "model", "does not rerank"),
])
def test_refused(factory, body, param, says):
    answer = factory.call("POST", "/v1/rerank", body)
    error = answer.json()["error"]
    assert answer.status == 400 and error["param"] == param and says in error["message"]


def test_other_api(factory):
    answer = ask(factory, path="/anthropic/v1/rerank")
    assert answer.status == 404 and "/openai/v1/rerank" in answer.json()["error"]["message"]


def test_usage(factory):
    factory.keyctl("workspace", "create", "ranks", "--plan", "local")
    key = factory.mint(workspace="ranks")
    body = {"model": RANK, "query": "fake?count=41", "documents": DOCS}
    assert factory.call("POST", "/rerank", body, key=key).status == 200
    row = factory.settled(1, workspace="ranks")
    assert int(row["input_tokens"]) == 41 and int(row["output_tokens"]) == 0


def test_tei(factory):
    """Text Embeddings Inference is asked in its own words, beside /v1."""
    body = {"model": TEI, "query": "fake?tag=tei\nred apple", "documents": DOCS, "return_documents": True}
    answer = factory.call("POST", "/rerank", body)
    assert answer.status == 200 and answer.json()["results"][0]["document"] == {"text": "red apple"}
    sent = factory.fake.last("tei")
    assert sent["target"] == "/rerank"
    assert sent["body"] == {"query": body["query"], "texts": ["red apple", "green apple pie", "blue"]}


results = {}


@pytest.mark.parametrize("case", clients.names("cohere_cases.py"))
def test_cohere(factory, case):
    if not results:
        results.update(clients.run(factory, "cohere_cases.py", "python-cohere", rank=RANK))
    assert results[case] is None
