// The chat room: joins the parts of the page to each other and to the server.

import { Brolly, TRANSPORTS } from "./-/brolly.js";
import { Log } from "./log.js";
import { People, SAY_EVERY } from "./people.js";

/** Attempts to send a message over a connection that works, before its author has to decide; milliseconds. */
const MOST_ATTEMPTS = 3;
const RETRY_AFTER = 1_000;
/** Time for a replay to bring back messages whose receipt was lost, before they are sent again; milliseconds. */
const REPLAY_FIRST = 500;
/** Answers to a newcomer are spread over this time; milliseconds. */
const ANSWER_WITHIN = 1_500;

const VIA = { ws: "WebSocket", sse: "Server-Sent Events", poll: "long-poll" };
const HINTS = {
  auto: "The best that works here, shared by all tabs of this browser.",
  ws: "One connection carries messages both ways.",
  sse: "Messages stream in over one HTTP response and leave as POST requests.",
  poll: "Each request waits for news. Works wherever HTTP does.",
};
const ADJECTIVES = ["Amber", "Brisk", "Calm", "Clever", "Dapper", "Gentle", "Jolly", "Lucky", "Mellow", "Quiet", "Sunny", "Swift"];
const ANIMALS = ["Badger", "Crane", "Finch", "Fox", "Hare", "Heron", "Lynx", "Marten", "Otter", "Owl", "Robin", "Wren"];

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const room = roomName(parameters.get("room") ?? "") || "lobby";
const topic = `room.${room}`;
const peopleTopic = `${topic}.people`;
const me = claimTabId();
const since = Date.now();
/** How far the server's clock is ahead of ours; milliseconds. */
let clockAhead = 0;

const log = new Log(me);
const people = new People(me, now);
/** One of `TRANSPORTS`, or "auto" for the best that works. */
let transport = TRANSPORTS.includes(parameters.get("transport")) ? parameters.get("transport") : "auto";
let brolly = null;
/** Topic → the subscription to it. */
const subscriptions = new Map();

/** Connects, from where we have come so far; at first, with all that the server still has. */
function connect() {
  brolly?.close();
  brolly = new Brolly({ transports: transport === "auto" ? TRANSPORTS : [transport] });
  brolly.addEventListener("statechange", showState);
  const follow = (name, heard) => {
    const subscription = brolly.subscribe(name, { position: subscriptions.get(name)?.position ?? "0" });
    subscriptions.set(name, subscription);
    subscription.addEventListener("message", ({ data }) => {
      heard(data);
      // Timers of a page in the background are slowed down, the network is not: others' turns remind us of ours.
      sayHereInTurn();
    });
    return subscription;
  };
  const said = follow(topic, (data) => log.receive(data) && forget(data.id));
  for (const type of ["gap", "refused"]) said.addEventListener(type, () => log.divide("Some messages may be missing here"));
  follow(peopleTopic, (data) => People.speaks(data) && people.hear(data));
  people.present(ownName(), brolly.transport);
}

// ---- Messages

/** Own messages that the server has not confirmed, oldest first: `{ message, attempts }`. */
const outbox = [];
let flushing = false;

function say(text) {
  const message = { id: newId(), from: me, name: ownName(), text, at: now() };
  log.propose(message);
  enqueue(message);
}

function enqueue(message) {
  log.sending(message.id);
  outbox.push({ message, attempts: 0 });
  flush();
}

/** One at a time, so that they arrive in order. Sending one twice is harmless: everybody drops known ids. */
async function flush() {
  if (flushing) return;
  flushing = true;
  while (outbox.length > 0 && brolly.state === "open") {
    const [entry] = outbox;
    entry.attempts += 1;
    try {
      await brolly.publish(topic, entry.message);
      log.sent(entry.message.id);
      forget(entry.message.id);
    } catch (error) {
      const isLater = ["busy", "closed", "disconnected", "timeout"].includes(error.kind);
      // Without a connection it waits; `showState` flushes.
      if (isLater && brolly.state !== "open") break;
      if (isLater && entry.attempts < MOST_ATTEMPTS) await sleep(RETRY_AFTER * entry.attempts);
      else giveUp(entry, error.message);
    }
  }
  flushing = false;
}

function giveUp({ message }, why) {
  forget(message.id);
  const retry = () => {
    enqueue(message);
    $("input").focus();
  };
  log.failed(message.id, why, { retry, discard: () => $("input").focus() });
}

function forget(id) {
  const index = outbox.findIndex(({ message }) => message.id === id);
  if (index >= 0) outbox.splice(index, 1);
}

// ---- Presence

let saidHereAt = -Infinity;
let answering = 0;

function sayHere(extra = {}) {
  people.present(ownName(), brolly.transport);
  if (brolly.state !== "open") return;
  clearTimeout(answering);
  answering = 0;
  saidHereAt = performance.now();
  const here = { type: "here", id: me, name: ownName(), at: now(), since, via: brolly.transport, ...extra };
  brolly.publish(peopleTopic, here).catch(() => {}); // the next turn comes soon
}

function sayHereInTurn() {
  if (performance.now() - saidHereAt >= SAY_EVERY) sayHere();
}

people.onnewcomer = () => {
  answering ||= setTimeout(() => sayHere({ answer: true }), Math.random() * ANSWER_WITHIN);
};

addEventListener("pagehide", () => {
  const gone = JSON.stringify({ type: "gone", id: me, at: now(), since });
  // No answer can be waited for any more.
  navigator.sendBeacon(`./-/publish/${encodeURIComponent(peopleTopic)}`, new Blob([gone], { type: "application/json" }));
  releaseTabId();
});

addEventListener("pageshow", ({ persisted }) => {
  if (persisted) claimTabId();
});

/** A clock that is wrong by minutes would hide its owner from everybody's list; times are the server's. */
async function readServerClock() {
  const response = await fetch(location.pathname, { method: "HEAD", cache: "no-store" });
  const ahead = Date.parse(response.headers.get("Date")) - Date.now();
  // The header counts in seconds, so a small difference says nothing.
  if (Math.abs(ahead) > 2_000) clockAhead = ahead;
}

// ---- State of the connection

let wasOpen = false;
let opening = 0;

function showState({ target }) {
  if (target !== brolly) return;
  clearTimeout(opening);
  const { state } = brolly;
  const labels = { connecting: "Connecting", open: "Live", waiting: "Reconnecting", offline: "Offline", closed: "Closed" };
  $("state").dataset.state = state;
  $("state-text").textContent = labels[state];
  $("state-via").textContent = state === "open" ? ` over ${VIA[brolly.transport]}` : "";
  $("state").title = brolly.shared ? "The connection is shared by the tabs of this browser." : "This tab has a connection of its own.";
  showBanner(state);
  if (state !== "open") return;
  wasOpen = true;
  sayHere();
  if (outbox.every(({ attempts }) => attempts === 0)) flush();
  opening = setTimeout(() => {
    log.announce();
    flush();
  }, REPLAY_FIRST);
}

function showBanner(state) {
  const banner = $("banner");
  const shown = ["waiting", "offline", "closed"].includes(state) || (state === "connecting" && !banner.hidden);
  $("banner-text").textContent = wasOpen ? "Connection lost." : "No connection.";
  showCountdown();
  if (!shown && banner.contains(document.activeElement)) $("input").focus();
  banner.hidden = !shown;
}

function showCountdown() {
  const seconds = Math.ceil((brolly.retryAt - Date.now()) / 1_000);
  const next = seconds > 0 ? `Next try in ${seconds} s.` : "Trying again…";
  const text = { connecting: "Connecting…", waiting: next, offline: next }[brolly.state] ?? "";
  if ($("banner-when").textContent !== text) $("banner-when").textContent = text;
}

$("reconnect").addEventListener("click", () => brolly.reconnect());

// ---- Writing

const input = $("input");

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (text) say(text);
  input.value = "";
  fitInput();
  input.focus();
});

input.addEventListener("keydown", (event) => {
  // Enter also ends a composition (Chinese, Japanese, Korean…); that one does not send.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

input.addEventListener("input", fitInput);

function fitInput() {
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight + input.offsetHeight - input.clientHeight}px`;
}

log.onunseen = (count) => {
  $("latest").hidden = log.atEnd;
  $("latest-text").textContent = count === 0 ? "Latest messages" : count === 1 ? "1 new message" : `${count} new messages`;
  document.title = `${count > 0 ? `(${count}) ` : ""}#${room} · brolly chat`;
};

$("latest").addEventListener("click", () => {
  log.toEnd();
  input.focus({ preventScroll: true });
});

document.addEventListener("visibilitychange", () => document.hidden || log.looked());

// ---- Settings

const nameField = $("name");
let renaming = 0;

function ownName() {
  return nameField.value.trim() || nameField.placeholder;
}

nameField.addEventListener("input", () => {
  clearTimeout(renaming);
  renaming = setTimeout(rename, 800);
});
nameField.addEventListener("change", rename);
nameField.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) rename();
});

function rename() {
  clearTimeout(renaming);
  remember("localStorage", "brolly.name", nameField.value.trim());
  sayHere();
}

$("transport").addEventListener("change", () => {
  transport = $("transport").value;
  const url = new URL(location.href);
  url.searchParams.set("transport", transport);
  history.replaceState(null, "", url);
  $("transport-hint").textContent = HINTS[transport];
  connect();
});

$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const url = new URL(location.href);
  url.searchParams.set("room", roomName($("room").value) || "lobby");
  location.assign(url);
});

// ---- The side panel, which covers the chat on a narrow screen

const narrow = matchMedia("(max-width: 799px)");

function showPanel(shown) {
  const covering = shown && narrow.matches;
  document.body.classList.toggle("panel-shown", covering);
  $("panel-open").setAttribute("aria-expanded", String(covering));
  for (const part of $("chat").children) part.inert = covering;
}

$("panel-open").addEventListener("click", () => {
  showPanel(!document.body.classList.contains("panel-shown"));
  if (document.body.classList.contains("panel-shown")) $("panel-close").focus();
});
$("panel-close").addEventListener("click", closePanel);
addEventListener("keydown", ({ key }) => key === "Escape" && document.body.classList.contains("panel-shown") && closePanel());
narrow.addEventListener("change", () => showPanel(false));

function closePanel() {
  showPanel(false);
  $("panel-open").focus();
}

// iOS lays its keyboard over the page instead of making the page smaller.
visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale === 1) document.documentElement.style.setProperty("--height", `${visualViewport.height}px`);
});

// ---- Small things

function now() {
  return Date.now() + clockAhead;
}

/** Letters, digits, "-" and "_": with dots a room could be another one's list of people. */
function roomName(text) {
  return text.trim().replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 40);
}

/** `crypto.randomUUID` is missing where the page is not served securely, as from a laptop to a phone. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * The tab's id survives a reload, so own messages stay own. While the page runs it is not in the storage, so a
 * duplicate of the tab, which gets a copy of the storage, becomes somebody else.
 */
function claimTabId() {
  const id = recall("sessionStorage", "brolly.tab") || newId();
  remember("sessionStorage", "brolly.tab", "");
  return id;
}

function releaseTabId() {
  remember("sessionStorage", "brolly.tab", me);
}

/** Storage can be switched off (then even naming it throws); then nothing is remembered. */
function remember(storage, key, value) {
  try {
    window[storage].setItem(key, value);
  } catch {}
}

function recall(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch {
    return null;
  }
}

function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}

function sleep(delay) {
  return new Promise((resolve) => setTimeout(resolve, delay));
}

// ---- Start

$("room-title").textContent = room;
nameField.placeholder = `${pick(ADJECTIVES)} ${pick(ANIMALS)}`;
nameField.value = parameters.get("name")?.trim().slice(0, 32) || recall("localStorage", "brolly.name") || nameField.placeholder;
$("transport").value = transport;
$("transport-hint").textContent = HINTS[transport];
log.onunseen(0);
readServerClock().catch(() => {});
connect();
setInterval(showCountdown, 250);
setInterval(sayHereInTurn, 1_000);
if (!matchMedia("(pointer: coarse)").matches) input.focus();
