# SPDX-License-Identifier: Apache-2.0
"""A gateway that died and whose files are lost keeps what it may have used, until an operator says that it is gone."""
import os
import shutil

from factory import wait_for

CONF = {
    "model fake/model": {"capabilities": "chat, streaming", "price-input": "0", "price-output": "1000"},
    "plan free": {"rpm": "0", "tpm": "0"},
}


def holding(factory, *options):
    return {(r["name"], r["state"]): r for r in factory.keyctl("gateway", "list", *options)}


def forget(factory):
    """True when it was done; it is not before what ran there has ended."""
    done = factory.keyctl_run("gateway", "forget", "gatewayd")
    assert done.returncode == 0 or (done.returncode == 5 and "left only now" in done.stderr), done
    return done.returncode == 0


def affordable(factory):
    """How many tokens of output the runtime is asked for, for a request that wants half of what was topped up."""
    assert factory.chat("tokens=1", max_tokens=500).status == 200
    return factory.fake.last()["body"]["max_tokens"]


def test_a_lost_spool(fresh):
    made = fresh(conf=CONF, plan="free")
    made.keyctl("topup", "main", "--money", "1")
    wait_for("the balance is known", lambda: made.chat("tokens=1", max_tokens=900).status == 200)
    answer = made.open("tokens=100000&delay_ms=20", max_tokens=800)
    assert answer.status == 200
    mine = holding(made)["gatewayd.0", "connected"]
    assert float(mine["money"]) >= 0.8 and mine["tokens"] >= 800 and mine["slots"] >= 1 and mine["gone"] is None
    # who is connected gives back itself what it holds
    for name in ("gatewayd", "gatewayd.0"):
        done = made.keyctl_run("gateway", "forget", name)
        assert done.returncode == 5 and "is connected" in done.stderr, done
    for name in ("gateway", "gatewayd.", "gatewayd.00", "gatewayd.1", "other"):
        assert made.keyctl_run("gateway", "forget", name).returncode == 4, name
    made.daemons["gatewayd"].kill()
    answer.raw.close()
    shutil.rmtree(os.path.join(made.dir, "spool"))
    wait_for("it is missed", lambda: ("gatewayd.0", "gone") in holding(made))
    made.daemons["gatewayd"].start()
    made.wait_ready()
    wait_for("its successor is connected", lambda: ("gatewayd.0", "connected") in holding(made, "--all"))
    # nothing of it will ever be told, so it is taken, and only the dead one is forgotten
    # (a request gets what there is)
    assert 0 < affordable(made) < 200
    lost = holding(made)["gatewayd.0", "gone"]
    assert float(lost["money"]) >= 0.8 and lost["boot"] == mine["boot"] and lost["gone"] > 0
    wait_for("it may be forgotten", lambda: forget(made))
    assert ("gatewayd.0", "gone") not in holding(made)
    wait_for("the money is free", lambda: affordable(made) == 500)
    act, = made.keyctl("audit", "--action", "gateway")
    assert (act["action"], act["subject"]) == ("gateway forget", "gatewayd")
    assert made.keyctl_run("ledger", "verify").returncode == 0
