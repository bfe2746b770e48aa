"""aiohttp's WebSocket client: another reading of RFC 6455 and 7692 than that of `websockets`."""

import asyncio
import contextlib

from aiohttp import WSMsgType

from harness import check, equal, holds
from setting import http
from squeezed import edge as squeezing
from terminated import edge as reading


@contextlib.asynccontextmanager
async def dial(url, **options):
    async with http() as session, session.ws_connect(url, max_msg_size=0, **options) as socket:
        yield socket


async def echoes(socket):
    for message in ("", "text", "grün ☂ " * 10_000, "x" * 70_000):
        await socket.send_str(message)
        answer = await socket.receive(10)
        holds((answer.type, answer.data) == (WSMsgType.TEXT, message), f"{answer.type} of {len(answer.data or '')}")
    for message in (b"", b"\0\xff", bytes(range(256)) * 3000):
        await socket.send_bytes(message)
        answer = await socket.receive(10)
        holds((answer.type, answer.data) == (WSMsgType.BINARY, message), f"{answer.type} of {len(answer.data or '')}")


@check("echo of texts and binaries, its heartbeat, a close code")
async def _(setting):
    async with dial(f"{setting.demo.url}/-/echo", heartbeat=0.2) as socket:
        await echoes(socket)
        # It closes the connection itself if a ping is not answered.
        await asyncio.sleep(1)
        await echoes(socket)
        await socket.close(code=3456)
        equal(socket.close_code, 3456)


@check("compression: every window that it offers, with and without context takeover")
async def _(setting):
    with squeezing(setting) as server:
        for bits in (9, 12, 15):
            for takeover in ("true", "false"):
                for offered in (9, 11, 15):
                    async with dial(f"{server.url}/{bits}/{takeover}", compress=offered) as socket:
                        holds(socket.compress, f"not agreed on: {bits} {takeover} {offered}")
                        await echoes(socket)
                        await socket.close()
                        equal(socket.close_code, 1000)


@check("compression, read on the way to a backend of `websockets`")
async def _(setting):
    with reading(setting) as server:
        async with dial(f"{server.url}/squeezed", compress=15, protocols=["chat.v2"]) as socket:
            equal((bool(socket.compress), socket.protocol), (True, "chat.v2"))
            await echoes(socket)
            await socket.send_str("close 4321")
            answer = await socket.receive(10)
            equal((answer.type, answer.data, answer.extra), (WSMsgType.CLOSE, 4321, "as you wish"))
