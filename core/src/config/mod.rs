//! What a shard is told to do: plain data, built by the host from arguments or a file, checked before it gets here.

mod limits;
mod policy;
mod reload;
mod sessions;
mod shaping;
mod upstream;

pub use crate::handler::files::{CacheRule, Coding, Compress, Fallback, Files, Symlinks, Versions};
pub use limits::Limits;
pub use policy::{AccessRules, Authorize, BasicAuth, Policy};
pub use reload::TooManyChanges;
pub use sessions::{Backend, Dialect, SessionPool, Sessions};
pub use shaping::Shaping;
pub use upstream::{HealthCheck, HostField, Server, Upstream};

use crate::handler::pages::Pages;
use crate::handler::redirect::Redirect;
use crate::http1::{CheckedLines, StatusCode};
use crate::route::{Forwarding, Networks, Routes};
use crate::session::NodeId;
pub use crate::ws::deflate::Settings as Compression;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;

/// Everything that the shards of one process share. Immutable; a reload is a new one
/// ([`succeeded_by`](Self::succeeded_by)).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Config {
    /// How many others there were in this process before it.
    pub generation: u64,
    /// Sizes, counts and deadlines.
    pub limits: Limits,
    /// What a request gets.
    pub routes: Routes<Destination>,
    /// What the routes lead to.
    pub handlers: Vec<Handler>,
    /// What has to hold before that, and what is done to the answer.
    pub policies: Vec<Policy>,
    /// Where clients connect. A connection knows its listener by index.
    pub listeners: Vec<Listener>,
    /// The port where TLS is spoken, if it is not 443: where plain HTTP is sent.
    pub https_port: Option<u16>,
    /// Whether each connection is asked for its own end's address: costs a system call.
    pub wants_local_addresses: bool,
    /// The backends that proxying handlers name by index.
    pub upstreams: Vec<Upstream>,
    /// Users, topics and lattices that are kept apart.
    pub pools: Vec<SessionPool>,
    /// What this process is called towards backends.
    pub node: NodeId,
    /// Peers that are believed when they say for whom they speak: in `Forwarded` and `X-Forwarded-*`, in `X-Barium`, and
    /// in the PROXY protocol.
    pub trusted: Networks,
    /// Whether peers on Unix sockets are.
    pub trusts_unix: bool,
    /// In which fields they say it, and we to backends.
    pub forwarding: Forwarding,
    /// `Server` of our own answers (RFC 9110 §10.2.4), or nothing. Backends speak for themselves.
    pub server: CheckedLines,
    /// What errors look like where their route does not say.
    pub errors: Pages,
    /// Whether the host can write files to connections itself
    /// ([`Shard::outgoing_file`](crate::shard::Shard::outgoing_file)).
    pub sends_files: bool,
    /// Whether a line for each request is wanted ([`Effect::Log`](crate::shard::Effect::Log)).
    pub log_requests: bool,
}

impl Config {
    /// Whether a peer (`None`: on a Unix socket) is believed.
    pub fn believes(&self, peer: Option<SocketAddr>) -> bool {
        match peer {
            Some(peer) => !self.trusted.is_empty() && self.trusted.contains(peer.ip()),
            None => self.trusts_unix,
        }
    }
}

/// What a route leads to.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Destination {
    /// Index into [`Config::handlers`].
    pub handler: usize,
    /// What requests get that are not to become WebSockets, if that is something else: an index likewise.
    pub otherwise: Option<usize>,
    /// Index into [`Config::policies`]; `None`: the handler alone decides.
    pub policy: Option<usize>,
}

impl From<usize> for Destination {
    /// A handler without a policy.
    fn from(handler: usize) -> Self {
        Self { handler, otherwise: None, policy: None }
    }
}

/// Where clients connect.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listener {
    /// Whether its connections are encrypted; the facts come with
    /// [`handle_introduced`](crate::shard::Shard::handle_introduced).
    pub is_tls: bool,
    /// The value of `Strict-Transport-Security` in its answers (RFC 6797 §6.1).
    pub hsts: Option<Box<str>>,
    /// It is for the backends of this session pool (an index into [`Config::pools`]) alone; there are no routes.
    pub pool: Option<usize>,
}

/// What is done with a request once its route is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Handler {
    /// A WebSocket that sends every message back; compressed if the settings say so and the client wants it.
    Echo(Option<Compression>),
    /// Server-Sent Events of the topics in the query.
    EventStream {
        /// Whether clients that take gzip get it: each event is compressed by itself and flushed. Nothing without the feature `deflate`.
        compress: bool,
    },
    /// Files below a directory.
    Files(Arc<Files>),
    /// Answers that show what has arrived.
    HttpBin,
    /// Long-poll of the topics in the query.
    LongPoll,
    /// Files held in memory, by path below the route.
    Memory(Arc<[Asset]>),
    /// An HTTP backend.
    Proxy(Proxy),
    /// `POST` of a message to the topic that the rest of the path names.
    Publish,
    /// Another address.
    Redirect(Redirect),
    /// What the process holds, in numbers, as JSON.
    SelfStatus,
    /// WebSockets of a session pool.
    Sessions(Arc<Sessions>),
    /// Nothing but a status and its reason.
    Status(StatusCode),
    /// WebSocket calls and messages of the topics in the query.
    WebSocket(WebSocket),
}

/// What is agreed on when a WebSocket for calls is opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebSocket {
    /// The subprotocols under whose names the calls are known. The first in the client's order is chosen; a client that
    /// asks for others only is let in without one.
    pub subprotocols: Arc<[Box<str>]>,
    /// Whether and how messages are compressed, if the client wants it (RFC 7692).
    pub compression: Option<Compression>,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self { subprotocols: ["v1.swindon-lattice+json".into()].into(), compression: None }
    }
}

/// One file of [`Handler::Memory`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asset {
    /// The path below the route, without a leading slash; empty for the route itself.
    pub path: Box<str>,
    /// `Content-Type`.
    pub content_type: Box<str>,
    /// The bytes.
    pub content: Bytes,
    /// `ETag`, with its quotes.
    pub etag: Box<str>,
}

impl Asset {
    /// A file with an entity tag made of its content.
    pub fn new(path: &str, content_type: &str, content: Bytes) -> Self {
        // FNV-1a, 64 bits.
        let hash = content
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        let etag = alloc::format!("\"{hash:x}-{:x}\"", content.len()).into();
        Self { path: path.into(), content_type: content_type.into(), content, etag }
    }
}

/// How requests of a route reach a backend.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Proxy {
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// What the route's prefix is replaced with; `None` keeps the path as it is.
    pub replace_prefix: Option<Box<str>>,
    /// Whether a connection is taken only when the request is here completely: slow clients do not occupy the backend.
    pub buffer_requests: bool,
    /// Whether WebSockets end here and their messages are passed on: both sides are held to the protocol and to
    /// [`Limits::websocket`]. Otherwise their bytes are, whatever they say.
    pub reads_websockets: bool,
    /// Whether and how messages of such WebSockets are compressed, on each side that wants it (RFC 7692).
    pub compression: Option<Compression>,
}
