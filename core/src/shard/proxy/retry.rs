//! What has failed: whether another server may be asked, and what the client hears otherwise.
//!
//! | what happened | another attempt |
//! |---|---|
//! | a kept connection was closed before a byte of the answer | over a new one, for free: if nothing of the request was written, or it is idempotent (RFC 9110 §9.2.2, RFC 9112 §9.3.1) |
//! | no connection, or closed before a byte of the request was written | another server, `retries` times |
//! | a new connection was closed before a byte of the answer | another server, `retries` times, if the request is idempotent |
//! | silence, or an answer that cannot be read | none |
//!
//! And none if a part of the content is on its way already. Requests that cannot be repeated are not sent over a
//! connection that may be stale ([`Limits::upstream_fresh`](crate::config::Limits::upstream_fresh)).

use super::super::slot::{Exchange, Role, Slot};
use super::super::{ConnId, IoError, Shard};
use super::Purpose;
use super::call::{EndpointId, Stage};
use crate::http1::{FieldLines, ParseError, StatusCode};
use crate::time::Now;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

/// Why a call has failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// As many wait as may.
    QueueFull,
    /// It has waited too long for a connection.
    QueueTimeout,
    /// There is no room for another connection.
    NoRoom,
    /// No name has an address.
    NoAddress,
    /// No connection came about.
    Unreachable(IoError),
    /// The connection ended before the answer began.
    Lost,
    /// The answer did not come in time, or did not go on.
    Late,
    /// The answer cannot be read, or ended in the middle.
    Unreadable(ParseError),
    /// A switch of protocols that nobody asked for, or a field that cannot be passed on.
    Unusable,
}

const RETRY_SOON: FieldLines = FieldLines::new("retry-after: 1\r\n");

impl Failure {
    fn status(self) -> StatusCode {
        match self {
            Self::QueueFull | Self::QueueTimeout | Self::NoRoom | Self::Unreachable(IoError::TooManyFiles) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Late | Self::Unreachable(IoError::TimedOut) => StatusCode::GATEWAY_TIMEOUT,
            Self::NoAddress | Self::Unreachable(_) | Self::Lost | Self::Unreadable(_) | Self::Unusable => {
                StatusCode::BAD_GATEWAY
            }
        }
    }

    /// What the log says.
    fn detail(self) -> String {
        match self {
            Self::QueueFull => "too many requests wait for the backend".into(),
            Self::QueueTimeout => "no connection to the backend became free in time".into(),
            Self::NoRoom => "there is no room for another connection".into(),
            Self::NoAddress => "the name of the backend has no address".into(),
            Self::Unreachable(IoError::Certificate) => "the certificate of the backend cannot be trusted".into(),
            Self::Unreachable(IoError::ConnectionRefused) => "the backend refused the connection".into(),
            Self::Unreachable(IoError::ConnectionReset) => "the backend cut the connection before it stood".into(),
            Self::Unreachable(IoError::NotFound) => "the socket of the backend is not there".into(),
            Self::Unreachable(IoError::PermissionDenied) => "the backend's address may not be used".into(),
            Self::Unreachable(IoError::TimedOut) => "the backend could not be reached in time".into(),
            Self::Unreachable(IoError::Tls) => "no TLS with the backend could be agreed on".into(),
            Self::Unreachable(IoError::TooManyFiles) => "there are no file descriptors for another connection".into(),
            Self::Lost => "the backend closed the connection without an answer".into(),
            Self::Unreadable(error) => format!("the backend's answer cannot be read: {error}"),
            Self::Unusable => "the backend's answer cannot be passed on".into(),
            Self::Late | Self::Unreachable(IoError::Other) => self.reason().into(),
        }
    }

    /// What the client hears: nothing of the inside.
    fn reason(self) -> &'static str {
        match self {
            Self::QueueFull | Self::QueueTimeout | Self::NoRoom => "the backend has no free connection",
            Self::Late | Self::Unreachable(IoError::TimedOut) => "the backend did not answer in time",
            Self::NoAddress | Self::Unreachable(_) => "the backend cannot be reached",
            Self::Lost | Self::Unreadable(_) | Self::Unusable => "the backend's answer cannot be read",
        }
    }
}

impl Shard {
    /// The connection is of no use any more: what it was there for has failed. It is closed.
    pub(super) fn fail_client(&mut self, now: Now, client_id: ConnId, failure: Failure) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(client_id) else { return };
        let attempt = Attempt {
            endpoint: client.endpoint,
            is_reused: client.is_reused,
            is_untouched: client.conn.is_untouched(),
            is_answering: client.conn.is_answering(),
        };
        let index = client.upstream;
        let is_stale = attempt.is_reused && failure == Failure::Lost;
        if let Purpose::Call(conn) = client.purpose {
            self.note_server(now, conn, client_id);
        }
        match self.drop_client(now, client_id) {
            Purpose::Idle | Purpose::Drain => {}
            Purpose::Probe => self.end_probe(now, client_id, false),
            Purpose::Call(conn) if is_stale => {
                self.drop_idle(now, index, attempt.endpoint);
                self.retry_call(now, conn, failure, &attempt);
            }
            Purpose::Call(conn) => {
                // That we have no room is not the server's failure.
                if failure != Failure::Unreachable(IoError::TooManyFiles) {
                    self.note_failure(now, index, attempt.endpoint);
                }
                self.retry_call(now, conn, failure, &attempt);
            }
        }
    }

    fn retry_call(&mut self, now: Now, conn: ConnId, failure: Failure, attempt: &Attempt) {
        let Some(call) = self.call(conn) else { return };
        let has_no_effect = match failure {
            Failure::Unreachable(_) => true,
            Failure::Lost => !attempt.is_answering && (attempt.is_untouched || call.is_idempotent),
            Failure::QueueFull
            | Failure::QueueTimeout
            | Failure::NoRoom
            | Failure::NoAddress
            | Failure::Late
            | Failure::Unreadable(_)
            | Failure::Unusable => false,
        };
        if !has_no_effect || !call.is_complete() {
            return self.fail_call(now, conn, failure);
        }
        if attempt.is_reused && !call.needs_new {
            call.needs_new = true;
        } else if call.retries > 0 {
            call.retries -= 1;
            call.tried.push(attempt.endpoint);
        } else {
            return self.fail_call(now, conn, failure);
        }
        self.place(now, conn);
    }

    /// The call cannot be completed: an error if nothing was said yet, a cut connection otherwise.
    pub(super) fn fail_call(&mut self, now: Now, conn: ConnId, failure: Failure) {
        let Some(call) = self.call(conn) else { return };
        let is_answered = call.is_answered;
        if self.is_errand(conn) {
            return self.end_errand(now, conn, Err(failure.status()));
        }
        let Some(server) = self.server(conn) else { return };
        if let Exchange::Asking(_) = server.exchange {
            return self.answer_asking(now, conn, Err(failure.status()));
        }
        server.exchange = Exchange::Idle;
        if let Some(line) = &mut server.line {
            line.reason = Some(failure.detail().into());
        }
        self.lend(conn);
        if is_answered {
            self.finish(now, conn);
            return self.abort(now, conn);
        }
        let status = failure.status();
        self.refuse_with(now, conn, status, failure.reason(), |head| {
            if status == StatusCode::SERVICE_UNAVAILABLE {
                head.lines(RETRY_SOON);
            }
        });
    }

    /// A deadline of the call itself has passed.
    pub(in crate::shard) fn handle_call_deadline(&mut self, now: Now, conn: ConnId) {
        let Some(call) = self.call(conn).filter(|call| call.deadline().is_some_and(|at| at <= now.instant)) else {
            return;
        };
        let is_over = call.until.is_some_and(|at| at <= now.instant);
        let (client, is_waiting, index) = (call.client(), call.is_waiting(), call.upstream);
        let mut failure = Failure::Late;
        if let Some(upstream) = self.upstreams.get_mut(index).filter(|_| is_waiting) {
            upstream.queue.remove(conn);
            if !is_over && upstream.endpoints().next().is_some() {
                failure = Failure::QueueTimeout;
            }
        }
        if let Some(client) = client {
            self.drop_client(now, client);
        }
        self.fail_call(now, conn, failure);
    }

    /// The client has gone, or was answered otherwise: the backend's answer is of no use.
    pub(in crate::shard) fn abandon_call(&mut self, now: Now, conn: ConnId, call: &super::Call) {
        match call.stage {
            Stage::Buffering { .. } => {}
            Stage::Waiting => {
                if let Some(upstream) = self.upstreams.get_mut(call.upstream) {
                    upstream.queue.remove(conn);
                }
            }
            Stage::Sent(client_id) => {
                if let Some(Slot { role: Role::Client(client), .. }) = self.slots.get(client_id)
                    && client.purpose == Purpose::Call(conn)
                {
                    self.drop_client(now, client_id);
                }
            }
        }
    }

    /// The server ended its direction.
    pub(in crate::shard) fn handle_upstream_eof(&mut self, now: Now, client_id: ConnId) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(client_id) else { return };
        if !client.conn.is_answering() {
            return self.fail_client(now, client_id, Failure::Lost);
        }
        if let Some(event) = client.conn.handle_eof() {
            self.handle_client_event(now, client_id, event);
        }
    }

    pub(in crate::shard) fn handle_upstream_deadline(&mut self, now: Now, client_id: ConnId) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get_mut(client_id) else { return };
        if client.conn.handle_timeout(now) {
            let failure =
                if client.conn.is_connected() { Failure::Late } else { Failure::Unreachable(IoError::TimedOut) };
            self.fail_client(now, client_id, failure);
        }
    }

    /// The connection is about to be gone.
    pub(in crate::shard) fn handle_upstream_closed(&mut self, now: Now, client_id: ConnId, error: Option<IoError>) {
        let Some(Slot { role: Role::Client(client), .. }) = self.slots.get(client_id) else { return };
        let failure = match error {
            error if !client.conn.is_connected() => Failure::Unreachable(error.unwrap_or(IoError::Other)),
            _ if client.conn.is_answering() => Failure::Unreadable(ParseError::Truncated),
            Some(_) | None => Failure::Lost,
        };
        self.fail_client(now, client_id, failure);
    }

    /// Other connections to an endpoint are as old as the one that has turned out to be dead.
    fn drop_idle(&mut self, now: Now, index: usize, endpoint: EndpointId) {
        let idle = self.upstreams.get_mut(index).and_then(|of| of.endpoint_mut(endpoint)).map(|of| of.drain_idle());
        for client in idle.into_iter().flatten() {
            self.drop_client(now, client);
        }
    }

    /// A server has failed; after some failures it rests.
    pub(super) fn note_failure(&mut self, now: Now, index: usize, endpoint: EndpointId) {
        let config = Arc::clone(&self.config);
        let Some(configured) = config.upstreams.get(index) else { return };
        let failed = self.upstreams.get_mut(index).and_then(|of| of.endpoint_mut(endpoint));
        if failed.is_some_and(|of| of.health.failed(now.instant, configured.rules.eject)) {
            self.note_state(now, index, endpoint);
        }
    }
}

/// What is known about a request over a connection that has failed.
#[derive(Debug)]
struct Attempt {
    endpoint: EndpointId,
    /// The connection had been kept.
    is_reused: bool,
    /// Not a byte of the request was written.
    is_untouched: bool,
    /// A byte of the answer has arrived.
    is_answering: bool,
}
