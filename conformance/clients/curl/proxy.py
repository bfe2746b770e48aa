"""The reverse proxy with a backend that behaves: what arrives there, what comes back, tunnels, pool, back-pressure."""

import hashlib
import json
import threading
import time

from harness import check, contains, equal, eventually, holds, lacks, one_of
from server import Curl


def echo(setting, path, *arguments, **options):
    answer = setting.dev.curl(path, *arguments, **options)
    equal(answer.status, 200, answer.text)
    seen = json.loads(answer.body)
    seen["answer"] = answer
    return seen


def values(seen, name):
    return [value for key, value in seen["fields"] if key.lower() == name]


@check("method, target and content arrive as they were")
def _(setting):
    seen = echo(setting, "/api/echo?a=b&c=%20d", "-X", "FROB", data=b"content\0\xff")
    equal((seen["method"], seen["target"]), ("FROB", "/api/echo?a=b&c=%20d"))
    equal((seen["length"], seen["sha1"]), (9, hashlib.sha1(b"content\0\xff").hexdigest()))
    for path in ("/api/a%20b?%C3%BC", "/api/", "/api/?x", "/api/a;b=c,d", "/api/a//b", "/api/a%2Fb"):
        answer = setting.dev.curl(path)
        equal(answer.status, 200, f"{path}: {answer.text}")
        equal(json.loads(answer.body)["target"], path)


@check("the longest prefix wins, and a prefix can be replaced")
def _(setting):
    setting.other.requests.clear()
    equal(echo(setting, "/api/deep/er?x=1")["target"], "/api/deep/er?x=1")
    equal(len(setting.other.requests), 1)
    equal(echo(setting, "/api/deeper")["target"], "/api/deeper")
    equal(len(setting.other.requests), 1, "/api/deeper is not below /api/deep/")
    for path, target in [("/v2/users?a=b", "/base/users?a=b"), ("/v2/", "/base/"), ("/v2/a%2Fb", "/base/a%2Fb")]:
        equal(echo(setting, path)["target"], target)


@check("no path leaves its prefix on the way to the backend")
def _(setting):
    for path in ("/v2/../admin", "/v2/%2e%2e/admin", "/v2/..%2fadmin", "/v2/a/../../admin"):
        setting.backend.requests.clear()
        setting.dev.curl(path)
        for request in setting.backend.requests:
            holds(request.path.startswith("/base/"), f"{path} became {request.target}")
            lacks(request.path.lower().replace("%2e", "."), "/../", path)


@check("the backend is told who asks, and by which name")
def _(setting):
    seen = echo(setting, "/api/echo", "-H", "Host: shop.example:81", "-H", "X-Forwarded-For: 10.1.2.3", "-H", "User-Agent: me")
    contains(", ".join(values(seen, "x-forwarded-for")), "127.0.0.1")
    equal(values(seen, "x-forwarded-proto"), ["http"])
    equal(values(seen, "x-forwarded-host"), ["shop.example:81"])
    equal(values(seen, "user-agent"), ["me"])
    equal(len(values(seen, "host")), 1)


@check("one X-Barium per request: made here, the same for backend and client")
def _(setting):
    ours = "11111111-1111-4111-8111-111111111111"
    for arguments in ((), ("-H", f"X-Barium: {ours}"), ("-H", f"x-barium: {ours}", "-H", "X-BARIUM: another")):
        seen = echo(setting, "/api/echo", *arguments)
        equal(values(seen, "x-barium"), [seen["answer"].field("x-barium")])
        lacks(values(seen, "x-barium"), ours)
    # Whatever a backend says itself is not believed.
    answer = setting.dev.curl("/api/hop")
    lacks(answer.field("x-barium"), "00000000-0000")


@check("hop-by-hop fields end here, in both directions")
def _(setting):
    seen = echo(
        setting, "/api/echo", "-H", "Connection: keep-alive, X-Mine, close", "-H", "X-Mine: 1", "-H", "Keep-Alive: 5", "-H", "TE: trailers",
        "-H", "Proxy-Connection: keep-alive", "-H", "Upgrade: h2c", "-H", "X-Other: 2", "-H", "Proxy-Authorization: Basic eA==",
    )
    for name in ("x-mine", "keep-alive", "proxy-connection", "upgrade", "proxy-authorization"):
        equal(values(seen, name), [], name)
    equal(values(seen, "x-other"), ["2"])
    answer = setting.dev.curl("/api/hop")
    equal((answer.status, answer.body, answer.field("x-public")), (200, b"hop", "2"))
    for name in ("x-private", "keep-alive"):
        equal(answer.field(name), None, name)
    lacks((answer.field("connection") or "").lower(), "x-private")


@check("Connection cannot take away what others rely on")
def _(setting):
    seen = echo(setting, "/api/echo", "-H", "Connection: X-Forwarded-For, X-Forwarded-Host, X-Barium, Host, Content-Length", data=b"abc")
    equal(seen["length"], 3)
    for name in ("x-forwarded-for", "x-forwarded-host", "x-barium", "host"):
        equal(len(values(seen, name)), 1, name)


@check("fields that stand there twice, twice")
def _(setting):
    answer = setting.dev.curl("/api/cookies")
    equal(answer.all("set-cookie"), ["a=1; Path=/", "b=2"])
    seen = echo(setting, "/api/echo", "-H", "X-Twice: 1", "-H", "X-Twice: 2")
    equal(", ".join(values(seen, "x-twice")), "1, 2")


@check("statuses and lengths without content pass")
def _(setting):
    for code in (201, 204, 301, 304, 404, 418, 500, 503, 599):
        equal(setting.dev.curl(f"/api/status?code={code}").status, code)
    answer = setting.dev.curl("/api/length", "-I")
    equal((answer.status, answer.field("content-length"), answer.body), (200, "12345", b""))
    equal(setting.dev.curl("/api/echo", "-I").status, 200)


@check("content of unknown length arrives whole, both ways")
def _(setting):
    sent = bytes(range(256)) * 4096
    seen = echo(setting, "/api/echo", "-H", "Transfer-Encoding: chunked", data=sent)
    equal((seen["length"], seen["sha1"]), (len(sent), hashlib.sha1(sent).hexdigest()))
    answer = setting.dev.curl("/api/chunked?chunks=5")
    equal((answer.status, answer.text), (200, "".join(f"chunk {n}\n" for n in range(5))))
    equal(setting.dev.curl("/api/old").text, "up to the end")


@check("an HTTP/1.0 client gets content up to the end of the connection")
def _(setting):
    with setting.dev.wire() as wire:
        answer = wire.send("GET /api/chunked?chunks=3 HTTP/1.0\r\n\r\n").answer()
        equal((answer.status, answer.body), (200, b"chunk 0\nchunk 1\nchunk 2\n"))
        equal(answer.field("transfer-encoding"), None)
        holds(wire.ended(), "still open")


@check("trailers do no harm")
def _(setting):
    with setting.dev.wire() as wire:
        equal(wire.send("GET /api/trailers HTTP/1.1\r\nHost: a\r\n\r\n").answer().text, "hello")
        equal(wire.send("GET /api/trailers HTTP/1.0\r\nHost: a\r\n\r\n").answer().text, "hello")
    with setting.dev.wire() as wire:
        wire.send("POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = wire.send("3\r\nabc\r\n0\r\nContent-Length: 7\r\nHost: evil\r\n\r\n").answer()
        equal(json.loads(answer.body)["length"], 3)
        equal(wire.send("GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n").answer().status, 200)


@check("early hints do not disturb the answer")
def _(setting):
    equal(setting.dev.curl("/api/hints").text, "after the hints")
    with setting.dev.wire() as wire:
        answer = wire.send("GET /api/hints HTTP/1.0\r\n\r\n").answer()
        equal((answer.status, answer.body), (200, b"after the hints"), "1xx to an HTTP/1.0 client")


@check("content comes as it is made, not at the end")
def _(setting):
    started = time.monotonic()
    with Curl(f"{setting.dev.url}/api/chunked?chunks=4&ms=400") as reader:
        reader.take_until(b"chunk 0\n")
        holds(time.monotonic() - started < 1, f"the first chunk took {time.monotonic() - started:.1f} s")
        reader.take_until(b"chunk 3\n")
        holds(time.monotonic() - started > 1, "all chunks at once")


@check("connections to the backend are kept and used again")
def _(setting):
    used = {echo(setting, "/api/echo")["connection"] for _ in range(20)}
    # Each shard has a pool of its own.
    holds(len(used) <= 4, f"20 requests used {len(used)} connections")


@check("a kept connection that has died costs nobody an answer")
def _(setting):
    for _ in range(10):
        equal(setting.dev.curl("/api/stale").text, "bye")
        equal(setting.dev.curl("/api/echo").status, 200)
    time.sleep(0.1)
    for _ in range(5):
        equal(setting.dev.curl("/api/stale").text, "bye")
        time.sleep(0.05)


@check("a large download is streamed, with bounded memory for slow readers")
def _(setting):
    size = 64 * 1024 * 1024
    answer = setting.dev.curl(f"/api/big?bytes={size}", seconds=60)
    equal((len(answer.body), answer.body == b"0123456789abcdef" * (size // 16)), (size, True))
    before = setting.dev.rss()
    readers = [Curl(f"{setting.dev.url}/api/big?bytes={size}", "--limit-rate", "64k", "-o", "/dev/null") for _ in range(10)]
    time.sleep(2)
    grown = setting.dev.rss() - before
    for reader in readers:
        holds(reader.process.poll() is None, "a slow reader was cut off")
        reader.__exit__()
    holds(grown < 64 * 1024 * 1024, f"grew by {grown // 1024} KiB")


@check("a large upload is streamed, at the backend's pace")
def _(setting):
    before, most = setting.dev.rss(), 0
    results = []
    upload = threading.Thread(
        target=lambda: results.append(
            setting.dev.curl("/api/sink?ms=20", "-T", str(setting.root / "big.bin"), "-X", "POST", "-H", "Expect:", seconds=60)))
    upload.start()
    while upload.is_alive():
        most = max(most, setting.dev.rss() - before)
        time.sleep(0.02)
    equal((results[0].status, results[0].text), (200, str(200 * 1024 * 1024)))
    holds(most < 64 * 1024 * 1024, f"grew by {most // 1024} KiB")


@check("the backend's 100-continue reaches the client, or ours does")
def _(setting):
    with setting.dev.wire() as wire:
        wire.send("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        equal(wire.answer().status, 100)
        answer = wire.send("abc").answer()
        equal((answer.status, json.loads(answer.body)["length"]), (200, 3))


@check("an early refusal by the backend reaches the client")
def _(setting):
    with setting.dev.wire() as wire:
        wire.send("POST /api/early HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + "x" * 1000)
        answer = wire.answer()
        equal((answer.status, answer.text), (413, "not that much"))


@check("an upgrade becomes a tunnel")
def _(setting):
    with setting.dev.wire() as wire:
        wire.send("GET /api/upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nearly")
        answer = wire.answer()
        equal((answer.status, answer.field("upgrade"), answer.field("connection").lower()), (101, "shout", "upgrade"))
        equal(wire.exactly(11), b"first\nEARLY")
        for n in range(20):
            wire.send(f"line {n}\n")
            equal(wire.until(b"\n"), f"LINE {n}\n".encode())
        big = b"abcdefgh" * 65536
        sender = threading.Thread(target=wire.send, args=(big,))
        sender.start()
        equal(wire.exactly(len(big)) == big.upper(), True, "half a megabyte through the tunnel")
        sender.join()
        setting.backend.aborted.clear()
    holds(setting.backend.aborted.wait(5), "the backend did not learn that the client is gone")


@check("a tunnel carries half-closes, to the last byte")
def _(setting):
    import socket

    with setting.dev.wire() as wire:
        wire.send("GET /api/upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
        equal(wire.answer().status, 101)
        wire.send("last words")
        wire.socket.shutdown(socket.SHUT_WR)
        equal(wire.rest(), b"first\nLAST WORDS")


@check("an upgrade that the backend does not want is an ordinary answer")
def _(setting):
    with setting.dev.wire() as wire:
        answer = wire.send("GET /api/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n").answer()
        equal(answer.status, 200)
        equal(wire.send("GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n").answer().text, "hello, world\n")


@check("a client that goes away is gone for the backend as well")
def _(setting):
    # A mere end of what it sends could be a half-close: it may still want the answer.
    setting.backend.aborted.clear()
    with setting.dev.wire() as wire:
        wire.send("GET /api/wait HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.3)
        wire.reset()
    holds(setting.backend.aborted.wait(5), "the backend still waits")


@check("pipelined requests are answered in order")
def _(setting):
    with setting.dev.wire() as wire:
        paths = ["/api/slow?ms=300", "/hello.txt", "/api/echo?1", "/nowhere", "/api/echo?2"]
        wire.send("".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths))
        answers = [wire.answer() for _ in paths]
        equal([answer.status for answer in answers], [200, 200, 200, 404, 200])
        equal([json.loads(answers[n].body)["target"] for n in (2, 4)], ["/api/echo?1", "/api/echo?2"])


@check("fifty at a time")
def _(setting):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(setting.dev.curl("/api/slow?ms=200"))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal([answer.text for answer in answers], ["slow but sure"] * 50)
    one_of(eventually(lambda: setting.dev.curl("/api/echo").status), (200,))
