# SPDX-License-Identifier: Apache-2.0
"""Client programs of clients/, run in their own environments (setup.sh) against a test's factory. A
program holds many cases and reports each in a line, so that one start of an interpreter serves them all.

    names("openai_cases.py")            the cases of a program, for parametrize
    run(factory, "openai_cases.py", environment="python-old", **facts)   {case: error or None}

The programs "go" and "rust" are those of these folders.
"""
import json
import os
import re
import subprocess
import sys

from factory import HERE, MODEL, SLOW

CLIENTS = os.path.join(HERE, "clients")
SETS = os.path.dirname(sys.prefix)  # what setup.sh made
CASE = re.compile(r"^(?:def case_|  (?:async )?(?=\w+\(\) \{$)|\t\{\"|async fn (?!main))(\w+)", re.M)
BUILT = {"go": os.path.join(HERE, "go", "main.go"), "rust": os.path.join(HERE, "rust", "src", "main.rs")}


def names(program):
    with open(BUILT.get(program) or os.path.join(CLIENTS, program)) as f:
        found = CASE.findall(f.read())
    assert found and len(found) == len(set(found)), program
    return found


def interpreter(program, environment):
    """The command line, and what the environment variables must say."""
    path = os.path.join(CLIENTS, program)
    if program in BUILT:
        return [os.path.join(SETS, program, "cases")], {}
    if program.endswith(".py"):
        return [os.path.join(SETS, environment, "bin", "python"), path], {"PYTHONDONTWRITEBYTECODE": "1"}
    modules = os.path.join(SETS, "node_modules") if environment == "node" else os.path.join(SETS, environment, "node_modules")
    return [os.path.join(SETS, "venv", "bin", "node"), path], {"TF_MODULES": modules}


def run(factory, program, environment, *cases, seconds=170, **facts):
    command, env = interpreter(program, environment)
    env.update(
        PATH="/usr/bin:/bin", HOME=factory.dir, TF_URL=factory.url, TF_KEY=factory.key, TF_MODEL=MODEL,
        **{"TF_" + name.upper(): value for name, value in facts.items()},
    )
    done = subprocess.run(
        command + list(cases), env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds * SLOW,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]
    assert done.returncode == 0 and lines, done.stdout + done.stderr
    return {line["case"]: line["error"] for line in lines}
