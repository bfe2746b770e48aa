//! What all shards hold together, for whoever asks over HTTP.

use super::answer::JSON;
use super::slot::Exchange;
use super::{ConnId, Mail, Shard};
use crate::conn::Content;
use crate::http1::StatusCode;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use serde_json::{Map, Value, json};

/// What is counted without looking at each connection.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Counts {
    /// Connections of both directions.
    pub connections: usize,
    /// Subscriptions of connections.
    pub subscriptions: usize,
    /// Topics at home on the shard that are known.
    pub topics: usize,
    /// Messages of these topics that are remembered.
    pub messages: usize,
    /// Operations of the host that have not come back.
    pub operations: usize,
    /// Small files kept in memory (bytes).
    pub cached_bytes: usize,
    /// Users, by session pool.
    pub sessions: Vec<usize>,
    /// Connections and requests that wait for one, by upstream.
    pub upstreams: Vec<(usize, usize)>,
}

/// A request for them: until the last shard has answered.
#[derive(Debug)]
pub(super) struct Counting {
    tag: u64,
    waiting: u16,
    counts: Counts,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.subscriptions += other.subscriptions;
        self.topics += other.topics;
        self.messages += other.messages;
        self.operations += other.operations;
        self.cached_bytes += other.cached_bytes;
        // A shard that has a newer configuration already knows of more.
        let (sessions, upstreams) = (&mut self.sessions, &mut self.upstreams);
        sessions.resize(sessions.len().max(other.sessions.len()), 0);
        upstreams.resize(upstreams.len().max(other.upstreams.len()), (0, 0));
        for (sum, more) in sessions.iter_mut().zip(&other.sessions) {
            *sum += more;
        }
        for (sum, more) in upstreams.iter_mut().zip(&other.upstreams) {
            *sum = (sum.0 + more.0, sum.1 + more.1);
        }
    }
}

impl Shard {
    /// Asks all shards.
    pub(super) fn start_count(&mut self, conn: ConnId) {
        let (tag, waiting) = (self.next_tag(), self.shards);
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Counting(Box::new(Counting { tag, waiting, counts: Counts::default() }));
        }
        for shard in 0..self.shards {
            self.send(shard, Mail::Count { from: self.number, conn, tag });
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            connections: self.slots.len(),
            subscriptions: self.subscribers.len(),
            topics: self.home.topics(),
            messages: self.home.messages(),
            operations: self.operations.len(),
            cached_bytes: self.cache.bytes(),
            sessions: self.pools.iter().map(|pool| pool.sessions.len()).collect(),
            upstreams: self.upstreams.iter().map(|upstream| (upstream.connections(), upstream.queue.len())).collect(),
        }
    }

    /// A shard has answered.
    pub(super) fn handle_counted(&mut self, now: Now, conn: ConnId, tag: u64, counts: &Counts) {
        let Some(server) = self.server(conn) else { return };
        let Exchange::Counting(counting) = &mut server.exchange else { return };
        if counting.tag != tag {
            return;
        }
        counting.counts.add(counts);
        counting.waiting -= 1;
        if counting.waiting > 0 {
            return;
        }
        let counts = core::mem::take(&mut counting.counts);
        let content = format!("{:#}\n", self.status(&counts));
        self.lend(conn);
        self.respond(now, conn, StatusCode::OK, Content::Full(content.as_bytes()), |head| {
            head.lines(JSON);
        });
        self.finish(now, conn);
        self.settle(now, conn);
    }

    fn status(&self, counts: &Counts) -> Value {
        let pools = self.config.pools.iter().zip(&counts.sessions);
        let upstreams = self.config.upstreams.iter().zip(&counts.upstreams);
        let sessions: Map<_, _> = pools.map(|(pool, count)| (pool.name.as_ref().into(), json!(count))).collect();
        let upstreams: Map<_, _> = upstreams
            .map(|(upstream, (connections, waiting))| {
                (upstream.name.as_ref().into(), json!({ "connections": connections, "waiting": waiting }))
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "node": self.config.node.as_str(),
            "shards": self.shards,
            "connections": counts.connections,
            "subscriptions": counts.subscriptions,
            "topics": counts.topics,
            "messages": counts.messages,
            "operations": counts.operations,
            "cached_bytes": counts.cached_bytes,
            "sessions": sessions,
            "upstreams": upstreams,
        })
    }
}
