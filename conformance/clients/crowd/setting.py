"""One server, an ordinary client, and a crowd that comes and goes; what was measured meanwhile."""

import os
import pathlib
import resource
import tempfile
import time

import crowd
from ordinary import Backend, Ordinary
from server import Brolly, free_port

IDLE, DRIPS, READERS, WAITERS = 10_000, 1_000, 100, 50
# Seconds: of a measurement, and until a dripping sender is cut off.
WINDOW, DEADLINE = 10, 5
TICKS = os.sysconf("SC_CLK_TCK")


class Setting:
    def __init__(self, chosen):
        self.binary = Brolly.binary = chosen.binary
        Brolly.logs = chosen.artefacts
        self.scratch = tempfile.TemporaryDirectory(prefix="brolly-crowd-")
        self.idle_connections = room(IDLE)
        port = free_port()
        # What is long comes from another process: it must not hold up the answers that are timed.
        self.backends, self.ordinary = [Backend(free_port()), Backend(free_port())], Ordinary(port)
        urls = [backend.url for backend in self.backends]
        self.server = Brolly("serve", "--config", configuration(self.scratch.name, port, *urls), port=port)
        self.steps = []
        self.run()

    def close(self):
        Brolly.kill_all()
        self.ordinary.process.kill()
        for backend in self.backends:
            backend.process.kill()
        self.scratch.cleanup()

    def run(self):
        port = self.server.port
        self.measure("nobody else", lambda: None)
        self.alone = self.steps[-1]
        held = crowd.idle(port, self.idle_connections)
        self.idle = self.measure(f"{self.idle_connections:,} idle connections", lambda: None)

        heads = crowd.Dripping(port, DRIPS, b"GET /small.txt HTTP/1.1\r\nHost: a\r\nX: ", b"x")
        bodies = crowd.Dripping(
            port, DRIPS, b"POST /-/publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"x"
        )
        self.drips = {"heads": heads, "bodies": bodies}
        self.dripping = self.measure(
            f"and {DRIPS:,} dripping heads, {DRIPS:,} dripping bodies", lambda: (heads.tick(), bodies.tick())
        )
        deadline = time.monotonic() + DEADLINE + 3
        while any(heads.crowd + bodies.crowd) and time.monotonic() < deadline:
            heads.tick(again=False)
            bodies.tick(again=False)
            time.sleep(crowd.DRIP)
        self.left = sum(one is not None for one in heads.crowd + bodies.crowd)
        heads.close()
        bodies.close()

        readers = [crowd.Reading(port, READERS, path) for path in ("/big.bin", "/bulk/big")]
        self.waiters = crowd.Waiting(port, WAITERS, "/api/slow")
        self.readers = readers
        self.slow = self.measure(
            f"and {2 * READERS} readers of 1 KiB/s, {WAITERS} requests to a slow backend",
            lambda: [one.tick() for one in (*readers, self.waiters)],
        )
        self.alive = sum(is_open(one) for one in held)
        for one in held:
            one.close()
        for one in (*readers, self.waiters):
            one.close()
        time.sleep(1)
        self.after = self.measure("when they have gone", lambda: None)

    def measure(self, what, tick):
        """What the ordinary client sees for a while, and what the server takes for it."""
        cpu = self.cpu()
        self.ordinary.begin()
        until, rss = time.monotonic() + WINDOW, []
        while time.monotonic() < until:
            tick()
            rss.append(self.server.rss())
            time.sleep(crowd.DRIP)
        took, faults = self.ordinary.end()
        step = {
            "what": what, "requests": len(took), "faults": faults, "rss": max(rss), "cpu": (self.cpu() - cpu) / WINDOW,
            "median": took[len(took) // 2], "p99": took[len(took) * 99 // 100],
        }
        self.steps.append(step)
        return step

    def cpu(self):
        """CPU time of the server in seconds."""
        stat = pathlib.Path(f"/proc/{self.server.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS

    def report(self, path):
        lines = ["| beside the ordinary client | RSS | CPU | requests | median | p99 |", "|---|---|---|---|---|---|"]
        for step in self.steps:
            lines.append(
                f"| {step['what']} | {step['rss'] / 2**20:.1f} MiB | {step['cpu'] * 100:.0f} % | {step['requests']:,} "
                f"| {step['median'] * 1e3:.2f} ms | {step['p99'] * 1e3:.2f} ms |"
            )
        text = "\n".join(lines)
        path.write_text(text + "\n")
        print(f"\n{self.binary.name}\n\n{text}\n", flush=True)


def room(wanted):
    """Raises the limit of open files, for the server too; how many of the crowd may be idle within it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted + 5000:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + 5000, wanted + 5000))
            hard = wanted + 5000
        except (OSError, ValueError):
            pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, max(hard - 5000, 100))


def configuration(folder, port, backend, bulk):
    folder = pathlib.Path(folder)
    root = folder / "public"
    root.mkdir()
    (root / "small.txt").write_text("small")
    with open(root / "big.bin", "wb") as big:
        big.truncate(64 * 2**20)
    config = folder / "crowd.toml"
    config.write_text(f"""
        listen = ["127.0.0.1:{port}"]
        threads = 2
        [limits]
        head_timeout = "{DEADLINE}s"
        content_timeout = "{DEADLINE}s"
        idle_timeout = "5m"
        [upstreams.backend]
        servers = ["{backend}"]
        [upstreams.bulk]
        servers = ["{bulk}"]
        [[routes]]
        handler = "files"
        root = "public"
        [[routes]]
        prefix = "/api/"
        handler = "proxy"
        upstream = "backend"
        [[routes]]
        prefix = "/bulk/"
        handler = "proxy"
        upstream = "bulk"
        [[routes]]
        prefix = "/-/publish"
        handler = "publish"
    """)
    return config


def is_open(one):
    try:
        return one.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
