//! Reading TOML so that every complaint has a file, a line, and something to write instead.

use crate::failure::{Failure, did_you_mean};
use std::fmt::Display;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file and its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'s> {
    pub(super) name: &'s str,
    pub(super) text: &'s str,
}

impl<'s> Source<'s> {
    pub(super) fn parse(self) -> Result<Spanned<DeTable<'s>>, Failure> {
        DeTable::parse(self.text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            self.failure(error.span().unwrap_or_default(), message)
        })
    }

    pub(super) fn failure(self, span: Range<usize>, message: impl Display) -> Failure {
        Failure::new(format!("{}:{}: {message}", self.name, self.line(span.start)))
    }

    pub(super) fn line(self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// A table of the file, and what it is called in complaints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'t, 's> {
    pub(super) source: Source<'s>,
    pub(super) table: &'t DeTable<'s>,
    pub(super) span_start: usize,
}

impl<'t, 's> Section<'t, 's> {
    pub(super) fn new(source: Source<'s>, table: &'t Spanned<DeTable<'s>>) -> Self {
        Self { source, table: table.get_ref(), span_start: table.span().start }
    }

    /// Complains about the first key that is not in `known`; `whose` says whose keys these are.
    pub(super) fn only(&self, known: &[&str], whose: &str) -> Result<(), Failure> {
        let mut keys: Vec<_> = self.table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        match keys.iter().find(|key| !known.contains(&key.get_ref().as_ref())) {
            Some(key) => {
                let hint = did_you_mean(key.get_ref(), known);
                Err(self.source.failure(key.span(), format!("`{}` is not a key of {whose}{hint}", key.get_ref())))
            }
            None => Ok(()),
        }
    }

    /// Reads a value with `read`, whose error is the rest of a sentence that begins with the key.
    pub(super) fn get<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'t DeValue<'s>) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        self.table.get(key).map(|value| self.read(key, value, read)).transpose()
    }

    /// Like [`get`](Self::get), for a key that must be there; `example` says what it could be.
    pub(super) fn need<T>(
        &self,
        key: &str,
        example: &str,
        read: impl FnOnce(&'t DeValue<'s>) -> Result<T, String>,
    ) -> Result<T, Failure> {
        self.get(key, read)?.ok_or_else(|| self.failure(format!("`{key}` is missing; write {key} = {example}")))
    }

    /// A complaint about the section.
    pub(super) fn failure(&self, message: impl Display) -> Failure {
        self.source.failure(self.span_start..self.span_start, message)
    }

    /// A complaint about the value of `key`: the rest of a sentence that begins with it.
    pub(super) fn wrong(&self, key: &str, rest: impl Display) -> Failure {
        let start = self.table.get(key).map_or(self.span_start, |value| value.span().start);
        self.source.failure(start..start, format!("`{key}` {rest}"))
    }

    pub(super) fn read<T>(
        &self,
        key: &str,
        value: &'t Spanned<DeValue<'s>>,
        read: impl FnOnce(&'t DeValue<'s>) -> Result<T, String>,
    ) -> Result<T, Failure> {
        read(value.get_ref()).map_err(|rest| self.source.failure(value.span(), format!("`{key}` {rest}")))
    }

    /// The tables in the array of tables called `key`.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<Self>, Failure> {
        self.tables_like(key, &format!("[[{key}]]"))
    }

    /// The tables in the list called `key`; complaints say that it must be written as `example`.
    pub(super) fn tables_like(&self, key: &str, example: &str) -> Result<Vec<Self>, Failure> {
        let wrong = || format!("must be written {example}");
        let Some(array) = self.get(key, |value| value.as_array().ok_or_else(wrong))? else { return Ok(Vec::new()) };
        let table = |value: &'t Spanned<DeValue<'s>>| {
            let table = self.read(key, value, |value| value.as_table().ok_or_else(wrong))?;
            Ok(Self { source: self.source, table, span_start: value.span().start })
        };
        array.iter().map(table).collect()
    }

    /// The table called `key`; complaints say that it must be written as `header`.
    pub(super) fn table(&self, key: &str, header: &str) -> Result<Option<Self>, Failure> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let table =
            self.read(key, value, |value| value.as_table().ok_or_else(|| format!("must be written {header}")))?;
        Ok(Some(Self { source: self.source, table, span_start: value.span().start }))
    }
}

/// A string.
pub(super) fn string<'t>(value: &'t DeValue<'_>) -> Result<&'t str, String> {
    value.as_str().ok_or_else(|| format!("must be a string in quotes, not {}", kind(value)))
}

/// A list of strings; `example` is one.
pub(super) fn list<'t>(value: &'t DeValue<'_>, example: &str) -> Result<Vec<&'t str>, String> {
    let wrong = || format!("must be a list such as {example}, not {}", kind(value));
    value.as_array().ok_or_else(wrong)?.iter().map(|value| string(value.get_ref())).collect()
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("must be true or false, not {}", kind(value)))
}

/// A whole number that is not negative.
pub(super) fn number(value: &DeValue<'_>) -> Result<u64, String> {
    let number = value.as_integer().and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
    number.ok_or_else(|| format!("must be a whole number, not {}", kind(value)))
}

/// A value as it appears in complaints.
pub(super) fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.as_str().into(),
        DeValue::Float(number) => number.as_str().into(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
