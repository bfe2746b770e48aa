//! A whole shard with one proxying route, between a client and a backend that are buffers.

use brolly_core::config::{Config, Handler, Limits, Proxy, Server, Upstream};
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{ConnId, Effect, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

const NOW: Now = Now { instant: Instant::from_nanos(1), unix: UnixTime::from_millis(0) };

/// What the backend gets, for each connection to it, when a client sends `input`. It answers everything with an empty 200.
pub(super) fn forward_requests(input: &[u8]) -> Vec<Vec<u8>> {
    let mut edge = Edge::new();
    edge.shard.handle_read(NOW, edge.client, &mut input.to_vec());
    edge.settle();
    while let Some(conn) = edge.unanswered() {
        edge.shard.handle_read(NOW, conn, &mut b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec());
        edge.settle();
    }
    edge.backend.into_values().map(|(bytes, _)| bytes).collect()
}

/// What the client gets when the backend answers `GET` or `HEAD` with `input` and then closes.
pub(super) fn forward_response(input: &[u8], is_head: bool) -> Vec<u8> {
    let mut edge = Edge::new();
    let method = if is_head { "HEAD" } else { "GET" };
    let mut request = format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes();
    edge.shard.handle_read(NOW, edge.client, &mut request);
    edge.settle();
    if let Some(conn) = edge.unanswered() {
        edge.shard.handle_read(NOW, conn, &mut input.to_vec());
        edge.settle();
        if !edge.shard.interest(conn).close {
            edge.shard.handle_eof(NOW, conn);
        }
        edge.settle();
        edge.shard.handle_closed(NOW, conn, None);
        edge.settle();
    }
    edge.answers
}

struct Edge {
    shard: Shard,
    client: ConnId,
    /// What each connection to the backend got, and how much of it was answered.
    backend: BTreeMap<ConnId, (Vec<u8>, usize)>,
    answers: Vec<u8>,
}

impl Edge {
    fn new() -> Self {
        let mut routes = Routes::default();
        let added = routes.add(Route { host: HostPattern::Any, prefix: "/".into(), to: 0.into() });
        assert!(added.is_ok(), "the only route");
        let config = Config {
            limits: Limits::default(),
            routes,
            handlers: vec![Handler::Proxy(Proxy::default())],
            upstreams: vec![Upstream::new(&Limits::default(), vec![Server::tcp("10.0.0.2", 80)])],
            ..Config::default()
        };
        let mut shard = Shard::new(Arc::new(config), 0, 1, Seed([1; 32]));
        let client = shard.handle_accept(NOW, SocketAddr::from(([10, 0, 0, 1], 99)).into()).expect("room for a client");
        Self { shard, client, backend: BTreeMap::new(), answers: Vec::new() }
    }

    /// Does what the shard wants until it wants nothing more.
    fn settle(&mut self) {
        loop {
            while let Some(effect) = self.shard.poll_effect() {
                if let Effect::Connect { conn, .. } = effect {
                    self.backend.insert(conn, (Vec::new(), 0));
                    self.shard.handle_connected(NOW, conn);
                }
            }
            let Some(conn) = self.shard.poll_changed() else { return };
            let mut slices: [&[u8]; 64] = [&[]; 64];
            let filled = self.shard.outgoing(conn, &mut slices);
            let bytes = slices[..filled].concat();
            match self.backend.get_mut(&conn) {
                Some((got, _)) => got.extend(&bytes),
                None => self.answers.extend(&bytes),
            }
            if !bytes.is_empty() {
                self.shard.handle_write(NOW, conn, bytes.len());
            } else if self.shard.interest(conn).shutdown {
                self.shard.handle_shutdown_done(NOW, conn);
            } else if self.shard.interest(conn).close {
                self.shard.handle_closed(NOW, conn, None);
            }
        }
    }

    /// A connection on which something was asked.
    fn unanswered(&mut self) -> Option<ConnId> {
        let Self { shard, backend, .. } = self;
        let (conn, (got, answered)) = backend
            .iter_mut()
            .find(|(conn, (got, answered))| *answered < got.len() && !shard.interest(**conn).close)?;
        *answered = got.len();
        Some(*conn)
    }
}
