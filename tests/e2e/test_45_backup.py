# SPDX-License-Identifier: Apache-2.0
"""The operator copies the database of a system that serves, checks copies, goes back to one, and lets old rows end."""
import concurrent.futures
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import threading

import pytest

from factory import SLOW, Factory, wait_for

DAY = 86400


def rows(path, what):
    db = sqlite3.connect(path)
    try:
        return db.execute(what).fetchone()[0]
    finally:
        db.close()


@pytest.fixture
def load(factory):
    """Clients that go on until the end of the test; how many answers they had."""
    stop, good = threading.Event(), []

    def run():
        while not stop.is_set():
            assert factory.chat("tokens=3&prompt=4").status == 200
            good.append(1)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(run) for _ in range(4)]
        wait_for("load", lambda: len(good) > 20)
        try:
            yield good
        finally:
            stop.set()
            for call in calls:
                call.result()


def test_a_copy_of_a_system_at_work(factory, load):
    path = os.path.join(factory.dir, "copy.db")
    before = len(load)
    said = factory.keyctl("backup", path)[0]
    after = len(load)
    assert said["file"] == path and said["bytes"] == os.path.getsize(path) and said["schema"] >= 3
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and not os.path.exists(path + ".partial")
    wait_for("it goes on", lambda: len(load) > after + 20)
    found = rows(path, "SELECT count(*) FROM ledger")
    assert 0 <= found <= after + 4 and found == rows(path, "SELECT coalesce(sum(requests), 0) FROM usage_days"), (before, after)
    assert factory.keyctl("backup", "verify", path)[0]["sums"] == "agree with the ledger"
    assert factory.key not in open(path, "rb").read().decode("latin-1")
    assert "the database was copied file=" in factory.log("billingd")


def test_a_path_is_the_callers(factory):
    """keyctl stands elsewhere than the daemon."""
    done = subprocess.run([factory.program("keyctl"), "--run-dir", factory.run_dir, "backup", "here.db"], cwd=factory.dir,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode == 0 and os.path.join(factory.dir, "here.db") in done.stdout, done.stderr
    again = subprocess.run([factory.program("keyctl"), "--run-dir", factory.run_dir, "backup", "./here.db"], cwd=factory.dir,
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * SLOW)
    assert again.returncode == 5 and "exists" in again.stderr and os.path.exists(os.path.join(factory.dir, "here.db"))


def test_refusals(factory):
    run = factory.keyctl_run
    assert run("backup").returncode == 2 and run("backup", "").returncode == 2
    assert run("backup", factory.conf["billingd"]["database"]).returncode == 5
    away = run("backup", os.path.join(factory.dir, "no", "such", "place.db"))
    assert away.returncode == 1 and "No such file" in away.stderr
    missing = run("backup", "verify", os.path.join(factory.dir, "missing.db"))
    assert missing.returncode == 4 and "missing.db" in missing.stderr
    garbage = os.path.join(factory.dir, "garbage.db")
    with open(garbage, "wb") as f:
        f.write(b"no database at all" * 1000)
    wrong = run("backup", "verify", garbage)
    assert wrong.returncode == 1 and "not a database" in wrong.stderr


def test_a_copy_with_other_sums(factory):
    path = os.path.join(factory.dir, "wrong.db")
    factory.chat("tokens=1")
    factory.usage()
    factory.keyctl("backup", path)
    db = sqlite3.connect(path)
    assert db.execute("UPDATE usage_days SET completion = completion + 1").rowcount >= 1
    db.commit()
    db.close()
    done = factory.keyctl_run("backup", "verify", path)
    assert done.returncode == 1 and "differ from the ledger" in done.stderr
    assert factory.chat("tokens=1").status == 200


def test_going_back_to_a_copy(fresh):
    """What the copy knows is there again: keys open, usage is what it was."""
    first = fresh()
    for _ in range(3):
        assert first.chat("tokens=5&prompt=2").status == 200
    row = first.settled(3)
    path = os.path.join(first.dir, "copy.db")
    first.keyctl("backup", path)
    late = first.mint()
    assert first.chat("tokens=5", key=late).status == 200
    second = Factory(start=False)
    try:
        shutil.copy(path, second.conf["billingd"]["database"])
        shutil.copy(os.path.join(first.dir, "pepper.key"), os.path.join(second.dir, "pepper.key"))
        os.chmod(os.path.join(second.dir, "pepper.key"), 0o600)
        for daemon in second.daemons.values():
            daemon.start()
        second.wait_ready()
        second.key = first.key
        assert second.usage() == row
        assert second.chat("tokens=1").status == 200
        assert second.chat("tokens=1", key=late).status == 401
        assert int(second.settled(4)["requests"]) == 4
    finally:
        wrong, logs = second.close(), second.logs()[-8000:]
        second.remove()
        assert not wrong, "\n".join(wrong) + logs


def test_old_rows_end_and_their_sums_stay(fresh):
    factory = fresh()
    for _ in range(7):
        assert factory.chat("tokens=2&prompt=3").status == 200
    before = factory.settled(7)
    database = factory.conf["billingd"]["database"]
    assert rows(database, "SELECT count(*) FROM ledger") == 7
    factory.conf["billingd"]["ledger-retention"] = "10d"
    factory.write_conf()
    assert factory.reload("billingd")
    factory.shift_clock(45 * DAY)
    for _ in range(2):
        assert factory.chat("tokens=2&prompt=3").status == 200
    factory.settled(9)
    assert factory.reload("billingd")  # it looks at once
    wait_for("old rows end", lambda: rows(database, "SELECT count(*) FROM ledger") == 2)
    assert "ledger rows were removed" in wait_for(
        "the log says it", lambda: "ledger rows were removed" in factory.log("billingd") and factory.log("billingd"))
    assert "tf_billing_ledger_expired_total 7" in factory.keyctl_run("metrics", "billingd").stdout
    after = factory.usage()
    assert int(after["requests"]) == 9 and int(after["total_tokens"]) == int(before["total_tokens"]) + 10
    path = os.path.join(factory.dir, "copy.db")
    factory.keyctl("backup", path)
    assert factory.keyctl("backup", "verify", path)[0]["sums"] == "agree with the ledger"
    factory.daemons["billingd"].kill()
    factory.restart("billingd")
    factory.wait_billing()
    assert factory.usage() == after


def test_what_is_stored(fresh):
    """Responses and large values, copied while they come and go, and gone back to."""
    made = fresh(conf={"stored": {"blob-min": "1k"}})
    wait_for("stored", lambda: made.call("GET", "/v1/responses/resp_none").status == 404)

    def respond(text):
        got = made.call("POST", "/v1/responses", {"model": "fake/model", "input": "fake?tokens=3\n" + text})
        assert got.status == 200, got.body
        return got.json()["id"]

    def found(one):
        return made.call("GET", "/v1/responses/" + one).status

    early = [respond("x" * n) for n in (1, 100, 20000)]
    copy = os.path.join(made.dir, "copy")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        more = pool.submit(lambda: [respond(str(i)) for i in range(20)])
        said = made.keyctl("stored", "backup", copy)[0]
        late = more.result()
    assert said["directory"] == copy and said["bytes"] > 20000 and sorted(os.listdir(copy)) == ["blobs", "stored.db"]
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o700
    assert made.keyctl("stored", "verify", copy)[0]["bytes"] == said["bytes"]
    assert made.keyctl_run("stored", "backup", copy).returncode == 5
    assert made.keyctl_run("stored", "verify", copy + "2").returncode == 4
    wait_for("both are in the audit log", lambda: [(a["action"], a["subject"]) for a in made.keyctl("audit", "--action", "stored")]
             == [("stored verify", copy), ("stored backup", copy)])
    for one in early:
        assert made.call("DELETE", "/v1/responses/" + one).status == 200 and found(one) == 404
    made.daemons["stored"].end()
    database, blobs = made.conf["stored"]["database"], made.conf["stored"]["blob-dir"]
    for end in ("-wal", "-shm"):
        if os.path.exists(database + end):
            os.unlink(database + end)
    shutil.copy(os.path.join(copy, "stored.db"), database)
    shutil.rmtree(blobs)
    shutil.copytree(os.path.join(copy, "blobs"), blobs)
    made.daemons["stored"].start()
    wait_for("stored is back", lambda: found(early[0]) == 200)
    assert [found(one) for one in early] == [200, 200, 200]
    kept = [found(one) for one in late]
    assert kept == sorted(kept), "an older one is missing"
    with open(os.path.join(copy, "stored.db"), "r+b") as f:
        f.truncate(8192)
    assert made.keyctl_run("stored", "verify", copy).returncode == 1


def test_going_back_while_gateways_live(fresh):
    """billingd starts on an older copy; its gateways go on, and what they tell from then on is acknowledged."""
    factory = fresh()
    billing = factory.daemons["billingd"]
    assert factory.chat("tokens=5").status == 200
    factory.settled(1)
    path = os.path.join(factory.dir, "copy.db")
    factory.keyctl("backup", path)
    for _ in range(5):
        assert factory.chat("tokens=5").status == 200
    factory.settled(6)
    running = [factory.open("tokens=200&delay_ms=10") for _ in range(3)]
    next(iter(running[0]))
    # none of the three ends before billingd has: what it was told of them would be in the database that goes
    os.kill(factory.fake.proc.pid, signal.SIGSTOP)
    try:
        assert billing.end() == 0
    finally:
        os.kill(factory.fake.proc.pid, signal.SIGCONT)
    running[0].raw.close()
    for answer in running[1:]:
        answer.take_all(answer.raw)
    database = factory.conf["billingd"]["database"]
    for name in (database + "-wal", database + "-shm"):
        if os.path.exists(name):
            os.unlink(name)
    shutil.copy(path, database)
    factory.restart("billingd")
    factory.wait_billing()
    for _ in range(3):
        wait_for("service", lambda: factory.chat("tokens=5").status == 200)
    factory.settled(1 + 3 + 3)
