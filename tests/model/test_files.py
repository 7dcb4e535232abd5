#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_files.py - what can be checked of model/ without a runtime.

The committed GGUF is well formed and within its size, its template and prompts
are those of the sources, the corpus is deterministic, and runtime.sh refuses
and prints what it documents.  Standard library only; called by make check.
"""

import itertools
import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.realpath(
    os.environ.get("top_srcdir") or os.path.join(os.path.dirname(__file__), "../..")
)
MODEL = os.path.join(TOP, "model")
RUNTIME = os.path.join(MODEL, "runtime.sh")
sys.dont_write_bytecode = True
sys.path.insert(0, MODEL)

import corpus
import gguf
import tokenizer


class Weights(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(MODEL, "tokenfactory-tiny.gguf"), "rb") as f:
            cls.data = f.read()
        cls.meta, cls.info, cls.start = gguf.Reader(cls.data).head()

    def test_size(self):
        self.assertLessEqual(len(self.data), 8 << 20)
        weights = sum(
            dims[0] * (dims[1] if len(dims) > 1 else 1) for dims, _, _ in self.info.values()
        )
        self.assertTrue(2e6 < weights < 8e6, weights)

    def test_head(self):
        self.assertEqual(self.meta["general.architecture"], "llama")
        self.assertGreaterEqual(self.meta["llama.context_length"], 2048)
        self.assertEqual(self.meta["general.license"], "apache-2.0")
        self.assertEqual(self.meta["tokenizer.chat_template"], corpus.TEMPLATE)

    def test_vocabulary(self):
        tokens, kinds = self.meta["tokenizer.ggml.tokens"], self.meta["tokenizer.ggml.token_type"]
        self.assertEqual(len(set(tokens)), len(tokens))
        self.assertEqual(len(tokens), self.info["token_embd.weight"][0][1])
        for i, (piece, _, kind) in enumerate(tokenizer.base_vocabulary()):
            self.assertEqual((tokens[i], kinds[i]), (piece, kind))
        self.assertEqual(tokens[self.meta["tokenizer.ggml.eos_token_id"]], "<|im_end|>")

    def test_tensors_lie_inside(self):
        spans = []
        for name, (dims, kind, offset) in self.info.items():
            n = dims[0] * (dims[1] if len(dims) > 1 else 1)
            size = {0: n * 4, 8: n // 32 * 34}[kind]
            self.assertEqual(offset % 32, 0, name)
            self.assertLessEqual(self.start + offset + size, len(self.data), name)
            spans.append((offset, offset + size))
        spans.sort()
        for (_, end), (begin, _) in zip(spans, spans[1:]):
            self.assertLessEqual(end, begin)

    def test_reader_notices_a_cut(self):
        with self.assertRaises(ValueError):
            gguf.Reader(self.data[:5000]).head()


class Corpus(unittest.TestCase):
    def test_same_seed_same_text(self):
        a, b, c = [
            [corpus.render(d) for d in itertools.islice(corpus.documents(s), 300)]
            for s in (5, 5, 6)
        ]
        self.assertEqual(a, b)
        self.assertNotEqual(a, c)

    def test_every_document_ends_with_the_assistant(self):
        for d in itertools.islice(corpus.documents(1), 2000):
            self.assertEqual(d[-1][0], "assistant")
            self.assertTrue(all(text.strip() for _, text in d), d)

    def test_tokenizer_is_reversible(self):
        texts = [corpus.render(d) for d in itertools.islice(corpus.documents(2), 200)]
        tok = tokenizer.Tokenizer(tokenizer.learn(texts, 450))
        plain = "Gr\u00fc\u00dfe  an\n\talle \U0001f642 2+2=4; tokens"
        self.assertEqual(tok.decode(tok.encode(plain)), plain)
        self.assertLess(len(tok.encode(texts[0])), len(texts[0]))
        self.assertEqual(tok.encode("<|im_start|>")[0], tokenizer.IM_START)

    def test_prompts(self):
        with open(os.path.join(MODEL, "prompts.json"), encoding="utf-8") as f:
            prompts = json.load(f)
        self.assertEqual(len(prompts), 30)
        self.assertEqual(len({p["prompt"] for p in prompts}), 30)
        for p in prompts:
            self.assertGreaterEqual(len(p["expect"]), 3)
            self.assertNotIn(
                p["expect"].lower(), "" if p["prompt"].startswith("Say") else p["prompt"].lower()
            )
        self.assertTrue(any(p.get("min_tokens", 0) >= 150 for p in prompts))


class Runtime(unittest.TestCase):
    def run_it(self, *args, **env):
        done = subprocess.run(
            [RUNTIME, *args],
            env={**os.environ, **env},
            text=True,
            timeout=60,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return done.returncode, done.stdout, done.stderr

    def fake(self, where, status):
        path = os.path.join(where, "llama-server")
        with open(path, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\nexit %d\n" % status)
        os.chmod(path, stat.S_IRWXU)
        return path

    def test_usage_errors(self):
        for args in (
            [],
            ["what"],
            ["install", "x"],
            ["command"],
            ["command", "--model"],
            ["command", "--bad", "1"],
            ["command", "--model", "m", "--port", "70000"],
            ["command", "--model", "m", "--port", "08"],
            ["command", "--model", "m", "--slots", "0"],
            ["command", "--model", "m", "--ctx", "-1"],
            ["command", "--model", "m", "--slots", "0x2"],
            ["command", "--model", "a\nb"],
        ):
            status, out, err = self.run_it(*args)
            self.assertEqual((status, out), (2, ""), args)
            self.assertIn("runtime.sh: ", err)

    def test_ready_path(self):
        self.assertEqual(self.run_it("ready-path")[:2], (0, "/health\n"))

    def test_server_on_path_is_preferred(self):
        with tempfile.TemporaryDirectory() as where:
            fake = self.fake(where, 0)
            env = dict(
                PATH=where + ":/usr/bin:/bin", XDG_CACHE_HOME=where, TOKENFACTORY_RUNTIME=""
            )
            self.assertEqual(self.run_it("install", **env)[:2], (0, fake + "\n"))
            status, out, _ = self.run_it(
                "command",
                "--model",
                "a b.gguf",
                "--port",
                "81",
                "--ctx",
                "1000",
                "--slots",
                "3",
                "--alias",
                "x y",
                **env
            )
            self.assertEqual(status, 0)
            argv = out.split("\n")
            self.assertEqual(argv[:3], [fake, "--model", "a b.gguf"])
            pairs = dict(zip(argv[1::2], argv[2::2]))
            self.assertEqual(pairs["--ctx-size"], "3000")
            self.assertEqual(pairs["--parallel"], "3")
            self.assertIn("x y", argv)

    def test_broken_or_unwanted_server_is_passed_over(self):
        with tempfile.TemporaryDirectory() as where:
            for status, wanted in ((1, ""), (0, "wheel")):
                self.fake(where, status)
                got, out, err = self.run_it(
                    "path",
                    PATH=where + ":/usr/bin:/bin",
                    XDG_CACHE_HOME=where,
                    TOKENFACTORY_RUNTIME=wanted,
                )
                self.assertEqual((got, out), (1, ""))
                self.assertIn("not installed", err)

    def test_no_home(self):
        status, _, err = self.run_it(
            "path", XDG_CACHE_HOME="relative", TOKENFACTORY_RUNTIME="wheel"
        )
        self.assertEqual(status, 1)
        self.assertIn("absolute", err)


if __name__ == "__main__":
    unittest.main()
