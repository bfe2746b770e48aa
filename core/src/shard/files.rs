//! Files: from memory, from the cache, from the disk.

use super::slot::{Exchange, Opening, Role, Sending};
use super::{Completion, ConnId, Effect, FileId, HIGH_WATER, IoError, OpId, Operation, Shard};
use crate::config::{Asset, Handler};
use crate::conn::Content;
use crate::handler::files::{Conditions, content_type, etag};
use crate::http1::{FieldLines, RequestHead, StatusCode, Target};
use crate::text::date;
use crate::time::{Instant, Now, UnixTime};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// How much of a file is asked for at a time (bytes).
const PIECE: u32 = 64 * 1024;
/// A browser asks again before it uses its copy: a file may change at any time (RFC 9111 §5.2.2.4).
const REVALIDATE: FieldLines = FieldLines::new("cache-control: no-cache\r\n");

/// Small files that were served lately.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Cache {
    /// By handler, by path.
    files: Vec<BTreeMap<Box<str>, Cached>>,
    bytes: usize,
    clock: u64,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Cached {
    content: Bytes,
    content_type: &'static str,
    etag: Arc<str>,
    last_modified: [u8; 29],
    modified: UnixTime,
    fresh_until: Instant,
    used: u64,
}

impl Shard {
    /// A file of the program itself.
    pub(super) fn send_asset(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        assets: &Arc<[Asset]>,
        rest: &str,
    ) {
        let path = rest.trim_start_matches('/');
        let Some(asset) = assets.iter().find(|asset| &*asset.path == path) else {
            return self.refuse(now, conn, StatusCode::NOT_FOUND, "nothing is here");
        };
        // The program has no date: the entity tag decides.
        let is_fresh = Conditions::new(&head.fields).is_fresh(&asset.etag, UnixTime::from_millis(u64::MAX));
        let (status, content) = match is_fresh {
            true => (StatusCode::NOT_MODIFIED, Content::None),
            false => (StatusCode::OK, Content::Shared(asset.content.clone())),
        };
        self.respond(now, conn, status, content, |head| {
            head.lines(REVALIDATE).lines(FieldLines::new("content-security-policy: default-src 'self'\r\n"));
            let _ = head.field("content-type", asset.content_type.as_bytes());
            let _ = head.field("etag", asset.etag.as_bytes());
        });
        self.finish(now, conn);
    }

    /// A file below a directory. `rest` is the decoded, normalised path below the route.
    pub(super) fn start_file(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>, handler: usize, rest: &str) {
        if let Some(cached) = self.cache.get(handler, rest, now.instant).cloned() {
            return self.send_cached(now, conn, &cached, &Conditions::new(&head.fields));
        }
        let config = Arc::clone(&self.config);
        let Some(Handler::Files(files)) = config.handlers.get(handler) else { return };
        let mut path = String::from(rest.trim_start_matches('/'));
        if path.is_empty() || path.ends_with('/') {
            path.push_str(&files.index);
        }
        let op = self.next_op(Operation::File(conn));
        let opening = Opening {
            op,
            handler,
            path: rest.into(),
            slashed: slashed(&head.target),
            conditions: Conditions::new(&head.fields),
        };
        self.effects.push_back(Effect::OpenFile { op, root: Arc::clone(&files.root), path: path.into() });
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Opening(Box::new(opening));
        }
    }

    /// An operation of the host came back.
    pub fn handle_completion(&mut self, now: Now, op: OpId, result: Result<Completion, IoError>) {
        match self.operations.remove(&op) {
            Some(Operation::Resolve(upstream, server)) => self.handle_resolved(now, (upstream, server), result),
            Some(Operation::File(conn)) => {
                self.lend(conn);
                self.handle_file(now, conn, op, result);
                self.settle(now, conn);
            }
            None => {}
        }
        self.work(now);
    }

    fn handle_file(&mut self, now: Now, conn: ConnId, op: OpId, result: Result<Completion, IoError>) {
        let exchange = self.server(conn).map(|server| &mut server.exchange);
        match (exchange, result) {
            (Some(Exchange::Opening(opening)), result) if opening.op == op => {
                let opening = core::mem::replace(
                    opening,
                    Box::new(Opening {
                        op,
                        handler: 0,
                        path: "".into(),
                        slashed: "".into(),
                        conditions: Conditions::default(),
                    }),
                );
                self.handle_opened(now, conn, &opening, result);
            }
            (Some(Exchange::Sending(sending)), result) if sending.op == Some(op) => {
                sending.op = None;
                match result {
                    Ok(Completion::Read(data)) if !data.is_empty() => {
                        sending.offset += data.len() as u64;
                        self.send_piece(now, conn, &data);
                    }
                    // It has shrunk, or cannot be read: the length was a promise, so the client must notice.
                    Ok(_) | Err(_) => self.abort(now, conn),
                }
            }
            // The connection has moved on; nothing may stay open.
            (_, Ok(Completion::Opened { file: Some(file), .. })) => self.effects.push_back(Effect::CloseFile(file)),
            (_, Ok(_) | Err(_)) => {}
        }
    }

    fn handle_opened(&mut self, now: Now, conn: ConnId, opening: &Opening, result: Result<Completion, IoError>) {
        let is_directory_path = opening.path.is_empty() || opening.path.ends_with('/');
        match result {
            Ok(Completion::Opened { file, len, modified, first }) => {
                self.send_file(now, conn, opening, file, len, modified, first);
            }
            // The index of a directory is a directory, or a directory without a slash: relative links need the slash.
            Ok(Completion::Directory) if !is_directory_path => {
                self.respond(now, conn, StatusCode::MOVED_PERMANENTLY, Content::Full(b""), |head| {
                    let _ = head.field("location", opening.slashed.as_bytes());
                });
                self.finish(now, conn);
            }
            // RFC 9110 §15.5.4: what may not be read may as well not be there.
            Ok(_) | Err(IoError::NotFound | IoError::PermissionDenied) => {
                self.refuse(now, conn, StatusCode::NOT_FOUND, "nothing is here");
            }
            Err(_) => self.refuse(now, conn, StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read"),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one completion")]
    fn send_file(
        &mut self,
        now: Now,
        conn: ConnId,
        opening: &Opening,
        file: Option<FileId>,
        len: u64,
        modified: UnixTime,
        first: Bytes,
    ) {
        let (limits, handler) = (&self.config.limits, self.config.handlers.get(opening.handler));
        let name = match handler {
            Some(Handler::Files(files)) if opening.path.is_empty() || opening.path.ends_with('/') => &files.index,
            _ => &opening.path,
        };
        let cached = Cached {
            content_type: content_type(name),
            etag: etag(len, modified).into(),
            last_modified: date::format(modified.as_secs()),
            modified,
            fresh_until: now.instant + limits.file_cache_age,
            used: 0,
            content: first,
        };
        let Some(file) = file else {
            let (file_bytes, total) = (limits.file_cache_file_bytes, limits.file_cache_bytes);
            self.send_cached(now, conn, &cached, &opening.conditions);
            if cached.content.len() <= file_bytes {
                self.cache.insert(opening.handler, opening.path.clone(), cached, total);
            }
            return;
        };
        if opening.conditions.is_fresh(&cached.etag, modified) {
            self.effects.push_back(Effect::CloseFile(file));
            return self.send_cached(now, conn, &cached, &opening.conditions);
        }
        self.respond(now, conn, StatusCode::OK, Content::Length(len), |head| fields(head, &cached));
        let sending = Sending { file, offset: cached.content.len() as u64, end: len, op: None };
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Sending(Box::new(sending));
        }
        self.send_piece(now, conn, &cached.content);
    }

    fn send_cached(&mut self, now: Now, conn: ConnId, cached: &Cached, conditions: &Conditions) {
        let (status, content) = match conditions.is_fresh(&cached.etag, cached.modified) {
            true => (StatusCode::NOT_MODIFIED, Content::None),
            false => (StatusCode::OK, Content::Shared(cached.content.clone())),
        };
        self.respond(now, conn, status, content, |head| fields(head, cached));
        self.finish(now, conn);
    }

    fn send_piece(&mut self, now: Now, conn: ConnId, data: &[u8]) {
        let Self { slots, timeouts, .. } = self;
        let Some(Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        // RFC 9110 §9.3.2: HEAD gets the head alone.
        let is_done = match &server.exchange {
            Exchange::Sending(sending) => sending.offset >= sending.end || server.conn.is_headless(),
            _ => return,
        };
        server.conn.send_content(now, timeouts, data);
        if let Some(line) = &mut server.line {
            line.bytes += data.len() as u64;
        }
        if is_done {
            let file = match &server.exchange {
                Exchange::Sending(sending) => sending.file,
                _ => return,
            };
            self.effects.push_back(Effect::CloseFile(file));
            if server.conn.is_headless() {
                server.conn.end(now, timeouts, None);
            }
            self.finish(now, conn);
        } else {
            self.read_file(conn);
        }
    }

    /// Asks for the next piece, if there is room for it.
    pub(super) fn read_file(&mut self, conn: ConnId) {
        let op = OpId(self.next_number + 1);
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let unsent = slot.unsent().len();
        let Role::Server(server) = &mut slot.role else { return };
        let Exchange::Sending(sending) = &mut server.exchange else { return };
        if sending.op.is_some() || unsent > HIGH_WATER {
            return;
        }
        sending.op = Some(op);
        let len = u64::from(PIECE).min(sending.end - sending.offset) as u32;
        let effect = Effect::ReadFile { op, file: sending.file, offset: sending.offset, len };
        self.next_op(Operation::File(conn));
        self.effects.push_back(effect);
    }

    /// Cuts the connection in the middle of a response, so that the client notices.
    pub(super) fn abort(&mut self, now: Now, conn: ConnId) {
        if let Some(server) = self.server(conn) {
            server.conn.cut();
        }
        self.settle(now, conn);
    }
}

/// The target of a directory, as it stood in the request, with the slash that it lacks.
fn slashed(target: &Target<'_>) -> Box<str> {
    let (mark, query) = target.query().map_or(("", ""), |query| ("?", query));
    [target.path(), "/", mark, query].concat().into()
}

fn fields(head: &mut crate::http1::HeadWriter<'_>, cached: &Cached) {
    head.lines(REVALIDATE);
    let _ = head.field("content-type", cached.content_type.as_bytes());
    let _ = head.field("etag", cached.etag.as_bytes());
    let _ = head.field("last-modified", &cached.last_modified);
}

impl Cache {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn get(&mut self, handler: usize, path: &str, now: Instant) -> Option<&Cached> {
        let cached = self.files.get_mut(handler)?.get_mut(path).filter(|cached| cached.fresh_until > now)?;
        self.clock += 1;
        cached.used = self.clock;
        Some(cached)
    }

    fn insert(&mut self, handler: usize, path: Box<str>, mut file: Cached, total: usize) {
        self.clock += 1;
        file.used = self.clock;
        self.bytes += file.content.len();
        if self.files.len() <= handler {
            self.files.resize_with(handler + 1, BTreeMap::new);
        }
        if let Some(old) = self.files.get_mut(handler).and_then(|files| files.insert(path, file)) {
            self.bytes -= old.content.len();
        }
        while self.bytes > total && self.evict() {}
    }

    /// Forgets the file that was not used for the longest time.
    fn evict(&mut self) -> bool {
        let all = self.files.iter().enumerate();
        let all = all.flat_map(|(handler, files)| files.iter().map(move |(path, file)| (file.used, handler, path)));
        let Some((handler, path)) = all.min().map(|(_, handler, path)| (handler, path.clone())) else { return false };
        let evicted = self.files.get_mut(handler).and_then(|files| files.remove(&path));
        self.bytes -= evicted.as_ref().map_or(0, |file| file.content.len());
        evicted.is_some()
    }
}
