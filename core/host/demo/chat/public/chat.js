// The page of the chat: a room at a time, what is unread in the others, and who is there.

import { follow, showPeople } from "./people.js";
import { Lattice } from "./swindon.js";

const MOST_SHOWN = 200;
const $ = (id) => document.getElementById(id);
const messages = $("messages");

const swindon = follow($("state"), askWho);
const rooms = new Lattice({ onUpdate: showUnread });
swindon.guard().lattice("chat.rooms", "", rooms);
showPeople(swindon, $("people"));
$("presence").search = location.search;

/** The room that is shown, and the guard that keeps it subscribed. */
let room = null;
let guard = null;

const me = await swindon.waitConnected();
$("chat").hidden = false;
$("rooms").append(...me.rooms.map(roomItem));
enter(decodeURIComponent(location.hash.slice(1)) || me.rooms[0]);
document.addEventListener("visibilitychange", saw);

// ---- Rooms

function roomItem(name) {
  const button = Object.assign(document.createElement("button"), { textContent: name, onclick: () => enter(name) });
  const item = document.createElement("li");
  item.dataset.room = name;
  item.append(button);
  return item;
}

function enter(name) {
  if (name === room) return;
  guard?.close();
  room = name;
  location.hash = name;
  messages.replaceChildren();
  for (const item of $("rooms").children) item.classList.toggle("here", item.dataset.room === name);
  // Listening comes first: what is said while the history is on its way is not missed, and has a number.
  guard = swindon
    .guard()
    .listen(`chat.${name}`, show)
    .init("chat.enter", [name], {}, (history) => name === room && showHistory(history))
    .deinit("chat.leave", [name]);
}

function showUnread() {
  for (const item of $("rooms").children) {
    const unread = rooms.getCounter(item.dataset.room, "last") - rooms.getCounter(item.dataset.room, "seen");
    item.dataset.unread = Math.max(0, unread);
  }
}

/** Tells the backend what was seen; all pages of the user hear of it. */
function saw() {
  const last = newest();
  if (document.visibilityState !== "visible" || !(last > rooms.getCounter(room, "seen"))) return;
  rooms.updateCounter(room, "seen", last);
  showUnread();
  // Nobody waits for it, and the next message says it again.
  swindon.call("chat.saw", [room, last]).catch(() => {});
}

// ---- Messages

function showHistory(history) {
  // Whoever was away for longer than the history reaches back begins anew.
  if (history[0]?.id > newest() + 1) messages.replaceChildren();
  history.forEach(show);
}

function newest() {
  return Math.max(0, ...[...messages.children].map((item) => Number(item.dataset.id ?? 0)));
}

/** In the order of the numbers, each once: after a reconnect they come with the history, too. Notices have none. */
function show({ id, who, text, at }) {
  const shown = [...messages.children];
  if (id && shown.some((item) => item.dataset.id === String(id))) return;
  const item = document.createElement("li");
  if (id) item.dataset.id = id;
  if (at) item.title = new Date(at * 1_000).toLocaleString();
  item.classList.toggle("notice", !who);
  item.classList.toggle("own", who === me.user_id);
  for (const [name, content] of [["name", who], ["text", text]]) {
    if (content) item.append(Object.assign(document.createElement("bdi"), { className: name, textContent: content }));
  }
  messages.insertBefore(item, shown.find((later) => Number(later.dataset.id) > id) ?? null);
  if (messages.children.length > MOST_SHOWN) messages.firstElementChild.remove();
  item.scrollIntoView({ block: "end" });
  saw();
}

$("say").onsubmit = async (event) => {
  event.preventDefault();
  const input = event.target.text;
  $("trouble").textContent = "";
  try {
    await swindon.call("chat.say", [room, input.value]);
    input.value = "";
  } catch (error) {
    $("trouble").textContent = error.data?.error ?? "It may not have arrived. Try again.";
  }
};

// ---- Who are you?

/** The backend did not let us in. */
function askWho(why) {
  $("why").textContent = document.cookie.includes("chat_name=") || location.search ? why : "";
  $("who").hidden = false;
  $("who").onsubmit = (event) => {
    event.preventDefault();
    document.cookie = `chat_name=${event.target.name.value}; SameSite=Strict`;
    location.search = "";
    location.reload();
  };
}
