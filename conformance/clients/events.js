// The table of event streams (conformance/cases/event-streams.json) for whatever is an EventSource: a server that sends them, and
// what it must make of them.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");
const { freePort } = require("./checks.js");

const CASES = JSON.parse(fs.readFileSync(path.join(__dirname, "../cases/event-streams.json"), "utf8"));

/** Sends case N at `/N`, in pieces; and 204, which ends it, to who comes back although the case says what is shown then. */
class StreamServer {
  /** Case number → the `Last-Event-ID` of the second request, or "" without one. */
  shown = new Map();
  #asked = new Set();

  async open() {
    const port = await freePort();
    this.url = `http://127.0.0.1:${port}`;
    this.server = http.createServer((request, response) => this.#answer(request, response).catch(() => response.destroy()));
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    return this;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #answer(request, response) {
    const number = Number(request.url.slice(1));
    const one = request.url === "/" ? null : CASES[number];
    if (!one) return response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>streams</title>");
    if (one.reconnect !== undefined && this.#asked.has(number)) {
      this.shown.set(number, Buffer.from(request.headers["last-event-id"] ?? "", "latin1").toString());
      return response.writeHead(204).end();
    }
    this.#asked.add(number);
    response.writeHead(200, { "Content-Type": one.type ?? "text/event-stream" });
    const bytes = one.hex ? Buffer.from(one.hex.replaceAll(" ", ""), "hex") : Buffer.from(one.stream);
    for (let at = 0; at < bytes.length; at += Math.ceil(bytes.length / 5)) {
      response.write(bytes.subarray(at, at + Math.ceil(bytes.length / 5)));
      await sleep(2);
    }
    response.end();
  }
}

/** What an `EventSource` makes of an address, up to the end of its stream; to its second end if it `comesBack`. Also runs in pages. */
function observe(EventSource, url, types, comesBack) {
  return new Promise((resolve) => {
    const source = new EventSource(url);
    const [events, CLOSED] = [[], 2];
    let isOpened = false;
    source.addEventListener("open", () => (isOpened = true));
    for (const name of types) source.addEventListener(name, ({ type, data, lastEventId }) => events.push([type, data, lastEventId]));
    source.addEventListener("error", () => {
      const isClosed = source.readyState === CLOSED;
      if (comesBack && !isClosed) return;
      source.close();
      resolve({ events, isOpened, isClosed });
    });
  });
}

/** Has every case observed by `run(url, types, comesBack)`. Where `client` is known to do something else, the case says what and why. */
async function observeAll(client, run) {
  const server = await new StreamServer().open();
  try {
    for (const [number, one] of CASES.entries()) {
      const { name, refused = false } = one;
      const { events, reconnect, shown = reconnect, comesBack = reconnect !== undefined, ...differs } = { ...one, ...one[client] };
      const types = new Set(["message", ...events.map(([type]) => type)]);
      const seen = await run(`${server.url}/${number}`, [...types], comesBack);
      const { isOpened = !refused, isClosed = refused || comesBack } = differs;
      assert.deepEqual(seen, { events, isOpened, isClosed }, name);
      if (comesBack) assert.equal(server.shown.get(number), shown, name);
    }
  } finally {
    server.close();
  }
}

module.exports = { observe, observeAll };
