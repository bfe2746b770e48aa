// The three ways to the server. A wire lives for one connection and tells the machine what comes of it:
//
//     tell("ready") | ("joined", topic, position, recovery) | ("message", topic, position, data) | ("failed", topic, reason)
//        | ("answered", call, answer) | ("alive") | ("lost", reason, wait)
//
// After "lost" or `close()` nothing more is expected of it. All times are in milliseconds.

import { combine, hashOf, parse, token } from "./brolly-position.js";

/** A request that waits for nothing is answered by then. */
const ANSWER_WITHIN = 10_000;
const POLL_SECONDS = 25;
/** An empty answer that comes early (a server that drains, a proxy) must not make us spin. */
const POLL_PAUSE = 1_000;

/** One WebSocket; everything is a call. */
class SocketWire {
  #tell;
  #socket;
  /** Request id → { topic } or { call }. */
  #asked = new Map();
  #last = 0;

  constructor(base, tell, { WebSocket }) {
    this.#tell = tell;
    const url = new URL("ws", base);
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new WebSocket(url);
    this.#socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    this.#socket.onclose = ({ code, reason }) => tell("lost", reason || `closed with ${code}`);
    // It says nothing that `close` does not; outside of browsers an error that nobody listens for ends the program.
    this.#socket.onerror = () => {};
  }

  follow(topic, since) {
    this.#send({ topic }, "brolly.subscribe", [topic], since === null ? {} : { position: since });
  }

  unfollow(topic) {
    this.#send({}, "brolly.unsubscribe", [topic]);
  }

  call({ call, method, args, keywords }) {
    this.#send({ call }, method, args, keywords);
  }

  check() {
    this.#send({}, "brolly.unsubscribe", []);
  }

  close() {
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }

  #send(about, method, args, keywords = {}) {
    this.#asked.set(++this.#last, about);
    this.#socket.send(JSON.stringify([method, { request_id: this.#last }, args, keywords]));
  }

  #hear([kind, meta, body]) {
    if (kind === "hello") return this.#tell("ready");
    if (kind === "message") return this.#tell("message", meta.topic, meta.position, body);
    const { topic, call } = this.#asked.get(meta.request_id) ?? {};
    this.#asked.delete(meta.request_id);
    const reason = typeof body === "string" ? body : JSON.stringify(body);
    if (call) this.#tell("answered", call, kind === "result" ? { value: body } : { kind: meta.error_kind ?? "error", reason });
    else if (!topic) this.#tell("alive");
    else if (kind === "result") this.#tell("joined", topic, body.position, body.recovery?.[0]);
    else this.#tell("failed", topic, reason);
  }
}

/** What the two wires of requests share. */
class RequestWire {
  base;
  tell;
  env;
  #closed = new AbortController();

  constructor(base, tell, env, topic) {
    [this.base, this.tell, this.env] = [base, tell, env];
    // Not before the fields of the wire are there.
    Promise.resolve().then(() => this.run(topic)).catch((error) => this.#closed.signal.aborted || tell("lost", error.message, error.wait));
  }

  close() {
    this.#closed.abort();
  }

  /** The answer, as it comes. Throws unless it is a success; then with `status`, and `wait` if the server says how long. */
  async request(path, options = {}) {
    const url = new URL(path, this.base);
    const response = await this.env.fetch(url, { cache: "no-store", signal: this.#closed.signal, ...options });
    if (!response.ok) throw await refusal(response);
    return response;
  }

  /** The answer's JSON, which comes `within` a time. */
  async ask(path, { within, signal, ...options }) {
    const end = new AbortController();
    const abort = () => end.abort();
    const timer = this.env.setTimeout(abort, within);
    const signals = [this.#closed.signal, signal].filter(Boolean);
    for (const one of signals) one.aborted ? abort() : one.addEventListener("abort", abort);
    try {
      return await (await this.request(path, { ...options, signal: end.signal })).json();
    } finally {
      this.env.clearTimeout(timer);
      for (const one of signals) one.removeEventListener("abort", abort);
    }
  }
}

/** An error that says what the server said. */
export async function refusal(response) {
  const told = response.headers.get("retry-after");
  const seconds = /^\d+$/.test(told) ? Number(told) : (Date.parse(told) - Date.now()) / 1_000;
  const text = await response.text().catch(() => "");
  const error = new Error(text.trim().split("\n")[0].slice(0, 200) || `status ${response.status}`);
  return Object.assign(error, { status: response.status, wait: seconds > 0 ? seconds * 1_000 : 0 });
}

/** One event stream, whose topics are changed by requests to its own address. */
class StreamWire extends RequestWire {
  #address = null;
  /** What is to be asked next: one request at a time keeps the order. */
  #subscribe = {};
  #unsubscribe = new Set();
  #isAsking = false;
  #wait = 0;
  #reason = "the stream has ended";

  async run() {
    const response = await this.request("sse?address=1", { headers: { Accept: "text/event-stream" } });
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) throw new Error("no event stream");
    for await (const event of events(response.body)) {
      if (event.retry !== undefined) this.#wait = event.retry;
      else this.#hear(event);
    }
    throw Object.assign(new Error(this.#reason), { wait: this.#wait });
  }

  follow(topic, since) {
    this.#unsubscribe.delete(topic);
    this.#subscribe[topic] = since;
    this.#change();
  }

  unfollow(topic) {
    this.#unsubscribe.add(topic);
    this.#change();
  }

  check() {
    this.#change(true);
  }

  #hear({ type, data }) {
    this.tell("alive");
    if (type === "brolly.stream") {
      this.#address = new URL(JSON.parse(data).address, this.base);
      this.tell("ready");
    } else if (type === "brolly.subscribed") {
      const { topic, position, recovery } = JSON.parse(data);
      this.tell("joined", topic, position, recovery);
    } else if (type === "brolly.failed") {
      const { topic, reason } = JSON.parse(data);
      this.tell("failed", topic, reason);
    } else if (type === "brolly.end") {
      this.#reason = JSON.parse(data).reason;
    } else if (type === "message" && data) {
      const [, { topic, position }, body] = JSON.parse(data);
      this.tell("message", topic, position, body);
    }
  }

  /** Sends what has gathered, and then what gathers meanwhile. */
  async #change(isCheck = false) {
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (isCheck || this.#unsubscribe.size > 0 || Object.keys(this.#subscribe).length > 0) {
      isCheck = false;
      const body = { subscribe: this.#subscribe, unsubscribe: [...this.#unsubscribe] };
      this.#subscribe = {};
      this.#unsubscribe.clear();
      try {
        await this.ask(this.#address, {
          within: ANSWER_WITHIN,
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(body),
        });
        this.tell("alive");
      } catch (error) {
        const { status, message, wait } = error;
        // The stream is unknown, or the server is in trouble: that says nothing of the topics.
        if (!(status >= 400 && status < 500) || [404, 408, 429].includes(status)) return this.tell("lost", message, wait);
        for (const topic of Object.keys(body.subscribe)) this.tell("failed", topic, message);
      }
    }
    this.#isAsking = false;
  }
}

/** One request after the other. A topic without a position of its own gets one by a request that does not wait. */
class PollWire extends RequestWire {
  /** Topic → token. */
  #positions = new Map();
  /** Topic → what was asked for, until it has a token. */
  #fresh = new Map();
  #changed = new AbortController();
  #wake = () => {};

  async run(topic = "brolly") {
    // Nothing but a look whether the server is there; one that dislikes the topic is.
    await this.#poll([topic], "", 0).catch((error) => {
      if (error.status !== 400) throw error;
    });
    this.tell("ready");
    for (;;) {
      this.#changed = new AbortController();
      for (const [topic, since] of [...this.#fresh]) await this.#join(topic, since);
      if (this.#fresh.size > 0) continue;
      if (this.#positions.size > 0) await this.#wait();
      else await new Promise((resolve) => (this.#wake = resolve));
    }
  }

  follow(topic, since) {
    this.#positions.delete(topic);
    this.#fresh.set(topic, since);
    this.#interrupt();
  }

  unfollow(topic) {
    this.#positions.delete(topic);
    this.#fresh.delete(topic);
    this.#interrupt();
  }

  check() {}

  #interrupt() {
    this.#changed.abort();
    this.#wake();
  }

  async #join(topic, since) {
    let answer;
    try {
      answer = await this.#poll([topic], since ?? "", 0);
    } catch (error) {
      if (error.status !== 400) throw error;
      this.#fresh.delete(topic);
      return this.tell("failed", topic, error.message);
    }
    if (this.#fresh.get(topic) !== since) return;
    this.#fresh.delete(topic);
    const { position, messages, recovery } = answer;
    const hash = hashOf(topic);
    const first = messages.length > 0 ? parse(messages[0].position, hash) : null;
    const start = first ? token({ ...first, offset: first.offset - 1n }, hash) : position;
    this.#positions.set(topic, position);
    this.tell("joined", topic, start, recovery?.[0]);
    for (const { position, data } of messages) this.tell("message", topic, position, data);
  }

  async #wait() {
    const topics = [...this.#positions.keys()];
    const asked = this.env.performance.now();
    let answer;
    try {
      answer = await this.#poll(topics, combine(this.#positions.values()), POLL_SECONDS, this.#changed.signal);
    } catch (error) {
      if (this.#changed.signal.aborted) return;
      throw error;
    }
    const { position, messages, recovery } = answer;
    this.tell("alive");
    // What was followed from here is there no longer: only the machine knows from where to go on.
    if (recovery?.some(({ outcome }) => outcome !== "resumed")) throw new Error("the server has forgotten our position");
    for (const topic of topics) {
      const [hash, at] = [hashOf(topic), parse(position, hashOf(topic))];
      if (at && this.#positions.has(topic)) this.#positions.set(topic, token(at, hash));
    }
    for (const { topic, position, data } of messages) this.tell("message", topic, position, data);
    if (messages.length === 0 && this.env.performance.now() - asked < POLL_PAUSE) {
      await new Promise((resolve) => this.env.setTimeout(resolve, POLL_PAUSE));
    }
  }

  #poll(topics, position, wait, signal) {
    const query = new URLSearchParams([...topics.map((topic) => ["topic", topic]), ["position", position], ["wait", wait]]);
    return this.ask(`poll?${query}`, { within: wait * 1_000 + ANSWER_WITHIN, signal });
  }
}

/** The wires by the name of their transport: `new WIRES[via](base, tell, env, topic)`; `topic` is one that will be followed. */
export const WIRES = { ws: SocketWire, sse: StreamWire, poll: PollWire };

/** The events of a stream (WHATWG HTML §9.2.6): `{ type, data }`, also for comments; `{ retry }` on its own. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, type, data] = ["", "", []];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    // A line feed may follow in the next piece.
    const text = rest + value;
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      const [, name, content] = /^([^:]*):? ?([^]*)$/.exec(line);
      if (line === "") {
        if (data.length > 0) yield { type: type || "message", data: data.join("\n") };
        [type, data] = ["", []];
      } else if (name === "event") type = content;
      else if (name === "data") data.push(content);
      else if (name === "retry" && /^\d+$/.test(content)) yield { retry: Number(content) };
      else if (name === "") yield { type: "comment", data: "" };
    }
  }
}
