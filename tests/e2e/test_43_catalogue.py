# SPDX-License-Identifier: Apache-2.0
"""The catalogue as clients of both APIs see it: prices, names of their own, what a key may see."""
import json
import os

import pytest

from factory import MODEL

FACTORY = {"conf": {
    "common": {"currency": "EUR"},
    "model " + MODEL: {
        "aliases": "fast", "aliases-openai": "gpt-*, Only-OpenAI", "aliases-anthropic": "claude-*",
        "display-name": "Fake", "context": "4096", "max-output": "1024", "ultrafast": "yes", "speed": "1200",
        "created": "1700000000", "price-input": "0.15", "price-output": "0.6", "price-cached-input": "0.075",
    },
    "model fake/image": {"capabilities": "images", "modality": "image", "price-image": "0.003", "status": "preview"},
    "model fake/free": {"price-input": "0", "price-output": "0"},
    "model fake/plain": {},
}}
ANTHROPIC = [("anthropic-version", "2023-06-01")]
SIDES = [("/openai/v1", []), ("/v1", []), ("/anthropic/v1", []), ("/v1", ANTHROPIC)]


def models(factory, base, fields=(), key=None):
    return {m["id"]: m for m in factory.call("GET", base + "/models", fields=fields, key=key).json()["data"]}


@pytest.mark.parametrize("base,fields", SIDES)
def test_prices(factory, base, fields):
    listed = models(factory, base, fields)
    assert listed[MODEL]["pricing"] == {
        "currency": "EUR", "input": "0.15", "cached_input": "0.075", "cache_write": "0.15", "output": "0.6",
        "reasoning": "0.6", "audio_hour": None, "characters": None, "image": None,
        "prompt": "0.00000015", "completion": "0.0000006",
    }
    image = listed["fake/image"]["pricing"]
    assert image["image"] == "0.003" and image["input"] is None and image["prompt"] is None
    free = listed["fake/free"]["pricing"]
    assert (free["input"], free["prompt"], free["completion"]) == ("0", "0", "0")
    assert listed["fake/plain"]["pricing"] is None


@pytest.mark.parametrize("base,fields", SIDES)
def test_members(factory, base, fields):
    anthropic = "anthropic" in base or bool(fields)
    model = models(factory, base, fields)[MODEL]
    assert model["aliases"] == ["fast"] + (["claude-*"] if anthropic else ["gpt-*", "Only-OpenAI"])
    assert (model["name"], model["provider"], model["modality"], model["status"]) == ("Fake", "fake", "text", "live")
    assert model["ultrafast"] is True and model["tokens_per_second"] == 1200
    assert (model["context_length"], model["max_model_len"], model["max_output_tokens"]) == (4096, 4096, 1024)
    can = model["capabilities"]
    assert can["vision"] == ({"supported": True} if anthropic else True)
    assert can["embeddings"] == ({"supported": False} if anthropic else False)
    for path in (MODEL, MODEL.replace("/", "%2F"), "fast", "FAKE/Model"):
        assert factory.call("GET", base + "/models/" + path, fields=fields).json() == model
        head = factory.call("HEAD", base + "/models/" + path, fields=fields)
        assert head.status == 200 and int(head.get("content-length")) > 0
        gone = factory.call("DELETE", base + "/models/" + path, fields=fields)
        assert gone.status == 405 and gone.get("allow") == "GET, HEAD"
        assert ("type" in gone.json()) == anthropic and gone.json()["error"]["message"]


def test_names_of_one_api(factory):
    def chat(name):
        return factory.chat("fake?tokens=1", model=name)

    def message(name):
        body = {"model": name, "max_tokens": 9, "messages": [{"role": "user", "content": "fake?tokens=1"}]}
        return factory.call("POST", "/anthropic/v1/messages", body)

    for name in ("gpt-4o", "only-openai", "fast", "FAST"):
        answer = chat(name)
        assert answer.status == 200 and answer.whole["model"] == name
    for name in ("claude-sonnet-4-5", "fast"):
        answer = message(name)
        assert answer.status == 200 and answer.json()["model"] == name
    assert chat("claude-sonnet-4-5").status == 404
    refused = message("gpt-4o")
    assert refused.status == 404 and refused.json()["error"]["type"] == "not_found_error"
    assert refused.json()["error"]["details"]["error_code"] == "model_not_found"
    # a key may be limited to a model by any of its names
    key = factory.mint("--model", "claude-opus")
    assert factory.chat("tokens=1", key=key).status == 200


@pytest.mark.parametrize("base,fields", SIDES)
def test_what_a_key_may_see(factory, base, fields):
    key = factory.mint("--model", "fake/plain", "--model", "fake/image")
    assert set(models(factory, base, fields, key)) == {"fake/plain", "fake/image"}
    for path in (MODEL, "fast"):
        assert factory.call("GET", base + "/models/" + path, fields=fields, key=key).status == 404


def test_codex(factory):
    """Codex wants a list of its own beside the other; entries come from the operator's file alone."""
    asked = "/openai/v1/models?client_version=0.169.0"
    assert factory.call("GET", "/v1/models").json()["models"] == []
    assert factory.call("GET", asked).json()["models"] == []
    assert "models" not in factory.call("GET", "/anthropic/v1/models").json()
    entries = [{"slug": MODEL, "display_name": "Fake", "priority": 1}, {"slug": "fake/plain", "priority": 2}]
    path = os.path.join(factory.dir, "codex.json")
    factory.conf["gatewayd"]["codex-models-file"] = path
    factory.write_conf()
    for bad in ("", "{}", "[1]", '[{"slug": "no/such"}]', "[" + json.dumps(entries[0])):
        with open(path, "w") as f:
            f.write(bad)
        assert not factory.reload("gatewayd"), bad
        assert factory.call("GET", asked).json()["models"] == []
    with open(path, "w") as f:
        json.dump(entries, f, indent=1)
    assert factory.reload("gatewayd")
    assert factory.call("GET", asked).json()["models"] == entries
    assert factory.call("GET", "/v1/models").json()["models"] == []
    key = factory.mint("--model", "fake/plain")
    assert factory.call("GET", asked, key=key).json()["models"] == entries[1:]
    assert factory.call("GET", "/v1/models/" + MODEL + "?client_version=1").json()["id"] == MODEL
