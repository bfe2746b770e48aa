"""Session pools: what Swindon's clients and backends say and expect, on a server of several threads."""

import asyncio
import base64
import contextlib
import json
import pathlib
import queue
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from harness import check, equal, eventually, fail, holds
from server import Brolly, free_port

PROTOCOL = "v1.swindon-lattice+json"
CONFIG = """
threads = 4
[upstreams.app]
url = "http://127.0.0.1:{backend}"
host = "upstream"
request_id = "X-Rid"
[upstreams.dead]
url = "http://127.0.0.1:{dead}"
connect_timeout = "300ms"
[upstreams.slow]
url = "http://127.0.0.1:{backend}"
total_timeout = "500ms"
[session_pools.chat]
inactivity = ["app"]
active_when_connected = "{connected}"
[session_pools.old]
dialect = "tangle"
keys = ["0123456789abcdef"]
[limits]
authorize_timeout = "1s"
[[listeners]]
address = "127.0.0.1:{port}"
[[listeners]]
address = "127.0.0.1:{api}"
session_pool = "chat"
[[listeners]]
address = "127.0.0.1:{old}"
session_pool = "old"
[[routes]]
prefix = "/ws"
handler = "sessions"
pool = "chat"
calls = {{ "*" = "app", "pfx.*" = "app/base", "dead.*" = "dead", "slow.*" = "slow" }}
[[routes]]
prefix = "/old"
handler = "sessions"
pool = "old"
any_protocol = true
calls = {{ "*" = "app" }}
[[routes]]
prefix = "/dead"
handler = "sessions"
pool = "chat"
calls = {{ "*" = "dead" }}
"""


class Backend:
    """Answers what the check says; remembers what it was asked."""

    def __init__(self):
        backend, self.asked, self.port = self, queue.Queue(), free_port()
        self.answers, self.hooks = {}, {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                backend.asked.put((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                if hook := backend.hooks.get(self.path):
                    hook(json.loads(body))
                status, kind, content = backend.answers.get(self.path, (200, "application/json", body))
                if callable(content):
                    content = content(body)
                self.send_response(status)
                if kind:
                    self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                # Whoever was asking may have gone.
                with contextlib.suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def says(self, path, status, content, kind="application/json"):
        self.answers[path] = (status, kind, content if callable(content) else content.encode())

    def next(self, path, within=10):
        """The next request for `path`; others are dropped."""
        while True:
            try:
                asked = self.asked.get(timeout=within)
            except queue.Empty:
                fail(f"the backend was not asked for {path}")
            if asked[0] == path:
                return asked


class World:
    """A server with two pools, and its backend."""

    def __init__(self, setting, connected="60s"):
        self.backend, self.dead = Backend(), free_port()
        self.port, self.api_port, self.old_port = free_port(), free_port(), free_port()
        text = CONFIG.format(
            backend=self.backend.port, dead=self.dead, port=self.port, api=self.api_port, old=self.old_port, connected=connected
        )
        path = pathlib.Path(setting.scratch.name) / f"sessions-{self.port}.toml"
        path.write_text(text)
        self.server = Brolly("serve", "--config", path, port=self.port)
        self.backend.says("/swindon/authorize_connection", 200, lambda _: b'{"user_id":"u1","username":"John"}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.kill()
        self.backend.server.shutdown()

    @contextlib.asynccontextmanager
    async def user(self, name, path="/ws"):
        """A connection of a user: the socket, and the id that the backend knows."""
        self.backend.says("/swindon/authorize_connection", 200, json.dumps({"user_id": name}))
        async with self.dial(path) as socket:
            equal(json.loads(await socket.recv()), ["hello", {}, {"user_id": name}])
            _, _, body = await asyncio.to_thread(self.backend.next, "/swindon/authorize_connection")
            yield socket, json.loads(body)[0]["connection_id"]

    def dial(self, path="/ws", **options):
        options = {"subprotocols": [PROTOCOL], "compression": None, "ping_interval": None, "proxy": None} | options
        return connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    async def api(self, method, path, body=None, port=None, **headers):
        async with aiohttp.ClientSession() as session:
            data = json.dumps(body) if body is not None else None
            headers = ({"content-type": "application/json"} if data is not None else {}) | headers
            url = f"http://127.0.0.1:{port or self.api_port}{path}"
            async with session.request(method, url, data=data, headers=headers) as answer:
                return answer.status, await answer.text()

    async def done(self, method, path, body=None, **options):
        equal(await self.api(method, path, body, **options), (204, ""), f"{method} {path}")


async def read(socket, within=5):
    async with asyncio.timeout(within):
        return json.loads(await socket.recv())


async def silent(socket, seconds=0.3):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            fail(f"unexpected: {await socket.recv()!r}")


@check("a connection is authorised, and says hello")
async def _(setting):
    with World(setting) as world:
        headers = {"Cookie": "x=y", "Authorization": "Basic zz"}
        async with world.dial("/ws?a=b&c=%20", additional_headers=headers) as socket:
            equal(socket.subprotocol, PROTOCOL)
            equal(await socket.recv(), '["hello",{},{"user_id":"u1","username":"John"}]')
            path, fields, body = world.backend.next("/swindon/authorize_connection")
            holds(re.fullmatch(r"swindon/\d+\.\d+\.\d+.*", fields["user-agent"]), fields["user-agent"])
            meta, args, kwargs = json.loads(body)
            holds(re.fullmatch(r"[A-Za-z0-9_-]{32}-\d+", meta["connection_id"]), meta["connection_id"])
            equal(fields["x-rid"], f"{meta['connection_id']}-auth")
            equal(args, [])
            equal(kwargs, {"http_cookie": "x=y", "http_authorization": "Basic zz", "url_querystring": "a=b&c=%20"})
            holds("authorization" not in fields, str(fields))


@check("calls reach their backends, and every answer comes back")
async def _(setting):
    with World(setting) as world:
        async with world.user("u1") as (socket, cid):
            world.backend.says("/pfx/a", 200, "{}")
            for method, path in [("m", "/m"), ("a.b.c", "/a/b/c"), ("pfx.sub", "/base/pfx/sub")]:
                await socket.send(json.dumps([method, {"request_id": 1, "connection_id": "mine"}, [1], {"k": "v"}]))
                _, fields, body = await asyncio.to_thread(world.backend.next, path)
                equal(json.loads(body), [{"connection_id": cid, "request_id": 1}, [1], {"k": "v"}])
                token = base64.b64encode(b'{"user_id":"u1"}').decode()
                equal(fields["authorization"], f"Swindon+json {token}")
                equal(fields["x-rid"], f"{cid}-1")
                kind, meta, data = await read(socket)
                equal((kind, meta["request_id"], data), ("result", 1, json.loads(body)))
            for status, kind, content, error in [
                (200, "application/json", "[not a valid json", ["data_error", None, "expected ident at line 1 column 3"]),
                (200, "text/plain", "1", ["http_error", 500, None]),
                (204, None, "", ["http_error", 204, None]),
                (400, "application/json", '{"fields_missing":["args"]}', ["http_error", 400, {"fields_missing": ["args"]}]),
                (404, "text/html", "x", ["http_error", 404, None]),
            ]:
                world.backend.says("/m", status, content, kind)
                await socket.send('["m",{"request_id":"x-1"},[],{}]')
                answer, meta, data = await read(socket)
                equal((answer, meta.pop("request_id"), data), ("error", "x-1", error[2]))
                equal(meta, {"error_kind": error[0]} | ({"http_error": error[1]} if error[1] else {}))
            world.backend.hooks["/slow/x"] = lambda _: threading.Event().wait(2)
            for method in ("dead.x", "slow.x"):
                await socket.send(json.dumps([method, {"request_id": 3}, [], {}]))
                equal(await read(socket), ["error", {"error_kind": "http_error", "http_error": 500, "request_id": 3}, None])


@check("a malformed call gets an answer that says why")
async def _(setting):
    with World(setting) as world:
        async with world.user("u1") as (socket, _):
            for text, meta, data in [
                ("x", {}, "a call is"),
                ('["m",{"request_id":1},[]]', {}, "a call is"),
                ('["swindon.x",{"request_id":1},[],{}]', {"request_id": 1}, "invalid method"),
                ('["m",{"request_id":-1},[],{}]', {"request_id": -1}, "invalid request id"),
            ]:
                await socket.send(text)
                answer = await read(socket)
                equal(answer[:2], ["error", {"error_kind": "validation_error"} | meta])
                holds(answer[2].startswith(data), answer[2])
            await socket.send(b"binary")
            with contextlib.suppress(ConnectionClosed):
                await socket.recv()
            equal(socket.close_code, 1003)


@check("who is not let in is told why, and closed")
async def _(setting):
    with World(setting) as world:
        cases = [
            (403, '["Custom"]', "application/json", 403, ["Custom"]),
            (503, "{}", "text/plain", 503, None),
            (402, "{}", "application/json", 500, None),
            (200, "{}", "application/json", 500, None),
            (200, '{"user_id":1}', "application/json", 500, None),
            (200, '{"user_id":"u"}', "text/plain", 500, None),
            (200, "nonsense", "application/json", 500, None),
        ]
        for status, content, kind, told, data in cases:
            world.backend.says("/swindon/authorize_connection", status, content, kind)
            await refused(world, "/ws", told, data)
        await refused(world, "/dead", 500, None)
        await refused(world, "/ws", 400, None, additional_headers=[("Cookie", "a=b"), ("Cookie", "c=d")])
        world.backend.hooks["/swindon/authorize_connection"] = lambda _: threading.Event().wait(3)
        await refused(world, "/ws", 500, None)


async def refused(world, path, status, data, **options):
    async with world.dial(path, **options) as socket:
        equal(await read(socket), ["fatal_error", {"error_kind": "http_error", "http_error": status}, data])
        with contextlib.suppress(ConnectionClosed):
            await socket.recv()
        equal((socket.close_code, socket.close_reason), (4000 + status, "backend_error"))


@check("topics: before hello and after, in order, each once")
async def _(setting):
    with World(setting) as world:
        loop = asyncio.get_running_loop()

        def early(body):
            cid = body[0]["connection_id"]
            steps = [
                world.done("PUT", f"/v1/connection/{cid}/subscriptions/a/b"),
                world.done("POST", "/v1/publish/a/b", {"n": 1}),
                world.done("POST", "/v1/publish/a/b", {"n": 2}),
                world.done("PUT", f"/v1/connection/{cid}/lattices/room", {"private": {"u1": {"r": {"n_counter": 1}}}}),
            ]
            for step in steps:
                asyncio.run_coroutine_threadsafe(step, loop).result(5)

        world.backend.hooks["/swindon/authorize_connection"] = early
        async with world.user("u1") as (socket, cid):
            for n in (1, 2):
                equal(await read(socket), ["message", {"topic": "a.b"}, {"n": n}])
            equal(await read(socket), ["lattice", {"namespace": "room"}, {"r": {"n_counter": 1}}])
            del world.backend.hooks["/swindon/authorize_connection"]
            equal(await world.api("GET", f"/v1/connection/{cid}/subscriptions"), (200, '["a.b"]'))
            for n in range(50):
                await world.done("POST", "/v1/publish/a/b", n)
            equal([(await read(socket))[2] for _ in range(50)], list(range(50)))
            await world.done("DELETE", f"/v1/connection/{cid}/subscriptions/a/b")
            await world.done("POST", "/v1/publish/a/b", "late")
            await silent(socket)
            await world.done("POST", f"/v1/connection/{cid}/publish/x/y", [1])
            equal(await read(socket), ["message", {"topic": "x.y"}, [1]])
            async with world.user("u1") as (second, _):
                await world.done("POST", "/v1/user/u1/publish/x", {})
                equal([await read(one) for one in (socket, second)], [["message", {"topic": "x"}, {}]] * 2)


@check("the interface says what is wrong with a request")
async def _(setting):
    with World(setting) as world:
        async with world.user("u1") as (_, cid):
            foreign = "A" * 32 + "-1"
            for method, path, body, status in [
                ("PUT", f"/v1/connection/{cid}/subscriptions/a.b", None, 404),
                ("PUT", f"/v1/connection/{cid}/subscriptions/a", {}, 400),
                ("PUT", "/v1/connection/nonsense/subscriptions/a", None, 404),
                ("PUT", f"/v1/connection/{foreign}/subscriptions/a", None, 404),
                ("POST", "/v1/publish/a?x", 1, 404),
                ("PUT", "/v1/publish/a", 1, 405),
                ("PUT", f"/v1/connection/{cid}/lattices/swindon/user", {}, 403),
                ("POST", "/v1/lattice/n", [], 400),
                ("POST", "/v1/lattice/n", {"shared": {"k": {"x": 1}}}, 400),
                ("PUT", f"/v1/connection/{cid}/users", [""], 400),
                ("GET", "/", None, 404),
            ]:
                got, text = await world.api(method, path, body)
                equal(got, status, f"{method} {path}")
                holds("error" in json.loads(text), text)
            equal((await world.api("POST", "/v1/publish/a", 1, **{"content-type": "text/plain"}))[0], 400)
            equal((await world.api("POST", "/v1/publish/a", 1, port=world.old_port))[0], 401)
            key = {"authorization": "Bearer 0123456789abcdef", "content-type": "text/plain"}
            equal(await world.api("POST", "/v1/publish/a", 1, port=world.old_port, **key), (204, ""))


@check("lattices: each user sees their keys, changes alone, and all of it when attached")
async def _(setting):
    with World(setting) as world:
        async with world.user("u1") as (one, first), world.user("u2") as (two, second):
            delta = {"shared": {"r1": {"m_counter": 5, "s_set": ["b", "a", 3], "x_register": [1, {"k": 1}]}}}
            await world.done("POST", "/v1/lattice/n/s", delta)
            private = {"private": {"u1": {"r1": {"seen_counter": 3}}}}
            await world.done("PUT", f"/v1/connection/{first}/lattices/n/s", private)
            await world.done("PUT", f"/v1/connection/{second}/lattices/n/s", {"private": {"u2": {"r2": {}}}})
            told = {"m_counter": 5, "s_set": [3, "a", "b"], "seen_counter": 3, "x_register": [1.0, {"k": 1}]}
            equal(await read(one), ["lattice", {"namespace": "n.s"}, {"r1": told}])
            equal(await read(two), ["lattice", {"namespace": "n.s"}, {"r2": {}}])
            update = {"shared": {"r1": {"m_counter": 4, "s_set": ["a", "c"]}, "r2": {"m_counter": 1}}}
            await world.done("POST", "/v1/lattice/n/s", update)
            equal(await read(one), ["lattice", {"namespace": "n.s"}, {"r1": {"s_set": ["c"]}}])
            equal(await read(two), ["lattice", {"namespace": "n.s"}, {"r2": {"m_counter": 1}}])
            await world.done("DELETE", f"/v1/connection/{first}/lattices/n/s")
            await world.done("POST", "/v1/lattice/n/s", {"shared": {"r1": {"m_counter": 9}}})
            await silent(one)


@check("presence: active, inactive, offline")
async def _(setting):
    with World(setting, connected="1s") as world:
        async with world.user("ann") as (ann, cid):
            await world.done("PUT", f"/v1/connection/{cid}/users", ["ann", "bob", "eve"])
            told = {}
            while len(told) < 3:
                told |= await status(ann)
            equal(told, {"ann": "active", "bob": "offline", "eve": "offline"})
            async with world.user("bob") as (bob, _):
                equal(await status(ann), {"bob": "active"})
                equal(await world.api("POST", "/v1/users/status", ["ann", "bob", "eve"]), (200, '{"ann":"active","bob":"active","eve":"offline"}'))
                await bob.send('["m",{"request_id":1,"active":2},[],{}]')
                equal((await read(bob))[0], "result")
                equal(await status(ann), {"ann": "inactive"})
                _, fields, body = await asyncio.to_thread(world.backend.next, "/swindon/session_inactive")
                equal(body, b"[{}, [], {}]")
                equal(base64.b64decode(fields["authorization"].split()[1]), b'{"user_id":"ann"}')
                equal(await status(ann), {"bob": "inactive"})
                await asyncio.to_thread(world.backend.next, "/swindon/session_inactive")
                await ann.send('["m",{"request_id":1,"active":60},[],{}]')
                equal({(await read(ann))[0] for _ in range(2)}, {"result", "lattice"})
            equal(await status(ann), {"bob": "offline"})
            async with world.user("bob"):
                equal(await status(ann), {"bob": "active"})
            await world.done("DELETE", f"/v1/connection/{cid}/users")
            await silent(ann, 1.5)


async def status(socket):
    kind, meta, data = await read(socket)
    equal((kind, meta), ("lattice", {"namespace": "swindon.user"}))
    for value in data.values():
        equal(sorted(value), ["status_register"])
        holds(value["status_register"][0] > 1.7e12, str(value))
    return {user: value["status_register"][1] for user, value in data.items()}


@check("inactivity is told again until a backend has heard it")
async def _(setting):
    with World(setting, connected="1s") as world:
        world.backend.says("/swindon/session_inactive", 503, "{}")
        async with world.user("ann"):
            await asyncio.to_thread(world.backend.next, "/swindon/session_inactive")
            world.backend.says("/swindon/session_inactive", 404, "{}")
            await asyncio.to_thread(world.backend.next, "/swindon/session_inactive")
            await asyncio.sleep(3)
            holds(world.backend.asked.empty(), "told again")


@check("connections and users can be closed with a code")
async def _(setting):
    with World(setting) as world:
        async with world.user("ann") as (one, cid), world.user("ann") as (two, _):
            await world.done("DELETE", f"/v1/connection/{cid}", {"code": 4403, "reason": "banned"})
            await closed(one, 4403, "banned")
            await world.done("DELETE", "/v1/user/ann")
            await closed(two, 1000, "")
            equal((await world.api("DELETE", "/v1/user/ann", {"code": 1005}))[0], 400)


@check("pools are strangers to each other")
async def _(setting):
    with World(setting) as world:
        options = {"port": world.old_port, "Authorization": "Bearer 0123456789abcdef"}
        async with world.user("u1") as (socket, cid):
            await world.done("PUT", f"/v1/connection/{cid}/subscriptions/mine")
            await world.done("PUT", f"/v1/connection/{cid}/subscriptions/theirs", **options)
            await world.done("PUT", f"/v1/connection/{cid}/lattices/rooms", {"shared": {"r": {"n_counter": 1}}}, **options)
            await world.done("POST", f"/v1/connection/{cid}/publish/mine", 1, **options)
            await world.done("DELETE", f"/v1/connection/{cid}", **options)
            await world.done("POST", "/v1/publish/theirs", 1, **options)
            await silent(socket)
            status, text = await world.api("GET", f"/v1/connection/{cid}/subscriptions", **options)
            equal((status, json.loads(text)), (200, []))
            status, text = await world.api("GET", f"/v1/connection/{cid}/subscriptions")
            equal((status, json.loads(text)), (200, ["mine"]))


@check("what is asked during the authorisation holds")
async def _(setting):
    with World(setting) as world:
        ids, done = queue.Queue(), threading.Event()

        def hook(body):
            ids.put(body[0]["connection_id"])
            done.wait(5)

        async with world.user("u1") as (socket, first):
            await world.done("PUT", f"/v1/connection/{first}/lattices/rooms", {"private": {"u1": {"r": {}}}})
            equal(await read(socket), ["lattice", {"namespace": "rooms"}, {"r": {}}])
            world.backend.hooks["/swindon/authorize_connection"] = hook
            world.backend.says("/swindon/authorize_connection", 200, '{"user_id":"u2"}')
            dialling = asyncio.ensure_future(world.dial().__aenter__())
            second = await asyncio.to_thread(ids.get, True, 5)
            await world.done("PUT", f"/v1/connection/{second}/lattices/rooms", {"shared": {"r": {"n_counter": 8}}})
            # Others hear of it before the connection is open.
            equal(await read(socket), ["lattice", {"namespace": "rooms"}, {"r": {"n_counter": 8}}])
            await world.done("DELETE", f"/v1/connection/{second}")
            done.set()
            opened = await dialling
            equal(await read(opened), ["hello", {}, {"user_id": "u2"}])
            with contextlib.suppress(ConnectionClosed):
                fail(f"still open: {[await read(opened) for _ in range(2)]}")


async def closed(socket, code, reason):
    with contextlib.suppress(ConnectionClosed):
        await asyncio.wait_for(socket.recv(), 5)
    equal((socket.close_code, socket.close_reason), (code, reason))


@check("the older dialect: tangle, no protocol, no content types")
async def _(setting):
    with World(setting) as world:
        world.backend.says("/tangle/authorize_connection", 200, '{"user_id":"u1"}', "text/plain")
        async with world.dial("/old", subprotocols=None) as socket:
            equal((await read(socket))[0], "hello")
            world.backend.says("/m", 200, "[1]", None)
            await socket.send('["m",{"request_id":1},[],{}]')
            equal(await read(socket), ["result", {"request_id": 1}, [1]])
            _, fields, _ = world.backend.next("/m")
            holds(fields["authorization"].startswith("Tangle "), fields["authorization"])
        with_status = None
        try:
            async with world.dial("/ws", subprotocols=None):
                pass
        except Exception as error:
            with_status = error.response.status_code
        equal(with_status, 400)


@check("calls of a client that has gone are cancelled, and all is forgotten")
async def _(setting):
    with World(setting, connected="1s") as world:
        gone = threading.Event()
        world.backend.hooks["/m"] = lambda _: gone.wait(5)
        async with world.user("ann") as (socket, cid):
            await socket.send('["m",{"request_id":1},[],{}]')
            await asyncio.to_thread(world.backend.next, "/m")
        gone.set()
        await world.done("PUT", f"/v1/connection/{cid}/subscriptions/a")
        eventually_offline = lambda: asyncio.run(world.api("POST", "/v1/users/status", ["ann"]))[1] == '{"ann":"offline"}'
        await asyncio.to_thread(eventually, eventually_offline)
