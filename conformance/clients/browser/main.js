// The chat room of `brolly demo` in headless Chromium: two tabs, all transports, a path that breaks, a server that restarts.

const assert = require("node:assert/strict");
const path = require("node:path");
const { chromium } = require("playwright-core");
const { Brolly, check, eventually, main, options, sleep } = require("../checks.js");
const { poolChecks } = require("../pools/checks.js");
const { inPage } = require("../pools/world.js");
const { Relay } = require("../relay.js");
require("./rooms.js");
require("./events.js");
require("./script.js");

poolChecks("pools", ({ context }) => inPage(context));

const FLAGS = [
  "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const TRANSPORTS = ["ws", "sse", "poll"];
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
/** How long the network path stays cut; milliseconds. */
const OUTAGE = 1_000;

let rooms = 0;

/** A room that no other check uses. */
function newRoom() {
  return `check-${++rooms}`;
}

/** One person's tab. */
class Tab {
  static async open(setting, { name, transport = "ws", room, url = setting.demo.url, context = setting.context }) {
    const tab = new Tab();
    tab.page = await context.newPage();
    tab.errors = [];
    tab.page.on("pageerror", (error) => tab.errors.push(error.message));
    tab.page.on("console", (message) => {
      // The browser itself logs every connection that fails, which some checks bring about.
      const network = /Failed to load resource|WebSocket connection to|net::ERR/.test(message.text());
      if (message.type() === "error" && !network) tab.errors.push(message.text());
    });
    await tab.page.goto(`${url}/?${new URLSearchParams({ name, transport, room })}`);
    await tab.state("open");
    return tab;
  }

  /** Waits until the page says that its connection is in this state. */
  async state(wanted, within = 30_000) {
    const said = () => this.page.locator("#state").getAttribute("data-state");
    await eventually(async () => (await said()) === wanted, `the state does not become ${wanted}`, within);
  }

  /** By the key: a click waits for frames, and a tab that is not in front has few of them. */
  async say(text) {
    await this.page.locator("#input").fill(text);
    await this.page.locator("#input").press("Enter");
  }

  async sayByButton(text) {
    await this.page.locator("#input").fill(text);
    await this.page.locator("#send").click();
  }

  /** What stands in the list: `name: text` of messages, `---` for a divider. Messages on their way are left out. */
  async log() {
    return await this.page.locator("#messages > li:not(.pending)").evaluateAll((items) =>
      items.map((item) => {
        if (item.classList.contains("divider")) return "---";
        return `${item.querySelector(".name").textContent}: ${item.querySelector(".text").textContent}`;
      }),
    );
  }

  /** Waits until these are the messages. */
  async shows(expected) {
    let log = [];
    try {
      await eventually(async () => (log = await this.log()).length >= expected.length, "");
    } catch {
      // The comparison says what is missing.
    }
    assert.deepEqual(log, expected);
  }

  /** Shows these messages, and no other comes. */
  async stays(expected) {
    await this.shows(expected);
    await sleep(500);
    await this.shows(expected);
  }

  async people() {
    return (await this.page.locator("#people .name").allTextContents()).sort();
  }

  async close() {
    assert.deepEqual(this.errors, []);
    await this.page.close({ runBeforeUnload: false });
  }
}

async function pair(setting, transports, room = newRoom(), urls = []) {
  const names = ["Ada", "Ben"];
  const tabs = [];
  for (const n of [0, 1]) {
    tabs.push(await Tab.open(setting, { name: names[n], transport: transports[n], room, url: urls[n] ?? setting.demo.url }));
  }
  return tabs;
}

for (const one of TRANSPORTS) {
  for (const other of TRANSPORTS) {
    check(`${one} and ${other}: messages both ways, in one order, and both people are there`, async (setting) => {
      const [ada, ben] = await pair(setting, [one, other]);
      const expected = [];
      for (let n = 0; n < 3; n += 1) {
        for (const [tab, name] of [[ada, "Ada"], [ben, "Ben"]]) {
          await tab.say(`number ${n} from ${name}`);
          expected.push(`${name}: number ${n} from ${name}`);
          await Promise.all([ada.shows(expected), ben.shows(expected)]);
        }
      }
      await Promise.all([ada.stays(expected), ben.stays(expected)]);
      for (const tab of [ada, ben]) {
        await eventually(async () => (await tab.people()).join() === "Ada,Ben", "the list of people is not Ada and Ben");
      }
      await ben.close();
      await eventually(async () => (await ada.people()).join() === "Ada", "Ben is gone, but still in the list");
      await ada.close();
    });
  }
}

for (const transport of TRANSPORTS) {
  check(`${transport}: the path is cut and comes back: nothing missing, nothing twice`, async (setting) => {
    const relay = await new Relay(setting.demo.port).open();
    const other = TRANSPORTS[(TRANSPORTS.indexOf(transport) + 1) % 3];
    const [ada, ben] = await pair(setting, [transport, other], newRoom(), [`http://127.0.0.1:${relay.port}`]);
    const expected = [];
    const both = async () => await Promise.all([ada.stays(expected), ben.stays(expected)]);
    await ada.say("before");
    expected.push("Ada: before");
    await both();
    for (let round = 0; round < 2; round += 1) {
      await relay.cut();
      for (let n = 0; n < 4; n += 1) {
        await ben.say(`${round}.${n} while cut`);
        expected.push(`Ben: ${round}.${n} while cut`);
      }
      await ben.shows(expected);
      await ada.state("waiting");
      await ada.say(`${round} written without a connection`);
      await sleep(OUTAGE);
      assert.equal((await ada.log()).length, expected.length - 4, "something came through a path that is cut");
      await relay.open();
      await ada.state("open");
      expected.push(`Ada: ${round} written without a connection`);
      await both();
      await ben.say(`${round} after`);
      expected.push(`Ben: ${round} after`);
      await both();
    }
    await Promise.all([ada.close(), ben.close()]);
    await relay.cut();
  });
}

check("tabs that leave the transport to brolly.js share a WebSocket, and keep it over a restart and offline", async (setting) => {
  let server = await Brolly.start("demo");
  const relay = await new Relay(server.port).open();
  const url = `http://127.0.0.1:${relay.port}`;
  const [ada, ben] = await pair(setting, ["auto", "auto"], newRoom(), [url, url]);
  for (const tab of [ada, ben]) {
    assert.equal(await tab.page.locator("#state").textContent(), "Live over WebSocket");
    assert.equal(await tab.page.locator("#state").getAttribute("title"), "The connection is shared by the tabs of this browser.");
  }
  assert.equal(relay.countOpen(/^upgrade: websocket/im), 1);
  const expected = [];
  const talk = async (text) => {
    for (const [tab, name] of [[ada, "Ada"], [ben, "Ben"]]) {
      await tab.say(text);
      expected.push(`${name}: ${text}`);
      await Promise.all([ada.shows(expected), ben.shows(expected)]);
    }
  };
  await talk("before");
  await server.kill();
  await Promise.all([ada.state("waiting"), ben.state("waiting")]);
  server = await server.replace();
  await Promise.all([ada.state("open"), ben.state("open")]);
  expected.push("---");
  await talk("after the restart");
  // Only a guess of the browser's, as long as the connection works.
  await setting.context.setOffline(true);
  await relay.cut();
  await ada.state("offline");
  await ada.say("written offline");
  await relay.open();
  await setting.context.setOffline(false);
  expected.push("Ada: written offline");
  await Promise.all([ada.shows(expected), ben.shows(expected)]);
  await Promise.all([ada.close(), ben.close()]);
  await server.kill();
  await relay.cut();
});

check("both tabs lose the path while both write", async (setting) => {
  const relay = await new Relay(setting.demo.port).open();
  const url = `http://127.0.0.1:${relay.port}`;
  const [ada, ben] = await pair(setting, ["ws", "sse"], newRoom(), [url, url]);
  const sent = [];
  const write = async (tab, name) => {
    for (let n = 0; n < 30; n += 1) {
      await tab.say(`${n}`);
      sent.push(`${name}: ${n}`);
      await sleep(60);
    }
  };
  const writing = Promise.all([write(ada, "Ada"), write(ben, "Ben")]);
  await sleep(500);
  await relay.cut();
  await sleep(OUTAGE);
  await relay.open();
  await writing;
  await eventually(async () => (await ada.log()).length >= 60 && (await ben.log()).length >= 60, "messages are missing", 30_000);
  await sleep(500);
  const [one, other] = [await ada.log(), await ben.log()];
  assert.deepEqual(one, other);
  assert.deepEqual([...one].sort(), [...sent].sort());
  for (const name of ["Ada", "Ben"]) {
    const own = one.filter((line) => line.startsWith(name)).map((line) => Number(line.split(": ")[1]));
    assert.deepEqual(own, Array.from({ length: 30 }, (_, n) => n), `the order of ${name}'s own messages`);
  }
  await Promise.all([ada.close(), ben.close()]);
  await relay.cut();
});

check("another transport is chosen in the page", async (setting) => {
  const [ada, ben] = await pair(setting, ["ws", "ws"]);
  const expected = [];
  for (const transport of ["sse", "poll", "ws", "poll", "sse"]) {
    await ben.say(`before ${transport}`);
    await ada.page.locator("#transport").selectOption(transport);
    await ben.say(`during ${transport}`);
    await ada.state("open");
    await ada.say(`over ${transport}`);
    await eventually(async () => (await ben.log()).length === expected.length + 3, "messages are missing");
    const round = (await ben.log()).slice(expected.length);
    assert.deepEqual([...round].sort(), [`Ada: over ${transport}`, `Ben: before ${transport}`, `Ben: during ${transport}`]);
    expected.push(...round);
    await Promise.all([ada.stays(expected), ben.stays(expected)]);
  }
  await Promise.all([ada.close(), ben.close()]);
});

check("who comes later or reloads sees what was said, once", async (setting) => {
  const room = newRoom();
  const [ada, ben] = await pair(setting, ["ws", "sse"], room);
  await ada.say("one");
  await ben.shows(["Ada: one"]);
  await ben.say("two");
  const expected = ["Ada: one", "Ben: two"];
  await ada.shows(expected);
  await ben.page.reload();
  await ben.state("open");
  await ben.stays(expected);
  for (const transport of TRANSPORTS) {
    const late = await Tab.open(setting, { name: "Cleo", transport, room });
    await late.stays(expected);
    await late.close();
  }
  await Promise.all([ada.close(), ben.close()]);
});

check("rooms do not hear each other, and markup stays text", async (setting) => {
  const [ada] = await pair(setting, ["ws", "ws"]);
  const [cleo] = await pair(setting, ["sse", "poll"]);
  const evil = '<img src=x onerror="document.title = 1"><b>bold</b> & "quoted" \u2603';
  await ada.sayByButton(evil);
  await cleo.say("elsewhere");
  await ada.shows([`Ada: ${evil}`]);
  await cleo.shows(["Ada: elsewhere"]);
  assert.equal(await ada.page.locator("#messages img, #messages b").count(), 0);
  assert.equal(await ada.page.title(), (await cleo.page.title()).replace(/#\S+/, /#\S+/.exec(await ada.page.title())[0]));
});

for (const transport of TRANSPORTS) {
  check(`${transport}: a server that restarted has lost its memory, and the page says so`, async (setting) => {
    let server = await Brolly.start("demo");
    const ada = await Tab.open(setting, { name: "Ada", transport, room: "restart", url: server.url });
    await ada.say("in the first life");
    await ada.shows(["Ada: in the first life"]);
    await server.kill();
    await ada.state("waiting");
    await sleep(OUTAGE);
    server = await server.replace();
    await ada.state("open");
    await ada.say("in the second life");
    await ada.shows(["Ada: in the first life", "---", "Ada: in the second life"]);
    await ada.close();
    await server.kill();
  });
}

check("it looks well on a desktop and on a phone (see the pictures)", async (setting) => {
  const room = newRoom();
  const [ada, ben] = await pair(setting, ["ws", "sse"], room);
  const talk = [
    [ada, "Good morning! Is this thing on?"], [ben, "It is. I am on an event stream, you are on a WebSocket."],
    [ada, "And nobody can tell the difference."], [ada, "Here is a longer one, to see how lines break: the quick brown fox jumps over the lazy dog, again and again, until it is tired."],
    [ben, "☂ brolly keeps us dry"],
  ];
  const expected = [];
  for (const [tab, text] of talk) {
    await tab.say(text);
    expected.push(`${tab === ada ? "Ada" : "Ben"}: ${text}`);
    await ada.shows(expected);
  }
  for (const [name, viewport, colorScheme] of [
    ["desktop", DESKTOP, "light"], ["desktop-dark", DESKTOP, "dark"], ["phone", PHONE, "light"], ["phone-dark", PHONE, "dark"],
  ]) {
    const context = await setting.browser.newContext({ viewport, colorScheme, isMobile: viewport === PHONE, hasTouch: viewport === PHONE });
    const tab = await Tab.open(setting, { name: "Cleo", transport: "poll", room, context });
    await tab.shows(expected);
    await eventually(async () => (await tab.people()).length >= 3, "the people are missing");
    await tab.page.screenshot({ path: path.join(setting.artefacts, `${name}.png`) });
    const wide = await tab.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wide <= 0, `${name}: the page is ${wide} pixels too wide`);
    const box = await tab.page.locator("#input").boundingBox();
    assert.ok(box && box.y + box.height <= viewport.height, `${name}: the input field is out of sight`);
    if (viewport === PHONE) {
      await tab.page.locator("#panel-open").click();
      await sleep(400);
      await tab.page.screenshot({ path: path.join(setting.artefacts, `${name}-panel.png`) });
    }
    await tab.close();
    await context.close();
  }
  await Promise.all([ada.close(), ben.close()]);
});

async function setUp(chosen) {
  const browser = await chromium.launch({ executablePath: chosen.chromium, headless: true, chromiumSandbox: false, args: FLAGS });
  const context = await browser.newContext({ viewport: DESKTOP });
  const demo = await Brolly.start("demo", "--threads", "3");
  return {
    browser,
    context,
    demo,
    artefacts: chosen.artefacts,
    // What a check that failed has left open would only slow down the others.
    tidy: async () => await Promise.all(context.pages().map((page) => page.close())),
    close: async () => await browser.close(),
  };
}

const chosen = options({ chromium: { type: "string", default: "/usr/bin/chromium" } });
setUp(chosen).then((setting) => main("browser", setting, chosen.only)).catch((error) => {
  console.error(error);
  Brolly.killAll();
  process.exit(1);
});
