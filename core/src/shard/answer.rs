//! Answers: written in one place, logged in one place. Errors and redirects.

use super::slot::{Exchange, Line, Role, Server};
use super::{Access, ConnId, Effect, Shard};
use crate::conn::Content;
use crate::handler::origin::write_id;
use crate::http1::{FieldLines, HeadWriter, Method, ResponseHead, StatusCode};
use crate::text::date;
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};
use uuid::Uuid;

pub(super) const TEXT: FieldLines =
    FieldLines::new("content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n");
pub(super) const JSON: FieldLines = FieldLines::new("content-type: application/json\r\ncache-control: no-store\r\n");
const NO_STORE: FieldLines = FieldLines::new("cache-control: no-store\r\n");
/// As much of a request line that cannot be read is logged (bytes).
const UNREAD: usize = 512;

impl Shard {
    /// Answers a request that could not be read to its end. `unread` is the rest of it, as far as it has arrived.
    pub(super) fn refuse_unread(&mut self, now: Now, conn: ConnId, status: StatusCode, reason: &str, unread: &[u8]) {
        let id = self.rng.next_uuid();
        let is_logged = self.config.log_requests;
        let Some(server) = self.server(conn) else { return };
        // The head itself, or what follows a head that has its id and its line already.
        if matches!(server.exchange, Exchange::Idle) {
            server.id = id;
            server.line = is_logged.then(|| Box::new(Line::new(request_line(unread).into(), now.instant, None)));
        }
        self.refuse(now, conn, status, reason);
    }

    /// Answers with an error: the route's page for it, or a line of text.
    pub(super) fn refuse(&mut self, now: Now, conn: ConnId, status: StatusCode, reason: &str) {
        self.refuse_with(now, conn, status, reason, |_| ());
    }

    /// As [`refuse`](Self::refuse), with fields of its own.
    pub(super) fn refuse_with(
        &mut self,
        now: Now,
        conn: ConnId,
        status: StatusCode,
        reason: &str,
        fields: impl FnOnce(&mut HeadWriter<'_>),
    ) {
        let config = Arc::clone(&self.config);
        let Some(server) = self.server(conn) else { return };
        if let Some(line) = &mut server.line {
            // Whoever knows more has said it already.
            line.reason = line.reason.take().or_else(|| (status.as_u16() >= 400).then(|| reason.into()));
        }
        match server.shape.page(&config, status) {
            Some(page) => {
                let content = Content::Shared(page.render(status, &server.id.to_string()));
                self.respond(now, conn, status, content, |head| {
                    let _ = head.lines(NO_STORE).field("content-type", page.content_type.as_bytes());
                    fields(head);
                });
            }
            None => {
                let content = format!("{reason}\n");
                self.respond(now, conn, status, Content::Full(content.as_bytes()), |head| fields(head.lines(TEXT)));
            }
        }
        self.finish(now, conn);
    }

    /// Answers with our page for a backend's error, whose content is dropped. What clients act on stays: how to
    /// authenticate, when to ask again, which methods there are (RFC 9110 §11.6.1, §10.2.3, §10.2.1).
    pub(super) fn replace_error(&mut self, now: Now, conn: ConnId, backend: &ResponseHead<'_>) {
        self.refuse_with(now, conn, backend.status, "the backend's error", |head| {
            for name in ["www-authenticate", "retry-after", "allow"] {
                for value in backend.fields.all(name) {
                    let _ = head.field(name, value);
                }
            }
        });
    }

    /// Answers 405, or an `OPTIONS` with what is allowed (RFC 9110 §9.3.7, §15.5.6).
    pub(super) fn refuse_method(&mut self, now: Now, conn: ConnId, method: Method<'_>, allow: FieldLines) {
        if method == Method::Options {
            self.respond(now, conn, StatusCode::NO_CONTENT, Content::None, |head| {
                head.lines(allow);
            });
            return self.finish(now, conn);
        }
        let reason = "this method is not allowed here";
        self.refuse_with(now, conn, StatusCode::METHOD_NOT_ALLOWED, reason, |head| {
            head.lines(allow);
        });
    }

    /// Sends the client to another address, with a line for people whose program does not go there (RFC 9110 §15.4).
    pub(super) fn redirect(&mut self, now: Now, conn: ConnId, status: StatusCode, location: &str) {
        let content = format!("this is at {location}\n");
        self.respond(now, conn, status, Content::Full(content.as_bytes()), |head| {
            head.lines(FieldLines::new("content-type: text/plain; charset=utf-8\r\n"));
            let _ = head.field("location", location.as_bytes());
        });
        self.finish(now, conn);
    }

    /// Sends a response head, with `Date`, `Server`, `X-Barium` and what the route says, and the content that is given.
    pub(super) fn respond(
        &mut self,
        now: Now,
        conn: ConnId,
        status: StatusCode,
        content: Content<'_>,
        fields: impl FnOnce(&mut HeadWriter<'_>),
    ) {
        self.update_date(now);
        let Self { slots, timeouts, config, date: (date, _), .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        let (Role::Server(server), listener) = (&mut slot.role, slot.listener) else { return };
        if let Some(line) = &mut server.line {
            line.status = status.as_u16();
            line.bytes += match &content {
                _ if server.conn.is_head() => 0,
                Content::Full(data) => data.len() as u64,
                Content::Shared(data) => data.len() as u64,
                Content::None | Content::Length(_) | Content::Stream | Content::UntilClose => 0,
            };
        }
        let sent = server.conn.respond(now, timeouts, status, content, |head| {
            write_id(server.id, head.field("date", date)?)?;
            fields(head.checked(&config.server));
            server.shape.apply(config, listener, head);
            Ok(())
        });
        if sent.is_err() {
            server.conn.abort();
        }
    }

    /// Makes the cached `Date` that of `now`.
    pub(super) fn update_date(&mut self, now: Now) {
        if self.date.1 != now.unix.as_secs() {
            self.date = (date::format(now.unix.as_secs()), now.unix.as_secs());
        }
    }

    /// The request is answered: log it, and take the next one.
    pub(super) fn finish(&mut self, now: Now, conn: ConnId) {
        let Self { slots, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        let wants_more = slot.wants_more();
        if let Role::Server(server) = &mut slot.role {
            let exchange = core::mem::replace(&mut server.exchange, Exchange::Idle);
            server.shape = super::shape::Shape::default();
            if let Some(line) = server.line.take() {
                let (id, peer) = (server.id, slot.peer);
                self.effects.push_back(access(now, id, peer, *line));
            }
            match exchange {
                Exchange::Asking(asking) => self.abandon_call(now, conn, &asking.call),
                Exchange::Proxying(call) => self.abandon_call(now, conn, &call),
                Exchange::Sending(sending) => self.close_file(sending.file),
                Exchange::Poll(poll) => self.leave_poll(*poll),
                Exchange::Stream(stream) => self.leave(&stream.members),
                Exchange::Greeting(greeting) => self.abandon_greeting(now, *greeting),
                Exchange::Api(_)
                | Exchange::Idle
                | Exchange::Opening(_)
                | Exchange::Publishing(_)
                | Exchange::Published(_)
                | Exchange::Entering(_)
                | Exchange::Counting(_)
                | Exchange::Verifying(_) => {}
            }
        }
        self.end_grant(now, conn, false);
        if wants_more {
            self.resume(conn);
        }
        self.settle(now, conn);
    }

    /// Logs a request that was cut off.
    pub(super) fn log(&mut self, now: Now, peer: Option<SocketAddr>, server: &mut Server) {
        if let Some(line) = server.line.take() {
            self.effects.push_back(access(now, server.id, peer, *line));
        }
    }
}

impl Line {
    pub(super) const fn new(request: Box<str>, began: Instant, client: Option<IpAddr>) -> Self {
        Self { request, reason: None, began, status: 0, bytes: 0, client, server: None, user: None }
    }
}

fn access(now: Now, id: Uuid, peer: Option<SocketAddr>, line: Line) -> Effect {
    let Line { request, reason, began, status, bytes, client, server, user } = line;
    let took = now.instant.duration_since(began);
    Effect::Log(Box::new(Access { at: now, took, peer, client, user, id, request, reason, status, bytes, server }))
}

/// What a head that cannot be read begins with: its method and target as far as they are there; `-` if nothing is.
fn request_line(unread: &[u8]) -> String {
    let unread = unread.trim_ascii_start();
    let end = unread.iter().take(UNREAD).position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(UNREAD);
    let line = unread.get(..end).unwrap_or(unread);
    let line = match line.iter().rposition(|byte| *byte == b' ').and_then(|space| line.split_at_checked(space)) {
        Some((line, version)) if version.starts_with(b" HTTP/") => line,
        _ => line,
    };
    if line.is_empty() { "-".into() } else { line.escape_ascii().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_cannot_be_read_is_shown_as_far_as_it_is_there() {
        for (unread, expected) in [
            (&b""[..], "-"),
            (b"\r\n\r\n", "-"),
            (b"GET /a?b HTTP/1.1\r\nhost : x\r\n", "GET /a?b"),
            (b"\r\nGET /a HTTP/1.1\nhost: x", "GET /a"),
            (b"GET /a", "GET /a"),
            (b"GET / HTTP/9.9 HTTP/1.1\r\n", "GET / HTTP/9.9"),
            (b"\x16\x03\x01\"\xff", "\\x16\\x03\\x01\\\"\\xff"),
        ] {
            assert_eq!(request_line(unread), expected);
        }
        assert_eq!(request_line(&[b'a'; 1000]).len(), UNREAD);
    }
}
