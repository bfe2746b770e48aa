"""Publishing: receipts, kinds of content, refusals."""

import json

from harness import check, contains, equal, holds, one_of
from server import POSITION

JSON = ("-H", "Content-Type: application/json")
TEXT = ("-H", "Content-Type: text/plain; charset=utf-8")
BYTES = ("-H", "Content-Type: application/octet-stream")
MIB = 1024 * 1024


def receipt(answer):
    equal(answer.status, 200, answer.text)
    equal(answer.field("content-type").split(";")[0], "application/json")
    found = json.loads(answer.body)
    equal(sorted(found), ["position", "subscribers", "topic"])
    holds(POSITION.fullmatch(found["position"]), f"position {found['position']!r}")
    return found


def published(setting, topic, data, *arguments):
    """What subscribers get for a publish."""
    receipt(setting.demo.publish(topic, data, *arguments))
    poll = json.loads(setting.demo.curl(f"/-/poll?topic={topic}&position=0&wait=0").body)
    return poll["messages"][-1]["data"]


@check("a receipt names topic, position and subscribers")
def _(setting):
    found = receipt(setting.demo.publish("receipt", '{"a":1}', *JSON))
    equal((found["topic"], found["subscribers"]), ("receipt", 0))
    again = receipt(setting.demo.publish("receipt", '{"a":1}', *JSON))
    holds(again["position"] != found["position"], "two messages at one position")
    with setting.demo.events("topic=receipt") as stream:
        stream.joined()
        equal(receipt(setting.demo.publish("receipt", "2", *JSON))["subscribers"], 1)


@check("JSON stays as it was written")
def _(setting):
    for text in ('{"b":1,"a":[1.50,null,true,"\\u00e9"]}', "[]", '"a string"', "0", "null", '{"a":{"a":{"a":[[[]]]}}}'):
        equal(published(setting, "as.written", text, *JSON), json.loads(text), text)
    setting.demo.publish("as.written", '{"b":1.50,"a":1e3}', *JSON)
    with setting.demo.events("topic=as.written&last_event_id=0") as stream:
        seen = []
        while '{"b":1.50,"a":1e3}' not in seen:
            seen.append(stream.event()["data"])


@check("content without a type is JSON if it can be, else text")
def _(setting):
    none = ("-H", "Content-Type:")
    equal(published(setting, "untyped", '{"a":1}', *none), {"a": 1})
    equal(published(setting, "untyped", "just words", *none), "just words")
    equal(published(setting, "untyped", "", *none), "")
    equal(published(setting, "untyped", "1", *TEXT), "1", "text that looks like JSON")
    equal(published(setting, "untyped", '{"a":1}', *BYTES), {"a": 1})
    # What curl says when it is not told anything.
    equal(published(setting, "untyped", "words"), "words")


@check("what is neither JSON nor text is refused")
def _(setting):
    for data, arguments, statuses in [
        (b"\xff\xfe", BYTES, (415,)),
        (b"\xff\xfe", TEXT, (400, 415)),
        (b"{", JSON, (400,)),
        (b"", JSON, (400,)),
        (b"{} x", JSON, (400,)),
        (b'{"a":"\xff"}', JSON, (400,)),
        (b"[" * 100_000, JSON, (400,)),
    ]:
        answer = setting.demo.publish("refused", data, *arguments)
        one_of(answer.status, statuses, repr(data[:10]))
        holds(0 < len(answer.body) < 500, f"a body of {len(answer.body)} bytes")
    poll = json.loads(setting.demo.curl("/-/poll?topic=refused&position=0&wait=0").body)
    equal(poll["messages"], [])


@check("a message of 1 MiB is taken, a larger one is not")
def _(setting):
    most = setting.demo.publish("large", b"x" * MIB, *TEXT)
    equal(most.status, 200, most.text[:100])
    equal(setting.demo.publish("large", b"x" * (MIB + 1), *TEXT).status, 413)
    chunked = ("-H", "Transfer-Encoding: chunked")
    equal(setting.demo.publish("large", b"x" * MIB, *TEXT, *chunked).status, 200)
    equal(setting.demo.publish("large", b"x" * (MIB + 1), *TEXT, *chunked).status, 413)
    equal(setting.demo.publish("large", b"after", *TEXT).status, 200)


@check("only POST publishes")
def _(setting):
    for method in ("GET", "PUT", "DELETE"):
        answer = setting.demo.curl("/-/publish/a", "-X", method)
        equal((answer.status, answer.field("allow")), (405, "POST, OPTIONS"), method)


@check("topic names are decoded, and must be names")
def _(setting):
    for path, topic in [("room.a-b_c", "room.a-b_c"), ("r%C3%BCm", "rüm"), ("a%20b", "a b")]:
        answer = setting.demo.publish(path, "1", *JSON)
        if answer.status == 200:
            equal(receipt(answer)["topic"], topic)
        else:
            equal(answer.status, 400, path)
    for path in ("", "a%00b", "%ff", "a%0ab", "x" * 2000):
        answer = setting.demo.publish(path, "1", *JSON)
        one_of(answer.status, (400, 404, 414), path[:20])


@check("100-continue before content, as curl asks for it")
def _(setting):
    answer = setting.demo.curl("/-/publish/expect", "-v", "-H", "Expect: 100-continue", "--data-binary", "@" + str(setting.root / "hello.txt"))
    equal(receipt(answer)["topic"], "expect")
    with setting.demo.wire() as wire:
        head = "POST /-/publish/expect HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
        wire.send(head + "Expect: 100-continue\r\n\r\n")
        equal(wire.answer().status, 100)
        equal(receipt(wire.send("abc").answer())["topic"], "expect")


@check("unknown endpoints under /-/ are not files")
def _(setting):
    for server in (setting.dev, setting.demo):
        for path in ("/-/", "/-/nothing", "/-", "/-/ssee"):
            equal(server.curl(path).status, 404, path)


@check("every endpoint is served by dev, too")
def _(setting):
    receipt(setting.dev.publish("in.dev", "1", *JSON))
    poll = json.loads(setting.dev.curl("/-/poll?topic=in.dev&position=0&wait=0").body)
    equal(poll["messages"], [{"topic": "in.dev", "position": poll["position"], "data": 1}])
    with setting.dev.events("topic=in.dev&last_event_id=0") as stream:
        contains(stream.event()["data"], "1")
