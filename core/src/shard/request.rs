//! A request head to its handler, and the answers that need nothing else.

use super::slot::{Exchange, Line, Role, Server};
use super::{Access, ConnId, Effect, Shard, admit};
use crate::config::Handler;
use crate::conn::{Content, ServerConn, ServerEvent};
use crate::http1::{self, FieldLines, Framing, HeadWriter, Method, PathError, RequestHead, StatusCode};
use crate::route::{Malformed, below};
use crate::text::date;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::net::SocketAddr;
use uuid::Uuid;

pub(super) const TEXT: FieldLines =
    FieldLines::new("content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n");
pub(super) const JSON: FieldLines = FieldLines::new("content-type: application/json\r\ncache-control: no-store\r\n");

impl Server {
    pub(super) fn new(conn: ServerConn) -> Self {
        Self { conn, exchange: Exchange::Idle, id: Uuid::nil(), line: None }
    }
}

impl Shard {
    pub(super) fn handle_server_event(&mut self, now: Now, conn: ConnId, event: ServerEvent<'_>) {
        match event {
            ServerEvent::Request(head, framing) => self.handle_request(now, conn, &head, framing),
            ServerEvent::Content(data) => self.handle_content(now, conn, data),
            ServerEvent::End(trailers) => self.handle_request_end(now, conn, trailers.as_ref()),
            ServerEvent::Refused(error) => self.refuse_unread(now, conn, error.status(), &error.to_string()),
        }
    }

    fn handle_request(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>, framing: Framing) {
        let config = Arc::clone(&self.config);
        let Self { slots, rng, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        let said = config.believes(slot.peer).then(|| admit::client(&config, slot, head));
        let (peer, Role::Server(server)) = (slot.peer, &mut slot.role) else { return };
        // The id of a believed peer is kept: the request can be followed through it too.
        server.id = said.as_ref().and_then(|_| admit::given_id(head)).unwrap_or_else(|| rng.next_uuid());
        if config.log_requests {
            let request = format!("{} {}", head.method.as_str(), Shown(head)).into();
            let client = match &said {
                Some(said) => said.as_ref().ok().and_then(|client| client.address),
                None => peer.map(|peer| peer.ip().to_canonical()),
            };
            server.line = Some(Box::new(Line { request, began: now.instant, status: 0, bytes: 0, client }));
        }
        if let Some(Err(Malformed)) = said {
            return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the Forwarded field cannot be read");
        }
        if self.answer_generally(now, conn, head) {
            return;
        }
        let mut path = core::mem::take(&mut self.path);
        self.dispatch(now, conn, head, framing, &mut path);
        self.path = path;
    }

    /// Finds the handler. `path` is for the decoded path.
    fn dispatch(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>, framing: Framing, path: &mut String) {
        let config = Arc::clone(&self.config);
        let raw = head.target.path();
        path.clear();
        let unusable = http1::normalise(raw, path).err();
        // What a backend makes of an encoded slash is its own affair; here it only must not pass for a separator.
        let path = if unusable == Some(PathError::Separator) { raw } else { path };
        let host = head.host().map_or("", |authority| authority.host());
        let Some(route) = config.routes.find(host, path) else {
            return self.refuse(now, conn, StatusCode::NOT_FOUND, "nothing is here");
        };
        let rest = below(path, &route.prefix).unwrap_or_default();
        let Some(handler) = config.handlers.get(route.to.handler) else {
            return self.refuse(now, conn, StatusCode::NOT_FOUND, "nothing is here");
        };
        if let Some(policy) = route.to.policy.and_then(|policy| config.policies.get(policy))
            && !self.admit(now, conn, head, policy)
        {
            return;
        }
        match handler {
            Handler::Proxy(proxy) if unusable.is_none_or(|error| error == PathError::Separator) => {
                return self.start_proxy(now, conn, head, framing, (proxy, &route.prefix));
            }
            _ if unusable.is_some() => {
                return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the path of the request cannot be used");
            }
            Handler::Redirect(status, location) => {
                return self.redirect(now, conn, *status, location);
            }
            // RFC 9110 §9.1: a method that nobody here knows.
            _ if matches!(head.method, Method::Other(_)) => {
                return self.refuse(now, conn, StatusCode::NOT_IMPLEMENTED, "this method is not known here");
            }
            Handler::Publish => return self.start_publish(now, conn, head, framing, rest),
            Handler::Echo | Handler::WebSocket => {
                return self.start_websocket(now, conn, head, framing, handler);
            }
            Handler::Status(status) => return self.refuse(now, conn, *status, status.reason()),
            Handler::EventStream | Handler::Files(_) | Handler::LongPoll | Handler::Memory(_) | Handler::Proxy(_) => {}
        }
        if !matches!(head.method, Method::Get | Method::Head) {
            return self.refuse_method(now, conn, head.method, FieldLines::new("allow: GET, HEAD, OPTIONS\r\n"));
        }
        match handler {
            Handler::EventStream => self.start_stream(now, conn, head),
            Handler::LongPoll => self.start_poll(now, conn, head),
            Handler::Files(_) => self.start_file(now, conn, head, route.to.handler, rest),
            Handler::Memory(assets) => self.send_asset(now, conn, head, assets, rest),
            Handler::Echo
            | Handler::Proxy(_)
            | Handler::Publish
            | Handler::Redirect(..)
            | Handler::Status(_)
            | Handler::WebSocket => {}
        }
    }

    fn handle_content(&mut self, now: Now, conn: ConnId, data: &[u8]) {
        let limit = self.config.limits.content_bytes;
        let Some(server) = self.server(conn) else { return };
        match &mut server.exchange {
            Exchange::Proxying(upstream) => {
                let upstream = *upstream;
                self.forward_content(now, conn, upstream, data);
            }
            Exchange::Publishing(publishing) => {
                if (publishing.content.len() + data.len()) as u64 > limit {
                    self.refuse(now, conn, StatusCode::CONTENT_TOO_LARGE, "the content is too large");
                } else {
                    publishing.content.extend_from_slice(data);
                }
            }
            Exchange::Idle
            | Exchange::Opening(_)
            | Exchange::Sending(_)
            | Exchange::Poll(_)
            | Exchange::Published(_)
            | Exchange::Stream(_) => {}
        }
    }

    fn handle_request_end(&mut self, now: Now, conn: ConnId, trailers: Option<&http1::Fields<'_>>) {
        let Some(server) = self.server(conn) else { return };
        match &server.exchange {
            Exchange::Proxying(upstream) => {
                let upstream = *upstream;
                self.forward_end(now, upstream, trailers);
            }
            Exchange::Publishing(_) => self.publish_content(now, conn),
            Exchange::Idle
            | Exchange::Opening(_)
            | Exchange::Sending(_)
            | Exchange::Poll(_)
            | Exchange::Published(_)
            | Exchange::Stream(_) => {}
        }
    }

    /// Answers a request that could not be read to its end.
    pub(super) fn refuse_unread(&mut self, now: Now, conn: ConnId, status: StatusCode, reason: &str) {
        let id = self.rng.next_uuid();
        let is_logged = self.config.log_requests;
        let Some(server) = self.server(conn) else { return };
        // The head itself, or what follows a head that has its id and its line already.
        if matches!(server.exchange, Exchange::Idle) {
            server.id = id;
            let (request, began) = ("-".into(), now.instant);
            let line = || Box::new(Line { request, began, status: 0, bytes: 0, client: None });
            server.line = is_logged.then(line);
        }
        self.refuse(now, conn, status, reason);
    }

    /// Answers with a status and a line of text.
    pub(super) fn refuse(&mut self, now: Now, conn: ConnId, status: StatusCode, reason: &str) {
        self.respond(now, conn, status, Content::Full(format!("{reason}\n").as_bytes()), |head| {
            head.lines(TEXT);
        });
        self.finish(now, conn);
    }

    /// Answers 405, or an `OPTIONS` with what is allowed (RFC 9110 §9.3.7, §15.5.6).
    pub(super) fn refuse_method(&mut self, now: Now, conn: ConnId, method: Method<'_>, allow: FieldLines) {
        if method == Method::Options {
            self.respond(now, conn, StatusCode::NO_CONTENT, Content::None, |head| {
                head.lines(allow);
            });
        } else {
            let content = Content::Full(b"this method is not allowed here\n");
            self.respond(now, conn, StatusCode::METHOD_NOT_ALLOWED, content, |head| {
                head.lines(allow).lines(TEXT);
            });
        }
        self.finish(now, conn);
    }

    fn redirect(&mut self, now: Now, conn: ConnId, status: StatusCode, location: &str) {
        self.respond(now, conn, status, Content::Full(b""), |head| {
            let _ = head.field("location", location.as_bytes());
        });
        self.finish(now, conn);
    }

    /// Sends a response head, with `Date` and `X-Barium`, and the content that is given.
    pub(super) fn respond(
        &mut self,
        now: Now,
        conn: ConnId,
        status: StatusCode,
        content: Content<'_>,
        fields: impl FnOnce(&mut HeadWriter<'_>),
    ) {
        self.update_date(now);
        let Self { slots, timeouts, date: (date, _), .. } = self;
        let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        if let Some(line) = &mut server.line {
            line.status = status.as_u16();
            line.bytes += match &content {
                _ if server.conn.is_head() => 0,
                Content::Full(data) => data.len() as u64,
                Content::Shared(data) => data.len() as u64,
                Content::None | Content::Length(_) | Content::Stream | Content::UntilClose => 0,
            };
        }
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        let id = server.id.hyphenated().encode_lower(&mut id).as_bytes();
        let sent = server.conn.respond(now, timeouts, status, content, |head| {
            head.field("date", date)?.field("x-barium", id)?;
            fields(head);
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
            if let Some(line) = server.line.take() {
                let (id, peer) = (server.id, slot.peer);
                self.effects.push_back(access(now, id, peer, *line));
            }
            if let Exchange::Proxying(upstream) = exchange {
                self.abandon_upstream(now, upstream);
            }
        }
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

    pub(super) fn server(&mut self, conn: ConnId) -> Option<&mut Server> {
        match &mut self.slots.get_mut(conn)?.role {
            Role::Server(server) => Some(server),
            Role::Client(_) | Role::Tunnel(_) | Role::WebSocket(_) => None,
        }
    }
}

fn access(now: Now, id: Uuid, peer: Option<SocketAddr>, line: Line) -> Effect {
    let Line { request, began, status, bytes, client } = line;
    let took = now.instant.duration_since(began);
    Effect::Log(Box::new(Access { at: now, took, peer, client, id, request, status, bytes }))
}

/// A request-target as it stood in the request.
struct Shown<'a>(&'a RequestHead<'a>);

impl core::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let target = &self.0.target;
        if let Some(authority) = target.authority() {
            f.write_str(authority.as_str())?;
        }
        f.write_str(target.path())?;
        match target.query() {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}
