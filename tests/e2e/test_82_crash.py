# SPDX-License-Identifier: Apache-2.0
"""Answers against the ledger, while every daemon is killed with -9 at random moments: whoever saw a whole
answer has exactly one whole row, whoever saw a part of one is charged once for at least that part, nobody is
charged twice, and nothing stays reserved.

TF_CRASH_SECONDS: how long it goes on (20); TF_CRASH_SEED: of the random numbers."""
import collections
import glob
import json
import os
import random
import signal
import sqlite3
import threading
import time

import pytest

from factory import SLOW, Closed, wait_for
from raw import Malformed

SECONDS = float(os.environ.get("TF_CRASH_SECONDS", "20"))
SEED = int(os.environ.get("TF_CRASH_SEED", str(random.randrange(10**6))))
CLIENTS = 12
SLOTS = 3 * CLIENTS

FACTORY = {
    "conf": {
        "gatewayd": {
            "queue-timeout": "3s", "first-timeout": "10s", "stream-idle-timeout": "10s", "threads": "2",
            "spool-segment": "64k",  # so that there are many
        },
        "plan ample": {"rpm": "1000000", "tpm": "1000000000"},
    },
    "plan": "ample",
}

SERVED, PARTIAL, FAILED, LOST = 1, 2, 3, 4
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def id_bytes(text):
    n = 0
    for c in text:
        n = n << 5 | CROCKFORD.index(c.upper())
    return (n & (1 << 128) - 1).to_bytes(16, "big")


class Call:
    """One request of a client, and what it got to see."""

    def __init__(self, rng, key):
        self.key = key
        self.tokens = rng.choice((2, 5, 20, 40))
        self.prompt = rng.randrange(1, 500)
        self.stream = rng.random() < 0.6
        self.leaves = self.stream and rng.random() < 0.1
        self.delay = rng.choice((0, 2, 10))
        self.id = self.text = self.status = None
        self.seen = 0       # tokens
        self.complete = False
        self.began = self.ended = time.time()

    def run(self, factory):
        script = "tokens=%d&prompt=%d&delay_ms=%d" % (self.tokens, self.prompt, self.delay)
        answer = None
        try:
            raw = factory.raw(deadline=30.0 * SLOW)
        except OSError:
            return
        try:
            answer = factory.open(script, self.stream, key=self.key, raw=raw)
            self.status = answer.status
            self.text = answer.response.get("x-request-id")
            self.id = id_bytes(self.text)
            if not answer.stream:
                answer.take_all(raw)
                self.complete = answer.status == 200
                return
            for event in answer:
                self.seen += sum(bool(c["delta"].get("content")) for c in event.get("choices", ()))
                if self.leaves and self.seen >= 2:
                    return
            self.complete = answer.done and answer.ended == "clean" and answer.error is None
        except (Closed, Malformed, OSError):
            pass  # cut off
        finally:
            self.ended = time.time()
            raw.close()


class Clients:
    def __init__(self, factory, key):
        self.factory, self.key = factory, key
        self.stop = threading.Event()
        self.calls = []
        self.threads = [threading.Thread(target=self.run, args=(random.Random(SEED * 100 + i),)) for i in range(CLIENTS)]
        for t in self.threads:
            t.start()

    def run(self, rng):
        while not self.stop.is_set():
            call = Call(rng, self.key)
            call.run(self.factory)
            self.calls.append(call)
            if not call.complete:
                time.sleep(0.02)

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(90 * SLOW)
            assert not t.is_alive(), "a client hangs"
        return self.calls


def kill_about(factory, until, rng):
    """Names and moments of what was killed."""
    kills = []
    names = ["gatewayd", "gatewayd", "billingd", "routerd", "fake"]
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.1, 1.0))
        chosen = rng.sample(sorted(set(names)), 2) if rng.random() < 0.2 else [rng.choice(names)]
        for name in chosen:
            factory.daemons[name].kill()
            kills.append(name)
        time.sleep(rng.choice((0, 0.05, 0.3)))
        for name in chosen:
            factory.restart(name)
        # time to come back, mostly: else nothing is ever under way
        if rng.random() < 0.8:
            try:
                factory.wait_ready(30)
            except AssertionError:
                raise AssertionError("not ready again after %s (seed %d)" % (kills[-3:], SEED))
            time.sleep(rng.uniform(0.1, 0.6))
    return kills


def spool_is_settled(factory):
    """Only the living have files that are not acknowledged, and those hold nothing that is."""
    spool = os.path.join(factory.dir, "spool")
    rows = [r for d in factory.keyctl("status") for r in d["rows"] if r.get("kind") == "gatewayd"]
    return len(glob.glob(spool + "/*.map")) == len(rows) == 2 and all(r["unsettled"] == 0 for r in rows)


def ledger(factory):
    db = sqlite3.connect("file:%s?mode=ro" % factory.conf["billingd"]["database"], uri=True)
    db.row_factory = sqlite3.Row
    try:
        assert [tuple(r) for r in db.execute("PRAGMA integrity_check")] == [("ok",)]
        rows = db.execute("SELECT * FROM ledger").fetchall()
        what = "sum(prompt), sum(cache_read), sum(completion), sum(reasoning), sum(cost)"
        days = db.execute("SELECT sum(requests), %s FROM usage_days" % what).fetchone()
        sums = db.execute("SELECT count(*), %s FROM ledger WHERE charged = 1" % what).fetchone()
        assert tuple(days) == tuple(sums), (tuple(days), tuple(sums))
        return rows
    finally:
        db.close()


def check(calls, rows, kills):
    by_id, attempts = {}, collections.defaultdict(list)
    for r in rows:
        attempts[r["request"]].append(r)
        if r["charged"]:
            assert r["request"] not in by_id, "charged twice"
            by_id[r["request"]] = r
    known = {c.id for c in calls if c.id}
    problems, unseen = [], 0
    for c in calls:
        r = by_id.get(c.id)
        about = "%s tokens=%d prompt=%d stream=%d seen=%d status=%s began=%.3f ended=%.3f rows=%s" % (
            c.text, c.tokens, c.prompt, c.stream, c.seen, c.status, c.began, c.ended, [dict(a) for a in attempts[c.id]])
        if c.complete:
            if r is None or (r["outcome"], r["completion"], r["prompt"], r["estimated"], r["provisional"]) != (
                    SERVED, c.tokens, c.prompt, 0, 0):
                problems.append("a whole answer: " + about)
        elif c.seen > 0:
            if r is None or r["completion"] + r["reasoning"] < c.seen:
                problems.append("a part of an answer: " + about)
            elif r["outcome"] == SERVED and not c.leaves:
                unseen += 1
                if r["delivered"]:
                    problems.append("not delivered: " + about)
        elif r is not None and not c.leaves:
            unseen += 1
            if r["delivered"]:
                problems.append("nothing of it came: " + about)
    for r in rows:
        if r["charged"] and r["request"] not in known:
            unseen += 1
            if r["delivered"]:
                problems.append("nobody knows it: %s" % dict(r))
    assert not problems, "%d problems (seed %d):\n%s" % (len(problems), SEED, "\n".join(problems[:10]))
    assert unseen <= len(kills) * CLIENTS, (unseen, len(kills))
    return unseen


@pytest.mark.timeout(int(SECONDS) + 240)
def test_nothing_lost_nothing_twice(factory):
    rng = random.Random(SEED)
    factory.keyctl("workspace", "create", "crash", "--plan", "ample")
    key = factory.keyctl("key", "mint", "--workspace", "crash", "--concurrency", str(SLOTS))[0]["key"]
    factory.keys.append(key)
    clients = Clients(factory, key)
    try:
        kills = kill_about(factory, time.monotonic() + SECONDS, rng)
    finally:
        calls = clients.end()
    factory.wait_billing()
    complete = sum(c.complete for c in calls)
    assert complete > 20, "next to nothing was served: %d of %d (seed %d)" % (complete, len(calls), SEED)
    wait_for("the spool of the dead is told (seed %d)" % SEED, lambda: spool_is_settled(factory), 60)
    unseen = check(calls, ledger(factory), kills)
    print("seed %d: %d kills, %d calls, %d whole, %d in part, %d rows that nobody saw the end of" % (
        SEED, len(kills), len(calls), complete, sum(not c.complete and c.seen > 0 for c in calls), unseen))
    nothing_is_held(factory, key)
    for daemon in factory.daemons.values():
        assert daemon.running(), daemon.name


def nothing_is_held(factory, key):
    """As many as the key may run at once can: no slot was lost with its request."""
    def all_at_once():
        answers = []
        try:
            for _ in range(SLOTS):
                answers.append(factory.open("tokens=1000&delay_ms=50", key=key))
            return [a.status for a in answers] == [200] * SLOTS
        finally:
            for a in answers:
                a.raw.close()
            wait_for("the runtime is idle", lambda: factory.fake.running() == 0, 30)

    wait_for("all slots of the key are free (seed %d)" % SEED, all_at_once, 60, 1)


@pytest.mark.timeout(120)
def test_stopped_and_started_while_billingd_is_away(factory):
    """What was served without it is in the ledger when both are back, though its gateway ended in good order."""
    factory.keyctl("workspace", "create", "away", "--plan", "ample")
    key = factory.mint(workspace="away")
    assert factory.chat("tokens=2", key=key).status == 200
    stream = factory.open("tokens=30&delay_ms=20&prompt=11", key=key)
    it = iter(stream)
    next(it)
    factory.daemons["billingd"].kill()
    for _ in it:
        pass
    stream.check_canonical()
    stream.raw.close()
    assert factory.daemons["gatewayd"].end() == 0
    factory.restart("gatewayd")
    factory.restart("billingd")
    factory.wait_billing()
    row = factory.settled(2, workspace="away")
    assert int(row["total_tokens"]) == 7 + 2 + 11 + 30


@pytest.mark.timeout(120)
def test_killed_in_mid_stream(factory):
    """What was streamed is charged, once, as an estimate; a whole answer that nobody saw is not."""
    factory.keyctl("workspace", "create", "midway", "--plan", "ample")
    key = factory.mint(workspace="midway")
    stream = factory.open("tokens=500&delay_ms=20", key=key)
    whole = factory.raw()
    body = factory.body("tokens=500&delay_ms=20")
    text = json.dumps(body).encode()
    whole.send(factory.head("POST", "/v1/chat/completions", key, (), len(text)) + text)
    it = iter(stream)
    for _ in range(12):
        next(it)
    seen = sum(bool(d.get("content")) for d in stream.deltas())
    factory.daemons["gatewayd"].signal(signal.SIGKILL)
    factory.daemons["gatewayd"].kill()
    whole.close()
    factory.restart("gatewayd")
    factory.wait_ready()
    factory.settled(1, workspace="midway")
    wait_for("the dead are settled", lambda: spool_is_settled(factory), 30)
    request = id_bytes(stream.response.get("x-request-id"))
    rows = [r for r in ledger(factory) if r["request"] == request]
    assert len(rows) == 1
    row = rows[0]
    assert (row["outcome"], row["charged"], row["estimated"], row["provisional"], row["delivered"]) == (PARTIAL, 1, 1, 1, 0)
    assert seen <= row["completion"] < 500 and row["prompt"] > 0
    stream.raw.close()


@pytest.mark.timeout(120)
def test_synced_before_the_end(fresh):
    """spool-sync = always: the last bytes wait for the disk, of many at once, and all of them come."""
    made = fresh(conf={"gatewayd": {"spool-sync": "always", "threads": "2"}})
    open_ones = [made.open("tokens=%d&delay_ms=3" % n, stream=n % 2 == 0) for n in range(5, 45)]
    for n, answer in zip(range(5, 45), open_ones):
        answer.take_all(answer.raw)
        answer.raw.close()
        assert answer.status == 200 and answer.text() == made.text(n)
    row = made.settled(40)
    assert int(row["total_tokens"]) == sum(7 + n for n in range(5, 45))
    made.conf["gatewayd"]["spool-sync"] = "off"
    made.write_conf()
    made.reload("gatewayd")
    assert made.chat("tokens=3").text() == made.text(3)


@pytest.mark.timeout(120)
def test_full_spool_served_all_the_same(fresh):
    """spool-full = unmetered: records that found no room wait in memory, and reach the ledger."""
    made = fresh(conf={"gatewayd": {"spool-max": "1m", "spool-segment": "64k", "spool-full": "unmetered", "connections-max": "64"}})
    made.daemons["gatewayd"].end()
    filler = os.path.join(made.dir, "spool", "somebody-else.bad")
    with open(filler, "wb") as f:
        f.write(b"x" * (1 << 20))
    made.restart("gatewayd")
    made.wait_ready()
    for _ in range(300):
        assert made.chat("tokens=2").status == 200
    assert not glob.glob(made.dir + "/spool/*000002.seg"), "it was not full"
    row = made.settled(300)
    assert int(row["total_tokens"]) == 300 * 9
    os.unlink(filler)
    wait_for("there is room again", lambda: "tf_gateway_spool_full 0" in metrics(made), 20)


def metrics(factory):
    return factory.call("GET", "/metrics", key=False).body.decode()


@pytest.mark.timeout(180)
def test_full_spool(fresh):
    """New requests are refused, those that run end as they should; billingd back, all goes on."""
    made = fresh(conf={"gatewayd": {"spool-max": "1m", "spool-segment": "256k", "serve-unmetered": "yes",
                                    "connections-max": "64", "spool-keep": "0"}})
    made.chat("tokens=2")
    made.settled(1)
    long = made.open("tokens=400&delay_ms=50")
    it = iter(long)
    next(it)
    made.daemons["billingd"].kill()
    statuses = []
    until = time.monotonic() + 100 * SLOW
    while time.monotonic() < until and statuses[-20:].count(503) < 20:
        answer = made.chat("tokens=1")
        statuses.append(answer.status)
        assert answer.status in (200, 503), answer.status
        if answer.status == 503:
            assert answer.response.get("retry-after") and answer.error["code"] == "overloaded"
    good = statuses.count(200)
    assert statuses[-20:].count(503) == 20 and good > 100, good
    wait_for("the metric says so", lambda: "tf_gateway_spool_full 1" in metrics(made), 10)
    for _ in it:
        pass
    long.check_canonical()
    long.raw.close()
    made.restart("billingd")
    made.wait_billing()
    made.settled(good + 2)
    wait_for("work goes on", lambda: made.chat("tokens=1").status == 200, 30)
    wait_for("and the metric", lambda: "tf_gateway_spool_full 0" in metrics(made), 10)
