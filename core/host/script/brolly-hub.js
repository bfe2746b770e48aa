// What stands between pages and the server: one machine, its wires, its timer, and a port to each page. It runs in the
// SharedWorker, or in the page itself where there is none.

import { Machine } from "./brolly-machine.js";
import { refusal, WIRES } from "./brolly-wires.js";

export class Hub {
  #base;
  #env;
  #machine;
  #wires = new Map();
  /** Page number → port. */
  #ports = new Map();
  #lastPage = 0;
  #timer = 0;

  /** `base`: where the endpoints are, with a slash at the end. */
  constructor({ base, transports }, env = globalThis) {
    [this.#base, this.#env] = [base, env];
    this.#machine = new Machine({ transports });
  }

  /** Serves a page until it says "bye", or until the lock that it holds is free. */
  attach(port) {
    const page = ++this.#lastPage;
    this.#ports.set(page, { port, keys: new Set() });
    port.onmessage = ({ data }) => this.#hear(page, data);
    this.#post(page, { type: "state", ...this.#status() });
  }

  #hear(page, { type, id, ...rest }) {
    const entry = this.#ports.get(page);
    if (!entry) return;
    const [machine, now, key] = [this.#machine, this.#now(), `${page} ${id}`];
    if (type === "subscribe") {
      entry.keys.add(key);
      machine.subscribe(now, key, rest.topic, rest.position);
    } else if (type === "unsubscribe") {
      entry.keys.delete(key);
      machine.unsubscribe(now, key);
    } else if (type === "call") {
      entry.keys.add(key);
      machine.call(now, key, rest.method, rest.args, rest.keywords, now + rest.within);
    } else if (type === "publish" && machine.canCall) {
      entry.keys.add(key);
      machine.call(now, key, "brolly.publish", [rest.topic, rest.data], {}, now + rest.within);
    } else if (type === "publish") this.#publish(page, id, rest);
    else if (type === "lock") navigator.locks.request(rest.name, () => this.#bye(page));
    else if (type === "bye") this.#bye(page);
    else machine[type](now, rest.transport); // "online", "offline", "prefer", "reconnect", "wake"
    this.#act();
  }

  #bye(page) {
    const now = this.#now();
    for (const key of this.#ports.get(page)?.keys ?? []) {
      this.#machine.unsubscribe(now, key);
      this.#machine.cancel(now, key);
    }
    this.#ports.get(page)?.port.close();
    this.#ports.delete(page);
    this.#act();
  }

  /** Publishes by a request of its own, when there is no WebSocket. */
  async #publish(page, id, { topic, data, within }) {
    const late = new AbortController();
    const timer = this.#env.setTimeout(() => late.abort(), within);
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data ?? null) };
    let answer;
    try {
      const url = new URL(`publish/${encodeURIComponent(topic)}`, this.#base);
      const response = await this.#env.fetch(url, { ...options, signal: late.signal });
      if (!response.ok) throw await refusal(response);
      answer = { value: await response.json() };
    } catch ({ status, message }) {
      if (status >= 500 || status === 429) answer = { kind: "busy", reason: message };
      else if (status) answer = { kind: "refused", reason: message };
      else answer = { kind: late.signal.aborted ? "timeout" : "disconnected", reason: "the server cannot be reached" };
    }
    this.#env.clearTimeout(timer);
    this.#post(page, { type: "answer", id, sent: true, ...answer });
  }

  /** Carries out what the machine wants, and sets the timer. */
  #act() {
    for (let actions = this.#machine.take(); actions.length > 0; actions = this.#machine.take()) {
      for (const action of actions) {
        if (action.wire) this.#wire(action);
        else if (action.key) this.#tell(action);
        else for (const page of this.#ports.keys()) this.#post(page, { type: "state", ...this.#status() });
      }
    }
    this.#env.clearTimeout(this.#timer);
    const { timeout } = this.#machine;
    if (timeout < Infinity) this.#timer = this.#env.setTimeout(() => this.#tick(), Math.max(0, timeout - this.#now()));
  }

  #tick() {
    this.#machine.tick(this.#now());
    this.#act();
  }

  #wire({ wire, type, ...action }) {
    if (type === "open") return this.#open(wire, action);
    const one = this.#wires.get(wire);
    if (type === "close") this.#wires.delete(wire);
    if (type === "follow") one?.follow(action.topic, action.since);
    else if (type === "call") one?.call(action);
    else one?.[type](action.topic);
  }

  #open(wire, { via, topic }) {
    const tell = (type, ...values) => {
      this.#machine[type](this.#now(), wire, ...values);
      this.#act();
    };
    try {
      this.#wires.set(wire, new WIRES[via](this.#base, tell, this.#env, topic));
    } catch ({ message }) {
      // A policy of the page forbids it, say.
      this.#env.setTimeout(() => tell("lost", message), 0);
    }
  }

  #tell({ key, ...event }) {
    const [page, id] = key.split(" ").map(Number);
    if (event.type === "answer" || event.type === "error") this.#ports.get(page)?.keys.delete(key);
    this.#post(page, { id, ...event });
  }

  #post(page, message) {
    this.#ports.get(page)?.port.postMessage(message);
  }

  #status() {
    const { retry, ...status } = this.#machine.status;
    return { ...status, retryAt: retry && Date.now() + retry - this.#now() };
  }

  #now() {
    return this.#env.performance.now();
  }
}
