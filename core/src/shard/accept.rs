//! New connections: where they come in, and what they say about themselves before their first byte of HTTP.

use super::slot::{About, Role, Server, Slot};
use super::{ConnId, Shard};
use crate::conn::ServerConn;
use crate::proxy_protocol::Endpoints;
use crate::time::Now;
use crate::tls::TlsFacts;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;

/// A connection that a listener has taken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Accepted {
    /// Index into [`Config::listeners`](crate::config::Config::listeners).
    pub listener: u16,
    /// The other end; `None` over a Unix socket, where it has no address.
    pub peer: Option<SocketAddr>,
    /// Our end; only if [`Config::wants_local_addresses`](crate::config::Config::wants_local_addresses).
    pub local: Option<SocketAddr>,
}

/// A connection of the first listener.
impl From<SocketAddr> for Accepted {
    fn from(peer: SocketAddr) -> Self {
        Self { listener: 0, peer: Some(peer), local: None }
    }
}

/// What comes before the first byte of HTTP, where the listener asks for it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Introduction {
    /// Whose connection it is according to a PROXY header.
    pub proxied: Option<Endpoints>,
    /// What the TLS handshake has shown.
    pub tls: Option<Arc<TlsFacts>>,
}

impl Shard {
    /// A client connected; its bytes come with [`handle_read`](Self::handle_read). `None`: no room, drop the socket.
    pub fn handle_accept(&mut self, now: Now, accepted: Accepted) -> Option<ConnId> {
        if !self.is_accepting() {
            return None;
        }
        let conn = ServerConn::new(now, self.http, &self.timeouts);
        let mut slot = Slot::new(Role::Server(Server::new(conn)), accepted.peer.map(canonical));
        slot.listener = accepted.listener;
        slot.about = accepted.local.map(|local| Box::new(About { local: Some(local), tls: None }));
        let id = self.slots.insert(slot);
        self.settle(now, id);
        Some(id)
    }

    /// A client has introduced itself, before anything else of it was read. The deadline of the first head runs already.
    pub fn handle_introduced(&mut self, conn: ConnId, introduction: Introduction) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let Introduction { proxied, tls } = introduction;
        let mut local = slot.about.as_ref().and_then(|about| about.local);
        if let Some(Endpoints { source, destination }) = proxied {
            (slot.peer, local) = (Some(canonical(source)), Some(destination));
        }
        slot.about = (local.is_some() || tls.is_some()).then(|| Box::new(About { local, tls }));
    }
}

/// A dual-stack socket names IPv4 peers by mapped addresses (RFC 4291 §2.5.5.2).
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
