//! RFC 6455 §5.5.2, §5.5.3: which pings are answered, how many answers wait, and how many pings are put up with.

use super::frame;
use brolly_core::config;
use brolly_core::conn::{Timeouts, WebSocketConn, WebSocketEvent};
use brolly_core::outbox::Outbox;
use brolly_core::time::{Instant, Now};
use brolly_core::ws::deflate::Codec;
use brolly_core::ws::{CloseCode, Decoder, Item, Limits, Opcode, ProtocolError, Role};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

const KEY: [u8; 4] = [9, 8, 7, 6];
const SECOND: u64 = 1_000_000_000;
/// Pongs that may wait at a time, with the one that stands for all further pings.
const PONGS: usize = 17;

struct World {
    conn: WebSocketConn,
    timeouts: Timeouts,
    now: Now,
    role: Role,
    /// All that was written to the socket.
    wire: Vec<u8>,
}

impl World {
    fn new(role: Role, control_frames_per_second: u64) -> Self {
        let (timeouts, now) = (config::Limits::default().timeouts(), Now::default());
        let limits = Limits { control_frames_per_second, ..Limits::default() };
        let conn = WebSocketConn::new(now, role, limits, &timeouts, Outbox::new());
        Self { conn, timeouts, now, role, wire: Vec::new() }
    }

    /// The peer says something; says what became of it.
    fn hear(&mut self, first: u8, payload: &[u8]) -> Option<ProtocolError> {
        let mut input = frame(first, (self.role == Role::Server).then_some(KEY), payload);
        let length = input.len();
        let Self { conn, timeouts, now, .. } = self;
        let (used, event) = conn.receive(*now, timeouts, &mut Codec::new(), || KEY, &mut input);
        assert_eq!(used, length);
        match event {
            Some(WebSocketEvent::Failed(error)) => Some(error),
            _ => None,
        }
    }

    fn send(&mut self, length: usize) {
        self.conn.send(self.now, &self.timeouts, &mut Codec::new(), Opcode::Binary, vec![7; length], || KEY);
    }

    fn unsent(&self) -> Vec<u8> {
        let mut slices: [&[u8]; 64] = [&[]; 64];
        let filled = self.conn.unsent().slices(&mut slices);
        slices[..filled].concat()
    }

    fn write(&mut self, bytes: usize) {
        let unsent = self.unsent();
        let written = bytes.min(unsent.len());
        self.wire.extend_from_slice(&unsent[..written]);
        self.conn.outbox().advance(written);
        self.conn.wrote(self.now, &self.timeouts);
    }

    fn write_all(&mut self) {
        while !self.conn.unsent().is_empty() {
            self.write(usize::MAX);
        }
    }

    fn wait(&mut self, nanos: u64) {
        self.now.instant = Instant::from_nanos(self.now.instant.as_nanos() + nanos);
    }

    /// The payloads of the pongs, and the close code, of what was written.
    fn said(&self) -> (Vec<Vec<u8>>, Option<CloseCode>) {
        self.read(self.wire.clone())
    }

    fn read(&self, mut bytes: Vec<u8>) -> (Vec<Vec<u8>>, Option<CloseCode>) {
        let peer = if self.role == Role::Server { Role::Client } else { Role::Server };
        let (mut decoder, mut at) = (Decoder::new(peer, Limits::default()), 0);
        let (mut pongs, mut code) = (Vec::new(), None);
        while let (used, Some(item)) = decoder.decode(&mut bytes[at..]).unwrap() {
            match item {
                Item::Pong(payload) => pongs.push(payload.to_vec()),
                Item::Close(close) => code = close.map(|close| close.code),
                Item::Binary(data) => assert!(data.iter().all(|byte| *byte == 7)),
                other => panic!("{other:?}"),
            }
            at += used;
        }
        (pongs, code)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pings(usize),
    Send(usize),
    Write(usize),
    WriteAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..30_usize).prop_map(Step::Pings),
        2 => (0..3000_usize).prop_map(Step::Send),
        3 => (1..2000_usize).prop_map(Step::Write),
        1 => Just(Step::WriteAll),
    ];
    vec(step, 1..40)
}

proptest! {
    /// A few pings are answered one by one, of a flood the last one; the answers that wait are few; none is owed for ever,
    /// however much else there is to write.
    #[test]
    fn every_ping_is_answered_or_a_later_one(steps in steps(), is_server: bool) {
        let mut world = World::new(if is_server { Role::Server } else { Role::Client }, u64::MAX);
        let mut asked = 0_u32;
        // A ping, and by when something is done about it (bytes written): once the pongs before it were written, one is queued; once
        // that was, it is answered.
        let mut owed: Option<(u32, usize, bool)> = None;
        for step in steps {
            match step {
                Step::Pings(count) => for _ in 0..count {
                    world.wait(1);
                    asked += 1;
                    prop_assert_eq!(world.hear(0x89, &asked.to_be_bytes()), None);
                    owed = owed.or(Some((asked, world.wire.len() + world.conn.unsent().len(), false)));
                },
                Step::Send(length) => world.send(length),
                Step::Write(bytes) => world.write(bytes),
                Step::WriteAll => world.write_all(),
            }
            let (pongs, _) = world.said();
            let waiting = world.read([world.wire.clone(), world.unsent()].concat()).0.len() - pongs.len();
            prop_assert!(waiting <= PONGS, "{waiting} pongs wait");
            match owed {
                Some((ping, by, false)) if world.wire.len() >= by => {
                    owed = Some((ping, world.wire.len() + world.conn.unsent().len(), true));
                }
                Some((ping, by, true)) if world.wire.len() >= by => {
                    let last = pongs.last().map(|payload| u32::from_be_bytes(payload[..].try_into().unwrap()));
                    prop_assert!(last >= Some(ping), "ping {ping} is not answered after {by} bytes, only {last:?}");
                    owed = None;
                }
                _ => {}
            }
        }
        world.write_all();
        let (pongs, _) = world.said();
        prop_assert!(pongs.is_sorted() && pongs.len() <= asked as usize);
        let last = (asked > 0).then(|| asked.to_be_bytes().to_vec());
        prop_assert_eq!(pongs.last(), last.as_ref());
    }
}

#[test]
fn of_a_flood_the_last_ping_is_answered() {
    for role in [Role::Server, Role::Client] {
        let mut world = World::new(role, 1000);
        for ping in 0..100_u8 {
            assert_eq!(world.hear(0x89, &[ping]), None);
        }
        world.write_all();
        let expected: Vec<Vec<u8>> = (0..16).chain([99]).map(|ping| vec![ping]).collect();
        assert_eq!(world.said(), (expected, None));
        // Nothing is owed any more: the next one has its own.
        assert_eq!(world.hear(0x89, b"x"), None);
        world.write_all();
        assert_eq!(world.said().0.len(), PONGS + 1);
    }
}

#[test]
fn a_pong_that_waits_is_not_sent_behind_a_close() {
    let mut world = World::new(Role::Server, 1000);
    (0..40_u8).for_each(|ping| assert_eq!(world.hear(0x89, &[ping]), None));
    world.conn.close(world.now, &world.timeouts, CloseCode::GOING_AWAY, "", || KEY);
    world.write_all();
    let (pongs, code) = world.said();
    assert_eq!((pongs.len(), code), (PONGS - 1, Some(CloseCode::GOING_AWAY)));
}

#[test]
fn more_control_frames_than_the_limit_close_with_1008() {
    for (role, first) in [(Role::Server, 0x89), (Role::Server, 0x8A), (Role::Client, 0x89), (Role::Client, 0x8A)] {
        let mut world = World::new(role, 10);
        // As many at once as come in a second, and then one every tenth of it; however long.
        for count in 0..200 {
            world.wait(if count < 10 { 0 } else { SECOND / 10 });
            assert_eq!(world.hear(first, b"x"), None, "{count}");
            assert_eq!(world.hear(0x82, b"data does not count"), None);
            world.write_all();
        }
        world.wait(SECOND / 10 - 1);
        assert_eq!(world.hear(first, b"x"), Some(ProtocolError::TooManyControlFrames));
        world.write_all();
        assert_eq!(world.said().1, Some(CloseCode::POLICY));
        assert!(!world.conn.is_open() && world.conn.interest().shutdown);
        // It is over as after any breach: by itself, soon.
        world.wait(Duration::from_secs(3).as_nanos() as u64);
        world.conn.handle_timeout(world.now, &world.timeouts, || KEY);
        assert!(world.conn.interest().close);
    }
}
