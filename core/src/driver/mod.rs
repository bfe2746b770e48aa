//! The one event loop, over small traits: [`Runtime`] (with [`Timing`]) and [`Stream`]. A client over the latter two:
//! [`WebSocketClient`].
//!
//! It knows connections by their ids and what they want ([`Interest`](crate::conn::Interest)), no protocol and no socket.
//! Each turn: mail, sockets that are ready, new connections, timers, effects, and connections that changed. What a
//! connection has to say is written once per turn, however many messages it is.
//!
//! ```text
//!  Control, other shards ──mail──►┌────────┐◄──handle_*, poll_*──►┌───────┐
//!  sockets, tasks ──Wakeups──────►│ Driver │                      │ Shard │
//!  Runtime: clock, timer, accept ─└────────┘                      └───────┘
//! ```

mod client;
mod fleet;
mod runtime;
mod sockets;
pub mod wakeups;

pub use client::{Ending, Message, OpenError, WebSocketClient};
pub use fleet::{Control, Parts, fleet};
pub use runtime::{Done, Runtime, Stream, Task, Timing, Work};

use crate::mailbox::{Receiver, SendError, Sender};
use crate::shard::{ConnId, Effect, Mail, Shard};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use sockets::Sockets;
use wakeups::Wakeups;

/// Bytes of the read buffer. One per shard. A message of 64 KiB comes at once with the header of its frame.
pub const READ_BUFFER: usize = 68 * 1024;
/// Turns before other futures of the thread get theirs.
const TURNS: usize = 16;
/// Connections accepted, and mail read, in one turn.
const BATCH: usize = 256;
/// Effects performed, and connections visited because they changed, in one turn.
const FLUSH: usize = 1024;
/// The wake-up slots of the mailbox, of room in others' mailboxes, and of the listeners.
const MAIL: usize = 0;
const ROOM: usize = 1;
const DOOR: usize = 2;
/// The first wake-up slot of tasks; the sockets' follow.
const TASKS: usize = 3;

/// Runs one shard: a future that ends when the whole fleet was shut down.
pub struct Driver<R: Runtime> {
    shard: Shard,
    runtime: R,
    wakeups: Arc<Wakeups>,
    inbox: Receiver<Mail>,
    peers: Vec<Sender<Mail>>,
    /// Mail that has no room in the mailbox of the other shard.
    overflow: Vec<VecDeque<Mail>>,
    overflow_limit: usize,
    room: Waker,
    door: Waker,
    sockets: Sockets<R::Stream>,
    tasks: Vec<Option<(Task<R::Stream>, Waker)>>,
    idle_tasks: Vec<usize>,
    /// Connections that are being opened, and by which task.
    connecting: Vec<(ConnId, usize)>,
    task_slots: usize,
    buffer: Box<[u8]>,
    ready: Vec<usize>,
    is_listening: bool,
    /// Whether somebody may be at the door: not since the last time that nobody was.
    may_accept: bool,
}

impl<R: Runtime> Driver<R> {
    /// The driver of one shard of a [`fleet`].
    pub fn new(parts: Parts, runtime: R) -> Self {
        let Parts { config, number, seed, wakeups, inbox, peers } = parts;
        let shards = u16::try_from(peers.len()).unwrap_or(u16::MAX);
        let task_slots = task_slots(config.limits.connections);
        Self {
            overflow: peers.iter().map(|_| VecDeque::new()).collect(),
            overflow_limit: config.limits.mailbox_messages,
            room: wakeups.waker(ROOM),
            door: wakeups.waker(DOOR),
            sockets: Sockets::new(Arc::clone(&wakeups), TASKS + task_slots),
            shard: Shard::new(config, number, shards, seed),
            runtime,
            wakeups,
            inbox,
            peers,
            tasks: Vec::new(),
            idle_tasks: Vec::new(),
            connecting: Vec::new(),
            task_slots,
            buffer: vec![0; READ_BUFFER].into(),
            ready: Vec::new(),
            is_listening: true,
            may_accept: true,
        }
    }

    /// The shard, to look at.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The runtime, to look at.
    pub fn runtime(&self) -> &R {
        &self.runtime
    }

    /// Mail that waits for room in the mailboxes of other shards.
    pub fn waiting_mail(&self) -> usize {
        self.overflow.iter().map(VecDeque::len).sum()
    }

    /// Does what there is to do now; says whether there may be more. Looks at the clock once.
    fn turn(&mut self) -> bool {
        let now = self.runtime.now();
        // Before all work, and before the mail is looked at: what comes from here on wakes the task again.
        self.wakeups.take(|slot| self.ready.push(slot));
        let mut is_busy = self.receive_mail(now);
        self.visit_ready(now);
        is_busy |= self.accept(now);
        let was_full = !self.shard.is_accepting();
        if self.shard.poll_timeout().is_some_and(|at| at <= now.instant) {
            self.shard.handle_timeout(now);
        }
        is_busy |= self.flush(now);
        // Whoever waits at the door was not asked for while there was no room, so that nobody will wake us for him.
        is_busy |= was_full && self.shard.is_accepting();
        is_busy | self.shard.has_backlog()
    }

    fn receive_mail(&mut self, now: Now) -> bool {
        for _ in 0..BATCH {
            // A shard that has not handed out the last messages takes no more: its mailbox fills, and says so.
            if self.shard.has_backlog() {
                return true;
            }
            let Some(mail) = self.inbox.receive() else { return false };
            self.shard.handle_mail(now, mail);
        }
        true
    }

    fn visit_ready(&mut self, now: Now) {
        let mut ready = core::mem::take(&mut self.ready);
        for slot in ready.drain(..) {
            if let Some(index) = slot.checked_sub(TASKS + self.task_slots) {
                let Self { sockets, shard, runtime, buffer, .. } = self;
                sockets.visit_ready(now, index, shard, runtime, buffer);
            } else if let Some(index) = slot.checked_sub(TASKS) {
                self.poll_task(index);
            } else if slot == ROOM {
                self.send_overflow();
            } else if slot == DOOR {
                self.may_accept = true;
            }
        }
        self.ready = ready;
    }

    fn accept(&mut self, now: Now) -> bool {
        if self.shard.is_shutting_down() && self.is_listening {
            self.is_listening = false;
            self.runtime.stop_accepting();
        }
        for _ in 0..BATCH {
            if !self.may_accept || !self.is_listening || !self.shard.is_accepting() {
                return false;
            }
            let polled = self.runtime.poll_accept(&mut Context::from_waker(&self.door));
            let Poll::Ready((accepted, stream)) = polled else {
                self.may_accept = false;
                return false;
            };
            if let Some(conn) = self.shard.handle_accept(now, accepted) {
                self.sockets.accept(conn, stream);
                let Self { sockets, shard, runtime, buffer, .. } = self;
                sockets.visit(now, conn, shard, runtime, buffer);
            }
        }
        true
    }

    /// Effects and changed connections; says whether there may be more: two busy ends of a proxied request change each
    /// other for ever.
    fn flush(&mut self, now: Now) -> bool {
        for _ in 0..FLUSH {
            if let Some(effect) = self.shard.poll_effect() {
                self.perform(effect);
            } else if let Some(conn) = self.shard.poll_changed() {
                if self.shard.interest(conn).close {
                    self.give_up(conn);
                }
                let Self { sockets, shard, runtime, buffer, .. } = self;
                sockets.visit(now, conn, shard, runtime, buffer);
            } else {
                return false;
            }
        }
        true
    }

    /// If the connection is still being opened, nobody waits for it any more: its socket goes with the task.
    fn give_up(&mut self, conn: ConnId) {
        let Some(at) = self.connecting.iter().position(|(of, _)| *of == conn) else { return };
        let (_, index) = self.connecting.swap_remove(at);
        if let Some(slot) = self.tasks.get_mut(index) {
            *slot = None;
            self.idle_tasks.push(index);
        }
    }

    fn perform(&mut self, effect: Effect) {
        let work = match effect {
            Effect::CloseFile(file) => return self.runtime.close_file(file),
            Effect::Log(access) => return self.runtime.log(&access),
            Effect::Notice(notice) => return self.runtime.notice(&notice),
            Effect::Send { to, mail } => return self.send(to.into(), mail),
            Effect::Connect { conn, to, tls, preface } => Work::Connect { conn, to, tls, preface },
            Effect::ListDirectory { op, files, path, limit } => Work::ListDirectory { op, files, path, limit },
            Effect::OpenFile { op, file } => Work::OpenFile { op, file },
            Effect::PrefetchFile { op, file, offset, len } => Work::PrefetchFile { op, file, offset, len },
            Effect::ReadFile { op, file, offset, len } => Work::ReadFile { op, file, offset, len },
            Effect::Verify { op, file, user, password } => Work::Verify { op, file, user, password },
            Effect::Resolve { op, host, port } => Work::Resolve { op, host, port },
        };
        let opening = if let Work::Connect { conn, .. } = &work { Some(*conn) } else { None };
        let task = self.runtime.perform(work);
        let index = self.idle_tasks.pop().unwrap_or_else(|| {
            self.tasks.push(None);
            self.tasks.len() - 1
        });
        // There is a slot for every connection, and none has two operations at a time.
        let waker = self.wakeups.waker(TASKS + index.min(self.task_slots - 1));
        if let Some(slot) = self.tasks.get_mut(index) {
            *slot = Some((task, waker));
        }
        self.connecting.extend(opening.map(|conn| (conn, index)));
        self.poll_task(index);
    }

    fn poll_task(&mut self, index: usize) {
        let Some(Some((task, waker))) = self.tasks.get_mut(index) else { return };
        let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(waker)) else { return };
        if let Some(slot) = self.tasks.get_mut(index) {
            *slot = None;
            self.idle_tasks.push(index);
        }
        self.connecting.retain(|(_, of)| *of != index);
        let now = self.runtime.now();
        match done {
            Done::Completed(op, result) => self.shard.handle_completion(now, op, result),
            Done::Connected(conn, Err(error)) => self.shard.handle_closed(now, conn, Some(error)),
            // Nobody wants it any more.
            Done::Connected(conn, Ok(_)) if self.shard.interest(conn).close => {}
            Done::Connected(conn, Ok(stream)) => {
                self.sockets.connect(conn, stream);
                self.shard.handle_connected(now, conn);
            }
        }
    }

    fn send(&mut self, to: usize, mail: Mail) {
        let (Some(peer), Some(overflow)) = (self.peers.get(to), self.overflow.get_mut(to)) else { return };
        if !overflow.is_empty() {
            overflow.push_back(mail);
            return self.note_congestion();
        }
        // A closed mailbox belongs to a shard that has ended; nobody misses the mail.
        if let Err(SendError::Full(mail)) = peer.send(mail) {
            overflow.push_back(mail);
            self.send_overflow();
        }
    }

    fn send_overflow(&mut self) {
        let Self { peers, overflow, room, .. } = self;
        for (peer, overflow) in peers.iter().zip(overflow) {
            let mut is_waiting = false;
            while let Some(mail) = overflow.pop_front() {
                if let Err(SendError::Full(mail)) = peer.send(mail) {
                    overflow.push_front(mail);
                    if is_waiting {
                        break;
                    }
                    // Once more after asking for the wake-up: room that was made before it wakes nobody.
                    peer.wake_when_room(room);
                    is_waiting = true;
                }
            }
        }
        self.note_congestion();
    }

    fn note_congestion(&mut self) {
        self.shard.handle_congestion(self.waiting_mail() > self.overflow_limit);
    }
}

impl<R: Runtime> Future for Driver<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // First register, then take the wake-ups, then work: whatever comes meanwhile wakes the task again.
        this.wakeups.register(cx.waker());
        for _ in 0..TURNS {
            let is_busy = this.turn();
            // What others wait for has to reach them: most of all the news that this shard is drained.
            if this.shard.is_drained() && !is_busy && this.waiting_mail() == 0 {
                this.inbox.close();
                return Poll::Ready(());
            }
            if is_busy {
                continue;
            }
            let at = this.shard.poll_timeout();
            if this.runtime.poll_timer(cx, at).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Unpin for Driver<R> {}

impl<R: Runtime> fmt::Debug for Driver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("shard", &self.shard).finish_non_exhaustive()
    }
}

/// One for each connection, and some for names.
fn task_slots(connections: usize) -> usize {
    connections + 1024
}
