//! Who was told what about topics, and whether it adds up: one order per topic, everything once, or a gap that is named.

use brolly_core::pubsub::{Epoch, Position, Positions, Topic};
use std::collections::{BTreeMap, BTreeSet};

/// What everybody was told.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By topic, the messages by number.
    known: BTreeMap<String, BTreeMap<u64, String>>,
    /// Messages of which a receipt or a listener told the number.
    numbers: BTreeMap<String, u64>,
    /// Messages that were refused: nobody may ever see them.
    refused: BTreeSet<String>,
    claims: Vec<Claim>,
    faults: Vec<String>,
    published: u64,
}

/// Somebody was told that between two numbers there is this and nothing else.
#[derive(Debug)]
struct Claim {
    who: String,
    topic: String,
    from: Option<u64>,
    to: u64,
    messages: Vec<String>,
}

impl Ledger {
    pub(crate) fn fault(&mut self, what: impl Into<String>) {
        if self.faults.len() < 10 {
            self.faults.push(what.into());
        }
    }

    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// A message that was never published before. Its topic is in it.
    pub(crate) fn new_message(&mut self, topic: &str, filler: &str) -> String {
        self.published += 1;
        format!("{topic}:{}:{filler}", self.published)
    }

    pub(crate) fn refuse(&mut self, message: &str) {
        self.refused.insert(message.into());
    }

    /// Somebody says that this message has this number.
    pub(crate) fn number(&mut self, who: &str, topic: &str, number: u64, message: &str) {
        let before = self.known.entry(topic.into()).or_default().insert(number, message.into());
        if before.as_deref().is_some_and(|before| before != message) {
            self.fault(format!("{who}: {topic} {number} is {message:?}, and {before:?} elsewhere"));
        }
        let before = self.numbers.insert(message.into(), number);
        if before.is_some_and(|before| before != number) {
            self.fault(format!("{who}: {message:?} has the numbers {number} and {before:?}"));
        }
        if topic_of(message) != topic {
            self.fault(format!("{who}: {message:?} in {topic}"));
        }
    }

    /// The number of the last message of a topic.
    pub(crate) fn last(&self, topic: &str) -> Option<u64> {
        Some(*self.known.get(topic)?.last_key_value()?.0)
    }

    pub(crate) fn messages(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn claims(&self) -> usize {
        self.claims.len()
    }

    /// Compares all that was claimed with all that is known.
    pub(crate) fn settle(&mut self) {
        let mut faults = Vec::new();
        for Claim { who, topic, from, to, messages } in &self.claims {
            if let Some(message) = messages.iter().find(|message| self.refused.contains(*message)) {
                faults.push(format!("{who}: got {message:?}, which was refused"));
            }
            // Of what only long-polls saw, the number is not known.
            let heard: Vec<&String> = messages.iter().filter(|message| self.numbers.contains_key(*message)).collect();
            let from = match (from, heard.first()) {
                (Some(from), _) => from + 1,
                (None, Some(first)) => self.numbers[*first],
                (None, None) => continue,
            };
            let Some(known) = self.known.get(topic).filter(|_| from <= *to) else { continue };
            let known: Vec<&String> = known.range(from..=*to).map(|(_, message)| message).collect();
            if heard != known {
                let [known, heard] =
                    [known, heard].map(|all| all.into_iter().map(|message| short(message)).collect::<Vec<_>>());
                faults.push(format!("{who}: {topic} {from}..={to} is {known:?}, but it was told {heard:?}"));
            }
        }
        faults.into_iter().for_each(|fault| self.fault(fault));
    }
}

pub(crate) fn topic_of(message: &str) -> &str {
    message.split(':').next().unwrap_or_default()
}

/// Enough of a message to recognise it.
fn short(message: &str) -> String {
    message.chars().take(12).collect()
}

/// One subscriber's knowledge, over all its connections.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) who: String,
    epoch: Option<Epoch>,
    /// It asked for what is left, wherever that begins: number 0 is no claim then.
    pub(crate) wants_oldest: bool,
    at: BTreeMap<String, u64>,
    /// Where gaps end that it was told of, in this connection, until a position is beyond.
    gaps: BTreeMap<String, u64>,
}

impl Follower {
    pub(crate) fn new(who: String) -> Self {
        Self { who, epoch: None, wants_oldest: false, at: BTreeMap::new(), gaps: BTreeMap::new() }
    }

    pub(crate) fn at(&self, topic: &str) -> Option<u64> {
        self.at.get(topic).copied()
    }

    /// It comes back with its position, and will be told again what it missed.
    pub(crate) fn reconnect(&mut self) {
        self.gaps.clear();
    }

    /// The position to come back with; empty if there is none.
    pub(crate) fn token(&self, topics: &[&str]) -> String {
        let mut positions = Positions::new();
        for name in topics {
            if let (Some(epoch), Some(offset), Ok(topic)) = (self.epoch, self.at(name), Topic::new(name)) {
                let _ = positions.push(&topic, Position { epoch, offset });
            }
        }
        positions.to_string()
    }

    /// A position, and the messages that came with it. What is not in `topics` must not be in `messages`.
    pub(crate) fn hear(&mut self, ledger: &mut Ledger, topics: &[&str], token: &str, messages: &[String]) {
        if let Some(message) = messages.iter().find(|message| !topics.contains(&topic_of(message))) {
            ledger.fault(format!("{}: {message:?}, but it follows {topics:?}", self.who));
        }
        let positions = match Positions::parse(token.as_bytes()) {
            Ok(positions) => positions,
            Err(_) if token.is_empty() && messages.is_empty() => return,
            Err(error) => return ledger.fault(format!("{}: position {token:?}: {error}", self.who)),
        };
        for name in topics {
            let Some(position) = Topic::new(name).ok().and_then(|topic| positions.lookup(&topic)) else { continue };
            let messages: Vec<String> = messages.iter().filter(|message| topic_of(message) == *name).cloned().collect();
            self.move_to(ledger, name, position, messages);
        }
    }

    /// A message with a position of its own.
    pub(crate) fn hear_one(&mut self, ledger: &mut Ledger, topics: &[&str], token: &str, message: &str) {
        let name = topic_of(message);
        let topic = Topic::new(name).ok();
        let position = topic.zip(Positions::parse(token.as_bytes()).ok()).and_then(|(topic, all)| all.lookup(&topic));
        match position {
            Some(position) => ledger.number(&self.who, name, position.offset, message),
            None => ledger.fault(format!("{}: {message:?} at {token:?}", self.who)),
        }
        self.hear(ledger, topics, token, &[message.into()]);
    }

    fn move_to(&mut self, ledger: &mut Ledger, name: &str, position: Position, messages: Vec<String>) {
        if self.epoch.is_some_and(|epoch| epoch != position.epoch) {
            ledger.fault(format!("{}: another epoch", self.who));
        }
        self.epoch = Some(position.epoch);
        let mut from = self.at(name).filter(|from| *from > 0 || !self.wants_oldest);
        if self.gaps.get(name).is_some_and(|end| *end <= position.offset) {
            from = from.max(self.gaps.remove(name));
        }
        let (to, who) = (position.offset, self.who.clone());
        if from.is_some_and(|from| to < from || to == from && !messages.is_empty()) {
            ledger.fault(format!("{who}: {name} goes from {from:?} to {to}, with {messages:?}"));
        }
        self.at.insert(name.into(), to);
        if from != Some(to) || !messages.is_empty() {
            ledger.claims.push(Claim { who, topic: name.into(), from, to, messages });
        }
    }

    /// What became of a resume.
    pub(crate) fn recover(&mut self, ledger: &mut Ledger, recovery: &serde_json::Value) {
        let text = |key: &str| recovery[key].as_str().unwrap_or_default();
        let name = text("topic");
        let offset = |key| {
            let topic = Topic::new(name).ok()?;
            Some(Positions::parse(text(key).as_bytes()).ok()?.lookup(&topic)?.offset)
        };
        match (text("outcome"), offset("from"), offset("to")) {
            ("resumed", None, None) => {}
            ("gap", Some(from), Some(to)) if self.at(name) == Some(from) && from < to => {
                self.gaps.insert(name.into(), to);
            }
            // Our positions are always true ones.
            _ => ledger.fault(format!("{}: at {:?}, recovery {recovery}", self.who, self.at(name))),
        }
    }

    /// Whether it has all that there is.
    pub(crate) fn is_behind(&self, ledger: &Ledger, topic: &str) -> bool {
        ledger.last(topic).is_some_and(|last| self.at(topic).is_none_or(|at| at < last))
    }
}
