// What Swindon's JavaScript client says and expects, as checks for wherever the client runs.

const assert = require("node:assert/strict");
const { Brolly, check, eventually, sleep } = require("../checks.js");
const { World } = require("./world.js");

/** Registers the checks. `dialIn(setting)` gives how users dial; see `world.js`. */
function poolChecks(where, dialIn) {
  const on = (name, run) => {
    check(`${where}: ${name}`, async (setting) => {
      const world = await World.open(setting.artefacts);
      try {
        await run(world, await dialIn(setting));
      } finally {
        await world.close();
      }
    });
  };

  on("hello comes when the backend has answered, with all that it said", async (world, dial) => {
    const gate = deferred();
    const { probe, name } = await world.user(dial, {}, async () => {
      await gate.promise;
      return { value: { user_id: name, name: "Jürgen ☂", more: [1, { a: null }] } };
    });
    await eventually(() => world.backend.ids(name).length === 1, "the backend is not asked");
    await sleep(200);
    const [waiting] = await probe.connections();
    assert.deepEqual([waiting.opened, (await probe.state()).status], [null, "connecting"]);
    gate.resolve();
    const told = { user_id: name, name: "Jürgen ☂", more: [1, { a: null }] };
    assert.deepEqual(await probe.hello(), told);
    const [{ offered, chosen, received }] = await probe.connections();
    assert.deepEqual([offered, chosen], ["v1.swindon-lattice+json", "v1.swindon-lattice+json"]);
    assert.deepEqual(received.map(({ text }) => JSON.parse(text)), [["hello", {}, told]]);
    assert.deepEqual((await probe.states()).map(({ status }) => status), ["connecting", "active"]);
    const [{ body }] = world.backend.asked("/swindon/authorize_connection");
    assert.deepEqual([Object.keys(body[0]), body[1], body[2].url_querystring], [["connection_id"], [], `user=${name}&a=%20b`]);
    await quiet(probe);
  });

  on("calls are numbered from 1, say that somebody is there, and every answer finds its call", async (world, dial) => {
    const { probe, name, id } = await world.connected(dial);
    assert.deepEqual(await probe.call("room.enter", ["lobby", 1.5], { quietly: true }), {
      result: [{ active: 120, connection_id: id, request_id: 1 }, ["lobby", 1.5], { quietly: true }],
    });
    const [{ user, body }] = world.backend.asked("/room/enter");
    assert.deepEqual([user, body], [name, [{ connection_id: id, request_id: 1, active: 120 }, ["lobby", 1.5], { quietly: true }]]);
    assert.equal((await probe.connections())[0].sent[0], '["room.enter",{"request_id":1,"active":120},["lobby",1.5],{"quietly":true}]');
    for (const value of [null, 0, -1.5, true, "", "grün ☂ \u2028", [], {}, { a: [{ b: null }] }, "x".repeat(100_000)]) {
      world.backend.says("/value", { value });
      assert.deepEqual(await probe.call("value"), { result: value });
    }
    // The last that is asked is the first that is answered.
    world.backend.says("/late", async ({ body: [, [n]] }) => {
      await sleep(30 * (20 - n));
      return { value: n };
    });
    const calls = Array.from({ length: 20 }, (_, n) => ["late", [n]]);
    assert.deepEqual(await probe.calls(calls), calls.map(([, [n]]) => ({ result: n })));
    await quiet(probe);
  });

  on("errors say what they are, and everything that the call said about itself", async (world, dial) => {
    const { probe } = await world.connected(dial, { defaultActiveTime: 7 });
    let n = 0;
    const fails = async (method, more, data, args = []) => {
      const { error } = await probe.call(method, args);
      assert.deepEqual(error, { name: "CallError", metadata: { ...more, request_id: (n += 1), active: 7 }, data });
    };
    for (const status of [201, 204, 302, 400, 404, 409, 500, 503]) {
      world.backend.says("/m", { status, ...(status === 204 ? { text: "" } : { value: { why: status } }) });
      await fails("m", { error_kind: "http_error", http_error: status }, status === 204 ? null : { why: status });
    }
    world.backend.says("/m", { status: 404, text: "<p>", type: "text/html" });
    await fails("m", { error_kind: "http_error", http_error: 404 }, null);
    world.backend.says("/m", { text: "1", type: "text/plain" });
    await fails("m", { error_kind: "http_error", http_error: 500 }, null);
    world.backend.says("/m", { text: "[not a valid json" });
    await fails("m", { error_kind: "data_error" }, "expected ident at line 1 column 3");
    await fails("swindon.authorize_connection", { error_kind: "validation_error" }, "invalid method");
    await fails("no such", { error_kind: "validation_error" }, "invalid method");
    // A string instead of a list, which the tests of Swindon's client send.
    const { error } = await probe.call("m", "text");
    assert.deepEqual([error.metadata.error_kind, error.metadata.request_id], ["validation_error", (n += 1)]);
    world.backend.says("/m", { value: "still here" });
    assert.deepEqual(await probe.call("m"), { result: "still here" });
    await quiet(probe);
  });

  on("who is not let in is told why, sees the close code, and is let in when the backend thinks better of it", async (world, dial) => {
    const refused = async ([status, told = status, type = "application/json"]) => {
      const { probe } = await world.user(dial, {}, () => ({ status, text: '["why"]', type }));
      await eventually(async () => (await probe.state()).status === "wait", "it is not closed");
      const data = told === status && type === "application/json" ? ["why"] : null;
      const metadata = { error_kind: "http_error", http_error: told };
      assert.deepEqual((await probe.state()).last_fatal_error, { name: "FatalError", metadata, data });
      const [{ closed, received, chosen }] = await probe.connections();
      assert.deepEqual(closed, { code: 4000 + told, reason: "backend_error", wasClean: true });
      assert.deepEqual(received.map(({ text }) => JSON.parse(text)), [["fatal_error", metadata, data]]);
      assert.equal(chosen, "v1.swindon-lattice+json");
      await quiet(probe);
      await probe.close();
    };
    await Promise.all([[400], [401], [403], [404], [410], [500], [503], [402, 500], [204, 500], [200, 500], [403, 403, "text/html"]].map(refused));

    let friendly = false;
    const { probe, name } = await world.user(dial, {}, () => (friendly ? null : { status: 503, value: null }));
    await eventually(async () => (await probe.state()).status === "wait", "it is not closed");
    friendly = true;
    assert.equal((await probe.hello())?.user_id, name);
    assert.equal((await probe.state()).last_fatal_error, null);
    assert.deepEqual((await probe.states()).map(({ status }) => status), ["connecting", "wait", "connecting", "active"]);
    assert.deepEqual(await probe.call("m"), { result: [{ active: 120, connection_id: world.backend.ids(name)[1], request_id: 1 }, [], {}] });
    await quiet(probe);
  });

  on("topics: what was subscribed before hello comes after it, in order, and goes when the guard is closed", async (world, dial) => {
    const gate = deferred();
    const { probe, name } = await world.user(dial, {}, async ({ body: [{ connection_id: id }] }) => {
      await world.push("PUT", `/v1/connection/${id}/subscriptions/chat/lobby`);
      for (const n of [1, 2]) await world.push("POST", "/v1/publish/chat/lobby", { n });
      await world.push("PUT", `/v1/connection/${id}/lattices/rooms`, { private: { [name]: { lobby: { seen_counter: 3 } } } });
      await gate.promise;
    });
    world.backend.says("/room/enter", async ({ body: [{ connection_id: id }, [room]] }) => {
      await world.push("PUT", `/v1/connection/${id}/subscriptions/chat/${room}`);
      return { value: `in ${room}` };
    });
    world.backend.says("/room/leave", async ({ body: [{ connection_id: id }, [room]] }) => {
      await world.push("DELETE", `/v1/connection/${id}/subscriptions/chat/${room}`);
      return {};
    });
    await probe.guard({ listen: ["chat.lobby"], lattice: [["rooms", ""]] });
    gate.resolve();
    await hears(probe, [["message", { topic: "chat.lobby" }, { n: 1 }], ["message", { topic: "chat.lobby" }, { n: 2 }], ["lattice", "rooms", ["lobby"]]]);
    const kinds = (await probe.connections())[0].received.map(({ text }) => JSON.parse(text)[0]);
    assert.deepEqual(kinds, ["hello", "message", "message", "lattice"]);

    const guard = await probe.guard({ listen: ["chat.garden"], init: [["room.enter", ["garden"]]], deinit: [["room.leave", ["garden"]]] });
    await hears(probe, [["init", "room.enter", "in garden"]]);
    const values = Array.from({ length: 50 }, (_, n) => [n, { n }, null, `${n} ☂`][n % 4]);
    for (const value of values) await world.push("POST", "/v1/publish/chat/garden", value);
    await hears(probe, values.map((value) => ["message", { topic: "chat.garden" }, value]));
    await probe.closeGuard(guard);
    await hears(probe, [["deinit", "room.leave", null]]);
    await world.push("POST", "/v1/publish/chat/garden", "late");
    await world.push("POST", "/v1/publish/chat/lobby", "last");
    await hears(probe, [["message", { topic: "chat.lobby" }, "last"]]);
    await quiet(probe);
  });

  on("lattices: counters, sets and registers, by prefix, changes alone, and all of it to whoever comes back", async (world, dial) => {
    const { probe, name, id, relay } = await world.connected(dial);
    const attach = async (id) => {
      await world.push("PUT", `/v1/connection/${id}/lattices/n/s`, {
        shared: { "room:a": { last_counter: 5, who_set: ["x"], topic_register: [1, "rain"] }, "room:b": { last_counter: 1 } },
        private: { [name]: { "room:a": { seen_counter: 2 }, "other:c": {} } },
      });
    };
    const variables = async () => [
      await probe.lattice("n.s", "Counter", "a", "last"), await probe.lattice("n.s", "Counter", "a", "seen"),
      (await probe.lattice("n.s", "Set", "a", "who")).sort(), (await probe.lattice("n.s", "Register", "a", "topic"))?.[1],
    ];
    world.backend.says("/attach", async ({ body: [{ connection_id }] }) => ({ value: await attach(connection_id) }));
    await probe.guard({ lattice: [["n.s", "room:"]], init: [["attach"]] });
    await hears(probe, [["lattice", "n.s", ["a"]], ["init", "attach", null]], "in any order");
    assert.deepEqual([await probe.keys("n.s"), await variables()], [["a"], [5, 2, ["x"], "rain"]]);

    const update = (shared, more = {}) => world.push("POST", "/v1/lattice/n/s", { shared, ...more });
    await update({ "room:a": { last_counter: 6, who_set: ["x", "y"], topic_register: [0, "older"] }, "room:b": { last_counter: 9 } });
    await hears(probe, [["lattice", "n.s", ["a"]]]);
    assert.deepEqual(await variables(), [6, 2, ["x", "y"], "rain"]);
    await update({ "room:a": { last_counter: 4, topic_register: [2.5, { sun: true }] } }, { private: { [name]: { "room:a": { seen_counter: 6 } } } });
    await hears(probe, [["lattice", "n.s", ["a"]]]);
    assert.deepEqual(await variables(), [6, 6, ["x", "y"], { sun: true }]);
    const told = (await probe.connections())[0].received.map(({ text }) => JSON.parse(text)).filter(([kind]) => kind === "lattice");
    assert.deepEqual(told.map(([, meta]) => meta), Array(3).fill({ namespace: "n.s" }));
    assert.deepEqual(told.slice(1).map(([, , data]) => data), [
      { "room:a": { last_counter: 6, who_set: ["y"] } },
      { "room:a": { seen_counter: 6, topic_register: [2.5, { sun: true }] } },
    ]);

    await relay.cut();
    await relay.open();
    await eventually(async () => (await probe.heard()).some(([kind]) => kind === "init"), "it does not come back");
    assert.notEqual(world.backend.ids(name).at(-1), id);
    await update({ "room:a": { last_counter: 7 } });
    await eventually(async () => (await variables())[0] === 7, "it is not attached again");
    assert.deepEqual(await variables(), [7, 6, ["x", "y"], { sun: true }]);
    await quiet(probe);
  });

  on("what pages rely on: values that are not set, types, the last close, and one handler's mistake is no other's", async (world, dial) => {
    const { probe, name, id } = await world.connected(dial);
    assert.deepEqual([(await probe.state()).last_websocket_error, (await probe.state()).last_websocket_close], [null, null]);
    await probe.guard({ fail: ["room"], listen: ["room"], lattice: [["n.s", ""]] });
    const get = async (kind) => await probe.lattice("n.s", kind, "a", "x");
    assert.deepEqual([await get("Counter"), await get("Set"), await get("Register")], [0, [], [0, null]]);
    for (const [kind, value] of [["Counter", "1"], ["Counter", 1.5], ["Set", "b"], ["Register", "b"], ["Register", [1.5, "b"]]]) {
      assert.equal(await probe.update("n.s", kind, "a", "x", value), "InvalidType");
    }
    assert.deepEqual([await probe.update("n.s", "Register", "a", "x", [1, "b"]), await get("Register")], [true, [1, "b"]]);
    await world.push("PUT", `/v1/connection/${id}/subscriptions/room`);
    await world.push("POST", "/v1/publish/room", 1);
    await hears(probe, [["message", { topic: "room" }, 1]]);
    assert.equal((await probe.complaints()).length, 1);
    await world.push("DELETE", `/v1/connection/${id}`, { code: 4401, reason: "log in again" });
    await eventually(async () => (await probe.state()).status === "wait", "it is not closed");
    assert.deepEqual((await probe.state()).last_websocket_close, { code: 4401, reason: "log in again" });
    await eventually(() => world.backend.ids(name).length === 2, "it does not come back");
    await quiet(probe);
  });

  on("presence: active, inactive, offline, right after a crash and after a reconnect", async (world, dial) => {
    const ann = await world.connected(dial);
    await ann.probe.guard({ lattice: [["swindon.user", ""]] });
    const bob = await world.user(dial, { defaultActiveTime: 3 });
    await world.push("PUT", `/v1/connection/${ann.id}/users`, [ann.name, bob.name, "nobody"]);
    const becomes = (user, status) => becomesFor(ann, user, status);
    const goodbyes = () => world.backend.asked("/swindon/session_inactive", bob.name);
    await becomes("nobody", "offline");
    assert.equal((await bob.probe.hello())?.user_id, bob.name);
    await becomes(bob.name, "active");
    // Nobody has called anything: a second after they came, both are idle.
    await becomes(bob.name, "inactive");
    await becomes(ann.name, "inactive");
    await eventually(() => goodbyes().length === 1, "the backend is not told");
    assert.deepEqual(goodbyes()[0].body, [{}, [], {}]);
    // A call says that somebody is there, for three seconds; then the path breaks.
    assert.ok((await bob.probe.call("m")).result);
    await becomes(bob.name, "active");
    await bob.relay.cut();
    await becomes(bob.name, "offline");
    await eventually(() => goodbyes().length === 2, "the backend is not told");
    const before = await toldTo(ann, bob.name);
    assert.deepEqual(before.slice(before.indexOf("active")), ["active", "inactive", "active", "offline"]);
    // Who comes back is active again; an idle user whose path breaks is gone at once.
    await bob.relay.open();
    await bob.probe.reconnectNow();
    await becomes(bob.name, "active");
    await becomes(bob.name, "inactive");
    await bob.relay.cut();
    await becomes(bob.name, "offline");
    assert.equal(goodbyes().length, 3);
    assert.equal((await ann.probe.lattice("swindon.user", "Register", bob.name, "status"))[1], "offline");
    await Promise.all([quiet(ann.probe), quiet(bob.probe)]);
  });

  on("a path that falls silent: the server lets go of it, and another window of the user is as good", async (world, dial) => {
    const ann = await world.connected(dial);
    await ann.probe.guard({ lattice: [["swindon.user", ""]] });
    // Longer than the server waits for a pong.
    const bob = await world.connected(dial, { defaultActiveTime: 4 });
    await world.push("PUT", `/v1/connection/${ann.id}/users`, [bob.name]);
    assert.ok((await bob.probe.call("m")).result);
    bob.relay.freeze();
    await becomesFor(ann, bob.name, "offline");
    assert.deepEqual(await toldTo(ann, bob.name), ["active", "offline"]);
    const window = await world.connected(dial, { defaultActiveTime: 120 }, bob.name);
    assert.ok((await window.probe.call("m")).result);
    await becomesFor(ann, bob.name, "active");
    await window.probe.guard({ listen: ["news"] });
    await world.push("POST", `/v1/user/${bob.name}/publish/news`, 1);
    await hears(window.probe, [["message", { topic: "news" }, 1]]);
    // The client of the first window hears of the end only now, and comes back: two windows, one user.
    await bob.probe.guard({ listen: ["news"] });
    await bob.relay.cut();
    await bob.relay.open();
    await eventually(() => world.backend.ids(bob.name).length === 3, "it does not come back");
    assert.equal((await bob.probe.hello())?.user_id, bob.name);
    await world.push("POST", `/v1/user/${bob.name}/publish/news`, 2);
    for (const { probe } of [bob, window]) await hears(probe, [["message", { topic: "news" }, 2]]);
    assert.deepEqual(await toldTo(ann, bob.name), ["active", "offline", "active"]);
    for (const { probe } of [ann, bob, window]) await quiet(probe);
  });

  on("reconnect: another connection, another id, calls from 1, guards again, and nothing is left of the old one", async (world, dial) => {
    const { probe, name, relay, id } = await world.connected(dial);
    world.backend.says("/enter", async ({ body: [{ connection_id: id, request_id: n }] }) => {
      await world.push("PUT", `/v1/connection/${id}/subscriptions/room`);
      return { value: [id, n] };
    });
    await probe.guard({ listen: ["room"], init: [["enter"]] });
    await hears(probe, [["init", "enter", [id, 1]]]);
    const never = deferred();
    world.backend.says("/never", () => never.promise);
    const lost = probe.call("never");
    await eventually(() => world.backend.asked("/never").length === 1, "it is not called");
    let failures = 0;
    for (const end of ["cut", "closed", "told"]) {
      if (end === "cut") {
        await relay.cut();
        assert.equal((await lost).error.metadata.error_kind, "closed");
      } else if (end === "closed") {
        await world.push("DELETE", `/v1/connection/${world.backend.ids(name).at(-1)}`, { code: 4403, reason: "banned" });
      } else await probe.reconnectNow();
      await eventually(async () => (await probe.connections()).filter(({ closed }) => closed).length > failures, "it is not closed");
      const state = (await probe.states()).findLast(({ status }) => status === "wait");
      if (end !== "told") {
        // One second, then two, each between half as long and half as long again.
        const delay = (state.reconnect_time - state.at) / [1_000, 2_000][failures];
        assert.ok(delay > 0.4 && delay < 1.6, `it waits ${delay} times as long as it should`);
      }
      const { closed } = (await probe.connections())[failures];
      if (end === "closed") assert.deepEqual(closed, { code: 4403, reason: "banned", wasClean: true });
      failures += 1;
      if (end === "cut") await relay.open();
      await eventually(() => world.backend.ids(name).length === failures + 1, "it does not come back");
      await hears(probe, [["init", "enter", [world.backend.ids(name).at(-1), 1]]]);
      await world.push("POST", "/v1/publish/room", end);
      await hears(probe, [["message", { topic: "room" }, end]]);
    }
    assert.equal(new Set(world.backend.ids(name)).size, 4);
    never.resolve({});
    await quiet(probe);
  });

  on("a server that is stopped says 1001, and its successor gets everybody back", async (world, dial) => {
    const { probe, name } = await world.connected(dial);
    await probe.guard({ init: [["enter"]] });
    await eventually(async () => (await probe.heard()).length === 1, "it does not enter");
    world.server.child.kill("SIGTERM");
    await eventually(async () => (await probe.state()).status === "wait", "it is not closed");
    assert.deepEqual((await probe.connections())[0].closed?.code, 1001);
    assert.equal(await world.server.exited, 0);
    world.server = await Brolly.serve(world.port, world.file);
    await eventually(async () => (await probe.heard()).length === 1, "it does not come back");
    const [first, second] = world.backend.ids(name);
    assert.notEqual(first.slice(0, 32), second.slice(0, 32), "two servers have the same id");
    await quiet(probe);
  });

  on("an idle connection stays, and a client that closes gets its close frame back", async (world, dial) => {
    const { probe, name } = await world.connected(dial);
    // Several pings, which no script sees.
    await sleep(1_000);
    assert.deepEqual((await probe.states()).map(({ status }) => status), ["connecting", "active"]);
    await probe.close();
    await eventually(async () => (await probe.connections())[0].closed, "the close frame is not answered");
    assert.deepEqual((await probe.connections())[0].closed, { code: 1005, reason: "", wasClean: true });
    assert.equal((await probe.state()).status, "closed");
    await sleep(300);
    assert.deepEqual([(await probe.connections()).length, world.backend.ids(name).length], [1, 1]);
    await quiet(probe);
  });
}

/** Waits until a watcher is told that a user has this status now, after what was waited for before. */
async function becomesFor(watcher, user, status) {
  const told = (watcher.told ??= {});
  let place;
  const isTold = async () => (place = (await toldTo(watcher, user)).indexOf(status, told[user] ?? 0)) >= 0;
  await eventually(isTold, `${user} does not become ${status}`);
  told[user] = place + 1;
}

/** What a watcher was told of a user on the first connection, one after the other. */
async function toldTo(watcher, user) {
  const [{ received }] = await watcher.probe.connections();
  const updates = received.map(({ text }) => JSON.parse(text)).filter(([kind]) => kind === "lattice");
  const told = updates.flatMap(([, { namespace }, data]) => {
    assert.equal(namespace, "swindon.user");
    return data[user]?.status_register[1] ?? [];
  });
  return told.filter((status, n) => status !== told[n - 1]);
}

/** Waits until these, and no others, were heard. */
async function hears(probe, expected, order = "in this order") {
  const heard = [];
  await eventually(async () => heard.push(...(await probe.heard())) && heard.length >= expected.length, "").catch(() => {});
  const sorted = (list) => (order === "in this order" ? list : [...list].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)));
  assert.deepEqual(sorted(heard), sorted(expected));
}

/** The client has met nothing that it does not know. */
async function quiet(probe) {
  assert.deepEqual(await probe.complaints(), []);
}

function deferred() {
  const made = {};
  made.promise = new Promise((resolve) => (made.resolve = resolve));
  return made;
}

module.exports = { poolChecks };
