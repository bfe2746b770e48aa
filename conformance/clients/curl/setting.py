"""What the checks of this suite share: a directory of files, a backend, and one server of each kind."""

import os
import pathlib
import tempfile

from backend import Backend, Hole
from server import Brolly, free_port

BIG = 200 * 1024 * 1024
SECRET = b"nobody outside may read this"


class Setting:
    def __init__(self, chosen):
        self.binary = Brolly.binary = chosen.binary
        Brolly.logs = chosen.artefacts
        self.scratch = tempfile.TemporaryDirectory(prefix="brolly-curl-")
        self.above = pathlib.Path(self.scratch.name)
        self.root = self.above / "public"
        self.root.mkdir()
        lay_out(self.above, self.root)
        self.backend, self.other, self.hole = Backend(), Backend(), Hole()
        self.dev = Brolly(
            "dev", self.root,
            f"/api/={self.backend.url}",
            f"/api/deep/={self.other.url}",
            f"/v2/={self.backend.url}/base/",
            f"/dead/=http://127.0.0.1:{free_port()}",
            f"/hole/={self.hole.url}",
            options=["--threads", "2"],
        )
        self.demo = Brolly("demo")
        self.impatient = impatient(self.above, self.backend)

    def close(self):
        Brolly.kill_all()
        self.hole.close()
        self.backend.close()
        self.other.close()
        self.scratch.cleanup()


def impatient(above, backend):
    """A server with `serve` whose longer deadlines are short, so that they can be waited for."""
    port = free_port()
    config = above / "impatient.toml"
    config.write_text(f"""
        listen = ["127.0.0.1:{port}"]
        [limits]
        idle_timeout = "4s"
        write_timeout = "4s"
        upstream_timeout = "4s"
        connect_timeout = "2s"
        [upstreams.backend]
        url = "{backend.url}"
        [[routes]]
        handler = "files"
        root = "public"
        [[routes]]
        prefix = "/api/"
        handler = "proxy"
        upstream = "backend"
    """)
    return Brolly("serve", "--config", config, port=port)


def lay_out(above, root):
    (above / "secret.txt").write_bytes(SECRET)
    (above / "public-too").mkdir()
    (above / "public-too" / "secret.txt").write_bytes(SECRET)
    files = {
        "index.html": b"<!doctype html><title>front</title>",
        "hello.txt": b"hello, world\n",
        "style.css": b"body { color: red }",
        "app.js": b"export {}",
        "module.mjs": b"export {}",
        "data.json": b"{}",
        "picture.svg": b"<svg/>",
        "picture.png": b"\x89PNG",
        "picture.jpg": b"\xff\xd8\xff",
        "program.wasm": b"\0asm",
        "font.woff2": b"wOF2",
        "unknown.qqq": b"?",
        "empty.txt": b"",
        "with space.txt": b"a space",
        "ümlaut.txt": "ü".encode(),
        "per%cent.txt": b"a percent sign",
        "middle.bin": bytes(range(256)) * 1024,
        "sub/index.html": b"<!doctype html><title>sub</title>",
        "bare/file.txt": b"in a directory without index",
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with open(root / "big.bin", "wb") as big:
        for number in range(BIG // (1024 * 1024)):
            big.write(number.to_bytes(8, "big") * (128 * 1024))
    (root / "inside.txt").symlink_to("hello.txt")
    (root / "outside.txt").symlink_to("../secret.txt")
    (root / "absolute.txt").symlink_to(above / "secret.txt")
    (root / "up").symlink_to("..")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
