// Checks, how they are run, and the server under test: what the suites written in JavaScript share.

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");
const { parseArgs } = require("node:util");

/** A check that has not ended after this long has failed; milliseconds. */
const LIMIT = 90_000;

const checks = [];

/** Registers a check: `run(setting)` is async and throws when it does not hold. */
function check(name, run) {
  checks.push({ name, run });
}

/** What the runner says. */
function options(more = {}) {
  const text = { type: "string", default: "" };
  const { values } = parseArgs({ options: { binary: text, artefacts: text, only: text, ...more } });
  values.artefacts = path.resolve(values.artefacts);
  fs.rmSync(values.artefacts, { recursive: true, force: true });
  fs.mkdirSync(values.artefacts, { recursive: true });
  Brolly.binary = values.binary;
  Brolly.logs = values.artefacts;
  return values;
}

/** Runs the checks one after the other, each followed by `setting.tidy()`, then `setting.close()`; ends the process. */
async function main(suite, setting, only) {
  const started = Date.now();
  let [passed, failed] = [0, 0];
  try {
    for (const { name, run } of checks.filter(({ name }) => name.includes(only))) {
      const began = Date.now();
      const trouble = await attempt(run, setting);
      if (trouble) failed += 1;
      else passed += 1;
      console.log(`  ${trouble ? "FAIL" : "ok  "} ${name} (${((Date.now() - began) / 1000).toFixed(2)} s)`);
      if (trouble) console.log(`       ${trouble.replaceAll("\n", "\n       ")}`);
      await setting.tidy?.();
    }
  } finally {
    await setting.close();
    Brolly.killAll();
  }
  console.log(`${suite} on ${path.basename(Brolly.binary)}: ${passed + failed} checks in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  console.log(`${suite}: ${passed} passed, ${failed} failed`);
  process.exit(failed > 0 || passed === 0 ? 1 : 0);
}

async function attempt(run, setting) {
  const late = new AbortController();
  try {
    await Promise.race([
      run(setting),
      sleep(LIMIT, null, { signal: late.signal }).then(() => {
        throw new Error(`not over after ${LIMIT / 1000} s`);
      }),
    ]);
    return "";
  } catch (error) {
    const where = (error.stack ?? "").split("\n").filter((line) => line.includes(__dirname) && !line.includes(__filename));
    return [String(error.message ?? error).slice(0, 2000), ...where.slice(0, 4).map((line) => line.trim())].join("\n");
  } finally {
    late.abort();
  }
}

/** Waits until `condition()` gives something truthy. */
async function eventually(condition, note, within = 10_000) {
  const deadline = Date.now() + within;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${note} (waited ${within / 1000} s)`);
    await sleep(20);
  }
}

/** A loopback port that nobody listens on, away from the range that outgoing connections are given. */
async function freePort() {
  for (;;) {
    const port = 18_000 + Math.floor(Math.random() * 12_000);
    const probe = net.createServer();
    const free = await new Promise((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

/** A server process. All of them are ended when the suite is over. */
class Brolly {
  static binary;
  static logs;
  static running = [];

  static killAll() {
    for (const one of Brolly.running) one.child.kill("SIGKILL");
  }

  static async start(command, ...args) {
    return await new Brolly(await freePort(), command, args).#listening();
  }

  /** `serve` with a file whose `listen` is this port. */
  static async serve(port, file) {
    return await new Brolly(port, "serve", ["--config", file]).#listening();
  }

  constructor(port, command, args) {
    Object.assign(this, { port, command, args, url: `http://127.0.0.1:${port}`, socketUrl: `ws://127.0.0.1:${port}` });
    Brolly.running.push(this);
    this.log = path.join(Brolly.logs, `server-${Brolly.running.length}-${command}.log`);
    const log = fs.openSync(this.log, "w");
    const listen = command === "serve" ? [] : ["--listen", `127.0.0.1:${port}`];
    this.child = spawn(Brolly.binary, [command, ...listen, ...args], { stdio: ["ignore", log, log] });
    fs.closeSync(log);
    this.exited = new Promise((resolve) => this.child.once("exit", (code, signal) => resolve(code ?? signal)));
  }

  async #listening() {
    await eventually(async () => {
      if (this.child.exitCode !== null) throw new Error(`${this.command} ended: ${fs.readFileSync(this.log, "utf8")}`);
      return await reachable(this.port);
    }, `${this.command} does not listen`);
    return this;
  }

  /** Kills it and starts another one on the same port. */
  async replace() {
    await this.kill();
    return await new Brolly(this.port, this.command, this.args).#listening();
  }

  async kill() {
    this.child.kill("SIGKILL");
    await this.exited;
  }
}

function reachable(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

module.exports = { Brolly, check, eventually, freePort, main, options, sleep };
