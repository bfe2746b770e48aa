//! A peer's end of a connection, with the peer's habits: in one go or drop by drop.

use super::knobs::{MILLISECOND, SECOND};
use super::net::{Alarm, Net, Shared};
use super::random::Random;
use std::collections::VecDeque;
use std::rc::Rc;

/// So many bytes at a time, with so many nanoseconds between.
type Pace = Option<(usize, u64)>;

#[derive(Debug)]
pub(crate) struct Wire {
    net: Rc<Net>,
    link: Shared,
    id: usize,
    out: VecDeque<u8>,
    /// What was received and not used yet.
    pub(crate) inbox: Vec<u8>,
    /// Nothing more comes.
    pub(crate) is_over: bool,
    /// It came to an end by force.
    pub(crate) is_broken: bool,
    fin: bool,
    drip: Pace,
    sip: Pace,
    next_write: u64,
    next_read: u64,
    /// Whether it was opened after all trouble had ended.
    pub(crate) is_calm: bool,
}

impl Wire {
    pub(crate) fn new(net: &Rc<Net>, link: Shared, id: usize, random: &mut Random) -> Self {
        let is_calm = net.is_calm.get();
        let pace = |random: &mut Random, percent| {
            let is_slow = !is_calm && random.chance(percent);
            is_slow.then(|| (1 + random.index(200), random.pick(&[MILLISECOND, 50 * MILLISECOND, 3 * SECOND])))
        };
        let drip = pace(random, net.knobs.drips);
        let sip = pace(random, net.knobs.slow_readers);
        Self {
            net: Rc::clone(net),
            link,
            id,
            out: VecDeque::new(),
            inbox: Vec::new(),
            is_over: false,
            is_broken: false,
            fin: false,
            drip,
            sip,
            next_write: 0,
            next_read: 0,
            is_calm,
        }
    }

    pub(crate) fn connect(net: &Rc<Net>, id: usize, random: &mut Random) -> Option<Self> {
        Some(Self::new(net, net.connect(id)?, id, random))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        debug_assert!(!self.fin, "said after the end");
        self.out.extend(bytes);
    }

    /// Ends our direction once everything is sent.
    pub(crate) fn fin(&mut self) {
        self.fin = true;
    }

    pub(crate) fn is_fin(&self) -> bool {
        self.fin
    }

    /// Cuts the connection.
    pub(crate) fn reset(&mut self) {
        let link = &mut *self.link.borrow_mut();
        link.is_reset = true;
        link.up.wake();
        link.down.wake();
        (self.is_over, self.is_broken) = (true, true);
        self.net.note(link.number << 3 | 5, []);
    }

    /// Moves bytes both ways, as far as they go now.
    pub(crate) fn pump(&mut self) {
        let (now, is_calm) = (self.net.now.get(), self.net.is_calm.get());
        let link = &mut *self.link.borrow_mut();
        if link.is_reset {
            (self.is_over, self.is_broken) = (true, true);
            return;
        }
        let capacity = self.net.knobs.capacity.max(if link.patience == 0 { 65_536 } else { 1 });
        if link.shard_gone {
            self.out.clear();
        }
        let room = capacity.saturating_sub(link.up.bytes.len()).min(self.out.len());
        let (size, wait) = paced(self.drip.filter(|_| !is_calm), room, now, &mut self.next_write);
        if size > 0 {
            link.up.bytes.extend(self.out.drain(..size));
            link.up.wake();
        }
        if let Some(at) = wait {
            self.net.alarm(at, Alarm::Peer(self.id));
        }
        if self.fin && self.out.is_empty() && !link.up.fin {
            link.up.fin = true;
            link.up.wake();
        }
        let (size, wait) = paced(self.sip.filter(|_| !is_calm), link.down.bytes.len(), now, &mut self.next_read);
        if size > 0 {
            self.inbox.extend(link.down.bytes.drain(..size));
            link.down.wake();
        }
        if let Some(at) = wait {
            self.net.alarm(at, Alarm::Peer(self.id));
        }
        self.is_over = link.down.fin && link.down.bytes.is_empty();
    }
}

/// How much of `limit` may be moved now, and when to come back for the rest.
fn paced(pace: Pace, limit: usize, now: u64, next: &mut u64) -> (usize, Option<u64>) {
    let Some((most, delay)) = pace else { return (limit, None) };
    if limit == 0 || now < *next {
        return (0, (limit > 0).then_some(*next));
    }
    *next = now + delay;
    (limit.min(most), (limit > most).then_some(*next))
}

impl Drop for Wire {
    fn drop(&mut self) {
        let link = &mut *self.link.borrow_mut();
        link.peer_gone = true;
        link.peer = None;
        // As TCP does: whoever closes with unread bytes cuts the connection.
        link.is_reset |= !link.down.bytes.is_empty();
        link.up.fin = true;
        link.up.wake();
        link.down.wake();
    }
}
