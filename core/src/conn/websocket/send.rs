//! Messages to the peer: whole, in pieces (RFC 6455 §5.4), or framed before for many.

use super::WebSocketConn;
use crate::conn::Timeouts;
use crate::time::Now;
use crate::ws::deflate::{Codec, SharedFrame};
use crate::ws::{self, Fin, Opcode, Role};
use alloc::borrow::Cow;

impl WebSocketConn {
    /// Sends one message, compressed if that was agreed on and is of use; nothing once closing has begun, or while another is sent in
    /// pieces ([`is_sending`](Self::is_sending)). A long one that is owned is not copied.
    pub fn send<'p>(
        &mut self,
        now: Now,
        timeouts: &Timeouts,
        codec: &mut Codec,
        opcode: Opcode,
        payload: impl Into<Cow<'p, [u8]>>,
        key: impl FnOnce() -> [u8; 4],
    ) {
        if !self.is_open() || self.is_sending {
            return;
        }
        let (payload, key) = (payload.into(), (self.role == Role::Client).then(key));
        let deflated = self.extension.as_mut().and_then(|extension| extension.deflate(codec, &payload));
        match (deflated, payload) {
            (Some(deflated), _) => ws::encode_deflated(opcode, &deflated, key, &mut self.out),
            (None, Cow::Borrowed(payload)) => ws::encode(opcode, payload, key, &mut self.out),
            (None, Cow::Owned(payload)) => ws::encode_owned(opcode, payload, key, &mut self.out),
        }
        self.queued(now, timeouts);
    }

    /// Sends a piece of a message, as it is, for those that are larger than one wants to hold; with [`Fin::Final`] the last, which may
    /// be empty. `opcode` counts with the first piece. Pieces of a text may end inside a character: that they are UTF-8 together
    /// is for the caller to see to.
    ///
    /// RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message": until the
    /// last piece, [`send`](Self::send) and [`send_shared`](Self::send_shared) do nothing. Pings, pongs and the end pass between.
    pub fn send_piece(
        &mut self,
        now: Now,
        timeouts: &Timeouts,
        opcode: Opcode,
        fin: Fin,
        payload: &[u8],
        key: impl FnOnce() -> [u8; 4],
    ) {
        if !self.is_open() {
            return;
        }
        let key = (self.role == Role::Client).then(key);
        let opcode = if self.is_sending { Opcode::Continuation } else { opcode };
        ws::encode_fragment(opcode, fin, payload, key, &mut self.out);
        self.is_sending = fin == Fin::More;
        self.queued(now, timeouts);
    }

    /// Whether the last piece of a message is still to be sent.
    pub const fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// Sends a text message that was framed before, for many; a server's.
    pub fn send_shared(&mut self, now: Now, timeouts: &Timeouts, codec: &mut Codec, frame: &mut SharedFrame) {
        if !self.is_open() || self.is_sending {
            return;
        }
        match self.extension.as_ref().map(|extension| extension.shares(frame.payload().len())) {
            None | Some(Ok(None)) => self.out.share(frame.plain()),
            Some(Ok(Some(how))) => self.out.share(frame.deflated(codec, how)),
            Some(Err(())) => {
                return self.send(now, timeouts, codec, Opcode::Text, frame.payload(), || [0; 4]);
            }
        }
        self.queued(now, timeouts);
    }
}
