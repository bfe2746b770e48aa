// A server with a session pool, its backend in this process, and users in Node or in pages.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { Brolly, eventually, freePort } = require("../checks.js");
const { Relay } = require("../relay.js");

const CHAT = path.resolve(__dirname, "../../../core/host/demo/chat");
const PROBE = path.join(__dirname, "probe.mjs");

/** Says what the check wants, and remembers what it was asked. */
class Backend {
  #server;
  #asked = [];
  #answers = new Map();
  /** For the authorisation of users: like `says`. */
  rules = new Map();

  async open() {
    this.#server = http.createServer(async (request, response) => {
      const pieces = [];
      for await (const piece of request) pieces.push(piece);
      const body = JSON.parse(Buffer.concat(pieces));
      const asked = { path: request.url, headers: request.headers, body, user: userOf(request.headers.authorization) };
      this.#asked.push(asked);
      const says = this.#answers.get(request.url) ?? { value: body };
      const { status = 200, value = null, type = "application/json", text = JSON.stringify(value) } =
        typeof says === "function" ? await says(asked) : says;
      response.writeHead(status, { "Content-Type": type, "Content-Length": Buffer.byteLength(text) }).end(text);
    });
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.port = this.#server.address().port;
    this.says("/swindon/authorize_connection", async (asked) => {
      const user = userIn(asked);
      return (await this.rules.get(user)?.(asked)) ?? { value: { user_id: user } };
    });
    return this;
  }

  /** `{status, value}`, or `{status, text, type}`, or a function of what was asked that gives one of them. */
  says(path, answer) {
    this.#answers.set(path, answer);
  }

  /** What was asked for at a path, of the user if one is named. */
  asked(path, user) {
    return this.#asked.filter((asked) => asked.path === path && (user === undefined || asked.user === user));
  }

  /** Connection ids of a user, oldest first. */
  ids(user) {
    const theirs = this.asked("/swindon/authorize_connection").filter((asked) => userIn(asked) === user);
    return theirs.map(({ body }) => body[0].connection_id);
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** Who is to be authorised: the address says it. */
function userIn({ body }) {
  return new URLSearchParams(body[2].url_querystring).get("user");
}

function userOf(authorization) {
  return authorization && JSON.parse(Buffer.from(authorization.split(" ")[1], "base64")).user_id;
}

/** One server for checks; users come over a relay of their own. */
class World {
  #users = 0;
  #relays = [];

  static async open(artefacts) {
    const world = new World();
    world.backend = await new Backend().open();
    [world.port, world.api] = [await freePort(), await freePort()];
    world.file = path.join(artefacts, `pools-${world.port}.toml`);
    fs.writeFileSync(world.file, `
threads = 3
[limits]
ping_interval = "200ms"
pong_timeout = "2s"
[upstreams.app]
url = "http://127.0.0.1:${world.backend.port}"
[session_pools.chat]
inactivity = ["app"]
active_when_connected = "1s"
[[listeners]]
address = "127.0.0.1:${world.port}"
[[listeners]]
address = "127.0.0.1:${world.api}"
session_pool = "chat"
[[routes]]
prefix = "/ws"
handler = "sessions"
pool = "chat"
calls = { "*" = "app" }
compression = true
[[routes]]
prefix = "/probe.mjs"
handler = "file"
path = ${JSON.stringify(PROBE)}
[[routes]]
prefix = "/"
handler = "files"
root = ${JSON.stringify(path.join(CHAT, "public"))}
`);
    world.server = await Brolly.serve(world.port, world.file);
    return world;
  }

  /** A user's client, at the end of a network path that can be cut. `rule` is what the backend says when it is asked for them. */
  async user(dial, options = {}, rule = undefined, name = `u${(this.#users += 1)}`) {
    if (rule) this.backend.rules.set(name, rule);
    const relay = await new Relay(this.port).open();
    this.#relays.push(relay);
    const url = `ws://127.0.0.1:${relay.port}/ws?user=${name}&a=%20b`;
    return { name, relay, url, probe: await dial(url, options) };
  }

  /** One that is connected. */
  async connected(dial, options = {}, name = undefined) {
    const user = await this.user(dial, options, undefined, name);
    assert.equal((await user.probe.hello())?.user_id, user.name);
    user.id = this.backend.ids(user.name).at(-1);
    return user;
  }

  /** A request to the interface of the pool. */
  async push(method, path, value) {
    const body = value === undefined ? {} : { body: JSON.stringify(value), headers: { "Content-Type": "application/json" } };
    const answer = await fetch(`http://127.0.0.1:${this.api}${path}`, { method, ...body });
    assert.equal(answer.status, 204, `${method} ${path}: ${await answer.text()}`);
  }

  async close() {
    await this.server.kill();
    for (const relay of this.#relays) await relay.cut().catch(() => {});
    this.backend.close();
  }
}

/** The client in this process, with this WebSocket. */
async function inNode(WebSocket) {
  const [client, probe] = await Promise.all([
    import(pathToFileURL(path.join(CHAT, "public/swindon.js"))), import(pathToFileURL(PROBE)),
  ]);
  const Probe = probe.prepare(client, WebSocket);
  return async (url, options) => new Probe(url, options);
}

/** The client in a page of its own: what is asked of the probe goes there and comes back. */
function inPage(context) {
  return async (url, options) => {
    const page = await context.newPage();
    // A page of the same origin: those of others need not apply.
    await page.goto(`http://${new URL(url).host}/style.css`);
    await page.evaluate(async ([url, options]) => {
      const [client, probe] = await Promise.all([import("/swindon.js"), import("/probe.mjs")]);
      window.probe = new (probe.prepare(client))(url, options);
    }, [url, options]);
    return new Proxy({ page }, {
      get: (target, method) => {
        // Whoever awaits the proxy itself asks for `then`.
        if (method === "then" || method === "page") return target[method];
        return async (...args) => await page.evaluate(([method, args]) => window.probe[method](...args), [method, args]);
      },
    });
  };
}

module.exports = { CHAT, World, eventually, inNode, inPage };
