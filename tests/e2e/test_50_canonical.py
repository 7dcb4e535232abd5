# SPDX-License-Identifier: Apache-2.0
"""Whatever a runtime sends, clients get canonical chat completions: every stream that makes the
vendors' SDKs throw is mended or turned into an honest error."""
import json

import openai
import pytest

USAGE = {"stream_options": {"include_usage": True}}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]


@pytest.mark.parametrize(
    "script",
    ["norole", "nodone", "usagenochoices", "usagelast", "comments", "crlf", "nospace", "split=1", "split=3", "frame=1",
     "frame=7", "interim", "closed", "bad_field=1", "usage=always", "text=emoji&split=1", "text=emoji&ascii=1",
     "text=quotes", "event=message", "ctype=text/event-stream; charset=utf-8"],
)
def test_mended(factory, script):
    if "=" not in script:
        script += "=1"
    answer = factory.chat("tokens=4&" + script, stream=True, **USAGE).check_canonical(usage=True)
    kind = "emoji" if "emoji" in script else "quotes" if "quotes" in script else "words"
    assert answer.text() == factory.text(4, kind) and answer.finish() == "stop"
    assert answer.usage["completion_tokens"] == 4


@pytest.mark.parametrize("script", ["nofinish=1&nodone=1", "abort=2", "fin=2", "cut=2", "error_at=2"])
def test_a_broken_stream_is_an_error(factory, script):
    """No fake finish reason, no [DONE]: an error event, so that SDKs raise."""
    answer = factory.chat("tokens=4&delay_ms=5&" + script, stream=True)
    assert answer.status == 200 and answer.error is not None and not answer.done and answer.finish() is None
    assert answer.error["type"] == "server_error" and answer.error["message"] and "param" in answer.error
    assert answer.text() == factory.text(4 if "nofinish" in script else 2)
    assert "127.0.0.1" not in json.dumps(answer.error) and answer.ended == "clean"


def test_nofinish_with_done(factory):
    """[DONE] says that the runtime believes it is complete: a finish reason is made."""
    answer = factory.chat("tokens=4&nofinish=1", stream=True)
    assert (answer.done and answer.finish() == "stop") or answer.error, answer.events[-1]


@pytest.mark.parametrize("script", ["bad=2"])
def test_an_event_that_is_no_json(factory, script):
    answer = factory.chat("tokens=4&" + script, stream=True)
    if answer.error is None:
        answer.check_canonical()
        assert answer.text() == factory.text(4)
    else:
        assert not answer.done


@pytest.mark.parametrize("stream", [True, False])
def test_a_runtime_that_aborts(factory, stream):
    """Its finish reason says that the answer is not whole: no reason of ours may say otherwise."""
    answer = factory.chat("tokens=3&finish=abort", stream=stream)
    assert answer.error and answer.error["type"] == "server_error" and not answer.done


TOOL_FAULTS = ["tool_notype", "tool_noid", "tool_noindex", "tool_noargs", "tool_emptyargs", "tool_namerepeat", "interleave"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", [""] + TOOL_FAULTS)
@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_tool_calls(factory, fault, finish, stream):
    n = 1 if fault == "tool_noindex" else 2
    script = "tools=%d&finish=%s&%s=1" % (n, finish, fault)
    answer = factory.chat(script, stream=stream, tools=TOOLS)
    if stream:
        answer.check_canonical()
        calls = {}
        for delta in answer.deltas():
            for piece in delta.get("tool_calls", []):
                assert isinstance(piece["index"], int)
                call = calls.setdefault(piece["index"], {"id": None, "type": None, "name": None, "arguments": ""})
                function = piece.get("function") or {}
                for name, value in (("id", piece.get("id")), ("type", piece.get("type")), ("name", function.get("name"))):
                    if call[name] is None:
                        assert value, "the first fragment of a call lacks its " + name
                        call[name] = value
                    else:
                        assert value in (None, call[name])
                call["arguments"] += function.get("arguments") or ""
        found = [calls[i] for i in sorted(calls)]
    else:
        message = answer.whole["choices"][0]["message"]
        assert message["role"] == "assistant"
        found = [{"id": c["id"], "type": c["type"], **c["function"]} for c in message["tool_calls"]]
    assert answer.finish() == "tool_calls"
    assert len(found) == n and len({c["id"] for c in found}) == n
    for i, call in enumerate(found):
        assert call["type"] == "function" and call["name"] == "get_weather" and call["id"]
        arguments = json.loads(call["arguments"])
        assert arguments == ({} if "args" in fault else {"city": "Paris", "days": i}), call


@pytest.mark.parametrize("stream", [True, False])
def test_finish_tool_calls_without_calls(factory, stream):
    answer = factory.chat("tokens=3&finish=tool_calls", stream=stream)
    assert answer.finish() == "stop" and answer.text() == factory.text(3)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("finish", ["stop", "length", "content_filter", "eos", "model_length"])
def test_finish_reasons(factory, finish, stream):
    answer = factory.chat("tokens=3&finish=" + finish, stream=stream)
    assert answer.finish() in ("stop", "length", "content_filter")
    if finish in ("length", "content_filter"):
        assert answer.finish() == finish


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "both"])
def test_reasoning_under_both_names(factory, name, stream):
    answer = factory.chat("tokens=2&reasoning=" + name, stream=stream)
    if stream:
        answer.check_canonical()
        got = [
            "".join(d.get(n) or "" for d in answer.deltas()) for n in ("reasoning_content", "reasoning")
        ]
    else:
        message = answer.whole["choices"][0]["message"]
        got = [message.get("reasoning_content"), message.get("reasoning")]
    assert got == ["thinking", "thinking"] and answer.text() == factory.text(2)


@pytest.mark.parametrize("script", ["norole=1", "nofinish=1", "usage=never", "tokens=0"])
def test_unstreamed_mended(factory, script):
    whole = factory.chat(script).whole
    choice = whole["choices"][0]
    assert choice["message"]["role"] == "assistant" and choice["finish_reason"] == "stop"
    assert isinstance(choice["message"]["content"], str) and choice["message"]["refusal"] is None
    assert whole["usage"]["total_tokens"] == whole["usage"]["prompt_tokens"] + whole["usage"]["completion_tokens"]


@pytest.mark.parametrize("script", ["bad=0", "short=1", "fin=1", "cut=1", "ctype=text/html&bad=0", "error_first=1"])
def test_unstreamed_broken(factory, script):
    answer = factory.chat(script)
    assert answer.status in (500, 502, 503), answer.status
    assert answer.error["type"] == "server_error" and "127.0.0.1" not in answer.response.body.decode()


@pytest.mark.parametrize("stream", [True, False])
def test_several_choices(factory, stream):
    answer = factory.chat("tokens=3", stream=stream, n=3, **(USAGE if stream else {}))
    if stream:
        answer.check_canonical(usage=True, n=3)
    for i in range(3):
        assert answer.text(i) == factory.text(3) and answer.finish(i) == "stop"


def test_refusal(factory):
    answer = factory.chat("refusal=1", stream=True).check_canonical()
    assert "".join(d.get("refusal") or "" for d in answer.deltas()) == "no"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("big", [70_000, 1_000_000])
def test_huge_deltas(factory, big, stream):
    answer = factory.chat("tokens=4&big=%d" % big, stream=stream)
    assert answer.status == 200 and answer.text() == factory.text(4, big=big)


def test_legacy_functions(factory):
    functions = [{"name": "get_weather", "parameters": {"type": "object"}}]
    answer = factory.chat("tools=1&tag=legacy", functions=functions, function_call="auto")
    message = answer.whole["choices"][0]["message"]
    assert answer.finish() == "function_call" and json.loads(message["function_call"]["arguments"])["city"] == "Paris"
    seen = factory.fake.last("legacy")["body"]
    assert seen["tools"][0]["function"] == functions[0] and "functions" not in seen


SDK_SCRIPTS = [
    "norole=1", "nofinish=1", "usagenochoices=1", "tools=1&tool_notype=1", "tools=1&tool_noindex=1", "tools=1&tool_noid=1",
    "tools=2&interleave=1", "tools=1&tool_emptyargs=1", "reasoning=both", "comments=1", "crlf=1", "nodone=1",
]


@pytest.mark.parametrize("script", SDK_SCRIPTS)
def test_the_sdks_accumulating_helper(factory, script):
    client = openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0)
    messages = [{"role": "user", "content": "fake?tokens=3&" + script}]
    with client.chat.completions.stream(model="fake/model", messages=messages, stream_options={"include_usage": True}) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason in ("stop", "tool_calls") and final.usage.total_tokens > 0


@pytest.mark.parametrize("script", ["abort=2", "cut=2", "error_at=2", "fin=2"])
def test_the_sdk_raises_on_a_broken_stream(factory, script):
    client = openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0)
    messages = [{"role": "user", "content": "fake?tokens=5&delay_ms=5&" + script}]
    with pytest.raises(openai.APIError):
        for _ in client.chat.completions.create(model="fake/model", messages=messages, stream=True):
            pass
