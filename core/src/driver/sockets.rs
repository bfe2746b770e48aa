//! The sockets of a driver: doing what their connections want.

use super::wakeups::Wakeups;
use super::{Runtime, Stream};
use crate::shard::{ConnId, Shard};
use crate::time::Now;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::task::{Context, Poll, Waker};

/// Reads and writes of one connection before the others get their turn.
const MOVES: usize = 16;
/// Pieces in one vectored write.
const SLICES: usize = 16;

pub(super) struct Sockets<S> {
    slots: Vec<Slot<S>>,
    wakeups: Arc<Wakeups>,
    first: usize,
}

struct Slot<S> {
    socket: Option<Socket<S>>,
    /// One for all sockets that this slot will ever have.
    waker: Waker,
}

struct Socket<S> {
    conn: ConnId,
    stream: S,
    /// Whether it has still to say whose it is.
    is_new: bool,
    /// Whether trying may succeed: not since the last time it was pending.
    is_readable: bool,
    is_writable: bool,
    /// A write has failed.
    is_broken: bool,
}

impl<S: Stream> Sockets<S> {
    /// None yet; their wake-up slots begin at `first`.
    pub(super) fn new(wakeups: Arc<Wakeups>, first: usize) -> Self {
        Self { slots: Vec::new(), wakeups, first }
    }

    /// The socket of a client.
    pub(super) fn accept(&mut self, conn: ConnId, stream: S) {
        self.insert(Socket { conn, stream, is_new: true, is_readable: true, is_writable: true, is_broken: false });
    }

    /// The socket of a backend.
    pub(super) fn connect(&mut self, conn: ConnId, stream: S) {
        self.insert(Socket { conn, stream, is_new: false, is_readable: true, is_writable: true, is_broken: false });
    }

    fn insert(&mut self, socket: Socket<S>) {
        let conn = socket.conn;
        while self.slots.len() <= conn.index() {
            let waker = self.wakeups.waker(self.first + self.slots.len());
            self.slots.push(Slot { socket: None, waker });
        }
        if let Some(slot) = self.slots.get_mut(conn.index()) {
            slot.socket = Some(socket);
        }
    }

    /// The socket in slot `index` was woken.
    pub(super) fn visit_ready<R: Runtime<Stream = S>>(
        &mut self,
        now: Now,
        index: usize,
        shard: &mut Shard,
        runtime: &R,
        buffer: &mut [u8],
    ) {
        if let Some(Slot { socket: Some(socket), .. }) = self.slots.get_mut(index) {
            socket.is_readable = true;
            socket.is_writable = true;
            let conn = socket.conn;
            self.visit(now, conn, shard, runtime, buffer);
        }
    }

    /// Does what a connection wants, as far as the socket goes along.
    pub(super) fn visit<R: Runtime<Stream = S>>(
        &mut self,
        now: Now,
        conn: ConnId,
        shard: &mut Shard,
        runtime: &R,
        buffer: &mut [u8],
    ) {
        let slot = self.slots.get_mut(conn.index()).filter(|slot| slot.socket.as_ref().is_some_and(|s| s.conn == conn));
        let Some(Slot { socket: slot, waker }) = slot else {
            // It is still being opened.
            if shard.interest(conn).close {
                shard.handle_closed(now, conn, None);
            }
            return;
        };
        let mut cx = Context::from_waker(waker);
        for _ in 0..MOVES {
            let Some(socket) = slot.as_mut() else { return };
            let interest = shard.interest(conn);
            if interest.close {
                if interest.reset {
                    socket.stream.reset();
                } else {
                    socket.stream.farewell();
                }
                *slot = None;
                return shard.handle_closed(now, conn, None);
            }
            let mut moved = false;
            let mut result = Ok(());
            if socket.is_new {
                match socket.stream.poll_introduction(&mut cx) {
                    Poll::Ready(Ok(introduction)) => {
                        socket.is_new = false;
                        introduction.into_iter().for_each(|it| shard.handle_introduced(conn, it));
                    }
                    Poll::Ready(Err(error)) => {
                        *slot = None;
                        return shard.handle_closed(now, conn, Some(error));
                    }
                    Poll::Pending => return shard.handle_visited(conn),
                }
            }
            if interest.write && socket.is_writable {
                let mut slices: [&[u8]; SLICES] = [&[]; SLICES];
                let filled = shard.outgoing(conn, &mut slices);
                let range = if filled == 0 { shard.outgoing_file(conn) } else { None };
                if let Some(range) = range {
                    match runtime.poll_send_file(&mut cx, &mut socket.stream, &range) {
                        Poll::Ready(Ok(bytes)) => {
                            shard.handle_file_written(now, conn, bytes);
                            moved = true;
                        }
                        Poll::Ready(Err(error)) => result = Err(error),
                        Poll::Pending => socket.is_writable = false,
                    }
                } else {
                    match socket.stream.poll_write(&mut cx, slices.get(..filled).unwrap_or_default()) {
                        Poll::Ready(Ok(bytes)) => {
                            shard.handle_write(now, conn, bytes);
                            moved = true;
                        }
                        Poll::Ready(Err(error)) => result = Err(error),
                        Poll::Pending => {
                            socket.is_writable = false;
                            // A stage in between may have sent some of it already.
                            shard.handle_offered(conn);
                        }
                    }
                }
            } else if interest.shutdown && socket.is_writable {
                match socket.stream.poll_shutdown(&mut cx) {
                    Poll::Ready(Ok(())) => {
                        shard.handle_shutdown_done(now, conn);
                        moved = true;
                    }
                    Poll::Ready(Err(error)) => result = Err(error),
                    Poll::Pending => socket.is_writable = false,
                }
            }
            // Also after a failed write: a peer that takes no more may have said why (RFC 9112 §9.5).
            if interest.read && socket.is_readable {
                match socket.stream.poll_read(&mut cx, buffer) {
                    Poll::Ready(Ok(0)) => {
                        shard.handle_eof(now, conn);
                        moved = true;
                    }
                    Poll::Ready(Ok(bytes)) => {
                        shard.handle_read(now, conn, buffer.get_mut(..bytes).unwrap_or_default());
                        moved = true;
                    }
                    Poll::Ready(Err(error)) => (result, moved) = (Err(error), false),
                    Poll::Pending => socket.is_readable = false,
                }
            }
            if let (Err(error), false) = (result, moved) {
                // The failed write may have been quicker than the news that there is something to read: wait for that, once.
                if interest.read && !socket.is_readable && !mem::replace(&mut socket.is_broken, true) {
                    socket.is_writable = false;
                    return shard.handle_visited(conn);
                }
                *slot = None;
                return shard.handle_closed(now, conn, Some(error));
            }
            if !moved {
                return shard.handle_visited(conn);
            }
        }
        // It goes on with the next wake-ups, after the others: not at once, as one that has changed.
        shard.handle_visited(conn);
        waker.wake_by_ref();
    }
}

impl<S> fmt::Debug for Sockets<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}
