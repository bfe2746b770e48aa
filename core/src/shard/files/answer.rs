//! From a representation to a response: conditions (RFC 9110 §13), ranges (§14).

use super::Representation;
use super::open::Wanted;
use crate::config::Coding;
use crate::conn::Content;
use crate::handler::files::multipart::{self, Piece, content_range};
use crate::handler::files::{Outcome, Selected};
use crate::http1::{FieldLines, HeadWriter, StatusCode};
use crate::shard::{ConnId, FileId, Shard};
use crate::time::Now;
use alloc::format;
use alloc::string::ToString;
use core::ops::Range;

impl Shard {
    /// Answers with a representation; `file` is open if there is more of it than its beginning.
    pub(super) fn answer_file(
        &mut self,
        now: Now,
        conn: ConnId,
        representation: &Representation,
        file: Option<FileId>,
        wanted: &Wanted,
    ) {
        let validator = representation.validator();
        match wanted.conditions.evaluate(&validator) {
            Outcome::Passed => {}
            Outcome::Failed => {
                self.close_file(file);
                return self.refuse_condition(now, conn);
            }
            Outcome::NotModified => {
                self.close_file(file);
                self.respond(now, conn, StatusCode::NOT_MODIFIED, Content::None, |head| {
                    cache_fields(head, representation);
                });
                return self.finish(now, conn);
            }
        }
        // What was compressed here may come out differently the next time: parts of two times would not fit together.
        let ranges =
            wanted.ranges.as_ref().filter(|_| !representation.is_made && wanted.conditions.wants_part_of(&validator));
        match ranges.map_or(Selected::Whole, |ranges| ranges.select(representation.len)) {
            Selected::Whole => self.send_whole(now, conn, representation, file),
            Selected::Parts(parts) => self.send_parts(now, conn, representation, file, &parts),
            Selected::Nothing => {
                self.close_file(file);
                // RFC 9110 §15.5.17.
                let (status, range) = (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{}", representation.len));
                self.refuse_with(now, conn, status, "the file has no such part", |head| {
                    let _ = head.field("content-range", range.as_bytes());
                });
            }
        }
    }

    fn send_whole(&mut self, now: Now, conn: ConnId, representation: &Representation, file: Option<FileId>) {
        if file.is_none() {
            let content = Content::Shared(representation.first.clone());
            self.respond(now, conn, StatusCode::OK, content, |head| fields(head, representation));
            return self.finish(now, conn);
        }
        let len = representation.len;
        self.respond(now, conn, StatusCode::OK, Content::Length(len), |head| fields(head, representation));
        self.send_pieces(now, conn, representation, file, [Piece::Part(0..len)].into());
    }

    /// RFC 9110 §15.3.7.
    fn send_parts(
        &mut self,
        now: Now,
        conn: ConnId,
        representation: &Representation,
        file: Option<FileId>,
        parts: &[Range<u64>],
    ) {
        let (len, kind) = (representation.len, &representation.content_type);
        let status = StatusCode::PARTIAL_CONTENT;
        if let [part] = parts {
            let range = content_range(part, len);
            self.respond(now, conn, status, Content::Length(part.end - part.start), |head| {
                fields(head, representation);
                let _ = head.field("content-range", range.as_bytes());
            });
            return self.send_pieces(now, conn, representation, file, [Piece::Part(part.clone())].into());
        }
        let boundary = self.rng.next_uuid().simple().to_string();
        let pieces = multipart::pieces(parts, len, kind, &boundary);
        let total = pieces.iter().map(Piece::len).sum();
        let kind = multipart::content_type(&boundary);
        self.respond(now, conn, status, Content::Length(total), |head| {
            fields_except_type(head, representation);
            let _ = head.field("content-type", kind.as_bytes());
        });
        self.send_pieces(now, conn, representation, file, pieces);
    }
}

/// Everything about a representation.
fn fields(head: &mut HeadWriter<'_>, representation: &Representation) {
    let _ = head.field("content-type", representation.content_type.as_bytes());
    fields_except_type(head, representation);
}

fn fields_except_type(head: &mut HeadWriter<'_>, representation: &Representation) {
    cache_fields(head, representation);
    let _ = head.field("last-modified", &representation.last_modified);
    if representation.coding != Coding::Identity {
        let _ = head.field("content-encoding", representation.coding.name().as_bytes());
    }
    if !representation.is_made {
        head.lines(FieldLines::new("accept-ranges: bytes\r\n"));
    }
}

/// What a cache needs to update the response it has (RFC 9110 §15.4.5).
fn cache_fields(head: &mut HeadWriter<'_>, representation: &Representation) {
    let _ = head.field("cache-control", representation.cache_control.as_bytes());
    let _ = head.field("etag", representation.etag.as_bytes());
    if representation.varies {
        head.lines(FieldLines::new("vary: accept-encoding\r\n"));
    }
}
