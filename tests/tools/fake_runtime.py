#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A scripted OpenAI-compatible runtime, for the faults that a real one cannot be made to show.

    fake_runtime.py [--port N] [--unix PATH] [--tls-port N --cert PEM --key PEM]

Port 0 picks a free one. The first line on stdout says where it listens: {"port":..,"tls_port":..}.
Standard library only, one loop. What it answers to POST */chat/completions and */completions is scripted
by the caller, see fake_script.py; so are POST */responses, see fake_responses.py, POST */messages, see
fake_messages.py, and calls without turns, see fake_plain.py and fake_audio.py. GET */models and /health
answer 200 unless scripted otherwise, GET /made/I.png an image.

Control, on the same listeners:
    GET  /control/requests[?tag=T]   what came in: heads, bodies, how each call ended and when
    POST /control/script             body: the script of calls that bring none ("" to clear)
    POST /control/health             body: status of /health and */models (200)
    POST /control/forget             empties the record
    POST /control/close-idle         closes all idle kept connections, unannounced
    GET  /control/state              open connections, calls under way
Run by tests/e2e and by hand; it must not know the gateway.
"""
import argparse
import asyncio
import json
import socket
import ssl
import struct
import sys
import time

from fake_audio import SpeechAnswer, TranscriptAnswer, form_of
from fake_messages import MessagesAnswer
from fake_plain import EditsAnswer, EmbeddingsAnswer, ImagesAnswer, RerankAnswer, image
from fake_responses import ResponsesAnswer
from fake_script import Answer, Params, Scripted, params_of
from fake_text import TextAnswer

HEAD_MAX = 65536
BODY_MAX = 256 << 20


KINDS = [("/chat/completions", Answer), ("/completions", TextAnswer), ("/embeddings", EmbeddingsAnswer),
         ("/messages", MessagesAnswer),
         ("/rerank", RerankAnswer), ("/images/generations", ImagesAnswer), ("/images/edits", EditsAnswer), ("/responses", ResponsesAnswer),
         ("/audio/transcriptions", TranscriptAnswer), ("/audio/translations", TranscriptAnswer), ("/audio/speech", SpeechAnswer)]


class ClientLeft(Exception):
    """The caller closed its side while an answer was due."""


class Out:
    """The answer's way out; notices that the caller leaves."""

    def __init__(self, conn, params):
        self.conn = conn
        self.p = params
        self.sent = 0
        self.chunked = False
        self.keep = True

    async def sleep(self, ms):
        if self.p.flag("stay"):
            await asyncio.sleep(ms / 1000)
            return
        if ms:
            try:
                await asyncio.wait_for(self.conn.left.wait(), ms / 1000)
            except asyncio.TimeoutError:
                return
        if self.conn.left.is_set():
            raise ClientLeft

    async def raw(self, data):
        if self.conn.left.is_set() and not self.p.flag("stay"):
            raise ClientLeft
        size = self.p.num("split", 0) or len(data)
        for at in range(0, len(data), size):
            try:
                self.conn.writer.write(data[at : at + size])
                await self.conn.writer.drain()
            except (ConnectionError, ssl.SSLError):
                raise ClientLeft
            if self.p.num("split"):
                await asyncio.sleep(self.p.num("split_ms", 0) / 1000)

    async def head(self, status, kind, length=None, fields=()):
        lines = ["HTTP/1.1 %d X" % status, "Server: fake", "Content-Type: " + kind]
        lines += ["%s: %s" % f for f in fields]
        if self.p.flag("closed"):
            self.keep = False
            lines.append("Connection: close")
        elif length is not None:
            lines.append("Content-Length: %d" % length)
        else:
            self.chunked = True
            lines.append("Transfer-Encoding: chunked")
        await self.raw("\r\n".join(lines + ["", ""]).encode())

    async def body(self, data):
        if not data:  # an empty chunk would be the last one
            return
        if not self.chunked:
            await self.raw(data)
            return
        size = self.p.num("frame", 0) or len(data)
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            await self.raw(b"%x\r\n%s\r\n" % (len(piece), piece))

    async def end(self):
        if self.chunked:
            await self.raw(b"0\r\n\r\n")

    def fin(self):
        raise Scripted("fin")

    def reset(self):
        sock = self.conn.writer.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.conn.writer.transport.abort()
        raise Scripted("reset")


class Conn:
    """One connection: a feeder that reads all that comes, and requests taken from it in order."""

    serial = 0

    def __init__(self, runtime, reader, writer):
        Conn.serial += 1
        self.id = Conn.serial
        self.runtime = runtime
        self.reader = reader
        self.writer = writer
        self.buf = bytearray()
        self.more = asyncio.Event()
        self.left = asyncio.Event()
        self.served = 0
        self.busy = False

    async def feed(self):
        try:
            while data := await self.reader.read(65536):
                self.buf += data
                self.more.set()
        except (ConnectionError, ssl.SSLError, OSError):
            pass
        self.left.set()
        self.more.set()

    async def until(self, enough):
        while not enough():
            if self.left.is_set():
                raise ClientLeft
            self.more.clear()
            await self.more.wait()

    def take(self, n):
        data = bytes(self.buf[:n])
        del self.buf[:n]
        return data

    async def read_line(self):
        await self.until(lambda: b"\r\n" in self.buf)
        return self.take(self.buf.index(b"\r\n") + 2)[:-2]

    async def read_body(self, headers):
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while True:
                size = int((await self.read_line()).split(b";")[0], 16)
                await self.until(lambda: len(self.buf) >= size + 2)
                body += self.take(size)
                self.take(2)
                if size == 0:
                    return body
        length = int(headers.get("content-length", "0"))
        if length > BODY_MAX:
            raise ClientLeft
        if headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await self.until(lambda: len(self.buf) >= length)
        return self.take(length)

    async def read_request(self):
        await self.until(lambda: b"\r\n\r\n" in self.buf or len(self.buf) > HEAD_MAX)
        head = self.take(self.buf.index(b"\r\n\r\n") + 4).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = [[name, value.strip()] for name, _, value in (line.partition(":") for line in lines)]
        self.busy = True
        return method, target, pairs, await self.read_body({k.lower(): v for k, v in pairs})

    async def serve(self):
        feeder = asyncio.create_task(self.feed())
        self.runtime.conns.add(self)
        try:
            while True:
                self.busy = False
                request = await self.read_request()
                self.served += 1
                if not await self.runtime.answer(self, *request):
                    break
        except (ClientLeft, Scripted, ConnectionError, ValueError):
            pass
        finally:
            self.runtime.conns.discard(self)
            feeder.cancel()
            self.writer.close()


class Runtime:
    """What is shared: the record, the default script, the health."""

    def __init__(self):
        self.conns = set()
        self.records = []
        self.script = ""
        self.health = 200

    async def accept(self, reader, writer):
        sock = writer.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await Conn(self, reader, writer).serve()

    async def reply(self, conn, status, data):
        raw = json.dumps(data).encode()
        out = Out(conn, Params())
        await out.head(status, "application/json", length=len(raw))
        await out.body(raw)
        return True

    async def control(self, conn, method, path, query, body):
        said = body.decode()
        if path == "/control/requests":
            tag = Params(query).str("tag")
            return await self.reply(conn, 200, [r for r in self.records if tag is None or r["tag"] == tag])
        if path == "/control/state":
            calls = sum(1 for r in self.records if r["ended"] is None)
            return await self.reply(conn, 200, {"connections": len(self.conns) - 1, "running": calls})
        if path == "/control/script":
            self.script = said
        elif path == "/control/health":
            self.health = int(said)
        elif path == "/control/forget":
            self.records = [r for r in self.records if r["ended"] is None]
            Answer.failed.clear()
        elif path == "/control/close-idle":
            for other in list(self.conns):
                if not other.busy:
                    other.writer.close()
        else:
            return await self.reply(conn, 404, {"error": "no such control"})
        return await self.reply(conn, 200, {"ok": True})

    async def answer(self, conn, method, target, pairs, body):
        """Answers one request. Returns whether the connection goes on."""
        path, _, query = target.partition("?")
        if path.startswith("/control/"):
            return await self.control(conn, method, path, query, body)
        if method == "GET" and (path == "/health" or path.endswith("/models")):
            return await self.reply(conn, self.health, {"object": "list", "data": [{"id": "fake-model", "object": "model"}]})
        if method == "GET" and path.startswith("/made/"):
            return await self.made(conn, path)
        kind = next((kind for end, kind in KINDS if path.endswith(end)), None)
        if method != "POST" or kind is None:
            return await self.reply(conn, 404, {"error": {"message": "no such path", "type": "not_found", "code": 404}})
        return await self.scripted(kind, conn, (method, target, pairs, body))

    async def made(self, conn, path):
        """The image i at /made/i.png, as the addresses of form=url may name it."""
        name = path[len("/made/"):]
        if not name.partition(".")[0].isdigit():
            return await self.reply(conn, 404, {"error": "no such image"})
        raw = image("made", int(name.partition(".")[0]))
        out = Out(conn, Params())
        await out.head(200, "image/png", length=len(raw))
        await out.body(raw)
        return True

    async def scripted(self, kind, conn, call):
        method, target, pairs, body = call
        content_type = next((value for name, value in pairs if name.lower() == "content-type"), "")
        try:
            request = form_of(body, content_type) if content_type.startswith("multipart/") else json.loads(body)
        except ValueError as why:
            return await self.reply(conn, 400, {"error": {"message": "malformed: %s" % why, "type": "invalid_request_error"}})
        p = params_of(request, self.script)
        record = {
            "tag": p.str("tag", ""),
            "method": method,
            "target": target,
            "headers": pairs,
            "body": request,
            "connection": conn.id,
            "nth": conn.served,
            "began": time.time(),
            "ended": None,
            "outcome": None,
            "sent": 0,
        }
        self.records.append(record)
        if p.flag("drop_reused") and conn.served > 1:
            record.update(outcome="dropped", ended=time.time())
            raise Scripted("dropped")
        out = Out(conn, p)
        answer = kind(request, p, out)
        try:
            await answer.run()
            record["outcome"] = "complete"
        except ClientLeft:
            record["outcome"] = "left"
            raise
        except Scripted as what:
            record["outcome"] = str(what)
            raise
        finally:
            record["ended"] = time.time()
            record["sent"] = answer.sent
        if p.num("close_ms") is not None:
            conn.busy = False
            await asyncio.sleep(p.num("close_ms") / 1000)
            return False
        return out.keep


async def run(args):
    runtime = Runtime()
    servers, where = [], {}
    if args.port is not None:
        servers.append(await asyncio.start_server(runtime.accept, "127.0.0.1", args.port, backlog=1024))
        where["port"] = servers[-1].sockets[0].getsockname()[1]
    if args.unix:
        servers.append(await asyncio.start_unix_server(runtime.accept, args.unix))
        where["unix"] = args.unix
    if args.tls_port is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.cert, args.key)
        servers.append(await asyncio.start_server(runtime.accept, "127.0.0.1", args.tls_port, ssl=context))
        where["tls_port"] = servers[-1].sockets[0].getsockname()[1]
    print(json.dumps(where), flush=True)
    await asyncio.gather(*(s.serve_forever() for s in servers))


def main():
    parser = argparse.ArgumentParser(description="scripted OpenAI-compatible runtime")
    parser.add_argument("--port", type=int)
    parser.add_argument("--unix")
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    args = parser.parse_args()
    if args.port is None and args.unix is None and args.tls_port is None:
        args.port = 0
    try:
        asyncio.run(run(args))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    sys.exit(main())
