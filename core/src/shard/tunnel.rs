//! Upgraded connections that are passed through: whatever one end says goes to the other.

use super::slot::{Role, Slot, Tunnel};
use super::{ConnId, HIGH_WATER, LOW_WATER, Shard};
use crate::conn::TunnelConn;
use crate::time::Now;

impl Shard {
    /// Both connections become ends of a tunnel; what is queued for them goes first.
    pub(super) fn open_tunnel(&mut self, now: Now, downstream: ConnId, upstream: ConnId) {
        for (conn, other) in [(downstream, upstream), (upstream, downstream)] {
            let Some(slot) = self.slots.get_mut(conn) else { continue };
            let out = core::mem::take(slot.outbox());
            let tunnel = TunnelConn::new(now, &self.timeouts, out);
            slot.role = Role::Tunnel(alloc::boxed::Box::new(Tunnel { conn: tunnel, other }));
            // What either side sent behind its head belongs to the other.
            self.resume(conn);
            self.settle(now, conn);
        }
    }

    /// Passes bytes on to the other end; returns how many.
    pub(super) fn pass_through(&mut self, now: Now, conn: ConnId, data: &[u8]) -> usize {
        let Some(other) = self.other_end(conn) else { return data.len() };
        let Self { slots, timeouts, .. } = self;
        let mut is_full = false;
        match slots.get_mut(other).map(|slot| &mut slot.role) {
            Some(Role::Tunnel(tunnel)) => {
                tunnel.conn.send(now, timeouts, data);
                is_full = tunnel.conn.unsent().len() > HIGH_WATER;
            }
            // The other end has not been switched yet: its bytes wait.
            Some(Role::Client(_) | Role::Errand(_) | Role::Server(_) | Role::WebSocket(_)) => return 0,
            None => {}
        }
        if let Some(Role::Tunnel(tunnel)) = slots.get_mut(conn).map(|slot| &mut slot.role) {
            tunnel.conn.used(now, timeouts);
            if is_full {
                tunnel.conn.pause();
            }
        }
        self.settle(now, other);
        data.len()
    }

    /// There is room at the other end again.
    pub(super) fn resume_tunnel(&mut self, now: Now, conn: ConnId) {
        let has_room = self
            .other_end(conn)
            .and_then(|other| self.slots.get(other))
            .is_some_and(|slot| slot.unsent().len() < LOW_WATER);
        let Some(Role::Tunnel(tunnel)) = self.slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        if has_room && tunnel.conn.is_paused() {
            tunnel.conn.resume();
            self.settle(now, conn);
        }
    }

    pub(super) fn handle_tunnel_eof(&mut self, now: Now, conn: ConnId) {
        let Some(Role::Tunnel(tunnel)) = self.slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        tunnel.conn.handle_eof();
        let other = tunnel.other;
        if let Some(Role::Tunnel(tunnel)) = self.slots.get_mut(other).map(|slot| &mut slot.role) {
            tunnel.conn.end();
        }
        self.settle(now, other);
    }

    /// One end is gone; what it said still reaches the other. `is_broken`: by an error, or with bytes that its peer
    /// did not take. If that came before the peer had ended
    /// its direction, what it said may be half of it, and the other end breaks as well.
    pub(super) fn handle_tunnel_closed(&mut self, now: Now, tunnel: &Tunnel, is_broken: bool) {
        if let Some(Slot { role: Role::Tunnel(other), .. }) = self.slots.get_mut(tunnel.other) {
            other.conn.handle_eof();
            if (is_broken || tunnel.conn.is_breaking()) && !tunnel.conn.has_ended() {
                other.conn.break_off();
            } else {
                other.conn.end();
                // Nobody is left for what was queued the other way.
                if other.conn.unsent().is_empty() {
                    other.conn.abort();
                }
            }
        }
        self.settle(now, tunnel.other);
    }

    fn other_end(&self, conn: ConnId) -> Option<ConnId> {
        match &self.slots.get(conn)?.role {
            Role::Tunnel(tunnel) => Some(tunnel.other),
            Role::Client(_) | Role::Errand(_) | Role::Server(_) | Role::WebSocket(_) => None,
        }
    }
}
