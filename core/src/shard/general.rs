//! What is answered alike on all routes: expectations, and methods that are about the way and not about a resource.

use super::{ConnId, Shard, admit};
use crate::conn::Content;
use crate::http1::{FieldLines, Method, RequestHead, StatusCode};
use crate::time::Now;

/// What there are handlers for.
const ALL: FieldLines = FieldLines::new("allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n");

impl Shard {
    /// Answers a request that no handler is asked about, and says whether it was one.
    pub(super) fn answer_generally(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>) -> bool {
        // RFC 9110 §10.1.1: it MAY be ignored, but then the next hop has to decide what it means.
        if head.has_unknown_expectation() {
            self.refuse(now, conn, StatusCode::EXPECTATION_FAILED, "this expectation is not known here");
            return true;
        }
        // §7.4: "a request that has been misdirected": a target for TLS, on a connection that has none.
        if head.target.is_https() && !self.is_secure(conn, head) {
            self.refuse(now, conn, StatusCode::MISDIRECTED_REQUEST, "https is not spoken here");
            return true;
        }
        match head.method {
            // What follows is for the other end of a tunnel, and must not be taken for requests.
            Method::Connect => {
                if let Some(server) = self.server(conn) {
                    server.conn.finish();
                }
                self.refuse(now, conn, StatusCode::NOT_IMPLEMENTED, "CONNECT is not served");
            }
            // RFC 9110 §9.3.8: it would show the client fields that were added on the way, to scripts too.
            Method::Trace => self.refuse(now, conn, StatusCode::NOT_IMPLEMENTED, "TRACE is not served"),
            Method::Get
            | Method::Head
            | Method::Post
            | Method::Put
            | Method::Delete
            | Method::Options
            | Method::Patch
            | Method::Other(_) => return false,
        }
        true
    }

    /// Answers an `OPTIONS` that is not about a resource, or must not go on to one.
    pub(super) fn answer_options(&mut self, now: Now, conn: ConnId) {
        self.respond(now, conn, StatusCode::NO_CONTENT, Content::None, |head| {
            head.lines(ALL);
        });
        self.finish(now, conn);
    }

    /// Whether the client speaks TLS, with us or with a peer that is believed.
    fn is_secure(&self, conn: ConnId, head: &RequestHead<'_>) -> bool {
        let client = self.slots.get(conn).map(|slot| admit::client(&self.config, slot, head));
        client.is_some_and(|client| client.is_ok_and(|client| client.is_secure))
    }
}

/// Whether an offer to switch protocols is one of those that clients make without need, and that RFC 9110 §7.8 lets a server ignore:
/// WebSockets where there are none, HTTP/2, TLS (RFC 2817). With any other, what follows may be for somebody else.
pub(super) fn may_ignore(offered: &str) -> bool {
    offered.split(',').map(|protocol| protocol.trim().to_ascii_lowercase()).all(|protocol| {
        matches!(&*protocol, "" | "websocket" | "h2c" | "h2")
            || protocol.starts_with("tls/")
            || protocol.starts_with("http/")
    })
}
