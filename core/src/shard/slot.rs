//! What a shard knows about one connection.

use super::admit::{Entering, Verifying};
use super::calls::{Socket, SocketKind};
use super::changes::StreamId;
use super::count::Counting;
use super::files::{Opening, Sending};
use super::grant::Grant;
use super::poll::Poll;
use super::proxy::{Asking, Call, EndpointId, Errand, Purpose};
use super::sessions::{ApiCall, Greeting};
use super::shape::Shape;
use super::stream::Stream;
use super::{Address, ConnId};
use crate::conn::{ClientConn, Interest, ServerConn, TunnelConn};
use crate::outbox::Outbox;
use crate::pubsub::Topic;
use crate::time::Instant;
use crate::tls::TlsFacts;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use uuid::Uuid;

/// One connection.
#[derive(Debug)]
pub struct Slot {
    pub(super) role: Role,
    /// Bytes that were read and not used yet. No memory while there are none.
    pub(super) leftover: Vec<u8>,
    /// The earliest entry in the timer wheel.
    pub(super) armed: Option<Instant>,
    /// Whether the host is told to look at it already.
    pub(super) is_changed: bool,
    /// Who is at the other end; `None` over a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    /// Where it came in: an index into the listeners of the configuration.
    pub(super) listener: u16,
    /// The handler of the request at hand, or of what became of it: an index into those of the configuration. `u32::MAX`: none.
    pub(super) handler: u32,
    pub(super) about: Option<Box<About>>,
    /// What the request at hand was granted, if it is anything.
    pub(super) grant: Option<Box<Grant>>,
}

/// What few connections have, or few routes ask for.
#[derive(Debug)]
pub(super) struct About {
    /// Our end, or the one that a PROXY header has named.
    pub(super) local: Option<SocketAddr>,
    pub(super) tls: Option<Arc<TlsFacts>>,
}

/// What kind of connection it is.
#[derive(Debug)]
pub(super) enum Role {
    Client(Box<Client>),
    /// No connection: a request of our own, with no client behind it.
    Errand(Box<Errand>),
    Server(Server),
    Tunnel(Box<Tunnel>),
    WebSocket(Socket),
}

/// A client of ours, speaking HTTP.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) conn: ServerConn,
    pub(super) exchange: Exchange,
    /// `X-Barium` of the request at hand.
    pub(super) id: Uuid,
    /// What the route changes about the answer.
    pub(super) shape: Shape,
    /// For the access log; only if one is wanted.
    pub(super) line: Option<Box<Line>>,
}

/// What the access log will say.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) request: Box<str>,
    pub(super) reason: Option<Box<str>>,
    pub(super) began: Instant,
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) client: Option<IpAddr>,
    pub(super) server: Option<(Address, Duration)>,
    pub(super) user: Option<Box<str>>,
}

/// What is being done about the request at hand.
#[derive(Debug)]
pub(super) enum Exchange {
    /// Nothing: between requests, or the rest of a request that was answered already.
    Idle,
    /// A backend wants something of its session pool.
    Api(Box<ApiCall>),
    /// A WebSocket of a session pool is being authorised.
    Greeting(Box<Greeting>),
    /// A file is being opened.
    Opening(Box<Opening>),
    /// A file is being sent.
    Sending(Box<Sending>),
    /// A long-poll.
    Poll(Box<Poll>),
    /// A request to an upstream goes on first.
    Asking(Box<Asking>),
    /// An upstream gets the request.
    Proxying(Box<Call>),
    /// Content is arriving: to be published, or for a change of an event stream.
    Publishing(Box<Publishing>),
    /// The topic's home has the message, or the stream's shard the change; it answers to this tag.
    Published(u64),
    /// An event stream.
    Stream(Box<Stream>),
    /// All shards are asked what they hold.
    Counting(Box<Counting>),
    /// Another shard is asked whether the client may; then the request goes on.
    Entering(Box<Entering>),
    /// A password is being verified; then the request goes on.
    Verifying(Box<Verifying>),
}

/// Where content goes that a client posts.
#[derive(Clone, Debug)]
pub(super) enum Posted {
    Change(StreamId),
    Message(Topic),
}

#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) to: Posted,
    pub(super) content_type: Option<Bytes>,
    pub(super) content: Vec<u8>,
}

/// A connection to a backend.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) conn: ClientConn,
    /// Index into the upstreams.
    pub(super) upstream: usize,
    pub(super) endpoint: EndpointId,
    /// Which of the upstream's servers it is.
    pub(super) server: usize,
    pub(super) purpose: Purpose,
    /// When it got its request.
    pub(super) since: Instant,
    /// It was idle before this request.
    pub(super) is_reused: bool,
    /// It is one of the connections of its endpoint: not a probe's, and not to be closed.
    pub(super) is_counted: bool,
}

/// One half of an upgraded connection that is passed through.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) conn: TunnelConn,
    pub(super) other: ConnId,
}

impl Slot {
    pub(super) fn new(role: Role, peer: Option<SocketAddr>) -> Self {
        Self {
            role,
            leftover: Vec::new(),
            armed: None,
            is_changed: false,
            peer,
            listener: 0,
            handler: u32::MAX,
            about: None,
            grant: None,
        }
    }

    /// What the TLS handshake of a client has shown; `None` for a plain connection.
    pub(super) fn tls(&self) -> Option<&TlsFacts> {
        self.about.as_ref()?.tls.as_deref()
    }

    /// Whether there are bytes to be offered again, or the end of them is to be told once more.
    pub(super) fn wants_more(&self) -> bool {
        let is_last = matches!(&self.role, Role::Server(server) if server.conn.is_half_closed());
        is_last || !self.leftover.is_empty()
    }

    /// How much may be unsent (bytes) before nothing more is read: `HIGH_WATER` at least. What an end of a relay has to write is not its answers: while that
    /// waits, its messages still pass, or two ends that write before they read would wait for each other. Its source is paused above
    /// `HIGH_WATER`; so beyond one more message there are only pongs.
    pub(super) fn answers_cap(&self, message_bytes: usize) -> usize {
        match &self.role {
            Role::WebSocket(socket) if matches!(socket.kind, SocketKind::Relay(_)) => {
                message_bytes.saturating_add(2 * super::HIGH_WATER)
            }
            _ => super::HIGH_WATER,
        }
    }

    /// Asked several times for every event: each place needs only some of it.
    #[inline(always)]
    pub(super) fn interest(&self) -> Interest {
        match &self.role {
            Role::Client(client) => client.conn.interest(),
            Role::Errand(_) => Interest::default(),
            Role::Server(server) => server.conn.interest(),
            Role::Tunnel(tunnel) => tunnel.conn.interest(),
            Role::WebSocket(socket) => socket.conn.interest(),
        }
    }

    pub(super) fn unsent(&self) -> &Outbox {
        match &self.role {
            Role::Client(client) => client.conn.unsent(),
            Role::Errand(errand) => &errand.out,
            Role::Server(server) => server.conn.unsent(),
            Role::Tunnel(tunnel) => tunnel.conn.unsent(),
            Role::WebSocket(socket) => socket.conn.unsent(),
        }
    }

    pub(super) fn outbox(&mut self) -> &mut Outbox {
        match &mut self.role {
            Role::Client(client) => client.conn.outbox(),
            Role::Errand(errand) => &mut errand.out,
            Role::Server(server) => server.conn.outbox(),
            Role::Tunnel(tunnel) => tunnel.conn.outbox(),
            Role::WebSocket(socket) => socket.conn.outbox(),
        }
    }

    /// The earliest of the connection's, its exchange's and its grant's deadlines. None once the socket is to be dropped: a deadline
    /// that has passed would be due for ever.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.interest().close {
            return None;
        }
        let deadline = match &self.role {
            Role::Client(client) => client.conn.deadline(),
            Role::Errand(errand) => errand.call.deadline(),
            Role::Server(server) => {
                let exchange = match &server.exchange {
                    Exchange::Poll(poll) => Some(poll.deadline()),
                    Exchange::Stream(stream) => Some(stream.heartbeat),
                    Exchange::Asking(asking) => asking.call.deadline(),
                    Exchange::Proxying(call) => call.deadline(),
                    Exchange::Api(_)
                    | Exchange::Greeting(_)
                    | Exchange::Idle
                    | Exchange::Opening(_)
                    | Exchange::Sending(_)
                    | Exchange::Publishing(_)
                    | Exchange::Published(_)
                    | Exchange::Entering(_)
                    | Exchange::Counting(_)
                    | Exchange::Verifying(_) => None,
                };
                crate::conn::earlier(server.conn.deadline(), exchange)
            }
            Role::Tunnel(tunnel) => tunnel.conn.deadline(),
            Role::WebSocket(socket) => socket.conn.deadline(),
        };
        crate::conn::earlier(deadline, crate::conn::earlier(self.paused_until(), self.allowed_until()))
    }
}
