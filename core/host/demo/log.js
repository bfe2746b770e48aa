// The list of messages: what is shown, in which order, and where it is scrolled to.

import { colour } from "./people.js";

/** Older messages leave the page when there are more than this. */
const MOST_SHOWN = 1_000;
/** Ids are remembered longer than messages are shown, so that a replay cannot bring old ones back. */
const MOST_REMEMBERED = 20_000;
/** Messages of one person within this time share one heading; milliseconds. */
const GROUP_WITHIN = 5 * 60_000;
/** Closer to the end than this counts as being at the end; CSS pixels. */
const NEAR_END = 48;

const MOST_TEXT = 4_000;
const MOST_NAME = 60;

/** Messages from the server stand in the server's order; own messages that it has not confirmed stand below them. */
export class Log {
  /** Called with the number of messages from others that arrived out of sight. */
  onunseen = (_count) => {};

  #me;
  #scroller = document.getElementById("log");
  #list = document.getElementById("messages");
  #empty = document.getElementById("empty");
  #template = document.getElementById("message-template");
  #seen = new Set();
  #atEnd = true;
  #unseen = 0;

  constructor(me) {
    this.#me = me;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // The room for messages changes with the window, an on-screen keyboard, a growing text field.
    new ResizeObserver(() => this.#follow()).observe(this.#scroller);
    new ResizeObserver(() => this.#follow()).observe(this.#list);
  }

  /** Reads arrivals out from now on (the history that came before is not news). */
  announce() {
    this.#scroller.setAttribute("aria-live", "polite");
  }

  /** Shows what the server delivered. False when it is malformed or was shown before. */
  receive(message) {
    if (!isMessage(message)) return false;
    const waiting = this.#pendingItem(message.id);
    if (!waiting && this.#seen.has(message.id)) return false;
    this.#remember(message.id);
    const item = waiting ?? this.#render(message);
    this.#settle(item);
    if (!waiting && message.from !== this.#me && (!this.#atEnd || document.hidden)) this.#setUnseen(this.#unseen + 1);
    return true;
  }

  /** Shows an own message that is on its way. */
  propose(message) {
    const item = this.#render(message);
    item.classList.add("pending");
    this.#list.append(item);
    this.#regroup(item);
    this.toEnd();
  }

  /** An own message is on its way (again). */
  sending(id) {
    const item = this.#pendingItem(id);
    item?.classList.remove("failed");
    if (item) item.querySelector(".status").hidden = true;
  }

  /** The server has taken an own message; its place in the list is known when it comes back. */
  sent(id) {
    this.sending(id);
    this.#pendingItem(id)?.classList.add("sent");
  }

  /** An own message was not sent; offers to try again or to delete it. */
  failed(id, why, { retry, discard }) {
    const item = this.#pendingItem(id);
    if (!item) return;
    item.classList.add("failed");
    const status = item.querySelector(".status");
    status.querySelector(".why").textContent = `Not sent: ${why.replace(/\.$/, "")}.`;
    status.querySelector(".retry").onclick = retry;
    status.querySelector(".discard").onclick = () => {
      const next = item.nextElementSibling;
      item.remove();
      if (next) this.#regroup(next);
      this.#showEmpty();
      discard();
    };
    status.hidden = false;
    this.#follow();
  }

  /** Marks a place where messages may be missing. */
  divide(text) {
    const before = this.#firstPending();
    const last = before ? before.previousElementSibling : this.#list.lastElementChild;
    // Where nothing is shown nothing is missed, and one mark says as much as two.
    if (!last || last.classList.contains("divider")) return;
    const divider = document.createElement("li");
    divider.className = "divider";
    divider.textContent = text;
    this.#list.insertBefore(divider, before);
    if (before) this.#regroup(before);
    this.#follow();
  }

  /** Scrolls to the latest message. */
  toEnd() {
    this.#atEnd = true;
    this.#follow();
    this.#setUnseen(0);
  }

  /** The page is looked at again: what is in sight has been seen. */
  looked() {
    if (this.#atEnd) this.#setUnseen(0);
  }

  get atEnd() {
    return this.#atEnd;
  }

  #settle(item) {
    item.classList.remove("pending", "sent", "failed");
    item.querySelector(".status").hidden = true;
    const before = this.#firstPending();
    const inPlace = item.isConnected && (before ? item.nextElementSibling === before : !item.nextElementSibling);
    if (!inPlace) {
      const left = item.nextElementSibling;
      this.#list.insertBefore(item, before);
      if (left) this.#regroup(left);
    }
    this.#regroup(item);
    if (before) this.#regroup(before);
    if (this.#atEnd) while (this.#list.childElementCount > MOST_SHOWN) this.#list.firstElementChild.remove();
    this.#showEmpty();
    this.#follow();
  }

  #render(message) {
    const item = this.#template.content.firstElementChild.cloneNode(true);
    const own = message.from === this.#me;
    const name = message.name.trim().slice(0, MOST_NAME) || "Somebody";
    const at = new Date(message.at);
    item.dataset.id = message.id;
    item.dataset.from = message.from;
    item.dataset.at = +at;
    item.dataset.initial = [...name][0].toUpperCase();
    item.classList.toggle("own", own);
    item.style.setProperty("--hue", colour(message.from));
    item.querySelector(".name").textContent = name;
    fillText(item.querySelector(".text"), message.text.slice(0, MOST_TEXT));
    const time = item.querySelector("time");
    if (!Number.isNaN(+at)) {
      time.dateTime = at.toISOString();
      time.title = at.toLocaleString();
      time.textContent = shortTime(at);
    }
    return item;
  }

  /** Whether an item continues what the same person said just before. */
  #regroup(item) {
    if (!item.classList.contains("message")) return;
    const [before, after] = [item.previousElementSibling, item.nextElementSibling];
    item.classList.toggle("continued", continues(item, before));
    if (after?.classList.contains("message")) after.classList.toggle("continued", continues(after, item));
    this.#showEmpty();
  }

  #pendingItem(id) {
    return this.#list.querySelector(`.pending[data-id="${CSS.escape(id)}"]`);
  }

  #firstPending() {
    return this.#list.querySelector(".pending");
  }

  #remember(id) {
    this.#seen.add(id);
    if (this.#seen.size > MOST_REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
  }

  #showEmpty() {
    this.#empty.hidden = this.#list.childElementCount > 0;
  }

  #follow() {
    if (this.#atEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END;
    this.#setUnseen(this.#atEnd && !document.hidden ? 0 : this.#unseen);
  }

  #setUnseen(count) {
    this.#unseen = count;
    this.onunseen(count);
  }
}

function isMessage(message) {
  const isShort = (value) => typeof value === "string" && value.length > 0 && value.length <= 100;
  return (
    message !== null &&
    typeof message === "object" &&
    isShort(message.id) &&
    isShort(message.from) &&
    typeof message.name === "string" &&
    typeof message.text === "string" &&
    message.text.trim() !== ""
  );
}

function continues(item, before) {
  return (
    before?.classList.contains("message") === true &&
    before.dataset.from === item.dataset.from &&
    before.querySelector(".name").textContent === item.querySelector(".name").textContent &&
    Math.abs(item.dataset.at - before.dataset.at) < GROUP_WITHIN
  );
}

/** Text with its web addresses as links. It comes from strangers: it never becomes markup. */
function fillText(element, text) {
  let done = 0;
  for (const match of text.matchAll(/https?:\/\/[^\s<>"]*[^\s<>"'.,;:!?)\]}]/g)) {
    const link = document.createElement("a");
    link.href = link.textContent = match[0];
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    element.append(text.slice(done, match.index), link);
    done = match.index + match[0].length;
  }
  element.append(text.slice(done));
}

function shortTime(at) {
  const today = at.toDateString() === new Date().toDateString();
  const day = today ? {} : { day: "numeric", month: "short" };
  return at.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit" });
}
