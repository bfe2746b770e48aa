// Node's `ws` and `undici` against `brolly demo` and `brolly dev`.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { EventSource, WebSocket: UndiciSocket } = require("undici");
const { WebSocket, WebSocketServer } = require("ws");
const { Brolly, check, eventually, freePort, main, options, sleep } = require("../checks.js");
require("./clients.js");
const { poolChecks } = require("../pools/checks.js");
const { inNode } = require("../pools/world.js");
const { observe, observeAll } = require("../events.js");
const { Relay } = require("../relay.js");

/** A WebSocket of `ws` whose messages are waited for one by one. */
class Reader {
  constructor(url, ...rest) {
    this.socket = new WebSocket(url, ...rest);
    this.messages = [];
    this.socket.on("message", (data, binary) => this.messages.push(binary ? data : data.toString()));
    this.closed = new Promise((resolve) => this.socket.once("close", (code, reason) => resolve([code, reason.toString()])));
    this.opened = new Promise((resolve, reject) => this.socket.once("open", resolve).once("error", reject));
    this.opened.catch(() => {});
    this.socket.on("error", () => {});
  }

  async next() {
    await eventually(() => this.messages.length > 0 || this.socket.readyState > 1, "no message");
    if (this.messages.length === 0) throw new Error(`the socket was closed: ${await this.closed}`);
    return this.messages.shift();
  }

  async call(method, args, kwargs = {}) {
    const id = (this.lastId = (this.lastId ?? 0) + 1);
    this.socket.send(JSON.stringify([method, { request_id: id }, args, kwargs]));
    const [kind, meta, value] = JSON.parse(await this.next());
    assert.deepEqual([kind, meta.request_id], ["result", id]);
    return value;
  }
}

async function publish(server, topic, data) {
  const answer = await fetch(`${server.url}/-/publish/${topic}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(data),
  });
  assert.equal(answer.status, 200);
  return await answer.json();
}

check("ws: echo of texts, binaries and pings", async ({ demo }) => {
  const reader = new Reader(`${demo.socketUrl}/-/echo`);
  await reader.opened;
  for (const message of ["", "grün", "x".repeat(70_000), Buffer.from([0, 255]), Buffer.alloc(1_000_000, 7)]) {
    reader.socket.send(message);
    assert.deepEqual(await reader.next(), message);
  }
  reader.socket.send("in ", { fin: false });
  reader.socket.send("pieces", { fin: true });
  assert.equal(await reader.next(), "in pieces");
  const pong = new Promise((resolve) => reader.socket.once("pong", (data) => resolve(data.toString())));
  reader.socket.ping("are you there?");
  assert.equal(await pong, "are you there?");
  reader.socket.close(3456, "enough");
  assert.deepEqual((await reader.closed)[0], 3456);
});

check("ws: compression is agreed on where the server has it", async ({ demo }) => {
  const reader = new Reader(`${demo.socketUrl}/-/echo`, { perMessageDeflate: { threshold: 0 } });
  await reader.opened;
  assert.match(reader.socket.extensions, /^permessage-deflate/);
  for (const text of ["plain", "squeezed ".repeat(10_000)]) {
    reader.socket.send(text);
    assert.equal(await reader.next(), text);
  }
  reader.socket.terminate();
});

check("ws: subscribe, publish, unsubscribe, resume", async ({ demo }) => {
  const reader = new Reader(`${demo.socketUrl}/-/ws?topic=node.a`);
  assert.equal(JSON.parse(await reader.next())[0], "hello");
  const { position } = await publish(demo, "node.a", { n: 1 });
  assert.deepEqual(JSON.parse(await reader.next()), ["message", { topic: "node.a", position }, { n: 1 }]);
  await reader.call("brolly.subscribe", ["node.b"]);
  await publish(demo, "node.b", "b");
  assert.equal(JSON.parse(await reader.next())[2], "b");
  await reader.call("brolly.unsubscribe", ["node.a"]);
  assert.equal((await reader.call("brolly.publish", ["node.a", 2])).subscribers, 0);
  reader.socket.terminate();
  const again = new Reader(`${demo.socketUrl}/-/ws?topic=node.a&position=${position}`);
  const [, , hello] = JSON.parse(await again.next());
  assert.deepEqual(hello.recovery.map(({ topic, outcome }) => [topic, outcome]), [["node.a", "resumed"]]);
  assert.equal(JSON.parse(await again.next())[2], 2);
  again.socket.terminate();
});

check("ws: many messages, in order, to many sockets", async ({ demo }) => {
  const readers = Array.from({ length: 50 }, () => new Reader(`${demo.socketUrl}/-/ws?topic=node.order`));
  for (const reader of readers) await reader.next();
  await Promise.all(
    [0, 1, 2, 3].map(async (who) => {
      for (let n = 0; n < 200; n += 1) await publish(demo, "node.order", [who, n]);
    }),
  );
  for (const reader of readers) await eventually(() => reader.messages.length >= 800, "messages are missing");
  const [first] = readers;
  for (const reader of readers) assert.deepEqual(reader.messages, first.messages);
  for (const who of [0, 1, 2, 3]) {
    const own = first.messages.map((text) => JSON.parse(text)[2]).filter(([from]) => from === who);
    assert.deepEqual(own.map(([, n]) => n), Array.from({ length: 200 }, (_, n) => n));
  }
  for (const reader of readers) reader.socket.terminate();
});

check("ws: a frame that is too large is refused with 1009", async ({ demo }) => {
  const reader = new Reader(`${demo.socketUrl}/-/ws?topic=a`);
  await reader.next();
  reader.socket.send(Buffer.alloc(64 * 1024 * 1024));
  assert.equal((await reader.closed)[0], 1009);
});

check("ws: through the tunnel to a backend of `ws`, with compression and subprotocol", async ({ dev, backend }) => {
  const reader = new Reader(`${dev.socketUrl}/api/chat?x=1`, ["chat"], { perMessageDeflate: true });
  await reader.opened;
  assert.equal(reader.socket.protocol, "chat");
  assert.match(reader.socket.extensions, /permessage-deflate/);
  for (const message of ["text", "long ".repeat(100_000), Buffer.alloc(300_000, 1)]) {
    reader.socket.send(message);
    assert.deepEqual(await reader.next(), message);
  }
  assert.equal(backend.requests.at(-1).url, "/api/chat?x=1");
  reader.socket.close(4000, "bye");
  assert.deepEqual(await reader.closed, [4000, "bye"]);
});

check("ws: a backend that ends the tunnel", async ({ dev }) => {
  const polite = new Reader(`${dev.socketUrl}/api/`);
  await polite.opened;
  polite.socket.send("close");
  assert.deepEqual(await polite.closed, [4999, "as you wish"]);
  const rude = new Reader(`${dev.socketUrl}/api/`);
  await rude.opened;
  rude.socket.send("terminate");
  assert.equal((await rude.closed)[0], 1006);
});

/** A proxy to the backend that reads WebSockets. */
async function reading(directory, backend) {
  const port = await freePort();
  const file = path.join(directory, `messages-${port}.toml`);
  fs.writeFileSync(
    file,
    `listen = ["127.0.0.1:${port}"]\n[upstreams.app]\nurl = "http://127.0.0.1:${backend}"\n` +
      '[[routes]]\nhandler = "proxy"\nupstream = "app"\nwebsocket = "messages"\n',
  );
  return await Brolly.serve(port, file);
}

check("ws: messages to a backend of `ws`, read on the way", async ({ backend, files }) => {
  const server = await reading(files, backend.options.port);
  const reader = new Reader(`${server.socketUrl}/chat?x=1`, ["chat"], { perMessageDeflate: true });
  await reader.opened;
  assert.equal(reader.socket.protocol, "chat");
  for (const message of ["text", "long ".repeat(100_000), Buffer.alloc(300_000, 1)]) {
    reader.socket.send(message);
    assert.deepEqual(await reader.next(), message);
  }
  assert.equal(backend.requests.at(-1).url, "/chat?x=1");
  backend.closes.length = 0;
  reader.socket.close(4000, "bye");
  assert.equal((await reader.closed)[0], 4000);
  await eventually(() => backend.closes.some(([code, reason]) => code === 4000 && reason === "bye"), "it is not told why");
  const polite = new Reader(`${server.socketUrl}/`);
  await polite.opened;
  polite.socket.send("close");
  assert.deepEqual(await polite.closed, [4999, "as you wish"]);
  const rude = new Reader(`${server.socketUrl}/`);
  await rude.opened;
  rude.socket.send("terminate");
  assert.deepEqual(await rude.closed, [1014, "the connection is gone"]);
  await server.kill();
});

check("ws: an upgrade of what is no WebSocket is refused", async ({ demo, dev }) => {
  for (const url of [`${demo.socketUrl}/`, `${dev.socketUrl}/index.html`, `${demo.socketUrl}/-/poll?topic=a&wait=0`]) {
    await assert.rejects(new Reader(url).opened, /Unexpected server response/);
  }
});

check("undici: WebSocket", async ({ demo }) => {
  const socket = new UndiciSocket(`${demo.socketUrl}/-/echo`);
  const answer = new Promise((resolve, reject) => {
    socket.onopen = () => socket.send("from undici");
    socket.onmessage = ({ data }) => resolve(data);
    socket.onerror = reject;
  });
  assert.equal(await answer, "from undici");
  const closed = new Promise((resolve) => (socket.onclose = ({ code, wasClean }) => resolve([code, wasClean])));
  socket.close(3000);
  assert.deepEqual(await closed, [3000, true]);
});

check("undici: EventSource reconnects with Last-Event-ID and misses nothing", async ({ demo }) => {
  const relay = await new Relay(demo.port).open();
  const source = new EventSource(`http://127.0.0.1:${relay.port}/-/sse?topic=node.events`);
  const [seen, recovery] = [[], []];
  source.onmessage = ({ data }) => seen.push(JSON.parse(data));
  source.addEventListener("brolly.recovery", ({ data }) => recovery.push(JSON.parse(data)));
  await eventually(async () => (await publish(demo, "node.events", "warm up")).subscribers === 1, "the stream does not join");
  await publish(demo, "node.events", 0);
  await eventually(() => seen.includes(0), "nothing arrives");
  await relay.cut();
  for (let n = 1; n < 5; n += 1) await publish(demo, "node.events", n);
  await relay.open();
  await eventually(() => seen.includes(4), "it does not come back", 20_000);
  assert.deepEqual(seen.filter((data) => data !== "warm up"), [0, 1, 2, 3, 4]);
  assert.deepEqual(recovery.map(({ topic, outcome }) => [topic, outcome]), [["node.events", "resumed"]]);
  source.close();
  await relay.cut();
});

check("undici: EventSource reads the table of streams as we do", async () => {
  await observeAll("undici", async (...what) => await observe(EventSource, ...what));
});

check("fetch: keep-alive, streams, large answers", async ({ demo, dev }) => {
  for (let n = 0; n < 50; n += 1) assert.equal((await fetch(`${demo.url}/`)).status, 200);
  const big = await fetch(`${dev.url}/big.bin`);
  assert.equal((await big.arrayBuffer()).byteLength, 20_000_000);
  assert.equal((await fetch(`${dev.url}/-/publish/x`, { method: "POST", body: "y" })).status, 200);
});

check("ws: a server that is stopped says 1001", async () => {
  const server = await Brolly.start("demo");
  const readers = [new Reader(`${server.socketUrl}/-/echo`), new Reader(`${server.socketUrl}/-/ws?topic=a`)];
  for (const reader of readers) await reader.opened;
  await sleep(50);
  server.child.kill("SIGTERM");
  for (const reader of readers) assert.equal((await reader.closed)[0], 1001);
  assert.equal(await server.exited, 0);
});

let dial;
poolChecks("pools", async () => (dial ??= await inNode(UndiciSocket)));

async function setUp(artefacts) {
  const files = fs.mkdtempSync(path.join(os.tmpdir(), "brolly-node-"));
  fs.writeFileSync(path.join(files, "index.html"), "<title>node</title>");
  fs.writeFileSync(path.join(files, "big.bin"), Buffer.alloc(20_000_000, 1));
  const port = await freePort();
  const backend = new WebSocketServer({
    host: "127.0.0.1", port, perMessageDeflate: true, handleProtocols: (offered) => offered.values().next().value ?? false,
  });
  backend.requests = [];
  backend.closes = [];
  backend.on("connection", (socket, request) => {
    backend.requests.push(request);
    socket.on("error", () => {});
    socket.on("close", (code, reason) => backend.closes.push([code, reason.toString()]));
    socket.on("message", (data, binary) => {
      if (data.toString() === "close") socket.close(4999, "as you wish");
      else if (data.toString() === "terminate") socket.terminate();
      else socket.send(data, { binary });
    });
  });
  const demo = await Brolly.start("demo", "--threads", "3");
  const dev = await Brolly.start("dev", "--threads", "2", files, `/api/=http://127.0.0.1:${port}`);
  return { artefacts, demo, dev, backend, files, close: async () => fs.rmSync(files, { recursive: true }) };
}

const chosen = options();
setUp(chosen.artefacts).then((setting) => main("node", setting, chosen.only)).catch((error) => {
  console.error(error);
  Brolly.killAll();
  process.exit(1);
});
