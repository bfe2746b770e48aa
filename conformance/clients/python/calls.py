"""The call grammar of `/-/ws`: hello, subscribe, unsubscribe, publish, errors."""

import asyncio
import json

from harness import check, equal, holds, one_of
from server import POSITION
from setting import caller, dial, http, poll, publish


@check("hello comes first, with a position")
async def _(setting):
    async with caller(setting.demo) as alone, caller(setting.demo, "topic=hello") as one:
        # The position of no topics at all is empty.
        equal(alone.hello, {"position": "", "recovery": None})
        holds(POSITION.fullmatch(one.hello["position"]), f"position {one.hello['position']!r}")
        equal(one.hello["recovery"], None)


@check("the subprotocol is chosen when it is offered")
async def _(setting):
    ours = "v1.swindon-lattice+json"
    for offered, chosen in [(None, None), ([ours], ours), (["other", ours], ours)]:
        async with dial(setting.demo, "/-/ws?topic=a", subprotocols=offered) as socket:
            equal(socket.subprotocol, chosen)


@check("messages of the topics in the query")
async def _(setting):
    async with caller(setting.demo, "topic=query.a&topic=query.b") as socket, http() as session:
        receipt = await publish(session, setting.demo, "query.a", {"n": [1, "zwei", None]})
        equal(receipt["subscribers"], 1)
        topic, position, data = await socket.message()
        equal((topic, data), ("query.a", {"n": [1, "zwei", None]}))
        holds(POSITION.fullmatch(position), position)
        await publish(session, setting.demo, "query.b", "text")
        equal((await socket.message())[::2], ("query.b", "text"))


@check("subscribe and unsubscribe")
async def _(setting):
    async with caller(setting.demo) as socket, http() as session:
        result = await socket.result("brolly.subscribe", ["sub.a", "sub.b"])
        equal((sorted(result), result["recovery"]), (["position", "recovery"], None))
        await publish(session, setting.demo, "sub.a", 1)
        await publish(session, setting.demo, "sub.b", 2)
        equal(sorted(await socket.data(2)), [1, 2])
        equal(await socket.result("brolly.unsubscribe", ["sub.a"]), {})
        equal((await publish(session, setting.demo, "sub.a", 3))["subscribers"], 0)
        await publish(session, setting.demo, "sub.b", 4)
        equal((await socket.message())[::2], ("sub.b", 4))
        # Twice is once.
        await socket.result("brolly.subscribe", ["sub.b"])
        equal((await publish(session, setting.demo, "sub.b", 5))["subscribers"], 1)
        equal(await socket.data(1), [5])
        equal(await socket.result("brolly.unsubscribe", ["sub.never"]), {})


@check("publish by call: a receipt for the publisher, a message for everybody, itself included")
async def _(setting):
    async with caller(setting.demo, "topic=by.call") as one, caller(setting.demo, "topic=by.call") as other:
        receipt = await one.result("brolly.publish", ["by.call", {"a": 1}])
        equal((receipt["topic"], receipt["subscribers"]), ("by.call", 2))
        for socket in (one, other):
            topic, position, data = await socket.message()
            equal((topic, position, data), ("by.call", receipt["position"], {"a": 1}))


@check("request ids come back as they were")
async def _(setting):
    async with caller(setting.demo) as socket:
        for request_id in (7, "seven", 2**31):
            equal((await socket.call("brolly.subscribe", ["ids"], request_id=request_id))[1], {"request_id": request_id})


@check("calls sent at once are all answered, in order")
async def _(setting):
    async with dial(setting.demo, "/-/ws") as socket:
        await socket.recv()
        for n in range(1, 101):
            await socket.send(json.dumps(["brolly.publish", {"request_id": n}, ["at.once", n], {}]))
        answers = [json.loads(await socket.recv()) for _ in range(100)]
        equal([answer[1]["request_id"] for answer in answers], list(range(1, 101)))
        equal({answer[0] for answer in answers}, {"result"})
    async with http() as session:
        found = await poll(session, setting.demo, "at.once", "0", 0)
        equal([message["data"] for message in found["messages"]], list(range(1, 101)))


@check("subscribing with a position brings what was missed")
async def _(setting):
    async with http() as session:
        positions = [(await publish(session, setting.demo, "missed", n))["position"] for n in range(5)]
        async with caller(setting.demo) as socket:
            result = await socket.result("brolly.subscribe", ["missed"], {"position": positions[1]})
            equal([(one["topic"], one["outcome"]) for one in result["recovery"]], [("missed", "resumed")])
            await publish(session, setting.demo, "missed", 5)
            equal(await socket.data(4), [2, 3, 4, 5])
        async with caller(setting.demo, f"topic=missed&position={positions[3]}") as socket:
            equal([(one["topic"], one["outcome"]) for one in socket.hello["recovery"]], [("missed", "resumed")])
            equal(await socket.data(2), [4, 5])


@check("wrong calls are answered with an error and do no harm")
async def _(setting):
    async with caller(setting.demo, "topic=wrong") as socket, http() as session:
        for method, args, kwargs in [
            ("brolly.nothing", [], {}),
            ("", [], {}),
            ("brolly.subscribe", [], {}),
            ("brolly.subscribe", [1], {}),
            ("brolly.subscribe", [""], {}),
            ("brolly.subscribe", ["x" * 5000], {}),
            ("brolly.subscribe", [f"many{n}" for n in range(65)], {}),
            ("brolly.publish", ["wrong"], {}),
            ("brolly.publish", [1, 2], {}),
            ("brolly.publish", ["wrong", 1, 2], {}),
        ]:
            kind, meta, text = await socket.call(method, args, kwargs)
            equal(kind, "error", f"{method} {str(args)[:50]}")
            holds(meta["error_kind"] and isinstance(text, str) and text, f"{meta} {text}")
        await publish(session, setting.demo, "wrong", "still here")
        equal(await socket.data(1), ["still here"])


@check("what is no call at all is an error or a close, never silence")
async def _(setting):
    for text in ("nonsense", '["brolly.subscribe",{"request_id":1},"wrong",{}]', "{}", "[]", "[1]", '["brolly.publish"]', '["brolly.publish",{},["a",1],{}]',
                 '["brolly.publish",{"request_id":[]},["a",1],{}]', '["a",{"request_id":1},[],{}', "", b"binary"):
        async with dial(setting.demo, "/-/ws") as socket:
            await socket.recv()
            await socket.send(text)
            try:
                async with asyncio.timeout(3):
                    answer = json.loads(await socket.recv())
                one_of(answer[0], ("error", "result"), repr(text))
            except Exception:
                one_of(socket.close_code, (1002, 1003, 1007, 1008), repr(text))


@check("a message of a megabyte fits, through every door")
async def _(setting):
    big = "x" * (1024 * 1024 - 100)
    async with caller(setting.demo, "topic=big") as one, http() as session:
        await publish(session, setting.demo, "big", big)
        equal(await one.data(1), [big])
        smaller = big[: 900 * 1024]
        await one.result("brolly.publish", ["big", smaller])
        equal(await one.data(1), [smaller])


@check("two hundred subscribers, all of them reached")
async def _(setting):
    sockets = []
    try:
        for _ in range(200):
            sockets.append(await dial(setting.demo, "/-/ws?topic=crowd"))
        for socket in sockets:
            await socket.recv()
        async with http() as session:
            equal((await publish(session, setting.demo, "crowd", 1))["subscribers"], 200)
        for socket in sockets:
            equal(json.loads(await socket.recv())[2], 1)
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets))
    async with http() as session:
        equal((await publish(session, setting.demo, "crowd", 2))["subscribers"], 0)
