#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy that knows CONNECT alone. Prints {"port": N}, then one line per CONNECT it gets.

    connect_proxy.py [--refuse STATUS]

Standard library only; run by tests/e2e.
"""
import argparse
import asyncio
import json


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve(reader, writer, refuse):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
        return
    method, target, _ = head.split("\r\n")[0].split(" ")
    print(json.dumps({"method": method, "target": target, "head": head}), flush=True)
    if refuse or method != "CONNECT":
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % (refuse or 405))
        writer.close()
        return
    host, _, port = target.rpartition(":")
    try:
        there = await asyncio.open_connection(host, int(port))
    except OSError:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        return
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))


async def run(refuse):
    server = await asyncio.start_server(lambda r, w: serve(r, w, refuse), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--refuse", type=int, default=0)
    try:
        asyncio.run(run(parser.parse_args().refuse))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
