# SPDX-License-Identifier: Apache-2.0
"""Thousands of clients, each of which ends in its own way: most take their answer, others leave before it, while
they wait, in the middle of it, by FIN, by RST, by half a close, or stand still; runtimes fail them, plans
refuse them, queues are full. Raw sockets on one event loop, no SDK, so that a second holds hundreds.

Storm(port, keys, models).run(n) gives what became of them; which client does what is decided by the seed
alone. Used by tests/e2e/test_53_exits.py; it must not know the daemons.
"""
import asyncio
import collections
import json
import random
import socket
import struct

RST = struct.pack("ii", 1, 0)


class Unfinished(Exception):
    """An answer to a client that stayed broke off."""


class Unheard(Exception):
    """A client that stayed was not answered in time."""


def weighted(rng, pairs):
    return rng.choices([p[0] for p in pairs], [p[1] for p in pairs])[0]


# ---- what the runtime does ----------------------------------------------------------------------


def plain(rng):
    return "tokens=%d&delay_ms=%d" % (rng.randrange(25), rng.choice([0, 0, 1, 3]))


def late(rng):
    return "tokens=%d&%s=%d" % (rng.randrange(1, 8), rng.choice(["head_ms", "first_ms"]), rng.randrange(80))


def refusal(rng):
    return "status=%d&kind=%s" % (rng.choice([400, 400, 404, 413, 422, 429, 500, 502, 503, 529]),
                                  rng.choice(["invalid_request_error", "exceed_context_size_error", "server_error"]))


def once(rng):
    return "tokens=3&%s&times=1&tag=once%d" % (rng.choice(["status=500", "status=503", "die=head", "die=reset"]), rng.randrange(10**9))


def death(rng):
    return "die=" + rng.choice(["head", "reset", "half"])


def half_answer(rng):
    at = rng.randrange(6)
    return "tokens=8&delay_ms=%d&%s" % (rng.choice([0, 2]), rng.choice(
        ["abort=%d" % at, "fin=%d" % at, "cut=%d" % at, "bad=%d" % at, "error_at=%d" % at, "error_first=1", "short=1"]))


def silence(rng):
    return rng.choice(["head_ms=4000", "first_ms=4000", "tokens=5&stall_at=2&stall_ms=4000"])


def large(rng):
    return "tokens=%d&big=%d" % (rng.randrange(1, 20), rng.randrange(2000, 40000))


def odd(rng):
    return "tokens=6&" + rng.choice(["split=5", "frame=3", "crlf=1", "nospace=1", "closed=1", "usage=never", "norole=1",
                                     "close_ms=2", "drop_reused=1", "stay=1&delay_ms=8", "comments=1"])


SCRIPTS = [(plain, 42), (late, 12), (refusal, 10), (once, 4), (death, 6), (half_answer, 12), (silence, 0.4), (large, 4), (odd, 8)]


# ---- what the client asks -----------------------------------------------------------------------


def chat(rng, model, text):
    return "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}]}


def completion(rng, model, text):
    return "/v1/completions", {"model": model, "prompt": text}


def message(rng, model, text):
    return "/anthropic/v1/messages", {"model": model, "max_tokens": rng.randrange(1, 500), "messages": [{"role": "user", "content": text}]}


def response(rng, model, text):
    return "/v1/responses", {"model": model, "input": text, "store": rng.random() < 0.3}


SURFACES = [chat, completion, message, response]
LEAVES = [("stays", 50), ("in the head", 4), ("in the body", 6), ("while it waits", 16), ("in the answer", 20), ("stands still", 1.5),
          ("closes half", 2.5)]


class Client:
    """One connection, and what happens on it."""

    def __init__(self, storm, rng):
        self.storm = storm
        self.rng = rng
        self.reader = self.writer = None

    async def connect(self):
        limit = 1024 if self.leaves == "stands still" else 1 << 16
        sock = socket.socket()
        sock.setblocking(False)
        if self.leaves == "stands still":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.storm.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=limit)

    def request(self, kept):
        rng = self.rng
        text = "fake?" + weighted(rng, SCRIPTS)(rng)
        if self.leaves == "stands still":
            text = "fake?tokens=60&big=30000"
        path, body = rng.choice(SURFACES)(rng, rng.choice(self.storm.models), text)
        body["stream"] = rng.random() < 0.5
        key, method, broken = self.storm.keys["many"], "POST", rng.random() < 0.1
        if broken:
            what = rng.randrange(7)
            if what == 0:
                key = "tf-prod-" + "x" * 30
            elif what == 1:
                body["model"] = "no/such"
            elif what == 2:
                body["temperature"] = "hot"
            elif what == 3:
                key = self.storm.keys["few"]
            elif what == 4:
                body["messages" if "messages" in body else "input"] = 5
            elif what == 5:
                path = "/v1/nothing"
            else:
                method, path = "GET", rng.choice(["/v1/models", "/healthz", "/v1/usage"])
        data = b"" if method == "GET" else json.dumps(body).encode()
        if broken and rng.random() < 0.1:
            data = data[: rng.randrange(len(data))] if data else data
        head = "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s" % (method, path, key, "" if kept else "Connection: close\r\n")
        if data:
            if rng.random() < 0.2:
                data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
                head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
            else:
                head += "Content-Type: application/json\r\nContent-Length: %d\r\n" % len(data)
        return (head + "\r\n").encode(), data

    async def answer(self):
        """Reads one whole answer; returns its status."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head[9:12])
        if "\r\ntransfer-encoding: chunked\r\n" in head:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                await self.reader.readexactly(size + 2)
            await self.reader.readexactly(2)
        elif "\r\ncontent-length: " in head:
            await self.reader.readexactly(int(head.split("\r\ncontent-length: ")[1].split("\r\n")[0]))
        else:
            raise Unfinished("an answer without an end: " + head)
        return status, "\r\nconnection: close\r\n" in head

    def leave(self):
        if self.rng.random() < 0.5:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            self.writer.transport.abort()
        self.writer.close()

    async def stay(self, head, data, kept):
        """Until it was answered, several times on a kept connection."""
        for left in range(self.rng.randrange(4) if kept else 0, -1, -1):
            self.writer.write(head + data)
            try:
                status, closes = await asyncio.wait_for(self.answer(), self.storm.patience)
            except asyncio.TimeoutError:
                raise Unheard(repr(head[:100] + data[:300])) from None
            except (asyncio.IncompleteReadError, ConnectionError) as e:
                raise Unfinished("%r: %r" % (e, head[:100] + data[:300])) from None
            self.storm.count[status] += 1
            if closes or not left:
                break
            head, data = self.request(kept)
        self.leave()

    async def run(self):
        rng = self.rng
        self.leaves = weighted(rng, LEAVES)
        kept = rng.random() < 0.4
        head, data = self.request(kept)
        await self.connect()
        if self.leaves == "stays":
            await self.stay(head, data, kept)
            return
        self.storm.count[self.leaves] += 1
        if self.leaves == "in the head":
            self.writer.write(head[: rng.randrange(len(head))])
        elif self.leaves == "in the body":
            self.writer.write(head + data[: rng.randrange(len(data) + 1)])
        else:
            self.writer.write(head + data)
        if self.leaves == "while it waits" or self.leaves.startswith("in the") and rng.random() < 0.5:
            await asyncio.sleep(rng.random() * 0.04)
        try:
            if self.leaves == "in the answer":
                await asyncio.wait_for(self.reader.read(rng.randrange(1, 5000)), rng.random() * 0.2)
            elif self.leaves == "stands still":
                await asyncio.sleep(rng.random())
            elif self.leaves == "closes half":
                self.writer.write_eof()
                await asyncio.wait_for(self.reader.read(), rng.random() * 0.2)
        except (asyncio.TimeoutError, ConnectionError, OSError):
            pass
        self.leave()


class Storm:
    """keys: "many" has room, "few" has little; patience: seconds that a client waits for its answer."""

    def __init__(self, port, keys, models, seed=1, at_once=48, patience=60):
        self.port, self.keys, self.models, self.seed, self.at_once, self.patience = port, keys, models, seed, at_once, patience
        self.count = collections.Counter()
        self.wrong = []
        self.served = 0

    async def worker(self, numbers):
        for i in numbers:
            client = Client(self, random.Random("%d/%d" % (self.seed, i)))
            try:
                await client.run()
            except (Unfinished, Unheard) as e:
                self.wrong.append("client %d of seed %d: %s: %s" % (i, self.seed, type(e).__name__, e))
            except (ConnectionError, OSError) as e:
                self.count[type(e).__name__] += 1
            finally:
                if client.writer is not None:
                    client.writer.close()
            self.served += 1

    async def all(self, n):
        numbers = iter(range(n))
        await asyncio.gather(*(self.worker(numbers) for _ in range(self.at_once)))

    def run(self, n):
        asyncio.run(self.all(n))
        return self.count
