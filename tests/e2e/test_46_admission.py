# SPDX-License-Identifier: Apache-2.0
"""Admission under load: many requests at once, from several gatewayd, never take more than the limits give, and what
was only reserved is there for the next one."""
import concurrent.futures
import time

import pytest

RPM, TPM = 40, 12000
FACTORY = {
    "gateways": 4,
    "conf": {
        "plan requests": {"rpm": str(RPM), "tpm": "0"},
        "plan tokens": {"rpm": "0", "tpm": str(TPM)},
        "plan pieces": {"rpm": "0", "tpm": "6000"},
    },
}


def workspace(factory, name, plan, keys=1):
    factory.keyctl("workspace", "create", name, "--plan", plan)
    made = [factory.mint(workspace=name) for _ in range(keys)]
    return made if keys > 1 else made[0]


def flood(factory, keys, n, script="tokens=1", **more):
    """n calls at once, spread over all gatewayd and keys."""
    def one(i):
        return factory.chat(script, key=keys[i % len(keys)], port=factory.ports[i % len(factory.ports)], **more)

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        return list(pool.map(one, range(n)))


def test_requests_over_four_gateways(factory):
    keys = workspace(factory, "requests", "requests", 3)
    answers = flood(factory, keys, 200)
    good = [a for a in answers if a.status == 200]
    assert len(good) == RPM  # never more, and none of them is withheld
    for a in answers:
        if a.status != 200:
            assert a.status == 429 and a.error["code"] == "rate_limit_exceeded"
            assert 1 <= int(a.response.get("retry-after")) <= 60
    assert factory.settled(RPM, workspace="requests")


def test_tokens_over_four_gateways(factory):
    keys = workspace(factory, "tokens", "tokens", 2)
    answers = flood(factory, keys, 200, "tokens=60&prompt=40", max_tokens=60)
    used = sum(a.usage["total_tokens"] for a in answers if a.status == 200)
    assert {a.status for a in answers} <= {200, 429}
    assert used <= TPM
    # what was reserved and not used has come back: calls go on until used tokens alone leave no room
    while True:
        answer = factory.last_word(
            lambda: factory.chat("tokens=60&prompt=40", key=keys[0], port=factory.ports[3], max_tokens=60))
        if answer.status != 200:
            break
        used += answer.usage["total_tokens"]
        assert used <= TPM
    assert answer.status == 429 and answer.error["code"] == "rate_limit_exceeded"
    assert used > TPM - 1000, used
    row = factory.usage(workspace="tokens")
    assert int(row["input_tokens"]) + int(row["output_tokens"]) == used


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_without_a_cap_is_reserved_in_pieces(factory, stream):
    """It may take more than the first piece; where the minute ends, so does the answer."""
    key = workspace(factory, "pieces-%d" % stream, "pieces")
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    # both well within a minute, on a busy machine too
    answer = factory.chat("tokens=1500&prompt=20&delay_ms=1", key=key, **more)
    assert answer.status == 200 and answer.finish() == "stop" and answer.usage["completion_tokens"] == 1500
    answer = factory.chat("tokens=20000&prompt=20&delay_ms=1", key=key, **more)
    assert answer.status == 200 and answer.finish() == "length"
    # what it took beyond its last piece until it was stopped is not charged
    left = factory.call("GET", "/v1/models", key=key).get("x-ratelimit-remaining-tokens")
    assert answer.usage["completion_tokens"] > 6000 - 1500 - 1000 and int(left) < 1000


def test_records_on_their_way_when_billingd_dies(fresh):
    """What ended before billingd did, and is not in the ledger yet, is counted before another gateway is given room."""
    factory = fresh(gateways=2, plan="few", conf={"plan few": {"rpm": str(RPM), "tpm": "0"}, "billingd": {"commit-delay": "1s"}})
    began = time.monotonic()
    ended = [factory.chat("tokens=1", port=factory.ports[0]).status for _ in range(RPM // 2)]
    assert ended == [200] * (RPM // 2)
    factory.daemons["billingd"].kill()
    factory.restart("billingd")
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda i: factory.chat("tokens=1", port=factory.ports[1]), range(2 * RPM)))
    good = sum(a.status == 200 for a in answers)
    assert {a.status for a in answers} <= {200, 429, 503}
    assert good <= RPM - len(ended) or time.monotonic() - began > 59  # another minute has begun
    assert factory.settled(len(ended) + good)
