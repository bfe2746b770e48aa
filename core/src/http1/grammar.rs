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
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    // Without an early exit: three instructions for each byte.
    !bytes.is_empty() && bytes.iter().fold(TCHAR, |common, &byte| common & classes_of(byte)) != 0
}

/// Whether `name`, a token, is `lower` in any case. `lower` consists of letters and hyphens: no other characters of a
/// token become these when bit 5 is set.
pub(super) fn is_name<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    name.iter().zip(lower).fold(0, |difference, (&byte, &lower)| difference | ((byte | 0x20) ^ lower)) == 0
}

/// What may stand in a request target: visible ASCII, except what no URI can contain and no browser sends (`"`, `<`,
/// `>`), and `#`, because a fragment is never sent and readers disagree on what follows it.
///
/// This is more than RFC 3986 allows: browsers leave ``[ ] { } | \ ^ ` `` as they are, mostly in queries.
pub(super) fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().fold(TARGET, |common, &byte| common & classes_of(byte)) != 0
}

/// Whether [`is_target`] accepts `byte`.
pub(super) fn is_target_byte(byte: u8) -> bool {
    has(byte, TARGET)
}

/// RFC 3986 §3.2.2, without `pct-encoded`.
pub(super) fn is_reg_name(byte: u8) -> bool {
    has(byte, REG_NAME)
}

/// HTAB, SP, VCHAR and obs-text: what a quoted pair or a reason phrase is made of.
pub(super) fn is_text(byte: u8) -> bool {
    has(byte, TEXT)
}

/// RFC 9110 §5.5: no control character but HTAB, so no line can end in it.
pub(super) fn is_field_value(bytes: &[u8]) -> bool {
    // Sixteen at a time, the last ones overlapping, and without an early exit within them: that is vectorised.
    fn is_text<const N: usize>(bytes: &[u8; N]) -> bool {
        bytes.iter().fold(true, |ok, &byte| ok & (((byte >= b' ') & (byte != 0x7f)) | (byte == b'\t')))
    }
    match (bytes.last_chunk::<16>(), bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(last), ..) => bytes.as_chunks::<16>().0.iter().all(is_text) && is_text(last),
        (None, Some(first), Some(last)) => is_text(first) && is_text(last),
        _ => bytes.iter().all(|&byte| has(byte, TEXT)),
    }
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
    classes_of(byte) & class != 0
}

fn classes_of(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
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
        // unreserved, sub-delims
        if alphanumeric || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=') {
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
        assert_eq!(members(REG_NAME), sorted("-._~!$&'()*+,;="));
        assert_eq!(members(TARGET), sorted("!$%&'()*+,-./:;=?@[\\]^_`{|}~"));
        assert!((0x80..=0xff).all(|byte| has(byte, TEXT) && !has(byte, TCHAR | REG_NAME | TARGET)));
    }

    #[test]
    fn every_byte_counts_at_every_place() {
        for length in 0..40 {
            let mut bytes = alloc::vec![b'a'; length];
            assert_eq!((is_field_value(&bytes), is_token(&bytes)), (true, length > 0));
            for at in 0..length {
                for byte in 0..=0xff {
                    bytes[at] = byte;
                    assert_eq!((is_field_value(&bytes), is_token(&bytes)), (is_text(byte), is_tchar(byte)));
                }
                bytes[at] = b'a';
            }
        }
    }

    #[test]
    fn names_are_compared_without_case() {
        for byte in (0..=0xff).filter(|&byte| is_tchar(byte)) {
            assert_eq!(is_name(&[b'T', byte], b"te"), byte.eq_ignore_ascii_case(&b'e'));
            assert_eq!(is_name(&[b'a', byte], b"a-"), byte == b'-');
        }
        assert!(!is_name(b"tee", b"te") && !is_name(b"t", b"te") && is_name(b"Content-LENGTH", b"content-length"));
    }

    #[test]
    fn trim_takes_both_ends() {
        assert_eq!(trim(b" \ta b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
    }
}
