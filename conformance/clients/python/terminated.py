"""WebSockets to a backend that end at brolly: `websocket = "messages"`."""

import asyncio
import contextlib
import pathlib

from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness import check, equal, eventually, fail, holds
from server import Brolly, free_port
from setting import dial

CONFIG = """
listen = ["127.0.0.1:{port}"]
log = false

[upstreams.app]
url = "http://127.0.0.1:{backend}"

[[routes]]
handler = "proxy"
upstream = "app"
websocket = "messages"

[[routes]]
prefix = "/squeezed"
handler = "proxy"
upstream = "app"
websocket = "messages"
compression = true
"""


@contextlib.contextmanager
def edge(setting):
    port = free_port()
    path = pathlib.Path(setting.scratch.name) / f"messages-{port}.toml"
    path.write_text(CONFIG.format(port=port, backend=setting.backend.port))
    with Brolly("serve", "--config", path, port=port) as server:
        yield server


@check("messages: texts, binaries, fragments and subprotocols, both ways")
async def _(setting):
    with edge(setting) as server:
        async with dial(server, "/socket?x=1", subprotocols=["chat.v1", "chat.v2"]) as socket:
            equal(socket.subprotocol, "chat.v2")
            for message in ("text", b"\0\xff", "", "grün" * 10_000, b"\1" * 1_000_000):
                await socket.send(message)
                equal(await socket.recv() == message, True)
            await socket.send("piece" for _ in range(20))
            equal(await socket.recv(), "piece" * 20)
            await (await socket.ping())
        equal(setting.backend.requests[-1].path, "/socket?x=1")


@check("messages: extensions are agreed on with each side")
async def _(setting):
    with edge(setting) as server:
        for path, client, backend in [
            ("/", "deflate", False),
            ("/squeezed", "deflate", True),
            ("/squeezed", None, True),
        ]:
            async with dial(server, path, compression=client) as socket:
                chosen = socket.response.headers.get("Sec-WebSocket-Extensions", "")
                equal("permessage-deflate" in chosen, bool(client and backend), chosen)
                for message in ("squeeze me " * 1000, b"\0" * 100_000, "short"):
                    await socket.send(message)
                    equal(await socket.recv() == message, True)
            offered = setting.backend.requests[-1].headers.get("Sec-WebSocket-Extensions", "")
            equal("permessage-deflate" in offered, backend, offered)


@check("messages: close codes pass, and a break is told with one")
async def _(setting):
    with edge(setting) as server:
        async with dial(server, "/") as socket:
            await socket.close(4001, "client")
            equal(socket.close_code, 4001)
        eventually(lambda: 4001 in setting.backend.closes)
        closed = len(setting.backend.closes)
        for wish, code in (("close 4321", 4321), ("abort", 1014)):
            async with dial(server, "/") as socket:
                await socket.send(wish)
                try:
                    fail(await socket.recv())
                except ConnectionClosed:
                    equal(socket.close_code, code)
        # The backend notes the end of its own a little later.
        eventually(lambda: len(setting.backend.closes) == closed + 2)
        closed += 2
        async with dial(server, "/") as socket:
            await socket.send("a")
            await socket.recv()
            socket.transport.abort()
            for _ in range(100):
                if len(setting.backend.closes) > closed:
                    break
                await asyncio.sleep(0.05)
            equal(setting.backend.closes[closed:], [1001])


@check("messages: what is too big is told to both sides")
async def _(setting):
    with edge(setting) as server:
        async with dial(server, "/") as socket:
            await socket.send("a")
            await socket.recv()
            with contextlib.suppress(ConnectionClosed):
                await socket.send(b"\1" * 2_000_000)
                fail(await socket.recv())
            equal(socket.close_code, 1009)
        eventually(lambda: setting.backend.closes[-1] == 1001)


@check("messages: a refusal of the backend is its answer")
async def _(setting):
    with edge(setting) as server:
        try:
            async with dial(server, "/refused"):
                fail("it was let in")
        except InvalidStatus as refused:
            equal((refused.response.status_code, refused.response.body), (403, b"not you\n"))
            holds(refused.response.headers["X-Barium"], "no id")


@check("messages: a hundred at a time, and a slow reader among them")
async def _(setting):
    async def one(number):
        async with dial(server, "/") as socket:
            for n in range(20):
                await socket.send(f"{number} {n}")
                equal(await socket.recv(), f"{number} {n}")

    async def slow():
        async with dial(server, "/", max_queue=1) as socket:
            sending = asyncio.create_task(feed(socket))
            await asyncio.sleep(1)
            for n in range(300):
                equal(await socket.recv() == bytes([n % 256]) * 100_000, True)
            await sending

    async def feed(socket):
        for n in range(300):
            await socket.send(bytes([n % 256]) * 100_000)

    with edge(setting) as server:
        await asyncio.gather(slow(), *(one(number) for number in range(100)))
