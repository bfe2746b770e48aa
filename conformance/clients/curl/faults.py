"""The reverse proxy with a backend that is dead, slow or broken: 502, 504, and no truncation that looks like success."""

import threading
import time

from harness import check, equal, holds, lacks, one_of


@check("a dead backend is a 502")
def _(setting):
    answer = setting.dev.curl("/dead/x")
    equal(answer.status, 502)
    holds(0 < len(answer.body) < 300, f"{len(answer.body)} bytes")
    lacks(answer.text.lower(), "127.0.0.1")
    equal(setting.dev.curl("/dead/x", data=b"content").status, 502)


@check("a backend that cannot be connected to in time is a 504", waits=True)
def _(setting):
    answer = setting.dev.curl("/hole/x", seconds=30)
    equal(answer.status, 504)
    holds(3 < answer.took < 12, f"after {answer.took:.1f} s")


@check("a backend that says nothing is a 504", waits=True)
def _(setting):
    answer = setting.impatient.curl("/api/slow?ms=15000")
    equal(answer.status, 504)
    holds(3 < answer.took < 8, f"after {answer.took:.1f} s")


@check("a backend that hangs up is a 502")
def _(setting):
    equal(setting.dev.curl("/api/nothing").status, 502)
    equal(setting.dev.curl("/api/nothing", data=b"content").status, 502)


@check("a backend that talks nonsense is a 502")
def _(setting):
    for kind in ("garbage", "length", "lengths", "both", "nul", "head", "unasked"):
        equal(setting.dev.curl(f"/api/bad?kind={kind}").status, 502, kind)
        equal(setting.dev.curl("/api/echo").status, 200, f"after {kind}")


@check("content that ends too early is seen to be incomplete")
def _(setting):
    for path in ("/api/short", "/api/cut"):
        with setting.dev.wire() as wire:
            # The backend leaves a moment later: its head has reached the client.
            equal(wire.send(f"GET {path}?ms=200 HTTP/1.1\r\nHost: a\r\n\r\n").head().status, 200)
            lacks(wire.rest(), b"0\r\n\r\n", path)
        for _ in range(10):
            # It leaves at once.
            with setting.dev.wire() as wire:
                answer = wire.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").head()
                one_of(answer.status, (200, 502))
                if answer.status == 200:
                    lacks(wire.rest(), b"0\r\n\r\n", path)
    equal(setting.dev.curl("/api/short?ms=200", expect_exit=18).body, b"only this")


@check("one backend's trouble is not the others'", waits=True)
def _(setting):
    stuck = [threading.Thread(target=lambda: setting.dev.curl("/hole/x", seconds=30)) for _ in range(20)]
    for thread in stuck:
        thread.start()
    slowest = 0.0
    for _ in range(20):
        slowest = max(slowest, setting.dev.curl("/hello.txt").took, setting.dev.curl("/api/echo").took)
        time.sleep(0.1)
    for thread in stuck:
        thread.join()
    holds(slowest < 2, f"a request took {slowest:.1f} s")


@check("what cannot be framed for the backend never gets there")
def _(setting):
    setting.backend.requests.clear()
    for head in (
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length: +5\r\n",
    ):
        with setting.dev.wire() as wire:
            answer = wire.send(f"POST /api/smuggled HTTP/1.1\r\nHost: a\r\n{head}\r\n0\r\n\r\nGET /api/smuggled HTTP/1.1\r\nHost: a\r\n\r\n").answer()
            one_of(answer.status, (400, 501), head)
            holds(wire.ended() or True, head)
    equal([request.target for request in setting.backend.requests if "smuggled" in request.target], [])
