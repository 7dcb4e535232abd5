# SPDX-License-Identifier: Apache-2.0
"""Dedicated deployments among requests: what they cost counts in the workspace's budget, balance and usage, and a
kill of billingd neither loses nor doubles any of their time."""
import decimal

from factory import wait_for

PRICED = "fake/priced"
FACTORY = {"conf": {
    "model " + PRICED: {"capabilities": "chat, streaming", "price-input": "1", "price-output": "1", "price-gpu-hour": "6"},
    "worker fake": {"models": "fake/model = upstream-name, " + PRICED},
}}


def shown(factory, workspace):
    return factory.keyctl("workspace", "show", workspace)[0]


def spent(factory, key):
    return decimal.Decimal(factory.call("GET", "/v1/usage", key=key).json()["totals"]["cost"])


def begin(factory, name, *options):
    factory.keyctl("workspace", "create", name, "--plan", "local")
    deployment = factory.keyctl("deployment", "start", name, "--model", PRICED, *options)[0]
    return factory.mint(workspace=name), deployment


def cost(factory, deployment):
    return next(decimal.Decimal(r["cost"]) for r in factory.keyctl("deployment", "list") if r["id"] == deployment["id"])


def test_budget(factory):
    key, deployment = begin(factory, "budgeted", "--gpus", "2")
    factory.keyctl("workspace", "budget", "budgeted", "5")
    assert factory.chat("tokens=1", model=PRICED, key=key).status == 200
    factory.shift_clock(1800)  # six an hour and GPU: six, and that is more than five
    wait_for("billed", lambda: cost(factory, deployment) >= 6)
    refused = factory.chat("tokens=1", model=PRICED, key=key)
    assert refused.status == 402 and refused.error["code"] == "balance_exhausted"
    assert shown(factory, "budgeted")["deployments"] == 1, "and goes on"
    assert factory.chat("tokens=1", key=key).status == 200, "what costs nothing needs no money"
    factory.keyctl("workspace", "budget", "budgeted", "none")
    assert factory.chat("tokens=1", model=PRICED, key=key).status == 200
    factory.keyctl("deployment", "stop", deployment["id"])
    assert shown(factory, "budgeted")["deployments"] == 0


def test_balance_through_a_kill(factory):
    factory.keyctl("workspace", "create", "other", "--plan", "local")
    key, deployment = begin(factory, "prepaid", "--gpus", "1", "--price", "3.333333333")
    factory.keyctl("topup", "prepaid", "--money", "4")
    factory.shift_clock(3600)
    wait_for("an hour is billed", lambda: cost(factory, deployment) >= decimal.Decimal("3.333333333"))
    assert factory.chat("tokens=1", key=key).status == 200
    factory.daemons["billingd"].kill()
    factory.shift_clock(3600)
    factory.restart("billingd")
    factory.wait_billing()
    wait_for("and the hour without billingd", lambda: cost(factory, deployment) >= decimal.Decimal("6.666666666"))
    refused = factory.chat("tokens=1", model=PRICED, key=key)
    assert refused.status == 402 and decimal.Decimal(shown(factory, "prepaid")["balance"]) < 0
    wait_for("the alarm", lambda: "tf_billing_overdrawn 1" in factory.keyctl_run("metrics", "billingd").stdout)
    stopped = factory.keyctl("deployment", "stop", deployment["id"])[0]
    # exactly its seconds: no slice was rounded for itself
    assert stopped["stopped"] == stopped["billed_until"]
    total = decimal.Decimal(stopped["cost"])
    assert spent(factory, key) == total == 4 - decimal.Decimal(shown(factory, "prepaid")["balance"])
    assert decimal.Decimal("6.666666666") <= total < 8
    usage = factory.call("GET", "/v1/usage", key=key).json()
    assert usage["totals"]["requests"] == 1, "slices are no requests"
    assert [m["model"] for m in usage["by_model"] if decimal.Decimal(m["cost"]) > 0] == [PRICED]
    done = factory.keyctl_run("ledger", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    factory.keyctl("topup", "prepaid", "--money", "10")
    assert factory.chat("tokens=1", model=PRICED, key=key).status == 200
