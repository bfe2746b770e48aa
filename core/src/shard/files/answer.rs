//! From a representation to a response: conditions (RFC 9110 §13), ranges (§14).

use super::Representation;
use super::open::Wanted;
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
        kept: &Representation,
        file: Option<FileId>,
        wanted: &Wanted,
    ) {
        let validator = kept.validator();
        match wanted.conditions.evaluate(&validator) {
            Outcome::Passed => {}
            Outcome::Failed => {
                self.close_file(file);
                return self.refuse_condition(now, conn);
            }
            Outcome::NotModified => {
                self.close_file(file);
                self.respond(now, conn, StatusCode::NOT_MODIFIED, Content::None, |head| {
                    cache_fields(head, kept, wanted);
                });
                return self.finish(now, conn);
            }
        }
        // What was compressed here may come out differently the next time: parts of two times would not fit together.
        let ranges = wanted.ranges.as_ref().filter(|_| !kept.is_made && wanted.conditions.wants_part_of(&validator));
        match ranges.map_or(Selected::Whole, |ranges| ranges.select(kept.len)) {
            Selected::Whole => self.send_whole(now, conn, kept, file, wanted),
            Selected::Parts(parts) => self.send_parts(now, conn, kept, file, wanted, &parts),
            Selected::Nothing => {
                self.close_file(file);
                // RFC 9110 §15.5.17.
                let (status, range) = (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{}", kept.len));
                self.refuse_with(now, conn, status, "the file has no such part", |head| {
                    let _ = head.field("content-range", range.as_bytes());
                });
            }
        }
    }

    fn send_whole(&mut self, now: Now, conn: ConnId, kept: &Representation, file: Option<FileId>, wanted: &Wanted) {
        let content = match file {
            None => Content::Shared(kept.first.clone()),
            Some(_) => Content::Length(kept.len),
        };
        self.respond(now, conn, StatusCode::OK, content, |head| fields(head, kept, wanted, &kept.content_type));
        match file {
            None => self.finish(now, conn),
            Some(_) => self.send_pieces(now, conn, kept, file, [Piece::Part(0..kept.len)].into()),
        }
    }

    /// RFC 9110 §15.3.7.
    fn send_parts(
        &mut self,
        now: Now,
        conn: ConnId,
        kept: &Representation,
        file: Option<FileId>,
        wanted: &Wanted,
        parts: &[Range<u64>],
    ) {
        let status = StatusCode::PARTIAL_CONTENT;
        if let [part] = parts {
            let (range, length) = (content_range(part, kept.len), part.end - part.start);
            self.respond(now, conn, status, Content::Length(length), |head| {
                fields(head, kept, wanted, &kept.content_type);
                let _ = head.field("content-range", range.as_bytes());
            });
            return self.send_pieces(now, conn, kept, file, [Piece::Part(part.clone())].into());
        }
        let boundary = self.rng.next_uuid().simple().to_string();
        let pieces = multipart::pieces(parts, kept.len, &kept.content_type, &boundary);
        let (total, kind) = (pieces.iter().map(Piece::len).sum(), multipart::content_type(&boundary));
        self.respond(now, conn, status, Content::Length(total), |head| fields(head, kept, wanted, &kind));
        self.send_pieces(now, conn, kept, file, pieces);
    }
}

/// What a response with content says about it.
fn fields(head: &mut HeadWriter<'_>, kept: &Representation, wanted: &Wanted, content_type: &str) {
    cache_fields(head, kept, wanted);
    let _ = head.checked(&kept.content_lines).field("content-type", content_type.as_bytes());
}

/// What a cache needs to update the response it has (RFC 9110 §15.4.5).
fn cache_fields(head: &mut HeadWriter<'_>, kept: &Representation, wanted: &Wanted) {
    kept.write_cache_lines(head);
    if wanted.is_fallback {
        head.lines(FieldLines::new("vary: accept\r\n"));
    }
    if wanted.is_plain {
        // The version that was asked for may be there in a moment.
        head.retain(|name| name != "cache-control").lines(FieldLines::new("cache-control: no-store\r\n"));
    }
}
