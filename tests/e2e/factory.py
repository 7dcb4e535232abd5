# SPDX-License-Identifier: Apache-2.0
"""A whole Token Factory of one's own: the real daemons in a temporary directory, with a configuration
made for the test, a workspace, a key, and the fake runtime or the real one behind them.

The test is the service manager: it may kill, stop, restart and reload single daemons. close() ends
all and says what was wrong: a daemon that crashed or did not drain, a sanitizer's report, a key in a
log, a process left over. conftest.py makes one Factory per test file.
"""
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.path.join(TOP, "tests", "tools")
sys.path.insert(0, TOOLS)

import fake_script  # noqa: E402
from raw import Closed, Events, Raw  # noqa: E402

MODEL = "fake/model"
TINY = "tokenfactory/tiny"
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|UndefinedBehavior|runtime error:|Assertion .* failed")


def build_dir():
    for path in (os.environ.get("TF_BUILD"), os.environ.get("top_builddir"), os.path.join(TOP, "build", "test")):
        if path and os.path.exists(os.path.join(path, "gatewayd", "gatewayd")):
            return os.path.abspath(path)
    return os.path.join(TOP, "build")


def is_sanitized():
    try:
        with open(os.path.join(build_dir(), "gatewayd", "gatewayd"), "rb") as f:
            return b"__asan_init" in f.read()
    except FileNotFoundError:
        return False


SLOW = 3 if is_sanitized() else 1
PATIENCE = 20.0  # what a busy machine may need for anything


def wait_for(what, probe, seconds=PATIENCE, every=0.02):
    """Polls until probe() is true; returns its value. AssertionError after the time, which is at least
    PATIENCE: whoever wants to know how fast it was uses soon()."""
    seconds = max(seconds, PATIENCE) * SLOW
    until = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError("%s: not within %.1f s (last: %r)" % (what, seconds, value))
        time.sleep(every)


def soon(seconds, measure, tries=6):
    """A time that is promised: measure(i) returns how long it took, and must once stay below the limit.
    A busy machine makes some of a few slow, a defect all of them."""
    took = []
    while not took or min(took) >= seconds * SLOW:
        assert len(took) < tries, "never within %.3f s: %s" % (seconds * SLOW, took)
        took.append(measure(len(took)))
    return took[-1]


given = set()  # a port that nobody listens on yet is free, and given away all the same


def free_port():
    """Of those that the kernel gives to nobody by itself: it is still free when its daemon is started again."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        low = int(f.read().split()[0])
    for port in random.sample(range(10000, low), 200) if low > 12000 else []:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            if port not in given:
                given.add(port)
                return port
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Fake:
    """The scripted runtime, in a process of its own."""

    def __init__(self, *options):
        self.proc = subprocess.Popen(
            [sys.executable, os.path.join(TOOLS, "fake_runtime.py"), "--port", "0", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )
        where = json.loads(self.proc.stdout.readline())
        self.port = where["port"]
        self.tls_port = where.get("tls_port")
        self.url = "http://127.0.0.1:%d/v1" % self.port

    def control(self, what, data=None):
        request = urllib.request.Request(
            "http://127.0.0.1:%d/control/%s" % (self.port, what), None if data is None else data.encode(),
        )
        with urllib.request.urlopen(request, timeout=30 * SLOW) as answer:
            return json.load(answer)

    def requests(self, tag=None):
        return self.control("requests" + ("" if tag is None else "?tag=" + tag))

    def last(self, tag=None):
        return self.requests(tag)[-1]

    def running(self):
        return self.control("state")["running"]

    def script(self, text):
        self.control("script", text)

    def health(self, status):
        self.control("health", str(status))

    def forget(self):
        self.control("forget", "")

    def close_idle(self):
        self.control("close-idle", "")

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()


class Daemon:
    def __init__(self, factory, name, program, *options, conf=None):
        self.factory = factory
        self.name = name
        self.argv = [factory.program(program), "-c", conf or factory.conf_path, *options]
        self.log_path = os.path.join(factory.dir, name + ".log")
        self.proc = None

    @property
    def pid(self):
        return self.proc.pid

    def start(self):
        assert self.proc is None or self.proc.poll() is not None, "%s runs already" % self.name
        env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "TF_DEBUG_CORE")}
        env["TF_CLOCK_FILE"] = self.factory.clock_path
        env["ASAN_OPTIONS"] = "exitcode=99:detect_leaks=1:" + os.environ.get("ASAN_OPTIONS", "")
        env["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1:" + os.environ.get("UBSAN_OPTIONS", "")
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=self.factory.dir,
                start_new_session=True,
            )

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def kill(self):
        """As a crash would: SIGKILL."""
        self.proc.kill()
        self.proc.wait()
        self.proc = None

    def signal(self, signo):
        self.proc.send_signal(signo)

    def end(self, seconds=30.0):
        """SIGTERM and the exit status; None when it does not end (then it is killed)."""
        if self.proc is None:
            return 0
        if self.proc.poll() is None:
            self.proc.terminate()
        try:
            status = self.proc.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            status = None
        self.proc = None
        return status

    def memory(self):
        """Resident bytes."""
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))


class Answer:
    """A chat answer, streamed or not, in terms a test asks about."""

    def __init__(self, raw, response):
        self.raw = raw
        self.response = response
        self.status = response.status
        self.events = []
        self.done = False
        self.error = None
        self.stream = (response.get("content-type") or "").startswith("text/event-stream")
        self.sse = Events(raw, response) if self.stream else None
        self.whole = None

    def feed(self, data):
        assert not self.done, "an event behind [DONE]: " + data
        if data == "[DONE]":
            self.done = True
            return None
        event = json.loads(data)
        self.events.append(event)
        if "error" in event:
            self.error = event["error"]
        return event

    def __iter__(self):
        for data in self.sse:
            event = self.feed(data)
            if event is not None:
                yield event

    def take_all(self, raw):
        if self.stream:
            for _ in self:
                pass
            return self
        body = raw.exactly(int(self.response.get("content-length")))
        self.response.body = body
        self.whole = json.loads(body)
        self.error = self.whole.get("error")
        return self

    @property
    def ended(self):
        return self.sse.ended

    @property
    def chunks(self):
        return [e for e in self.events if "error" not in e]

    def deltas(self, index=0):
        return [c["delta"] for e in self.chunks for c in e["choices"] if c["index"] == index]

    def text(self, index=0):
        if self.whole:
            return self.whole["choices"][index]["message"]["content"]
        return "".join(d.get("content") or "" for d in self.deltas(index))

    def finish(self, index=0):
        if self.whole:
            return self.whole["choices"][index]["finish_reason"]
        reasons = [c["finish_reason"] for e in self.chunks for c in e["choices"] if c["index"] == index]
        reasons = [r for r in reasons if r]
        assert len(reasons) <= 1, "two finish reasons: %r" % reasons
        return reasons[0] if reasons else None

    @property
    def usage(self):
        if self.whole:
            return self.whole["usage"]
        found = [e["usage"] for e in self.chunks if e.get("usage")]
        assert len(found) <= 1, "two usages"
        return found[0] if found else None

    def check_canonical(self, usage=False, n=1):
        """What every complete stream must have, whatever the runtime sent."""
        assert self.status == 200 and self.error is None and self.done and self.ended == "clean", self.error
        assert len({(e["id"], e["created"], e["model"]) for e in self.chunks}) == 1
        for e in self.chunks:
            assert e["object"] == "chat.completion.chunk" and isinstance(e["choices"], list), e
        for i in range(n):
            assert self.deltas(i)[0].get("role") == "assistant", self.deltas(i)
            assert self.finish(i)
            for calls in (d["tool_calls"] for d in self.deltas(i) if "tool_calls" in d):
                for call in calls:
                    assert isinstance(call["index"], int)
        assert (self.usage is not None) == usage
        if usage:
            assert self.chunks[-1]["choices"] == []
        return self


class Factory:
    """options (a test file's FACTORY): conf: sections to merge; runtime: fake, real, both or none;
    plan: of the workspace; start: False leaves the daemons alone; fake, real: options of those runtimes;
    gateways: how many gatewayd; ports has one for each."""

    def __init__(self, conf=None, runtime="fake", plan="local", start=True, fake=(), real=(), gateways=1):
        self.dir = tempfile.mkdtemp(prefix="tf")
        os.chmod(self.dir, 0o700)
        self.keys = []
        self.problems = []
        self.raws = []
        self.ports = [free_port() for _ in range(gateways)]
        self.port = self.ports[0]
        self.url = "http://127.0.0.1:%d" % self.port
        self.conf_path = os.path.join(self.dir, "tokenfactory.conf")
        self.run_dir = os.path.join(self.dir, "run")
        self.clock_path = os.path.join(self.dir, "clock")
        self.shift = 0
        with open(self.clock_path, "wb") as f:
            f.write(bytes(8))
        self.real_options = list(real)
        self.fake = Fake(*fake) if runtime in ("fake", "both") else None
        self.conf = self.base_conf(runtime)
        for section, values in (conf or {}).items():
            if values is None:
                self.conf.pop(section, None)
            else:
                self.conf.setdefault(section, {}).update(values)
            if self.fake and section.startswith("worker ") and "runtime" not in self.conf.get(section, {"runtime": ""}):
                self.conf[section].setdefault("url", self.fake.url)
        self.plan = plan
        self.write_conf()
        self.daemons = {name: Daemon(self, name, name) for name in ("billingd", "stored", "routerd")}
        for section in self.conf:
            if section.startswith("worker "):
                name = section[7:]
                self.daemons[name] = Daemon(self, name, "workerd", "--worker", name)
        for i, port in enumerate(self.ports):
            name = "gatewayd" + (str(i + 1) if i else "")
            self.daemons[name] = Daemon(self, name, "gatewayd", conf=self.gateway_conf(name, port) if i else None)
        if start:
            self.start()

    # ---- configuration ------------------------------------------------------------------------

    def base_conf(self, runtime):
        conf = {
            "common": {"run-dir": self.run_dir},
            "gatewayd": {
                "listen": "127.0.0.1:%d" % self.port, "drain-timeout": "5s", "spool-dir": os.path.join(self.dir, "spool"),
                "spool-segment": "1m",
            },
            "billingd": {"database": os.path.join(self.dir, "billing.db")},
            "stored": {"database": os.path.join(self.dir, "stored.db"), "blob-dir": os.path.join(self.dir, "blobs")},
        }
        if self.fake:
            conf["model " + MODEL] = {"capabilities": "chat, streaming, tools, json, vision, thinking"}
            conf["worker fake"] = {
                "url": self.fake.url,
                "models": "%s = upstream-name" % MODEL,
                "probe-interval": "200ms",
                "drain-timeout": "5s",
            }
        if runtime in ("real", "both"):
            conf["model " + TINY] = {"capabilities": "chat, streaming, tools, json", "context": "2048"}
            conf["worker tiny"] = {
                "class": "cpu",
                "runtime": "managed",
                "runtime-kind": "llama.cpp",
                "command": self.real_command(),
                "probe-path": "/health",
                "models": TINY,
                "slots": "4",
                "drain-timeout": "5s",
            }
        return conf

    def gateway_conf(self, name, port):
        """The file of a further gatewayd: the others' with a name and an address of its own."""
        path = os.path.join(self.dir, name + ".conf")
        conf = {**self.conf, "gatewayd": {**self.conf["gatewayd"], "name": name, "listen": "127.0.0.1:%d" % port}}
        self.write_conf(self.conf_text(conf), path)
        return path

    def real_command(self):
        script = os.path.join(TOP, "model", "runtime.sh")
        subprocess.run([script, "install"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        words = subprocess.run(
            [script, "command", "--model", os.path.join(TOP, "model", "tokenfactory-tiny.gguf"), "--host", "{socket}",
             "--alias", TINY, "--slots", "4"] + self.real_options,
            check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        ).stdout.splitlines()
        return " ".join('"%s"' % w for w in words)

    def conf_text(self, conf):
        return "".join(
            "[%s]\n%s\n" % (section, "".join("%s = %s\n" % pair for pair in values.items()))
            for section, values in conf.items()
        )

    def write_conf(self, text=None, path=None):
        with open(path or self.conf_path, "w") as f:
            f.write(self.conf_text(self.conf) if text is None else text)

    def program(self, name):
        return os.path.join(build_dir(), name, name)

    # ---- life ---------------------------------------------------------------------------------

    def start(self):
        for daemon in self.daemons.values():
            daemon.start()
        self.wait_ready()
        wait_for("stored", lambda: self.ready(stored=True))
        self.keyctl("workspace", "create", "main", "--plan", self.plan)
        self.key = self.mint()

    def ready(self, stored=False):
        for daemon in self.daemons.values():
            assert daemon.proc is None or daemon.proc.poll() is None, "%s ended:\n%s" % (daemon.name, daemon.log())
        return all(self.port_ready(port, stored) for port in self.ports)

    def port_ready(self, port, stored):
        try:
            with self.raw(port) as raw:
                raw.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = raw.response()
                return answer.status == 200 and (answer.json()["stored"] or not stored)
        except (OSError, Closed):
            return False

    def wait_ready(self, seconds=60.0):
        wait_for("readyz", self.ready, seconds)

    def wait_billing(self):
        """After a kill readyz may say for a second yet what was true before it."""
        wait_for("billingd", lambda: self.keyctl_run("plan", "list").returncode == 0)
        self.wait_ready()

    def restart(self, name):
        self.daemons[name].start()

    def reload(self, name, seconds=5.0):
        """SIGHUP, and waits for the log to say how it went. Returns whether it was applied."""
        daemon = self.daemons[name]
        seen = len(daemon.log())
        daemon.signal(signal.SIGHUP)
        tail = wait_for(
            "reload of " + name,
            lambda: (t := daemon.log()[seen:]) and ("reloaded" in t) and t, seconds,
        )
        return "not reloaded" not in tail

    def shift_clock(self, seconds):
        self.shift += seconds
        with open(self.clock_path, "r+b") as f:
            f.write(struct.pack("<q", int(self.shift * 1e9)))

    def log(self, name):
        return self.daemons[name].log()

    def logs(self):
        return "".join("==> %s\n%s\n" % (d.name, d.log()) for d in self.daemons.values() if os.path.exists(d.log_path))

    def leftovers(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    line = f.read().replace(b"\0", b" ").decode(errors="replace")
                if self.dir in line:
                    found.append((int(pid), line))
        return found

    def close(self):
        """Ends everything; returns what was wrong, as a list of sentences."""
        for raw in self.raws:
            raw.close()
        wrong = list(self.problems)
        for daemon in reversed(list(self.daemons.values())):
            crashed = daemon.proc is not None and daemon.proc.poll() is not None
            status = daemon.end()
            if crashed or status != 0:
                wrong.append("%s %s with status %s" % (daemon.name, "crashed" if crashed else "ended", status))
            if os.path.exists(daemon.log_path):
                wrong += self.check_log(daemon)
        for pid, line in self.leftovers():
            wrong.append("left over: %s" % line)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.fake:
            self.fake.close()
        return wrong

    def check_log(self, daemon):
        log = daemon.log()
        wrong = []
        report = SANITIZER.search(log)
        if report:
            wrong.append("%s: %s" % (daemon.name, log[max(0, report.start() - 500) : report.start() + 4000]))
        wrong += ["%s logs the key %s..." % (daemon.name, k[:10]) for k in self.keys if k in log]
        return wrong

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- the operator -------------------------------------------------------------------------

    def keyctl_run(self, *args):
        return subprocess.run(
            [self.program("keyctl"), "--run-dir", self.run_dir, *args], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60 * SLOW,
        )

    def keyctl(self, *args):
        """Rows of the answer."""
        done = self.keyctl_run("--json", *args)
        assert done.returncode == 0, "keyctl %s: %s" % (" ".join(args), done.stderr)
        text = done.stdout.strip()
        if not text:
            return []
        rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
        return rows if isinstance(rows, list) else [rows]

    def mint(self, *options, workspace="main"):
        key = self.keyctl("key", "mint", "--workspace", workspace, *options)[0]["key"]
        self.keys.append(key)
        return key

    def key_id(self, key):
        rows = self.keyctl("key", "list")
        return next(r["id"] for r in rows if r["last4"] == key[-4:] and key.startswith(r["prefix"]))

    def acknowledged(self, seconds=PATIENCE):
        """Waits until the ledger holds all that was answered so far; not for a gateway or billingd that is away."""
        for port in self.ports:
            self.acknowledged_by(port, seconds)

    def acknowledged_by(self, port, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=seconds) as answer:
                    found = re.search(rb"^tf_gateway_usage_unacknowledged (\d+)", answer.read(), re.M)
            except OSError:
                return
            if found is None or found.group(1) == b"0":
                return
            time.sleep(0.01)

    def usage(self, *options, workspace="main"):
        self.acknowledged()
        rows = self.keyctl("usage", "--workspace", workspace, "--period", "all", *options)
        return rows if "--by" in options else rows[0]

    def settled(self, requests, workspace="main", seconds=30.0):
        """Waits until that many requests are in the ledger; returns the totals."""
        wait_for(
            "%d requests in the ledger" % requests,
            lambda: int(self.usage(workspace=workspace)["requests"]) >= requests, seconds, 0.05,
        )
        row = self.usage(workspace=workspace)
        assert int(row["requests"]) == requests, row
        return row

    # ---- the client ---------------------------------------------------------------------------

    def raw(self, port=None, **options):
        options.setdefault("deadline", 30.0 * SLOW)
        return Raw(port or self.port, **options)

    def head(self, method, path, key=None, fields=(), length=None):
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: 127.0.0.1"]
        if key is not False:
            lines.append("Authorization: Bearer " + (key or self.key))
        lines += ["%s: %s" % f for f in fields]
        if length is not None:
            lines += ["Content-Type: application/json", "Content-Length: %d" % length]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def call(self, method, path, body=None, key=None, fields=(), **options):
        """One request on a connection of its own."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        with self.raw(**options) as raw:
            raw.send(self.head(method, path, key, fields, None if body is None else len(body)) + (body or b""))
            return raw.response(method)

    def body(self, script="", stream=False, model=MODEL, **more):
        text = "fake?" + script if model == MODEL else script
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        if stream:
            body["stream"] = True
        return body

    def open(self, script="", stream=True, key=None, raw=None, fields=(), path="/v1/chat/completions", rcvbuf=None, port=None,
             **more):
        """Sends a chat request and reads the answer's head: an Answer to iterate. Its raw is open."""
        body = json.dumps(self.body(script, stream, **more)).encode()
        if raw is None:
            raw = self.raw(port, rcvbuf=rcvbuf)
            self.raws.append(raw)
        raw.send(self.head("POST", path, key, fields, len(body)) + body)
        return Answer(raw, raw.head())

    def chat(self, script="", stream=False, **more):
        """A whole chat."""
        answer = self.open(script, stream, **more)
        try:
            return answer.take_all(answer.raw)
        finally:
            answer.raw.close()

    def last_word(self, ask, seconds=PATIENCE):
        """The answer of ask(), which is asked again, as an SDK does, while it is refused for the moment: where a disk or a
        machine is slow, what calls before it reserved may not have come back within the time that a call waits for it."""
        until = time.monotonic() + seconds * SLOW
        while True:
            answer = ask()
            if answer.status != 429 or answer.response.get("retry-after") != "1" or time.monotonic() > until:
                return answer
            time.sleep(0.2)

    def text(self, tokens, kind="words", big=0):
        return fake_script.text(tokens, kind, big)
