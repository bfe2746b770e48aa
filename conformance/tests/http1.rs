//! HTTP/1.1: RFC 9112 and the framing parts of RFC 9110, as properties and as a table of refusals.
//!
//! `driver.rs` plays the connection around a decoder, `reference.rs` is a second, naive reading of the grammar,
//! `messages.rs` makes valid and damaged input, `refusals.rs` is the table.

#[path = "http1/driver.rs"]
mod driver;
#[path = "http1/messages.rs"]
mod messages;
#[path = "http1/reference.rs"]
mod reference;
#[path = "http1/refusals.rs"]
mod refusals;

use brolly_core::http1::{EncodeError, HeadWriter, Limits, Method, StatusCode, normalise, query_pairs};
use brolly_core::outbox::Outbox;
use driver::{Cuts, Event, Outcome, requests, requests_within, responses};
use messages::{Message, damaged, essence, final_response, method, pipeline, request, response, unsent, written};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const ANSWERED: [Method<'static>; 3] = [Method::Get, Method::Head, Method::Connect];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Where reads cut the input changes nothing, in valid requests and in damaged ones.
    #[test]
    fn requests_do_not_depend_on_how_they_are_cut(
        input in damaged(request()),
        limits in limits(),
        cuts in vec(1usize..40, 1..20),
    ) {
        let whole = requests_within(&input, &Cuts::None, limits);
        prop_assert_eq!(&requests_within(&input, &Cuts::Bytes, limits), &whole);
        prop_assert_eq!(&requests_within(&input, &Cuts::Pieces(cuts), limits), &whole);
    }

    #[test]
    fn responses_do_not_depend_on_how_they_are_cut(
        input in damaged(response()),
        asked in vec(select(&ANSWERED[..]), 1..5),
        cuts in vec(1usize..40, 1..20),
    ) {
        let whole = responses(&input, &asked, &Cuts::None);
        prop_assert_eq!(&responses(&input, &asked, &Cuts::Bytes), &whole);
        prop_assert_eq!(&responses(&input, &asked, &Cuts::Pieces(cuts)), &whole);
    }

    /// Two pieces, at every place.
    #[test]
    fn every_single_cut_gives_the_same(message in request()) {
        let input = message.encode();
        let whole = requests(&input, &Cuts::None);
        for at in 1..input.len() {
            prop_assert_eq!(&requests(&input, &Cuts::Pieces(vec![at, usize::MAX])), &whole);
        }
    }

    /// What was written is read as what was meant: every message of a pipeline, and nothing left.
    #[test]
    fn pipelines_survive_a_round_trip(messages in pipeline(request())) {
        let input: Vec<u8> = messages.iter().flat_map(Message::encode).collect();
        let expected: Vec<Event> = messages.iter().flat_map(Message::events).collect();
        prop_assert_eq!(requests(&input, &Cuts::None), Outcome { events: expected, error: None, rest: 0 });
    }

    #[test]
    fn responses_survive_a_round_trip(mut messages in pipeline(response()), last in final_response()) {
        // Interim responses at the end would wait for it.
        messages.push(last);
        let input: Vec<u8> = messages.iter().flat_map(Message::encode).collect();
        let expected: Vec<Event> = messages.iter().flat_map(Message::events).collect();
        let asked = vec![Method::Get; messages.len()];
        prop_assert_eq!(responses(&input, &asked, &Cuts::None), Outcome { events: expected, error: None, rest: 0 });
    }

    /// Whatever is accepted, a naive reading of the grammar gives the same messages and as many bytes left: the next
    /// hop cannot see another request. (It may be refused here and accepted there.)
    #[test]
    fn accepted_requests_have_one_reading(input in damaged(request())) {
        let outcome = requests(&input, &Cuts::None);
        let mut rest = &input[..];
        for mut message in outcome.messages() {
            if let Some(Event::End(trailers)) = message.last_mut() {
                *trailers = trailers.take().and_then(reference::trusted);
            }
            let (read, after) = reference::request(rest).expect("accepted");
            prop_assert_eq!(read, message);
            rest = after;
        }
    }

    /// What is accepted and written again is read as the same, and written once more it is the same bytes.
    #[test]
    fn accepted_requests_survive_being_passed_on(input in damaged(request())) {
        let mut accepted = requests(&input, &Cuts::None).messages();
        accepted.retain(|message| written(message).is_some());
        let passed_on: Vec<u8> = accepted.iter().filter_map(|message| written(message)).flatten().collect();
        let read = requests(&passed_on, &Cuts::None);
        prop_assert_eq!((&read.error, read.rest), (&None, 0));
        let essences = |messages: &[Vec<Event>]| messages.iter().map(|message| essence(message)).collect::<Vec<_>>();
        prop_assert_eq!(essences(&read.messages()), essences(&accepted));
        let again: Vec<u8> = read.messages().iter().filter_map(|message| written(message)).flatten().collect();
        prop_assert_eq!(again, passed_on);
    }

    /// No name or value that the writer accepts changes the number of lines, and a refused one leaves no trace.
    #[test]
    fn fields_cannot_split_a_message(name in field_part(), value in field_part()) {
        let mut out = Outbox::new();
        let mut head = HeadWriter::response(&mut out, StatusCode::OK);
        let result = head.field(&String::from_utf8_lossy(&name), &value).err();
        head.finish();
        let written = unsent(&out);
        let lines = written.split(|&byte| byte == b'\n').count() - 1;
        prop_assert_eq!(lines, if result.is_none() { 3 } else { 2 });
        prop_assert_eq!(written.iter().filter(|&&byte| byte == b'\r').count(), lines);
        prop_assert!(!written.contains(&0));
        match result {
            None => {
                let read = responses(&written, &[Method::Head], &Cuts::None);
                prop_assert_eq!((read.error, read.rest), (None, 0));
            }
            Some(EncodeError::InvalidName | EncodeError::InvalidValue) => {
                prop_assert_eq!(&written, b"HTTP/1.1 200 OK\r\n\r\n");
            }
            Some(other) => prop_assert!(false, "{}", other),
        }
    }

    /// The same for request lines.
    #[test]
    fn targets_cannot_split_a_message(method in field_part(), target in field_part()) {
        let mut out = Outbox::new();
        let (method, target) = (String::from_utf8_lossy(&method), String::from_utf8_lossy(&target));
        let written = HeadWriter::request(&mut out, &method, &target).map(|mut head| {
            head.field("host", b"a").unwrap();
            head.finish();
        });
        if written.is_ok() {
            let written = unsent(&out);
            let words: Vec<_> = written.split(|&byte| byte == b' ').collect();
            prop_assert_eq!(words.len(), 4);
            prop_assert_eq!((words[0], words[1]), (method.as_bytes(), target.as_bytes()));
            prop_assert_eq!(written.iter().filter(|&&byte| byte == b'\n').count(), 3);
        } else {
            prop_assert!(out.is_empty());
        }
    }

    /// No path gets out of its root, whatever is in it; and a clean path is its own meaning.
    #[test]
    fn paths_stay_below_their_root(path in "(/|\\.|\\.\\.|%2e|%2E|%2f|%5c|%00|%25|a|b|%|\\\\|é){0,12}") {
        let mut out = String::new();
        if normalise(&path, &mut out).is_ok() {
            prop_assert!(out.starts_with('/') && !out.contains(['\\', '\0']) && !out.contains("//"));
            prop_assert!(out.split('/').all(|segment| segment != "." && segment != ".."));
            if !out.contains('%') {
                let mut again = String::new();
                prop_assert_eq!(normalise(&out, &mut again), Ok(()));
                prop_assert_eq!(again, out);
            }
        }
    }

    /// Names and values that were percent-encoded are read as they were.
    #[test]
    fn queries_survive_a_round_trip(pairs in vec((any::<String>(), any::<String>()), 0..5)) {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let query = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>();
        let query = query.join("&");
        let read: Vec<_> =
            query_pairs(&query).map(Result::unwrap).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        prop_assert_eq!(read, pairs);
    }

    /// No input makes anything panic or gives a part that is not in it.
    #[test]
    fn noise_is_survived(input in vec(any::<u8>(), 0..200), method in method()) {
        requests(&input, &Cuts::Bytes);
        responses(&input, &[Method::new(&method)], &Cuts::Bytes);
    }
}

/// The default ones, or some that are often reached.
fn limits() -> impl Strategy<Value = Limits> {
    let small = (1usize..300, 1usize..30, 0usize..8, 1usize..12, 1usize..40).prop_map(
        |(head_bytes, target_bytes, field_lines, chunk_line_bytes, trailer_bytes)| Limits {
            head_bytes,
            target_bytes,
            field_lines,
            chunk_line_bytes,
            trailer_bytes,
        },
    );
    prop_oneof![Just(Limits::default()), small]
}

/// Bytes that are often where they must not be.
fn field_part() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => select(&b"abcXYZ019-_"[..]), 1 => select(&b"\r\n\0 :\t\x7f\x80,\x0b"[..])];
    vec(byte, 0..6)
}
