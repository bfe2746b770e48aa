//! What both sides agree on in the opening handshake (RFC 7692 §5, §7.1).

use super::{Codec, Settings};
use alloc::format;
use alloc::string::String;

const NAME: &[u8] = b"permessage-deflate";

/// What was agreed on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Agreed {
    /// For the messages that we send.
    pub outgoing: Direction,
    /// For the messages that we receive.
    pub incoming: Direction,
}

/// What was agreed on for one direction.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Direction {
    /// Whether a message may refer to those before.
    pub has_context: bool,
    /// How far back, at most: 2^8 to 2^15 bytes.
    pub window_bits: u8,
}

/// The parameters of one offer or answer (§7.1): `None` means that it was not there, `Some(None)` that it has no value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Option<u8>>,
}

/// The server's side: the first offer that is acceptable, and the value of `Sec-WebSocket-Extensions` that accepts it. `None`: there is
/// none, and the connection does without; that is never an error (§5.1). `offers` are the values of the request's fields.
pub fn accept<'a>(offers: impl IntoIterator<Item = &'a [u8]>, settings: &Settings) -> Option<(Agreed, String)> {
    if !Codec::IS_AVAILABLE {
        return None;
    }
    let offer = offers.into_iter().flat_map(extensions).find_map(|extension| match extension {
        Some((name, parameters)) if name.eq_ignore_ascii_case(NAME) => Parameters::parse(parameters, Side::Offer),
        Some(_) | None => None,
    })?;
    let ours = offer.server_max_window_bits.unwrap_or(15).min(settings.window_bits);
    let theirs = match offer.client_max_window_bits {
        // §7.1.2.2: only a client that says so can use a smaller window than it wants.
        None => 15,
        Some(hint) => hint.unwrap_or(15).min(settings.window_bits),
    };
    // What such a client does not bound would have to be kept in full: nothing is, where less is wanted.
    let is_bounded = theirs <= settings.window_bits;
    let agreed = Agreed {
        outgoing: Direction {
            has_context: settings.context_takeover && !offer.server_no_context_takeover,
            window_bits: ours,
        },
        incoming: Direction {
            has_context: settings.context_takeover && !offer.client_no_context_takeover && is_bounded,
            window_bits: theirs,
        },
    };
    let answer = Parameters {
        server_no_context_takeover: !agreed.outgoing.has_context,
        client_no_context_takeover: !agreed.incoming.has_context,
        // §7.1.2.1: "accepts [...] by including".
        server_max_window_bits: (offer.server_max_window_bits.is_some() || ours < 15).then_some(ours),
        client_max_window_bits: (theirs < 15).then_some(Some(theirs)),
    };
    Some((agreed, answer.write()))
}

/// The client's side: the value of `Sec-WebSocket-Extensions` that offers what is wanted. `None`: nothing is.
pub fn offer(settings: &Settings) -> Option<String> {
    let is_small = settings.window_bits < 15;
    let offer = Parameters {
        server_no_context_takeover: !settings.context_takeover,
        client_no_context_takeover: !settings.context_takeover,
        server_max_window_bits: is_small.then_some(settings.window_bits),
        client_max_window_bits: Some(is_small.then_some(settings.window_bits)),
    };
    Codec::IS_AVAILABLE.then(|| offer.write())
}

/// The client's side: what the answer to [`offer`] says. `Ok(None)`: the server does without. `Err(())`: it says what was not offered;
/// the connection fails (§5.1).
#[expect(clippy::result_unit_err, reason = "there is one thing to say, and the handshake says it")]
pub fn verify<'a>(
    answers: impl IntoIterator<Item = &'a [u8]>,
    settings: Option<&Settings>,
) -> Result<Option<Agreed>, ()> {
    let mut all = answers.into_iter().flat_map(extensions);
    let Some(answer) = all.next() else { return Ok(None) };
    let (Some((name, parameters)), Some(settings), None) = (answer, settings, all.next()) else { return Err(()) };
    if !name.eq_ignore_ascii_case(NAME) {
        return Err(());
    }
    let answer = Parameters::parse(parameters, Side::Answer).ok_or(())?;
    let theirs = answer.server_max_window_bits.unwrap_or(15);
    let ours = answer.client_max_window_bits.flatten().unwrap_or(settings.window_bits);
    let is_as_offered = (settings.context_takeover || answer.server_no_context_takeover)
        && (settings.window_bits == 15
            || answer.server_max_window_bits.is_some_and(|bits| bits <= settings.window_bits))
        && ours <= settings.window_bits;
    if !is_as_offered {
        // §7.1.1.1, §7.1.2.1: what is accepted has to be said. §7.1.2.2: a window that was offered can only become smaller.
        return Err(());
    }
    let has_context = settings.context_takeover;
    Ok(Some(Agreed {
        outgoing: Direction { has_context: has_context && !answer.client_no_context_takeover, window_bits: ours },
        incoming: Direction { has_context: !answer.server_no_context_takeover, window_bits: theirs },
    }))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Offer,
    Answer,
}

impl Parameters {
    /// Each at most once, none unknown, values only where and as they are defined (§7.1).
    fn parse(parameters: &[u8], side: Side) -> Option<Self> {
        let mut parsed = Self::default();
        for parameter in split(parameters, b';').skip(1) {
            let (name, value) = match parameter.iter().position(|byte| *byte == b'=') {
                Some(at) => {
                    let (name, value) = parameter.split_at_checked(at)?;
                    (name.trim_ascii(), Some(unquoted(value.get(1..)?.trim_ascii())?))
                }
                None => (parameter, None),
            };
            let is_first = match (name, value) {
                (b"server_no_context_takeover", None) => {
                    !core::mem::replace(&mut parsed.server_no_context_takeover, true)
                }
                (b"client_no_context_takeover", None) => {
                    !core::mem::replace(&mut parsed.client_no_context_takeover, true)
                }
                (b"server_max_window_bits", Some(value)) => {
                    parsed.server_max_window_bits.replace(window_bits(value)?).is_none()
                }
                (b"client_max_window_bits", Some(value)) => {
                    parsed.client_max_window_bits.replace(Some(window_bits(value)?)).is_none()
                }
                // §7.1.2.2: without a value it is a hint, which only an offer can give.
                (b"client_max_window_bits", None) if side == Side::Offer => {
                    parsed.client_max_window_bits.replace(None).is_none()
                }
                _ => return None,
            };
            if !is_first {
                return None;
            }
        }
        Some(parsed)
    }

    fn write(&self) -> String {
        let mut out = String::from("permessage-deflate");
        if self.server_no_context_takeover {
            out.push_str("; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            out.push_str("; client_no_context_takeover");
        }
        if let Some(bits) = self.server_max_window_bits {
            out.push_str(&format!("; server_max_window_bits={bits}"));
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => out.push_str(&format!("; client_max_window_bits={bits}")),
            Some(None) => out.push_str("; client_max_window_bits"),
            None => {}
        }
        out
    }
}

/// The extensions of a field's value, each with its name and all of it. `None` for one that cannot be read.
fn extensions(value: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    // RFC 9110 §5.6.1: empty elements are ignored.
    split(value, b',').filter(|extension| !extension.is_empty()).map(|extension| {
        let name = split(extension, b';').next()?;
        crate::http1::is_token(name).then_some((name, extension))
    })
}

/// The parts between separators that do not stand in quotes (RFC 6455 §9.1), trimmed.
fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    core::iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.iter().position(|byte| {
            let was_escaped = core::mem::replace(&mut is_escaped, false);
            match *byte {
                b'\\' if is_quoted && !was_escaped => is_escaped = true,
                b'"' if !was_escaped => is_quoted = !is_quoted,
                byte if byte == separator && !is_quoted => return true,
                _ => {}
            }
            false
        });
        let part = text.get(..end.unwrap_or(text.len()))?;
        rest = end.and_then(|end| text.get(end + 1..));
        Some(part.trim_ascii())
    })
}

/// A token, or one in quotes: "the value after quoted-string unescaping MUST conform to the 'token'" (RFC 6455 §9.1).
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        value => value,
    };
    crate::http1::is_token(inner).then_some(inner)
}

/// "a decimal integer value without leading zeroes between 8 to 15 inclusive" (§7.1.2.1).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use super::{verify as answered, *};
    use alloc::vec::Vec;

    fn settings(window_bits: u8, context_takeover: bool) -> Settings {
        Settings { window_bits, context_takeover, ..Settings::default() }
    }

    fn answer(offer: &str, settings: &Settings) -> Option<String> {
        accept([offer.as_bytes()], settings).map(|(_, answer)| answer)
    }

    #[test]
    fn offers_are_answered_as_the_rfc_says() {
        let (open, closed, small) = (settings(15, true), settings(15, false), settings(10, true));
        let none = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for (offer, settings, expected) in [
            ("permessage-deflate", &open, Some("permessage-deflate")),
            ("permessage-deflate", &closed, Some(none)),
            // Of a client that cannot use a smaller window, nothing is kept.
            (
                "permessage-deflate",
                &small,
                Some("permessage-deflate; client_no_context_takeover; server_max_window_bits=10"),
            ),
            ("permessage-deflate; client_max_window_bits", &open, Some("permessage-deflate")),
            (
                "permessage-deflate; client_max_window_bits; server_max_window_bits=8",
                &small,
                Some("permessage-deflate; server_max_window_bits=8; client_max_window_bits=10"),
            ),
            (
                "permessage-deflate; client_max_window_bits=\"9\"; server_max_window_bits=\"15\"",
                &open,
                Some("permessage-deflate; server_max_window_bits=15; client_max_window_bits=9"),
            ),
            (
                "permessage-deflate; server_no_context_takeover",
                &open,
                Some("permessage-deflate; server_no_context_takeover"),
            ),
            // §5.1: the client's order; what is not acceptable is passed over.
            (
                "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=7, permessage-deflate; server_no_context_takeover",
                &open,
                Some("permessage-deflate; server_no_context_takeover"),
            ),
            ("permessage-deflate; unknown, PerMessage-Deflate", &open, Some("permessage-deflate")),
            ("a; b=\"x, permessage-deflate\"", &open, None),
            ("permessage-deflate; server_max_window_bits", &open, None),
            ("permessage-deflate; server_max_window_bits=08", &open, None),
            ("permessage-deflate; server_max_window_bits=16", &open, None),
            ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", &open, None),
            ("permessage-deflate; client_max_window_bits=; x", &open, None),
            ("permessage-deflate; client_no_context_takeover=1", &open, None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", &open, None),
            ("permessage-deflate;", &open, None),
            ("", &open, None),
        ] {
            assert_eq!(answer(offer, settings).as_deref(), expected, "{offer}");
        }
        let fields = [&b"foo"[..], b"permessage-deflate"];
        assert_eq!(accept(fields, &open).map(|(_, answer)| answer).as_deref(), Some("permessage-deflate"));
    }

    #[test]
    fn a_client_refuses_what_it_did_not_offer() {
        let (open, closed, small) = (settings(15, true), settings(15, false), settings(10, true));
        let verify = |answer: &str, settings| answered([answer.as_bytes()], settings);
        assert_eq!(verify("", Some(&open)), Ok(None));
        assert_eq!(answered([], None), Ok(None));
        for (answer, settings) in [
            ("permessage-deflate", None),
            ("foo", Some(&open)),
            ("permessage-deflate, permessage-deflate", Some(&open)),
            ("permessage-deflate; unknown", Some(&open)),
            ("permessage-deflate; client_max_window_bits", Some(&open)),
            ("permessage-deflate; server_max_window_bits=7", Some(&open)),
            ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", Some(&open)),
            ("permessage-deflate; server_no_context_takeover=x", Some(&open)),
            ("permessage-deflate", Some(&closed)),
            ("permessage-deflate", Some(&small)),
            ("permessage-deflate; server_max_window_bits=11", Some(&small)),
            ("permessage-deflate; server_max_window_bits=10; client_max_window_bits=11", Some(&small)),
        ] {
            assert_eq!(verify(answer, settings), Err(()), "{answer}");
        }
    }

    /// Every offer that a client can make, under all settings: both sides mean the same, and no more than either wants.
    #[test]
    fn both_sides_agree_on_the_same() {
        let bits = || (8..=15).map(Some).chain([None]);
        let mut all = Vec::new();
        for (context_takeover, window_bits) in
            [true, false].into_iter().flat_map(|own| (9..=15).map(move |bits| (own, bits)))
        {
            all.push(settings(window_bits, context_takeover));
        }
        for server in &all {
            for client in &all {
                let offer = offer(client).unwrap();
                let (at_server, answer) = accept([offer.as_bytes()], server).unwrap();
                let at_client = answered([answer.as_bytes()], Some(client)).unwrap().unwrap();
                assert_eq!(at_server.outgoing, at_client.incoming, "{offer} {answer}");
                assert!(at_client.outgoing.window_bits <= at_server.incoming.window_bits, "{offer} {answer}");
                assert!(!at_client.outgoing.has_context || at_server.incoming.has_context, "{offer} {answer}");
                assert!(at_server.outgoing.window_bits <= client.window_bits.min(server.window_bits));
            }
            for (server_bits, client_bits) in bits().flat_map(|one| bits().map(move |other| (one, other))) {
                for flags in 0..8 {
                    let offer = Parameters {
                        server_no_context_takeover: flags & 1 > 0,
                        client_no_context_takeover: flags & 2 > 0,
                        server_max_window_bits: server_bits,
                        client_max_window_bits: (flags & 4 > 0).then_some(client_bits),
                    };
                    let (agreed, answer) = accept([offer.write().as_bytes()], server).unwrap();
                    let answer = Parameters::parse(answer.as_bytes(), Side::Answer).unwrap();
                    assert!(answer.server_no_context_takeover || !offer.server_no_context_takeover);
                    assert_eq!(answer.server_no_context_takeover, !agreed.outgoing.has_context);
                    assert_eq!(answer.client_no_context_takeover, !agreed.incoming.has_context);
                    assert!(agreed.outgoing.window_bits <= server_bits.unwrap_or(15));
                    assert!(server_bits.is_none() || answer.server_max_window_bits.is_some());
                    // What was not offered must not be asked for.
                    assert!(flags & 4 > 0 || answer.client_max_window_bits.is_none());
                    // No more is kept than the settings say.
                    for kept in [agreed.incoming, agreed.outgoing] {
                        assert!(!kept.has_context || kept.window_bits <= server.window_bits);
                    }
                }
            }
        }
    }
}
