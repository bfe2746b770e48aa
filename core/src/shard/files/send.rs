//! The content of a file, piece by piece: as fast as the client takes it, and no faster.
//!
//! Large pieces of plain connections are brought into memory, and written by the host without passing through here (`sendfile`).

use super::Representation;
use crate::handler::files::multipart::Piece;
use crate::shard::slot::{Exchange, Role};
use crate::shard::{Completion, ConnId, Effect, FileId, FileRange, HIGH_WATER, IoError, OpId, Operation, Shard};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use bytes::Bytes;
use core::mem;

/// How much of a file is asked for at a time (bytes).
const PIECE: u64 = 64 * 1024;
/// What is left of a part must be so much that writing it directly pays for another system call (bytes).
const DIRECT: u64 = 256 * 1024;
/// How much is brought into memory at a time to be written directly (bytes).
const WINDOW: u64 = 1024 * 1024;

/// A file is being sent.
#[derive(Debug)]
pub(in crate::shard) struct Sending {
    /// `None`: the beginning is all of it.
    pub(in crate::shard) file: Option<FileId>,
    /// Its beginning.
    first: Bytes,
    /// What is still to be sent, in this order.
    pieces: VecDeque<Piece>,
    /// What was read and not sent yet.
    read: Bytes,
    /// The piece that is being read.
    op: Option<OpId>,
    /// So much of the part in front is in memory, to be written directly (bytes).
    window: u64,
}

impl Sending {
    pub(super) fn awaits(&self, op: OpId) -> bool {
        self.op == Some(op)
    }

    /// What is to be written directly.
    pub(in crate::shard) fn window(&self) -> Option<FileRange> {
        match (self.file, self.pieces.front()?) {
            (Some(file), Piece::Part(range)) if self.window > 0 => {
                Some(FileRange { file, offset: range.start, len: self.window })
            }
            _ => None,
        }
    }

    /// Takes the next bytes that are in memory.
    fn take(&mut self) -> Option<Bytes> {
        if !self.read.is_empty() {
            return Some(mem::take(&mut self.read));
        }
        match self.pieces.front_mut()? {
            Piece::Text(text) => {
                let text = mem::take(text);
                self.pieces.pop_front();
                Some(text)
            }
            Piece::Part(range) => {
                let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.first.len());
                let data = self.first.slice(index(range.start)..index(range.end.max(range.start)));
                self.skip(data.len());
                (!data.is_empty()).then_some(data)
            }
        }
    }

    /// So many bytes of the part in front are on their way.
    fn skip(&mut self, bytes: usize) {
        if let Some(Piece::Part(range)) = self.pieces.front_mut() {
            range.start += bytes as u64;
            if range.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    /// What has to be read next; forgets the beginning of the file if no part is in it.
    fn next_read(&mut self) -> Option<(u64, u32)> {
        let start = |piece: &Piece| if let Piece::Part(range) = piece { range.start } else { u64::MAX };
        if self.pieces.iter().map(start).all(|start| start >= self.first.len() as u64) {
            self.first = Bytes::new();
        }
        match self.pieces.front()? {
            Piece::Part(range) => Some((range.start, PIECE.min(range.end - range.start) as u32)),
            Piece::Text(_) => None,
        }
    }
}

impl Shard {
    /// Sends `pieces` of a representation, whose response head is on its way.
    pub(super) fn send_pieces(
        &mut self,
        now: Now,
        conn: ConnId,
        representation: &Representation,
        file: Option<FileId>,
        pieces: VecDeque<Piece>,
    ) {
        let Self { slots, timeouts, .. } = self;
        let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) else {
            return self.close_file(file);
        };
        // RFC 9110 §9.3.2: HEAD gets the head alone.
        if server.conn.is_headless() {
            server.conn.end(now, timeouts, None);
            self.close_file(file);
            return self.finish(now, conn);
        }
        let first = representation.first.clone();
        server.exchange =
            Exchange::Sending(Box::new(Sending { file, first, pieces, read: Bytes::new(), op: None, window: 0 }));
        self.send_file(now, conn);
    }

    /// Sends what is in memory, and asks for the next piece if there is room for it.
    pub(in crate::shard) fn send_file(&mut self, now: Now, conn: ConnId) {
        let op = OpId(self.next_number + 1);
        let Self { slots, timeouts, config, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        // What is encrypted, or paced, passes through here.
        let is_plain = !config.listeners.get(usize::from(slot.listener)).is_some_and(|listener| listener.is_tls);
        let is_direct = config.sends_files && is_plain && slot.grant.as_ref().is_none_or(|grant| grant.pace.is_none());
        let Role::Server(server) = &mut slot.role else { return };
        let Exchange::Sending(sending) = &mut server.exchange else { return };
        if sending.op.is_some() || sending.window > 0 {
            return;
        }
        while let Some(data) = sending.take() {
            server.conn.send_shared(now, timeouts, &data);
            if let Some(line) = &mut server.line {
                line.bytes += data.len() as u64;
            }
        }
        if sending.pieces.is_empty() {
            let file = sending.file.take();
            self.close_file(file);
            return self.finish(now, conn);
        }
        if server.conn.unsent().len() > HIGH_WATER {
            return;
        }
        match (sending.next_read(), sending.file, sending.pieces.front()) {
            (Some((offset, _)), Some(file), Some(Piece::Part(range))) if is_direct && range.end - offset >= DIRECT => {
                let len = WINDOW.min(range.end - offset);
                sending.op = Some(op);
                self.next_op(Operation::File(conn));
                self.effects.push_back(Effect::PrefetchFile { op, file, offset, len });
            }
            (Some((offset, len)), Some(file), _) => {
                sending.op = Some(op);
                self.next_op(Operation::File(conn));
                self.effects.push_back(Effect::ReadFile { op, file, offset, len });
            }
            _ => self.abort(now, conn),
        }
    }

    /// A piece of a file was read.
    pub(super) fn handle_piece(&mut self, now: Now, conn: ConnId, result: Result<Completion, IoError>) {
        let Some(Exchange::Sending(sending)) = self.server(conn).map(|server| &mut server.exchange) else { return };
        sending.op = None;
        match result {
            Ok(Completion::Read(data)) if !data.is_empty() => {
                sending.skip(data.len());
                sending.read = data;
                self.send_file(now, conn);
            }
            Ok(Completion::Prefetched) => {
                let left =
                    if let Some(Piece::Part(range)) = sending.pieces.front() { range.end - range.start } else { 0 };
                sending.window = WINDOW.min(left);
                let window = sending.window;
                let Self { slots, timeouts, .. } = self;
                if let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) {
                    server.conn.send_direct(now, timeouts, window);
                }
            }
            // It has shrunk, or cannot be read: the length was a promise, so the client must notice.
            Ok(_) | Err(_) => self.abort(now, conn),
        }
    }

    /// The host has written the beginning of what [`outgoing_file`](Self::outgoing_file) gave; 0: there is no more of the file.
    pub fn handle_file_written(&mut self, now: Now, conn: ConnId, bytes: u64) {
        let Self { slots, timeouts, .. } = self;
        let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        let Exchange::Sending(sending) = &mut server.exchange else { return };
        if bytes == 0 {
            self.abort(now, conn);
            return self.work(now);
        }
        sending.window = sending.window.saturating_sub(bytes);
        sending.skip(usize::try_from(bytes).unwrap_or(usize::MAX));
        if let Some(line) = &mut server.line {
            line.bytes += bytes;
        }
        server.conn.wrote_direct(now, timeouts, bytes);
        self.send_file(now, conn);
        self.settle(now, conn);
        self.work(now);
    }

    pub(in crate::shard) fn close_file(&mut self, file: Option<FileId>) {
        self.effects.extend(file.map(Effect::CloseFile));
    }

    /// Cuts the connection in the middle of a response, so that the client notices.
    pub(in crate::shard) fn abort(&mut self, now: Now, conn: ConnId) {
        if let Some(server) = self.server(conn) {
            server.conn.cut();
        }
        self.settle(now, conn);
    }
}
