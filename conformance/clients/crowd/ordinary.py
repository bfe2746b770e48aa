"""Processes beside the crowd: a backend, and a client that asks for small things and looks at the clock."""

import asyncio
import http.client
import multiprocessing
import time

# Between two requests of the ordinary client, in seconds.
PACE = 0.002
PIECE = b"x" * 65536

# Forked before there are thousands of sockets.
processes = multiprocessing.get_context("fork")


class Ordinary:
    """Asks for a small file and a small proxied answer in turn, over a new connection now and then."""

    def __init__(self, port):
        self.ours, theirs = processes.Pipe()
        self.process = processes.Process(target=_ask, args=(theirs, port), daemon=True)
        self.process.start()

    def begin(self):
        self.ours.send("begin")

    def end(self):
        """How long each request took, in seconds, sorted; and what went wrong."""
        self.ours.send("end")
        return self.ours.recv()


def _ask(pipe, port):
    while True:
        pipe.recv()
        took, faults, connection = [], [], None
        while not pipe.poll(PACE):
            started = time.perf_counter()
            try:
                if connection is None or len(took) % 50 == 0:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", "/api/small" if len(took) % 2 else "/small.txt")
                answer = connection.getresponse()
                if answer.status != 200 or not answer.read():
                    faults.append(f"status {answer.status}")
            except OSError as error:
                faults.append(repr(error))
                connection = None
            took.append(time.perf_counter() - started)
        pipe.recv()
        pipe.send((sorted(took), faults))


class Backend:
    """`/small`, `/big` (64 MiB), and `/slow` (after a second)."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.process = processes.Process(target=lambda: asyncio.run(_serve(port)), daemon=True)
        self.process.start()


async def _serve(port):
    server = await asyncio.start_server(_answer, "127.0.0.1", port, backlog=2000)
    await server.serve_forever()


async def _answer(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ", 2)[1]
            pieces = 1024 if path.endswith(b"/big") else 0
            if path.endswith(b"/slow"):
                await asyncio.sleep(1)
            length = len(PIECE) * pieces or 5
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
            if not pieces:
                writer.write(b"small")
            for _ in range(pieces):
                writer.write(PIECE)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
