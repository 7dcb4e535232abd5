# SPDX-License-Identifier: Apache-2.0
"""Responses that are kept, with the official OpenAI Python SDK: continued by their id and by references to their items,
retrieved, listed and deleted; each workspace on its own; and what kills of stored and its absence leave."""
import contextlib
import json
import os
import re
import signal
import sqlite3
import threading
import time
import urllib.parse

import openai
import pytest

from factory import MODEL, wait_for


def fake(**script):
    return "fake?" + urllib.parse.urlencode(script)


def make(factory, key=None):
    return openai.OpenAI(base_url=factory.url + "/v1/", api_key=key or factory.key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def client(factory):
    return make(factory)


@pytest.fixture(scope="module")
def stranger(factory):
    """A key of another workspace."""
    factory.keyctl("workspace", "create", "other", "--plan", "local")
    return make(factory, factory.mint(workspace="other"))


def sent(factory, tag):
    """What the runtime got to see of the call with that tag."""
    body = factory.fake.last(tag)["body"]
    return json.loads(body) if isinstance(body, str) else body


def said(messages):
    return [(m["role"], m["content"] if isinstance(m["content"], str) else "".join(p["text"] for p in m["content"]))
            for m in messages]


def rows(factory, table="responses"):
    db = sqlite3.connect("file:%s?mode=ro" % factory.conf["stored"]["database"], uri=True)
    try:
        return db.execute("SELECT count(*) FROM " + table).fetchone()[0]
    finally:
        db.close()


def in_flight(factory):
    """Requests, without the one that asks."""
    text = factory.call("GET", "/metrics").body.decode()
    return int(re.search(r"^tf_gateway_requests_in_flight (\d+)$", text, re.M).group(1)) - 1


def idle(factory):
    wait_for("nothing is under way", lambda: in_flight(factory) == 0, 5)


def refusal(fn, **kwargs):
    with pytest.raises(openai.APIStatusError) as e:
        fn(**kwargs)
    return e.value


@pytest.mark.parametrize("stream", [False, True])
def test_chain_of_three(factory, client, stream):
    def turn(text, previous=None):
        more = {"previous_response_id": previous} if previous else {}
        got = client.responses.create(model=MODEL, input=text, stream=stream, **more)
        if stream:
            got = [e for e in got if e.type == "response.completed"][0].response
        assert got.previous_response_id == previous and got.store is True and got.status == "completed"
        return got

    first = turn(fake(say="one", tag="c1"))
    second = turn([{"role": "user", "content": [{"type": "input_text", "text": fake(say="two", tag="c2")}]}], first.id)
    third = turn(fake(say="three", tag="c3"), second.id)
    assert third.output_text == "three"
    assert said(sent(factory, "c3")["messages"]) == [
        ("user", fake(say="one", tag="c1")), ("assistant", "one"), ("user", fake(say="two", tag="c2")),
        ("assistant", "two"), ("user", fake(say="three", tag="c3"))]
    # the parts of it are as they were: two talks may part
    assert turn(fake(say="other", tag="c4"), first.id).output_text == "other"
    assert [r for r, _ in said(sent(factory, "c4")["messages"])] == ["user", "assistant", "user"]
    for answer in (first, second, third):
        assert client.responses.retrieve(answer.id).to_dict() == answer.to_dict()


def test_instructions_are_not_carried_over(factory, client):
    first = client.responses.create(model=MODEL, instructions="Be brief.", input=fake(say="a", tag="i1"))
    client.responses.create(model=MODEL, input=fake(say="b", tag="i2"), previous_response_id=first.id)
    assert [r for r, _ in said(sent(factory, "i1")["messages"])] == ["system", "user"]
    assert [r for r, _ in said(sent(factory, "i2")["messages"])] == ["user", "assistant", "user"]


def test_tool_turn(factory, client):
    tools = [{"type": "function", "name": "f", "strict": None, "parameters": {"type": "object"}}]
    first = client.responses.create(model=MODEL, input=fake(tools=2, tag="t1"), tools=tools)
    calls = [i for i in first.output if i.type == "function_call"]
    assert len(calls) == 2
    client.responses.create(
        model=MODEL, tools=tools, previous_response_id=first.id, input=[
            {"type": "function_call_output", "call_id": c.call_id, "output": "7"} for c in calls]
        + [{"role": "user", "content": fake(say="done", tag="t2")}])
    messages = sent(factory, "t2")["messages"]
    assert [c["id"] for c in messages[1]["tool_calls"]] == [c.call_id for c in calls]
    assert [m["tool_call_id"] for m in messages[2:4]] == [c.call_id for c in calls]


def test_item_reference(factory, client):
    """The second turn as a client of the AI SDK sends it."""
    first = client.responses.create(model=MODEL, input=[{"role": "user", "content": [{"type": "input_text", "text": fake(say="hi")}]}])
    item = first.output[0].id
    for reference in ({"type": "item_reference", "id": item}, {"id": item}):
        client.responses.create(model=MODEL, input=[
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]}, reference,
            {"role": "user", "content": [{"type": "input_text", "text": fake(say="b", tag="r2")}]}])
        assert said(sent(factory, "r2")["messages"]) == [("user", "a"), ("assistant", "hi"), ("user", fake(say="b", tag="r2"))]


def test_referred_items_outlive_their_response(factory, client):
    first = client.responses.create(model=MODEL, input=fake(say="kept"))
    second = client.responses.create(model=MODEL, input=[
        {"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": fake(say="b")}])
    client.responses.delete(first.id)
    client.responses.create(model=MODEL, input=fake(say="c", tag="o3"), previous_response_id=second.id)
    assert ("assistant", "kept") in said(sent(factory, "o3")["messages"])


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_unknown(client, stream):
    got = refusal(client.responses.create, model=MODEL, input="a", previous_response_id="resp_none", stream=stream)
    assert (got.status_code, got.code, got.param) == (404, "previous_response_not_found", "previous_response_id")
    got = refusal(client.responses.create, model=MODEL, stream=stream,
                  input=[{"type": "item_reference", "id": "msg_none"}, {"role": "user", "content": "b"}])
    assert (got.status_code, got.param) == (400, "input") and "msg_none" in got.message


def test_retrieve_list_delete(factory, client):
    made = client.responses.create(model=MODEL, input=[
        {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": fake(say="x")}])
    listed = client.responses.input_items.list(made.id, order="asc")
    assert [i.content[0].text for i in listed.data] == ["one", "two", fake(say="x")]
    assert [i.type for i in listed.data] == ["message"] * 3 and not listed.has_more
    assert [i.content[0].type for i in listed.data] == ["input_text", "output_text", "input_text"]
    ids = [i.id for i in listed.data]
    assert len(set(ids)) == 3 and all(i.startswith("msg_") for i in ids)
    # pages of the SDK, newest first
    assert [i.id for i in client.responses.input_items.list(made.id, limit=2)] == ids[::-1]
    page = client.responses.input_items.list(made.id, limit=1, after=ids[1])
    assert [i.id for i in page.data] == [ids[0]] and not page.has_more
    assert refusal(client.responses.input_items.list, response_id=made.id, after="msg_none").status_code == 400
    got = refusal(client.responses.cancel, response_id=made.id)
    assert got.status_code == 400 and "background" in got.message
    raw = factory.call("DELETE", "/v1/responses/" + made.id)
    assert raw.json() == {"id": made.id, "object": "response", "deleted": True}
    for fn in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        assert refusal(fn, response_id=made.id).status_code == 404
    got = refusal(client.responses.create, model=MODEL, input="a", previous_response_id=made.id)
    assert got.code == "previous_response_not_found"


def test_another_workspace(client, stranger):
    mine = client.responses.create(model=MODEL, input=fake(say="mine"))
    for fn in (stranger.responses.retrieve, stranger.responses.delete, stranger.responses.input_items.list, stranger.responses.cancel):
        assert refusal(fn, response_id=mine.id).status_code == 404
    got = refusal(stranger.responses.create, model=MODEL, input="a", previous_response_id=mine.id)
    assert got.status_code == 404 and "mine" not in got.message
    got = refusal(stranger.responses.create, model=MODEL,
                  input=[{"type": "item_reference", "id": mine.output[0].id}, {"role": "user", "content": "b"}])
    assert got.status_code == 400
    assert client.responses.retrieve(mine.id).output_text == "mine"


@pytest.mark.parametrize("stream", [False, True])
def test_store_false_leaves_nothing(factory, client, stream):
    before = rows(factory), rows(factory, "items")
    got = client.responses.create(model=MODEL, input=fake(say="secret"), store=False, stream=stream)
    if stream:
        got = list(got)[-1].response
    assert got.store is False and got.output_text == "secret"
    assert refusal(client.responses.retrieve, response_id=got.id).status_code == 404
    assert (rows(factory), rows(factory, "items")) == before
    with open(factory.conf["stored"]["database"], "rb") as f:
        assert b"say=secret" not in f.read()


def test_failed_and_left_answers_are_not_kept(factory, client):
    before = rows(factory)
    assert refusal(client.responses.create, model=MODEL, input=fake(status=400)).status_code == 400
    with factory.raw() as raw:
        body = json.dumps({"model": MODEL, "input": fake(tokens=50, delay_ms=20), "stream": True}).encode()
        raw.send(factory.head("POST", "/v1/responses", None, (), len(body)) + body)
        raw.head()
    idle(factory)
    assert rows(factory) == before


def test_cut_answers_are_kept(client):
    got = client.responses.create(model=MODEL, input=fake(tokens=9, finish="length"))
    assert got.status == "incomplete" and client.responses.retrieve(got.id).status == "incomplete"


def test_input_tokens_counts_the_history(factory, client):
    first = client.responses.create(model=MODEL, input="x " * 2000 + fake(say="a"))
    def count(**more):
        return factory.call("POST", "/v1/responses/input_tokens", {"model": MODEL, "input": "b", **more}).json()["input_tokens"]
    assert count(previous_response_id=first.id) > count() + 500


def test_large_history(factory, client):
    """In pieces on every link, and refused when it grows beyond what a request may be."""
    text = "long " * 200000
    first = client.responses.create(model=MODEL, input=text + fake(say="a", tag="l1"))
    client.responses.create(model=MODEL, input=fake(say="b", tag="l2"), previous_response_id=first.id)
    assert said(sent(factory, "l2")["messages"])[0][1].startswith(text)


@pytest.mark.parametrize("stream", [False, True])
def test_large_answer(client, stream):
    """Larger than what the gateway holds for a slow client, and than a piece on any link."""
    got = client.responses.create(model=MODEL, input=fake(tokens=8, big=300000), stream=stream)
    if stream:
        got = [e for e in got if e.type == "response.completed"][0].response
    assert len(got.output_text) == 2400000
    assert client.responses.retrieve(got.id).output_text == got.output_text


@pytest.mark.timeout(60)
def test_history_beyond_the_cap(fresh):
    factory = fresh(conf={"gatewayd": {"body-max": "64k"}})
    client = make(factory)
    first = client.responses.create(model=MODEL, input="a" * 40000 + fake(say="x"))
    got = refusal(client.responses.create, model=MODEL, input="b" * 40000, previous_response_id=first.id)
    assert got.status_code == 413 and got.param == "previous_response_id"
    assert client.responses.create(model=MODEL, input=fake(say="y"), previous_response_id=first.id).output_text == "y"


def test_kill(factory, client):
    """What was answered is there after a kill -9 of stored."""
    made = [client.responses.create(model=MODEL, input=fake(say="n%d" % i)) for i in range(5)]
    factory.daemons["stored"].kill()
    factory.restart("stored")
    wait_for("stored is back", lambda: factory.call("GET", "/v1/responses/" + made[0].id).status == 200, 5)
    for i, answer in enumerate(made):
        assert client.responses.retrieve(answer.id).output_text == "n%d" % i
    again = client.responses.create(model=MODEL, input=fake(say="on"), previous_response_id=made[4].id)
    assert again.output_text == "on"


def test_away(factory, client):
    made = client.responses.create(model=MODEL, input=fake(say="a"))
    factory.daemons["stored"].kill()
    wait_for("the gateway has lost stored", lambda: factory.call("GET", "/v1/responses/" + made.id).status == 503, 5)
    # what does not need it is served, and says that it is not kept
    got = client.responses.create(model=MODEL, input=fake(say="b"))
    assert got.output_text == "b" and got.store is False
    assert client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": fake(say="c")}])
    for more in ({"store": True}, {"previous_response_id": made.id}):
        got = refusal(client.responses.create, model=MODEL, input="d", **more)
        assert got.status_code == 503 and got.code == "store_unavailable"
    got = refusal(client.responses.create, model=MODEL, input=[{"type": "item_reference", "id": made.output[0].id}])
    assert got.status_code == 503
    factory.restart("stored")
    wait_for("stored is back", lambda: factory.call("GET", "/v1/responses/" + made.id).status == 200, 5)
    assert client.responses.create(model=MODEL, input=fake(say="e"), previous_response_id=made.id).store is True


@pytest.mark.parametrize("stream", [False, True])
def test_stored_fails_at_the_last_moment(factory, client, stream):
    """The answer is given all the same, whole and once in the ledger."""
    before = factory.usage()["requests"]
    got = {}

    def ask():
        answer = client.responses.create(model=MODEL, input=fake(tokens=10, delay_ms=100, tag="m%d" % stream), stream=stream)
        got["answer"] = list(answer)[-1].response if stream else answer

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for("the runtime has it", lambda: factory.fake.requests("m%d" % stream), 5)
    os.kill(factory.daemons["stored"].proc.pid, signal.SIGSTOP)  # SIGSTOP: the link stands, and says nothing
    try:
        asking.join(60)
        assert not asking.is_alive() and got["answer"].status == "completed"
    finally:
        os.kill(factory.daemons["stored"].proc.pid, signal.SIGCONT)
    wait_for("one more row", lambda: factory.usage()["requests"] == before + 1, 5)
    wait_for("the log says it", lambda: "an answer is given that was not stored" in factory.log("gatewayd"))
    wait_for("stored is back", lambda: factory.call("GET", "/v1/responses/resp_none").status == 404, 5)


def test_a_client_that_leaves_while_its_history_is_looked_up(factory, client):
    made = client.responses.create(model=MODEL, input=fake(say="a"))
    before = factory.usage()["requests"]
    os.kill(factory.daemons["stored"].proc.pid, signal.SIGSTOP)
    try:
        with factory.raw() as raw:
            body = json.dumps({"model": MODEL, "input": fake(say="b", tag="never"), "previous_response_id": made.id}).encode()
            raw.send(factory.head("POST", "/v1/responses", None, (), len(body)) + body)
            wait_for("it waits", lambda: in_flight(factory) == 1, 2)
        wait_for("it is over", lambda: in_flight(factory) == 0, 1)
    finally:
        os.kill(factory.daemons["stored"].proc.pid, signal.SIGCONT)
    wait_for("stored is back", lambda: factory.call("GET", "/v1/responses/" + made.id).status == 200, 5)
    assert not factory.fake.requests("never") and factory.usage()["requests"] == before


def test_a_question_that_is_open_goes_again(factory, client):
    """A restart of stored while a call looks up its history: the call is served."""
    made = client.responses.create(model=MODEL, input=fake(say="a"))
    os.kill(factory.daemons["stored"].proc.pid, signal.SIGSTOP)
    got = {}
    asking = threading.Thread(target=lambda: got.update(
        answer=client.responses.create(model=MODEL, input=fake(say="b"), previous_response_id=made.id)))
    asking.start()
    wait_for("it waits", lambda: in_flight(factory) == 1, 2)
    factory.daemons["stored"].kill()
    factory.restart("stored")
    asking.join(60)
    assert got["answer"].output_text == "b"


def test_status(factory, client):
    client.responses.create(model=MODEL, input=fake(say="a"))
    wait_for("the operator sees it", lambda: any(
        r.get("daemon") == "stored" or r.get("name") == "stored" for r in factory.keyctl("status")), 5)
    shown = factory.keyctl_run("metrics", "stored").stdout
    assert re.search(r'^tf_store_puts_total\{kind="response"\} [1-9]', shown, re.M), shown
    wait_for("it is counted", lambda: re.search(
        r"^tf_store_responses [1-9]", factory.keyctl_run("metrics", "stored").stdout, re.M), 5)


@pytest.mark.timeout(60)
def test_threads(fresh):
    """Whichever thread a connection comes to, it finds what another one kept."""
    factory = fresh(conf={"gatewayd": {"threads": "3"}})
    previous = None
    for i in range(9):
        client = make(factory)
        more = {"previous_response_id": previous} if previous else {}
        previous = client.responses.create(model=MODEL, input=fake(say="n%d" % i, tag="th%d" % i), **more).id
        client.close()
    assert len(sent(factory, "th8")["messages"]) == 17


@pytest.mark.timeout(60)
def test_expiry(fresh):
    factory = fresh(conf={"stored": {"response-ttl": "1h"}})
    client = make(factory)
    made = client.responses.create(model=MODEL, input=fake(say="a"))
    factory.shift_clock(3500)
    assert make(factory).responses.retrieve(made.id).id == made.id
    factory.shift_clock(200)
    assert refusal(make(factory).responses.retrieve, response_id=made.id).status_code == 404
    wait_for("it is removed", lambda: rows(factory) == 0 and rows(factory, "items") == 0, 10)


def test_a_client_that_leaves_while_it_is_stored(factory):
    """It is settled as served and not delivered; nothing stays behind."""
    os.kill(factory.daemons["stored"].proc.pid, signal.SIGSTOP)
    try:
        with factory.raw() as raw:
            body = json.dumps({"model": MODEL, "input": fake(say="bye", tag="bye")}).encode()
            raw.send(factory.head("POST", "/v1/responses", None, (), len(body)) + body)
            wait_for("the runtime was asked", lambda: factory.fake.requests("bye"), 2)
            time.sleep(0.3)
            assert in_flight(factory) == 1
        idle(factory)
    finally:
        os.kill(factory.daemons["stored"].proc.pid, signal.SIGCONT)
    wait_for("stored is back", lambda: factory.call("GET", "/v1/responses/resp_none").status == 404, 5)


def test_a_large_answer_outlives_its_client(factory):
    """The runtime had finished: what it said is stored although nobody waits for it, and more of it than the link holds."""
    body = json.dumps({"model": MODEL, "input": fake(tokens=60, big=300000, tag="large")}).encode()
    stored = factory.daemons["stored"].proc.pid

    def leave():
        """While stored stands still, for less than makes the gateway think that it is gone. What the gateway says of it."""
        asked, seen = len(factory.fake.requests("large")), len(factory.log("gatewayd"))
        os.kill(stored, signal.SIGSTOP)
        try:
            with factory.raw() as raw:
                raw.send(factory.head("POST", "/v1/responses", None, (), len(body)) + body)
                wait_for("the runtime has answered",
                         lambda: len(factory.fake.requests("large")) > asked and not factory.fake.running())
                time.sleep(0.4)
        finally:
            os.kill(stored, signal.SIGCONT)
        idle(factory)
        return factory.log("gatewayd")[seen:]

    factory.keyctl("log", "gatewayd", "debug", "--subsystems", "request")
    try:
        for _ in range(8):  # on a busy machine stored is away for long, or the answer has not come to the gateway
            before = rows(factory)
            log = leave()
            if "client gone state=keep" in log and "that was not stored" not in log:
                assert rows(factory) > before
                break
    finally:
        factory.keyctl("log", "gatewayd", "info")
