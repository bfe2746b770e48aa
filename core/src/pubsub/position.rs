//! Positions, and the opaque token in which a client carries them between connections.
//!
//! ```text
//! token = group *( "-" group )
//! group = epoch 1*( "-" topic )      ; usually there is one epoch, and so one group
//! epoch = number
//! topic = number "." number          ; fingerprint of the name, offset
//! number = lower-case hexadecimal without leading zeros
//! ```
//!
//! Only `[0-9a-f.-]`: safe as an event stream's id, inside a JSON string and in a URL.

use alloc::vec::Vec;
use core::fmt;
use core::str;
use smallvec::SmallVec;

use super::Topic;

/// How many topics one token covers; a subscriber may not have more. The longest token is then 2.7 KiB, which fits
/// the field line in which an event stream's client returns it.
pub const MAX_TOPICS: usize = 64;
/// An epoch and its dash before every topic is the worst case.
const MAX_TOKEN_BYTES: usize = MAX_TOPICS * (16 + 1 + 8 + 1 + 16 + 1);

/// One unbroken numbering of messages. Another epoch, another numbering: nothing can be said about what was between.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u64);

/// How far somebody has come in one topic: everything up to and including `offset` was seen.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// The numbering that `offset` belongs to.
    pub epoch: Epoch,
    /// The number of a message of the topic's home, not necessarily of this topic. 0 is before the first.
    pub offset: u64,
}

/// The positions of one subscriber in all its topics: a parsed token. At most [`MAX_TOPICS`].
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Positions(SmallVec<[(u32, Position); 1]>);

impl Positions {
    /// Nothing seen of any topic.
    pub fn new() -> Self {
        Self(SmallVec::new())
    }

    /// Reads a token. It comes from a client, so anything that we would not have written is refused.
    pub fn parse(token: &[u8]) -> Result<Self, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken::TooLong);
        }
        let mut positions = Self::new();
        let mut parts = token.split(|&byte| byte == b'-');
        let mut epoch = parse_number(parts.next().unwrap_or_default())?;
        let mut is_bare = true;
        for part in parts {
            let mut numbers = part.split(|&byte| byte == b'.');
            let first = parse_number(numbers.next().unwrap_or_default())?;
            match (numbers.next(), numbers.next()) {
                (Some(offset), None) => {
                    let fingerprint = u32::try_from(first).map_err(|_| InvalidToken::Malformed)?;
                    let position = Position { epoch: Epoch(epoch), offset: parse_number(offset)? };
                    positions.insert(fingerprint, position)?;
                    is_bare = false;
                }
                (None, None) if !is_bare && first != epoch => {
                    epoch = first;
                    is_bare = true;
                }
                (None | Some(_), None | Some(_)) => return Err(InvalidToken::Malformed),
            }
        }
        if is_bare { Err(InvalidToken::Malformed) } else { Ok(positions) }
    }

    /// Where the subscriber is in `topic`. `None`: the token says nothing about it.
    ///
    /// Topics stand in the token by fingerprint. If two of them have the same, the lower position holds for both:
    /// one may repeat something, none loses anything.
    pub fn lookup(&self, topic: &Topic) -> Option<Position> {
        let fingerprint = topic.fingerprint();
        self.0.iter().filter(|(of, _)| *of == fingerprint).map(|(_, position)| *position).min()
    }

    /// Adds where the subscriber is in `topic`.
    pub fn push(&mut self, topic: &Topic, position: Position) -> Result<(), InvalidToken> {
        self.insert(topic.fingerprint(), position)
    }

    /// Moves on to `newer`, topic by topic; what that says nothing about stays. Two topics with the same fingerprint stay
    /// where they are: it may be the other one that has moved.
    ///
    /// # Errors
    /// There would be more than [`MAX_TOPICS`]; the first of them have moved.
    pub fn advance(&mut self, newer: &Self) -> Result<(), InvalidToken> {
        for (fingerprint, position) in &newer.0 {
            let mut known = self.0.iter_mut().filter(|(of, _)| of == fingerprint);
            match (known.next(), known.next()) {
                (None, _) => self.insert(*fingerprint, *position)?,
                (Some(entry), None) => entry.1 = *position,
                (Some(_), Some(_)) => {}
            }
        }
        Ok(())
    }

    /// Of how many topics something is said.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is said of any topic.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the token to `out`; nothing if there are no positions.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = TokenWriter::new(out);
        for (fingerprint, position) in &self.0 {
            writer.push(*fingerprint, *position);
        }
    }

    fn insert(&mut self, fingerprint: u32, position: Position) -> Result<(), InvalidToken> {
        if self.0.len() == MAX_TOPICS {
            return Err(InvalidToken::TooManyTopics);
        }
        self.0.push((fingerprint, position));
        Ok(())
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut token = Vec::new();
        self.write(&mut token);
        f.write_str(str::from_utf8(&token).unwrap_or_default())
    }
}

/// Appends a token topic by topic.
#[derive(Debug)]
pub(super) struct TokenWriter<'a> {
    out: &'a mut Vec<u8>,
    epoch: Option<Epoch>,
}

impl<'a> TokenWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, epoch: None }
    }

    pub(super) fn push(&mut self, fingerprint: u32, position: Position) {
        if self.epoch != Some(position.epoch) {
            if self.epoch.is_some() {
                self.out.push(b'-');
            }
            write_number(position.epoch.0, self.out);
            self.epoch = Some(position.epoch);
        }
        self.out.push(b'-');
        write_number(u64::from(fingerprint), self.out);
        self.out.push(b'.');
        write_number(position.offset, self.out);
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| {
        let nibble = (number >> (4 * digit) & 0xf) as u8;
        if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
    }));
}

fn parse_number(digits: &[u8]) -> Result<u64, InvalidToken> {
    match digits {
        [] | [b'0', _, ..] => return Err(InvalidToken::Malformed),
        digits if digits.len() > 16 => return Err(InvalidToken::Malformed),
        _ => {}
    }
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Ok(number << 4 | u64::from(digit - b'0')),
        b'a'..=b'f' => Ok(number << 4 | u64::from(digit - b'a' + 10)),
        _ => Err(InvalidToken::Malformed),
    })
}

/// Why a token is none of ours.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum InvalidToken {
    /// It does not follow the grammar.
    Malformed,
    /// It is longer than a token for [`MAX_TOPICS`] can be.
    TooLong,
    /// It covers more than [`MAX_TOPICS`].
    TooManyTopics,
}

impl InvalidToken {
    /// 400 (RFC 9110 §15.5.1).
    pub const fn status(self) -> u16 {
        400
    }
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("position token is malformed"),
            Self::TooLong => f.write_str("position token is too long"),
            Self::TooManyTopics => write!(f, "position token covers more than {MAX_TOPICS} topics"),
        }
    }
}

impl core::error::Error for InvalidToken {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn position(epoch: u64, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    #[test]
    fn a_token_says_what_was_put_in() {
        let all = [("a", position(0xe9, 0)), ("foobar", position(0xe9, u64::MAX)), ("b", position(0, 16))];
        let mut positions = Positions::new();
        assert_eq!(positions.to_string(), "");
        for (name, position) in all {
            positions.push(&topic(name), position).unwrap();
        }
        assert_eq!(positions.to_string(), "e9-e40c292c.0-bf9cf968.ffffffffffffffff-0-e70c2de5.10");
        let parsed = Positions::parse(positions.to_string().as_bytes()).unwrap();
        assert_eq!(parsed, positions);
        for (name, position) in all {
            assert_eq!(parsed.lookup(&topic(name)), Some(position));
        }
        assert_eq!(parsed.lookup(&topic("other")), None);
    }

    #[test]
    fn garbage_is_refused() {
        let tokens = [
            "",
            "-",
            "1",
            "1-",
            "1-2",
            "1-2.",
            "1-.2",
            "1-2.3-",
            "-2.3",
            "1-2.3.4",
            "1--2.3",
            "01-2.3",
            "1-02.3",
            "1-2.03",
            "1-2.3-4",
            "1-2.3-1-2.3",
            "A-2.3",
            "g-2.3",
            "1-2.3 ",
            " 1-2.3",
            "1-2.3\n",
            "1-123456789.1",
            "12345678901234567-1.1",
            "1-1.12345678901234567",
            "1-2.3,4",
            "%31-2.3",
            "1-2.+3",
        ];
        for token in tokens {
            assert_eq!(Positions::parse(token.as_bytes()), Err(InvalidToken::Malformed), "{token:?}");
        }
        assert_eq!(Positions::parse(&[0xff; 10]), Err(InvalidToken::Malformed));
        assert_eq!(Positions::parse(&[b'1'; MAX_TOKEN_BYTES + 1]), Err(InvalidToken::TooLong));
    }

    #[test]
    fn sixty_four_topics_fit_and_no_more() {
        let mut positions = Positions::new();
        for number in 0..MAX_TOPICS as u64 {
            positions.push(&topic(&format!("{number}")), position(u64::MAX - number, u64::MAX)).unwrap();
        }
        assert_eq!(positions.push(&topic("more"), position(0, 0)), Err(InvalidToken::TooManyTopics));
        assert_eq!(positions.len(), MAX_TOPICS);
        assert_eq!(Positions::parse(positions.to_string().as_bytes()), Ok(positions));
        let token = (0..=MAX_TOPICS).fold(String::from("1"), |token, _| token + "-1.1");
        assert_eq!(Positions::parse(token.as_bytes()), Err(InvalidToken::TooManyTopics));
    }

    #[test]
    fn positions_move_on_topic_by_topic() {
        let token = |token: &str| Positions::parse(token.as_bytes()).unwrap();
        for (known, newer, expected) in [
            ("1-a.1-b.2", "1-b.3", "1-a.1-b.3"),
            ("1-a.1-b.2", "2-b.1", "1-a.1-2-b.1"),
            ("1-a.1", "1-c.7", "1-a.1-c.7"),
            ("1-a.1-a.2", "1-a.3", "1-a.1-a.2"),
        ] {
            let mut positions = token(known);
            assert_eq!(positions.advance(&token(newer)), Ok(()));
            assert_eq!(positions, token(expected));
        }
    }

    #[test]
    fn of_two_topics_with_one_fingerprint_the_lower_position_holds() {
        // "costarring" and "liquid" collide in FNV-1a.
        let (one, other) = (topic("costarring"), topic("liquid"));
        assert_eq!(one.fingerprint(), other.fingerprint());
        let mut positions = Positions::new();
        positions.push(&one, position(1, 7)).unwrap();
        positions.push(&other, position(1, 5)).unwrap();
        assert_eq!(positions.lookup(&one), Some(position(1, 5)));
        assert_eq!(positions.lookup(&other), Some(position(1, 5)));
    }
}
