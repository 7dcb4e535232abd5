# SPDX-License-Identifier: Apache-2.0
"""What operators do to daemons that have no database is in the audit log of billingd all the same."""
import os
import pwd

import pytest

from factory import wait_for

WHO = f"uid {os.geteuid()} ({pwd.getpwuid(os.geteuid()).pw_name})"


def trail(factory, action):
    """Rows of that action, the oldest first, without what is different each time."""
    rows = factory.keyctl("audit", "--action", action)
    return [(r["actor"], r["action"], r["subject"], r["detail"]) for r in reversed(rows)]


def same(factory, action, rows):
    """A disk that takes its time makes keyctl say so, and the row come later; never another one."""
    wait_for("the row of " + action, lambda: len(trail(factory, action)) >= len(rows))
    assert trail(factory, action) == rows


def test_workers_are_drained(factory):
    """There is a row when the command has ended, and none when it changed nothing."""
    before = trail(factory, "drain"), trail(factory, "undrain")
    factory.keyctl("drain", "worker", "fake")
    same(factory, "drain", before[0] + [(WHO, "drain worker", "fake", {"daemon": "routerd", "told_by": WHO})])
    factory.keyctl("undrain", "worker", "fake")
    same(factory, "undrain", before[1] + [(WHO, "undrain worker", "fake", {"daemon": "routerd", "told_by": WHO})])
    assert factory.keyctl_run("drain", "worker", "nobody").returncode == 4
    assert factory.keyctl_run("undrain", "worker", "fake").returncode == 4
    assert len(trail(factory, "drain")) == len(before[0]) + 1 and len(trail(factory, "undrain")) == len(before[1]) + 1
    factory.wait_ready()


@pytest.mark.parametrize("name", ["gatewayd", "routerd", "fake", "billingd", "stored"])
def test_log_levels(factory, name):
    before = trail(factory, "log")
    factory.keyctl("log", name, "debug", "--subsystems", "ctl")
    factory.keyctl("log", name, "info")
    by = {} if name == "billingd" else {"told_by": WHO}
    same(factory, "log", before + [(WHO, "log", name, {"daemon": name, "level": "debug", "subsystems": "ctl"} | by),
                                   (WHO, "log", name, {"daemon": name, "level": "info"} | by)])


def test_billingd_is_away(factory):
    """The act is done, its giver is told, and the log has it when billingd is back."""
    before = trail(factory, "drain"), trail(factory, "undrain")
    billingd = factory.daemons["billingd"]
    billingd.end()
    for words in (("drain", "worker", "fake"), ("undrain", "worker", "fake")):
        done = factory.keyctl_run(*words)
        assert done.returncode == 0 and "billingd does not answer" in done.stderr and "fake" in done.stdout, done
    billingd.start()
    wait_for("billingd is back", lambda: factory.keyctl_run("audit").returncode == 0)
    wait_for("both acts are there", lambda: len(trail(factory, "undrain")) > len(before[1]), 90)
    assert trail(factory, "drain") == before[0] + [(WHO, "drain worker", "fake", {"daemon": "routerd", "told_by": WHO})]
    assert trail(factory, "undrain") == before[1] + [(WHO, "undrain worker", "fake", {"daemon": "routerd", "told_by": WHO})]
    factory.wait_ready()
