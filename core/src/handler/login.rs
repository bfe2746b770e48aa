//! HTTP's own login (RFC 7617), and keys (RFC 6750).

use crate::http1::Fields;
use alloc::boxed::Box;
use alloc::string::String;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The name and the password of a request. `None`: there are none, in more than one way, or none that can be read.
pub fn credentials(fields: &Fields<'_>) -> Option<(Box<str>, Box<str>)> {
    let mut values = fields.all("authorization");
    let value = values.next().filter(|_| values.next().is_none())?;
    // The charset that was asked for is UTF-8 (RFC 7617 §2.1).
    let decoded = String::from_utf8(STANDARD.decode(token(value, b"basic")?).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    // RFC 7617 §2: neither has control characters.
    (!decoded.contains(char::is_control)).then(|| (user.into(), password.into()))
}

/// The key that an `Authorization` shows.
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    token(value, b"bearer")
}

/// What follows a scheme: its name in any case, then one or more spaces (RFC 9110 §11.1, §11.4).
fn token<'v>(value: &'v [u8], wanted: &[u8]) -> Option<&'v [u8]> {
    let (scheme, token) = value.split_at_checked(value.iter().position(|byte| *byte == b' ')?)?;
    scheme.eq_ignore_ascii_case(wanted).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Limits, Part, RequestDecoder};
    use alloc::format;

    fn read(lines: &str) -> Option<(String, String)> {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut decoder = RequestDecoder::new(Limits::default());
        let Ok((_, Some(Part::Head(head, _)))) = decoder.decode(text.as_bytes()) else { panic!("{text}") };
        credentials(&head.fields).map(|(user, password)| (user.into(), password.into()))
    }

    #[test]
    fn names_and_passwords_of_rfc_7617() {
        let basic = |text: &str| format!("Authorization: Basic {}\r\n", STANDARD.encode(text));
        let both = |user: &str, password: &str| Some((user.into(), password.into()));
        assert_eq!(read("authorization: bAsIc  QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), both("Aladdin", "open sesame"));
        assert_eq!(read("Authorization: Basic dGVzdDoxMjPCow==\r\n"), both("test", "123£"));
        assert_eq!(read(&basic("a:b:c")), both("a", "b:c"));
        assert_eq!(read(&basic(":")), both("", ""));
        for lines in [
            String::new(),
            "Authorization: Basic\r\n".into(),
            "Authorization: Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n".into(),
            "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ\r\n".into(),
            "Authorization: Basic ????\r\n".into(),
            "Authorization: Basic /w==\r\n".into(),
            basic("nothing"),
            basic("a\n:b"),
            basic("a:\0"),
            basic("a:b") + &basic("a:b"),
        ] {
            assert_eq!(read(&lines), None, "{lines}");
        }
    }
}
