//! What a peer can do wrong after the handshake.

use super::{CloseCode, InvalidUtf8};
use core::error::Error;
use core::fmt;

/// The peer broke RFC 6455, or a limit of ours. The connection is to be failed (§7.1.7) with
/// [`close_code`](Self::close_code).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A Close, Ping or Pong frame without FIN (§5.5).
    ControlFragmented,
    /// A Close, Ping or Pong frame with more than 125 bytes (§5.5).
    ControlTooLong,
    /// A Close frame with a status code that must not be sent (§7.4).
    InvalidCloseCode,
    /// A Close frame with one byte, which is half a status code (§5.5.1).
    InvalidClosePayload,
    /// A compressed message that cannot be decompressed (RFC 7692 §7.2.2).
    InvalidDeflate,
    /// Text or a close reason that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A length that would have fitted into fewer bytes (§5.2).
    LengthNotMinimal,
    /// A length with the most significant bit set (§5.2).
    LengthTooLarge,
    /// A masked frame from a server (§5.1).
    Masked,
    /// A message longer than [`Limits::message_bytes`](super::Limits::message_bytes).
    MessageTooBig,
    /// A frame from a client that is not masked (§5.1).
    NotMasked,
    /// A reserved bit without an extension that gives it a meaning (§5.2).
    ReservedBits,
    /// An opcode without a meaning (§5.2).
    ReservedOpcode,
    /// More pings and pongs than [`Limits::control_frames_per_second`](super::Limits::control_frames_per_second).
    TooManyControlFrames,
    /// A message of more frames than [`Limits::message_fragments`](super::Limits::message_fragments).
    TooManyFragments,
    /// A continuation frame without a message to continue (§5.4).
    UnexpectedContinuation,
    /// A new message before the last frame of the one before (§5.4).
    UnfinishedMessage,
}

impl ProtocolError {
    /// The status code to fail the connection with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidDeflate | Self::InvalidUtf8 => CloseCode::INVALID_DATA,
            Self::MessageTooBig => CloseCode::TOO_BIG,
            Self::TooManyControlFrames | Self::TooManyFragments => CloseCode::POLICY,
            Self::ControlFragmented
            | Self::ControlTooLong
            | Self::InvalidCloseCode
            | Self::InvalidClosePayload
            | Self::LengthNotMinimal
            | Self::LengthTooLarge
            | Self::Masked
            | Self::NotMasked
            | Self::ReservedBits
            | Self::ReservedOpcode
            | Self::UnexpectedContinuation
            | Self::UnfinishedMessage => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The error in words: short enough for a close reason, and free of anything the peer sent.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ControlFragmented => "control frame is fragmented",
            Self::ControlTooLong => "control frame is too long",
            Self::InvalidCloseCode => "invalid close code",
            Self::InvalidClosePayload => "close frame with half a code",
            Self::InvalidDeflate => "message cannot be decompressed",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::LengthNotMinimal => "length is not minimal",
            Self::LengthTooLarge => "length is out of range",
            Self::Masked => "frame from a server is masked",
            Self::MessageTooBig => "message is too big",
            Self::NotMasked => "frame from a client is not masked",
            Self::ReservedBits => "reserved bit is set",
            Self::ReservedOpcode => "reserved opcode",
            Self::TooManyControlFrames => "too many pings and pongs",
            Self::TooManyFragments => "too many fragments",
            Self::UnexpectedContinuation => "nothing to continue",
            Self::UnfinishedMessage => "previous message is not finished",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl Error for ProtocolError {}

impl From<InvalidUtf8> for ProtocolError {
    fn from(InvalidUtf8: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}
