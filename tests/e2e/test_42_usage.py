# SPDX-License-Identifier: Apache-2.0
"""The ledger agrees to the token with what clients saw: keyctl usage, GET /v1/usage, and the sum of
the answers' own usage."""
import concurrent.futures
import random

from factory import MODEL, wait_for

ASK = {"include_usage": True}


def totals(factory, key=None):
    return factory.call("GET", "/v1/usage?period=month", key=key).json()["totals"]


def same(row, totals, requests, prompt, cached, completion, thought):
    for source in (row, totals):
        assert int(source["requests"]) == requests, source
        assert int(source["input_tokens"]) == prompt and int(source["cached_input_tokens"]) == cached, source
        assert int(source["output_tokens"]) == completion and int(source["reasoning_tokens"]) == thought, source
        assert int(source["total_tokens"]) == prompt + completion, source


def test_the_sum_of_all_answers(factory):
    rng = random.Random(1)
    calls = []
    for i in range(60):
        prompt, tokens = rng.randrange(1, 200), rng.randrange(1, 40)
        script = "tokens=%d&prompt=%d&cached=%d&thought=%d" % (tokens, prompt, rng.randrange(0, prompt), rng.randrange(0, tokens))
        calls.append((script, i % 3))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda c: factory.chat(
            c[0], stream=c[1] > 0, **({"stream_options": ASK} if c[1] == 1 else {})), calls))
    sums = [0, 0, 0, 0]
    for (script, kind), answer in zip(calls, answers):
        assert answer.status == 200 and (answer.usage is None) == (kind == 2)
        said = dict(p.split("=") for p in script.split("&"))
        expected = [int(said[n]) for n in ("prompt", "cached", "tokens", "thought")]
        if answer.usage:
            assert answer.usage["prompt_tokens"] == expected[0] and answer.usage["completion_tokens"] == expected[2]
        sums = [a + b for a, b in zip(sums, expected)]
    row = factory.settled(60)
    same(row, totals(factory), 60, *sums)
    by_model = factory.usage("--by", "model")
    assert [r["group"] for r in by_model] == [MODEL] and int(by_model[0]["total_tokens"]) == int(row["total_tokens"])
    by_key = factory.usage("--by", "key")
    assert sum(int(r["total_tokens"]) for r in by_key) == int(row["total_tokens"])
    assert sum(int(r["requests"]) for r in factory.usage("--by", "day")) == 60


def test_restart_changes_nothing(factory):
    before = factory.usage()
    factory.daemons["billingd"].kill()
    factory.restart("billingd")
    factory.wait_billing()
    assert factory.usage() == before
    wait_for("the gateway has billingd again", lambda: factory.call("GET", "/v1/usage").status == 200, 3)
    assert totals(factory)["total_tokens"] == int(before["total_tokens"])


def test_aborted_streams_count_what_was_generated(factory):
    key = factory.mint()
    factory.keyctl("workspace", "create", "aborted", "--plan", "local")
    key = factory.mint(workspace="aborted")
    seen = []
    for _ in range(5):
        answer = factory.open("tokens=5000&delay_ms=10&prompt=20&tag=ab", key=key)
        got = 0
        for event in answer:
            got += bool(event["choices"] and event["choices"][0]["delta"].get("content"))
            if got == 10:
                break
        answer.raw.close()
        seen.append(got)
    row = factory.settled(5, workspace="aborted")
    output = int(row["output_tokens"])
    # what the client saw is charged; a little more may have been generated before it was stopped
    wait_for("stopped", lambda: factory.fake.running() == 0)
    sent = [r["sent"] for r in factory.fake.requests("ab")]
    assert sum(seen) <= output <= sum(sent) + 5 and max(sent) < 5000, (row, sent)
    assert int(row["input_tokens"]) > 0


def test_failed_calls_are_not_charged(factory):
    factory.keyctl("workspace", "create", "failed", "--plan", "local")
    key = factory.mint(workspace="failed")
    for script in ("status=400", "status=500", "die=head", "error_first=1"):
        assert factory.chat(script, key=key).status >= 400
    assert factory.chat("tokens=2&prompt=3", key=key).status == 200
    row = wait_for("the one", lambda: (r := factory.usage(workspace="failed")) and int(r["total_tokens"]) and r)
    assert int(row["total_tokens"]) == 5, row


def test_runtime_without_usage_is_estimated(factory):
    factory.keyctl("workspace", "create", "estimated", "--plan", "local")
    key = factory.mint(workspace="estimated")
    for stream in (False, True):
        answer = factory.chat("tokens=30&usage=never", stream=stream, key=key, **({"stream_options": ASK} if stream else {}))
        assert answer.status == 200 and answer.usage["completion_tokens"] > 0 and answer.usage["prompt_tokens"] > 0
    row = factory.settled(2, workspace="estimated")
    assert int(row["output_tokens"]) > 0 and int(row["input_tokens"]) > 0


NONSENSE = ["prompt=1000000001", "prompt=999999999999", "prompt=9223372036854775807", "completion=18446744073709551615",
            "prompt=99999999999999999999999", "completion=1000000000000001&prompt=1000000000000001", "thought=2000000000",
            "cached=9223372036854775807", "wrote=9223372036854775807", "prompt=-5", "completion=-7", "cached=-3", "thought=-1"]
MOST = "prompt=1000000000&completion=1000000000"  # that is believed


def test_a_runtime_that_counts_nonsense(fresh):
    """More tokens than there can be are not believed, by whichever API they come; whatever a runtime says, the ledger takes
    it and goes on."""
    apis = {"chat": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses"}
    prices = {"price-input": "1000000", "price-output": "1000000", "price-cached-input": "0"}
    conf = {"worker fake": {"models": "api/chat = m", "dialect": "openai_chat"}}
    for name, dialect in apis.items():
        conf["model api/" + name] = {"capabilities": "chat, streaming", **prices}
        conf["worker " + ("fake" if name == "chat" else name)] = {
            "models": "api/%s = m" % name, "dialect": dialect, "probe-interval": "200ms", "drain-timeout": "5s"}
    factory = fresh(conf=conf)
    calls = 0
    for script in NONSENSE + [MOST, MOST]:
        for name in apis:
            for stream in (False, True):
                answer = factory.chat("", messages=[{"role": "user", "content": "fake?" + script}], model="api/" + name, stream=stream)
                assert answer.status == 200 and answer.text() == factory.text(5), (script, name)
                calls += 1
    total = factory.settled(calls)
    assert 12 * 2000000000 <= total["total_tokens"] <= 12 * 2000000000 + calls * 1000
    verify = factory.keyctl_run("-c", factory.conf_path, "ledger", "verify")
    assert verify.returncode == 0, verify.stdout
    assert "impossible" not in factory.log("billingd") and "more than there can be" not in factory.log("gatewayd")


def test_bad_query(factory):
    r = factory.call("GET", "/v1/usage?period=fortnight")
    assert r.status == 400 and r.error["param"] == "period", r.body
