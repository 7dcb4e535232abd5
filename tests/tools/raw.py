# SPDX-License-Identifier: Apache-2.0
"""A client on raw sockets: sends exactly the bytes it is given and says exactly what came back.

Standard library only. It must not mend anything: a malformed answer is an exception. Used by
tests/e2e; it must not know the gateway.
"""
import json
import select
import socket
import ssl
import time


class Malformed(Exception):
    """The peer broke HTTP/1.1 or SSE."""


class Closed(Exception):
    """The peer closed before what was expected had come."""


class Response:
    def __init__(self, status, reason, pairs):
        self.status = status
        self.reason = reason
        self.pairs = pairs  # as received
        self.interim = []  # statuses of 1xx before it
        self.body = b""

    def get(self, name, default=None):
        found = [v for k, v in self.pairs if k.lower() == name.lower()]
        if len(found) > 1:
            raise Malformed("%d fields %s" % (len(found), name))
        return found[0] if found else default

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]

    def closes(self):
        return "close" in (self.get("connection") or "").lower()


class Raw:
    """One connection. deadline bounds every wait, in seconds."""

    def __init__(self, port, host="127.0.0.1", tls=None, deadline=10.0, rcvbuf=None, server_hostname=None):
        self.deadline = deadline
        self.buf = b""
        self.eof = False
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.settimeout(deadline)
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = tls.wrap_socket(sock, server_hostname=server_hostname or host) if tls else sock

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def send_some(self, data):
        """Sends until the peer stops reading, answers or closes; returns the bytes sent."""
        self.sock.setblocking(False)
        sent, until = 0, time.monotonic() + self.deadline
        try:
            while sent < len(data) and time.monotonic() < until:
                readable, writable, _ = select.select([self.sock], [self.sock], [], 0.2)
                if readable:
                    break
                if writable:
                    try:
                        sent += self.sock.send(data[sent : sent + 65536])
                    except BlockingIOError:
                        pass
        except (ConnectionError, OSError):
            pass
        finally:
            self.sock.settimeout(self.deadline)
        return sent

    def shutdown(self):
        """Half close: nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    # ---- reading ------------------------------------------------------------------------------

    def fill(self, timeout=None):
        """One read. False at the end of the stream."""
        self.sock.settimeout(self.deadline if timeout is None else timeout)
        try:
            data = self.sock.recv(65536)
        except ssl.SSLEOFError:
            data = b""
        if not data:
            self.eof = True
            return False
        self.buf += data
        return True

    def until(self, mark):
        while mark not in self.buf:
            if not self.fill():
                raise Closed("closed with %r unread" % self.buf[:200])
        head, _, self.buf = self.buf.partition(mark)
        return head

    def exactly(self, n):
        while len(self.buf) < n:
            if not self.fill():
                raise Closed("closed %d bytes short" % (n - len(self.buf)))
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def head(self):
        """The next final response's head; 1xx before it are noted."""
        interim = []
        while True:
            lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            version, status, reason = (lines[0] + " ").split(" ", 2)
            if version != "HTTP/1.1":
                raise Malformed("status line %r" % lines[0])
            pairs = []
            for line in lines[1:]:
                name, colon, value = line.partition(":")
                if not colon or name != name.strip() or not name:
                    raise Malformed("field %r" % line)
                pairs.append((name, value.strip()))
            response = Response(int(status), reason.strip(), pairs)
            if response.status >= 200:
                response.interim = interim
                return response
            interim.append(response.status)

    def chunks(self):
        """Data of the chunked body, chunk by chunk."""
        while True:
            size = int(self.until(b"\r\n"), 16)
            if size == 0:
                if self.until(b"\r\n") != b"":
                    raise Malformed("trailer")
                return
            yield self.exactly(size)
            if self.exactly(2) != b"\r\n":
                raise Malformed("chunk without its end")

    def response(self, method="POST"):
        """A whole response."""
        r = self.head()
        length = r.get("content-length")
        if method == "HEAD" or r.status in (204, 304):
            return r
        if (r.get("transfer-encoding") or "").lower() == "chunked":
            if length is not None:
                raise Malformed("both length and chunked")
            r.body = b"".join(self.chunks())
        elif length is not None:
            r.body = self.exactly(int(length))
        else:
            if not r.closes():
                raise Malformed("no length, not chunked, not closing")
            while self.fill():
                pass
            r.body, self.buf = self.buf, b""
        return r

    def closed_within(self, seconds):
        """Does the peer close (FIN or RST) in that time, sending nothing more?"""
        until = time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0:
                if not self.fill(left):
                    return self.buf == b""
        except ConnectionError:
            return self.buf == b""
        except (TimeoutError, socket.timeout):
            return False
        return False


class Events:
    """The events of a streamed answer, as they arrive: data strings; comments are counted."""

    def __init__(self, raw, response):
        self.raw = raw
        self.response = response
        self.comments = 0
        self.times = []  # monotonic, of each event
        self.ended = None  # "clean" or how the body broke off

    def __iter__(self):
        pending = b""
        try:
            for chunk in self.raw.chunks():
                pending += chunk
                while b"\n\n" in pending:
                    block, _, pending = pending.partition(b"\n\n")
                    data = self.block(block)
                    if data is not None:
                        self.times.append(time.monotonic())
                        yield data
            if pending:
                raise Malformed("unfinished event %r" % pending)
            self.ended = "clean"
        except (Closed, ConnectionError) as e:
            self.ended = "broken: %s" % e

    def block(self, block):
        data = []
        for line in block.decode("utf-8").split("\n"):
            if line.startswith(":"):
                self.comments += 1
            elif line.startswith("data: "):
                data.append(line[6:])
            else:
                raise Malformed("line %r" % line)
        return "\n".join(data) if data else None
