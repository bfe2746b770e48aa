//! A request head to its handler, and the answers that need nothing else.

use super::admit::{self, Passed};
use super::general::may_ignore;
use super::shape::Shape;
use super::slot::{Exchange, Line, Role, Server};
use super::{ConnId, Shard};
use crate::config::Handler;
use crate::conn::{Content, ServerConn, ServerEvent};
use crate::handler::httpbin::{self, Page};
use crate::http1::{self, FieldLines, Framing, Method, PathError, RequestHead, StatusCode};
use crate::route::{Malformed, below};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use uuid::Uuid;

impl Server {
    pub(super) fn new(conn: ServerConn) -> Self {
        Self { conn, exchange: Exchange::Idle, id: Uuid::nil(), shape: Shape::default(), line: None }
    }
}

impl Shard {
    pub(super) fn handle_server_event(&mut self, now: Now, conn: ConnId, event: ServerEvent<'_>) {
        match event {
            ServerEvent::Request(head, framing) => self.handle_request(now, conn, &head, framing),
            ServerEvent::Content(data) => self.handle_content(now, conn, data),
            ServerEvent::End(trailers) => self.handle_request_end(now, conn, trailers.as_ref()),
            ServerEvent::Refused(error, unread) => {
                self.refuse_unread(now, conn, error.status(), &error.to_string(), unread);
            }
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
            server.line = Some(Box::new(Line::new(request, now.instant, client)));
        }
        if let Some(Err(Malformed)) = said {
            return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the Forwarded field cannot be read");
        }
        if self.answer_generally(now, conn, head) {
            return;
        }
        let listener = self.slots.get(conn).map_or(0, |slot| slot.listener);
        if let Some(pool) = config.listeners.get(usize::from(listener)).and_then(|listener| listener.pool) {
            return self.start_api(now, conn, (head, framing), pool);
        }
        self.dispatch(now, conn, head, framing, Passed::Nothing);
    }

    /// Finds the handler, and whether it gets the request: so many of its route's checks are behind it.
    pub(super) fn dispatch(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        framing: Framing,
        passed: Passed,
    ) {
        let mut path = core::mem::take(&mut self.path);
        self.route(now, conn, (head, framing), passed, &mut path);
        self.path = path;
    }

    /// `path` is for the decoded path.
    fn route(
        &mut self,
        now: Now,
        conn: ConnId,
        (head, framing): (&RequestHead<'_>, Framing),
        passed: Passed,
        path: &mut String,
    ) {
        let config = Arc::clone(&self.config);
        // RFC 9110 §9.3.7: the server as a whole. Who may ask is up to the route of its root.
        let is_general = head.target.path() == "*";
        let raw = if is_general { "/" } else { head.target.path() };
        path.clear();
        let unusable = http1::normalise(raw, path).err();
        let host = head.host().map_or("", |authority| authority.host());
        // Whether an encoded slash separates is the backend's affair: which checks a request passes must not depend on it.
        if unusable == Some(PathError::Separator) {
            let readings = if http1::has_dot_segment(raw) { None } else { http1::readings(raw).ok() };
            let route = |path: &str| config.routes.find(host, path).map(core::ptr::from_ref);
            let Some([data, _]) = readings.filter(|[data, split]| route(data) == route(split)) else {
                return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the path of the request cannot be used");
            };
            *path = data;
        }
        let Some(route) = config.routes.find(host, path) else {
            if is_general {
                return self.answer_options(now, conn);
            }
            return self.refuse(now, conn, StatusCode::NOT_FOUND, "nothing is here");
        };
        let rest = below(path, &route.prefix).unwrap_or_default();
        let number = route.to.otherwise.filter(|_| !head.upgrades_to("websocket")).unwrap_or(route.to.handler);
        let Some(handler) = config.handlers.get(number) else {
            return self.refuse(now, conn, StatusCode::NOT_FOUND, "nothing is here");
        };
        let passed = self.note_handler(now, conn, number, passed);
        if route.to.policy.is_none() {
            self.set_pace(now, conn, None);
        }
        if let Some((number, policy)) = route.to.policy.and_then(|number| Some((number, config.policies.get(number)?)))
            && !(self.shape(now, conn, head, number, policy)
                && self.admit(now, conn, (head, framing), (number, policy), passed))
        {
            return;
        }
        match handler {
            _ if is_general => return self.answer_options(now, conn),
            // §7.6.2: "If the received value is 0 (zero), the recipient MUST NOT forward the request; instead, the
            // recipient MUST respond as the final recipient."
            Handler::Proxy(_) if head.method == Method::Options && head.max_forwards() == Some(0) => {
                return self.answer_options(now, conn);
            }
            Handler::Proxy(proxy) if unusable.is_none_or(|error| error == PathError::Separator) => {
                return self.start_proxy(now, conn, head, framing, (proxy, &route.prefix));
            }
            _ if unusable.is_some() => {
                return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the path of the request cannot be used");
            }
            Handler::Redirect(redirect) => {
                return self.redirect(now, conn, redirect.status, &redirect.location(&head.target));
            }
            _ if head.upgrade().is_some_and(|offered| !may_ignore(offered)) => {
                if let Some(server) = self.server(conn) {
                    server.conn.finish();
                }
                return self.refuse(now, conn, StatusCode::NOT_IMPLEMENTED, "this protocol is not spoken here");
            }
            // RFC 9110 §9.1: a method that nobody here knows.
            _ if matches!(head.method, Method::Other(_)) => {
                return self.refuse(now, conn, StatusCode::NOT_IMPLEMENTED, "this method is not known here");
            }
            Handler::EventStream { .. } if head.method == Method::Post => {
                return self.start_change(now, conn, head, framing);
            }
            Handler::Publish => return self.start_publish(now, conn, head, framing, rest),
            Handler::Echo(_) | Handler::WebSocket(_) => {
                return self.start_websocket(now, conn, head, framing, handler);
            }
            Handler::Sessions(sessions) => {
                return self.start_session(now, conn, (head, framing), (number, sessions));
            }
            Handler::Status(status) => return self.refuse(now, conn, *status, status.reason()),
            Handler::HttpBin => return self.show_request(now, conn, head, rest),
            Handler::EventStream { .. }
            | Handler::Files(_)
            | Handler::LongPoll
            | Handler::Memory(_)
            | Handler::Proxy(_)
            | Handler::SelfStatus => {}
        }
        if !matches!(head.method, Method::Get | Method::Head) {
            return self.refuse_method(now, conn, head.method, FieldLines::new("allow: GET, HEAD, OPTIONS\r\n"));
        }
        match handler {
            Handler::EventStream { compress } => self.start_stream(now, conn, head, *compress),
            Handler::LongPoll => self.start_poll(now, conn, head),
            Handler::Files(_) => self.start_file(now, conn, head, number, rest),
            Handler::Memory(assets) => self.send_asset(now, conn, head, assets, rest),
            Handler::SelfStatus => self.start_count(conn),
            Handler::Echo(_)
            | Handler::HttpBin
            | Handler::Proxy(_)
            | Handler::Publish
            | Handler::Redirect(..)
            | Handler::Sessions(_)
            | Handler::Status(_)
            | Handler::WebSocket(_) => {}
        }
    }

    /// Writes down which handler the request at hand has. If a new configuration has given it another while it waited, none of what it has
    /// passed counts.
    fn note_handler(&mut self, now: Now, conn: ConnId, number: usize, passed: Passed) -> Passed {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let before = self.slots.get_mut(conn).map(|slot| core::mem::replace(&mut slot.handler, number));
        if passed == Passed::Nothing || before == Some(number) {
            return passed;
        }
        self.end_grant(now, conn, false);
        Passed::Nothing
    }

    /// What has arrived, for people who try something out.
    fn show_request(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>, rest: &str) {
        let mut page = Page::Missing;
        self.with_facts(conn, head, |facts| page = httpbin::answer(head, rest, facts));
        match page {
            Page::Content(content_type, content) => {
                self.respond(now, conn, StatusCode::OK, Content::Full(&content), |head| {
                    let lines = "cache-control: no-store\r\nx-content-type-options: nosniff\r\n";
                    let _ = head.lines(FieldLines::new(lines)).field("content-type", content_type.as_bytes());
                });
                self.finish(now, conn);
            }
            Page::Status(status) => self.refuse(now, conn, status, status.reason()),
            Page::Missing => self.refuse(now, conn, StatusCode::NOT_FOUND, "nothing is here"),
            Page::OtherMethod => {
                self.refuse_method(now, conn, head.method, FieldLines::new("allow: GET, HEAD, OPTIONS\r\n"));
            }
        }
    }

    fn handle_content(&mut self, now: Now, conn: ConnId, data: &[u8]) {
        if !self.may_receive(now, conn, data.len()) {
            return;
        }
        let limit = self.content_limit(conn);
        let Some(server) = self.server(conn) else { return };
        match &mut server.exchange {
            Exchange::Proxying(_) => self.forward_content(now, conn, data),
            Exchange::Api(call) => {
                if (call.content.len() + data.len()) as u64 > limit {
                    self.refuse_api(now, conn, StatusCode::CONTENT_TOO_LARGE, "the content is too large", None);
                } else {
                    call.content.extend_from_slice(data);
                }
            }
            Exchange::Publishing(publishing) => {
                if (publishing.content.len() + data.len()) as u64 > limit {
                    self.refuse(now, conn, StatusCode::CONTENT_TOO_LARGE, "the content is too large");
                } else {
                    publishing.content.extend_from_slice(data);
                }
            }
            Exchange::Greeting(_)
            | Exchange::Idle
            | Exchange::Asking(_)
            | Exchange::Opening(_)
            | Exchange::Sending(_)
            | Exchange::Poll(_)
            | Exchange::Published(_)
            | Exchange::Stream(_)
            | Exchange::Entering(_)
            | Exchange::Counting(_)
            | Exchange::Verifying(_) => {}
        }
    }

    fn handle_request_end(&mut self, now: Now, conn: ConnId, trailers: Option<&http1::Fields<'_>>) {
        let Some(server) = self.server(conn) else { return };
        match &server.exchange {
            Exchange::Proxying(_) => self.forward_end(now, conn, trailers),
            Exchange::Api(_) => self.perform_api(now, conn),
            Exchange::Publishing(_) => self.publish_content(now, conn),
            Exchange::Greeting(_)
            | Exchange::Idle
            | Exchange::Asking(_)
            | Exchange::Opening(_)
            | Exchange::Sending(_)
            | Exchange::Poll(_)
            | Exchange::Published(_)
            | Exchange::Stream(_)
            | Exchange::Entering(_)
            | Exchange::Counting(_)
            | Exchange::Verifying(_) => {}
        }
    }

    pub(super) fn server(&mut self, conn: ConnId) -> Option<&mut Server> {
        match &mut self.slots.get_mut(conn)?.role {
            Role::Server(server) => Some(server),
            Role::Client(_) | Role::Errand(_) | Role::Tunnel(_) | Role::WebSocket(_) => None,
        }
    }
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
