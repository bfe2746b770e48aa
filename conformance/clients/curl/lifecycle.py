"""Signals: a TERM lets everybody finish and exits 0; a second one does not wait."""

import json
import signal
import socket
import threading
import time

from harness import check, equal, eventually, fail, holds
from server import Brolly
from topics import JSON


@check("TERM and INT end an idle server with 0, at once")
def _(setting):
    for which in (signal.SIGTERM, signal.SIGINT):
        for command, arguments in (("demo", ()), ("dev", (setting.root,))):
            with Brolly(command, *arguments) as server, server.wire() as kept:
                equal(kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status, 200)
                started = time.monotonic()
                server.signal(which)
                equal(server.exit(), 0, f"{command} {which.name}")
                holds(time.monotonic() - started < 2, f"{command}: it took {time.monotonic() - started:.1f} s")
                holds(kept.ended(), "an idle connection got something else than an end")
                for word in ("panicked", "error"):
                    holds(word not in server.output().lower(), server.output())


@check("TERM ends event streams with a retry, and long-polls with an answer")
def _(setting):
    with Brolly("demo") as server, server.events("topic=end") as stream, server.wire() as poll:
        stream.joined()
        poll.send("GET /-/poll?topic=end&wait=50 HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: json.loads(server.publish("other", "1", *JSON).body) and True)
        time.sleep(0.2)
        server.signal()
        answer = poll.answer()
        equal(answer.status, 200)
        equal(json.loads(answer.body)["messages"], [])
        blocks = []
        while (block := stream.block()) is not None:
            blocks.append(block)
        end = {"event": "brolly.end", "retry": "1000", "data": '{"reason":"the server is shutting down"}'}
        equal({name: blocks[-1].get(name) for name in end}, end)
        equal(stream.exit(), 0, "curl saw a broken stream")
        equal(server.exit(), 0)


@check("TERM lets a request in flight finish, and lets nobody in")
def _(setting):
    with Brolly("dev", setting.root, f"/api/={setting.backend.url}") as server:
        answers = []
        asking = threading.Thread(target=lambda: answers.append(server.curl("/api/slow?ms=1500")))
        with server.wire() as download:
            asking.start()
            download.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            head = download.head()
            time.sleep(0.3)
            server.signal()
            time.sleep(0.3)
            try:
                socket.create_connection(("127.0.0.1", server.port), 1).close()
                fail("a connection was accepted after TERM")
            except OSError:
                pass
            length = int(head.field("content-length"))
            equal(len(download.exactly(length)), length)
        asking.join()
        equal((answers[0].status, answers[0].text), (200, "slow but sure"))
        equal(server.exit(), 0)


@check("a second signal ends it at once")
def _(setting):
    for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)):
        with Brolly("dev", setting.root, f"/api/={setting.backend.url}") as server, server.wire() as wire:
            wire.send("GET /api/slow?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.3)
            server.signal(first)
            time.sleep(0.3)
            holds(server.process.poll() is None, "it did not wait for the request in flight")
            started = time.monotonic()
            server.signal(second)
            server.exit(3)
            holds(time.monotonic() - started < 1, "the second signal was not heeded")


@check("what does not finish is cut off when the grace time is over", waits=True)
def _(setting):
    with Brolly("dev", setting.root, f"/api/={setting.backend.url}") as server, server.wire(timeout=70) as wire:
        wire.send("GET /api/slow?ms=80000 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.3)
        started = time.monotonic()
        server.signal()
        code = server.exit(60)
        holds(1 < time.monotonic() - started < 45, f"after {time.monotonic() - started:.1f} s")
        equal(code, 0)


@check("a client that breaks off does not end the server")
def _(setting):
    for _ in range(20):
        with setting.dev.wire() as wire:
            wire.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            wire.head()
            wire.reset()
    equal(setting.dev.curl("/hello.txt").status, 200)
    equal(setting.dev.process.poll(), None)
