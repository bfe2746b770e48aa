//! Calls of clients to backends, and our own: one answer each, whatever happens.

use super::super::proxy::Answer;
use super::super::{ConnId, Shard};
use super::Order;
use super::connection::text_frame;
use crate::config::{Backend, Handler};
use crate::handler::call::Refused;
use crate::handler::forward;
use crate::handler::origin::write_id;
use crate::handler::remote::{self, Remote};
use crate::http1::{FieldLines, StatusCode};
use crate::session::Telling;
use crate::time::Now;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::time::Duration;
use serde_json::{Map, Value};
use uuid::Uuid;

/// For what an upstream without `total_timeout` is asked.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(30);

const FIELDS: FieldLines = FieldLines::new(concat!(
    "user-agent: swindon/0.7.8 brolly/",
    env!("CARGO_PKG_VERSION"),
    "\r\ncontent-type: application/json\r\n"
));

/// What a request of ours is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::shard) enum Matter {
    /// Whether this connection is let in.
    Authorize(ConnId),
    /// A call of this connection, with its meta object.
    Call(ConnId, Map<String, Value>),
    /// A user of this pool has become inactive.
    Inactive(usize, Telling),
}

impl Shard {
    /// A text message of a client.
    pub(in crate::shard) fn handle_remote_call(&mut self, now: Now, conn: ConnId, text: &str) {
        let call = match Remote::parse(text) {
            Ok(call) => call,
            Err(Refused(error)) => return self.send_text(now, conn, &error),
        };
        let limit = self.config.limits.calls;
        let id = self.public_id(conn).to_string();
        let Some(talk) = self.talk(conn) else { return };
        let (pool, handler, user) = (talk.pool, talk.handler, Arc::clone(&talk.user));
        let (is_full, authorization) = (talk.errands.len() >= limit, talk.authorization.clone());
        if let Some(active) = call.active {
            self.order(self.home_of(&user), pool, None, Order::Active(user, active));
        }
        let config = Arc::clone(&self.config);
        let Some(Handler::Sessions(sessions)) = config.handlers.get(handler) else { return };
        let backend = sessions.backend(&call.method);
        let content = call.content(&id);
        let matter = Matter::Call(conn, call.meta.clone());
        let errand = match is_full {
            true => None,
            false => self.post(now, backend, &call.method, Some(&authorization), content, CALL_TIMEOUT, matter),
        };
        match errand {
            // It may have failed on the spot, and be answered.
            Some(errand) if self.slots.get(errand).is_some() => {
                if let Some(talk) = self.talk(conn) {
                    talk.errands.push(errand);
                }
            }
            Some(_) => {}
            None => {
                let answer = remote::failure(&call.meta, StatusCode::SERVICE_UNAVAILABLE);
                self.send_text(now, conn, &answer);
            }
        }
    }

    /// Posts JSON to a backend. It has as long as its upstream says, or else `timeout`.
    #[expect(clippy::too_many_arguments, reason = "all of them are the request")]
    pub(super) fn post(
        &mut self,
        now: Now,
        backend: &Backend,
        method: &str,
        authorization: Option<&str>,
        content: Vec<u8>,
        timeout: Duration,
        matter: Matter,
    ) -> Option<ConnId> {
        let path = backend.path(method);
        let config = Arc::clone(&self.config);
        let upstream = config.upstreams.get(backend.upstream);
        let timeout = upstream.and_then(|upstream| upstream.total_timeout).unwrap_or(timeout);
        let name = upstream.and_then(|upstream| upstream.request_id.as_deref());
        let id = self.origin_id(&matter);
        let own = name.map(|_| self.request_id(&matter, id)).unwrap_or_default();
        let fields = |head: &mut crate::http1::HeadWriter<'_>| {
            if let Some(authorization) = authorization {
                head.field("authorization", authorization.as_bytes())?;
            }
            write_id(id, head.lines(FIELDS))?;
            forward::name_request(name, &own, head)
        };
        self.send_errand(now, (backend.upstream, &path), fields, content, timeout, matter)
    }

    /// `X-Barium` of a request of ours: that of the handshake which has opened its connection; without a connection its own.
    fn origin_id(&mut self, matter: &Matter) -> Uuid {
        let opened = match matter {
            Matter::Authorize(conn) => self.server(*conn).map(|server| server.id),
            Matter::Call(conn, _) => self.talk(*conn).map(|talk| talk.id),
            Matter::Inactive(..) => None,
        };
        opened.unwrap_or_else(|| self.rng.next_uuid())
    }

    /// What a request of ours is called: by its connection, if there is one, and by what it is to it.
    fn request_id(&self, matter: &Matter, id: Uuid) -> String {
        match matter {
            Matter::Authorize(conn) => format!("{}-auth", self.public_id(*conn)),
            Matter::Call(conn, meta) => {
                let id = meta.get("request_id").map(|id| id.as_str().map_or_else(|| id.to_string(), Into::into));
                format!("{}-{}", self.public_id(*conn), id.unwrap_or_default())
            }
            Matter::Inactive(..) => id.to_string(),
        }
    }

    /// A backend has answered a request of ours, or cannot.
    pub(in crate::shard) fn handle_errand(
        &mut self,
        now: Now,
        errand: ConnId,
        matter: Matter,
        outcome: Result<Answer, StatusCode>,
    ) {
        match matter {
            Matter::Authorize(conn) => self.handle_authorized(now, conn, outcome),
            Matter::Call(conn, meta) => {
                let Some(talk) = self.talk(conn) else { return };
                talk.errands.retain(|other| *other != errand);
                let pool = talk.pool;
                let is_strict = self.config.pools.get(pool).is_some_and(|pool| pool.dialect.is_strict());
                let text = match outcome {
                    Ok(Answer { status, content_type, content }) => {
                        let is_json = !is_strict || remote::is_json(content_type.as_deref());
                        remote::answer(&meta, status, is_json, &content)
                    }
                    Err(status) => remote::failure(&meta, status),
                };
                self.push_frame(now, conn, &text_frame(&text));
            }
            Matter::Inactive(pool, telling) => {
                let has_heard = outcome.is_ok_and(|answer| answer.status.as_u16() < 500);
                self.end_telling(now, pool, telling, has_heard);
            }
        }
    }
}

/// How a user is named towards backends.
pub(super) fn authorization(scheme: &str, user: &str) -> String {
    format!("{scheme} {}", STANDARD.encode(format!("{{\"user_id\":{}}}", Value::from(user))))
}
