//! Requests of our own with content, whose answer we read: on behalf of an open WebSocket, or of nobody.

use super::super::sessions::Matter;
use super::super::slot::{Role, Slot};
use super::super::{ConnId, Shard};
use super::Call;
use super::retry::Failure;
use crate::conn::{Message, Whole, encode_request};
use crate::http1::{EncodeError, Framing, HeadWriter, Method, ResponseHead, StatusCode};
use crate::outbox::Outbox;
use crate::time::Now;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::mem;
use core::time::Duration;

/// A request of our own. It has a place among the connections, and no socket.
#[derive(Debug)]
pub(in crate::shard) struct Errand {
    pub(in crate::shard) call: Call,
    matter: Matter,
    answer: Answer,
    /// Always empty.
    pub(in crate::shard) out: Outbox,
}

/// What a backend has answered.
#[derive(Debug)]
pub(in crate::shard) struct Answer {
    pub(in crate::shard) status: StatusCode,
    pub(in crate::shard) content_type: Option<Bytes>,
    pub(in crate::shard) content: Vec<u8>,
}

impl Answer {
    fn new(status: StatusCode) -> Self {
        Self { status, content_type: None, content: Vec::new() }
    }
}

impl Shard {
    /// Posts `content` to an upstream, through its pool like any other request, for `timeout` at most.
    /// [`handle_errand`](Self::handle_errand) is called once, unless the errand is dropped before. `None`: there is no room for it.
    pub(in crate::shard) fn send_errand(
        &mut self,
        now: Now,
        (upstream, path): (usize, &str),
        fields: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), EncodeError>,
        content: Vec<u8>,
        timeout: Duration,
        matter: Matter,
    ) -> Option<ConnId> {
        if self.slots.len() >= self.config.limits.connections {
            return None;
        }
        let framing = Framing::Length(content.len() as u64);
        let out = &mut self.scratch;
        let encoded = encode_request(out, Method::Post, path, framing, fields);
        let head = Bytes::copy_from_slice(out.tail());
        out.tail().clear();
        encoded.ok()?;
        let content = Some(Whole { data: content.into(), end: Bytes::new() });
        let mut call = Call::new(upstream, Message { head, framing, is_head: false, content }, false, 0);
        call.retries = self.config.upstreams.get(upstream)?.retries;
        call.key = self.rng.next_u64();
        call.until = Some(now.instant + timeout);
        let errand = Errand { call, matter, answer: Answer::new(StatusCode::OK), out: Outbox::new() };
        let id = self.slots.insert(Slot::new(Role::Errand(Box::new(errand)), None));
        self.place(now, id);
        self.settle(now, id);
        Some(id)
    }

    /// Nobody is interested any more.
    pub(in crate::shard) fn drop_errand(&mut self, now: Now, id: ConnId) {
        if self.is_errand(id)
            && let Some(Slot { role: Role::Errand(errand), .. }) = self.slots.remove(id)
        {
            self.abandon_call(now, id, &errand.call);
        }
    }

    pub(super) fn is_errand(&self, conn: ConnId) -> bool {
        matches!(self.slots.get(conn), Some(Slot { role: Role::Errand(_), .. }))
    }

    pub(super) fn note_errand_head(&mut self, now: Now, id: ConnId, client: ConnId, head: &ResponseHead<'_>) {
        if head.status.is_informational() {
            // RFC 9110 §15.2: nobody asked for another protocol, and the rest is of no interest.
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                self.fail_client(now, client, Failure::Unusable);
            }
            return;
        }
        let Some(Slot { role: Role::Errand(errand), .. }) = self.slots.get_mut(id) else { return };
        errand.call.is_answered = true;
        errand.answer = Answer::new(head.status);
        let mut types = head.fields.all("content-type");
        errand.answer.content_type = match (types.next(), types.next()) {
            (Some(one), None) => Some(Bytes::copy_from_slice(one)),
            (Some(_), Some(_)) | (None, _) => None,
        };
    }

    pub(super) fn note_errand_content(&mut self, now: Now, id: ConnId, client: ConnId, data: &[u8]) {
        let limit = self.config.limits.content_bytes;
        let Some(Slot { role: Role::Errand(errand), .. }) = self.slots.get_mut(id) else { return };
        if (errand.answer.content.len() + data.len()) as u64 > limit {
            return self.fail_client(now, client, Failure::Unusable);
        }
        errand.answer.content.extend_from_slice(data);
    }

    pub(super) fn finish_errand(&mut self, now: Now, id: ConnId, client: ConnId) {
        let Some(Slot { role: Role::Errand(errand), .. }) = self.slots.get_mut(id) else { return };
        let answer = mem::replace(&mut errand.answer, Answer::new(StatusCode::OK));
        self.release(client);
        self.end_errand(now, id, Ok(answer));
    }

    pub(super) fn end_errand(&mut self, now: Now, id: ConnId, outcome: Result<Answer, StatusCode>) {
        if let Some(Slot { role: Role::Errand(errand), .. }) = self.slots.remove(id) {
            self.handle_errand(now, id, errand.matter, outcome);
        }
    }
}
