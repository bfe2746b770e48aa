//! What a backend sends: `{"shared": {KEY: {VARIABLE: value}}, "private": {USER: {KEY: {VARIABLE: value}}}}`.

use super::state::is_name;
use super::{Join, Key, State, User, Value, Variables};
use crate::text::duration;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;
use serde_json::{Map, Value as Json};

/// An update of a namespace.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Delta {
    /// For everyone who sees the keys.
    pub shared: State,
    /// For one user each. That a key is named here is what makes it visible to the user.
    pub private: BTreeMap<User, Private>,
}

/// One user's part of a [`Delta`].
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Private {
    /// The entries.
    pub state: State,
    /// How long entries are kept after the user's session has ended: `expires_in`.
    pub expires_in: BTreeMap<Key, Duration>,
}

impl Delta {
    /// Reads JSON. Both members may be missing or `null`, others are ignored. Of a name that is there twice the last counts.
    ///
    /// # Errors
    /// What is wrong, and where: nothing of it may be applied then.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidDelta> {
        // From text: serde_json would let broken UTF-8 pass in the members that are ignored.
        let text = core::str::from_utf8(json).map_err(|_| InvalidDelta("not UTF-8".into()))?;
        let json = serde_json::from_str(text).map_err(|error| InvalidDelta(format!("{error}").into()))?;
        let mut members = object("an update", json)?;
        let mut delta = Self::default();
        for (key, mut variables) in entries("shared", members.remove("shared"))? {
            expiry(&key, &mut variables)?;
            let variables = values(&key, variables)?;
            delta.shared.0.insert(key.into(), variables);
        }
        for (user, keys) in entries("private", members.remove("private"))? {
            let mut private = Private::default();
            for (key, variables) in entries(&user, Some(Json::Object(keys)))? {
                let mut variables = variables;
                let key = Key::from(key);
                if let Some(duration) = expiry(&key, &mut variables)? {
                    private.expires_in.insert(Key::clone(&key), duration);
                }
                let variables = values(&key, variables)?;
                private.state.0.insert(key, variables);
            }
            delta.private.insert(user.into(), private);
        }
        Ok(delta)
    }

    /// What it takes to keep all of it, in bytes.
    pub fn bytes(&self) -> usize {
        let private = self.private.iter().map(|(user, private)| user.len() + private.state.bytes());
        self.shared.bytes() + private.sum::<usize>()
    }
}

/// Named objects of objects.
fn entries(what: &str, json: Option<Json>) -> Result<impl Iterator<Item = (String, Map<String, Json>)>, InvalidDelta> {
    let members = match json {
        None | Some(Json::Null) => Map::new(),
        Some(json) => object(what, json)?,
    };
    let members = members.into_iter().map(|(name, json)| match is_name(&name) {
        true => object(&name, json).map(|object| (name, object)),
        false => Err(InvalidDelta(format!("{name:?} is no name: one or more of A-Z a-z 0-9 _ . : -").into())),
    });
    members.collect::<Result<alloc::vec::Vec<_>, _>>().map(IntoIterator::into_iter)
}

fn object(what: &str, json: Json) -> Result<Map<String, Json>, InvalidDelta> {
    match json {
        Json::Object(object) => Ok(object),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            Err(InvalidDelta(format!("{what} is an object").into()))
        }
    }
}

fn values(key: &str, variables: Map<String, Json>) -> Result<Variables, InvalidDelta> {
    let value = |(name, json): (String, Json)| {
        match Value::parse(&name, json) {
        Some(value) => Ok((name.into(), value)),
        None => Err(InvalidDelta(
            format!("{key}.{name}: neither NAME_counter with an integer, nor NAME_set with an array of strings and integers, nor NAME_register with [stamp, value]").into(),
        )),
    }
    };
    variables.into_iter().map(value).collect()
}

fn expiry(key: &str, variables: &mut Map<String, Json>) -> Result<Option<Duration>, InvalidDelta> {
    let Some(json) = variables.remove("expires_in") else { return Ok(None) };
    match json.as_str().and_then(duration::parse) {
        Some(duration) => Ok(Some(duration)),
        None => Err(InvalidDelta(format!("{key}.expires_in is a duration such as \"10s\" or \"1 hour\"").into())),
    }
}

/// Why bytes are no [`Delta`]: one line.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct InvalidDelta(Box<str>);

impl InvalidDelta {
    /// 400 (RFC 9110 §15.5.1).
    pub const fn status(&self) -> u16 {
        400
    }
}

impl fmt::Display for InvalidDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for InvalidDelta {}
