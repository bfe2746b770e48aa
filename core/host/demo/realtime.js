// One interface over brolly's three ways to follow topics: WebSocket, Server-Sent Events and long-poll.
//
//     const realtime = new Realtime({ topics: ["news"], transport: "ws", position: "0" });
//     realtime.onmessage = (data, { topic }) => …;      // topic is undefined over SSE, which does not say it
//     realtime.onstate = (state, { retryAt }) => …;     // "connecting", "open", "waiting" or "closed"
//     realtime.onrecovery = (entries) => …;             // [{ topic, outcome: "resumed" | "gap" | "refused", … }]
//     realtime.open();
//     await realtime.publish("news", { any: "json" });
//
// It reconnects by itself and presents the position it has reached, so the server can send what was missed.
// All times are in milliseconds.

import { post, WIRES } from "./wires.js";

export { mergePosition, publishBeacon, PublishError } from "./wires.js";

/** The transports by the name a page uses for them: "ws", "sse" and "poll". */
export const TRANSPORTS = Object.keys(WIRES);

/** The position before the oldest message that the server still has. */
export const OLDEST = "0";

const BACKOFF_FIRST = 500;
const BACKOFF_MOST = 15_000;
/** A connection that lasted this long was a good one: the back-off starts over. */
const STABLE_AFTER = 5_000;
const ECHO_WITHIN = 10_000;

/** Follows topics over one transport at a time, and publishes. */
export class Realtime {
  onmessage = (_data, _meta) => {};
  onstate = (_state, _detail) => {};
  onrecovery = (_entries) => {};

  #topics;
  #transport;
  #position;
  #state = "closed";
  #wire = null;
  #failures = 0;
  #openedAt = 0;
  #heardAt = 0;
  #timer = 0;

  constructor({ topics, transport = "ws", position = "" }) {
    this.#topics = topics;
    this.#transport = transport;
    this.#position = position;
    addEventListener("online", () => this.#wake());
    document.addEventListener("visibilitychange", () => document.hidden || this.#wake());
  }

  get state() {
    return this.#state;
  }

  get transport() {
    return this.#transport;
  }

  /** What to present in order to miss nothing: all messages before it were delivered to `onmessage`. */
  get position() {
    return this.#wire ? this.#wire.position : this.#position;
  }

  /** Connects, unless that has been done. */
  open() {
    if (this.#state === "closed") this.#connect();
  }

  /** Connects anew at once, whatever the back-off says. */
  reconnect() {
    this.#connect();
  }

  /** Continues over another transport from the same position. */
  use(transport) {
    if (transport === this.#transport) return;
    this.#transport = transport;
    this.#failures = 0;
    if (this.#state !== "closed") this.#connect();
  }

  /**
   * Publishes JSON data to a topic: over the WebSocket when that is the transport, else by POST.
   * Resolves to the server's receipt, or rejects with a `PublishError`.
   */
  async publish(topic, data) {
    const wire = this.#wire;
    const sentAt = performance.now();
    const receipt = await (wire?.publish ? wire.publish(topic, data) : post(topic, data));
    if (this.#topics.includes(topic)) this.#expectEcho(wire, sentAt);
    return receipt;
  }

  /** Disconnects for good (until `open`). */
  close() {
    this.#stop();
    this.#setState("closed");
  }

  #connect() {
    this.#stop();
    this.#setState("connecting");
    const wire = new WIRES[this.#transport](this.#topics, this.#position);
    const current = (handle) => (...args) => this.#wire === wire && handle(...args);
    this.#wire = wire;
    wire.start({
      open: current(() => {
        this.#openedAt = performance.now();
        this.#setState("open");
      }),
      message: current((data, topic) => {
        this.#heardAt = performance.now();
        this.onmessage(data, { topic });
      }),
      recovery: current((entries) => this.#recovered(entries)),
      // The wire reconnects by itself; it says "open" or "lost" later.
      interrupted: current(() => this.#setState("waiting")),
      lost: current((reason) => this.#lost(reason)),
    });
  }

  #stop() {
    clearTimeout(this.#timer);
    const wire = this.#wire;
    if (!wire) return;
    this.#position = wire.position;
    this.#wire = null;
    wire.close();
  }

  #lost(reason) {
    if (this.#state === "open" && performance.now() - this.#openedAt >= STABLE_AFTER) this.#failures = 0;
    // Full jitter: after a server restart its clients come back spread over the whole interval.
    const delay = Math.random() * Math.min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** this.#failures);
    this.#failures += 1;
    this.#stop();
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#setState("waiting", { retryAt: Date.now() + delay, reason });
  }

  #recovered(entries) {
    const asked = this.position;
    this.onrecovery(entries);
    // The server cannot place our position (it lost its memory, say). What it has now may still be new to us.
    if (entries.some(({ outcome }) => outcome === "refused") && asked !== OLDEST && this.#state !== "closed") {
      this.#stop();
      this.#position = OLDEST;
      this.#connect();
    }
  }

  /**
   * What is published to a followed topic comes back. When nothing at all came back, the connection is dead
   * although nobody said so, as after a laptop's sleep.
   */
  #expectEcho(wire, sentAt) {
    setTimeout(() => {
      if (this.#wire === wire && this.#state === "open" && this.#heardAt < sentAt) this.#lost("silent");
    }, ECHO_WITHIN);
  }

  #wake() {
    if (this.#state === "waiting") this.#connect();
  }

  #setState(state, detail = {}) {
    this.#state = state;
    this.onstate(state, detail);
  }
}
