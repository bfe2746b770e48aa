//! WebSockets to backends that end here (`websocket = "messages"`): a connection on each side, and messages in between.
//!
//! | one side | the other is told |
//! |---|---|
//! | sends a message | the message, once it is complete and valid |
//! | sends a ping | nothing: it is answered here, and each side is asked after its silence |
//! | closes | the same code and reason, or none |
//! | is the client, breaks the protocol or is gone | 1001 |
//! | is the backend, breaks the protocol or is gone | 1014 |
//! | is the client, whose authorisation has ended | 4401, as the client is |
//!
//! Who breaks the protocol is told 1002, 1007, 1008 or 1009. While one side is slow, nothing is read of the other.

use super::calls::{Socket, SocketKind};
use super::follow::Members;
use super::slot::{Role, Slot};
use super::{ConnId, HIGH_WATER, Shard};
use crate::config::Compression;
use crate::conn::{WebSocketConn, WebSocketEvent, into_bytes};
use crate::handler::websocket::accept;
use crate::http1::{EncodeError, FieldLines, Framing, HeadWriter, RequestHead, ResponseHead};
use crate::time::Now;
use crate::ws::deflate::{self, Extension};
use crate::ws::handshake::{self, Accepted, HandshakeError};
use crate::ws::{CloseCode, Opcode, Role as Side};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

const UPGRADE: FieldLines = FieldLines::new("connection: upgrade\r\nupgrade: websocket\r\n");

/// One of the two ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    pub(super) other: ConnId,
    /// Who is at this end.
    peer: Peer,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Peer {
    Backend,
    Client,
}

/// The two opening handshakes, while the backend's is under way.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// What the client is answered.
    accept: [u8; 28],
    /// What the backend is asked with.
    nonce: [u8; 16],
    /// The subprotocols that the client speaks.
    offered: Box<[Box<str>]>,
    /// What the client is answered about compression, and what the backend is offered: one has nothing to do with the other.
    client: Option<(Extension, String)>,
    compression: Option<Compression>,
}

/// What the backend has opened.
#[derive(Debug)]
pub(super) struct Agreement {
    /// One of the client's subprotocols.
    subprotocol: Option<Box<str>>,
    extension: Option<Extension>,
}

impl Handshakes {
    /// Of a client whose request is a valid handshake.
    fn new(accepted: &Accepted<'_>, head: &RequestHead<'_>, nonce: [u8; 16], compression: Option<Compression>) -> Self {
        let offered = head.fields.list("sec-websocket-protocol").map(|name| String::from_utf8_lossy(name).into());
        let offers = head.fields.all("sec-websocket-extensions");
        let agreed = compression.and_then(|settings| Some((deflate::accept(offers, &settings)?, settings)));
        let client = agreed.map(|((agreed, answer), settings)| (Extension::new(agreed, &settings), answer));
        Self { accept: accepted.accept, nonce, offered: offered.collect(), client, compression }
    }

    /// Makes the request that is passed on one of ours: our key, and what we offer instead of the client's extensions.
    ///
    /// # Errors
    /// None, in fact.
    pub(super) fn edit_request(&self, head: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
        let is_ours = |name: &str| {
            ["upgrade", "sec-websocket-key", "sec-websocket-extensions"].iter().any(|of| of.eq_ignore_ascii_case(name))
        };
        head.retain(|name| !is_ours(name));
        head.field("upgrade", b"websocket")?.field("sec-websocket-key", &handshake::key(self.nonce))?;
        if let Some(offer) = self.compression.as_ref().and_then(deflate::offer) {
            head.field("sec-websocket-extensions", offer.as_bytes())?;
        }
        Ok(())
    }

    /// Whether the backend has opened what it was asked for.
    pub(super) fn verify(&self, head: &ResponseHead<'_>) -> Result<Agreement, HandshakeError> {
        let offered: Vec<&str> = self.offered.iter().map(|name| &**name).collect();
        let (status, compression) = (head.status.as_u16(), self.compression.as_ref());
        let verified = handshake::verify(status, head.fields.iter(), self.nonce, &offered, compression)?;
        let extension = verified.compression.zip(compression).map(|(agreed, of)| Extension::new(agreed, of));
        Ok(Agreement { subprotocol: verified.subprotocol.map(Into::into), extension })
    }

    /// Makes the answer that is passed on one of ours. `response` writes what the backend says besides.
    ///
    /// # Errors
    /// A field that cannot be written.
    pub(super) fn write_response(
        &self,
        agreement: &Agreement,
        head: &mut HeadWriter<'_>,
        response: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        response(head)?;
        let prefix = "sec-websocket-";
        head.retain(|name| !name.get(..prefix.len()).is_some_and(|of| of.eq_ignore_ascii_case(prefix)));
        head.lines(UPGRADE).field("sec-websocket-accept", &self.accept)?;
        if let Some(subprotocol) = &agreement.subprotocol {
            head.field("sec-websocket-protocol", subprotocol.as_bytes())?;
        }
        if let Some((_, answer)) = &self.client {
            head.field("sec-websocket-extensions", answer.as_bytes())?;
        }
        Ok(())
    }
}

impl Shard {
    /// The handshakes of a request that opens a WebSocket; `None`: it was answered, it does not.
    pub(super) fn begin_relay(
        &mut self,
        now: Now,
        conn: ConnId,
        (head, framing): (&RequestHead<'_>, Framing),
        compression: Option<Compression>,
    ) -> Option<Box<Handshakes>> {
        match accept(head, framing, &[]) {
            Ok(accepted) => {
                let nonce = self.rng.next_nonce();
                Some(Box::new(Handshakes::new(&accepted, head, nonce, compression)))
            }
            Err(refusal) => {
                self.refuse_websocket(now, conn, refusal);
                None
            }
        }
    }

    /// Both connections become ends of a relay; what is queued for them goes first.
    pub(super) fn open_relay(
        &mut self,
        now: Now,
        [client, backend]: [ConnId; 2],
        handshakes: Handshakes,
        agreement: Agreement,
    ) {
        let extension = handshakes.client.map(|(extension, _)| extension);
        for (conn, other, peer, extension) in
            [(client, backend, Peer::Client, extension), (backend, client, Peer::Backend, agreement.extension)]
        {
            let limits = self.config.limits.websocket;
            let Some(slot) = self.slots.get_mut(conn) else { continue };
            let out = core::mem::take(slot.outbox());
            let side = if peer == Peer::Client { Side::Server } else { Side::Client };
            slot.role = Role::WebSocket(Socket {
                conn: WebSocketConn::new(now, side, limits, &self.timeouts, out).with_extension(extension),
                members: Members::new(),
                kind: SocketKind::Relay(Relay { other, peer }),
                joins: Vec::new(),
                publishes: Vec::new(),
            });
            // What either side sent behind its head is its first frames.
            self.resume(conn);
            self.end_if_shutting_down(now, conn);
            self.settle(now, conn);
        }
    }

    pub(super) fn handle_relay_event(&mut self, now: Now, conn: ConnId, relay: Relay, event: WebSocketEvent<'_>) {
        match event {
            WebSocketEvent::Text(text) => self.relay(now, conn, relay.other, Opcode::Text, into_bytes(text)),
            WebSocketEvent::Binary(data) => self.relay(now, conn, relay.other, Opcode::Binary, data),
            // Messages are asked for whole: so they are compressed for either side, and have a limit.
            WebSocketEvent::Piece { .. } => {}
            WebSocketEvent::Closed(frame) => {
                // RFC 6455 §7.1.5: without a code it stays without one.
                let (code, reason) = frame.map_or((CloseCode::NO_STATUS, ""), |frame| (frame.code, frame.reason));
                self.close_relay(now, relay.other, code, reason);
            }
            WebSocketEvent::Failed(error) => self.fail_relay(now, relay, error.reason()),
        }
    }

    /// One end is gone. If it has closed before, the other knows.
    pub(super) fn handle_relay_closed(&mut self, now: Now, relay: Relay) {
        self.fail_relay(now, relay, "the connection is gone");
    }

    fn fail_relay(&mut self, now: Now, relay: Relay, why: &str) {
        match relay.peer {
            Peer::Backend => self.close_relay(now, relay.other, CloseCode::BAD_GATEWAY, why),
            Peer::Client => self.close_relay(now, relay.other, CloseCode::GOING_AWAY, ""),
        }
    }

    fn relay(&mut self, now: Now, conn: ConnId, other: ConnId, opcode: Opcode, payload: Cow<'_, [u8]>) {
        self.lend(other);
        let Self { slots, timeouts, rng, codec, .. } = self;
        let Some(Slot { role: Role::WebSocket(to), .. }) = slots.get_mut(other) else { return };
        to.conn.send(now, timeouts, codec, opcode, payload, || rng.next_key());
        if to.conn.unsent().len() > HIGH_WATER
            && let Some(Slot { role: Role::WebSocket(from), .. }) = slots.get_mut(conn)
        {
            from.conn.pause();
        }
        self.settle(now, other);
    }

    pub(super) fn close_relay(&mut self, now: Now, conn: ConnId, code: CloseCode, reason: &str) {
        self.lend(conn);
        let Self { slots, timeouts, rng, .. } = self;
        if let Some(Slot { role: Role::WebSocket(socket), .. }) = slots.get_mut(conn) {
            socket.conn.close(now, timeouts, code, reason, || rng.next_key());
            self.resume(conn);
            self.settle(now, conn);
        }
    }

    /// There is room at one end: the other may be read again.
    pub(super) fn resume_relay(&mut self, now: Now, relay: Relay) {
        let Self { slots, timeouts, .. } = self;
        if let Some(Slot { role: Role::WebSocket(other), .. }) = slots.get_mut(relay.other)
            && other.conn.is_paused()
        {
            other.conn.resume(now, timeouts);
            self.resume(relay.other);
            self.settle(now, relay.other);
        }
    }
}
