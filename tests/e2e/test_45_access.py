# SPDX-License-Identifier: Apache-2.0
"""What a key and its plan may do beside limits: endpoints, models, scopes, networks; in listings too."""
import socket

import anthropic
import openai
import pytest

from factory import wait_for

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


def listing(factory, key, *fields):
    return factory.call("GET", "/v1/models", key=key, fields=fields)


def test_scopes(factory):
    reader = factory.mint("--scope", "usage:read")
    assert factory.call("GET", "/v1/usage", key=reader).status == 200 and listing(factory, reader).status == 200
    with pytest.raises(openai.PermissionDeniedError) as e:
        openai_client(factory, reader).chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}])
    assert e.value.code == "forbidden" and "inference" in e.value.message
    with pytest.raises(anthropic.PermissionDeniedError):
        anthropic_client(factory, reader).messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "x"}])
    spender = factory.mint("--scope", "inference")
    assert factory.chat("tokens=1", key=spender).status == 200
    assert factory.call("GET", "/v1/usage", key=spender).status == 200  # who may spend may see what was spent


def test_endpoints_of_a_key(factory):
    key = factory.mint("--endpoint", "messages", "--endpoint", "embeddings")
    client = anthropic_client(factory, key)
    assert client.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "fake?tokens=1"}]).content
    with pytest.raises(openai.PermissionDeniedError) as e:
        openai_client(factory, key).chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}])
    assert "chat" in e.value.message
    factory.keyctl("key", "limit", factory.key_id(key), "--endpoint", "none")
    wait_for("all endpoints again", lambda: factory.chat("tokens=1", key=key).status == 200)


@pytest.mark.parametrize("networks, status", [
    (["127.0.0.1"], 200), (["127.0.0.0/8"], 200), (["::ffff:127.0.0.0/104"], 200), (["192.0.2.0/24", "127.0.0.1/32"], 200),
    (["192.0.2.0/24"], 403), (["2001:db8::/32"], 403), (["::1"], 403),
], ids=str)
def test_networks(factory, networks, status):
    key = factory.mint(*[o for n in networks for o in ("--network", n)])
    answer = factory.chat("tokens=1", key=key)
    assert answer.status == status and listing(factory, key).status == status
    # nobody is believed who says that he is somebody else
    assert listing(factory, key, ("X-Forwarded-For", "192.0.2.1")).status == status
    if status == 403:
        assert answer.error["code"] == "forbidden" and "127.0.0.1" in answer.error["message"]


def test_networks_behind_a_proxy(fresh):
    factory = fresh(conf={"gatewayd": {"trust-forwarded": "yes"}})
    key = factory.mint("--network", "192.0.2.0/24")

    def status(*fields):
        return listing(factory, key, *fields).status

    assert status(("X-Forwarded-For", "192.0.2.1")) == 200
    assert status(("X-Forwarded-For", "198.51.100.1, 192.0.2.77:5555")) == 200
    assert status(("X-Forwarded-For", "192.0.2.1, 198.51.100.1")) == 403  # the client's own claim stands in front
    assert status(("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "198.51.100.1")) == 403
    assert status(("X-Forwarded-For", "garbage")) == 403
    assert status() == 403


def test_networks_of_both_families(fresh):
    factory = fresh()
    four, six = factory.mint("--network", "127.0.0.0/8"), factory.mint("--network", "::1")
    assert factory.daemons["gatewayd"].end() == 0
    factory.conf["gatewayd"]["listen"] = "[::1]:%d, 127.0.0.1:%d" % (factory.port, factory.port)
    factory.write_conf()
    factory.restart("gatewayd")
    factory.wait_ready()

    def status(key, host):
        with socket.create_connection((host, factory.port), timeout=30) as s:
            s.sendall(factory.head("GET", "/v1/models", key))
            return int(s.recv(4096).split()[1])

    assert (status(four, "127.0.0.1"), status(six, "::1")) == (200, 200)
    assert (status(six, "127.0.0.1"), status(four, "::1")) == (403, 403)
