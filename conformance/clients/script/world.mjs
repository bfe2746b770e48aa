// A world for the machine of brolly.js: a server that forgets and restarts, wires that delay, cut, repeat and are barred, and
// a reader for each subscription who knows what has to come.

import assert from "node:assert/strict";
import { Machine } from "../../../core/host/script/brolly-machine.js";
import { hashOf, parse, token } from "../../../core/host/script/brolly-position.js";

/** A generator of numbers in [0, 1), from a seed (mulberry32). */
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The server's side of positions, as core/src/pubsub/home.rs has it. */
class Server {
  life = 1;
  counter = 0n;
  /** Everything that was ever published, in all lives. */
  log = [];
  /** Topic → the offset below which this life has forgotten. */
  floors = new Map();
  wires = new Set();
  executed = new Map();

  get epoch() {
    return this.life.toString(16);
  }

  position(topic, offset) {
    return token({ epoch: this.epoch, offset }, hashOf(topic));
  }

  publish(topic) {
    this.counter += 1n;
    const message = { epoch: this.epoch, topic, offset: this.counter, position: this.position(topic, this.counter) };
    this.log.push(message);
    for (const wire of this.wires) if (wire.follows.has(topic)) wire.down("message", topic, message.position, this.log.length - 1);
  }

  forget(topic) {
    this.floors.set(topic, this.counter);
  }

  restart() {
    this.life += 1;
    this.counter = 0n;
    this.floors.clear();
    for (const wire of [...this.wires]) wire.cut();
  }

  join(wire, topic, since) {
    const at = parse(since, hashOf(topic)) ?? (since === "0" ? { epoch: this.epoch, offset: 0n } : null);
    const floor = this.floors.get(topic) ?? 0n;
    let recovery = null;
    let missed = [];
    if (at && at.epoch === this.epoch && at.offset <= this.counter) {
      const from = at.offset < floor ? floor : at.offset;
      missed = this.log.filter((one) => one.epoch === this.epoch && one.topic === topic && one.offset > from);
      const gap = { outcome: "gap", from: since, to: this.position(topic, floor) };
      recovery = at.offset < floor ? gap : { outcome: "resumed" };
    } else if (at) recovery = { outcome: "refused" };
    if (since === "0") recovery = null;
    const start = missed.length > 0 ? missed[0].offset - 1n : this.counter;
    wire.down("joined", topic, this.position(topic, start), recovery);
    for (const one of missed) wire.down("message", topic, one.position, this.log.indexOf(one));
    wire.follows.add(topic);
  }
}

/** One connection: everything arrives late, and in order. */
class Wire {
  follows = new Set();
  isOpen = true;
  #world;
  #id;
  #next = { up: 0, down: 0 };

  constructor(world, id, via) {
    [this.#world, this.#id] = [world, id];
    const barred = world.barred.get(via);
    if (barred === "silent") this.isOpen = false;
    else if (barred === "refused" || world.isDown) this.cut();
    else {
      this.#later("up", () => {
        world.server.wires.add(this);
        this.down("ready");
        if (barred === "cut") this.#later("down", () => this.cut());
      });
    }
  }

  down(type, ...values) {
    const { random } = this.#world;
    this.#later("down", () => this.#world.report(type, this.#id, ...values));
    if (type === "message" && random() < 0.1) this.#later("down", () => this.#world.report(type, this.#id, ...values));
  }

  follow({ topic, since }) {
    this.#later("up", () => this.#world.server.join(this, topic, since));
  }

  unfollow({ topic }) {
    this.#later("up", () => this.follows.delete(topic));
  }

  call({ call, args: [number] }) {
    this.#later("up", () => {
      const { executed } = this.#world.server;
      executed.set(number, (executed.get(number) ?? 0) + 1);
      if (this.#world.random() < 0.9) this.down("answered", call, { value: number });
    });
  }

  check() {
    this.#later("up", () => this.down("alive"));
  }

  /** The other side is gone, and this side learns of it. */
  cut() {
    this.isOpen = false;
    this.#world.server.wires.delete(this);
    this.#world.at(this.#world.random() * 50, () => this.#world.report("lost", this.#id, "cut", 0));
  }

  /** The other side is gone, and nobody says so. */
  die() {
    this.isOpen = false;
    this.#world.server.wires.delete(this);
  }

  close() {
    this.die();
  }

  #later(way, what) {
    const { now, random } = this.#world;
    this.#next[way] = Math.max(this.#next[way], now + random() * 100);
    this.#world.at(this.#next[way] - now, () => this.isOpen && what());
  }
}

/** What one subscription has seen, and what it has to see next. */
class Reader {
  /** { epoch, offset }, or null while any start will do. */
  at;
  isOldest;
  isOpen = false;
  #was = null;
  received = 0;

  constructor(world, topic, position) {
    Object.assign(this, { world, topic, hash: hashOf(topic) });
    this.isOldest = position === "0";
    this.at = parse(position, this.hash) ?? null;
  }

  get position() {
    return this.at ? token(this.at, this.hash) : this.isOldest ? "0" : "";
  }

  hear({ type, position, from, to, data }) {
    const { log, epoch } = this.world.server;
    if (this.#was) assert.deepEqual([type, from, to], ["gap", token(this.#was, this.hash), this.position], "a jump without a gap");
    this.#was = null;
    if (type === "open") {
      const start = parse(position, this.hash);
      if (this.at && position !== this.position) this.#was = this.at;
      else if (!this.at && this.isOldest) assert.ok(start.offset <= this.#oldest(), `${position} is not the oldest`);
      this.at = start;
      this.isOpen = true;
    } else if (type === "refused") {
      assert.notEqual(this.at?.epoch, epoch, "refused without a reason");
      this.at = null;
    } else if (type === "message") {
      assert.ok(this.isOpen, "a message before `open`");
      assert.equal(log[data].position, position);
      assert.equal(data, this.#next(), `after ${this.position}: ${position} came too early, or again`);
      this.at = parse(position, this.hash);
      this.received += 1;
    } else assert.ok(type === "resumed" || type === "gap", type);
  }

  /** The index of the message that comes next; -1: none. */
  #next() {
    const { epoch, offset } = this.at;
    return this.world.server.log.findIndex((one) => one.topic === this.topic && one.epoch === epoch && one.offset > offset);
  }

  /** The offset before the first message that may still be there. */
  #oldest() {
    const { server } = this.world;
    const floor = server.floors.get(this.topic) ?? 0n;
    const first = server.log.find((one) => one.topic === this.topic && one.epoch === server.epoch && one.offset > floor);
    return first ? first.offset - 1n : server.counter;
  }

  /** Whether everything has come that ever will. */
  get isDone() {
    return this.at?.epoch === this.world.server.epoch && this.#next() === -1;
  }
}

export class World {
  now = 0;
  server = new Server();
  /** Transport → "refused", "silent" or "cut". */
  barred = new Map();
  isDown = false;
  wires = new Map();
  readers = new Map();
  /** Call → what became of it. */
  answers = new Map();
  #events = [];
  #lastKey = 0;

  constructor(random, options = {}) {
    this.random = random;
    this.machine = new Machine({ random, ...options });
  }

  at(delay, what) {
    this.#events.push({ at: this.now + delay, what });
  }

  /** Lets time go by. */
  run(duration) {
    const end = this.now + duration;
    for (let turns = 0; ; turns += 1) {
      assert.ok(turns < 200_000, "it goes round and round");
      this.perform();
      const first = this.#events.reduce((best, one) => (best && best.at <= one.at ? best : one), null);
      const due = Math.min(first?.at ?? Infinity, this.machine.timeout);
      if (due > end) break;
      this.now = Math.max(this.now, due);
      if (first && first.at <= this.machine.timeout) {
        this.#events.splice(this.#events.indexOf(first), 1);
        first.what();
      } else this.machine.tick(this.now);
    }
    this.now = end;
  }

  report(type, id, ...values) {
    this.machine[type](this.now, id, ...values);
    this.perform();
  }

  perform() {
    for (const { wire, key, type, ...rest } of this.machine.take()) {
      if (type === "open" && wire) this.wires.set(wire, new Wire(this, wire, rest.via));
      else if (wire) this.wires.get(wire)[type](rest);
      else if (type === "answer") {
        assert.ok(!this.answers.has(key), "answered twice");
        this.answers.set(key, rest);
      } else if (key) this.readers.get(key)?.hear({ type, ...rest });
    }
  }

  subscribe(topic, position) {
    const key = `s${++this.#lastKey}`;
    this.readers.set(key, new Reader(this, topic, position));
    this.machine.subscribe(this.now, key, topic, position);
    this.perform();
    return key;
  }

  unsubscribe(key) {
    this.readers.delete(key);
    this.machine.unsubscribe(this.now, key);
    this.perform();
  }

  call(within = 5_000) {
    const key = `c${++this.#lastKey}`;
    this.machine.call(this.now, key, "count", [key], {}, this.now + within);
    this.perform();
    return key;
  }

  restart(downtime) {
    this.isDown = true;
    this.server.restart();
    this.at(downtime, () => (this.isDown = false));
  }
}
