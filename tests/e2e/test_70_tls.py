# SPDX-License-Identifier: Apache-2.0
"""TLS on both sides: our certificate with its full chain, replaced on SIGHUP; an upstream over https
that is verified, also through a CONNECT proxy."""
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time

import openai
import pytest

import certs
from factory import SLOW, TOOLS, Factory, Fake, free_port, wait_for
from raw import Raw


@pytest.fixture(scope="module")
def pki():
    directory = tempfile.mkdtemp(prefix="tfpki")
    made = {name: certs.make(directory, name) for name in ("front", "second", "upstream")}
    made["elsewhere"] = certs.make(directory, "elsewhere", names="DNS:elsewhere.invalid")
    yield made
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def tls(pki, request):
    """A factory with a TLS front; its certificate files are copies that tests may replace."""
    port = free_port()
    made = Factory(start=False)
    for kind in ("chain", "key"):
        shutil.copy(pki["front"][kind], os.path.join(made.dir, kind + ".pem"))
    made.conf["gatewayd"].update({
        "listen-tls": "127.0.0.1:%d" % port, "tls-cert": os.path.join(made.dir, "chain.pem"),
        "tls-key": os.path.join(made.dir, "key.pem"), "head-timeout": "1s",
    })
    made.tls_port = port
    made.write_conf()
    try:
        made.start()
        yield made
    finally:
        wrong, logs = made.close(), made.logs()[-8000:]
        made.remove()
        assert not wrong, "\n".join(wrong) + logs


def connect(tls, pki, which="front", **options):
    context = ssl.create_default_context(cafile=pki[which]["root"])
    return Raw(tls.tls_port, tls=context, server_hostname="localhost", **options)


def health(raw):
    raw.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return raw.response().status


def test_full_chain(tls, pki):
    with connect(tls, pki) as raw:
        assert health(raw) == 200 and raw.sock.version() in ("TLSv1.2", "TLSv1.3")


def test_plain_port_beside_it(tls):
    assert tls.call("GET", "/healthz").status == 200


def test_sdk_over_tls(tls, pki):
    import httpx2

    client = openai.OpenAI(
        base_url="https://localhost:%d/v1" % tls.tls_port, api_key=tls.key, max_retries=0,
        http_client=httpx2.Client(verify=ssl.create_default_context(cafile=pki["front"]["root"])),
    )
    stream = client.chat.completions.create(
        model="fake/model", messages=[{"role": "user", "content": "fake?tokens=5"}], stream=True
    )
    assert "".join(c.choices[0].delta.content or "" for c in stream) == tls.text(5)


def test_old_versions_are_refused(tls, pki):
    context = ssl.create_default_context(cafile=pki["front"]["root"])
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Raw(tls.tls_port, tls=context, server_hostname="localhost")


def test_plain_http_to_the_tls_port(tls):
    with Raw(tls.tls_port, deadline=30 * SLOW) as raw:
        raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            while raw.fill():
                pass
        except ConnectionError:
            pass
        assert b"200 OK" not in raw.buf


def test_a_handshake_that_never_ends(tls):
    with Raw(tls.tls_port, deadline=60 * SLOW) as raw:
        began = time.monotonic()
        raw.send(b"\x16\x03\x01")
        try:
            while raw.fill():
                pass
        except ConnectionError:
            pass
        assert time.monotonic() - began < 30 * SLOW


def test_large_both_ways(tls, pki):
    text = "fake?tokens=20&big=100000&tag=tls\n" + "y" * 2_000_000
    body = json.dumps({"model": "fake/model", "messages": [{"role": "user", "content": text}]}).encode()
    with connect(tls, pki) as raw:
        raw.send(tls.head("POST", "/v1/chat/completions", length=len(body)) + body)
        said = raw.response().json()["choices"][0]["message"]["content"]
    assert said == tls.text(20, big=100000) and len(tls.fake.last("tls")["body"]["messages"][0]["content"]) == len(text)


def test_leaving_over_tls(tls, pki):
    raw = connect(tls, pki)
    answer = tls.open("tokens=3000&delay_ms=10&tag=tlsleave", raw=raw)
    next(iter(answer))
    raw.close()
    wait_for("left", lambda: tls.fake.last("tlsleave")["outcome"] == "left", 1.0)


def test_certificate_is_replaced_on_hup(tls, pki):
    kept = connect(tls, pki)
    assert health(kept) == 200
    stream = tls.open("tokens=100&delay_ms=10", raw=connect(tls, pki))
    for kind in ("chain", "key"):
        shutil.copy(pki["second"][kind], os.path.join(tls.dir, kind + ".pem"))
    assert tls.reload("gatewayd")
    with connect(tls, pki, "second") as raw:
        assert health(raw) == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(tls, pki, "front")
    assert health(kept) == 200
    stream.take_all(stream.raw).check_canonical()
    kept.close()


def test_a_bad_certificate_changes_nothing(tls, pki):
    with open(os.path.join(tls.dir, "chain.pem")) as f:
        before = f.read()
    with open(os.path.join(tls.dir, "chain.pem"), "w") as f:
        f.write("not a certificate\n")
    tls.reload("gatewayd")
    with connect(tls, pki, "second") as raw:
        assert health(raw) == 200
    # a key that does not fit
    with open(os.path.join(tls.dir, "chain.pem"), "w") as f:
        with open(pki["front"]["chain"]) as other:
            f.write(other.read())
    tls.reload("gatewayd")
    with connect(tls, pki, "second") as raw:
        assert health(raw) == 200
    with open(os.path.join(tls.dir, "chain.pem"), "w") as f:
        f.write(before)
    assert tls.reload("gatewayd")


# ---- upstream ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure_fake(pki):
    fake = Fake("--tls-port", "0", "--cert", pki["upstream"]["chain"], "--key", pki["upstream"]["key"])
    yield fake
    fake.close()


def upstream(fresh, fake, ready=True, **worker):
    conf = {
        "model fake/model": {"capabilities": "chat, streaming"},
        "worker up": {"models": "fake/model = secure", "probe-interval": "200ms", "connect-timeout": "1s",
                      "url": "https://localhost:%d" % fake.tls_port, **worker},
    }
    if ready:
        return fresh(runtime="none", conf=conf)
    made = Factory(runtime="none", conf=conf, start=False)
    for daemon in made.daemons.values():
        daemon.start()
    return made


def test_https_upstream(fresh, secure_fake, pki):
    factory = upstream(fresh, secure_fake, **{"ca-file": pki["upstream"]["root"]})
    assert factory.chat("tokens=3&tag=https", stream=True).check_canonical().text() == factory.text(3)
    assert factory.chat("tokens=3").text() == factory.text(3)
    assert secure_fake.last("https")["body"]["model"] == "secure"


@pytest.mark.parametrize("fault", ["wrong-ca", "system-ca", "wrong-name"])
def test_unverified_upstream_is_refused(fault, secure_fake, pki):
    secure_fake.forget()
    fake, worker = secure_fake, {}
    if fault == "wrong-ca":
        worker = {"ca-file": pki["front"]["root"]}
    elif fault == "wrong-name":
        fake = Fake("--tls-port", "0", "--cert", pki["elsewhere"]["chain"], "--key", pki["elsewhere"]["key"])
        worker = {"ca-file": pki["elsewhere"]["root"]}
    factory = upstream(None, fake, ready=False, **worker)
    try:
        said = wait_for("the reason in the log", lambda: "certificate" in factory.log("up").lower() or "tls" in factory.log("up").lower(), 8)
        assert said
        time.sleep(0.5)
        with factory.raw() as raw:
            raw.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.response().status == 503
    finally:
        wrong = factory.close()
        factory.remove()
        if fake is not secure_fake:
            fake.close()
    assert not wrong, wrong
    assert secure_fake.requests() == []


class Proxy:
    def __init__(self, *options):
        self.proc = subprocess.Popen(
            [sys.executable, os.path.join(TOOLS, "connect_proxy.py"), *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        self.port = json.loads(self.proc.stdout.readline())["port"]

    def close(self):
        self.proc.kill()
        seen = [json.loads(line) for line in self.proc.stdout]
        self.proc.wait()
        return seen


def test_https_upstream_through_a_proxy(fresh, secure_fake, pki):
    proxy = Proxy()
    factory = upstream(
        fresh, secure_fake, **{"ca-file": pki["upstream"]["root"], "proxy": "http://127.0.0.1:%d" % proxy.port}
    )
    assert factory.chat("tokens=3&tag=proxied", stream=True).check_canonical().text() == factory.text(3)
    seen = proxy.close()
    assert seen and {s["target"] for s in seen} == {"localhost:%d" % secure_fake.tls_port}
    assert factory.key not in json.dumps(seen)


def test_http_upstream_through_a_proxy(fresh, secure_fake):
    proxy = Proxy()
    factory = upstream(fresh, secure_fake, url=secure_fake.url, proxy="http://127.0.0.1:%d" % proxy.port)
    assert factory.chat("tokens=3").status == 200
    assert proxy.close()


def test_a_proxy_that_refuses(secure_fake, pki):
    proxy = Proxy("--refuse", "403")
    factory = upstream(
        None, secure_fake, ready=False, **{"ca-file": pki["upstream"]["root"], "proxy": "http://127.0.0.1:%d" % proxy.port}
    )
    try:
        wait_for("the reason in the log", lambda: "proxy" in factory.log("up").lower() or "403" in factory.log("up"), 8)
    finally:
        wrong = factory.close()
        factory.remove()
        assert proxy.close()
    assert not wrong


def test_upstream_key(fresh, secure_fake, pki):
    path = os.path.join(tempfile.gettempdir(), "tf-upstream-key-%d" % os.getpid())
    with open(path, "w") as f:
        f.write("upstream-secret-1\n")
    os.chmod(path, 0o600)
    try:
        factory = upstream(fresh, secure_fake, **{"ca-file": pki["upstream"]["root"], "key-file": path})
        factory.chat("tokens=1&tag=ukey")
        assert ["authorization", "Bearer upstream-secret-1"] in [[k.lower(), v] for k, v in secure_fake.last("ukey")["headers"]]
        with open(path, "w") as f:
            f.write("upstream-secret-2\n")
        assert factory.reload("up")
        factory.chat("tokens=1&tag=ukey")
        assert ["authorization", "Bearer upstream-secret-2"] in [[k.lower(), v] for k, v in secure_fake.last("ukey")["headers"]]
        assert "upstream-secret" not in factory.logs()
    finally:
        os.unlink(path)


def test_unix_socket_upstream(fresh):
    path = os.path.join(tempfile.mkdtemp(prefix="tfu"), "fake.sock")
    fake = Fake("--unix", path)
    try:
        factory = fresh(runtime="none", conf={
            "model fake/model": {"capabilities": "chat, streaming"},
            "worker up": {"models": "fake/model", "probe-interval": "200ms", "url": "unix:" + path},
        })
        assert factory.chat("tokens=3", stream=True).check_canonical().text() == factory.text(3)
    finally:
        fake.close()
        shutil.rmtree(os.path.dirname(path))
