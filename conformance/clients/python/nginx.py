"""nginx as it stands between a client and a WebSocket server."""

import contextlib
import pathlib
import socket
import subprocess
import tempfile
import time

from harness import fail
from server import free_port

CONFIG = """
daemon off;
master_process off;
pid {home}/pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{backend};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


@contextlib.contextmanager
def before(backend):
    """The port on which nginx passes everything on to this one."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="brolly-nginx-") as home:
        path = pathlib.Path(home) / "nginx.conf"
        path.write_text(CONFIG.format(home=home, port=port, backend=backend))
        # Debian keeps it where only administrators look.
        program = next((name for name in ("/usr/sbin/nginx", "/usr/local/sbin/nginx") if pathlib.Path(name).exists()), "nginx")
        process = subprocess.Popen([program, "-e", "stderr", "-p", home, "-c", path], stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 10
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    fail(f"nginx does not start: {process.stderr.read().decode()}")
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()
            process.wait(5)
            process.stderr.close()
