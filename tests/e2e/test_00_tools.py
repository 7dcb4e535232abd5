# SPDX-License-Identifier: Apache-2.0
"""The tools themselves, without any daemon: a red test further down is then not their fault."""
import json
import os
import subprocess
import sys
import textwrap
import threading
import time

import openai
import pytest

from factory import Fake, wait_for
import outcome
from raw import Closed, Events, Malformed, Raw
import fake_script


@pytest.fixture(scope="module")
def fake():
    fake = Fake()
    yield fake
    fake.close()


def ask(fake, script, stream=True, raw=None, **more):
    body = json.dumps(
        {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "fake?" + script}], **more}
    )
    raw = raw or Raw(fake.port)
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return raw, raw.head()


def events(fake, script, **more):
    raw, head = ask(fake, script, **more)
    found = Events(raw, head)
    return found, list(found)


def test_reference_stream(fake):
    sse, found = events(fake, "tokens=3&text=emoji", stream_options={"include_usage": True})
    assert sse.ended == "clean" and found[-1] == "[DONE]"
    chunks = [json.loads(e) for e in found[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks[:-1]) == fake_script.text(3, "emoji")
    assert chunks[-1]["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("script", ["abort=2", "fin=2"])
def test_broken_streams(fake, script):
    sse, found = events(fake, "tokens=4&delay_ms=5&tag=%s&%s" % (script, script))
    assert sse.ended.startswith("broken") and len(found) == 3
    wait_for("record", lambda: fake.last(script)["ended"])
    assert fake.last(script)["outcome"] == ("reset" if "abort" in script else "fin")


def test_status_then_success(fake):
    for status in (503, 503, 200):
        raw, head = ask(fake, "status=503&times=2&tag=st&retry_after=3")
        assert head.status == status
        raw.close()


def test_split_bytes(fake):
    sse, found = events(fake, "tokens=2&split=1")
    assert sse.ended == "clean" and found[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [True, False])
def test_notices_the_caller_leaving(fake, stream):
    raw = Raw(fake.port)
    if stream:
        ask(fake, "tokens=1000&delay_ms=10&tag=left", raw=raw)
    else:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "fake?tokens=999&delay_ms=9&tag=left"}]})
        raw.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        wait_for("call", lambda: fake.running() == 1)
    raw.close()
    wait_for("left", lambda: fake.last("left")["outcome"] == "left", 1)
    fake.forget()


def test_drops_reused(fake):
    raw, head = ask(fake, "tokens=1&drop_reused=1")
    assert list(Events(raw, head))[-1] == "[DONE]"
    with pytest.raises(Closed):
        ask(fake, "tokens=1&drop_reused=1", raw=raw)


def test_raw_client_refuses_nonsense(fake):
    import socket

    server = socket.create_server(("127.0.0.1", 0))

    def answer():
        conn, _ = server.accept()
        conn.recv(100)
        conn.sendall(b"HTTP/1.1 200 OK\r\nBad Field : x\r\n\r\n")
        conn.close()

    thread = threading.Thread(target=answer)
    thread.start()
    raw = Raw(server.getsockname()[1])
    raw.send("x")
    with pytest.raises(Malformed):
        raw.head()
    thread.join()
    server.close()


def test_python_sdk_against_the_fake(fake):
    client = openai.OpenAI(base_url=fake.url, api_key="k", max_retries=0)
    began = time.monotonic()
    answer = client.chat.completions.create(model="m?tokens=4", messages=[{"role": "user", "content": "x"}])
    assert answer.choices[0].message.content == fake_script.text(4) and answer.usage.completion_tokens == 4
    stream = client.chat.completions.create(
        model="m?tokens=2&tools=2&interleave=1", messages=[{"role": "user", "content": "x"}], stream=True
    )
    assert [c for c in stream][-1].choices[0].finish_reason == "tool_calls"
    assert time.monotonic() - began < 10


SUITE = {
    "test_a.py": """
        import os, pytest
        def test_good(): pass
        def test_skipped(): pytest.skip("why")
        @pytest.mark.parametrize("what", ["whole", "a b::c/d"])
        def test_luck(what):
            found, limit = (0 if os.environ.get("TRY", "1") >= {"whole": "2"}.get(what, "3") else 7), 5
            assert found < limit, "too slow"
        class TestInner:
            def test_wrong(self):
                assert 1 + 1 == 3
    """,
    "test_b.py": """
        import pytest
        @pytest.fixture(scope="module")
        def daemons():
            yield
            assert not CRASHED, "gatewayd crashed"
        CRASHED = %r
        def test_one(daemons): pass
        def test_last(daemons): assert %r
    """,
}


def pytest_run(where, report, *ids, **env):
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--junitxml", report, "-p", "no:cacheprovider", *ids], cwd=where, timeout=120,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **env}, capture_output=True, stdin=subprocess.DEVNULL,
    )
    return outcome.cases(where / report)


def suite(where, crashed=False, last=True):
    for name, text in SUITE.items():
        (where / name).write_text(textwrap.dedent(text % (crashed, last) if name == "test_b.py" else text))
    return pytest_run(where, "first.xml")


def states(*reports):
    return {c.name: s for c, s, _ in outcome.outcomes(*reports)}


def test_further_tries_tell_bad_luck_from_a_bug(tmp_path, monkeypatch):
    first = suite(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert states(first)["test_luck[whole]"] == "failed"
    ids = outcome.again(first)
    assert ids == ["test_a.py::test_luck[whole]", "test_a.py::test_luck[a b::c/d]", "test_a.py::TestInner::test_wrong"]
    second = pytest_run(tmp_path, "second.xml", *ids, TRY="2")
    assert states(first, second)["test_luck[whole]"] == "unsteady" and states(first, second)["test_luck[a b::c/d]"] == "failed"
    assert outcome.again(first, second) == ["test_a.py"]
    third = pytest_run(tmp_path, "third.xml", "test_a.py", TRY="3")
    assert states(first, second, third) == {
        "test_good": "passed", "test_skipped": "skipped", "test_luck[whole]": "unsteady", "test_luck[a b::c/d]": "unsteady",
        "test_wrong": "failed", "test_one": "passed", "test_last": "passed",
    }
    said = list(outcome.brief(first, second, third))
    assert said[0] == "unsteady: test_a.py::test_luck[whole] passed at the second try", said
    assert said[1] == "    assert found < limit, \"too slow\"" and "too slow" in said[2], said
    assert "unsteady: test_a.py::test_luck[a b::c/d] passed at the third try" in said, said
    assert "failed: test_a.py::TestInner::test_wrong" in said and "    assert 1 + 1 == 3" in said, said


def test_a_pass_does_not_undo_a_crash(tmp_path, monkeypatch):
    """The second try ends in a fixture that fails: there is no third, and one that passed would change nothing."""
    first = suite(tmp_path, last=False)
    monkeypatch.chdir(tmp_path)
    assert "test_b.py::test_last" in outcome.again(first)
    suite(tmp_path, crashed=True, last=True)
    second = pytest_run(tmp_path, "second.xml", "test_b.py::test_last")
    assert states(first, second)["test_last"] == "failed" and outcome.again(first, second) == []
    suite(tmp_path)
    third = pytest_run(tmp_path, "third.xml", "test_b.py")
    assert not third["test_b", "test_last"].bad and states(first, second, third)["test_last"] == "failed"


@pytest.mark.parametrize("last", [True, False])
def test_a_crash_has_no_second_try(tmp_path, monkeypatch, last):
    """What a fixture finds at its end is about the daemons of all its tests."""
    first = suite(tmp_path, crashed=True, last=last)
    monkeypatch.chdir(tmp_path)
    assert outcome.again(first) == []
    second = pytest_run(tmp_path, "second.xml", "test_b.py::test_one")
    assert states(first, second)["test_last"] == "failed" and states(first, second)["test_one"] == "failed"
    assert any("gatewayd crashed" in line for line in outcome.brief(first))
    assert any("gatewayd crashed" in line for line in outcome.brief({}, second))


def test_many_failures_have_no_second_try(tmp_path, monkeypatch):
    (tmp_path / "test_c.py").write_text(
        "import pytest\n@pytest.mark.parametrize('i', range(%d))\ndef test_it(i): assert i < 0\n" % (outcome.MOST + 1)
    )
    monkeypatch.chdir(tmp_path)
    assert outcome.again(pytest_run(tmp_path, "first.xml")) == []


TRIES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools", "tries")


@pytest.mark.parametrize("says,good_at,status,tries", [
    ("[   LINE   ] --- a.c:7: error: Failure!", 3, 0, 3), ("[   LINE   ] --- a.c:7: error: Failure!", 2, 0, 2),
    ("[   LINE   ] --- a.c:7: error: Failure!", 4, 1, 3), ("==1==ERROR: AddressSanitizer: heap-use-after-free", 2, 1, 1),
    ("Test failed with exception: Segmentation fault(11)", 2, 1, 1), ("all good", 1, 0, 1),
])
def test_programs_of_make_check_have_their_tries(tmp_path, says, good_at, status, tries):
    program, count, told = tmp_path / "program", tmp_path / "count", tmp_path / "unsteady"
    program.write_text("#!/bin/sh\necho x >>%s\necho '%s'\n[ $(wc -l <%s) -ge %d ]\n" % (count, says, count, good_at))
    program.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "TF_TRIES": "3", "TF_PAUSE": "0", "TF_UNSTEADY": str(told)}
    done = subprocess.run([TRIES, str(program)], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert (done.returncode, len(count.read_text().split())) == (status, tries), done.stdout
    assert done.stdout.count(says) == tries
    if status == 0 and tries > 1:
        assert told.read_text() == "unsteady: %s passed at try %d\n    %s\n" % (program, tries, says)
    else:
        assert not told.exists()
    once = subprocess.run([TRIES, "sh", "-c", "kill -9 $$"], env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    assert once.returncode in (-9, 137)
    # a test that failed may wait for what it left behind until its alarm: that is no crash
    slow = subprocess.run([TRIES, "sh", "-c", "kill -ALRM $$"], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert slow.returncode in (-14, 142) and "==== try 3" in slow.stdout
    count.unlink()
    del env["TF_TRIES"]
    assert (subprocess.run([TRIES, str(program)], env=env, capture_output=True).returncode == 0) == (good_at == 1)
