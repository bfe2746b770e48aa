//! `POST` of a message to a topic, and its receipt.

use super::slot::{Exchange, Posted, Publishing};
use super::{Busy, ConnId, Mail, Outcome, Receipt, Shard};
use crate::conn::Content;
use crate::http1::{FieldLines, Framing, Method, RequestHead, StatusCode};
use crate::pubsub::{Body, Positions, Topic};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use bytes::Bytes;

/// How much of an announced length is believed before the content is there (bytes).
const TRUSTED_LENGTH: u64 = 16 * 1024;

impl Shard {
    pub(super) fn start_publish(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        framing: Framing,
        rest: &str,
    ) {
        if head.method != Method::Post {
            return self.refuse_method(now, conn, head.method, FieldLines::new("allow: POST, OPTIONS\r\n"));
        }
        let topic = match Topic::new(rest.trim_start_matches('/')) {
            Ok(topic) => topic,
            Err(error) => return self.refuse(now, conn, StatusCode::BAD_REQUEST, &error.to_string()),
        };
        self.start_posting(now, conn, head, framing, Posted::Message(topic));
    }

    /// Waits for the content.
    pub(super) fn start_posting(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        framing: Framing,
        to: Posted,
    ) {
        let length = if let Framing::Length(length) = framing { length } else { 0 };
        if length > self.content_limit(conn) {
            return self.refuse(now, conn, StatusCode::CONTENT_TOO_LARGE, "the content is too large");
        }
        let content = Vec::with_capacity(length.min(TRUSTED_LENGTH) as usize);
        let content_type = head.fields.get("content-type").map(Bytes::copy_from_slice);
        let Self { slots, timeouts, .. } = self;
        if let Some(super::slot::Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) {
            server.exchange = Exchange::Publishing(Box::new(Publishing { to, content_type, content }));
            server.conn.send_continue(now, timeouts);
        }
        if framing == Framing::Empty {
            self.publish_content(now, conn);
        }
    }

    /// The content is complete.
    pub(super) fn publish_content(&mut self, now: Now, conn: ConnId) {
        let tag = self.next_tag();
        let Some(server) = self.server(conn) else { return };
        let Exchange::Publishing(publishing) = core::mem::replace(&mut server.exchange, Exchange::Published(tag))
        else {
            return;
        };
        let topic = match publishing.to.clone() {
            Posted::Change(stream) => return self.send_change(now, conn, tag, stream, &publishing),
            Posted::Message(topic) => topic,
        };
        let Publishing { content_type, content, .. } = *publishing;
        match Body::from_content(content_type.as_deref(), &content) {
            Ok(body) => self.publish(conn, tag, topic, body),
            Err(error) => {
                let status = StatusCode::new(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                self.refuse(now, conn, status, &error.to_string());
            }
        }
    }

    /// Sends a message to its topic's home; [`handle_published`](Self::handle_published) follows.
    pub(super) fn publish(&mut self, conn: ConnId, tag: u64, topic: Topic, body: Body) {
        let home = topic.home(self.shards);
        if self.is_congested {
            self.loopback.push_back(Mail::Published { conn, tag, topic, receipt: Err(Busy) });
        } else {
            self.send(home, Mail::Publish { from: self.number, conn, tag, topic, body });
        }
    }

    pub(super) fn next_tag(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn handle_published(
        &mut self,
        now: Now,
        conn: ConnId,
        tag: u64,
        topic: &Topic,
        receipt: Result<Receipt, Busy>,
    ) {
        self.lend(conn);
        if self.api_call(conn).is_some() {
            let outcome = match receipt {
                Ok(_) => Outcome::Done,
                Err(Busy) => Outcome::Refused(503, "too much is on its way; try again".into()),
            };
            return self.handle_outcome(now, conn, tag, outcome);
        }
        match self.slots.get(conn).map(|slot| &slot.role) {
            Some(super::slot::Role::WebSocket(_)) => self.answer_publish_call(now, conn, tag, topic, receipt),
            Some(super::slot::Role::Server(server)) if matches!(&server.exchange, Exchange::Published(of) if *of == tag) => {
                match receipt {
                    Ok(receipt) => {
                        let json = receipt_json(topic, receipt);
                        self.respond(now, conn, StatusCode::OK, Content::Full(&json), |head| {
                            head.lines(super::answer::JSON);
                        });
                        self.finish(now, conn);
                    }
                    Err(Busy) => {
                        let reason = "too much is on its way; try again";
                        self.refuse_with(now, conn, StatusCode::SERVICE_UNAVAILABLE, reason, |head| {
                            head.lines(FieldLines::new("retry-after: 1\r\n"));
                        });
                    }
                }
            }
            Some(
                super::slot::Role::Client(_)
                | super::slot::Role::Errand(_)
                | super::slot::Role::Server(_)
                | super::slot::Role::Tunnel(_),
            )
            | None => {}
        }
        self.settle(now, conn);
    }
}

/// `{"topic","position","subscribers"}`.
pub(super) fn receipt_json(topic: &Topic, receipt: Receipt) -> Vec<u8> {
    let mut positions = Positions::new();
    // One topic always has room.
    let _ = positions.push(topic, receipt.position);
    let (topic, subscribers) = (serde_json::Value::from(topic.as_str()), receipt.subscribers);
    format!("{{\"topic\":{topic},\"position\":\"{positions}\",\"subscribers\":{subscribers}}}").into_bytes()
}
