// A client of session pools with the interface of Swindon's own (npm `swindon` 0.5), which sends, expects and waits as that one
// does: pages that were written for one work with the other.

const PROTOCOL = "v1.swindon-lattice+json";
/** Whoever was connected for longer comes back at once; milliseconds. */
const GOOD_CONNECTION = 10_000;
const AFTER_GOOD = 100;
/** After one bad connection, two, and so on. */
const AFTER_BAD = [1_000, 2_000, 10_000, 30_000, 60_000, 300_000];

/** A backend, or the server, did not do what it was called for. */
export class CallError extends Error {
  constructor(metadata, data) {
    super(`Call error: ${metadata.error_kind} ${metadata.http_error ?? ""}`.trim());
    Object.assign(this, { name: "CallError", metadata, data });
  }
}

/** The connection was not let in. */
export class FatalError extends Error {
  constructor(metadata, data) {
    super(`Fatal error: ${metadata.error_kind} ${metadata.http_error ?? ""}`.trim());
    Object.assign(this, { name: "FatalError", metadata, data });
  }
}

/** An update of a lattice is none. */
export class InvalidType extends TypeError {
  constructor(expected, value) {
    super(`Expected ${expected} got: ${value?.constructor?.name ?? value}`);
    Object.assign(this, { name: "InvalidType", expected, value });
  }
}

/** A connection that comes back by itself. `state().status` is "connecting", "active", "wait" or "closed". */
export class Swindon {
  #url;
  #options;
  #status;
  #reconnectTime = null;
  #lastFatalError = null;
  /** Events of the WebSocket. */
  #lastError = null;
  #lastClose = null;
  #socket = null;
  #began = 0;
  /** Bad connections one after the other. */
  #failures = 0;
  #timer;
  #guards = new Set();
  /** Settled by `hello`; another one after each connection that said it. */
  #connected = deferred();
  /** Calls under way, by number. */
  #calls = new Map();
  #lastCall = 0;
  #handlers = { message: new Map(), lattice: new Map() };

  /** `defaultActiveTime`: each call says that somebody is there, and will be for so many seconds. */
  constructor(url, { onStateChange = null, defaultActiveTime = 120 } = {}) {
    this.#url = url;
    this.#options = { onStateChange, defaultActiveTime };
    this.#connect();
  }

  state() {
    return {
      status: this.#status,
      reconnect_time: this.#reconnectTime,
      last_fatal_error: this.#lastFatalError,
      last_websocket_error: this.#lastError,
      last_websocket_close: this.#lastClose,
      guards: this.#guards.size,
    };
  }

  /** What the backend says about the user, as soon as there is a connection. */
  waitConnected() {
    return this.#connected.promise;
  }

  /** Waits for a connection. Rejects with a `CallError`; its `error_kind` is `closed` if the connection was lost meanwhile. */
  async call(method, args = [], kwargs = {}) {
    await this.#connected.promise;
    return await this.send(method, args, kwargs);
  }

  /** What is to be done on each connection anew. */
  guard() {
    const guard = new Guard(this);
    this.#guards.add(guard);
    return guard;
  }

  reconnectNow() {
    this.#connect();
  }

  close() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#enter("closed");
  }

  // ---- For guards

  send(method, args, kwargs) {
    const call = deferred();
    this.#lastCall += 1;
    this.#calls.set(this.#lastCall, call);
    const meta = { request_id: this.#lastCall, active: this.#options.defaultActiveTime };
    this.#socket.send(JSON.stringify([method, meta, args, kwargs]));
    return call.promise;
  }

  /** Gives what ends it. */
  handle(kind, name, handler) {
    const handlers = this.#handlers[kind];
    handlers.set(name, [...(handlers.get(name) ?? []), handler]);
    return () => {
      const others = handlers.get(name).filter((other) => other !== handler);
      if (others.length > 0) handlers.set(name, others);
      else handlers.delete(name);
    };
  }

  forget(guard) {
    this.#guards.delete(guard);
  }

  // ---- The connection

  #enter(status, reconnectTime = null) {
    this.#status = status;
    this.#reconnectTime = reconnectTime;
    attempt(() => this.#options.onStateChange?.(this.state()));
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#began = Date.now();
    const socket = (this.#socket = new WebSocket(this.#url, PROTOCOL));
    socket.onmessage = ({ data }) => this.#dispatch(...JSON.parse(data));
    socket.onerror = (event) => (this.#lastError = event);
    socket.onclose = (event) => {
      this.#lastClose = event;
      this.#drop();
      this.#reconnectLater();
    };
    this.#enter("connecting");
  }

  /** Has nothing to do with the connection any more. */
  #drop() {
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onerror = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
    if (this.#status === "active") this.#connected = deferred();
    for (const call of this.#calls.values()) call.reject(new CallError({ error_kind: "closed" }, null));
    this.#calls.clear();
    this.#lastCall = 0;
  }

  #reconnectLater() {
    const good = Date.now() - this.#began > GOOD_CONNECTION;
    const delay = good ? AFTER_GOOD : AFTER_BAD[Math.min(this.#failures, AFTER_BAD.length - 1)];
    this.#failures = good ? 0 : this.#failures + 1;
    // Not all at once, when a server was restarted.
    const randomised = delay * (0.5 + Math.random());
    this.#timer = setTimeout(() => this.#connect(), randomised);
    this.#enter("wait", Date.now() + randomised);
  }

  #dispatch(kind, meta, data) {
    if (kind === "hello") {
      this.#lastFatalError = this.#lastError = null;
      this.#enter("active");
      this.#connected.resolve(data);
      for (const guard of this.#guards) guard.start();
    } else if (kind === "fatal_error") {
      // The server closes, and then it is tried again.
      this.#lastFatalError = new FatalError(meta, data);
    } else if (kind === "result" || kind === "error") {
      const call = this.#calls.get(meta.request_id);
      this.#calls.delete(meta.request_id);
      if (!call) console.error("Swindon: nobody called for", kind, meta, data);
      else if (kind === "result") call.resolve(data);
      else call.reject(new CallError(meta, data));
    } else if (kind === "message" || kind === "lattice") {
      const handlers = this.#handlers[kind].get(meta.topic ?? meta.namespace);
      if (!handlers) console.info("Swindon: nobody listens to", kind, meta);
      for (const handler of handlers ?? []) attempt(() => handler(data, meta));
    } else {
      console.error("Swindon: unknown kind of message", kind, meta, data);
    }
  }
}

/** Calls that are made again on each connection, and what is listened to meanwhile. The backend does the subscribing. */
class Guard {
  #swindon;
  #inits = [];
  #deinits = [];
  #ends = [];

  constructor(swindon) {
    this.#swindon = swindon;
  }

  /** `callback` gets the result, each time. */
  init(method, args = [], kwargs = {}, callback = () => {}) {
    const init = { method, args, kwargs, callback };
    this.#inits.push(init);
    if (this.#swindon.state().status === "active") this.#call(init);
    return this;
  }

  listen(topic, callback) {
    this.#ends.push(this.#swindon.handle("message", topic, callback));
    return this;
  }

  /** Keys of the namespace that begin with `prefix`, without it, go to `lattice`. */
  lattice(namespace, prefix, lattice) {
    const handler = (data) => {
      const own = Object.entries(data).filter(([key]) => key.startsWith(prefix));
      lattice.merge(Object.fromEntries(own.map(([key, variables]) => [key.slice(prefix.length), variables])));
    };
    this.#ends.push(this.#swindon.handle("lattice", namespace, handler));
    return this;
  }

  /** What is called when the guard is closed. */
  deinit(method, args = [], kwargs = {}, callback = () => {}) {
    this.#deinits.push({ method, args, kwargs, callback });
    return this;
  }

  close() {
    for (const end of this.#ends.splice(0)) end();
    if (this.#swindon.state().status === "active") this.#deinits.forEach((call) => this.#call(call));
    this.#swindon.forget(this);
  }

  start() {
    this.#inits.forEach((call) => this.#call(call));
  }

  #call({ method, args, kwargs, callback }) {
    // A connection that is lost makes the call again when it is back.
    const failed = (error) => error.metadata?.error_kind === "closed" || console.error("Swindon:", method, error);
    this.#swindon.send(method, args, kwargs).then(callback).catch(failed);
  }
}

const SUFFIX = /_(counter|set|register)$/;

/** Counters that grow, sets that grow, registers of which the latest counts: in whatever order updates come, the same comes out. */
export class Lattice {
  #onUpdate;
  #keys = new Map();

  /** `onUpdate` gets the names of the keys that changed. */
  constructor({ onUpdate = null } = {}) {
    this.#onUpdate = onUpdate;
  }

  allKeys() {
    return [...this.#keys.keys()];
  }

  getCounter(key, name) {
    return this.#keys.get(key)?.get(`${name}_counter`) ?? 0;
  }

  getSet(key, name) {
    return [...(this.#keys.get(key)?.get(`${name}_set`) ?? [])];
  }

  /** When it was set, and to what: `[0, null]` if it was not. */
  getRegister(key, name) {
    return this.#keys.get(key)?.get(`${name}_register`) ?? [0, null];
  }

  /** These three are for what the server will say, too; they tell whether anything changed. */
  updateCounter(key, name, value) {
    if (!Number.isInteger(value)) throw new InvalidType("integer", value);
    return this.#update(key, `${name}_counter`, value);
  }

  updateSet(key, name, value) {
    if (!Array.isArray(value)) throw new InvalidType("array of strings", value);
    return this.#update(key, `${name}_set`, value);
  }

  updateRegister(key, name, value) {
    if (!Number.isInteger(value?.[0])) throw new InvalidType("[integer, anything]", value);
    return this.#update(key, `${name}_register`, value);
  }

  /** Takes what the server says. */
  merge(delta) {
    const changed = Object.entries(delta).filter(([key, variables]) => {
      const isNew = !this.#keys.has(key);
      this.#variables(key);
      return Object.entries(variables).map(([name, value]) => this.#update(key, name, value)).includes(true) || isNew;
    });
    if (changed.length > 0) this.#onUpdate?.(changed.map(([key]) => key), this);
  }

  #variables(key) {
    if (!this.#keys.has(key)) this.#keys.set(key, new Map());
    return this.#keys.get(key);
  }

  #update(key, variable, value) {
    const variables = this.#variables(key);
    const known = variables.get(variable);
    switch (SUFFIX.exec(variable)?.[1]) {
      case "counter":
        if (!(value > (known ?? 0))) return false;
        variables.set(variable, value);
        return true;
      case "set": {
        const joined = new Set([...(known ?? []), ...value.map(String)]);
        variables.set(variable, joined);
        return joined.size > (known?.size ?? 0);
      }
      case "register":
        if (known && !(value[0] > known[0])) return false;
        variables.set(variable, value);
        return true;
      default:
        console.error("Swindon: unknown kind of variable", variable);
        return false;
    }
  }
}

/** What a page gets wrong in one place must not be missing in another. */
function attempt(run) {
  try {
    run();
  } catch (error) {
    console.error("Swindon: a handler failed", error);
  }
}

function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}
