// brolly.js in Node against a real server: each transport follows, publishes, resumes, and says what cannot be resumed.

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { Brolly, BrollyError } from "../../../core/host/script/brolly.js";
import { generator } from "./world.mjs";

const require = createRequire(import.meta.url);
const { Brolly: Server, eventually, sleep } = require("../checks.js");
const { Relay } = require("../relay.js");

Server.binary = process.env.BROLLY_BINARY;
Server.logs = process.env.BROLLY_LOGS ?? mkdtempSync(path.join(tmpdir(), "brolly-script-"));
const skip = Server.binary ? false : "BROLLY_BINARY names no server";
if (!skip) globalThis.WebSocket ??= require("ws");
after(() => Server.killAll());

/** Follows a topic, and writes down what comes. */
function follow(brolly, topic, options) {
  const subscription = brolly.subscribe(topic, options);
  const log = [];
  for (const type of ["open", "resumed", "gap", "refused", "error"]) subscription.addEventListener(type, () => log.push(type));
  subscription.addEventListener("message", ({ data }) => log.push(data));
  const has = async (...expected) => {
    await eventually(() => log.length >= expected.length, "").catch(() => {});
    assert.deepEqual(log, expected);
  };
  return { subscription, log, has };
}

for (const via of ["ws", "sse", "poll"]) {
  const options = { transports: [via], shared: false };

  test(`${via}: follow, publish, resume over a cut, restart`, { skip }, async () => {
    let server = await Server.start("demo", "--threads", "2");
    const relay = await new Relay(server.port).open();
    const brolly = new Brolly({ url: `http://127.0.0.1:${relay.port}/-/`, ...options });
    const other = new Brolly({ url: `${server.url}/-/`, ...options });
    try {
      await other.publish("news", "before");
      const [now, all] = [follow(brolly, "news"), follow(brolly, "news", { position: "0" })];
      await all.has("open", "before");
      await now.has("open");
      assert.equal(brolly.transport, via);

      const receipt = await brolly.publish("news", { n: 1, lines: "a\r\nb", "☂": null });
      assert.deepEqual(Object.keys(receipt).sort(), ["position", "subscribers", "topic"]);
      await now.has("open", { n: 1, lines: "a\r\nb", "☂": null });
      await eventually(() => now.subscription.position === receipt.position, "its position is not that of the receipt");
      const late = follow(brolly, "news", { position: "0" });
      await late.has("open", "before", now.log[1]);

      await relay.cut();
      await eventually(() => brolly.state === "waiting", "the cut is not noticed");
      for (const n of [2, 3]) await other.publish("news", n);
      await relay.open();
      await now.has("open", now.log[1], "open", "resumed", 2, 3);
      await other.publish("news", 4);
      await now.has("open", now.log[1], "open", "resumed", 2, 3, 4);
      late.subscription.close();

      await server.kill();
      await eventually(() => brolly.state === "waiting", "the end is not noticed");
      server = await server.replace();
      await fetch(`${server.url}/-/publish/news`, { method: "POST", body: "early" });
      await eventually(() => all.log.includes("early"), "what the new server has is missing", 20_000);
      assert.deepEqual(all.log.slice(all.log.indexOf(4) + 1), ["refused", "open", "early"]);
      await eventually(() => now.log.at(-1) === "open" || now.log.at(-1) === "early", "");
      assert.ok(now.log.includes("refused"));
      await brolly.publish("news", "last");
      await eventually(() => [now, all].every(({ log }) => log.at(-1) === "last"), "the last message is missing");
      assert.ok(!late.log.includes("last"));
    } finally {
      brolly.close();
      other.close();
      await relay.cut();
      await server.kill();
    }
  });

  test(`${via}: many topics, some refused, some left`, { skip }, async () => {
    const server = await Server.start("demo", "--threads", "2");
    const brolly = new Brolly({ url: `${server.url}/-/`, ...options });
    try {
      const bad = follow(brolly, "bad\u0000name");
      await bad.has("error");
      const topics = Array.from({ length: 20 }, (_, n) => follow(brolly, `topic ${n} ☂`, { position: n % 2 ? "0" : "" }));
      for (const topic of topics) await topic.has("open");
      for (let n = 0; n < 20; n += 1) await brolly.publish(`topic ${n} ☂`, n);
      for (const [n, topic] of topics.entries()) await topic.has("open", n);
      topics[3].subscription.close();
      await eventually(async () => (await brolly.publish("topic 3 ☂", "left")).subscribers === 0, "it is still followed");
      const again = follow(brolly, "topic 3 ☂", { position: topics[3].subscription.position });
      await eventually(() => again.log.at(-1) === "left", "what was said meanwhile is missing");
      assert.deepEqual(again.log.slice(0, 2), ["open", "resumed"]);
      const seen = [];
      const iterated = brolly.subscribe("iterated");
      const reading = (async () => {
        for await (const { data } of iterated) {
          seen.push(data);
          if (data === 3) break;
        }
      })();
      await eventually(async () => (await brolly.publish("iterated", 0)).subscribers === 1, "nobody follows");
      for (const n of [1, 2, 3, 4]) await brolly.publish("iterated", n);
      await reading;
      assert.deepEqual(seen.slice(-3), [1, 2, 3]);
    } finally {
      brolly.close();
      await server.kill();
    }
  });
}

for (const via of ["ws", "sse", "poll"]) {
  test(`${via}: topics come and go while the path is cut: each subscription gets its part whole, once and in order`, { skip }, async (t) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
    t.diagnostic(`SEED=${seed}`);
    const random = generator(seed);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const server = await Server.start("demo", "--threads", "4");
    const relay = await new Relay(server.port).open();
    const brolly = new Brolly({ url: `http://127.0.0.1:${relay.port}/-/`, transports: [via], shared: false });
    const other = new Brolly({ url: `${server.url}/-/`, shared: false });
    const counts = new Map(["x", "y", "z"].map((topic) => [topic, 0]));
    const [all, open] = [[], new Set()];
    const begin = (topic, from, position) => {
      const reader = { topic, from, ...follow(brolly, topic, { position }) };
      all.push(reader);
      open.add(reader);
    };
    const heard = ({ log }) => log.filter((one) => typeof one === "number");
    const check = (reader) => {
      const messages = heard(reader);
      const first = reader.from ?? messages[0];
      assert.deepEqual(messages, messages.map((_, n) => first + n), `a subscription to ${reader.topic} from ${reader.from}`);
      assert.ok(!reader.log.some((one) => ["gap", "refused", "error"].includes(one)), reader.log.join());
    };
    try {
      // How much arrives meanwhile goes by the machine: until it is enough to say something, within bounds.
      const isEnough = () => all.length > 10 && all.reduce((sum, reader) => sum + heard(reader).length, 0) > 100;
      for (let step = 0; step < 400 || (step < 2_000 && !isEnough()); step += 1) {
        const [topic, reader, chance] = [pick([...counts.keys()]), pick([...open]), random()];
        if (chance < 0.5) {
          counts.set(topic, counts.get(topic) + 1);
          await other.publish(topic, counts.get(topic));
        } else if (chance < 0.58) begin(topic, undefined, "");
        else if (chance < 0.65) begin(topic, 1, "0");
        else if (chance < 0.75 && reader?.subscription.position.includes(".") && heard(reader).length > 0) {
          begin(reader.topic, heard(reader).at(-1) + 1, reader.subscription.position);
        } else if (chance < 0.8 && open.size > 3) {
          reader.subscription.close();
          open.delete(reader);
        } else if (chance < 0.815) {
          await relay.cut();
          await sleep(random() * 50);
          await relay.open();
        } else await sleep(random() * 40);
      }
      const left = [...counts].map(([topic, count]) => [topic, count + 1]);
      await eventually(() => [...open].every(({ log }) => log.includes("open")), "it does not connect", 20_000);
      for (const [topic, count] of left) await other.publish(topic, count);
      const last = new Map(left);
      for (const reader of open) {
        // One that began after the last message has nothing to hear.
        const isDone = () => heard(reader).at(-1) === last.get(reader.topic) || reader.from === last.get(reader.topic) + 1;
        await eventually(isDone, "", 20_000).catch(() => assert.equal(heard(reader).at(-1), last.get(reader.topic), reader.log.join()));
      }
      await sleep(100);
      all.forEach(check);
      assert.ok(isEnough(), "too little happened");
    } finally {
      brolly.close();
      other.close();
      await relay.cut();
      await server.kill();
    }
  });
}

test("a call over the socket has its answer, and others say why they have none", { skip }, async () => {
  const server = await Server.start("demo");
  const brolly = new Brolly({ url: `${server.url}/-/`, shared: false });
  const poll = new Brolly({ url: `${server.url}/-/`, shared: false, transports: ["poll"] });
  const kind = async (promise) => await promise.then(() => "none", (error) => (assert.ok(error instanceof BrollyError), [error.kind, error.sent]));
  try {
    assert.deepEqual(await brolly.call("brolly.unsubscribe", ["x"]), {});
    assert.deepEqual(await kind(brolly.call("no.such.method")), ["validation_error", true]);
    assert.deepEqual(await kind(poll.call("brolly.unsubscribe", ["x"])), ["unsupported", false]);
    assert.deepEqual(await kind(poll.publish("bad\u0000name", 1)), ["refused", true]);
    await server.kill();
    assert.deepEqual(await kind(poll.publish("x", 1)), ["disconnected", true]);
    assert.deepEqual(await kind(brolly.call("brolly.unsubscribe", ["x"], {}, { timeout: 300 })), ["timeout", false]);
    brolly.close();
    assert.deepEqual(await kind(brolly.publish("x", 1)), ["closed", false]);
    await sleep(0);
  } finally {
    brolly.close();
    poll.close();
    await server.kill();
  }
});
