# SPDX-License-Identifier: Apache-2.0
"""Keys: who gets in, who does not, and how fast a change is felt."""
import concurrent.futures
import re
import time

import pytest

from factory import MODEL, soon, wait_for


FACTORY = {"conf": {"model fake/other": {"capabilities": "chat, streaming"},
                    "worker fake": {"models": "fake/model = upstream-name, fake/other"}}}


def status(factory, key, **more):
    return factory.call("GET", "/v1/models", key=key, **more).status


@pytest.mark.parametrize(
    "key", ["x", "", "tf-prod-" + "a" * 36, "sk-oais-" + "b" * 36, "sk-proj-1234567890", "a" * 5000, "tf-prod-\xe9", "k with space"]
)
def test_bad_keys(factory, key):
    with factory.raw() as raw:
        raw.send(("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % key).encode("latin-1"))
        r = raw.response()
    assert r.status == 401 and r.error["code"] == "unauthorized" and r.error["type"] == "authentication_error"
    assert r.get("x-should-retry") == "false" and r.get("www-authenticate") and r.get("x-request-id")


@pytest.mark.parametrize("field", [None, "Authorization: Basic Zm9vOmJhcg==", "Authorization: Bearer", "X-Api-Key:"])
def test_no_key(factory, field):
    with factory.raw() as raw:
        raw.send("GET /v1/models HTTP/1.1\r\nHost: x\r\n%s\r\n" % (field + "\r\n" if field else ""))
        assert raw.response().status == 401


def test_schemes_and_both_headers(factory):
    for field in ("Authorization: bearer " + factory.key, "AUTHORIZATION:   BEARER   " + factory.key):
        with factory.raw() as raw:
            raw.send("GET /v1/models HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % field)
            assert raw.response().status == 200


def test_shapes(factory):
    assert re.match(r"^tf-prod-[0-9A-Za-z]{30,}$", factory.key)
    dev = factory.mint("--env", "dev")
    oais = factory.mint("--form", "sk-oais")
    assert dev.startswith("tf-dev-") and re.match(r"^sk-oais-[0-9A-Za-z]{30,}$", oais)
    for key in (dev, oais):
        assert status(factory, key) == 200
        # one letter changed: refused by its checksum
        assert status(factory, key[:-3] + ("A" if key[-3] != "A" else "B") + key[-2:]) == 401
    shown = factory.keyctl("key", "show", factory.key_id(dev))[0]
    assert dev not in str(shown) and shown["last4"] == dev[-4:]


def test_a_minted_key_works_at_once(factory):
    for _ in range(5):
        assert status(factory, factory.mint()) == 200


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_revoked_within_a_second(factory, busy):
    pool = concurrent.futures.ThreadPoolExecutor(4)

    def revoked(_):
        key = factory.mint()
        assert factory.chat("tokens=1", key=key).status == 200
        stop = []
        calls = [pool.submit(lambda: [factory.chat("tokens=1", key=key) for _ in iter(lambda: bool(stop), True)])
                 for _ in range(4 if busy else 0)]
        factory.keyctl("key", "revoke", factory.key_id(key))
        began = time.monotonic()
        wait_for("401", lambda: factory.chat("tokens=1", key=key).status == 401)
        took = time.monotonic() - began
        stop.append(1)
        for call in calls:
            call.result()
        for _ in range(10):
            assert status(factory, key) == 401
        return took

    soon(1.0, revoked)
    pool.shutdown()


def test_allow_list(factory):
    key = factory.mint("--model", "fake/other")
    assert [m["id"] for m in factory.call("GET", "/v1/models", key=key).json()["data"]] == ["fake/other"]
    assert factory.call("GET", "/v1/models/" + MODEL, key=key).status == 404
    refused = factory.chat("tokens=1", key=key)
    assert refused.status == 403 and refused.error["code"] == "forbidden" and refused.error["type"] == "permission_error"
    assert refused.error["param"] == "model" and MODEL in refused.error["message"]
    assert refused.response.get("x-should-retry") == "false"
    allowed = factory.chat("tokens=1", model="fake/other", key=key)
    assert allowed.status == 200 and allowed.whole["model"] == "fake/other"


def test_expiry(factory):
    key = factory.mint("--expires", "1h")
    assert status(factory, key) == 200
    factory.shift_clock(3601)
    wait_for("expired", lambda: status(factory, key) == 401)


def test_rotation_with_grace(factory):
    old = factory.mint()
    new = factory.keyctl("key", "rotate", factory.key_id(old), "--grace", "1h")[0]["key"]
    factory.keys.append(new)
    assert status(factory, new) == 200 and status(factory, old) == 200
    factory.shift_clock(3601)
    wait_for("grace is over", lambda: status(factory, old) == 401)
    assert status(factory, new) == 200


def test_rotation_without_grace(factory):
    old = factory.mint()
    new = factory.keyctl("key", "rotate", factory.key_id(old))[0]["key"]
    factory.keys.append(new)
    wait_for("old is out", lambda: status(factory, old) == 401, 1)
    assert status(factory, new) == 200


def test_keys_are_not_in_the_database(factory):
    with open(factory.conf["billingd"]["database"], "rb") as f:
        stored = f.read()
    for suffix in ("-wal", ""):
        try:
            with open(factory.conf["billingd"]["database"] + suffix, "rb") as f:
                stored += f.read()
        except FileNotFoundError:
            pass
    assert len(stored) > 4096
    for key in factory.keys:
        assert key.encode() not in stored and key.rpartition("-")[2].encode() not in stored


def test_keyctl_refuses_plainly(factory):
    assert factory.keyctl_run("key", "show", "nosuchkey").returncode == 4
    assert factory.keyctl_run("workspace", "create", "main").returncode == 5
    assert factory.keyctl_run("key", "mint", "--workspace", "nowhere").returncode == 4
    assert factory.keyctl_run("nonsense").returncode == 2
    assert factory.keyctl_run("--run-dir", "/nonexistent", "key", "list").returncode == 3


def test_workspaces_are_apart(factory):
    factory.keyctl("workspace", "create", "apart", "--plan", "local")
    key = factory.mint(workspace="apart")
    assert factory.chat("tokens=4", key=key).status == 200
    row = factory.settled(1, workspace="apart")
    assert int(row["output_tokens"]) == 4
    assert factory.call("GET", "/v1/usage", key=key).json()["totals"]["requests"] == 1
