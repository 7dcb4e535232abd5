# SPDX-License-Identifier: Apache-2.0
"""Requests with an Idempotency-Key: run once, answered alike ever after; what else comes with the key is refused; what
leaves, fails or is killed gives the key back or is taken over, and nothing is charged twice."""
import concurrent.futures
import json
import sqlite3
import time
import uuid

import anthropic
import openai
import pytest

from factory import MODEL, wait_for

HEAR, MEDIA = "fake/hear", "fake/media"
FACTORY = {"conf": {"gatewayd": {"threads": "2"}, "plan slow": {"rpm": "1", "tpm": "0"}, "stored": {"object-max": "20m"},
                    "model " + HEAR: {"capabilities": "transcription"},
                    "model " + MEDIA: {"capabilities": "embeddings, rerank, images, speech"},
                    "worker fake": {"models": "%s = upstream-name, %s = whisper, %s = tts" % (MODEL, HEAR, MEDIA)}}}
SURFACES = {
    "chat": ("/v1/chat/completions", lambda text: {"model": MODEL, "messages": [{"role": "user", "content": text}]}),
    "messages": ("/v1/messages", lambda text: {"model": MODEL, "max_tokens": 500, "messages": [{"role": "user", "content": text}]}),
    "responses": ("/v1/responses", lambda text: {"model": MODEL, "input": text}),
    "unstored": ("/v1/responses", lambda text: {"model": MODEL, "input": text, "store": False}),
    "completions": ("/v1/completions", lambda text: {"model": MODEL, "prompt": text}),
}


def fresh_key():
    return "key-" + uuid.uuid4().hex


def call(factory, idem, body, path="/v1/chat/completions", key=None, **options):
    return factory.call("POST", path, body, key=key, fields=[("Idempotency-Key", idem)], **options)


def chat(script, stream=False, **more):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "fake?" + script}], **more}
    if stream:
        body["stream"] = True
    return body


def runs(factory, tag):
    return len(factory.fake.requests(tag))


def requests_charged(factory, workspace="main"):
    return int(factory.usage(workspace=workspace)["requests"])


def claims(factory, where="1"):
    db = sqlite3.connect("file:%s?mode=ro" % factory.conf["stored"]["database"], uri=True)
    try:
        return db.execute("SELECT count(*) FROM claims WHERE " + where).fetchone()[0]
    finally:
        db.close()


def given_back(factory):
    """A gateway tells stored beside what it tells the client; the next call may come before through another thread."""
    wait_for("the key is free", lambda: claims(factory, "done = 0") == 0)


def linked(factory):
    """Readiness says nothing of stored, which most calls do without."""
    wait_for("stored", lambda: factory.call("GET", "/v1/responses/resp_none").status == 404)
    return factory


def refused(got, status, code):
    assert got.status == status and got.error["code"] == code, (got.status, got.body)
    return got


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES)
def test_again(factory, surface, stream):
    """The same bytes under the same request id, one upstream call, one charge; and only with the same key and body."""
    path, make = SURFACES[surface]
    tag, idem = "again-%s-%d" % (surface, stream), fresh_key()
    body = {**make("fake?tokens=7&tag=" + tag), **({"stream": True} if stream else {})}
    before = requests_charged(factory)
    first = call(factory, idem, body, path)
    assert first.status == 200 and first.get("idempotent-replayed") is None, first.body
    for _ in range(2):
        again = call(factory, idem, body, path)
        assert again.status == 200 and again.get("idempotent-replayed") == "true"
        assert again.body == first.body
        for name in ("x-request-id", "request-id", "content-type", "content-length", "transfer-encoding", "cache-control"):
            assert again.get(name) == first.get(name), name
    assert runs(factory, tag) == 1
    assert requests_charged(factory) == before + 1
    other = call(factory, idem, {**body, "temperature": 0.5}, path)
    if path == "/v1/messages":
        assert other.status == 409 and other.json()["error"]["type"] == "conflict_error", other.body
    else:
        refused(other, 409, "conflict")
    assert other.get("x-should-retry") == "false"
    assert call(factory, fresh_key(), body, path).body != first.body
    assert runs(factory, tag) == 2


@pytest.mark.parametrize("path,body", [
    ("embeddings", {"input": ["a", "fake?tag=%s"]}),
    ("rerank", {"query": "fake?tag=%s", "documents": ["a", "b"]}),
    ("images/generations", {"prompt": "fake?tag=%s"}),
    ("images/generations", {"prompt": "fake?tag=%s", "response_format": "url"}),
    ("audio/speech", {"input": "fake?tag=%s", "voice": "alloy"}),
], ids=["embeddings", "rerank", "images", "image-urls", "speech"])
def test_without_turns(factory, path, body):
    idem = fresh_key()
    body = {"model": MEDIA, **{k: v % idem if isinstance(v, str) and "%s" in v else v for k, v in body.items()}}
    before = requests_charged(factory)
    first = call(factory, idem, body, "/v1/" + path)
    assert first.status == 200, first.body
    again = call(factory, idem, body, "/v1/" + path)
    assert again.get("idempotent-replayed") == "true" and again.body == first.body
    assert again.get("content-type") == first.get("content-type") and again.get("x-request-id") == first.get("x-request-id")
    assert requests_charged(factory) == before + 1


def test_rates(factory):
    """A replay takes nothing from the minute's limits: one call a minute, and any number of times its answer."""
    factory.keyctl("workspace", "create", "slow", "--plan", "slow")
    key = factory.mint(workspace="slow")
    idem, body = fresh_key(), chat("tokens=3")
    assert call(factory, idem, body, key=key).status == 200
    for _ in range(10):
        assert call(factory, idem, body, key=key).get("idempotent-replayed") == "true"


@pytest.mark.parametrize("idem", ["", "x" * 256, "t\tab", "\u00e9"], ids=["empty", "long", "control", "latin"])
def test_bad_keys(factory, idem):
    got = call(factory, idem, chat("tokens=1")) if idem != "\u00e9" else None
    if got is None:
        body = json.dumps(chat("tokens=1")).encode()
        with factory.raw() as raw:
            head = factory.head("POST", "/v1/chat/completions", None, (), len(body))
            raw.send(head[:-2] + b"Idempotency-Key: \xc3\xa9\r\n\r\n" + body)
            got = raw.response("POST")
    refused(got, 400, "bad_request")
    assert got.error["param"] == "Idempotency-Key"


def test_two_keys(factory):
    fields = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    refused(factory.call("POST", "/v1/chat/completions", chat("tokens=1"), fields=fields), 400, "bad_request")


def test_longest_key(factory):
    idem = "~" * 200 + " " + "!" * 54
    assert call(factory, idem, chat("tokens=1")).status == 200
    assert call(factory, idem, chat("tokens=1")).get("idempotent-replayed") == "true"


def test_not_inference(factory):
    """Where nothing is generated the key means nothing."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    before = claims(factory)
    for _ in range(2):
        got = call(factory, "count", body, "/v1/messages/count_tokens")
        assert got.status == 200 and got.get("idempotent-replayed") is None
    assert factory.call("GET", "/v1/models", fields=[("Idempotency-Key", "x" * 999)]).status == 200
    assert claims(factory) == before


def test_parallel(factory):
    """Of many at once exactly one runs; the others are refused at once, and answered alike later."""
    idem, body = fresh_key(), chat("tokens=3&first_ms=1500&tag=parallel")
    before = requests_charged(factory)
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        got = list(pool.map(lambda _: call(factory, idem, body), range(24)))
    served = [g for g in got if g.status == 200]
    for g in got:
        if g.status != 200:
            refused(g, 409, "conflict")
            assert g.get("x-should-retry") == "false" and "running" in g.error["message"]
    assert len(served) >= 1 and len({g.body for g in served}) == 1
    assert len([g for g in served if g.get("idempotent-replayed") is None]) == 1
    assert runs(factory, "parallel") == 1
    assert call(factory, idem, body).body == served[0].body
    assert requests_charged(factory) == before + 1


def test_workspaces(factory):
    factory.keyctl("workspace", "create", "stranger", "--plan", "local")
    theirs = factory.mint(workspace="stranger")
    same = factory.mint()
    idem, body = fresh_key(), chat("tokens=3&tag=spaces")
    first = call(factory, idem, body)
    got = call(factory, idem, chat("tokens=4&tag=spaces"), key=theirs)
    assert got.status == 200 and got.get("idempotent-replayed") is None
    again = call(factory, idem, body, key=same)
    assert again.get("idempotent-replayed") == "true" and again.body == first.body
    assert runs(factory, "spaces") == 2
    # what a key may not ask for it is not given either
    barred = factory.mint("--model", HEAR)
    got = call(factory, idem, body, key=barred)
    assert got.status == 403, got.body
    # the operation is part of the name
    assert call(factory, idem, {"model": MODEL, "prompt": "fake?tokens=1"}, "/v1/completions").status == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_error(factory, stream):
    """An error is not kept: the retry runs."""
    idem, tag = fresh_key(), "error-%d" % stream
    body = chat("tokens=2&status=400&times=1&tag=" + tag, stream)
    assert call(factory, idem, body).status == 400
    given_back(factory)
    got = call(factory, idem, body)
    assert got.status == 200 and got.get("idempotent-replayed") is None
    assert call(factory, idem, body).body == got.body
    assert runs(factory, tag) == 2


def test_refused(factory):
    """So is a refusal of ours; the key may then be used with another body."""
    idem = fresh_key()
    refused(call(factory, idem, {**chat("tokens=1"), "model": "no-such"}), 404, "model_not_found")
    given_back(factory)
    assert call(factory, idem, chat("tokens=1")).status == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_cut(factory, stream):
    """An answer that broke off is not kept."""
    idem, tag = fresh_key(), "cut-%d" % stream
    body = chat("tokens=6&abort=3&times=1&tag=" + tag, stream)
    first = call(factory, idem, body) if not stream else None
    if stream:
        answer = factory.open("tokens=6&abort=3&tag=" + tag, fields=[("Idempotency-Key", idem)])
        list(answer)
        assert answer.error is not None
        body = chat("tokens=6&tag=" + tag, True)
    else:
        assert first.status >= 500 or first.status == 200
        idem = fresh_key() if first.status == 200 else idem
        body = chat("tokens=6&tag=" + tag)
    given_back(factory)
    got = call(factory, idem, body)
    assert got.status == 200 and got.get("idempotent-replayed") is None, got.body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_leave(factory, stream):
    """Who leaves gives the key back; the call is cancelled."""
    idem, tag = fresh_key(), "leave-%d" % stream
    body = chat("tokens=100&delay_ms=100&tag=" + tag, stream)
    data = json.dumps(body).encode()
    raw = factory.raw()
    raw.send(factory.head("POST", "/v1/chat/completions", None, [("Idempotency-Key", idem)], len(data)) + data)
    wait_for("it runs", lambda: runs(factory, tag) == 1)
    refused(call(factory, idem, body), 409, "conflict")
    raw.close()
    wait_for("the call is cancelled", lambda: factory.fake.running() == 0)
    given_back(factory)
    got = call(factory, idem, chat("tokens=2"))
    assert got.status == 200 and got.get("idempotent-replayed") is None


def test_stream_flows(factory):
    """Only the end of a stream waits for stored."""
    answer = factory.open("tokens=5&stall_at=3&stall_ms=5000", fields=[("Idempotency-Key", fresh_key())])
    assert answer.status == 200
    events = iter(answer)
    seen = "".join(next(events)["choices"][0]["delta"].get("content") or "" for _ in range(3))
    assert seen and factory.fake.running() == 1
    list(events)
    answer.check_canonical()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.timeout(60)
def test_ten_megabytes(factory, stream):
    """Kept in a file, given again at the speed of a slow reader."""
    idem, tag = fresh_key(), "large-%d" % stream
    body = chat("tokens=10&big=1000000&tag=" + tag, stream)
    first = call(factory, idem, body)
    assert first.status == 200 and len(first.body) > 10_000_000
    data = json.dumps(body).encode()
    with factory.raw(rcvbuf=65536) as raw:
        raw.send(factory.head("POST", "/v1/chat/completions", None, [("Idempotency-Key", idem)], len(data)) + data)
        time.sleep(0.5)
        again = raw.response("POST")
    assert again.get("idempotent-replayed") == "true" and again.body == first.body
    assert runs(factory, tag) == 1


@pytest.mark.timeout(90)
def test_too_large(factory):
    """What stored does not take is given all the same, and the key is free again."""
    idem = fresh_key()
    body = chat("tokens=21&big=1000000&tag=too-large", True)
    for n in (1, 2):
        got = call(factory, idem, body)
        assert got.status == 200 and got.get("idempotent-replayed") is None and got.body.endswith(b"data: [DONE]\n\n")
        assert runs(factory, "too-large") == n
        given_back(factory)


def test_form(factory):
    """The boundary of a form, which clients make anew for each try, is no part of it; all else is."""
    def form(boundary, language="en"):
        parts = [("model", HEAR.encode()), ("language", language.encode())]
        out = b"".join(b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (boundary, n.encode(), v) for n, v in parts)
        return out + (b'--%s\r\nContent-Disposition: form-data; name="file"; filename="fake?tag=form.mp3"\r\n'
                      b"Content-Type: audio/mpeg\r\n\r\n" % boundary) + sound + b"\r\n--%s--\r\n" % boundary

    def send(idem, boundary, **more):
        body = form(boundary, **more)
        head = factory.head("POST", "/v1/audio/transcriptions", None, [
            ("Idempotency-Key", idem), ("Content-Type", "multipart/form-data; boundary=" + boundary.decode()),
            ("Content-Length", str(len(body)))])
        with factory.raw() as raw:
            raw.send(head)
            for at in range(0, len(body), 1000):
                raw.send(body[at : at + 1000])
            return raw.response("POST")

    sound = (b"\xff\xfb\x90\x00" + bytes(413)) * 40
    idem = fresh_key()
    first = send(idem, b"one")
    assert first.status == 200, first.body
    again = send(idem, b"another-boundary-----")
    assert again.get("idempotent-replayed") == "true" and again.body == first.body
    refused(send(idem, b"one", language="de"), 409, "conflict")


def test_openai_sdk(factory):
    client = openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=2, timeout=60)
    extra = {"extra_headers": {"Idempotency-Key": fresh_key()}}
    ask = chat("tokens=4&tag=sdk")
    first = client.chat.completions.create(**ask, **extra)
    again = client.chat.completions.with_raw_response.create(**ask, **extra)
    assert again.headers["idempotent-replayed"] == "true" and again.parse() == first
    with pytest.raises(openai.ConflictError):
        client.chat.completions.create(**{**ask, "temperature": 1.0}, **extra)
    extra = {"extra_headers": {"Idempotency-Key": fresh_key()}}
    streams = [list(client.responses.create(model=MODEL, input="fake?tokens=4&tag=sdk-stream", stream=True, **extra)) for _ in range(2)]
    assert streams[0] == streams[1] and streams[0][-1].type == "response.completed"
    assert runs(factory, "sdk") == 1 and runs(factory, "sdk-stream") == 1


def test_anthropic_sdk(factory):
    client = anthropic.Anthropic(base_url=factory.url, api_key=factory.key, max_retries=2, timeout=60)
    extra = {"extra_headers": {"Idempotency-Key": fresh_key()}}
    ask = {"model": MODEL, "max_tokens": 300, "messages": [{"role": "user", "content": "fake?tokens=4&tag=claude"}]}
    got = []
    for _ in range(2):
        with client.messages.stream(**ask, **extra) as stream:
            got.append(stream.get_final_message())
    assert got[0] == got[1] and got[0].content[0].text == factory.text(4)
    with pytest.raises(anthropic.ConflictError):
        client.messages.create(**{**ask, "max_tokens": 200}, **extra)
    assert runs(factory, "claude") == 1


def test_expiry(fresh):
    """After answer-ttl a key is new; so it is when the workspace keeps too much and its answer had to go."""
    factory = linked(fresh(conf={"stored": {"answer-ttl": "1h", "space-max": "1m"}}))
    idem, body = fresh_key(), chat("tokens=2&tag=expiry")
    first = call(factory, idem, body)
    assert call(factory, idem, body).body == first.body
    factory.shift_clock(3700)
    factory.wait_ready()
    linked(factory)
    got = call(factory, idem, chat("tokens=3&tag=expiry"))
    assert got.status == 200 and got.get("idempotent-replayed") is None
    assert call(factory, idem, chat("tokens=3&tag=expiry")).body == got.body
    for _ in range(3):
        assert call(factory, fresh_key(), chat("tokens=1&big=400000")).status == 200
    got = call(factory, idem, body)
    assert got.status == 200 and got.get("idempotent-replayed") is None
    assert runs(factory, "expiry") == 3


@pytest.mark.timeout(60)
def test_gateway_killed(fresh):
    """kill -9 of gatewayd while the call runs: the retry runs under the first one's id and is charged once."""
    factory = linked(fresh())
    idem, body = fresh_key(), chat("tokens=40&delay_ms=100&tag=killed")
    data = json.dumps(body).encode()
    raw = factory.raw()
    raw.send(factory.head("POST", "/v1/chat/completions", None, [("Idempotency-Key", idem)], len(data)) + data)
    wait_for("it runs", lambda: runs(factory, "killed") == 1)
    assert claims(factory, "done = 0") == 1
    factory.daemons["gatewayd"].kill()
    raw.close()
    factory.restart("gatewayd")
    factory.wait_ready()
    linked(factory)
    quick = wait_for("it runs again", lambda: (g := call(factory, idem, body)).status != 409 and g)
    assert quick.status == 200 and quick.get("idempotent-replayed") is None, quick.body
    db = sqlite3.connect("file:%s?mode=ro" % factory.conf["stored"]["database"], uri=True)
    turn, request = db.execute("SELECT turn, hex(request) FROM claims").fetchone()
    db.close()
    assert turn == 1
    assert call(factory, idem, body).body == quick.body
    factory.settled(1)
    assert "request=" in factory.log("gatewayd")


@pytest.mark.timeout(60)
def test_store_killed(fresh):
    """Without stored a key cannot be promised; what ran meanwhile is given all the same, and its key is free."""
    factory = linked(fresh())
    idem, body = fresh_key(), chat("tokens=20&delay_ms=100&tag=store")
    kept, first = fresh_key(), chat("tokens=2&tag=kept")
    before = call(factory, kept, first)
    answer = factory.open("tokens=20&delay_ms=100&tag=store", fields=[("Idempotency-Key", idem)])
    factory.daemons["stored"].kill()
    list(answer)
    answer.check_canonical()
    refused(wait_for("it is missed", lambda: (g := call(factory, fresh_key(), first)).status != 200 and g), 503, "store_unavailable")
    assert factory.call("POST", "/v1/chat/completions", first).status == 200
    factory.restart("stored")
    wait_for("stored is back", lambda: call(factory, kept, first).status == 200)
    assert call(factory, kept, first).body == before.body
    got = wait_for("the key is free", lambda: (g := call(factory, idem, {**body, "stream": True})).status == 200 and g)
    assert got.get("idempotent-replayed") is None
    assert runs(factory, "store") == 2
