# SPDX-License-Identifier: Apache-2.0
"""What calls cost, to the nano-unit: every kind of unit, both dialects of runtimes, prices by size, sums in every form,
and that a new price list changes nothing of what was."""
import csv
import fractions
import io
import itertools
import json
import os
import time

import pytest

from factory import MODEL, TOP

THINK, CLAUDE, VEC, HEAR, SAY, DRAW, FREE = "fake/think", "fake/claude", "fake/vectors", "fake/hear", "fake/say", "fake/draw", "fake/free"
PRICES = {
    "price-input": "2.5", "price-cached-input": "0.25", "price-cache-write": "3.125", "price-output": "10", "price-reasoning": "12.000001",
}
FACTORY = {
    "conf": {
        "common": {"currency": "EUR"},
        "plan windowed": {"rpm": "100000", "tpm": "100000000", "window": "first-use", "window-length": "5h", "window-tokens": "1000000"},
        "model " + MODEL: PRICES,
        "model " + CLAUDE: {"price-input": "3", "price-cached-input": "0.3", "price-output": "15"},
        "model " + THINK: {"capabilities": "chat, streaming, thinking", **PRICES},
        "model " + VEC: {"capabilities": "embeddings", "price-input": "0.013"},
        "model " + HEAR: {"capabilities": "transcription", "price-audio-hour": "0.05"},
        "model " + SAY: {"capabilities": "speech", "price-characters": "22"},
        "model " + DRAW: {"capabilities": "images", "price-image": "0.04",
                          "price-image-sizes": "512x512=0.01, 1024x1024=0.03, 1024x1024/high=0.12"},
        "model " + FREE: {"capabilities": "chat"},
        "worker fake": {"models": "%s = upstream-name, %s = vectors, %s = whisper, %s = tts, %s = draw, %s = free"
                                  % (MODEL, VEC, HEAR, SAY, DRAW, FREE)},
        "worker claude": {"models": CLAUDE + " = claude", "dialect": "anthropic_messages", "runtime-kind": "anthropic",
                          "probe-interval": "200ms", "drain-timeout": "5s"},
        "worker responses": {"models": THINK + " = think", "dialect": "openai_responses", "probe-interval": "200ms", "drain-timeout": "5s"},
    }
}
BOUNDARY = "XbX"
names = ("ws%d" % i for i in itertools.count())


def nano(price, count, units=1000000):
    return fractions.Fraction(price) * 1000000000 * count / units


def rounded(*parts):
    """Half up, once."""
    return (sum(parts) * 2 + 1) // 2


def cost(text):
    return fractions.Fraction(text) * 1000000000


class Shop:
    """A workspace of its own."""

    def __init__(self, factory, plan="local"):
        self.factory = factory
        self.name = next(names)
        factory.keyctl("workspace", "create", self.name, "--plan", plan)
        self.key = factory.mint("--name", "till", workspace=self.name)
        self.calls = 0

    def chat(self, script, model=MODEL, path="/v1/chat/completions", **more):
        self.calls += 1
        body = {"model": model, "messages": [{"role": "user", "content": "fake?" + script}], **more}
        answer = self.factory.call("POST", path, body, key=self.key)
        assert answer.status == 200, answer.body
        return answer.json()

    def post(self, path, body, fields=()):
        self.calls += 1
        with self.factory.raw() as raw:
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
                fields = [("Content-Type", "application/json")]
            raw.send(self.factory.head("POST", path, self.key, [*fields, ("Content-Length", len(body))]) + body)
            answer = raw.response("POST")
        assert answer.status == 200, answer.body
        return answer

    def usage(self, query="", **options):
        return self.factory.call("GET", "/v1/usage" + query, key=self.key, **options)

    def costs(self, want):
        """The ledger's sum, as the operator and as the customer sees it."""
        row = self.factory.settled(self.calls, workspace=self.name)
        assert cost(row["cost"]) == want and cost(row["unbilled"]) == 0 and row["currency"] == "EUR", (row, float(want))
        seen = self.usage().json()
        assert seen["currency"] == "EUR" and seen["totals"]["cost"] == row["cost"]
        return seen


@pytest.fixture
def shop(factory):
    return Shop(factory)


@pytest.mark.parametrize("stream", [False, True])
def test_chat(shop, stream):
    """The runtime counts cached tokens among those of the prompt, and reasoning among those of the answer."""
    script = "tokens=9&prompt=1003&cached=201&completion=77&thought=13"
    if stream:
        shop.calls += 1
        assert shop.factory.chat(script, stream=True, key=shop.key).done
    else:
        shop.chat(script)
    shop.costs(rounded(nano("2.5", 802), nano("0.25", 201), nano("10", 64), nano("12.000001", 13)))


def test_messages(shop):
    """A runtime that speaks Messages counts cached and written tokens beside the others."""
    shop.chat("tokens=9&prompt=1003&cached=201&wrote=55&completion=77", model=CLAUDE, path="/v1/messages", max_tokens=500)
    # what was written costs what input does, for no price is set
    want = rounded(nano("3", 802), nano("0.3", 201), nano("3", 55), nano("15", 77))
    seen = shop.costs(want)
    assert seen["totals"]["input_tokens"] == 1058 and seen["totals"]["cached_input_tokens"] == 201
    assert seen["by_surface"]["anthropic"]["cost"] == seen["totals"]["cost"] and seen["by_surface"]["openai"]["cost"] == "0"
    # and the same through the other API
    shop.chat("tokens=9&prompt=1003&cached=201&wrote=55&completion=77", model=CLAUDE)
    shop.costs(2 * want)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model,wrote", [(MODEL, 0), (CLAUDE, 50), (THINK, 0)])
def test_kinds_of_tokens_are_apart(shop, model, wrote, stream):
    """Read from a cache, written to one, thought: each counts once, whatever API the client and the runtime speak."""
    script = "fake?tokens=9&prompt=1003&cached=201&completion=77&thought=13&wrote=50"
    turns = [{"role": "user", "content": script}]
    for path, body in (("/v1/chat/completions", {"messages": turns}), ("/v1/messages", {"messages": turns, "max_tokens": 500}),
                       ("/v1/responses", {"input": script})):
        shop.post(path, {"model": model, "stream": stream, **body})
    shop.factory.settled(3, workspace=shop.name)
    done = shop.factory.keyctl_run("usage", "export", "--start", "1d", "--workspace", shop.name)
    rows = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    kinds = ("prompt", "cache_read", "cache_write", "completion", "reasoning")
    assert [[int(r[k + "_tokens"]) for k in kinds] for r in rows] == [[802, 201, wrote, 64, 13]] * 3
    for r in rows:
        prices = [r["price_" + p] for p in ("input", "cached_input", "cache_write", "output", "reasoning")]
        want = rounded(*[nano(p, int(r[k + "_tokens"])) for p, k in zip(prices, kinds)])
        assert cost(r["cost"]) == want and r["estimated"] == "false"


def test_half_up(shop):
    """0.0000000125 a token: each row is rounded, not the sum."""
    for _ in range(3):
        shop.post("/v1/embeddings", {"model": VEC, "input": "fake?count=1"})
    shop.costs(3 * rounded(nano("0.013", 1)))


def test_embeddings(shop):
    shop.post("/v1/embeddings", {"model": VEC, "input": "fake?count=1234567"})
    shop.costs(rounded(nano("0.013", 1234567)))


def form(**fields):
    line = b"--" + BOUNDARY.encode()
    out = b""
    for name, value in fields.items():
        filename = '; filename="a.wav"' if isinstance(value, bytes) else ""
        out += line + ('\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n' % (name, filename)).encode()
        out += (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return out + line + b"--\r\n"


@pytest.mark.parametrize("length,billed_ms", [("1.5", 10000), ("9.75", 10000), ("61.25", 61250)])
def test_audio(shop, length, billed_ms):
    """Ten seconds at least are charged; what was heard is what is told."""
    with open(os.path.join(TOP, "tests", "media", "pcm.wav"), "rb") as f:
        sound = f.read()
    shop.post("/v1/audio/transcriptions", form(model=HEAR, file=sound, prompt="fake?length=" + length),
              [("Content-Type", "multipart/form-data; boundary=" + BOUNDARY)])
    seen = shop.costs(rounded(nano("0.05", billed_ms, 3600000)))
    assert seen["totals"]["audio_seconds"] == float(length)


def test_speech(shop):
    shop.post("/v1/audio/speech", {"model": SAY, "input": "dix \u20ac et \U0001f600", "voice": "natural"})
    shop.costs(rounded(nano("22", 10)))


def test_images(shop):
    def draw(want, **more):
        shop.post("/v1/images/generations", {"model": DRAW, "prompt": "a quay", **more})
        return nano(want, 1, 1)

    total = draw("0.04")
    total += 3 * draw("0.01", size="512x512", n=3)
    total += draw("0.01", size="0512x512", quality="low")
    total += 2 * draw("0.12", size="1024x1024", quality="high", n=2)
    total += draw("0.03", size="1024x1024", quality="standard")
    total += draw("0.04", size="256x256")
    total += draw("0.04", size="auto", quality=None)
    png = b"\x89PNG\r\n\x1a\n" + bytes(32)
    shop.post("/v1/images/edits", form(model=DRAW, prompt="sharper", image=png, size="1024x1024", quality="high"),
              [("Content-Type", "multipart/form-data; boundary=" + BOUNDARY)])
    total += nano("0.12", 1, 1)
    assert shop.costs(total)["totals"]["images"] == 11
    answer = shop.factory.call("POST", "/v1/images/generations", key=shop.key,
                               body=('{"model":"%s","prompt":"x","size":"512x512","size":"1024x1024"}' % DRAW).encode())
    assert answer.status == 400 and answer.error["param"] == "size", answer.body


def test_failures_and_gifts_cost_nothing(shop):
    assert shop.factory.call("POST", "/v1/chat/completions", shop.factory.body("status=500"), key=shop.key).status >= 500
    shop.chat("tokens=5&prompt=100", model=FREE)
    shop.costs(0)


def test_left(shop):
    """A client that leaves pays for what was generated, at the same prices."""
    answer = shop.factory.open("tokens=500&delay_ms=10&prompt=20", key=shop.key)
    for i, _ in enumerate(answer):
        if i == 10:
            break
    answer.raw.close()
    row = shop.factory.settled(1, workspace=shop.name)
    assert cost(row["cost"]) == rounded(nano("2.5", int(row["input_tokens"])), nano("10", int(row["output_tokens"])))
    assert int(row["output_tokens"]) >= 9


def test_new_prices_are_for_new_calls(shop):
    factory = shop.factory
    script = "tokens=9&prompt=1000&completion=100"
    old = rounded(nano("2.5", 1000), nano("10", 100))
    shop.chat(script)
    shop.costs(old)
    running = factory.open("tokens=60&delay_ms=50&prompt=1000&completion=100", key=shop.key)
    before = dict(factory.conf["model " + MODEL])
    factory.conf["model " + MODEL].update({"price-input": "7", "price-output": "0"})
    factory.write_conf()
    try:
        for name in ("gatewayd", "billingd"):
            assert factory.reload(name)
        shop.chat(script)
        # the one that was admitted before goes on at the prices it began with
        assert not running.done
        for _ in running:
            pass
        shop.calls += 1
        shop.costs(2 * old + rounded(nano("7", 1000)))
    finally:
        factory.conf["model " + MODEL] = before
        factory.write_conf()
        for name in ("gatewayd", "billingd"):
            assert factory.reload(name)
    shop.chat(script)
    shop.costs(3 * old + rounded(nano("7", 1000)))


def test_answer(shop):
    """One document: groups add up to the totals, on every path, for either API's headers."""
    shop.chat("tokens=9&prompt=1003&cached=201&completion=77&thought=13")
    shop.chat("tokens=9&prompt=10&completion=7", model=CLAUDE, path="/v1/messages", max_tokens=500)
    shop.post("/v1/embeddings", {"model": VEC, "input": "fake?count=99"})
    second = shop.factory.mint("--name", "=HYPERLINK(1)", workspace=shop.name)
    shop.calls += 1
    assert shop.factory.chat("tokens=1&prompt=1", key=second).status == 200
    shop.factory.settled(4, workspace=shop.name)
    seen = shop.usage().json()
    assert seen["object"] == "usage" and seen["workspace"] == shop.name and seen["period"] == "month" and seen["surface"] == "all"
    for group in ("by_model", "by_key", "by_day"):
        for name, total in seen["totals"].items():
            parts = [row[name] for row in seen[group]]
            assert sum(map(fractions.Fraction, parts)) == fractions.Fraction(total), (group, name)
    assert sum(cost(s["cost"]) for s in seen["by_surface"].values()) == cost(seen["totals"]["cost"])
    assert [m["model"] for m in seen["by_model"]] == sorted([MODEL, CLAUDE, VEC])
    assert sorted(k["name"] for k in seen["by_key"]) == ["=HYPERLINK(1)", "till"]
    for path in ("/openai/v1/usage", "/anthropic/v1/usage", "/v1/usage"):
        assert shop.factory.call("GET", path, key=second).json() == seen
    anthropic = shop.usage("?surface=anthropic&period=day").json()
    assert anthropic["totals"]["requests"] == 1 and list(anthropic["by_surface"]) == ["anthropic"]
    assert shop.usage("?period=fortnight", fields=[("anthropic-version", "2023-06-01")]).json()["type"] == "error"
    for query, param in (("period=", "period"), ("surface=x", "surface"), ("start=x", "start"), ("end=5", "start"), ("format=csv", "format"),
                         ("start=2&end=1", "end"), ("start=1&period=day", "period"), ("Period=day", "Period")):
        refused = shop.usage("?" + query)
        assert refused.status == 400 and refused.error["param"] == param, (query, refused.body)


def test_table(shop):
    shop.chat("tokens=9&prompt=1003&cached=201&completion=77&thought=13")
    shop.factory.settled(1, workspace=shop.name)
    other = shop.factory.mint("--name", '=1+1,x', workspace=shop.name)
    shop.calls += 1
    assert shop.factory.chat("tokens=1&prompt=1", key=other).status == 200
    shop.factory.settled(2, workspace=shop.name)
    answer = shop.usage("?period=day", fields=[("Accept", "text/csv")])
    assert answer.status == 200 and answer.get("content-type") == "text/csv; charset=utf-8; header=present"
    text = answer.body.decode()
    assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", "")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    seen = shop.usage("?period=day").json()
    assert [r["by"] for r in rows] == ["total", "surface", "model", "key", "key", "day"]
    assert {r["name"] for r in rows if r["by"] == "key"} == {"till", "'=1+1,x"}
    for name, value in seen["totals"].items():
        assert rows[0][name] == str(value)
    assert rows[0]["currency"] == "EUR" and rows[2]["group"] == MODEL and rows[5]["group"] == seen["by_day"][0]["day"]
    assert shop.usage(fields=[("Accept", "application/json, text/csv")]).json()["object"] == "usage"


def test_keyctl(shop):
    factory = shop.factory
    shop.chat("tokens=9&prompt=1003&cached=201&completion=77&thought=13")
    shop.chat("tokens=9&prompt=10&completion=7", model=CLAUDE, path="/v1/messages", max_tokens=500)
    total = factory.settled(2, workspace=shop.name)
    for by in ("surface", "model", "key", "day", "workspace"):
        rows = factory.usage("--by", by, workspace=shop.name)
        assert sum(cost(r["cost"]) for r in rows) == cost(total["cost"]), by
    assert [r["group"] for r in factory.usage("--by", "surface", workspace=shop.name)] == ["anthropic", "openai"]
    every = factory.keyctl("usage", "--by", "workspace", "--start", "1h")
    assert next(r for r in every if r["name"] == shop.name)["cost"] == total["cost"]
    assert factory.keyctl("usage", "--workspace", shop.name, "--start", "1h")[0]["cost"] == total["cost"]
    assert factory.keyctl("usage", "--workspace", shop.name, "--start", "2h", "--end", "1h")[0]["requests"] == 0
    for bad in (["--end", "1h"], ["--start", "1h", "--period", "day"], ["--start", "1h", "--end", "2h"], ["--by", "moon"]):
        assert factory.keyctl_run("usage", *bad).returncode == 2, bad
    table = factory.keyctl_run("usage", "--workspace", shop.name).stdout
    assert "COST" in table and total["cost"] in table and "UNBILLED" not in table


def test_limits(factory):
    """What is left of the plan's window, of caps, budget and balance stands beside what was used."""
    shop = Shop(factory, "windowed")
    seen = shop.usage().json()
    assert seen["budget"] == {"plan": "windowed", "window": "5h", "limit": 1000000, "used": 0, "remaining": 1000000,
                              "resets_at": None, "balance": None}
    assert seen["caps"] == {"tokens": {"limit": None, "used": 0}, "images": {"limit": None, "used": 0},
                            "audio_seconds": {"limit": None, "used": 0}, "cost": {"limit": None, "used": "0"}}
    assert shop.usage("?period=window").json()["totals"]["requests"] == 0
    factory.keyctl("workspace", "cap", shop.name, "--tokens", "500000", "--images", "7", "--audio-seconds", "90")
    factory.keyctl("workspace", "budget", shop.name, "2.5")
    factory.keyctl("topup", shop.name, "--money", "3", "--tokens", "1000")
    began = time.time()
    shop.chat("tokens=9&prompt=23&cached=11&completion=77&thought=13", max_tokens=100)
    charged = shop.costs(rounded(nano("2.5", 12), nano("0.25", 11), nano("10", 64), nano("12.000001", 13)))["totals"]["cost"]
    seen = shop.usage("?period=window").json()
    assert seen["totals"]["requests"] == 1 and seen["end"] - seen["start"] == 5 * 3600
    budget = seen["budget"]
    assert (budget["limit"], budget["used"], budget["remaining"]) == (1001000, 100, 1000900)
    assert began + 5 * 3600 - 120 <= budget["resets_at"] <= time.time() + 5 * 3600 + 120
    assert cost(budget["balance"]) == cost("3") - cost(charged)
    assert seen["caps"] == {"tokens": {"limit": 500000, "used": 100}, "images": {"limit": 7, "used": 0},
                            "audio_seconds": {"limit": 90, "used": 0}, "cost": {"limit": "2.5", "used": charged}}
    assert shop.factory.usage("--by", "model", workspace=shop.name)[0]["cost"] == charged
    # what a call comes to beyond what was reserved for it, by a runtime that counts otherwise, is charged to nobody
    shop.chat("tokens=9&prompt=100000&completion=9", max_tokens=100)
    row = factory.settled(2, workspace=shop.name)
    assert cost(row["unbilled"]) > 0 and cost(row["cost"]) + cost(row["unbilled"]) == cost(charged) + nano("2.5", 100000) + nano("10", 9)
    assert cost(shop.usage().json()["budget"]["balance"]) == cost("3") - cost(row["cost"])


def test_it_all_adds_up(factory):
    """Behind all of the above."""
    factory.acknowledged()
    verify = ("-c", factory.conf_path, "ledger", "verify")
    done = factory.keyctl_run(*verify)
    assert done.returncode == 0 and done.stdout.count("yes") == 7, done.stdout + done.stderr
    damaged = os.path.join(factory.dir, "spool", "gatewayd.9-1-1.bad")
    open(damaged, "w").close()
    done = factory.keyctl_run(*verify)
    os.unlink(damaged)
    assert done.returncode == 1 and "spool" in done.stdout and done.stdout.count("yes") == 6, done.stdout + done.stderr
    rows = list(csv.DictReader(io.StringIO(factory.keyctl_run("usage", "export", "--start", "1d").stdout, newline="")))
    total = factory.keyctl("usage", "--period", "all")[0]
    assert sum(cost(r["cost"]) - cost(r["unbilled"]) for r in rows if r["charged"] == "true") == cost(total["cost"])
    assert sum(r["charged"] == "true" for r in rows) == int(total["requests"])
