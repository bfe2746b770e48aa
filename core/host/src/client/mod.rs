//! `publish` and `tail`: a client for the terminal, over blocking sockets and the core's codecs.

mod exchange;

use crate::args::{Publish, Tail};
use crate::failure::Failure;
use crate::io::reason;
use crate::log::say;
use crate::url::Url;
use brolly_core::http1::{Part, StatusCode};
use brolly_core::sse::{Dispatched, Parser};
use exchange::{Exchange, encode};
use serde::Deserialize;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;
use std::{io, thread};

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
    // A page for browsers says nothing here.
    let text = text.trim().lines().next().filter(|line| !line.starts_with('<')).unwrap_or_default();
    let colon = if text.is_empty() { "" } else { ": " };
    Failure::new(format!("{url} refused: {status} {}{colon}{text}", status.reason()))
}

/// From three quarters to five quarters, so that not all clients come back at once.
fn jittered(delay: Duration) -> Duration {
    let mut random = [0];
    // Without randomness there is no jitter.
    let _ = getrandom::fill(&mut random);
    delay * (192 + u32::from(random[0] / 2)) / 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A server that answers one connection after the other with `answers`; returns the requests.
    fn server(answers: &'static [&'static str]) -> (Url, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let serve = move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
                // The content may come later than the head.
                let end = |request: &[u8]| match request.windows(15).any(|window| window == b"content-length:") {
                    true => request.ends_with(b"body"),
                    false => request.ends_with(b"\r\n\r\n"),
                };
                while !end(&request) {
                    let read = stream.read(&mut chunk).unwrap();
                    request.extend_from_slice(&chunk[..read]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                requests.push(String::from_utf8(request).unwrap());
            }
            requests
        };
        (url, thread::spawn(serve))
    }

    /// Takes some lines, then is closed.
    struct Lines(Vec<String>, usize);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.concat().matches('\n').count() == self.1 {
                return Err(ErrorKind::BrokenPipe.into());
            }
            self.0.push(String::from_utf8_lossy(bytes).into());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_message_is_published_and_the_receipt_returned() {
        let (url, requests) = server(&["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"]);
        let authority = url.authority();
        let message = Publish { url, topic: "a b/ü".into(), data: Some("body".into()) };
        assert_eq!(publish(&message), Ok("{}\n".into()));
        let expected = format!(
            "POST /-/publish/a%20b/%C3%BC HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody"
        );
        assert_eq!(requests.join().unwrap(), [expected]);
    }

    #[test]
    fn a_refusal_is_told() {
        let (url, requests) = server(&["HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\r\ntoo long\n"]);
        let message = Publish { url: url.clone(), topic: "a".into(), data: Some("body".into()) };
        let failure = publish(&message).unwrap_err();
        assert_eq!(failure.to_string(), format!("{url} refused: 413 Content Too Large: too long"));
        requests.join().unwrap();
        let failure = publish(&message).unwrap_err();
        assert_eq!(failure.to_string(), format!("cannot publish to {url}: nobody listens there"));
    }

    #[test]
    fn tail_comes_back_where_it_was() {
        let (url, requests) = server(&[
            "HTTP/1.1 200 OK\r\n\r\nretry: 10\nid: 1\ndata: one\n\nid: 2\ndata: two\ndata: lines\n\nid: 3\ndata: los",
            "HTTP/1.1 503 Service Unavailable\r\n\r\nfull",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\ndata: three\n\ndat\r\n9\r\na: four\n\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\ndata: five\n\n",
        ]);
        let mut out = Lines(Vec::new(), 5);
        tail(&Tail { url, topics: vec!["a".into(), "b&c".into()] }, &mut out).unwrap();
        assert_eq!(out.0.concat(), "one\ntwo\nlines\nthree\nfour\n");
        let requests = requests.join().unwrap();
        assert!(requests[0].starts_with("GET /-/sse?topic=a&topic=b%26c HTTP/1.1\r\n"));
        assert!(!requests[0].contains("last-event-id"));
        for request in &requests[1..] {
            assert!(request.contains("\r\nlast-event-id: 2\r\n"), "{request}");
        }
    }

    #[test]
    fn tail_gives_up_where_there_is_nothing() {
        let (url, requests) = server(&["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"]);
        let follow = Tail { url: url.clone(), topics: vec!["a".into()] };
        let failure = tail(&follow, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.to_string(), format!("{url} refused: 404 Not Found"));
        requests.join().unwrap();
        let failure = tail(&follow, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.to_string(), format!("cannot follow {url}: nobody listens there"));
    }
}
