# SPDX-License-Identifier: Apache-2.0
"""Stored responses: kept, continued, listed and forgotten, each workspace on its own; what stored's absence costs."""
import time

import pytest

from factory import soon, wait_for

UNKNOWN = [("GET", "/v1/responses/resp_none"), ("DELETE", "/v1/responses/resp_none"),
           ("POST", "/v1/responses/resp_none/cancel"), ("GET", "/v1/responses/resp_none/input_items"),
           ("GET", "/openai/v1/responses/resp_none?include[]=reasoning.encrypted_content"),
           ("GET", "/v1/responses/" + "x" * 500)]


@pytest.mark.parametrize("method,path", UNKNOWN)
def test_unknown(factory, method, path):
    got = factory.call(method, path)
    assert got.status == 404 and got.json()["error"]["code"] == "not_found", got.body
    assert got.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("query,param", [
    ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=%zz", "after"),
])
def test_bad_pages(factory, query, param):
    got = factory.call("GET", "/v1/responses/resp_1/input_items?" + query)
    assert got.status == 400 and got.json()["error"]["param"] == param, got.body


def test_no_second_stream(factory):
    got = factory.call("GET", "/v1/responses/resp_1?stream=true")
    assert got.status == 400 and got.json()["error"]["param"] == "stream", got.body


def test_needs_a_key(factory):
    assert factory.call("GET", "/v1/responses/resp_1", key="tf-dev-" + "x" * 36).status == 401


def test_away(factory):
    """Without stored these calls are refused at once, others are served, and it comes back by itself."""
    factory.daemons["stored"].kill()
    wait_for("the gateway has lost stored", lambda: factory.call("GET", "/v1/responses/resp_1").status == 503, 5)

    def refused(_):
        began = time.monotonic()
        for method, path in UNKNOWN[:4]:
            got = factory.call(method, path)
            assert got.status == 503 and got.json()["error"]["code"] == "store_unavailable", got.body
            assert int(got.get("retry-after")) > 0
        return time.monotonic() - began

    soon(2.0, refused)
    assert factory.call("GET", "/v1/models").status == 200
    factory.restart("stored")
    wait_for("stored is back", lambda: factory.call("GET", "/v1/responses/resp_1").status == 404, 5)
