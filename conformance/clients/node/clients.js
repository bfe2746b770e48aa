// WebSockets of undici and of Node itself against brolly, and brolly's clients against servers of `ws`.

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { WebSocket: UndiciSocket } = require("undici");
const { WebSocketServer } = require("ws");
const { Brolly, check, eventually, freePort } = require("../checks.js");

const TEXTS = ["", "text", "☂ ".repeat(30_000), "x".repeat(70_000)];

/** A server whose echo is compressed, in windows of several sizes. */
async function squeezing(directory) {
  const port = await freePort();
  const file = path.join(directory, `squeezed-${port}.toml`);
  const route = (bits, takeover) =>
    `[[routes]]\nprefix = "/${bits}/${takeover}"\nhandler = "echo"\n` +
    `compression = { window_bits = ${bits}, context_takeover = ${takeover}, threshold = "0B" }\n`;
  const routes = [9, 12, 15].flatMap((bits) => [true, false].map((takeover) => route(bits, takeover)));
  fs.writeFileSync(file, `listen = ["127.0.0.1:${port}"]\n${routes.join("")}`);
  return await Brolly.serve(port, file);
}

check("undici: WebSocket with compression, in windows of several sizes", async ({ files }) => {
  const server = await squeezing(files);
  for (const path of ["/9/true", "/9/false", "/12/true", "/15/true", "/15/false"]) {
    const socket = new UndiciSocket(`${server.socketUrl}${path}`);
    socket.binaryType = "arraybuffer";
    const heard = [];
    socket.onmessage = ({ data }) => heard.push(data);
    await new Promise((resolve, reject) => ([socket.onopen, socket.onerror] = [resolve, reject]));
    assert.match(socket.extensions, /^permessage-deflate/);
    for (let round = 0; round < 3; round += 1) for (const text of TEXTS) socket.send(text);
    socket.send(new Uint8Array(300_000).fill(7));
    await eventually(() => heard.length === 13 || socket.readyState > 1, "echoes are missing");
    assert.deepEqual(heard.slice(0, 12), [...TEXTS, ...TEXTS, ...TEXTS]);
    assert.deepEqual(Buffer.from(heard[12]), Buffer.alloc(300_000, 7));
    const closed = new Promise((resolve) => (socket.onclose = ({ code, wasClean }) => resolve([code, wasClean])));
    socket.close(3000, "done");
    assert.deepEqual(await closed, [3000, true]);
  }
  await server.kill();
});

/** What a program prints until it ends. */
async function output(program, args, patience = 40_000) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const printed = ["", ""];
  [child.stdout, child.stderr].forEach((stream, at) => stream.on("data", (data) => (printed[at] += data)));
  const late = setTimeout(() => child.kill("SIGKILL"), patience);
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(late);
  return { code, out: printed[0], error: printed[1] };
}

check("node: its own WebSocket, as in browsers", async ({ demo, files }) => {
  const server = await squeezing(files);
  const script = `
    const assert = require("node:assert/strict");
    const texts = ["", "text", "☂ ".repeat(30_000)], heard = [];
    const socket = new WebSocket(process.argv[1]);
    socket.onopen = () => texts.forEach((text) => socket.send(text));
    socket.onmessage = ({ data }) => heard.push(data) === texts.length && socket.close(3001, "done");
    socket.onclose = ({ code, wasClean }) => {
      assert.deepEqual(heard, texts);
      console.log(code, wasClean, socket.extensions.split(";")[0]);
    };`;
  for (const url of [`${demo.socketUrl}/-/echo`, `${server.socketUrl}/9/true`, `${server.socketUrl}/15/false`]) {
    const arguments_ = ["--experimental-websocket", "--no-warnings", "-e", script, url];
    const { code, out, error } = await output(process.execPath, arguments_);
    assert.deepEqual([code, error, out.trim()], [0, "", "3001 true permessage-deflate"]);
  }
  await server.kill();
});

/** Plays cases as the Autobahn test suite's server does, to the echo client of the runtime under test. */
async function cases(perMessageDeflate) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: await freePort(), perMessageDeflate, maxPayload: 0 });
  const played = [];
  const binary = Buffer.alloc(500_000, "umbrella");
  const plays = {
    1: (socket) => {
      const sent = ["", "text", "☂".repeat(50_000)];
      const heard = [];
      socket.on("message", (data, isBinary) => {
        heard.push(isBinary ? data : data.toString());
        if (heard.length === 4) {
          played.push(["whole", assert.deepEqual(heard, [...sent, binary])]);
          socket.close(4000, "enough");
        }
      });
      for (const text of sent) socket.send(text);
      socket.send(binary);
    },
    2: (socket) => {
      socket.on("pong", (data) => {
        assert.equal(data.toString(), "in between");
        socket.send("the end", { fin: true });
      });
      socket.on("message", (data) => {
        played.push(["pieces", assert.equal(data.toString(), "piece piece the end")]);
        socket.close(1001);
      });
      socket.send("piece ", { fin: false });
      socket.send("piece ", { fin: false });
      socket.ping("in between");
    },
    3: (socket) => {
      socket.on("message", () => {
        played.push(["gone", undefined]);
        socket.terminate();
      });
      socket.send("x");
    },
  };
  server.on("connection", (socket, request) => {
    socket.on("error", () => {});
    socket.on("close", (code) => played.push([request.url.split(/[?&]/).slice(0, 2).join("?"), code]));
    server.extensions = socket.extensions;
    if (request.url === "/getCaseCount") socket.send("3", () => socket.close());
    else if (request.url.startsWith("/runCase")) plays[Number(new URL(request.url, "ws://x").searchParams.get("case"))](socket);
    else socket.close();
  });
  return { server, played };
}

check("our client of a server of `ws`, plain and compressed", async () => {
  for (const deflate of [false, true]) {
    const { server, played } = await cases(deflate);
    const url = `ws://127.0.0.1:${server.options.port}`;
    const { code, error } = await output(process.env.BROLLY_ECHO_CLIENT, [url, "brolly"]);
    assert.deepEqual([code, error], [0, ""]);
    await eventually(() => played.some(([what]) => what.startsWith("/updateReports")), "it does not end");
    assert.deepEqual(played.map(([what, code]) => [what, code]), [
      ["/getCaseCount", 1005],
      ["whole", undefined],
      ["/runCase?case=1", 4000],
      ["pieces", undefined],
      ["/runCase?case=2", 1001],
      ["gone", undefined],
      ["/runCase?case=3", 1006],
      ["/updateReports?agent=brolly", 1005],
    ]);
    assert.equal(server.extensions.startsWith("permessage-deflate"), deflate);
    server.close();
  }
});

check("tail ws: of a server of `ws`, in pieces, and back after it has closed", async () => {
  const server = new WebSocketServer({ host: "127.0.0.1", port: await freePort(), perMessageDeflate: true });
  const asked = [];
  server.on("connection", (socket, request) => {
    asked.push(request.url);
    const hello = JSON.stringify(["hello", {}, { position: "1-a.1", recovery: null }]);
    const message = JSON.stringify(["message", { topic: "news", position: `1-a.${asked.length + 1}` }, { umbrella: "☂".repeat(500) }]);
    socket.send(hello);
    socket.send(message.slice(0, 100), { fin: false });
    socket.ping("?");
    socket.once("pong", () => {
      socket.send(message.slice(100), { fin: true });
      socket.close(1012, "back soon");
    });
  });
  const tail = spawn(Brolly.binary, ["tail", `ws://127.0.0.1:${server.options.port}`, "news"], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  tail.stdout.on("data", (data) => (out += data));
  try {
    await eventually(() => out.split("\n").length > 2, "it does not come back", 15_000);
  } finally {
    tail.kill("SIGKILL");
    server.close();
  }
  assert.deepEqual(out.split("\n").slice(0, 2).map((line) => JSON.parse(line)), Array(2).fill({ umbrella: "☂".repeat(500) }));
  assert.deepEqual(asked.slice(0, 2), ["/-/ws?topic=news", "/-/ws?topic=news&position=1-a.2"]);
});
