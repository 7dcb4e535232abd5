# SPDX-License-Identifier: Apache-2.0
"""Frameworks that sit on the vendors' SDKs or speak the APIs themselves, against the whole factory with the
scripted runtime: text, streams, tool turns that the framework runs, structured output, errors."""
import pytest

import clients
from factory import MODEL

CLAUDE = "claude-sonnet-4-5-20250929"  # a name that frameworks know
EMBED = "fake/embed"
FACTORY = {
    "conf": {
        "model " + MODEL: {"aliases": "claude-*"},
        "model " + EMBED: {"capabilities": "embeddings", "modality": "embeddings"},
        "worker fake": {"models": "%s, %s" % (MODEL, EMBED)},
    }
}
PROGRAMS = [
    ("agents_cases.py", "python-agents"),
    ("langchain_cases.py", "python-agents"),
    ("litellm_cases.py", "python-routers"),
    ("llamaindex_cases.py", "python-routers"),
    ("agents_cases.mjs", "node-frameworks"),
    ("vercel_cases.mjs", "node-frameworks"),
    ("langchain_cases.mjs", "node-frameworks"),
]
results = {}


def outcome(factory, program, environment):
    if program not in results:
        results[program] = clients.run(factory, program, environment, claude=CLAUDE, embed=EMBED)
    return results[program]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("program,environment,case", [(p, e, case) for p, e in PROGRAMS for case in clients.names(p)])
def test_case(factory, program, environment, case):
    assert outcome(factory, program, environment)[case] is None
