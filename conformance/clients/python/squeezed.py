"""RFC 7692 against Python's zlib, frame by frame: what brolly compresses zlib reads with no larger a window than was agreed on, and what
zlib compresses brolly reads. For every window and with context takeover on and off.

A window of 8 bits is a quirk: zlib cannot compress with one (asked for 8, it takes 9 or refuses, by version), though it reads what was.
brolly keeps its promise of 8 all the same, since zlib with 9 bits never looks back 256 bytes or more. Of a client that is held to 8
no compressed message can be expected here, so it sends them plain.
"""

import base64
import contextlib
import os
import pathlib
import random
import re
import struct
import zlib

from frames import BINARY, CLOSE, TEXT, close_code, frame
from harness import check, equal, holds
from server import Brolly, free_port

WINDOWS = range(9, 16)
TAIL = b"\x00\x00\xff\xff"
ROUTE = """
[[routes]]
prefix = "/{bits}/{takeover}"
handler = "echo"
compression = {{ level = 6, window_bits = {bits}, context_takeover = {takeover}, threshold = "0B" }}
"""


@contextlib.contextmanager
def edge(setting):
    port = free_port()
    path = pathlib.Path(setting.scratch.name) / f"squeezed-{port}.toml"
    routes = [ROUTE.format(bits=bits, takeover=takeover) for bits in WINDOWS for takeover in ("true", "false")]
    path.write_text(f'listen = ["127.0.0.1:{port}"]\nthreads = 1\nlog = false\n' + "".join(routes))
    with Brolly("serve", "--config", path, port=port) as server:
        yield server


def messages():
    """Text that repeats itself near and far: what lies a window back is there again."""
    chance = random.Random(7692)
    noise = bytes(chance.randrange(256) for _ in range(70_000))
    words = [b"umbrella ", b"rain ", b'{"id": 17, "text": "', "☂".encode(), b"a" * 300]
    yield from (b"", b"a", b"umbrella " * 3, noise[:10])
    for _ in range(12):
        yield b"".join(chance.choice(words) for _ in range(chance.randrange(400)))
    for back in (200, 255, 256, 257, 511, 513, 1000, 5000, 32_767, 33_000):
        yield noise[:back] + b"|" + noise[:back]
        yield noise[:back]
    yield b"umbrella " * 10_000


class Peer:
    """A client that has only zlib."""

    def __init__(self, server, path, offer):
        self.wire = server.wire()
        key = base64.b64encode(os.urandom(16)).decode()
        self.wire.send(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n")
        answer = self.wire.answer()
        equal(answer.status, 101, str(answer))
        name, *parameters = [part.strip() for part in answer.field("sec-websocket-extensions").split(";")]
        equal(name, "permessage-deflate")
        self.agreed = dict(part.partition("=")[::2] for part in parameters)
        self.ours, self.theirs = [int(self.agreed.get(f"{side}_max_window_bits", 15)) for side in ("client", "server")]
        self.compressor = self.decompressor = None
        self.read_compressed = 0

    def close(self):
        self.wire.send(frame(CLOSE, struct.pack(">H", 1000)))
        equal(close_code(self.wire), 1000)
        self.wire.socket.close()

    def send(self, data, pieces=1):
        if self.ours == 8:
            return self.wire.send(frame(BINARY, data))
        if not self.compressor or "client_no_context_takeover" in self.agreed:
            self.compressor = zlib.compressobj(wbits=-self.ours)
        squeezed = self.compressor.compress(data) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        holds(squeezed.endswith(TAIL), "zlib does not end a flush as RFC 7692 says")
        squeezed = squeezed[:-4]
        cuts = [len(squeezed) * n // pieces for n in range(pieces + 1)]
        for n in range(pieces):
            kind, rsv = (BINARY, 4) if n == 0 else (0, 0)
            self.wire.send(frame(kind, squeezed[cuts[n] : cuts[n + 1]], fin=n + 1 == pieces, rsv=rsv))

    def receive(self):
        first, size = self.wire.exactly(2)
        if size >= 126:
            size = int.from_bytes(self.wire.exactly(2 if size == 126 else 8), "big")
        data = self.wire.exactly(size)
        equal(first & 0xBF, 0x80 | BINARY, f"payload {data[:100]}")
        if not first & 0x40:
            return data
        self.read_compressed += 1
        if not self.decompressor or "server_no_context_takeover" in self.agreed:
            # A distance beyond this window is an error.
            self.decompressor = zlib.decompressobj(wbits=-self.theirs)
        plain = self.decompressor.decompress(data + TAIL)
        equal((self.decompressor.unconsumed_tail, self.decompressor.unused_data), (b"", b""))
        return plain


@check("zlib: every message is the same after both, for every window, with and without context takeover")
def _(setting):
    with edge(setting) as server:
        for bits in WINDOWS:
            for takeover in ("true", "false"):
                both = f"client_max_window_bits={bits}; server_max_window_bits={bits}"
                for offer in ("client_max_window_bits", both, both + "; server_no_context_takeover; client_no_context_takeover"):
                    peer = Peer(server, f"/{bits}/{takeover}", f"permessage-deflate; {offer}")
                    holds(peer.ours <= bits and peer.theirs <= bits, f"{bits}: {peer.agreed}")
                    keeps = takeover == "true" and "no_context" not in offer
                    equal("server_no_context_takeover" not in peer.agreed, keeps, offer)
                    for count, message in enumerate(messages()):
                        peer.send(message, pieces=1 + count % 3)
                        holds(peer.receive() == message, f"{bits} {takeover} {offer}: message {count} is another")
                    holds(peer.read_compressed > 10, f"only {peer.read_compressed} were compressed")
                    peer.close()


@check("zlib: a client that asks for more than the route has, or for nothing")
def _(setting):
    with edge(setting) as server:
        for bits in (9, 12):
            for offer in ("permessage-deflate", "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15"):
                peer = Peer(server, f"/{bits}/true", offer)
                equal(peer.theirs, bits)
                # Who does not say that it can do with less may use all of it; nothing is kept of it then.
                equal(peer.ours, 15 if offer == "permessage-deflate" else bits)
                for count, message in enumerate(messages()):
                    peer.send(message)
                    holds(peer.receive() == message, f"{bits} {offer}: message {count} is another")
                peer.close()


@check("zlib: a window of 8 bits is kept")
def _(setting):
    with edge(setting) as server:
        for takeover in ("true", "false"):
            peer = Peer(server, f"/15/{takeover}", "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8")
            equal((peer.ours, peer.theirs), (8, 8))
            for count, message in enumerate(messages()):
                peer.send(message)
                holds(peer.receive() == message, f"{takeover}: message {count} is another")
            holds(peer.read_compressed > 10, f"only {peer.read_compressed} were compressed")
            peer.close()


@check("zlib: half a message, and what is none, end with 1007; what becomes too long with 1009")
def _(setting):
    squeezer = zlib.compressobj(wbits=-15)
    bomb = squeezer.compress(bytes(50_000_000)) + squeezer.flush(zlib.Z_SYNC_FLUSH)
    half = zlib.compressobj(wbits=-15)
    half = (half.compress(b"umbrella " * 100) + half.flush(zlib.Z_SYNC_FLUSH))[:-9]
    not_text = zlib.compressobj(wbits=-15)
    not_text = (not_text.compress(b"\xff" * 100) + not_text.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with edge(setting) as server:
        for kind, payload, code in (
            (BINARY, b"\xff\xff\xff", 1007), (BINARY, half, 1007), (TEXT, not_text, 1007), (BINARY, bomb[:-4], 1009),
        ):
            peer = Peer(server, "/15/true", "permessage-deflate")
            peer.wire.send(frame(kind, payload, rsv=4))
            equal(close_code(peer.wire), code)


def memory(server):
    """Bytes of its own that a process has in memory."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024


@check("zlib: a connection keeps no more than its windows")
def _(setting):
    text = "".join(random.Random(7692).choices("umbrella", k=100_000)).encode()
    # The bounds leave room for what the allocator loses.
    for bits, takeover, most in ((15, "false", 4_000), (9, "true", 5_000), (12, "true", 13_000), (15, "true", 110_000)):
        with edge(setting) as server:

            def talk():
                peer = Peer(server, f"/{bits}/{takeover}", f"permessage-deflate; client_max_window_bits={bits}")
                peer.send(text)
                holds(peer.receive() == text, "another message came back")
                return peer

            peers = [talk() for _ in range(20)]
            before = memory(server)
            peers += [talk() for _ in range(200)]
            each = (memory(server) - before) // 200
            print(f"       {bits} bits, context takeover {takeover}: {each} bytes for each connection")
            holds(each <= most, f"{bits} {takeover}: {each} bytes for each connection, not {most}")
            for peer in peers:
                peer.wire.socket.close()
