// Who follows which topic, and how far each has been served: the part of the machine that sees to it that nothing is
// missing and nothing comes twice, although subscriptions from different positions share one connection.

import { above, hashOf, parse, token } from "./brolly-position.js";

export class Topics {
  /** The connection to ask over; `null` while there is none. */
  #wire = null;
  #act;
  /** Name → { name, hash, at, newest, asked, subscriptions }. `at` is where the stream of this connection is. */
  #topics = new Map();
  /** Key → { key, topic, at, oldest, waiting, told }. `at` is how far this one has been served. */
  #subscriptions = new Map();

  constructor(act) {
    this.#act = act;
  }

  get size() {
    return this.#topics.size;
  }

  /** The name of one of them. */
  get first() {
    return this.#topics.keys().next().value;
  }

  /** `position`: "" for now, "0" for all that the server still has, or a token. */
  subscribe(key, name, position = "") {
    const fresh = { name, hash: hashOf(name), at: null, newest: null, asked: null, subscriptions: new Set() };
    const topic = this.#topics.get(name) ?? fresh;
    this.#topics.set(name, topic);
    const at = parse(position, topic.hash);
    const one = { key, topic, at: at ?? null, oldest: position === "0", waiting: true, told: Boolean(at) };
    this.#subscriptions.set(key, one);
    topic.subscriptions.add(one);
    if (at === undefined) this.#tell(one, "refused");
    if (topic.at) {
      if (one.at && one.at.epoch !== topic.at.epoch) this.#refuse(one, topic.newest);
      this.#admit(one, topic.newest, topic.newest.offset, null);
    }
    this.#follow(topic);
  }

  unsubscribe(key) {
    const one = this.#subscriptions.get(key);
    if (!one) return;
    this.#subscriptions.delete(key);
    one.topic.subscriptions.delete(one);
    this.#leave(one.topic);
  }

  /** There is a connection. */
  connected(wire) {
    this.#wire = wire;
    for (const topic of this.#topics.values()) this.#follow(topic);
  }

  /** There is none any more. */
  disconnected() {
    this.#wire = null;
    for (const topic of this.#topics.values()) {
      topic.at = topic.newest = topic.asked = null;
      for (const one of topic.subscriptions) [one.waiting, one.told] = [true, one.told || !one.waiting];
      this.#leave(topic);
    }
  }

  /** The server has let us follow a topic from `position` on; `recovery` is what became of what we asked for. */
  joined(name, position, recovery) {
    const topic = this.#topics.get(name);
    if (!topic?.asked) return;
    const start = parse(position, topic.hash);
    if (!start) return this.failed(name, "there is no room for this topic");
    const { since } = topic.asked;
    topic.asked = null;
    topic.at = start;
    if (!above(topic.newest, start)) topic.newest = start;
    const refused = recovery?.outcome === "refused" ? since?.epoch : undefined;
    const gapTo = recovery?.outcome === "gap" ? parse(recovery.to, topic.hash) : null;
    const from = since && refused === undefined ? since.offset : start.offset;
    for (const one of topic.subscriptions) {
      if (!one.waiting) continue;
      if (one.at && (one.at.epoch !== start.epoch || one.at.epoch === refused)) this.#refuse(one, start);
      this.#admit(one, start, from, gapTo);
    }
    this.#leave(topic);
    this.#follow(topic);
  }

  message(name, position, data) {
    const topic = this.#topics.get(name);
    const at = topic && parse(position, topic.hash);
    if (!at) return;
    topic.at = at;
    if (!above(topic.newest, at)) topic.newest = at;
    for (const one of topic.subscriptions) {
      if (one.waiting || !above(at, one.at)) continue;
      one.at = at;
      this.#tell(one, "message", { position, data });
    }
  }

  /** The server does not let us follow a topic. */
  failed(name, reason) {
    const topic = this.#topics.get(name);
    if (!topic) return;
    this.#topics.delete(name);
    for (const one of topic.subscriptions) {
      this.#subscriptions.delete(one.key);
      this.#tell(one, "error", { reason });
    }
  }

  /** Serves a subscription from now on if everything after `from` comes; else it goes on waiting. */
  #admit(one, start, from, gapTo) {
    one.at ??= one.oldest && from > 0n ? { epoch: start.epoch, offset: 0n } : start;
    if (one.at.offset < from) return;
    one.waiting = false;
    const hash = one.topic.hash;
    const gap = gapTo && one.at.offset < gapTo.offset ? { from: token(one.at, hash), to: token(gapTo, hash) } : null;
    if (gap) one.at = gapTo;
    this.#tell(one, "open", { position: token(one.at, hash) });
    if (one.told) this.#tell(one, gap ? "gap" : "resumed", gap ?? {});
    one.told = false;
  }

  /** Its position is of another life of the server. */
  #refuse(one, start) {
    if (one.told) this.#tell(one, "refused");
    // Who wanted all that there is wants it again: of what the server has now nothing was seen.
    [one.at, one.told] = [one.oldest ? null : start, false];
  }

  /** Asks for a topic from the earliest position that a waiting subscription needs; one request at a time. */
  #follow(topic) {
    const waiting = [...topic.subscriptions].filter((one) => one.waiting);
    if (this.#wire === null || topic.asked || waiting.length === 0) return;
    const known = waiting.filter((one) => one.at);
    const epoch = topic.at?.epoch ?? known[0]?.at.epoch;
    const offsets = known.filter((one) => one.at.epoch === epoch).map((one) => one.at.offset);
    if (waiting.some((one) => one.oldest && !one.at)) offsets.push(0n);
    // Where "now" is only the server knows: that comes first, and from before it is asked for afterwards.
    const isNow = waiting.some((one) => !one.oldest && !one.at);
    const since = isNow ? null : { epoch, offset: offsets.reduce((least, one) => (one < least ? one : least)) };
    topic.asked = { since };
    const shown = since && (epoch === undefined ? "0" : token(since, topic.hash));
    this.#act({ wire: this.#wire, type: "follow", topic: topic.name, since: shown });
  }

  /** Ends what nobody follows any more; not while the server is asked for it, so that no answer meets another question. */
  #leave(topic) {
    if (topic.subscriptions.size > 0 || topic.asked) return;
    this.#topics.delete(topic.name);
    if (topic.at) this.#act({ wire: this.#wire, type: "unfollow", topic: topic.name });
  }

  #tell({ key }, type, detail = {}) {
    this.#act({ key, type, ...detail });
  }
}
