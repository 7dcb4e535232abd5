#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check.py - does the project's own model say what it was taught?

    check.py --base-url URL [--key K] [--model ID] [--need N] [--prompts FILE] [-v]

Sends each prompt of prompts.json to URL/v1/chat/completions at temperature 0,
every second one streamed, and looks for the expected phrase in the answer,
regardless of case.  URL is with or without /v1: a runtime, or Token Factory in
front of one.  Standard library only.  Exit status: 0 when at least N (default
27) are right, 1 when fewer, 2 when the service cannot be asked.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.realpath(__file__))


def options():
    ap = argparse.ArgumentParser()
    ap.add_argument("--base-url", required=True)
    ap.add_argument("--key", default=os.environ.get("TOKENFACTORY_API_KEY", ""))
    ap.add_argument("--model", default="tokenfactory-tiny")
    ap.add_argument("--need", type=int, default=27)
    ap.add_argument("--prompts", default=os.path.join(HERE, "prompts.json"))
    ap.add_argument("--timeout", type=float, default=60, help="seconds for one answer")
    ap.add_argument("-v", "--verbose", action="store_true", help="print every answer")
    opt = ap.parse_args()
    opt.base_url = opt.base_url.rstrip("/")
    if not opt.base_url.endswith("/v1"):
        opt.base_url += "/v1"
    return opt


def messages(case):
    out = [{"role": "system", "content": case["system"]}] if "system" in case else []
    for i, text in enumerate(case.get("turns", [])):
        out.append({"role": "assistant" if i % 2 else "user", "content": text})
    return out + [{"role": "user", "content": case["prompt"]}]


def read_stream(answer):
    """(text, output tokens) of a stream; fails unless it ends with [DONE]."""
    text, tokens = "", None
    for line in answer:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return text, tokens
        event = json.loads(data)
        if "error" in event:
            raise ValueError("error in the stream: %s" % event["error"])
        if event.get("usage"):
            tokens = event["usage"]["completion_tokens"]
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
    raise ValueError("the stream ended without [DONE]")


def ask(opt, case, stream):
    body = {
        "model": opt.model,
        "messages": messages(case),
        "temperature": 0,
        "max_tokens": 700,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    head = {"Content-Type": "application/json"}
    if opt.key:
        head["Authorization"] = "Bearer " + opt.key
    req = urllib.request.Request(
        opt.base_url + "/chat/completions", json.dumps(body).encode(), head
    )
    with urllib.request.urlopen(req, timeout=opt.timeout) as answer:
        if stream:
            return read_stream(answer)
        doc = json.load(answer)
    return doc["choices"][0]["message"]["content"], doc["usage"]["completion_tokens"]


def main():
    opt = options()
    with open(opt.prompts, encoding="utf-8") as f:
        cases = json.load(f)
    right = 0
    for i, case in enumerate(cases):
        try:
            text, tokens = ask(opt, case, i % 2 == 1)
        except urllib.error.HTTPError as e:
            print(
                "check.py: %s: %s" % (e, e.read(500).decode("utf-8", "replace")), file=sys.stderr
            )
            return 2
        except (OSError, ValueError, KeyError) as e:
            print("check.py: %s" % e, file=sys.stderr)
            return 2
        good = case["expect"].lower() in text.lower() and (tokens or 0) >= case.get(
            "min_tokens", 1
        )
        right += good
        if opt.verbose or not good:
            print("%s  %s -> %s" % ("right" if good else "WRONG", case["prompt"], text))
    print("%d of %d right, %d needed" % (right, len(cases), opt.need))
    return 0 if right >= opt.need else 1


if __name__ == "__main__":
    sys.exit(main())
