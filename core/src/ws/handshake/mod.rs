//! The opening handshake (RFC 6455 §4), apart from the HTTP around it.
//!
//! Both sides take the method, status and field lines of an already parsed head. Names are compared without case.
//! What a request's `Sec-WebSocket-Extensions` offers is [`deflate::accept`](super::deflate::accept)'s affair.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

mod client;
mod server;

pub use client::{HandshakeError, InvalidRequest, Request, Verified, verify};
pub use server::{Accepted, Refusal, accept};

/// What the key is joined with before it is hashed (§1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (§4.2.2): the SHA-1 of the key and a constant, in base 64.
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut accept = [0; 28];
    // 20 bytes are 28 characters: this cannot fail.
    let _ = STANDARD.encode_slice(hash.digest().bytes(), &mut accept);
    accept
}

/// The `Sec-WebSocket-Key` of a client (§4.1) for 16 random bytes, new ones for each connection.
pub fn key(nonce: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    // 16 bytes are 24 characters: this cannot fail.
    let _ = STANDARD.encode_slice(nonce, &mut key);
    key
}

/// A field that must not be there twice.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Once<'a> {
    #[default]
    Absent,
    One(&'a [u8]),
    Several,
}

impl<'a> Once<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::One(value.trim_ascii()),
            Self::One(_) | Self::Several => Self::Several,
        };
    }
}

/// The fields that matter to the handshake.
enum Field {
    Accept,
    Connection,
    /// One of the two that announce content.
    Content,
    Extensions,
    Key,
    Subprotocol,
    Upgrade,
    Version,
}

impl Field {
    fn new(name: &[u8]) -> Option<Self> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // By length first: most fields of a browser are none of these.
        match name.len() {
            7 if is(b"upgrade") => Some(Self::Upgrade),
            10 if is(b"connection") => Some(Self::Connection),
            14 if is(b"content-length") => Some(Self::Content),
            17 if is(b"transfer-encoding") => Some(Self::Content),
            17 if is(b"sec-websocket-key") => Some(Self::Key),
            20 if is(b"sec-websocket-accept") => Some(Self::Accept),
            21 if is(b"sec-websocket-version") => Some(Self::Version),
            22 if is(b"sec-websocket-protocol") => Some(Self::Subprotocol),
            24 if is(b"sec-websocket-extensions") => Some(Self::Extensions),
            _ => None,
        }
    }
}

/// The elements of a list, without empty ones (RFC 9110 §5.6.1).
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    elements(value).any(|element| element.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    type Fields = Vec<(&'static str, &'static [u8])>;

    const REQUEST: [(&str, &[u8]); 5] = [
        ("Host", b"example.org"),
        ("Upgrade", b"WebSocket"),
        ("connection", b"keep-alive,  upgrade"),
        ("Sec-WebSocket-Version", b"13"),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    const RESPONSE: [(&str, &[u8]); 3] = [
        ("Upgrade", b"websocket"),
        ("Connection", b"Upgrade"),
        ("Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];
    const NONCE: [u8; 16] = *b"the sample nonce";

    /// `fields` with one replaced or, if there is no value, removed.
    fn with(fields: &[(&'static str, &'static [u8])], name: &'static str, value: Option<&'static [u8]>) -> Fields {
        let others = fields.iter().copied().filter(|(other, _)| *other != name);
        others.chain(value.map(|value| (name, value))).collect()
    }

    #[test]
    fn answers_the_example_of_the_rfc() {
        let accepted = accept("GET", 1, REQUEST, &[]).unwrap();
        assert_eq!(&accepted.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(&key(NONCE), b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(verify(101, RESPONSE, NONCE, &[], None), Ok(Verified { subprotocol: None, compression: None }));
    }

    #[test]
    fn names_may_be_bytes() {
        assert!(accept("GET", 1, REQUEST.map(|(name, value)| (name.as_bytes(), value)), &[]).is_ok());
    }

    #[test]
    fn refuses_what_is_not_a_handshake() {
        use Refusal as R;
        let key = "Sec-WebSocket-Key";
        let version = "Sec-WebSocket-Version";
        let cases: Vec<(Fields, Refusal)> = Vec::from([
            (with(&REQUEST, "Upgrade", None), R::NotUpgrade),
            (with(&REQUEST, "Upgrade", Some(b"h2c")), R::NotUpgrade),
            (with(&REQUEST, "connection", Some(b"close")), R::NotUpgrade),
            (with(&REQUEST, version, None), R::BadVersion),
            (with(&REQUEST, version, Some(b"8")), R::BadVersion),
            (with(&REQUEST, version, Some(b"13, 8")), R::BadVersion),
            ([&REQUEST[..], &[(version, b"13")]].concat(), R::BadVersion),
            (with(&REQUEST, key, None), R::NoKey),
            (with(&REQUEST, key, Some(b"")), R::BadKey),
            (with(&REQUEST, key, Some(b"dGhlIHNhbXBsZSBub25jZQ=")), R::BadKey),
            (with(&REQUEST, key, Some(b"dGhlIHNhbXBsZSBub25jZSE=")), R::BadKey),
            (with(&REQUEST, key, Some(b"dGhlIHNhbXBsZSBub25j!Q==")), R::BadKey),
            ([&REQUEST[..], &[(key, b"dGhlIHNhbXBsZSBub25jZQ==")]].concat(), R::BadKey),
            ([&REQUEST[..], &[("Content-Length", b"1")]].concat(), R::HasContent),
            ([&REQUEST[..], &[("transfer-encoding", b"chunked")]].concat(), R::HasContent),
        ]);
        for (fields, refusal) in cases {
            assert_eq!(accept("GET", 1, fields.clone(), &[]), Err(refusal), "{fields:?}");
        }
        assert_eq!(accept("POST", 1, REQUEST, &[]), Err(R::NotGet));
        assert_eq!(accept("GET", 0, REQUEST, &[]), Err(R::NotUpgrade));
        assert!(accept("GET", 1, with(&REQUEST, "Content-Length", Some(b"0")), &[]).is_ok());
        assert!(accept("GET", 2, REQUEST, &[]).is_ok());
    }

    #[test]
    fn a_wrong_version_is_told_before_all_else() {
        let fields = with(&with(&REQUEST, "Sec-WebSocket-Key", None), "Sec-WebSocket-Version", Some(b"12"));
        let refusal = accept("POST", 1, fields, &[]).unwrap_err();
        assert_eq!((refusal.status(), refusal.version()), (426, Some("13")));
    }

    #[test]
    fn the_client_orders_the_subprotocols() {
        let offer = |value| with(&REQUEST, "Sec-WebSocket-Protocol", Some(value));
        let chosen = |value, supported| accept("GET", 1, offer(value), supported).unwrap().subprotocol;
        assert_eq!(chosen(b"c, b,a", &["a", "b"]), Some("b"));
        assert_eq!(chosen(b"A", &["a"]), None);
        assert_eq!(chosen(b"", &["", "a"]), None);
        let two_lines = [&offer(b"x")[..], &[("sec-websocket-protocol", b"a")]].concat();
        assert_eq!(accept("GET", 1, two_lines, &["a"]).unwrap().subprotocol, Some("a"));
    }

    #[test]
    fn a_client_refuses_what_it_did_not_ask_for() {
        use HandshakeError as E;
        let subprotocol = "Sec-WebSocket-Protocol";
        let cases: Vec<(Fields, HandshakeError)> = Vec::from([
            (with(&RESPONSE, "Upgrade", None), E::NotUpgrade),
            (with(&RESPONSE, "Upgrade", Some(b"websocket, h2c")), E::NotUpgrade),
            (with(&RESPONSE, "Connection", Some(b"keep-alive")), E::NotUpgrade),
            (with(&RESPONSE, "Sec-WebSocket-Accept", None), E::BadAccept),
            (with(&RESPONSE, "Sec-WebSocket-Accept", Some(b"S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")), E::BadAccept),
            ([&RESPONSE[..], &RESPONSE[2..]].concat(), E::BadAccept),
            (with(&RESPONSE, "Sec-WebSocket-Extensions", Some(b"permessage-deflate")), E::UnexpectedExtension),
            (with(&RESPONSE, subprotocol, Some(b"b")), E::UnexpectedSubprotocol),
            (with(&RESPONSE, subprotocol, Some(b"a, a")), E::UnexpectedSubprotocol),
        ]);
        for (fields, error) in cases {
            assert_eq!(verify(101, fields.clone(), NONCE, &["a"], None), Err(error), "{fields:?}");
        }
        assert_eq!(verify(200, RESPONSE, NONCE, &[], None), Err(E::Status(200)));
        assert_eq!(verify(101, RESPONSE, [0; 16], &[], None), Err(E::BadAccept));
        assert_eq!(
            verify(101, with(&RESPONSE, subprotocol, Some(b"a")), NONCE, &["a"], None).unwrap().subprotocol,
            Some("a")
        );
    }
}
