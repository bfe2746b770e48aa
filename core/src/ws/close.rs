//! Status codes of the closing handshake (RFC 6455 §7.4).

use super::{InvalidUtf8, ProtocolError};
use core::{fmt, str};

/// Why a connection is closed. Any number; [`is_sendable`](Self::is_sendable) tells those allowed on the wire.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection was fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down, or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of message that is not accepted here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Stands for a Close frame without a code; never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// Stands for a connection that ended without a Close frame; never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// Data that does not fit its type, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// A message that violates a policy.
    pub const POLICY: Self = Self(1008);
    /// A message that is too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// The server met a condition it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts (IANA registry).
    pub const RESTART: Self = Self(1012);
    /// The server is overloaded (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// What stands behind this gateway gave an invalid answer (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);

    /// The code with this number.
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether a Close frame may carry it: the registered codes that are not only for local use, and 3000 to 4999 for
    /// libraries and applications (§7.4.2).
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a Close frame says (RFC 6455 §5.5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CloseFrame<'a> {
    /// Why.
    pub code: CloseCode,
    /// The same for humans who debug; at most 123 bytes, often empty.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// The payload of a Close frame; `None` if it is empty, which is allowed.
    pub(super) fn parse(payload: &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::InvalidClosePayload),
            [high, low, reason @ ..] => (CloseCode::new(u16::from_be_bytes([*high, *low])), reason),
        };
        if !code.is_sendable() {
            return Err(ProtocolError::InvalidCloseCode);
        }
        let reason = str::from_utf8(reason).map_err(|_| InvalidUtf8)?;
        Ok(Some(Self { code, reason }))
    }
}
