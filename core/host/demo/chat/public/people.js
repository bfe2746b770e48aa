// What the pages have in common: the connection, how it is, and who is there.

import { Lattice, Swindon } from "./swindon.js";

/**
 * Connects. The backend knows the user by a cookie, or by `?name=` of the page; `?active=` says for how many seconds after a
 * call somebody counts as being there. `state` shows how the connection is; `refused` is called when it is not let in.
 */
export function follow(state, refused) {
  const parameters = new URLSearchParams(location.search);
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = location.search;
  const defaultActiveTime = Number(parameters.get("active") ?? 60);
  const swindon = new Swindon(url.href, { defaultActiveTime, onStateChange });

  function onStateChange({ status, reconnect_time, last_fatal_error }) {
    state.dataset.status = status;
    state.textContent = status === "active" ? "connected" : status === "wait" ? "connection lost" : status;
    if (status === "wait") state.title = `Again at ${new Date(reconnect_time).toLocaleTimeString()}`;
    if (status === "wait" && last_fatal_error?.metadata.http_error === 403) {
      swindon.close();
      refused(last_fatal_error.data?.error ?? "You are not let in.");
    }
  }
  return swindon;
}

/** Fills a list with the users that the backend subscribed this connection to. */
export function showPeople(swindon, list) {
  const item = (user, [since, status]) => {
    const made = Object.assign(document.createElement("li"), { textContent: user, title: `${status} since ${new Date(since).toLocaleString()}` });
    made.dataset.status = status;
    return made;
  };
  const onUpdate = (_, lattice) => {
    const users = lattice.allKeys().sort((one, other) => one.localeCompare(other));
    list.replaceChildren(...users.map((user) => item(user, lattice.getRegister(user, "status"))));
  };
  return swindon.guard().lattice("swindon.user", "", new Lattice({ onUpdate }));
}
