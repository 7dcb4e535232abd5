# SPDX-License-Identifier: Apache-2.0
"""Runs the cases of a client program in an environment of its own: every function case_NAME of the
calling module, in order, each with a report line {"case":..,"error":null|text} on stdout. With names as
arguments only those. The factory is found through TF_URL, TF_KEY and TF_MODEL (see clients.py beside)."""
import json
import os
import sys
import time
import traceback

URL = os.environ["TF_URL"]
KEY = os.environ["TF_KEY"]
MODEL = os.environ["TF_MODEL"]


def setting(name):
    """Further facts of the factory, as the test file gave them."""
    return os.environ["TF_" + name]


def ask(script):
    """A conversation of one user turn which the scripted runtime answers as told."""
    return [{"role": "user", "content": "fake?" + script}]


def words(tokens):
    return "".join("tok%d " % i for i in range(tokens))


class Refused:
    """with Refused(SomeError, 404, "code"): .. - the block must raise this class with this status."""

    def __init__(self, kind, status):
        self.kind, self.status = kind, status
        self.error = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        assert error is not None, "%s was expected" % self.kind.__name__
        if not isinstance(error, self.kind):
            return False
        assert error.status_code == self.status, error.status_code
        self.error = error
        return True


def main(module):
    wanted = sys.argv[1:]
    names = [n[5:] for n in vars(module) if n.startswith("case_")]
    for name in wanted or names:
        began = time.monotonic()
        try:
            getattr(module, "case_" + name)()
            error = None
        except Exception:
            error = traceback.format_exc()
        print(json.dumps({"case": name, "error": error, "seconds": round(time.monotonic() - began, 3)}), flush=True)
