// What brolly.js does, as a machine: inputs with a time go in, actions come out. It has no I/O, no clock and no timers.
//
// One machine is one connection to the server, whoever shares it. `Hub` carries out the actions and reports to it:
//
//     to a wire:    { wire, type: "open", via } | "close" | "follow", topic, since | "unfollow", topic | "call", … | "check"
//     to a key:     { key, type: "open" | "message" | "resumed" | "gap" | "refused" | "error" | "answer", … }
//     to everybody: { type: "state" }
//
// A key stands for one subscription or one call of one page. All times are in milliseconds.

import { Topics } from "./brolly-topics.js";

/** From the best to the one that works wherever HTTP does. */
export const TRANSPORTS = ["ws", "sse", "poll"];

/** A transport that is not ready by then cannot be used here. */
const READY_WITHIN = 8_000;
/** A connection that lasted so long was a good one; one that ends sooner was cut. */
const STABLE_AFTER = 3_000;
const BACKOFF_FIRST = 500;
const BACKOFF_MOST = 30_000;
/** No server is believed that wants us to stay away for longer. */
const AWAY_MOST = 3_600_000;
/**
 * When a better transport is tried again, beside the one in use; twice as long after each failure. It may only have been the
 * server that was away for a moment.
 */
const PROBE_FIRST = 5_000;
const PROBE_MOST = 3_600_000;
/** After such a silence, three of its heartbeats, the server is asked whether it is there. */
const SILENT_AFTER = 45_000;
const CHECK_WITHIN = 8_000;
/** How long a connection stays that nobody needs. */
const LINGER = 5_000;
/** Calls that wait for an answer, at most. */
const MOST_CALLS = 1_000;

export class Machine {
  #transports;
  #random;
  #actions = [];
  #topics = new Topics((action) => this.#actions.push(action));
  #calls = new Map();
  #lastCall = 0;
  /** When what is due, by name. */
  #timers = new Map();
  #state = "closed";
  #reason = "";
  #online = true;
  /** The connection in use, or on the way: { id, via, ready }. */
  #wire = null;
  /** A better one that is being tried. */
  #probe = null;
  #lastWire = 0;
  /** Index of the transport in use, or to be tried next. */
  #rung = 0;
  /** The transport that was good last. */
  #worked = null;
  /** Failures in a row: of this transport, and of all. */
  #misses = 0;
  #failures = 0;
  #probes = 0;
  #probeDelay = PROBE_FIRST;
  /** Whether the server has said how long to wait. */
  #isTold = false;
  #heard = 0;

  constructor({ transports = TRANSPORTS, random = Math.random } = {}) {
    [this.#transports, this.#random] = [transports, random];
  }

  /** Takes what is to be done, in order. */
  take() {
    return this.#actions.splice(0);
  }

  /** When `tick` has something to do. */
  get timeout() {
    return Math.min(...this.#timers.values(), ...[...this.#calls.values()].map((call) => call.until));
  }

  /** { state, transport, retry, reason }; `retry` is the time of the next try. */
  get status() {
    const transport = this.#state === "open" ? this.#wire.via : null;
    return { state: this.#state, transport, retry: this.#timers.get("retry") ?? null, reason: this.#reason };
  }

  // ---- What pages want

  /** `position`: "" for now, "0" for all that the server still has, or a token. */
  subscribe(now, key, topic, position) {
    this.#topics.subscribe(key, topic, position);
    this.#settle(now);
  }

  unsubscribe(now, key) {
    this.#topics.unsubscribe(key);
    this.#settle(now);
  }

  /** What worked for this page before, should nothing be known yet. */
  prefer(_now, transport) {
    this.#worked ??= transport;
  }

  /** Whether a call would be sent at once. */
  get canCall() {
    return this.#state === "open" && this.#wire.via === "ws";
  }

  /** Calls over a WebSocket; an answer comes in any case, by `until` at the latest. */
  call(now, key, method, args, keywords, until) {
    const call = { id: ++this.#lastCall, key, method, args, keywords, until, sent: false };
    if (this.#calls.size >= MOST_CALLS) return this.#answer(call, { kind: "busy", reason: "too many calls are on their way" });
    this.#calls.set(call.id, call);
    if (this.#wire?.ready) this.#send(call);
    this.#settle(now);
  }

  /** Nobody waits for its answer any more. */
  cancel(now, key) {
    for (const call of this.#calls.values()) if (call.key === key) this.#calls.delete(call.id);
    this.#settle(now);
  }

  /** Connects anew at once, whatever the back-off says. */
  reconnect(now) {
    if (this.#state === "closed") return;
    this.#drop();
    this.#connect(now);
  }

  /** The browser believes to be offline. It may be wrong, so a connection is only checked, and tries go on slowly. */
  offline(now) {
    this.#online = false;
    if (this.#state === "waiting") this.#setState("offline");
    this.wake(now);
  }

  online(now) {
    this.#online = true;
    if (this.#state === "offline") this.#setState("waiting");
    this.wake(now);
  }

  /** Somebody looks at a page again, or the network has changed. */
  wake(now) {
    if (this.#state === "waiting" && !this.#isTold) this.#connect(now);
    else if (this.#state === "open" && now - this.#heard > 1_000) this.#check(now);
  }

  // ---- What wires report

  ready(now, id) {
    if (this.#probe?.id === id) {
      const better = this.#probe;
      this.#probe = null;
      this.#drop();
      this.#wire = better;
      this.#rung = this.#transports.indexOf(better.via);
    }
    if (!this.alive(now, id) || this.#wire.ready) return;
    this.#wire.ready = true;
    this.#timers.delete("ready");
    this.#timers.set("stable", now + STABLE_AFTER);
    if (this.#rung > 0) this.#timers.set("probe", now + this.#probeDelay);
    this.#setState("open");
    this.#topics.connected(id);
    for (const call of this.#calls.values()) this.#send(call);
  }

  joined(now, id, topic, position, recovery) {
    if (this.alive(now, id)) this.#topics.joined(topic, position, recovery);
    this.#settle(now);
  }

  message(now, id, topic, position, data) {
    if (this.alive(now, id)) this.#topics.message(topic, position, data);
  }

  failed(now, id, topic, reason) {
    if (this.alive(now, id)) this.#topics.failed(topic, reason);
    this.#settle(now);
  }

  /** `answer`: { value } or { kind, reason }. */
  answered(now, id, number, answer) {
    const call = this.#calls.get(number);
    if (this.alive(now, id) && call) this.#answer(call, answer);
    this.#settle(now);
  }

  /** Something came, a heartbeat say. Whether that is about the connection in use. */
  alive(now, id) {
    if (this.#wire?.id !== id) return false;
    this.#heard = now;
    this.#timers.delete("silent");
    this.#timers.set("check", now + SILENT_AFTER);
    return true;
  }

  /** A wire is of no use any more. `wait`: the server wants us to stay away for so long. */
  lost(now, id, reason = "", wait = 0) {
    if (this.#probe?.id === id) return this.#probeFailed(now);
    if (this.#wire?.id !== id) return;
    this.#drop();
    this.#misses += 1;
    // What was good before may be back soon; what never was is not waited for.
    const isGivenUp = this.#misses >= (this.#transports[this.#rung] === this.#worked ? 2 : 1);
    if (isGivenUp) {
      const isLast = wait > 0 || this.#rung + 1 === this.#transports.length;
      this.#misses = 0;
      this.#rung = isLast ? this.#first() : this.#rung + 1;
      if (!isLast) return this.#connect(now);
    }
    // The first try is spread over the whole interval: after a restart of the server its clients do not come all at once. Half
    // of the later ones is fixed, so that a few quick failures do not drive the interval up.
    const most = this.#online ? Math.min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** this.#failures) : BACKOFF_MOST;
    const least = this.#failures === 0 || wait > 0 ? 0 : most / 2;
    this.#failures = Math.min(this.#failures + 1, 20);
    this.#isTold = wait > 0;
    this.#timers.set("retry", now + Math.min(wait, AWAY_MOST) + least + this.#random() * (most - least));
    this.#reason = reason;
    this.#setState(this.#online ? "waiting" : "offline");
  }

  // ---- Time

  tick(now) {
    for (const call of this.#calls.values()) {
      if (call.until > now) continue;
      this.#answer(call, { kind: "timeout", reason: "no answer in time" });
      // A connection that does not answer may be dead although nobody said so.
      if (call.sent) this.#check(now);
    }
    for (const [name, at] of [...this.#timers]) {
      // One that was due before may have changed it.
      if (at > now || this.#timers.get(name) !== at) continue;
      this.#timers.delete(name);
      this.#due(now, name);
    }
    this.#settle(now);
  }

  #due(now, name) {
    if (name === "ready") this.lost(now, this.#wire.id, "not ready in time");
    else if (name === "silent") this.lost(now, this.#wire.id, "silent");
    else if (name === "stable") [this.#worked, this.#misses, this.#failures] = [this.#wire.via, 0, 0];
    else if (name === "retry") this.#connect(now);
    else if (name === "check") this.#check(now);
    else if (name === "probed") this.lost(now, this.#probe.id);
    else if (name === "idle") {
      this.#drop();
      this.#setState("closed");
    } else if (name === "probe") {
      // In turns, so that a better one is found although the best is barred.
      this.#probe = this.#open(this.#transports[this.#probes++ % this.#rung]);
      this.#timers.set("probed", now + READY_WITHIN);
    }
  }

  // ---- The connection

  /** Connects when somebody needs it, and lets go some time after nobody does. */
  #settle(now) {
    const isNeeded = this.#topics.size > 0 || this.#calls.size > 0;
    if (isNeeded && this.#state === "closed") {
      this.#rung = this.#first();
      this.#connect(now);
    }
    if (isNeeded || this.#state === "closed") this.#timers.delete("idle");
    else if (!this.#timers.has("idle")) this.#timers.set("idle", now + LINGER);
  }

  #first() {
    return Math.max(0, this.#transports.indexOf(this.#worked));
  }

  #connect(now) {
    this.#timers.delete("retry");
    this.#isTold = false;
    this.#wire = this.#open(this.#transports[this.#rung]);
    this.#timers.set("ready", now + READY_WITHIN);
    this.#setState("connecting");
  }

  #open(via) {
    const wire = { id: ++this.#lastWire, via, ready: false };
    this.#actions.push({ wire: wire.id, type: "open", via, topic: this.#topics.first });
    return wire;
  }

  /** Forgets the connection. What was sent over it and not answered may have happened or not. */
  #drop() {
    for (const wire of [this.#wire, this.#probe]) if (wire) this.#actions.push({ wire: wire.id, type: "close" });
    this.#wire = this.#probe = null;
    for (const name of [...this.#timers.keys()]) if (name !== "idle") this.#timers.delete(name);
    this.#topics.disconnected();
    for (const call of this.#calls.values()) {
      if (call.sent) this.#answer(call, { kind: "disconnected", reason: "the connection was lost before the answer" });
    }
  }

  #probeFailed(now) {
    this.#actions.push({ wire: this.#probe.id, type: "close" });
    this.#probe = null;
    this.#timers.delete("probed");
    this.#probeDelay = Math.min(2 * this.#probeDelay, PROBE_MOST);
    this.#timers.set("probe", now + this.#probeDelay);
  }

  #check(now) {
    if (this.#timers.has("silent")) return;
    this.#timers.set("silent", now + CHECK_WITHIN);
    this.#actions.push({ wire: this.#wire.id, type: "check" });
  }

  #setState(state) {
    this.#state = state;
    if (state === "open" || state === "closed") this.#reason = "";
    this.#actions.push({ type: "state" });
  }

  // ---- Calls

  #send(call) {
    if (call.sent) return;
    if (this.#wire.via !== "ws") return this.#answer(call, { kind: "unsupported", reason: "calls need a WebSocket" });
    call.sent = true;
    const { id, method, args, keywords } = call;
    this.#actions.push({ wire: this.#wire.id, type: "call", call: id, method, args, keywords });
  }

  #answer(call, answer) {
    this.#calls.delete(call.id);
    this.#actions.push({ key: call.key, type: "answer", sent: call.sent, ...answer });
  }
}
