"""The README's tour of session pools: its commands, as they stand but for the ports."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import check, contains, equal, eventually, holds
from server import Wire, free_port

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHAT = "core/host/demo/chat"
UPGRADE = (
    "GET /ws?name=ann HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: v1.swindon-lattice+json\r\n\r\n"
)


def commands():
    """The blocks of commands."""
    text = (ROOT / "README.md").read_text()
    tour = text[text.index("**Session pools**"):text.index("**Streams that change.**")]
    blocks = re.findall(r"```sh\n(.*?)```", tour, re.DOTALL)
    equal(len(blocks), 3, "blocks of commands")
    return blocks


class Place:
    """A directory like a checkout, with ports of its own, and `brolly` on the path."""

    def __init__(self, binary):
        self.scratch = tempfile.TemporaryDirectory(prefix="brolly-readme-")
        self.root = pathlib.Path(self.scratch.name)
        self.ports = {number: str(free_port()) for number in ("8080", "8081", "8082")}
        (self.root / "bin").mkdir()
        (self.root / "bin/brolly").symlink_to(binary.resolve())
        shutil.copytree(ROOT / CHAT, self.root / CHAT)
        for name in ("brolly.toml", "swindon.yaml", "chat.py"):
            path = self.root / CHAT / name
            path.write_text(self.moved(path.read_text()))
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.started:
            os.killpg(one.pid, signal.SIGTERM)
            one.wait(10)
        self.scratch.cleanup()

    def moved(self, text):
        return re.sub(r"\b808[012]\b", lambda found: self.ports[found[0]], text)

    def options(self, text, directory="."):
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        return {"args": ["bash", "-ec", self.moved(text)], "cwd": self.root / directory, "env": os.environ | {"PATH": path}}

    def start(self, text):
        with open(self.root / "started.log", "wb") as log:
            self.started.append(subprocess.Popen(**self.options(text), stdout=log, stderr=log, start_new_session=True))

    def run(self, text, directory="."):
        done = subprocess.run(**self.options(text, directory), capture_output=True, text=True, timeout=30)
        equal(done.returncode, 0, done.stderr)
        return done


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def frame(wire):
    """The opcode and the payload of a frame of a server's."""
    first, length = wire.exactly(2)
    length = length if length < 126 else int.from_bytes(wire.exactly(2), "big")
    return first & 15, wire.exactly(length)


def message(wire):
    opcode, payload = frame(wire)
    equal(opcode, 1, str(payload))
    return json.loads(payload)


def send(wire, value):
    payload = json.dumps(value).encode()
    holds(len(payload) < 126, "a longer frame is written otherwise")
    wire.send(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)


@check("the tour of session pools works as it stands")
def _(setting):
    start, push, bring = commands()
    with Place(setting.binary) as place:
        place.start(start)
        for port in place.ports.values():
            eventually(lambda: listens(int(port)), 10, f"nobody listens on {port}: {(place.root / 'started.log').read_text()}")
        with Wire(int(place.ports["8080"])) as page:
            page.send(UPGRADE)
            equal(page.answer().status, 101)
            hello = message(page)
            equal((hello[0], hello[2]["user_id"]), ("hello", "ann"))
            equal({message(page)[1]["namespace"] for _ in range(2)}, {"chat.rooms", "swindon.user"})
            send(page, ["chat.enter", {"request_id": 1, "active": 60}, ["lobby"], {}])
            equal(message(page), ["result", {"active": 60, "request_id": 1}, []])
            # What succeeds says nothing, unless it is asked something.
            said = place.run(push).stdout
            equal(said, '{"ann":"active","ben":"offline"}["chat.lobby","chat.garden"]')
            equal(message(page), ["message", {"topic": "chat.lobby"}, {"text": "the kettle boils"}])
            equal(message(page), ["message", {"topic": "chat.lobby"}, {"text": "only for you"}])
            equal(message(page), ["lattice", {"namespace": "chat.rooms"}, {"kitchen": {"last_counter": 9999999999}}])
            equal(frame(page), (8, (1000).to_bytes(2, "big")))
        done = place.run(bring, CHAT)
        equal(done.stderr, "")
        contains(done.stdout, "sessions")
