//! How each of them is told the same.

use super::Peer;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where Debian puts nchan.
pub(super) const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// A file of what is built and installed in `peers/`, apart from the workspace.
pub(super) fn peers(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(file)
}

/// Where things are.
pub(super) struct Place<'a> {
    pub(super) address: SocketAddr,
    pub(super) backend: SocketAddr,
    /// For the configuration and whatever the server writes.
    pub(super) directory: &'a Path,
    /// The files.
    pub(super) public: &'a Path,
}

/// Writes the configuration, if there is one; the command line.
pub(super) fn arguments(peer: Peer, place: &Place<'_>) -> io::Result<Vec<String>> {
    let written = |name: &str, text: String| {
        let file = place.directory.join(name);
        fs::write(&file, text)?;
        io::Result::Ok(file.display().to_string())
    };
    let directory = place.directory.display().to_string();
    let address = place.address.to_string();
    Ok(match peer {
        Peer::Floor(mode) => vec![mode.name().into(), address],
        Peer::Brolly | Peer::BrollySmol => {
            vec!["serve".into(), "--config".into(), written("brolly.toml", brolly(place))?]
        }
        Peer::Nginx => {
            let file = written("nginx.conf", nginx(place))?;
            vec!["-p".into(), directory, "-e".into(), "stderr".into(), "-c".into(), file]
        }
        Peer::Haproxy => vec!["-db".into(), "-f".into(), written("haproxy.cfg", haproxy(place))?],
        Peer::Caddy => {
            let file = written("Caddyfile", caddy(place))?;
            vec!["run".into(), "--adapter".into(), "caddyfile".into(), "--config".into(), file]
        }
        Peer::FastWebSockets => vec!["fastwebsockets".into(), address],
        Peer::Tungstenite => vec!["tungstenite".into(), address],
        Peer::Ws => {
            let script = peers("ws.js").display().to_string();
            vec![script, place.address.ip().to_string(), place.address.port().to_string()]
        }
    })
}

fn brolly(Place { address, backend, public, .. }: &Place<'_>) -> String {
    let public = public.display();
    format!(
        r#"
listen = ["{address}"]
threads = 1
log = false

[upstreams.floor]
url = "http://{backend}"

[[routes]]
handler = "files"
root = "{public}"

[[routes]]
prefix = "/api/"
handler = "proxy"
upstream = "floor"

[[routes]]
prefix = "/-/echo"
handler = "echo"

[[routes]]
prefix = "/-/ws"
handler = "websocket"

[[routes]]
prefix = "/-/sse"
handler = "event-stream"

[[routes]]
prefix = "/-/publish"
handler = "publish"
"#
    )
}

fn nginx(Place { address, backend, directory, public }: &Place<'_>) -> String {
    let (directory, public) = (directory.display(), public.display());
    format!(
        r#"
load_module {NCHAN};
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    default_type application/octet-stream;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    sendfile on;
    tcp_nodelay on;
    open_file_cache max=100 inactive=300s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    nchan_shared_memory_size 128M;
    upstream floor {{ server {backend}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen {address} backlog=4096;
        root {public};
        location = /status {{ default_type text/plain; return 200 "Hello, world!\n"; }}
        location /api/ {{
            proxy_pass http://floor;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
        location ~ ^/sub/(\w+)$ {{
            nchan_subscriber websocket eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/pub/(\w+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
            nchan_message_buffer_length 100;
            nchan_message_timeout 60s;
        }}
    }}
}}
"#
    )
}

fn haproxy(Place { address, backend, .. }: &Place<'_>) -> String {
    format!(
        r#"
global
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    http-reuse always
frontend front
    bind {address} backlog 4096
    option forwardfor
    http-request return status 200 content-type text/plain string "Hello, world!\n" if {{ path /status }}
    default_backend floor
backend floor
    server floor {backend}
"#
    )
}

fn caddy(Place { address, backend, directory, public }: &Place<'_>) -> String {
    let (port, directory, public) = (address.port(), directory.display(), public.display());
    format!(
        r#"
{{
    admin off
    auto_https off
    storage file_system {directory}/storage
}}
http://:{port} {{
    bind 127.0.0.1
    handle /status {{
        respond "Hello, world!
"
    }}
    handle /api/* {{
        reverse_proxy {backend}
    }}
    handle {{
        root * {public}
        file_server
    }}
}}
"#
    )
}
