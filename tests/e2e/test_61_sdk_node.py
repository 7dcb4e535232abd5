# SPDX-License-Identifier: Apache-2.0
"""The official JavaScript SDK against the whole factory with the real runtime (node/sdk.mjs)."""
import os
import subprocess
import sys

import pytest

from factory import HERE, SLOW, TINY
from test_60_sdk_python import stops

FACTORY = {"runtime": "real"}


def run(factory, case):
    prefix = os.path.dirname(sys.prefix)
    env = {
        "PATH": os.path.join(sys.prefix, "bin") + ":/usr/bin:/bin", "HOME": factory.dir, "TF_URL": factory.url,
        "TF_KEY": factory.key, "TF_MODEL": TINY, "TF_MODULES": os.path.join(prefix, "node_modules"),
    }
    done = subprocess.run(
        ["node", os.path.join(HERE, "node", "sdk.mjs"), case], env=env, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=90 * SLOW,
    )
    assert done.returncode == 0 and done.stdout.strip() == "OK", done.stdout + done.stderr


@pytest.mark.parametrize(
    "case",
    ["create", "stream", "include_usage", "helper", "models", "wrong_key", "unknown_model", "tools", "json_schema", "parallel"],
)
def test_case(factory, case):
    run(factory, case)


@pytest.mark.parametrize("case", ["abort", "abort_whole"])
def test_abort_stops_the_runtime(factory, case):
    stops(factory, lambda: run(factory, case))
