"""Static files: what is served, how it is described, and that nothing outside of the directory is."""

import email.utils
import hashlib
import time

from harness import check, equal, eventually, holds, lacks, one_of
from server import Curl
from setting import BIG, SECRET


@check("the index of the root and of a directory")
def _(setting):
    for path, name in [("/", "index.html"), ("/sub/", "sub/index.html"), ("/index.html", "index.html")]:
        answer = setting.dev.curl(path)
        equal(answer.status, 200, path)
        equal(answer.body, (setting.root / name).read_bytes(), path)
        equal(answer.field("content-type"), "text/html; charset=utf-8", path)


@check("a directory without a slash leads to the one with it")
def _(setting):
    answer = setting.dev.curl("/sub?a=b")
    one_of(answer.status, (301, 302, 307, 308))
    equal(answer.field("location"), "/sub/?a=b")


@check("a directory without an index is not found, and not listed")
def _(setting):
    answer = setting.dev.curl("/bare/")
    one_of(answer.status, (403, 404))
    lacks(answer.text, "file.txt")
    equal(setting.dev.curl("/bare/file.txt").status, 200)


@check("content types")
def _(setting):
    types = {
        "hello.txt": "text/plain; charset=utf-8",
        "style.css": "text/css; charset=utf-8",
        "app.js": "text/javascript; charset=utf-8",
        "module.mjs": "text/javascript; charset=utf-8",
        "data.json": "application/json",
        "picture.svg": "image/svg+xml",
        "picture.png": "image/png",
        "picture.jpg": "image/jpeg",
        "program.wasm": "application/wasm",
        "font.woff2": "font/woff2",
        "unknown.qqq": "application/octet-stream",
    }
    wrong = []
    for name, expected in types.items():
        actual = setting.dev.curl(f"/{name}").field("content-type")
        # A charset says nothing about JSON and is optional for text in UTF-8.
        if actual is None or actual.replace(" ", "").lower() not in (expected.replace(" ", ""), expected.split(";")[0]):
            wrong.append((name, actual, expected))
    equal(wrong, [])


@check("names are decoded once")
def _(setting):
    for path, body in [
        ("/with%20space.txt", b"a space"),
        ("/%C3%BCmlaut.txt", "ü".encode()),
        ("/per%25cent.txt", b"a percent sign"),
        ("/%68ello.txt", b"hello, world\n"),
        ("/hello.txt?query=%2e%2e", b"hello, world\n"),
        ("/sub/../hello.txt", b"hello, world\n"),
        ("/./hello.txt", b"hello, world\n"),
    ]:
        answer = setting.dev.curl(path)
        equal((answer.status, answer.body), (200, body), path)


@check("ETag and Last-Modified, with 304")
def _(setting):
    first = setting.dev.curl("/hello.txt")
    tag, modified = first.field("etag"), first.field("last-modified")
    holds(tag and tag.strip("W/").startswith('"'), f"ETag {tag!r}")
    stamp = email.utils.parsedate_to_datetime(modified).timestamp()
    equal(int(stamp), int((setting.root / "hello.txt").stat().st_mtime))
    later, earlier = (email.utils.formatdate(stamp + shift, usegmt=True) for shift in (60, -60))
    for fields, status in [
        ([f"If-None-Match: {tag}"], 304),
        (["If-None-Match: *"], 304),
        ([f'If-None-Match: "x", W/{tag.removeprefix("W/")}, "y"'], 304),
        (['If-None-Match: "x"'], 200),
        ([f"If-Modified-Since: {modified}"], 304),
        ([f"If-Modified-Since: {later}"], 304),
        ([f"If-Modified-Since: {earlier}"], 200),
        (["If-Modified-Since: yesterday"], 200),
        (['If-None-Match: "x"', f"If-Modified-Since: {later}"], 200),
        ([f"If-None-Match: {tag}", f"If-Modified-Since: {earlier}"], 304),
    ]:
        answer = setting.dev.curl("/hello.txt", *(part for field in fields for part in ("-H", field)))
        equal(answer.status, status, str(fields))
        equal(answer.field("etag"), tag, str(fields))
        equal(answer.body, b"" if status == 304 else b"hello, world\n", str(fields))


@check("a changed file has another ETag soon, and is served as it is now")
def _(setting):
    path = setting.root / "changing.txt"
    path.write_text("one")
    first = setting.dev.curl("/changing.txt")
    equal(first.text, "one")
    path.write_text("three")

    def changed():
        now = setting.dev.curl("/changing.txt", "-H", f"If-None-Match: {first.field('etag')}")
        return now.status == 200 and now.text == "three"

    eventually(changed, within=3, note="the new content is not served")
    path.unlink()
    eventually(lambda: setting.dev.curl("/changing.txt").status == 404, within=3, note="a deleted file is served")


@check("HEAD says what GET says, without content")
def _(setting):
    for path in ("/", "/hello.txt", "/empty.txt", "/big.bin", "/nowhere", "/sub"):
        with setting.dev.wire() as wire:
            wire.send(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n")
            head = wire.answer(to_head=True)
            wire.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            get = wire.head()
        differs = ("date", "x-barium", "connection")
        equal(
            sorted(field for field in head.fields if field[0] not in differs),
            sorted(field for field in get.fields if field[0] not in differs),
            path,
        )
        equal(head.status, get.status, path)


@check("other methods are refused with Allow")
def _(setting):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = setting.dev.curl("/hello.txt", "-X", method)
        equal(answer.status, 405, method)
        allowed = {item.strip() for item in answer.field("allow").split(",")}
        holds({"GET", "HEAD"} <= allowed, f"Allow: {allowed}")
    # RFC 9110 section 9.1: a method that nobody knows is not implemented.
    equal(setting.dev.curl("/hello.txt", "-X", "FROB").status, 501)


@check("what is not there is a small 404 that tells nothing")
def _(setting):
    for path in ("/nowhere", "/nowhere/at/all", "/hello.txt/", "/hello.txt/more", "/dangling", "/pipe", "/" + "a" * 300):
        answer = setting.dev.curl(path, seconds=5)
        one_of(answer.status, (403, 404), path)
        lacks(answer.text, str(setting.above), path)
        holds(len(answer.body) < 500, f"{len(answer.body)} bytes for {path}")


@check("no path leads out of the directory")
def _(setting):
    paths = [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E%2Fsecret.txt",
        "/..%2fsecret.txt",
        "/.%2e/secret.txt",
        "/sub/../../secret.txt",
        "/sub/%2e%2e/%2e%2e/secret.txt",
        "/%252e%252e/secret.txt",
        "/..%252fsecret.txt",
        "/..%5csecret.txt",
        "/..%5Csecret.txt",
        "/sub%5c..%5c..%5csecret.txt",
        "/..;/secret.txt",
        "/....//secret.txt",
        "//secret.txt",
        "/%2fsecret.txt",
        f"/{setting.above}/secret.txt",
        f"//{str(setting.above).lstrip('/')}/secret.txt",
        f"/%2f{str(setting.above / 'secret.txt').lstrip('/').replace('/', '%2f')}",
        "/../public-too/secret.txt",
        "/%2e%2e/public-too/secret.txt",
        "/outside.txt",
        "/absolute.txt",
        "/up/secret.txt",
        "/up/public/../secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%uff0e%uff0e/secret.txt",
        "/hello.txt%00",
        "/hello.txt%00.html",
        "/..%00/secret.txt",
        "/%00",
        "/%",
        "/%zz",
        "/%2",
    ]
    for path in paths:
        answer = setting.dev.curl(path)
        one_of(answer.status, (400, 403, 404), path)
        lacks(answer.body, SECRET, path)
    with setting.dev.wire() as wire:
        answer = wire.send("GET /..\\secret.txt HTTP/1.1\r\nHost: a\r\n\r\n").answer()
        one_of(answer.status, (400, 403, 404), "backslash")
    for target in (b"/\x00", b"/hello.txt\x00", b"../secret.txt", b"secret.txt", b"/\xff\xfe", b"file:///etc/passwd"):
        with setting.dev.wire() as wire:
            answer = wire.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n").answer()
            one_of(answer.status, (400, 403, 404), repr(target))


@check("a link that stays inside is followed")
def _(setting):
    equal(setting.dev.curl("/inside.txt").text, "hello, world\n")


@check("a large file arrives whole")
def _(setting):
    expected = hashlib.sha1((setting.root / "big.bin").read_bytes()).hexdigest()
    answer = setting.dev.curl("/big.bin", seconds=60)
    equal((len(answer.body), hashlib.sha1(answer.body).hexdigest()), (BIG, expected))


@check("twenty slow readers of a large file cost no memory")
def _(setting):
    setting.dev.curl("/hello.txt")
    before = setting.dev.rss()
    readers = [Curl(f"{setting.dev.url}/big.bin", "--limit-rate", "64k", "-o", "/dev/null") for _ in range(20)]
    most = 0
    for _ in range(30):
        time.sleep(0.1)
        most = max(most, setting.dev.rss() - before)
    for reader in readers:
        holds(reader.process.poll() is None, f"a reader ended with {reader.process.returncode}")
        reader.__exit__()
    holds(most < 64 * 1024 * 1024, f"grew by {most // 1024} KiB")


@check("what is sent to a slow reader is right")
def _(setting):
    expected = (setting.root / "middle.bin").read_bytes()
    with setting.dev.wire() as wire:
        wire.send("GET /middle.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = wire.head()
        body = b""
        while len(body) < len(expected):
            body += wire.exactly(min(8192, len(expected) - len(body)))
            time.sleep(0.002)
        equal((answer.status, body == expected, wire.rest()), (200, True, b""))
