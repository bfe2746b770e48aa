//! Who may, and who they are: what a route's policy asks for before its handler gets a request.
//!
//! In this order, so that what is cheap comes first and nobody learns more than he may:
//! 1. `access`: the client's network.

use super::slot::Slot;
use super::{ConnId, Shard};
use crate::config::{Config, Policy};
use crate::handler::origin::Origin;
use crate::http1::{RequestHead, StatusCode};
use crate::route::{Client, Malformed};
use crate::time::Now;
use uuid::Uuid;

/// Who a request on this connection is from.
pub(super) fn client<'h>(config: &Config, slot: &Slot, head: &RequestHead<'h>) -> Result<Client<'h>, Malformed> {
    let (peer, is_tls) = (slot.peer.map(|peer| peer.ip()), slot.tls().is_some());
    if config.believes(slot.peer) {
        Client::behind(peer, is_tls, &head.fields, &config.trusted, config.forwarding)
    } else {
        Ok(Client::direct(peer, is_tls))
    }
}

/// The id that a request has already.
pub(super) fn given_id(head: &RequestHead<'_>) -> Option<Uuid> {
    Uuid::try_parse_ascii(head.fields.get("x-barium")?).ok()
}

impl Shard {
    /// Whether the handler gets the request; if not, it was answered.
    pub(super) fn admit(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>, policy: &Policy) -> bool {
        let Some(slot) = self.slots.get(conn) else { return false };
        // A request whose client cannot be read has been refused already.
        let Ok(client) = client(&self.config, slot, head) else { return false };
        if policy.access.as_ref().is_some_and(|access| !access.allow(client.address)) {
            self.refuse(now, conn, StatusCode::FORBIDDEN, "this is not for everybody");
            return false;
        }
        true
    }

    /// What the backend of the request at hand learns about where it came from.
    pub(super) fn origin<'h>(&self, conn: ConnId, head: &RequestHead<'h>) -> Option<Origin<'h>> {
        let (config, slot) = (&self.config, self.slots.get(conn)?);
        let super::slot::Role::Server(server) = &slot.role else { return None };
        Some(Origin {
            client: client(config, slot, head).ok()?,
            peer: slot.peer.map(|peer| peer.ip()),
            is_tls: slot.tls().is_some(),
            is_believed: config.believes(slot.peer),
            forwarding: config.forwarding,
            id: server.id,
            vouched: None,
        })
    }
}
