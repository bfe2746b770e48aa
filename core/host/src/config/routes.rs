//! The routes of the configuration file, and the handlers that they lead to.

use super::compression::compression;
use super::source::{Section, boolean, list, number, string};
use super::{files, policy, sessions};
use crate::args::check_prefix;
use crate::assets;
use crate::failure::{Failure, did_you_mean};
use brolly_core::config::{Asset, Config, Destination, Handler, Proxy, WebSocket};
use brolly_core::handler::redirect::{Redirect, Www};
use brolly_core::http1::{CheckedLines, StatusCode};
use brolly_core::route::{HostPattern, Route};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use toml::de::DeValue;

/// The handlers by name, and the keys that each has besides those of all routes.
const HANDLERS: [(&str, &[&str]); 15] = [
    ("echo", &["compression", "otherwise"]),
    ("empty-gif", &[]),
    ("event-stream", &["compress"]),
    ("file", files::FILE_KEYS),
    ("files", files::DIRECTORY_KEYS),
    ("httpbin", &[]),
    ("long-poll", &[]),
    ("proxy", &["buffer_requests", "compression", "replace", "upstream", "websocket"]),
    ("publish", &[]),
    ("redirect", &["keep_path", "location", "status"]),
    ("script", &[]),
    ("self-status", &[]),
    ("sessions", sessions::ROUTE_KEYS),
    ("status", &["status"]),
    ("websocket", &["compression", "otherwise", "subprotocols"]),
];

/// One transparent pixel.
const EMPTY_GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x00\xff\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;";

/// Reads [[routes]] into `config`; relative paths begin at `directory`.
pub(super) fn routes(
    file: &Section<'_, '_>,
    config: &mut Config,
    upstreams: &BTreeMap<&str, usize>,
    directory: &Path,
) -> Result<(), Failure> {
    let (mut lines, mut others) = (BTreeMap::new(), Vec::new());
    for section in file.tables("routes")? {
        let general = ["host", "prefix"].iter().copied().chain(policy::keys());
        let (handler, otherwise) = handler(&section, general, config, upstreams, directory)?;
        let host = section.get("host", |value| host(string(value)?))?.unwrap_or(HostPattern::Any);
        let prefix = section.get("prefix", |value| {
            let prefix = string(value)?;
            check_prefix(prefix).map(|()| prefix).map_err(|text| format!("is wrong: {text}"))
        })?;
        let prefix = prefix.unwrap_or("/");
        let policy = policy::policy(&section, upstreams, directory)?.map(|policy| {
            config.policies.push(policy);
            config.policies.len() - 1
        });
        let to = Destination { handler, otherwise, policy };
        let line = section.source.line(section.span_start);
        let key = (host.clone(), prefix.trim_end_matches('/'));
        if let Some(first) = lines.insert(key, line) {
            return Err(section.failure(format!(
                "there is a route for {prefix} on the same host in line {first} already; remove one"
            )));
        }
        let conflict = |_| section.failure(format!("there is a route for {prefix} already; remove one"));
        let route = Route { host, prefix: prefix.into(), to };
        others.extend(other_name(&route, config));
        config.routes.add(route).map_err(conflict)?;
    }
    for route in others {
        // Somebody may have said what is there.
        let _ = config.routes.add(route);
    }
    Ok(())
}

/// Adds the handler that a section names, which may have these keys besides the handler's own; and what it leads to otherwise.
fn handler(
    section: &Section<'_, '_>,
    general: impl Iterator<Item = &'static str>,
    config: &mut Config,
    upstreams: &BTreeMap<&str, usize>,
    directory: &Path,
) -> Result<(usize, Option<usize>), Failure> {
    let names = HANDLERS.map(|(name, _)| name);
    let (handler, own) = section.need("handler", "\"files\"", |value| {
        let written = string(value)?;
        let found = HANDLERS.into_iter().find(|(name, _)| *name == written);
        found.ok_or_else(|| format!("is not \"{written}\"{}", did_you_mean(written, &names)))
    })?;
    let known: Vec<_> = ["handler"].iter().chain(own).copied().chain(general).collect();
    section.only(&known, &format!("`{handler}` routes"))?;
    let otherwise = match section.table("otherwise", "otherwise = { handler = \"files\", root = \"./public\" }")? {
        Some(other) => {
            let (number, _) = self::handler(&other, std::iter::empty(), config, upstreams, directory)?;
            if let Some(Handler::Echo(_) | Handler::Sessions(_) | Handler::WebSocket(_)) = config.handlers.get(number) {
                return Err(other
                    .wrong("handler", "is for WebSockets, `otherwise` for all other requests; write \"files\", say"));
            }
            Some(number)
        }
        None => None,
    };
    let number = config.handlers.len();
    config.handlers.push(match handler {
        "echo" => Handler::Echo(compression(section)?),
        "empty-gif" => Handler::Memory(vec![Asset::new("", "image/gif", EMPTY_GIF.into())].into()),
        "event-stream" => Handler::EventStream { compress: section.get("compress", boolean)?.unwrap_or(false) },
        "file" => Handler::Files(Arc::new(files::file(section, directory)?)),
        "files" => Handler::Files(Arc::new(files::files(section, directory)?)),
        "httpbin" => Handler::HttpBin,
        "long-poll" => Handler::LongPoll,
        "proxy" => proxy(section, upstreams)?,
        "publish" => Handler::Publish,
        "redirect" => redirect(section)?,
        "script" => Handler::Memory(assets::script()),
        "self-status" => Handler::SelfStatus,
        "sessions" => sessions::handler(section, &config.pools, upstreams)?,
        "status" => {
            let range = "must be a status from 200 to 599";
            Handler::Status(section.need("status", "404", |value| status(value, 200..=599, range))?)
        }
        _ => websocket(section)?,
    });
    Ok((number, otherwise))
}

/// The same route under the other name of its site, with or without `www.`, if one of them is sent to the other.
fn other_name(route: &Route<Destination>, config: &Config) -> Option<Route<Destination>> {
    let shaping = config.policies.get(route.to.policy?)?.shaping.as_ref()?;
    let (HostPattern::Exact(name), Some(_)) = (&route.host, shaping.canonical.www) else { return None };
    let other = Www::Remove.apply(name).or_else(|| Www::Add.apply(name))?;
    Some(Route { host: HostPattern::Exact(other.into()), ..route.clone() })
}

fn proxy(section: &Section<'_, '_>, upstreams: &BTreeMap<&str, usize>) -> Result<Handler, Failure> {
    let upstream = section.need("upstream", "\"NAME\"", |value| upstream(value, upstreams))?;
    let replace = section.get("replace", |value| {
        let replace = string(value)?;
        check_prefix(replace).map(|()| replace).map_err(|text| format!("is wrong: {text}"))
    })?;
    let buffer_requests = section.get("buffer_requests", boolean)?.unwrap_or(false);
    let reads_websockets = section.get("websocket", |value| match string(value)? {
        "messages" => Ok(true),
        "tunnel" => Ok(false),
        other => Err(format!("must be \"tunnel\" or \"messages\", not \"{other}\"")),
    })?;
    let (reads_websockets, compression) = (reads_websockets.unwrap_or(false), compression(section)?);
    if compression.is_some() && !reads_websockets {
        return Err(section.wrong("compression", "is for WebSockets that are read; write websocket = \"messages\""));
    }
    let replace_prefix = replace.map(Into::into);
    Ok(Handler::Proxy(Proxy { upstream, replace_prefix, buffer_requests, reads_websockets, compression }))
}

fn websocket(section: &Section<'_, '_>) -> Result<Handler, Failure> {
    let subprotocols = section.get("subprotocols", |value| {
        let names = list(value, "[\"v1.chat\"]")?;
        match names.iter().find(|name| CheckedLines::default().push(name, b"").is_err()) {
            Some(wrong) => Err(format!("must be names such as \"v1.chat\", without spaces, not \"{wrong}\"")),
            None => Ok(names.into_iter().map(Into::into).collect()),
        }
    })?;
    let mut websocket = WebSocket { compression: compression(section)?, ..WebSocket::default() };
    if let Some(subprotocols) = subprotocols {
        websocket.subprotocols = subprotocols;
    }
    Ok(Handler::WebSocket(websocket))
}

/// The number of an upstream by its name.
pub(super) fn upstream(value: &DeValue<'_>, upstreams: &BTreeMap<&str, usize>) -> Result<usize, String> {
    let name = string(value)?;
    upstreams.get(name).copied().ok_or_else(|| match upstreams.is_empty() {
        true => {
            format!("names \"{name}\", but there is no [upstreams.{name}]; add it with url = \"http://localhost:8111\"")
        }
        false => {
            let known: Vec<_> = upstreams.keys().copied().collect();
            format!("names \"{name}\", but there is no [upstreams.{name}]{}", did_you_mean(name, &known))
        }
    })
}

fn redirect(section: &Section<'_, '_>) -> Result<Handler, Failure> {
    let location = section.need("location", "\"https://example.org/\"", |value| match string(value)? {
        location if location.is_empty() || location.contains(|c: char| c.is_control() || c == ' ' || !c.is_ascii()) => {
            Err("must be a path or URL in ASCII, without spaces".to_owned())
        }
        location if !location.starts_with('/') && !location.contains("://") => {
            Err(format!("must begin with a slash or a scheme; write \"https://{location}\" or \"/{location}\""))
        }
        location => Ok(location),
    })?;
    let range = "must be 301, 302, 303, 307 or 308";
    let status = section.get("status", |value| {
        let status = status(value, 301..=308, range)?;
        if matches!(status.as_u16(), 301..=303 | 307 | 308) { Ok(status) } else { Err(range.to_owned()) }
    })?;
    let keep_path = section.get("keep_path", boolean)?.unwrap_or_default();
    if keep_path && location.contains(['?', '#']) {
        return Err(section.wrong("location", "must not have a `?` or `#`: the path is appended"));
    }
    let status = status.unwrap_or(StatusCode::TEMPORARY_REDIRECT);
    Ok(Handler::Redirect(Redirect { status, location: location.into(), keep_path }))
}

fn status(value: &DeValue<'_>, range: RangeInclusive<u64>, message: &str) -> Result<StatusCode, String> {
    let code = number(value)?;
    let code = u16::try_from(code).ok().filter(|_| range.contains(&code)).and_then(StatusCode::new);
    code.ok_or_else(|| message.to_owned())
}

fn host(text: &str) -> Result<HostPattern, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!(
            "must be a name such as \"example.org\" or \"*.example.org\", without port, not \"{text}\""
        ));
    }
    let lower = name.to_ascii_lowercase().into();
    Ok(if text.starts_with("*.") { HostPattern::Suffix(lower) } else { HostPattern::Exact(lower) })
}
