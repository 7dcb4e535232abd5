# SPDX-License-Identifier: Apache-2.0
"""Paths beside the calls themselves: what clients probe before the first call, and what they try in vain."""
import time

import pytest

from factory import Factory

PREFIXES = ["", "/v1", "/openai", "/openai/v1", "/anthropic", "/anthropic/v1"]
PROBES = [p or "/" for p in PREFIXES] + [p + "/api/hello" for p in PREFIXES]


@pytest.fixture(scope="module")
def limited():
    made = Factory(plan="test")
    yield made
    wrong, logs = made.close(), made.logs()[-8000:]
    made.remove()
    assert not wrong, "\n".join(wrong) + logs


@pytest.mark.parametrize("path", PROBES + ["/v1/responses", "/openai/responses", "/openai/v1/responses"])
def test_probe(factory, path):
    answer = factory.call("HEAD", path, key=False)
    assert answer.status == 200 and not answer.body and answer.get("x-request-id")
    if "responses" not in path:
        assert factory.call("GET", path, key=False).json() == {"status": "ok"}


WEBSOCKET = [("Connection", "Upgrade"), ("Upgrade", "WebSocket"), ("Sec-WebSocket-Version", "13"),
             ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


@pytest.mark.parametrize("path", ["/v1/responses", "/openai/v1/responses"])
def test_websocket(factory, path):
    answer = factory.call("GET", path, fields=WEBSOCKET)
    assert answer.status == 426 and answer.get("upgrade") == "HTTP/1.1" and "upgrade" in answer.get("connection")
    assert answer.json()["error"]["code"] == "upgrade_required" and answer.get("x-should-retry") == "false"
    # where GET is served the wish is not granted, as HTTP allows
    assert factory.call("GET", "/v1/models", fields=WEBSOCKET).status == 200


def test_one_connection_for_all(factory):
    """A refused path costs no connection."""
    with factory.raw() as raw:
        for method, path, status in (("HEAD", "/", 200), ("GET", "/v1/nothing", 404), ("GET", "/v1/responses", 426),
                                     ("DELETE", "/v1/models", 405), ("GET", "/v1/models", 200)):
            raw.send(factory.head(method, path, fields=WEBSOCKET if status == 426 else []))
            assert raw.response(method).status == status, path


@pytest.mark.parametrize("path,said", [
    ("/anthropic/v1/chat/completions", "/openai/v1/chat/completions"),
    ("/anthropic/chat/completions", "/openai/v1/chat/completions"),
    ("/openai/v1/messages", "/anthropic/v1/messages"),
    ("/chat/completions", " /v1/chat/completions"),
    ("/responses", " /v1/responses"),
])
def test_path_of_the_other_api(factory, path, said):
    answer = factory.call("POST", path, {"model": "x"})
    error = answer.json()["error"]
    assert answer.status == 404 and said in error["message"]
    assert error["type"] == ("not_found_error" if path.startswith("/anthropic") else "invalid_request_error")


@pytest.mark.parametrize("fields", [[], [("anthropic-version", "2023-06-01")]])
def test_shape_of_what_is_nowhere(factory, fields):
    for path in ("/v1/files/nothing/at/all", "/v1/nothing", "/anthropic/v1/nothing", "/openai/v1/nothing", "/nothing"):
        answer = factory.call("GET", path, fields=fields)
        body = answer.json()
        anthropic = path.startswith("/anthropic") or (bool(fields) and not path.startswith("/openai"))
        assert answer.status == 404 and (body.get("type") == "error") == anthropic, path


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/v1/nothing", 404), ("DELETE", "/v1/models", 405), ("GET", "/v1/chat/completions", 405),
    ("GET", "/v1/models", 200), ("GET", "/v1/models/no/such", 404), ("GET", "/anthropic/v1/models", 200),
    ("GET", "/anthropic/v1/nothing", 404), ("GET", "/v1/usage", 200), ("GET", "/v1/usage?period=x", 400),
    ("POST", "/v1/messages/count_tokens", 400), ("POST", "/v1/chat/completions", 400),
])
def test_limits_on_every_answer(limited, method, path, status):
    """Whoever is known sees his limits, also where nothing is served."""
    body = b"{" if method == "POST" else None
    asked = time.time()
    answer = limited.call(method, path, body)
    assert answer.status == status
    assert (answer.get("x-ratelimit-limit"), answer.get("x-ratelimit-remaining")) == ("30", "30")
    assert int(answer.get("x-ratelimit-reset")) > asked
    assert (answer.get("anthropic-ratelimit-requests-limit") is not None) == ("anthropic" in path or "messages" in path)
    for key in (False, "tf-prod-wrong"):
        answer = limited.call(method, path, body, key=key)
        assert answer.status == (status if status in (404, 405) and "such" not in path else 401)
        assert answer.get("x-ratelimit-limit") is None


def test_unknown_path_without_billingd(limited):
    """The answer does not depend on whether the key can be looked up."""
    limited.daemons["billingd"].kill()
    answer = limited.call("GET", "/v1/nothing", key="tf-prod-wrong")
    assert answer.status == 404
    answer = limited.call("GET", "/v1/nothing", key=limited.key)
    assert answer.status == 404
    limited.restart("billingd")
    limited.wait_billing()
