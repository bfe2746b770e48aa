//! Reads answers off a connection: strictly, and with nothing of brolly's own parsers.

/// A response, interim ones included.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// `HTTP/1.1`.
    pub version: String,
    /// The three digits.
    pub status: u16,
    /// The field lines, with names in lower case.
    pub fields: Vec<(String, String)>,
    /// Without its transfer coding.
    pub content: Vec<u8>,
    /// It ends only with the connection.
    pub until_close: bool,
}

impl Answer {
    /// The value of the first field with this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }

    /// Whether it is not the last answer to its request.
    pub fn is_interim(&self) -> bool {
        self.status / 100 == 1 && self.status != 101
    }

    /// The first answer in `bytes`, and how long it is. `None`: it is not complete yet.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(bytes: &[u8], is_head: bool, is_over: bool) -> Result<Option<(Self, usize)>, String> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some(head_length) = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
            return if is_over { Err(format!("half an answer: \"{}\"", shown(bytes))) } else { Ok(None) };
        };
        let mut answer = Self::head(&bytes[..head_length - 4])?;
        let rest = &bytes[head_length..];
        if is_head || matches!(answer.status, 100..=199 | 204 | 304) {
            return Ok(Some((answer, head_length)));
        }
        let length = answer.field("content-length").map(str::parse);
        let used = match (answer.field("transfer-encoding"), length) {
            (Some(_), Some(_)) => return Err("both Content-Length and Transfer-Encoding".into()),
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => match chunks(rest)? {
                Some((content, used)) => {
                    answer.content = content;
                    Some(used)
                }
                None => None,
            },
            (Some(coding), None) => return Err(format!("the transfer coding `{coding}`")),
            (None, Some(Ok(length))) => {
                answer.content = rest.get(..length).unwrap_or_default().into();
                rest.get(..length).map(<[u8]>::len)
            }
            (None, Some(Err(_))) => return Err("a Content-Length that is not a number".into()),
            (None, None) => {
                answer.until_close = true;
                answer.content = rest.into();
                is_over.then_some(rest.len())
            }
        };
        match used {
            Some(used) => Ok(Some((answer, head_length + used))),
            None if is_over => Err(format!("half the content of a {}", answer.status)),
            None => Ok(None),
        }
    }

    fn head(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "a head that is not ASCII")?;
        if text.replace("\r\n", "").contains(|c: char| c.is_control() && c != '\t') {
            return Err(format!("control characters in a head: {text:?}"));
        }
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let (version, rest) = line.split_once(' ').ok_or_else(|| format!("the status line {line:?}"))?;
        let (status, _) = rest.split_once(' ').ok_or_else(|| format!("the status line {line:?}"))?;
        let status = status.parse().ok().filter(|status| (100..600).contains(status) && rest.as_bytes()[3] == b' ');
        let status = status.ok_or_else(|| format!("the status line {line:?}"))?;
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("the field line {line:?}"))?;
            if name.is_empty() || name.contains([' ', '\t']) {
                return Err(format!("the field line {line:?}"));
            }
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { version: version.into(), status, fields, ..Self::default() })
    }
}

/// The content of a chunked body, and how long that is.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&bytes[at..at + end]).map_err(|_| "a chunk that is not ASCII")?;
        let digits = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("the chunk size {digits:?}"))?;
        at += end + 2;
        if size == 0 {
            break;
        }
        let Some(data) = bytes.get(at..at + size + 2) else { return Ok(None) };
        content.extend_from_slice(&data[..size]);
        if !data.ends_with(b"\r\n") {
            return Err("a chunk without its end".into());
        }
        at += size + 2;
    }
    loop {
        let Some(end) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        at += end + 2;
        if end == 0 {
            return Ok(Some((content, at)));
        }
    }
}

/// Bytes for people, not too many.
pub(super) fn shown(bytes: &[u8]) -> String {
    let some = bytes.get(..200).unwrap_or(bytes);
    format!("{}{}", some.escape_ascii(), if some.len() < bytes.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_they_say() {
        for (bytes, is_head, is_over, length, content) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, false, Some(40), "hi"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true, false, Some(38), ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", false, false, None, ""),
            ("HTTP/1.1 200 \r\n\r\nhi", false, false, None, ""),
            ("HTTP/1.1 200 \r\n\r\nhi", false, true, Some(19), "hi"),
            ("HTTP/1.1 204 No\r\n\r\nhi", false, false, Some(19), ""),
            ("HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nx", false, false, Some(57), "hi"),
        ] {
            let read = Answer::read(bytes.as_bytes(), is_head, is_over).unwrap();
            assert_eq!(read.as_ref().map(|(_, length)| *length), length, "{bytes:?}");
            assert_eq!(read.unwrap_or_default().0.content, content.as_bytes(), "{bytes:?}");
        }
        for wrong in [
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
            "OK\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        ] {
            assert!(Answer::read(wrong.as_bytes(), false, false).is_err(), "{wrong:?}");
        }
    }
}
