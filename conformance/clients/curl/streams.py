"""Listening by event stream and by long-poll: joining, resuming, waiting."""

import json
import threading
import time

from harness import check, equal, eventually, holds, one_of
from server import POSITION, Brolly, free_port
from topics import JSON, TEXT, receipt


def poll(server, query):
    answer = server.curl(f"/-/poll?{query}", seconds=60)
    equal(answer.status, 200, answer.text)
    equal(answer.field("content-type").split(";")[0], "application/json")
    found = json.loads(answer.body)
    equal(sorted(found), ["messages", "position", "recovery"])
    holds(POSITION.fullmatch(found["position"]), f"position {found['position']!r}")
    found["took"] = answer.took
    return found


def data(found):
    return [message["data"] for message in found["messages"]]


@check("an event stream says what it is, and where it begins")
def _(setting):
    with setting.demo.events("topic=begin") as stream:
        equal(stream.answer.status, 200)
        equal(stream.answer.field("content-type").split(";")[0], "text/event-stream")
        equal(stream.answer.field("cache-control"), "no-store, no-transform")
        equal(stream.answer.field("x-accel-buffering"), "no")
        equal(stream.answer.field("content-length"), None)
        first = stream.block()
        holds("" in first, f"the first block is no comment: {first}")
        holds(POSITION.fullmatch(stream.joined()), "no position")


@check("messages arrive as events, each with its position")
def _(setting):
    with setting.demo.events("topic=arrive") as stream:
        stream.joined()
        for text, arguments in [('{"n": 1}', JSON), ("two", TEXT), ("three\nlines\n of it", TEXT), ("cr\rlf\r\nend", TEXT), ("", TEXT)]:
            sent = receipt(setting.demo.publish("arrive", text, *arguments))
            event = stream.event()
            if arguments is TEXT:
                # JSON or plain text, but always the same text.
                got = event["data"]
                equal(json.loads(got) if got.startswith('"') else got, text if got.startswith('"') else
                      text.replace("\r\n", "\n").replace("\r", "\n"))
            else:
                equal(event["data"], text)
            equal(event["id"], sent["position"])
            equal(event.get("event"), None)


@check("an event stream resumes by header and by parameter")
def _(setting):
    for topic in ("resume.header", "resume.parameter"):
        positions = [receipt(setting.demo.publish(topic, str(n), *JSON))["position"] for n in range(5)]
        by_header = (f"topic={topic}", "-H", f"Last-Event-ID: {positions[1]}")
        by_parameter = (f"topic={topic}&last_event_id={positions[1]}",)
        with setting.demo.events(*(by_header if topic.endswith("header") else by_parameter)) as stream:
            seen = [stream.event() for _ in range(4)]
            recovery = [json.loads(event["data"]) for event in seen if event.get("event") == "brolly.recovery"]
            messages = [(event["id"], event["data"]) for event in seen if "event" not in event]
            equal([(one["topic"], one["outcome"]) for one in recovery], [(topic, "resumed")])
            equal(messages, list(zip(positions[2:], "234")))
            live = receipt(setting.demo.publish(topic, '"live"', *JSON))["position"]
            equal(stream.event(), {"id": live, "data": '"live"'})


@check("nothing is said of recovery to who does not resume")
def _(setting):
    setting.demo.publish("fresh", "1", *JSON)
    with setting.demo.events("topic=fresh") as stream:
        stream.joined()
        setting.demo.publish("fresh", "2", *JSON)
        event = stream.event()
        equal((event.get("event"), event["data"]), (None, "2"))
    equal(poll(setting.demo, "topic=fresh&wait=0")["recovery"], None)


@check("position 0 is the oldest that is kept")
def _(setting):
    for n in range(3):
        setting.demo.publish("oldest", str(n), *JSON)
    equal(data(poll(setting.demo, "topic=oldest&position=0&wait=0")), [0, 1, 2])
    with setting.demo.events("topic=oldest&last_event_id=0") as stream:
        seen = []
        while len(seen) < 3:
            event = stream.event()
            if event.get("event") is None:
                seen.append(event["data"])
        equal(seen, ["0", "1", "2"])


@check("one position covers several topics")
def _(setting):
    for n in range(4):
        setting.demo.publish("multi.a", f'"a{n}"', *JSON)
        setting.demo.publish("multi.b", f'"b{n}"', *JSON)
    both = "topic=multi.a&topic=multi.b"
    start = poll(setting.demo, f"{both}&position=0&wait=0")
    equal(sorted(data(start)), ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"])
    equal([d for d in data(start) if d[0] == "a"], ["a0", "a1", "a2", "a3"])
    setting.demo.publish("multi.b", '"b4"', *JSON)
    after = poll(setting.demo, f"{both}&position={start['position']}&wait=0")
    equal(data(after), ["b4"])
    equal(sorted((one["topic"], one["outcome"]) for one in after["recovery"] or []),
          [("multi.a", "resumed"), ("multi.b", "resumed")])
    # The same position in a stream; then the id of each event is a place to go on from.
    with setting.demo.events(f"{both}&last_event_id={start['position']}") as stream:
        event = stream.message()
        equal(event["data"], '"b4"')
        setting.demo.publish("multi.a", '"a4"', *JSON)
        after_a4 = stream.message()
        equal(after_a4["data"], '"a4"')
        setting.demo.publish("multi.b", '"b5"', *JSON)
    # Topics have an order each, not one in common.
    equal(sorted(data(poll(setting.demo, f"{both}&position={event['id']}&wait=1"))), ["a4", "b5"])
    equal(data(poll(setting.demo, f"{both}&position={after_a4['id']}&wait=1")), ["b5"])


@check("a gap has a name")
def _(setting):
    first = receipt(setting.demo.publish("gap", '"first"', *JSON))["position"]
    with setting.demo.wire() as wire:
        head = "POST /-/publish/gap HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n"
        for n in range(1100):
            equal(wire.send(f"{head}{1000 + n}").answer().status, 200)
    found = poll(setting.demo, f"topic=gap&position={first}&wait=0")
    equal(len(found["recovery"]), 1)
    gap = found["recovery"][0]
    equal((gap["topic"], gap["outcome"]), ("gap", "gap"))
    holds(gap["from"] is not None and gap["to"] is not None and gap["from"] != gap["to"], f"{gap}")
    seen = data(found)
    while seen[-1] != 2099:
        found = poll(setting.demo, f"topic=gap&position={found['position']}&wait=0")
        holds(found["messages"], f"nothing after {seen[-1]}")
        seen += data(found)
    equal(seen, list(range(2100 - len(seen), 2100)))
    holds(900 <= len(seen) <= 1000, f"{len(seen)} were kept")
    with setting.demo.events(f"topic=gap&last_event_id={first}") as stream:
        event = stream.event()
        equal(event.get("event"), "brolly.recovery")
        equal(json.loads(event["data"])["outcome"], "gap")
        equal(stream.event()["data"], str(seen[0]))


@check("a position of another life is refused")
def _(setting):
    with Brolly("demo") as before:
        old = receipt(before.publish("life", '"old"', *JSON))["position"]
    with Brolly("demo", port=before.port) as after:
        after.publish("life", '"new"', *JSON)
        found = poll(after, f"topic=life&position={old}&wait=0")
        equal([(one["topic"], one["outcome"]) for one in found["recovery"]], [("life", "refused")])
        with after.events(f"topic=life&last_event_id={old}") as stream:
            event = stream.event()
            equal(event.get("event"), "brolly.recovery")
            equal(json.loads(event["data"])["outcome"], "refused")
        # From the position that came with the refusal on, all is well.
        after.publish("life", '"newer"', *JSON)
        equal(data(poll(after, f"topic=life&position={found['position']}&wait=1"))[-1:], ["newer"])


@check("a position that is none is a 400 or refused, never silence")
def _(setting):
    for position in ("nonsense", "!!", "1", "-", "0-0-0", "9" * 500, "%00", "%F0%9F%98%80"):
        answer = setting.demo.curl(f"/-/poll?topic=odd&position={position}&wait=0")
        if answer.status == 200:
            outcomes = [one["outcome"] for one in json.loads(answer.body)["recovery"]]
            equal(outcomes, ["refused"], position)
        else:
            equal(answer.status, 400, position)


@check("a long-poll answers at once, later, or empty")
def _(setting):
    here = poll(setting.demo, "topic=wait&position=0&wait=0")
    equal((here["messages"], here["took"] < 0.5), ([], True))
    empty = poll(setting.demo, f"topic=wait&position={here['position']}&wait=1")
    equal(empty["messages"], [])
    holds(0.9 < empty["took"] < 2.5, f"it took {empty['took']} s")
    threading.Timer(0.5, lambda: setting.demo.publish("wait", '"now"', *JSON)).start()
    later = poll(setting.demo, f"topic=wait&position={empty['position']}&wait=10")
    equal(data(later), ["now"])
    holds(0.4 < later["took"] < 2.5, f"it took {later['took']} s")
    at_once = poll(setting.demo, f"topic=wait&position={empty['position']}&wait=10")
    equal((data(at_once), at_once["took"] < 0.5), (["now"], True))


@check("a long-poll without a position waits for what comes")
def _(setting):
    setting.demo.publish("fresh.poll", '"before"', *JSON)
    threading.Timer(0.5, lambda: setting.demo.publish("fresh.poll", '"after"', *JSON)).start()
    equal(data(poll(setting.demo, "topic=fresh.poll&wait=10")), ["after"])


@check("the default wait of a long-poll is 25 seconds", waits=True)
def _(setting):
    found = poll(setting.demo, "topic=default.wait")
    equal(found["messages"], [])
    holds(23 < found["took"] < 28, f"it took {found['took']} s")


@check("a silent event stream gets a comment every 15 seconds", waits=True)
def _(setting):
    with setting.demo.events("topic=heartbeat") as stream:
        stream.joined()
        started = time.monotonic()
        block = stream.block(within=20)
        equal(sorted(block), [""])
        holds(13 < time.monotonic() - started < 17, f"after {time.monotonic() - started:.1f} s")


@check("bad parameters are refused with their name")
def _(setting):
    for path, name in [
        ("/-/poll", "topic"),
        ("/-/sse", "topic"),
        ("/-/poll?topic=", "topic"),
        ("/-/poll?topic=a&wait=x", "wait"),
        ("/-/poll?topic=a&wait=-1", "wait"),
        ("/-/poll?" + "&".join(f"topic=t{n}" for n in range(65)), "topic"),
        ("/-/sse?" + "&".join(f"topic=t{n}" for n in range(65)), "topic"),
    ]:
        answer = setting.demo.curl(path, seconds=3)
        equal(answer.status, 400, path[:40])
        holds(name in answer.text, f"{path[:40]}: {answer.text!r} does not name {name!r}")
    holds(poll(setting.demo, "&".join(f"topic=t{n}" for n in range(64)) + "&wait=0"), "64 topics")


@check("only GET listens")
def _(setting):
    for path in ("/-/sse?topic=a", "/-/poll?topic=a"):
        answer = setting.demo.curl(path, "-X", "POST", seconds=3)
        equal(answer.status, 405, path)
        holds("GET" in answer.field("allow"), path)


@check("a plain GET of the WebSocket endpoint is told what to do")
def _(setting):
    answer = setting.demo.curl("/-/ws?topic=a")
    one_of(answer.status, (400, 426))
    if answer.status == 426:
        equal(answer.field("upgrade").lower(), "websocket")


@check("who has gone is not counted any more")
def _(setting):
    with setting.demo.events("topic=gone") as stream:
        stream.joined()
        eventually(lambda: receipt(setting.demo.publish("gone", "1", *JSON))["subscribers"] == 1)
    eventually(lambda: receipt(setting.demo.publish("gone", "1", *JSON))["subscribers"] == 0)
    waiting = threading.Thread(target=lambda: setting.demo.curl("/-/poll?topic=gone&wait=20", "-m", "1", expect_exit=28))
    waiting.start()
    time.sleep(0.3)
    waiting.join()
    eventually(lambda: receipt(setting.demo.publish("gone", "1", *JSON))["subscribers"] == 0)


@check("a reader of an event stream that is too slow is cut off, and resumes where it was")
def _(setting):
    with Brolly("demo") as server, server.wire() as slow:
        slow.send("GET /-/sse?topic=slow HTTP/1.1\r\nHost: a\r\n\r\n")
        slow.until(b"id:")
        line = json.dumps("x" * 60_000).encode()
        head = b"POST /-/publish/slow HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(line)
        sent = []
        with server.wire() as publisher:
            for _ in range(400):
                answer = publisher.send(head + line).answer()
                equal(answer.status, 200)
                sent.append(json.loads(answer.body)["position"])
        holds(server.rss() < 200 * 1024 * 1024, f"{server.rss() // 1024} KiB resident")
        received = slow.rest()
        holds(len(received) < len(line) * 400, "everything was kept for a reader that did not read")
        ids = [part.split(b"\n")[0].strip().decode() for part in received.split(b"\nid:")[1:] if b"\n\n" in part]
        holds(ids and ids[-1] in sent, "no complete event before the end")
        with server.events("topic=slow", "-H", f"Last-Event-ID: {ids[-1]}") as stream:
            event = stream.event()
            equal(event.get("event"), "brolly.recovery")
            outcome = json.loads(event["data"])["outcome"]
            one_of(outcome, ("resumed", "gap"))
            following = stream.event()["id"]
            if outcome == "resumed":
                equal(following, sent[sent.index(ids[-1]) + 1])


@check("an event stream in gzip, if the route says so and curl takes it")
def _(setting):
    port = free_port()
    path = setting.root.parent / f"gzip-{port}.toml"
    routes = [("sse", 'handler = "event-stream"\ncompress = true'), ("publish", 'handler = "publish"')]
    text = "".join(f'[[routes]]\nprefix = "/-/{prefix}"\n{rest}\n' for prefix, rest in routes)
    path.write_text(f'listen = ["127.0.0.1:{port}"]\n{text}')
    with Brolly("serve", "--config", path, port=port) as server:
        for arguments, coding in (((), None), (("--compressed",), "gzip")):
            with server.events("topic=gzip", *arguments) as stream:
                stream.joined()
                equal(stream.answer.field("content-encoding"), coding)
                for text in ("short", "long " * 10_000, "the end"):
                    receipt(server.publish("gzip", text, *TEXT))
                    equal(stream.message()["data"] == text, True, text[:10])
