//! Requests of our own on behalf of a client's request, whose answer the client does not see.

use super::super::slot::{Exchange, Role, Slot};
use super::super::{ConnId, Shard};
use super::Call;
use crate::conn::Message;
use crate::http1::{Framing, ResponseHead, StatusCode};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::sync::Arc;
use bytes::Bytes;
use core::time::Duration;

/// A client's request that waits for the answer to a question.
#[derive(Debug)]
pub(in crate::shard) struct Asking {
    pub(in crate::shard) call: Call,
    /// The head of the client's request, as it arrived.
    pub(in crate::shard) held: Box<[u8]>,
}

impl Shard {
    /// Asks an upstream something before the request of `conn` goes on, and suspends that request: nothing of its content is
    /// taken, no 100 is sent, and `held` (the bytes of its head, whose framing is given) is kept until the answer.
    ///
    /// `question` is the head of a GET without `Host`, made with [`encode_request`](crate::conn::encode_request);
    /// it goes through the pool of the upstream, with its balance, queue, retries and deadlines like any other, counts as
    /// idempotent, and takes `timeout` at most. Whatever happens,
    /// [`handle_asked`](Self::handle_asked) is called once, with the head of the final answer or the status that says why
    /// there is none, unless the client goes first. The content of the answer is discarded.
    pub(in crate::shard) fn ask(
        &mut self,
        now: Now,
        conn: ConnId,
        upstream: usize,
        (question, timeout): (Bytes, Duration),
        (held, framing): (&[u8], Framing),
    ) {
        let config = Arc::clone(&self.config);
        let retries = config.upstreams.get(upstream).map_or(0, |upstream| upstream.retries);
        let message = Message { head: question, framing: Framing::Empty, is_head: false, content: None };
        let mut call = Call::new(upstream, message, true, retries);
        call.key = self.rng.next_u64();
        call.until = Some(now.instant + timeout);
        let Some(server) = self.server(conn) else { return };
        server.exchange = Exchange::Asking(Box::new(Asking { call, held: held.into() }));
        // Without content the socket is still watched, so that a client that goes is noticed.
        if framing != Framing::Empty {
            server.conn.pause();
        }
        self.place(now, conn);
    }

    /// The final answer to a question has begun, or there is none.
    pub(super) fn answer_asking(&mut self, now: Now, conn: ConnId, answer: Result<&ResponseHead<'_>, StatusCode>) {
        let Self { slots, timeouts, .. } = self;
        let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn) else { return };
        let Exchange::Asking(asking) = core::mem::replace(&mut server.exchange, Exchange::Idle) else { return };
        server.conn.resume(now, timeouts);
        self.resume(conn);
        self.handle_asked(now, conn, &asking.held, answer);
    }

    /// The head of an answer to a question: the rest of it is nobody's.
    pub(super) fn take_answer(
        &mut self,
        now: Now,
        conn: ConnId,
        client_id: ConnId,
        head: &ResponseHead<'_>,
        framing: Framing,
    ) {
        if head.status.is_informational() {
            return;
        }
        self.discard_answer(now, client_id, framing);
        self.answer_asking(now, conn, Ok(head));
    }
}
