//! What the simulated shards serve, and what their answers must be.

use brolly_core::config::{Asset, Config, Files, Handler, Limits, Proxy, Server, Upstream, WebSocket};
use brolly_core::http1::StatusCode;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::upstream::Eject;
use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The topics of a world.
pub(crate) const TOPICS: [&str; 4] = ["a", "b", "chat/1", "ü"];

/// Names of files, and how long they are.
pub(crate) const FILES: [(&str, usize); 7] = [
    ("index.html", 700),
    ("a.txt", 37),
    ("b.html", 3000),
    ("empty.css", 0),
    ("c d.js", 65_536),
    ("big.bin", 150_000),
    // Written without passing through the shard.
    ("huge.bin", 420_000),
];

/// Names of assets, and how long they are.
pub(crate) const ASSETS: [(&str, usize); 3] = [("", 20), ("x.js", 5000), ("sub/y.css", 1)];

thread_local! {
    static PATTERN: RefCell<Rc<[u8]>> = RefCell::new((0..500_000_u32).map(|at| (at % 997 * (at % 991) % 251) as u8).collect());
}

/// `len` bytes that no shift of themselves equals.
pub(crate) fn pattern(from: usize, len: usize) -> Vec<u8> {
    PATTERN.with_borrow(|pattern| pattern[from % 1000..][..len].to_vec())
}

pub(crate) fn file(path: &str) -> Option<Rc<[u8]>> {
    let at = FILES.iter().position(|(name, _)| *name == path)?;
    Some(pattern(at, FILES[at].1).into())
}

pub(crate) fn asset(path: &str) -> Option<Vec<u8>> {
    let at = ASSETS.iter().position(|(name, _)| *name == path)?;
    Some(pattern(500 + at, ASSETS[at].1))
}

/// What a backend says to a request with this content and this wish.
pub(crate) fn echo(content: &[u8], number: usize, len: usize) -> Vec<u8> {
    let sum =
        content.iter().fold(content.len() as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mut body = format!("{number} {sum}\n").into_bytes();
    body.extend(pattern(number, len));
    body
}

pub(crate) fn config(limits: Limits) -> Arc<Config> {
    let content = |path: &str| Bytes::from(asset(path).unwrap_or_default());
    let assets = ASSETS.iter().map(|(path, _)| Asset::new(path, "text/css", content(path)));
    let handlers: Vec<(&str, Handler)> = vec![
        ("/", Handler::Files(Files::new("/site").into())),
        ("/assets", Handler::Memory(assets.collect())),
        ("/api", Handler::Proxy(Proxy::default())),
        (
            "/num",
            Handler::Proxy(Proxy {
                upstream: 1,
                replace_prefix: Some("/api".into()),
                buffer_requests: true,
                ..Proxy::default()
            }),
        ),
        ("/relay", Handler::Proxy(Proxy { reads_websockets: true, ..Proxy::default() })),
        ("/gone", Handler::Status(StatusCode::new(410).unwrap_or(StatusCode::NOT_FOUND))),
        ("/-/echo", Handler::Echo(None)),
        ("/-/ws", Handler::WebSocket(WebSocket::default())),
        ("/-/sse", Handler::EventStream { compress: false }),
        ("/-/poll", Handler::LongPoll),
        ("/-/publish", Handler::Publish),
    ];
    let mut routes = Routes::default();
    for (to, (prefix, _)) in handlers.iter().enumerate() {
        let added = routes.add(Route { host: HostPattern::Any, prefix: (*prefix).into(), to: to.into() });
        assert!(added.is_ok(), "{prefix} twice");
    }
    Arc::new(Config {
        upstreams: vec![several(&limits), Upstream::new(&limits, vec![Server::tcp("10.1.0.9", 81)])],
        limits,
        routes,
        handlers: handlers.into_iter().map(|(_, handler)| handler).collect(),
        log_requests: true,
        sends_files: true,
        ..Config::default()
    })
}

/// A name with two addresses, and more servers; they rest soon, and the address that ends in 13 is never up.
fn several(limits: &Limits) -> Upstream {
    let mut upstream = Upstream::new(limits, vec![Server::tcp("backend.test", 80), Server::tcp("10.1.0.13", 80)]);
    upstream.fallbacks = vec![Server::tcp("10.1.0.7", 80)];
    upstream.rules.eject = Some(Eject { failures: 2, period: Duration::from_secs(3) });
    upstream.rules.slow_start = Duration::from_secs(2);
    upstream
}

/// A name as it stands in a path or a query.
pub(crate) fn encoded(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    name.bytes().map(|byte| if is_plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}
