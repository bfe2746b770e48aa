//! Exhaustive: first bytes, lengths, close codes, masking.

use crate::{Said, decoder, frame, hear};
use brolly_core::ws::{CloseCode, Decoder, Limits, ProtocolError, Role, mask};

/// The rules of RFC 6455 that the first two bytes of a frame break, in no order. `is_open`: inside a message.
fn broken_rules(first: u8, second: u8, role: Role, is_open: bool) -> Vec<ProtocolError> {
    let (is_final, reserved, opcode) = (first >= 128, first / 16 % 8, first % 16);
    let (is_masked, len) = (second >= 128, second % 128);
    let mut broken = Vec::new();
    let mut rule = |is_broken: bool, error| broken.extend(is_broken.then_some(error));
    rule(reserved != 0, ProtocolError::ReservedBits);
    rule(![0, 1, 2, 8, 9, 10].contains(&opcode), ProtocolError::ReservedOpcode);
    rule(opcode >= 8 && !is_final, ProtocolError::ControlFragmented);
    rule(opcode >= 8 && len > 125, ProtocolError::ControlTooLong);
    rule(role == Role::Server && !is_masked, ProtocolError::NotMasked);
    rule(role == Role::Client && is_masked, ProtocolError::Masked);
    rule(opcode == 0 && !is_open, ProtocolError::UnexpectedContinuation);
    rule((opcode == 1 || opcode == 2) && is_open, ProtocolError::UnfinishedMessage);
    // The payload is all zeros, so there is no valid close code in it.
    rule(opcode == 8 && len == 1, ProtocolError::InvalidClosePayload);
    rule(opcode == 8 && len > 1, ProtocolError::InvalidCloseCode);
    broken
}

#[test]
fn every_pair_of_first_bytes_has_the_right_verdict() {
    let zeros = vec![0; 65_536];
    let mut verdicts = [0; 2];
    for (role, is_open) in [(Role::Server, false), (Role::Server, true), (Role::Client, false), (Role::Client, true)] {
        let mut start = decoder(role);
        if is_open {
            let key = (role == Role::Server).then_some([0; 4]);
            assert_eq!(start.decode(&mut frame(0x01, key, b"")).unwrap().1, None);
        }
        for header in 0..=u16::MAX {
            let [first, second] = header.to_be_bytes();
            let (extended, len): (&[u8], usize) = match second % 128 {
                126 => (&[0, 126], 126),
                127 => (&[0, 0, 0, 0, 0, 1, 0, 0], 65_536),
                len => (&[], len.into()),
            };
            let key: &[u8] = if second >= 128 { &[0; 4] } else { &[] };
            let wire = [&[first, second], extended, key, &zeros[..len]].concat();
            let broken = broken_rules(first, second, role, is_open);
            let (items, error) = hear(start.clone(), [&wire[..]]);
            let context = format!("{header:04x} {role:?} {is_open}");
            verdicts[usize::from(broken.is_empty())] += 1;
            if !broken.is_empty() {
                assert!(broken.contains(&error.expect(&context)), "{context}: {error:?}");
                continue;
            }
            assert_eq!(error, None, "{context}");
            let payload = zeros[..len].to_vec();
            let expected = match (first % 16, first >= 128, is_open) {
                (8, ..) => Some(Said::Close(None)),
                (9, ..) => Some(Said::Ping(payload)),
                (10, ..) => Some(Said::Pong(payload)),
                (_, false, _) => None,
                (1, ..) | (0, _, true) => Some(Said::Text(String::from_utf8(payload).unwrap())),
                _ => Some(Said::Binary(payload)),
            };
            assert_eq!(items, Vec::from_iter(expected), "{context}");
        }
    }
    // 128 lengths: idle, FIN or not with text or binary, ping and pong up to 125, an empty close; open, continuations.
    let legal = 2 * ((4 * 128 + 2 * 126 + 1) + (2 * 128 + 2 * 126 + 1));
    assert_eq!(verdicts, [4 * 65_536 - legal, legal]);
}

#[test]
fn every_length_has_one_encoding() {
    let start = Decoder::new(Role::Client, Limits { message_bytes: usize::MAX, ..Limits::default() });
    for len in 0..=u16::MAX {
        let [high, low] = len.to_be_bytes();
        let mut wire = [0x82, 126, high, low];
        let short = start.clone().decode(&mut wire);
        assert_eq!(short, if len < 126 { Err(ProtocolError::LengthNotMinimal) } else { Ok((4, None)) });
        let mut wire = [0x82, 127, 0, 0, 0, 0, 0, 0, high, low];
        let long = start.clone().decode(&mut wire);
        assert_eq!(long, Err(ProtocolError::LengthNotMinimal));
    }
    let verdict = |len: u64| start.clone().decode(&mut [&[0x82, 127], &len.to_be_bytes()[..]].concat()).map(|_| ());
    for bit in 16..63 {
        assert_eq!(verdict(1 << bit), Ok(()));
    }
    assert_eq!(verdict((1 << 63) - 1), Ok(()));
    assert_eq!(verdict(1 << 63), Err(ProtocolError::LengthTooLarge));
    assert_eq!(verdict(u64::MAX), Err(ProtocolError::LengthTooLarge));
}

#[test]
fn every_close_code_has_the_right_verdict() {
    // RFC 6455 §7.4.1 and the IANA registry: what may be sent; 1004 to 1006 and 1015 are reserved.
    let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    for code in 0..=u16::MAX {
        let is_legal = registered.contains(&code) || (3000..5000).contains(&code);
        assert_eq!(CloseCode::new(code).is_sendable(), is_legal, "{code}");
        let wire = frame(0x88, None, &[&code.to_be_bytes(), "☂".as_bytes()].concat());
        let expected = match is_legal {
            true => (vec![Said::Close(Some((code, "☂".into())))], None),
            false => (vec![], Some(ProtocolError::InvalidCloseCode)),
        };
        assert_eq!(hear(decoder(Role::Client), [&wire[..]]), expected, "{code}");
    }
}

#[test]
fn masking_by_words_is_masking_by_bytes() {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let original: Vec<u8> = (0..300_u16).map(|byte| (byte * 7) as u8).collect();
    for alignment in 0..16 {
        for len in 0..256 {
            for phase in 0..4 {
                let (mut bytes, mut expected) = (original.clone(), original.clone());
                mask(&mut bytes[alignment..][..len], key, phase);
                for position in 0..len {
                    expected[alignment + position] ^= key[(position + phase) % 4];
                }
                assert_eq!(bytes, expected, "{alignment} {len} {phase}");
                mask(&mut bytes[alignment..][..len], key, phase + 4);
                assert_eq!(bytes, original);
            }
        }
    }
}
