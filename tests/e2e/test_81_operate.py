# SPDX-License-Identifier: Apache-2.0
"""SIGTERM drains, SIGHUP reloads or says why not, a second instance is refused."""
import os
import re
import signal
import subprocess
import time

import pytest

from factory import SLOW, Daemon, wait_for


def ended(daemon, seconds):
    return wait_for(daemon.name + " ends", lambda: daemon.proc.poll() is not None, seconds) and daemon.proc.returncode


def test_gatewayd_drains(factory):
    gateway = factory.daemons["gatewayd"]
    idle = factory.raw()
    idle.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    idle.response()
    answer = factory.open("tokens=100&delay_ms=10")
    it = iter(answer)
    next(it)
    gateway.signal(signal.SIGTERM)
    assert idle.closed_within(20 * SLOW)

    def refused():
        try:
            factory.raw().close()
        except ConnectionRefusedError:
            return True

    wait_for("nobody listens", refused)
    for _ in it:
        pass
    answer.check_canonical()
    assert answer.text() == factory.text(100)
    assert ended(gateway, 5) == 0
    factory.restart("gatewayd")
    factory.wait_ready()


def test_drain_has_an_end(factory):
    """What runs longer than drain-timeout is ended with an error event."""
    gateway = factory.daemons["gatewayd"]
    answer = factory.open("tokens=3000&delay_ms=10")
    it = iter(answer)
    next(it)
    began = time.monotonic()
    gateway.signal(signal.SIGTERM)
    for _ in it:
        pass
    assert 3 < time.monotonic() - began < 25
    assert answer.error and not answer.done
    assert ended(gateway, 5) == 0
    factory.restart("gatewayd")
    factory.wait_ready()
    wait_for("the runtime is let go", lambda: factory.fake.running() == 0, 3)


def test_second_term_ends_at_once(factory):
    gateway = factory.daemons["gatewayd"]
    answer = factory.open("tokens=3000&delay_ms=10")
    next(iter(answer))
    seen = len(gateway.log())
    gateway.signal(signal.SIGTERM)
    wait_for("it drains", lambda: " draining" in gateway.log()[seen:])
    gateway.signal(signal.SIGTERM)
    assert ended(gateway, 2) == 0
    factory.restart("gatewayd")
    factory.wait_ready()
    wait_for("the runtime is let go", lambda: factory.fake.running() == 0, 5)


def test_workerd_drains(factory):
    worker = factory.daemons["fake"]
    answer = factory.open("tokens=100&delay_ms=10")
    it = iter(answer)
    next(it)
    worker.signal(signal.SIGTERM)
    for _ in it:
        pass
    answer.check_canonical()
    assert ended(worker, 5) == 0
    assert factory.chat("tokens=1").status == 503
    factory.restart("fake")
    factory.wait_ready()


@pytest.mark.parametrize("name", ["routerd", "billingd"])
def test_the_others_drain_at_once(factory, name):
    factory.chat("tokens=1")
    daemon = factory.daemons[name]
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert ended(daemon, 5) == 0 and time.monotonic() - began < 15 * SLOW
    factory.restart(name)
    factory.wait_ready()


@pytest.mark.parametrize("name", ["gatewayd", "routerd", "fake", "billingd", "stored"])
def test_a_bad_file_changes_nothing(factory, name):
    with open(factory.conf_path) as f:
        good = f.read()
    try:
        for bad, word in (
            ("[gatewayd]\nnonsense = 1\n", "nonsense"), ("[gatewayd]\nidle-timeout = soon\n", "idle-timeout"),
            ("[nosuch]\n", "nosuch"), ("garbage", "tokenfactory.conf"),
        ):
            with open(factory.conf_path, "w") as f:
                f.write(good + bad)
            assert not factory.reload(name)
            assert word in factory.log(name)
        os.unlink(factory.conf_path)
        assert not factory.reload(name)
    finally:
        with open(factory.conf_path, "w") as f:
            f.write(good)
    assert factory.reload(name) and factory.chat("tokens=1").status == 200


def test_reload_applies(factory):
    """A new model of the catalogue and another limit, while a stream goes on."""
    answer = factory.open("tokens=100&delay_ms=10")
    it = iter(answer)
    next(it)
    factory.conf["gatewayd"]["body-max"] = "2k"
    factory.conf["model fake/coming"] = {"status": "coming_soon"}
    factory.write_conf()
    assert factory.reload("gatewayd")
    assert [m["id"] for m in factory.call("GET", "/v1/models").json()["data"]] == ["fake/model", "fake/coming"]
    assert factory.chat("tokens=1\n" + "x" * 3000).status == 413
    for _ in it:
        pass
    answer.check_canonical()
    factory.conf["gatewayd"]["body-max"] = "32m"
    del factory.conf["model fake/coming"]
    factory.write_conf()
    assert factory.reload("gatewayd")
    assert factory.chat("tokens=1\n" + "x" * 3000).status == 200


def test_many_reloads_under_load(factory):
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(factory.chat, "tokens=10&delay_ms=5", stream=True) for _ in range(80)]
        for _ in range(10):
            for daemon in factory.daemons.values():
                daemon.signal(signal.SIGHUP)
            time.sleep(0.05)
        assert all(f.result().done for f in futures)
    for daemon in factory.daemons.values():  # what is still to be reloaded would be taken for a later one
        for _ in range(2):
            seen = len(daemon.log())
            daemon.signal(signal.SIGUSR1)
            wait_for("state in the log", lambda: " state " in daemon.log()[seen:])


def test_a_plan_is_reloaded(factory):
    factory.conf["plan tiny"] = {"rpm": "1"}
    factory.write_conf()
    assert factory.reload("billingd")
    assert "tiny" in [r["name"] for r in factory.keyctl("plan", "list")]
    factory.keyctl("workspace", "create", "on-tiny", "--plan", "tiny")
    key = factory.mint(workspace="on-tiny")
    assert [factory.chat("tokens=1", key=key).status for _ in range(2)] == [200, 429]
    factory.conf["plan tiny"]["rpm"] = "3"
    factory.write_conf()
    assert factory.reload("billingd")
    wait_for("more", lambda: factory.chat("tokens=1", key=key).status == 200, 3)
    # without a plan nothing is unlimited: nothing is served
    del factory.conf["plan tiny"]
    factory.write_conf()
    assert factory.reload("billingd")
    refused = wait_for("refused", lambda: (a := factory.chat("tokens=1", key=key)).status == 403 and a)
    assert refused.error["code"] == "forbidden" and "plan" in refused.error["message"]
    assert "not configured are refused count=1 first=\"on-tiny\" plan=\"tiny\"" in factory.log("billingd")
    factory.keyctl("workspace", "set-plan", "on-tiny", "local")
    assert factory.chat("tokens=1", key=key).status == 200


@pytest.mark.parametrize("name", ["gatewayd", "routerd", "fake", "billingd", "stored"])
def test_second_instance_is_refused(factory, name):
    """It ends with a reason and takes nothing from the one that runs."""
    first = factory.daemons[name]
    second = Daemon(factory, name, os.path.basename(first.argv[0]), *first.argv[3:])
    second.log_path = os.path.join(factory.dir, name + "-second.log")
    second.start()
    assert ended(second, 5) == 1, second.log()
    assert second.log().strip()
    assert factory.chat("tokens=1").status == 200


@pytest.mark.parametrize("name", ["gatewayd", "routerd", "fake", "billingd", "stored"])
def test_dump_and_options(factory, name):
    daemon = factory.daemons[name]
    seen = len(daemon.log())
    daemon.signal(signal.SIGUSR1)
    wait_for("state in the log", lambda: " state " in daemon.log()[seen:], 2)
    assert daemon.running()
    run = lambda *a: subprocess.run([daemon.argv[0], *a], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * SLOW)
    assert run("--version").stdout.split()[0] == os.path.basename(daemon.argv[0])
    assert run("--help").returncode == 0 and run("--nonsense").returncode == 2
    assert run(*daemon.argv[1:], "--check-config").returncode == 0
    dumped = run(*daemon.argv[1:], "--dump-config")
    assert dumped.returncode == 0 and "[gatewayd]" in dumped.stdout
    bad = os.path.join(factory.dir, "bad.conf")
    with open(bad, "w") as f:
        f.write("[common]\nlog-level = loud\n")
    checked = run("-c", bad, *daemon.argv[3:], "--check-config")
    assert checked.returncode == 78 and "log-level" in checked.stderr and "bad.conf" in checked.stderr


@pytest.mark.parametrize("name", ["gatewayd", "routerd", "fake", "billingd", "stored"])
def test_signals_are_the_main_thread_s(factory, name):
    """No other thread takes one: it would break off what that thread waits for."""
    tasks, wanted = "/proc/%d/task" % factory.daemons[name].pid, (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1)
    for task in os.listdir(tasks):
        try:
            with open(os.path.join(tasks, task, "status")) as f:
                blocked = int(re.search(r"^SigBlk:\s*(\w+)", f.read(), re.M).group(1), 16)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        taken = [s.name for s in wanted if not blocked >> s - 1 & 1]
        assert taken == ([s.name for s in wanted] if int(task) == factory.daemons[name].pid else []), task


def test_tcp_between_daemons_is_refused(factory):
    assert factory.keyctl_run("-c", factory.conf_path, "config", "check").returncode == 0
    bad = os.path.join(factory.dir, "tcp.conf")
    with open(factory.conf_path) as f, open(bad, "w") as out:
        out.write(f.read().replace(factory.run_dir, "tcp://0.0.0.0:9000"))
    done = factory.keyctl_run("-c", bad, "config", "check")
    assert done.returncode != 0 and "run-dir" in done.stderr + done.stdout


def test_json_log(fresh):
    import json

    made = fresh(conf={"common": {"log-format": "json", "log-level": "debug"}})
    made.chat("tokens=1 CANARY-PROMPT", stream=True)
    r = made.chat("x", model="no/such")
    for daemon in made.daemons.values():
        for line in daemon.log().splitlines():
            json.loads(line)
    assert r.response.get("x-request-id") in made.log("gatewayd")
    assert "CANARY" not in made.logs() and made.key not in made.logs()


def test_memory_at_rest(factory):
    factory.chat("tokens=1")
    if SLOW == 1:
        for daemon in factory.daemons.values():
            assert daemon.memory() < 24_000_000, (daemon.name, daemon.memory())
