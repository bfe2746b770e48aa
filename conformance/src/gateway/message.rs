//! Messages as a recipient without any tolerance reads them: what the gateway writes must be readable by everyone.

use std::fmt;

/// A message, or as much of it as its head.
#[derive(Clone, Default)]
pub(crate) struct Message {
    /// The request line or the status line.
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// Something that cannot be read, in words.
pub(crate) type Fault = String;

/// Reads the head at the beginning of `bytes`; returns how long it is. `None`: there is more to come.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<(Message, usize)>, Fault> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return match bytes.len() {
            0..=1_000_000 => Ok(None),
            _ => Err("a head without an end".into()),
        };
    };
    let text = str::from_utf8(&bytes[..end]).map_err(|_| "a head that is not UTF-8")?;
    if text.bytes().any(|byte| byte == 0 || byte == 0x7f || byte < b' ' && !b"\r\n\t".contains(&byte)) {
        return Err(format!("control characters in {text:?}"));
    }
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let fields = lines.map(field).collect::<Result<_, _>>()?;
    Ok(Some((Message { start, fields, ..Message::default() }, end + 4)))
}

/// `name: value`, and nothing that anybody reads otherwise.
fn field(line: &str) -> Result<(String, String), Fault> {
    let wrong = || format!("the field line {line:?}");
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) || value.contains(['\r', '\n']) {
        return Err(wrong());
    }
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

/// Reads content with this framing from the beginning of `bytes`; returns how long it is, or `None` as long as it is not
/// complete.
pub(crate) fn content(framing: Framing, bytes: &[u8], message: &mut Message) -> Result<Option<usize>, Fault> {
    let mut at = 0;
    match framing {
        Framing::UntilClose => return Ok(None),
        Framing::Length(length) => {
            let Some(content) = bytes.get(..length) else { return Ok(None) };
            message.content = content.to_vec();
            return Ok(Some(length));
        }
        Framing::Chunked => {}
    }
    let mut content = Vec::new();
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = &bytes[at..at + line];
        let wrong = || format!("the chunk size {:?}", String::from_utf8_lossy(size));
        if size.is_empty() || size.len() > 8 || !size.iter().all(u8::is_ascii_hexdigit) {
            return Err(wrong());
        }
        let size = usize::from_str_radix(str::from_utf8(size).map_err(|_| wrong())?, 16).map_err(|_| wrong())?;
        at += line + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let (data, end) = chunk.split_at(size);
        if end != b"\r\n" {
            return Err(format!("a chunk that ends with {end:?}"));
        }
        content.extend_from_slice(data);
        at += size + 2;
    }
    let mut trailers = Vec::new();
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let text = str::from_utf8(&bytes[at..at + line]).map_err(|_| "a trailer that is not UTF-8")?;
        at += line + 2;
        if text.is_empty() {
            break;
        }
        trailers.push(field(text)?);
    }
    (message.content, message.trailers) = (content, trailers);
    Ok(Some(at))
}

/// Reads a WebSocket frame from the beginning of `bytes`: its first byte and its payload, unmasked, and how long it is. `None`: there
/// is more to come.
pub(crate) fn frame(bytes: &[u8], is_from_client: bool) -> Result<Option<(Vec<u8>, usize)>, Fault> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if (second & 0x80 != 0) != is_from_client {
        return Err("only frames of clients are masked".into());
    }
    let (extended, key) = (
        match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        },
        if is_from_client { 4 } else { 0 },
    );
    let Some((extended, rest)) = rest.split_at_checked(extended) else { return Ok(None) };
    let length = match extended {
        [] => usize::from(second & 0x7F),
        extended => extended.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    };
    let Some((key, rest)) = rest.split_at_checked(key) else { return Ok(None) };
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let key = if key.is_empty() { &[0; 4] } else { key };
    let unmasked = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    Ok(Some(([*first].into_iter().chain(unmasked).collect(), bytes.len() - rest.len() + length)))
}

impl Message {
    /// The framing of a request, which must be beyond all doubt (RFC 9112 §6).
    pub(crate) fn request_framing(&self) -> Result<Framing, Fault> {
        match self.declared()? {
            Framing::UntilClose => Ok(Framing::Length(0)),
            framing => Ok(framing),
        }
    }

    /// The framing of a response to anything but HEAD.
    pub(crate) fn response_framing(&self) -> Result<Framing, Fault> {
        let status = self.status()?;
        match self.declared()? {
            _ if (100..200).contains(&status) || status == 204 || status == 304 => Ok(Framing::Length(0)),
            framing => Ok(framing),
        }
    }

    fn declared(&self) -> Result<Framing, Fault> {
        let lengths: Vec<_> = self.all("content-length").collect();
        let codings: Vec<_> = self.all("transfer-encoding").collect();
        match (&lengths[..], &codings[..]) {
            ([], []) => Ok(Framing::UntilClose),
            ([], ["chunked"]) => Ok(Framing::Chunked),
            ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().map(Framing::Length).map_err(|error| format!("{error}: {length}"))
            }
            _ => Err(format!("the framing of {self:?}")),
        }
    }

    /// What a backend must never see, whatever the client said (RFC 9110 §7.6.1, RFC 9112 §3.2).
    pub(crate) fn check_request(&self) -> Result<(), Fault> {
        let mut parts = self.start.split(' ');
        let (Some(_), Some(target), Some("HTTP/1.1"), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(format!("the request line {:?}", self.start));
        };
        if !(target.starts_with('/') || target == "*") || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("the target {target:?}"));
        }
        if self.all("host").count() != 1 {
            return Err(format!("not one Host in {self:?}"));
        }
        for name in ["keep-alive", "proxy-connection", "proxy-authorization", "expect"] {
            if self.get(name).is_some() {
                return Err(format!("{name} in {self:?}"));
            }
        }
        // What is for this connection only is named, and nothing else is.
        let options: Vec<_> = self.all("connection").flat_map(|value| value.split(", ")).collect();
        let mut named: Vec<_> = ["te", "upgrade"].into_iter().filter(|name| self.get(name).is_some()).collect();
        named.extend(options.contains(&"close").then_some("close"));
        named.sort_unstable();
        let mut sorted = options.clone();
        sorted.sort_unstable();
        if sorted != named || self.all("te").any(|value| value != "trailers") {
            return Err(format!("Connection in {self:?}"));
        }
        Ok(())
    }

    /// What every answer has, whoever made it.
    pub(crate) fn check_response(&self) -> Result<(), Fault> {
        let status = self.status()?;
        let is_final = status >= 200;
        if (!is_final || status == 204) && (self.get("content-length").or(self.get("transfer-encoding")).is_some()) {
            // RFC 9110 §8.6, RFC 9112 §6.1.
            return Err(format!("framing in {self:?}"));
        }
        // RFC 9110 §6.6.1.
        for name in ["date", "x-barium"] {
            if is_final && self.all(name).count() != 1 {
                return Err(format!("not one {name} in {self:?}"));
            }
        }
        for name in ["keep-alive", "proxy-connection", "te"] {
            if self.get(name).is_some() {
                return Err(format!("{name} in {self:?}"));
            }
        }
        match self.all("connection").collect::<Vec<_>>()[..] {
            [] | ["close" | "keep-alive"] => Ok(()),
            // RFC 9110 §15.5.22: 426 says it, too.
            [option] if matches!(status, 101 | 426) && option.eq_ignore_ascii_case("upgrade") => Ok(()),
            _ => Err(format!("Connection in {self:?}")),
        }
    }

    pub(crate) fn status(&self) -> Result<u16, Fault> {
        let status = self.start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        status.ok_or_else(|| format!("the status line {:?}", self.start))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the sender of this response wants another request.
    pub(crate) fn persists(&self) -> bool {
        self.get("connection") != Some("close") && self.status().is_ok_and(|status| status != 101)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.start)?;
        self.fields.iter().try_for_each(|(name, value)| write!(f, " | {name}: {value}"))?;
        let some = &self.content[..self.content.len().min(200)];
        write!(f, "] {} bytes {:?}", self.content.len(), String::from_utf8_lossy(some))?;
        self.trailers.iter().try_for_each(|(name, value)| write!(f, " | {name}: {value}"))
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_everybody_reads_alike_is_read() {
        for wrong in [":c", "a b: c", "a", " a: b", "a : b"] {
            assert!(head(format!("GET / HTTP/1.1\r\n{wrong}\r\n\r\n").as_bytes()).is_err(), "{wrong:?}");
        }
        for wrong in ["+1", "1, 1", "", "0x1"] {
            let text = format!("GET / HTTP/1.1\r\nContent-Length: {wrong}\r\n\r\n");
            assert!(head(text.as_bytes()).unwrap().unwrap().0.request_framing().is_err(), "{wrong:?}");
        }
        for wrong in ["5;a=b\r\n", " 5\r\n", "5 \r\n", "1\r\nabc\r\n", "\r\n"] {
            assert!(content(Framing::Chunked, wrong.as_bytes(), &mut Message::default()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn chunks_and_trailers_are_read() {
        let mut message = Message::default();
        let bytes = b"5\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 6\r\n\r\nrest";
        assert_eq!(content(Framing::Chunked, bytes, &mut message), Ok(Some(bytes.len() - 4)));
        assert_eq!(message.content, b"hello!");
        assert_eq!(message.trailers, [("x-sum".into(), "6".into())]);
        for cut in 0..bytes.len() - 4 {
            assert_eq!(content(Framing::Chunked, &bytes[..cut], &mut Message::default()), Ok(None), "{cut}");
        }
    }
}
