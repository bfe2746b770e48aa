"""Deadlines, as a slow sender and a silent client find them out. They wait, so they run beside the others."""

import time

from harness import check, equal, holds


def drip(wire, data, every, most):
    """Sends byte by byte until an answer comes or `most` seconds have passed; the seconds it took."""
    started = time.monotonic()
    wire.socket.settimeout(every)
    for byte in data:
        try:
            wire.send(bytes([byte]))
            if not wire.more():
                break
        except TimeoutError:
            pass
        except ConnectionError:
            break
        if wire.buffer or time.monotonic() - started > most:
            break
    wire.socket.settimeout(5)
    return time.monotonic() - started


@check("a head that drips is a 408 after 10 seconds", waits=True)
def _(setting):
    with setting.dev.wire() as wire:
        took = drip(wire, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"a" * 1000, every=0.5, most=20)
        equal(wire.answer().status, 408)
        holds(9 < took < 13, f"after {took:.1f} s")
        holds(wire.ended(), "still open")


@check("content that drips is a 408 after 30 seconds", waits=True)
def _(setting):
    with setting.demo.wire() as wire:
        wire.send("POST /-/publish/drip HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n")
        took = drip(wire, b"a" * 1000, every=0.5, most=45)
        equal(wire.answer().status, 408)
        holds(28 < took < 36, f"after {took:.1f} s")
        holds(wire.ended(), "still open")


@check("content that drips to a backend is a 408 as well", waits=True)
def _(setting):
    with setting.dev.wire() as wire:
        wire.send("POST /api/sink HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n")
        took = drip(wire, b"a" * 1000, every=0.5, most=45)
        equal(wire.answer().status, 408)
        holds(28 < took < 36, f"after {took:.1f} s")


@check("a client that says nothing is hung up on, without a word", waits=True)
def _(setting):
    with setting.impatient.wire() as wire:
        started = time.monotonic()
        equal(wire.rest(), b"")
        holds(3 < time.monotonic() - started < 13, f"after {time.monotonic() - started:.1f} s")


@check("an idle connection is closed when its time is over, without a word", waits=True)
def _(setting):
    with setting.impatient.wire() as wire:
        equal(wire.send("GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n").answer().status, 200)
        started = time.monotonic()
        equal(wire.rest(), b"")
        took = time.monotonic() - started
        holds(3.5 < took < 6, f"after {took:.1f} s")


@check("a reader that stops reading is dropped", waits=True)
def _(setting):
    with setting.impatient.wire() as wire:
        wire.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        equal(wire.head().status, 200)
        time.sleep(9)
        left = len(wire.rest())
        holds(left < 100 * 1024 * 1024, f"{left} bytes came after 9 s of silence")


@check("a reader that is slow but reads is not", waits=True)
def _(setting):
    with setting.impatient.wire() as wire:
        wire.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        wire.head()
        for _ in range(40):
            wire.exactly(2 * 1024 * 1024)
            time.sleep(0.2)
        equal(len(wire.exactly(1024 * 1024)), 1024 * 1024)


@check("a backend that stops in the middle is an answer that breaks off", waits=True)
def _(setting):
    with setting.impatient.wire() as wire:
        wire.send("GET /api/chunked?chunks=2&ms=20000 HTTP/1.1\r\nHost: a\r\n\r\n")
        equal(wire.head().status, 200)
        started = time.monotonic()
        left = wire.rest()
        holds(not left.endswith(b"0\r\n\r\n"), f"it looks complete: {left}")
        holds(time.monotonic() - started < 12, "too late")
