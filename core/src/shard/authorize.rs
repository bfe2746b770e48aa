//! A backend is asked whether a request may pass: with its method, its target and its fields, without its content.
//!
//! | answer | what becomes of the request |
//! |---|---|
//! | 2xx | it passes, with the fields of the answer that are to be copied |
//! | 3xx, 4xx | the client gets this status, where to go, how to log in, and cookies |
//! | anything else, or none in time | 502, 503 or 504: it never passes |

use super::admit::Passed;
use super::slot::{Role, Slot};
use super::{ConnId, Shard};
use crate::config::Authorize;
use crate::conn::encode_request;
use crate::handler::forward;
use crate::http1::{Framing, Method, RequestHead, ResponseHead, StatusCode, has_dot_segment};
use crate::time::Now;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// What a client must see of a refusal to do something about it (RFC 9110 §10.2.2, §10.2.3, §11.6.1; RFC 6265 §4.1).
const TOLD: [&str; 4] = ["location", "retry-after", "www-authenticate", "set-cookie"];

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
        let out = &mut self.scratch;
        let encoded = encode_request(out, Method::Get, &authorize.path, Framing::Empty, |out| {
            forward::question(head, &origin, out)
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
            Ok(_) => self.refuse(now, conn, StatusCode::BAD_GATEWAY, "nobody can say whether the request is allowed"),
            Err(status) => self.refuse(now, conn, status, "nobody can say whether the request is allowed"),
        }
    }
}
