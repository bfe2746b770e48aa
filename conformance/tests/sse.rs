//! WHATWG HTML §9.2: the writer against an independent reader, the reader against the same and against the cases of
//! the web platform tests.

use brolly_core::sse::{
    Dispatched, Event, InvalidField, Parser, TooLong, encode_comment, encode_data, is_event_stream,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::Deserialize;
use std::time::Duration;

/// Event type, data, last event ID.
type Seen = (String, String, String);

fn seen(event_type: &str, data: &str, id: &str) -> Seen {
    (event_type.to_owned(), data.to_owned(), id.to_owned())
}

/// Reads a stream piece by piece; the events until its end or its error.
fn read<'a>(parser: &mut Parser, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, Result<(), TooLong>) {
    let mut events = Vec::new();
    for mut piece in pieces {
        loop {
            match parser.parse(piece) {
                Err(error) => return (events, Err(error)),
                Ok((taken, event)) => {
                    piece = &piece[taken..];
                    match event {
                        Some(Dispatched { event_type, data, last_event_id }) => {
                            events.push((event_type, data, last_event_id.as_ref().to_owned()));
                        }
                        None => break,
                    }
                }
            }
        }
        assert!(piece.is_empty());
    }
    (events, Ok(()))
}

/// The standard's algorithm word for word, for a whole stream: the oracle.
fn interpret(stream: &[u8]) -> (Vec<Seen>, Option<u64>) {
    let decoded = String::from_utf8_lossy(stream);
    let decoded = decoded.strip_prefix('\u{FEFF}').unwrap_or(&decoded);
    let decoded = decoded.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = decoded.split('\n').collect();
    lines.pop(); // What has no end is not a line.
    let (mut events, mut retry) = (Vec::new(), None);
    let (mut data, mut event_type, mut id) = (String::new(), String::new(), String::new());
    for line in lines {
        if line.is_empty() {
            if let Some(data) = data.strip_suffix('\n') {
                let event_type = if event_type.is_empty() { "message" } else { &event_type };
                events.push(seen(event_type, data, &id));
            }
            data.clear();
            event_type.clear();
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        if name == "event" {
            event_type = value.to_owned();
        } else if name == "data" {
            data = data + value + "\n";
        } else if name == "id" && !value.contains('\0') {
            id = value.to_owned();
        } else if name == "retry" && !value.is_empty() && value.chars().all(|char| char.is_ascii_digit()) {
            retry = Some(value.parse().unwrap_or(u64::MAX));
        }
    }
    (events, retry)
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

/// Text made of what could matter to a parser.
fn text() -> impl Strategy<Value = String> {
    let tokens: &[&str] =
        &["\r", "\n", "\r\n", "\n\n", "data: x", "id:", "event", "retry: 5", ":", " ", "\0", "\u{FEFF}", "é", "7"];
    vec(prop_oneof![4 => select(tokens).prop_map(str::to_owned), 1 => any::<String>()], 0..6)
        .prop_map(|tokens| tokens.concat())
}

/// Bytes that look like a stream, or nearly.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let tokens: [&[u8]; 22] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"data",
        b"data:",
        b"data: a",
        b"id",
        b"id: 1",
        b"id:\0",
        b"event",
        b"event:e",
        b"retry:10",
        b"retry: x",
        b":",
        b" ",
        b"\0",
        b"\xEF\xBB\xBF",
        b"\xEF",
        b"\xC3",
        b"\xA9",
        b"comment",
    ];
    vec(select(tokens.to_vec()), 0..24).prop_map(|tokens| tokens.concat())
}

fn normalised(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_data_arrives(data in prop_oneof![any::<String>(), text()]) {
        let mut stream = Vec::new();
        Event { data: &data, ..Event::default() }.encode(&mut stream).unwrap();
        let expected = vec![seen("message", &normalised(&data), "")];
        prop_assert_eq!(read(&mut Parser::new(usize::MAX), [&stream[..]]), (expected, Ok(())));
        let mut lines = Vec::new();
        encode_data(&data, &mut lines);
        prop_assert_eq!([&lines[..], b"\n"].concat(), stream);
    }

    #[test]
    fn nothing_can_be_injected(
        events in vec((option::of(text()), option::of(text()), text(), option::of(any::<u32>()), text()), 0..5),
    ) {
        let (mut stream, mut expected, mut last_id, mut last_retry) = (Vec::new(), Vec::new(), String::new(), None);
        for (id, event_type, data, retry, comment) in &events {
            encode_comment(comment, &mut stream);
            let retry = retry.map(u64::from);
            let event = Event {
                id: id.as_deref(),
                event_type: event_type.as_deref(),
                data,
                retry: retry.map(Duration::from_millis),
            };
            let before = stream.clone();
            let result = event.encode(&mut stream);
            let is_bad = |text: &Option<String>, bad: &[char]| text.as_ref().is_some_and(|text| text.contains(bad));
            if is_bad(id, &['\0', '\r', '\n']) {
                prop_assert_eq!((result, &stream), (Err(InvalidField::Id), &before));
            } else if is_bad(event_type, &['\r', '\n']) {
                prop_assert_eq!((result, &stream), (Err(InvalidField::EventType), &before));
            } else {
                prop_assert_eq!(result, Ok(()));
                prop_assert!(stream.ends_with(b"\n\n"));
                last_id = id.clone().unwrap_or(last_id);
                last_retry = retry.or(last_retry);
                let event_type = event_type.as_deref().filter(|name| !name.is_empty()).unwrap_or("message");
                expected.push(seen(event_type, &normalised(data), &last_id));
            }
        }
        prop_assert_eq!(&interpret(&stream), &(expected.clone(), last_retry));
        let mut parser = Parser::new(usize::MAX);
        prop_assert_eq!(read(&mut parser, [&stream[..]]), (expected, Ok(())));
        prop_assert_eq!(parser.reconnection_time(), last_retry.map(Duration::from_millis));
    }

    #[test]
    fn the_parser_follows_the_standard(stream in stream(), junk in vec(any::<u8>(), 0..20)) {
        for stream in [&stream[..], &junk, &[&junk[..], &stream].concat()] {
            let mut parser = Parser::new(usize::MAX);
            let (events, retry) = interpret(stream);
            prop_assert_eq!(read(&mut parser, [stream]), (events, Ok(())));
            prop_assert_eq!(parser.reconnection_time(), retry.map(Duration::from_millis));
        }
    }

    #[test]
    fn any_cutting_is_read_alike(stream in stream(), cuts in vec(any::<Index>(), 0..6), limit in 0..60_usize) {
        for limit in [usize::MAX, limit] {
            let (mut whole, mut cut, mut single) = (Parser::new(limit), Parser::new(limit), Parser::new(limit));
            let expected = read(&mut whole, [&stream[..]]);
            prop_assert_eq!(&read(&mut cut, pieces(&stream, &cuts)), &expected);
            prop_assert_eq!(&read(&mut single, stream.chunks(1)), &expected);
            for parser in [cut, single] {
                prop_assert_eq!(parser.last_event_id(), whole.last_event_id());
                prop_assert_eq!(parser.reconnection_time(), whole.reconnection_time());
            }
        }
    }
}

/// One of `cases/event-streams.json`, which Chromium and undici read too.
#[derive(Deserialize)]
struct Case {
    /// That of the file in web-platform-tests' `eventsource/`, or `own`.
    name: String,
    #[serde(default)]
    stream: String,
    /// The stream, if it is no text.
    #[serde(default)]
    hex: String,
    /// Event type, data, last event ID.
    events: Vec<Seen>,
    /// The `Content-Type`, if it is not just `text/event-stream`.
    #[serde(default, rename = "type")]
    content_type: Option<String>,
    /// Whether this is no event stream, by its type.
    #[serde(default)]
    refused: bool,
    /// The reconnection time (milliseconds).
    retry: Option<u64>,
    /// What is shown as `Last-Event-ID` at the reconnect.
    reconnect: Option<String>,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let hex = self.hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap());
        [self.stream.as_bytes(), &hex.collect::<Vec<_>>()].concat()
    }
}

#[test]
fn the_table_of_streams_is_read_as_browsers_do() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../cases/event-streams.json")).unwrap();
    assert!(cases.iter().filter(|case| case.name.starts_with("format-")).count() >= 25);
    for case in &cases {
        let (name, stream) = (&case.name, case.bytes());
        let content_type = case.content_type.as_deref().unwrap_or("text/event-stream");
        assert_eq!(is_event_stream(content_type.as_bytes()), !case.refused, "{name}");
        if case.refused {
            continue;
        }
        assert_eq!(interpret(&stream), (case.events.clone(), case.retry), "the oracle itself: {name}");
        let in_two = (0..=stream.len()).map(|at| stream.split_at(at)).map(|(left, right)| vec![left, right]);
        for pieces in in_two.chain([1, 2, 3, 7].map(|size| stream.chunks(size).collect())) {
            let mut parser = Parser::new(8192);
            assert_eq!(read(&mut parser, pieces), (case.events.clone(), Ok(())), "{name}");
            assert_eq!(parser.reconnection_time(), case.retry.map(Duration::from_millis), "{name}");
            if let Some(id) = &case.reconnect {
                assert_eq!(&**parser.last_event_id(), id, "{name}");
            }
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_wherever_they_are_torn() {
    let stream = b"data: a\xF0\x9F\xFFb\xE2\x98\ndata: \xE2\x98\x82\n\n";
    for cut in 0..=stream.len() {
        let (left, right) = stream.split_at(cut);
        let (events, _) = read(&mut Parser::new(100), [left, right]);
        assert_eq!(events, [seen("message", "a\u{FFFD}\u{FFFD}b\u{FFFD}\n☂", "")]);
    }
}
