// A client under observation, in Node or in a page: everything that goes in and comes out is JSON.

/** What happened on each connection, by the address that was dialled. */
const logs = new Map();
/** What the client complained of in the console. */
const complaints = [];

for (const level of ["error", "info"]) {
  const original = console[level];
  console[level] = (...parts) => (String(parts[0]).startsWith("Swindon:") ? complaints.push(parts) : original(...parts));
}

function observe(Original) {
  return class extends Original {
    constructor(url, protocol) {
      super(url, protocol);
      const connection = { offered: protocol, chosen: null, opened: null, sent: [], received: [], closed: null };
      logs.set(url, [...(logs.get(url) ?? []), connection]);
      this.addEventListener("open", () => Object.assign(connection, { chosen: this.protocol, opened: Date.now() }));
      this.addEventListener("message", ({ data }) => connection.received.push({ at: Date.now(), text: data }));
      this.addEventListener("close", ({ code, reason, wasClean }) => (connection.closed = { code, reason, wasClean }));
      this.log = connection;
    }

    send(text) {
      this.log.sent.push(text);
      super.send(text);
    }
  };
}

/** Gives what makes probes of this client. */
export function prepare({ Swindon, Lattice }, Original = globalThis.WebSocket) {
  globalThis.WebSocket = observe(Original);

  return class Probe {
    #url;
    #swindon;
    #states = [];
    #guards = [];
    #heard = [];
    #lattices = {};

    constructor(url, options = {}) {
      this.#url = url;
      const onStateChange = (state) => this.#states.push({ ...json(state), at: Date.now() });
      this.#swindon = new Swindon(url, { ...options, onStateChange });
    }

    /** What the backend said, or nothing if there is no connection for so long. */
    async hello(within = 5_000) {
      const late = new Promise((resolve) => setTimeout(resolve, within, null));
      return await Promise.race([this.#swindon.waitConnected(), late]);
    }

    async call(...call) {
      return await this.#swindon.call(...call).then((result) => ({ result }), (error) => ({ error: plain(error) }));
    }

    /** Several calls at once. */
    async calls(calls) {
      return await Promise.all(calls.map((call) => this.call(...call)));
    }

    /** `init`, `deinit`: calls. `listen`: topics, `fail`: others, of handlers that throw; `lattice`: namespaces and prefixes. The number of the guard. */
    guard({ init = [], deinit = [], fail = [], listen = [], lattice = [] }) {
      const guard = this.#swindon.guard();
      for (const topic of fail) guard.listen(topic, () => { throw new Error("a mistake of the page"); });
      for (const topic of listen) guard.listen(topic, (data, meta) => this.#heard.push(["message", meta, data]));
      for (const [namespace, prefix] of lattice) {
        const onUpdate = (keys) => this.#heard.push(["lattice", namespace, keys.sort()]);
        guard.lattice(namespace, prefix, (this.#lattices[namespace] = new Lattice({ onUpdate })));
      }
      for (const [method, args = [], kwargs = {}] of init) guard.init(method, args, kwargs, (data) => this.#heard.push(["init", method, data]));
      for (const [method, args = [], kwargs = {}] of deinit) guard.deinit(method, args, kwargs, (data) => this.#heard.push(["deinit", method, data]));
      return this.#guards.push(guard) - 1;
    }

    closeGuard(number) {
      this.#guards[number].close();
    }

    /** What handlers were given since it was last asked. */
    heard() {
      return this.#heard.splice(0);
    }

    /** A variable of a lattice: `kind` is "Counter", "Set" or "Register". */
    lattice(namespace, kind, key, name) {
      return this.#lattices[namespace][`get${kind}`](key, name);
    }

    /** Whether it changed anything, or the name of the error. */
    update(namespace, kind, key, name, value) {
      try {
        return this.#lattices[namespace][`update${kind}`](key, name, value);
      } catch (error) {
        return error.name;
      }
    }

    keys(namespace) {
      return this.#lattices[namespace].allKeys().sort();
    }

    state() {
      return json(this.#swindon.state());
    }

    states() {
      return this.#states;
    }

    connections() {
      return logs.get(this.#url) ?? [];
    }

    complaints() {
      return complaints.splice(0);
    }

    reconnectNow() {
      this.#swindon.reconnectNow();
    }

    close() {
      this.#swindon.close();
    }
  };
}

function json({ last_fatal_error: fatal, last_websocket_error: error, last_websocket_close: close, ...state }) {
  const plainClose = close && { code: close.code, reason: close.reason };
  return { ...state, last_fatal_error: plain(fatal), last_websocket_error: error && error.type, last_websocket_close: plainClose };
}

function plain(error) {
  return error && { name: error.name, metadata: error.metadata, data: error.data };
}
