//! Who may: what a route's policy asks for before its handler gets a request.
//!
//! In this order, so that what is cheap comes first and nobody learns more than he may:
//! 1. `access`: the client's network.

use super::{ConnId, Shard};
use crate::config::Policy;
use crate::http1::StatusCode;
use crate::time::Now;

impl Shard {
    /// Whether the handler gets the request; if not, it was answered.
    pub(super) fn admit(&mut self, now: Now, conn: ConnId, policy: &Policy) -> bool {
        let Some(slot) = self.slots.get(conn) else { return false };
        let client = slot.peer.map(|peer| peer.ip());
        if policy.access.as_ref().is_some_and(|access| !access.allow(client)) {
            self.refuse(now, conn, StatusCode::FORBIDDEN, "this is not for everybody");
            return false;
        }
        true
    }
}
