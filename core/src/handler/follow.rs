//! What a subscriber asks for: topics, and where it was. The same on all transports.

use crate::http1::{Fields, query_pairs};
use crate::pubsub::{Epoch, Joined, Position, Positions, Recovery, Topic};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use smallvec::SmallVec;

/// Topics of one subscriber: one, nearly always.
pub type Topics = SmallVec<[Topic; 1]>;

/// Where a subscriber says it was.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Since {
    /// At these positions.
    At(Positions),
    /// It was not there; it starts now.
    Now,
    /// Before everything that is still known: `0`.
    Oldest,
    /// It says something that we never said: told that it is refused, it starts now.
    Unknown,
}

impl Since {
    /// Reads a position that a client shows.
    pub fn parse(token: &[u8]) -> Self {
        match token {
            b"" => Self::Now,
            b"0" => Self::Oldest,
            token => Positions::parse(token).map_or(Self::Unknown, Self::At),
        }
    }

    /// Where that is in `topic`, if it is somewhere.
    pub fn position(&self, topic: &Topic, epoch: Epoch) -> Option<Position> {
        match self {
            Self::At(positions) => positions.lookup(topic),
            Self::Oldest => Some(Position { epoch, offset: 0 }),
            Self::Now | Self::Unknown => None,
        }
    }

    /// What became of it in `topic`. `None`: there is nothing to tell, the subscriber was not there before.
    pub fn recovery(&self, joined: &Joined) -> Option<Recovery> {
        match self {
            Self::At(_) => joined.recovery,
            Self::Now | Self::Oldest => None,
            Self::Unknown => Some(Recovery::Refused),
        }
    }

    /// Whether it is a position, so that its recovery has to be told.
    pub fn is_resume(&self) -> bool {
        matches!(self, Self::At(_) | Self::Unknown)
    }
}

/// The parameters of a subscription by query.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Wanted {
    /// `topic`, as often as wanted; each once.
    pub topics: Topics,
    /// `position` or `last_event_id`; the field `Last-Event-ID` comes before both.
    pub since: Since,
    /// `wait`, in seconds.
    pub wait: Option<Duration>,
    /// `address=1`: an event stream shall tell where its topics can be changed. Then there need not be any yet.
    pub address: bool,
}

impl Wanted {
    /// Reads them. At most `limit` topics.
    ///
    /// # Errors
    /// A sentence for the client, that names the parameter.
    pub fn parse(query: &str, fields: &Fields<'_>, limit: usize) -> Result<Self, String> {
        let mut wanted = Self { topics: Topics::new(), since: Since::Now, wait: None, address: false };
        for pair in query_pairs(query) {
            let (name, value) = pair.map_err(|error| alloc::format!("{error}"))?;
            match &*name {
                "topic" => {
                    let topic = Topic::new(&value).map_err(|error| alloc::format!("topic: {error}"))?;
                    if !wanted.topics.contains(&topic) {
                        wanted.topics.push(topic);
                    }
                }
                "address" => wanted.address = value == "1",
                "position" | "last_event_id" => wanted.since = Since::parse(value.as_bytes()),
                "wait" => {
                    let seconds = value.parse::<u32>();
                    let seconds = seconds.map_err(|_| String::from("wait: a whole number of seconds is wanted"))?;
                    wanted.wait = Some(Duration::from_secs(seconds.into()));
                }
                _ => {}
            }
        }
        if let Some(id) = fields.get("last-event-id") {
            wanted.since = Since::parse(id);
        }
        if wanted.topics.len() > limit {
            return Err(alloc::format!("topic: no more than {limit} at a time"));
        }
        Ok(wanted)
    }
}

/// Appends `{"topic","outcome"}`, with `from` and `to` for a gap.
pub fn write_recovery(topic: &Topic, recovery: Recovery, out: &mut Vec<u8>) {
    let token = |position| {
        let mut positions = Positions::new();
        // One topic always has room.
        let _ = positions.push(topic, position);
        alloc::string::ToString::to_string(&positions)
    };
    let json = match recovery {
        Recovery::Resumed => serde_json::json!({"topic": topic.as_str(), "outcome": "resumed"}),
        Recovery::Gap { from, to } => {
            serde_json::json!({"topic": topic.as_str(), "outcome": "gap", "from": token(from), "to": token(to)})
        }
        Recovery::Refused => serde_json::json!({"topic": topic.as_str(), "outcome": "refused"}),
    };
    out.extend_from_slice(alloc::string::ToString::to_string(&json).as_bytes());
}
