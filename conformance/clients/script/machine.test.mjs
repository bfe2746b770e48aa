// The machine of brolly.js: what it does, row by row, and that nothing is lost or comes twice in random worlds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../../core/host/script/brolly-machine.js";
import { combine, hashOf, parse } from "../../../core/host/script/brolly-position.js";
import { generator, World } from "./world.mjs";

const WORLDS = Number(process.env.WORLDS ?? 400);
const TOPICS = ["a", "b", "news"];

/** A machine whose actions are taken one after the other; `random` is 0.5. */
function machine(options) {
  const one = new Machine({ random: () => 0.5, ...options });
  return Object.assign(one, { types: () => one.take().map(({ type, via }) => (via ? `${type} ${via}` : type)) });
}

test("positions of several topics are put together and taken apart", () => {
  assert.equal(hashOf("a"), "e40c292c");
  assert.equal(hashOf("costarring"), hashOf("liquid"));
  assert.deepEqual(parse("e9-e40c292c.0-bf9cf968.ff-0-e70c2de5.10", "bf9cf968"), { epoch: "e9", offset: 255n });
  assert.deepEqual(parse("e9-e40c292c.0-0-e70c2de5.10", "e70c2de5"), { epoch: "0", offset: 16n });
  assert.equal(parse("e9-e40c292c.0", "1"), null);
  assert.equal(parse("0", "1"), null);
  for (const text of ["nonsense", "1-", "1-2.", "-1", "E-1.1"]) assert.equal(parse(text, "1"), undefined, text);
  assert.equal(combine(["1-a.1", "1-b.2", "2-c.3", "1-d.4"]), "1-a.1-b.2-2-c.3-1-d.4");
});

test("each transport is tried at once, the last is waited for", () => {
  const one = machine();
  one.subscribe(0, "k", "a", "");
  assert.deepEqual(one.types(), ["open ws", "state"]);
  one.lost(10, 1);
  one.lost(20, 2);
  assert.deepEqual(one.types(), ["close", "open sse", "state", "close", "open poll", "state"]);
  one.lost(30, 3);
  assert.deepEqual(one.status, { state: "waiting", transport: null, retry: 280, reason: "" });
  one.tick(280);
  assert.deepEqual(one.types(), ["close", "state", "open ws", "state"]);
});

test("a transport that is not ready in time, or is cut at once, is left", () => {
  const one = machine();
  one.subscribe(0, "k", "a", "");
  one.tick(one.timeout);
  assert.deepEqual(one.types(), ["open ws", "state", "close", "open sse", "state"]);
  one.ready(8_100, 2);
  one.lost(8_200, 2);
  assert.deepEqual(one.types(), ["state", "follow", "close", "open poll", "state"]);
});

test("a transport that was good is tried again before another", () => {
  const one = machine();
  one.subscribe(0, "k", "a", "");
  one.ready(1, 1);
  one.tick(3_001);
  one.lost(10_000, 1);
  assert.equal(one.status.state, "waiting");
  one.tick(one.timeout);
  one.take();
  one.lost(11_000, 2);
  assert.deepEqual(one.types(), ["close", "open sse", "state"]);
});

test("the back-off doubles, is bounded, and starts over after a good connection", () => {
  const one = machine({ transports: ["poll"] });
  one.subscribe(0, "k", "a", "");
  const delays = [];
  let now = 0;
  for (let id = 1; id <= 10; id += 1) {
    one.lost(now, id);
    delays.push(one.timeout - now);
    one.tick((now = one.timeout));
  }
  assert.deepEqual(delays, [250, 750, 1_500, 3_000, 6_000, 12_000, 22_500, 22_500, 22_500, 22_500]);
  one.ready(now, 11);
  one.tick(now + 3_000);
  one.lost(now + 4_000, 11);
  assert.equal(one.timeout - now - 4_000, 250);
});

test("a server that says how long is believed, and nothing hurries", () => {
  const one = machine({ transports: ["sse"] });
  one.subscribe(0, "k", "a", "");
  one.lost(0, 1, "busy", 20_000);
  assert.deepEqual(one.status, { state: "waiting", transport: null, retry: 20_250, reason: "busy" });
  one.wake(10);
  one.online(10);
  assert.equal(one.status.retry, 20_250);
  one.reconnect(20);
  assert.equal(one.status.state, "connecting");
});

test("offline shows, online connects, and a connection that is open is only checked", () => {
  const one = machine({ transports: ["ws"] });
  one.subscribe(0, "k", "a", "");
  one.ready(0, 1);
  one.take();
  one.offline(10_000);
  assert.deepEqual(one.types(), ["check"]);
  one.alive(10_100, 1);
  assert.equal(one.status.state, "open");
  one.lost(20_000, 1);
  assert.equal(one.status.state, "offline");
  assert.equal(one.status.retry, 35_000);
  one.online(21_000);
  assert.equal(one.status.state, "connecting");
});

test("silence is asked about, and no answer is the end", () => {
  const one = machine();
  one.subscribe(0, "k", "a", "");
  one.ready(0, 1);
  one.tick(3_000);
  one.take();
  one.tick(45_000);
  assert.deepEqual(one.types(), ["check"]);
  one.tick(53_000);
  assert.equal(one.status.reason, "silent");
});

test("a better transport is tried beside the one in use, and taken when it is ready", () => {
  const one = machine();
  one.subscribe(0, "k", "a", "");
  one.lost(0, 1);
  one.ready(0, 2);
  one.joined(0, 2, "a", "1-e40c292c.0", null);
  one.tick(3_000);
  one.take();
  one.tick(5_000);
  assert.deepEqual(one.types(), ["open ws"]);
  one.lost(5_002, 3);
  assert.equal(one.status.transport, "sse");
  one.tick(15_001);
  assert.deepEqual(one.types(), ["close"]);
  one.tick(15_002);
  one.take();
  one.ready(15_003, 4);
  assert.deepEqual(one.take(), [
    { wire: 2, type: "close" },
    { type: "state" },
    { wire: 4, type: "follow", topic: "a", since: "1-e40c292c.0" },
  ]);
  assert.equal(one.status.transport, "ws");
});

test("subscriptions from different positions share a topic, and each gets its own part once", () => {
  const one = machine();
  const [at, heard] = [(offset) => `1-e40c292c.${offset}`, () => one.take().filter(({ key }) => key).map(({ key, type, data }) => [key, type, data])];
  one.subscribe(0, "x", "a", "");
  one.ready(0, 1);
  one.joined(0, 1, "a", at(5), null);
  one.message(0, 1, "a", at(6), "six");
  assert.deepEqual(heard(), [["x", "open", undefined], ["x", "message", "six"]]);
  one.subscribe(0, "y", "a", at(4));
  one.subscribe(0, "z", "a", "");
  one.message(0, 1, "a", at(7), "seven");
  assert.deepEqual(heard(), [["z", "open", undefined], ["x", "message", "seven"], ["z", "message", "seven"]]);
  one.joined(0, 1, "a", at(4), { outcome: "resumed" });
  for (const [offset, data] of [[5, "five"], [6, "six"], [7, "seven"], [8, "eight"]]) one.message(0, 1, "a", at(offset), data);
  assert.deepEqual(heard(), [
    ["y", "open", undefined], ["y", "resumed", undefined],
    ["y", "message", "five"], ["y", "message", "six"], ["y", "message", "seven"],
    ["x", "message", "eight"], ["y", "message", "eight"], ["z", "message", "eight"],
  ]);
});

test("who wanted all that there is gets all of the server's next life", () => {
  const one = machine();
  one.subscribe(0, "old", "a", "0");
  one.subscribe(0, "new", "a", "1-e40c292c.3");
  one.ready(0, 1);
  assert.deepEqual(one.take().at(-1), { wire: 1, type: "follow", topic: "a", since: "1-e40c292c.0" });
  one.joined(0, 1, "a", "2-e40c292c.9", { outcome: "refused" });
  assert.deepEqual(one.take(), [
    { key: "new", type: "refused" },
    { key: "new", type: "open", position: "2-e40c292c.9" },
    { wire: 1, type: "follow", topic: "a", since: "2-e40c292c.0" },
  ]);
  one.joined(0, 1, "a", "2-e40c292c.0", { outcome: "resumed" });
  assert.deepEqual(one.take(), [{ key: "old", type: "open", position: "2-e40c292c.0" }]);
});

test("a position beyond the server's is refused although it is of the same life", () => {
  const one = machine();
  one.subscribe(0, "k", "a", "1-e40c292c.99");
  one.ready(0, 1);
  one.joined(0, 1, "a", "1-e40c292c.7", { outcome: "refused" });
  one.message(0, 1, "a", "1-e40c292c.8", "eight");
  assert.deepEqual(one.take().filter(({ key }) => key).map(({ type }) => type), ["refused", "open", "message"]);
});

test("what is no position at all is refused, and the subscription starts now", () => {
  const one = machine();
  one.subscribe(0, "k", "a", "yesterday");
  one.ready(0, 1);
  one.joined(0, 1, "a", "1-e40c292c.7", null);
  assert.deepEqual(one.take().filter(({ key }) => key).map(({ type }) => type), ["refused", "open"]);
});

test("a topic that the server does not let us follow ends its subscriptions", () => {
  const one = machine();
  one.subscribe(0, "k", "a", "");
  one.ready(0, 1);
  one.failed(0, 1, "a", "no");
  assert.deepEqual(one.take().at(-1), { key: "k", type: "error", reason: "no" });
  one.tick(10_000);
  assert.equal(one.status.state, "closed");
});

test("a call has one outcome: an answer, too late, or a connection that was lost", () => {
  const one = machine({ transports: ["ws"] });
  for (const key of ["answered", "late", "lost"]) one.call(0, key, "m", [key], {}, key === "late" ? 5_000 : 90_000);
  one.ready(10, 1);
  one.answered(20, 1, 1, { value: 1 });
  one.answered(20, 1, 1, { value: 2 });
  one.tick(5_000);
  one.lost(6_000, 1);
  one.call(6_000, "unsent", "m", [], {}, 6_100);
  one.tick(6_100);
  const answers = one.take().filter(({ type }) => type === "answer");
  assert.deepEqual(answers.map(({ key, kind, sent }) => [key, kind, sent]), [
    ["answered", undefined, true], ["late", "timeout", true], ["lost", "disconnected", true], ["unsent", "timeout", false],
  ]);
  one.tick(20_000);
  assert.equal(one.status.state, "closed");
  assert.equal(one.timeout, Infinity);
});

/** What may happen in a world; each `chance` is relative. */
const DEEDS = [
  { chance: 40, do: (world, pick) => world.server.publish(pick(TOPICS)) },
  { chance: 8, do: (world, pick) => world.subscribe(pick(TOPICS), pick(["", "0"])) },
  {
    chance: 8,
    do: (world, pick) => {
      // As a page that comes back: from where somebody was.
      const reader = pick([...world.readers.values()]);
      if (reader) world.subscribe(reader.topic, reader.at ? reader.position : "");
    },
  },
  { chance: 8, do: (world, pick) => world.readers.size > 3 && world.unsubscribe(pick([...world.readers.keys()])) },
  { chance: 4, do: (world, pick) => pick([...world.server.wires])?.cut() },
  { chance: 2, do: (world, pick) => pick([...world.server.wires])?.die() },
  { chance: 1, do: (world, pick) => world.restart(pick([0, 10, 3_000])) },
  { chance: 3, do: (world, pick) => world.server.forget(pick(TOPICS)) },
  { chance: 2, do: (world, pick) => world.barred.set(pick(["ws", "sse", "poll"]), pick(["refused", "silent", "cut"])) },
  { chance: 3, do: (world) => world.barred.clear() },
  { chance: 2, do: (world, pick) => world.machine[pick(["wake", "online", "offline", "reconnect"])](world.now) },
  { chance: 6, do: (world, pick) => world.call(pick([50, 5_000])) },
  { chance: 30, do: (world, pick) => world.run(pick([1, 20, 100, 500, 4_000])) },
  { chance: 1, do: (world) => world.run(100_000) },
];

test(`${WORLDS} random worlds: nothing is missing, nothing comes twice, every call has an outcome`, () => {
  let [received, opened] = [0, 0];
  for (let seed = 1; seed <= WORLDS; seed += 1) {
    const random = generator(seed);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const bag = DEEDS.flatMap((deed) => Array(deed.chance).fill(deed));
    const world = new World(random);
    const calls = [];
    try {
      for (let step = 0; step < 300; step += 1) {
        const key = pick(bag).do(world, pick);
        if (typeof key === "string" && key.startsWith("c")) calls.push(key);
        world.perform();
      }
      world.barred.clear();
      world.machine.online(world.now);
      world.run(400_000);
      for (const topic of TOPICS) world.server.publish(topic);
      world.run(1_000);
      for (const [key, reader] of world.readers) {
        assert.ok(reader.isDone, `${key} is at ${reader.position} of ${reader.topic}, and more was published`);
        received += reader.received;
        opened += 1;
      }
      for (const key of calls) {
        const [answer, times] = [world.answers.get(key), world.server.executed.get(key) ?? 0];
        assert.ok(answer, `${key} has no outcome`);
        assert.ok(times <= (answer.sent ? 1 : 0), `${key} was carried out ${times} times`);
        if (answer.kind === undefined) assert.equal(times, 1);
      }
    } catch (error) {
      error.message = `world ${seed}: ${error.message}`;
      throw error;
    }
  }
  assert.ok(received > WORLDS && opened > WORLDS, "the worlds are empty");
});
