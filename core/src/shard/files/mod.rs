//! Files: from memory, from the cache, from the disk.
//!
//! | file | part |
//! |---|---|
//! | `cache.rs` | what is kept in memory |
//! | `open.rs` | from a path to a representation: asking the host, directories, fallbacks |
//! | `answer.rs` | from a representation to a response: conditions, ranges |
//! | `send.rs` | the content, piece by piece |

mod answer;
mod cache;
mod open;
mod send;

pub(super) use cache::Cache;
pub(super) use open::Opening;
pub(super) use send::Sending;

use super::{ConnId, FileId, Opened, Shard};
use crate::config::{Asset, Coding, Files};
use crate::conn::Content;
use crate::handler::files::cache_control::cache_control;
use crate::handler::files::media_type::{content_type, media_type};
use crate::handler::files::{Conditions, Outcome, Stamp, Validator};
use crate::http1::{CheckedLines, FieldLines, HeadWriter, RequestHead, StatusCode};
use crate::text::date;
use crate::time::{Now, UnixTime};
use alloc::boxed::Box;
use alloc::sync::Arc;
use bytes::Bytes;

/// What a response says about a file, and its content, or the beginning of it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Representation {
    content_type: Arc<str>,
    etag: Box<str>,
    /// `Last-Modified`, in seconds since 1970.
    modified: u64,
    /// What every response says, and a 304 alone (RFC 9110 §15.4.5).
    cache_lines: CheckedLines,
    /// Whether others get another form of it.
    varies: bool,
    /// What responses with content say besides, and `Content-Type`.
    content_lines: CheckedLines,
    coding: Coding,
    /// Whether it was compressed here: parts of it are not to be had.
    is_made: bool,
    /// Of the file it was made of; `None` if that may have changed without a new one.
    known: Option<Stamp>,
    len: u64,
    first: Bytes,
}

impl Representation {
    /// Of the file called `name` below the root; and the file itself, if there is more than the representation has.
    fn new(files: &Files, name: &str, opened: Opened, now: UnixTime) -> (Self, Option<FileId>) {
        let len = opened.len();
        let Opened { file, stamp, first, coding, is_made, available } = opened;
        let is_recent = stamp.is_recent(now);
        let modified = stamp.last_modified(now);
        let etag = stamp.etag(coding, !is_recent && !is_made);
        let (mut cache_lines, mut content_lines) = (CheckedLines::default(), CheckedLines::default());
        // A value that cannot be written was refused with the configuration.
        let _ = cache_lines.push("cache-control", cache_control(files, name).as_bytes());
        let _ = cache_lines.push("etag", etag.as_bytes());
        let _ = content_lines.push("last-modified", &date::format(modified));
        if coding != Coding::Identity {
            let _ = content_lines.push("content-encoding", coding.name().as_bytes());
        }
        if !is_made {
            let _ = content_lines.push("accept-ranges", b"bytes");
        }
        let representation = Self {
            content_type: match &files.content_type {
                Some(said) => Arc::from(&**said),
                None => content_type(media_type(name), files.charset.as_deref()),
            },
            etag,
            modified,
            cache_lines,
            varies: !available.is_empty(),
            content_lines,
            coding,
            is_made,
            known: (!is_recent).then_some(stamp),
            len,
            first,
        };
        (representation, file)
    }

    /// Writes what every response says.
    fn write_cache_lines(&self, head: &mut HeadWriter<'_>) {
        head.checked(&self.cache_lines);
        if self.varies {
            head.lines(FieldLines::new("vary: accept-encoding\r\n"));
        }
    }

    fn validator(&self) -> Validator<'_> {
        Validator { etag: &self.etag, modified: Some(self.modified) }
    }
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
        let validator = Validator { etag: &asset.etag, modified: None };
        let (status, content) = match Conditions::new(&head.fields).evaluate(&validator) {
            Outcome::Failed => return self.refuse_condition(now, conn),
            Outcome::NotModified => (StatusCode::NOT_MODIFIED, Content::None),
            Outcome::Passed => (StatusCode::OK, Content::Shared(asset.content.clone())),
        };
        self.respond(now, conn, status, content, |head| {
            head.lines(FieldLines::new("cache-control: no-cache\r\ncontent-security-policy: default-src 'self'\r\n"));
            let _ = head.field("content-type", asset.content_type.as_bytes());
            let _ = head.field("etag", asset.etag.as_bytes());
        });
        self.finish(now, conn);
    }

    /// RFC 9110 §15.5.13.
    fn refuse_condition(&mut self, now: Now, conn: ConnId) {
        self.refuse(now, conn, StatusCode::PRECONDITION_FAILED, "this is not the version that the request insists on");
    }
}
