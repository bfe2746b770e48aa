//! `publish` and `tail`: a client for the terminal, over blocking sockets and the core's codecs.

use crate::args::{Publish, Tail};
use crate::failure::Failure;
use crate::io::reason;
use crate::log::say;
use crate::url::Url;
use brolly_core::http1::{HeadWriter, Limits, Method, Part, ResponseDecoder, ResponseHead, StatusCode};
use brolly_core::outbox::Outbox;
use brolly_core::sse::{Dispatched, Parser};
use serde::Deserialize;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use std::{io, thread};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that says nothing for so long is gone: its heartbeat comes much more often.
const SILENCE: Duration = Duration::from_secs(90);
/// Between two attempts to connect, unless the server wishes otherwise; doubled up to a minute.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LAST_DELAY: Duration = Duration::from_secs(60);
/// The longest event (bytes). A message is at most as long as the server accepts.
const EVENT_BYTES: usize = 64 * 1024 * 1024;
/// The longest answer to a publish that is kept (bytes).
const ANSWER_BYTES: usize = 64 * 1024;

/// Publishes a message; returns the receipt.
///
/// # Errors
/// The message cannot be read, the server cannot be reached, or it refuses.
pub fn publish(publish: &Publish) -> Result<String, Failure> {
    let data = match publish.data.as_deref() {
        None | Some("-") => {
            let mut data = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut data);
            read.map_err(|error| Failure::new(format!("cannot read standard input: {}", reason(&error))))?;
            // The line end that `echo` and editors add is not part of the message.
            if data.last() == Some(&b'\n') {
                data.pop();
            }
            data
        }
        Some(data) => data.as_bytes().to_vec(),
    };
    let path = format!("/-/publish/{}", encode(&publish.topic, b"/"));
    let mut answer = Vec::new();
    let mut status = None;
    let exchange = Exchange::start(&publish.url, "POST", &path, &data, &[]);
    let end = exchange.and_then(|exchange| {
        exchange.receive(|part| {
            match part {
                Part::Head(head, _) => status = Some(head.status),
                Part::Content(bytes) if answer.len() < ANSWER_BYTES => answer.extend_from_slice(bytes),
                Part::Content(_) | Part::End(_) => {}
            }
            Ok(())
        })
    });
    let text = String::from_utf8_lossy(&answer);
    let text = text.trim();
    match (end, status) {
        (Ok(()), Some(StatusCode::OK)) => Ok(format!("{text}\n")),
        (_, Some(status)) if status != StatusCode::OK => Err(refused(&publish.url, status, text)),
        (Ok(()), _) => Err(Failure::new(format!("{} did not answer", publish.url))),
        (Err(why), _) => Err(Failure::new(format!("cannot publish to {}: {why}", publish.url))),
    }
}

/// Writes the messages of topics to `out`, one per line, for as long as it can.
///
/// # Errors
/// The server cannot be reached at first, or it refuses, or `out` fails.
pub fn tail(tail: &Tail, out: &mut impl Write) -> Result<(), Failure> {
    let topics: Vec<_> = tail.topics.iter().map(|topic| format!("topic={}", encode(topic, b""))).collect();
    let path = format!("/-/sse?{}", topics.join("&"));
    let mut parser = Parser::new(EVENT_BYTES);
    let (mut is_known, mut delay) = (false, FIRST_DELAY);
    loop {
        let mut has_begun = false;
        let why = match follow(&tail.url, &path, &mut parser, &mut has_begun, out) {
            Ok(()) => "the server ended the stream".to_owned(),
            Err(End::Final(failure)) => return Err(failure),
            Err(End::Silent) => return Ok(()),
            Err(End::Lost(why)) => why,
        };
        if !is_known && !has_begun {
            return Err(Failure::new(format!("cannot follow {}: {why}", tail.url)));
        }
        if has_begun {
            (is_known, delay) = (true, parser.reconnection_time().unwrap_or(FIRST_DELAY).min(LAST_DELAY));
        }
        let wait = jittered(delay);
        say(&format!("{}: {why}; trying again in {:.1} s", tail.url, wait.as_secs_f32()));
        thread::sleep(wait);
        delay = (delay * 2).clamp(FIRST_DELAY, LAST_DELAY);
        parser.restart();
    }
}

/// Why a stream ended.
enum End {
    /// There is no point in trying again.
    Final(Failure),
    /// Nobody reads what we write.
    Silent,
    /// Perhaps the next attempt does better.
    Lost(String),
}

impl From<String> for End {
    fn from(why: String) -> Self {
        Self::Lost(why)
    }
}

/// Follows one stream to its end.
fn follow(url: &Url, path: &str, parser: &mut Parser, has_begun: &mut bool, out: &mut impl Write) -> Result<(), End> {
    let last = parser.last_event_id().clone();
    let resume = [("last-event-id", &*last)];
    let fields = if last.is_empty() { &[][..] } else { &resume[..] };
    let exchange = Exchange::start(url, "GET", path, &[], fields)?;
    let mut refusal: Option<(StatusCode, Vec<u8>)> = None;
    let received = exchange.receive(|part| match part {
        Part::Head(head, _) if head.status == StatusCode::OK => {
            *has_begun = true;
            Ok(())
        }
        Part::Head(head, _) => {
            refusal = Some((head.status, Vec::new()));
            Ok(())
        }
        Part::Content(bytes) => match &mut refusal {
            Some((_, text)) if text.len() < ANSWER_BYTES => {
                text.extend_from_slice(bytes);
                Ok(())
            }
            Some(_) => Ok(()),
            None => print_events(parser, bytes, out),
        },
        Part::End(_) => Ok(()),
    });
    match refusal {
        Some((status, text)) if status.as_u16() >= 500 => {
            Err(End::Lost(refused(url, status, &String::from_utf8_lossy(&text)).to_string()))
        }
        Some((status, text)) => Err(End::Final(refused(url, status, &String::from_utf8_lossy(&text)))),
        None => received,
    }
}

fn print_events(parser: &mut Parser, mut bytes: &[u8], out: &mut impl Write) -> Result<(), End> {
    loop {
        let too_long = |_| End::Final(Failure::new(format!("an event is longer than {EVENT_BYTES} bytes")));
        let (taken, event) = parser.parse(bytes).map_err(too_long)?;
        bytes = bytes.get(taken..).unwrap_or_default();
        let Some(Dispatched { event_type, data, .. }) = event else {
            return out.flush().map_err(|error| unwritten(&error));
        };
        match event_type.as_str() {
            "message" => writeln!(out, "{data}").map_err(|error| unwritten(&error))?,
            "brolly.recovery" => say_recovery(&data),
            _ => {}
        }
    }
}

fn unwritten(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::BrokenPipe => End::Silent,
        _ => End::Final(Failure::new(format!("cannot write: {}", reason(error)))),
    }
}

/// What became of the topics after a reconnect.
#[derive(Deserialize)]
struct Recovery<'a> {
    #[serde(borrow)]
    topic: std::borrow::Cow<'a, str>,
    outcome: &'a str,
}

fn say_recovery(data: &str) {
    match serde_json::from_str(data) {
        Ok(Recovery { outcome: "resumed", .. }) => {}
        Ok(Recovery { outcome: "gap", topic }) => {
            say(&format!("{topic}: messages are missing here; the server kept too few"));
        }
        Ok(Recovery { outcome: "refused", topic }) => {
            say(&format!("{topic}: messages may be missing here; the server has begun anew"));
        }
        Ok(_) | Err(_) => say(&format!("recovery: {data}")),
    }
}

fn refused(url: &Url, status: StatusCode, text: &str) -> Failure {
    let text = text.trim().lines().next().unwrap_or_default();
    let colon = if text.is_empty() { "" } else { ": " };
    Failure::new(format!("{url} refused: {status} {}{colon}{text}", status.reason()))
}

/// One request and its response.
struct Exchange {
    stream: TcpStream,
    decoder: ResponseDecoder,
}

impl Exchange {
    /// Connects and sends the request.
    fn start(url: &Url, method: &str, path: &str, content: &[u8], fields: &[(&str, &str)]) -> Result<Self, String> {
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
    fn receive<E: From<String>>(
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
fn encode(text: &str, also: &[u8]) -> String {
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

/// From three quarters to five quarters, so that not all clients come back at once.
fn jittered(delay: Duration) -> Duration {
    let mut random = [0];
    // Without randomness there is no jitter.
    let _ = getrandom::fill(&mut random);
    delay * (192 + u32::from(random[0] / 2)) / 256
}
