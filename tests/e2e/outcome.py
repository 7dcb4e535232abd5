#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""outcome.py - what runtests wants to know of pytest's reports (JUnit XML).

    outcome.py again REPORT            the tests to run once more, one id a line; none when that is pointless
    outcome.py count REPORT [SECOND]   "PASSED FAILED SKIPPED UNSTEADY"
    outcome.py brief REPORT [SECOND]   a line or two for each test that failed or was unsteady

SECOND is the report of the second run. Only a test whose own words failed, a few at most, has a
second try: a fixture that fails says that a daemon crashed, leaked or did not end, and no second run
undoes that.
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


def outcomes(first, second):
    """(case, its state) of each: passed, failed, skipped, unsteady."""
    for key, case in first.items():
        again = second.get(key)
        if case.failure is not None and case.error is None and again and not again.bad and not again.skipped:
            yield case, "unsteady"
        elif case.bad:
            yield case, "failed"
        else:
            yield case, "skipped" if case.skipped else "passed"
    for key, case in second.items():
        if key not in first or (case.error is not None and not first[key].bad):
            yield case, "failed"


def again(first):
    bad = [c for c in first.values() if c.bad]
    if 0 < len(bad) <= MOST and all(c.error is None for c in bad):
        return [c.id for c in bad]
    return []


def words(text):
    """The statement that failed and what it said, each on a line."""
    marked = [line[1:].strip() for line in text.splitlines() if re.match(r"(>|E) ", line)]
    asserts = [line for line in marked if line.startswith("assert ") or " assert " in line]
    said = next((line for line in text.splitlines() if line.strip()), "")
    lines = [line.strip()[:WIDTH] for line in [*(asserts[:1] or marked[:1]), said] if line.strip()]
    return ["    " + line for line in dict.fromkeys(lines)]


def brief(first, second):
    for case, state in outcomes(first, second):
        if state == "unsteady":
            yield "unsteady: %s passed at the second try" % case.id
            yield from words(case.failure)
        elif state == "failed":
            if case.failure is not None:
                yield "failed: " + case.id
                yield from words(case.failure)
            fixture = case.error or (second[case.module, case.name].error if (case.module, case.name) in second else None)
            if fixture:
                yield "failed: what %s needs or leaves behind" % case.id
                yield from words(fixture)


def main(command, *paths):
    first = cases(paths[0])
    second = cases(paths[1]) if len(paths) > 1 and os.path.exists(paths[1]) else {}
    if command == "again":
        print("\n".join(again(first)))
    elif command == "count":
        states = [state for _, state in outcomes(first, second)]
        print(states.count("passed") + states.count("unsteady"), states.count("failed"), states.count("skipped"),
              states.count("unsteady"))
    elif command == "brief":
        print("\n".join(brief(first, second)))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
