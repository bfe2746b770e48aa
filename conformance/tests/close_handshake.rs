//! RFC 6455 §7: two `WebSocketConn`s, walked through every interleaving of one message and one close from each side, writes
//! that are cut, a deadline that passes, and a side that is aborted. The machines themselves, not a model of them: their
//! state is plain data.
//!
//! In every state that can be reached: a side sends at most one close frame and nothing after it; the code that it hears is
//! the one that was sent; both sides end by themselves if nothing moves any more; and if everything moves, they end without
//! waiting for a deadline, having heard a close frame each unless somebody gave up.

use brolly_core::config;
use brolly_core::conn::{Timeouts, WebSocketConn, WebSocketEvent};
use brolly_core::outbox::Outbox;
use brolly_core::time::Now;
use brolly_core::ws::deflate::Codec;
use brolly_core::ws::{CloseCode, Decoder, Item, Limits, Opcode, Role};
use std::collections::{HashSet, VecDeque};

const KEY: [u8; 4] = [1, 2, 3, 4];
const ROLES: [Role; 2] = [Role::Server, Role::Client];
/// What each side closes with.
const CODES: [u16; 2] = [1001, 4000];

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Side {
    conn: WebSocketConn,
    has_sent: bool,
    has_closed: bool,
    /// All that was written to the socket, and how much of it the other side has read.
    wire: Vec<u8>,
    read: usize,
    /// No more will be written, and the other side knows.
    is_shut: bool,
    is_end_told: bool,
    is_dropped: bool,
    /// The close code that was heard; 1005 for none.
    heard: Option<u16>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct World {
    now: Now,
    sides: [Side; 2],
    /// How often time ran out.
    waits: u8,
    /// Somebody gave up: the end need not be clean.
    is_broken: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(usize),
    Close(usize),
    Abort(usize),
    /// Writes what is queued, or all but its last byte.
    Write(usize, bool),
    Read(usize),
    Shutdown(usize),
    Wait,
}

impl World {
    fn new(timeouts: &Timeouts) -> Self {
        let now = Now::default();
        let side = |role| Side {
            conn: WebSocketConn::new(now, role, Limits::default(), timeouts, Outbox::new()),
            has_sent: false,
            has_closed: false,
            wire: Vec::new(),
            read: 0,
            is_shut: false,
            is_end_told: false,
            is_dropped: false,
            heard: None,
        };
        Self { now, sides: ROLES.map(side), waits: 0, is_broken: false }
    }

    /// What can happen next.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for me in 0..2 {
            let side = &self.sides[me];
            if side.is_dropped {
                continue;
            }
            steps.extend([Step::Abort(me), Step::Write(me, false), Step::Write(me, true)]);
            steps.extend([Step::Read(me), Step::Shutdown(me)]);
            steps.extend((!side.has_sent).then_some(Step::Send(me)));
            steps.extend((!side.has_closed).then_some(Step::Close(me)));
        }
        steps.extend((self.waits < 1).then_some(Step::Wait));
        steps
    }

    /// Takes a step; `false` if it changes nothing.
    fn take(&mut self, step: Step, timeouts: &Timeouts) -> bool {
        let (now, before) = (self.now, self.clone());
        match step {
            Step::Send(me) => {
                let side = &mut self.sides[me];
                side.has_sent = true;
                side.conn.send(now, timeouts, &mut Codec::new(), Opcode::Text, b"x", || KEY);
            }
            Step::Close(me) => {
                let side = &mut self.sides[me];
                side.has_closed = true;
                side.conn.close(now, timeouts, CloseCode::new(CODES[me]), "", || KEY);
            }
            Step::Abort(me) => {
                self.sides[me].conn.abort();
                self.is_broken = true;
            }
            Step::Write(me, is_cut) => {
                let side = &mut self.sides[me];
                let queued = side.conn.unsent().len();
                let count = if is_cut { queued.saturating_sub(1) } else { queued };
                if count == 0 || !side.conn.interest().write {
                    return false;
                }
                assert!(!side.is_shut, "writes after the end: {before:?}");
                let mut slices: [&[u8]; 16] = [&[]; 16];
                let filled = side.conn.unsent().slices(&mut slices);
                side.wire.extend(slices[..filled].concat().iter().take(count));
                side.conn.outbox().advance(count);
                if side.conn.unsent().is_empty() {
                    // As the shard takes the storage back: what it last held is no difference between states.
                    *side.conn.outbox() = Outbox::new();
                }
                side.conn.wrote(now, timeouts);
            }
            Step::Read(me) => {
                let (side, peer) = pair(&mut self.sides, me);
                if !side.conn.interest().read {
                    return false;
                }
                let mut unread = peer.wire[peer.read..].to_vec();
                let mut input = &mut unread[..];
                loop {
                    let (used, event) = side.conn.receive(now, timeouts, &mut Codec::new(), || KEY, input);
                    peer.read += used;
                    if let Some(WebSocketEvent::Closed(frame)) = &event {
                        assert_eq!(side.heard, None, "hears two close frames: {before:?}");
                        side.heard = Some(frame.map_or(1005, |frame| frame.code.as_u16()));
                    }
                    assert!(!matches!(event, Some(WebSocketEvent::Failed(_))), "{before:?}");
                    input = &mut input[used..];
                    if used == 0 || input.is_empty() {
                        break;
                    }
                }
                if peer.is_shut && !peer.is_end_told {
                    peer.is_end_told = true;
                    side.conn.handle_eof();
                }
            }
            Step::Shutdown(me) => {
                let side = &mut self.sides[me];
                if !side.conn.interest().shutdown {
                    return false;
                }
                side.is_shut = true;
                side.conn.handle_shutdown();
            }
            Step::Wait => {
                let deadlines = self.sides.iter().filter(|side| !side.is_dropped);
                let Some(at) = deadlines.filter_map(|side| side.conn.deadline()).min() else { return false };
                self.waits += 1;
                self.now.instant = self.now.instant.max(at);
                for side in self.sides.iter_mut().filter(|side| !side.is_dropped) {
                    let was_closing = side.conn.interest().close;
                    side.conn.handle_timeout(self.now, timeouts, || KEY);
                    self.is_broken |= side.conn.interest().close && !was_closing;
                }
            }
        }
        for (side, role) in self.sides.iter_mut().zip(ROLES) {
            // Nobody can tell a host that is slow to drop a socket from a peer that is slow to read the end.
            if side.conn.interest().close && !side.is_dropped {
                (side.is_dropped, side.is_shut) = (true, true);
                side.conn = WebSocketConn::new(Now::default(), role, Limits::default(), timeouts, Outbox::new());
                side.conn.abort();
            }
        }
        *self != before
    }

    /// What holds in every state.
    fn check(&self) {
        for me in 0..2 {
            let (side, peer) = (&self.sides[me], &self.sides[1 - me]);
            let (said, is_last) = said(ROLES[1 - me], &side.wire);
            assert!(is_last, "says something after its close frame: {self:?}");
            if let Some(heard) = peer.heard {
                assert_eq!(said, Some(heard), "hears another code than was sent: {self:?}");
            }
            if let Some(said) = said {
                let is_own = side.has_closed && said == CODES[me];
                assert!(is_own || side.heard == Some(said), "closes with a code of nobody's: {self:?}");
                assert!(!side.conn.is_open(), "{self:?}");
            }
        }
    }

    /// Nothing moves any more, only time: whoever began to close is gone after one deadline, everybody after a few.
    fn check_silence(&self, timeouts: &Timeouts) {
        for side in self.sides.iter().filter(|side| !side.is_dropped) {
            let (mut conn, mut now) = (side.conn.clone(), self.now);
            let patience = timeouts.pong.max(timeouts.linger);
            let patience = if conn.unsent().is_empty() { patience } else { patience.max(timeouts.write) };
            let is_closing = !conn.is_open();
            for _ in 0..8 {
                let Some(at) = conn.deadline() else { break };
                assert!(!is_closing || at <= self.now.instant + patience, "waits too long: {self:?}");
                now.instant = now.instant.max(at);
                conn.handle_timeout(now, timeouts, || KEY);
            }
            assert!(conn.interest().close, "waits for ever: {self:?}");
        }
    }

    /// All that can move does: once one side began to close, both end, and know why.
    fn check_progress(&self, timeouts: &Timeouts) {
        if self.sides.iter().all(|side| side.conn.is_open()) {
            return;
        }
        let mut world = self.clone();
        for _ in 0..8 {
            for me in 0..2 {
                for step in [Step::Write(me, false), Step::Read(me), Step::Shutdown(me)] {
                    if !world.sides[me].is_dropped {
                        world.take(step, timeouts);
                        world.check();
                    }
                }
            }
        }
        for side in &world.sides {
            assert!(side.is_dropped, "does not end: {world:?}\nfrom {self:?}");
            assert!(world.is_broken || side.heard.is_some(), "ends without a close frame: {world:?}\nfrom {self:?}");
        }
    }
}

fn pair(sides: &mut [Side; 2], me: usize) -> (&mut Side, &mut Side) {
    let [server, client] = sides;
    if me == 0 { (server, client) } else { (client, server) }
}

/// The code of the close frame in what was written, and whether nothing stands behind it. Read by `role`.
fn said(role: Role, wire: &[u8]) -> (Option<u16>, bool) {
    let (mut wire, mut decoder) = (wire.to_vec(), Decoder::new(role, Limits::default()));
    let mut input = &mut wire[..];
    loop {
        let (used, item) = decoder.decode(input).expect("what was written is right");
        let code = match item {
            None => return (None, true),
            Some(Item::Close(frame)) => frame.map_or(1005, |frame| frame.code.as_u16()),
            Some(_) => {
                input = &mut input[used..];
                continue;
            }
        };
        return (Some(code), used == input.len());
    }
}

#[test]
fn every_interleaving_of_the_close_handshake_ends_and_tells_the_right_code() {
    let timeouts = config::Limits::default().timeouts();
    let start = World::new(&timeouts);
    let (mut seen, mut queue) = (HashSet::from([start.clone()]), VecDeque::from([start]));
    let mut clean = 0;
    while let Some(world) = queue.pop_front() {
        world.check();
        world.check_silence(&timeouts);
        world.check_progress(&timeouts);
        clean += usize::from(!world.is_broken && world.sides.iter().all(|side| side.is_dropped));
        for step in world.steps() {
            let mut next = world.clone();
            if next.take(step, &timeouts) && !seen.contains(&next) {
                seen.insert(next.clone());
                queue.push_back(next);
            }
        }
    }
    println!("{} states, {clean} of them clean ends", seen.len());
    assert!(seen.len() > 1000 && clean > 10, "{} states, {clean} clean ends", seen.len());
}
