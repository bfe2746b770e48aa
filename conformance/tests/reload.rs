//! Another configuration takes the place of the one before: what goes on, what is told, what is asked anew.
#![cfg(not(loom))]

use brolly_core::config::{
    Authorize, Backend, Config, Destination, Handler, Limits, Policy, Proxy, Server, SessionPool, Sessions, Upstream,
    WebSocket,
};
use brolly_core::http1::StatusCode;
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route};
use brolly_core::shard::{Address, ConnId, Effect, Mail, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use brolly_core::ws::handshake::accept_key;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A connection: which shard has it, and as what.
type At = (usize, ConnId);

/// Shards, their mail, and backends that answer at once unless they are told to wait.
struct World {
    shards: Vec<Shard>,
    config: Config,
    /// Where each connection to a backend goes, and what it was told there.
    backends: BTreeMap<At, (u8, Vec<u8>)>,
    /// Backends, by the last number of their address, that do not answer.
    silent: Vec<u8>,
}

fn now() -> Now {
    let instant = Instant::from_nanos(1_000_000_000);
    Now { instant, unix: UnixTime::from_millis(1000) }
}

impl World {
    fn new(config: Config) -> Self {
        let shared = Arc::new(config.clone());
        let shards = (0..2).map(|number| Shard::new(Arc::clone(&shared), number, 2, Seed([7; 32]))).collect();
        Self { shards, config, backends: BTreeMap::new(), silent: Vec::new() }
    }

    /// Gives the configuration to these shards.
    fn configure(&mut self, new: Config, shards: impl IntoIterator<Item = usize>) {
        let next = self.config.succeeded_by(new).unwrap();
        for shard in shards {
            self.shards[shard].handle_mail(now(), Mail::Configure(Arc::new(next.clone())));
        }
        self.run();
        self.config = next;
    }

    fn say(&mut self, (shard, conn): At, bytes: &[u8]) {
        self.shards[shard].handle_read(now(), conn, &mut bytes.to_vec());
        self.run();
    }

    /// A request over a connection of its own to one of the shards.
    fn ask(&mut self, shard: usize, request: &str) -> At {
        let peer = SocketAddr::from(([192, 0, 2, 1], 9)).into();
        let at = (shard, self.shards[shard].handle_accept(now(), peer).unwrap());
        self.say(at, format!("{request}\r\n\r\n").as_bytes());
        at
    }

    fn get(&mut self, shard: usize, target: &str) -> At {
        self.ask(shard, &format!("GET {target} HTTP/1.1\r\nhost: a"))
    }

    fn start_upgrade(&mut self, shard: usize, target: &str) -> At {
        self.ask(
            shard,
            &format!(
                "GET {target} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 sec-websocket-protocol: v1.swindon-lattice+json"
            ),
        )
    }

    fn upgrade(&mut self, shard: usize, target: &str) -> At {
        let at = self.start_upgrade(shard, target);
        let answer = self.written(at);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{target}: {answer}");
        at
    }

    fn run(&mut self) {
        loop {
            let mut is_quiet = true;
            for shard in 0..self.shards.len() {
                let soon = now().instant + Duration::from_millis(2);
                self.shards[shard].handle_timeout(Now { instant: soon, ..now() });
                while let Some(effect) = self.shards[shard].poll_effect() {
                    is_quiet = false;
                    match effect {
                        Effect::Send { to, mail } => self.shards[usize::from(to)].handle_mail(now(), mail),
                        Effect::Connect { conn, to: Address::Tcp(SocketAddr::V4(to)), .. } => {
                            self.backends.insert((shard, conn), (to.ip().octets()[3], Vec::new()));
                            self.shards[shard].handle_connected(now(), conn);
                        }
                        _ => {}
                    }
                }
            }
            for at in self.backends.keys().copied().collect::<Vec<_>>() {
                let bytes = self.bytes(at);
                let (number, told) = self.backends.get_mut(&at).unwrap();
                told.extend(&bytes);
                let answer = (!bytes.is_empty() && !self.silent.contains(number)).then(|| answer(*number, told));
                if let Some(mut answer) = answer.flatten() {
                    self.shards[at.0].handle_read(now(), at.1, &mut answer);
                }
                is_quiet &= bytes.is_empty();
            }
            if is_quiet {
                return;
            }
        }
    }

    fn bytes(&mut self, (shard, conn): At) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let mut slices = [&[][..]; 64];
            let filled = self.shards[shard].outgoing(conn, &mut slices);
            let part = slices[..filled].concat();
            if part.is_empty() {
                return bytes;
            }
            self.shards[shard].handle_write(now(), conn, part.len());
            bytes.extend(part);
        }
    }

    /// What is to be written to a connection.
    fn written(&mut self, at: At) -> String {
        String::from_utf8_lossy(&self.bytes(at)).into_owned()
    }

    fn is_closing(&self, (shard, conn): At) -> bool {
        let interest = self.shards[shard].interest(conn);
        interest.close || interest.shutdown
    }

    /// What the backend of this number was told, over all its connections.
    fn told(&self, number: u8) -> String {
        let told = self.backends.values().filter(|(of, _)| *of == number).map(|(_, told)| told.as_slice());
        String::from_utf8_lossy(&told.collect::<Vec<_>>().concat()).into_owned()
    }
}

/// A backend opens WebSockets, lets everybody in as `u1`, and says its number to all else.
fn answer(number: u8, told: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(told);
    let (head, _) = text.rsplit_once("\r\n\r\n")?;
    let last = head.rsplit("HTTP/1.1\r\n").next()?.to_ascii_lowercase();
    if last.contains("upgrade: websocket") {
        let key = text.rsplit(|c: char| c.is_whitespace()).find(|word| word.len() == 24 && word.ends_with("=="))?;
        let accept = String::from_utf8(accept_key(key.as_bytes()).into()).unwrap();
        let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade";
        return Some(format!("{head}\r\nsec-websocket-accept: {accept}\r\n\r\n").into());
    }
    let is_authorization = head.contains("/authorize_connection");
    let content = if is_authorization { r#"{"user_id":"u1"}"#.to_owned() } else { number.to_string() };
    let length = content.len();
    Some(
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{content}")
            .into(),
    )
}

fn upstream(name: &str, number: u8) -> Upstream {
    let servers = vec![Server::tcp(&format!("10.0.0.{number}"), 80)];
    Upstream { name: name.into(), ..Upstream::new(&Limits::default(), servers) }
}

fn pool(name: &str) -> SessionPool {
    SessionPool { name: name.into(), ..SessionPool::default() }
}

fn proxy(upstream: usize) -> Handler {
    Handler::Proxy(Proxy { upstream, ..Proxy::default() })
}

fn chat(pool: usize, upstream: usize) -> Handler {
    let others = Backend { upstream, path: "".into() };
    Handler::Sessions(Sessions { pool, takes_any_protocol: false, compression: None, calls: Vec::new(), others }.into())
}

/// All kinds of routes, by what comes before their last part.
fn routes(below: &str, pool: usize, upstream: usize) -> Vec<(String, Handler, Option<Policy>)> {
    let relay = Proxy { upstream, reads_websockets: true, ..Proxy::default() };
    let all = [
        ("sse", Handler::EventStream { compress: false }),
        ("poll", Handler::LongPoll),
        ("ws", Handler::WebSocket(WebSocket::default())),
        ("echo", Handler::Echo(None)),
        ("proxy", proxy(upstream)),
        ("relay", Handler::Proxy(relay)),
        ("chat", chat(pool, upstream)),
    ];
    all.into_iter().map(|(name, handler)| (format!("/{below}/{name}"), handler, None)).collect()
}

fn config(upstreams: Vec<Upstream>, pools: &[&str], routes: Vec<(String, Handler, Option<Policy>)>) -> Config {
    let pools = pools.iter().map(|name| pool(name)).collect();
    let mut config = Config { upstreams, pools, ..Config::default() };
    for (prefix, handler, policy) in routes {
        let policy = policy.map(|policy| {
            config.policies.push(policy);
            config.policies.len() - 1
        });
        let to = Destination { handler: config.handlers.len(), otherwise: None, policy };
        config.handlers.push(handler);
        config.routes.add(Route { host: HostPattern::Any, prefix: prefix.as_str().into(), to }).unwrap();
    }
    config
}

const HI: &[u8] = b"\x81\x82\0\0\0\0hi";

/// A text frame of a client.
fn frame(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0], text.as_bytes()].concat()
}

#[test]
fn what_has_the_same_route_goes_on_and_all_else_is_told() {
    let publish = || ("/publish".to_owned(), Handler::Publish, None);
    let old = [routes("kept", 0, 0), routes("gone", 1, 0), vec![publish()]].concat();
    let mut world = World::new(config(vec![upstream("app", 1)], &["kept", "gone"], old));
    let mut open = |below: &str, shard| {
        let stream = world.get(shard, &format!("/{below}/sse?topic=t"));
        let poll = world.get(shard, &format!("/{below}/poll?topic=u"));
        let calls = world.upgrade(shard, &format!("/{below}/ws?topic=t"));
        let echo = world.upgrade(shard, &format!("/{below}/echo"));
        let tunnel = world.upgrade(shard, &format!("/{below}/proxy"));
        let relay = world.upgrade(shard, &format!("/{below}/relay"));
        let chat = world.upgrade(shard, &format!("/{below}/chat"));
        for at in [stream, calls] {
            world.written(at);
        }
        [stream, poll, calls, echo, tunnel, relay, chat]
    };
    let (kept, gone) = ([open("kept", 0), open("kept", 1)].concat(), [open("gone", 0), open("gone", 1)].concat());

    // The same routes, and another address of the backend.
    let new = || config(vec![upstream("app", 2)], &["kept"], [routes("kept", 0, 0), vec![publish()]].concat());
    let before = world.config.clone();
    world.configure(new(), [0]);
    // As long as one does not know it, nobody acts on it.
    assert!(kept.iter().chain(&gone).all(|at| world.written(*at).is_empty() && !world.is_closing(*at)));
    world.config = before;
    world.configure(new(), [0, 1]);

    for gone in gone.chunks(7) {
        let said: Vec<_> = gone.iter().map(|at| world.written(*at)).collect();
        assert!(
            said[0].contains("event: brolly.end") && said[0].contains("the configuration has changed"),
            "{}",
            said[0]
        );
        assert!(said[1].starts_with("HTTP/1.1 200 "), "{}", said[1]);
        for at in [2, 3, 5] {
            assert!(said[at].contains("\u{3}\u{fffd}the configuration has changed"), "{at}: {:?}", said[at]);
        }
        assert!(world.is_closing(gone[4]), "the tunnel");
        assert!(said[6].contains("session_pool_stopped"), "{:?}", said[6]);
    }
    for kept in kept.chunks(7) {
        assert!(kept.iter().all(|at| world.written(*at).is_empty() && !world.is_closing(*at)));
        world.say(kept[3], HI);
        assert_eq!(world.bytes(kept[3]), b"\x81\x02hi");
        for at in [kept[4], kept[5]] {
            world.say(at, HI);
        }
        // Sessions go on, and their calls go where the backend is now.
        world.say(kept[6], &frame(r#"["m",{"request_id":1},[],{}]"#));
        assert!(world.written(kept[6]).contains(r#"["result",{"request_id":1},2]"#));
    }
    // Tunnels and relays stay with the server that they began with.
    let passed = world.backends.values().filter(|(number, told)| *number == 1 && told.ends_with(HI)).count();
    assert_eq!((passed, world.told(2).contains("GET ")), (2, false));
    world.ask(1, "POST /publish/t HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n\"m\"");
    for kept in kept.chunks(7) {
        assert!(world.written(kept[0]).contains("data: \"m\"") && world.written(kept[2]).contains("\"m\""));
        assert!(world.written(kept[1]).is_empty());
    }
}

#[test]
fn requests_under_way_end_as_they_began_and_the_next_ones_are_new() {
    let app = |to: usize| vec![("/".to_owned(), proxy(to), None)];
    let mut world = World::new(config(vec![upstream("app", 1)], &[], app(0)));
    world.silent = vec![1];
    let (waiting, idle) = (world.get(0, "/a"), world.get(1, "/b"));
    let moved = config(
        vec![upstream("app", 2)],
        &[],
        [app(0), vec![("/x".to_owned(), Handler::Status(StatusCode::GONE), None)]].concat(),
    );
    world.configure(moved, [0, 1]);
    assert!(world.written(waiting).is_empty() && !world.is_closing(waiting));
    for at in world.backends.keys().copied().collect::<Vec<_>>() {
        world.shards[at.0].handle_read(now(), at.1, &mut answer(1, b"GET / HTTP/1.1\r\n\r\n").unwrap());
        world.run();
    }
    for at in [waiting, idle] {
        assert!(world.written(at).ends_with("\r\n\r\n1"));
        // The same connection, the new way.
        world.say(at, b"GET /c HTTP/1.1\r\nhost: a\r\n\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n");
        let said = world.written(at);
        assert!(said.contains("\r\n\r\n2HTTP/1.1 410 "), "{said}");
    }
}

#[test]
fn a_handshake_that_outlives_its_route_opens_nothing() {
    let old = [routes("kept", 0, 0), routes("gone", 0, 0)].concat();
    let mut world = World::new(config(vec![upstream("app", 1)], &["chat"], old));
    world.silent = vec![1];
    let waiting = ["kept/proxy", "kept/relay", "gone/proxy", "gone/relay"]
        .map(|target| world.start_upgrade(0, &format!("/{target}")));
    world.configure(config(vec![upstream("app", 1)], &["chat"], routes("kept", 0, 0)), [0, 1]);
    assert!(waiting.iter().all(|at| world.written(*at).is_empty() && !world.is_closing(*at)));
    let mut closed = 0;
    for (at, (number, told)) in world.backends.clone() {
        world.shards[at.0].handle_read(now(), at.1, &mut answer(number, &told).unwrap());
        world.run();
        closed += usize::from(world.is_closing(at));
    }
    let said = waiting.map(|at| world.written(at));
    for opened in &said[..2] {
        assert!(opened.starts_with("HTTP/1.1 101 "), "{opened}");
    }
    for refused in &said[2..] {
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("the configuration has changed"), "{refused}");
    }
    // Of those to the backend too.
    assert_eq!(closed, 2);
    // Whoever was refused may ask again, the new way.
    world.say(waiting[2], b"GET /gone/proxy HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(world.written(waiting[2]).starts_with("HTTP/1.1 404 "));
}

#[test]
fn who_waits_to_be_admitted_is_asked_by_the_new_rules() {
    let asks = |upstream| Policy {
        authorize: Some(Authorize { upstream, path: "/check".into(), copy: Arc::new([]) }.into()),
        ..Policy::default()
    };
    let all = |name| vec![upstream("app", 1), upstream(name, if name == "old" { 2 } else { 3 })];
    let route = || vec![("/".to_owned(), proxy(0), Some(asks(1)))];
    let mut world = World::new(config(all("old"), &[], route()));
    world.silent = vec![2];
    let waiting = world.get(0, "/a");
    world.configure(config(all("new"), &[], route()), [0, 1]);
    assert!(world.told(3).is_empty() && world.written(waiting).is_empty());
    let (asked, _) = world.backends.iter().find(|(_, (number, _))| *number == 2).unwrap();
    let asked = *asked;
    world.shards[asked.0].handle_read(now(), asked.1, &mut answer(2, b"GET / HTTP/1.1\r\n\r\n").unwrap());
    world.run();
    // The old word is not enough.
    assert!(world.told(3).starts_with("GET /check "));
    assert!(world.written(waiting).ends_with("\r\n\r\n1"));
}

#[test]
fn who_waits_to_be_admitted_is_answered_by_narrower_limits_too() {
    let policy = Policy {
        authorize: Some(Authorize { upstream: 0, path: "/check".into(), copy: Arc::new([]) }.into()),
        ..Policy::default()
    };
    let route = || vec![("/".to_owned(), proxy(0), Some(policy.clone()))];
    let mut world = World::new(config(vec![upstream("app", 1)], &[], route()));
    world.silent = vec![1];
    let waiting = world.ask(0, &format!("GET /{} HTTP/1.1\r\nhost: a", "a".repeat(1000)));
    let mut narrow = config(vec![upstream("app", 1)], &[], route());
    narrow.limits.http.head_bytes = 500;
    world.configure(narrow, [0, 1]);
    let asked = *world.backends.keys().next().unwrap();
    world.shards[asked.0].handle_read(now(), asked.1, &mut answer(1, b"GET / HTTP/1.1\r\n\r\n").unwrap());
    world.run();
    assert!(world.written(waiting).starts_with("HTTP/1.1 431 "));
}
