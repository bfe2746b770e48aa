"""A chat with rooms, unread counters and presence, by a backend that holds no connection: it answers POST requests of brolly's,
and sends some to the interface of the session pool. The standard library is enough."""

import argparse
import base64
import http.client
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
ROOMS = ("lobby", "garden", "kitchen")
MOST_USERS, MOST_KEPT, MOST_TEXT, MOST_BYTES = 100, 100, 2_000, 65_536


class Refusal(Exception):
    """What the client is told: a status, and why."""


class Chat:
    def __init__(self, api):
        self.api_address = api
        # Also keeps messages in the order of their numbers on the way to brolly.
        self.lock = threading.Lock()
        self.messages = {room: [] for room in ROOMS}
        # Numbers of messages. Those of a backend that is started again are higher than what brolly and browsers know.
        self.last = dict.fromkeys(ROOMS, int(time.time()))
        self.seen = {}  # by user, then room: the last message that they saw

    def api(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.api_address, timeout=5)
        try:
            content = (None, {}) if body is None else (json.dumps(body), {"Content-Type": "application/json"})
            connection.request(method, path, *content)
            if (status := connection.getresponse().status) != 204:
                raise RuntimeError(f"{method} {path}: {status}")
        finally:
            connection.close()

    # ---- What brolly asks: a user, what is known of the connection, then what the client says

    def authorize(self, _, meta, http_cookie=None, url_querystring="", **__):
        """Who is it? What is set up for the connection here is in force before the client hears anything."""
        cookie = re.findall(r"(?:^|; )chat_name=([^;]*)", http_cookie or "")
        user = (parse_qs(url_querystring).get("name") or cookie or [""])[0]
        if not NAME.fullmatch(user):
            raise Refusal(403, "a name has letters, digits, - and _, and not more than 32 of them")
        print(user, "is", meta["connection_id"], file=sys.stderr)
        connection = f"/v1/connection/{meta['connection_id']}"
        with self.lock:  # of two who come at the same time, the second must find the first subscribed
            newcomer = user not in self.seen
            if newcomer and len(self.seen) >= MOST_USERS:
                raise Refusal(503, "the house is full")
            seen = self.seen.setdefault(user, dict(self.last))
            self.api("PUT", f"{connection}/lattices/chat/rooms", {
                "shared": {room: {"last_counter": self.last[room]} for room in ROOMS},
                "private": {user: {room: {"seen_counter": seen[room]} for room in ROOMS}},
            })
            self.api("PUT", f"{connection}/users", list(self.seen))
            for other in self.seen if newcomer else ():
                self.api("PUT", f"/v1/user/{other}/users", [user])
        return {"user_id": user, "rooms": ROOMS}

    def inactive(self, user, _):
        """Only for who is there now: it has no number, and is not kept."""
        self.api("POST", "/v1/publish/chat/lobby", {"text": f"{user} has gone quiet", "at": time.time()})

    def enter(self, user, meta, room):
        """Subscribes first and reads then, so that nothing falls between; what comes twice has a number."""
        self.check(room)
        self.api("PUT", f"/v1/connection/{meta['connection_id']}/subscriptions/chat/{room}")
        with self.lock:
            return self.messages[room][-MOST_KEPT:]

    def leave(self, user, meta, room):
        self.check(room)
        self.api("DELETE", f"/v1/connection/{meta['connection_id']}/subscriptions/chat/{room}")

    def say(self, user, meta, room, text):
        self.check(room)
        if not isinstance(text, str) or not 0 < len(text.strip()) <= MOST_TEXT:
            raise Refusal(400, f"a message has 1 to {MOST_TEXT} characters")
        return self.add(room, user, text.strip())

    def saw(self, user, meta, room, number):
        self.check(room)
        if not isinstance(number, int):
            raise Refusal(400, "messages have whole numbers")
        with self.lock:
            seen = self.seen.setdefault(user, dict(self.last))
            seen[room] = max(seen[room], min(number, self.last[room]))
            self.api("POST", "/v1/lattice/chat/rooms", {"private": {user: {room: {"seen_counter": seen[room]}}}})

    def check(self, room):
        if room not in ROOMS:
            raise Refusal(404, f"there is no room {str(room)[:40]}")

    def add(self, room, user, text):
        with self.lock:
            self.last[room] += 1
            message = {"id": self.last[room], "who": user, "text": text, "at": time.time()}
            self.messages[room] = [*self.messages[room][-MOST_KEPT:], message]
            self.api("POST", f"/v1/publish/chat/{room}", message)
            self.api("POST", "/v1/lattice/chat/rooms", {"shared": {room: {"last_counter": message["id"]}}})
        return message["id"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        methods = {
            "/swindon/authorize_connection": chat.authorize, "/swindon/session_inactive": chat.inactive,
            "/chat/enter": chat.enter, "/chat/leave": chat.leave, "/chat/say": chat.say, "/chat/saw": chat.saw,
        }
        length = int(self.headers["Content-Length"])
        self.close_connection |= length > MOST_BYTES  # what is not read is no request
        try:
            meta, args, kwargs = json.loads(self.rfile.read(min(length, MOST_BYTES)))
            if not (method := methods.get(self.path)):
                raise Refusal(404, "there is no such method")
            # What brolly says of the user can be believed: nobody else reaches this port.
            who = (self.headers["Authorization"] or "").removeprefix("Swindon+json ")
            status, answer = 200, method(json.loads(base64.b64decode(who))["user_id"] if who else None, meta, *args, **kwargs)
        except Refusal as refusal:
            status, answer = refusal.args[0], {"error": refusal.args[1]}
        except (TypeError, ValueError) as error:
            status, answer = 400, {"error": str(error)}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, form, *arguments):
        print(self.address_string(), form % arguments, file=sys.stderr)


options = argparse.ArgumentParser()
options.add_argument("--port", type=int, default=8082)
options.add_argument("--api", default="127.0.0.1:8081")
chosen = options.parse_args()
chat = Chat(chosen.api)
ThreadingHTTPServer(("127.0.0.1", chosen.port), Handler).serve_forever()
