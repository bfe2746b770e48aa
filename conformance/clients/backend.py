"""A backend that behaves, and one that does not: what the proxy is pointed at. Runs inside the checks' own process."""

import hashlib
import json
import socket
import threading
import time
import urllib.parse


class Request:
    def __init__(self, connection, head):
        first, *lines = head.decode("latin-1").split("\r\n")
        self.connection = connection
        self.method, self.target, self.version = first.split(" ", 2)
        self.fields = [[name, value.strip()] for name, _, value in (line.partition(":") for line in lines if line)]
        self.path, _, query = self.target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query))
        self.body = b""

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name]

    def field(self, name):
        return ", ".join(self.all(name)) or None


class Backend:
    """Answers by the last segment of the path; see the methods named `on_…`."""

    def __init__(self):
        self.requests = []
        self.connections = 0
        self.aborted = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection, number):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as source:
            try:
                while self._one(connection, source, number):
                    pass
            except (OSError, ValueError):
                pass  # the peer went away, as some checks make it

    def _one(self, connection, source, number):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = source.readline()
            if not line:
                return False
            head += line
        request = Request(number, head[:-4])
        self.requests.append(request)
        action = request.path.rstrip("/").rpartition("/")[2].replace("-", "_") or "echo"
        handler = getattr(self, f"on_{action}", self.on_echo)
        return handler(request, connection, source)

    # ---- Helpers

    @staticmethod
    def read_body(request, source):
        if request.field("transfer-encoding"):
            while size := int(source.readline().split(b";")[0], 16):
                request.body += source.read(size)
                source.readline()
            while source.readline().strip():
                pass
        else:
            request.body = source.read(int(request.field("content-length") or 0))

    @staticmethod
    def answer(connection, body=b"", status="200 OK", fields=(), length=True):
        lines = [f"HTTP/1.1 {status}", *fields]
        if length:
            lines.append(f"Content-Length: {len(body)}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return True

    # ---- Good answers

    def on_echo(self, request, connection, source):
        if request.field("expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.read_body(request, source)
        seen = {
            "method": request.method,
            "target": request.target,
            "version": request.version,
            "fields": request.fields,
            "length": len(request.body),
            "sha1": hashlib.sha1(request.body).hexdigest(),
            "connection": request.connection,
        }
        body = json.dumps(seen).encode()
        return self.answer(connection, b"" if request.method == "HEAD" else body, fields=["Content-Type: application/json"],
                           length=request.method != "HEAD")

    def on_slow(self, request, connection, source):
        time.sleep(int(request.query["ms"]) / 1000)
        return self.answer(connection, b"slow but sure")

    def on_chunked(self, request, connection, source):
        self.answer(connection, length=False, fields=["Transfer-Encoding: chunked"])
        for number in range(int(request.query.get("chunks", 3))):
            data = f"chunk {number}\n".encode()
            connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            time.sleep(int(request.query.get("ms", 0)) / 1000)
        connection.sendall(b"0\r\n\r\n")
        return True

    def on_trailers(self, request, connection, source):
        self.answer(connection, length=False, fields=["Transfer-Encoding: chunked", "Trailer: X-Sum"])
        connection.sendall(b"5\r\nhello\r\n0\r\nX-Sum: 5\r\nContent-Length: 9\r\n\r\n")
        return True

    def on_big(self, request, connection, source):
        left = int(request.query["bytes"])
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n".encode())
        block = b"0123456789abcdef" * 4096
        while left:
            connection.sendall(block[:left])
            left -= min(left, len(block))
        return True

    def on_sink(self, request, connection, source):
        """Reads its content slowly: 64 KiB, then a pause of `ms`, until half a second has passed; then fast."""
        left, read, slow_until = int(request.field("content-length")), 0, time.monotonic() + 0.5
        while read < left:
            data = source.read(min(65536, left - read))
            if not data:
                return False
            read += len(data)
            if time.monotonic() < slow_until:
                time.sleep(int(request.query.get("ms", 0)) / 1000)
        return self.answer(connection, str(read).encode())

    def on_hop(self, request, connection, source):
        return self.answer(connection, b"hop", fields=[
            "Connection: keep-alive, X-Private", "X-Private: 1", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic",
            "X-Barium: 00000000-0000-4000-8000-000000000000", "X-Public: 2",
        ])

    def on_cookies(self, request, connection, source):
        return self.answer(connection, fields=["Set-Cookie: a=1; Path=/", "Set-Cookie: b=2"])

    def on_hints(self, request, connection, source):
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self.answer(connection, b"after the hints")

    def on_status(self, request, connection, source):
        status = request.query["code"]
        return self.answer(connection, status=f"{status} Whatever", length=status not in ("204", "304"), fields=["ETag: \"e\""])

    def on_length(self, request, connection, source):
        """The answer to a HEAD: a length without content."""
        return self.answer(connection, length=False, fields=["Content-Length: 12345"])

    def on_old(self, request, connection, source):
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nup to the end")
        return False

    def on_stale(self, request, connection, source):
        """Says keep-alive and closes all the same."""
        return not self.answer(connection, b"bye", fields=["Connection: keep-alive"])

    def on_upgrade(self, request, connection, source):
        """Echoes bytes in upper case after a 101; what it says first is already in the same packet."""
        if "upgrade" not in (request.field("connection") or "").lower():
            return self.answer(connection, b"upgrade required", status="426 Upgrade Required")
        connection.sendall(
            f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {request.field('upgrade')}\r\n\r\nfirst\n".encode())
        while data := source.read1(65536):
            connection.sendall(data.upper())
        connection.shutdown(socket.SHUT_WR)
        self.aborted.set()
        return False

    # ---- Bad answers

    def on_nothing(self, request, connection, source):
        return False

    def on_bad(self, request, connection, source):
        connection.sendall({
            "garbage": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
            "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "both": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "nul": b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n",
            "head": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n",
            "unasked": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        }[request.query["kind"]])
        return False

    def on_short(self, request, connection, source):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        time.sleep(int(request.query.get("ms", 0)) / 1000)
        return False

    def on_cut(self, request, connection, source):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        time.sleep(int(request.query.get("ms", 0)) / 1000)
        return False

    def on_early(self, request, connection, source):
        """Answers without having read the content, and closes."""
        return not self.answer(connection, b"not that much", status="413 Content Too Large", fields=["Connection: close"])

    def on_wait(self, request, connection, source):
        """Says nothing until the peer is gone."""
        source.read(1)
        self.aborted.set()
        return False


class Hole:
    """A port on which connecting takes for ever: its backlog is full and nobody accepts."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.fillers.append(filler)

    def close(self):
        for one in [*self.fillers, self.listener]:
            one.close()
