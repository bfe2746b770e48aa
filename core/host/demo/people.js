// Who is here, as the tabs themselves tell: each says "here" when it comes and every 20 s, and "gone" when it leaves.

/** How often a tab says that it is here; milliseconds. */
export const SAY_EVERY = 20_000;
/** A tab that has not been heard for so long is gone: it missed two turns. */
const EXPIRE_AFTER = 45_000;
/** Somebody who came so recently may not know of us; milliseconds. */
const NEWCOMER_WITHIN = 10_000;
const MOST_PEOPLE = 500;
const MOST_NAME = 60;

const VIA = { ws: "WebSocket", sse: "SSE", poll: "Long-poll" };

/** The list of people in the page. */
export class People {
  /** Called when somebody came who may not have heard of us. */
  onnewcomer = () => {};

  #me;
  #now;
  #entries = new Map();
  #list = document.getElementById("people");
  #counts = document.querySelectorAll(".count");

  /** `now` gives the time in milliseconds that the announcements' `at` is measured by. */
  constructor(me, now) {
    this.#me = me;
    this.#now = now;
    setInterval(() => this.#expire(), 1_000);
  }

  /** Whether data from the server is an announcement of presence. */
  static speaks(data) {
    return data !== null && typeof data === "object" && (data.type === "here" || data.type === "gone");
  }

  /** Takes an announcement. Old ones, from the topic's history, are known by their time. */
  hear({ type, id, name, at, since, via, answer }) {
    if (typeof id !== "string" || !id || id.length > 100) return;
    const known = this.#entries.get(id);
    if (type === "gone") {
      // A page that was reloaded keeps its id: the farewell of the old page does not concern the new one.
      if (id !== this.#me && known?.since === since) this.#remove(id);
      return;
    }
    const age = Math.max(0, this.#now() - at);
    if (typeof name !== "string" || !(age < EXPIRE_AFTER)) return;
    if (!known && this.#entries.size >= MOST_PEOPLE) return;
    if (id === this.#me) return;
    this.#put(id, { name: name.trim().slice(0, MOST_NAME), via, since, expires: Date.now() + EXPIRE_AFTER - age });
    if (!known && !answer && age < NEWCOMER_WITHIN) this.onnewcomer();
  }

  /** Our own entry does not wait for the server. */
  present(name, via) {
    this.#put(this.#me, { name, via, expires: Infinity });
  }

  #put(id, entry) {
    const known = this.#entries.get(id);
    this.#entries.set(id, entry);
    if (known?.name !== entry.name || known?.via !== entry.via) this.#render();
  }

  #remove(id) {
    if (this.#entries.delete(id)) this.#render();
  }

  #expire() {
    for (const [id, { expires }] of this.#entries) {
      if (expires <= Date.now()) this.#remove(id);
    }
  }

  #render() {
    const first = (id) => (id === this.#me ? 0 : 1);
    const sorted = [...this.#entries].sort(
      ([a, one], [b, other]) => first(a) - first(b) || one.name.localeCompare(other.name) || (a < b ? -1 : 1),
    );
    this.#list.replaceChildren(...sorted.map(([id, entry]) => this.#item(id, entry)));
    for (const count of this.#counts) count.textContent = sorted.length;
  }

  #item(id, { name, via }) {
    const item = document.createElement("li");
    const label = document.createElement("bdi");
    const shown = name || "Somebody";
    label.className = "name";
    label.textContent = shown;
    item.dataset.id = id;
    item.dataset.initial = [...shown][0].toUpperCase();
    item.dataset.note = [id === this.#me ? "you" : "", VIA[via] ?? ""].filter(Boolean).join(" · ");
    item.style.setProperty("--hue", colour(id));
    item.append(label);
    return item;
  }
}

/** A hue, in degrees, that stays with an id. */
export function colour(id) {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)) % 360_007;
  // Twelve hues can be told apart; more look alike.
  return (hash % 12) * 30;
}
