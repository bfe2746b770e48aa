//! One request over a blocking socket, and the parts of its response.

use crate::io::reason;
use crate::url::Url;
use brolly_core::http1::{HeadWriter, Limits, Method, Part, ResponseDecoder, ResponseHead};
use brolly_core::outbox::Outbox;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that says nothing for so long is gone: its heartbeat comes much more often.
const SILENCE: Duration = Duration::from_secs(90);

/// One request and its response.
pub(super) struct Exchange {
    stream: TcpStream,
    decoder: ResponseDecoder,
}

impl Exchange {
    /// Connects and sends the request.
    pub(super) fn start(
        url: &Url,
        method: &str,
        path: &str,
        content: &[u8],
        fields: &[(&str, &str)],
    ) -> Result<Self, String> {
        let mut stream = connect(url)?;
        let mut out = Outbox::new();
        let base = url.path.as_deref().unwrap_or_default().trim_end_matches('/');
        let head = (|| {
            let mut head = HeadWriter::request(&mut out, method, &format!("{base}{path}"))?;
            head.field("host", url.authority().as_bytes())?.field("connection", b"close")?;
            for (name, value) in fields {
                head.field(name, value.as_bytes())?;
            }
            if method == "POST" {
                head.content_length(content.len() as u64)?;
            }
            head.finish();
            Ok(())
        })();
        head.map_err(|error: brolly_core::http1::EncodeError| error.to_string())?;
        // A refusal may come before the content is sent: it is read, whatever became of the rest.
        let sent = stream.write_all(out.tail()).and_then(|()| stream.write_all(content));
        if let Err(error) = sent
            && !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
        {
            return Err(reason(&error));
        }
        let mut decoder = ResponseDecoder::new(Limits::default());
        decoder.expect(if method == "POST" { Method::Post } else { Method::Get });
        Ok(Self { stream, decoder })
    }

    /// Hands the parts of the response to `take`, to the end; interim responses are left out.
    pub(super) fn receive<E: From<String>>(
        mut self,
        mut take: impl FnMut(Part<'_, ResponseHead<'_>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut input, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let mut at = 0;
            while let Some(rest) = input.get(at..) {
                let (taken, part) = self.decoder.decode(rest).map_err(|error| error.to_string())?;
                at += taken;
                match part {
                    Some(Part::Head(head, _)) if head.status.is_informational() => {}
                    Some(part @ Part::End(_)) => return take(part),
                    Some(part) => take(part)?,
                    None => break,
                }
            }
            input.drain(..at);
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    let end = self.decoder.decode_eof().map_err(|_| "the connection was cut".to_owned())?;
                    return end.map_or(Ok(()), take);
                }
                Ok(read) => input.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(format!("nothing came for {} s", SILENCE.as_secs()).into());
                }
                Err(error) => return Err(reason(&error).into()),
            }
        }
    }
}

fn connect(url: &Url) -> Result<TcpStream, String> {
    let addresses = (&*url.host, url.port).to_socket_addrs();
    let addresses = addresses.map_err(|_| format!("there is no address for `{}`", url.host))?;
    let mut why = format!("there is no address for `{}`", url.host);
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                let set = stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.set_write_timeout(Some(SILENCE)));
                return set.map(|()| stream).map_err(|error| reason(&error));
            }
            Err(error) => why = reason(&error),
        }
    }
    Err(why)
}

/// Percent-encodes everything but letters, digits, `-._~` and what `also` says.
pub(super) fn encode(text: &str, also: &[u8]) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            byte if also.contains(&byte) => encoded.push(byte.into()),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
