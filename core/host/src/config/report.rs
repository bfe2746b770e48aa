//! What `check` prints.

use super::limits::entries;
use super::{Settings, policy, rough_size, upstreams};
use crate::args::DEFAULT_LISTEN;
use crate::listen::Listener;
use brolly_core::config::{Compression, Config, Handler, Limits, Server};
use brolly_core::handler::redirect::Redirect;
use brolly_core::route::HostPattern;
use std::fmt::Write;

/// Bytes of an open connection apart from what it holds for its peer: the slot, its timers, its subscriptions.
const STATE_BYTES: u64 = 1024;

/// All defaults as a configuration file.
pub fn defaults() -> String {
    format!(
        "# Everything is optional. These are the defaults.\n\
         listen = [\"{DEFAULT_LISTEN}\"]\n\
         # threads = 4             # default: the number of cores\n\
         log = true                # a line of JSON on standard output for each request\n\
         server = \"brolly\"         # the Server field of our own answers; false leaves it out\n\
         trusted = []              # whose word is taken for who the client is: [\"10.0.0.0/8\", \"unix\"]\n\
         forwarded = \"x-forwarded\" # the fields for it, and for backends: also \"forwarded\", \"both\", \"off\"\n\
         \n\
         # [[listeners]]           # as many as there are; the default is the one above\n\
         # address = \"[::]:8443\"   # \"[::]\" means IPv4 too; \"unix:/run/brolly.sock\" with mode = \"660\"; \"systemd\"\n\
         # tls = \"NAME\"\n\
         # proxy_protocol = false  # true: each connection begins with a PROXY header; from `trusted` peers alone\n\
         \n\
         # [tls.NAME]              # read again on SIGHUP\n\
         # certificates = [{{ chain = \"cert.pem\", key = \"cert.key\" }}]  # by the name asked for; the first is the default\n\
         # versions = [\"1.2\", \"1.3\"]\n\
         # client_certificates = {{ authorities = \"clients.pem\", required = false }}\n\
         # hsts = {{ max_age = \"365d\", subdomains = false, preload = false }}\n\
         \n\
         # [upstreams.NAME]\n\
         # url = \"http://localhost:8111\"  # https:// verifies: tls = {{ authorities = \"ca.pem\", name = \"backend.example.org\" }}\n\
         \n\
         # [[routes]]              # a host before any host, then the longest prefix wins\n\
         # host = \"*.example.org\"  # or \"example.org\"; default: any\n\
         # prefix = \"/api/\"        # whole segments; default: \"/\"\n\
         # handler = \"proxy\"       # with upstream = \"NAME\" and, if the prefix is to be replaced, replace = \"/v2/\"\n\
         #                         # \"files\" with root = \"./public\" and index = \"index.html\"\n\
         #                         # \"file\" with path = \"./favicon.ico\"\n\
         #                         # \"redirect\" with location = \"/\", status = 307 and keep_path = false\n\
         #                         # \"status\" with status = 404\n\
         #                         # \"sessions\" with pool = \"NAME\" and calls = {{ \"*\" = \"UPSTREAM\" }}\n\
         #                         # \"event-stream\" with compress = false (gzip, if the client takes it)\n\
         #                         # \"long-poll\", \"websocket\", \"publish\", \"echo\"\n\
         # access = {{ allow = [\"10.0.0.0/8\"], deny = [\"10.66.0.0/16\"] }}  # the longest prefix decides; others: 403\n\
         # limits = {{ requests = \"100/s\", burst = 200, connections = 50, bandwidth = \"1MiB/s\" }}  # per client; beyond: 429\n\
         # content_bytes = \"10MiB\" # more is a 413\n\
         # basic_auth = {{ file = \"users.htpasswd\", realm = \"Administration\", forward = false }}\n\
         # authorize = {{ upstream = \"NAME\", path = \"/check\", copy = [\"X-User\"] }}  # 2xx lets the request pass\n\
         # https = true            # plain HTTP is sent to https (308); or the port that clients see\n\
         # www = \"remove\"          # www.example.org is sent to example.org; \"add\" does the opposite\n\
         # cors = {{ origins = [\"https://app.example.org\"], methods = [], fields = [], expose = [], credentials = false, max_age = \"5s\" }}\n\
         # response_fields = {{ set = {{ X-Frame-Options = \"DENY\" }}, add = {{}}, remove = [] }}  # with variables such as {{client}}\n\
         # request_fields = {{}}     # the same for requests to backends\n\
         # errors = {{ 404 = \"404.html\", 5xx = \"down.html\" }}  # pages; with intercept = true for backends' errors too\n\
         # maintenance = \"maintenance.html\"  # everything is a 503 with this page\n\
         \n{}",
        limits(&Limits::default())
    )
}

impl Settings {
    /// What the settings mean: listeners, routes in the order in which they are tried, limits, memory.
    pub fn report(&self) -> String {
        let listen: Vec<_> = self.listeners.iter().map(|listener| self.describe(listener)).collect();
        let threads = self.threads.map_or("the number of cores".into(), |threads| threads.to_string());
        let log = if self.config.log_requests { "yes" } else { "no" };
        let (routes, upstreams) = (routes(&self.config), upstreams::report(&self.config.upstreams));
        let warnings: String = self.warnings.iter().map(|text| format!("warning: {text}\n")).collect();
        let (limits, memory) = (limits(&self.config.limits), memory(&self.config.limits));
        format!(
            "listen:  {}\nthreads: {threads}\nlog:     {log}\n\n{warnings}{routes}{upstreams}\n{limits}\n{memory}",
            listen.join(", ")
        )
    }

    /// A listener and how it is spoken to.
    fn describe(&self, listener: &Listener) -> String {
        let tls = listener.tls.and_then(|server| self.tls.servers.get(server));
        let proxy = if listener.proxy_protocol { " behind PROXY headers" } else { "" };
        let tls = tls.map_or(String::new(), |tls| {
            let clients = match &tls.clients {
                Some(clients) if clients.required => ", client certificates required",
                Some(_) => ", client certificates wanted",
                None => "",
            };
            let number = tls.certificates.len();
            format!(" with TLS ({}: {number} certificate{}{clients})", tls.name, if number == 1 { "" } else { "s" })
        });
        format!("{}{tls}{proxy}", listener.place)
    }
}

fn routes(config: &Config) -> String {
    let rows: Vec<([String; 3], Vec<String>)> = config
        .routes
        .iter()
        .map(|route| {
            let host = match &route.host {
                HostPattern::Any => "any host".into(),
                HostPattern::Exact(name) => name.to_string(),
                HostPattern::Suffix(name) => format!("*.{name}"),
            };
            let handler =
                config.handlers.get(route.to.handler).map(|handler| describe(handler, config)).unwrap_or_default();
            let otherwise = route.to.otherwise.and_then(|handler| config.handlers.get(handler));
            let otherwise = otherwise.map(|handler| format!("other requests: {}", describe(handler, config)));
            let policy = route.to.policy.and_then(|policy| config.policies.get(policy));
            let details = otherwise.into_iter().chain(policy.map(policy::describe).unwrap_or_default()).collect();
            ([host, format!("{}/", route.prefix), handler], details)
        })
        .collect();
    if rows.is_empty() {
        return "no routes: every request is answered with 404\n".into();
    }
    let width = |column: usize| rows.iter().map(|(row, _)| row[column].chars().count()).max().unwrap_or_default();
    let (hosts, prefixes) = (width(0), width(1));
    let mut text = String::from("routes, in the order in which they are tried:\n");
    for ([host, prefix, handler], details) in rows {
        let _ = writeln!(text, "  {host:hosts$}  {prefix:prefixes$}  {handler}");
        for detail in details {
            let _ = writeln!(text, "  {:hosts$}  {:prefixes$}    {detail}", "", "");
        }
    }
    text
}

fn describe(handler: &Handler, config: &Config) -> String {
    match handler {
        Handler::Echo(compression) => format!("echo{}", compressed(compression.as_ref())),
        Handler::Sessions(sessions) => {
            let pool = config.pools.get(sessions.pool).map_or("", |pool| &pool.name);
            format!("sessions of the pool {pool}")
        }
        Handler::EventStream { compress } => match compress {
            true => "event-stream, in gzip for clients that take it".into(),
            false => "event-stream".into(),
        },
        Handler::Files(files) => super::files::describe(files),
        Handler::HttpBin => "httpbin: shows requests".into(),
        Handler::LongPoll => "long-poll".into(),
        Handler::Memory(assets) => match assets.iter().any(|asset| &*asset.path == "brolly.js") {
            true => "script (brolly.js)".into(),
            false => format!("{} files inside the binary", assets.len()),
        },
        Handler::Proxy(proxy) => {
            let to = config.upstreams.get(proxy.upstream).map(|upstream| {
                let path = proxy.replace_prefix.as_deref().unwrap_or_default();
                upstream.servers.iter().map(|of| format!("{}{path}", shown(of))).collect::<Vec<_>>().join(", ")
            });
            let how = if proxy.replace_prefix.is_some() { "the prefix is replaced" } else { "the path is kept" };
            let buffered = if proxy.buffer_requests { ", requests are buffered up to content_bytes" } else { "" };
            let read = if proxy.reads_websockets { ", WebSockets are read" } else { "" };
            let compressed = compressed(proxy.compression.as_ref());
            format!("proxy to {}, {how}{buffered}{read}{compressed}", to.unwrap_or_default())
        }
        Handler::Publish => "publish".into(),
        Handler::Redirect(Redirect { status, location, keep_path }) => {
            let how = if *keep_path { ", the path is appended" } else { "" };
            format!("redirect to {location} with {status}{how}")
        }
        Handler::SelfStatus => "self-status".into(),
        Handler::Status(status) => format!("status {status} {}", status.reason()),
        Handler::WebSocket(settings) => {
            let compressed = compressed(settings.compression.as_ref());
            format!("websocket, subprotocols {}{compressed}", settings.subprotocols.join(", "))
        }
    }
}

fn compressed(compression: Option<&Compression>) -> String {
    let Some(Compression { level, window_bits, context_takeover, threshold }) = compression else {
        return String::new();
    };
    // Two windows, of what was sent and what was received.
    let held = if *context_takeover { 2_u64 << window_bits } else { 0 };
    format!(
        ", messages from {} on compressed (level {level}, up to {} more for each connection)",
        rough_size(*threshold as u64),
        rough_size(held)
    )
}

/// A server as it stands in the file.
pub(crate) fn shown(server: &Server) -> String {
    match server {
        Server::Tcp { tls, .. } => {
            format!("{}://{}", if tls.is_some() { "https" } else { "http" }, server.authority())
        }
        Server::Unix(path) => format!("unix:{path}"),
    }
}

/// The section of the file.
fn limits(limits: &Limits) -> String {
    let mut limits = limits.clone();
    let mut text = String::from("[limits]\n");
    for entry in entries(&mut limits) {
        let line = format!("{} = {}", entry.key, entry.value());
        let _ = writeln!(text, "{line:36}# {}", entry.note);
    }
    text
}

fn memory(limits: &Limits) -> String {
    let wide = |size: usize| size as u64;
    let input = wide(limits.pipelined_bytes.max(limits.http.head_bytes));
    // The buffer of a message that arrives in pieces grows by doubling.
    let content = limits.content_bytes.max(wide(limits.websocket.message_bytes).saturating_mul(2));
    let outbox = wide(limits.outbox_bytes);
    let together = [STATE_BYTES, input, content, outbox].into_iter().fold(0, u64::saturating_add);
    let (history, cache) = (wide(limits.pubsub.total_bytes), wide(limits.file_cache_bytes));
    let idle = wide(limits.connections).saturating_mul(STATE_BYTES);
    let row = |what: &str, bytes, why: &str| format!("  {what:14}{:>9}   {why}\n", rough_size(bytes));
    [
        "worst case of one connection:\n".into(),
        row("state", STATE_BYTES, "all of it while the connection is idle"),
        row("input", input, "pipelined_bytes or http_head_bytes"),
        row("content", content, "content_bytes (published or buffered), or twice websocket_message_bytes"),
        row("output", outbox, "outbox_bytes"),
        row("together", together, ""),
        "worst case of one shard:\n".into(),
        row("connections", idle, "all of them, idle"),
        row("history", history, "pubsub_total_bytes"),
        row("files", cache, "file_cache_bytes"),
    ]
    .map(|line: String| format!("{}\n", line.trim_end()))
    .concat()
}
