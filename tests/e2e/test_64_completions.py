# SPDX-License-Identifier: Apache-2.0
"""Text completions with the official Python SDK: towards runtimes that serve them (the real one with the
project's model, and the fake one where an answer has to be known or go wrong) and towards one that only chats."""
import json

import openai
import pytest

from factory import MODEL, TINY

TEXT = "fake/text"
FACTORY = {
    "runtime": "both",
    "conf": {
        "model " + TEXT: {"capabilities": "completions, streaming"},
        "model " + TINY: {"capabilities": "chat, completions, streaming, tools, json", "context": "2048"},
        "worker fake": {"models": "%s = upstream-name, %s = upstream-text" % (MODEL, TEXT)},
    },
}
BOTH = pytest.mark.parametrize("model", [MODEL, TEXT])


@pytest.fixture(scope="module")
def client(factory):
    return openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0, timeout=60)


@BOTH
def test_create(client, factory, model):
    answer = client.completions.create(model=model, prompt="fake?tokens=3&prompt=9&completion=3&tag=create", max_tokens=30)
    assert answer.object == "text_completion" and answer.model == model and answer.id.startswith("cmpl-") and answer._request_id
    assert [(c.index, c.text, c.finish_reason, c.logprobs) for c in answer.choices] == [(0, factory.text(3), "stop", None)]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (9, 3, 12)
    sent = factory.fake.last("create")
    if model == TEXT:
        assert sent["target"] == "/v1/completions" and sent["body"]["prompt"].startswith("fake?")
    else:
        assert sent["target"] == "/v1/chat/completions"
        assert [m["role"] for m in sent["body"]["messages"]] == ["user"]
    assert sent["body"]["max_tokens"] == 30 and sent["body"]["model"].startswith("upstream-")


@BOTH
@pytest.mark.parametrize("usage", [False, True])
def test_stream(client, factory, model, usage):
    more = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(client.completions.create(model=model, prompt="fake?tokens=4&prompt=5&tag=stream", stream=True, **more))
    said = [c for c in chunks if c.choices]
    assert "".join(c.choices[0].text for c in said) == factory.text(4) and len(said) >= 5
    assert [c.choices[0].finish_reason for c in said] == [None] * (len(said) - 1) + ["stop"]
    assert {(c.object, c.model, c.id) for c in chunks} == {("text_completion", model, chunks[0].id)}
    assert [c.usage.completion_tokens for c in chunks if c.usage] == ([4] if usage else [])
    # asked for all the same: what is billed comes from there; so does the API's own cap
    sent = factory.fake.last("stream")["body"]
    assert sent["stream_options"] == {"include_usage": True} and sent["max_tokens"] == 16


def test_several(client, factory):
    ask = {"model": TEXT, "prompt": ["fake?tokens=2&tag=several", "second"], "n": 2, "echo": True, "max_tokens": 20}
    answer = client.completions.create(**ask, extra_body={"min_p": 0.1, "n_predict": 1000000})
    assert [c.index for c in answer.choices] == [0, 1, 2, 3]
    assert [c.text for c in answer.choices] == 2 * [ask["prompt"][0] + factory.text(2)] + 2 * ["second" + factory.text(2)]
    sent = factory.fake.last("several")["body"]
    assert sent["n"] == 2 and sent["echo"] is True and sent["min_p"] == 0.1 and "n_predict" not in sent
    texts = {}
    for chunk in client.completions.create(**ask, stream=True):
        texts[chunk.choices[0].index] = texts.get(chunk.choices[0].index, "") + chunk.choices[0].text
    assert texts == {c.index: c.text for c in answer.choices}


def test_logprobs_and_tokens(client, factory):
    answer = client.completions.create(model=TEXT, prompt="fake?tokens=2", logprobs=1)
    assert answer.choices[0].logprobs.tokens == [factory.text(2)] and answer.choices[0].logprobs.token_logprobs == [-0.5]
    chunks = list(client.completions.create(model=TEXT, prompt="fake?tokens=2", logprobs=0, stream=True))
    assert sum(len(c.choices[0].logprobs.tokens) for c in chunks if c.choices[0].logprobs) == 2
    assert client.completions.create(model=TEXT, prompt=[1, 2, 3], suffix="x", best_of=2).choices[0].text
    assert len(client.completions.create(model=TEXT, prompt=[[1, 2], [3]]).choices) == 2


def test_n_of_a_chat(client):
    answer = client.completions.create(model=MODEL, prompt="fake?tokens=2", n=3)
    assert [c.index for c in answer.choices] == [0, 1, 2]


@pytest.mark.parametrize("more, param", [
    ({"echo": True}, "echo"), ({"logprobs": 0}, "logprobs"), ({"suffix": "x"}, "suffix"), ({"best_of": 2}, "best_of"),
    ({"prompt": ["a", "b"]}, "prompt"), ({"prompt": [1, 2]}, "prompt"), ({"max_tokens": 0}, "max_tokens"),
])
def test_what_a_chat_cannot(client, factory, more, param):
    before = factory.fake.control("requests")
    with pytest.raises(openai.BadRequestError) as failed:
        client.completions.create(**{"model": MODEL, "prompt": "x", **more})
    assert failed.value.param == param and failed.value.code == "bad_request" and failed.value.type == "invalid_request_error"
    assert len(factory.fake.control("requests")) == len(before)


@pytest.mark.parametrize("body, param", [
    ({"prompt": "x"}, "model"), ({"model": TEXT}, "prompt"), ({"model": TEXT, "prompt": []}, "prompt"),
    ({"model": TEXT, "prompt": ["x", 1]}, "prompt"), ({"model": TEXT, "prompt": "x", "logprobs": 6}, "logprobs"),
    ({"model": TEXT, "prompt": "x", "best_of": 2, "stream": True}, "best_of"),
    ({"model": TEXT, "prompt": ["x"] * 129}, "prompt"), ({"model": TEXT, "prompt": "x", "max_tokens": 1.5}, "max_tokens"),
])
def test_bad_requests(factory, body, param):
    answer = factory.call("POST", "/openai/v1/completions", body)
    assert answer.status == 400 and json.loads(answer.body)["error"]["param"] == param


def test_only_text(client):
    with pytest.raises(openai.BadRequestError) as failed:
        client.chat.completions.create(model=TEXT, messages=[{"role": "user", "content": "x"}])
    assert failed.value.param == "model"


@BOTH
def test_errors(client, model):
    with pytest.raises(openai.BadRequestError) as failed:
        client.completions.create(model=model, prompt="fake?status=400&message=too+much")
    assert "too much" in failed.value.message
    with pytest.raises(openai.InternalServerError):
        client.completions.create(model=model, prompt="fake?abort=1")
    with pytest.raises(openai.APIError), client.completions.create(model=model, prompt="fake?error_at=2", stream=True) as stream:
        assert [c.choices[0].finish_reason for c in stream] is None
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="no/such", prompt="x")


def test_real(client):
    ask = {"model": TINY, "prompt": "Token Factory is", "temperature": 0, "max_tokens": 12}
    whole = client.completions.create(**ask)
    assert whole.choices[0].text and whole.choices[0].finish_reason in ("stop", "length")
    assert whole.usage.prompt_tokens > 0 and 0 < whole.usage.completion_tokens <= 12
    chunks = list(client.completions.create(**ask, stream=True))
    assert "".join(c.choices[0].text for c in chunks) == whole.choices[0].text and len(chunks) > 3
    # the API's own cap, not the runtime's
    assert client.completions.create(**{**ask, "max_tokens": openai.omit}).usage.completion_tokens <= 16


def test_usage_is_in_the_ledger(fresh):
    factory = fresh(conf=FACTORY["conf"])
    client = openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0, timeout=60)
    client.completions.create(model=TEXT, prompt="fake?tokens=3&prompt=9&completion=3")
    list(client.completions.create(model=TEXT, prompt="fake?tokens=3&prompt=9&completion=3", stream=True))
    row = factory.settled(2)
    assert (int(row["input_tokens"]), int(row["output_tokens"])) == (18, 6), row
