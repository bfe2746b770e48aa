"""Losing the connection, again and again: nothing missing, nothing twice, or told so."""

import asyncio
import contextlib
import random

from harness import check, equal, holds
from server import Brolly
from setting import caller, http, poll, publish, stream

MESSAGES = 1500


async def write(server, topic, done):
    """About 500 messages a second."""
    async with http() as session:
        for n in range(MESSAGES):
            await publish(session, server, topic, n)
            await asyncio.sleep(0.001)
    done.set()


def outcomes(recovery):
    return [one["outcome"] for one in recovery or []]


async def follow_socket(server, topic, position, seen, chance):
    """Reads for a moment, then drops the connection without a word; the position to go on from."""
    async with caller(server, f"topic={topic}&position={position}") as socket:
        equal(outcomes(socket.hello["recovery"]), ["resumed"])
        with contextlib.suppress(TimeoutError):
            for _ in range(chance.randrange(1, 120)):
                _, position, data = await socket.message(within=0.5)
                seen.append(data)
        socket.socket.transport.abort()
    return position


async def follow_stream(server, topic, position, seen, chance):
    async with http() as session, stream(session, server, topic, position) as events:
        with contextlib.suppress(TimeoutError):
            for _ in range(chance.randrange(1, 120)):
                seen.append(await events.event(within=0.5))
                position = events.position
        equal(outcomes(events.recovery), ["resumed"])
        events.answer.connection.transport.abort()
    return position


async def follow_poll(server, topic, position, seen, chance):
    async with http() as session:
        for _ in range(chance.randrange(1, 5)):
            found = await poll(session, server, topic, position, wait=1)
            equal(outcomes(found["recovery"]) in ([], ["resumed"]), True, str(found["recovery"]))
            seen += [message["data"] for message in found["messages"]]
            position = found["position"]
    return position


async def lossless(setting, topic, ways):
    chance = random.Random(topic)
    done = asyncio.Event()
    async with http() as session:
        position = (await poll(session, setting.demo, topic, wait=0))["position"]
    writer = asyncio.create_task(write(setting.demo, topic, done))
    seen, rounds = [], 0
    while len(seen) < MESSAGES:
        position = await chance.choice(ways)(setting.demo, topic, position, seen, chance)
        rounds += 1
        holds(rounds < 2000, f"only {len(seen)} messages arrived")
    await writer
    equal(seen == list(range(MESSAGES)), True, f"what arrived: {_difference(seen)}")
    holds(rounds > 5, f"{rounds} connections prove nothing")


def _difference(seen):
    at = next((n for n, data in enumerate(seen) if data != n), len(seen))
    return f"{len(seen)} messages, the first wrong one at {at}: {seen[max(0, at - 2):at + 5]}"


@check("a WebSocket that is dropped and comes back")
async def _(setting):
    await lossless(setting, "drop.socket", [follow_socket])


@check("an event stream that is dropped and comes back")
async def _(setting):
    await lossless(setting, "drop.stream", [follow_stream])


@check("long-polls, one after the other")
async def _(setting):
    await lossless(setting, "drop.poll", [follow_poll])


@check("another transport each time")
async def _(setting):
    await lossless(setting, "drop.any", [follow_socket, follow_stream, follow_poll])


@check("a position that is too old is a gap, from where to where")
async def _(setting):
    async with http() as session:
        old = (await publish(session, setting.demo, "too.old", "first"))["position"]
        for n in range(1200):
            await publish(session, setting.demo, "too.old", n)
        async with caller(setting.demo, f"topic=too.old&position={old}") as socket:
            gap = socket.hello["recovery"][0]
            equal((gap["topic"], gap["outcome"]), ("too.old", "gap"))
            holds(gap["from"] != gap["to"], str(gap))
            data = await socket.data(1000)
            equal(data, list(range(200, 1200)))
        async with caller(setting.demo) as socket:
            result = await socket.result("brolly.subscribe", ["too.old"], {"position": old})
            equal(outcomes(result["recovery"]), ["gap"])


@check("after a restart every position is refused, in all transports, and the new one is good")
async def _(setting):
    async with http() as session:
        with Brolly("demo") as before:
            for n in range(3):
                old = (await publish(session, before, "life", n))["position"]
        with Brolly("demo", port=before.port) as after:
            async with caller(after, f"topic=life&position={old}") as socket:
                equal(outcomes(socket.hello["recovery"]), ["refused"])
                position = socket.hello["position"]
                await publish(session, after, "life", "new")
                equal((await socket.message())[2], "new")
            async with caller(after) as socket:
                result = await socket.result("brolly.subscribe", ["life"], {"position": old})
                equal(outcomes(result["recovery"]), ["refused"])
            async with stream(session, after, "life", old) as events:
                await publish(session, after, "life", "newer")
                await events.event()
                equal(outcomes(events.recovery), ["refused"])
            equal(outcomes((await poll(session, after, "life", old, 0))["recovery"]), ["refused"])
            found = await poll(session, after, "life", position, 0)
            equal((outcomes(found["recovery"]), [message["data"] for message in found["messages"]]), (["resumed"], ["new", "newer"]))


@check("some topics resume, others do not, and each is told apart")
async def _(setting):
    async with http() as session:
        # A message's position covers its own topic, that of a hello all of them.
        async with caller(setting.demo, "topic=apart.a&topic=apart.b") as socket:
            position = socket.hello["position"]
        await publish(session, setting.demo, "apart.a", "a0")
        await asyncio.gather(*(publish(session, setting.demo, "apart.b", n) for n in range(1100)))
        async with caller(setting.demo, f"topic=apart.a&topic=apart.b&position={position}") as socket:
            found = {one["topic"]: one["outcome"] for one in socket.hello["recovery"]}
            equal(found, {"apart.a": "resumed", "apart.b": "gap"})
            seen = [(await socket.message())[::2] for _ in range(1001)]
            equal([data for topic, data in seen if topic == "apart.a"], ["a0"])


@check("each topic of a WebSocket resumes from the position of its own last message")
async def _(setting):
    async with http() as session:
        async with caller(setting.demo, "topic=own.a&topic=own.b") as socket:
            last = {}
            for n in range(6):
                await publish(session, setting.demo, f"own.{'aab'[n % 3]}", n)
                topic, position, _ = await socket.message()
                last[topic] = position
        for n in range(6, 12):
            await publish(session, setting.demo, f"own.{'aab'[n % 3]}", n)
        async with caller(setting.demo) as socket:
            for topic, position in last.items():
                result = await socket.result("brolly.subscribe", [topic], {"position": position})
                equal([(one["topic"], one["outcome"]) for one in result["recovery"]], [(topic, "resumed")])
            seen = [(await socket.message())[::2] for _ in range(6)]
            equal([data for topic, data in seen if topic == "own.a"], [6, 7, 9, 10])
            equal([data for topic, data in seen if topic == "own.b"], [8, 11])
