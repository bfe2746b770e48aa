//! RFC 3629 and RFC 6455 §8.1: text is refused exactly when it is wrong, and as soon as it is.

use crate::{decoder, frame, hear};
use brolly_core::ws::{ProtocolError, Role, Utf8Validator};
use std::str;

/// Where `bytes` stop being the beginning of a text, by table 3-7 of the Unicode Standard; else whether they end in the
/// middle of a character.
fn walk(bytes: &[u8]) -> Result<bool, usize> {
    let mut expected: &[(u8, u8)] = &[];
    const ANY: (u8, u8) = (0x80, 0xBF);
    for (position, byte) in bytes.iter().enumerate() {
        expected = match (expected, byte) {
            ([(low, high), rest @ ..], byte) if low <= byte && byte <= high => rest,
            ([_, ..], _) => return Err(position),
            ([], 0x00..=0x7F) => &[],
            ([], 0xC2..=0xDF) => &[ANY],
            ([], 0xE0) => &[(0xA0, 0xBF), ANY],
            ([], 0xE1..=0xEC | 0xEE | 0xEF) => &[ANY, ANY],
            ([], 0xED) => &[(0x80, 0x9F), ANY],
            ([], 0xF0) => &[(0x90, 0xBF), ANY, ANY],
            ([], 0xF1..=0xF3) => &[ANY, ANY, ANY],
            ([], 0xF4) => &[(0x80, 0x8F), ANY, ANY],
            ([], _) => return Err(position),
        };
    }
    Ok(!expected.is_empty())
}

/// Compares the validator with the table and with `std`, for every cut into two and byte by byte.
fn check_utf8(bytes: &[u8]) {
    let expected = walk(bytes);
    assert_eq!(expected == Ok(false), str::from_utf8(bytes).is_ok(), "{bytes:x?}");
    let mut validator = Utf8Validator::new();
    let failed = bytes.iter().position(|byte| validator.push(&[*byte]).is_err());
    assert_eq!(failed, expected.err(), "{bytes:x?}");
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        let mut validator = Utf8Validator::new();
        assert_eq!(validator.push(left).is_err(), walk(left).is_err(), "{left:x?}");
        let is_beginning = validator.push(right).is_ok();
        assert_eq!(is_beginning, expected.is_ok(), "{left:x?} {right:x?}");
        assert_eq!(validator.finish().is_ok(), expected == Ok(false), "{left:x?} {right:x?}");
    }
}

#[test]
fn utf8_has_the_verdict_of_std_and_fails_at_the_first_wrong_byte() {
    for pair in 0..=u16::MAX {
        check_utf8(&pair.to_be_bytes());
    }
    // The borders of every range in the table.
    let representatives = [
        0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0,
        0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
    ];
    for a in representatives {
        for b in representatives {
            for c in representatives {
                check_utf8(&[a, b, c]);
                for d in representatives {
                    check_utf8(&[a, b, c, d]);
                }
            }
        }
    }
    for sample in ["κόσμε", "a☂b𝄞c\u{10FFFF}", "\u{FFFD}\u{FEFF}\0"] {
        check_utf8(sample.as_bytes());
        check_utf8(&[sample.as_bytes(), b"\xF4\x90\x80\x80"].concat());
    }
}

#[test]
fn a_text_frame_fails_at_the_first_wrong_byte() {
    // Autobahn 6.4.1 to 6.4.4: a code point beyond U+10FFFF in the middle, in frames or in pieces of a frame.
    let text = [&b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"[..], b"\xf4\x90\x80\x80", b"edited"].concat();
    assert_eq!(walk(&text), Err(12));
    let key = Some([1, 2, 3, 4]);
    let whole = frame(0x81, key, &text);
    let fragments: Vec<u8> = text.iter().flat_map(|byte| frame(0x00, key, &[*byte])).collect();
    for (wire, before) in [(whole, 6 + 12), ([frame(0x01, key, b""), fragments].concat(), 6 + 12 * 7 + 6)] {
        assert_eq!(hear(decoder(Role::Server), [&wire[..before]]), (vec![], None));
        let error = Some(ProtocolError::InvalidUtf8);
        assert_eq!(hear(decoder(Role::Server), wire[..=before].chunks(1)), (vec![], error));
    }
}
