//! Holds the conversation of a row over anything that takes and gives bytes.

use super::answer::{Answer, shown};
use super::{End, Row, Step};
use std::time::Duration;

/// Until an answer begins, or the connection ends instead.
const PATIENCE: Duration = Duration::from_secs(5);
/// Until an end that is due has come: shorter than any idle timeout, so that only closing on purpose counts.
const END: Duration = Duration::from_millis(1500);
/// How long silence is listened to: shorter than any deadline for a head.
const SILENCE: Duration = Duration::from_millis(400);

/// What is asked once the answers of a row are there, to see whether the connection still serves; and its answer, which
/// no row has.
const PROBE: (&[u8], u16) = (b"GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n", 202);

/// A client's end of a connection.
pub trait Wire {
    /// Sends, as far as somebody takes it.
    fn send(&mut self, bytes: &[u8]);
    /// Lets a moment pass, so that what follows arrives apart.
    fn pause(&mut self);
    /// Ends the client's direction.
    fn half_close(&mut self);
    /// Waits for more bytes, and appends them.
    fn receive(&mut self, bytes: &mut Vec<u8>, patience: Duration) -> Received;
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received {
    /// More bytes.
    Bytes,
    /// The server has ended its direction, or all of the connection.
    End,
    /// Nothing in that time.
    Nothing,
}

/// What a server did.
#[derive(Clone, Debug, Default)]
pub struct Reaction {
    /// The answers to the row, in order.
    pub answers: Vec<Answer>,
    /// What is wrong with the bytes after them.
    pub wrong: Option<String>,
    /// Whether the server ended the connection by itself.
    pub is_closed: bool,
    /// Whether one more request was answered; if it was asked.
    pub is_kept: Option<bool>,
}

struct Listener<'r> {
    row: &'r Row,
    unread: Vec<u8>,
    reaction: Reaction,
}

/// Holds the conversation of `row`.
pub fn hold(row: &Row, wire: &mut dyn Wire) -> Reaction {
    let mut listener = Listener { row, unread: Vec::new(), reaction: Reaction::default() };
    let mut expected = 0;
    let mut is_sent = false;
    let last_send = row.steps.iter().rposition(|step| !matches!(step, Step::Answer(_))).unwrap_or(0);
    for (at, step) in row.steps.iter().enumerate() {
        match step {
            Step::Send(bytes) => wire.send(bytes),
            Step::Pause => wire.pause(),
            Step::HalfClose => wire.half_close(),
            Step::Answer(_) => {
                expected += 1;
                if at < last_send {
                    listener.listen(wire, expected, PATIENCE);
                }
            }
        }
        is_sent |= !matches!(step, Step::Answer(_));
    }
    debug_assert!(is_sent, "{} sends nothing", row.id);
    listener.end(wire, expected);
    listener.reaction
}

impl Listener<'_> {
    fn end(&mut self, wire: &mut dyn Wire, expected: usize) {
        if self.row.end == End::Silence {
            return self.listen(wire, usize::MAX, SILENCE);
        }
        self.listen(wire, expected, PATIENCE);
        match self.row.end {
            End::Close => self.listen(wire, usize::MAX, END),
            End::Keep if !self.reaction.is_closed && self.reaction.wrong.is_none() => {
                wire.send(PROBE.0);
                self.listen(wire, expected + 1, PATIENCE);
                let extra = self.reaction.answers.len() > expected;
                let probe = if extra { self.reaction.answers.pop() } else { None };
                self.reaction.is_kept = Some(probe.is_some_and(|answer| answer.status == PROBE.1));
                // Whether it ends after that is another question.
                self.reaction.is_closed = false;
            }
            End::Keep | End::Either | End::Silence => {}
        }
    }

    /// Reads until there are `wanted` answers, the connection ends, or nothing comes any more.
    fn listen(&mut self, wire: &mut dyn Wire, wanted: usize, patience: Duration) {
        self.read(wanted);
        while !self.has(wanted) && !self.reaction.is_closed && self.reaction.wrong.is_none() {
            match wire.receive(&mut self.unread, patience) {
                Received::Bytes => {}
                Received::End => self.reaction.is_closed = true,
                Received::Nothing => break,
            }
            self.read(wanted);
        }
    }

    /// Whether there are `wanted` answers. Interim ones that nobody expected do not count.
    fn has(&self, wanted: usize) -> bool {
        let finals = self.row.expected().take(wanted).filter(|expected| !expected.is_interim()).count();
        let beyond = wanted.saturating_sub(self.row.expected().count());
        self.reaction.answers.len() >= wanted && self.finals() >= finals + beyond
    }

    fn finals(&self) -> usize {
        self.reaction.answers.iter().filter(|answer| !answer.is_interim()).count()
    }

    fn read(&mut self, wanted: usize) {
        loop {
            if self.has(wanted) && !self.reaction.is_closed {
                return;
            }
            let mut finals = self.row.expected().filter(|expected| !expected.is_interim());
            let is_head = finals.nth(self.finals()).is_some_and(|expected| expected.is_head);
            match Answer::read(&self.unread, is_head, self.reaction.is_closed) {
                Ok(None) => return,
                Ok(Some((answer, length))) => {
                    self.unread.drain(..length);
                    // One more 100 says nothing.
                    if answer.status != 100 || self.reaction.answers.last().is_none_or(|last| last.status != 100) {
                        self.reaction.answers.push(answer);
                    }
                }
                Err(why) => {
                    self.reaction.wrong = Some(format!("{why}, in \"{}\"", shown(&self.unread)));
                    return;
                }
            }
        }
    }
}
