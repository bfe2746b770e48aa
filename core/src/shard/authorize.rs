//! A backend is asked whether a request may pass: with its method, its target and its fields, without its content.
//!
//! | answer | what becomes of the request |
//! |---|---|
//! | 2xx | it passes, with the fields of the answer that are to be copied |
//! | 3xx, 4xx | the client gets this status, where to go, how to log in, and cookies |
//! | anything else, or none in time | 502, 503 or 504: it never passes |
//!
//! A 2xx may say for how long it holds: `X-Authorization-Expires-In`, in whole seconds. What goes on then is ended, and its client may
//! ask again; what has an end of its own is finished.
//!
//! | what goes on | what the client is told |
//! |---|---|
//! | an event stream | `brolly.end`, with the reason |
//! | a long-poll that waits | the answer, with what there is |
//! | a WebSocket that ends here | close code 4401 (as HTTP's 401), with the reason; the backend of a relay too |
//! | a tunnel | the end of the connection: there is no place for a word in it |

use super::admit::Passed;
use super::calls::SocketKind;
use super::slot::{Exchange, Role, Slot};
use super::{ConnId, Shard};
use crate::config::Authorize;
use crate::conn::encode_request;
use crate::handler::forward;
use crate::http1::{Fields, Framing, Method, RequestHead, ResponseHead, StatusCode, has_dot_segment};
use crate::time::{Instant, Now};
use crate::ws::CloseCode;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::str;
use core::time::Duration;

/// What a client must see of a refusal to do something about it (RFC 9110 §10.2.2, §10.2.3, §11.6.1; RFC 6265 §4.1).
const TOLD: [&str; 4] = ["location", "retry-after", "www-authenticate", "set-cookie"];

/// For how many seconds a 2xx holds; without it, for as long as the request.
const EXPIRES_IN: &str = "x-authorization-expires-in";
/// The code is one of those for applications (RFC 6455 §7.4.2).
const EXPIRED: End = End { code: CloseCode::new(4401), reason: "the authorisation has ended" };
const UNKNOWN: &str = "nobody can say whether the request is allowed";

/// Why something is ended that would go on: with which close code, if it is a WebSocket.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
}

impl Shard {
    /// Asks; the request waits.
    pub(super) fn ask_authorizer(
        &mut self,
        now: Now,
        conn: ConnId,
        (head, framing): (&RequestHead<'_>, Framing),
        authorize: &Authorize,
    ) {
        // Who is asked must not read another path than the one that is served.
        if has_dot_segment(head.target.path()) {
            return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the path of the request has dot segments");
        }
        if let Some(grant) = self.grant(conn) {
            grant.vouched.get_or_insert_default().reserved = Arc::clone(&authorize.copy);
        }
        let Some(origin) = self.origin(conn, head) else { return };
        let config = Arc::clone(&self.config);
        let name = config.upstreams.get(authorize.upstream).and_then(|upstream| upstream.request_id.as_deref());
        let out = &mut self.scratch;
        let encoded = encode_request(out, Method::Get, &authorize.path, Framing::Empty, |out| {
            forward::question(head, &origin, out)?;
            forward::name_request(name, &origin.id.to_string(), out)
        });
        if encoded.is_err() {
            // Only a field that we would not have accepted can do that.
            return self.refuse(now, conn, StatusCode::BAD_REQUEST, "the request cannot be passed on");
        }
        let question = Bytes::copy_from_slice(out.tail());
        out.tail().clear();
        let timeout = self.config.limits.authorize_timeout;
        self.ask(now, conn, authorize.upstream, (question, timeout), (head.bytes(), framing));
    }

    /// The backend has answered, or cannot. `held` is the head of the request.
    pub(super) fn handle_asked(
        &mut self,
        now: Now,
        conn: ConnId,
        held: &[u8],
        answer: Result<&ResponseHead<'_>, StatusCode>,
    ) {
        match answer {
            Ok(head) if head.status.is_success() => {
                let Some(Slot { role: Role::Server(_), grant: Some(grant), .. }) = self.slots.get_mut(conn) else {
                    return;
                };
                let Ok(until) = until(now, &head.fields) else {
                    return self.refuse(now, conn, StatusCode::BAD_GATEWAY, UNKNOWN);
                };
                grant.until = until;
                let vouched = grant.vouched.get_or_insert_default();
                let copied = vouched.reserved.iter().flat_map(|name| {
                    let values = head.fields.all(name);
                    values.map(|value| (name.clone(), value.into()))
                });
                let copied: Vec<_> = copied.collect();
                vouched.fields = copied;
                self.readmit(now, conn, held, Passed::Everything);
            }
            Ok(head) if matches!(head.status.as_u16(), 300..=303 | 305..=499) => {
                let reason = "the request is not allowed";
                self.refuse_with(now, conn, head.status, reason, |out| {
                    for name in TOLD {
                        for value in head.fields.all(name) {
                            let _ = out.field(name, value);
                        }
                    }
                });
            }
            Ok(_) => self.refuse(now, conn, StatusCode::BAD_GATEWAY, UNKNOWN),
            Err(status) => self.refuse(now, conn, status, UNKNOWN),
        }
    }

    /// What was allowed is so no longer.
    pub(super) fn end_authorization(&mut self, now: Now, conn: ConnId) {
        if let Some(grant) = self.slots.get_mut(conn).and_then(|slot| slot.grant.as_mut()) {
            grant.until = None;
        }
        self.end_ongoing(now, conn, &EXPIRED);
    }

    /// Ends what would go on, and says why where there is a place for it.
    pub(super) fn end_ongoing(&mut self, now: Now, conn: ConnId, end: &End) {
        let Self { slots, timeouts, rng, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        match &mut slot.role {
            Role::Server(server) => match server.exchange {
                Exchange::Poll(_) => self.answer_poll(now, conn),
                _ => self.end_stream(now, conn, end.reason),
            },
            Role::WebSocket(socket) => {
                socket.conn.close(now, timeouts, end.code, end.reason, || rng.next_key());
                // What comes before the peer has read that counts no longer.
                let kind = core::mem::replace(&mut socket.kind, SocketKind::Refused);
                let members = core::mem::take(&mut socket.members);
                socket.joins = Vec::new();
                self.leave(&members);
                match kind {
                    SocketKind::Relay(relay) => self.close_relay(now, relay.other, end.code, end.reason),
                    SocketKind::Session(talk) => self.end_talk(now, conn, *talk),
                    SocketKind::Calls | SocketKind::Echo | SocketKind::Refused => {}
                }
            }
            Role::Tunnel(tunnel) => tunnel.conn.abort(),
            Role::Client(_) | Role::Errand(_) => {}
        }
    }
}

/// Until when a 2xx with these fields holds, if not for as long as the request. One that cannot be read is no permission.
fn until(now: Now, fields: &Fields<'_>) -> Result<Option<Instant>, ()> {
    let mut values = fields.all(EXPIRES_IN);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(digits), None) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            // Only too large a number does not parse.
            let seconds = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            Ok(seconds.map(|seconds| now.instant + Duration::from_secs(seconds)))
        }
        _ => Err(()),
    }
}
