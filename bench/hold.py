#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hold.py HOST PORT KEY N BODY PID - open N streams that say one thing and then nothing, and print
what memory the process PID has with them and without them."""
import resource
import select
import socket
import sys
import time

host, port, key, n, path, pid = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5], sys.argv[6]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
body = open(path, "rb").read()
head = ("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
        "Content-Length: %d\r\n\r\n" % (key, len(body))).encode()


def rss():
    for line in open("/proc/%s/status" % pid):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


before = rss()
socks = []
for i in range(n):
    s = socket.create_connection((host, port))
    s.sendall(head + body)
    socks.append(s)
    if i % 100 == 99:
        time.sleep(0.02)
poll = select.poll()
waiting = {s.fileno(): s for s in socks}
for fd in waiting:
    poll.register(fd, select.POLLIN)
good, end = 0, time.time() + 30
while waiting and time.time() < end:
    for fd, _ in poll.poll(1000):
        data = waiting[fd].recv(65536)
        good += data.startswith(b"HTTP/1.1 200")
        poll.unregister(fd)
        del waiting[fd]
time.sleep(1)
print("idle streams: %d open, %d answered 200; gatewayd RSS %.1f MiB, %.1f before" % (n, good, rss(), before))
