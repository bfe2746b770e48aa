// Chromium's EventSource: what it reads of the table of streams, and what it reads of what brolly writes.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { Brolly, check, eventually, freePort } = require("../checks.js");
const { observe, observeAll } = require("../events.js");

/** Messages in the run that anything is published in. */
const MESSAGES = 300;
const PIECES = [
  "\r", "\n", "\r\n", "\n\n", "\n\r", "data: x", "id:", "id: 1", "event: y", "retry: 5", ":", " ", "  ", "\t", "\0", "\ufeff", "é", "☂", "🌂", "\u2028", "7", "{",
];

const HANDLERS = { sse: "event-stream", poll: "long-poll", publish: "publish" };

/** Numbers in [0, 1) that are the same again for the same seed. */
function numbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

check("EventSource reads the table of streams as we do", async ({ context }) => {
  const page = await context.newPage();
  await observeAll("chromium", async (url, types, comesBack) => {
    if (!url.startsWith(page.url())) await page.goto(new URL("/", url).href);
    return await page.evaluate(`(${observe})(EventSource, ...${JSON.stringify([url, types, comesBack])})`);
  });
  await page.close();
});

/** Publishes at random what EventSource then must have seen, from `/-/sse` of `url`; `coding` is the `Content-Encoding` of the stream. */
async function readsAll(context, url, coding) {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = numbers(seed);
  const text = () => Array.from({ length: Math.floor(random() * 8) }, () => PIECES[Math.floor(random() * PIECES.length)]).join("");
  const publish = async (type, body) => {
    const answer = await fetch(`${url}/-/publish/browser.events`, { method: "POST", headers: { "Content-Type": type }, body });
    assert.equal(answer.status, 200, `seed ${seed}: ${JSON.stringify(body)}`);
    return await answer.json();
  };
  const page = await context.newPage();
  await page.goto(`${url}/-/poll?topic=browser.other&wait=0`);
  const seenCoding = await page.evaluate(async () => {
    globalThis.seen = [];
    const source = new EventSource("/-/sse?topic=browser.events&topic=browser.other");
    for (const type of ["message", "y", "x"]) source.addEventListener(type, ({ data, lastEventId }) => seen.push([type, data, lastEventId]));
    const look = new AbortController();
    const { headers } = await fetch("/-/sse?topic=browser.other", { signal: look.signal });
    look.abort();
    return headers.get("content-encoding");
  });
  assert.equal(seenCoding, coding);
  await eventually(async () => (await publish("text/plain", "warm up")).subscribers === 1, "the stream does not join");
  const expected = [];
  const seen = async () => (await page.evaluate(() => seen)).filter(([, data]) => data !== "warm up");
  for (let n = 0; n < MESSAGES; n += 1) {
    const isJson = random() < 0.3;
    const body = isJson ? JSON.stringify({ [text()]: [text().repeat(100), n] }, null, random() < 0.5 ? "\r\n" : 0) : text();
    await publish(isJson ? "application/json" : "text/plain; charset=utf-8", body);
    // Event streams know one kind of line end (WHATWG HTML §9.2.6).
    expected.push(["message", body.replaceAll(/\r\n|\r/g, "\n")]);
    // Now and then each before the next: nothing that comes later pushes it out of a buffer.
    if (n % 20 === 0) await eventually(async () => (await seen()).length === n + 1, `seed ${seed}: number ${n} is missing`);
  }
  await eventually(async () => (await seen()).length >= MESSAGES, `seed ${seed}: messages are missing`);
  const all = await seen();
  assert.deepEqual(all.map(([type, data]) => [type, data]), expected, `seed ${seed}`);
  assert.equal(new Set(all.map(([, , id]) => id)).size, MESSAGES, "each has a position of its own");
  await page.close();
}

check("EventSource reads everything that is published, as it was published", async ({ context, demo }) => {
  await readsAll(context, demo.url, null);
});

check("EventSource reads everything in gzip, too", async ({ context, artefacts }) => {
  const port = await freePort();
  const file = path.join(artefacts, "gzip.toml");
  const routes = ["sse", "poll", "publish"].map((name) => `[[routes]]\nprefix = "/-/${name}"\nhandler = "${HANDLERS[name]}"\n`);
  fs.writeFileSync(file, `listen = ["127.0.0.1:${port}"]\nthreads = 2\n${routes.join("").replace('"event-stream"', "$&\ncompress = true")}`);
  const server = await Brolly.serve(port, file);
  await readsAll(context, server.url, "gzip");
  await server.kill();
});
