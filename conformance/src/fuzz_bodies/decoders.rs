//! The decoders: whole or in pieces, the same comes of the bytes, and little is held meanwhile.

use crate::sim::random::Random;
use brolly_core::http1::{self, Method, Part, RequestDecoder, ResponseDecoder};
use brolly_core::proxy_protocol::{self, MAX_HEADER};
use brolly_core::sse::Parser;
use std::fmt::Debug;
use std::net::SocketAddr;

/// Something a decoder said. Where content is cut means nothing: neighbouring pieces are joined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Said {
    Thing(String),
    Content(Vec<u8>),
}

pub(super) fn thing(what: impl Debug) -> Said {
    Said::Thing(format!("{what:?}"))
}

pub(super) fn split(data: &[u8]) -> Option<(Random, &[u8])> {
    let (seed, input) = data.split_first_chunk()?;
    Some((Random::new(u64::from_le_bytes(*seed)), input))
}

/// Offers `input` as a driver does, in pieces of these sizes; what was not used is offered again with more behind it.
pub(super) fn offer<E: Debug>(
    input: &[u8],
    mut size: impl FnMut() -> usize,
    mut most_left: impl FnMut(usize),
    mut decode: impl FnMut(&mut [u8]) -> Result<(usize, Option<Said>), E>,
) -> Vec<Said> {
    let (mut said, mut offered, mut rest) = (Vec::new(), Vec::new(), input);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size().clamp(1, rest.len()));
        (offered, rest) = ([&offered, piece].concat(), after);
        loop {
            let (used, event) = match decode(&mut offered) {
                Ok(decoded) => decoded,
                Err(error) => {
                    said.push(thing(error));
                    return said;
                }
            };
            assert!(used <= offered.len(), "used more than there was");
            offered.drain(..used);
            match (said.last_mut(), event) {
                (Some(Said::Content(content)), Some(Said::Content(more))) => content.extend(more),
                (_, Some(event)) => said.push(event),
                (_, None) if used == 0 || offered.is_empty() => break,
                (_, None) => {}
            }
        }
        most_left(offered.len());
    }
    said
}

fn part<H: Debug>(part: Part<'_, H>) -> Said {
    match part {
        Part::Content(data) => Said::Content(data.to_vec()),
        other @ (Part::Head(..) | Part::End(_)) => thing(other),
    }
}

/// HTTP/1.1 requests, one after the other.
pub fn http1_request(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let limits = http1::Limits { head_bytes: 2000, target_bytes: 500, ..http1::Limits::default() };
    let requests = |size: &mut dyn FnMut() -> usize| {
        let mut decoder = RequestDecoder::new(limits);
        let left = |left| assert!(left <= limits.head_bytes + limits.trailer_bytes, "{left} bytes are left");
        offer(input, size, left, |bytes| {
            let (used, event) = decoder.decode(bytes)?;
            let event = event.map(part);
            decoder.start_next_message();
            Ok::<_, http1::ParseError>((used, event))
        })
    };
    assert_eq!(requests(&mut || usize::MAX), requests(&mut || random.index(40)));
}

/// HTTP/1.1 responses, one after the other.
pub fn http1_response(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let method = random.pick(&[Method::Get, Method::Head, Method::Post, Method::Connect]);
    let responses = |size: &mut dyn FnMut() -> usize| {
        let mut decoder = ResponseDecoder::new(http1::Limits::default());
        let mut said = offer(
            input,
            size,
            |_| {},
            |bytes| {
                decoder.expect(method);
                let (used, event) = decoder.decode(bytes)?;
                Ok::<_, http1::ParseError>((used, event.map(part)))
            },
        );
        said.push(thing(decoder.decode_eof().map(|event| event.map(part))));
        said
    };
    assert_eq!(responses(&mut || usize::MAX), responses(&mut || random.index(40)));
}

/// An event stream.
pub fn sse(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let events = |size: &mut dyn FnMut() -> usize| {
        let mut parser = Parser::new(300);
        let said = offer(
            input,
            size,
            |left| assert_eq!(left, 0),
            |bytes| {
                let (used, event) = parser.parse(bytes)?;
                Ok::<_, brolly_core::sse::TooLong>((used, event.map(thing)))
            },
        );
        (said, parser.last_event_id().clone(), parser.reconnection_time())
    };
    assert_eq!(events(&mut || usize::MAX), events(&mut || random.index(20)));
}

/// A PROXY header, of either version, and what follows it.
pub fn proxy_protocol(data: &[u8]) {
    let Some((mut random, input)) = split(data) else { return };
    let whole = proxy_protocol::decode(input);
    assert!(whole != Ok(None) || input.len() < MAX_HEADER, "more is wanted after {} bytes", input.len());
    let mut end = 0;
    while end < input.len() {
        end = (end + 1 + random.index(20)).min(input.len());
        match proxy_protocol::decode(&input[..end]) {
            Ok(None) => {}
            answer => {
                assert_eq!(answer, whole, "another answer after {end} bytes");
                break;
            }
        }
    }
    let Ok(Some(header)) = whole else { return };
    assert!((1..=input.len().min(MAX_HEADER)).contains(&header.len), "a header of {} bytes", header.len);
    assert_eq!(proxy_protocol::decode(&input[..header.len]), whole, "what follows was read too");
    let Some(endpoints) = header.endpoints else { return };
    let written = proxy_protocol::encode(Some(&endpoints));
    let read = proxy_protocol::decode(&written).ok().flatten().and_then(|header| header.endpoints);
    let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    assert_eq!(
        read.map(|read| (canonical(read.source), canonical(read.destination))),
        Some((canonical(endpoints.source), canonical(endpoints.destination))),
    );
}
