# SPDX-License-Identifier: Apache-2.0
"""Embeddings with the official SDKs: the form that was asked for from runtimes that have the other, in order,
every bit kept; refusals; what is billed. The fake runtime, and the real one with the project's model."""
import base64
import struct

import openai
import pytest

from factory import MODEL, TINY
from fake_plain import vector

VEC = "fake/vectors"
FACTORY = {
    "runtime": "both",
    "real": ["--embeddings"],
    "conf": {
        "model " + VEC: {"capabilities": "embeddings"},
        "model " + TINY: {"capabilities": "chat, streaming, embeddings"},
        "worker fake": {"models": "%s = upstream-name, %s = upstream-vectors" % (MODEL, VEC)},
    },
}


@pytest.fixture(scope="module")
def client(factory):
    return openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0, timeout=60)


def floats(answer):
    """What a wire answer holds, as bytes of single-precision numbers, by index."""
    rows = answer["data"]
    assert [row["index"] for row in rows] == list(range(len(rows))) and {row["object"] for row in rows} == {"embedding"}
    return [base64.b64decode(v, validate=True) if isinstance(v, str) else struct.pack("<%df" % len(v), *v)
            for v in (row["embedding"] for row in rows)]


@pytest.mark.parametrize("form", ["float", "base64", "asked"])
@pytest.mark.parametrize("how", ["order=reverse", "noindex=1", "split=7"])
def test_bits(factory, form, how):
    first = "fake?tag=bits&%s" % how + ("&form=" + form if form != "asked" else "")
    many = [first, "two", "three"]
    want = [struct.pack("<8f", *vector(said)) for said in many]
    for encoding in (None, "float", "base64"):
        body = {"model": VEC, "input": many, "user": "u", "task": "x", **({"encoding_format": encoding} if encoding else {})}
        answer = factory.call("POST", "/openai/v1/embeddings", body)
        assert answer.status == 200 and answer.get("content-type") == "application/json"
        said = answer.json()
        assert said["object"] == "list" and said["model"] == VEC and said["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
        assert floats(said) == want
        assert {type(row["embedding"]) for row in said["data"]} == {str if encoding == "base64" else list}
    sent = factory.fake.last("bits")
    assert sent["target"] == "/v1/embeddings" and sent["body"]["model"] == "upstream-vectors" and sent["body"]["task"] == "x"


def test_python(client):
    for said in ("one text", ["a", "b"], [1, 2, 3], [[1], [2, 3]]):
        whole = client.embeddings.create(model=VEC, input=said)  # asks for base64
        plain = client.embeddings.create(model=VEC, input=said, encoding_format="float")
        many = said if isinstance(said, list) and not isinstance(said[0], int) else [said]
        assert [d.embedding for d in whole.data] == [vector(s) for s in many]
        assert [d.embedding for d in plain.data] == [vector(s) for s in many]
        assert whole.model == VEC and whole.usage.total_tokens == 7


def test_real(factory, client):
    """The real runtime writes both forms itself: they agree, and alike texts are alike."""
    many = ["What is Token Factory?", "What is the Token Factory?", "7 8 9 10"]
    whole = [d.embedding for d in client.embeddings.create(model=TINY, input=many).data]
    answer = factory.call("POST", "/v1/embeddings", {"model": TINY, "input": many, "encoding_format": "float"})
    assert floats(answer.json()) == [struct.pack("<%df" % len(v), *v) for v in whole] and len(whole[0]) > 8
    near, far = (sum(a * b for a, b in zip(whole[0], other)) for other in whole[1:])
    assert near > far and answer.json()["usage"]["prompt_tokens"] > 10
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=TINY, input="x", dimensions=3)
    assert refused.value.param == "dimensions"
    chat = client.chat.completions.create(model=TINY, messages=[{"role": "user", "content": many[0]}], max_tokens=5)
    assert chat.choices[0].message.content


def test_large(factory):
    """As many inputs as there may be."""
    many = ["fake?dims=256"] + ["text %d" % i for i in range(2047)]
    answer = factory.call("POST", "/v1/embeddings", {"model": VEC, "input": many})
    assert answer.status == 200 and floats(answer.json())[2047] == struct.pack("<256f", *vector(many[2047], 256))


@pytest.mark.parametrize("body,param,says", [
    ({"model": VEC}, "input", "required"),
    ({"input": "x"}, "model", "required"),
    ({"model": VEC, "input": ""}, "input", "empty"),
    ({"model": VEC, "input": []}, "input", "empty"),
    ({"model": VEC, "input": ["a", ""]}, "input[1]", "empty"),
    ({"model": VEC, "input": ["x"] * 2049}, "input", "2048"),
    ({"model": VEC, "input": {"text": "x"}}, "input", "string or an array"),
    ({"model": VEC, "input": "x", "encoding_format": "hex"}, "encoding_format", "float or base64"),
    ({"model": VEC, "input": "x", "dimensions": 0}, "dimensions", "between"),
    ({"model": MODEL, "input": "x"}, "model", "does not serve embeddings"),
    ({"model": VEC, "input": "fake?dims=8", "dimensions": 4}, "dimensions", "8 dimensions"),
])
def test_refused(factory, body, param, says):
    answer = factory.call("POST", "/v1/embeddings", body)
    error = answer.json()["error"]
    assert answer.status == 400 and error["param"] == param and says in error["message"] and error["code"] == "bad_request"


def test_dimensions(client):
    answer = client.embeddings.create(model=VEC, input="fake?tag=short", dimensions=4)
    assert answer.data[0].embedding == vector("fake?tag=short", 4)


def test_other_ways(factory, client):
    with pytest.raises(openai.BadRequestError, match="does not serve chat"):
        client.chat.completions.create(model=VEC, messages=[{"role": "user", "content": "x"}])
    answer = factory.call("POST", "/anthropic/v1/embeddings", {"model": VEC, "input": "x"})
    said = answer.json()
    assert answer.status == 404 and said["type"] == "error" and said["error"]["type"] == "not_found_error"
    assert "/openai/v1/embeddings" in said["error"]["message"]


def test_runtime_fails(factory, client):
    with pytest.raises(openai.InternalServerError) as failed:
        client.embeddings.create(model=VEC, input=["fake?lose=1", "b"])
    assert failed.value.status_code == 502
    with pytest.raises(openai.BadRequestError, match="too long"):
        client.embeddings.create(model=VEC, input="fake?status=400&kind=invalid_request_error&message=too+long")
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model=VEC, input="fake?bad=1")
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model=VEC, input="fake?abort=1")
    again = client.embeddings.create(model=VEC, input="fake?status=503&times=1&tag=again")
    assert len(again.data[0].embedding) == 8 and len(factory.fake.requests("again")) == 2


def test_usage(factory):
    name = "counts"
    factory.keyctl("workspace", "create", name, "--plan", "local")
    client = openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.mint(workspace=name), max_retries=0)
    client.embeddings.create(model=VEC, input="fake?count=41")
    client.embeddings.create(model=VEC, input="fake?usage=never&pad=" + "x" * 79)  # a hundred bytes
    row = factory.settled(2, workspace=name)
    assert int(row["input_tokens"]) == 41 + 29 and int(row["output_tokens"]) == 0
    counts = client.get("/usage", cast_to=dict)
    assert counts["by_surface"]["openai"]["requests"] == 2 and counts["by_surface"]["anthropic"]["requests"] == 0
