"""The echo client of each runtime (an example of the public `WebSocketClient`) of a server of `websockets`, and behind nginx."""

import asyncio
import contextlib
import os
import subprocess

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from harness import check, contains, equal, holds
from nginx import before
from server import free_port

MESSAGES = ("", "text", "☂" * 50_000, b"", b"\0\xff", bytes(range(256)) * 2000)


class Cases:
    """As the Autobahn test suite's server does: says how many cases there are, and plays them."""

    def __init__(self):
        self.played, self.extensions = [], set()

    async def __call__(self, socket):
        path = socket.request.path
        self.extensions.add(socket.response.headers.get("Sec-WebSocket-Extensions"))
        if path == "/getCaseCount":
            return await socket.send("4")
        if not path.startswith("/runCase"):
            return None
        case = int(path.partition("case=")[2].partition("&")[0])
        await getattr(self, f"case_{case}")(socket)
        with contextlib.suppress(ConnectionClosed):
            await socket.recv()
        self.played.append((case, socket.close_code))

    async def case_1(self, socket):
        for message in MESSAGES:
            await socket.send(message)
            holds(await socket.recv() == message, f"another message than {message[:10]}")
        await socket.close(4000, "enough")

    async def case_2(self, socket):
        await socket.send("piece " for _ in range(50))
        async with asyncio.timeout(5):
            await (await socket.ping("in between"))
        equal(await socket.recv(), "piece " * 50)
        await socket.close(1001, "☂" * 41)

    async def case_3(self, socket):
        for number in range(500):
            await socket.send(f"{number} " * (number % 50))
        for number in range(500):
            equal(await socket.recv(), f"{number} " * (number % 50))
        await socket.close()

    async def case_4(self, socket):
        # Gone without a word.
        await socket.send("x")
        await socket.recv()
        socket.transport.abort()


async def play(port, cases):
    client = os.environ["BROLLY_ECHO_CLIENT"]
    command = [client, f"ws://127.0.0.1:{port}", "brolly"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=40)
    equal((done.returncode, done.stderr), (0, ""))
    equal(cases.played, [(1, 4000), (2, 1001), (3, 1000), (4, 1006)])


@check("our client of a server of `websockets`, plain and compressed")
async def _(_):
    for compression in (None, "deflate"):
        cases, port = Cases(), free_port()
        async with serve(cases, "127.0.0.1", port, compression=compression, max_size=None):
            await play(port, cases)
        equal(len(cases.extensions), 1)
        holds(bool(cases.extensions.pop()) == bool(compression), f"with {compression} the other was agreed on")


@check("our client of a server behind nginx, plain and compressed")
async def _(_):
    for compression in (None, "deflate"):
        cases, port = Cases(), free_port()
        async with serve(cases, "127.0.0.1", port, compression=compression, max_size=None):
            with before(port) as proxy:
                await play(proxy, cases)


@check("our client is refused by nginx when there is nobody behind it")
async def _(_):
    with before(free_port()) as proxy:
        command = [os.environ["BROLLY_ECHO_CLIENT"], f"ws://127.0.0.1:{proxy}", "brolly"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
        equal(done.returncode, 1)
        contains(done.stderr, "502 ")
