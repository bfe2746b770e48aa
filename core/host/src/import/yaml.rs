//! Swindon's dialect of YAML. Keys may have dashes or underscores; names that begin with an underscore are for anchors.

use saphyr::{ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;
use std::fs;
use std::path::{Component, Path};
use std::time::Duration;

/// The largest file (bytes), and the most nodes with all aliases followed: nobody writes such a configuration.
const FILE_BYTES: u64 = 1 << 20;
const NODES: usize = 100_000;
/// The deepest nesting, and the longest chain of includes.
const DEPTH: usize = 32;
/// The sections that may come from mixins.
const MIXED: [&str; 8] = [
    "handlers",
    "authorizers",
    "session-pools",
    "http-destinations",
    "ldap-destinations",
    "networks",
    "log-formats",
    "disk-pools",
];

/// A value, its tag if it has one, with merges and includes done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) tag: Option<String>,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    /// As it was written.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file; keys with dashes.
    Mapping(Vec<(String, Node)>),
}

/// Reads a file, and what it includes and mixes in.
pub(super) fn load(path: &Path) -> Result<Node, String> {
    let mut left = NODES;
    let mut root = read(path, &mut left, 0)?;
    if root.value == Value::Null {
        root.value = Value::Mapping(Vec::new());
    }
    let mixins = match root.get("mixins") {
        Some(mixins) => mixins.mapping("mixins")?.to_vec(),
        None => Vec::new(),
    };
    for (prefix, file) in mixins {
        let file = file.text("mixins")?;
        let mixin = read(&beside(path, file)?, &mut left, 0)?;
        for (section, entries) in mixin.mapping(file)? {
            if !MIXED.contains(&section.as_str()) {
                return Err(format!("{file} has a section {section}, which cannot be mixed in"));
            }
            for (name, entry) in entries.mapping(section)? {
                if !name.starts_with(&prefix) {
                    return Err(format!("{file} has the name {name} without the prefix {prefix}"));
                }
                root.insert(section, name, entry.clone())?;
            }
        }
    }
    Ok(root)
}

fn read(path: &Path, left: &mut usize, depth: usize) -> Result<Node, String> {
    let failed = |error: std::io::Error| format!("{}: {}", path.display(), crate::io::reason(&error));
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES {
        return Err(format!("{} is larger than a configuration can be", path.display()));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    // To Swindon all scalars are texts: 1.10 is not 1.1.
    let mut loader = YamlLoader::<Yaml<'_>>::default();
    loader.early_parse(false);
    Parser::new_from_str(&text).load(&mut loader, true).map_err(|error| error.to_string())?;
    if let Some(error) = loader.error() {
        return Err(error.to_string());
    }
    match loader.into_documents().first() {
        Some(document) => convert(document, path, left, depth),
        None => Ok(Node { tag: None, value: Value::Null }),
    }
}

/// A file that is named relative to another, and not above it.
fn beside(path: &Path, name: &str) -> Result<std::path::PathBuf, String> {
    let is_below = Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if is_below { Ok(path.with_file_name("").join(name)) } else { Err("an include cannot leave the directory".into()) }
}

fn convert(yaml: &Yaml<'_>, path: &Path, left: &mut usize, depth: usize) -> Result<Node, String> {
    *left = left.checked_sub(1).ok_or("there are too many nodes")?;
    if depth > DEPTH {
        return Err("it is nested too deeply".into());
    }
    let value = match yaml {
        Yaml::Representation(file, _, Some(tag)) if tag.suffix == "*Include" => {
            return read(&beside(path, file)?, left, depth + 1);
        }
        Yaml::Representation(text, style, tag) => {
            let is_null = *style == ScalarStyle::Plain && matches!(&**text, "" | "~" | "null" | "Null" | "NULL");
            let tag = tag.as_ref().filter(|tag| !tag.is_yaml_core_schema()).map(|tag| tag.suffix.clone());
            let value = if is_null { Value::Null } else { Value::Scalar(text.to_string()) };
            return Ok(Node { tag, value });
        }
        Yaml::Tagged(tag, inner) => {
            let node = convert(inner, path, left, depth + 1)?;
            return Ok(Node { tag: Some(tag.suffix.clone()), value: node.value });
        }
        Yaml::Sequence(items) => {
            let mut list = Vec::new();
            for item in items {
                match convert(item, path, left, depth + 1)? {
                    Node { tag: Some(tag), value: Value::List(more) } if tag == "*Unpack" => list.extend(more),
                    node => list.push(node),
                }
            }
            Value::List(list)
        }
        Yaml::Mapping(entries) => {
            let mut mapping = Vec::new();
            let mut merged = Vec::new();
            for (key, value) in entries {
                let key = convert(key, path, left, depth + 1)?;
                let (key, node) = (key.text("a key")?.to_owned(), convert(value, path, left, depth + 1)?);
                match (key.as_str(), node.value) {
                    ("<<", Value::Mapping(more)) => merged.extend(more),
                    ("<<", Value::List(all)) => {
                        for one in all {
                            merged.extend(one.mapping("<<")?.to_vec());
                        }
                    }
                    (_, _) if key.starts_with('_') => {}
                    (_, value) => mapping.push((key, Node { tag: node.tag, value })),
                }
            }
            // What stands here itself counts before what is merged.
            for (key, node) in merged {
                if !mapping.iter().any(|(own, _)| *own == key) {
                    mapping.push((key, node));
                }
            }
            Value::Mapping(mapping)
        }
        Yaml::Alias(_) | Yaml::BadValue | Yaml::Value(_) => return Err("there is a value that cannot be read".into()),
    };
    Ok(Node { tag: None, value })
}

impl Node {
    /// The entry of a mapping, however its dashes are written.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Mapping(entries) = &self.value else { return None };
        let found = entries.iter().find(|(own, _)| own.replace('_', "-") == key);
        found.map(|(_, node)| node).filter(|node| node.value != Value::Null || node.tag.is_some())
    }

    /// Whether there is such an entry, and it is `null`.
    pub(super) fn is_null(&self, key: &str) -> bool {
        let Value::Mapping(entries) = &self.value else { return false };
        entries.iter().any(|(own, node)| own.replace('_', "-") == key && node.value == Value::Null)
    }

    /// The entries of a mapping; none of `null`.
    pub(super) fn mapping(&self, what: &str) -> Result<&[(String, Self)], String> {
        match &self.value {
            Value::Mapping(entries) => Ok(entries),
            Value::Null => Ok(&[]),
            Value::Scalar(_) | Value::List(_) => Err(format!("{what} must be a mapping")),
        }
    }

    /// The entries of the mapping called `key`; none without it.
    pub(super) fn section(&self, key: &str) -> Result<&[(String, Self)], String> {
        self.get(key).map_or(Ok(&[]), |node| node.mapping(key))
    }

    /// The items of the list called `key`, as texts.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&str>, String> {
        match self.get(key).map(|node| &node.value) {
            None => Ok(Vec::new()),
            Some(Value::List(items)) => items.iter().map(|item| item.text(key)).collect(),
            Some(Value::Null | Value::Scalar(_) | Value::Mapping(_)) => Err(format!("{key} must be a list")),
        }
    }

    pub(super) fn text(&self, what: &str) -> Result<&str, String> {
        match &self.value {
            Value::Scalar(text) => Ok(text),
            Value::Null | Value::List(_) | Value::Mapping(_) => Err(format!("{what} must be a text")),
        }
    }

    pub(super) fn optional(&self, key: &str) -> Result<Option<&str>, String> {
        self.get(key).map(|node| node.text(key)).transpose()
    }

    pub(super) fn needed(&self, key: &str) -> Result<&str, String> {
        self.optional(key)?.ok_or_else(|| format!("{key} is missing"))
    }

    /// `true` or `false`, and nothing else that means it elsewhere.
    pub(super) fn flag(&self, key: &str) -> Result<bool, String> {
        match self.optional(key)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(format!("{key} must be true or false, not {other}")),
        }
    }

    /// `0x10`, `100_000`, `10k`, `10 Mi`.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.optional(key)? else { return Ok(None) };
        number(text).map(Some).ok_or_else(|| format!("{key} must be a number such as 1000, 10k or 10Mi, not {text}"))
    }

    /// `1h 12m`, `90 minutes`.
    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>, String> {
        let Some(text) = self.optional(key)? else { return Ok(None) };
        let duration = brolly_core::text::duration::parse(text);
        duration.map(Some).ok_or_else(|| format!("{key} must be a duration such as 10s or 1h 12m, not {text}"))
    }

    fn insert(&mut self, section: &str, name: &str, entry: Self) -> Result<(), String> {
        let Value::Mapping(sections) = &mut self.value else { return Err("the file must be a mapping".into()) };
        let at = sections.iter().position(|(own, _)| own.replace('_', "-") == section).unwrap_or_else(|| {
            sections.push((section.into(), Self { tag: None, value: Value::Mapping(Vec::new()) }));
            sections.len() - 1
        });
        let Some((_, Self { value: Value::Mapping(entries), .. })) = sections.get_mut(at) else {
            return Err(format!("{section} must be a mapping"));
        };
        if entries.iter().any(|(own, _)| own == name) {
            return Err(format!("{section} has the name {name} twice"));
        }
        entries.push((name.into(), entry));
        Ok(())
    }
}

fn number(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 6] =
        [("ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
    let text = text.replace('_', "");
    let (digits, unit) = match UNITS.iter().find(|(unit, _)| text.ends_with(unit)) {
        Some((unit, size)) => (text.trim_end_matches(unit).trim_end(), *size),
        None => (text.as_str(), 1),
    };
    let number = match digits.get(..2) {
        Some("0x") => u64::from_str_radix(&digits[2..], 16),
        Some("0o") => u64::from_str_radix(&digits[2..], 8),
        Some("0b") => u64::from_str_radix(&digits[2..], 2),
        _ => digits.parse(),
    };
    number.ok()?.checked_mul(unit)
}
