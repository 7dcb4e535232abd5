# SPDX-License-Identifier: Apache-2.0
"""What answers say of limits, against a model of the windows, with a clock that the test moves. With one gateway thread
every figure is exact, at once, and not only when the ledger has the usage."""
import concurrent.futures
import contextlib
import random
import threading
import time

import pytest

from factory import wait_for

RPM, TPM, WINDOW, LENGTH = 20, 6000, 9000, 3600
FACTORY = {"conf": {
    "model fake/model": {"price-input": "1", "price-output": "2"},
    "plan windows": {"rpm": str(RPM), "tpm": str(TPM), "window": "first-use", "window-length": "1h", "window-tokens": str(WINDOW)},
    "plan wide": {"rpm": "1000", "tpm": "1000000", "window": "first-use", "window-length": "1h", "window-tokens": "1000000"},
}}


class Window:
    """ends: at the earliest; late: by how much later it may be, for it began while the first call of it was under way."""

    def __init__(self, limit, length):
        self.limit, self.length, self.used, self.ends, self.late = limit, length, 0, 0, 0

    def use(self, before, after, n):
        if before >= self.ends:
            self.used, self.ends, self.late = 0, before + self.length, after - before
        self.used += n

    def left(self, now):
        return self.limit - self.used if now < self.ends else self.limit


class Model:
    """What a workspace has left, told by somebody who saw all its answers."""

    def __init__(self, factory, name, plan="windows"):
        self.factory = factory
        factory.keyctl("workspace", "create", name, "--plan", plan)
        self.name = name
        self.key = factory.mint(workspace=name)
        self.requests, self.tokens = Window(RPM, 60), Window(TPM, 60)
        self.budget = Window(WINDOW, LENGTH)
        self.extra = 0

    def now(self):
        return time.time() + self.factory.shift

    def sleep(self, seconds):
        self.factory.shift_clock(seconds)
        time.sleep(1)  # the loops look at their clocks ten times a second

    def chat(self, script, **more):
        before = self.now()
        answer = self.factory.chat(script, key=self.key, **more)
        after = self.now()
        if answer.status == 200:
            used = answer.usage["total_tokens"]
            self.requests.use(before, after, 1)
            self.tokens.use(before, after, used)
            self.budget.use(before, after, used)
        return answer

    def check(self, response):
        now = self.now()
        budget = self.budget.left(now)
        assert int(response.get("x-ratelimit-limit")) == RPM
        assert int(response.get("x-ratelimit-remaining")) == self.requests.left(now)
        assert int(response.get("x-ratelimit-remaining-requests")) == self.requests.left(now)
        assert int(response.get("x-ratelimit-limit-tokens")) == TPM
        assert int(response.get("x-ratelimit-remaining-tokens")) == self.tokens.left(now)
        assert int(response.get("x-token-budget-remaining")) == max(0, budget) + self.extra - max(0, -budget)
        ends, late = (self.requests.ends, self.requests.late) if now < self.requests.ends else (now + 60, 0)
        assert -2 <= int(response.get("x-ratelimit-reset")) - ends <= 3 + late

    def look(self):
        """A listing costs nothing and says what is left."""
        response = self.factory.call("GET", "/v1/models", key=self.key)
        assert response.status == 200
        self.check(response)
        return response


def test_every_figure(factory):
    m = Model(factory, "every")
    m.look()
    resets = set()
    for i in range(8):
        answer = m.chat("tokens=%d&prompt=%d" % (30 + i, 20 + i), max_tokens=100, stream=i % 2 == 1,
                        **({"stream_options": {"include_usage": True}} if i % 2 else {}))
        assert answer.status == 200
        # its own head told what was left with its reservation gone
        assert int(answer.response.get("x-ratelimit-remaining")) == RPM - i - 1
        assert int(answer.response.get("x-ratelimit-remaining-tokens")) <= m.tokens.left(m.now())
        resets.add(m.look().get("x-ratelimit-reset"))
    assert len(resets) == 1
    m.sleep(61)
    m.look()
    assert m.chat("tokens=5&prompt=5", max_tokens=10).status == 200
    m.look()
    m.sleep(LENGTH)
    m.look()


def test_errors_tell_them_too(factory):
    m = Model(factory, "errors")
    assert m.chat("tokens=5&prompt=5", max_tokens=10).status == 200
    for answer in (
        factory.chat("x", key=m.key, model="no/such"),
        factory.chat("x", key=m.key, temperature=9),
        factory.chat("x", key=m.key, path="/v1/nothing"),
        factory.chat("status=500", key=m.key, max_tokens=10),
    ):
        assert answer.status >= 400
        if answer.status >= 500:
            m.requests.use(m.now(), m.now(), 1)  # an upstream's failure costs the request and no tokens
        m.check(answer.response)
    m.look()
    response = factory.call("GET", "/anthropic/v1/nothing", key=m.key)
    assert response.status == 404 and response.get("anthropic-ratelimit-requests-remaining") == str(RPM - 2)
    assert factory.call("GET", "/v1/models", key=False).get("x-ratelimit-limit") is None


def test_a_minute_refusal(factory):
    m = Model(factory, "minute")
    for _ in range(RPM):
        assert m.chat("tokens=1&prompt=1", max_tokens=5).status == 200
    asked = m.now()
    refused = m.chat("tokens=1", max_tokens=5)
    heard = m.now()
    assert refused.status == 429 and refused.error["code"] == "rate_limit_exceeded"
    m.check(refused.response)
    after = int(refused.response.get("retry-after"))
    assert m.requests.ends - heard - 2 <= after <= m.requests.ends + m.requests.late - asked + 2
    assert refused.response.get("x-should-retry") is None
    if after > 30:
        m.sleep(after - 30)
        assert m.chat("tokens=1", max_tokens=5).status == 429
        after = 30
    m.sleep(after + 0.2)
    assert m.chat("tokens=1&prompt=1", max_tokens=5).status == 200
    m.look()


def test_the_token_window_and_a_topup(factory):
    m = Model(factory, "window")
    while m.budget.left(m.now()) > 300:
        need = min(2000, m.budget.left(m.now()) - 250)
        answer = m.chat("prompt=%d&tokens=2\n%s" % (need - 2, "x" * need), max_tokens=5)
        if answer.status == 429:  # of the minute
            assert answer.error["code"] == "rate_limit_exceeded"
            m.sleep(61)
        m.look()
    # what is left is given, and the runtime is told to stop where it ends
    left = m.budget.left(m.now())
    assert m.chat("tokens=5&prompt=10&tag=cut", max_tokens=1000).status == 200
    assert 0 < factory.fake.last("cut")["body"]["max_tokens"] < left
    more = lambda: m.chat("tokens=20&prompt=20\n" + "x" * 20, max_tokens=20)
    while (answer := factory.last_word(more)).status == 200:
        m.look()
    refused = answer
    assert refused.status == 429 and refused.error["code"] == "token_budget_exceeded"
    assert refused.error["type"] == "insufficient_quota" and refused.response.get("x-should-retry") == "false"
    assert -3 <= refused.error["resets_at"] - m.budget.ends <= 3 + m.budget.late
    assert abs(m.now() + int(refused.response.get("retry-after")) - m.budget.ends) <= 30 + m.budget.late
    m.check(refused.response)
    factory.keyctl("topup", m.name, "--tokens", "5000")
    m.extra = 5000
    wait_for("the top-up", lambda: m.chat("tokens=5&prompt=400\n" + "x" * 400, max_tokens=50).status == 200)
    m.look()
    m.sleep(LENGTH)
    assert m.chat("tokens=5&prompt=20", max_tokens=50).status == 200
    m.extra = None
    left = int(factory.call("GET", "/v1/models", key=m.key).get("x-token-budget-remaining"))
    assert m.budget.left(m.now()) < left < m.budget.left(m.now()) + 5000  # the top-up outlives the window


def test_the_tighter_of_key_and_workspace(factory):
    factory.keyctl("workspace", "create", "tighter", "--plan", "wide")
    wide = factory.mint(workspace="tighter")
    narrow = factory.mint("--rpm", "10", "--tpm", "3000", workspace="tighter")

    def say(key):
        r = factory.call("GET", "/v1/models", key=key)
        return [int(r.get("x-ratelimit-" + n)) for n in ("limit", "remaining", "limit-tokens", "remaining-tokens")]

    assert say(narrow) == [10, 10, 3000, 3000] and say(wide) == [1000, 1000, 1000000, 1000000]
    for i in range(4):
        assert factory.chat("tokens=10&prompt=40", key=narrow, max_tokens=20).status == 200
        assert say(narrow) == [10, 9 - i, 3000, 3000 - 50 * (i + 1)]
        assert say(wide) == [1000, 999 - 2 * i, 1000000, 1000000 - 100 * i - 50]
        assert factory.chat("tokens=10&prompt=40", key=wide, max_tokens=20).status == 200
    for _ in range(6):
        assert factory.chat("tokens=1&prompt=1", key=narrow, max_tokens=20).status == 200
    refused = factory.chat("tokens=1&prompt=1", key=narrow, max_tokens=20)
    assert refused.status == 429 and refused.error["code"] == "rate_limit_exceeded"
    assert refused.response.get("x-ratelimit-remaining") == "0" and refused.response.get("x-ratelimit-limit") == "10"
    assert 1 <= int(refused.response.get("retry-after")) <= 60
    assert factory.chat("tokens=1", key=wide, max_tokens=20).status == 200  # each key for itself
    factory.keyctl("key", "limit", factory.key_id(narrow), "--rpm", "12")
    wait_for("a raised limit is felt", lambda: factory.chat("tokens=1&prompt=1", key=narrow, max_tokens=20).status == 200)
    factory.shift_clock(61)
    wait_for("another minute", lambda: factory.chat("tokens=1&prompt=1", key=narrow, max_tokens=20).status == 200)


class Several:
    """A workspace that is called through many gateways at once, and all that its answers say of limits."""

    FIELDS = ("x-ratelimit-remaining", "x-ratelimit-remaining-tokens", "x-token-budget-remaining")
    MINUTE = 50  # seconds for the whole: within the minute that the first call begins

    def __init__(self, factory, limits):
        self.factory, self.limits, self.lock = factory, limits, threading.Lock()
        self.used = [0, 0, 0]  # by answers that are over
        self.said = {port: list(limits) for port in factory.ports}  # the least, by answers that are over
        self.wrong, self.checked, self.began = [], 0, None

    def call(self, dice):
        port, begun, usage = dice.choice(self.factory.ports), 0, 0
        with self.lock:
            used, said = list(self.used), list(self.said[port])
        if dice.random() < 0.4:
            response = self.factory.call("GET", "/v1/models", port=port)
        else:
            answer = self.factory.chat("tokens=%d&prompt=%d" % (dice.randint(1, 40), dice.randint(1, 40)), port=port,
                                       max_tokens=dice.choice([40, 100, 2000]))
            assert answer.status == 200
            response, begun, usage = answer.response, 1, answer.usage["total_tokens"]
        got = [int(response.get(name)) for name in self.FIELDS]
        truth = [self.limits[0] - used[0] - begun, self.limits[1] - used[1], self.limits[2] - used[2]]
        with self.lock:
            if time.monotonic() - self.began > self.MINUTE:
                return False
            self.checked += 1
            if any(a > b for a, b in zip(got, truth)) or any(a > b for a, b in zip(got, said)):
                self.wrong.append((port, got, truth, said))
            self.said[port] = [min(a, b) for a, b in zip(got, self.said[port])]
            self.used = [a + b for a, b in zip(self.used, (begun, usage, usage))]
        return True

    def worker(self, seed):
        dice = random.Random(seed)
        return all(self.call(dice) for _ in range(40))

    def run(self):
        self.began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            whole = all(pool.map(self.worker, range(6)))
        return whole


def test_several_gateways_never_say_too_much(fresh):
    """Whoever is asked, while others are called: no figure is above what is left, and none rises within its window."""
    limits = (500, 500000, 900000)
    factory = fresh(gateways=4, plan="windows", conf={"plan windows": {
        "rpm": str(limits[0]), "tpm": str(limits[1]), "window": "first-use", "window-tokens": str(limits[2])}})
    s = Several(factory, limits)
    whole = s.run()
    assert not s.wrong, s.wrong[:5]
    assert s.checked > 6
    if whole:  # what others hold is missing, and what they held when somebody was told less
        assert all(max(v[i] for v in s.said.values()) > 0 for i in range(3)), s.said


def test_alone_again(fresh):
    """When only one gateway is left what it says is exact, whatever was said before."""
    factory = fresh(gateways=2, plan="windows", conf={"plan windows": {"rpm": "200", "tpm": "0"}})

    def say(port):
        r = factory.call("GET", "/v1/models", port=port)
        return int(r.get("x-ratelimit-remaining")), int(r.get("x-ratelimit-reset"))

    for i in range(6):
        assert factory.chat("tokens=1", port=factory.ports[i % 2]).status == 200
        assert all(say(port)[0] <= 200 - i - 1 for port in factory.ports)
    assert factory.daemons["gatewayd2"].end() == 0
    used, ends = 6, say(factory.ports[0])[1]

    def exact():
        nonlocal used, ends
        assert factory.chat("tokens=1", port=factory.ports[0]).status == 200
        left, reset = say(factory.ports[0])
        used, ends = (used + 1, ends) if reset <= ends + 5 else (1, reset)  # or another minute has begun
        return left == 200 - used

    wait_for("exact figures", exact)
