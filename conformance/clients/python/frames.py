"""RFC 6455 on the wire: the opening handshake, fragmentation, ping and pong, close codes, violations."""

import asyncio
import base64
import hashlib
import os
import struct
import time

from harness import check, equal, eventually, fail, holds, one_of
from server import Brolly
from setting import caller, dial, http

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def shake(wire, path="/-/echo"):
    """Opens a WebSocket on a raw connection."""
    key = base64.b64encode(os.urandom(16))
    wire.send(
        f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n")
    answer = wire.answer()
    equal(answer.status, 101, str(answer))
    equal(answer.field("sec-websocket-accept"), base64.b64encode(hashlib.sha1(key + GUID).digest()).decode())
    equal(answer.field("upgrade").lower(), "websocket")
    return wire


def frame(opcode, payload=b"", fin=True, masked=True, rsv=0, length=None):
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload) if length is None else length
    head = bytes([first]) + (
        bytes([size | (0x80 if masked else 0)]) if size < 126
        else bytes([126 | (0x80 if masked else 0)]) + struct.pack(">H", size) if size < 65536
        else bytes([127 | (0x80 if masked else 0)]) + struct.pack(">Q", size))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def read_frame(wire):
    """Opcode and payload of a frame, which must be whole and unmasked."""
    first, second = wire.exactly(2)
    holds(first & 0x80 and not second & 0x80, f"frame begins with {first:02x} {second:02x}")
    size = second
    if size == 126:
        size = struct.unpack(">H", wire.exactly(2))[0]
    elif size == 127:
        size = struct.unpack(">Q", wire.exactly(8))[0]
    return first & 15, wire.exactly(size)


def close_code(wire):
    """The code of the close frame that must come next, after which the connection ends."""
    opcode, payload = read_frame(wire)
    equal(opcode, CLOSE, f"payload {payload[:100]}")
    return struct.unpack(">H", payload[:2])[0]


@check("the opening handshake, and what is wrong with others")
def _(setting):
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    version = "Sec-WebSocket-Version: 13\r\n"
    table = {
        "as it should be": ("GET", upgrade + version + key, (101,)),
        "in other letters": ("GET", "upgrade: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" + version + key, (101,)),
        "no key": ("GET", upgrade + version, (400,)),
        "a short key": ("GET", upgrade + version + "Sec-WebSocket-Key: AAAA\r\n", (400,)),
        "no base64": ("GET", upgrade + version + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA!!==\r\n", (400,)),
        "two keys": ("GET", upgrade + version + key + key, (400,)),
        "version 8": ("GET", upgrade + "Sec-WebSocket-Version: 8\r\n" + key, (426,)),
        "no version": ("GET", upgrade + key, (400, 426)),
        "no Connection": ("GET", "Upgrade: websocket\r\n" + version + key, (400, 426)),
        "no Upgrade": ("GET", "Connection: Upgrade\r\n" + version + key, (400, 426)),
        "POST": ("POST", upgrade + version + key, (400, 405)),
    }
    wrong = []
    for name, (method, fields, statuses) in table.items():
        with setting.demo.wire() as wire:
            answer = wire.send(f"{method} /-/echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n").answer()
            if answer.status not in statuses:
                wrong.append((name, answer.status, f"expected {statuses}"))
            if answer.status == 426 and answer.field("sec-websocket-version") != "13":
                wrong.append((name, "no Sec-WebSocket-Version: 13"))
    equal(wrong, [])
    with setting.demo.wire() as wire:
        answer = wire.send(f"GET /-/echo HTTP/1.0\r\nHost: a\r\n{upgrade}{version}{key}\r\n").answer()
        holds(answer.status != 101, "an upgrade of HTTP/1.0")


@check("frames that come with the handshake are not lost")
def _(setting):
    key = base64.b64encode(os.urandom(16)).decode()
    with setting.demo.wire() as wire:
        head = (f"GET /-/echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n")
        wire.send(head.encode() + frame(TEXT, b"early") + frame(PING, b"?"))
        equal(wire.answer().status, 101)
        equal([read_frame(wire), read_frame(wire)], [(TEXT, b"early"), (PONG, b"?")])


@check("fragments become one message, with pings between them")
def _(setting):
    with setting.demo.wire() as wire:
        shake(wire)
        wire.send(frame(TEXT, "grü".encode()[:3], fin=False))
        wire.send(frame(PING, b"between"))
        wire.send(frame(0, "grü".encode()[3:], fin=False) + frame(0, b"", fin=False))
        wire.send(frame(0, b"n"))
        seen = [read_frame(wire), read_frame(wire)]
        equal(seen, [(PONG, b"between"), (TEXT, "grün".encode())])
        for byte in frame(BINARY, b"byte by byte"):
            wire.send(bytes([byte]))
        equal(read_frame(wire), (BINARY, b"byte by byte"))
        wire.send(b"".join(frame(BINARY, bytes([n])) for n in range(200)))
        equal([read_frame(wire)[1][0] for _ in range(200)], list(range(200)))


@check("messages of all lengths")
async def _(setting):
    async with dial(setting.demo, "/-/echo") as socket:
        for size in (0, 1, 125, 126, 127, 65535, 65536, 65537, 1_000_000):
            for message in (b"\xff" * size, "x" * size):
                await socket.send(message)
                equal(await socket.recv() == message, True, f"{size} bytes")
        await socket.send("ab" for _ in range(3))  # an iterable is sent in fragments
        equal(await socket.recv(), "ababab")


@check("pings are answered, also those of `websockets` and `aiohttp`")
async def _(setting):
    async with dial(setting.demo, "/-/echo", ping_interval=0.1, ping_timeout=2) as socket:
        for _ in range(5):
            await (await socket.ping())
        await asyncio.sleep(0.5)
        await socket.send("alive")
        equal(await socket.recv(), "alive")
    async with http() as session, session.ws_connect(f"{setting.demo.url}/-/echo", heartbeat=0.2) as socket:
        await asyncio.sleep(0.7)
        await socket.send_str("alive")
        equal((await socket.receive()).data, "alive")
        await socket.send_bytes(b"\0\1")
        equal((await socket.receive()).data, b"\0\1")


@check("close codes are answered in kind")
async def _(setting):
    for code in (1000, 1001, 1011, 3000, 4999):
        for path in ("/-/echo", "/-/ws?topic=a"):
            async with dial(setting.demo, path) as socket:
                await socket.close(code, "bye")
                equal(socket.close_code, code, path)
    async with http() as session:
        async with session.ws_connect(f"{setting.demo.url}/-/ws?topic=a") as socket:
            await socket.receive()
            await socket.close(code=4000)
            equal(socket.close_code, 4000)
    with setting.demo.wire() as wire:
        shake(wire).send(frame(CLOSE))
        opcode, payload = read_frame(wire)
        equal(opcode, CLOSE)
        one_of(payload, (b"", struct.pack(">H", 1000)))
        holds(wire.ended(), "still open")


@check("violations are closed with their code")
def _(setting):
    big = 1 << 40
    table = {
        "unmasked": (frame(TEXT, b"a", masked=False), 1002),
        "reserved bit": (frame(TEXT, b"a", rsv=4), 1002),
        "reserved opcode": (frame(3, b"a"), 1002),
        "reserved control opcode": (frame(11, b"a"), 1002),
        "fragmented ping": (frame(PING, b"a", fin=False), 1002),
        "long ping": (frame(PING, b"a" * 126), 1002),
        "continuation of nothing": (frame(0, b"a"), 1002),
        "text within text": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
        "16-bit length of 5": (b"\x81\xfe\0\5\0\0\0\0hello", 1002),
        "64-bit length of 5": (b"\x81\xff" + struct.pack(">Q", 5) + b"\0\0\0\0hello", 1002),
        "length beyond 63 bits": (b"\x82\xff" + struct.pack(">Q", 1 << 63) + b"\0\0\0\0", 1002),
        "invalid UTF-8": (frame(TEXT, b"a\xff"), 1007),
        "invalid UTF-8, known before the end": (frame(TEXT, b"a\xc0", fin=False), 1007),
        "unfinished UTF-8": (frame(TEXT, "ü".encode()[:1]), 1007),
        "surrogates": (frame(TEXT, b"\xed\xa0\x80"), 1007),
        "close with one byte": (frame(CLOSE, b"\3"), 1002),
        "close with 1005": (frame(CLOSE, struct.pack(">H", 1005)), 1002),
        "close with 999": (frame(CLOSE, struct.pack(">H", 999)), 1002),
        "close with bad text": (frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1007),
        "a terabyte": (frame(BINARY, length=big), 1009),
    }
    wrong = []
    for path in ("/-/echo", "/-/ws"):
        for name, (data, expected) in table.items():
            with setting.demo.wire() as wire:
                shake(wire, path)
                if path == "/-/ws":
                    read_frame(wire)
                try:
                    wire.send(data)
                    code = close_code(wire)
                except (AssertionError, OSError) as error:
                    code = str(error)
                if code != expected:
                    wrong.append((path, name, code, f"expected {expected}"))
                elif not wire.ended(4):
                    wrong.append((path, name, "still open"))
    equal(wrong, [])


@check("a message that grows beyond the limit by fragments is closed with 1009")
def _(setting):
    with setting.demo.wire() as wire:
        shake(wire)
        try:
            wire.send(frame(BINARY, bytes(1024), fin=False))
            piece = frame(0, bytes(1024 * 1024), fin=False)
            for _ in range(100):
                wire.send(piece)
        except OSError:
            pass
        equal(close_code(wire), 1009)


@check("TERM closes WebSockets with 1001, and the server exits with 0")
async def _(setting):
    with Brolly("demo") as server:
        async with caller(server, "topic=a") as one, dial(server, "/-/echo") as echo:
            server.signal()
            for socket in (one.socket, echo):
                try:
                    async with asyncio.timeout(5):
                        fail(f"a message: {await socket.recv()}")
                except TimeoutError:
                    fail("not closed")
                except Exception as error:
                    if isinstance(error, AssertionError):
                        raise
                equal(socket.close_code, 1001)
        equal(server.exit(), 0)


@check("TERM does not wait for ever for a peer that does not answer the close")
def _(setting):
    with Brolly("demo") as server, server.wire() as wire:
        shake(wire)
        started = time.monotonic()
        server.signal()
        equal(close_code(wire), 1001)
        equal(server.exit(45), 0)
        holds(time.monotonic() - started < 40, f"{time.monotonic() - started:.1f} s")


@check("a silent WebSocket is pinged after 25 seconds, and dropped when it does not answer", waits=True)
def _(setting):
    with setting.demo.wire(timeout=60) as dead, setting.demo.wire(timeout=60) as alive:
        shake(dead, "/-/ws?topic=silent")
        shake(alive, "/-/ws?topic=silent")
        equal((read_frame(dead)[0], read_frame(alive)[0]), (TEXT, TEXT))
        started = time.monotonic()
        equal(read_frame(dead)[0], PING)
        holds(23 < time.monotonic() - started < 28, f"ping after {time.monotonic() - started:.1f} s")
        opcode, payload = read_frame(alive)
        equal(opcode, PING)
        alive.send(frame(PONG, payload))
        dead.rest()
        holds(33 < time.monotonic() - started < 42, f"dropped after {time.monotonic() - started:.1f} s")
        alive.send(frame(PING, b"here"))
        equal(read_frame(alive), (PONG, b"here"))


@check("who drops the connection without a word is forgotten")
async def _(setting):
    from setting import publish

    async with caller(setting.demo, "topic=dropped") as one, http() as session:
        equal((await publish(session, setting.demo, "dropped", 1))["subscribers"], 1)
        one.socket.transport.abort()
        for _ in range(100):
            if (await publish(session, setting.demo, "dropped", 2))["subscribers"] == 0:
                break
            await asyncio.sleep(0.05)
        else:
            fail("still counted")
    eventually(lambda: setting.demo.process.poll() is None)
