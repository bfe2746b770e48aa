//! What a peer can do wrong in HTTP/1.1, and what to answer.

use super::StatusCode;
use core::error::Error;
use core::fmt;

/// Why a decoder refused its input. The decoder stays refused: the connection answers and closes (RFC 9112 §6.3, §9.6).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ParseError {
    /// A chunk's size, extension or line end (RFC 9112 §7.1).
    ChunkSyntax,
    /// A chunk's first line, or all of them compared to the data, beyond [`Limits::chunk_line_bytes`](super::Limits).
    ChunkTooLong,
    /// `Content-Length` is repeated, a list, not a number, or does not fit 64 bits (RFC 9110 §8.6).
    ContentLength,
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.1).
    ContentLengthWithTransferEncoding,
    /// A field line that is not `name: value`: bad characters, white space before the colon, a folded line (RFC 9112
    /// §5).
    FieldSyntax,
    /// The head is longer than [`Limits::head_bytes`](super::Limits).
    HeadTooLarge,
    /// `Host` is missing, repeated, or not a host (RFC 9112 §3.2).
    Host,
    /// `Host` is not the authority of a target in absolute form (RFC 9110 §7.2).
    HostContradictsTarget,
    /// A line that does not end in CRLF (RFC 9112 §2.2), or empty lines instead of a request.
    LineEnd,
    /// The method is longer than any known one (RFC 9112 §3).
    MethodTooLong,
    /// The request line is not `method SP target SP version` (RFC 9112 §3).
    RequestLine,
    /// The status line is not `version SP code SP reason` (RFC 9112 §4).
    StatusLine,
    /// The request target is none of the four forms that its method allows (RFC 9112 §3.2).
    Target,
    /// The request target is longer than [`Limits::target_bytes`](super::Limits).
    TargetTooLong,
    /// More lines than [`Limits::field_lines`](super::Limits), in the head or in the trailers.
    TooManyFields,
    /// More interim responses (1xx) than any server has reason to send.
    TooManyInterim,
    /// The trailer section is longer than [`Limits::trailer_bytes`](super::Limits).
    TrailersTooLarge,
    /// `Transfer-Encoding` in HTTP/1.0, or `chunked` not exactly once and last (RFC 9112 §6.1, §6.3).
    TransferEncoding,
    /// The connection ended within a message (RFC 9112 §8).
    Truncated,
    /// A transfer coding other than `chunked` (RFC 9112 §6.1).
    UnknownTransferCoding,
    /// HTTP/2.0 or later (RFC 9110 §15.6.6), including HTTP/2's connection preface.
    VersionNotSupported,
}

impl ParseError {
    /// What to answer if it was a request. A gateway answers 502 to any of these in a response.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::ChunkSyntax
            | Self::ChunkTooLong
            | Self::ContentLength
            | Self::ContentLengthWithTransferEncoding
            | Self::FieldSyntax
            | Self::Host
            | Self::HostContradictsTarget
            | Self::LineEnd
            | Self::RequestLine
            | Self::Target
            | Self::TransferEncoding
            | Self::Truncated => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::MethodTooLong | Self::UnknownTransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::StatusLine | Self::TooManyInterim => StatusCode::BAD_GATEWAY,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChunkSyntax => "malformed chunk",
            Self::ChunkTooLong => "too much chunk overhead",
            Self::ContentLength => "invalid Content-Length",
            Self::ContentLengthWithTransferEncoding => "both Content-Length and Transfer-Encoding",
            Self::FieldSyntax => "malformed field line",
            Self::HeadTooLarge => "head too large",
            Self::Host => "missing, repeated or malformed Host",
            Self::HostContradictsTarget => "Host contradicts the request target",
            Self::LineEnd => "line does not end in CRLF",
            Self::MethodTooLong => "method too long",
            Self::RequestLine => "malformed request line",
            Self::StatusLine => "malformed status line",
            Self::Target => "invalid request target",
            Self::TargetTooLong => "request target too long",
            Self::TooManyFields => "too many field lines",
            Self::TooManyInterim => "too many interim responses",
            Self::TrailersTooLarge => "trailers too large",
            Self::TransferEncoding => "invalid Transfer-Encoding",
            Self::Truncated => "connection ended within a message",
            Self::UnknownTransferCoding => "unknown transfer coding",
            Self::VersionNotSupported => "HTTP version not supported",
        })
    }
}

impl Error for ParseError {}
