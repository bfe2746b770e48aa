"""What the checks of this suite share: servers, a WebSocket backend, and short ways to talk to them."""

import asyncio
import contextlib
import json
import tempfile
import threading

import aiohttp
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from harness import equal, fail
from server import Brolly, free_port


class Setting:
    def __init__(self, chosen):
        self.binary = Brolly.binary = chosen.binary
        Brolly.logs = chosen.artefacts
        self.scratch = tempfile.TemporaryDirectory(prefix="brolly-python-")
        self.backend = SocketBackend()
        # More shards than cores: topics and their subscribers live on different ones.
        self.demo = Brolly("demo", options=["--threads", "4"])
        self.dev = Brolly("dev", self.scratch.name, f"/api/=http://127.0.0.1:{self.backend.port}", options=["--threads", "2"])

    def close(self):
        Brolly.kill_all()
        self.scratch.cleanup()


class SocketBackend:
    """A WebSocket server that echoes, on a thread of its own."""

    def __init__(self):
        self.port = free_port()
        self.requests = []
        self.closes = []
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._run(started)), daemon=True).start()
        if not started.wait(10):
            fail("the WebSocket backend does not start")

    async def _run(self, started):
        def choose(_, offered):
            return "chat.v2" if "chat.v2" in offered else None

        def refuse(connection, request):
            return connection.respond(403, "not you\n") if request.path == "/refused" else None

        options = {"select_subprotocol": choose, "process_request": refuse, "max_size": None}
        async with serve(self._serve, "127.0.0.1", self.port, **options):
            started.set()
            await asyncio.get_running_loop().create_future()

    async def _serve(self, socket):
        self.requests.append(socket.request)
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                if message == "close 4321":
                    await socket.close(4321, "as you wish")
                elif message == "abort":
                    socket.transport.abort()
                else:
                    await socket.send(message)
        self.closes.append(socket.close_code)


def dial(server, path, **options):
    """A WebSocket of `websockets`."""
    options = {"ping_interval": None, "compression": None, "proxy": None, "max_size": None, "max_queue": None} | options
    return connect(f"ws://127.0.0.1:{server.port}{path}", **options)


class Caller:
    """A WebSocket that speaks the call grammar of `/-/ws`."""

    def __init__(self, socket):
        self.socket = socket
        self.messages = []
        self.last_id = 0

    async def start(self):
        kind, meta, self.hello = json.loads(await self.socket.recv())
        equal((kind, meta), ("hello", {}))
        equal(sorted(self.hello), ["position", "recovery"])
        return self

    async def next(self, within=10):
        async with asyncio.timeout(within):
            return json.loads(await self.socket.recv())

    async def call(self, method, args, kwargs=None, request_id=None):
        """The answer to a call; messages that come before it are kept."""
        self.last_id += 1
        request_id = request_id or self.last_id
        await self.socket.send(json.dumps([method, {"request_id": request_id}, args, kwargs or {}]))
        while True:
            answer = await self.next()
            if answer[0] == "message":
                self.messages.append(answer)
                continue
            equal(answer[1]["request_id"], request_id)
            return answer

    async def result(self, method, args, kwargs=None):
        kind, _, value = await self.call(method, args, kwargs)
        equal(kind, "result", str(value))
        return value

    async def message(self, within=10):
        """The next message: topic, position, data."""
        answer = self.messages.pop(0) if self.messages else await self.next(within)
        equal(answer[0], "message", str(answer))
        equal(sorted(answer[1]), ["position", "topic"])
        return answer[1]["topic"], answer[1]["position"], answer[2]

    async def data(self, count):
        return [(await self.message())[2] for _ in range(count)]


@contextlib.asynccontextmanager
async def caller(server, query="", **options):
    async with dial(server, f"/-/ws{'?' + query if query else ''}", **options) as socket:
        yield await Caller(socket).start()


@contextlib.asynccontextmanager
async def http():
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=80), trust_env=False) as session:
        yield session


async def publish(session, server, topic, data):
    async with session.post(f"{server.url}/-/publish/{topic}", json=data) as answer:
        equal(answer.status, 200)
        return await answer.json()


async def poll(session, server, topic, position=None, wait=10):
    query = {"topic": topic, "wait": wait} | ({"position": position} if position else {})
    async with session.get(f"{server.url}/-/poll", params=query) as answer:
        equal(answer.status, 200)
        return await answer.json()


class Stream:
    """An event stream read by aiohttp."""

    def __init__(self, answer):
        self.answer = answer
        self.position = None
        self.recovery = None
        self.reason = None

    async def event(self, within=10):
        """The data of the next message; None at the end. Keeps position and recovery as they come."""
        async with asyncio.timeout(within):
            fields = {}
            async for line in self.answer.content:
                line = line.decode().rstrip("\n")
                name, _, value = line.partition(":")
                if line:
                    fields[name] = fields[name] + "\n" + value.strip() if name in fields else value.strip()
                    continue
                self.position = fields.get("id", self.position)
                if fields.get("event") == "brolly.recovery":
                    self.recovery = [*(self.recovery or []), json.loads(fields["data"])]
                elif fields.get("event") == "brolly.end":
                    self.reason = json.loads(fields["data"])["reason"]
                elif "data" in fields:
                    return json.loads(fields["data"])
                fields = {}
            return None


@contextlib.asynccontextmanager
async def stream(session, server, topic, position=None):
    """An event stream that has joined: what is published from now on arrives."""
    headers = {"Last-Event-ID": position} if position else {}
    async with session.get(f"{server.url}/-/sse", params={"topic": topic}, headers=headers) as answer:
        equal(answer.status, 200)
        one = Stream(answer)
        if not position:
            async for line in answer.content:
                if line.startswith(b"id:"):
                    one.position = line[3:].strip().decode()
                    await answer.content.readline()
                    break
        yield one
