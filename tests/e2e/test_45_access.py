# SPDX-License-Identifier: Apache-2.0
"""What a key and its plan may do beside limits: endpoints, models, scopes, networks; in listings too."""
import anthropic
import openai
import pytest

MODEL = "fake/model"
FACTORY = {"conf": {
    "model fake/other": {"capabilities": "chat, streaming", "aliases": "nickname"},
    "worker fake": {"models": "fake/model = upstream-name, fake/other"},
    "plan chatty": {"rpm": "0", "tpm": "0", "endpoints": "chat, responses", "models": "fake/mod*"},
}}


@pytest.fixture(scope="module")
def chatty(factory):
    factory.keyctl("workspace", "create", "chatty", "--plan", "chatty")
    return factory.mint(workspace="chatty")


def openai_client(factory, key):
    return openai.OpenAI(base_url=factory.url + "/v1", api_key=key, max_retries=0)


def anthropic_client(factory, key):
    return anthropic.Anthropic(base_url=factory.url + "/anthropic", api_key=key, max_retries=0)


def test_endpoints_of_the_plan(factory, chatty):
    client = openai_client(factory, chatty)
    assert client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "fake?tokens=1"}]).choices
    with pytest.raises(openai.PermissionDeniedError) as e:
        client.completions.create(model=MODEL, prompt="x")
    assert e.value.code == "forbidden" and e.value.type == "permission_error"
    assert "chatty" in e.value.message and "completions" in e.value.message
    with pytest.raises(anthropic.PermissionDeniedError) as e:
        anthropic_client(factory, chatty).messages.create(
            model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "fake?tokens=1"}])
    body = e.value.response.json()
    assert body["error"]["type"] == "permission_error" and body["error"]["details"]["error_code"] == "forbidden"
    with pytest.raises(anthropic.PermissionDeniedError):  # counting goes with its API
        anthropic_client(factory, chatty).messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "x"}])
    assert client.models.list().data and factory.call("GET", "/v1/usage", key=chatty).status == 200


def test_refused_before_the_body(factory, chatty):
    """The answer does not wait for a body that nobody wants."""
    before = factory.usage(workspace="chatty")["requests"]
    with factory.raw() as raw:
        raw.send(factory.head("POST", "/v1/completions", chatty, length=10_000_000) + b"{")
        r = raw.response()
    assert r.status == 403 and r.get("x-should-retry") == "false"
    assert factory.usage(workspace="chatty")["requests"] == before


def test_models_of_the_plan(factory, chatty):
    client = openai_client(factory, chatty)
    assert [m.id for m in client.models.list().data] == [MODEL]
    assert [m.id for m in anthropic_client(factory, chatty).models.list().data] == [MODEL]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("fake/other")
    for name in ("fake/other", "nickname", "FAKE/OTHER"):
        with pytest.raises(openai.PermissionDeniedError) as e:
            client.chat.completions.create(model=name, messages=[{"role": "user", "content": "fake?tokens=1"}])
        assert e.value.param == "model" and "plan" in e.value.message
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no/such", messages=[{"role": "user", "content": "x"}])


def test_models_of_the_key_through_an_alias(factory):
    key = factory.mint("--model", MODEL)
    refused = factory.chat("tokens=1", model="nickname", key=key)
    assert refused.status == 403 and "key" in refused.error["message"]
    key = factory.mint("--model", "fake/other")
    assert factory.chat("tokens=1", model="nickname", key=key).status == 200
