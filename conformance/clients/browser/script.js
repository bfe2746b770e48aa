// brolly.js in headless Chromium: tabs that share a connection, transports that are barred, paths that are cut, a server that restarts.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const pathOf = require("node:path");
const { Brolly, check, eventually, sleep } = require("../checks.js");
const { Relay } = require("../relay.js");

const UPGRADE = /^upgrade: websocket/im;
const STREAM = /^GET \/-\/sse/;
const POLL = /^GET \/-\/poll/;
const IS = { ws: UPGRADE, sse: STREAM, poll: POLL };

/** A tab with brolly.js in it, on a page that has nothing else. */
class Tab {
  static async open(context, url, options = {}) {
    const tab = new Tab();
    tab.page = await context.newPage();
    tab.errors = [];
    tab.page.on("pageerror", (error) => tab.errors.push(error.message));
    await tab.load(url, options);
    return tab;
  }

  async load(url, options) {
    await this.page.goto(url.includes("/", 8) ? url : `${url}/-/brolly.d.ts`);
    await this.page.evaluate(async (options) => {
      const { Brolly } = await import("/-/brolly.js");
      window.states = [];
      window.logs = {};
      window.brolly = new Brolly(options);
      window.brolly.addEventListener("statechange", () => window.states.push(window.brolly.state));
    }, options);
  }

  /** Follows a topic; what comes is kept under `name`. */
  async follow(topic, options = {}, name = topic) {
    await this.page.evaluate(
      ([topic, options, name]) => {
        const log = (window.logs[name] = []);
        const subscription = window.brolly.subscribe(topic, options);
        log.subscription = subscription;
        for (const type of ["open", "resumed", "gap", "refused", "error"]) subscription.addEventListener(type, () => log.push(type));
        subscription.addEventListener("message", ({ data }) => log.push(data));
      },
      [topic, options, name],
    );
  }

  async log(name) {
    return await this.page.evaluate((name) => [...window.logs[name]], name);
  }

  async messages(name) {
    return (await this.log(name)).filter((one) => typeof one === "number");
  }

  async has(name, ...expected) {
    await eventually(async () => (await this.log(name)).length >= expected.length, "").catch(() => {});
    assert.deepEqual(await this.log(name), expected);
  }

  async status() {
    return await this.page.evaluate(() => [window.brolly.state, window.brolly.transport, window.brolly.shared]);
  }

  async is(...expected) {
    let found;
    await eventually(async () => (found = await this.status()).join() === expected.join(), "", 20_000).catch(() => {});
    assert.deepEqual(found, expected);
  }

  async publish(topic, data) {
    return await this.page.evaluate(([topic, data]) => window.brolly.publish(topic, data), [topic, data]);
  }

  async close() {
    assert.deepEqual(this.errors, []);
    await this.page.close();
  }
}

/** A relay to the demo, and a publisher beside it. */
async function path(setting) {
  const relay = await new Relay(setting.demo.port).open();
  const publish = async (topic, data) => {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) };
    return await (await fetch(`${setting.demo.url}/-/publish/${topic}`, options)).json();
  };
  return { relay, publish, url: `http://127.0.0.1:${relay.port}` };
}

for (const via of ["ws", "sse", "poll"]) {
  check(`script: ten tabs share one connection over ${via}, and each gets what it follows`, async (setting) => {
    const { relay, publish, url } = await path(setting);
    const tabs = [];
    for (let n = 0; n < 10; n += 1) {
      const tab = await Tab.open(setting.context, url, { transports: [via] });
      tabs.push(tab);
      await tab.follow(`ten-${via}`);
      await tab.follow(`ten-${via}-${n}`);
      await tab.is("open", via, true);
    }
    for (const [n, tab] of tabs.entries()) {
      await tab.has(`ten-${via}`, "open");
      await tab.has(`ten-${via}-${n}`, "open");
    }
    assert.equal(relay.countOpen(IS[via]), 1, "connections");
    assert.equal((await tabs[9].publish(`ten-${via}`, 1)).subscribers, 1);
    for (const [n, tab] of tabs.entries()) await publish(`ten-${via}-${n}`, n);
    for (const [n, tab] of tabs.entries()) {
      await tab.has(`ten-${via}`, "open", 1);
      await tab.has(`ten-${via}-${n}`, "open", n);
    }
    // The browser has room for other requests.
    assert.equal(await tabs[9].page.evaluate(async () => (await fetch("/chat.js", { cache: "no-store" })).status), 200);
    for (const tab of tabs.slice(1)) await tab.close();
    await eventually(async () => (await publish(`ten-${via}-9`, 0)).subscribers === 0, "a topic is followed that no tab follows");
    await publish(`ten-${via}`, 2);
    await tabs[0].has(`ten-${via}`, "open", 1, 2);
    assert.equal(relay.countOpen(IS[via]), 1, "connections");
    await tabs[0].close();
    await eventually(() => relay.countOpen(IS[via]) === 0, "the connection outlives the tabs");
    await relay.cut();
  });

  check(`script: no loss and nothing twice over ${via}, for two tabs from different positions, through cuts`, async (setting) => {
    const { relay, publish, url } = await path(setting);
    const topic = `cuts-${via}`;
    for (let n = 0; n < 5; n += 1) await publish(topic, n);
    const [one, other] = [await Tab.open(setting.context, url, { transports: [via] }), await Tab.open(setting.context, url, { transports: [via] })];
    await one.follow(topic);
    await one.has(topic, "open");
    await other.follow(topic, { position: "0" });
    await other.has(topic, "open", 0, 1, 2, 3, 4);
    const publishing = (async () => {
      for (let n = 5; n < 205; n += 1) {
        await publish(topic, n);
        await sleep(15);
      }
    })();
    for (let round = 0; round < 3; round += 1) {
      await sleep(500);
      await relay.cut();
      await sleep(300);
      await relay.open();
    }
    await publishing;
    const all = Array.from({ length: 205 }, (_, n) => n);
    await eventually(async () => (await one.messages(topic)).at(-1) === 204 && (await other.messages(topic)).at(-1) === 204, "the end is missing", 30_000);
    assert.deepEqual(await one.messages(topic), all.slice(5));
    assert.deepEqual(await other.messages(topic), all);
    const told = new Set((await one.log(topic)).filter((one) => typeof one === "string"));
    assert.deepEqual([...told], ["open", "resumed"]);
    await Promise.all([one.close(), other.close()]);
    await relay.cut();
  });
}

check("script: a WebSocket that is barred gives way to an event stream, that to a long-poll, and it is remembered", async (setting) => {
  const { relay, publish, url } = await path(setting);
  let tried = [];
  const barring = (...patterns) => {
    tried = [];
    relay.judge = (head) => {
      const name = Object.keys(IS).find((name) => IS[name].test(head));
      if (name && tried.at(-1) !== name) tried.push(name);
      return patterns.some((pattern) => pattern.test(head)) ? "drop" : "pass";
    };
  };
  barring(UPGRADE);
  const tab = await Tab.open(setting.context, url);
  await tab.follow("barred", { position: "0" });
  await tab.is("open", "sse", true);
  assert.deepEqual(tried, ["ws", "sse"]);
  await tab.publish("barred", 1);
  await tab.has("barred", "open", 1);
  // It has to be good for a while before it is remembered.
  await sleep(3_500);

  barring(UPGRADE, STREAM);
  await relay.cut();
  await relay.open();
  await tab.is("open", "poll", true);
  await publish("barred", 2);
  await eventually(async () => (await tab.messages("barred")).join() === "1,2", "a message is missing");

  barring(UPGRADE);
  await tab.load(`${url}/-/brolly.d.ts?again`, {});
  await tab.follow("barred", { position: "0" });
  await tab.is("open", "poll", true);
  assert.deepEqual(tried, ["poll"]);
  await tab.close();
  await relay.cut();
});

check("script: an event stream that is cut at once gives way to a long-poll", async (setting) => {
  const { relay, publish, url } = await path(setting);
  relay.judge = (head) => (UPGRADE.test(head) ? "drop" : STREAM.test(head) ? "cut" : "pass");
  const tab = await Tab.open(setting.context, url);
  await tab.follow("cut.at.once", { position: "0" });
  await tab.is("open", "poll", true);
  await publish("cut.at.once", 1);
  await eventually(async () => (await tab.messages("cut.at.once")).join() === "1", "a message is missing");
  await tab.close();
  await relay.cut();
});

for (const via of ["ws", "sse", "poll"]) {
  check(`script: a server that was restarted is told of over ${via}; who wants everything gets its new messages`, async (setting) => {
    let server = await Brolly.start("demo", "--threads", "2");
    const tab = await Tab.open(setting.context, server.url, { transports: [via] });
    await tab.follow("life", {}, "now");
    await tab.follow("life", { position: "0" }, "all");
    await tab.has("now", "open");
    await tab.publish("life", 1);
    for (const name of ["now", "all"]) await tab.has(name, "open", 1);
    await server.kill();
    await eventually(async () => (await tab.status())[0] !== "open", "the end is not noticed");
    server = await server.replace();
    await tab.is("open", via, true);
    for (const name of ["now", "all"]) await eventually(async () => (await tab.log(name)).at(-1) === "open", "it is not open again");
    await tab.publish("life", 2);
    for (const name of ["now", "all"]) await tab.has(name, "open", 1, "refused", "open", 2);
    await tab.close();
    await server.kill();
  });
}

check("script: the page in the README works as it stands", async (setting) => {
  const readme = fs.readFileSync(pathOf.join(__dirname, "../../../README.md"), "utf8");
  const root = fs.mkdtempSync(pathOf.join(setting.artefacts, "readme-"));
  fs.writeFileSync(pathOf.join(root, "news.html"), /```html\n([^]*?)```/.exec(readme)[1]);
  let server = await Brolly.start("dev", root);
  const pages = [await setting.context.newPage(), await setting.context.newPage()];
  // Whoever met the server while it was away may have come back another way, and goes over to the better one later.
  const shown = async (page) => (await page.locator("li").allTextContents()).filter((text) => text !== "resumed");
  const show = async (...expected) => {
    for (const page of pages) {
      await eventually(async () => (await shown(page)).length >= expected.length, "").catch(() => {});
      assert.deepEqual(await shown(page), expected);
    }
  };
  for (const page of pages) {
    await page.goto(`${server.url}/news.html`);
    await page.locator("#state", { hasText: "open ws" }).waitFor();
  }
  const say = async (text) => {
    await pages[0].locator("input").fill(text);
    await pages[0].locator("input").press("Enter");
  };
  await say("it rains");
  await show('{"headline":"it rains"}');
  server = await server.replace();
  await pages[0].locator("li", { hasText: "refused" }).waitFor();
  await pages[0].locator("#state", { hasText: "open ws" }).waitFor();
  await say("still");
  await show('{"headline":"it rains"}', "refused", '{"headline":"still"}');
  for (const page of pages) await page.close();
  await server.kill();
});

check("script: where there is no SharedWorker, or a policy forbids it, each tab has a connection of its own", async (setting) => {
  const { relay, url } = await path(setting);
  const context = await setting.browser.newContext();
  await context.addInitScript(() => delete globalThis.SharedWorker);
  const tabs = [await Tab.open(context, url), await Tab.open(context, url)];
  for (const tab of tabs) {
    await tab.follow("alone");
    await tab.is("open", "ws", false);
  }
  assert.equal(relay.countOpen(UPGRADE), 2);
  assert.equal((await tabs[0].publish("alone", 1)).subscribers, 2);
  for (const tab of tabs) await tab.has("alone", "open", 1);

  const root = fs.mkdtempSync(pathOf.join(setting.artefacts, "dev-"));
  const policy = `<meta http-equiv="Content-Security-Policy" content="worker-src 'none'">`;
  fs.writeFileSync(pathOf.join(root, "forbidden.html"), `<!doctype html>${policy}`);
  const server = await Brolly.start("dev", root);
  tabs.push(await Tab.open(setting.context, `${server.url}/forbidden.html`));
  await tabs[2].follow("alone");
  await tabs[2].is("open", "ws", false);
  await tabs[2].publish("alone", 1);
  await tabs[2].has("alone", "open", 1);
  for (const tab of tabs) await tab.close();
  await context.close();
  await server.kill();
  await relay.cut();
});

check("script: offline is shown, online connects at once", async (setting) => {
  const { relay, publish, url } = await path(setting);
  const context = await setting.browser.newContext();
  const tab = await Tab.open(context, url, { shared: false });
  await tab.follow("offline");
  await tab.has("offline", "open");
  await sleep(3_200);
  await context.setOffline(true);
  await relay.cut();
  await tab.is("offline", "", false).catch(async () => assert.equal((await tab.status())[0], "offline"));
  await publish("offline", 1);
  await relay.open();
  await context.setOffline(false);
  await eventually(async () => (await tab.status())[0] === "open", "it does not connect", 2_000);
  await tab.has("offline", "open", "open", "resumed", 1);
  const states = await tab.page.evaluate(() => window.states.filter((state, n, all) => state !== all[n - 1]));
  assert.deepEqual(states.slice(0, 2), ["connecting", "open"]);
  assert.deepEqual(states.slice(-3), ["offline", "connecting", "open"].slice(-3));
  await tab.close();
  await context.close();
  await relay.cut();
});

check("script: a page that is left follows nothing, and goes on from where it was when it comes back", async (setting) => {
  const { publish, relay, url } = await path(setting);
  const tab = await Tab.open(setting.context, url);
  await tab.follow("left");
  await tab.has("left", "open");
  assert.equal((await publish("left", 1)).subscribers, 1);
  await tab.has("left", "open", 1);
  await tab.page.evaluate(() => {
    for (const type of ["pagehide", "pageshow"]) window.dispatchEvent(new PageTransitionEvent(type, { persisted: true }));
  });
  await publish("left", 2);
  await eventually(async () => (await tab.messages("left")).join() === "1,2", "it does not go on");
  await tab.page.evaluate(() => window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
  await eventually(async () => (await publish("left", 3)).subscribers === 0, "it is still followed");
  await tab.page.evaluate(() => window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  await eventually(async () => (await tab.messages("left")).at(-1) === 3, "what was missed does not come");
  const messages = await tab.messages("left");
  assert.deepEqual(messages.filter((one) => one !== 3), [1, 2]);
  await tab.close();
  await relay.cut();
});
