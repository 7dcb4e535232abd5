# SPDX-License-Identifier: Apache-2.0
"""The client programs of test_64 and test_68 once more, each against runtimes that speak another API than the
one it knows: what a client gets must not depend on what stands behind."""
import pytest

import clients
import test_64_sdk_matrix as sdks
import test_68_frameworks as frameworks
from factory import MODEL

# what an API has no words for, and gets an answer of its own: several answers at a time, several prompts; and the
# text of a refusal, embeddings
SEVERAL = {"many_choices", "completions_of_many"}
UNABLE = {
    "openai_responses": SEVERAL,
    "anthropic_messages": SEVERAL | {"refusal", "responses_refusal", "embeddings", "openai_embeddings"},
}
FACTORY = {
    "start": False,
    "conf": {
        **sdks.FACTORY["conf"],
        "model " + MODEL: {**sdks.FACTORY["conf"]["model " + MODEL], "aliases": "claude-*"},
    },
}
PROGRAMS = [p for p in sdks.PROGRAMS + frameworks.PROGRAMS if p[1] not in ("python-old", "node-old")]
results = {}


def started(factory, dialect):
    """The factory, with its runtime taken for one that speaks this dialect."""
    if factory.conf["worker fake"].get("dialect") != dialect:
        factory.conf["worker fake"]["dialect"] = dialect
        factory.write_conf()
        if factory.daemons["fake"].running():
            assert factory.daemons["fake"].end() == 0
            factory.restart("fake")
            factory.wait_ready()
        else:
            factory.start()
    return factory


def outcome(factory, dialect, program, environment):
    if (dialect, program) not in results:
        name = "%s-%s" % (dialect.partition("_")[0], program.replace("_", "-").replace(".", "-"))
        started(factory, dialect).keyctl("workspace", "create", name, "--plan", "slow")
        results[dialect, program] = clients.run(
            factory, program, environment, *(c for c in clients.names(program) if c not in UNABLE[dialect]), body_max=str(sdks.BODY_MAX),
            embed=sdks.EMBED, gone=sdks.GONE, claude=frameworks.CLAUDE, slow_key=factory.mint(workspace=name),
        )
    return results[dialect, program]


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "dialect,program,environment,case",
    [(d, p, e, case) for d in UNABLE for p, e in PROGRAMS for case in clients.names(p) if case not in UNABLE[d]],
)
def test_case(factory, dialect, program, environment, case):
    assert outcome(factory, dialect, program, environment)[case] is None


@pytest.mark.parametrize("dialect", UNABLE)
def test_what_they_cannot(factory, dialect):
    path, body = "/v1/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "n": 2}
    answer = started(factory, dialect).call("POST", path, body)
    assert answer.status == 400 and answer.error["param"] == "n", answer.body
    answer = factory.call("POST", "/v1/completions", {"model": MODEL, "prompt": ["a", "b"]})
    assert answer.status == 400 and answer.error["param"] == "prompt", answer.body
