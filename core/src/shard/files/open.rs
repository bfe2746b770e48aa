//! From a path to a representation: from the cache, or by asking the host.

use super::Representation;
use super::cache::Found;
use crate::config::{Config, Files, Handler};
use crate::conn::Content;
use crate::handler::files::listing::{self, Listing};
use crate::handler::files::path::{is_hidden, wants_page};
use crate::handler::files::{AcceptEncoding, Codings, Conditions, Fallback, Ranges};
use crate::http1::{FieldLines, Method, RequestHead, StatusCode, Target};
use crate::shard::slot::Exchange;
use crate::shard::{Completion, ConnId, Effect, FileRequest, IoError, OpId, Opened, Operation, Shard};
use crate::time::Now;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::mem;

/// What comes before the paths of versions. No other path begins with it.
const VERSION: &str = "?";

/// A file is being opened, or a directory looked into.
#[derive(Debug)]
pub(in crate::shard) struct Opening {
    op: OpId,
    handler: usize,
    /// Below the route, decoded: what is kept is kept under this name.
    path: Box<str>,
    /// Which of the names of an index is being looked for.
    index: usize,
    /// What stands for a version that is not there.
    plain: Option<Box<str>>,
    /// Where to redirect to, if it is a directory.
    slashed: Box<str>,
    pub(super) wanted: Wanted,
    accepted: AcceptEncoding,
    /// Whether the fallback may stand for what is not there.
    wants_page: bool,
    /// Whether the directory is being looked into: there is no index.
    is_listing: bool,
    /// What was kept, if it may have changed.
    stale: Option<Arc<Representation>>,
}

/// What is wanted of a file.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) conditions: Conditions,
    pub(super) ranges: Option<Ranges>,
    /// Whether it stands for something that is not there: clients that take no HTML get something else.
    pub(super) is_fallback: bool,
    /// Whether it stands for a version that may come yet.
    pub(super) is_plain: bool,
}

impl Wanted {
    fn new(head: &RequestHead<'_>) -> Self {
        // RFC 9110 §14.2: ranges are for GET alone.
        let ranges = if head.method == Method::Get { Ranges::new(&head.fields) } else { None };
        Self { conditions: Conditions::new(&head.fields), ranges, is_fallback: false, is_plain: false }
    }
}

impl Shard {
    /// A file below a directory. `rest` is the decoded, normalised path below the route.
    pub(in crate::shard) fn start_file(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        handler: usize,
        rest: &str,
    ) {
        let age = self.config.limits.file_cache_age;
        let config = Arc::clone(&self.config);
        let Some(files) = files(&config, handler) else { return };
        let rest = if files.is_any_path { "" } else { rest };
        let accepted = || AcceptEncoding::new(&head.fields);
        let choose = |available| accepted().choose(available, files.codings());
        let Some((path, plain)) = locate(files, head, rest) else { return self.refuse_path(now, conn) };
        let stale = match self.cache.find(handler, &path, now.instant, age, choose) {
            Found::Fresh(kept) => return self.answer_file(now, conn, &kept, None, &Wanted::new(head)),
            Found::Stale(kept) => Some(kept),
            Found::Nothing => None,
        };
        // RFC 9110 §15.5.4: what may not be read may as well not be there.
        if (is_hidden(rest) && !files.hidden) || (files.only.is_some() && !rest.trim_matches('/').is_empty()) {
            return self.refuse_path(now, conn);
        }
        // The directory of the route itself without its slash: relative links need it.
        if rest.is_empty() && files.only.is_none() {
            return self.redirect(now, conn, StatusCode::MOVED_PERMANENTLY, &slashed(&head.target));
        }
        let opening = Opening {
            op: OpId(0),
            handler,
            path: path.into(),
            index: 0,
            plain,
            slashed: slashed(&head.target),
            wanted: Wanted::new(head),
            accepted: accepted(),
            wants_page: files.fallback.is_some() && wants_page(&head.fields, rest),
            is_listing: false,
            stale,
        };
        self.open_file(conn, files, Box::new(opening));
    }

    fn open_file(&mut self, conn: ConnId, files: &Arc<Files>, mut opening: Box<Opening>) {
        opening.op = self.next_op(Operation::File(conn));
        let known = opening.stale.as_ref().and_then(|kept| Some((kept.coding, kept.known?)));
        let files = files_of(files, &opening.path);
        let path = file_name(files, &opening).into();
        let file = FileRequest { files: Arc::clone(files), path, accepted: opening.accepted, known };
        self.effects.push_back(Effect::OpenFile { op: opening.op, file });
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Opening(opening);
        }
    }

    /// An operation of the host came back.
    pub fn handle_completion(&mut self, now: Now, op: OpId, result: Result<Completion, IoError>) {
        match self.operations.remove(&op) {
            Some(Operation::Resolve(upstream, server)) => self.handle_resolved(now, (upstream, server), result),
            Some(Operation::Verify(conn)) => {
                self.lend(conn);
                self.handle_verified(now, conn, op, &result);
                self.settle(now, conn);
            }
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
            (Some(exchange), result) if matches!(&*exchange, Exchange::Opening(opening) if opening.op == op) => {
                if let Exchange::Opening(opening) = mem::replace(exchange, Exchange::Idle) {
                    self.handle_opened(now, conn, opening, result);
                }
            }
            (Some(Exchange::Sending(sending)), result) if sending.awaits(op) => self.handle_piece(now, conn, result),
            // The connection has moved on; nothing may stay open.
            (_, Ok(Completion::Opened(Opened { file: Some(file), .. }))) => {
                self.effects.push_back(Effect::CloseFile(file));
            }
            (_, Ok(_) | Err(_)) => {}
        }
    }

    fn handle_opened(&mut self, now: Now, conn: ConnId, opening: Box<Opening>, result: Result<Completion, IoError>) {
        let config = Arc::clone(&self.config);
        let Some(files) = files(&config, opening.handler) else { return };
        let is_as_kept = match &result {
            Ok(Completion::Unchanged { .. }) => true,
            Ok(Completion::Opened(_)) => opening.stale.is_none(),
            Ok(_) | Err(_) => false,
        };
        if !is_as_kept {
            // It has changed or has gone, and its other forms with it.
            self.cache.forget(opening.handler, &opening.path);
        }
        match result {
            Ok(Completion::Opened(opened)) => self.handle_found(now, conn, files, &opening, opened),
            Ok(Completion::Unchanged { available }) => match opening.stale.clone() {
                Some(mut kept) => {
                    // A sibling may have come or gone without the file.
                    if kept.varies == available.is_empty() {
                        Arc::make_mut(&mut kept).varies = !available.is_empty();
                    }
                    self.keep_file(now, &opening, available, &kept);
                    self.answer_file(now, conn, &kept, None, &opening.wanted);
                }
                None => self.refuse_path(now, conn),
            },
            Ok(Completion::Listed(listing)) => self.send_listing(now, conn, &opening.path, listing),
            // A directory without a slash: relative links need it.
            Ok(Completion::Directory) if !is_directory(&opening.path) => {
                self.redirect(now, conn, StatusCode::MOVED_PERMANENTLY, &opening.slashed);
            }
            Ok(_) | Err(IoError::NotFound | IoError::PermissionDenied) => {
                self.handle_missing(now, conn, files, opening);
            }
            Err(IoError::TooManyFiles) => {
                let reason = "too many files are open; try again";
                self.refuse_with(now, conn, StatusCode::SERVICE_UNAVAILABLE, reason, |head| {
                    head.lines(FieldLines::new("retry-after: 1\r\n"));
                });
            }
            Err(_) => {
                self.refuse(now, conn, StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read");
            }
        }
    }

    fn handle_found(&mut self, now: Now, conn: ConnId, files: &Arc<Files>, opening: &Opening, opened: Opened) {
        let (available, files) = (opened.available, files_of(files, &opening.path));
        let (representation, file) = Representation::new(files, &file_name(files, opening), opened, now.unix);
        let representation = Arc::new(representation);
        if file.is_none() {
            self.keep_file(now, opening, available, &representation);
        }
        self.answer_file(now, conn, &representation, file, &opening.wanted);
    }

    /// Keeps a representation that is whole, if it is small, or was work.
    fn keep_file(&mut self, now: Now, opening: &Opening, available: Codings, representation: &Arc<Representation>) {
        let limits = &self.config.limits;
        if representation.is_made || representation.first.len() <= limits.file_cache_file_bytes {
            let (until, total) = (now.instant + limits.file_cache_age, limits.file_cache_bytes);
            let kept = Arc::clone(representation);
            self.cache.insert(opening.handler, opening.path.clone(), available, kept, until, total);
        }
    }

    /// There is no such file: perhaps there is a page to show instead.
    fn handle_missing(&mut self, now: Now, conn: ConnId, files: &Arc<Files>, mut opening: Box<Opening>) {
        if let Some(plain) = opening.plain.take() {
            opening.wanted.is_plain = true;
            return self.open_other(now, conn, files, opening, plain);
        }
        if is_directory(&opening.path) && opening.index + 1 < files.index.len() && !opening.is_listing {
            opening.index += 1;
            opening.stale = None;
            return self.open_file(conn, files, opening);
        }
        if files.listing && is_directory(&opening.path) && !mem::replace(&mut opening.is_listing, true) {
            opening.op = self.next_op(Operation::File(conn));
            let (path, limit) = (opening.path.trim_start_matches('/').into(), self.config.limits.file_listing_entries);
            self.effects.push_back(Effect::ListDirectory { op: opening.op, files: Arc::clone(files), path, limit });
            if let Some(server) = self.server(conn) {
                server.exchange = Exchange::Opening(opening);
            }
            return;
        }
        let Some(fallback) = files.fallback.as_ref().filter(|_| mem::take(&mut opening.wants_page)) else {
            return self.refuse_path(now, conn);
        };
        opening.wanted.is_fallback = true;
        self.open_other(now, conn, files, opening, ["/", fallback].concat().into());
    }

    /// Opens what stands for a file that is not there.
    fn open_other(&mut self, now: Now, conn: ConnId, files: &Arc<Files>, mut opening: Box<Opening>, path: Box<str>) {
        opening.path = path;
        let age = self.config.limits.file_cache_age;
        let choose = |available| opening.accepted.choose(available, files.codings());
        opening.stale = match self.cache.find(opening.handler, &opening.path, now.instant, age, choose) {
            Found::Fresh(kept) => return self.answer_file(now, conn, &kept, None, &opening.wanted),
            Found::Stale(kept) => Some(kept),
            Found::Nothing => None,
        };
        self.open_file(conn, files, opening);
    }

    fn send_listing(&mut self, now: Now, conn: ConnId, path: &str, listing: Listing) {
        let page = listing::page(path, listing);
        self.respond(now, conn, StatusCode::OK, Content::Full(page.as_bytes()), |head| {
            // Nothing in it is code, whatever the names are.
            head.lines(FieldLines::new(
                "content-type: text/html; charset=utf-8\r\ncache-control: no-store\r\n\
                 content-security-policy: default-src 'none'\r\nx-content-type-options: nosniff\r\n",
            ));
        });
        self.finish(now, conn);
    }

    fn refuse_path(&mut self, now: Now, conn: ConnId) {
        self.refuse(now, conn, StatusCode::NOT_FOUND, "nothing is here");
    }
}

fn files(config: &Config, handler: usize) -> Option<&Arc<Files>> {
    match config.handlers.get(handler)? {
        Handler::Files(files) => Some(files),
        _ => None,
    }
}

fn is_directory(path: &str) -> bool {
    path.ends_with('/')
}

/// Where a file is, and what stands for it if it is a version that is not there; `None`: nowhere.
fn locate<'r>(files: &Files, head: &RequestHead<'_>, rest: &'r str) -> Option<(Cow<'r, str>, Option<Box<str>>)> {
    let mut path = Cow::Borrowed(rest);
    if let Some(suffix) = &files.by_host {
        path = [&host_directory(head.host()?.host(), suffix)?, rest].concat().into();
    }
    let Some(versions) = &files.versions else { return Some((path, None)) };
    match versions.find(head.target.query(), rest) {
        Ok(version) => {
            let plain = (versions.fallback >= Fallback::NoFile).then(|| path.into());
            Some(([VERSION, &version].concat().into(), plain))
        }
        Err(reason) => (versions.fallback >= reason).then_some((path, None)),
    }
}

/// The directory of a host, with a slash before it.
fn host_directory(host: &str, suffix: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let name = host.strip_suffix(suffix).unwrap_or(&host).trim_end_matches('.');
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_usable = !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_name);
    is_usable.then(|| ["/", name].concat())
}

/// Who has the file at `path`.
fn files_of<'f>(files: &'f Arc<Files>, path: &str) -> &'f Arc<Files> {
    files.versions.as_ref().filter(|_| path.starts_with(VERSION)).map_or(files, |versions| &versions.files)
}

/// The file that a path stands for, relative to the root.
fn file_name(files: &Files, opening: &Opening) -> String {
    let path = opening.path.trim_start_matches(VERSION).trim_start_matches('/');
    let index = if is_directory(&opening.path) { files.index.get(opening.index).map_or("", |name| name) } else { "" };
    match &files.only {
        Some(name) => String::from(&**name),
        None => [path, index].concat(),
    }
}

/// The target of a directory, as it stood in the request, with the slash that it lacks. Two slashes at its beginning would
/// lead to another host (RFC 3986 §4.2).
fn slashed(target: &Target<'_>) -> Box<str> {
    let (mark, query) = target.query().map_or(("", ""), |query| ("?", query));
    ["/", target.path().trim_matches('/'), "/", mark, query].concat().into()
}
