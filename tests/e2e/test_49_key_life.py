# SPDX-License-Identifier: Apache-2.0
"""A key's life as the official SDKs feel it, over two gateways of three threads each: rotation, expiry, what it is
bound to, revocation; and that neither a key nor a prompt is found in anything that the factory wrote."""
import concurrent.futures
import contextlib
import json
import os
import time

import anthropic
import openai
import pytest

from factory import MODEL, soon, wait_for

FACTORY = {"gateways": 2, "conf": {
    "gatewayd": {"threads": "3"},
    "model fake/other": {"capabilities": "chat, streaming", "price-input": "1", "price-output": "1000"},
    "worker fake": {"models": "fake/model = upstream-name, fake/other"},
    "plan nothing": {"rpm": "0", "tpm": "0", "models": MODEL},
}}


def bases(factory):
    return ["http://127.0.0.1:%d" % port for port in factory.ports]


def by_openai(base, key, script="tokens=1", model=MODEL, **more):
    with openai.OpenAI(base_url=base + "/v1", api_key=key, max_retries=0, timeout=30) as client:
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "fake?" + script}], **more)


def by_anthropic(base, key, script="tokens=1", model=MODEL, **more):
    with anthropic.Anthropic(base_url=base + "/anthropic", api_key=key, max_retries=0, timeout=30) as client:
        return client.messages.create(model=model, max_tokens=20, messages=[{"role": "user", "content": "fake?" + script}],
                                      **more)


CALLS = [by_openai, by_anthropic]
UNAUTHORIZED = (openai.AuthenticationError, anthropic.AuthenticationError)
FORBIDDEN = (openai.PermissionDeniedError, anthropic.PermissionDeniedError)
LIMITED = (openai.RateLimitError, anthropic.RateLimitError)


def works(factory, key):
    """At every gateway and through both SDKs; True or False, and nothing between."""
    said = set()
    for base in bases(factory):
        for call in CALLS:
            try:
                call(base, key)
                said.add(True)
            except UNAUTHORIZED:
                said.add(False)
    return said == {True} if len(said) == 1 else None


def rotate(factory, key_id, *options):
    key = factory.keyctl("key", "rotate", key_id, *options)[0]["key"]
    factory.keys.append(key)
    return key


def test_rotation(factory):
    one = factory.mint()
    key_id = factory.key_id(one)
    assert works(factory, one)
    two = rotate(factory, key_id, "--grace", "1h")
    assert works(factory, one) and works(factory, two), "both work during the grace"
    three = rotate(factory, key_id, "--grace", "1h")
    wait_for("the oldest ends at once", lambda: works(factory, one) is False)
    assert works(factory, two) and works(factory, three)
    shown = factory.keyctl("key", "show", key_id)[0]
    assert shown["last4"] == three[-4:] and shown["grace_until"] > time.time() and shown["last_used"], "one key all along"
    factory.shift_clock(3601)
    wait_for("the grace is over", lambda: works(factory, two) is False)
    four = rotate(factory, key_id, "--grace", "1h")
    assert works(factory, three) and works(factory, four)
    factory.keyctl("key", "revoke", key_id)
    wait_for("revoking ends both", lambda: works(factory, three) is False and works(factory, four) is False)
    assert factory.keyctl_run("key", "rotate", key_id).returncode == 5


def test_expiry(factory):
    ahead = factory.shift  # keyctl counts from the true time
    key = factory.mint("--expires", "%ds" % (ahead + 3600))
    key_id = factory.key_id(key)
    assert works(factory, key)
    factory.shift_clock(3601)
    wait_for("it has expired", lambda: works(factory, key) is False)
    factory.keyctl("key", "limit", key_id, "--expires", "%ds" % (ahead + 86400))
    wait_for("it was given more time", lambda: works(factory, key))
    factory.keyctl("key", "limit", key_id, "--expires", "none")
    factory.shift_clock(2 * 86400)
    assert works(factory, key)


def test_scopes(factory):
    reader = factory.mint("--scope", "usage:read")
    for base in bases(factory):
        for call in CALLS:
            with pytest.raises(FORBIDDEN) as refused:
                call(base, reader)
            assert "usage:read" in str(refused.value) or "inference" in str(refused.value)
    assert factory.call("GET", "/v1/usage", key=reader).status == 200
    factory.keyctl("key", "limit", factory.key_id(reader), "--scope", "usage:read", "--scope", "inference")
    wait_for("it may call models now", lambda: tried(factory, reader) == 4)


def tried(factory, key, refusal=FORBIDDEN, **more):
    """How many of the four calls go well; the others must be refused like that."""
    n = 0
    for base in bases(factory):
        for call in CALLS:
            with contextlib.suppress(refusal):
                call(base, key, **more)
                n += 1
    return n


def test_networks(factory):
    here = factory.mint("--network", "127.0.0.0/8", "--network", "2001:db8::/32")
    elsewhere = factory.mint("--network", "192.0.2.0/24")
    assert tried(factory, here) == 4 and tried(factory, elsewhere) == 0
    factory.keyctl("key", "limit", factory.key_id(elsewhere), "--network", "127.0.0.1")
    wait_for("allowed from here", lambda: tried(factory, elsewhere) == 4)
    factory.keyctl("key", "limit", factory.key_id(here), "--network", "10.0.0.0/8")
    wait_for("not any more", lambda: tried(factory, here) == 0)
    done = factory.keyctl_run("key", "limit", factory.key_id(here), "--network", "10.0.0.1/8")
    assert done.returncode == 2 and "10.0.0.0/8" in done.stderr


def test_endpoints_and_models(factory):
    key = factory.mint("--endpoint", "chat", "--model", "fake/other")
    key_id = factory.key_id(key)
    assert tried(factory, key, model="fake/other") == 2, "chat, but no messages"
    assert tried(factory, key) == 0, "another model"
    factory.keyctl("key", "limit", key_id, "--endpoint", "none", "--model", "none")
    wait_for("all of it", lambda: tried(factory, key) == 4)
    for option, text in (("--endpoint", "chats"), ("--model", "fake/nothing")):
        done = factory.keyctl_run("key", "limit", key_id, option, text)
        assert done.returncode == 4 and text in done.stderr


def test_limits_of_a_key(factory):
    """Felt by the next request: fewer a minute, then none of them, then more."""
    key = factory.mint("--rpm", "2")
    key_id = factory.key_id(key)
    base = bases(factory)[0]
    by_openai(base, key), by_anthropic(base, key)
    for call in CALLS:
        with pytest.raises(LIMITED) as refused:
            call(base, key)
        assert refused.value.response.headers["retry-after"]
    factory.keyctl("key", "limit", key_id, "--rpm", "none", "--budget", "0")
    for call in CALLS:
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as refused:
            call(base, key, model="fake/other")
        assert refused.value.status_code == 402
    factory.keyctl("key", "limit", key_id, "--budget", "10")
    for call in CALLS:
        call(base, key, model="fake/other")
    factory.keyctl("key", "limit", key_id, "--budget", "none")
    assert works(factory, key)


@pytest.mark.parametrize("how", ["id", "prefix"])
def test_revoked_everywhere_within_a_second(factory, how):
    """Both gateways, all their threads, through connections that stay open, while it is used."""
    def measure(_):
        key = factory.mint()
        clients = [openai.OpenAI(base_url=base + "/v1", api_key=key, max_retries=0, timeout=30)
                   for base in bases(factory) for _ in range(6)]
        refused_at = [None] * len(clients)
        stop = []

        def use(i):
            while not stop:
                began = time.monotonic()
                try:
                    clients[i].chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "fake?tokens=1"}])
                    assert refused_at[i] is None, "it works again"
                except openai.AuthenticationError:
                    refused_at[i] = refused_at[i] or began

        with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
            running = [pool.submit(use, i) for i in range(len(clients))]
            try:
                wait_for("all have been used", lambda: factory.keyctl("key", "show", factory.key_id(key))[0]["last_used"])
                factory.keyctl("key", "revoke", *([factory.key_id(key)] if how == "id" else ["--prefix", key[:20]]))
                revoked = time.monotonic()
                wait_for("every one is refused", lambda: all(refused_at))
                time.sleep(0.2)  # and stays so: what works again is caught by the assertion above
            finally:
                stop.append(1)
        for each in running:
            each.result()
        for client in clients:
            client.close()
        return max(refused_at) - revoked

    soon(1.0, measure)


TIGHTENED = {  # by a command and its opposite; none of them by a limit that a new minute lifts
    "models": (("key", "limit", "KEY", "--model", MODEL), ("key", "limit", "KEY", "--model", "fake/other"), 403),
    "cap": (("workspace", "cap", "NAME", "--tokens", "0"), ("workspace", "cap", "NAME", "--tokens", "none"), 429),
    "budget": (("key", "limit", "KEY", "--budget", "0"), ("key", "limit", "KEY", "--budget", "none"), 402),
    "plan": (("workspace", "set-plan", "NAME", "nothing"), ("workspace", "set-plan", "NAME", "local"), 403),
}


@pytest.mark.parametrize("what", TIGHTENED)
def test_a_change_acts_at_the_next_request(factory, what):
    """Whatever is called when keyctl has ended is refused, at each gateway, also while the key is used all the time."""
    name = "tightened-" + what
    factory.keyctl("workspace", "create", name, "--plan", "local")
    key = factory.mint(workspace=name)
    words = {"KEY": factory.key_id(key), "NAME": name}
    stop, seen = [], set()

    def call(port):
        return factory.chat("tokens=1", key=key, model="fake/other", port=port).status

    def use(i):
        while not stop:
            call(factory.ports[i % len(factory.ports)])

    def keyctl(command):
        factory.keyctl(*(words.get(word, word) for word in command))

    tighten, loosen, status = TIGHTENED[what]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        running = [pool.submit(use, i) for i in range(6)]
        try:
            for _ in range(12):
                for port in factory.ports:
                    wait_for("it is served", lambda: call(port) == 200)
                keyctl(tighten)
                seen.update(call(port) for port in factory.ports)
                keyctl(loosen)
                seen.update(-call(port) for port in factory.ports)
        finally:
            stop.append(1)
        for each in running:
            each.result()
    assert status in seen and 200 not in seen, seen
    assert -200 in seen and -status not in seen, seen  # and what is allowed again is served at once


def test_a_leak_that_fits_several(factory):
    factory.keyctl("workspace", "create", "leaky", "--plan", "local")
    keys = [factory.mint("--env", "stag", workspace="leaky") for _ in range(2)]
    done = factory.keyctl_run("key", "revoke", "--prefix", "tf-stag-")
    assert done.returncode == 5 and "--all" in done.stderr
    assert all(factory.key_id(key) in done.stdout for key in keys), "it says which"
    assert all(works(factory, key) for key in keys)
    factory.keyctl("key", "revoke", "--prefix", "tf-stag-", "--all")
    wait_for("both are out", lambda: all(works(factory, key) is False for key in keys))


def test_imported(factory):
    """A key of another system goes on working; guesses at such keys are few a second, and harm nobody else."""
    path = os.path.join(factory.dir, "old-key")
    text = "sk-from-elsewhere-%d-0123456789" % os.getpid()
    with open(path, "w") as f:
        f.write(text + "\n")
    row = factory.keyctl("key", "import", "--workspace", "main", "--key-file", path, "--name", "old")[0]
    os.unlink(path)
    factory.keys.append(text)
    assert works(factory, text)
    new = rotate(factory, row["id"], "--grace", "1h")
    assert works(factory, text) and works(factory, new) and new.startswith("tf-prod-")
    seen = set()

    def guess(i):
        with factory.raw() as raw:
            for k in range(40):
                raw.send("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-guess-%d-%d-0123456789\r\n\r\n" % (i, k))
                answer = raw.response()
                seen.add(answer.status)
                assert answer.status != 503 or int(answer.get("retry-after")) >= 1

    for turn in range(20):  # a slow machine may not guess fast enough at first
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(guess, range(16 * turn, 16 * turn + 16)))
        if 503 in seen:
            break
    assert seen == {401, 503}
    assert works(factory, factory.key) and works(factory, new)


def test_a_typo_is_refused_without_asking(factory):
    """Nobody who could be asked is there: a wrong checksum is 401 at once, a right one has to wait."""
    factory.daemons["billingd"].kill()
    try:
        typo = factory.key[:-2] + ("a" if factory.key[-2] != "a" else "b") + factory.key[-1]
        for base in bases(factory):
            for call in CALLS:
                with pytest.raises(UNAUTHORIZED):
                    call(base, typo)
    finally:
        factory.restart("billingd")
        factory.wait_billing()
    assert works(factory, factory.key)


# ---- canaries ---------------------------------------------------------------------------------

def written(factory):
    """Every file below the factory's directory: logs, databases, spool, maps; not sockets."""
    for folder, _, names in os.walk(factory.dir):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    yield path, f.read()


def holding(factory, secrets):
    return [(path, secret) for path, content in written(factory) for secret in secrets if secret.encode() in content]


def test_canaries(factory):
    """A key in header, query and body, a prompt in every API, good calls and bad ones: found where the client put
    them, in the runtime and in the client, and nowhere else."""
    key = factory.mint("--name", "canary")
    tail = key[-30:]
    secret_prompt = "canary-prompt-7261-%d" % os.getpid()
    prompt = "fake?tokens=2\n" + secret_prompt
    stranger = "tf-prod-" + "Canary0123456789" * 3  # not ours, and nobody's business either
    imported = "sk-canary-" + "0123456789abcdef" * 2
    answers = []

    def post(path, body, key=key, query="", **fields):
        headers = {"content-type": "application/json", **fields}
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        with factory.raw() as raw:
            raw.send(("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n%s\r\n" % (
                path + query, key, len(text), "".join("%s: %s\r\n" % pair for pair in headers.items()))).encode() + text)
            answer = raw.response()
            answers.append((answer.status, answer.body, str(answer.pairs)))
            return answer.status

    message = [{"role": "user", "content": prompt}]
    chat = {"model": MODEL, "messages": message}
    assert post("/v1/chat/completions", chat) == 200
    assert post("/anthropic/v1/messages", {**chat, "max_tokens": 5}, **{"anthropic-version": "2023-06-01"}) == 200
    assert post("/v1/responses", {"model": MODEL, "input": prompt, "store": False}) == 200
    calls = len(answers)
    # the key where it does not belong, beside where it does
    query = "?api_key=%s&key=%s" % (key, stranger)
    post("/v1/chat/completions", chat, query=query)
    post("/v1/nowhere/" + key, chat)
    post("/v1/chat/completions", {**chat, "user": key, "metadata": {"key": key}, "api_key": key})
    post("/v1/chat/completions", {**chat, "model": key})
    post("/v1/chat/completions", {**chat, key: 1})
    post("/v1/chat/completions", chat, **{"X-Api-Key": stranger, "Cookie": "session=" + key, "X-Forwarded-For": key})
    post("/v1/chat/completions", b'{"model": "' + key.encode() + b'", "messages": [' + secret_prompt.encode())
    post("/v1/chat/completions", {**chat, "temperature": 9})
    post("/v1/chat/completions", {**chat, "messages": [{"role": secret_prompt, "content": prompt}]})
    assert post("/v1/chat/completions", chat, key=key[:-1] + ("a" if key[-1] != "a" else "b")) == 401
    # look-ups of keys without our checksum are few a second, and tests before this one may have spent them: then it is 503
    for other in (stranger, imported, key + "x"):
        wait_for("a refusal", lambda: post("/v1/chat/completions", chat, key=other) == 401)
    for words in ("status=500", "status=400&message=" + secret_prompt, "error_at=1", "status=429"):
        post("/v1/chat/completions", {**chat, "messages": [{"role": "user", "content": "fake?" + words + "\n" + secret_prompt}]})
    with factory.raw() as raw:  # and one that leaves in the middle
        raw.send(factory.head("POST", "/v1/chat/completions", key, length=1000) + json.dumps(chat).encode())
    factory.keyctl("key", "revoke", factory.key_id(key))
    wait_for("it is out", lambda: post("/v1/chat/completions", chat) == 401)
    assert len(answers) > calls + 10

    # what a client is told never repeats its key, also where it was taken for something else
    for status, body, headers in answers:
        echoed = status == 200 and b'"metadata"' in body  # which the API gives back
        assert not any(s in body for s in (stranger.encode(), imported.encode())) and (tail.encode() not in body or echoed), body
        assert not any(s in headers for s in (tail, stranger, imported, secret_prompt)), headers
    # nothing goes on to the runtime that was meant for us
    assert all(tail not in json.dumps(r.get("headers", {})) for r in factory.fake.requests())
    secrets = [tail, stranger[8:], imported[3:], secret_prompt]
    with factory.raw() as raw:
        raw.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        metrics = raw.response().body
    assert len(metrics) > 1000 and not any(s.encode() in metrics for s in secrets)
    for name in ("audit", "status"):
        shown = factory.keyctl_run("--json", name).stdout
        assert len(shown) > 500 and not any(s in shown for s in secrets)
    for daemon in factory.daemons.values():
        with open("/proc/%d/limits" % daemon.pid) as f:
            core = next(line.split() for line in f if line.startswith("Max core file size"))
        assert core[4:6] == ["0", "0"], "no core of a process that has seen it"
    assert factory.daemons["billingd"].end() == 0  # so that all of the database is in its files
    found = dict(written(factory))
    assert any(path.endswith("billing.db") and len(c) > 4096 for path, c in found.items()) and len(found) > 8
    assert holding(factory, secrets) == []
    factory.restart("billingd")
    factory.wait_billing()
