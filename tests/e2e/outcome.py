#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""outcome.py - what runtests wants to know of pytest's reports (JUnit XML).

    outcome.py again REPORT [LATER..]    what to run once more, an argument of pytest a line; none when that is pointless
    outcome.py count REPORT [LATER..]    "PASSED FAILED SKIPPED UNSTEADY"
    outcome.py brief REPORT [LATER..]    a line or two for each test that failed or was unsteady

LATER are the reports of the further tries, of which there are two at most: the second of the tests that
failed alone, the third of all of their files, for what one of them may need of another. Only a test whose
own words failed, a few at most, has further tries: a fixture that fails says that a daemon crashed, leaked
or did not end, and no second run undoes that, nor does a pass undo what a later try said of that kind.
"""
import os
import re
import sys
import xml.etree.ElementTree as tree

MOST = 5  # more than that is no bad luck
WIDTH = 300


class Case:
    def __init__(self, module, name):
        self.module, self.name = module, name
        self.failure = self.error = None
        self.skipped = False

    @property
    def id(self):
        """As pytest takes it on its command line, in the directory of the tests."""
        path, inner = self.module.split("."), []
        while path and not os.path.exists("/".join(path) + ".py"):
            inner.insert(0, path.pop())
        return "::".join(["/".join(path or inner[:1]) + ".py", *(inner if path else inner[1:]), self.name])

    @property
    def bad(self):
        return self.failure is not None or self.error is not None


def cases(path):
    """By module and name: a test that fails and whose fixture fails too is in the report twice."""
    found = {}
    for node in tree.parse(path).iter("testcase"):
        key = node.get("classname", ""), node.get("name", "")
        case = found.setdefault(key, Case(*key))
        for inner in node:
            text = (inner.get("message") or "") + "\n" + (inner.text or "")
            if inner.tag == "failure":
                case.failure = text
            elif inner.tag == "error":
                case.error = text
            elif inner.tag == "skipped":
                case.skipped = True
    return found


def outcomes(first, *later):
    """(case, its state, the number of the try it passed at) of each: passed, failed, skipped, unsteady."""
    for key, case in first.items():
        tries = [report.get(key) for report in later]
        good = [i for i, again in enumerate(tries) if again and not again.bad and not again.skipped]
        if case.failure is not None and case.error is None and good and not any(t and t.error is not None for t in tries):
            yield case, "unsteady", good[0] + 2
        elif case.bad:
            yield case, "failed", 0
        else:
            yield case, "skipped" if case.skipped else "passed", 1
    for report in later:
        for key, case in report.items():
            if case.error is not None and not (key in first and first[key].bad):
                yield case, "failed", 0


def again(first, *later):
    bad = [c for c, state, _ in outcomes(first, *later) if state == "failed"]
    if not 0 < len(bad) <= MOST or any(c.error is not None for report in (first, *later) for c in report.values()):
        return []
    return list(dict.fromkeys(c.id.split("::")[0] for c in bad)) if later else [c.id for c in bad]


def words(text):
    """The statement that failed and what it said, each on a line."""
    marked = [line[1:].strip() for line in text.splitlines() if re.match(r"(>|E) ", line)]
    asserts = [line for line in marked if line.startswith("assert ") or " assert " in line]
    said = next((line for line in text.splitlines() if line.strip()), "")
    lines = [line.strip()[:WIDTH] for line in [*(asserts[:1] or marked[:1]), said] if line.strip()]
    return ["    " + line for line in dict.fromkeys(lines)]


def brief(first, *later):
    for case, state, tried in outcomes(first, *later):
        if state == "unsteady":
            yield "unsteady: %s passed at the %s try" % (case.id, ("second", "third")[tried - 2])
            yield from words(case.failure)
        elif state == "failed":
            if case.failure is not None:
                yield "failed: " + case.id
                yield from words(case.failure)
            same = [report[case.module, case.name] for report in later if (case.module, case.name) in report]
            fixture = next((c.error for c in (case, *same) if c.error), None)
            if fixture:
                yield "failed: what %s needs or leaves behind" % case.id
                yield from words(fixture)


def main(command, *paths):
    reports = [cases(path) for i, path in enumerate(paths) if i == 0 or os.path.exists(path)]
    if command == "again":
        print("\n".join(again(*reports)))
    elif command == "count":
        states = [state for _, state, _ in outcomes(*reports)]
        print(states.count("passed") + states.count("unsteady"), states.count("failed"), states.count("skipped"),
              states.count("unsteady"))
    elif command == "brief":
        print("\n".join(brief(*reports)))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
