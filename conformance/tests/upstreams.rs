//! A whole shard between clients and backends that follow a script: where requests go, what is repeated, who waits.
#![cfg(not(loom))]

use brolly_core::config::{Config, Handler, HealthCheck, HostField, Limits, Proxy, Server, Upstream};
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{Address, Completion, ConnId, Effect, IoError, OpId, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use brolly_core::upstream::{Balance, Eject, Key, State};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET /p HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

/// A shard, its clients, and its backends on 10.0.0.N:80.
struct Edge {
    shard: Shard,
    seconds: u64,
    /// Servers that refuse connections, and such that neither take nor refuse them.
    refusing: BTreeSet<u8>,
    hanging: BTreeSet<u8>,
    /// Connections to backends, in the order in which they were opened, and to which server.
    opened: Vec<(ConnId, u8)>,
    said: BTreeMap<ConnId, String>,
    look_ups: Vec<OpId>,
    notices: Vec<(u8, State)>,
    statuses: Vec<u16>,
}

impl Edge {
    fn new(servers: &[u8], change: impl FnOnce(&mut Upstream, &mut Proxy)) -> Self {
        let server = |number: &u8| Server::tcp(&format!("10.0.0.{number}"), 80);
        let mut upstream = Upstream::new(&Limits::default(), servers.iter().map(server).collect());
        let mut proxy = Proxy::default();
        upstream.rules.balance = Balance::RoundRobin;
        change(&mut upstream, &mut proxy);
        let mut routes = Routes::default();
        routes.add(Route { host: HostPattern::Any, prefix: "/".into(), to: 0.into() }).unwrap();
        let (handlers, upstreams) = (vec![Handler::Proxy(proxy)], vec![upstream]);
        let config = Config { routes, handlers, upstreams, log_requests: true, ..Config::default() };
        Self {
            shard: Shard::new(Arc::new(config), 0, 1, Seed([5; 32])),
            seconds: 0,
            refusing: BTreeSet::new(),
            hanging: BTreeSet::new(),
            opened: Vec::new(),
            said: BTreeMap::new(),
            look_ups: Vec::new(),
            notices: Vec::new(),
            statuses: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        let instant = Instant::from_nanos((1 + self.seconds) * 1_000_000_000);
        Now { instant, unix: UnixTime::from_millis(self.seconds * 1000) }
    }

    fn client(&mut self) -> ConnId {
        let peer = SocketAddr::from(([192, 0, 2, 1], 99));
        self.shard.handle_accept(self.now(), peer.into()).unwrap()
    }

    /// A client, or a backend, says something.
    fn say(&mut self, conn: ConnId, text: &str) {
        self.shard.handle_read(self.now(), conn, &mut text.as_bytes().to_vec());
        self.run();
    }

    fn end(&mut self, conn: ConnId) {
        self.shard.handle_eof(self.now(), conn);
        self.run();
    }

    fn reset(&mut self, conn: ConnId) {
        self.shard.handle_closed(self.now(), conn, Some(IoError::ConnectionReset));
        self.run();
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.seconds += 1;
            // A timer fires within two milliseconds.
            let now = self.now();
            self.shard.handle_timeout(Now { instant: now.instant + Duration::from_millis(2), ..now });
            self.run();
        }
    }

    /// A new client's request.
    fn ask(&mut self, request: &str) -> ConnId {
        let client = self.client();
        self.say(client, request);
        client
    }

    /// What was said to a client, or to a backend, since the last time.
    fn heard(&mut self, conn: ConnId) -> String {
        self.said.remove(&conn).unwrap_or_default()
    }

    fn is_open(&self, conn: ConnId) -> bool {
        !self.shard.interest(conn).close
    }

    /// The latest connection to a backend.
    fn last(&self) -> (ConnId, u8) {
        self.opened.last().copied().unwrap()
    }

    fn servers(&self) -> Vec<u8> {
        self.opened.iter().map(|(_, number)| *number).collect()
    }

    fn run(&mut self) {
        loop {
            while let Some(effect) = self.shard.poll_effect() {
                self.perform(effect);
            }
            let Some(conn) = self.shard.poll_changed() else { return };
            let interest = self.shard.interest(conn);
            if interest.close {
                self.shard.handle_closed(self.now(), conn, None);
            } else if interest.write {
                let mut slices: [&[u8]; 64] = [&[]; 64];
                let filled = self.shard.outgoing(conn, &mut slices);
                let bytes = slices[..filled].concat();
                *self.said.entry(conn).or_default() += &String::from_utf8_lossy(&bytes);
                self.shard.handle_write(self.now(), conn, bytes.len());
            } else if interest.shutdown {
                self.shard.handle_shutdown_done(self.now(), conn);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { conn, to, preface, .. } => {
                let number = number(&to);
                self.said.entry(conn).or_default().push_str(&String::from_utf8_lossy(&preface));
                self.opened.push((conn, number));
                if self.refusing.contains(&number) {
                    self.shard.handle_closed(self.now(), conn, Some(IoError::ConnectionRefused));
                } else if !self.hanging.contains(&number) {
                    self.shard.handle_connected(self.now(), conn);
                }
            }
            Effect::Resolve { op, .. } => self.look_ups.push(op),
            Effect::Notice(notice) => self.notices.push((number(&notice.server), notice.state)),
            Effect::Log(access) => self.statuses.push(access.status),
            other => panic!("{other:?}"),
        }
    }

    fn resolve(&mut self, servers: &[u8]) {
        let addresses = servers.iter().map(|number| SocketAddr::from(([10, 0, 0, *number], 80))).collect();
        let op = self.look_ups.remove(0);
        self.shard.handle_completion(self.now(), op, Ok(Completion::Resolved(addresses)));
        self.run();
    }
}

fn number(address: &Address) -> u8 {
    match address {
        Address::Tcp(SocketAddr::V4(address)) => address.ip().octets()[3],
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_server_is_asked_if_one_cannot_be_reached() {
    let mut edge = Edge::new(&[1, 2], |_, _| {});
    edge.refusing = [1].into();
    for request in [GET, POST] {
        let client = edge.ask(request);
        let (backend, server) = edge.last();
        assert_eq!(server, 2);
        assert!(edge.heard(backend).starts_with(&request[..4]));
        edge.say(backend, OK);
        assert!(edge.heard(client).starts_with("HTTP/1.1 200 OK\r\n"));
        edge.end(backend);
    }
    edge.refusing = [1, 2].into();
    let client = edge.ask(GET);
    let heard = edge.heard(client);
    assert!(heard.starts_with("HTTP/1.1 502 ") && heard.ends_with("the backend cannot be reached\n"), "{heard}");
    assert_eq!(edge.servers().len(), 6, "one retry for each");
}

#[test]
fn who_does_not_answer_the_door_in_time_is_passed_over() {
    let mut edge = Edge::new(&[1, 2], |_, _| {});
    edge.hanging = [1].into();
    let client = edge.ask(POST);
    assert_eq!((edge.heard(client), edge.servers()), (String::new(), vec![1]), "no 100, no content yet");
    edge.wait(5);
    let (backend, server) = edge.last();
    assert_eq!((server, edge.heard(backend).ends_with("\r\n\r\nhi")), (2, true));
    edge.hanging = [1, 2].into();
    let client = edge.ask(GET);
    edge.wait(11);
    assert!(edge.heard(client).starts_with("HTTP/1.1 504 "));
}

/// RFC 9112 §9.3.1: a kept connection that turns out to be closed is nobody's error.
#[test]
fn a_stale_connection_is_no_error() {
    for method in ["GET", "PUT", "POST", "PATCH"] {
        for (closes, seconds) in [(Edge::end as fn(&mut Edge, ConnId), 0), (Edge::reset, 0), (Edge::reset, 20)] {
            let request = format!("{method} /p HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
            let mut edge = Edge::new(&[1], |upstream, _| upstream.fresh = Duration::ZERO);
            edge.ask(GET);
            let (first, _) = edge.last();
            edge.say(first, OK);
            edge.wait(seconds + 1);
            let client = edge.ask(&request);
            // Whoever got it as the first one on its connection has it; else the old connection was stale.
            if edge.last().0 == first {
                closes(&mut edge, first);
            }
            let (second, _) = edge.last();
            assert_ne!(second, first, "{method}");
            edge.say(second, OK);
            assert!(edge.heard(client).starts_with("HTTP/1.1 200 "), "{method}");
        }
    }
}

/// RFC 9110 §9.2.2: what a server may have acted on is not sent again.
#[test]
fn what_is_not_idempotent_is_not_repeated() {
    for (request, expected) in [(GET, 2), ("POST /p HTTP/1.1\r\nhost: a\r\n\r\n", 1), (POST, 1)] {
        let mut edge = Edge::new(&[1, 2], |_, _| {});
        let client = edge.ask(request);
        let (backend, _) = edge.last();
        edge.end(backend);
        assert_eq!(edge.opened.len(), expected, "{request}");
        assert_eq!(edge.heard(client).starts_with("HTTP/1.1 502 "), expected == 1, "{request}");
    }
    // Nor is anything whose answer has begun.
    let mut edge = Edge::new(&[1, 2], |_, _| {});
    let client = edge.ask(GET);
    let (backend, _) = edge.last();
    edge.say(backend, "HTTP/1.1 2");
    edge.end(backend);
    assert_eq!((edge.opened.len(), edge.heard(client).starts_with("HTTP/1.1 502 ")), (1, true));
}

#[test]
fn what_was_buffered_can_be_repeated() {
    let mut edge = Edge::new(&[1, 2], |_, proxy| proxy.buffer_requests = true);
    let head = "PUT /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n";
    let client = edge.ask(head);
    assert_eq!(edge.heard(client), "HTTP/1.1 100 Continue\r\n\r\n", "the content is wanted");
    edge.say(client, "1\r\na\r\n2;x=y\r\nbc\r\n0\r\n");
    assert!(edge.opened.is_empty(), "the backend is asked when the request is complete");
    edge.say(client, "X-Sum: 1\r\n\r\n");
    let (first, _) = edge.last();
    let sent = edge.heard(first);
    assert!(
        sent.contains("transfer-encoding: chunked\r\n") && sent.ends_with("3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
        "{sent}"
    );
    edge.reset(first);
    let (second, _) = edge.last();
    assert_ne!(first, second);
    assert_eq!(edge.heard(second), sent);
    edge.say(second, OK);
    assert!(edge.heard(client).starts_with("HTTP/1.1 200 "));
    let large = format!("PUT /p HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n", 2 << 20);
    let client = edge.ask(&large);
    assert!(edge.heard(client).starts_with("HTTP/1.1 413 "), "no 100 before it");
    let client = edge.ask("PUT /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        edge.say(client, &format!("80000\r\n{}\r\n", "x".repeat(0x80000)));
    }
    assert!(edge.heard(client).starts_with("HTTP/1.1 413 "));
    assert_eq!(edge.opened.len(), 2);
}

#[test]
fn requests_wait_in_turn_and_not_for_ever() {
    let mut edge = Edge::new(&[1], |upstream, _| (upstream.rules.connections, upstream.rules.queue) = (1, 3));
    let clients: Vec<_> = (0..5).map(|_| edge.ask(GET)).collect();
    let refused = edge.heard(clients[4]);
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    // The second one does not want to wait any more.
    edge.reset(clients[1]);
    let (backend, _) = edge.last();
    for client in [clients[0], clients[2]] {
        edge.say(backend, OK);
        assert!(edge.heard(client).starts_with("HTTP/1.1 200 "));
    }
    assert_eq!((edge.opened.len(), edge.heard(clients[3])), (1, String::new()));
    let late = edge.ask(POST);
    edge.wait(4);
    assert_eq!(edge.heard(late), "");
    edge.wait(1);
    let refused = edge.heard(late);
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    edge.say(backend, OK);
    assert!(edge.heard(clients[3]).starts_with("HTTP/1.1 200 "));
    assert_eq!(edge.shard.usage().waiting, 0);
}

/// Response-queue poisoning: bytes behind an answer belong to nobody, however many wait for the connection.
#[test]
fn what_follows_an_answer_is_not_the_next_one() {
    let mut edge = Edge::new(&[1], |upstream, _| upstream.rules.connections = 1);
    let (first, second) = (edge.ask(GET), edge.ask(GET));
    let (backend, _) = edge.last();
    edge.say(backend, &[OK, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad"].concat());
    assert!(edge.heard(first).ends_with("\r\n\r\nok"));
    let (fresh, _) = edge.last();
    assert!(fresh != backend && edge.heard(second).is_empty());
    edge.say(fresh, OK);
    assert!(edge.heard(second).ends_with("\r\n\r\nok"));
    // Neither is what comes before a request.
    let (fresh, _) = edge.last();
    edge.say(fresh, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad");
    assert!(!edge.is_open(fresh));
}

#[test]
fn answers_have_deadlines() {
    let mut edge = Edge::new(&[1], |upstream, _| {
        (upstream.first_byte_timeout, upstream.idle_timeout) = (Duration::from_secs(3), Duration::from_secs(2));
        upstream.total_timeout = Some(Duration::from_secs(6));
    });
    let client = edge.ask(GET);
    edge.wait(2);
    let (backend, _) = edge.last();
    // Bytes of a head that does not end gain no time.
    edge.say(backend, "HTTP/1.1 200 OK\r\n");
    edge.wait(1);
    assert!(edge.heard(client).starts_with("HTTP/1.1 504 "));
    let client = edge.ask(GET);
    let (backend, _) = edge.last();
    edge.say(backend, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na");
    edge.wait(1);
    edge.say(backend, "b");
    assert!(edge.heard(client).ends_with("\r\n\r\nab") && edge.is_open(client));
    edge.wait(2);
    assert!(!edge.is_open(client) && edge.heard(client).is_empty(), "cut");
    let client = edge.ask(GET);
    let (backend, _) = edge.last();
    edge.say(backend, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..7 {
        edge.say(backend, "1\r\nx\r\n");
        edge.wait(1);
    }
    let heard = edge.heard(client);
    assert!(!edge.is_open(client) && !heard.ends_with("0\r\n\r\n"), "{heard}");
    assert_eq!(edge.shard.usage().connections, 1, "the first client");
}

/// The clock of the first byte begins with the end of the request.
#[test]
fn a_slow_client_is_not_the_backends_fault() {
    let mut edge = Edge::new(&[1], |upstream, _| upstream.first_byte_timeout = Duration::from_secs(3));
    let client = edge.ask("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
    let (backend, _) = edge.last();
    edge.wait(20);
    edge.say(client, "123456789");
    edge.wait(2);
    edge.say(backend, OK);
    assert!(edge.heard(client).starts_with("HTTP/1.1 200 "));
}

#[test]
fn content_is_asked_for_when_there_is_a_connection() {
    let mut edge = Edge::new(&[1], |upstream, _| upstream.retries = 0);
    let expecting = "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
    edge.refusing = [1].into();
    let client = edge.ask(expecting);
    assert!(edge.heard(client).starts_with("HTTP/1.1 502 "), "no 100 before it");
    edge.refusing.clear();
    edge.hanging = [1].into();
    let client = edge.ask(expecting);
    assert_eq!(edge.heard(client), "");
    let (backend, _) = edge.last();
    edge.shard.handle_connected(edge.now(), backend);
    edge.run();
    assert_eq!(edge.heard(client), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(!edge.heard(backend).contains("expect"));
    edge.say(client, "hi");
    assert_eq!(edge.heard(backend), "hi");
}

#[test]
fn a_server_that_fails_rests_and_it_is_said() {
    let mut edge = Edge::new(&[1, 2], |upstream, _| {
        upstream.rules.eject = Some(Eject { failures: 2, period: Duration::from_secs(10) });
    });
    edge.refusing = [1].into();
    for _ in 0..6 {
        edge.ask(GET);
    }
    assert_eq!(edge.notices, [(1, State::Resting)]);
    assert_eq!(edge.servers().iter().filter(|server| **server == 1).count(), 2);
    edge.refusing.clear();
    edge.wait(10);
    edge.ask(GET);
    edge.ask(GET);
    assert_eq!(edge.servers().iter().filter(|server| **server == 1).count(), 3);
}

#[test]
fn servers_are_probed() {
    let status = Vec::new();
    let second = Duration::from_secs(1);
    let check = HealthCheck { path: "/up".into(), interval: second, timeout: second, status };
    let mut edge = Edge::new(&[1], |upstream, _| {
        upstream.health = Some(check);
        upstream.fallbacks = vec![Server::tcp("10.0.0.9", 80)];
    });
    edge.refusing = [1].into();
    assert!(edge.shard.poll_timeout().is_some_and(|at| at <= edge.now().instant));
    edge.wait(5);
    assert_eq!(edge.notices, [(1, State::Down)]);
    edge.ask(GET);
    assert_eq!(edge.last().1, 9, "the fallback");
    edge.refusing.clear();
    edge.wait(1);
    for _ in 0..4 {
        for (conn, ..) in edge.opened.clone() {
            if edge.heard(conn).starts_with("GET /up HTTP/1.1\r\nhost: 10.0.0.") {
                edge.say(conn, "HTTP/1.1 204 No Content\r\n\r\n");
                assert!(!edge.is_open(conn));
            }
        }
        edge.wait(1);
    }
    assert_eq!(edge.notices, [(1, State::Down), (1, State::Up)]);
    edge.ask(GET);
    assert_eq!(edge.last().1, 1);
    // Silence is no answer.
    edge.notices.clear();
    edge.wait(12);
    assert_eq!(BTreeMap::from_iter(edge.notices), [(1, State::Down), (9, State::Down)].into());
}

#[test]
fn servers_behind_a_name_are_probed_too() {
    let second = Duration::from_secs(1);
    let check = HealthCheck { path: "/up".into(), interval: second, timeout: second, status: Vec::new() };
    let mut edge = Edge::new(&[], |upstream, _| {
        upstream.servers = vec![Server::tcp("app.test", 80)];
        upstream.health = Some(check);
    });
    edge.wait(1);
    edge.resolve(&[1]);
    edge.wait(3);
    assert!(edge.opened.iter().any(|(conn, _)| edge.said.get(conn).is_some_and(|said| said.starts_with("GET /up "))));
}

/// An answer that filled the queue with its last byte kept its end to itself, and took the next request with it.
#[test]
fn the_end_of_an_answer_does_not_wait_for_room() {
    let mut edge = Edge::new(&[1], |_, _| {});
    let client = edge.ask(&[GET, GET].concat());
    let long = ["HTTP/1.1 200 OK\r\ncontent-length: 400000\r\n\r\n", &"x".repeat(400_000)].concat();
    edge.say(edge.last().0, &long);
    edge.say(edge.last().0, OK);
    assert!(edge.heard(client).ends_with("\r\n\r\nok"));
}

#[test]
fn a_name_has_addresses_that_change() {
    let mut edge = Edge::new(&[], |upstream, _| upstream.servers = vec![Server::tcp("app.test", 80)]);
    let clients = [edge.ask(GET), edge.ask(POST)];
    assert_eq!((edge.look_ups.len(), edge.opened.len()), (1, 0));
    edge.resolve(&[1, 2]);
    assert_eq!(BTreeSet::from_iter(edge.servers()), [1, 2].into());
    for (conn, ..) in edge.opened.clone() {
        edge.say(conn, OK);
    }
    assert!(clients.iter().all(|client| edge.said[client].starts_with("HTTP/1.1 200 ")));
    edge.wait(30);
    // The old addresses are used until the new ones are known.
    edge.ask(GET);
    assert_eq!((edge.look_ups.len(), edge.opened.len()), (1, 2));
    edge.resolve(&[3]);
    edge.ask(GET);
    assert_eq!(edge.last().1, 3);
    // Nobody knows the name any more: what was known holds.
    edge.wait(30);
    edge.ask(GET);
    let op = edge.look_ups.remove(0);
    edge.shard.handle_completion(edge.now(), op, Err(IoError::NotFound));
    edge.ask(GET);
    assert_eq!(edge.last().1, 3);
    let mut edge = Edge::new(&[], |upstream, _| upstream.servers = vec![Server::tcp("none.test", 80)]);
    let client = edge.ask(GET);
    let op = edge.look_ups.remove(0);
    edge.shard.handle_completion(edge.now(), op, Err(IoError::NotFound));
    edge.run();
    assert!(edge.heard(client).starts_with("HTTP/1.1 502 "));
}

#[test]
fn a_key_stays_at_its_server() {
    let mut edge = Edge::new(&[1, 2, 3], |upstream, _| {
        upstream.rules.balance = Balance::Hash(Key::Cookie("sid".into()));
    });
    for sid in 0..8 {
        let before = edge.opened.len();
        for _ in 0..3 {
            edge.ask(&format!("GET / HTTP/1.1\r\nhost: a\r\ncookie: x=1; sid={sid}\r\n\r\n"));
        }
        assert_eq!(BTreeSet::from_iter(&edge.servers()[before..]).len(), 1);
    }
    assert_eq!(BTreeSet::from_iter(edge.servers()).len(), 3);
}

#[test]
fn the_host_is_kept_or_not() {
    for (host, expected) in [
        (HostField::Keep, "host: a\r\n"),
        (HostField::Upstream, "host: 10.0.0.1\r\n"),
        (HostField::Name("x.test".into()), "host: x.test\r\n"),
    ] {
        let mut edge = Edge::new(&[1], |upstream, _| upstream.host = host);
        edge.ask(GET);
        let (backend, _) = edge.last();
        let heard = edge.heard(backend);
        assert!(heard.starts_with(&format!("GET /p HTTP/1.1\r\n{expected}")), "{heard}");
        assert_eq!(heard.matches("\r\nhost: ").count(), 1);
    }
}

#[test]
fn a_connection_with_a_proxy_header_is_nobody_elses() {
    let mut edge = Edge::new(&[1], |upstream, _| upstream.proxy_protocol = true);
    for _ in 0..2 {
        let client = edge.ask(GET);
        let (backend, _) = edge.last();
        let heard = edge.heard(backend);
        assert!(heard.starts_with("\r\n\r\n\0\r\nQUIT\n") && heard.contains("GET /p"), "{heard:?}");
        edge.say(backend, OK);
        assert!(edge.heard(client).starts_with("HTTP/1.1 200 ") && !edge.is_open(backend));
    }
    assert_eq!(edge.opened.len(), 2);
}

/// An answer that comes early is passed on; what is still to come of the request goes nowhere.
#[test]
fn an_early_answer_is_not_lost() {
    let mut edge = Edge::new(&[1], |_, _| {});
    let client = edge.ask("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nbegin");
    let (backend, _) = edge.last();
    edge.say(backend, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    let heard = edge.heard(client);
    assert!(
        heard.starts_with("HTTP/1.1 403 ") && heard.contains("connection: close") && heard.ends_with("no"),
        "{heard}"
    );
    assert!(!edge.is_open(backend));
    edge.say(client, &"x".repeat(50_000));
    edge.end(client);
    assert_eq!(edge.shard.usage().connections, 0);
}
