"""WebSockets to a backend, through the reverse proxy's tunnel."""

import asyncio

from harness import check, equal, eventually, fail, holds
from setting import dial, http


@check("texts, binaries and fragments, both ways")
async def _(setting):
    async with dial(setting.dev, "/api/socket?x=1") as socket:
        for message in ("text", b"\0\xff", "", "grün" * 10_000, b"\1" * 3_000_000):
            await socket.send(message)
            equal(await socket.recv() == message, True)
        await socket.send("piece" for _ in range(20))
        equal(await socket.recv(), "piece" * 20)
        await (await socket.ping())
    equal(setting.backend.requests[-1].path, "/api/socket?x=1")


@check("the backend is told who asks")
async def _(setting):
    async with dial(setting.dev, "/api/", additional_headers={"X-Forwarded-For": "10.9.8.7", "X-Mine": "1"}) as socket:
        await socket.send("a")
        await socket.recv()
        answer = socket.response.headers
    seen = setting.backend.requests[-1].headers
    holds("127.0.0.1" in seen["X-Forwarded-For"], seen["X-Forwarded-For"])
    equal((seen["X-Forwarded-Proto"], seen["X-Forwarded-Host"]), ("http", f"127.0.0.1:{setting.dev.port}"))
    equal(seen["X-Mine"], "1")
    equal(seen["X-Barium"], answer["X-Barium"])


@check("subprotocols and compression are between client and backend")
async def _(setting):
    async with dial(setting.dev, "/api/", subprotocols=["chat.v1", "chat.v2"], compression="deflate") as socket:
        equal(socket.subprotocol, "chat.v2")
        holds("permessage-deflate" in socket.response.headers.get("Sec-WebSocket-Extensions", ""), "no compression")
        await socket.send("squeeze me " * 1000)
        equal(await socket.recv(), "squeeze me " * 1000)


@check("close codes pass, from either side")
async def _(setting):
    async with dial(setting.dev, "/api/") as socket:
        await socket.close(4001, "client")
        equal(socket.close_code, 4001)
    eventually(lambda: 4001 in setting.backend.closes)
    async with dial(setting.dev, "/api/") as socket:
        await socket.send("close 4321")
        try:
            fail(await socket.recv())
        except Exception as error:
            equal((socket.close_code, socket.close_reason), (4321, "as you wish"), str(error))


@check("a break on one side is a break on the other")
async def _(setting):
    async with dial(setting.dev, "/api/") as socket:
        await socket.send("abort")
        try:
            async with asyncio.timeout(5):
                fail(await socket.recv())
        except TimeoutError:
            fail("the client does not learn that the backend is gone")
        except Exception:
            equal(socket.close_code, 1006)
    closed = len(setting.backend.closes)
    async with dial(setting.dev, "/api/") as socket:
        await socket.send("a")
        await socket.recv()
        socket.transport.abort()
        for _ in range(100):
            if len(setting.backend.closes) > closed:
                break
            await asyncio.sleep(0.05)
        equal(setting.backend.closes[closed:], [1006])


@check("a hundred tunnels at a time")
async def _(setting):
    async def one(number):
        async with dial(setting.dev, "/api/") as socket:
            for n in range(20):
                await socket.send(f"{number} {n}")
                equal(await socket.recv(), f"{number} {n}")

    await asyncio.gather(*(one(number) for number in range(100)))


@check("aiohttp through the tunnel")
async def _(setting):
    async with http() as session, session.ws_connect(f"{setting.dev.url}/api/", compress=15, heartbeat=0.3) as socket:
        await socket.send_str("hello " * 500)
        equal((await socket.receive()).data, "hello " * 500)
        await asyncio.sleep(1)
        await socket.send_bytes(b"still here")
        equal((await socket.receive()).data, b"still here")
