"""Our own client, `tail ws://`, of a server of `websockets`."""

import asyncio
import json
import subprocess

from websockets.asyncio.server import serve

from harness import check, contains, equal, fail
from nginx import before
from server import free_port


class Topics:
    """Says what it is told to on each connection, and closes it with a code."""

    def __init__(self, *plans):
        self.port, self.plans, self.asked, self.pongs = free_port(), list(plans), [], 0

    async def __call__(self, socket):
        self.asked.append(socket.request.path)
        messages, code, reason = self.plans.pop(0)
        for message in messages:
            text = json.dumps(message)
            # In pieces, with a ping in between that has to be answered.
            await socket.send(text[at : at + 7] for at in range(0, len(text), 7))
            async with asyncio.timeout(5):
                await (await socket.ping(text[:100]))
            self.pongs += 1
        await socket.close(code, reason)


@check("tail ws: messages in pieces, pings, a restart of the server, and the way back")
async def _(setting):
    hello = ["hello", {}, {"position": "1-a.1", "recovery": None}]
    resumed = ["hello", {}, {"position": "1-a.2", "recovery": [{"topic": "news", "outcome": "resumed"}]}]
    topics = Topics(
        ([hello, ["message", {"topic": "news", "position": "1-a.2"}, {"umbrella": "☂" * 500}]], 1012, "back soon"),
        ([resumed, ["message", {"topic": "news", "position": "1-a.3"}, [2]]], 4000, "enough"),
        ([resumed, ["message", {"topic": "news", "position": "1-a.4"}, [3]]], 1000, ""),
    )
    options = {"ping_interval": 0.2, "ping_timeout": 2, "subprotocols": None}
    async with serve(topics, "127.0.0.1", topics.port, **options):
        tail = await asyncio.create_subprocess_exec(
            setting.binary, "tail", f"ws://127.0.0.1:{topics.port}/below", "news", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(15):
                lines = [json.loads(await tail.stdout.readline()) for _ in range(3)]
                said = (await tail.stderr.readline()).decode() + (await tail.stderr.readline()).decode()
        except TimeoutError:
            fail(f"it does not come back: {topics.asked}")
        finally:
            tail.kill()
            await tail.wait()
    equal(lines, [{"umbrella": "☂" * 500}, [2], [3]])
    equal(topics.asked[:3], ["/below/-/ws?topic=news", *[f"/below/-/ws?topic=news&position=1-a.{n}" for n in (2, 3)]])
    contains(said, "1012: back soon")
    contains(said, "4000: enough")


@check("tail ws: a server behind nginx, and the way back after it is gone")
async def _(setting):
    hello = ["hello", {}, {"position": "1-a.1", "recovery": None}]
    topics = Topics(
        ([hello, ["message", {"topic": "news", "position": "1-a.2"}, "☂" * 10_000]], 1012, "back soon"),
        ([hello, ["message", {"topic": "news", "position": "1-a.3"}, [2]]], 1000, ""),
        ([hello], 1000, ""),
    )
    async with serve(topics, "127.0.0.1", topics.port):
        with before(topics.port) as proxy:
            tail = await asyncio.create_subprocess_exec(
                setting.binary, "tail", f"ws://127.0.0.1:{proxy}", "news", stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                async with asyncio.timeout(15):
                    lines = [json.loads(await tail.stdout.readline()) for _ in range(2)]
                    said = (await tail.stderr.readline()).decode()
            except TimeoutError:
                fail(f"it does not come back: {topics.asked}")
            finally:
                tail.kill()
                await tail.wait()
    equal(lines, ["☂" * 10_000, [2]])
    equal(topics.asked[:2], ["/-/ws?topic=news", "/-/ws?topic=news&position=1-a.2"])
    contains(said, "1012: back soon")


@check("tail ws: a server that wants a login is not asked again")
async def _(setting):
    def refuse(connection, _):
        return connection.respond(401, "log in first\n")

    port = free_port()
    async with serve(lambda _: None, "127.0.0.1", port, process_request=refuse):
        arguments = [setting.binary, "tail", f"ws://127.0.0.1:{port}", "news"]
        done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, timeout=10)
    equal((done.returncode, done.stdout), (1, ""))
    contains(done.stderr, "refused: 401 Unauthorized: log in first")
