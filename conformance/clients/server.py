"""A server process of the binary under test, and the ways in which checks talk to it."""

import os
import re
import signal
import socket
import subprocess
import threading
import time

from harness import fail, holds

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
POSITION = re.compile(r"[0-9a-z.-]+")

# Every final answer that any check saw: (what was asked, the values of its X-Barium fields).
BARIUMS = []


def free_port():
    """A loopback port that nobody listens on. Kept away from the range that outgoing connections are given."""
    for _ in range(200):
        port = int.from_bytes(os.urandom(2), "big") % 12_000 + 18_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    fail("no free port")


class Answer:
    """An HTTP response."""

    def __init__(self, asked, version, status, fields, body, took=0.0):
        self.version, self.status, self.fields, self.body, self.took = version, status, fields, body, took
        if status >= 200:
            BARIUMS.append((asked, self.all("x-barium")))

    def all(self, name):
        return [value for key, value in self.fields if key == name]

    def field(self, name):
        """The value of a field that must not stand there twice; None without it."""
        values = self.all(name)
        holds(len(values) <= 1, f"{name} stands there {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode()

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.body[:200]!r}>"


def parse_head(head):
    """Version, status and fields of the bytes of a response head."""
    first, *lines = head.decode("latin-1").split("\r\n")
    match = re.fullmatch(r"(HTTP/1\.[01]) (\d{3})(?: (.*))?", first)
    holds(match, f"not a status line: {first!r}")
    fields = []
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        holds(colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"not a field line: {line!r}")
        fields.append((name.lower(), value.strip()))
    return match[1], int(match[2]), fields


class Wire:
    """A TCP connection that sends exactly the bytes it is told to, and reads HTTP responses strictly."""

    def __init__(self, port, timeout=15.0, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, source_address=source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.asked = data[:80]
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())
        return self

    def reset(self):
        """Closes without a farewell: the peer gets a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def more(self):
        """Reads what there is into the buffer; False at the end."""
        data = self.socket.recv(256 * 1024)
        self.buffer += data
        return bool(data)

    def until(self, mark):
        """The bytes up to and with `mark`."""
        while mark not in self.buffer:
            holds(self.more(), f"the connection ended before {mark!r}: {self.buffer[:300]!r}")
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    def exactly(self, length):
        parts, self.buffer = [self.buffer[:length]], self.buffer[length:]
        missing = length - len(parts[0])
        while missing:
            parts.append(self.socket.recv(min(missing, 256 * 1024)))
            holds(parts[-1], f"the connection ended {missing} bytes early")
            missing -= len(parts[-1])
        return b"".join(parts)

    def rest(self):
        """Everything up to the end of the connection (a reset counts as one)."""
        parts, self.buffer = [self.buffer], b""
        try:
            while data := self.socket.recv(256 * 1024):
                parts.append(data)
        except ConnectionResetError:
            pass
        return b"".join(parts)

    def ended(self, within=3.0):
        """Whether the peer closes, without another byte."""
        self.socket.settimeout(within)
        try:
            return not self.buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def head(self):
        version, status, fields = parse_head(self.until(b"\r\n\r\n"))
        return Answer(self.asked, version, status, fields, b"")

    def answer(self, to_head=False):
        answer = self.head()
        coding, length = answer.field("transfer-encoding"), answer.field("content-length")
        holds(not (coding and length), f"both framings at once: {answer}")
        if to_head or answer.status < 200 or answer.status in (204, 304):
            return answer
        if coding:
            holds(coding == "chunked", f"coding {coding!r}")
            while size := int(self.until(b"\r\n"), 16):
                answer.body += self.exactly(size)
                holds(self.exactly(2) == b"\r\n", "no CRLF after a chunk")
            while self.until(b"\r\n") != b"\r\n":
                pass
        elif length is not None:
            answer.body = self.exactly(int(length))
        else:
            answer.body = self.rest()
        return answer


class Curl:
    """A curl that goes on reading in the background: event streams, slow readers."""

    def __init__(self, url, *arguments):
        command = ["curl", "-sS", "-N", "--http1.1", "--noproxy", "*", *arguments, url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.data = b""
        self.changed = threading.Condition()
        self.over = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            with self.changed:
                self.data += data
                self.changed.notify_all()
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()

    def take_until(self, mark, within=5.0):
        """Takes the bytes up to and with `mark`; None at the end of the stream."""
        with self.changed:
            if not self.changed.wait_for(lambda: mark in self.data or self.over, within):
                fail(f"no {mark!r} within {within} s; there is {self.data[-300:]!r}")
            if mark not in self.data:
                return None
            found, _, self.data = self.data.partition(mark)
            return found + mark

    def exit(self, within=10.0):
        return self.process.wait(within)


class Events(Curl):
    """An event stream read by curl, one block at a time."""

    def __init__(self, url, *arguments):
        super().__init__(url, "-i", *arguments)
        head = self.take_until(b"\r\n\r\n")
        holds(head, f"no answer to {url}")
        self.answer = Answer(url, *parse_head(head), b"")

    def block(self, within=5.0):
        """The next block as a dictionary of its fields (comments under ''); None at the end."""
        raw = self.take_until(b"\n\n", within)
        if raw is None:
            return None
        block = {}
        for line in raw.decode().strip("\n").split("\n"):
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            block[name] = f"{block[name]}\n{value}" if name in block else value
        return block

    def event(self, within=5.0):
        """The next block with data."""
        while (block := self.block(within)) is not None:
            if "data" in block:
                return block

    def message(self, within=5.0):
        """The next event that is a message. What is said of a topic's recovery comes when that topic has joined."""
        while (event := self.event(within)) is not None and "event" in event:
            pass
        return event

    def joined(self):
        """The position in the first block that has one."""
        while block := self.block():
            if "id" in block:
                return block["id"]
        fail("the stream ended before it had a position")


class Brolly:
    """One running server. It is killed when the check that started it is over."""

    running = []
    lock = threading.Lock()
    binary = None
    logs = None

    def __init__(self, command, *arguments, port=None, options=()):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        listen = [] if command == "serve" else ["--listen", f"127.0.0.1:{self.port}"]
        with Brolly.lock:
            Brolly.running.append(self)
            self.log = Brolly.logs / f"server-{len(Brolly.running)}-{command}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [self.binary, command, *listen, *options, *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    fail(f"{command} ended with {self.process.returncode}: {self.output()}")
                if time.monotonic() > deadline:
                    self.kill()
                    fail(f"{command} does not listen on {self.port}: {self.output()}")
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def output(self):
        return self.log.read_text(errors="replace")

    def rss(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def signal(self, which=signal.SIGTERM):
        self.process.send_signal(which)

    def exit(self, within=10.0):
        """The exit code, once it has ended."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            fail(f"it still runs after {within} s")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @classmethod
    def kill_all(cls):
        for one in cls.running:
            if hasattr(one, "process"):
                one.kill()

    def wire(self, **options):
        return Wire(self.port, **options)

    def curl(self, path, *arguments, data=None, http="--http1.1", seconds=20, expect_exit=0):
        """One request by curl. `path` is sent as it is. Without an answer, None, if that was expected."""
        started = time.monotonic()
        command = ["curl", "-sS", "-i", http, "--path-as-is", "--globoff", "--noproxy", "*", "--max-time", str(seconds)]
        if data is not None:
            command += ["--data-binary", "@-", "-H", "Expect:"]
        done = subprocess.run([*command, *arguments, self.url + path], input=data, capture_output=True)
        if done.returncode != expect_exit:
            fail(f"curl {path}: exit {done.returncode}, expected {expect_exit}: {done.stderr.decode().strip()}")
        if not done.stdout:
            return None
        left, status = done.stdout, 100
        while 100 <= status < 200:
            head, _, left = left.partition(b"\r\n\r\n")
            version, status, fields = parse_head(head)
            if status == 101:
                break
        return Answer(path, version, status, fields, left, time.monotonic() - started)

    def publish(self, topic, data, *arguments):
        return self.curl(f"/-/publish/{topic}", *arguments, data=data if isinstance(data, bytes) else data.encode())

    def events(self, query, *arguments):
        return Events(f"{self.url}/-/sse?{query}", *arguments)
