# SPDX-License-Identifier: Apache-2.0
"""./quickstart as a newcomer runs it, in a copy of the tree: it ends by itself, what it prints works
verbatim, it may be repeated, and --stop leaves nothing. Then the same as a user without rights."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from factory import SLOW, TOP, Fake, free_port, wait_for

SKIPPED = ("build", "run", ".git", "autom4te.cache", "__pycache__", "node_modules")


def copy_tree(to):
    """What git would clone; uncommitted work too. A tarball has no git: all but what is made."""
    if os.path.exists(os.path.join(TOP, ".git")):
        names = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", TOP, "ls-files", "-z", "-c", "-o", "--exclude-standard"], check=True, capture_output=True
        ).stdout.decode().split("\0")
        for name in filter(None, names):
            if os.path.exists(os.path.join(TOP, name)):
                os.makedirs(os.path.dirname(os.path.join(to, name)), exist_ok=True)
                shutil.copy(os.path.join(TOP, name), os.path.join(to, name))
    else:
        shutil.copytree(TOP, to, ignore=shutil.ignore_patterns(*SKIPPED), dirs_exist_ok=True)


def processes(directory):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace")
            if directory in line and os.getpid() != int(pid):
                found.append(line)
        except OSError:
            pass
    return found


class Clone:
    def __init__(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="tfq"))
        os.chmod(self.dir, 0o755)
        self.port = free_port()
        self.user = []
        self.env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME")}
        copy_tree(self.dir)

    def run(self, *args, timeout=200, **env):
        began = time.monotonic()
        done = subprocess.run(
            [*self.user, os.path.join(self.dir, "quickstart"), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=timeout, cwd="/", env={**self.env, **env},
        )
        done.took = time.monotonic() - began
        return done

    def start(self, *args, **options):
        done = self.run("--port", str(self.port), *args, **options)
        assert done.returncode == 0, done.stdout + self.logs()
        return done

    def logs(self):
        text = ""
        directory = os.path.join(self.dir, "run", "log")
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            with open(os.path.join(directory, name), errors="replace") as f:
                text += "==> %s\n%s" % (name, f.read()[-3000:])
        return text

    def variables(self):
        with open(os.path.join(self.dir, "run", "env")) as f:
            return dict(re.match(r"export (\w+)=(.*)", line).groups() for line in f.read().splitlines())

    def pids(self):
        directory = os.path.join(self.dir, "run", "pid")
        return {n: open(os.path.join(directory, n)).read().split()[0] for n in os.listdir(directory)}


@pytest.fixture(scope="module")
def clone():
    made = Clone()
    yield made
    made.user = []
    made.run("--stop")
    left = processes(made.dir)
    shutil.rmtree(made.dir, ignore_errors=True)
    assert not left, left


def paragraphs(text):
    """The indented blocks of what quickstart prints."""
    blocks, block = [], []
    for line in text.splitlines() + [""]:
        if line.startswith("  "):
            block.append(line[2:])
        elif block:
            blocks.append("\n".join(block))
            block = []
    return blocks


def bash(clone, script):
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200,
        cwd=clone.dir, env=clone.env,
    )


@pytest.mark.timeout(1200)
def test_first_run(clone):
    done = clone.start(timeout=1190)
    assert "control plane" in done.stdout.lower(), done.stdout
    clone.printed = done.stdout
    assert set(clone.variables()) == {"TOKENFACTORY_BASE_URL", "TOKENFACTORY_API_KEY", "TOKENFACTORY_MODEL", "TOKENFACTORY_RUN_DIR"}
    assert clone.variables()["TOKENFACTORY_BASE_URL"] == "http://127.0.0.1:%d" % clone.port
    assert os.stat(os.path.join(clone.dir, "run", "env")).st_mode & 0o077 == 0
    assert clone.variables()["TOKENFACTORY_API_KEY"] not in clone.logs()
    # everything it made lies under build/ and run/, or is what autoreconf makes
    made = set(os.listdir(clone.dir)) - set(os.listdir(TOP)) - {"build", "run"}
    assert made <= {"configure", "aclocal.m4", "autom4te.cache", "Makefile.in", "config.h.in", "config.h.in~", "build-aux", "configure~"}, made


def test_second_run(clone):
    before = clone.pids()
    done = clone.start()
    assert done.took < 60 and "already running" in done.stdout and "control plane" in done.stdout.lower()
    assert clone.pids() == before


def test_the_printed_curl(clone):
    block = next(b for b in paragraphs(clone.printed) if "curl" in b)
    done = bash(clone, block)
    assert done.returncode == 0 and "data: [DONE]" in done.stdout and '"content"' in done.stdout, done.stdout + done.stderr


def test_the_printed_python(clone):
    block = next(b for b in paragraphs(clone.printed) if "from openai import OpenAI" in b)
    done = subprocess.run(
        [sys.executable, "-c", block], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200,
        env={**clone.env, **clone.variables()},
    )
    assert done.returncode == 0 and "control plane" in done.stdout.lower(), done.stdout + done.stderr


@pytest.mark.parametrize("label,shows", [("Usage:", r"\b[1-9]\d*\b"), ("Status:", r"\bstored +up\b"),
                                         ("Models:", r"\btokenfactory/tiny\b")])
def test_the_printed_commands(clone, label, shows):
    line = next(l for l in clone.printed.splitlines() if l.startswith(label))
    done = bash(clone, line.split(None, 1)[1])
    assert done.returncode == 0 and re.search(shows, done.stdout), done.stdout + done.stderr


@pytest.mark.timeout(450)
def test_a_changed_header_is_built(clone):
    """Who updates the tree and runs it again gets programs of one piece."""
    header = os.path.join(clone.dir, "keyctl", "kc.h")
    os.utime(header)
    clone.start()
    made = [os.path.join(d, n) for d, _, names in os.walk(os.path.join(clone.dir, "build", "keyctl")) for n in names if n.endswith(".o")]
    newer = [m for m in made if os.stat(m).st_mtime > os.stat(header).st_mtime]
    assert len(newer) > 5, made


@pytest.mark.timeout(450)
def test_other_options_restart(clone):
    old, clone.port = clone.port, free_port()
    clone.start()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", old)).close()
    socket.create_connection(("127.0.0.1", clone.port)).close()


@pytest.mark.timeout(450)
@pytest.mark.parametrize("suffix", ["/v1", "", "/v1/"])
def test_upstream(clone, suffix):
    fake = Fake()
    try:
        keyfile = os.path.join(clone.dir, "a key")
        with open(keyfile, "w") as f:
            f.write("sesame\n")
        os.chmod(keyfile, 0o644)  # as an editor leaves it
        done = clone.start(
            "--upstream", "http://127.0.0.1:%d%s" % (fake.port, suffix), "--model", "my/model", "--upstream-model", "theirs",
            "--upstream-key-file", keyfile,
        )
        assert "tok0 tok1" in done.stdout, done.stdout
        seen = fake.last()
        assert seen["target"] == "/v1/chat/completions" and seen["body"]["model"] == "theirs"
        assert ["authorization", "Bearer sesame"] in [[k.lower(), v] for k, v in seen["headers"]]
        assert clone.variables()["TOKENFACTORY_MODEL"] == "my/model"
        assert os.stat(os.path.join(clone.dir, "run", "upstream.key")).st_mode & 0o077 == 0
    finally:
        fake.close()


@pytest.mark.timeout(450)
def test_upstreams_of_other_dialects(clone):
    fake = Fake()
    try:
        done = clone.start("--upstream", fake.url, "--model", "my/model", "--upstream-dialect", "responses")
        assert "tok0 tok1" in done.stdout, done.stdout
        assert fake.last()["target"] == "/v1/responses" and fake.last()["body"]["model"] == "my/model"
        assert not os.path.exists(os.path.join(clone.dir, "run", "upstream.key"))  # of an earlier run
        done = clone.start("--upstream", fake.url, "--model", "my/model", "--upstream-dialect", "anthropic")
        assert "tok0 tok1" in done.stdout, done.stdout
        assert fake.last()["target"] == "/v1/messages" and fake.last()["body"]["model"] == "my/model"
        # a runtime that has no such API: what is printed says so
        fake.script("status=404")
        done = clone.run("--port", str(clone.port), "--upstream", fake.url, "--model", "my/model", "--upstream-dialect", "anthropic")
        assert done.returncode == 1 and "status=404" in done.stdout, done.stdout
    finally:
        fake.close()


@pytest.mark.parametrize("args", [["--port"], ["--port", "x"], ["--port", "0"], ["--port", "70000"], ["--upstream", "ftp://x", "--model", "m"],
                                  ["--upstream", "http://x"], ["--model", "m"], ["--nonsense"], ["--upstream-dialect", "smoke"]])
def test_bad_options(clone, args):
    done = clone.run(*args)
    assert done.returncode == 2 and "usage" in done.stdout


def test_port_in_use(clone):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = clone.run("--port", str(taken.getsockname()[1]))
    assert done.returncode == 1 and "in use" in done.stdout
    clone.start()


@pytest.mark.timeout(450)
def test_a_killed_daemon_is_noticed(clone):
    os.kill(int(clone.pids()["routerd"]), 9)
    time.sleep(0.2)
    done = clone.start()
    assert "control plane" in done.stdout.lower()


def test_stop(clone):
    done = clone.run("--stop")
    assert done.returncode == 0
    wait_for("nothing is left", lambda: not processes(clone.dir), 3)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", clone.port)).close()
    assert clone.run("--stop").returncode == 0


def test_missing_packages_without_rights(clone):
    """It prints the exact line and stops."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become nobody")
    stub = os.path.join(clone.dir, "stub")
    os.mkdir(stub)
    with open(os.path.join(stub, "dpkg-query"), "w") as f:
        f.write('#!/bin/sh\nfor last; do :; done\n[ "$last" = libinih-dev ] || echo "install ok installed"\n')
    with open(os.path.join(stub, "sudo"), "w") as f:
        f.write("#!/bin/sh\nexit 1\n")
    for name in os.listdir(stub):
        os.chmod(os.path.join(stub, name), 0o755)
    clone.user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    try:
        done = clone.run(PATH=stub + ":" + clone.env["PATH"])
    finally:
        clone.user = []
        shutil.rmtree(stub)
    assert done.returncode == 1 and "libinih-dev" in done.stdout and re.search(r"apt-get install .*libinih-dev", done.stdout), done.stdout


@pytest.mark.timeout(600)
def test_as_a_user_without_rights(clone):
    if os.getuid() != 0:
        pytest.skip("root only: the whole file has run as an ordinary user")
    home = os.path.join(clone.dir, "home")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ["HOME"], ".cache")
    runtime = os.path.join(cache, "tokenfactory", "runtime")
    if os.path.isdir(runtime):
        shutil.copytree(runtime, os.path.join(home, ".cache", "tokenfactory", "runtime"), symlinks=True)
    os.makedirs(home, exist_ok=True)
    shutil.rmtree(os.path.join(clone.dir, "run"))
    subprocess.run(["chown", "-R", "65534:65534", clone.dir], check=True)
    clone.env = {**clone.env, "HOME": home}
    clone.env.pop("XDG_CACHE_HOME", None)
    clone.user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = clone.start(timeout=590)
    assert "control plane" in done.stdout.lower()
    before = clone.pids()
    done = clone.start()
    assert done.took < 60 * SLOW and clone.pids() == before and "already running" in done.stdout, done.stdout
    assert clone.run("--stop").returncode == 0
    wait_for("nothing is left", lambda: not processes(clone.dir), 3)
