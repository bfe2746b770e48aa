//! One end of a connection whose protocol is not ours: bytes in both directions, half-close included (RFC 9110 §7.8).

use super::{Interest, Timeouts, WriteTimer, earlier};
use crate::outbox::Outbox;
use crate::time::{Instant, Now};

/// One end of a tunnel. What one end receives, the owner sends to the other.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TunnelConn {
    out: Outbox,
    /// The peer has ended its direction.
    eof: bool,
    /// The other end's peer has: end ours when everything is written.
    ending: bool,
    /// It ends by a reset: the other end broke off, or what is queued will never be written.
    breaking: bool,
    shut: bool,
    paused: bool,
    closed: bool,
    read_by: Option<Instant>,
    write_by: WriteTimer,
}

impl TunnelConn {
    /// After a switch of protocols; `out` is what is still to be written.
    pub fn new(now: Now, timeouts: &Timeouts, out: Outbox) -> Self {
        let mut write_by = WriteTimer::default();
        write_by.queued(now.instant, timeouts.write, out.len());
        let read_by = Some(now.instant + timeouts.tunnel);
        Self {
            out,
            eof: false,
            ending: false,
            breaking: false,
            shut: false,
            paused: false,
            closed: false,
            read_by,
            write_by,
        }
    }

    /// Bytes passed in either direction: the idle deadline moves.
    pub fn used(&mut self, now: Now, timeouts: &Timeouts) {
        self.read_by = Some(now.instant + timeouts.tunnel);
    }

    /// Queues bytes from the other end.
    pub fn send(&mut self, now: Now, timeouts: &Timeouts, data: &[u8]) {
        self.out.extend(data);
        self.write_by.queued(now.instant, timeouts.write, self.out.len());
        self.used(now, timeouts);
    }

    /// The other end's peer has ended its direction: end ours, after what is queued.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// The other end broke in the middle of what its peer said: ours breaks too, after what is queued, so that nobody takes
    /// that for the end.
    pub fn break_off(&mut self) {
        self.breaking = true;
    }

    /// Whether it does not end cleanly.
    pub fn is_breaking(&self) -> bool {
        self.breaking
    }

    /// Whether the peer has ended its direction.
    pub fn has_ended(&self) -> bool {
        self.eof
    }

    /// The peer ended its direction.
    pub fn handle_eof(&mut self) {
        self.eof = true;
    }

    /// The host ended the outgoing direction.
    pub fn handle_shutdown(&mut self) {
        self.shut = true;
    }

    /// Some of the outbox was written.
    pub fn wrote(&mut self, now: Now, timeouts: &Timeouts) {
        self.write_by.wrote(now.instant, timeouts.write, self.out.len());
    }

    /// A deadline may have passed: the end of both ends, and no clean one while bytes are queued.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.deadline().is_some_and(|at| at <= now.instant) {
            self.closed = true;
            self.breaking |= !self.out.is_empty();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.read_by, self.write_by.0).filter(|_| !self.closed)
    }

    /// Stops reading: the other end's peer is slow.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Reads again.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether reading is stopped.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Drops the connection.
    pub fn abort(&mut self) {
        self.closed = true;
    }

    /// What the host should do.
    pub fn interest(&self) -> Interest {
        let write = !self.out.is_empty();
        let shutdown = self.ending && !write && !self.shut;
        let is_broken = self.breaking && !write;
        let close = self.closed || is_broken || (self.eof && self.ending && !write && self.shut);
        Interest {
            read: !self.eof && !self.paused && !close,
            write: write && !close,
            shutdown: shutdown && !close,
            close,
            reset: self.breaking && close,
        }
    }

    /// What is to be written.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.out
    }

    /// What is to be written.
    pub fn unsent(&self) -> &Outbox {
        &self.out
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientConn, ServerConn, TunnelConn, WebSocketConn};
    use super::*;
    use crate::config::Limits;
    use crate::ws::Role;

    /// What was queued is written first, and the end is no clean one.
    #[test]
    fn a_broken_end_breaks_the_other_behind_what_is_queued() {
        let timeouts = Limits::default().timeouts();
        let now = Now::default();
        let mut tunnel = TunnelConn::new(now, &timeouts, Outbox::new());
        tunnel.send(now, &timeouts, b"half a");
        tunnel.break_off();
        tunnel.handle_eof();
        assert_eq!(tunnel.interest(), Interest { write: true, ..Interest::default() });
        tunnel.outbox().advance(6);
        tunnel.wrote(now, &timeouts);
        assert_eq!(tunnel.interest(), Interest { close: true, reset: true, ..Interest::default() });
    }

    /// Whoever does not take what is queued before a break is cut off at the write deadline, and not cleanly.
    #[test]
    fn a_break_waits_no_longer_than_the_write_deadline() {
        let timeouts = Limits::default().timeouts();
        let mut now = Now::default();
        let mut tunnel = TunnelConn::new(now, &timeouts, Outbox::new());
        tunnel.send(now, &timeouts, b"half a");
        tunnel.break_off();
        now.instant = now.instant + timeouts.write;
        tunnel.handle_timeout(now);
        assert_eq!(tunnel.interest(), Interest { close: true, reset: true, ..Interest::default() });
    }

    /// Whoever takes nothing is cut off, and not cleanly; whoever is only silent is not broken.
    #[test]
    fn what_is_never_written_breaks_the_end() {
        let timeouts = Limits::default().timeouts();
        for (data, is_broken) in [(&b"half a"[..], true), (b"", false)] {
            let mut now = Now::default();
            let mut tunnel = TunnelConn::new(now, &timeouts, Outbox::new());
            tunnel.send(now, &timeouts, data);
            now.instant = tunnel.deadline().unwrap();
            tunnel.handle_timeout(now);
            assert_eq!(tunnel.interest(), Interest { close: true, reset: is_broken, ..Interest::default() });
            assert_eq!(tunnel.is_breaking(), is_broken);
        }
    }

    /// A passed deadline that stays where it is would be reported as due for ever.
    #[test]
    fn a_passed_deadline_is_gone_after_the_timeout() {
        let limits = Limits::default();
        let (timeouts, mut now) = (limits.timeouts(), Now::default());
        let mut out = Outbox::new();
        out.extend(b"not written");
        let mut tunnel = TunnelConn::new(now, &timeouts, out.clone());
        let mut socket = WebSocketConn::new(now, Role::Server, limits.websocket, &timeouts, out);
        let mut server = ServerConn::new(now, limits.http, &timeouts);
        let mut client = ClientConn::new(limits.http, now.instant);
        for _ in 0..10 {
            now.instant = now.instant + timeouts.tunnel;
            tunnel.handle_timeout(now);
            socket.handle_timeout(now, &timeouts, || [0; 4]);
            server.handle_timeout(now);
            client.handle_timeout(now);
            for deadline in [tunnel.deadline(), socket.deadline(), server.deadline(), client.deadline()] {
                assert!(deadline.is_none_or(|at| at > now.instant));
            }
        }
    }
}
