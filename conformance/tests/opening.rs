//! The client's opening handshake and the client over it: any cut of what a server says gives the same result, and what
//! arrives with the answer is not lost.
#![cfg(not(loom))]

use brolly_core::config::Limits;
use brolly_core::conn::{Opened, OpeningConn, OpeningError, Refusal};
use brolly_core::driver::{Ending, Message, OpenError, Stream, Timing, WebSocketClient};
use brolly_core::http1::{EncodeError, ParseError};
use brolly_core::rng::Seed;
use brolly_core::shard::IoError;
use brolly_core::time::{Instant, Now};
use brolly_core::ws::handshake::{HandshakeError, InvalidRequest, Request, accept_key};
use brolly_core::ws::{CloseCode, ProtocolError};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

const NONCE: [u8; 16] = *b"the sample nonce";
const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn request() -> Request<'static> {
    Request { host: "example.org", target: "/chat?room=1", subprotocols: &["a", "b"], ..Request::default() }
}

/// What a client makes of an answer that comes in these pieces, and what it leaves of it.
fn opened(pieces: &[&[u8]], has_end: bool) -> (Option<Opened>, Vec<u8>) {
    let (now, limits) = (Now::default(), Limits::default());
    let timeouts = limits.timeouts();
    let mut opening = OpeningConn::new(now, &timeouts, limits.http, &request(), NONCE).unwrap();
    opening.outbox().clear();
    opening.wrote(now, &timeouts);
    let (mut unread, mut result) = (Vec::new(), None);
    for piece in pieces {
        unread.extend_from_slice(piece);
        if result.is_none() {
            let (used, opened) = opening.receive(now, &timeouts, &unread);
            unread.drain(..used);
            result = opened;
        }
    }
    (result.or_else(|| has_end.then(|| opening.handle_eof())), unread)
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

/// Answers of every kind, right and wrong.
fn answers() -> Vec<String> {
    let with = |line: &str| ACCEPTED.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    let long = "x".repeat(Refusal::CONTENT_BYTES + 1);
    vec![
        ACCEPTED.into(),
        format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{}\u{81}\u{2}hi", with("Sec-WebSocket-Protocol: b")),
        with("Sec-WebSocket-Protocol: c"),
        with("Sec-WebSocket-Extensions: x-unknown"),
        ACCEPTED.replace("s3p", "S3p"),
        ACCEPTED.replace("Upgrade: websocket\r\n", ""),
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\nContent-Length: 5\r\n\r\nlogin".into(),
        "HTTP/1.1 302 Found\r\nLocation: wss://other.example/\r\nContent-Length: 0\r\n\r\n".into(),
        "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbus\r\n1\r\ny\r\n0\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\n\r\nuntil the end".into(),
        format!("HTTP/1.1 500 Oops\r\nContent-Length: {}\r\n\r\n{long}", long.len()),
        "HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nshort".into(),
        "HTTP/1.1 404 Not Fou".into(),
        "SSH-2.0-OpenSSH_9.2p1\r\n".into(),
        String::new(),
    ]
}

proptest! {
    #[test]
    fn any_cut_of_an_answer_gives_the_same_result(cuts in proptest::collection::vec(any::<Index>(), 0..6), has_end: bool) {
        for answer in answers() {
            let whole = opened(&[answer.as_bytes()], has_end);
            prop_assert_eq!(&opened(&pieces(answer.as_bytes(), &cuts), has_end).0, &whole.0, "{}", answer);
            if answer.len() < 1000 {
                let bytes: Vec<&[u8]> = answer.as_bytes().chunks(1).collect();
                prop_assert_eq!(&opened(&bytes, has_end), &whole, "{}", answer);
            }
        }
    }
}

#[test]
fn every_answer_is_told_as_what_it_is() {
    let failed = |error| Some(Opened::Failed(error));
    let handshake = |error| failed(OpeningError::Handshake(error));
    let refused = |answer: &str| match opened(&[answer.as_bytes()], true).0 {
        Some(Opened::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let answers = answers();
    let told = |index: usize| opened(&[answers[index].as_bytes()], true);
    assert_eq!(told(0), (Some(Opened::Accepted { subprotocol: None }), Vec::new()));
    let (accepted, frames) = told(1);
    assert_eq!(accepted, Some(Opened::Accepted { subprotocol: Some("b".into()) }));
    assert_eq!(frames, "\u{81}\u{2}hi".as_bytes(), "the first frames are left");
    assert_eq!(told(2).0, handshake(HandshakeError::UnexpectedSubprotocol));
    assert_eq!(told(3).0, handshake(HandshakeError::UnexpectedExtension));
    assert_eq!(told(4).0, handshake(HandshakeError::BadAccept));
    assert_eq!(told(5).0, handshake(HandshakeError::NotUpgrade));
    let login = refused(&answers[6]);
    assert_eq!((login.status.as_u16(), &login.content[..], login.is_complete), (401, &b"login"[..], true));
    assert_eq!(login.field("www-authenticate"), Some(&b"Basic realm=\"a\""[..]));
    assert_eq!(refused(&answers[7]).field("location"), Some(&b"wss://other.example/"[..]));
    assert_eq!((&refused(&answers[8]).content[..], refused(&answers[8]).is_complete), (&b"busy"[..], true));
    assert_eq!((&refused(&answers[9]).content[..], refused(&answers[9]).is_complete), (&b"until the end"[..], true));
    assert_eq!(
        (refused(&answers[10]).content.len(), refused(&answers[10]).is_complete),
        (Refusal::CONTENT_BYTES, false)
    );
    assert_eq!((&refused(&answers[11]).content[..], refused(&answers[11]).is_complete), (&b"short"[..], false));
    assert_eq!(told(12).0, failed(OpeningError::Http(ParseError::Truncated)));
    assert_eq!(told(13).0, failed(OpeningError::Http(ParseError::StatusLine)));
    assert_eq!(told(14).0, failed(OpeningError::Http(ParseError::Truncated)));
}

#[test]
fn a_refusal_that_takes_too_long_is_told_as_far_as_it_came() {
    let limits = Limits::default();
    let (timeouts, mut now) = (limits.timeouts(), Now::default());
    for (answer, expected) in [("", None), (answers()[11].as_str(), Some(404))] {
        let mut opening = OpeningConn::new(now, &timeouts, limits.http, &request(), NONCE).unwrap();
        opening.outbox().clear();
        opening.wrote(now, &timeouts);
        assert_eq!(opening.receive(now, &timeouts, answer.as_bytes()).1, None);
        assert_eq!(opening.handle_timeout(now), None);
        now.instant = opening.deadline().unwrap();
        match (opening.handle_timeout(now), expected) {
            (Some(Opened::Refused(refusal)), Some(status)) => assert_eq!(refusal.status.as_u16(), status),
            (Some(Opened::Failed(OpeningError::TimedOut)), None) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_cannot_be_asked_for_is_not() {
    let (now, limits) = (Now::default(), Limits::default());
    let ask = |request: &Request<'_>| OpeningConn::new(now, &limits.timeouts(), limits.http, request, NONCE).err();
    let target = |target| ask(&Request { target, ..request() });
    assert_eq!(target("/a?b=%23&c"), None);
    for wrong in ["", "a", "/a#b", "/a b", "/a\r\nb", "/ü"] {
        assert_eq!(target(wrong), Some(InvalidRequest::Encode(EncodeError::InvalidTarget)), "{wrong}");
    }
    for wrong in [&["a", "a"][..], &[""], &["a,b"], &["a b"]] {
        assert_eq!(ask(&Request { subprotocols: wrong, ..request() }), Some(InvalidRequest::Subprotocol), "{wrong:?}");
    }
    for reserved in ["Host", "upgrade", "connection", "sec-websocket-key", "Sec-WebSocket-Version", "content-length"] {
        let fields = [(reserved, &b"x"[..])];
        assert_eq!(ask(&Request { fields: &fields, ..request() }), Some(InvalidRequest::ReservedField), "{reserved}");
    }
    let split = [("origin", &b"a\r\nb: c"[..])];
    assert_eq!(ask(&Request { fields: &split, ..request() }), Some(InvalidRequest::Encode(EncodeError::InvalidValue)));
}

/// A server of bytes: reads come from a list, whole or byte by byte, and then end, hang or fail.
struct Script {
    reads: VecDeque<Vec<u8>>,
    end: Option<Result<usize, IoError>>,
    written: std::rc::Rc<std::cell::RefCell<Vec<u8>>>,
    is_shut: bool,
    is_byte_by_byte: bool,
}

impl Stream for Script {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        // The answer depends on the key of the request.
        let written = String::from_utf8_lossy(&self.written.borrow()).into_owned();
        let Some((_, rest)) = written.split_once("sec-websocket-key: ") else { return Poll::Pending };
        let accept = accept_key(&rest.as_bytes()[..24]);
        let Some(front) = self.reads.front_mut() else {
            return self.end.map_or(Poll::Pending, Poll::Ready);
        };
        if let Some(at) = front.windows(3).position(|window| window == b"KEY") {
            front.splice(at..at + 3, accept);
        }
        let size = if self.is_byte_by_byte { 1 } else { front.len().min(buffer.len()) };
        buffer[..size].copy_from_slice(&front[..size]);
        front.drain(..size);
        if front.is_empty() {
            self.reads.pop_front();
        }
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(size))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        assert!(!self.is_shut && slices.iter().all(|slice| !slice.is_empty()));
        self.written.borrow_mut().extend_from_slice(slices[0]);
        Poll::Ready(Ok(slices[0].len()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

/// A clock that jumps to each deadline that is waited for.
struct Leaps(Now);

impl Timing for Leaps {
    fn now(&self) -> Now {
        self.0
    }

    fn poll_timer(&mut self, _: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        match at {
            Some(at) => {
                self.0.instant = self.0.instant.max(at);
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..100_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    panic!("nothing comes of it");
}

/// All messages of a server that says `frames` after its answer, how it ended, and what was written after the request.
fn listen(
    frames: &[u8],
    end: Option<Result<usize, IoError>>,
    is_byte_by_byte: bool,
) -> (Vec<Message>, Ending, Vec<u8>) {
    let answer = ACCEPTED.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "KEY");
    let written = std::rc::Rc::default();
    let reads = VecDeque::from([[answer.as_bytes(), frames].concat()]);
    let script = Script { reads, end, written: std::rc::Rc::clone(&written), is_shut: false, is_byte_by_byte };
    run(async {
        let limits = Limits::default();
        let mut client =
            WebSocketClient::open(script, Leaps(Now::default()), &limits, Seed([7; 32]), &request()).await.unwrap();
        let mut messages = Vec::new();
        let ending = loop {
            match client.next().await {
                Ok(message) => messages.push(message),
                Err(ending) => break ending,
            }
        };
        assert_eq!(client.next().await, Err(ending.clone()));
        assert_eq!(client.send(&Message::Text("late".into())).await, Err(ending.clone()));
        assert_eq!(client.close(CloseCode::NORMAL, "").await, ending);
        let written = written.borrow();
        let head = written.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        (messages, ending, written[head..].to_vec())
    })
}

#[test]
fn messages_and_the_end_are_told_however_they_come() {
    let (hi, close) = (b"\x81\x02hi", b"\x88\x05\x03\xE9bye");
    for is_byte_by_byte in [false, true] {
        let listen = |frames: &[&[u8]], end| listen(&frames.concat(), end, is_byte_by_byte);
        let (messages, ending, written) = listen(&[hi, b"\x89\x00", b"\x82\x01\x07", close, hi], Some(Ok(0)));
        assert_eq!(messages, [Message::Text("hi".into()), Message::Binary(vec![7])]);
        assert_eq!(ending, Ending::Closed(Some((CloseCode::GOING_AWAY, "bye".into()))));
        assert_eq!(
            (written[0], written[1], written[6], written[7]),
            (0x8A, 0x80, 0x88, 0x82),
            "a pong, and the code back"
        );
        assert_eq!(listen(&[b"\x88\x00"], Some(Ok(0))).1, Ending::Closed(None));
        assert_eq!(listen(&[hi], Some(Ok(0))).1, Ending::Lost(None));
        let reset = IoError::ConnectionReset;
        assert_eq!(
            listen(&[hi], Some(Err(reset))),
            (vec![Message::Text("hi".into())], Ending::Lost(Some(reset)), vec![])
        );
        assert_eq!(listen(&[b"\x81\x80\0\0\0\0"], Some(Ok(0))).1, Ending::Failed(ProtocolError::Masked));
        let (_, ending, written) = listen(&[hi], None);
        assert_eq!(ending, Ending::Lost(Some(IoError::TimedOut)));
        assert_eq!(written[..2], [0x89, 0x80], "silence was asked after");
    }
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    let open = |answer: &str, end| {
        let reads = if answer.is_empty() { VecDeque::new() } else { VecDeque::from([answer.as_bytes().to_vec()]) };
        let script = Script { reads, end, written: std::rc::Rc::default(), is_shut: false, is_byte_by_byte: false };
        let limits = Limits::default();
        run(WebSocketClient::open(script, Leaps(Now::default()), &limits, Seed([7; 32]), &request())).err()
    };
    assert!(matches!(open(&answers()[6], None), Some(OpenError::Refused(refusal)) if refusal.content == b"login"));
    assert_eq!(open("", Some(Err(IoError::ConnectionReset))), Some(OpenError::Io(IoError::ConnectionReset)));
    assert_eq!(open("", Some(Ok(0))), Some(OpenError::Failed(OpeningError::Http(ParseError::Truncated))));
    assert_eq!(open("", None), Some(OpenError::Failed(OpeningError::TimedOut)));
    assert_eq!(open(ACCEPTED, None), Some(OpenError::Failed(OpeningError::Handshake(HandshakeError::BadAccept))));
}
