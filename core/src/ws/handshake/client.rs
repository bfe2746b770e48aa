//! The client's side (RFC 6455 §4.1).

use super::{Field, Once, accept_key, has_token, key};
use crate::http1::{self, EncodeError, FieldLines, HeadWriter};
use crate::outbox::Outbox;
use crate::ws::deflate::{self, Agreed, Settings};
use core::error::Error;
use core::fmt;
use smallvec::SmallVec;

const UPGRADE: FieldLines =
    FieldLines::new("upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n");

/// What a client asks for.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Request<'r> {
    /// The authority of the URL: host, and port unless it is the scheme's own.
    pub host: &'r str,
    /// Path and query of the URL, as they are written there; begins with a slash.
    pub target: &'r str,
    /// The subprotocols that the client speaks, the preferred one first.
    pub subprotocols: &'r [&'r str],
    /// How messages are compressed if the server goes along (RFC 7692); `None`: it is not asked.
    pub compression: Option<&'r Settings>,
    /// Further fields: `Origin`, `Authorization`, `Cookie`... Not those of the handshake itself.
    pub fields: &'r [(&'r str, &'r [u8])],
}

impl Request<'_> {
    /// Appends the head of the request to `out`. `nonce` is 16 random bytes, new ones for each connection.
    ///
    /// # Errors
    /// It cannot be written like this; nothing was.
    pub fn encode(&self, nonce: [u8; 16], out: &mut Outbox) -> Result<(), InvalidRequest> {
        // §3: a fragment has no meaning, and its `#` must not be sent.
        if !self.target.starts_with('/') || self.target.contains('#') {
            return Err(EncodeError::InvalidTarget.into());
        }
        let mut head = HeadWriter::request(out, "GET", self.target)?;
        head.field("host", self.host.as_bytes())?.lines(UPGRADE).field("sec-websocket-key", &key(nonce))?;
        for (position, subprotocol) in self.subprotocols.iter().enumerate() {
            // §4.1: each a token, and none twice.
            let is_known = self.subprotocols.iter().take(position).any(|before| before == subprotocol);
            if is_known || !http1::is_token(subprotocol.as_bytes()) {
                return Err(InvalidRequest::Subprotocol);
            }
        }
        if !self.subprotocols.is_empty() {
            head.field("sec-websocket-protocol", self.subprotocols.join(", ").as_bytes())?;
        }
        if let Some(offer) = self.compression.and_then(deflate::offer) {
            head.field("sec-websocket-extensions", offer.as_bytes())?;
        }
        for (name, value) in self.fields {
            if name.eq_ignore_ascii_case("host") || Field::new(name.as_bytes()).is_some() {
                return Err(InvalidRequest::ReservedField);
            }
            head.field(name, value)?;
        }
        head.finish();
        Ok(())
    }
}

/// Why a [`Request`] cannot be sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The target, the host or a field cannot be written.
    Encode(EncodeError),
    /// A further field is one of those that the handshake writes itself, or frames content.
    ReservedField,
    /// A subprotocol that is no token, or is there twice.
    Subprotocol,
}

impl From<EncodeError> for InvalidRequest {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::ReservedField => f.write_str("a field that the opening handshake writes itself"),
            Self::Subprotocol => f.write_str("a subprotocol is no token, or is there twice"),
        }
    }
}

impl Error for InvalidRequest {}

/// Why a response does not open a WebSocket. The connection is of no further use.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// No `Sec-WebSocket-Accept`, several, or not the one for our key.
    BadAccept,
    /// No `Upgrade: websocket` with `Connection: upgrade`.
    NotUpgrade,
    /// Another status than 101.
    Status(u16),
    /// An extension that was not offered, or not so.
    UnexpectedExtension,
    /// A subprotocol that was not offered, or several.
    UnexpectedSubprotocol,
}

impl HandshakeError {
    /// The status a gateway answers with, whose upstream responded so (RFC 9110 §15.6.3).
    pub const fn status(self) -> u16 {
        502
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAccept => f.write_str("Sec-WebSocket-Accept does not fit the key"),
            Self::NotUpgrade => f.write_str("the response does not upgrade to websocket"),
            Self::Status(status) => write!(f, "the response has status {status} instead of 101"),
            Self::UnexpectedExtension => f.write_str("the response has an extension that was not offered"),
            Self::UnexpectedSubprotocol => f.write_str("the response has a subprotocol that was not offered"),
        }
    }
}

impl Error for HandshakeError {}

/// What a response says that opens the WebSocket.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Verified<'s> {
    /// The subprotocol that the server chose.
    pub subprotocol: Option<&'s str>,
    /// What was agreed on about compression.
    pub compression: Option<Agreed>,
}

/// The client's side (§4.1): whether a response opens the WebSocket that was asked for with `key(nonce)`, these subprotocols and this
/// compression, and what the server chose of them.
pub fn verify<'a, 's, N: AsRef<[u8]>>(
    status: u16,
    fields: impl IntoIterator<Item = (N, &'a [u8])>,
    nonce: [u8; 16],
    offered: &[&'s str],
    compression: Option<&Settings>,
) -> Result<Verified<'s>, HandshakeError> {
    if status != 101 {
        return Err(HandshakeError::Status(status));
    }
    let answer = Answer::new(fields);
    let is_websocket = matches!(answer.upgrade, Once::One(value) if value.eq_ignore_ascii_case(b"websocket"));
    if !is_websocket || !answer.connection {
        return Err(HandshakeError::NotUpgrade);
    }
    if answer.accept != Once::One(&accept_key(&key(nonce))) {
        return Err(HandshakeError::BadAccept);
    }
    let compression =
        deflate::verify(answer.extensions, compression).map_err(|()| HandshakeError::UnexpectedExtension)?;
    let subprotocol = match answer.subprotocol {
        Once::Absent => None,
        Once::One(chosen) => match offered.iter().find(|offer| offer.as_bytes() == chosen) {
            Some(offer) => Some(*offer),
            None => return Err(HandshakeError::UnexpectedSubprotocol),
        },
        Once::Several => return Err(HandshakeError::UnexpectedSubprotocol),
    };
    Ok(Verified { subprotocol, compression })
}

/// What a response says about the handshake (§4.2.2).
#[derive(Default)]
struct Answer<'a> {
    upgrade: Once<'a>,
    connection: bool,
    accept: Once<'a>,
    extensions: SmallVec<[&'a [u8]; 1]>,
    subprotocol: Once<'a>,
}

impl<'a> Answer<'a> {
    fn new<N: AsRef<[u8]>>(fields: impl IntoIterator<Item = (N, &'a [u8])>) -> Self {
        let mut answer = Self::default();
        for (name, value) in fields {
            match Field::new(name.as_ref()) {
                Some(Field::Accept) => answer.accept.add(value),
                Some(Field::Connection) => answer.connection |= has_token(value, b"upgrade"),
                Some(Field::Extensions) => answer.extensions.push(value),
                Some(Field::Subprotocol) => answer.subprotocol.add(value),
                Some(Field::Upgrade) => answer.upgrade.add(value),
                Some(Field::Content | Field::Key | Field::Version) | None => {}
            }
        }
        answer
    }
}
