//! The three kinds of variables.

use super::Join;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;
use serde_json::Value as Json;

/// A number that only grows: the maximum wins.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Counter(pub u64);

/// A set that only grows: the union wins.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Set(pub BTreeSet<Member>);

/// What a [`Set`] consists of.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Member {
    /// A JSON integer, −2⁶³…2⁶⁴−1.
    Integer(i128),
    /// A JSON string.
    Text(Arc<str>),
}

/// A value with a stamp: the larger stamp wins. Of two values with the same stamp the one whose JSON is larger by bytes wins, so
/// that everyone ends with the same (Swindon leaves it open).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Register {
    /// When, by a clock of the backend's choice.
    pub stamp: Stamp,
    /// Compact JSON with sorted keys.
    pub value: Arc<str>,
}

/// A finite number, compared as such.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(f64);

/// A variable of any kind, as its name's suffix says.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Value {
    /// `_counter`: an integer, 0…2⁶⁴−1.
    Counter(Counter),
    /// `_register`: `[stamp, value]`.
    Register(Register),
    /// `_set`: an array of strings and integers.
    Set(Set),
}

/// Per value, beside its bytes: the nodes of the maps that hold it.
const OVERHEAD: usize = 64;

impl Value {
    /// The value of the variable `name`, or `None` if the name has no such suffix, or the value is not of that kind.
    pub(super) fn parse(name: &str, json: Json) -> Option<Self> {
        let (stem, kind) = name.rsplit_once('_')?;
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !stem.bytes().all(is_inner) || stem.bytes().next().is_none_or(|byte| byte.is_ascii_digit()) {
            return None;
        }
        match (kind, json) {
            ("counter", Json::Number(number)) => number.as_u64().map(|number| Self::Counter(Counter(number))),
            ("set", Json::Array(members)) => {
                members.into_iter().map(Member::parse).collect::<Option<_>>().map(|members| Self::Set(Set(members)))
            }
            ("register", Json::Array(pair)) => match <[Json; 2]>::try_from(pair) {
                Ok([Json::Number(stamp), value]) => {
                    let stamp = Stamp::new(stamp.as_f64()?)?;
                    Some(Self::Register(Register { stamp, value: value.to_string().into() }))
                }
                Ok(_) | Err(_) => None,
            },
            _ => None,
        }
    }
}

impl Member {
    fn parse(json: Json) -> Option<Self> {
        match json {
            Json::String(text) => Some(Self::Text(text.into())),
            Json::Number(number) => number.as_i128().map(Self::Integer),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Integer(_) => OVERHEAD,
            Self::Text(text) => OVERHEAD + text.len(),
        }
    }
}

impl Stamp {
    /// `None` for what is not finite. There is one zero.
    pub fn new(stamp: f64) -> Option<Self> {
        stamp.is_finite().then_some(Self(stamp + 0.0))
    }
}

impl Eq for Stamp {}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl core::hash::Hash for Stamp {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// A chain: the larger one wins.
fn join_chain<T: Clone + Ord>(own: &mut T, delta: &T) -> bool {
    let is_new = *delta > *own;
    if is_new {
        own.clone_from(delta);
    }
    is_new
}

impl Join for Counter {
    fn join(&mut self, delta: &mut Self, _: &mut usize) -> bool {
        join_chain(self, delta)
    }

    fn bytes(&self) -> usize {
        OVERHEAD
    }
}

impl Join for Register {
    fn join(&mut self, delta: &mut Self, bytes: &mut usize) -> bool {
        let before = self.value.len();
        let is_new = join_chain(self, delta);
        *bytes = bytes.saturating_sub(before) + self.value.len();
        is_new
    }

    fn bytes(&self) -> usize {
        OVERHEAD + self.value.len()
    }
}

impl Join for Set {
    fn join(&mut self, delta: &mut Self, bytes: &mut usize) -> bool {
        delta.0.retain(|member| self.0.insert(member.clone()));
        *bytes += delta.0.iter().map(Member::bytes).sum::<usize>();
        !delta.0.is_empty()
    }

    fn bytes(&self) -> usize {
        OVERHEAD + self.0.iter().map(Member::bytes).sum::<usize>()
    }
}

impl Join for Value {
    /// Names decide the kind, so that two values of one name have the same; of different kinds, the own one stays.
    fn join(&mut self, delta: &mut Self, bytes: &mut usize) -> bool {
        match (self, delta) {
            (Self::Counter(own), Self::Counter(delta)) => own.join(delta, bytes),
            (Self::Register(own), Self::Register(delta)) => own.join(delta, bytes),
            (Self::Set(own), Self::Set(delta)) => own.join(delta, bytes),
            (Self::Counter(_) | Self::Register(_) | Self::Set(_), _) => false,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Counter(counter) => counter.bytes(),
            Self::Register(register) => register.bytes(),
            Self::Set(set) => set.bytes(),
        }
    }
}

/// As JSON. A stamp is always written as a float, as Swindon does.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(Counter(number)) => write!(f, "{number}"),
            Self::Register(Register { stamp: Stamp(stamp), value }) => write!(f, "[{},{value}]", Json::from(*stamp)),
            Self::Set(Set(members)) => {
                f.write_str("[")?;
                for (index, member) in members.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    match member {
                        Member::Integer(number) => write!(f, "{number}")?,
                        Member::Text(text) => write!(f, "{}", Json::from(&**text))?,
                    }
                }
                f.write_str("]")
            }
        }
    }
}
