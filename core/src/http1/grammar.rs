//! Character classes: RFC 9110 §5.5 and §5.6, RFC 3986 §2 and §3.2.2.

const TCHAR: u8 = 1;
const TARGET: u8 = 2;
const REG_NAME: u8 = 4;
const TEXT: u8 = 8;

static CLASSES: [u8; 256] = classes();

/// RFC 9110 §5.6.2.
pub(super) fn is_tchar(byte: u8) -> bool {
    has(byte, TCHAR)
}

/// RFC 9110 §5.6.2: names of fields, methods, transfer codings.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// What may stand in a request target: visible ASCII, except what no URI can contain and no browser sends (`"`, `<`,
/// `>`), and `#`, because a fragment is never sent and readers disagree on what follows it.
///
/// This is more than RFC 3986 allows: browsers leave ``[ ] { } | \ ^ ` `` as they are, mostly in queries.
pub(super) fn is_target(byte: u8) -> bool {
    has(byte, TARGET)
}

/// RFC 3986 §3.2.2, without the check that two hex digits follow a `%`.
pub(super) fn is_reg_name(byte: u8) -> bool {
    has(byte, REG_NAME)
}

/// HTAB, SP, VCHAR and obs-text: what a quoted pair or a reason phrase is made of.
pub(super) fn is_text(byte: u8) -> bool {
    has(byte, TEXT)
}

/// RFC 9110 §5.5: no control character but HTAB, so no line can end in it.
pub(super) fn is_field_value(bytes: &[u8]) -> bool {
    // Without an early exit, so that it is vectorised.
    bytes.iter().fold(true, |ok, &byte| ok & ((byte >= b' ' && byte != 0x7f) | (byte == b'\t')))
}

/// RFC 9110 §5.6.3: without the white space around it.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The value of a hex digit.
pub(super) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn has(byte: u8, class: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|classes| classes & class != 0)
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~') {
            table[index] |= TCHAR;
        }
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>') {
            table[index] |= TARGET;
        }
        // unreserved, sub-delims, and the `%` of pct-encoded
        if alphanumeric || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$'..=b',' | b';' | b'=') {
            table[index] |= REG_NAME;
        }
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            table[index] |= TEXT;
        }
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn members(class: u8) -> String {
        (0..=0x7f).filter(|&byte| has(byte, class)).map(char::from).collect()
    }

    #[test]
    fn classes_are_those_of_the_grammar() {
        let alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let sorted = |extra: &str| {
            let mut all: alloc::vec::Vec<char> = alphanumeric.chars().chain(extra.chars()).collect();
            all.sort_unstable();
            all.into_iter().collect::<String>()
        };
        assert_eq!(members(TCHAR), sorted("!#$%&'*+-.^_`|~"));
        assert_eq!(members(REG_NAME), sorted("-._~!$&'()*+,;=%"));
        assert_eq!(members(TARGET), sorted("!$%&'()*+,-./:;=?@[\\]^_`{|}~"));
        assert!((0x80..=0xff).all(|byte| has(byte, TEXT) && !has(byte, TCHAR | REG_NAME | TARGET)));
        for byte in 0..=0xff {
            assert_eq!(is_field_value(&[b'a', byte, b'z']), is_text(byte));
        }
    }

    #[test]
    fn trim_takes_both_ends() {
        assert_eq!(trim(b" \ta b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
    }
}
