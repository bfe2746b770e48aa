//! What admission has granted to a request: its place among those of the client, so much content, so many bytes per
//! second. Few requests have any of it.

use super::slot::{Exchange, Role, Slot};
use super::{ConnId, Mail, Shard};
use crate::handler::origin::Vouched;
use crate::http1::StatusCode;
use crate::throttle::{ClientKey, Rate};
use crate::time::{Instant, Now};
use alloc::boxed::Box;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Grant {
    /// Whose place is to be given back.
    pub(super) client: Option<ClientKey>,
    /// The protocol was switched: it holds until the connection ends.
    is_lasting: bool,
    /// How much content the request may have (bytes).
    pub(super) content_bytes: Option<u64>,
    /// How much of it has come (bytes).
    received: u64,
    /// When a backend's permission ends, if it ends before the request.
    pub(super) until: Option<Instant>,
    /// What backends are told about the user.
    pub(super) vouched: Option<Box<Vouched>>,
    /// How fast bytes leave, of this answer and of what waits with it.
    pub(super) pace: Option<Pace>,
}

/// Bytes leave in portions, each taken from the client's bucket before it is written.
#[derive(Debug)]
pub(super) struct Pace {
    client: ClientKey,
    rate: Rate,
    /// What may be written now (bytes).
    ready: u64,
    /// When there will be more, while there is nothing.
    resume_at: Option<Instant>,
    /// The client's home is asked.
    is_asked: bool,
}

impl Pace {
    pub(super) fn new(client: ClientKey, rate: Rate) -> Self {
        Self { client, rate, ready: 0, resume_at: None, is_asked: false }
    }

    /// Small enough to be even, and not so small that every packet needs a timer (bytes).
    fn portion(&self) -> u64 {
        (self.rate.burst / 4).max(1)
    }
}

impl Slot {
    /// When what goes on here is allowed no longer. What has an end of its own is finished.
    pub(super) fn allowed_until(&self) -> Option<Instant> {
        let goes_on = match &self.role {
            Role::Server(server) => matches!(server.exchange, Exchange::Poll(_) | Exchange::Stream(_)),
            Role::Tunnel(_) | Role::WebSocket(_) => true,
            Role::Client(_) | Role::Errand(_) => false,
        };
        self.grant.as_ref().filter(|_| goes_on)?.until
    }

    /// When bytes may leave again; `None`: they may now.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.grant.as_ref()?.pace.as_ref()?.resume_at
    }

    /// Cuts `slices` to what may leave now; says how many are left.
    pub(super) fn cut(&self, slices: &mut [&[u8]], filled: usize) -> usize {
        let Some(pace) = self.grant.as_ref().and_then(|grant| grant.pace.as_ref()) else { return filled };
        let mut ready = usize::try_from(pace.ready).unwrap_or(usize::MAX);
        for (at, slice) in slices.iter_mut().take(filled).enumerate() {
            if ready == 0 {
                return at;
            }
            *slice = slice.get(..ready).unwrap_or(slice);
            ready -= slice.len();
        }
        filled
    }
}

impl Shard {
    /// The grant of a connection, made if there is none.
    pub(super) fn grant(&mut self, conn: ConnId) -> Option<&mut Grant> {
        Some(self.slots.get_mut(conn)?.grant.get_or_insert_default())
    }

    /// How fast the answer to the request at hand may leave. What is left of an answer before it still leaves at its own pace.
    pub(super) fn set_pace(&mut self, now: Now, conn: ConnId, wanted: Option<(ClientKey, Rate)>) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        if wanted.is_none() && slot.grant.is_none() {
            return;
        }
        let is_written = slot.unsent().is_empty();
        let grant = slot.grant.get_or_insert_default();
        match (&grant.pace, wanted) {
            (Some(pace), Some((client, rate))) if pace.client == client && pace.rate == rate => {}
            (Some(_), None) if !is_written => {}
            (_, wanted) => {
                grant.pace = wanted.map(|(client, rate)| Pace::new(client, rate));
                self.refill(now, conn);
            }
        }
    }

    /// The protocol is being switched: what was granted holds until the connection ends.
    pub(super) fn keep_grant(&mut self, conn: ConnId) {
        if let Some(grant) = self.slots.get_mut(conn).and_then(|slot| slot.grant.as_mut()) {
            grant.is_lasting = true;
        }
    }

    /// The request is over, or its connection (`is_closed`).
    pub(super) fn end_grant(&mut self, now: Now, conn: ConnId, is_closed: bool) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let Some(grant) = &mut slot.grant else { return };
        if grant.is_lasting && !is_closed {
            return;
        }
        let client = grant.client.take();
        // What is still to be written keeps its pace.
        match grant.pace.take() {
            Some(pace) if !is_closed => **grant = Grant { pace: Some(pace), ..Grant::default() },
            Some(_) | None => slot.grant = None,
        }
        match client.map(|client| (client, client.home(self.shards))) {
            Some((client, home)) if home == self.number => self.exit(now, client),
            Some((client, home)) => self.send(home, Mail::Exit(client)),
            None => {}
        }
    }

    /// The most content that the request at hand may have, where it is read whole (bytes).
    pub(super) fn content_limit(&self, conn: ConnId) -> u64 {
        let granted = self.slots.get(conn).and_then(|slot| slot.grant.as_ref()?.content_bytes);
        granted.unwrap_or(self.config.limits.content_bytes)
    }

    /// Counts content of the request at hand. `false`: it is too much, and the request was refused or cut.
    pub(super) fn may_receive(&mut self, now: Now, conn: ConnId, bytes: usize) -> bool {
        let Some(Slot { grant: Some(grant), role: Role::Server(server), .. }) = self.slots.get_mut(conn) else {
            return true;
        };
        grant.received += bytes as u64;
        if grant.content_bytes.is_none_or(|limit| grant.received <= limit) {
            return true;
        }
        if server.conn.is_response_awaited() {
            self.refuse(now, conn, StatusCode::CONTENT_TOO_LARGE, "the content is too large");
        } else {
            self.finish(now, conn);
            self.abort(now, conn);
        }
        false
    }

    /// So many bytes have left.
    pub(super) fn spend(&mut self, now: Now, conn: ConnId, bytes: usize) {
        let Some(pace) = self.slots.get_mut(conn).and_then(|slot| slot.grant.as_mut()?.pace.as_mut()) else { return };
        pace.ready = pace.ready.saturating_sub(bytes as u64);
        if pace.ready == 0 {
            self.refill(now, conn);
        }
    }

    /// Takes the next portion, or waits for it.
    pub(super) fn refill(&mut self, now: Now, conn: ConnId) {
        let again = now.instant + self.timeouts.write / 2;
        let Some(pace) = self.pace(conn) else { return };
        let (client, portion, is_asked) = (pace.client, pace.portion(), pace.is_asked);
        let home = client.home(self.shards);
        if home == self.number {
            let taken = self.take_bytes(now, client, portion);
            return self.handle_taken(now, conn, client, taken);
        }
        if let Some(pace) = self.pace(conn) {
            (pace.is_asked, pace.resume_at) = (true, Some(again));
        }
        if !is_asked {
            self.send(home, Mail::Take { from: self.number, conn, client, bytes: portion });
        }
        self.note_pause(now, conn);
    }

    /// The client's home says whether the next portion may leave.
    pub(super) fn handle_taken(&mut self, now: Now, conn: ConnId, client: ClientKey, taken: Result<(), Instant>) {
        let again = now.instant + self.timeouts.write / 2;
        let Some(pace) = self.pace(conn).filter(|pace| pace.client == client) else { return };
        pace.is_asked = false;
        match taken {
            Ok(()) => (pace.ready, pace.resume_at) = (pace.portion(), None),
            // Many connections may share the rate: asking again in between shows that it is not the peer who is slow.
            Err(at) => pace.resume_at = Some(at.min(again)),
        }
        self.note_pause(now, conn);
        self.settle(now, conn);
    }

    /// Takes bytes of a client that is at home here.
    pub(super) fn take_bytes(&mut self, now: Now, client: ClientKey, bytes: u64) -> Result<(), Instant> {
        let Self { throttle, config, .. } = self;
        let limits = config.policies.get(client.allowance).and_then(|policy| policy.limits.as_ref());
        let Some(rate) = limits.and_then(|limits| limits.bandwidth.as_ref()) else { return Ok(()) };
        throttle.take_bytes(now.instant, client, rate, bytes, config.limits.limited_clients)
    }

    fn pace(&mut self, conn: ConnId) -> Option<&mut Pace> {
        self.slots.get_mut(conn)?.grant.as_mut()?.pace.as_mut()
    }

    /// It is our pause, not the peer's.
    fn note_pause(&mut self, now: Now, conn: ConnId) {
        let Self { slots, timeouts, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        match &mut slot.role {
            Role::Server(server) => server.conn.wrote(now, timeouts),
            Role::Tunnel(tunnel) => tunnel.conn.wrote(now, timeouts),
            Role::WebSocket(socket) => socket.conn.wrote(now, timeouts),
            Role::Client(_) | Role::Errand(_) => {}
        }
    }
}
