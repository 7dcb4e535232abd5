# SPDX-License-Identifier: Apache-2.0
"""Each limit alone, through the whole factory: what it gives, how it says no, when it gives again, and that what was
used outlives billingd."""
import concurrent.futures
import fractions
import json
import os
import time

from factory import MODEL, TOP, wait_for

DRAW, HEAR, SAY = "fake/draw", "fake/hear", "fake/say"
HOUR = 3600
FACTORY = {
    "conf": {
        "model " + MODEL: {"price-input": "2", "price-output": "10"},
        "model " + DRAW: {"capabilities": "images"},
        "model " + HEAR: {"capabilities": "transcription"},
        "model " + SAY: {"capabilities": "speech"},
        "worker fake": {"models": "%s = upstream-name, %s = draw, %s = whisper, %s = tts" % (MODEL, DRAW, HEAR, SAY)},
        "plan free": {"rpm": "0", "tpm": "0"},
        "plan window": {"window": "first-use", "window-length": "1h", "window-tokens": "1500"},
        "plan month": {"window": "month", "window-tokens": "1200"},
        "plan two": {"concurrency": "2"},
    },
}


def workspace(factory, name, plan="free"):
    factory.keyctl("workspace", "create", name, "--plan", plan)
    return factory.mint(workspace=name)


def use_up(factory, key, code, script="tokens=40&prompt=50", most=60, **more):
    """Calls until one is refused; returns what was answered and the refusal."""
    answers = []
    while len(answers) < most:
        answer = factory.last_word(lambda: factory.chat(script, key=key, max_tokens=40, **more))
        if answer.status != 200:
            assert answer.error["code"] == code, answer.error
            return answers, answer
        answers.append(answer)
    raise AssertionError("%d calls and no limit" % most)


def tokens(answers):
    return sum(a.usage["total_tokens"] for a in answers)


def cost(answers):
    """2 and 10 for a million."""
    return sum(fractions.Fraction(2 * a.usage["prompt_tokens"] + 10 * a.usage["completion_tokens"], 1000000) for a in answers)


def kill_billingd(factory):
    factory.daemons["billingd"].kill()
    factory.restart("billingd")
    factory.wait_billing()


def passes(factory, key):
    return factory.chat("tokens=1", key=key, max_tokens=1).status == 200


def test_the_published_test_plan_serves_twenty_at_once(factory):
    """Without a cap each reserves far more than it uses; what it does not use is there for the next at once."""
    key = workspace(factory, "twenty", "test")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda i: factory.chat("tokens=5&prompt=20", key=key), range(20)))
    assert [(a.status, a.error) for a in answers] == [(200, None)] * 20
    assert factory.settled(20, workspace="twenty")


def test_token_window(factory):
    key = workspace(factory, "window", "window")
    answers, refused = use_up(factory, key, "token_budget_exceeded")
    used = tokens(answers)
    assert 1300 <= used <= 1500
    assert refused.status == 429 and refused.error["type"] == "insufficient_quota"
    wait = int(refused.response.get("retry-after"))
    assert HOUR - 120 < wait <= HOUR and abs(refused.error["resets_at"] - (time.time() + factory.shift + wait)) < 60
    assert refused.response.get("x-token-budget-remaining") == str(1500 - used)
    assert refused.response.get("x-should-retry") == "false" and "1500 tokens" in refused.error["message"]
    factory.acknowledged()
    kill_billingd(factory)
    assert use_up(factory, key, "token_budget_exceeded", most=1)[0] == []
    # topped up: it goes on at once, with exactly so much more
    factory.keyctl("topup", "window", "--tokens", "400")
    more, _ = use_up(factory, key, "token_budget_exceeded")
    assert used + 200 < used + tokens(more) <= 1900
    factory.acknowledged()
    row = factory.keyctl("workspace", "show", "window")[0]
    extra = 1900 - used - tokens(more)
    assert int(row["extra_tokens"]) == extra
    # the next window begins with its first request, with what is left of the top-up behind it
    factory.shift_clock(HOUR + 1)
    wait_for("another window", lambda: passes(factory, key))
    answers, refused = use_up(factory, key, "token_budget_exceeded")
    assert 1300 <= tokens(answers) <= 1500 + extra


def test_token_window_of_a_month(factory):
    key = workspace(factory, "month", "month")
    answers, refused = use_up(factory, key, "token_budget_exceeded")
    assert 1000 <= tokens(answers) <= 1200
    now = time.gmtime(time.time() + factory.shift)
    end = refused.error["resets_at"]
    month = time.gmtime(end + 60)
    assert (month.tm_mon - now.tm_mon) % 12 == 1 and month.tm_mday == 1 and month.tm_hour == 0


def test_token_cap(factory):
    key = workspace(factory, "capped")
    factory.keyctl("workspace", "cap", "capped", "--tokens", "1000")
    answers, refused = use_up(factory, key, "monthly_cap_exceeded")
    assert 800 <= tokens(answers) <= 1000
    assert refused.status == 429 and refused.error["type"] == "insufficient_quota"
    assert 0 < int(refused.response.get("retry-after")) <= 31 * 86400 + 60
    factory.acknowledged()
    kill_billingd(factory)
    assert use_up(factory, key, "monthly_cap_exceeded", most=1)[0] == []
    # a raised cap is felt by the next request, and none at all likewise
    factory.keyctl("workspace", "cap", "capped", "--tokens", "2000")
    assert factory.chat("tokens=40&prompt=50", key=key, max_tokens=40).status == 200
    use_up(factory, key, "monthly_cap_exceeded")
    factory.keyctl("workspace", "cap", "capped", "--tokens", "none")
    assert factory.chat("tokens=40&prompt=50", key=key, max_tokens=40).status == 200


def test_image_cap_stops_images_alone(factory):
    key = workspace(factory, "draws")
    factory.keyctl("workspace", "cap", "draws", "--images", "3")

    def draw(n):
        return factory.call("POST", "/v1/images/generations", {"model": DRAW, "prompt": "fake?", "n": n}, key=key)

    assert draw(2).status == 200
    refused = draw(2)  # one is left
    assert refused.status == 429 and refused.json()["error"]["code"] == "monthly_cap_exceeded"
    assert passes(factory, key) and draw(1).status == 200
    assert draw(1).status == 429 and passes(factory, key)
    factory.acknowledged()
    kill_billingd(factory)
    assert draw(1).status == 429 and passes(factory, key)


def test_each_cap_stops_its_own_kind_alone(factory):
    """Pictures, speech and recordings draw on no limit of tokens, whatever their runtimes count, and tokens on none of theirs."""
    key = workspace(factory, "kinds", "window")
    with open(os.path.join(TOP, "tests", "media", "pcm.wav"), "rb") as f:
        sound = f.read()

    def served(path, kind, body):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        with factory.raw() as raw:
            raw.send(factory.head("POST", path, key, [("Content-Type", kind), ("Content-Length", len(body))]) + body)
            answer = raw.response()
        if answer.status != 200:
            assert answer.json()["error"]["code"] in ("monthly_cap_exceeded", "token_budget_exceeded"), answer.body
        return answer.status == 200

    def kinds():
        """What is served: text, pictures, what is heard, what is spoken."""
        form = b"".join(b'--X\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part for part in (
            (b"model", HEAR.encode()), (b'file"; filename="a.wav', sound))) + b"--X--\r\n"
        return [served(*call) for call in (
            ("/v1/chat/completions", "application/json", factory.body("tokens=1&tag=" + "k" * 60, max_tokens=1)),
            ("/v1/images/generations", "application/json", {"model": DRAW, "prompt": "fake?" + "p" * 3000}),
            ("/v1/audio/transcriptions", "multipart/form-data; boundary=X", form),
            ("/v1/audio/speech", "application/json", {"model": SAY, "voice": "x", "input": "s" * 3000}),
        )]

    def used():
        factory.acknowledged()
        return factory.call("GET", "/v1/usage", key=key).json()

    assert kinds() == [True] * 4, "3000 characters are more than the token window"
    seen = used()
    assert seen["budget"]["used"] == seen["caps"]["tokens"]["used"] == 8, "those of the chat"
    assert seen["caps"]["images"]["used"] == 1 and seen["caps"]["audio_seconds"]["used"] >= 1
    for cap, left in (("tokens", [False, True, True, True]), ("images", [True, False, True, True]),
                      ("audio-seconds", [True, True, False, True])):
        options = [("--" + name, "0" if name == cap else "none") for name in ("tokens", "images", "audio-seconds")]
        factory.keyctl("workspace", "cap", "kinds", *sum(options, ()))
        assert kinds() == left, cap
    factory.acknowledged()
    kill_billingd(factory)
    assert kinds() == [True, True, False, True]
    before = used()["budget"]["used"]
    use_up(factory, key, "token_budget_exceeded")
    assert kinds() == [False, True, False, True] and used()["budget"]["used"] > before
    assert factory.keyctl_run("-c", factory.conf_path, "ledger", "verify").returncode == 0


def test_budget_of_a_workspace(factory):
    key, other = workspace(factory, "budget"), workspace(factory, "rich")
    factory.keyctl("workspace", "budget", "budget", "0.005")
    answers, refused = use_up(factory, key, "balance_exhausted")
    assert len(answers) >= 3 and cost(answers) <= fractions.Fraction("0.005")
    assert refused.status == 402 and refused.response.get("x-should-retry") == "false"
    assert "0.005" in refused.error["message"] and "USD" in refused.error["message"]
    assert passes(factory, other)
    assert factory.settled(len(answers), workspace="budget")
    kill_billingd(factory)
    use_up(factory, key, "balance_exhausted", most=1)
    factory.keyctl("workspace", "budget", "budget", "1")
    assert passes(factory, key)


def test_balance(factory):
    """A hundred calls at once on a nearly empty balance: never over; a row and a balance that agree to the nano-unit."""
    key = workspace(factory, "prepaid")
    factory.keyctl("topup", "prepaid", "--money", "0.02")
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda i: factory.chat("tokens=40&prompt=50", key=key, max_tokens=40), range(100)))
    assert {a.status for a in answers} <= {200, 402, 429}
    served = [a for a in answers if a.status == 200]
    more, refused = use_up(factory, key, "balance_exhausted")
    served += more
    assert refused.status == 402 and refused.error["type"] == "insufficient_quota"
    row = factory.settled(len(served), workspace="prepaid")
    # the runtime takes no notice of the output that the last one was cut to: what that cost beyond is not charged
    charged = fractions.Fraction(row["cost"])
    assert charged + fractions.Fraction(row["unbilled"]) == cost(served) and row["unbilled"] != row["cost"]
    assert fractions.Fraction("0.018") < charged <= fractions.Fraction("0.02")
    left = fractions.Fraction("0.02") - charged
    assert fractions.Fraction(factory.keyctl("workspace", "show", "prepaid")[0]["balance"]) == left
    kill_billingd(factory)
    assert fractions.Fraction(factory.keyctl("workspace", "show", "prepaid")[0]["balance"]) == left
    assert use_up(factory, key, "balance_exhausted", most=1)[0] == []
    factory.keyctl("topup", "prepaid", "--money", "1")
    assert passes(factory, key)


def test_limits_of_a_key(factory):
    key = workspace(factory, "keys")
    other, money = factory.mint(workspace="keys"), factory.mint(workspace="keys")
    factory.keyctl("key", "limit", factory.key_id(key), "--rpm", "3")
    factory.keyctl("key", "limit", factory.key_id(other), "--tpm", "600")
    factory.keyctl("key", "limit", factory.key_id(money), "--budget", "0.003")
    answers, refused = use_up(factory, key, "rate_limit_exceeded")
    assert len(answers) == 3 and "3 requests a minute of the key" in refused.error["message"]
    assert 0 < int(refused.response.get("retry-after")) <= 60
    answers, refused = use_up(factory, other, "rate_limit_exceeded")
    assert 300 < tokens(answers) <= 600
    answers, refused = use_up(factory, money, "balance_exhausted")
    assert refused.status == 402 and cost(answers) <= fractions.Fraction("0.003")
    factory.shift_clock(61)
    wait_for("another minute", lambda: passes(factory, key) and passes(factory, other))
    assert factory.chat("tokens=40&prompt=50", key=money, max_tokens=40).status == 402


def at_once(factory, key, n):
    """Streams that run; their answers are open."""
    return [factory.open("tokens=2000&delay_ms=20", key=key, max_tokens=2500) for _ in range(n)]


def test_requests_at_once(factory):
    key = workspace(factory, "two", "two")
    running = at_once(factory, key, 2)
    assert [a.status for a in running] == [200, 200]
    refused = factory.chat("tokens=1", key=key)
    assert refused.status == 429 and refused.error["code"] == "concurrency_exceeded"
    assert refused.response.get("retry-after") == "1"
    for answer in running:
        answer.raw.close()
    wait_for("the slots of those who left", lambda: passes(factory, key))
    # a slot lives as long as its request, however that ends
    for _ in range(30):
        answer = at_once(factory, key, 1)[0]
        answer.raw.close()
    wait_for("the slots of thirty who left", lambda: passes(factory, key))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert [a.status for a in pool.map(lambda i: factory.chat("tokens=3", key=key), range(6))] == [200] * 6


def test_requests_at_once_of_a_gateway_that_dies(factory):
    key = workspace(factory, "dead", "two")
    assert [a.status for a in at_once(factory, key, 2)] == [200, 200]
    factory.daemons["gatewayd"].kill()
    factory.restart("gatewayd")
    factory.wait_ready()
    wait_for("the slots of the dead", lambda: passes(factory, key), 30)


def test_balance_held_by_a_gateway_that_dies(factory):
    """What it had reserved is held until its successor has told what it wrote down, and is there again then: no more, no less."""
    key = workspace(factory, "held")
    factory.keyctl("topup", "held", "--money", "0.02")
    running = factory.open("tokens=2000&delay_ms=20", key=key, max_tokens=1800)
    assert running.status == 200
    assert factory.chat("tokens=40", key=key, max_tokens=500).status == 429  # only reserved: it may come back
    factory.daemons["gatewayd"].kill()
    factory.restart("gatewayd")
    factory.wait_ready()
    answer = wait_for("the money of the dead", lambda: (a := factory.chat("tokens=40&prompt=50", key=key, max_tokens=500)).status == 200
                      and a, 30)
    assert answer.usage["completion_tokens"] == 40
    row = factory.settled(2, workspace="held")
    balance = fractions.Fraction(factory.keyctl("workspace", "show", "held")[0]["balance"])
    assert balance == fractions.Fraction("0.02") - fractions.Fraction(row["cost"]) and row["unbilled"] == "0"
