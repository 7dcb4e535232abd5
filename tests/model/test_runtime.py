#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_runtime.py - the real runtime with the project's own model.

Installs the runtime when it is not there (package registry needed), starts it
as workerd would and holds it to what the daemons rely on: readiness, usage,
streams, tools, schemas, embeddings, UNIX socket, a client that leaves, TERM.
Not part of make check, which must work without a network; runtests calls it.
"""

import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from test_files import MODEL, RUNTIME

import corpus
import gguf
import tokenizer

GGUF = os.path.join(MODEL, "tokenfactory-tiny.gguf")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get weather for a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server:
    """The runtime as a child; addr is a port or a socket's path."""

    def __init__(self, addr, *options):
        self.addr = addr
        where = (
            ["--host", addr]
            if isinstance(addr, str)
            else ["--host", "127.0.0.1", "--port", str(addr)]
        )
        argv = subprocess.run(
            [
                RUNTIME,
                "command",
                "--model",
                GGUF,
                "--alias",
                "tokenfactory-tiny",
                "--ctx",
                "4096",
                "--slots",
                "2",
                *where,
                *options,
            ],
            check=True,
            text=True,
            timeout=60,
            stdout=subprocess.PIPE,
        ).stdout.splitlines()
        self.log = tempfile.TemporaryFile()
        self.child = subprocess.Popen(
            argv, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL
        )
        path = subprocess.run(
            [RUNTIME, "ready-path"], check=True, text=True, stdout=subprocess.PIPE
        ).stdout.strip()
        end = time.monotonic() + 60
        while True:
            try:
                if self.ask("GET", path)[0] == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > end or self.child.poll() is not None:
                self.log.seek(0)
                said = self.log.read()[-2000:]
                self.stop()
                raise RuntimeError("the runtime is not ready: %r" % said)
            time.sleep(0.02)

    def connect(self):
        if isinstance(self.addr, str):
            return UnixConnection(self.addr)
        return http.client.HTTPConnection("127.0.0.1", self.addr, timeout=60)

    def ask(self, method, path, body=None):
        c = self.connect()
        try:
            c.request(
                method, path, body and json.dumps(body), {"Content-Type": "application/json"}
            )
            answer = c.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            c.close()

    def chat(self, text, **more):
        body = {
            "model": "tokenfactory-tiny",
            "temperature": 0,
            "max_tokens": 200,
            "messages": [{"role": "user", "content": text}],
            **more,
        }
        status, doc = self.ask("POST", "/v1/chat/completions", body)
        if status != 200:
            raise AssertionError(doc)
        return doc

    def busy(self):
        return sum(s["is_processing"] for s in self.ask("GET", "/slots")[1])

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise
        finally:
            self.log.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Behaviour(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run([RUNTIME, "install"], check=True, timeout=600, stdout=subprocess.DEVNULL)
        cls.server = Server(free_port(), "--embeddings")

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        assert status == 0, status

    def test_check(self):
        done = subprocess.run(
            [
                os.path.join(MODEL, "check.py"),
                "--base-url",
                "http://127.0.0.1:%d" % self.server.addr,
            ],
            text=True,
            timeout=300,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_same_tokens_as_in_training(self):
        with open(GGUF, "rb") as f:
            meta = gguf.Reader(f.read()).head()[0]
        vocab = list(
            zip(*(meta["tokenizer.ggml." + k] for k in ("tokens", "scores", "token_type")))
        )
        tok = tokenizer.Tokenizer(vocab)
        texts = [corpus.render(d) for d in itertools.islice(corpus.documents(77), 200)]
        texts += [
            "h\u00e9llo  w\u00f6rld\t\n\n \u6f22\u5b57 \U0001f642 x1y2",
            "  lead",
            "a\u2581b \u2581",
            "TOKEN_x-9",
        ]
        for t in texts:
            status, doc = self.server.ask(
                "POST", "/tokenize", {"content": t, "add_special": False, "parse_special": True}
            )
            self.assertEqual(status, 200)
            self.assertEqual(doc["tokens"], tok.encode(t), t)

    def test_template_is_that_of_training(self):
        system, user = "Be brief.", "What is 2+2?"
        chat = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        want = corpus.render([("system", system), ("user", user)]) + "<|im_start|>assistant\n"
        self.assertEqual(
            self.server.ask("POST", "/apply-template", {"messages": chat})[1]["prompt"], want
        )
        want = (
            corpus.render(
                [
                    ("system", system + "\n" + corpus.TOOLS_HEAD + "get_weather(city)\n"),
                    ("user", user),
                ]
            )
            + "<|im_start|>assistant\n"
        )
        self.assertEqual(
            self.server.ask("POST", "/apply-template", {"messages": chat, "tools": TOOLS})[1][
                "prompt"
            ],
            want,
        )

    def test_usage_and_finish(self):
        doc = self.server.chat("Count from 1 to 100", max_tokens=7)
        self.assertEqual(doc["choices"][0]["finish_reason"], "length")
        usage = doc["usage"]
        self.assertEqual(usage["completion_tokens"], 7)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 7)
        self.assertEqual(self.server.chat("Hello!")["choices"][0]["finish_reason"], "stop")

    def test_tool_call_and_result(self):
        for choice in ("auto", "required"):
            doc = self.server.chat(
                "What's the weather in London?", tools=TOOLS, tool_choice=choice
            )
            call = doc["choices"][0]["message"]["tool_calls"][0]
            self.assertEqual(doc["choices"][0]["finish_reason"], "tool_calls")
            self.assertEqual(call["function"]["name"], "get_weather")
            self.assertEqual(json.loads(call["function"]["arguments"]), {"city": "London"})
        chat = [
            {"role": "user", "content": "What's the weather in London?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "12C and rain"},
        ]
        text = self.server.chat("", messages=chat, tools=TOOLS)["choices"][0]["message"]["content"]
        self.assertIn("12C", text)

    def test_schema(self):
        schema = {
            "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": 0, "maximum": 9},
                "c": {"enum": ["red", "blue"]},
            },
            "required": ["n", "c"],
            "additionalProperties": False,
        }
        doc = self.server.chat(
            "Pick.",
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "p", "strict": True, "schema": schema},
            },
        )
        got = json.loads(doc["choices"][0]["message"]["content"])
        self.assertEqual(sorted(got), ["c", "n"])
        self.assertIn(got["c"], ("red", "blue"))
        self.assertIn(got["n"], range(10))

    def test_embeddings(self):
        status, doc = self.server.ask(
            "POST", "/v1/embeddings", {"model": "x", "input": ["a token", "rivers"]}
        )
        self.assertEqual(status, 200)
        self.assertEqual([len(d["embedding"]) for d in doc["data"]], [256, 256])

    def leave_a_stream(self):
        """How long it went on, and how long it would have taken to its end."""
        c = self.server.connect()
        began = time.monotonic()
        c.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(
                {
                    "messages": [{"role": "user", "content": "Write a long story"}],
                    "stream": True,
                    "max_tokens": 3500,
                    "ignore_eos": True,
                    "model": "x",
                }
            ),
            {"Content-Type": "application/json"},
        )
        answer = c.getresponse()
        for _ in range(2 * 350):  # an event and an empty line
            answer.readline()
        self.assertEqual(self.server.busy(), 1)
        left = time.monotonic()
        answer.close()
        c.close()
        while self.server.busy():
            time.sleep(0.01)
        return time.monotonic() - left, 9 * (left - began)

    def test_client_leaves_a_stream(self):
        times = []
        while not times or times[-1][0] > times[-1][1] / 3:
            self.assertLess(len(times), 5, times)  # a busy machine is slow now and then
            times.append(self.leave_a_stream())


class UnixSocket(unittest.TestCase):
    def test_serves_and_starts_again(self):
        subprocess.run([RUNTIME, "install"], check=True, timeout=600, stdout=subprocess.DEVNULL)
        with tempfile.TemporaryDirectory() as where:
            for _ in range(2):  # the first leaves its socket behind, as after a crash
                server = Server(os.path.join(where, "runtime.sock"))
                try:
                    doc = server.chat("ping")
                finally:
                    server.child.kill()
                    status = server.stop()
                self.assertEqual(doc["choices"][0]["message"]["content"], "pong")
                self.assertEqual(status, -signal.SIGKILL)


class Install(unittest.TestCase):
    def setUp(self):
        self.cache = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.cache)
        self.env = {**os.environ, "XDG_CACHE_HOME": self.cache, "TOKENFACTORY_RUNTIME": "wheel"}
        # what pip has downloaded before need not come through the network again
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.env.setdefault("PIP_CACHE_DIR", os.path.join(cache, "pip"))

    def start(self):
        return subprocess.Popen(
            [RUNTIME, "install"],
            env=self.env,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def test_parallel_killed_and_again(self):
        killed = self.start()
        time.sleep(0.5)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate(timeout=60)
        runs = [self.start(), self.start()]
        out = [r.communicate(timeout=600) for r in runs]
        self.assertEqual([r.returncode for r in runs], [0, 0], out)
        self.assertEqual(out[0][0], out[1][0])
        root = os.path.join(self.cache, "tokenfactory", "runtime")
        self.assertEqual(
            sorted(os.listdir(root)), [".lock", os.path.basename(os.path.dirname(out[0][0]))]
        )
        again = self.start().communicate(timeout=60)
        self.assertEqual(again, (out[0][0], ""))  # else it says that it installs


if __name__ == "__main__":
    unittest.main()
