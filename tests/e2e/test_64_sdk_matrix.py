# SPDX-License-Identifier: Apache-2.0
"""The vendors' SDKs, the majors of today and those that old programs still carry, against the whole factory
with the scripted runtime: every call they offer for what is served, their helpers, their error classes."""
import pytest

import clients
from factory import MODEL

BODY_MAX = 300000
GONE = "fake/gone"
EMBED = "fake/embed"
FACTORY = {
    "conf": {
        "gatewayd": {"body-max": str(BODY_MAX)},
        "plan slow": {"rpm": "2"},
        "model " + MODEL: {"capabilities": "chat, completions, streaming, tools, json, vision, thinking"},
        "model " + GONE: {"capabilities": "chat, streaming, tools"},
        "model " + EMBED: {"capabilities": "embeddings", "modality": "embeddings"},
        "worker fake": {"models": "%s, %s" % (MODEL, EMBED)},
    }
}
PROGRAMS = [
    ("openai_cases.py", "venv"),
    ("openai_cases.py", "python-old"),
    ("anthropic_cases.py", "venv"),
    ("anthropic_cases.py", "python-old"),
    ("openai_cases.mjs", "node"),
    ("openai_cases.mjs", "node-old"),
    ("anthropic_cases.mjs", "node"),
    ("anthropic_cases.mjs", "node-old"),
    ("go", "go"),
    ("rust", "rust"),
]
results = {}


def outcome(factory, program, environment):
    if (program, environment) not in results:
        # a workspace of its own: its plan's minute must not have been used by the others
        name = "%s-%s" % (program.replace("_", "-").replace(".", "-"), environment)
        factory.keyctl("workspace", "create", name, "--plan", "slow")
        results[program, environment] = clients.run(
            factory, program, environment, body_max=str(BODY_MAX), embed=EMBED, gone=GONE, slow_key=factory.mint(workspace=name),
        )
    return results[program, environment]


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "program,environment,case", [(p, e, case) for p, e in PROGRAMS for case in clients.names(p)],
)
def test_case(factory, program, environment, case):
    assert outcome(factory, program, environment)[case] is None
