//! `compression` of WebSockets: true, or a table.

use super::source::{Section, boolean, kind, number, string};
use super::units::parse_size;
use crate::failure::Failure;
use brolly_core::config::Compression;
use toml::de::DeValue;

const EXAMPLE: &str = "compression = { level = 6, window_bits = 15, context_takeover = false, threshold = \"256B\" }";

/// Reads the key of a route; `None`: messages are not compressed.
pub(super) fn compression(route: &Section<'_, '_>) -> Result<Option<Compression>, Failure> {
    let all = Compression::default();
    match route.get("compression", |value| match value {
        DeValue::Boolean(_) | DeValue::Table(_) => Ok(value),
        other => Err(format!("must be true, false or a table, not {}", kind(other))),
    })? {
        None | Some(DeValue::Boolean(false)) => return Ok(None),
        Some(DeValue::Boolean(true)) => return Ok(Some(all)),
        Some(_) => {}
    }
    let Some(section) = route.table("compression", EXAMPLE)? else { return Ok(None) };
    section.only(&["context_takeover", "level", "threshold", "window_bits"], "`compression`")?;
    let within = |key, range: std::ops::RangeInclusive<u8>, default| -> Result<u8, Failure> {
        let read = section.get(key, |value| {
            let written = u8::try_from(number(value)?).ok().filter(|number| range.contains(number));
            written.ok_or_else(|| format!("must be from {} to {}", range.start(), range.end()))
        })?;
        Ok(read.unwrap_or(default))
    };
    let threshold = section.get("threshold", |value| parse_size(string(value)?))?;
    Ok(Some(Compression {
        level: within("level", 1..=9, all.level)?,
        window_bits: within("window_bits", 9..=15, all.window_bits)?,
        context_takeover: section.get("context_takeover", boolean)?.unwrap_or(all.context_takeover),
        threshold: threshold.map_or(all.threshold, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
    }))
}
