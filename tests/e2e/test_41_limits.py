# SPDX-License-Identifier: Apache-2.0
"""Plans: exactly as many requests and tokens in a minute as the plan says, however they arrive."""
import concurrent.futures

import pytest

from factory import MODEL, wait_for

RPM = 12
FACTORY = {
    "conf": {
        "plan small": {"rpm": str(RPM), "tpm": "0"},
        "plan tokens": {"rpm": "0", "tpm": "3000"},
    },
}


def workspace(factory, name, plan):
    factory.keyctl("workspace", "create", name, "--plan", plan)
    return factory.mint(workspace=name)


def left(factory, key):
    """Requests left of the minute; asking costs nothing."""
    return int(factory.call("GET", "/v1/models", key=key).get("x-ratelimit-remaining"))


def flood(factory, keys, n, script="tokens=1", **more):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda i: factory.chat(script, key=keys[i % len(keys)], **more), range(n)))


def test_exactly_n_requests_a_minute(factory):
    keys = [workspace(factory, "rpm", "small"), factory.mint(workspace="rpm")]
    for window in range(2):
        answers = flood(factory, keys, 3 * RPM)
        admitted = [a for a in answers if a.status == 200]
        refused = [a for a in answers if a.status != 200]
        assert len(admitted) == RPM and all(a.status == 429 for a in refused)
        for a in refused:
            assert a.error["type"] == "rate_limit_error" and a.error["code"] == "rate_limit_exceeded"
            assert 1 <= int(a.response.get("retry-after")) <= 60 and a.response.get("x-ratelimit-remaining") == "0"
        for a in answers:
            assert a.response.get("x-ratelimit-limit") == str(RPM)
            assert 0 <= int(a.response.get("x-ratelimit-remaining")) < RPM
            assert int(a.response.get("x-ratelimit-reset")) > 1_600_000_000
        remaining = [int(a.response.get("x-ratelimit-remaining")) for a in admitted]
        assert sorted(remaining) == sorted(set(remaining)) or min(remaining) == 0
        factory.shift_clock(61)
        wait_for("another minute", lambda: left(factory, keys[0]) == RPM)
    assert factory.settled(2 * RPM, workspace="rpm")


def test_retry_after_is_true(factory):
    key = workspace(factory, "truth", "small")
    flood(factory, [key], RPM)
    refused = factory.chat("tokens=1", key=key)
    assert refused.status == 429
    wait = int(refused.response.get("retry-after"))
    if wait > 30:
        factory.shift_clock(wait - 30)
        for _ in range(3):
            assert factory.chat("tokens=1", key=key).status == 429
        wait = 30
    factory.shift_clock(wait + 0.2)
    wait_for("another minute", lambda: left(factory, key) == RPM)
    assert factory.chat("tokens=1", key=key).status == 200


def test_a_listing_costs_nothing(factory):
    key = workspace(factory, "listing", "small")
    for _ in range(2 * RPM):
        assert factory.call("GET", "/v1/models", key=key).status == 200
    assert [a.status for a in flood(factory, [key], RPM)] == [200] * RPM


def test_a_failed_call_costs_a_request_and_no_tokens(fresh):
    factory = fresh(conf={**FACTORY["conf"], "plan both": {"rpm": "9", "tpm": "3000"}, "gatewayd": {"retries": "0"}})
    key = workspace(factory, "failing", "both")
    for i, script in enumerate(("status=500", "status=400", "status=429", "die=head", "error_first=1")):
        answer = factory.chat(script, key=key, max_tokens=50)
        assert answer.status >= 400, script
        factory.acknowledged()
        assert left(factory, key) == 8 - i, script
    wait_for("all tokens", lambda: factory.call("GET", "/v1/models", key=key).get("x-ratelimit-remaining-tokens") == "3000")
    assert factory.usage(workspace="failing")["total_tokens"] == 0


def test_what_a_listing_costs_where_it_does(fresh):
    """As many requests as the operator says, on every path; nothing of tokens, and no row."""
    weights = {"weight-models": "2", "weight-usage": "1", "weight-count-tokens": "3", "weight-stored": "1"}
    factory = fresh(conf={**FACTORY["conf"], "gatewayd": weights})
    key = workspace(factory, "weighed", "small")
    body = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "fake?"}]}
    want = RPM
    for weight, call in ((2, ("GET", "/v1/models")), (2, ("GET", "/anthropic/v1/models/" + MODEL)), (1, ("GET", "/v1/usage")),
                         (3, ("POST", "/v1/messages/count_tokens", body)), (1, ("GET", "/v1/responses/resp_none"))):
        answer = factory.call(*call, key=key)
        want -= weight
        assert answer.status == (404 if "none" in call[1] else 200), answer.body
        assert int(answer.get("x-ratelimit-remaining")) == want, call
    refused = [factory.call("POST", "/v1/messages/count_tokens", body, key=key) for _ in range(2)][1]
    assert refused.status == 429 and refused.json()["error"]["details"]["error_code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.get("retry-after")) <= 60 and refused.get("x-ratelimit-remaining") == "0"
    assert factory.call("GET", "/v1/models", key=key).status == factory.call("GET", "/v1/usage", key=key).status == 429
    assert factory.chat("tokens=1", key=key).status == 429
    factory.shift_clock(61)
    wait_for("another minute", lambda: factory.chat("tokens=1", key=key).status == 200)
    assert factory.settled(1, workspace="weighed")
    for name in weights:
        factory.conf["gatewayd"][name] = "0"
    factory.write_conf()
    assert factory.reload("gatewayd")
    before = left(factory, key)
    assert [left(factory, key) for _ in range(RPM)] == [before] * RPM


def test_a_refused_request_costs_nothing(factory):
    key = workspace(factory, "refused", "small")
    for _ in range(2 * RPM):
        assert factory.chat("x", model="no/such", key=key).status == 404
        assert factory.chat("x", key=key, temperature=9).status == 400
    assert [a.status for a in flood(factory, [key], RPM)] == [200] * RPM


def test_tokens_a_minute_are_never_exceeded(factory):
    key = workspace(factory, "tpm", "tokens")
    answers = flood(factory, [key], 100, "tokens=50&prompt=50", max_tokens=50)
    used = sum(a.usage["total_tokens"] for a in answers if a.status == 200)
    admitted = sum(a.status == 200 for a in answers)
    assert 0 < used <= 3000 and {a.status for a in answers} <= {200, 429}, used
    assert admitted >= 10  # it is not strangled either
    assert factory.settled(admitted, workspace="tpm")


def test_tokens_come_back_when_less_was_used(factory):
    """A large reservation is returned with the answer: small calls in a row go on."""
    key = workspace(factory, "returned", "tokens")
    for _ in range(5):
        assert factory.chat("tokens=2&prompt=10", key=key, max_tokens=2000).status == 200


def test_one_call_larger_than_the_plan(factory):
    key = workspace(factory, "larger", "tokens")
    r = factory.chat("tokens=1\n" + "word " * 5000, key=key)
    assert r.status in (400, 429) and r.error["message"]


@pytest.mark.parametrize("limit", ["small"])
def test_limits_outlive_billingd(factory, limit):
    """kill -9 of billingd gives nobody a second helping within the window."""
    key = workspace(factory, "again", limit)
    assert [a.status for a in flood(factory, [key], RPM)] == [200] * RPM
    factory.settled(RPM, workspace="again")
    factory.daemons["billingd"].kill()
    factory.restart("billingd")
    factory.wait_billing()
    assert [a.status for a in flood(factory, [key], 4)] == [429] * 4


def test_plan_change_is_felt(factory):
    key = workspace(factory, "change", "small")
    flood(factory, [key], RPM)
    assert factory.chat("tokens=1", key=key).status == 429
    factory.keyctl("workspace", "set-plan", "change", "local")
    wait_for("the plan without limits", lambda: factory.chat("tokens=1", key=key).status == 200)


def test_tokens_in_headers(fresh):
    """What is left of the minute's tokens, under the names of each API: never above the truth."""
    factory = fresh(conf={"plan small": {"rpm": "20", "tpm": "4000"}}, plan="small")
    first = factory.call("GET", "/v1/models")
    assert (first.get("x-ratelimit-limit-tokens"), first.get("x-ratelimit-remaining-tokens")) == ("4000", "4000")
    assert (first.get("x-ratelimit-limit-requests"), first.get("x-ratelimit-remaining-requests")) == ("20", "20")
    used = 0
    for i in range(5):
        answer = factory.chat("tokens=30&prompt=20", max_tokens=50)
        left = int(answer.response.get("x-ratelimit-remaining-tokens"))
        assert 0 < left <= 4000 - used - 50
        used += answer.usage["total_tokens"]
    reset = answer.response.get("x-ratelimit-reset-tokens")
    assert reset.endswith("s") and 0 < int(reset[:-1]) <= 61
    assert used == 250
    message = factory.call("POST", "/anthropic/v1/messages", {"model": "fake/model", "max_tokens": 9, "messages": [
        {"role": "user", "content": "fake?tokens=1"}]})
    assert message.status == 200 and message.get("x-ratelimit-limit-tokens") is None
    for kind in ("tokens", "input-tokens", "output-tokens"):
        assert message.get("anthropic-ratelimit-%s-limit" % kind) == "4000"
        assert 0 < int(message.get("anthropic-ratelimit-%s-remaining" % kind)) <= 4000 - used - 9
        assert message.get("anthropic-ratelimit-%s-reset" % kind).endswith("Z")
    assert message.get("anthropic-ratelimit-requests-remaining") == message.get("x-ratelimit-remaining") == "14"
