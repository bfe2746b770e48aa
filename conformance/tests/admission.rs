//! Who may, and how much: a shard with policies, driven by hand.
#![cfg(not(loom))]

use brolly_core::config::{AccessRules, BasicAuth, Config, Destination, Handler, Limits, Policy};
use brolly_core::http1::StatusCode;
use brolly_core::rng::Seed;
use brolly_core::route::{Forwarding, HostPattern, Route, Routes};
use brolly_core::shard::{Access, Completion, ConnId, Effect, IoError, OpId, Shard};
use brolly_core::throttle::{Allowance, Rate};
use brolly_core::time::{Instant, Now, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One shard, and who talks to it.
struct Scene {
    shard: Shard,
    millis: u64,
    logged: Vec<Access>,
    verifying: Vec<(OpId, String)>,
}

impl Scene {
    /// A site whose `/` has this policy, and whose `/free` has none.
    fn new(policy: Policy, handler: Handler, change: impl FnOnce(&mut Config)) -> Self {
        let mut routes = Routes::default();
        for (prefix, policy) in [("/", Some(0)), ("/free", None)] {
            let to = Destination { policy, ..0.into() };
            routes.add(Route { host: HostPattern::Any, prefix: prefix.into(), to }).unwrap();
        }
        let mut config =
            Config { routes, handlers: vec![handler], policies: vec![policy], log_requests: true, ..Config::default() };
        change(&mut config);
        let shard = Shard::new(Arc::new(config), 0, 1, Seed([7; 32]));
        Self { shard, millis: 1000, logged: Vec::new(), verifying: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { instant: Instant::from_nanos(self.millis * 1_000_000), unix: UnixTime::from_millis(self.millis) }
    }

    fn accept(&mut self, peer: &str) -> ConnId {
        self.shard.handle_accept(self.now(), SocketAddr::new(peer.parse().unwrap(), 1024).into()).unwrap()
    }

    fn send(&mut self, conn: ConnId, text: &str) {
        self.shard.handle_read(self.now(), conn, &mut text.replace('\n', "\r\n").into_bytes());
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(effect) = self.shard.poll_effect() {
            match effect {
                Effect::Log(access) => self.logged.push(*access),
                Effect::Verify { op, user, password, .. } => {
                    self.verifying.push((op, format!("{user}:{}", password.0)));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Everything that may be written to a connection at the moment.
    fn written(&mut self, conn: ConnId) -> String {
        let mut text = String::new();
        while self.shard.interest(conn).write {
            let mut slices: [&[u8]; 4] = [&[]; 4];
            let filled = self.shard.outgoing(conn, &mut slices);
            let bytes = slices[..filled].concat();
            assert!(!bytes.is_empty(), "there is something to write, but nothing may be written");
            text.push_str(&String::from_utf8_lossy(&bytes));
            self.shard.handle_write(self.now(), conn, bytes.len());
        }
        self.poll();
        text
    }

    /// The status and the fields of the answer to a request over a new connection.
    fn ask(&mut self, peer: &str, request: &str) -> (u16, String) {
        let conn = self.accept(peer);
        self.send(conn, request);
        let answer = self.answer(conn);
        self.shard.handle_closed(self.now(), conn, None);
        self.poll();
        answer
    }

    fn answer(&mut self, conn: ConnId) -> (u16, String) {
        let text = self.written(conn);
        (text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0), text)
    }

    fn advance(&mut self, millis: u64) {
        self.millis += millis;
        self.shard.handle_timeout(self.now());
        self.poll();
    }
}

const GET: &str = "GET / HTTP/1.1\nHost: a\n\n";
const OK: Handler = Handler::Status(StatusCode::OK);

fn rate(units: u64, burst: u64) -> Option<Rate> {
    Some(Rate { units, period: Duration::from_secs(1), burst })
}

#[test]
fn access_goes_by_the_client_behind_believed_peers() {
    let mut rules = AccessRules::default();
    rules.networks.insert("192.0.2.0/24".parse().unwrap(), true);
    rules.networks.insert("192.0.2.66/32".parse().unwrap(), false);
    let policy = Policy { access: Some(Box::new(rules)), ..Policy::default() };
    let mut scene = Scene::new(policy, OK, |config| {
        config.trusted.insert("10.0.0.0/8".parse().unwrap(), ());
    });
    for (peer, said, status, client) in [
        ("192.0.2.1", "", 200, "192.0.2.1"),
        ("::ffff:192.0.2.1", "", 200, "192.0.2.1"),
        ("192.0.2.66", "", 403, "192.0.2.66"),
        ("198.51.100.1", "", 403, "198.51.100.1"),
        ("198.51.100.1", "X-Forwarded-For: 192.0.2.1\n", 403, "198.51.100.1"),
        ("10.0.0.1", "", 403, "10.0.0.1"),
        ("10.0.0.1", "X-Forwarded-For: 192.0.2.1\n", 200, "192.0.2.1"),
        ("10.0.0.1", "X-Forwarded-For: 192.0.2.1, 6.6.6.6\n", 403, "6.6.6.6"),
        ("10.0.0.1", "Forwarded: for=192.0.2.1\n", 403, "10.0.0.1"),
    ] {
        let request = format!("GET / HTTP/1.1\nHost: a\n{said}\n");
        assert_eq!(scene.ask(peer, &request).0, status, "{peer} {said}");
        let logged = scene.logged.pop().unwrap();
        assert_eq!(logged.client, client.parse().ok(), "{peer} {said}");
        assert_eq!(scene.ask(peer, "GET /free HTTP/1.1\nHost: a\n\n").0, 200);
        scene.logged.clear();
    }
}

#[test]
fn a_forwarded_field_that_cannot_be_read_is_refused_from_believed_peers_only() {
    let mut scene = Scene::new(Policy::default(), OK, |config| {
        config.trusted.insert("10.0.0.0/8".parse().unwrap(), ());
        config.forwarding = Forwarding::Standard;
    });
    let request = "GET / HTTP/1.1\nHost: a\nForwarded: for=\"6.6.6.6, for=192.0.2.1\n\n";
    assert_eq!(scene.ask("10.0.0.1", request).0, 400);
    assert_eq!(scene.ask("192.0.2.1", request).0, 200);
}

#[test]
fn the_id_of_a_believed_peer_is_kept() {
    let mut scene = Scene::new(Policy::default(), OK, |config| {
        config.trusted.insert("10.0.0.0/8".parse().unwrap(), ());
    });
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    let request = format!("GET / HTTP/1.1\nHost: a\nX-Barium: {id}\n\n");
    assert!(scene.ask("10.0.0.1", &request).1.contains(&format!("x-barium: {id}\r\n")));
    assert!(!scene.ask("192.0.2.1", &request).1.contains(id));
    assert_eq!(scene.ask("10.0.0.1", &request.replace(id, "x")).0, 200);
}

#[test]
fn ipv4_over_a_dual_stack_socket_is_logged_as_ipv4() {
    let mut scene = Scene::new(Policy::default(), OK, |_| {});
    scene.ask("::ffff:192.0.2.1", "GET / HTTP/1.1\nHost: a\n\n");
    assert_eq!(scene.logged.last().and_then(|access| access.peer), Some("192.0.2.1:1024".parse().unwrap()));
}

#[test]
fn content_is_limited_before_and_while_it_comes() {
    let policy = Policy { content_bytes: Some(10), ..Policy::default() };
    let mut scene = Scene::new(policy, Handler::Publish, |_| ());
    let post = |fields: &str| format!("POST /topic HTTP/1.1\nHost: a\n{fields}\n");
    let (status, text) = scene.ask("192.0.2.1", &post("Content-Length: 11\nExpect: 100-continue\n"));
    assert!(status == 413 && text.contains("connection: close\r\n"), "{text}");
    let (_, text) = scene.ask("192.0.2.1", &post("Content-Length: 10\nExpect: 100-continue\n"));
    assert_eq!(text, "HTTP/1.1 100 Continue\r\n\r\n");
    let chunked = post("Transfer-Encoding: chunked\n");
    assert_eq!(scene.ask("192.0.2.1", &format!("{chunked}5\n12345\n5\n12345\n0\n\n")).0, 200);
    assert_eq!(scene.ask("192.0.2.1", &format!("{chunked}5\n12345\n6\n123456\n0\n\n")).0, 413);
    // Each request has its own count.
    let conn = scene.accept("192.0.2.1");
    for _ in 0..3 {
        scene.send(conn, &format!("{}1234567890", post("Content-Length: 10\n")));
        assert_eq!(scene.answer(conn).0, 200);
    }
}

#[test]
fn requests_of_one_client_are_limited() {
    let allowance = Allowance { requests: rate(2, 3), ..Allowance::default() };
    let policy = Policy { limits: Some(Box::new(allowance)), ..Policy::default() };
    let mut scene = Scene::new(policy, OK, |_| ());
    for _ in 0..3 {
        assert_eq!(scene.ask("192.0.2.1", GET).0, 200);
    }
    let (status, text) = scene.ask("192.0.2.1", GET);
    assert!(status == 429 && text.contains("retry-after: 1\r\n"), "{text}");
    assert_eq!(scene.ask("192.0.2.2", GET).0, 200);
    assert_eq!(scene.ask("192.0.2.1", "GET /free HTTP/1.1\nHost: a\n\n").0, 200);
    scene.advance(500);
    assert_eq!([scene.ask("192.0.2.1", GET).0, scene.ask("192.0.2.1", GET).0], [200, 429]);
}

#[test]
fn requests_at_the_same_time_are_limited_and_given_back_whatever_happens() {
    let allowance = Allowance { connections: Some(2), ..Allowance::default() };
    let policy = Policy { limits: Some(Box::new(allowance)), ..Policy::default() };
    let mut scene = Scene::new(policy, Handler::Echo(None), |_| ());
    let upgrade = "GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n";
    for _ in 0..3 {
        let [first, second] = [(); 2].map(|()| {
            let conn = scene.accept("192.0.2.1");
            scene.send(conn, upgrade);
            assert_eq!(scene.answer(conn).0, 101);
            conn
        });
        // Neither an open WebSocket nor a refusal gives a place back.
        for _ in 0..3 {
            assert_eq!(scene.ask("192.0.2.1", upgrade).0, 429);
        }
        assert_eq!(scene.ask("192.0.2.2", GET).0, 400);
        scene.shard.handle_closed(scene.now(), first, None);
        assert_eq!(scene.ask("192.0.2.1", GET).0, 400);
        scene.shard.handle_closed(scene.now(), second, Some(IoError::ConnectionReset));
    }
}

/// A site whose answers have so many bytes, and whose `/` has a pace.
fn paced(bytes: usize) -> Scene {
    let allowance = Allowance { bandwidth: rate(40_000, 10_000), ..Allowance::default() };
    let policy = Policy { limits: Some(Box::new(allowance)), ..Policy::default() };
    let content = brolly_core::config::Asset::new("", "text/plain", vec![b'x'; bytes].into());
    Scene::new(policy, Handler::Memory([content].into()), |_| ())
}

#[test]
fn answers_leave_at_the_pace_of_the_client() {
    let mut scene = paced(100_000);
    let [first, second] = ["192.0.2.1", "192.0.2.1"].map(|peer| scene.accept(peer));
    scene.send(first, GET);
    scene.send(second, GET);
    let (mut sent, mut seconds) = ([0, 0], 0.0);
    while sent.iter().sum::<usize>() < 200_000 {
        for (conn, sent) in [first, second].into_iter().zip(&mut sent) {
            *sent += scene.written(conn).len();
        }
        let total = sent.iter().sum::<usize>() as f64;
        assert!(total <= 10_000.0 + 40_000.0 * seconds + 1.0, "{total} bytes after {seconds} s");
        assert!(seconds < 6.0, "{sent:?} after {seconds} s");
        scene.advance(20);
        seconds += 0.02;
    }
    assert!(seconds > 4.0, "{seconds}");
    // The next answer without a limit is not held back for long by what is left.
    scene.send(first, "GET /free HTTP/1.1\nHost: a\n\n");
    scene.advance(1000);
    assert!(!scene.written(first).is_empty());
}

/// The pace is that of the route: what comes after on the same connection has its own.
#[test]
fn each_route_has_its_pace_on_one_connection() {
    let mut scene = paced(50_000);
    let conn = scene.accept("192.0.2.1");
    let free = "GET /free HTTP/1.1\nHost: a\n\n";
    let at_once = |scene: &mut Scene, request: &str| {
        scene.send(conn, request);
        scene.written(conn).len()
    };
    let whole = at_once(&mut scene, free);
    let mut sent = at_once(&mut scene, GET);
    assert!(whole > 50_000 && sent <= 10_000, "{sent} of {whole}");
    while sent < whole {
        scene.advance(20);
        sent += scene.written(conn).len();
    }
    assert_eq!(at_once(&mut scene, free), whole);
    // What waits behind an answer with a pace leaves after it, and does not take it along.
    scene.advance(10_000);
    assert!(at_once(&mut scene, &format!("{GET}{free}")) <= 10_000);
    scene.advance(500);
    assert!((1..=30_000).contains(&scene.written(conn).len()));
}

fn login() -> Policy {
    let basic_auth = BasicAuth { file: "users".into(), challenge: "Basic realm=\"r\"".into(), forward: false };
    Policy { basic_auth: Some(Box::new(basic_auth)), ..Policy::default() }
}

const ANN: &str = "Authorization: Basic YW5uOnNlc2FtZQ==\n";

#[test]
fn a_password_is_asked_for_and_verified() {
    let mut scene = Scene::new(login(), OK, |_| ());
    let (status, text) = scene.ask("192.0.2.1", GET);
    assert!(status == 401 && text.contains("www-authenticate: Basic realm=\"r\"\r\n"), "{text}");
    let request = format!("GET / HTTP/1.1\nHost: a\n{ANN}\n");
    for (result, status, user) in [
        (Ok(Completion::Verified(true)), 200, Some("ann")),
        (Ok(Completion::Verified(false)), 401, None),
        (Err(IoError::Other), 500, None),
    ] {
        let conn = scene.accept("192.0.2.1");
        // The next request waits for the answer to this one.
        scene.send(conn, &format!("{request}GET /free HTTP/1.1\nHost: a\n\n"));
        assert_eq!(scene.written(conn), "");
        let (op, what) = scene.verifying.pop().unwrap();
        assert_eq!((what.as_str(), scene.verifying.len()), ("ann:sesame", 0));
        scene.logged.clear();
        scene.shard.handle_completion(scene.now(), op, result);
        let (found, text) = scene.answer(conn);
        assert_eq!(found, status, "{text}");
        assert_eq!(text.matches("HTTP/1.1 200").count(), 1 + usize::from(status == 200), "{text}");
        assert_eq!(scene.logged[0].user.as_deref(), user);
        assert_eq!(scene.logged.len(), 2);
    }
    assert_eq!(scene.shard.usage().operations, 0);
}

#[test]
fn while_a_password_is_verified_content_waits_and_clients_may_go() {
    let mut scene = Scene::new(login(), Handler::Publish, |_| ());
    let conn = scene.accept("192.0.2.1");
    scene.send(conn, &format!("POST /t HTTP/1.1\nHost: a\nContent-Length: 5\nExpect: 100-continue\n{ANN}\n"));
    assert_eq!(scene.written(conn), "");
    let (op, _) = scene.verifying.pop().unwrap();
    scene.shard.handle_completion(scene.now(), op, Ok(Completion::Verified(true)));
    assert_eq!(scene.written(conn), "HTTP/1.1 100 Continue\r\n\r\n");
    scene.send(conn, "hello");
    assert_eq!(scene.answer(conn).0, 200);
    // Content that comes at once is kept for later.
    scene.send(conn, &format!("POST /t HTTP/1.1\nHost: a\nContent-Length: 5\n{ANN}\nhello"));
    let (op, _) = scene.verifying.pop().unwrap();
    assert_eq!(scene.written(conn), "");
    scene.shard.handle_completion(scene.now(), op, Ok(Completion::Verified(true)));
    assert_eq!(scene.answer(conn).0, 200);
    // Whoever has gone is not answered.
    scene.send(conn, &format!("GET / HTTP/1.1\nHost: a\n{ANN}\n"));
    let (op, _) = scene.verifying.pop().unwrap();
    scene.shard.handle_closed(scene.now(), conn, None);
    scene.shard.handle_completion(scene.now(), op, Ok(Completion::Verified(true)));
    assert_eq!((scene.shard.usage().connections, scene.shard.usage().operations), (0, 0));
}

#[test]
fn passwords_are_verified_a_few_at_a_time() {
    let limits = Limits { verifications: 1, ..Limits::default() };
    let mut scene = Scene::new(login(), OK, |config| config.limits = limits);
    let request = format!("GET / HTTP/1.1\nHost: a\n{ANN}\n");
    let conn = scene.accept("192.0.2.1");
    scene.send(conn, &request);
    let (status, text) = scene.ask("192.0.2.2", &request);
    assert!(status == 503 && text.contains("retry-after: 1\r\n"), "{text}");
    let (op, _) = scene.verifying.pop().unwrap();
    scene.shard.handle_completion(scene.now(), op, Ok(Completion::Verified(true)));
    assert_eq!(scene.answer(conn).0, 200);
    let conn = scene.accept("192.0.2.2");
    scene.send(conn, &request);
    assert_eq!(scene.verifying.len(), 1);
}
