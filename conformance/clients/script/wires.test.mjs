// The wires of brolly.js against a server that is not there: event streams cut anywhere, answers that refuse, polls that come early.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { refusal, WIRES } from "../../../core/host/script/brolly-wires.js";

const BASE = "http://a/-/";

/** A wire whose requests are answered by `answer(url, options)`; what it tells is in `told`, timers are run by hand. */
function wire(via, answer) {
  const [told, timers, requests] = [[], new Set(), []];
  const env = {
    performance: { now: () => 0 },
    setTimeout: (what, delay) => {
      const timer = { what, delay };
      timers.add(timer);
      return timer;
    },
    clearTimeout: (timer) => timers.delete(timer),
    fetch: async (url, options) => {
      requests.push({ path: url.pathname + url.search, options });
      const given = await answer(url, options);
      return given instanceof Response ? given : new Response(JSON.stringify(given), { headers: { "content-type": "application/json" } });
    },
  };
  return { one: new WIRES[via](BASE, (...what) => told.push(what), env, "a"), told, timers, requests };
}

function stream(...pieces) {
  const bytes = pieces.map((piece) => (typeof piece === "string" ? new TextEncoder().encode(piece) : piece));
  const body = new ReadableStream({
    start: (controller) => {
      for (const piece of bytes) controller.enqueue(piece);
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

async function until(condition) {
  for (let turns = 0; !condition(); turns += 1) {
    assert.ok(turns < 1_000, "it does not come");
    await turn();
  }
}

const NEWS = 'data: ["message",{"topic":"☂","position":"1-a.2"},{"x":';
const EVENTS = [
  ":\n\nevent: brolly.stream\ndata: {\"address\":\"/-/sse?stream=1\"}\n\n",
  'event: brolly.subscribed\ndata: {"topic":"☂","position":"1-a.1","recovery":{"outcome":"resumed"}}\n\n',
  `id: 1-a.2\n${NEWS}\ndata: "\\n"}]\n\n`,
  "id: 1-a.2\n\n: comment\nunknown\nretry: 1500\n\n",
].join("");
const TOLD = [
  ["ready"],
  ["joined", "☂", "1-a.1", { outcome: "resumed" }],
  ["message", "☂", "1-a.2", { x: "\n" }],
  ["lost", "the stream has ended", 1_500],
];

test("an event stream says the same wherever it is cut and however its lines end", async () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const bytes = new TextEncoder().encode(EVENTS.replaceAll("\n", end));
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const { told } = wire("sse", () => stream(bytes.subarray(0, cut), bytes.subarray(cut)));
      await until(() => told.at(-1)?.[0] === "lost");
      assert.deepEqual(told.filter(([type]) => type !== "alive"), TOLD, `cut at ${cut}, lines end with ${JSON.stringify(end)}`);
    }
  }
});

test("the server says why it ends a stream", async () => {
  const end = 'event: brolly.end\nretry: 1000\ndata: {"reason":"the authorisation has ended"}\n\n';
  const { told } = wire("sse", () => stream(EVENTS, end));
  await until(() => told.at(-1)?.[0] === "lost");
  assert.deepEqual(told.at(-1), ["lost", "the authorisation has ended", 1_000]);
});

test("changes of a stream go one after the other, and gather meanwhile", async () => {
  const gates = [];
  const { one, told, requests } = wire("sse", (url, { method }) => {
    if (method === "POST") return new Promise((resolve) => gates.push(() => resolve({ topics: [] })));
    return new Response(new ReadableStream({ start: (c) => c.enqueue(new TextEncoder().encode(EVENTS.split("\n\n").slice(0, 2).join("\n\n") + "\n\n")) }), {
      headers: { "content-type": "text/event-stream" },
    });
  });
  await until(() => told.some(([type]) => type === "ready"));
  one.follow("a", null);
  one.follow("b", "0");
  one.unfollow("a");
  one.follow("a", "1-a.1");
  one.unfollow("c");
  await until(() => gates.length === 1);
  gates.shift()();
  await until(() => gates.length === 1);
  gates.shift()();
  await turn();
  const posts = requests.filter(({ options }) => options.method === "POST");
  assert.ok(posts.every(({ path }) => path === "/-/sse?stream=1"));
  assert.deepEqual(posts.map(({ options }) => JSON.parse(options.body)), [
    { subscribe: { a: null }, unsubscribe: [] },
    { subscribe: { b: "0", a: "1-a.1" }, unsubscribe: ["c"] },
  ]);
  one.close();
});

test("a stream that the server does not know is lost; a topic that it refuses is only that topic", async () => {
  for (const [status, expected] of [
    [400, ["failed", "a", "no such topic"]],
    [404, ["lost", "no such topic", 0]],
    [503, ["lost", "no such topic", 7_000]],
  ]) {
    const refused = () => new Response("no such topic\nreally\n", { status, headers: status === 503 ? { "retry-after": "7" } : {} });
    const { one, told } = wire("sse", (url, { method }) => {
      if (method === "POST") return refused();
      return new Response(new ReadableStream({ start: (c) => c.enqueue(new TextEncoder().encode('event: brolly.stream\ndata: {"address":"?x"}\n\n')) }), {
        headers: { "content-type": "text/event-stream" },
      });
    });
    await until(() => told.some(([type]) => type === "ready"));
    one.follow("a", null);
    await until(() => told.some(([type]) => type === expected[0]));
    assert.deepEqual(told.find(([type]) => type === expected[0]), expected);
    one.close();
  }
});

test("an answer that is no event stream is of no use", async () => {
  for (const answer of [() => ({}), () => new Response("", { status: 204 }), () => Promise.reject(new Error("no network"))]) {
    const { told } = wire("sse", answer);
    await until(() => told.length > 0);
    assert.equal(told[0][0], "lost");
  }
});

test("Retry-After is seconds or a date", async () => {
  const wait = async (value) => (await refusal(new Response("", { status: 503, headers: value === null ? {} : { "retry-after": value } }))).wait;
  assert.deepEqual([await wait(null), await wait("0"), await wait("120"), await wait("soon"), await wait("-1")], [0, 0, 120_000, 0, 0]);
  const date = await wait(new Date(Date.now() + 60_000).toUTCString());
  assert.ok(date > 55_000 && date <= 60_000, `${date}`);
  assert.equal(await wait(new Date(0).toUTCString()), 0);
});

test("a long-poll asks for each topic once, then for all from where they are, and does not spin", async () => {
  let round = 0;
  const { one, told, timers, requests } = wire("poll", ({ searchParams }) => {
    const topics = searchParams.getAll("topic");
    round += 1;
    if (searchParams.get("wait") === "0") return { position: `1-${topics[0] === "a" ? "e40c292c" : "e70c2de5"}.5`, messages: [], recovery: null };
    const message = { topic: "a", position: "1-e40c292c.6", data: "six" };
    return { position: "1-e40c292c.6-e70c2de5.5", messages: round < 5 ? [message] : [], recovery: [{ outcome: "resumed" }] };
  });
  await until(() => told.length > 0);
  one.follow("a", null);
  one.follow("b", "0");
  await until(() => [...timers].some(({ delay }) => delay === 1_000));
  assert.deepEqual(told.filter(([type]) => type !== "alive"), [
    ["ready"],
    ["joined", "a", "1-e40c292c.5", undefined],
    ["joined", "b", "1-e70c2de5.5", undefined],
    ["message", "a", "1-e40c292c.6", "six"],
  ]);
  const asked = requests.map(({ path }) => decodeURIComponent(path.split("?")[1]));
  assert.deepEqual(asked, [
    "topic=a&position=&wait=0",
    "topic=a&position=&wait=0",
    "topic=b&position=0&wait=0",
    "topic=a&topic=b&position=1-e40c292c.5-e70c2de5.5&wait=25",
    "topic=a&topic=b&position=1-e40c292c.6-e70c2de5.5&wait=25",
  ]);
  one.close();
});

test("a long-poll whose position is forgotten leaves it to the machine", async () => {
  const { one, told } = wire("poll", ({ searchParams }) => {
    const recovery = searchParams.get("wait") === "0" ? null : [{ topic: "a", outcome: "refused" }];
    return { position: "1-e40c292c.5", messages: [], recovery };
  });
  await until(() => told.length > 0);
  one.follow("a", null);
  await until(() => told.some(([type]) => type === "lost"));
  assert.equal(told.at(-1)[1], "the server has forgotten our position");
});
