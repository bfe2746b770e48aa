//! The content of a message, however it is framed (RFC 9112 §6).

use super::chunk::Chunks;
use super::limits::Caps;
use super::{Framing, ParseError};

/// What is left of a message after its head.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

/// A step through it. Smaller than a [`Part`](super::Part), because it is handed up a few times.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Content(&'a [u8]),
    End,
    /// The end, after this trailer section.
    Trailers(&'a [u8]),
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Consumes a part of `input`: says how much, and what it was. Content is never empty.
    #[inline]
    pub(super) fn decode<'i>(&mut self, input: &'i [u8], caps: Caps) -> Result<(usize, Option<Step<'i>>), ParseError> {
        match self {
            Self::Length(0) => Ok((0, Some(Step::End))),
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= length as u64;
                Ok((length, content(input.get(..length).unwrap_or_default())))
            }
            Self::Chunked(chunks) => chunks.decode(input, caps),
            Self::UntilClose => Ok((input.len(), content(input))),
        }
    }
}

fn content(bytes: &[u8]) -> Option<Step<'_>> {
    (!bytes.is_empty()).then_some(Step::Content(bytes))
}
