// brolly.js: follow topics, publish and call, over one connection per browser.
//
//     import { Brolly } from "/-/brolly.js";
//     const brolly = new Brolly();
//     const news = brolly.subscribe("news", { position: "0" });
//     news.addEventListener("message", ({ data }) => console.log(data));
//     await brolly.publish("news", { headline: "it rains" });
//
// The pages of an origin share a connection, which a SharedWorker holds; where there is none, each page has its own. It
// is a WebSocket, else an event stream, else a long-poll, whatever works. After an interruption everything that was
// missed comes, once and in order, or a "gap" or "refused" event says that it cannot. `brolly.d.ts` documents each part.

import { Hub } from "./brolly-hub.js";
import { TRANSPORTS } from "./brolly-machine.js";

export { TRANSPORTS };

/** Of what pages and workers say to each other: an old page must not meet a new worker. */
const VERSION = 1;
/** A worker that has not said anything by then will not; milliseconds. */
const WORKER_WITHIN = 3_000;
const ANSWER_WITHIN = 10_000;
/** Messages that an iterator holds for a reader who is slower. */
const MOST_HELD = 10_000;

/** Why a call or a publication has no result. */
export class BrollyError extends Error {
  name = "BrollyError";

  constructor({ kind, reason, sent }) {
    super(reason);
    this.kind = kind;
    this.sent = Boolean(sent);
  }
}

export class Brolly extends EventTarget {
  #base;
  #transports;
  #status = { state: "closed", transport: null, reason: "", retryAt: null };
  #isClosed = false;
  #isShared = false;
  #port = null;
  /** Ends with the attachment to a port. */
  #attached;
  /** Id → subscription, and id → { message, resolve, reject }. */
  #subscriptions = new Map();
  #calls = new Map();
  #last = 0;
  #hints = new AbortController();

  constructor({ url = "/-/", transports = TRANSPORTS, shared = true } = {}) {
    super();
    this.#base = new URL(url, globalThis.location?.href).href.replace(/\/?$/, "/");
    this.#transports = transports;
    this.#attach(shared);
    this.#listen();
  }

  get state() {
    return this.#isClosed ? "closed" : this.#status.state;
  }

  get transport() {
    return this.#isClosed ? null : this.#status.transport;
  }

  get retryAt() {
    return this.#isClosed ? null : this.#status.retryAt;
  }

  get reason() {
    return this.#status.reason;
  }

  get shared() {
    return this.#isShared;
  }

  subscribe(topic, { position = "", signal } = {}) {
    if (this.#isClosed) throw new TypeError("this Brolly is closed");
    const id = ++this.#last;
    const subscription = new Subscription(topic, position, () => {
      if (this.#subscriptions.delete(id)) this.#post({ type: "unsubscribe", id });
    });
    this.#subscriptions.set(id, subscription);
    this.#post({ type: "subscribe", id, topic, position });
    signal?.addEventListener("abort", () => subscription.close(), { once: true });
    return subscription;
  }

  publish(topic, data, { timeout = ANSWER_WITHIN } = {}) {
    return this.#ask({ type: "publish", topic, data, within: timeout });
  }

  call(method, args = [], keywords = {}, { timeout = ANSWER_WITHIN } = {}) {
    return this.#ask({ type: "call", method, args, keywords, within: timeout });
  }

  reconnect() {
    this.#post({ type: "reconnect" });
  }

  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#hints.abort();
    this.#detach();
    for (const subscription of [...this.#subscriptions.values()]) subscription.close();
    this.dispatchEvent(new Event("statechange"));
  }

  #ask(message) {
    if (this.#isClosed) return Promise.reject(new BrollyError({ kind: "closed", reason: "this Brolly is closed" }));
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      // This throws if the data cannot be sent.
      this.#post({ ...message, id });
      this.#calls.set(id, { message: { ...message, id }, resolve, reject });
    });
  }

  #attach(shared) {
    const options = { version: VERSION, base: this.#base, transports: this.#transports };
    this.#attached = new AbortController();
    this.#port = (shared && this.#worker(options)) || this.#local(options);
    this.#port.onmessage = ({ data }) => this.#hear(data);
    const transport = recall(this.#base);
    if (this.#transports.includes(transport)) this.#post({ type: "prefer", transport });
    for (const [id, { topic, position }] of this.#subscriptions) this.#post({ type: "subscribe", id, topic, position });
  }

  /** The port of the shared worker, if there can be one. */
  #worker(options) {
    const script = new URL("./brolly-worker.js", import.meta.url);
    if (typeof SharedWorker === "undefined" || script.origin !== location.origin) return null;
    if (new URL(this.#base).origin !== location.origin) return null;
    let worker;
    try {
      worker = new SharedWorker(script, { type: "module", name: JSON.stringify(options) });
    } catch {
      return null;
    }
    this.#isShared = true;
    const { port } = worker;
    const fail = () => {
      clearTimeout(timer);
      if (this.#port !== port) return;
      this.#detach();
      this.#attach(false);
    };
    const timer = setTimeout(fail, WORKER_WITHIN);
    port.addEventListener("message", () => clearTimeout(timer), { once: true });
    worker.onerror = () => {
      // Its script did not load: nothing was done, so everything can be asked again.
      const calls = [...this.#calls];
      this.#calls.clear();
      fail();
      for (const [id, call] of calls) this.#calls.set(id, call), this.#post(call.message);
    };
    // A page that crashed says no "bye", but its lock is free then.
    const name = `brolly ${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
    const { signal } = this.#attached;
    navigator.locks
      ?.request(name, { signal }, () => {
        port.postMessage({ type: "lock", name });
        return new Promise((resolve) => signal.addEventListener("abort", resolve));
      })
      .catch(() => {});
    return port;
  }

  #local(options) {
    this.#isShared = false;
    const { port1, port2 } = new MessageChannel();
    new Hub(options).attach(port1);
    return port2;
  }

  #detach() {
    this.#post({ type: "bye" });
    this.#attached.abort();
    this.#port.onmessage = null;
    this.#port = null;
    const error = new BrollyError({ kind: "disconnected", reason: "the page has left", sent: true });
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }

  #post(message) {
    this.#port?.postMessage(message);
  }

  #hear({ type, id, ...rest }) {
    if (type === "state") {
      if (JSON.stringify(rest) === JSON.stringify(this.#status)) return;
      this.#status = rest;
      if (rest.transport) remember(this.#base, rest.transport);
      this.dispatchEvent(new Event("statechange"));
    } else if (type === "answer") {
      const { resolve, reject } = this.#calls.get(id) ?? {};
      this.#calls.delete(id);
      if (rest.kind) reject?.(new BrollyError(rest));
      else resolve?.(rest.value);
    } else {
      this.#subscriptions.get(id)?.[HEAR](type, rest);
      if (type === "error") this.#subscriptions.delete(id);
    }
  }

  /** What the browser says of the network and of the page. */
  #listen() {
    const { signal } = this.#hints;
    for (const type of ["online", "offline"]) globalThis.addEventListener?.(type, () => this.#post({ type }), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.#post({ type: "wake" }), { signal });
    // A page in the back/forward cache must not hold anything; when it is shown again it goes on from where it was.
    globalThis.addEventListener?.("pagehide", () => this.#port && this.#detach(), { signal });
    globalThis.addEventListener?.("pageshow", ({ persisted }) => persisted && !this.#port && this.#attach(this.#isShared), { signal });
  }
}

const HEAR = Symbol("hear");

export class Subscription extends EventTarget {
  #position;
  #close;
  /** Iterators that are told of every message. */
  #readers = new Set();
  #isClosed = false;

  constructor(topic, position, close) {
    super();
    this.topic = topic;
    this.#position = position;
    this.#close = close;
  }

  get position() {
    return this.#position;
  }

  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#close();
    for (const reader of [...this.#readers]) reader.end();
  }

  [HEAR](type, { data, position, from, to, reason }) {
    if (this.#isClosed) return;
    if (position) this.#position = position;
    if (type === "message") {
      const event = new MessageEvent("message", { data, lastEventId: position });
      this.dispatchEvent(event);
      for (const reader of this.#readers) reader.hear(event);
      return;
    }
    if (type === "gap") this.#position = to;
    this.dispatchEvent(Object.assign(new Event(type), type === "gap" ? { from, to } : type === "error" ? { reason } : {}));
    if (type !== "error") return;
    this.#isClosed = true;
    for (const reader of [...this.#readers]) reader.end(new Error(reason));
  }

  [Symbol.asyncIterator]() {
    const held = [];
    let [wake, ended, error] = [() => {}, this.#isClosed, null];
    const reader = {
      hear: (event) => {
        held.push(event);
        if (held.length > MOST_HELD) reader.end(new Error("the reader is too slow"));
        wake();
      },
      end: (why = null) => {
        [ended, error] = [true, why];
        this.#readers.delete(reader);
        wake();
      },
    };
    if (!ended) this.#readers.add(reader);
    return {
      next: async () => {
        while (held.length === 0 && !ended) await new Promise((resolve) => (wake = resolve));
        if (held.length > 0) return { done: false, value: held.shift() };
        if (error) throw error;
        return { done: true, value: undefined };
      },
      return: async () => {
        reader.end();
        return { done: true, value: undefined };
      },
    };
  }
}

/** The transport that worked is tried first by the next page of this tab. Storage may be switched off. */
function remember(base, transport) {
  try {
    sessionStorage.setItem(`brolly ${base}`, transport);
  } catch {}
}

function recall(base) {
  try {
    return sessionStorage.getItem(`brolly ${base}`);
  } catch {
    return null;
  }
}
