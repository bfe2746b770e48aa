//! Requests to backends, and their answers.
//!
//! | file | part |
//! |---|---|
//! | `call.rs` | a request that we make, and how far it has come |
//! | `connect.rs` | a connection for it: kept, new, or the queue |
//! | `forward.rs` | the client's content to the backend |
//! | `answer.rs` | the backend's answer to the client |
//! | `retry.rs` | what has failed: another server, or an error |
//! | `ask.rs` | requests of our own, whose answer the client does not see |
//! | `errand.rs` | requests of our own that no client's request waits for |
//! | `probe.rs` | whether servers are up |

mod answer;
mod ask;
mod call;
mod connect;
mod errand;
mod forward;
mod probe;
mod retry;

pub(super) use ask::Asking;
pub(super) use call::{Call, EndpointId};
pub(super) use errand::{Answer, Errand};

use super::slot::{Exchange, Role, Slot};
use super::{Address, ConnId, Shard};
use crate::config::{HostField, Proxy, Server, Upstream};
use crate::conn::{Message, encode_request};
use crate::handler::forward as fields;
use crate::http1::{self, Framing, Method, RequestHead, StatusCode};
use crate::time::Now;
use crate::upstream::{self, Balance, Key, hash};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use call::Stage;
use core::net::SocketAddr;

/// Why a connection to a backend exists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// It waits in the pool, or is to be closed.
    Idle,
    /// It has the call of this client's connection.
    Call(ConnId),
    /// Nobody wants the rest of the answer; the connection may be of use again.
    Drain,
    /// It finds out whether the server is up.
    Probe,
}

impl Shard {
    /// A request for a backend. Its content waits until there is a connection, or is collected first.
    pub(super) fn start_proxy(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        framing: Framing,
        (proxy, prefix): (&Proxy, &str),
    ) {
        // What a backend makes of `/a/../b` or `/a/%2e%2e/b` nobody knows; browsers never send it.
        if http1::has_dot_segment(head.target.path()) {
            return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the path of the request has dot segments");
        }
        let config = Arc::clone(&self.config);
        let (Some(upstream), Some(origin)) = (config.upstreams.get(proxy.upstream), self.origin(conn, head)) else {
            return;
        };
        let websocket = match proxy.reads_websockets && head.upgrades_to("websocket") {
            true => match self.begin_relay(now, conn, (head, framing), proxy.compression) {
                Some(handshakes) => Some(handshakes),
                None => return,
            },
            false => None,
        };
        let target = fields::target(&head.target, prefix, proxy.replace_prefix.as_deref());
        let host = host(upstream, head);
        let edits = self.request_edits(conn, head);
        let out = &mut self.scratch;
        let encoded = encode_request(out, head.method, &target, framing, |out| {
            fields::request(head, &origin, host.as_deref(), out)?;
            edits.apply(out)?;
            fields::name_request(upstream.request_id.as_deref(), &origin.id.to_string(), out)?;
            websocket.as_ref().map_or(Ok(()), |websocket| websocket.edit_request(out))
        });
        if encoded.is_err() {
            // Only a field that we would not have accepted can do that.
            return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the request cannot be passed on");
        }
        let bytes = Bytes::copy_from_slice(out.tail());
        out.tail().clear();
        let message = Message { head: bytes, framing, is_head: head.method == Method::Head, content: None };
        let mut call = Call::new(proxy.upstream, message, head.method.is_idempotent(), upstream.retries);
        call.needs_host = host.is_none();
        call.upgrade = if websocket.is_some() { Some("websocket".into()) } else { fields::offer(head).map(Into::into) };
        call.websocket = websocket;
        call.until = upstream.total_timeout.map(|timeout| now.instant + timeout);
        if let Balance::Hash(key) = &upstream.rules.balance {
            let found = match key {
                Key::Client => origin.client.address.map(|address| hash(&address)),
                Key::Path => Some(hash(head.target.path())),
                Key::Cookie(name) => fields::cookie(&head.fields, name).map(hash),
                Key::Field(name) => head.fields.get(name).map(hash),
            };
            call.key = found.unwrap_or_else(|| self.rng.next_u64());
        }
        let limit = self.content_limit(conn);
        let is_buffered = proxy.buffer_requests && framing != Framing::Empty;
        if is_buffered && matches!(framing, Framing::Length(length) if length > limit) {
            return self.refuse(now, conn, StatusCode::CONTENT_TOO_LARGE, "the content is too large");
        }
        if is_buffered {
            call.stage = Stage::Buffering { content: Vec::new(), limit };
        }
        let Self { slots, timeouts, .. } = self;
        let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn) else { return };
        server.exchange = Exchange::Proxying(Box::new(call));
        if is_buffered {
            return server.conn.send_continue(now, timeouts);
        }
        self.place(now, conn);
    }
}

/// What `Host` says; `None`: that depends on the server.
fn host<'h>(upstream: &'h Upstream, head: &RequestHead<'h>) -> Option<Cow<'h, str>> {
    match &upstream.host {
        HostField::Keep => match head.host().map(|host| host.as_str()) {
            Some(host) if !host.is_empty() => Some(host.into()),
            // HTTP/1.0 does without.
            Some(_) | None => None,
        },
        HostField::Name(name) => Some((&**name).into()),
        HostField::Upstream => None,
    }
}

/// An upstream without connections.
pub(super) fn state(upstream: &Upstream) -> State {
    State::new(upstream.servers.iter().map(literal), upstream.fallbacks.iter().map(literal))
}

/// The address of a server, if it needs no look-up.
fn literal(server: &Server) -> Option<Address> {
    match server {
        Server::Tcp { host, port, .. } => Some(Address::Tcp(SocketAddr::new(host.parse().ok()?, *port))),
        Server::Unix(path) => Some(Address::Unix((&**path).into())),
    }
}

type State = upstream::Upstream<ConnId, Address>;
