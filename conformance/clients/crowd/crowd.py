"""The crowd: sockets that do nothing, or next to nothing."""

import select
import socket
import time

DRIP = 0.1  # seconds between two tenths of the crowd


def connect(port, receive_buffer=None):
    one = socket.socket()
    if receive_buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    one.connect(("127.0.0.1", port))
    one.setblocking(False)
    return one


def idle(port, count):
    """Kept-alive connections, each of which has asked once and read its answer."""
    sockets = []
    for _ in range(count):
        one = connect(port)
        one.send(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        sockets.append(one)
    waiting = {one.fileno(): one for one in sockets}
    poller = select.epoll()
    for number in waiting:
        poller.register(number, select.EPOLLIN)
    deadline = time.monotonic() + 30
    while waiting and time.monotonic() < deadline:
        for number, _ in poller.poll(1):
            if b"small" in waiting[number].recv(4096):
                poller.unregister(number)
                del waiting[number]
    poller.close()
    if waiting:
        raise AssertionError(f"{len(waiting)} of {count} were not answered within 30 s")
    return sockets


class Dripping:
    """Clients that send a byte each second. Whoever is cut off comes again."""

    def __init__(self, port, count, beginning, drip):
        self.port, self.beginning, self.drip = port, beginning, drip
        # How long each was put up with, in seconds, and what it was told.
        self.ends = []
        self.turn = 0
        self.crowd = [self._begin() for _ in range(count)]

    def _begin(self):
        one = connect(self.port)
        one.send(self.beginning)
        return one, time.monotonic()

    def tick(self, again=True):
        """One tenth of them sends a byte."""
        self.turn = (self.turn + 1) % 10
        for at in range(self.turn, len(self.crowd), 10):
            one, began = self.crowd[at] or (None, 0)
            if one is None:
                continue
            try:
                told = one.recv(4096)
            except BlockingIOError:
                told = None
            except ConnectionError:
                told = b""
            if told is None:
                try:
                    one.send(self.drip)
                except ConnectionError:
                    told = b""
            if told is not None:
                self.ends.append((time.monotonic() - began, told[:12]))
                one.close()
                self.crowd[at] = self._begin() if again else None

    def close(self):
        for one in self.crowd:
            if one:
                one[0].close()


class Reading:
    """Clients that read 1 KiB each second of something that is long."""

    def __init__(self, port, count, path):
        self.turn, self.bytes, self.cut = 0, 0, 0
        self.crowd = []
        for _ in range(count):
            one = connect(port, receive_buffer=4096)
            one.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            self.crowd.append(one)

    def tick(self):
        self.turn = (self.turn + 1) % 10
        for one in self.crowd[self.turn::10]:
            try:
                read = len(one.recv(1024))
                self.bytes += read
                self.cut += read == 0
            except BlockingIOError:
                pass
            except ConnectionError:
                self.cut += 1

    def close(self):
        for one in self.crowd:
            one.close()


class Waiting:
    """Clients of a slow backend; each asks again when it is answered."""

    def __init__(self, port, count, path):
        self.asking = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        self.answers, self.faults = 0, 0
        self.crowd = [connect(port) for _ in range(count)]
        for one in self.crowd:
            one.send(self.asking)

    def tick(self):
        for one in self.crowd:
            try:
                answer = one.recv(4096)
                self.faults += not answer.startswith(b"HTTP/1.1 200")
                self.answers += 1
                one.send(self.asking)
            except BlockingIOError:
                pass
            except ConnectionError:
                self.faults += 1

    def close(self):
        for one in self.crowd:
            one.close()
