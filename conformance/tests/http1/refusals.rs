//! What must be refused, with which status; and beside it, what must not.

use crate::driver::{Cuts, Event, requests, requests_within, responses};
use brolly_core::http1::{Limits, Method, ParseError};

/// Status, and input up to where it is refused.
#[rustfmt::skip]
const REQUESTS: &[(u16, &str)] = &[
    // RFC 9112 §2.2: line ends
    (400, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\n\n"),
    (400, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n"),
    (400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "\r\n\r\n\r\n\r\n\r\n"),
    // §3: the request line
    (400, " GET / HTTP/1.1\r\n"),
    (400, "GET  / HTTP/1.1\r\n"),
    (400, "GET /  HTTP/1.1\r\n"),
    (400, "GET / HTTP/1.1 \r\n"),
    (400, "GET\t/ HTTP/1.1\r\n"),
    (400, "GET /\tHTTP/1.1\r\n"),
    (400, "GET / a HTTP/1.1\r\n"),
    (400, "GET /\r\n"),
    (400, "GET\r\n"),
    (400, "/ HTTP/1.1\r\n"),
    (400, "G(T / HTTP/1.1\r\n"),
    (400, "GET /\0 HTTP/1.1\r\n"),
    (400, "GET /é HTTP/1.1\r\n"),
    (400, "GET /#a HTTP/1.1\r\n"),
    (400, "GET /\"a HTTP/1.1\r\n"),
    (400, "GET / http/1.1\r\n"),
    (400, "GET / HTTP/1\r\n"),
    (400, "GET / HTTP/1.11\r\n"),
    (400, "GET / HTTP/01.1\r\n"),
    (400, "GET / HTTP/1,1\r\n"),
    (400, "GET / HTTP/0.9\r\n"),
    (400, "GET / HTTP/+1.1\r\n"),
    (400, "GET / HTTPS/1.1\r\n"),
    (400, "\u{16}\u{3}\u{1}"),
    (501, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n"),
    (505, "GET / HTTP/2.0\r\n"),
    (505, "GET / HTTP/3.1\r\n"),
    (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    // §3.2: targets
    (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    (400, "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n"),
    (400, "GET file:///a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
    (400, "GET http://a:1/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    // §3.2: Host
    (400, "GET / HTTP/1.1\r\n\r\n"),
    (400, "GET / HTTP/1.2\r\n\r\n"),
    (400, "GET http://a/ HTTP/1.1\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    (400, "GET / HTTP/1.0\r\nHost: [::1\r\n\r\n"),
    // §5: field lines
    (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nXé: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\n(X): b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{1}b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{b}\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{7f}\r\n\r\n"),
    // §6: framing
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"),
    (400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
    // §7.1: chunks
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : a\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n"),
];

#[test]
fn requests_are_refused_with_their_status() {
    for &(status, input) in REQUESTS {
        for cuts in [Cuts::None, Cuts::Bytes] {
            let error = requests(input.as_bytes(), &cuts).error;
            assert_eq!(error.map(|error| error.status().as_u16()), Some(status), "{input:?} {error:?}");
            // What follows changes nothing, even if it completes the head.
            let more = [input, "Host: a\r\n\r\n"].concat();
            assert_eq!(requests(more.as_bytes(), &cuts).error, error, "{input:?} and more");
        }
    }
}

#[test]
fn unusual_requests_are_accepted() {
    for (input, path) in [
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "/"),
        ("GET / HTTP/1.0\r\n\r\n", "/"),
        ("GET / HTTP/1.9\r\nHost: a\r\n\r\n", "/"),
        ("get / HTTP/1.1\r\nHOST:a\r\n\r\n", "/"),
        ("GET / HTTP/1.1\r\nHost: \t a:80 \t\r\nX:\r\nX:   \r\n\r\n", "/"),
        ("GET http://a HTTP/1.1\r\nHost: A:80\r\n\r\n", "/"),
        ("GET HTTP://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", "/b"),
        ("GET https://a/ HTTP/1.1\r\nHost: a:443\r\n\r\n", "/"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET /?[]{}|^`\\ HTTP/1.1\r\nHost: a\r\nX: é\r\n\r\n", "/"),
        ("GET //a/../%2e%zz HTTP/1.1\r\nHost: a\r\nExpect: nothing\r\n\r\n", "//a/../%2e%zz"),
    ] {
        for cuts in [Cuts::None, Cuts::Bytes] {
            let outcome = requests(input.as_bytes(), &cuts);
            assert_eq!((outcome.error, outcome.rest), (None, 0), "{input:?}");
            assert!(
                matches!(&outcome.events[..], [Event::Request { path: read, .. }, Event::End(None)] if read == path),
                "{input:?} {:?}",
                outcome.events,
            );
        }
    }
}

#[test]
fn limits_hold_to_the_byte() {
    let limits = Limits { head_bytes: 200, target_bytes: 50, field_lines: 3, ..Limits::default() };
    let status = |input: &str| {
        let whole = requests_within(input.as_bytes(), &Cuts::None, limits);
        assert_eq!(requests_within(input.as_bytes(), &Cuts::Bytes, limits), whole, "{input:?}");
        whole.error.map(|error| error.status().as_u16())
    };
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
    assert_eq!(status(&target(50)), None);
    assert_eq!(status(&target(51)), Some(414));
    assert_eq!(status(&target(51)[..4 + 51]), Some(414));
    assert_eq!(status(&target(300)), Some(414));
    let head = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(length - rest))
    };
    assert_eq!(status(&head(200)), None);
    assert_eq!(status(&head(201)), Some(431));
    assert_eq!(status(&head(201)[..199]), None);
    assert_eq!(status(&head(201)[..200]), Some(431));
    let lines = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
    assert_eq!(status(&lines(3)), None);
    assert_eq!(status(&lines(4)), Some(431));
    let chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (chunk_line_bytes, expected) in [(2, Some(400)), (3, None)] {
        let limits = Limits { chunk_line_bytes, ..Limits::default() };
        for cuts in [Cuts::None, Cuts::Bytes] {
            let error = requests_within(chunks.as_bytes(), &cuts, limits).error;
            assert_eq!(error.map(|error| error.status().as_u16()), expected);
        }
    }
    let unlimited = Limits { head_bytes: usize::MAX, field_lines: usize::MAX, ..Limits::default() };
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(70_000));
    let error = requests_within(huge.as_bytes(), &Cuts::None, unlimited).error.unwrap();
    assert_eq!(error.status().as_u16(), 431);
    let error = requests_within(lines(129).as_bytes(), &Cuts::None, unlimited).error.unwrap();
    assert_eq!(error.status().as_u16(), 431);
    assert_eq!(requests_within(lines(128).as_bytes(), &Cuts::None, unlimited).error, None);
}

#[rustfmt::skip]
const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\nX: a\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\n\r\n",
    "\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1  200 OK\r\n\r\n",
    "HTTP/1.1 200\tOK\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 099 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 +20 OK\r\n\r\n",
    "HTTP/1.1 200 O\0K\r\n\r\n",
    "HTTP/1.1 200 O\rK\r\n\r\n",
    "HTTP/2 200\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/0.9 200 OK\r\n\r\n",
    "http/1.1 200 OK\r\n\r\n",
    "SSH-2.0-OpenSSH\r\n",
    "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "HTTP/1.1 200 OK\r\nX: a\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTT",
];

#[test]
fn responses_are_refused_or_incomplete() {
    for input in RESPONSES {
        for cuts in [Cuts::None, Cuts::Bytes] {
            let outcome = responses(input.as_bytes(), &[Method::Get], &cuts);
            assert!(outcome.error.is_some(), "{input:?} {outcome:?}");
        }
    }
}

#[test]
fn responses_end_where_request_and_status_say() {
    let get = [Method::Get, Method::Get];
    let head = [Method::Head, Method::Get];
    let connect = [Method::Connect];
    let empty = "HTTP/1.1 204 No Content\r\n\r\n";
    // Input, what it answers, content, messages that end, bytes that are not ours.
    for (input, asked, content, ends, rest) in [
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi{empty}"), &get[..], "hi", 2, 0),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{empty}"), &head, "", 2, 0),
        (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{empty}"), &head, "", 2, 0),
        (format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n{empty}"), &get, "", 2, 0),
        ("HTTP/1.1 200\r\n\r\nuntil the end".into(), &get, "until the end", 1, 0),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n".into(), &get, "", 1, 0),
        (format!("HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{empty}"), &get, "", 1, 0),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1".into(), &get, "", 0, 8),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n\x01".into(), &get, "", 0, 1),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".into(), &connect, "", 0, 5),
        (format!("{empty}unasked"), &connect, "", 0, 7),
        ("HTTP/1.1 407 No\r\nContent-Length: 1\r\n\r\n!unasked".into(), &connect, "!", 1, 7),
    ] {
        for cuts in [Cuts::None, Cuts::Bytes] {
            let outcome = responses(input.as_bytes(), asked, &cuts);
            assert_eq!((outcome.error, outcome.rest), (None, rest), "{input:?}");
            let read: Vec<u8> = outcome
                .events
                .iter()
                .flat_map(|event| if let Event::Content(bytes) = event { &bytes[..] } else { &[] })
                .copied()
                .collect();
            assert_eq!(read, content.as_bytes(), "{input:?}");
            assert_eq!(outcome.messages().len(), ends, "{input:?}");
        }
    }
    for (interim, error) in [(16, None), (17, Some(ParseError::TooManyInterim))] {
        let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(interim) + empty;
        assert_eq!(responses(flood.as_bytes(), &get, &Cuts::None).error, error);
    }
}
