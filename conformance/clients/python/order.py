"""One total order per topic, the same for every subscriber, over all transports and shards."""

import asyncio
import json

from harness import check, equal, holds
from setting import caller, dial, http, poll, publish, stream

PUBLISHERS = 8
EACH = 300
TOTAL = PUBLISHERS * EACH


async def read_socket(server, topic, ready):
    async with caller(server, f"topic={topic}") as socket:
        ready.set()
        return [(await socket.message())[1:] for _ in range(TOTAL)]


async def read_stream(server, topic, ready):
    async with http() as session, stream(session, server, topic) as events:
        ready.set()
        seen = []
        while len(seen) < TOTAL:
            data = await events.event()
            seen.append((events.position, data))
        return seen


async def read_poll(server, topic, ready):
    """A long-poll has no positions of its own for each message."""
    async with http() as session:
        position = (await poll(session, server, topic, wait=0))["position"]
        ready.set()
        seen = []
        while len(seen) < TOTAL:
            found = await poll(session, server, topic, position)
            outcomes = {one["outcome"] for one in found["recovery"] or []}
            equal(outcomes <= {"resumed"}, True, f"after {len(seen)}: {found['recovery']}")
            position = found["position"]
            seen += [(None, message["data"]) for message in found["messages"]]
        return seen


async def publish_by_socket(server, topic, who):
    async with dial(server, "/-/ws") as socket:
        await socket.recv()
        for n in range(EACH):
            await socket.send(json.dumps(["brolly.publish", {"request_id": n + 1}, [topic, [who, n]], {}]))
            if n % 3:
                # Some wait for the receipt, some do not.
                await socket.recv()


async def publish_by_post(server, topic, who):
    async with http() as session:
        for n in range(EACH):
            await publish(session, server, topic, [who, n])


@check("eight publishers, three transports: all see the same order, and each publisher's own order in it")
async def _(setting):
    readers, started = [], []
    for read in (read_socket, read_socket, read_socket, read_stream, read_stream, read_stream, read_poll, read_poll):
        ready = asyncio.Event()
        readers.append(asyncio.create_task(read(setting.demo, "order", ready)))
        started.append(ready)
    await asyncio.gather(*(ready.wait() for ready in started))
    ways = [publish_by_socket, publish_by_post]
    await asyncio.gather(*(ways[who % 2](setting.demo, "order", who) for who in range(PUBLISHERS)))
    seen = await asyncio.gather(*readers)
    first = [data for _, data in seen[0]]
    for number, one in enumerate(seen):
        data = [data for _, data in one]
        equal(len(data), TOTAL, f"reader {number}")
        at = next((n for n in range(TOTAL) if data[n] != first[n]), None)
        holds(at is None, f"reader {number} differs from the first from message {at} on")
        positions = [position for position, _ in one]
        if positions[0] is not None:
            equal(len(set(positions)), TOTAL, f"positions of reader {number}")
            equal(positions, [position for position, _ in seen[0]], f"positions of reader {number}")
    for who in range(PUBLISHERS):
        equal([n for publisher, n in first if publisher == who], list(range(EACH)), f"publisher {who}")


@check("many topics on all shards: each subscriber gets its own, in order")
async def _(setting):
    topics = [f"many.{n}" for n in range(20)]

    async def read(mine):
        async with caller(setting.demo, "&".join(f"topic={topic}" for topic in mine)) as socket:
            ready[mine[0]].set()
            seen = {topic: [] for topic in mine}
            for _ in range(50 * len(mine)):
                topic, _, data = await socket.message()
                seen[topic].append(data)
            return seen

    groups = [topics[n : n + 5] for n in range(0, 20, 5)] + [topics[0:1], topics[3:17]]
    ready = {}
    tasks = []
    for group in groups:
        ready[group[0]] = asyncio.Event()
        tasks.append(asyncio.create_task(read(group)))
        await ready[group[0]].wait()

    async def write(topic):
        async with http() as session:
            for n in range(50):
                await publish(session, setting.demo, topic, [topic, n])

    await asyncio.gather(*(write(topic) for topic in topics))
    for seen in await asyncio.gather(*tasks):
        for topic, data in seen.items():
            equal(data, [[topic, n] for n in range(50)], topic)


@check("a position from one transport is good for the others")
async def _(setting):
    async with http() as session:
        async with caller(setting.demo, "topic=across") as socket:
            await publish(session, setting.demo, "across", 0)
            position = (await socket.message())[1]
        await publish(session, setting.demo, "across", 1)
        async with stream(session, setting.demo, "across", position) as events:
            equal(await events.event(), 1)
            position = events.position
        await publish(session, setting.demo, "across", 2)
        found = await poll(session, setting.demo, "across", position)
        equal([message["data"] for message in found["messages"]], [2])
        await publish(session, setting.demo, "across", 3)
        async with caller(setting.demo, f"topic=across&position={found['position']}") as socket:
            equal((await socket.message())[2], 3)
