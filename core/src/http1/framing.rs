//! Where a message ends (RFC 9112 §6): the one place that decides it, for requests and for responses.

use super::fields::{Fields, Members};
use super::grammar::{is_name, is_token, trim};
use super::{Method, ParseError, StatusCode, Version};

/// How the content of a message is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Framing {
    /// There is no content, whatever the fields say or because they say nothing.
    Empty,
    /// So many bytes; possibly zero.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// Everything until the server closes; only in responses.
    UntilClose,
}

/// What framing and persistence depend on, from one pass over the fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Survey<'a> {
    pub(super) host: Lone<'a>,
    content_length: Lone<'a>,
    transfer_encoding: Lone<'a>,
    pub(super) options: Options,
}

/// A field that should not be repeated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Lone<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    Repeated,
}

/// What `Connection` and `Expect` ask for.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    pub(super) expects_continue: bool,
    pub(super) expects_more: bool,
}

impl<'a> Survey<'a> {
    pub(super) fn new(fields: &Fields<'a>) -> Self {
        let mut survey = Self::default();
        for (name, value) in fields.pairs() {
            if is_name(name, b"host") {
                survey.host.add(value);
            } else if is_name(name, b"connection") {
                survey.options.add(value);
            } else if is_name(name, b"content-length") {
                survey.content_length.add(value);
            } else if is_name(name, b"transfer-encoding") {
                survey.transfer_encoding.add(value);
            } else if is_name(name, b"expect") {
                survey.options.expect(value);
            }
        }
        survey
    }

    /// The framing of a request.
    pub(super) fn request_framing(&self, version: Version, fields: &Fields<'_>) -> Result<Framing, ParseError> {
        match self.declared(version, fields)? {
            Framing::Chunked => Ok(Framing::Chunked),
            // RFC 9112 §6.3 rule 6: "If a valid Content-Length header field is present without Transfer-Encoding, its
            // decimal value defines the expected message body length in octets."
            Framing::Length(length) => Ok(Framing::Length(length)),
            // Rule 7: "If this is a request message and none of the above are true, then the message body length is
            // zero (no message body is present)."
            Framing::Empty | Framing::UntilClose => Ok(Framing::Empty),
        }
    }

    /// The framing of a response with `status` to a request of the kind `asked`.
    pub(super) fn response_framing(
        &self,
        asked: Asked,
        status: StatusCode,
        version: Version,
        fields: &Fields<'_>,
    ) -> Result<Framing, ParseError> {
        // Contradictions are refused even where no content can follow: who sends them cannot be trusted with the rest.
        let declared = self.declared(version, fields)?;
        // Rule 1: "Any response to a HEAD request and any response with a 1xx (Informational), 204 (No Content), or 304
        // (Not Modified) status code is always terminated by the first empty line after the header fields".
        if asked == Asked::Head || status.forbids_content() {
            return Ok(Framing::Empty);
        }
        // Rule 2: "Any 2xx (Successful) response to a CONNECT request implies that the connection will become a tunnel
        // immediately after the empty line [...] A client MUST ignore any Content-Length or Transfer-Encoding".
        if asked == Asked::Connect && status.is_success() {
            return Ok(Framing::Empty);
        }
        match declared {
            // Rule 8: "Otherwise, this is a response message without a declared message body length, so the message
            // body length is determined by the number of octets received prior to the server closing the connection."
            Framing::Empty | Framing::UntilClose => Ok(Framing::UntilClose),
            Framing::Chunked => Ok(Framing::Chunked),
            Framing::Length(length) => Ok(Framing::Length(length)),
        }
    }

    /// What the fields declare; `Empty` if they declare nothing.
    fn declared(&self, version: Version, fields: &Fields<'_>) -> Result<Framing, ParseError> {
        match (self.transfer_encoding, self.content_length) {
            (Lone::Absent, Lone::Absent) => Ok(Framing::Empty),
            (Lone::Absent, Lone::Once(value)) => content_length(value).map(Framing::Length),
            // Rule 5: "If a message is received without Transfer-Encoding and with an invalid Content-Length header
            // field, then the message framing is invalid and the recipient MUST treat it as an unrecoverable error".
            // The RFC would let us merge equal values; we do not.
            (Lone::Absent, Lone::Repeated) => Err(ParseError::ContentLength),
            // Rule 3: "such a message might indicate an attempt to perform request smuggling or response splitting and
            // ought to be handled as an error."
            (Lone::Once(_) | Lone::Repeated, Lone::Once(_) | Lone::Repeated) => {
                Err(ParseError::ContentLengthWithTransferEncoding)
            }
            // §6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header field
            // MUST treat the message as if the framing is faulty".
            (Lone::Once(_) | Lone::Repeated, Lone::Absent) if version == Version::Http10 => {
                Err(ParseError::TransferEncoding)
            }
            (Lone::Once(value), Lone::Absent) if value.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Lone::Once(_) | Lone::Repeated, Lone::Absent) => Err(transfer_encoding(fields)),
        }
    }
}

impl<'a> Lone<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }
}

impl Options {
    fn add(&mut self, value: &[u8]) {
        for option in Members::new(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// RFC 9110 §10.1.1: a list, in which there is only one word.
    fn expect(&mut self, value: &[u8]) {
        for expectation in Members::new(value) {
            let is_continue = expectation.eq_ignore_ascii_case(b"100-continue");
            self.expects_continue |= is_continue;
            self.expects_more |= !is_continue;
        }
    }

    /// RFC 9112 §9.3.
    pub(super) fn persist(self, version: Version) -> bool {
        match version {
            Version::Http10 => self.keep_alive && !self.close,
            Version::Http11 => !self.close,
        }
    }
}

/// Which request a response answers, as far as framing depends on it (RFC 9112 §6.3 rules 1 and 2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Asked {
    Connect,
    Head,
    Other,
}

impl Asked {
    pub(super) fn new(method: Method<'_>) -> Self {
        match method {
            Method::Connect => Self::Connect,
            Method::Head => Self::Head,
            Method::Get
            | Method::Post
            | Method::Put
            | Method::Delete
            | Method::Options
            | Method::Trace
            | Method::Patch
            | Method::Other(_) => Self::Other,
        }
    }
}

/// RFC 9110 §8.6: `Content-Length = 1*DIGIT`, and "a recipient MUST anticipate potentially large decimal numerals and
/// prevent parsing errors due to integer conversion overflows".
fn content_length(value: &[u8]) -> Result<u64, ParseError> {
    if value.is_empty() {
        return Err(ParseError::ContentLength);
    }
    let length = value.iter().try_fold(0u64, |length, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    });
    length.ok_or(ParseError::ContentLength)
}

/// What is wrong with a `Transfer-Encoding` that is not `chunked` alone.
#[cold]
fn transfer_encoding(fields: &Fields<'_>) -> ParseError {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings = || fields.all("transfer-encoding").flat_map(|value| value.split(|&byte| byte == b',')).map(trim);
    // Only the name: a coding may have parameters, unless it is `chunked` (RFC 9112 §7).
    let well_formed = |coding: &[u8]| {
        let name = coding.split(|&byte| byte == b';').next().map(trim).unwrap_or_default();
        is_token(name) && (coding.len() == name.len() || !is_chunked(name))
    };
    let chunked = codings().filter(|coding| is_chunked(coding)).count();
    // Rule 4: "If a Transfer-Encoding header field is present in a request and the chunked transfer coding is not the
    // final encoding, the message body length cannot be determined reliably; the server MUST respond with the 400".
    // §6.1: "A sender MUST NOT apply the chunked transfer coding more than once to a message body". Empty members must
    // be accepted in lists (RFC 9110 §5.6.1.2), but nothing honest sends them here.
    if !codings().all(well_formed) || chunked > 1 || (chunked == 1 && !codings().last().is_some_and(is_chunked)) {
        return ParseError::TransferEncoding;
    }
    // §6.1: "A server that receives a request message with a transfer coding it does not understand SHOULD respond with
    // 501".
    ParseError::UnknownTransferCoding
}

#[cfg(test)]
mod tests {
    use super::super::tokenise;
    use super::*;
    use ParseError as E;

    fn survey(section: &str) -> (Fields<'_>, Survey<'_>) {
        let fields = Fields::new(section.as_bytes(), tokenise::fields(section.as_bytes(), 0).unwrap());
        let survey = Survey::new(&fields);
        (fields, survey)
    }

    fn request(section: &str, version: Version) -> Result<Framing, ParseError> {
        let (fields, survey) = survey(section);
        survey.request_framing(version, &fields)
    }

    #[test]
    fn content_length_is_digits_once() {
        let cl = |value| request(&alloc::format!("Content-Length: {value}\r\n\r\n"), Version::Http11);
        assert_eq!(cl("0"), Ok(Framing::Length(0)));
        assert_eq!(cl("007"), Ok(Framing::Length(7)));
        assert_eq!(cl("18446744073709551615"), Ok(Framing::Length(u64::MAX)));
        for value in [
            "",
            "+1",
            "-1",
            "1 ,1",
            "1,1",
            "1, 1",
            ",1",
            "1,",
            "0x1",
            "1.0",
            "1e1",
            "1 1",
            "a",
            "\"1\"",
            "١",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            assert_eq!(cl(value), Err(E::ContentLength), "{value}");
        }
        for section in
            ["Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "content-length: 1\r\nCONTENT-LENGTH: 2\r\n\r\n"]
        {
            assert_eq!(request(section, Version::Http11), Err(E::ContentLength));
        }
    }

    #[test]
    fn transfer_encoding_is_chunked_and_nothing_else() {
        let te = |value| request(&alloc::format!("Transfer-Encoding:{value}\r\n\r\n"), Version::Http11);
        for value in ["chunked", " chunked", "\tCHUNKED \t", "Chunked"] {
            assert_eq!(te(value), Ok(Framing::Chunked), "{value}");
        }
        for value in [
            "",
            " ",
            ",",
            "chunked,",
            ",chunked",
            "chunked, chunked",
            "chunked, gzip",
            "chunked;a=b",
            "gzip,,chunked",
            "\"chunked\"",
            "chunked gzip",
            "chu\u{e9}nked",
            "chunked\u{a0}",
            "chunked, identity",
        ] {
            assert_eq!(te(value), Err(E::TransferEncoding), "{value}");
        }
        for value in [
            "gzip, chunked",
            "gzip",
            "identity",
            "xchunked",
            "chunkedx",
            "x;a=b, chunked",
            "chunke",
            "identity, chunked",
        ] {
            assert_eq!(te(value), Err(E::UnknownTransferCoding), "{value}");
        }
        for (lines, error) in [
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", E::TransferEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", E::TransferEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n\r\n", E::TransferEncoding),
            ("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n", E::UnknownTransferCoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", E::ContentLengthWithTransferEncoding),
            ("Content-Length: 1\r\nTransfer-Encoding: x\r\n\r\n", E::ContentLengthWithTransferEncoding),
            ("Content-Length: x\r\nTransfer-Encoding:\r\n\r\n", E::ContentLengthWithTransferEncoding),
        ] {
            assert_eq!(request(lines, Version::Http11), Err(error), "{lines}");
        }
        assert_eq!(request("Transfer-Encoding: chunked\r\n\r\n", Version::Http10), Err(E::TransferEncoding));
    }

    #[test]
    fn the_framing_of_a_response_depends_on_request_and_status() {
        use Framing::{Chunked, Empty, Length, UntilClose};
        let sections = ["\r\n", "Content-Length: 5\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"];
        for (asked, status, expected) in [
            (Asked::Other, 200, [UntilClose, Length(5), Chunked]),
            (Asked::Other, 404, [UntilClose, Length(5), Chunked]),
            (Asked::Other, 205, [UntilClose, Length(5), Chunked]),
            (Asked::Other, 204, [Empty; 3]),
            (Asked::Other, 304, [Empty; 3]),
            (Asked::Other, 103, [Empty; 3]),
            (Asked::Head, 200, [Empty; 3]),
            (Asked::Head, 500, [Empty; 3]),
            (Asked::Connect, 200, [Empty; 3]),
            (Asked::Connect, 299, [Empty; 3]),
            (Asked::Connect, 407, [UntilClose, Length(5), Chunked]),
        ] {
            let framings = sections.map(|section| {
                let (fields, survey) = survey(section);
                survey.response_framing(asked, StatusCode::new(status).unwrap(), Version::Http11, &fields).unwrap()
            });
            assert_eq!(framings, expected, "{asked:?} {status}");
        }
    }

    #[test]
    fn persistence_follows_version_and_connection_options() {
        for (section, in_10, in_11) in [
            ("\r\n", false, true),
            ("Connection: close\r\n\r\n", false, false),
            ("Connection: keep-alive\r\n\r\n", true, true),
            ("Connection: Keep-Alive, CLOSE\r\n\r\n", false, false),
            ("Connection: x\r\nConnection: , close\r\n\r\n", false, false),
            ("Connection: closed, keep-aliv\r\n\r\n", false, true),
        ] {
            let options = survey(section).1.options;
            assert_eq!(
                (options.persist(Version::Http10), options.persist(Version::Http11)),
                (in_10, in_11),
                "{section}"
            );
        }
    }
}
