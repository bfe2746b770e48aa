// Everything that brolly.d.ts promises, used once; it is only compiled (see types.test.mjs).

import { Brolly, BrollyError, type Receipt, type State, type Subscription, TRANSPORTS, type Transport } from "../../../core/host/script/brolly.js";

interface News {
  headline: string;
}

export async function everything(): Promise<void> {
  const brolly = new Brolly({ url: new URL("https://example.org/-/"), transports: [...TRANSPORTS, "ws"], shared: false });
  const state: State = brolly.state;
  const [via, at, why, shared]: [Transport | null, number | null, string, boolean] = [brolly.transport, brolly.retryAt, brolly.reason, brolly.shared];
  brolly.addEventListener("statechange", () => console.log(state, via, at, why, shared));

  const news: Subscription<News> = brolly.subscribe<News>("news", { position: "0", signal: AbortSignal.timeout(1_000) });
  news.addEventListener("message", ({ data, lastEventId }) => console.log(data.headline.length, lastEventId));
  news.addEventListener("open", () => console.log(news.topic, news.position));
  news.addEventListener("resumed", () => {});
  news.addEventListener("gap", ({ from, to }) => console.log(from.length, to.length));
  news.addEventListener("refused", () => {});
  news.addEventListener("error", ({ reason }) => console.log(reason.length));
  for await (const { data } of news) console.log(data.headline);

  try {
    const receipt: Receipt = await brolly.publish("news", { headline: "it rains" }, { timeout: 1_000 });
    const answer = await brolly.call<{ n: number }>("count", [1], { by: 2 }, { timeout: 1_000 });
    console.log(receipt.subscribers + answer.n);
  } catch (error) {
    if (error instanceof BrollyError && error.kind === "timeout" && !error.sent) brolly.reconnect();
  }

  // @ts-expect-error: there is no such transport.
  new Brolly({ transports: ["carrier pigeon"] });
  // @ts-expect-error: a state is read.
  brolly.state = "open";
  news.close();
  brolly.close();
}
