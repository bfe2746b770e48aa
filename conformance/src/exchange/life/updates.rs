//! Updates of lattices by chance.

use super::{Life, USERS};
use crate::exchange::reference::{Delta, Value, Variables};
use std::collections::BTreeMap;

const KEYS: [&str; 3] = ["k", "l", "m"];

impl Life<'_> {
    pub(super) fn delta(&mut self) -> Delta {
        let mut delta = Delta::default();
        for key in KEYS {
            if self.random.chance(40) {
                delta.shared.insert(key.into(), self.variables());
            }
        }
        for user in USERS {
            if self.random.chance(70) {
                continue;
            }
            let mut keys = BTreeMap::new();
            for key in KEYS {
                if self.random.chance(60) {
                    keys.insert(key.into(), (self.variables(), self.random.chance(20)));
                }
            }
            delta.private.insert(user.into(), keys);
        }
        delta
    }

    fn variables(&mut self) -> Variables {
        let mut variables = Variables::new();
        for name in ["x_counter", "y_counter"] {
            if self.random.chance(30) {
                variables.insert(name.into(), Value::Counter(self.random.below(9)));
            }
        }
        if self.random.chance(30) {
            let members = ["a", "b", "c"].into_iter().filter(|_| self.random.chance(40)).map(Into::into);
            variables.insert("s_set".into(), Value::Set(members.collect()));
        }
        if self.random.chance(30) {
            variables.insert("r_register".into(), Value::Register(self.random.below(9)));
        }
        variables
    }
}
