# SPDX-License-Identifier: Apache-2.0
"""Speech to text and text to speech with the official SDKs: every form of transcript from runtimes that know one, streams,
what reaches the runtime, refusals of malformed forms, sound as it is made, what is billed."""
import base64
import hashlib
import io
import json
import os

import openai
import pytest

import clients
from factory import MODEL, TOP, wait_for
from fake_audio import sound

HEAR, WORDS, HOSTED, SAY, WAV = "fake/hear", "fake/words", "fake/hosted", "fake/say", "fake/wav"
SPEAKS = {"capabilities": "speech"}
HEARS = {"capabilities": "transcription"}
WORKER = {"probe-interval": "200ms", "drain-timeout": "5s"}
FACTORY = {
    "start": False,
    "conf": {
        "gatewayd": {"audio-body-max": "1m", "ping-after": "500ms"},
        "model " + HEAR: HEARS, "model " + WORDS: HEARS, "model " + HOSTED: HEARS, "model " + SAY: SPEAKS, "model " + WAV: {**SPEAKS, "voices": "natural, tara"},
        "worker fake": {"models": "%s = upstream-name, %s = whisper, %s = tts" % (MODEL, HEAR, SAY)},
        "worker odd": {**WORKER, "models": "%s = whisper, %s = tts" % (WORDS, WAV), "runtime-kind": "whisper.cpp",
                       "quirks": "untimed, speaks-wav"},
        "worker hosted": {**WORKER, "models": HOSTED + " = whisper", "runtime-kind": "openai"},
    },
}
TEXT = "one two"
FORMS = {
    "text": TEXT + "\n",
    "srt": "1\n00:00:00,000 --> 00:00:00,500\none\n\n2\n00:00:00,500 --> 00:00:01,000\ntwo\n\n",
    "vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:00.500\none\n\n00:00:00.500 --> 00:00:01.000\ntwo\n\n",
}
BOUNDARY = "XbX"
MULTIPART = ("Content-Type", "multipart/form-data; boundary=" + BOUNDARY)


@pytest.fixture(scope="module")
def works(factory):
    for name in ("worker odd", "worker hosted"):
        factory.conf[name]["url"] = factory.fake.url
    factory.write_conf()
    factory.start()
    factory.wait_ready()
    for model in (HEAR, WORDS, HOSTED):
        wait_for(model, lambda: transcribe(factory, parts(model)).status == 200)
    return factory


@pytest.fixture(scope="module")
def client(works):
    return openai.OpenAI(base_url=works.url + "/v1", api_key=works.key, max_retries=0, timeout=60)


def recording(name="pcm.wav"):
    with open(os.path.join(TOP, "tests", "media", name), "rb") as f:
        return f.read()


def part(name, value, filename=None):
    head = 'Content-Disposition: form-data; name="%s"' % name + ("" if filename is None else '; filename="%s"' % filename)
    return head.encode() + b"\r\n\r\n" + (value if isinstance(value, bytes) else value.encode())


def parts(model=HEAR, *more, filename="a.wav", data=None):
    return [part("model", model), part("file", recording() if data is None else data, filename), *more]


def form(all_of_them):
    line = b"--" + BOUNDARY.encode()
    return b"".join(line + b"\r\n" + p + b"\r\n" for p in all_of_them) + line + b"--\r\n"


def post(factory, body, fields=(MULTIPART,), path="/v1/audio/transcriptions", length=None):
    with factory.raw() as raw:
        more = [*fields, ("Content-Length", len(body) if length is None else length)]
        raw.send(factory.head("POST", path, fields=more) + body)
        return raw.response("POST")


def transcribe(factory, all_of_them, **options):
    return post(factory, form(all_of_them), **options)


def billed(factory, before, **units):
    """Waits for one more request in the ledger; what it added."""
    wait_for("the ledger", lambda: int(factory.usage()["requests"]) > int(before["requests"]), every=0.05)
    after = factory.usage()
    assert int(after["requests"]) == int(before["requests"]) + 1
    assert {name: round(float(after[name]) - float(before[name]), 3) for name in units} == units


# ---- speech to text -------------------------------------------------------------------------------


@pytest.mark.parametrize("form_of_answer", ["json", "verbose_json", "text", "srt", "vtt", None])
@pytest.mark.parametrize("call", ["transcriptions", "translations"])
def test_forms(works, client, call, form_of_answer):
    before = works.usage()
    ask = {} if form_of_answer is None else {"response_format": form_of_answer}
    tag = "%s-%s" % (call, form_of_answer)
    answer = getattr(client.audio, call).create(
        model=HEAR, file=("a.wav", recording()), prompt="fake?length=1.5&tag=" + tag, temperature=0.5, **ask)
    if form_of_answer in FORMS:
        assert answer == FORMS[form_of_answer]
    else:
        assert answer.text == TEXT
    if form_of_answer == "verbose_json":
        assert [(s.start, s.end, s.text) for s in answer.segments] == [(0, 0.5, " one"), (0.5, 1, " two")]
        assert float(answer.duration) == 1.5 and answer.language == "english"
    sent = works.fake.last(tag)
    assert sent["target"] == "/v1/audio/" + call
    assert sent["body"]["model"] == "whisper" and sent["body"]["response_format"] == "verbose_json" and "stream" not in sent["body"]
    assert sent["body"]["file"]["sha256"] == hashlib.sha256(recording()).hexdigest() and sent["body"]["file"]["filename"] == "a.wav"
    assert sent["body"]["temperature"] == "0.5"
    billed(works, before, audio_seconds=1.5)


def test_types_of_answers(works):
    for name, want in (("json", "application/json"), ("verbose_json", "application/json"), ("text", "text/plain; charset=utf-8"),
                       ("srt", "text/plain; charset=utf-8"), ("vtt", "text/plain; charset=utf-8")):
        answer = transcribe(works, parts(HEAR, part("response_format", name)))
        assert answer.status == 200 and answer.get("content-type") == want and answer.get("x-request-id")
        assert name not in FORMS or answer.body.decode() == FORMS[name]


@pytest.mark.parametrize("name,want", [
    ("pcm.wav", 1500), ("vbr.mp3", 1500), ("plain.m4a", 1500), ("duration.webm", 1508), ("faststart.mp4", 1500), ("opus.ogg", 1500),
    ("plain.flac", 1500),
])
def test_measured_here(works, client, name, want):
    """A runtime that says nothing of time: the container does."""
    before = works.usage()
    with open(os.path.join(TOP, "tests", "media", name), "rb") as f:
        answer = client.audio.transcriptions.create(model=WORDS, file=f, prompt="fake?silent=1&tag=" + name)
    assert answer.text == TEXT and answer.usage.seconds == 2
    assert works.fake.last(name)["body"]["file"]["filename"] == name
    assert works.fake.last(name)["body"]["response_format"] == "json"
    billed(works, before, audio_seconds=want / 1000)


def test_tokens(works, client):
    before = works.usage()
    answer = client.audio.transcriptions.create(model=HOSTED, file=("a.wav", recording()), prompt="fake?tokens=1&tag=tokens")
    assert answer.usage.type == "tokens" and answer.usage.input_tokens == 14 and answer.usage.output_tokens == 3
    assert works.fake.last("tokens")["body"]["response_format"] == "json"
    billed(works, before, audio_seconds=1.5, input_tokens=14, output_tokens=3)


def test_one_path_for_both(works, client):
    """As whisper.cpp's server has it."""
    answer = client.audio.translations.create(model=WORDS, file=("a.wav", recording()), prompt="fake?tag=both")
    sent = works.fake.last("both")
    assert answer.text == TEXT and sent["target"] == "/v1/audio/transcriptions" and sent["body"]["translate"] == "true"


def test_fields(works, client):
    client.audio.transcriptions.create(
        model=HEAR, file=("a b.wav", io.BytesIO(recording()), "audio/wav"), prompt="fake?tag=fields", language="en",
        response_format="verbose_json", timestamp_granularities=["word", "segment"], extra_body={"seed": 7, "priority": 9})
    sent = works.fake.last("fields")["body"]
    assert sent["language"] == "en" and sent["timestamp_granularities[]"] == ["word", "segment"] and sent["seed"] == "7"
    assert "priority" not in sent and sent["file"]["filename"] == "a b.wav"
    answer = transcribe(works, parts(HEAR, part("response_format", "verbose_json"), part("timestamp_granularities", "word")))
    assert answer.json()["words"][0] == {"word": "one", "start": 0.0, "end": 0.5}
    answer = transcribe(works, parts(HEAR, part("priority", "9")))
    assert answer.status == 200 and answer.get("x-tf-dropped-params") == "priority"


@pytest.mark.parametrize("filename,sent", [("blob", "file.wav"), ("", "file.wav"), ("a.mp3", "file.wav"), ("a.WAV", "a.WAV")])
def test_odd_names(works, filename, sent):
    answer = transcribe(works, parts(HEAR, part("prompt", "fake?tag=odd"), filename=filename))
    assert answer.status == 200 and works.fake.last("odd")["body"]["file"]["filename"] == sent


def test_order_of_parts(works):
    assert transcribe(works, list(reversed(parts(HEAR, part("response_format", "text"))))).body.decode() == FORMS["text"]


def test_large(works, client):
    """More than goes inline, cut as sockets like: every byte arrives."""
    data = recording()[:58] + os.urandom(900000)
    answer = client.audio.transcriptions.create(model=HEAR, file=("a.wav", data), prompt="fake?tag=large")
    assert answer.text == TEXT
    assert works.fake.last("large")["body"]["file"] == {
        "filename": "a.wav", "type": "audio/x-wav", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("script", ["", "as=chunks", "as=nostream", "silent=1", "split=5", "delay_ms=20"])
@pytest.mark.parametrize("model", [HEAR, HOSTED])
def test_stream(works, client, model, script):
    before = works.usage()
    events = list(client.audio.transcriptions.create(model=model, file=("a.wav", recording()), stream=True, prompt="fake?tag=s&" + script))
    assert [e.type for e in events[:-1]] == ["transcript.text.delta"] * (len(events) - 1) and len(events) > 1
    assert "".join(e.delta for e in events[:-1]).strip() == TEXT
    done = events[-1]
    assert done.type == "transcript.text.done" and done.text.strip() == TEXT
    assert done.usage.type == "duration" and done.usage.seconds == (1 if script in ("", "split=5", "delay_ms=20", "as=nostream") else 2)
    sent = works.fake.last("s")["body"]
    assert sent["response_format"] == "json" and sent["stream"] == "true"
    wait_for("the ledger", lambda: int(works.usage()["requests"]) == int(before["requests"]) + 1, every=0.05)


def test_silence(works, client):
    """What takes long is kept alive by comments, which no SDK sees."""
    fields = [part("stream", "true"), part("prompt", "fake?first_ms=1500")]
    answer = transcribe(works, parts(HEAR, *fields))
    said = answer.body.decode()
    assert answer.status == 200 and said.startswith(": keep-alive\n\n") and said.count("data: ") == 3
    with client.audio.speech.with_streaming_response.create(
            model=SAY, input="fake?first_ms=1500", voice="natural", stream_format="sse") as answer:
        assert next(answer.iter_lines()) == ": keep-alive"
    events = list(client.audio.transcriptions.create(
        model=HEAR, file=("a.wav", recording()), stream=True, prompt="fake?first_ms=1500"))
    assert events[-1].text == TEXT


def test_stream_breaks(client):
    with pytest.raises(openai.APIError):
        list(client.audio.transcriptions.create(model=HEAR, file=("a.wav", recording()), stream=True, prompt="fake?abort=1"))
    with pytest.raises(openai.APIError, match="runtime failed"):
        list(client.audio.transcriptions.create(model=HEAR, file=("a.wav", recording()), stream=True, prompt="fake?error_at=1"))


@pytest.mark.parametrize("model,form_of_answer", [(WORDS, "srt"), (WORDS, "verbose_json"), (HEAR, "diarized_json")])
def test_what_a_runtime_cannot(works, client, model, form_of_answer):
    before = works.fake.requests()
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model=model, file=("a.wav", recording()), response_format=form_of_answer)
    assert refused.value.param == "response_format" and len(works.fake.requests()) == len(before)


def test_no_times(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model=HEAR, file=("a.wav", recording()), response_format="srt", prompt="fake?as=bare")
    assert refused.value.param == "response_format"


def test_runtime_fails(works, client):
    for script, kind in (("status=500", openai.InternalServerError), ("bad=1", openai.InternalServerError),
                         ("error_first=1", openai.InternalServerError), ("abort=1", openai.InternalServerError)):
        with pytest.raises(kind):
            client.audio.transcriptions.create(model=HEAR, file=("a.wav", recording()), prompt="fake?" + script)
    with pytest.raises(openai.BadRequestError, match="too long"):
        client.audio.transcriptions.create(model=HEAR, file=("a.wav", recording()), prompt="fake?status=400&message=too+long")
    assert client.audio.transcriptions.create(
        model=HEAR, file=("a.wav", recording()), prompt="fake?status=503&times=1&tag=twice").text == TEXT
    assert len(works.fake.requests("twice")) == 2


# ---- what is wrong with forms -----------------------------------------------------------------------


@pytest.mark.parametrize("more,param,says", [
    ([part("response_format", "xml")], "response_format", "srt"),
    ([part("temperature", "3")], "temperature", "between"),
    ([part("stream", "maybe")], "stream", "true or false"),
    ([part("stream", "true"), part("response_format", "vtt")], "response_format", "stream"),
    ([part("timestamp_granularities[]", "word")], "timestamp_granularities", "verbose_json"),
    ([part("language", "no/way")], "language", "code"),
    ([part("model", HEAR)], "model", "twice"),
    ([part("prompt", b"\xff")], "prompt", "UTF-8"),
])
def test_bad_fields(works, more, param, says):
    before = works.fake.requests()
    answer = transcribe(works, parts(HEAR, *more))
    error = answer.json()["error"]
    assert answer.status == 400 and error["param"] == param and says in error["message"] and error["type"] == "invalid_request_error"
    assert len(works.fake.requests()) == len(before)


@pytest.mark.parametrize("all_of_them,param", [
    ([part("model", HEAR)], "file"), ([part("file", recording(), "a.wav")], "model"), ([part("model", HEAR), part("file", "x")], "file"),
    (parts(data=b""), "file"), (parts(data=b"just words", filename="a.txt"), "file"), (parts(data=b"%PDF-1.7", filename="blob"), "file"),
    (parts(filename="../../etc/a.wav"), None), (parts(filename="/etc/a.wav"), None), (parts(filename="C:\\a.wav"), None),
    (parts(filename="%2e%2e%2fa.wav"), None), (parts(filename="a\x00.wav"), None), (parts(filename=".."), None),
    ([part("model", HEAR)] * 100000, "model"),
    ([part("x%d" % i, "1") for i in range(100000)], None),
])
def test_bad_parts(works, all_of_them, param):
    answer = transcribe(works, all_of_them)
    assert answer.status in (400, 413), answer.status  # a hundred thousand parts are too large besides
    if answer.status == 400:
        assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("all_of_them", [[part("model", HEAR)] * 10000, [part("a", "")] * 10000])
def test_many_parts(works, all_of_them):
    answer = transcribe(works, all_of_them)
    assert answer.status == 400


@pytest.mark.parametrize("body,fields,status", [
    (form(parts()), [("Content-Type", "multipart/form-data")], 400),
    (form(parts()), [("Content-Type", "multipart/form-data; boundary=")], 400),
    (form(parts()), [("Content-Type", "multipart/form-data; boundary=other")], 400),
    (form(parts()), [("Content-Type", "multipart/form-data; boundary=a; boundary=XbX")], 400),
    (form(parts()), [("Content-Type", "multipart/mixed; boundary=XbX")], 400),
    (form(parts()), [("Content-Type", "application/json")], 415),
    (b"{}", [("Content-Type", "application/json")], 415),
    (b"{}", [], 415),
    (b"", [MULTIPART], 400),
    (form(parts())[:-20], [MULTIPART], 400),
    (form(parts())[:-3], [MULTIPART], 400),
    (form(parts()) + b"more", [MULTIPART], 400),
    (b"preamble\r\n" + form(parts()), [MULTIPART], 400),
    (form(parts()).replace(b"\r\n", b"\n"), [MULTIPART], 400),
])
def test_malformed(works, body, fields, status):
    answer = post(works, body, fields)
    assert answer.status == status and answer.json()["error"]["message"]


def test_too_large(works, client):
    answer = post(works, b"", length=(1 << 20) + 1)
    assert answer.status == 413 and answer.json()["error"]["code"] == "request_too_large"
    with pytest.raises(openai.APIStatusError) as refused:
        client.audio.transcriptions.create(model=HEAR, file=("a.wav", recording() + bytes(1 << 20)))
    assert refused.value.status_code == 413


def test_cut_upload(works):
    """The client goes before the form is whole: nothing reaches the runtime."""
    before = len(works.fake.requests())
    body = form(parts())
    with works.raw() as raw:
        raw.send(works.head("POST", "/v1/audio/transcriptions", fields=[MULTIPART, ("Content-Length", len(body))]) + body[:-10])
    assert transcribe(works, parts()).status == 200
    assert len(works.fake.requests()) == before + 1


def test_wrong_models(works, client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.transcriptions.create(model="no/such", file=("a.wav", recording()))
    assert missing.value.code == "model_not_found"
    for model in (MODEL, SAY):
        with pytest.raises(openai.BadRequestError, match="does not transcribe"):
            client.audio.transcriptions.create(model=model, file=("a.wav", recording()))
    with pytest.raises(openai.BadRequestError, match="does not speak"):
        client.audio.speech.create(model=HEAR, input="x", voice="natural")
    with pytest.raises(openai.BadRequestError, match="does not serve chat"):
        client.chat.completions.create(model=HEAR, messages=[{"role": "user", "content": "x"}])


def test_other_surfaces_take_no_forms(works):
    for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/audio/speech", "/v1/messages"):
        answer = transcribe(works, parts(), path=path)
        assert answer.status == 415
    answer = post(works, b"{}", [("Content-Type", "application/json")], path="/anthropic/v1/audio/speech")
    assert answer.status == 404 and answer.json()["type"] == "error"


# ---- text to speech -----------------------------------------------------------------------------------

KINDS = {"mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm"}


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_speech(works, client, kind):
    before = works.usage()
    text = "fake?tag=speech-%s&x=h\u00e9\U0001f600" % kind
    ask = {} if kind is None else {"response_format": kind}
    answer = client.audio.speech.create(model=SAY, input=text, voice="natural", speed=1.5, instructions="slowly", **ask)
    assert answer.content == sound(text, kind or "mp3")
    assert answer.response.headers["content-type"] == KINDS[kind or "mp3"]
    assert answer.response.headers["transfer-encoding"] == "chunked" and answer.response.headers["x-request-id"]
    sent = works.fake.last("speech-%s" % kind)["body"]
    assert sent == {"model": "tts", "input": text, "voice": "natural", "speed": 1.5, "instructions": "slowly", "response_format": kind or "mp3"}
    billed(works, before, characters=len(text), input_tokens=0, output_tokens=0)


def test_speech_as_it_comes(works, client, tmp_path):
    """The first bytes are there long before the last; the deprecated way to a file works too."""
    with client.audio.speech.with_streaming_response.create(model=SAY, input="fake?delay_ms=300&tag=slow", voice="natural") as answer:
        pieces = answer.iter_bytes(1000)
        first = next(pieces)
        assert works.fake.last("slow")["ended"] is None
        assert first + b"".join(pieces) == sound("fake?delay_ms=300&tag=slow", "mp3")
    path = tmp_path / "speech.mp3"
    client.audio.speech.create(model=SAY, input="fake?", voice={"id": "natural"}).write_to_file(path)
    assert path.read_bytes() == sound("fake?", "mp3")


@pytest.mark.parametrize("model,script,kind,made", [
    (WAV, "", "pcm", "pcm"), (WAV, "", "wav", "wav"), (SAY, "speaks=wav", "pcm", "pcm"), (SAY, "speaks=pcm", "wav", "wav"),
    (SAY, "speaks=wav&split=3", "pcm", "pcm"),
])
def test_samples(client, model, script, kind, made):
    text = "fake?" + script
    answer = client.audio.speech.create(model=model, input=text, voice="natural", response_format=kind)
    assert answer.content == sound(text, made) and answer.response.headers["content-type"] == KINDS[kind]


@pytest.mark.parametrize("model,script", [(WAV, ""), (SAY, "speaks=wav"), (SAY, "speaks=flac")])
def test_formats_that_are_not_there(client, model, script):
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.speech.create(model=model, input="fake?" + script, voice="natural", response_format="mp3")
    assert refused.value.param == "response_format" and ("wav" in refused.value.message or "flac" in refused.value.message)


def test_voices(works, client):
    for voice in ("natural", {"id": "tara"}):
        assert client.audio.speech.create(model=WAV, input="fake?tag=voice", voice=voice, response_format="wav").content
    assert works.fake.last("voice")["body"]["voice"] == "tara"
    before = works.fake.requests()
    for voice in ("alloy", {"id": "alloy"}, ""):
        with pytest.raises(openai.BadRequestError) as refused:
            client.audio.speech.create(model=WAV, input="x", voice=voice, response_format="wav")
        assert refused.value.param == "voice"
        assert voice == "" or "natural, tara" in refused.value.message
    assert len(works.fake.requests()) == len(before)


@pytest.mark.parametrize("script", ["", "plain=1", "sounds=50000", "split=11"])
def test_speech_events(client, script):
    text = "fake?" + script
    with client.audio.speech.with_streaming_response.create(model=SAY, input=text, voice="natural", stream_format="sse") as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line]
    size = int(dict(p.split("=") for p in script.split("&") if p).get("sounds", 3000))
    assert b"".join(base64.b64decode(e["audio"], validate=True) for e in events[:-1]) == sound(text, "mp3", size)
    assert {e["type"] for e in events[:-1]} == {"speech.audio.delta"} and events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["total_tokens"] == (0 if script == "plain=1" else 94)


def test_speech_of_events(client):
    text = "fake?events=1"
    assert client.audio.speech.create(model=SAY, input=text, voice="natural").content == sound(text, "mp3")


@pytest.mark.parametrize("body,param", [
    ({"model": SAY}, "input"), ({"input": "x"}, "model"), ({"model": SAY, "input": ""}, "input"), ({"model": SAY, "input": "x" * 4097}, "input"),
    ({"model": SAY, "input": "x", "voice": 7}, "voice"), ({"model": SAY, "input": "x", "speed": 5}, "speed"),
    ({"model": SAY, "input": "x", "response_format": "ogg"}, "response_format"), ({"model": SAY, "input": "x", "stream_format": "x"}, "stream_format"),
    ({"model": SAY, "input": "x", "instructions": "x" * 4097}, "instructions"), ({"model": MODEL, "input": "x"}, "model"),
])
def test_bad_speech(works, body, param):
    before = works.fake.requests()
    answer = works.call("POST", "/v1/audio/speech", body)
    assert answer.status == 400 and answer.json()["error"]["param"] == param
    assert len(works.fake.requests()) == len(before)
    assert works.call("POST", "/v1/audio/speech", {"model": SAY, "input": "\U0001f600" * 4096}).status == 200


def test_speech_fails(works, client):
    for script in ("status=500", "abort=0", "error_first=1", "sounds=0&speaks=pcm"):
        with pytest.raises(openai.InternalServerError) as failed:
            client.audio.speech.create(model=SAY, input="fake?" + script, voice="natural")
        assert failed.value.response.headers["content-type"] == "application/json"
    with pytest.raises(openai.BadRequestError, match="no such voice"):
        client.audio.speech.create(model=SAY, input="fake?status=400&message=no+such+voice", voice="x")
    # after the first byte the connection breaks: no error ends up in the sound
    with pytest.raises(Exception) as broken:
        client.audio.speech.create(model=SAY, input="fake?abort=2", voice="natural")
    assert not isinstance(broken.value, openai.APIStatusError)
    assert client.audio.speech.create(model=SAY, input="fake?status=503&times=1&tag=again", voice="x").content
    assert len(works.fake.requests("again")) == 2


def test_client_leaves(works):
    body = json.dumps({"model": SAY, "input": "fake?delay_ms=200&sounds=30000&tag=left"}).encode()
    with works.raw() as raw:
        raw.send(works.head("POST", "/v1/audio/speech", length=len(body)) + body)
        raw.head()
    wait_for("the runtime to be told", lambda: works.fake.last("left")["outcome"] == "left", 5)


@pytest.mark.parametrize("environment", ["node", "node-old"])
def test_node(works, environment):
    results = clients.run(works, "audio_cases.mjs", environment, hear=HEAR, say=SAY, media=os.path.join(TOP, "tests", "media"))
    assert results == {name: None for name in clients.names("audio_cases.mjs")}
