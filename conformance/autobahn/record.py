"""Records the bytes of Autobahn cases as seeds for the fuzz targets (`conformance/fuzz/corpus/websocket_*`, `opening_*`).

    record.py server PORT 1.* 2.* ... -- WSTEST    what the suite's client sends to the echo endpoint on PORT
    record.py client PORT 1.* 2.* ... -- WSTEST    what the suite's server sends to a client that asks on PORT

Run it with any Python 3. One file per case and kind, at most 2,000 bytes each; first eight bytes for the cutting.
"""

import hashlib
import base64
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "fuzz/corpus"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# What the target `opening_response` asks with.
NONCE = b"the sample nonce"
MOST = 2000
role, port, *patterns = sys.argv[1 : sys.argv.index("--")]
wstest = sys.argv[sys.argv.index("--") + 1]
conversations = []
# Heads that were kept: most cases have the same.
heads = set()


def copy(source, sink, kept, here=b"", there=b""):
    """Passes bytes on, and keeps them. The suite refuses requests for another port than its own."""
    try:
        while data := source.recv(65536):
            data = data.replace(here, there, 1) if here and not kept else data
            kept += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def relay(listener, to):
    while True:
        near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", to))
        kept = (bytearray(), bytearray())
        conversations.append(kept)
        names = [f"host: 127.0.0.1:{number}".encode() for number in (listener.getsockname()[1], to)]
        threading.Thread(target=copy, args=(near, far, kept[0], *names), daemon=True).start()
        threading.Thread(target=copy, args=(far, near, kept[1]), daemon=True).start()


def keep(kind, case, data):
    folder = CORPUS / kind
    folder.mkdir(parents=True, exist_ok=True)
    cut = hashlib.sha1(case.encode()).digest()[:8]
    (folder / f"autobahn_{case.replace('.', '_')}").write_bytes(cut + data[:MOST])


def main():
    listener = socket.create_server(("127.0.0.1", 0 if role == "server" else int(port)))
    spec = {"outdir": tempfile.mkdtemp(), "cases": patterns, "exclude-cases": [], "exclude-agent-cases": {}}
    if role == "server":
        to = int(port)
        spec["servers"] = [{"agent": "brolly", "url": f"ws://127.0.0.1:{listener.getsockname()[1]}/-/echo"}]
    else:
        with socket.create_server(("127.0.0.1", 0)) as free:
            to = free.getsockname()[1]
        spec["url"] = f"ws://127.0.0.1:{to}"
    threading.Thread(target=relay, args=(listener, to), daemon=True).start()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(spec, file)
        file.flush()
        mode = "fuzzingclient" if role == "server" else "fuzzingserver"
        suite = subprocess.Popen([wstest, "-m", mode, "-u", "0", "-s", file.name])
        if role == "client":
            input("now let the client ask, then press enter\n")
            suite.terminate()
        suite.wait()
    cases = case_names(spec)
    # The suite's client asks for one case after the other; its server is told which.
    asks = [one for one in conversations if re.match(rb"GET /(-/echo |runCase\?)", one[0])]
    for number, (asked, answered) in enumerate(asks):
        named = re.search(rb"case=(\d+)", asked)
        case = cases[int(named[1]) - 1 if named else number]
        head, _, frames = bytes(asked if role == "server" else answered).partition(b"\r\n\r\n")
        accept = base64.b64encode(hashlib.sha1(base64.b64encode(NONCE) + GUID).digest())
        head = re.sub(rb"(?i)(sec-websocket-accept: )\S+", rb"\1" + accept, head)
        keep(f"websocket_{role}", case, frames)
        without = re.sub(rb"(?i)(key|host|date|target=.*?|case=\d+).*", b"", head)
        if without not in heads:
            heads.add(without)
            keep("opening_request" if role == "server" else "opening_response", case, head + b"\r\n\r\n" + frames)


def case_names(spec):
    """The cases in the order in which the suite runs them."""
    script = (
        "import json, sys\nfrom autobahntestsuite.case import Cases, CaseBasename, CaseCategories, CaseSubCategories\n"
        "from autobahntestsuite.caseset import CaseSet\n"
        "cases = CaseSet('Case', CaseBasename, Cases, CaseCategories, CaseSubCategories)\n"
        "print(json.dumps(cases.parseSpecCases(json.loads(sys.argv[1]))))")
    python = pathlib.Path(wstest).with_name("python")
    return json.loads(subprocess.check_output([python, "-c", script, json.dumps(spec)]))


main()
