"""Event streams in gzip: Python's zlib has every event before the next is published, and the trailer is right."""

import contextlib
import json
import pathlib
import random
import string
import zlib

from harness import check, equal, holds
from server import Brolly, free_port
from setting import Stream, http

CONFIG = """
listen = ["127.0.0.1:{port}"]
threads = 2
log = false

[[routes]]
prefix = "/-/sse"
handler = "event-stream"
compress = true

[[routes]]
prefix = "/-/publish"
handler = "publish"
"""


@contextlib.contextmanager
def squeezing(setting):
    port = free_port()
    path = pathlib.Path(setting.scratch.name) / f"gzipped-{port}.toml"
    path.write_text(CONFIG.format(port=port))
    with Brolly("serve", "--config", path, port=port) as server:
        yield server


def messages():
    yield "short"
    yield json.dumps([{"id": n, "name": f"user {n}"} for n in range(50)])
    yield "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=200_000))
    yield "lines\nof\ntext " * 1000
    yield "grün ☂" * 300


@check("an event stream in gzip: each event is whole before the next is published")
async def _(setting):
    with squeezing(setting) as server, server.wire() as wire:
        wire.send("GET /-/sse?topic=a HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        head = wire.until(b"\r\n\r\n").decode().lower()
        for line in ("content-encoding: gzip", "vary: accept-encoding", "cache-control: no-store, no-transform"):
            holds(f"\r\n{line}\r\n" in head, f"{line} is not in {head}")
        decoder, text = zlib.decompressobj(wbits=31), b""

        def until(mark):
            nonlocal text
            while mark not in text:
                if not wire.buffer:
                    holds(wire.more(), f"the stream ended before {mark[:50]!r}")
                text += decoder.decompress(wire.buffer)
                wire.buffer = b""
            found, _, text = text.partition(mark)
            return found

        async with http() as session:
            until(b"\nid: ")
            until(b"\n\n")
            for message in messages():
                async with session.post(f"{server.url}/-/publish/a", data=message.encode(), headers={"Content-Type": "text/plain"}) as answer:
                    position = (await answer.json())["position"]
                lines = "".join(f"data: {line}\n" for line in message.split("\n"))
                equal(until(f"id: {position}\n{lines}\n".encode()), b"")
        server.signal()
        until(b'event: brolly.end\nretry: 1000\ndata: {"reason":"the server is shutting down"}\n\n')
        while not decoder.eof:
            holds(wire.more(), "there is no trailer")
            decoder.decompress(wire.buffer)
            wire.buffer = b""
        equal(decoder.unused_data, b"")
        equal(wire.rest(), b"")


@check("an event stream in gzip, by aiohttp")
async def _(setting):
    with squeezing(setting) as server:
        async with http() as session, session.get(f"{server.url}/-/sse?topic=a&topic=b") as answer:
            equal(answer.headers["Content-Encoding"], "gzip")
            stream = Stream(answer)
            # It has joined.
            async for line in answer.content:
                if line.startswith(b"id:"):
                    break
            for n in range(5):
                await session.post(f"{server.url}/-/publish/{'ab'[n % 2]}", json={"n": n, "more": "x" * n * 100})
                equal((await stream.event())["n"], n)
