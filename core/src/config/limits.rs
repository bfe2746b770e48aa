//! Every size, count and deadline, with its unit, its default, the reason, and what happens there.

use crate::conn::Timeouts;
use crate::{http1, pubsub, ws};
use core::time::Duration;

/// All limits of one shard. Worst cases per connection follow from them; nothing else in the core may grow.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Limits {
    /// Heads, chunk lines and trailers of HTTP/1.1 messages.
    pub http: http1::Limits,
    /// Frames and messages of WebSockets.
    pub websocket: ws::Limits,
    /// Topics and their history.
    pub pubsub: pubsub::Limits,

    /// Connections of a shard, of either direction. Default 100,000: about 100 MiB of state. At the limit the shard
    /// stops accepting (the kernel's backlog holds the rest); a proxied request that finds no room gets a 503.
    pub connections: usize,
    /// Bytes of content of a published message, or of a request that a handler reads whole. Default 1 MiB. Beyond: 413.
    pub content_bytes: u64,
    /// Bytes that a connection may have queued for a slow reader. Default 4 MiB: a whole topic's history fits. A proxied or file response stops
    /// reading its source at 256 KiB; a subscriber whose queue would exceed it is closed with a cursor
    /// (WebSocket: close code 1013; event stream: `brolly.end`, one short event more), and resumes from there.
    pub outbox_bytes: usize,
    /// Bytes of following requests held while one is being answered. Default 64 KiB; then reading stops.
    pub pipelined_bytes: usize,
    /// Topics that one connection may follow at a time. Default 64. Beyond: 400, or an `error` to the call.
    pub subscriptions: usize,
    /// Calls of one WebSocket that wait for their answer. Default 256. Beyond: an `error` to the call.
    pub calls: usize,
    /// Clients of limited routes that are remembered while they ask for nothing. Default 65,536 per shard: about 8 MiB.
    /// Beyond: those that were idle longest are forgotten.
    pub limited_clients: usize,
    /// Passwords that are being verified at a time. Default 64 per shard. Beyond: 503.
    pub verifications: usize,
    /// For the answer of a backend that is asked whether a request may pass. Default 10 s. Then 504. Connections of a session
    /// pool wait as long as the `total_timeout` of the upstream says, if it has one; then `fatal_error` 500.
    pub authorize_timeout: Duration,
    /// Messages from other shards on their way to this one. Default 4,096 per mailbox. When it is full, publishes are
    /// refused with 503 until there is room.
    pub mailbox_messages: usize,
    /// Messages in one long-poll answer. Default 1,000; the rest comes with the next request. As many, and `outbox_bytes`, wait for the
    /// `hello` of a session; beyond, it begins with what was held and is closed with 1013.
    pub poll_messages: usize,

    /// From the first byte of a request to the end of its head. Default 10 s. Then 408 and close.
    pub head_timeout: Duration,
    /// Grace for request content. Default 30 s, and one second more for each
    /// [`content_bytes_per_second`](Self::content_bytes_per_second) received. Then 408 and close.
    pub content_timeout: Duration,
    /// The slowest sender of content that is put up with. Default 1,024 bytes per second on average.
    pub content_bytes_per_second: u64,
    /// Between two requests of a connection. Default 75 s, a little more than browsers keep theirs. Then close.
    pub idle_timeout: Duration,
    /// Without any progress while bytes are queued for the peer. Default 30 s. Then the connection is dropped.
    pub write_timeout: Duration,
    /// How long a refused sender is listened to, so that it can read the refusal. Default 2 s. Then close.
    pub linger_timeout: Duration,
    /// Silence after which an event stream gets a comment. Default 15 s: below every proxy's idle limit.
    pub heartbeat: Duration,
    /// Silence after which a WebSocket gets a ping. Default 25 s.
    pub ping_interval: Duration,
    /// Time for any byte after a ping, and for the peer's half of a close handshake. Default 10 s. Then drop.
    pub pong_timeout: Duration,
    /// The longest wait a long-poll may ask for. Default 55 s; longer wishes are cut to this.
    pub poll_wait: Duration,
    /// To connect to a backend, including the look-up of its name. Default 5 s. Then the next server, or 504. This and the
    /// following ones are what an upstream has that says nothing else.
    pub connect_timeout: Duration,
    /// From the end of a request to the first byte of the backend's answer, and between its bytes. Default 60 s. Then
    /// 504, or an aborted response. Upgraded connections have none.
    pub upstream_timeout: Duration,
    /// Without a byte in either direction of a tunnel. Default 10 min: sockets behind it ping more often. Then drop.
    pub tunnel_timeout: Duration,
    /// Connections per server of an upstream. Default 1,024. Beyond: the queue.
    pub upstream_connections: usize,
    /// Requests of an upstream that wait for a connection. Default 128. Beyond: 503.
    pub upstream_queue: usize,
    /// How long they wait. Default 5 s. Then 503.
    pub upstream_queue_timeout: Duration,
    /// Further attempts for a request that no server has acted on. Default 1; 502 or 504 after that. A kept connection that
    /// turns out to be closed costs none.
    pub upstream_retries: u8,
    /// Idle connections kept per server. Default 64. Beyond: the oldest is closed.
    pub upstream_idle: usize,
    /// How long an idle connection to a backend is kept. Default 60 s.
    pub upstream_idle_timeout: Duration,
    /// A request that could not be sent twice (RFC 9110 §9.2.2: `POST`, or content that streams through) goes over a kept
    /// connection only if that was idle for no longer than this, and over a new one otherwise: the server may be closing
    /// it at this moment. Default 0 s, always a new one: such a request never fails for that reason. With thousands of them
    /// per second and servers that keep connections for long, `"1s"` saves as many connections.
    pub upstream_fresh: Duration,
    /// How long a look-up of a backend's name holds. Default 30 s.
    pub resolve_ttl: Duration,
    /// Bytes of small files kept in memory. Default 16 MiB per shard. Beyond: the one longest unused goes.
    pub file_cache_bytes: usize,
    /// The largest file that is kept. Default 64 KiB, which is also the most: what is larger comes in pieces. What was compressed is kept whatever its size.
    pub file_cache_file_bytes: usize,
    /// How long a kept file is served without a look at the disk. Default 1 s. Then one request looks whether it has
    /// changed; others are served from memory meanwhile, for as long once more.
    pub file_cache_age: Duration,
    /// Entries in the page of a directory. Default 1,000. Beyond: the page says that there are more.
    pub file_listing_entries: usize,
}

impl Limits {
    /// The deadlines of connections, gathered for the machines of [`conn`](crate::conn).
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            head: self.head_timeout,
            content: self.content_timeout,
            content_bytes_per_second: self.content_bytes_per_second,
            idle: self.idle_timeout,
            write: self.write_timeout,
            linger: self.linger_timeout,
            ping: self.ping_interval,
            pong: self.pong_timeout,
            tunnel: self.tunnel_timeout,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            http: http1::Limits::default(),
            websocket: ws::Limits::default(),
            pubsub: pubsub::Limits::default(),
            connections: 100_000,
            content_bytes: 1024 * 1024,
            outbox_bytes: 4 * 1024 * 1024,
            pipelined_bytes: 64 * 1024,
            subscriptions: 64,
            calls: 256,
            limited_clients: 65_536,
            verifications: 64,
            authorize_timeout: Duration::from_secs(10),
            mailbox_messages: 4096,
            poll_messages: 1000,
            head_timeout: Duration::from_secs(10),
            content_timeout: Duration::from_secs(30),
            content_bytes_per_second: 1024,
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(2),
            heartbeat: Duration::from_secs(15),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            poll_wait: Duration::from_secs(55),
            connect_timeout: Duration::from_secs(5),
            upstream_timeout: Duration::from_secs(60),
            tunnel_timeout: Duration::from_secs(600),
            upstream_connections: 1024,
            upstream_queue: 128,
            upstream_queue_timeout: Duration::from_secs(5),
            upstream_retries: 1,
            upstream_idle: 64,
            upstream_idle_timeout: Duration::from_secs(60),
            upstream_fresh: Duration::ZERO,
            resolve_ttl: Duration::from_secs(30),
            file_cache_bytes: 16 * 1024 * 1024,
            file_cache_file_bytes: 64 * 1024,
            file_cache_age: Duration::from_secs(1),
            file_listing_entries: 1000,
        }
    }
}
