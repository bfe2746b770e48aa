//! A request that we make of an upstream, from the search for a connection to the end of the answer.

use super::super::relay::Handshakes;
use super::super::slot::{Exchange, Role, Server};
use super::super::{Address, ConnId, Shard};
use crate::conn::{Message, earlier};
use crate::http1::Framing;
use crate::time::Instant;
use crate::upstream;
use alloc::boxed::Box;
use alloc::vec::Vec;
use smallvec::SmallVec;

/// Names one address of a server.
pub(in crate::shard) type EndpointId = upstream::EndpointId<ConnId, Address>;

/// A request that we make of an upstream, on behalf of a client's connection. It belongs to that connection's exchange.
#[derive(Debug)]
pub(in crate::shard) struct Call {
    /// Index into the upstreams.
    pub(in crate::shard) upstream: usize,
    pub(super) message: Message,
    /// `Host` depends on the server.
    pub(super) needs_host: bool,
    pub(super) stage: Stage,
    /// RFC 9110 §9.2.2: it may be sent again although a server may have seen it.
    pub(super) is_idempotent: bool,
    /// Some of the content is on its way to a server and not here any more.
    pub(super) has_streamed: bool,
    /// A kept connection has failed it: only a new one will do.
    pub(super) needs_new: bool,
    /// The final head was passed on.
    pub(super) is_answered: bool,
    /// How many further servers it may try.
    pub(super) retries: u8,
    /// Who has failed it.
    pub(super) tried: SmallVec<[EndpointId; 2]>,
    /// What stands for it in the balance by hash.
    pub(super) key: u64,
    /// The protocols that the client would switch to.
    pub(super) upgrade: Option<Box<str>>,
    /// It opens a WebSocket that ends here.
    pub(super) websocket: Option<Box<Handshakes>>,
    /// The route that it came by has gone: it is finished, but nothing that goes on may come of it.
    pub(in crate::shard) is_past: bool,
    /// The end of waiting for a connection.
    pub(super) wait_until: Option<Instant>,
    /// The end of everything.
    pub(super) until: Option<Instant>,
}

/// How far a [`Call`] has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its content is collected, up to a limit.
    Buffering { content: Vec<u8>, limit: u64 },
    /// It waits for a connection.
    Waiting,
    /// This connection has it.
    Sent(ConnId),
}

impl Call {
    /// One that has not begun.
    pub(super) fn new(upstream: usize, message: Message, is_idempotent: bool, retries: u8) -> Self {
        Self {
            upstream,
            message,
            needs_host: true,
            stage: Stage::Waiting,
            is_idempotent,
            has_streamed: false,
            needs_new: false,
            is_answered: false,
            retries,
            tried: SmallVec::new(),
            key: 0,
            upgrade: None,
            websocket: None,
            is_past: false,
            wait_until: None,
            until: None,
        }
    }

    /// Who has the request.
    pub(in crate::shard) fn client(&self) -> Option<ConnId> {
        match self.stage {
            Stage::Sent(client) => Some(client),
            Stage::Buffering { .. } | Stage::Waiting => None,
        }
    }

    /// Whether it waits for a connection.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting)
    }

    /// The earlier of its own deadlines; those of the connection are apart.
    pub(in crate::shard) fn deadline(&self) -> Option<Instant> {
        earlier(self.wait_until, self.until)
    }

    /// Whether all that was sent can be sent again.
    pub(super) fn is_complete(&self) -> bool {
        !self.has_streamed
    }

    /// Whether its content is sent while it arrives.
    pub(super) fn is_streaming(&self) -> bool {
        !matches!(self.message.framing, Framing::Empty | Framing::Length(0)) && self.message.content.is_none()
    }
}

impl Server {
    /// The request to an upstream that the exchange consists of at the moment.
    pub(super) fn call(&mut self) -> Option<&mut Call> {
        match &mut self.exchange {
            Exchange::Proxying(call) => Some(call),
            Exchange::Asking(asking) => Some(&mut asking.call),
            Exchange::Api(_)
            | Exchange::Greeting(_)
            | Exchange::Idle
            | Exchange::Opening(_)
            | Exchange::Sending(_)
            | Exchange::Poll(_)
            | Exchange::Publishing(_)
            | Exchange::Published(_)
            | Exchange::Stream(_)
            | Exchange::Entering(_)
            | Exchange::Counting(_)
            | Exchange::Verifying(_) => None,
        }
    }
}

impl Shard {
    /// The call of a client's connection.
    pub(super) fn call(&mut self, conn: ConnId) -> Option<&mut Call> {
        match &mut self.slots.get_mut(conn)?.role {
            Role::Server(server) => server.call(),
            Role::Errand(errand) => Some(&mut errand.call),
            Role::Client(_) | Role::Tunnel(_) | Role::WebSocket(_) => None,
        }
    }
}
