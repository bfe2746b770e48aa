//! A whole shard, driven by hand: what must hold for any splitting and interleaving, and bugs that were found.
#![cfg(not(loom))]

use brolly_core::config::{
    Asset, Backend, Config, Files, Handler, Limits, Listener, Server, SessionPool, Sessions, Upstream, WebSocket,
};
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{Accepted, ConnId, Effect, IoError, Mail, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

fn at(seconds: u64) -> Now {
    Now { instant: Instant::from_nanos((1 + seconds) * 1_000_000_000), unix: UnixTime::from_millis(seconds * 1000) }
}

fn config(limits: Limits) -> Arc<Config> {
    let handlers = vec![
        ("/echo", Handler::Echo(None)),
        ("/ws", Handler::WebSocket(WebSocket::default())),
        ("/sse", Handler::EventStream { compress: false }),
        ("/poll", Handler::LongPoll),
        ("/publish", Handler::Publish),
        ("/file", Handler::Files(Files::new("/").into())),
    ];
    let mut routes = Routes::default();
    for (to, (prefix, _)) in handlers.iter().enumerate() {
        routes.add(Route { host: HostPattern::Any, prefix: (*prefix).into(), to: to.into() }).unwrap();
    }
    let handlers = handlers.into_iter().map(|(_, handler)| handler).collect();
    Arc::new(Config { limits, routes, handlers, ..Config::default() })
}

fn shard(limits: Limits) -> Shard {
    Shard::new(config(limits), 0, 1, Seed([7; 32]))
}

fn accept(shard: &mut Shard, now: Now) -> ConnId {
    shard.handle_accept(now, SocketAddr::from(([10, 0, 0, 1], 1024)).into()).unwrap()
}

/// Deadlines that passed were due for ever: `handle_timeout` never came back.
#[test]
fn a_reader_that_does_not_read_is_dropped() {
    let limits = Limits { write_timeout: Duration::from_secs(3), ..Limits::default() };
    let mut shard = shard(limits);
    let conn = accept(&mut shard, at(0));
    shard.handle_read(at(0), conn, &mut b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n".to_vec());
    assert!(shard.interest(conn).write && !shard.interest(conn).close);
    shard.handle_timeout(at(4));
    assert!(shard.interest(conn).close, "the write deadline has passed");
    assert_eq!(shard.poll_changed(), Some(conn));
    shard.handle_closed(at(4), conn, None);
    assert_eq!(shard.usage().connections, 0);
}

/// A long-poll whose content could not be read was answered, and its subscription stayed for ever.
#[test]
fn a_refused_poll_leaves_its_topics() {
    let mut shard = shard(Limits::default());
    let conn = accept(&mut shard, at(0));
    let request = "GET /poll?topic=a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    shard.handle_read(at(0), conn, &mut request.as_bytes().to_vec());
    assert_eq!(shard.usage().subscriptions, 1);
    shard.handle_read(at(0), conn, &mut b"zz\r\n".to_vec());
    assert!(written(&mut shard, at(0), conn).starts_with("HTTP/1.1 400 "));
    assert_eq!(shard.usage().subscriptions, 0);
}

/// Half a head and then the order to shut down: the answer said nothing of it, and the connection stayed.
#[test]
fn who_was_in_the_middle_of_a_head_learns_of_the_shutdown() {
    let mut shard = shard(Limits::default());
    let conn = accept(&mut shard, at(0));
    shard.handle_read(at(0), conn, &mut b"GET /nothing HTTP/1.1\r\nho".to_vec());
    shard.handle_mail(at(0), Mail::Shutdown(Duration::from_secs(10)));
    shard.handle_read(at(0), conn, &mut b"st: x\r\n\r\n".to_vec());
    assert!(written(&mut shard, at(0), conn).contains("connection: close\r\n"));
    assert!(shard.interest(conn).close);
}

/// Everything that is to be written to a connection, as if it was.
fn written(shard: &mut Shard, now: Now, conn: ConnId) -> String {
    let mut text = String::new();
    while shard.interest(conn).write {
        text += &written_once(shard, now, conn);
    }
    text
}

/// What one write takes of it.
fn written_once(shard: &mut Shard, now: Now, conn: ConnId) -> String {
    let mut slices: [&[u8]; 4] = [&[]; 4];
    let filled = shard.outgoing(conn, &mut slices);
    let bytes = slices[..filled].concat();
    shard.handle_write(now, conn, bytes.len());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Each ping that was written let the half of a frame be looked at again, and that passed for a sign of life.
#[test]
fn half_a_frame_is_no_answer_to_a_ping() {
    let mut shard = shard(Limits::default());
    let conn = accept(&mut shard, at(0));
    let mut input = b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x8a\x85abcd"
        .to_vec();
    shard.handle_read(at(0), conn, &mut input);
    assert!(written(&mut shard, at(0), conn).starts_with("HTTP/1.1 101 "));
    shard.handle_timeout(at(26));
    assert_eq!(written(&mut shard, at(26), conn), "\u{fffd}\0", "a ping");
    shard.handle_timeout(at(37));
    assert!(shard.interest(conn).close, "nothing came for 37 s");
}

/// Pipelined requests behind one that takes time were forgotten if the client ended its direction meanwhile.
#[test]
fn who_has_said_everything_gets_all_answers() {
    let mut shard = shard(Limits::default());
    let conn = accept(&mut shard, at(0));
    let requests = "GET /file/a HTTP/1.1\r\nhost: x\r\n\r\nGET /file/b HTTP/1.1\r\nhost: x\r\n\r\nGET /nothing";
    shard.handle_read(at(0), conn, &mut requests.as_bytes().to_vec());
    shard.handle_eof(at(0), conn);
    let mut answers = 0;
    while let Some(effect) = shard.poll_effect() {
        let Effect::OpenFile { op, .. } = effect else { continue };
        assert!(!shard.interest(conn).close);
        shard.handle_completion(at(0), op, Err(IoError::NotFound));
        assert!(written(&mut shard, at(0), conn).starts_with("HTTP/1.1 404 "));
        answers += 1;
    }
    assert_eq!(answers, 2);
    assert!(shard.interest(conn).close, "nothing is left to be answered");
}

/// RFC 6797 §7.2: never over plain HTTP.
#[test]
fn strict_transport_security_is_said_where_the_listener_has_it() {
    let mut config = Config::clone(&config(Limits::default()));
    let value = "max-age=31536000; includeSubDomains";
    config.listeners =
        vec![Listener::default(), Listener { is_tls: true, hsts: Some(value.into()), ..Listener::default() }];
    let mut shard = Shard::new(Arc::new(config), 0, 1, Seed([7; 32]));
    for (listener, expected) in [(0, 0), (1, 1)] {
        let peer = Some(SocketAddr::from(([10, 0, 0, 1], 1024)));
        let conn = shard.handle_accept(at(0), Accepted { listener, peer, local: None }).unwrap();
        for request in [&b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"GET / HTTP/1.1\r\nhost : x\r\n\r\n"] {
            shard.handle_read(at(0), conn, &mut request.to_vec());
            let answer = written(&mut shard, at(0), conn);
            let line = format!("\r\nstrict-transport-security: {value}\r\n");
            assert_eq!(answer.matches(&line).count(), expected, "{answer}");
        }
    }
}

#[test]
fn the_log_says_what_became_of_a_request_without_an_answer() {
    let mut shard = Shard::new(
        Arc::new(Config { log_requests: true, ..Config::clone(&config(Limits::default())) }),
        0,
        1,
        Seed([7; 32]),
    );
    for (request, status, reason) in [
        ("GET /file/a HTTP/1.1\r\nhost: x\r\n\r\n", 0, Some("the connection ended before the answer")),
        ("GET /sse?topic=a HTTP/1.1\r\nhost: x\r\n\r\n", 200, None),
        ("GET /a HTTP/1.1\r\nhost", 408, Some("the request took too long")),
    ] {
        let conn = accept(&mut shard, at(0));
        shard.handle_read(at(0), conn, &mut request.as_bytes().to_vec());
        shard.handle_timeout(at(11));
        shard.handle_closed(at(11), conn, None);
        let logged = std::iter::from_fn(|| shard.poll_effect()).find_map(|effect| match effect {
            Effect::Log(access) => Some((access.request.to_string(), access.status, access.reason)),
            _ => None,
        });
        let line = request.split(" HTTP").next().unwrap().to_owned();
        assert_eq!(logged, Some((line, status, reason.map(Into::into))));
    }
}

#[test]
fn the_log_knows_a_session_by_the_id_that_its_backend_gets() {
    let pool = SessionPool { name: "chat".into(), ..SessionPool::default() };
    let backend = Backend { upstream: 0, path: "".into() };
    let sessions =
        Sessions { pool: 0, takes_any_protocol: true, compression: None, calls: Vec::new(), others: backend };
    let mut routes = Routes::default();
    routes.add(Route { host: HostPattern::Any, prefix: "/".into(), to: 0.into() }).unwrap();
    let config = Config {
        handlers: vec![Handler::Sessions(sessions.into())],
        pools: vec![pool],
        upstreams: vec![Upstream::new(&Limits::default(), vec![Server::tcp("10.0.0.2", 80)])],
        log_requests: true,
        routes,
        ..Config::default()
    };
    let mut shard = Shard::new(Arc::new(config), 0, 1, Seed([7; 32]));
    let conn = accept(&mut shard, at(0));
    let mut handshake = b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    shard.handle_read(at(0), conn, &mut handshake);
    let connect = std::iter::from_fn(|| shard.poll_effect()).find_map(|effect| match effect {
        Effect::Connect { conn, .. } => Some(conn),
        _ => None,
    });
    let backend = connect.unwrap();
    shard.handle_connected(at(0), backend);
    let id = |head: &str| {
        let (_, id) = head.split_once("\r\nx-barium: ").unwrap_or_else(|| panic!("no id in {head}"));
        id.split("\r\n").next().unwrap().to_owned()
    };
    let asked = id(&written(&mut shard, at(0), backend));
    let content = r#"{"user_id":"u1"}"#;
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
    let mut answer = format!("{answer}{}\r\n\r\n{content}", content.len()).into_bytes();
    shard.handle_read(at(0), backend, &mut answer);
    let answered = written(&mut shard, at(0), conn);
    let logged = std::iter::from_fn(|| shard.poll_effect()).find_map(|effect| match effect {
        Effect::Log(access) => Some((access.request.to_string(), access.status, access.id.to_string())),
        _ => None,
    });
    assert_eq!(id(&answered), asked);
    assert_eq!(logged, Some(("GET /a".into(), 101, asked)));
}

/// A packet full of requests for a large answer must not become a queue of large answers.
#[test]
fn answers_of_a_pipeline_wait_for_the_reader() {
    const LENGTH: usize = 100_000;
    let asset = Asset::new("", "text/plain", vec![b'x'; LENGTH].into());
    let mut routes = Routes::default();
    routes.add(Route { host: HostPattern::Any, prefix: "/".into(), to: 0.into() }).unwrap();
    let handlers = vec![Handler::Memory([asset].into())];
    let config = Arc::new(Config { routes, handlers, ..Config::default() });
    let mut shard = Shard::new(Arc::clone(&config), 0, 1, Seed([7; 32]));
    let conn = accept(&mut shard, at(0));
    let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let requests = 64 * 1024 / request.len();
    shard.handle_read(at(0), conn, &mut request.repeat(requests).into_bytes());
    assert!(!shard.interest(conn).read, "it reads on while nobody takes the answers");
    let (mut answers, mut most) = (0, 0);
    while shard.interest(conn).write {
        most = most.max(shard.usage().longest_outbox);
        answers += written_once(&mut shard, at(0), conn).matches("HTTP/1.1 200 OK").count();
    }
    assert_eq!(answers, requests);
    // What is queued, and one answer beyond.
    assert!(most < 256 * 1024 + 2 * LENGTH, "{most} bytes were queued");
    assert!(shard.interest(conn).read);
}

/// A refused sender can read why, but not for ever.
#[test]
fn who_sends_on_after_a_refusal_is_cut_off() {
    let limits = Limits { linger_timeout: Duration::from_secs(2), ..Limits::default() };
    let mut shard = shard(limits);
    let conn = accept(&mut shard, at(0));
    shard.handle_read(at(0), conn, &mut b"GET / HTTP/1.1\r\nHost : x\r\n\r\n".to_vec());
    assert!(written(&mut shard, at(0), conn).starts_with("HTTP/1.1 400 "));
    assert!(shard.interest(conn).shutdown, "the client is told the end");
    shard.handle_shutdown_done(at(0), conn);
    for second in 0..2 {
        shard.handle_read(at(second), conn, &mut vec![b'x'; 10_000]);
        shard.handle_timeout(at(second));
        assert!(shard.interest(conn).read && !shard.interest(conn).close, "after {second} s");
    }
    shard.handle_timeout(at(3));
    assert!(shard.interest(conn).close, "what is sent on does not move the deadline");
}
