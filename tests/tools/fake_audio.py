# SPDX-License-Identifier: Apache-2.0
"""What the fake runtime says to calls about sound: POST */audio/transcriptions, */audio/translations, */audio/speech.

A script (fake_script.py) stands in the form's prompt, or at the beginning of the text to speak. The form is taken
apart here by the rule of its own content type; one that breaks it is answered with 400, and what came in is in the
record: text parts by name, lists as lists, of the file its name, type, size and SHA-256. Honoured besides:
  heard=TEXT      what was said ("one two"), of which each word is a segment of half a second
  only=FORMAT     the one response_format that it knows (json); others get 400
  as=KIND         answers in that form whatever was asked: bare, chunks (as vLLM streams), nostream (ignores stream)
  length=S        duration to report; tokens=1: usage in tokens; silent=1: no duration and no usage at all
  speaks=FORMAT   what it makes, whatever was asked; sounds=N: bytes of it (3000); events=1: as events whatever was asked
Called by fake_runtime.py only; sound() also by tests, which must know what was said.
"""
import base64
import hashlib
import json
import random
import re
import struct

from fake_script import Answer

TYPES = {"mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/x-wav", "pcm": "audio/pcm"}
TIMED = ("srt", "vtt", "verbose_json")


class BadForm(ValueError):
    pass


def need(good, why):
    if not good:
        raise BadForm(why)


def parts_of(body, kind):
    """[(name, filename or None, type or None, bytes)] by RFC 2046 and RFC 7578, to the letter."""
    found = re.fullmatch(r"multipart/form-data\s*;\s*boundary=(\"[^\"]+\"|[^\s;\"]+)", kind, re.I)
    need(found, "content type " + kind)
    line = b"--" + found.group(1).strip('"').encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + line)
    need(pieces[0] == b"" and pieces[-1] in (b"--", b"--\r\n") and len(pieces) > 2, "no form between the boundaries")
    parts = []
    for piece in pieces[1:-1]:
        head, empty, value = piece.partition(b"\r\n\r\n")
        need(head.startswith(b"\r\n") and empty, "a part without a head")
        fields = dict(line.split(": ", 1) for line in head.decode()[2:].split("\r\n"))
        said = re.fullmatch(r'form-data; name="([^"]+)"(?:; filename="([^"]*)")?', fields.get("Content-Disposition", ""))
        need(said, "disposition %r" % fields)
        parts.append((said.group(1), said.group(2), fields.get("Content-Type"), value))
    return parts


def form_of(body, kind):
    """The parts as an object, for the record and for the answer."""
    made = {}
    for name, filename, of, value in parts_of(body, kind):
        if filename is not None:
            digest = hashlib.sha256(value).hexdigest()
            said = {"filename": filename, "type": of, "size": len(value), "sha256": digest}
        else:
            said = value.decode()
        if name.endswith("[]"):
            made.setdefault(name, []).append(said)
        else:
            need(name not in made, "two parts " + name)
            made[name] = said
    need(any(isinstance(made.get(name), (dict, list)) for name in ("file", "image", "image[]")), "no file")
    return made


class TranscriptAnswer(Answer):
    def __init__(self, request, params, out):
        super().__init__({**request, "stream": request.get("stream") == "true" and params.str("as") != "nostream"}, params, out)
        self.form = request.get("response_format", "json")
        self.words = params.str("heard", "one two").split(" ")

    def usage(self):
        if self.p.flag("tokens"):
            return {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17,
                    "input_token_details": {"audio_tokens": 10, "text_tokens": 4}}
        return {"type": "duration", "seconds": -int(-self.length() // 1)}

    def length(self):
        return float(self.p.str("length", str(len(self.words) / 2)))

    def segments(self):
        return [{"id": i, "seek": 0, "start": i / 2, "end": (i + 1) / 2, "text": " " + word, "tokens": [i], "temperature": 0.0,
                 "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0} for i, word in enumerate(self.words)]

    def object(self):
        text = " " + " ".join(self.words)
        if self.form != "verbose_json":
            answer = {"text": text, "usage": self.usage()}
        else:
            answer = {"task": "transcribe", "language": "english", "duration": self.length(), "text": text,
                      "segments": self.segments(), "usage": self.usage()}
            if "word" in self.request.get("timestamp_granularities[]", []):
                answer["words"] = [{"word": w, "start": i / 2, "end": (i + 1) / 2} for i, w in enumerate(self.words)]
        if self.p.flag("silent"):
            answer.pop("usage")
            answer.pop("duration", None)
        return answer

    async def whole(self):
        p, out = self.p, self.out
        await out.sleep(p.num("first_ms", 0))
        if self.form not in (p.str("only", self.form), "json"):
            p.values.update(status="400", message="response_format %s is not supported" % self.form)
            return await self.refuse()
        if p.flag("error_first"):
            return await self.send(json.dumps(self.error("backend died")).encode())
        if p.str("as") == "bare" or self.form in ("text", "srt", "vtt"):
            p.values.setdefault("ctype", "text/plain; charset=utf-8")
            return await self.send(" ".join(self.words).encode())
        await self.send(json.dumps(self.object()).encode())

    def content_deltas(self):
        said = [" " + w for w in self.words]
        if self.p.str("as") == "chunks":
            return [{"object": "transcription.chunk", "choices": [{"delta": {"content": w}}]} for w in said]
        return [{"type": "transcript.text.delta", "delta": w} for w in said]

    def opening(self):
        return []

    def closing(self):
        if self.p.str("as") == "chunks":
            return [{"object": "transcription.chunk", "choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]}, b"[DONE]"]
        done = {"type": "transcript.text.done", "text": " ".join(self.words), "usage": self.usage()}
        if self.p.flag("silent"):
            done.pop("usage")
        return [done]


def sound(text, form, size=3000):
    """Bytes that depend on the text; of a format only as far as others look: wav has its header, mp3 and aac their sync."""
    noise = random.Random(text).randbytes(size)
    if form == "wav":
        return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 24000, 48000, 2, 16) + b"data\xff\xff\xff\xff" + noise
    return {"mp3": b"\xff\xf3\x84\xc4", "aac": b"\xff\xf1", "flac": b"fLaC", "opus": b"OggS", "pcm": b""}[form] + noise


class SpeechAnswer(Answer):
    """The bytes in pieces of a thousand, each a delta."""

    def __init__(self, request, params, out):
        super().__init__({**request, "stream": request.get("stream_format") == "sse" or params.flag("events")}, params, out)
        self.form = params.str("speaks", request.get("response_format", "mp3"))
        self.pieces_ = sound(request["input"], self.form, params.num("sounds", 3000))
        self.pieces_ = [self.pieces_[i : i + 1000] for i in range(0, len(self.pieces_), 1000)]
        if params.flag("plain"):
            self.request["stream"] = False

    async def whole(self):
        p, out = self.p, self.out
        if p.flag("error_first"):
            return await self.send(json.dumps(self.error("backend died")).encode())
        await out.sleep(p.num("first_ms", 0))
        await out.head(200, p.str("ctype", TYPES[self.form]))
        for k, piece in enumerate(self.pieces_):
            if await self.faults_at(k):
                break
            await out.sleep(p.num("delay_ms", 0))
            await out.body(piece)
            self.sent = out.sent = k + 1
        await self.faults_at(self.sent)
        await out.end()

    def opening(self):
        return []

    def content_deltas(self):
        return [{"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()} for piece in self.pieces_]

    def closing(self):
        return [{"type": "speech.audio.done", "usage": {"input_tokens": 4, "output_tokens": 90, "total_tokens": 94}}]
