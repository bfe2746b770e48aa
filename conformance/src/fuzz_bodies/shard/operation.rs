//! What can happen to a shard, as bytes: each operation is a byte that names it and one or two that say more.

/// Something that happens. Numbers count what is there, and begin again behind the last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation<'d> {
    /// A client connects.
    Accept,
    /// A peer wants to say this.
    Mean(u8, Piece<'d>),
    /// So much of what a peer wants to say arrives.
    Say(u8, u8),
    /// A peer ends its direction.
    End(u8),
    /// A connection is gone.
    Break(u8),
    /// A peer takes so much of what is to be written to it, or the host ends its direction if it is asked to.
    Take(u8, u8),
    /// Time passes: the power of two, in nanoseconds.
    Wait(u8),
    /// An effect comes back.
    Finish(u8, How),
    /// The host closes what is to be closed.
    Visit,
    /// Everything that can go on does so for a while, and nothing goes wrong.
    Settle,
    /// Mail to other shards piles up, or does not any more.
    Congest(bool),
    /// The shard is told to shut down; the grace is as for [`Self::Wait`].
    Stop(u8),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'d> {
    /// From the dictionary of its kind.
    Known(u8),
    Raw(&'d [u8]),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum How {
    Well(u8),
    Badly,
    /// Well, and the same once more later.
    Twice(u8),
}

impl<'d> Operation<'d> {
    /// The first operation in `data`, and the rest.
    pub(super) fn parse(data: &'d [u8]) -> Option<(Self, &'d [u8])> {
        let (&[name, which], rest) = data.split_first_chunk()?;
        let (more, after) = rest.split_first().map_or((0, rest), |(more, after)| (*more, after));
        Some(match name % 16 {
            0 => (Self::Accept, rest),
            1 | 2 => (Self::Mean(which, Piece::Known(more)), after),
            3 => {
                let (raw, after) = after.split_at(usize::from(more).min(after.len()));
                (Self::Mean(which, Piece::Raw(raw)), after)
            }
            4 | 5 => (Self::Say(which, more), after),
            6 => (Self::End(which), rest),
            7 => (Self::Break(which), rest),
            8 => (Self::Take(which, more), after),
            9 => (Self::Wait(which), rest),
            10 | 11 => {
                let how = match more % 8 {
                    0 => How::Badly,
                    1 => How::Twice(more / 8),
                    _ => How::Well(more / 8),
                };
                (Self::Finish(which, how), after)
            }
            12 => (Self::Visit, rest),
            13 | 14 => (Self::Settle, rest),
            _ if which < 32 => (Self::Stop(which + 20), rest),
            _ => (Self::Congest(which % 2 == 0), rest),
        })
    }
}
