//! Who may, and who they are: what a route's policy asks for before its handler gets a request.
//!
//! In this order, so that what is cheap comes first and nobody learns more than he may:
//! 1. `access`: the client's network and certificate, or 403.
//! 2. `content_bytes`: the announced length, or 413. What comes without one is counted while it comes.
//! 3. `limits`: how much the client had lately, or 429. Its home shard counts: the request waits if that is another.
//! 4. `basic_auth`: name and password, or 401. The host computes the hash: the request waits.
//! 5. `authorize`: a backend is asked: the request waits.
//!
//! A request that waits is kept as the bytes of its head. Nothing of its content is taken, and no 100 is sent.

use super::slot::{Exchange, Role, Slot};
use super::{Completion, ConnId, Effect, IoError, Mail, OpId, Operation, Secret, Shard};
use crate::config::{BasicAuth, Config, Policy};
use crate::handler::login::credentials;
use crate::handler::origin::Origin;
use crate::http1::{Framing, Part, RequestDecoder, RequestHead, StatusCode};
use crate::route::{Client, Malformed};
use crate::throttle::{Allowance, ClientKey};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::time::Duration;
use uuid::Uuid;

/// How far the checks of a request have come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Passed {
    Nothing,
    Limits,
    Login,
    Everything,
}

/// A request whose client is at home on another shard, which counts it.
#[derive(Debug)]
pub(super) struct Entering {
    tag: u64,
    /// The head as it arrived.
    held: Box<[u8]>,
}

/// A request whose password is being verified.
#[derive(Debug)]
pub(super) struct Verifying {
    op: OpId,
    /// The head as it arrived.
    held: Box<[u8]>,
    user: Box<str>,
    /// Index into the policies.
    policy: usize,
}

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
    /// Whether the handler gets the request now; if not, it was answered, or it waits and comes back with more passed.
    pub(super) fn admit(
        &mut self,
        now: Now,
        conn: ConnId,
        (head, framing): (&RequestHead<'_>, Framing),
        (number, policy): (usize, &Policy),
        passed: Passed,
    ) -> bool {
        if passed < Passed::Limits && !self.admit_client(now, conn, (head, framing), (number, policy)) {
            return false;
        }
        if passed < Passed::Login
            && let Some(login) = &policy.basic_auth
        {
            self.verify(now, conn, (head, framing), (number, login));
            return false;
        }
        if passed < Passed::Everything
            && let Some(authorize) = &policy.authorize
        {
            self.ask_authorizer(now, conn, (head, framing), authorize);
            return false;
        }
        true
    }

    /// The checks that need nobody else.
    fn admit_client(
        &mut self,
        now: Now,
        conn: ConnId,
        (head, framing): (&RequestHead<'_>, Framing),
        (number, policy): (usize, &Policy),
    ) -> bool {
        let Some(slot) = self.slots.get(conn) else { return false };
        // A request whose client cannot be read has been refused already.
        let Ok(client) = client(&self.config, slot, head) else { return false };
        if let Some(access) = &policy.access {
            let has_certificate = slot.tls().is_some_and(|tls| tls.certificate.is_some());
            if !access.allow(client.address) || access.certificate && !has_certificate {
                self.refuse(now, conn, StatusCode::FORBIDDEN, "this is not for everybody");
                return false;
            }
        }
        if let Some(limit) = policy.content_bytes {
            if matches!(framing, Framing::Length(length) if length > limit) {
                self.refuse(now, conn, StatusCode::CONTENT_TOO_LARGE, "the content is too large");
                return false;
            }
            if let Some(grant) = self.grant(conn) {
                grant.content_bytes = Some(limit);
            }
        }
        let Some(allowance) = &policy.limits else {
            self.set_pace(now, conn, None);
            return true;
        };
        let key = ClientKey::new(number, client.address);
        let home = key.home(self.shards);
        if home == self.number {
            let entered = self.enter(now, key);
            return self.may_enter(now, conn, (key, allowance), entered);
        }
        if self.is_congested {
            let reason = "too much is on its way; try again";
            self.refuse_until(now, conn, StatusCode::SERVICE_UNAVAILABLE, reason, Duration::ZERO);
            return false;
        }
        let tag = self.next_tag();
        self.send(home, Mail::Enter { from: self.number, conn, tag, client: key });
        let Some(server) = self.server(conn) else { return false };
        server.exchange = Exchange::Entering(Box::new(Entering { tag, held: head.bytes().into() }));
        if framing != Framing::Empty {
            server.conn.pause();
        }
        false
    }

    /// Whether the client may have its request, as its home says; if not, it was refused.
    fn may_enter(
        &mut self,
        now: Now,
        conn: ConnId,
        (key, allowance): (ClientKey, &Allowance),
        entered: Result<(), Option<Duration>>,
    ) -> bool {
        if let Err(wait) = entered {
            let wait = wait.unwrap_or_default();
            self.refuse_until(now, conn, StatusCode::TOO_MANY_REQUESTS, "too many requests; try again later", wait);
            return false;
        }
        if let Some(grant) = self.grant(conn) {
            grant.client = Some(key);
        }
        self.set_pace(now, conn, allowance.bandwidth.map(|rate| (key, rate)));
        true
    }

    /// The home of a client has counted its request, or not.
    pub(super) fn handle_entered(
        &mut self,
        now: Now,
        conn: ConnId,
        (tag, key): (u64, ClientKey),
        entered: Result<(), Option<Duration>>,
    ) {
        self.lend(conn);
        let Self { slots, timeouts, config, .. } = self;
        let config = Arc::clone(config);
        let held = match slots.get_mut(conn) {
            Some(Slot { role: Role::Server(server), .. }) => {
                match core::mem::replace(&mut server.exchange, Exchange::Idle) {
                    Exchange::Entering(entering) if entering.tag == tag => {
                        server.conn.resume(now, timeouts);
                        Some(entering.held)
                    }
                    other => {
                        server.exchange = other;
                        None
                    }
                }
            }
            Some(_) | None => None,
        };
        let allowance = config.policies.get(key.allowance).and_then(|policy| policy.limits.as_ref());
        let (Some(held), Some(allowance)) = (held, allowance) else {
            // It has gone meanwhile, and was counted.
            if entered.is_ok() {
                self.send(key.home(self.shards), Mail::Exit(key));
            }
            return;
        };
        if self.may_enter(now, conn, (key, allowance), entered) {
            self.readmit(now, conn, &held, Passed::Limits);
        }
        self.resume(conn);
        self.settle(now, conn);
    }

    /// A client that is at home here begins a request.
    pub(super) fn enter(&mut self, now: Now, key: ClientKey) -> Result<(), Option<Duration>> {
        let Self { throttle, config, .. } = self;
        let allowance = config.policies.get(key.allowance).and_then(|policy| policy.limits.as_ref());
        allowance.map_or(Ok(()), |allowance| throttle.enter(now.instant, key, allowance, config.limits.limited_clients))
    }

    /// It has ended one.
    pub(super) fn exit(&mut self, now: Now, key: ClientKey) {
        self.throttle.leave(now.instant, key, self.config.limits.limited_clients);
    }

    /// Has the password verified; the request waits.
    fn verify(
        &mut self,
        now: Now,
        conn: ConnId,
        (head, framing): (&RequestHead<'_>, Framing),
        (policy, login): (usize, &BasicAuth),
    ) {
        let Some((user, password)) = credentials(&head.fields) else { return self.challenge(now, conn, login) };
        if self.verifying >= self.config.limits.verifications {
            let reason = "too many passwords to be verified; try again";
            return self.refuse_until(now, conn, StatusCode::SERVICE_UNAVAILABLE, reason, Duration::ZERO);
        }
        self.verifying += 1;
        let op = self.next_op(Operation::Verify(conn));
        let (file, password) = (Arc::clone(&login.file), Secret(password));
        self.effects.push_back(Effect::Verify { op, file, user: user.clone(), password });
        let Some(server) = self.server(conn) else { return };
        server.exchange = Exchange::Verifying(Box::new(Verifying { op, held: head.bytes().into(), user, policy }));
        // Without content the socket is still watched, so that a client that goes is noticed.
        if framing != Framing::Empty {
            server.conn.pause();
        }
    }

    /// A password was verified, or could not be.
    pub(super) fn handle_verified(&mut self, now: Now, conn: ConnId, op: OpId, result: &Result<Completion, IoError>) {
        self.verifying -= 1;
        let Self { slots, timeouts, config, .. } = self;
        let config = Arc::clone(config);
        let Some(Slot { role: Role::Server(server), grant, .. }) = slots.get_mut(conn) else { return };
        let verifying = match core::mem::replace(&mut server.exchange, Exchange::Idle) {
            Exchange::Verifying(verifying) if verifying.op == op => verifying,
            other => return server.exchange = other,
        };
        server.conn.resume(now, timeouts);
        let Verifying { held, user, policy, .. } = *verifying;
        let Some(login) = config.policies.get(policy).and_then(|policy| policy.basic_auth.as_ref()) else { return };
        match result {
            Ok(Completion::Verified(true)) => {
                if let Some(line) = &mut server.line {
                    line.user = Some(user.clone());
                }
                let vouched = grant.get_or_insert_default().vouched.get_or_insert_default();
                vouched.hides_authorization = !login.forward;
                vouched.user = Some(user);
                self.readmit(now, conn, &held, Passed::Login);
            }
            Ok(_) => self.challenge(now, conn, login),
            Err(_) => {
                let reason = "the password cannot be verified";
                self.refuse(now, conn, StatusCode::INTERNAL_SERVER_ERROR, reason);
            }
        }
        self.resume(conn);
    }

    /// A request that has waited goes on.
    pub(super) fn readmit(&mut self, now: Now, conn: ConnId, held: &[u8], passed: Passed) {
        match RequestDecoder::new(self.http).decode(held) {
            Ok((_, Some(Part::Head(head, framing)))) => self.dispatch(now, conn, &head, framing, passed),
            // It was read before, so that it is complete.
            Ok(_) => {}
            // A new configuration has narrower limits.
            Err(error) => self.refuse(now, conn, error.status(), &error.to_string()),
        }
    }

    /// RFC 9110 §15.5.2.
    fn challenge(&mut self, now: Now, conn: ConnId, login: &BasicAuth) {
        self.refuse_with(now, conn, StatusCode::UNAUTHORIZED, "a name and a password are needed", |head| {
            let _ = head.field("www-authenticate", login.challenge.as_bytes());
        });
    }

    /// Refuses a request that may be repeated after `wait` (RFC 9110 §10.2.3).
    fn refuse_until(&mut self, now: Now, conn: ConnId, status: StatusCode, reason: &str, wait: Duration) {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.refuse_with(now, conn, status, reason, |head| {
            let _ = head.field("retry-after", seconds.max(1).to_string().as_bytes());
        });
    }

    /// What the backend of the request at hand learns about where it came from.
    pub(super) fn origin<'h>(&self, conn: ConnId, head: &RequestHead<'h>) -> Option<Origin<'h>> {
        let (config, slot) = (&self.config, self.slots.get(conn)?);
        let Role::Server(server) = &slot.role else { return None };
        Some(Origin {
            client: client(config, slot, head).ok()?,
            peer: slot.peer.map(|peer| peer.ip()),
            is_tls: slot.tls().is_some(),
            is_believed: config.believes(slot.peer),
            forwarding: config.forwarding,
            id: server.id,
            vouched: slot.grant.as_ref().and_then(|grant| grant.vouched.clone()),
        })
    }
}
