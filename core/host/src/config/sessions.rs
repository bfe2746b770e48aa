//! Session pools, and the routes whose calls go to backends.

use super::compression::compression;
use super::routes::upstream;
use super::source::{Section, boolean, kind, list, string};
use super::units::{format_duration, parse_duration, parse_size};
use crate::failure::{Failure, did_you_mean};
use brolly_core::config::{Backend, Config, Dialect, Handler, SessionPool, Sessions};
use brolly_core::lattice;
use brolly_core::session::Timeouts;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use toml::de::DeValue;

/// The keys of a route with the handler `sessions`.
pub(super) const ROUTE_KEYS: &[&str] = &["any_protocol", "calls", "compression", "otherwise", "pool"];
const POOL_KEYS: [&str; 9] = [
    "active_at_least",
    "active_at_most",
    "active_when_connected",
    "dialect",
    "inactivity",
    "keys",
    "lattice_bytes",
    "lattice_expiry",
    "lattices",
];
const DIALECTS: [&str; 2] = ["swindon", "tangle"];

/// Reads [session_pools.NAME] into `config`.
pub(super) fn pools<'t>(
    file: &Section<'t, '_>,
    config: &mut Config,
    upstreams: &BTreeMap<&str, usize>,
) -> Result<(), Failure> {
    let Some(section) = file.table("session_pools", "[session_pools.NAME]")? else { return Ok(()) };
    for name in section.table.keys() {
        let name = name.get_ref().as_ref();
        if let Some(section) = section.table(name, &format!("[session_pools.{name}]"))? {
            config.pools.push(pool(&section, name, upstreams)?);
        }
    }
    Ok(())
}

fn pool(section: &Section<'_, '_>, name: &str, upstreams: &BTreeMap<&str, usize>) -> Result<SessionPool, Failure> {
    section.only(&POOL_KEYS, "a session pool")?;
    let duration = |key, default: Duration| -> Result<Duration, Failure> {
        Ok(section.get(key, |value| parse_duration(string(value)?))?.unwrap_or(default))
    };
    let times = Timeouts::default();
    let timeouts = Timeouts {
        connected: duration("active_when_connected", times.connected)?,
        shortest: duration("active_at_least", times.shortest)?,
        longest: duration("active_at_most", times.longest)?,
    };
    if timeouts.shortest > timeouts.longest {
        let rest = format!("must not be longer than active_at_most, {}", format_duration(timeouts.longest));
        return Err(section.wrong("active_at_least", rest));
    }
    let kept = lattice::Limits::default();
    let lattices = lattice::Limits {
        namespace_bytes: match section.get("lattice_bytes", |value| parse_size(string(value)?))? {
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            None => kept.namespace_bytes,
        },
        namespaces: match section.get("lattices", super::source::number)? {
            Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
            None => kept.namespaces,
        },
        absent: duration("lattice_expiry", kept.absent)?,
    };
    let inactivity = section.get("inactivity", |value| {
        list(value, "[\"app\"]")?.into_iter().map(|text| backend(text, upstreams)).collect::<Result<Vec<_>, _>>()
    })?;
    let dialect = section.get("dialect", |value| match string(value)? {
        "swindon" => Ok(Dialect::Swindon),
        "tangle" => Ok(Dialect::Tangle),
        other => Err(format!("is not \"{other}\"{}", did_you_mean(other, &DIALECTS))),
    })?;
    let keys = section.get("keys", |value| {
        let keys = list(value, "[\"a long random text\"]")?;
        match keys.iter().find(|key| key.len() < 16 || !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            Some(_) => {
                Err("must be 16 or more characters each, without spaces, such as `openssl rand -hex 16` makes"
                    .to_owned())
            }
            None => Ok(keys.into_iter().map(Into::into).collect()),
        }
    })?;
    Ok(SessionPool {
        name: name.into(),
        timeouts,
        inactivity: inactivity.unwrap_or_default(),
        lattices,
        dialect: dialect.unwrap_or_default(),
        keys: keys.unwrap_or_default(),
        is_stopped: false,
    })
}

/// The handler of a route.
pub(super) fn handler(
    section: &Section<'_, '_>,
    pools: &[SessionPool],
    upstreams: &BTreeMap<&str, usize>,
) -> Result<Handler, Failure> {
    let pool = section.need("pool", "\"NAME\"", |value| index(value, pools))?;
    let mut calls = section.need("calls", "{ \"*\" = \"app\" }", |value| {
        let table = value
            .as_table()
            .ok_or_else(|| format!("must be a table such as {{ \"*\" = \"app\" }}, not {}", kind(value)))?;
        let call = |(pattern, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| {
            let (pattern, value) = (pattern.get_ref().as_ref(), string(value.get_ref())?);
            let name = pattern.strip_suffix(".*").unwrap_or(pattern);
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            if pattern != "*" && (name.is_empty() || !name.chars().all(is_name)) {
                return Err(format!(
                    "must have methods such as \"chat.send\", \"chat.*\" or \"*\" as keys, not \"{pattern}\""
                ));
            }
            Ok((Box::<str>::from(pattern), backend(value, upstreams)?))
        };
        table.iter().map(call).collect::<Result<Vec<_>, String>>()
    })?;
    let Some(others) = calls.iter().position(|(pattern, _)| &**pattern == "*") else {
        return Err(section.wrong("calls", "must say where all other calls go; add \"*\" = \"app\""));
    };
    let (_, others) = calls.remove(others);
    // Exact names first, then longer patterns.
    calls.sort_by_key(|(pattern, _)| (pattern.ends_with('*'), usize::MAX - pattern.len()));
    let takes_any_protocol = section.get("any_protocol", boolean)?.unwrap_or(false);
    Ok(Handler::Sessions(Arc::new(Sessions {
        pool,
        takes_any_protocol,
        compression: compression(section)?,
        calls,
        others,
    })))
}

/// The number of a pool by its name.
pub(super) fn index(value: &DeValue<'_>, pools: &[SessionPool]) -> Result<usize, String> {
    let name = string(value)?;
    pools.iter().position(|pool| &*pool.name == name).ok_or_else(|| match pools {
        [] => format!("names \"{name}\", but there is no [session_pools.{name}]; add it"),
        pools => {
            let known: Vec<_> = pools.iter().map(|pool| &*pool.name).collect();
            format!("names \"{name}\", but there is no [session_pools.{name}]{}", did_you_mean(name, &known))
        }
    })
}

/// `UPSTREAM` or `UPSTREAM/path`.
fn backend(text: &str, upstreams: &BTreeMap<&str, usize>) -> Result<Backend, String> {
    let (name, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    let value = DeValue::String(name.into());
    let path = if path == "/" { "" } else { path };
    if path.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#')) {
        return Err(format!("must be an upstream and a path, as in \"app/calls\", not \"{text}\""));
    }
    Ok(Backend { upstream: upstream(&value, upstreams)?, path: path.into() })
}
