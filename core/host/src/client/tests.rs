//! Against servers that say what they are told to.

use super::*;
use brolly_core::driver::Stream;
use brolly_core::outbox::Outbox;
use brolly_core::shard::{Address, IoError};
use brolly_core::ws::handshake::accept_key;
use brolly_core::ws::{self, Opcode};
use std::future::Future;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

/// A server that answers one connection after the other with `answers`; returns the requests.
fn server(answers: &[impl AsRef<[u8]>]) -> (Url, JoinHandle<Vec<String>>) {
    let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.as_ref().into()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let serve = move || {
        let mut requests = Vec::new();
        for mut answer in answers {
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
            let request = String::from_utf8(request).unwrap();
            // The answer to an opening handshake depends on its key.
            if let Some(at) = answer.windows(3).position(|window| window == b"KEY") {
                let (_, key) = request.split_once("sec-websocket-key: ").unwrap();
                answer.splice(at..at + 3, accept_key(&key.as_bytes()[..24]));
            }
            stream.write_all(&answer).unwrap();
            requests.push(request);
        }
        requests
    };
    (url, thread::spawn(serve))
}

fn following(url: Url) -> Tail {
    Tail { url, authorities: None, topics: vec!["a".into(), "b&c".into()] }
}

/// A runtime that waits for every byte.
struct Blocking;

impl Network for Blocking {
    type Stream = BlockingStream;
    type Timer = Never;

    fn timer(&self) -> Never {
        Never
    }

    async fn connect(&self, to: Address) -> Result<BlockingStream, IoError> {
        let Address::Tcp(to) = to else { return Err(IoError::NotFound) };
        TcpStream::connect(to).map(BlockingStream).map_err(|error| crate::io::error(&error))
    }

    async fn unblock<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Result<R, IoError> {
        Ok(work())
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return output;
            }
        }
    }
}

struct BlockingStream(TcpStream);

impl Stream for BlockingStream {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        Poll::Ready(self.0.read(buffer).map_err(|error| crate::io::error(&error)))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        Poll::Ready(self.0.write(slices[0]).map_err(|error| crate::io::error(&error)))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(self.0.shutdown(Shutdown::Write).map_err(|error| crate::io::error(&error)))
    }
}

struct Never;

impl crate::timer::Timer for Never {
    fn set(&mut self, _: std::time::Instant) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
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
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 10\nid: 1\ndata: one\n\nid: 2\ndata: two\ndata: lines\n\nid: 3\ndata: los",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: brolly.end\nretry: 10\ndata: {\"reason\":\"too slow\"}\n\ndata: not read\n\n",
        "HTTP/1.1 503 Service Unavailable\r\n\r\nfull",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream;charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n10\r\ndata: three\n\ndat\r\n9\r\na: four\n\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: five\n\n",
    ]);
    let mut out = Lines(Vec::new(), 5);
    tail(&following(url), &Blocking, &mut out).unwrap();
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
    let follow = following(url.clone());
    let failure = tail(&follow, &Blocking, &mut Vec::new()).unwrap_err();
    assert_eq!(failure.to_string(), format!("{url} refused: 404 Not Found"));
    requests.join().unwrap();
    let failure = tail(&follow, &Blocking, &mut Vec::new()).unwrap_err();
    assert_eq!(failure.to_string(), format!("cannot follow {url}: nobody listens there"));
}

#[test]
fn tail_stops_where_an_event_source_would() {
    for (answer, expected) in [
        ("204 No Content\r\n\r\n", "refused: 204 No Content"),
        ("205 Reset Content\r\ncontent-length: 0\r\n\r\n", "refused: 205 Reset Content"),
        ("302 Found\r\nlocation: http://b/\r\n\r\nat http://b/\n", "refused: 302 Found: at http://b/"),
        ("200 OK\r\n\r\ndata: 1\n\n", "is no event stream"),
        ("200 OK\r\ncontent-type: text/plain\r\n\r\ndata: 1\n\n", "is no event stream"),
    ] {
        let answer = format!("HTTP/1.1 {answer}");
        let (url, requests) = server(&[answer]);
        let failure = tail(&following(url.clone()), &Blocking, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.to_string(), format!("{url} {expected}"));
        assert_eq!(requests.join().unwrap().len(), 1);
    }
}

/// A WebSocket on which `texts` are said.
fn saying(texts: &[&str]) -> Vec<u8> {
    let mut out = Outbox::new();
    out.extend(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n");
    out.extend(b"sec-websocket-accept: KEY\r\n\r\n");
    texts.iter().for_each(|text| ws::encode(Opcode::Text, text.as_bytes(), None, &mut out));
    out.tail().clone()
}

#[test]
fn a_websocket_is_followed_like_a_stream() {
    let resumed = r#"["hello",{},{"position":"1-a.4-b.2","recovery":[{"topic":"a","outcome":"resumed"}]}]"#;
    let (url, requests) = server(&[
        saying(&[
            r#"["hello",{},{"position":"1-a.1-b.2","recovery":null}]"#,
            r#"["message",{"topic":"a","position":"1-a.3"},{"n": 1}]"#,
            r#"["future",{},null]"#,
            r#"["message",{"topic":"a","position":"1-a.4"},"two"]"#,
        ]),
        b"HTTP/1.1 503 Service Unavailable\r\n\r\nfull".to_vec(),
        saying(&[
            resumed,
            r#"["message",{"topic":"b&c","position":"1-b.9"},3]"#,
            resumed,
            r#"["message",{"topic":"a","position":"1-a.5"},4]"#,
        ]),
    ]);
    let url = Url::parse_any(&format!("{}/below/", url.to_string().replace("http", "ws"))).unwrap();
    let mut out = Lines(Vec::new(), 3);
    tail(&following(url), &Blocking, &mut out).unwrap();
    assert_eq!(out.0.concat(), "{\"n\": 1}\n\"two\"\n3\n");
    let requests = requests.join().unwrap();
    assert!(requests[0].starts_with("GET /below/-/ws?topic=a&topic=b%26c HTTP/1.1\r\n"), "{}", requests[0]);
    for request in &requests[1..] {
        assert!(
            request.starts_with("GET /below/-/ws?topic=a&topic=b%26c&position=1-a.4-b.2 HTTP/1.1\r\n"),
            "{request}"
        );
    }
}

#[test]
fn a_websocket_that_is_refused_is_not_asked_for_again() {
    let (url, requests) = server(&["HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\n\r\nlogin\n"]);
    let url = Url::parse_any(&url.to_string().replace("http", "ws")).unwrap();
    let failure = tail(&following(url.clone()), &Blocking, &mut Vec::new()).unwrap_err();
    assert_eq!(failure.to_string(), format!("{url} refused: 401 Unauthorized: login"));
    requests.join().unwrap();
    let failure = tail(&following(url.clone()), &Blocking, &mut Vec::new()).unwrap_err();
    assert_eq!(failure.to_string(), format!("cannot follow {url}: nobody listens there"));
}
