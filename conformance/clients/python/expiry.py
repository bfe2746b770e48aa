"""Authorisations that end: what a backend says in `X-Authorization-Expires-In`, and what clients see of it."""

import asyncio
import contextlib
import json
import pathlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from websockets.exceptions import ConnectionClosed

from harness import check, equal, holds
from server import Brolly, free_port
from setting import Stream, dial, http

REASON = "the authorisation has ended"
CONFIG = """
listen = ["127.0.0.1:{port}"]
threads = 2
log = false

[upstreams.auth]
url = "http://127.0.0.1:{backend}"

[session_pools.chat]

[[listeners]]
address = "127.0.0.1:{api}"
session_pool = "chat"
"""
ROUTES = {
    "sse": "handler = 'event-stream'",
    "poll": "handler = 'long-poll'",
    "ws": "handler = 'websocket'",
    "echo": "handler = 'echo'",
    "sessions": "handler = 'sessions'\npool = 'chat'\nany_protocol = true\ncalls = { '*' = 'auth' }",
}


class Doorman:
    """Lets everybody pass for `seconds`, until it is told to let nobody pass."""

    def __init__(self, seconds):
        doorman, self.port, self.is_open = self, free_port(), True

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(204 if doorman.is_open else 401)
                self.send_header("X-Authorization-Expires-In", str(seconds))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                content = b'{"user_id":"u1"}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextlib.contextmanager
def guarded(setting, seconds):
    """A server all of whose routes ask a doorman."""
    doorman, port = Doorman(seconds), free_port()
    text = CONFIG.format(port=port, api=free_port(), backend=doorman.port)
    for prefix, rest in ROUTES.items():
        text += f"\n[[routes]]\nprefix = '/{prefix}'\n{rest}\nauthorize = {{ upstream = 'auth' }}\n"
    text += "\n[[routes]]\nprefix = '/-/publish'\nhandler = 'publish'\n"
    path = pathlib.Path(setting.scratch.name) / f"expiry-{port}.toml"
    path.write_text(text)
    with Brolly("serve", "--config", path, port=port) as server:
        yield server, doorman
    doorman.server.shutdown()


@check("an event stream ends with the reason, and who comes back is asked again")
async def _(setting):
    with guarded(setting, 2) as (server, doorman):
        async with http() as session:
            began = time.monotonic()
            async with session.get(f"{server.url}/sse?topic=a") as answer:
                equal(answer.status, 200)
                stream = Stream(answer)
                await session.post(f"{server.url}/-/publish/a", json="still there")
                equal(await stream.event(), "still there")
                equal(await stream.event(), None)
                equal(stream.reason, REASON)
            holds(1.9 < time.monotonic() - began < 8, "not after two seconds")
            headers = {"Last-Event-ID": stream.position}
            async with session.get(f"{server.url}/sse?topic=a", headers=headers) as answer:
                equal(answer.status, 200)
            doorman.is_open = False
            async with session.get(f"{server.url}/sse?topic=a", headers=headers) as answer:
                equal(answer.status, 401)


@check("WebSockets of every kind are closed with 4401 and the reason")
async def _(setting):
    async def ends(server, path):
        async with dial(server, path) as socket:
            try:
                async with asyncio.timeout(10):
                    while True:
                        await socket.recv()
            except ConnectionClosed:
                equal((socket.close_code, socket.close_reason), (4401, REASON), path)

    with guarded(setting, 1) as (server, _):
        await asyncio.gather(*(ends(server, path) for path in ("/ws?topic=a", "/echo", "/sessions")))


@check("a long-poll that waits is answered")
async def _(setting):
    with guarded(setting, 1) as (server, _):
        async with http() as session:
            began = time.monotonic()
            async with session.get(f"{server.url}/poll?topic=a&wait=50") as answer:
                equal((answer.status, json.loads(await answer.text())["messages"]), (200, []))
            holds(0.9 < time.monotonic() - began < 8, "not after a second")
            # It is asked again for each request, and what has begun is answered.
            position = json.loads(await (await session.get(f"{server.url}/poll?topic=a&wait=0")).text())["position"]
            await session.post(f"{server.url}/-/publish/a", json=1)
            async with session.get(f"{server.url}/poll", params={"topic": "a", "position": position}) as answer:
                [message] = json.loads(await answer.text())["messages"]
                equal(message["data"], 1)
