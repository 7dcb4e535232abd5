# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests. `factory` is one Token Factory per test file, made from the file's
FACTORY dict (see factory.Factory); `fresh` makes further ones for a single test. After a failed test
the daemons' logs are in the report; a dirty end fails the file's last test.

Which build: TF_BUILD, else top_builddir, else build/test, else build. Under sanitizers every time
limit is three times as long. TF_KEEP=1 leaves the temporary directories.
"""
import os

import pytest

from factory import SLOW, Factory

TIMEOUT = 180  # of a test that hangs; none comes near it, on a busy machine either

def pytest_collection_modifyitems(items):
    for item in items:
        mark = item.get_closest_marker("timeout")
        limit = max(mark.args[0] if mark else 0, TIMEOUT)
        item.add_marker(pytest.mark.timeout(limit * SLOW, method="signal"), append=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for factory in item.funcargs.get("_factories", []) + [item.funcargs.get("factory")]:
            if factory is not None:
                report.sections.append(("daemons", factory.logs()[-20000:]))


def finish(factory):
    try:
        wrong = factory.close()
        logs = factory.logs()[-8000:]
    finally:
        if not os.environ.get("TF_KEEP"):
            factory.remove()
    assert not wrong, "\n".join(wrong) + "\n" + logs


@pytest.fixture(scope="module")
def factory(request):
    options = dict(getattr(request.module, "FACTORY", {}))
    start = options.pop("start", True)
    made = Factory(start=False, **options)
    try:
        if start:
            made.start()
    except BaseException:
        print(made.logs()[-20000:])
        made.close()  # nothing of it runs beside the tests that follow
        raise
    yield made
    finish(made)


@pytest.fixture
def _factories():
    return []


@pytest.fixture
def fresh(_factories):
    """A function that makes a Factory for this test alone."""

    def make(**options):
        _factories.append(Factory(start=False, **options))
        _factories[-1].start()
        return _factories[-1]

    yield make
    for made in _factories:
        finish(made)
