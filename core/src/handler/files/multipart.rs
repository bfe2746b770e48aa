//! Several parts in one response (RFC 9110 §14.6, RFC 2046 §5.1).

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use bytes::Bytes;
use core::ops::Range;

/// A piece of a response's content.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Piece {
    /// These bytes.
    Text(Bytes),
    /// These bytes of the representation.
    Part(Range<u64>),
}

impl Piece {
    /// Bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Part(range) => range.end.saturating_sub(range.start),
        }
    }

    /// Whether nothing is left of it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `Content-Range` (RFC 9110 §14.4).
pub fn content_range(range: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.start, range.end.saturating_sub(1))
}

/// `Content-Type` of the whole.
pub fn content_type(boundary: &str) -> String {
    format!("multipart/byteranges; boundary={boundary}")
}

/// The content of a response with several `parts` of `length` bytes of type `content_type`. `boundary` must not occur in
/// them: it is random.
pub fn pieces(parts: &[Range<u64>], length: u64, content_type: &str, boundary: &str) -> VecDeque<Piece> {
    let mut pieces = VecDeque::with_capacity(parts.len() * 2 + 1);
    let mut before = "";
    for part in parts {
        let range = content_range(part, length);
        let head = format!("{before}--{boundary}\r\ncontent-type: {content_type}\r\ncontent-range: {range}\r\n\r\n");
        pieces.push_back(Piece::Text(head.into()));
        pieces.push_back(Piece::Part(part.clone()));
        before = "\r\n";
    }
    pieces.push_back(Piece::Text(format!("{before}--{boundary}--\r\n").into()));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn parts_are_written_as_in_the_rfc() {
        let pieces = pieces(&[500..1000, 7000..8000], 8000, "application/pdf", "THIS");
        let text: Vec<_> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                Piece::Part(range) => format!("[{range:?}]"),
            })
            .collect();
        assert_eq!(
            text.concat(),
            "--THIS\r\ncontent-type: application/pdf\r\ncontent-range: bytes 500-999/8000\r\n\r\n[500..1000]\
             \r\n--THIS\r\ncontent-type: application/pdf\r\ncontent-range: bytes 7000-7999/8000\r\n\r\n[7000..8000]\
             \r\n--THIS--\r\n"
        );
        assert_eq!(pieces.iter().map(Piece::len).sum::<u64>(), text.concat().len() as u64 - 23 + 1500);
    }
}
