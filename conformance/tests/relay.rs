//! WebSockets that end at a shard on their way to a backend: how bytes are cut does not matter, and nobody's slowness is
//! paid for with memory or with somebody else's connection.
#![cfg(not(loom))]

use brolly_core::config::{Config, Handler, Limits, Proxy, Server, Upstream};
use brolly_core::outbox::Outbox;
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{ConnId, Effect, Shard};
use brolly_core::time::{Instant, Now};
use brolly_core::ws::handshake::accept_key;
use brolly_core::ws::{self, CloseCode, Decoder, Item, Opcode, Role};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What the far side may hold for a slow reader: 256 KiB, and the message that was too much.
const MOST: usize = 256 * 1024 + 64 * 1024 + 64;

/// A shard with one relay open.
struct Relayed {
    shard: Shard,
    now: Now,
    client: ConnId,
    backend: ConnId,
}

impl Relayed {
    fn open() -> Self {
        let limits = Limits::default();
        let upstreams = vec![Upstream::new(&limits, vec![Server::tcp("10.0.0.1", 80)])];
        let handlers = vec![Handler::Proxy(Proxy { reads_websockets: true, ..Proxy::default() })];
        let mut routes = Routes::default();
        routes.add(Route { host: HostPattern::Any, prefix: "/".into(), to: 0.into() }).unwrap();
        let config = Config { routes, handlers, upstreams, limits, ..Config::default() };
        let mut shard = Shard::new(Arc::new(config), 0, 1, Seed([3; 32]));
        let now = Now { instant: Instant::from_nanos(1_000_000_000), ..Now::default() };
        let client = shard.handle_accept(now, SocketAddr::from(([192, 0, 2, 1], 9)).into()).unwrap();
        let request = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        shard.handle_read(now, client, &mut request.as_bytes().to_vec());
        let mut backend = None;
        while let Some(effect) = shard.poll_effect() {
            if let Effect::Connect { conn, .. } = effect {
                backend = Some(conn);
            }
        }
        let backend = backend.expect("a connection to the backend");
        shard.handle_connected(now, backend);
        let mut relayed = Self { shard, now, client, backend };
        let asked = String::from_utf8(relayed.write(backend, usize::MAX)).unwrap();
        let key = asked.split_once("sec-websocket-key: ").unwrap().1;
        let accept = String::from_utf8(accept_key(&key.as_bytes()[..24]).into()).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        relayed.say(backend, answer.as_bytes());
        let answered = relayed.write(client, usize::MAX);
        assert!(answered.starts_with(b"HTTP/1.1 101 "), "{}", answered.escape_ascii());
        relayed
    }

    /// Bytes arrive, as the host would read them: not while nobody wants any.
    fn say(&mut self, conn: ConnId, bytes: &[u8]) {
        assert!(self.shard.interest(conn).read);
        self.shard.handle_read(self.now, conn, &mut bytes.to_vec());
        while self.shard.poll_effect().is_some() {}
    }

    /// The socket takes up to so many bytes.
    fn write(&mut self, conn: ConnId, most: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while written.len() < most && self.shard.interest(conn).write {
            let mut slices: [&[u8]; 16] = [&[]; 16];
            let filled = self.shard.outgoing(conn, &mut slices);
            let bytes = slices[..filled].concat();
            let bytes = &bytes[..bytes.len().min(most - written.len())];
            written.extend_from_slice(bytes);
            let count = bytes.len();
            self.shard.handle_write(self.now, conn, count);
        }
        written
    }

    fn wait(&mut self, time: Duration) {
        self.now.instant = self.now.instant + time;
        self.shard.handle_timeout(self.now);
    }
}

/// What one side sends.
#[derive(Clone, Debug)]
enum Said {
    Message(bool, String, Vec<Index>),
    Ping(Vec<u8>),
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        3 => (any::<bool>(), ".{0,300}", vec(any::<Index>(), 0..3)).prop_map(|(text, of, cuts)| Said::Message(text, of, cuts)),
        1 => vec(any::<u8>(), 0..126).prop_map(Said::Ping),
    ]
}

/// One frame, by hand.
fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mask = if key.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => bytes.push(mask | length),
        _ => {
            bytes.push(mask | 126);
            bytes.extend((payload.len() as u16).to_be_bytes());
        }
    }
    bytes.extend(key.iter().flatten());
    let key = key.unwrap_or_default();
    bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    bytes
}

fn wire(all: &[Said], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for said in all {
        match said {
            Said::Ping(payload) => bytes.extend(frame(0x89, payload, key)),
            Said::Message(is_text, text, cuts) => {
                let fragments = pieces(text.as_bytes(), cuts);
                for (at, fragment) in fragments.iter().enumerate() {
                    let opcode = if at > 0 { 0 } else { 2 - u8::from(*is_text) };
                    let fin = if at + 1 == fragments.len() { 0x80 } else { 0 };
                    bytes.extend(frame(fin | opcode, fragment, key));
                }
            }
        }
    }
    bytes
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

/// Messages, and whether they are text; and the payloads of pongs.
type Heard = (Vec<(bool, Vec<u8>)>, Vec<Vec<u8>>);

/// What a side hears.
fn hear(role: Role, mut bytes: Vec<u8>) -> Heard {
    let (mut decoder, mut messages, mut pongs) = (Decoder::new(role, ws::Limits::default()), Vec::new(), Vec::new());
    loop {
        let (used, item) = decoder.decode(&mut bytes).unwrap();
        match item {
            Some(Item::Text(text)) => messages.push((true, text.into_owned().into_bytes())),
            Some(Item::Binary(data)) => messages.push((false, data.into_owned())),
            Some(Item::Pong(payload)) => pongs.push(payload.to_vec()),
            Some(other) => panic!("{other:?}"),
            None if used == 0 => break,
            None => {}
        }
        bytes.drain(..used);
    }
    assert!(bytes.is_empty());
    (messages, pongs)
}

fn expected(all: &[Said]) -> Heard {
    let messages = all.iter().filter_map(|said| match said {
        Said::Message(is_text, text, _) => Some((*is_text, text.clone().into_bytes())),
        Said::Ping(_) => None,
    });
    let pings = all.iter().filter_map(|said| match said {
        Said::Ping(payload) => Some(payload.clone()),
        Said::Message(..) => None,
    });
    (messages.collect(), pings.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn messages_pass_however_their_bytes_are_cut(
        up in vec(said(), 0..6),
        down in vec(said(), 0..6),
        up_cuts in vec(any::<Index>(), 0..6),
        down_cuts in vec(any::<Index>(), 0..6),
        key in any::<[u8; 4]>(),
    ) {
        let mut relayed = Relayed::open();
        let (client, backend) = (relayed.client, relayed.backend);
        let (up_wire, down_wire) = (wire(&up, Some(key)), wire(&down, None));
        let (mut up_pieces, mut down_pieces) = (pieces(&up_wire, &up_cuts), pieces(&down_wire, &down_cuts));
        while !up_pieces.is_empty() || !down_pieces.is_empty() {
            for (conn, pieces) in [(client, &mut up_pieces), (backend, &mut down_pieces)] {
                if !pieces.is_empty() {
                    relayed.say(conn, pieces.remove(0));
                }
            }
        }
        // What each hears: the other's messages, and pongs to its own pings. Only what the backend hears is masked.
        let (at_backend, at_client) = (relayed.write(backend, usize::MAX), relayed.write(client, usize::MAX));
        prop_assert_eq!(hear(Role::Server, at_backend), (expected(&up).0, expected(&down).1));
        prop_assert_eq!(hear(Role::Client, at_client), (expected(&down).0, expected(&up).1));
    }
}

#[test]
fn a_slow_side_stops_the_other_and_loses_nothing() {
    for is_client_slow in [true, false] {
        let mut relayed = Relayed::open();
        let (from, to, key, role) = match is_client_slow {
            true => (relayed.backend, relayed.client, None, Role::Client),
            false => (relayed.client, relayed.backend, Some([1, 2, 3, 4]), Role::Server),
        };
        let message = |number: usize| vec![number as u8; 64 * 1024];
        let mut sent = 0;
        // It sends for as long as it is listened to.
        while relayed.shard.interest(from).read {
            let mut out = Outbox::new();
            ws::encode(Opcode::Binary, &message(sent), key, &mut out);
            let mut slices: [&[u8]; 8] = [&[]; 8];
            let filled = out.slices(&mut slices);
            relayed.say(from, &slices[..filled].concat());
            sent += 1;
            assert!(sent < 20, "nobody stops it");
        }
        // It is not to blame for its silence meanwhile: its connection is neither asked nor dropped.
        relayed.wait(Duration::from_secs(27));
        assert!(!relayed.shard.interest(from).write && !relayed.shard.interest(from).close);
        assert!(!relayed.shard.interest(to).close);
        // A little is not enough room.
        let mut heard = relayed.write(to, 1000);
        assert!(!relayed.shard.interest(from).read);
        relayed.wait(Duration::from_secs(20));
        let held = relayed.write(to, usize::MAX);
        assert!(held.len() <= MOST, "{} bytes were held", held.len());
        heard.extend(held);
        assert!(relayed.shard.interest(from).read);
        let messages: Vec<_> = (0..sent).map(|number| (false, message(number))).collect();
        assert_eq!(hear(role, heard).0, messages);
        // Then it is asked after its silence again.
        relayed.wait(Duration::from_secs(26));
        let asked = relayed.write(from, usize::MAX);
        assert_eq!(asked.first(), Some(&0x89), "{}", asked.escape_ascii());
    }
}

#[test]
fn a_paused_side_hears_of_the_end_of_the_other() {
    let mut relayed = Relayed::open();
    let (client, backend) = (relayed.client, relayed.backend);
    while relayed.shard.interest(backend).read {
        relayed.say(backend, &frame(0x82, &[7; 60_000], None));
    }
    relayed.shard.handle_closed(relayed.now, client, None);
    assert!(relayed.shard.interest(backend).read);
    let closing = relayed.write(backend, usize::MAX);
    let mut decoder = Decoder::new(Role::Server, ws::Limits::default());
    match decoder.decode(&mut closing.clone()) {
        Ok((_, Some(Item::Close(Some(frame))))) => assert_eq!(frame.code, CloseCode::GOING_AWAY),
        other => panic!("{other:?}"),
    }
    relayed.wait(Duration::from_secs(11));
    assert!(relayed.shard.interest(backend).close, "it does not answer");
}
