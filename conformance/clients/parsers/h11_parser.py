"""What h11 reads, for `brolly-conformance differential`; see conformance/src/differential/peers.rs for the frames."""

import json
import struct
import sys

import h11


def lines(fields):
    return [[name.decode("latin1").lower(), value.decode("latin1")] for name, value in fields]


def start(event):
    version = event.http_version.decode("latin1")
    if isinstance(event, h11.Request):
        return [event.method.decode("latin1"), event.target.decode("latin1"), version]
    return [str(event.status_code), event.reason.decode("latin1"), version]


class Messages(list):
    """Complete messages; `part` is the one that is arriving."""

    part = None

    def add(self, event):
        """Whether this completes a message."""
        if isinstance(event, (h11.Request, h11.Response)):
            self.part = {"start": start(event), "fields": lines(event.headers), "content": "", "trailers": []}
        elif isinstance(event, h11.Data):
            self.part["content"] += bytes(event.data).decode("latin1")
        elif isinstance(event, h11.EndOfMessage):
            self.part["trailers"] = lines(event.headers)
            self.append(self.part)
            return True
        return False


def requests(data):
    messages = Messages()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    try:
        while True:
            event = connection.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return messages, "more", None
            if not messages.add(event):
                continue
            if messages[-1]["start"][0] == "CONNECT":
                return messages, "closed", None
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.their_state is not h11.DONE or connection.our_state is not h11.DONE:
                return messages, "closed", None
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        return messages, f"error: {error}", None


def responses(data, method):
    messages = Messages()
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    is_over = False
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if is_over:
                    return messages, "more", None
                is_over = True
                connection.receive_data(b"")
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return messages, "more", None
            elif messages.add(event):
                closes = connection.their_state is not h11.DONE
                left = len(connection.trailing_data[0])
                return messages, "closed" if closes else "more", left
    except h11.RemoteProtocolError as error:
        return messages, f"error: {error}", None


def main():
    given, taken = sys.stdin.buffer, sys.stdout.buffer
    while head := given.read(6):
        kind, method, length = struct.unpack("<ccI", head)
        data = given.read(length)
        messages, end, left = requests(data) if kind == b"Q" else responses(data, "HEAD" if method == b"H" else "GET")
        answer = json.dumps({"messages": messages, "end": end, "left": left}).encode()
        taken.write(struct.pack("<I", len(answer)) + answer)
        taken.flush()


main()
