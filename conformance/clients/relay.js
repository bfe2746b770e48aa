// A network path that can be cut: copies bytes to a port, until it is told to drop everything and let nobody in.

const net = require("node:net");

class Relay {
  #target;
  #server;
  #sockets = new Set();

  constructor(target) {
    this.#target = target;
  }

  async open(port = this.port ?? 0) {
    this.#server = net.createServer((near) => {
      const far = net.connect(this.#target, "127.0.0.1");
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

  /** Drops all connections with a reset, and refuses new ones. */
  async cut() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }
}

module.exports = { Relay };
