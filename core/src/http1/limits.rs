//! How much of a head, a target, a chunk line a peer may send.

/// More field lines than this are refused whatever [`Limits`] says: the tokeniser's table is on the stack.
pub(super) const MAX_FIELD_LINES: usize = 128;

/// What a decoder accepts at most. Larger values than a head can have are lowered when a decoder is made.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Limits {
    /// Bytes of a head, from the first byte of the request or status line to the end of the empty line. Default 16 KiB
    /// (most servers allow 8 to 32); at most 65,535, because positions in a head have 16 bits. This is also what an
    /// unfinished head can occupy in a read buffer. A request beyond it is answered with 431.
    pub head_bytes: usize,
    /// Bytes of a request target. Default 8 KiB, which RFC 9110 §4.1 recommends at least. A longer one is answered with
    /// 414, as soon as it is too long.
    pub target_bytes: usize,
    /// Field lines of a head, and of a trailer section. Default 100 (browsers send 15 to 30); at most 128. Beyond it:
    /// 431.
    pub field_lines: usize,
    /// Bytes of the line before a chunk: size, extensions, CRLF. Default 256; nobody uses extensions. Over a whole
    /// message these lines may also take only 16 KiB more than 16 bytes and twice the data of each chunk. Beyond it:
    /// 400.
    pub chunk_line_bytes: usize,
    /// Bytes of a trailer section. Default 4 KiB; also what an unfinished one can occupy in a read buffer. Beyond it:
    /// 431.
    pub trailer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            target_bytes: 8 * 1024,
            field_lines: 100,
            chunk_line_bytes: 256,
            trailer_bytes: 4 * 1024,
        }
    }
}

/// [`Limits`] as a decoder keeps them: ten bytes for each connection instead of forty.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Caps {
    head_bytes: u16,
    target_bytes: u16,
    chunk_line_bytes: u16,
    trailer_bytes: u16,
    field_lines: u8,
}

impl Caps {
    pub(super) fn new(limits: Limits) -> Self {
        let narrow = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX);
        Self {
            head_bytes: narrow(limits.head_bytes),
            target_bytes: narrow(limits.target_bytes),
            chunk_line_bytes: narrow(limits.chunk_line_bytes),
            trailer_bytes: narrow(limits.trailer_bytes),
            field_lines: limits.field_lines.min(MAX_FIELD_LINES) as u8,
        }
    }

    pub(super) fn head_bytes(self) -> usize {
        self.head_bytes.into()
    }

    pub(super) fn target_bytes(self) -> usize {
        self.target_bytes.into()
    }

    pub(super) fn chunk_line_bytes(self) -> u16 {
        self.chunk_line_bytes
    }

    pub(super) fn trailer_bytes(self) -> usize {
        self.trailer_bytes.into()
    }

    pub(super) fn field_lines(self) -> usize {
        self.field_lines.into()
    }
}
