# SPDX-License-Identifier: Apache-2.0
"""The project's own model through the whole path: 27 of the 30 listed prompts are answered right."""
import json
import os
import subprocess
import sys

import pytest

from factory import SLOW, TINY, TOP

FACTORY = {"runtime": "real"}


@pytest.mark.timeout(120)
def test_prompts(factory):
    with open(os.path.join(TOP, "model", "prompts.json")) as f:
        assert len(json.load(f)) == 30
    done = subprocess.run(
        [sys.executable, os.path.join(TOP, "model", "check.py"), "--base-url", factory.url, "--key", factory.key,
         "--model", TINY, "--need", "27"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=110 * SLOW,
    )
    assert done.returncode == 0, done.stdout + done.stderr
