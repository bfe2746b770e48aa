//! The server's side (RFC 6455 §4.2).

use super::{Field, Once, accept_key, elements, has_token};
use core::error::Error;
use core::fmt;

/// What a server answers with: status 101, `Upgrade: websocket`, `Connection: Upgrade`, and these.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Accepted<'s> {
    /// The value of `Sec-WebSocket-Accept`, ASCII.
    pub accept: [u8; 28],
    /// The value of `Sec-WebSocket-Protocol`; without it, the field is left out.
    pub subprotocol: Option<&'s str>,
}

/// Why a request does not open a WebSocket.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// A `Sec-WebSocket-Key` that does not stand for 16 bytes, or several.
    BadKey,
    /// Another version than 13, or none. The response says `Sec-WebSocket-Version: 13`, see
    /// [`version`](Self::version).
    BadVersion,
    /// The request has content, which could be taken for frames.
    HasContent,
    /// No `Sec-WebSocket-Key`.
    NoKey,
    /// Another method than GET.
    NotGet,
    /// An `Origin` from which nobody may open a WebSocket here (§4.2.2, §10.2). It is up to the caller to find that out.
    Origin,
    /// No `Upgrade: websocket` with `Connection: upgrade`, or HTTP/1.0, where they mean nothing (RFC 9110 §7.8).
    NotUpgrade,
}

impl Refusal {
    /// The status to answer with.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadVersion => 426,
            Self::Origin => 403,
            Self::BadKey | Self::HasContent | Self::NoKey | Self::NotGet | Self::NotUpgrade => 400,
        }
    }

    /// The value of the `Sec-WebSocket-Version` field of the response, if it needs one (§4.4).
    pub const fn version(self) -> Option<&'static str> {
        match self {
            Self::BadVersion => Some("13"),
            Self::BadKey | Self::HasContent | Self::NoKey | Self::NotGet | Self::NotUpgrade | Self::Origin => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadKey => "Sec-WebSocket-Key is not one key of 16 bytes",
            Self::BadVersion => "Sec-WebSocket-Version is not 13",
            Self::HasContent => "a WebSocket handshake has no content",
            Self::NoKey => "Sec-WebSocket-Key is missing",
            Self::NotGet => "a WebSocket handshake is a GET",
            Self::Origin => "this origin may not open WebSockets here",
            Self::NotUpgrade => "not a request to upgrade to websocket",
        })
    }
}

impl Error for Refusal {}

/// The server's side (§4.2): whether the request `method` HTTP/1.`minor_version` with these field lines opens a
/// WebSocket, and how to say so.
///
/// The subprotocol is the first in the client's order that is also in `supported`. A wrong version is told before
/// anything else, so that the client learns the right one. Not checked: `Host`, which is HTTP's, and `Origin`, which
/// is the application's.
///
/// ```
/// use brolly_core::ws::handshake::accept;
///
/// let fields: [(&str, &[u8]); 4] = [
///     ("Upgrade", b"websocket"),
///     ("Connection", b"keep-alive, Upgrade"),
///     ("Sec-WebSocket-Version", b"13"),
///     ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
/// ];
/// let accepted = accept("GET", 1, fields, &[]).unwrap();
/// assert_eq!(&accepted.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept<'a, 's, N: AsRef<[u8]>>(
    method: &str,
    minor_version: u8,
    fields: impl IntoIterator<Item = (N, &'a [u8])>,
    supported: &[&'s str],
) -> Result<Accepted<'s>, Refusal> {
    let offer = Offer::new(fields, supported);
    match offer.version {
        Once::Absent | Once::One(b"13") => {}
        Once::One(_) | Once::Several => return Err(Refusal::BadVersion),
    }
    if method != "GET" {
        return Err(Refusal::NotGet);
    }
    if minor_version == 0 || !offer.upgrade || !offer.connection {
        return Err(Refusal::NotUpgrade);
    }
    if offer.version == Once::Absent {
        return Err(Refusal::BadVersion);
    }
    if offer.content {
        return Err(Refusal::HasContent);
    }
    match offer.key {
        Once::Absent => Err(Refusal::NoKey),
        Once::One(key) if is_key(key) => Ok(Accepted { accept: accept_key(key), subprotocol: offer.subprotocol }),
        Once::One(_) | Once::Several => Err(Refusal::BadKey),
    }
}

/// What a request says about the handshake (§4.2.1).
#[derive(Default)]
struct Offer<'a, 's> {
    upgrade: bool,
    connection: bool,
    content: bool,
    version: Once<'a>,
    key: Once<'a>,
    subprotocol: Option<&'s str>,
}

impl<'a, 's> Offer<'a, 's> {
    fn new<N: AsRef<[u8]>>(fields: impl IntoIterator<Item = (N, &'a [u8])>, supported: &[&'s str]) -> Self {
        let mut offer = Self::default();
        for (name, value) in fields {
            match Field::new(name.as_ref()) {
                Some(Field::Connection) => offer.connection |= has_token(value, b"upgrade"),
                Some(Field::Content) => offer.content |= value.trim_ascii() != b"0",
                Some(Field::Key) => offer.key.add(value),
                Some(Field::Subprotocol) => {
                    offer.subprotocol = offer.subprotocol.or_else(|| {
                        elements(value).find_map(|offered| {
                            supported.iter().copied().find(|supported| supported.as_bytes() == offered)
                        })
                    });
                }
                Some(Field::Upgrade) => offer.upgrade |= has_token(value, b"websocket"),
                Some(Field::Version) => offer.version.add(value),
                Some(Field::Accept | Field::Extensions) | None => {}
            }
        }
        offer
    }
}

/// Whether `key` is 16 bytes in base 64. Unused bits of the last character may be set: some clients make up
/// characters instead of encoding bytes.
fn is_key(key: &[u8]) -> bool {
    let Some((characters, b"==")) = key.split_at_checked(22) else {
        return false;
    };
    characters.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/'))
}
