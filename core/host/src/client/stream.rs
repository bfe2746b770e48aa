//! An event stream, over a blocking socket.

use super::exchange::Exchange;
use super::{ANSWER_BYTES, EVENT_BYTES, End, Recovery, Source, refusal, unwritten};
use crate::failure::Failure;
use crate::log::say;
use crate::url::Url;
use brolly_core::http1::{Part, StatusCode};
use brolly_core::sse::{Dispatched, Parser, is_event_stream};
use serde::Deserialize;
use std::io::Write;
use std::time::Duration;

/// The topics of one server, from wherever the last event was. As `EventSource` (WHATWG HTML §9.2.2) it gives up on a content that is
/// no event stream, and on every status but 200 and, since it waits for servers that restart, 5xx: on a 204 too, which says "stop".
/// Unlike that one it follows no redirects.
pub(super) struct EventStream {
    url: Url,
    path: String,
    parser: Parser,
}

impl EventStream {
    /// `topics` is the query.
    pub(super) fn new(url: Url, topics: &str) -> Self {
        Self { url, path: format!("/-/sse?{topics}"), parser: Parser::new(EVENT_BYTES) }
    }
}

impl Source for EventStream {
    fn follow(&mut self, has_begun: &mut bool, out: &mut impl Write) -> Result<(), End> {
        self.parser.restart();
        let last = self.parser.last_event_id().clone();
        let resume = [("last-event-id", &*last)];
        let fields = if last.is_empty() { &[][..] } else { &resume[..] };
        let exchange = Exchange::start(&self.url, "GET", &self.path, &[], fields)?;
        let mut refused: Option<(StatusCode, Vec<u8>)> = None;
        let received = exchange.receive(|part| match part {
            Part::Head(head, _) if head.status == StatusCode::OK => {
                *has_begun = true;
                match head.fields.get("content-type").is_some_and(is_event_stream) {
                    true => Ok(()),
                    false => Err(End::Final(Failure::new(format!("{} is no event stream", self.url)))),
                }
            }
            Part::Head(head, _) => {
                refused = Some((head.status, Vec::new()));
                Ok(())
            }
            Part::Content(bytes) => match &mut refused {
                Some((_, text)) if text.len() < ANSWER_BYTES => {
                    text.extend_from_slice(bytes);
                    Ok(())
                }
                Some(_) => Ok(()),
                None => print_events(&mut self.parser, bytes, out),
            },
            Part::End(_) => Ok(()),
        });
        match refused {
            Some((status, text)) => Err(refusal(&self.url, status, &text)),
            None => received,
        }
    }

    fn reconnection_time(&self) -> Option<Duration> {
        self.parser.reconnection_time()
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
            "brolly.recovery" => match serde_json::from_str::<Recovery<'_>>(&data) {
                Ok(recovery) => recovery.say(),
                Err(_) => say(&format!("recovery: {data}")),
            },
            "brolly.end" => {
                let why = serde_json::from_str::<Ended>(&data).map_or(data, |ended| ended.reason);
                return Err(End::Lost(why));
            }
            _ => {}
        }
    }
}

/// What the server says before it ends a stream.
#[derive(Deserialize)]
struct Ended {
    reason: String,
}
