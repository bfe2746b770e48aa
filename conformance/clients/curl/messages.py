"""HTTP/1.1 messages on the wire: refusals, limits, persistence, pipelining. Raw sockets, where curl would be too polite."""

import socket
import subprocess
import time

from harness import check, equal, holds, one_of

GET = "GET /hello.txt HTTP/1.1\r\nHost: a\r\n"
HELLO = b"hello, world\n"


@check("malformed heads are refused and the connection is closed")
def _(setting):
    table = {
        "no Host": ("GET / HTTP/1.1\r\n\r\n", (400,)),
        "two Hosts": ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400,)),
        "bad Host": ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", (400,)),
        "line feeds alone": ("GET / HTTP/1.1\nHost: a\n\n", (400,)),
        "space before colon": ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", (400,)),
        "folded line": ("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", (400,)),
        "NUL in a value": ("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n", (400,)),
        "CR in a value": ("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n", (400,)),
        "empty name": ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", (400,)),
        "no colon": ("GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", (400,)),
        "bad method": ("GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", (400, 405, 501)),
        "no version": ("GET /\r\n\r\n", (400,)),
        "two spaces": ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", (400,)),
        "HTTP/2.0": ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", (400, 505)),
        "HTTP/1.15": ("GET / HTTP/1.15\r\nHost: a\r\n\r\n", (400,)),
        "http/1.1": ("GET / http/1.1\r\nHost: a\r\n\r\n", (400,)),
        "TLS": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
        "both framings": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", (400,)),
        "two lengths": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", (400,)),
        "length list": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", (400,)),
        "length sign": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", (400,)),
        "length empty": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", (400,)),
        "length huge": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", (400, 413)),
        "unknown coding": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", (400, 501)),
        "coding in 1.0": ("POST /-/publish/a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", (400,)),
        "chunk size": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", (400,)),
        "chunk overflow": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n", (400, 413)),
        "chunk end": ("POST /-/publish/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", (400,)),
        "another Host than the target's": ("GET http://example.org/ HTTP/1.1\r\nHost: other\r\n\r\n", (400,)),
    }
    wrong = []
    for name, (text, statuses) in table.items():
        with setting.demo.wire() as wire:
            answer = wire.send(text.encode("latin-1")).answer()
            closed = answer.status < 400 or wire.ended(5)
            if answer.status not in statuses or not closed:
                wrong.append((name, answer.status, "closed" if closed else "still open", f"expected {statuses}"))
    equal(wrong, [])


@check("limits of a head: 414 and 431")
def _(setting):
    table = {
        "a target of 8 KiB": ("GET /" + "a" * 8000 + " HTTP/1.1\r\nHost: a\r\n\r\n", (404,)),
        "a target of 9 KiB": ("GET /" + "a" * 9000 + " HTTP/1.1\r\nHost: a\r\n\r\n", (414,)),
        "an endless target": ("GET /" + "a" * 100_000, (414,)),
        "a field of 12 KiB": (f"{GET}X-A: {'a' * 12_000}\r\n\r\n", (200,)),
        "a field of 20 KiB": (f"{GET}X-A: {'a' * 20_000}\r\n\r\n", (431,)),
        "an endless field": (f"{GET}X-A: {'a' * 100_000}", (431,)),
        "99 fields": (GET + "".join(f"X-{n}: {n}\r\n" for n in range(98)) + "\r\n", (200,)),
        "101 fields": (GET + "".join(f"X-{n}: {n}\r\n" for n in range(101)) + "\r\n", (431,)),
        "10,000 fields": (GET + "".join(f"X-{n}: {n}\r\n" for n in range(10_000)) + "\r\n", (431,)),
    }
    wrong = []
    for name, (text, statuses) in table.items():
        with setting.dev.wire() as wire:
            try:
                wire.send(text)
            except ConnectionError:
                pass  # it need not listen to the end; what it said can still be read
            answer = wire.answer()
            if answer.status not in statuses:
                wrong.append((name, answer.status, f"expected {statuses}"))
    equal(wrong, [])


@check("content that is too large is refused before it is sent, and the refusal can be read after it was")
def _(setting):
    head = "POST /-/publish/a HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 50000000\r\n"
    with setting.dev.wire() as wire:
        answer = wire.send(f"{head}Expect: 100-continue\r\n\r\n").answer()
        equal(answer.status, 413)
    with setting.dev.wire() as wire:
        wire.send(f"{head}\r\n")
        try:
            for _ in range(20):
                wire.send(b"x" * 65536)
                time.sleep(0.01)
        except ConnectionError:
            pass
        equal(wire.answer().status, 413)


@check("a connection is kept, by curl and for many requests")
def _(setting):
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{num_connects} %{http_code}\n"]
        + [part for _ in range(5) for part in (f"{setting.dev.url}/hello.txt", "-o", "/dev/null")][:-2],
        capture_output=True, text=True)
    equal(done.stdout.split("\n")[:5], ["1 200"] + ["0 200"] * 4)
    with setting.dev.wire() as wire:
        for _ in range(500):
            equal(wire.send(f"{GET}\r\n").answer().body, HELLO)


@check("persistence follows version and Connection")
def _(setting):
    for version, field, kept in [
        ("1.1", "", True), ("1.1", "Connection: close\r\n", False), ("1.1", "Connection: Close\r\n", False),
        ("1.1", "Connection: x, close\r\n", False), ("1.1", "Connection: keep-alive\r\n", True),
        ("1.0", "", False), ("1.0", "Connection: keep-alive\r\n", True), ("1.0", "Connection: close\r\n", False),
    ]:
        with setting.dev.wire() as wire:
            answer = wire.send(f"GET /hello.txt HTTP/{version}\r\nHost: a\r\n{field}\r\n").answer()
            equal((answer.status, answer.body), (200, HELLO))
            note = f"HTTP/{version} {field.strip()}"
            if kept:
                equal(wire.send(f"{GET}\r\n").answer().status, 200, note)
            else:
                holds(wire.ended(), f"{note}: still open")


@check("HTTP/1.0 without Host")
def _(setting):
    with setting.dev.wire() as wire:
        equal(wire.send("GET /hello.txt HTTP/1.0\r\n\r\n").answer().body, HELLO)
    equal(setting.dev.curl("/hello.txt", http="--http1.0").body, HELLO)


@check("HTTP/1.2, absolute form, empty lines before the request line")
def _(setting):
    for text in (
        "GET /hello.txt HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET http://example.org/hello.txt HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET HTTP://example.org:80/hello.txt HTTP/1.1\r\nHost: example.org\r\n\r\n",
        f"\r\n{GET}\r\n",
    ):
        with setting.dev.wire() as wire:
            equal(wire.send(text).answer().body, HELLO, text)


@check("an expectation that nobody knows is refused, and the connection kept")
def _(setting):
    with setting.dev.wire() as wire:
        equal(wire.send("GET /hello.txt HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n").answer().status, 417)
        equal(wire.send(f"{GET}\r\n").answer().body, HELLO)


@check("CONNECT and OPTIONS * are answered")
def _(setting):
    for text, statuses in [
        ("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", (400, 405, 501)),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", (200, 204, 400, 404, 405, 501)),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", (400, 405, 501)),
    ]:
        with setting.dev.wire() as wire:
            one_of(wire.send(text).answer().status, statuses, text)


@check("pipelined requests in one packet")
def _(setting):
    with setting.dev.wire() as wire:
        wire.send(f"{GET}\r\n" * 100)
        equal([wire.answer().body for _ in range(100)], [HELLO] * 100)


@check("a request byte by byte, an answer in small sips")
def _(setting):
    with setting.dev.wire() as wire:
        for byte in f"{GET}\r\n".encode():
            wire.send(bytes([byte]))
            time.sleep(0.001)
        answer = wire.answer()
        equal((answer.status, answer.body), (200, HELLO))


@check("a half-closed client still gets its answers")
def _(setting):
    for path, body in [("/hello.txt", HELLO), ("/api/slow?ms=300", b"slow but sure")]:
        with setting.dev.wire() as wire:
            wire.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
            wire.socket.shutdown(socket.SHUT_WR)
            equal(wire.answer().body, body, path)
            holds(wire.ended(), f"{path}: still open")


@check("chunked content with extensions and trailers is read")
def _(setting):
    with setting.demo.wire() as wire:
        wire.send("POST /-/publish/chunky HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nTransfer-Encoding: Chunked\r\n\r\n")
        wire.send('3;a=b\r\nabc\r\n00a;c="d;e"\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n')
        equal(wire.answer().status, 200)
        wire.send("GET /-/poll?topic=chunky&position=0&wait=0 HTTP/1.1\r\nHost: a\r\n\r\n")
        holds('"abc0123456789"' in wire.answer().text, "the chunks were not joined")


@check("content that nobody wants is read away, or the connection is closed, but it is never taken for a request")
def _(setting):
    hidden = "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
    for head, content, status in [
        ("GET /hello.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n", hidden, 200),
        ("POST /hello.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n", hidden, 405),
        ("POST /hello.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", f"22\r\n{hidden}\r\n0\r\n\r\n", 405),
    ]:
        for pause in (0, 0.1):
            with setting.dev.wire() as wire:
                wire.send(head)
                time.sleep(pause)
                answer = wire.send(content).answer()
                equal(answer.status, status)
                if answer.field("connection") == "close":
                    holds(wire.ended(), "it said close and stays open")
                else:
                    equal(wire.send(f"{GET}\r\n").answer().body, HELLO)


@check("a date, and no more headers than needed")
def _(setting):
    import email.utils

    answer = setting.dev.curl("/hello.txt")
    seconds = email.utils.parsedate_to_datetime(answer.field("date")).timestamp()
    holds(abs(seconds - time.time()) < 3, answer.field("date"))
    equal(answer.field("content-length"), str(len(HELLO)))
    equal(answer.version, "HTTP/1.1")
