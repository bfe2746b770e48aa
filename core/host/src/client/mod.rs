//! Clients: `publish` and `tail` for the terminal, and WebSockets for both runtimes.
//!
//! | file | what |
//! |---|---|
//! | `endpoint.rs` | WebSockets over any runtime |
//! | `exchange.rs` | one request over a blocking socket |
//! | `stream.rs`, `socket.rs` | what `tail` follows: an event stream, a WebSocket |

mod endpoint;
mod exchange;
mod socket;
mod stream;

pub use endpoint::{ConnectError, Endpoint, Network, WebSocket};

use crate::args::{Publish, Tail};
use crate::failure::Failure;
use crate::io::reason;
use crate::log::say;
use crate::url::Url;
use brolly_core::http1::{Part, StatusCode};
use exchange::{Exchange, encode};
use serde::Deserialize;
use socket::Socket;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;
use std::{io, thread};
use stream::EventStream;

/// Between two attempts to connect, unless the server wishes otherwise; doubled up to a minute.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LAST_DELAY: Duration = Duration::from_secs(60);
/// The longest event or message (bytes). It is at most as long as the server accepts.
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
pub fn tail(tail: &Tail, network: &impl Network, out: &mut impl Write) -> Result<(), Failure> {
    let topics: Vec<_> = tail.topics.iter().map(|topic| format!("topic={}", encode(topic, b""))).collect();
    let topics = topics.join("&");
    if tail.url.is_websocket {
        let endpoint = Endpoint::new(tail.url.clone(), tail.authorities.clone())?;
        follow(&tail.url, Socket::new(endpoint, network, &topics), out)
    } else {
        follow(&tail.url, EventStream::new(tail.url.clone(), &topics), out)
    }
}

/// What can be followed, and followed again from where it ended.
trait Source {
    /// Connects, and writes messages to the end; says when they have begun.
    fn follow(&mut self, has_begun: &mut bool, out: &mut impl Write) -> Result<(), End>;

    /// How long the server wants us to wait before we come back.
    fn reconnection_time(&self) -> Option<Duration> {
        None
    }
}

/// Follows, and comes back for as long as there is any hope.
fn follow(url: &Url, mut source: impl Source, out: &mut impl Write) -> Result<(), Failure> {
    let (mut is_known, mut delay) = (false, FIRST_DELAY);
    loop {
        let mut has_begun = false;
        let why = match source.follow(&mut has_begun, out) {
            Ok(()) => "the server ended the stream".to_owned(),
            Err(End::Final(failure)) => return Err(failure),
            Err(End::Silent) => return Ok(()),
            Err(End::Lost(why)) => why,
        };
        if !is_known && !has_begun {
            return Err(Failure::new(format!("cannot follow {url}: {why}")));
        }
        if has_begun {
            (is_known, delay) = (true, source.reconnection_time().unwrap_or(FIRST_DELAY).min(LAST_DELAY));
        }
        let wait = jittered(delay);
        say(&format!("{url}: {why}; trying again in {:.1} s", wait.as_secs_f32()));
        thread::sleep(wait);
        delay = (delay * 2).clamp(FIRST_DELAY, LAST_DELAY);
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

/// A status that is none of those that are followed: there is hope if the server is to blame.
fn refusal(url: &Url, status: StatusCode, text: &[u8]) -> End {
    let failure = refused(url, status, &String::from_utf8_lossy(text));
    if status.as_u16() >= 500 { End::Lost(failure.to_string()) } else { End::Final(failure) }
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

impl Recovery<'_> {
    fn say(&self) {
        let Self { topic, outcome } = self;
        match *outcome {
            "resumed" => {}
            "gap" => say(&format!("{topic}: messages are missing here; the server kept too few")),
            "refused" => say(&format!("{topic}: messages may be missing here; the server has begun anew")),
            outcome => say(&format!("{topic}: {outcome}")),
        }
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
mod tests;
