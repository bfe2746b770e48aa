"""A subscriber that does not read: it costs its cap, is closed with a cursor, and goes on from there."""

import json
import struct

from frames import CLOSE, TEXT, read_frame, shake
from harness import check, equal, holds, one_of
from server import Brolly
from setting import caller, http, publish

SIZE = 50_000
COUNT = 600  # 30 MB: more than the queue and the kernel's buffers hold


def read_to_the_end(wire):
    """Messages and close frame that were on their way."""
    messages = []
    while True:
        opcode, payload = read_frame(wire)
        if opcode == CLOSE:
            return messages, struct.unpack(">H", payload[:2])[0], payload[2:].decode()
        equal(opcode, TEXT)
        messages.append(json.loads(payload))


@check("a WebSocket that does not read is closed with 1013, and resumes from its cursor")
async def _(setting):
    with Brolly("demo", options=["--threads", "2"]) as server, server.wire(timeout=30) as lazy:
        shake(lazy, "/-/ws?topic=flood")
        equal(json.loads(read_frame(lazy)[1])[0], "hello")
        before = server.rss()
        async with caller(server, "topic=flood") as brisk, http() as session:
            for n in range(COUNT):
                await publish(session, server, "flood", [n, "x" * SIZE])
                equal((await brisk.message())[2][0], n)
            after = await publish(session, server, "flood", "last")
        equal(after["subscribers"], 1, "the lazy one is still counted")
        holds(server.rss() - before < 64 * 1024 * 1024, f"grew by {(server.rss() - before) // 1024} KiB")
        messages, code, reason = read_to_the_end(lazy)
        equal(code, 1013, reason)
        numbers = [data[0] for _, _, data in messages]
        equal(numbers, list(range(len(numbers))))
        holds(0 < len(numbers) < COUNT, f"{len(numbers)} messages arrived")
        position = messages[-1][1]["position"]
        async with caller(server, f"topic=flood&position={position}") as again:
            recovery = again.hello["recovery"][0]
            one_of(recovery["outcome"], ("resumed", "gap"))
            _, _, data = await again.message()
            if recovery["outcome"] == "resumed":
                equal(data[0], numbers[-1] + 1)
            seen = [data]
            while seen[-1] != "last":
                seen.append((await again.message())[2])
            kept = [data[0] for data in seen[:-1]]
            equal(kept, list(range(COUNT - len(kept), COUNT)))


@check("a slow reader does not slow down the others")
async def _(setting):
    with Brolly("demo", options=["--threads", "2"]) as server:
        wires = [server.wire(timeout=30) for _ in range(20)]
        try:
            for wire in wires:
                shake(wire, "/-/ws?topic=herd")
            async with caller(server, "topic=herd") as brisk, http() as session:
                for n in range(COUNT):
                    await publish(session, server, "herd", [n, "x" * SIZE])
                    equal((await brisk.message(within=5))[2][0], n)
            holds(server.rss() < 250 * 1024 * 1024, f"{server.rss() // 1024} KiB resident")
        finally:
            for wire in wires:
                wire.socket.close()
