//! What routes to files may have in tables of their own: compression, rules for caches, versions.

use super::super::source::{Section, kind, number, string};
use super::super::units::parse_size;
use super::{choice, choices, root};
use crate::failure::Failure;
use brolly_core::config::{CacheRule, Coding, Compress, Fallback, Files, Versions};
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeValue;

const FALLBACKS: [(&str, Fallback); 4] = [
    ("never", Fallback::Never),
    ("no-version", Fallback::NoVersion),
    ("bad-version", Fallback::BadVersion),
    ("no-file", Fallback::NoFile),
];
const COMPRESS: [(&str, Coding); 2] = [("zstd", Coding::Zstd), ("gzip", Coding::Gzip)];
const COMPRESS_FROM: u64 = 1024;
const COMPRESS_TO: u64 = 1024 * 1024;

pub(super) fn compress(route: &Section<'_, '_>) -> Result<Option<Compress>, Failure> {
    let Some(section) = route.table("compress", "compress = { types = [\"text/*\"], from = \"1KiB\" }")? else {
        return Ok(None);
    };
    section.only(&["types", "from", "to", "codings"], "`compress`")?;
    let example = "must be a list of media types such as [\"text/*\", \"application/json\"]";
    let types = section.need("types", "[\"text/*\", \"application/json\"]", |value| {
        let list = value.as_array().filter(|list| !list.is_empty()).ok_or(example)?;
        let media_type = |value: &Spanned<DeValue<'_>>| {
            let name = string(value.get_ref())?;
            let is_type = name.split_once('/').is_some_and(|(kind, _)| !kind.is_empty() && !kind.contains('*'));
            if is_type { Ok(name.into()) } else { Err(format!("{example}, not \"{name}\"")) }
        };
        list.iter().map(media_type).collect()
    })?;
    let size = |key, default| {
        let size = section.get(key, |value| parse_size(value.as_str().unwrap_or(&kind(value))))?;
        Ok(size.unwrap_or(default))
    };
    let (from, to) = (size("from", COMPRESS_FROM)?, size("to", COMPRESS_TO)?);
    if from > to {
        return Err(
            section.failure("`compress` has a `from` that is larger than its `to`: nothing would be compressed")
        );
    }
    let codings = choices(&section, "codings", &COMPRESS)?;
    let codings = codings.unwrap_or_else(|| COMPRESS.map(|(_, coding)| coding).into());
    Ok(Some(Compress { types, from, to, codings }))
}

pub(super) fn cache(route: &Section<'_, '_>) -> Result<Vec<CacheRule>, Failure> {
    let mut rules = Vec::new();
    for section in route.tables_like("cache", "cache = [{ match = \"*.html\", control = \"no-cache\" }]")? {
        section.only(&["match", "control"], "a `cache` rule")?;
        let pattern = section.need("match", "\"*.html\"", |value| match string(value)? {
            pattern if pattern.ends_with('/') => {
                Err(format!("must name files; write \"{pattern}index.html\" or \"{pattern}*\""))
            }
            pattern if pattern.starts_with(['/', '*']) => Ok(pattern.into()),
            pattern => Err(format!("must begin with a slash or a star; write \"/{pattern}\" or \"*{pattern}\"")),
        })?;
        let control: Arc<str> = section.need("control", "\"public, max-age=3600\"", |value| match string(value)? {
            control if !control.trim().is_empty() && control.chars().all(|c| c == ' ' || c.is_ascii_graphic()) => {
                Ok(control.into())
            }
            control => Err(format!("must be a value of Cache-Control such as \"no-store\", not \"{control}\"")),
        })?;
        rules.push(CacheRule { pattern, control });
    }
    Ok(rules)
}

/// The versions of the files of a route: they are served like the others, and never change.
pub(super) fn versions(route: &Section<'_, '_>, directory: &Path, files: &Files) -> Result<Option<Versions>, Failure> {
    let example = "versions = { root = \"./hashed\", parameter = \"v\", split = [2, 6] }";
    let Some(section) = route.table("versions", example)? else { return Ok(None) };
    section.only(&["root", "parameter", "split", "fallback"], "`versions`")?;
    let root = section.need("root", "\"./hashed\"", |value| root(value, directory))?;
    let parameter = section.need("parameter", "\"v\"", |value| Ok(string(value)?.into()))?;
    let split = section.need("split", "[2, 6]", |value| {
        let lengths = value.as_array().filter(|list| !list.is_empty()).into_iter().flatten();
        let lengths = lengths.map(|length| number(length.get_ref()).ok().filter(|length| (1..=64).contains(length)));
        let lengths: Option<Vec<_>> = lengths.map(|length| usize::try_from(length?).ok()).collect();
        let wrong = || "must be a list of lengths from 1 to 64 such as [2, 6]".to_owned();
        lengths.filter(|lengths| !lengths.is_empty()).ok_or_else(wrong)
    })?;
    let fallback = section.get("fallback", |value| choice(value, &FALLBACKS))?.unwrap_or_default();
    let control = "public, max-age=31536000, immutable".into();
    let served = Files {
        root,
        by_host: None,
        fallback: None,
        listing: false,
        cache: vec![CacheRule { pattern: "*".into(), control }],
        versioned: None,
        ..files.clone()
    };
    Ok(Some(Versions { files: Arc::new(served), parameter, split, fallback }))
}
