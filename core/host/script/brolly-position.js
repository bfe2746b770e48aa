// Position tokens: `EPOCH-HASH.OFFSET`, with more parts where a token covers several topics (core/src/pubsub/position.rs).

const TOKEN = /^[0-9a-f]+(-[0-9a-f]+(\.[0-9a-f]+)?)*$/;

/** FNV-1a, 32 bits, of a topic's name: what stands for it in tokens. */
export function hashOf(topic) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(topic)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16);
}

/**
 * What a token says about one topic: `{ epoch, offset }`. `null`: nothing, as "" and "0". `undefined`: it is none.
 */
export function parse(text, hash) {
  if (!text || text === "0") return null;
  if (!TOKEN.test(text)) return undefined;
  let epoch;
  for (const part of text.split("-")) {
    const [name, offset] = part.split(".");
    if (offset === undefined) epoch = name;
    else if (name === hash) return { epoch, offset: BigInt(`0x${offset}`) };
  }
  return null;
}

/** The token of one topic. */
export function token({ epoch, offset }, hash) {
  return `${epoch}-${hash}.${offset.toString(16)}`;
}

/** One token for several topics, from one of each. */
export function combine(tokens) {
  let [text, last] = ["", null];
  for (const one of tokens) {
    const epoch = one.slice(0, one.indexOf("-"));
    if (epoch === last) text += one.slice(epoch.length);
    else text += text === "" ? one : `-${one}`;
    last = epoch;
  }
  return text;
}

/** Whether `one` is beyond `other`. Positions of different epochs cannot be compared: then it is new. */
export function above(one, other) {
  if (!one || !other) return Boolean(one);
  return one.epoch !== other.epoch || one.offset > other.offset;
}
