# SPDX-License-Identifier: Apache-2.0
"""What real clients sent (tests/recordings) is sent again, with the factory's key and each shortened part
filled to its length: every request gets the status that the route table and EXPECTED say and a whole answer of the called API's
shape (valid.py), once with a runtime that talks and once with one that thinks and calls tools."""
import glob
import json
import os
import re

import pytest

import valid
from factory import MODEL, TOP

CUT = re.compile(r"^(.*)…\[(\d+) chars\]$", re.S)
NAMES = """m m/x claude-* gpt-5 gpt-5.5 deepseek-ai/DeepSeek-R1-0528 meta-llama/Llama-3.3-70B-Instruct openai/gpt-oss-120b
Qwen/Qwen3-235B-A22B BAAI/bge-en-icl e whisper-large-v3 canopylabs/orpheus-v1-english black-forest-labs/flux-schnell x""".split()
ABLE = "chat, completions, embeddings, streaming, tools, json, vision, audio, files, thinking, transcription, speech, images"
FACTORY = {"conf": {"model " + MODEL: {"aliases": ", ".join(NAMES), "capabilities": ABLE}}}
SCRIPTS = {"talks": "prompt=40", "calls": "prompt=40&reasoning=both&tools=2&interleave=1"}

# What a request gets that is neither served (200) nor below a path without a route (404, or 405 when the
# route is there for other methods): (client's file, n or None, path below the surface's prefix, status)
EXPECTED = [
    ("openai_sdk", None, "responses/resp_.+", 404),  # a response that this factory never made
    ("codex_doctor", 2, "models", 401),  # asks without a key
    ("codex_builtin", 1, "responses", 426),  # tries a WebSocket
    ("openai_agents", 10, "responses", 404),  # goes on behind an answer that is not kept
    ("vercel_item_reference", 2, "responses", 400),  # the same with an item of one
    ("anthropic_sdk_1_11", 20, "messages", 400),  # threads, which are refused with the code that SDKs know
    ("anthropic_sdk_1_11", 21, "messages", 400),
    ("anthropic_toolrunner_threads", 1, "messages", 400),
    ("anthropic_toolrunner_threads", 4, "messages", 400),
]


def routes():
    """{path pattern: methods} of what the gateway serves, from its own table."""
    found = {}
    with open(os.path.join(TOP, "gatewayd", "route.def")) as f:
        for method, pattern in re.findall(r'^ROUTE\(\w+, (\w+), "([^"]*)"', f.read(), re.M):
            path = "/".join(".+" if p == "{rest}" else "[^/]+" if p.startswith("{") else re.escape(p) for p in pattern.split("/"))
            found.setdefault(path, set()).add(method)
    return found


ROUTES = routes()


PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)  # as much of one as tells its kind: recorded forms carry three letters


def restore(value):
    if isinstance(value, str):
        cut = CUT.match(value)
        return cut.group(1) + "x" * (int(cut.group(2)) - len(cut.group(1))) if cut else value
    if isinstance(value, list):
        return [restore(v) for v in value]
    if not isinstance(value, dict):
        return value
    made = {name: restore(v) for name, v in value.items() if name != "…"}
    if "…" in value:  # a schema of which the names are left
        made["properties"] = {name: {} for name in value.get("properties") or []}
        made["required"] = value.get("required") or []
    return made


def recordings():
    for path in sorted(glob.glob(os.path.join(TOP, "tests", "recordings", "*.jsonl"))):
        with open(path, encoding="utf-8") as f:
            for line in f:
                request = {"client": os.path.basename(path)[:-6], **json.loads(line)}
                yield pytest.param(request, id="%s-%d" % (request["client"], request["n"]))


def below(url):
    """The path below a surface's prefix."""
    return re.sub(r"^/(openai|anthropic)?/?(v1/)?", "", url.partition("?")[0])


def expected(request):
    path = below(request["url"])
    for client, n, pattern, status in EXPECTED:
        if client in (None, request["client"]) and n in (None, request["n"]) and re.fullmatch(pattern, path):
            return status
    methods = [m for pattern, m in ROUTES.items() if re.fullmatch(pattern, path)]
    if not methods:
        return 404
    allowed = set().union(*methods)
    return 200 if allowed & {request["method"], "GET" if request["method"] == "HEAD" else None} else 405


def send(factory, request):
    body = request["body"]
    body = b"" if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    body = body.replace(b"\r\n\r\nPNG\r\n", b"\r\n\r\n" + PNG + b"\r\n")
    lines = ["%s %s HTTP/1.1" % (request["method"], request["url"]), "Host: 127.0.0.1"]
    for name, value in request["headers"].items():
        if name in ("authorization", "x-api-key"):
            value = re.sub(r"\S+$", factory.key, value)
        lines.append("%s: %s" % (name, restore(value)))
    if body or request["method"] == "POST":
        lines.append("Content-Length: %d" % len(body))
    with factory.raw() as raw:
        raw.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        return raw.response(request["method"])


WHOLE = {
    "chat/completions": (valid.chat, valid.chat_stream),
    "responses": (valid.response, valid.response_stream),
    "responses/input_tokens": (valid.input_tokens, None),
    "messages": (valid.message, valid.message_stream),
    "messages/count_tokens": (valid.token_count, None),
    "embeddings": (valid.embeddings, None),
    "completions": (valid.completion, valid.completion_stream),
}


def check(request, answer):
    anthropic = request["url"].startswith("/anthropic")
    assert answer.get("x-request-id") and answer.get("request-id") == answer.get("x-request-id")
    if request["method"] == "HEAD":
        assert answer.body == b""
        return
    if answer.status != 200:
        (valid.anthropic_error if anthropic else valid.openai_error)(answer.json(), answer.status)
        return
    path = below(request["url"])
    if path.startswith("models"):
        names = {False: (valid.openai_models, valid.openai_model), True: (valid.anthropic_models, valid.anthropic_model)}
        names[anthropic][path != "models"](answer.json(), None)
        return
    if path.startswith("images/"):
        valid.images(answer.json(), request["body"])
        return
    if path == "audio/speech":
        assert answer.get("content-type") == "audio/mpeg" and len(answer.body) > 100
        return
    if path.startswith("audio/"):
        valid.transcript(answer.json(), "verbose_json" in request["body"])
        return
    whole, stream = WHOLE[path]
    if request["body"].get("stream"):
        assert answer.get("content-type").startswith("text/event-stream")
        stream(valid.frames(answer.body.decode()), request["body"])
    else:
        assert answer.get("content-type").startswith("application/json")
        whole(answer.json(), request["body"])


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("recorded", list(recordings()))
def test_request(factory, recorded, script):
    request = {"headers": {"authorization": "Bearer KEY", "content-type": "application/json"}, "body": None, **recorded}
    request["body"] = restore(request["body"])
    factory.fake.script(SCRIPTS[script])
    answer = send(factory, request)
    assert answer.status == expected(request), answer.body[:500]
    check(request, answer)
