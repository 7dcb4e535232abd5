# SPDX-License-Identifier: Apache-2.0
"""The code that the product's pages show (samples/), each as a program of its own. A copy runs in which
only the host and the key are others; the models are in the catalogue under the pages' names."""
import ast
import json
import os
import re
import shutil
import subprocess
import urllib.request

import pytest

import clients
from factory import HERE, SLOW, TOP
from fake_audio import sound
from fake_plain import image

TALKS = ["deepseek-ai/DeepSeek-R1-0528", "meta-llama/Llama-3.3-70B-Instruct", "openai/gpt-oss-120b", "Qwen/Qwen3-235B-A22B",
         "claude-3-5-sonnet-20241022"]
CHAT = {"capabilities": "chat, streaming, tools, json, vision, thinking", "created": "1760000000"}
OTHERS = {
    "BAAI/bge-en-icl": {"capabilities": "embeddings", "modality": "embeddings"},
    "whisper-large-v3": {"capabilities": "transcription"},
    "canopylabs/orpheus-v1-english": {"capabilities": "speech", "modality": "audio"},
    "black-forest-labs/flux-schnell": {"capabilities": "images", "modality": "image"},
}
HOST = "https://api.tokenfactory.ai"
HAIKU = "Tokens flow like streams,\nEach word a unit of thought,\nModels breathe them in."
FACTORY = {
    "conf": {
        **{"model " + name: CHAT for name in TALKS},
        **{"model " + name: able for name, able in OTHERS.items()},
        "worker fake": {"models": ", ".join(TALKS + list(OTHERS))},
        "plan slow": {"rpm": "1"},
    }
}


@pytest.fixture(scope="module")
def shelf(factory):
    """A directory with the copies, and what Node looks for beside them."""
    path = os.path.join(factory.dir, "samples")
    os.mkdir(path)
    os.symlink(os.path.join(clients.SETS, "node_modules"), os.path.join(path, "node_modules"))
    factory.keyctl("workspace", "create", "slow", "--plan", "slow")
    factory.slow_key = factory.mint(workspace="slow")
    return path


def command(path, environment):
    if path.endswith(".py"):
        return [os.path.join(clients.SETS, environment, "bin", "python"), path]
    if path.endswith(".mjs"):
        return [os.path.join(clients.SETS, "venv", "bin", "node"), path]
    return ["/bin/sh", path]


def run(factory, shelf, name, script="say=" + HAIKU.replace(" ", "+"), environment="venv"):
    """Its standard output. script: what the runtime answers."""
    with open(os.path.join(HERE, "samples", name), encoding="utf-8") as f:
        text = f.read()
    assert HOST in text
    text = re.sub(r"tf-your-(api-)?key(-here)?", factory.key, text.replace(HOST, factory.url))
    copy = os.path.join(shelf, name)
    with open(copy, "w", encoding="utf-8") as f:
        f.write(text)
    factory.fake.script(script)
    env = {"PATH": "/usr/bin:/bin", "HOME": factory.dir, "PYTHONDONTWRITEBYTECODE": "1",
           "TOKENFACTORY_API_KEY": factory.key, "TOKENFACTORY_SLOW_KEY": factory.slow_key}
    done = subprocess.run(
        command(copy, environment), env=env, cwd=shelf, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90 * SLOW,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name", ["openai_quick.py", "openai_quick.mjs", "anthropic_quick.py", "anthropic_quick.mjs", "openai_haiku.py",
             "anthropic_haiku.py", "openai_chat.py", "anthropic_messages.py"],
)
def test_an_answer_is_printed(factory, shelf, name):
    assert run(factory, shelf, name) == HAIKU + "\n"


@pytest.mark.parametrize("name", ["openai_stream.py", "anthropic_stream.py"])
def test_a_stream_is_printed(factory, shelf, name):
    assert run(factory, shelf, name) == HAIKU


def test_curl(factory, shelf):
    answer = json.loads(run(factory, shelf, "openai_quick.sh"))
    assert answer["choices"][0]["message"]["content"] == HAIKU
    answer = json.loads(run(factory, shelf, "anthropic_quick.sh"))
    assert answer["content"][0]["text"] == HAIKU


def test_a_thinking_model_still_answers_with_text_first(factory, shelf):
    script = "reasoning=reasoning_content&say=four"
    assert run(factory, shelf, "openai_chat.py", script) == "four\n"
    assert run(factory, shelf, "anthropic_messages.py", script) == "four\n"


def test_tools(factory, shelf):
    script = 'tools=1&args={"city":"London"}'
    assert run(factory, shelf, "openai_tools.py", script) == 'get_weather {"city":"London"}\n'
    assert run(factory, shelf, "anthropic_tools.py", script) == "get_weather London\n"


def test_embeddings(factory, shelf):
    assert run(factory, shelf, "openai_embeddings.py", "dims=4096") == "4096\n"


def test_a_recording_is_heard(factory, shelf):
    shutil.copy(os.path.join(TOP, "tests", "media", "cbr.mp3"), os.path.join(shelf, "audio.mp3"))
    assert run(factory, shelf, "openai_transcribe.py", "heard=hello+world") == "hello world\n"


def test_speech_is_written(factory, shelf):
    run(factory, shelf, "openai_speak.py", "")
    with open(os.path.join(shelf, "output.mp3"), "rb") as f:
        assert f.read() == sound("Hello, welcome to Token Factory.", "mp3")


def test_an_image_has_an_address(factory, shelf):
    address = run(factory, shelf, "openai_image.py", "").strip()
    with urllib.request.urlopen(address, timeout=60 * SLOW) as answer:
        assert answer.read() == image("A futuristic AI server farm at sunset", 0)


def test_errors_are_told_by_their_class(factory, shelf):
    assert run(factory, shelf, "errors_both.py", "say=hello") == "hello\nretry\nthe same\n"


def test_models(factory, shelf):
    lines = [line.split() for line in run(factory, shelf, "openai_models.py").splitlines()]
    assert {line[0] for line in lines} >= set(TALKS) and all(int(line[1]) >= 0 for line in lines)
    listed = ast.literal_eval(run(factory, shelf, "anthropic_models.py", environment="python-old"))
    assert {m["id"] for m in listed["data"]} >= set(TALKS)


def test_usage(factory, shelf):
    said = ast.literal_eval(run(factory, shelf, "usage.py", environment="python-agents"))
    assert said["object"] == "usage" and (said["period"], said["surface"]) == ("month", "all")


def test_placeholder_key_is_refused_politely(factory):
    for key in ("tf-your-api-key-here", "tf-your-key-here"):
        answer = factory.call("POST", "/openai/v1/chat/completions", {"model": TALKS[0], "messages": []}, key=key)
        assert answer.status == 401 and answer.error["code"] == "unauthorized"
