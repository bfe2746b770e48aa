"""The command line: help, mistakes, `publish`, `tail`, `serve`, `check`; what `dev` prints."""

import json
import re
import subprocess
import threading
import time

from harness import check, contains, equal, eventually, holds, lacks, one_of
from server import POSITION, Brolly, free_port

COMMANDS = ("demo", "dev", "serve", "check", "publish", "tail")


def run(setting, *arguments, stdin="", seconds=10):
    return subprocess.run([setting.binary, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=seconds)


def complaint(done, code):
    """The one clear line of a command that failed."""
    equal(done.returncode, code, done.stderr)
    lines = done.stderr.strip().split("\n")
    equal(len(lines), 1, done.stderr)
    for word in ("panicked", "backtrace", "thread '", "os error", "Os {", "Error {"):
        lacks(done.stderr, word)
    equal(done.stdout, "")
    return lines[0]


class Following:
    """A `tail` whose output is read in the background."""

    def __init__(self, setting, *arguments):
        self.process = subprocess.Popen([setting.binary, "tail", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.out, self.err = [], []
        for pipe, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err)):
            threading.Thread(target=self._read, args=(pipe, lines), daemon=True).start()

    @staticmethod
    def _read(pipe, lines):
        for line in pipe:
            lines.append(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def has(self, text, within=10):
        eventually(lambda: any(text in line for line in self.out), within, f"no {text!r} in {self.out[-10:]} {self.err[-5:]}")


@check("--help and --version everywhere")
def _(setting):
    top = run(setting, "--help")
    equal((top.returncode, top.stderr), (0, ""))
    for command in COMMANDS:
        contains(top.stdout, command)
        done = run(setting, command, "--help")
        equal((done.returncode, done.stderr), (0, ""), command)
        contains(done.stdout, setting.binary.name, command)
    for arguments in ((), *((command,) for command in COMMANDS)):
        done = run(setting, *arguments, "--version")
        equal((done.returncode, done.stderr), (0, ""), str(arguments))
        holds(re.search(r"\d+\.\d+\.\d+", done.stdout), done.stdout)
    one_of(run(setting).returncode, (0, 2), "nothing at all")


@check("wrong arguments exit 2 with a sentence")
def _(setting):
    for arguments, words in [
        (["srve"], ["srve", "serve"]),
        (["demo", "--lisen", "1"], ["--lisen", "--listen"]),
        (["demo", "--listen", "nowhere"], ["nowhere", "127.0.0.1:8080"]),
        (["demo", "--threads", "0"], ["0", "1"]),
        (["demo", "--threads", "many"], ["many"]),
        (["demo", "superfluous"], ["superfluous"]),
        (["dev"], ["DIR"]),
        (["dev", "/api/=http://localhost:1"], ["dir"]),
        (["dev", ".", "api"], ["PREFIX=URL"]),
        (["dev", ".", "api/=http://localhost:1"], ["/api/"]),
        (["dev", ".", "/api/=ftp://localhost:1"], ["ftp"]),
        (["dev", ".", "/api/=http://"], ["http"]),
        (["dev", "--listen", "0.0.0.0:8080", "."], ["0.0.0.0:8080", "--allow-remote"]),
        (["demo", "--listen", "[::]:8080"], ["--allow-remote"]),
        (["serve"], ["--config"]),
        (["check"], ["--config"]),
        (["publish"], ["URL", "TOPIC"]),
        (["publish", "http://localhost:1"], ["TOPIC"]),
        (["publish", "://", "topic", "data"], ["://"]),
        (["tail", "http://localhost:1"], ["TOPIC"]),
    ]:
        line = complaint(run(setting, *arguments), 2)
        for word in words:
            contains(line.lower(), word.lower(), " ".join(arguments))


@check("what cannot be done exits 1 with a sentence")
def _(setting):
    taken = setting.demo.port
    file = setting.above / "not-a-directory"
    file.write_text("x")
    for arguments, words in [
        (["demo", "--listen", f"127.0.0.1:{taken}"], [str(taken)]),
        (["dev", setting.above / "missing"], ["missing"]),
        (["dev", file], ["not-a-directory"]),
        (["serve", "--config", setting.above / "missing.toml"], ["missing.toml"]),
        (["check", "--config", setting.above / "missing.toml"], ["missing.toml"]),
        (["publish", f"http://127.0.0.1:{free_port()}", "topic", "data"], ["127.0.0.1"]),
        (["publish", setting.backend.url, "nothing", "data"], ["127.0.0.1"]),
        (["publish", f"{setting.dev.url}/hello.txt", "topic", "data"], []),
    ]:
        line = complaint(run(setting, *arguments), 1)
        for word in words:
            contains(line, word)


@check("publish prints the receipt, from an argument and from standard input")
def _(setting):
    for arguments, stdin, expected in [
        (['{"a":1}'], "", {"a": 1}),
        (["words"], "", "words"),
        (["-1"], "", -1),
        (["-"], '{"from":"stdin"}', {"from": "stdin"}),
        (["-"], "many\nlines\n", None),
    ]:
        done = run(setting, "publish", setting.demo.url, "by.command", *arguments, stdin=stdin)
        equal((done.returncode, done.stderr), (0, ""))
        receipt = json.loads(done.stdout)
        equal(receipt["topic"], "by.command")
        holds(POSITION.fullmatch(receipt["position"]), receipt["position"])
        answer = json.loads(setting.demo.curl("/-/poll?topic=by.command&position=0&wait=0").body)
        data = answer["messages"][-1]["data"]
        if expected is None:
            contains(data, "many\nlines")
        else:
            equal(data, expected)


@check("tail prints what is published, from an event stream or a WebSocket")
def _(setting):
    for scheme in ("http", "ws"):
        a, b = f"{scheme}.a", f"{scheme}.b"
        with Following(setting, setting.demo.url.replace("http", scheme), a, b) as tail:
            eventually(lambda: json.loads(setting.demo.publish(a, '"ready?"').body)["subscribers"] == 1)
            tail.has("ready?")
            for n in range(20):
                setting.demo.publish(a if n % 2 else b, json.dumps({"n": n}))
            tail.has('"n": 19')
            text = "\n".join(tail.out)
            equal([int(n) for n in re.findall(r'"n": (\d+)', text)], list(range(20)))


@check("tail reconnects, resumes without loss, and says when it could not")
def _(setting):
    for scheme in ("http", "ws"):
        reconnect(setting, scheme)


def reconnect(setting, scheme):
    from relay import Relay

    server = Brolly("demo")
    with Relay(server.port) as relay, Following(setting, f"{scheme}://127.0.0.1:{relay.port}", "again") as tail:
        eventually(lambda: json.loads(server.publish("again", '"warm up"').body)["subscribers"] == 1)
        for n in range(5):
            server.publish("again", f'"before {n}"')
        tail.has("before 4")
        relay.cut()
        for n in range(5):
            server.publish("again", f'"while {n}"')
        time.sleep(0.5)
        relay.mend()
        tail.has("while 4", within=20)
        server.publish("again", '"after"')
        tail.has("after")
        seen = re.findall(r"(?:before|while) \d|after", "\n".join(tail.out))
        equal(seen, [f"before {n}" for n in range(5)] + [f"while {n}" for n in range(5)] + ["after"])
        server.kill()
        with Brolly("demo", port=server.port) as restarted:
            eventually(lambda: json.loads(restarted.publish("again", '"new life"').body)["subscribers"] == 1, within=20)
            tail.has("new life")
            eventually(lambda: any("refused" in line or "missing" in line or "missed" in line or "lost" in line
                                   for line in tail.err + tail.out), within=5, note=f"no word of it: {tail.err} {tail.out[-5:]}")


@check("dev says where it is, that it is open to everyone, and one line per request")
def _(setting):
    with Brolly("dev", setting.root) as server:
        eventually(lambda: server.url in server.output() or f"localhost:{server.port}" in server.output())
        contains(server.output().lower(), "everyone")
        before = len(server.output().splitlines())
        for path in ("/hello.txt", "/nowhere", "/-/poll?topic=a&wait=0"):
            barium = server.curl(path).field("x-barium")
            holds(barium, path)
        lines = eventually(lambda: len(server.output().splitlines()) >= before + 3 and server.output().splitlines()[before:])
        equal(len(lines), 3, str(lines))
        for line, parts in zip(lines, (("GET", "/hello.txt", "200"), ("GET", "/nowhere", "404"), ("GET", "/-/poll", "200"))):
            for part in parts:
                contains(line, part)
        lacks(server.output(), "\x1b[", "colour in a file")


@check("dev starts although a backend is dead")
def _(setting):
    with Brolly("dev", setting.root, f"/api/=http://127.0.0.1:{free_port()}") as server:
        equal(server.curl("/hello.txt").status, 200)
        equal(server.curl("/api/").status, 502)


@check("--allow-remote and [::1] are listened on")
def _(setting):
    port = free_port()
    process = subprocess.Popen([setting.binary, "demo", "--listen", f"[::1]:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def answers():
            done = subprocess.run(["curl", "-sS", "--noproxy", "*", "-g", f"http://[::1]:{port}/"], capture_output=True)
            return b"<html" in done.stdout.lower()

        eventually(answers, note="no page on [::1]")
    finally:
        process.kill()
        process.wait()


@check("check explains a file, serve serves it")
def _(setting):
    good = setting.above / "good.toml"
    port = free_port()
    good.write_text(f'''
        listen = ["127.0.0.1:{port}"]
        [limits]
        idle_timeout = "1s"
        [[routes]]
        handler = "files"
        root = "public"
        [[routes]]
        prefix = "/gone"
        handler = "status"
        status = 410
        [[routes]]
        prefix = "/old"
        handler = "redirect"
        location = "/new"
    ''')
    done = run(setting, "check", "--config", good)
    equal((done.returncode, done.stderr), (0, ""))
    contains(done.stdout, "/gone")
    defaults = run(setting, "check", "--defaults")
    equal((defaults.returncode, defaults.stderr), (0, ""))
    contains(defaults.stdout, "idle_timeout")
    with Brolly("serve", "--config", good, port=port) as server:
        equal(server.curl("/hello.txt").text, "hello, world\n")
        equal(server.curl("/gone/x").status, 410)
        equal(server.curl("/old").field("location"), "/new")
        with server.wire() as wire:
            equal(wire.send("GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n").answer().status, 200)
            holds(wire.ended(4), "idle_timeout of one second is not kept")


@check("a wrong file is explained with its line")
def _(setting):
    bad = setting.above / "bad.toml"
    for text, words in [
        ("listen = [", ["bad.toml"]),
        ("[limits]\nidle-timeout = '1s'", ["bad.toml:2", "idle_timeout"]),
        ("[limits]\nidle_timeout = 'soon'", ["bad.toml:2"]),
        ("[[routes]]\nhandler = 'proxy'\nupstream = 'nobody'", ["bad.toml:3", "nobody"]),
        ("[[routes]]\nhandler = 'fils'\nroot = '.'", ["bad.toml:2", "files"]),
        ("[[routes]]\nhandler = 'files'\nroot = 'missing-directory'", ["bad.toml:3", "missing-directory"]),
        ("nonsense = 1", ["bad.toml:1", "nonsense"]),
    ]:
        bad.write_text(text)
        for command in ("check", "serve"):
            line = complaint(run(setting, command, "--config", bad), 1)
            for word in words:
                contains(line, word)
