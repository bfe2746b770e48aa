/** `"ws"`: WebSocket, `"sse"`: Server-Sent Events, `"poll"`: long-poll. */
export type Transport = "ws" | "sse" | "poll";

/**
 * - `"connecting"`: on the way, perhaps by one transport after the other.
 * - `"open"`: messages come.
 * - `"waiting"`: the connection was lost; the next try is at `retryAt`.
 * - `"offline"`: the same, and the browser says that there is no network. Tries go on slowly; `online` hurries them.
 * - `"closed"`: nothing is followed, or `close()` was called.
 */
export type State = "connecting" | "open" | "waiting" | "offline" | "closed";

/** All transports, from the best to the one that works wherever HTTP does. */
export const TRANSPORTS: readonly Transport[];

export interface BrollyOptions {
  /** Where brolly's endpoints `ws`, `sse`, `poll` and `publish` are. Default `"/-/"`. */
  url?: string | URL;
  /** Which transports may be used, the best first. Default: all. */
  transports?: readonly Transport[];
  /** Whether the pages of this origin share a connection, by a SharedWorker. Default `true`. Without SharedWorker each page has its own. */
  shared?: boolean;
}

/**
 * Follows topics, publishes and calls over one connection, which it makes when it is needed and makes anew when it is lost:
 * by back-off (0.5 s doubling to 30 s, with jitter, later if the server says so), at once when the network or the page
 * comes back. A transport that cannot be opened, is cut at once or is not ready within 8 s gives way to the next; a better
 * one is tried again beside it after 5 s, then ever more rarely. Tells `statechange` events.
 */
export class Brolly extends EventTarget {
  constructor(options?: BrollyOptions);

  readonly state: State;
  /** By what the connection is made while it is open. */
  readonly transport: Transport | null;
  /** When the next try is, as `Date.now()` counts (milliseconds). */
  readonly retryAt: number | null;
  /** Why the last connection was lost, as the server said it if it did; for people. */
  readonly reason: string;
  /** Whether the connection is shared with other pages. */
  readonly shared: boolean;

  /**
   * Follows a topic. Each call is a subscription of its own, also to the same topic; the server is asked once.
   * @throws TypeError after `close()`.
   */
  subscribe<T = any>(topic: string, options?: SubscribeOptions): Subscription<T>;

  /**
   * Publishes JSON: over the WebSocket if that is open, else by POST.
   * @throws BrollyError (as a rejection)
   */
  publish(topic: string, data: unknown, options?: AskOptions): Promise<Receipt>;

  /**
   * Calls a method of the server over the WebSocket, and waits for one if there is none yet.
   * @throws BrollyError (as a rejection)
   */
  call<T = any>(method: string, args?: readonly unknown[], keywords?: Record<string, unknown>, options?: AskOptions): Promise<T>;

  /** Connects anew at once, whatever the back-off says; for all pages that share the connection. */
  reconnect(): void;

  /** Ends all subscriptions; calls that are not answered are rejected. Other pages go on. */
  close(): void;

  addEventListener(type: "statechange", listener: (event: Event) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}

export interface SubscribeOptions {
  /**
   * Where to begin: `""` (default) now, `"0"` with the oldest message that the server still has, or the `position` that a
   * subscription, a message (`lastEventId`) or a receipt had.
   */
  position?: string;
  /** Closes the subscription when it is aborted. */
  signal?: AbortSignal;
}

export interface AskOptions {
  /** How long to wait for the answer; milliseconds. Default 10,000. */
  timeout?: number;
}

export interface Receipt {
  topic: string;
  position: string;
  subscribers: number;
}

export interface SubscriptionEventMap<T> {
  /** A message; `lastEventId` is its position. Each once, in the server's order. */
  message: MessageEvent<T>;
  /** The server lets us follow the topic, for the first time or again. `position` says from where. */
  open: Event;
  /** After `open`: everything that was missed follows. */
  resumed: Event;
  /** After `open`: messages between `from` and `to` may have been forgotten; everything after them follows. */
  gap: Event & { readonly from: string; readonly to: string };
  /**
   * Before `open`: the position is not one of this server's (it was restarted, say), so load your state anew. What is new
   * follows; if the subscription began with `"0"`, everything that the server has now.
   */
  refused: Event;
  /** The server does not let us follow this topic; the subscription is closed. */
  error: Event & { readonly reason: string };
}

/** A topic that is followed. An async iterable of its messages, too; an iterator holds up to 10,000 for a slow reader. */
export class Subscription<T = any> extends EventTarget implements AsyncIterable<MessageEvent<T>> {
  private constructor();

  readonly topic: string;
  /** What to begin with next time in order to miss nothing: all messages before it have been delivered. */
  readonly position: string;

  close(): void;

  addEventListener<K extends keyof SubscriptionEventMap<T>>(
    type: K,
    listener: (event: SubscriptionEventMap<T>[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;

  [Symbol.asyncIterator](): AsyncIterator<MessageEvent<T>, undefined>;
}

/** Why a call or a publication has no result. */
export class BrollyError extends Error {
  private constructor();

  /**
   * - `"busy"`: too much is on its way; try again.
   * - `"closed"`: `close()` was called.
   * - `"disconnected"`: the connection was lost before the answer.
   * - `"timeout"`: no answer in time.
   * - `"unsupported"`: there is no WebSocket to call over.
   * - `"refused"`, `"validation_error"` or another word of the server's: it will not do it.
   */
  readonly kind: "busy" | "closed" | "disconnected" | "timeout" | "unsupported" | "refused" | "validation_error" | (string & {});
  /** Whether it was sent, so that it may have been carried out. */
  readonly sent: boolean;
}
