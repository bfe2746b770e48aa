// A network path that can be cut: copies bytes to a port, until it is told to drop everything and let nobody in. It can also
// be one of those that let some requests pass and others not.

const net = require("node:net");

class Relay {
  #target;
  #server;
  #sockets = new Set();
  /** Connection of a client → the heads of its requests, and where the next one is looked for. */
  #heads = new Map();
  /** What becomes of a request with this head: "pass", "drop", or "cut" when the answer has begun. */
  judge = (_head) => "pass";

  constructor(target) {
    this.#target = target;
  }

  /** How many connections are open whose last request's head matches. */
  countOpen(pattern) {
    return [...this.#heads.values()].filter((heads) => pattern.test(heads.at(-1) ?? "")).length;
  }

  async open(port = this.port ?? 0) {
    this.#server = net.createServer((near) => {
      const far = net.connect(this.#target, "127.0.0.1");
      const heads = [];
      this.#heads.set(near, heads);
      near.on("close", () => this.#heads.delete(near));
      // Ahead of the pipe: browsers send the head of a request in one piece.
      near.on("data", (piece) => {
        const [head] = piece.toString("latin1").split("\r\n\r\n");
        if (!/^[A-Z]+ \S+ HTTP\/1\.1\r\n/.test(head)) return;
        heads.push(head);
        const verdict = this.judge(head);
        if (verdict === "drop") near.destroy();
        if (verdict === "cut") far.once("data", () => setTimeout(() => near.destroy(), 20));
      });
      for (const [one, other] of [[near, far], [far, near]]) {
        this.#sockets.add(one);
        one.setNoDelay(true);
        one.pipe(other);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
    });
    await new Promise((resolve, reject) => this.#server.once("error", reject).listen(port, "127.0.0.1", resolve));
    this.port = this.#server.address().port;
    return this;
  }

  /** Nothing passes any more, and nobody is told. */
  freeze() {
    for (const socket of this.#sockets) socket.pause();
  }

  /** Drops all connections with a reset, and refuses new ones. */
  async cut() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }
}

module.exports = { Relay };
