// The chat of core/host/demo/chat, with its Python backend, in headless Chromium: two users, a page that goes, a path that breaks.

const assert = require("node:assert/strict");
const { execFileSync, spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { Brolly, check, eventually, freePort, sleep } = require("../checks.js");
const { CHAT } = require("../pools/world.js");
const { Relay } = require("../relay.js");

/** Backend and server as the README starts them, but for the ports and for how long somebody counts as being there. */
class House {
  static async open(artefacts, { imported = false } = {}) {
    const house = new House();
    const [port, api, backend] = [await freePort(), await freePort(), await freePort()];
    const log = fs.openSync(path.join(artefacts, `chat-${backend}.log`), "w");
    const options = ["--port", backend, "--api", `127.0.0.1:${api}`];
    const child = spawn("python3", [path.join(CHAT, "chat.py"), ...options], { stdio: ["ignore", log, log] });
    Brolly.running.push({ child });
    house.backend = child;
    const numbers = { 8080: port, 8081: api, 8082: backend };
    const place = (text) => text
      .replace(/:(808\d)/g, (_, number) => `:${numbers[number]}`)
      .replace(/(active_when_connected = "|new-connection-idle-timeout: )60s/, "$13s")
      .replace(/"public"|.\/public/, JSON.stringify(path.join(CHAT, "public")));
    const [from, file] = [imported ? "swindon.yaml" : "brolly.toml", path.join(artefacts, `chat-${port}.toml`)];
    let text = place(fs.readFileSync(path.join(CHAT, from), "utf8"));
    if (imported) {
      fs.writeFileSync(`${file}.yaml`, text);
      text = execFileSync(Brolly.binary, ["import", `${file}.yaml`], { encoding: "utf8" });
    }
    fs.writeFileSync(file, text);
    house.server = await Brolly.serve(port, file);
    house.relay = await new Relay(port).open();
    // The first call may come before the backend listens.
    await eventually(async () => await fetch(`http://127.0.0.1:${backend}`).then(() => true, () => false), "the backend does not listen");
    return house;
  }

  async close() {
    this.backend.kill();
    await this.server.kill();
    await this.relay.cut();
  }
}

class Page {
  static async open(context, url) {
    const page = new Page();
    page.page = await context.newPage();
    page.errors = [];
    page.page.on("pageerror", (error) => page.errors.push(error.message));
    page.page.on("console", (message) => message.type() === "error" && message.text().startsWith("Swindon:") && page.errors.push(message.text()));
    await page.page.goto(url);
    return page;
  }

  /** Waits until this is what is found in the page. */
  async has(note, find, expected) {
    let found;
    await eventually(async () => JSON.stringify((found = await find())) === JSON.stringify(expected), "").catch(() => {});
    assert.deepEqual(found, expected, note);
  }

  async is(status) {
    await this.has("state", () => this.page.locator("#state").getAttribute("data-status"), status);
  }

  async shows(...expected) {
    const find = () => this.page.locator("#messages > li:not(.notice)").evaluateAll((items) => items.map((item) => [...item.children].map((part) => part.textContent).join(": ")));
    await this.has("messages", find, expected);
  }

  /** Names and statuses; others may be there, too. */
  async people(expected) {
    const find = () => this.page.locator("#people > li").evaluateAll((items, names) => {
      return Object.fromEntries(items.filter((item) => names.includes(item.textContent)).map((item) => [item.textContent, item.dataset.status]));
    }, Object.keys(expected));
    await this.has("people", find, expected);
  }

  /** How often the backend has said in the lobby that somebody went quiet. */
  async notices(name) {
    return await this.page.locator("#messages .notice", { hasText: `${name} has gone quiet` }).count();
  }

  async unread(expected) {
    const find = () => this.page.locator("#rooms > li").evaluateAll((items) => Object.fromEntries(items.map(({ dataset }) => [dataset.room, Number(dataset.unread)])));
    await this.has("unread", find, expected);
  }

  async say(text) {
    await this.page.locator("#say input").fill(text);
    await this.page.locator("#say input").press("Enter");
    await this.has("input", () => this.page.locator("#say input").inputValue(), "");
  }

  async enter(room) {
    await this.page.locator(`#rooms [data-room=${room}] button`).click();
  }

  async close() {
    assert.deepEqual(this.errors, []);
    await this.page.close();
  }
}

const on = (name, run, options) => {
  check(`rooms: ${name}`, async (setting) => {
    const house = await House.open(setting.artefacts, options);
    try {
      await run(house, setting);
    } finally {
      await house.close();
    }
  });
};

async function anEvening(house, { context, artefacts }) {
  const ada = await Page.open(context, `${house.server.url}/?name=ada`);
  await ada.is("active");
  await ada.people({ ada: "active" });
  const ben = await Page.open(context, `http://127.0.0.1:${house.relay.port}/?name=ben&active=3`);
  for (const page of [ada, ben]) await page.people({ ada: "active", ben: "active" });
  const said = [];
  const say = async (page, name, text) => {
    await page.say(text);
    said.push(`${name}: ${text}`);
  };
  await say(ada, "ada", "hello, <b>Ben</b>");
  await say(ben, "ben", "grüß dich ☂");
  for (const page of [ada, ben]) await page.shows(...said);
  assert.equal(await ben.page.locator("#messages b").count(), 0);

  await ben.enter("garden");
  await ben.shows();
  await say(ada, "ada", "where are you?");
  await ben.unread({ lobby: 1, garden: 0, kitchen: 0 });
  await ben.say("among the roses");
  await ben.shows("ben: among the roses");
  await ada.shows(...said);
  await ada.unread({ lobby: 0, garden: 1, kitchen: 0 });
  await ben.enter("lobby");
  await ben.shows(...said);
  await ben.unread({ lobby: 0, garden: 0, kitchen: 0 });
  await ada.page.screenshot({ path: path.join(artefacts, "rooms.png") });

  await house.relay.cut();
  await ben.is("wait");
  await ada.people({ ada: "active", ben: "offline" });
  await eventually(async () => (await ada.notices("ben")) > 0, "the backend is not told that ben went quiet");
  await say(ada, "ada", "Ben?");
  await house.relay.open();
  await ben.page.reload();
  await ada.people({ ada: "active", ben: "active" });
  await ben.shows(...said);
  const before = await ada.notices("ben");
  await ben.close();
  await ada.people({ ada: "active", ben: "offline" });
  await eventually(async () => (await ada.notices("ben")) === before + 1, "the backend is not told again");
  await ada.shows(...said);
  await ada.close();
}

on("two users talk, see what is unread, and who is there after a crash, a reconnect and a farewell", anEvening);
on("the same with what `brolly import` makes of a configuration of Swindon", anEvening, { imported: true });

on("a path that breaks for a moment: the page comes back by itself, and nothing is missing or there twice", async (house, { context }) => {
  const ada = await Page.open(context, `${house.server.url}/?name=ada`);
  const ben = await Page.open(context, `http://127.0.0.1:${house.relay.port}/?name=ben`);
  for (const page of [ada, ben]) await page.people({ ada: "active", ben: "active" });
  const said = [];
  for (let round = 0; round < 2; round += 1) {
    await house.relay.cut();
    await ben.is("wait");
    for (const text of ["one", "two", "three"]) {
      await ada.say(`${text}, while you were away`);
      said.push(`ada: ${text}, while you were away`);
    }
    await house.relay.open();
    await ben.is("active");
    await ben.say("back again");
    said.push("ben: back again");
    for (const page of [ada, ben]) await page.shows(...said);
    // Nobody has noticed anything.
    for (const page of [ada, ben]) await page.people({ ada: "active", ben: "active" });
  }
  await sleep(300);
  for (const page of [ada, ben]) await page.shows(...said);
  await Promise.all([ada.close(), ben.close()]);
});

on("who has no name is asked for one, and who is there has a page of its own", async (house, { browser }) => {
  const context = await browser.newContext();
  const odd = await Page.open(context, `${house.server.url}/?name=${encodeURIComponent("a b")}`);
  await odd.page.locator("#why", { hasText: "a name has letters" }).waitFor();
  await odd.close();
  const cleo = await Page.open(context, `${house.server.url}/presence.html`);
  await cleo.page.locator("#who input").fill("cleo");
  await cleo.page.locator("#who button").click();
  await cleo.people({ cleo: "active" });
  await cleo.page.locator("#presence").click();
  await cleo.page.waitForURL("**/presence.html");
  await cleo.people({ cleo: "active" });
  const dan = await Page.open(context, `${house.server.url}/?name=dan&active=3`);
  await cleo.people({ cleo: "active", dan: "active" });
  await dan.close();
  await cleo.people({ cleo: "active", dan: "offline" });
  await cleo.close();
  await context.close();
});

on("nonsense is refused, and the next call works", async (house, { context }) => {
  const { page } = await Page.open(context, `${house.server.url}/style.css`);
  const calls = [
    ["say", ["lobby", "x".repeat(100_000)], 400], ["say", ["lobby", 1], 400], ["say", ["attic", "x"], 404], ["say", ["lobby"], 400],
    ["saw", ["lobby", 1.5], 400], ["saw", ["lobby", 1e300], 400], ["enter", [["lobby"]], 404], ["nothing", [], 404],
    ["say", ["lobby", " now "], undefined],
  ];
  const told = await page.evaluate(async (calls) => {
    const { Swindon } = await import("/swindon.js");
    const swindon = new Swindon(`ws://${location.host}/ws?name=eve`);
    const told = [];
    for (const [method, args] of calls) told.push(await swindon.call(`chat.${method}`, args).catch((error) => error.metadata.http_error));
    const history = await swindon.call("chat.enter", ["lobby"]);
    swindon.close();
    return [told.slice(0, -1), history.map(({ id, who, text }) => [id === told.at(-1), who, text])];
  }, calls);
  assert.deepEqual(told, [calls.slice(0, -1).map(([, , status]) => status), [[true, "eve", "now"]]]);
});

/** What a page of another host hears first. */
async function fromElsewhere(house, context) {
  const { page } = await Page.open(context, `${house.server.url}/style.css`);
  return await page.evaluate((url) => new Promise((resolve) => {
    const socket = new WebSocket(url, "v1.swindon-lattice+json");
    socket.onmessage = ({ data }) => resolve(JSON.parse(data)[0]);
    socket.onerror = () => resolve("refused");
  }), `ws://localhost:${house.server.port}/ws?name=ann`);
}

on("pages of another origin may not connect", async (house, { context }) => {
  assert.equal(await fromElsewhere(house, context), "refused");
});

on("pages of another origin may connect, if Swindon let them", async (house, { context }) => {
  assert.equal(await fromElsewhere(house, context), "hello");
}, { imported: true });
