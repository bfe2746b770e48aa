// The wires under `Realtime`: one class for each transport, publishing by POST, and position tokens.
//
// Every wire has `start(sink)`, `position` and `close()`; a wire that can publish has `publish(topic, data)`. It tells the
// sink `open()`, `message(data, topic)`, `recovery(entries)`, `interrupted()` and `lost(reason)`. It lives for one
// connection: after `lost` or `close` nothing more is expected of it. All times are in milliseconds.

const OPEN_WITHIN = 10_000;
const ANSWER_WITHIN = 10_000;
/** How long the browser's own EventSource reconnect (which knows the server's `retry:`) may take before ours does it. */
const NATIVE_RETRY_WITHIN = 30_000;
/** When no message came for this long after a WebSocket's hello, its replay is over. */
const REPLAY_QUIET = 2_000;
const POLL_WAIT_SECONDS = 25;

/**
 * Combines two position tokens (`EPOCH-HASH.OFFSET-HASH.OFFSET…`, one part for each topic): parts of `fresh` replace
 * those of `old` with the same hash. Tokens of different epochs cannot be combined, so then `fresh` stands alone.
 */
export function mergePosition(old, fresh) {
  if (!fresh) return old;
  const [before, after] = [parsePosition(old), parsePosition(fresh)];
  if (before.epoch !== after.epoch) return fresh;
  const offsets = new Map([...before.offsets, ...after.offsets]);
  return [after.epoch, ...[...offsets].map(([hash, offset]) => `${hash}.${offset}`)].join("-");
}

function parsePosition(token) {
  const pieces = token.split("-");
  const isOffset = (piece) => piece.includes(".");
  return {
    epoch: pieces.filter((piece) => !isOffset(piece)).join("-"),
    offsets: new Map(pieces.filter(isOffset).map((piece) => piece.split("."))),
  };
}

/** `/-/ws`: messages carry the position of their own topic only, so the wire keeps the latest of each. */
class SocketWire {
  #topics;
  #asked;
  #merged;
  /** Parts of the hello's position that the replay has not reached; until it has, only `#asked` loses nothing. */
  #owed = new Set();
  #quiet = 0;
  #deadline = 0;
  #socket;
  #sink;
  #calls = new Map();
  #lastRequest = 0;

  constructor(topics, position) {
    this.#topics = topics;
    this.#asked = this.#merged = position;
  }

  get position() {
    return this.#owed.size ? this.#asked : this.#merged;
  }

  start(sink) {
    this.#sink = sink;
    const url = new URL(`/-/ws?${followQuery(this.#topics, { position: this.#asked })}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new WebSocket(url);
    this.#socket.onmessage = ({ data }) => this.#frame(JSON.parse(data));
    this.#socket.onclose = ({ reason }) => sink.lost(reason);
    this.#deadline = setTimeout(() => sink.lost("timeout"), OPEN_WITHIN);
  }

  publish(topic, data) {
    if (this.#socket.readyState !== WebSocket.OPEN) {
      return Promise.reject(new PublishError("not connected", { later: true }));
    }
    const id = ++this.#lastRequest;
    return new Promise((resolve, reject) => {
      // A socket that does not answer is not better than a closed one.
      const timer = setTimeout(() => this.#sink.lost("timeout"), ANSWER_WITHIN);
      this.#calls.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify(["brolly.publish", { request_id: id }, [topic, data], {}]));
    });
  }

  close() {
    clearTimeout(this.#quiet);
    clearTimeout(this.#deadline);
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    for (const id of [...this.#calls.keys()]) {
      this.#answer(id, ({ reject }) => reject(new PublishError("connection lost", { later: true })));
    }
  }

  #frame([kind, meta, body]) {
    if (kind === "hello") this.#hello(body);
    else if (kind === "message") this.#message(meta, body);
    else if (kind === "result") this.#answer(meta.request_id, ({ resolve }) => resolve(body));
    else if (kind === "error") {
      this.#answer(meta.request_id, ({ reject }) => reject(new PublishError(describe(meta.error_kind, body))));
    }
  }

  #hello({ position, recovery }) {
    clearTimeout(this.#deadline);
    this.#sink.open();
    if (recovery) this.#sink.recovery(recovery);
    this.#merged = mergePosition(this.#asked, position);
    if (!recovery) return;
    const known = parsePosition(this.#asked).offsets;
    for (const [hash, offset] of parsePosition(position).offsets) {
      if (known.get(hash) !== offset) this.#owed.add(`${hash}.${offset}`);
    }
    this.#awaitReplay();
  }

  #message({ topic, position }, data) {
    this.#sink.message(data, topic);
    this.#merged = mergePosition(this.#merged, position);
    if (!this.#owed.size) return;
    for (const [hash, offset] of parsePosition(position).offsets) this.#owed.delete(`${hash}.${offset}`);
    this.#awaitReplay();
  }

  #awaitReplay() {
    clearTimeout(this.#quiet);
    // A topic whose messages are no longer kept never reaches its part.
    if (this.#owed.size) this.#quiet = setTimeout(() => this.#owed.clear(), REPLAY_QUIET);
  }

  #answer(id, settle) {
    const call = this.#calls.get(id);
    if (!call) return;
    this.#calls.delete(id);
    clearTimeout(call.timer);
    settle(call);
  }
}

/** `/-/sse`: the event id is a position that covers all topics. */
class StreamWire {
  #topics;
  #source;
  #deadline = 0;

  constructor(topics, position) {
    this.#topics = topics;
    this.position = position;
  }

  start(sink) {
    const source = new EventSource(`/-/sse?${followQuery(this.#topics, { last_event_id: this.position })}`);
    let opened = false;
    this.#source = source;
    this.#deadline = setTimeout(() => sink.lost("timeout"), OPEN_WITHIN);
    source.onopen = () => {
      clearTimeout(this.#deadline);
      opened = true;
      sink.open();
    };
    source.onmessage = ({ data, lastEventId }) => {
      sink.message(JSON.parse(data));
      if (lastEventId) this.position = lastEventId;
    };
    source.addEventListener("brolly.recovery", ({ data }) => sink.recovery([JSON.parse(data)]));
    source.onerror = () => {
      clearTimeout(this.#deadline);
      // The first reconnect after a good connection is the browser's: it knows the server's `retry:`, we do not.
      // When that fails too, or the answer was not an event stream at all, the back-off takes over.
      if (!opened || source.readyState === EventSource.CLOSED) return sink.lost();
      opened = false;
      this.#deadline = setTimeout(() => sink.lost("timeout"), NATIVE_RETRY_WITHIN);
      sink.interrupted();
    };
  }

  close() {
    clearTimeout(this.#deadline);
    this.#source.close();
  }
}

/** `/-/poll`: each answer says where the next request starts. */
class PollWire {
  #topics;
  #stopped = new AbortController();

  constructor(topics, position) {
    this.#topics = topics;
    this.position = position;
  }

  async start(sink) {
    // The first answer comes without waiting: it tells that the server is there.
    let wait = 0;
    try {
      while (!this.#stopped.signal.aborted) {
        const startedAt = performance.now();
        const answer = await this.#ask(wait);
        if (wait === 0) sink.open();
        if (answer.recovery) sink.recovery(answer.recovery);
        for (const { topic, data } of answer.messages) sink.message(data, topic);
        this.position = answer.position;
        const early = wait > 0 && !answer.messages.length && performance.now() - startedAt < 500;
        // An empty answer that comes early (a server that drains, a proxy) must not make us spin.
        if (early) await sleep(1_000);
        wait = POLL_WAIT_SECONDS;
      }
    } catch (error) {
      sink.lost(error.message);
    }
  }

  async #ask(wait) {
    const timeout = AbortSignal.timeout(wait * 1_000 + OPEN_WITHIN);
    const stop = new AbortController();
    const abort = () => stop.abort();
    for (const signal of [timeout, this.#stopped.signal]) signal.addEventListener("abort", abort);
    try {
      const query = followQuery(this.#topics, { position: this.position, wait });
      const response = await fetch(`/-/poll?${query}`, { signal: stop.signal, cache: "no-store" });
      if (!response.ok) throw new Error(`status ${response.status}`);
      return await response.json();
    } finally {
      this.#stopped.signal.removeEventListener("abort", abort);
    }
  }

  close() {
    this.#stopped.abort();
  }
}

/** The wire of each transport, by the name a page uses for it. */
export const WIRES = { ws: SocketWire, sse: StreamWire, poll: PollWire };

/** Why something was not published, and whether the same call may succeed `later`. */
export class PublishError extends Error {
  constructor(message, { later = false } = {}) {
    super(message);
    this.name = "PublishError";
    this.later = later;
  }
}

/** Publishes by a request of its own. */
export async function post(topic, data) {
  let response;
  try {
    response = await fetch(publishPath(topic), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(data),
      signal: AbortSignal.timeout(ANSWER_WITHIN),
    });
    if (response.ok) return await response.json();
  } catch {
    throw new PublishError("the server cannot be reached", { later: true });
  }
  const later = response.status >= 500 || response.status === 429 || response.status === 408;
  const line = (await response.text().catch(() => "")).trim().split("\n")[0];
  throw new PublishError(line || `status ${response.status}`, { later });
}

/** Publishes while the page goes away, when no answer can be waited for. */
export function publishBeacon(topic, data) {
  const body = new Blob([JSON.stringify(data)], { type: "application/json" });
  if (navigator.sendBeacon?.(publishPath(topic), body)) return;
  fetch(publishPath(topic), { method: "POST", body, keepalive: true }).catch(() => {});
}

function followQuery(topics, parameters) {
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== "") query.append(name, value);
  }
  return query;
}

function publishPath(topic) {
  return `/-/publish/${encodeURIComponent(topic)}`;
}

function describe(kind, detail) {
  return typeof detail === "string" && detail ? detail : String(kind ?? "refused").replaceAll("_", " ");
}

function sleep(delay) {
  return new Promise((resolve) => setTimeout(resolve, delay));
}
