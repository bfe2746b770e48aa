//! The values of arguments, and what to write instead of those that are none.

use super::MAX_THREADS;
use crate::url::Url;
use brolly_core::pubsub::Topic;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

/// A part of a site, and what is behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// In lower case; `None`: every host.
    pub host: Option<Box<str>>,
    /// Begins with `/`.
    pub prefix: Box<str>,
    /// Who answers.
    pub behind: Behind,
}

/// Who answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Behind {
    /// A backend; its path, if there is one, replaces the prefix.
    Backend(Url),
    /// A directory: `./`, `../` or `/` and its name.
    Directory(PathBuf),
}

pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let port = |port: &str| port.parse::<u16>().ok();
    let with_port = |ip: IpAddr, number| port(number).map(|port| SocketAddr::new(ip, port));
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let address = match text.rsplit_once(':') {
        None => with_port(localhost, text),
        Some(("" | "localhost", number)) => with_port(localhost, number),
        Some(_) => text.parse().ok(),
    };
    address.ok_or_else(|| {
        let instead = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => format!("`{ip}:8080`"),
            Ok(IpAddr::V6(ip)) => format!("`[{ip}]:8080`"),
            Err(_) => "an IP address and a port such as `127.0.0.1:8080` or `[::1]:8080`".into(),
        };
        format!("`{text}` is not an address to listen on; write {instead}")
    })
}

pub(super) fn parse_threads(text: &str) -> Result<NonZeroU16, String> {
    match text.parse::<NonZeroU16>() {
        Ok(threads) if threads.get() <= MAX_THREADS => Ok(threads),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a number of threads; write a number from 1 to {MAX_THREADS}")),
    }
}

pub(super) fn parse_mount(text: &str) -> Result<Mount, String> {
    let Some((place, behind)) = text.split_once('=') else {
        let instead = match text.strip_prefix('/') {
            Some(_) => format!("{text}=http://localhost:8111"),
            None => "/api/=http://localhost:8111".into(),
        };
        return Err(format!(
            "`{text}` is not a path and what is behind it; write PREFIX=URL without spaces, as in `{instead}`"
        ));
    };
    // Without a dot it is rather a path that lacks its slash.
    let (host, prefix) = match place.split_at(place.find('/').unwrap_or(place.len())) {
        (host, prefix) if host.contains('.') => (Some(parse_host(host)?), if prefix.is_empty() { "/" } else { prefix }),
        _ => (None, place),
    };
    check_prefix(prefix)?;
    let behind = match behind {
        path if matches!(path.split('/').next(), Some("" | "." | "..")) => Behind::Directory(path.into()),
        url => Behind::Backend(Url::parse(url)?),
    };
    Ok(Mount { host, prefix: prefix.into(), behind })
}

fn parse_host(text: &str) -> Result<Box<str>, String> {
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match text.split('.').all(is_label) {
        true => Ok(text.to_ascii_lowercase().into()),
        false => Err(format!("`{text}` is not a host; write a name such as `app.localhost`")),
    }
}

/// A path that a route can begin with: absolute, decoded, without empty or dotted segments.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), String> {
    let Some(segments) = prefix.strip_prefix('/') else {
        return Err(format!("the prefix `{prefix}` must begin with a slash; write `/{prefix}`"));
    };
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    let wrong = |segment: &str| matches!(segment, "" | "." | "..");
    if !segments.is_empty() && segments.split('/').any(wrong) {
        return Err(format!("the prefix `{prefix}` must not have empty or dotted segments; write it as in `/api/`"));
    }
    match prefix.chars().find(|c| matches!(c, '?' | '#' | '%' | '\\' | '*') || c.is_control()) {
        Some(c) => {
            Err(format!("the prefix `{prefix}` must not contain `{}`; write it as in `/api/`", c.escape_debug()))
        }
        None => Ok(()),
    }
}

pub(super) fn parse_topic(text: &str) -> Result<String, String> {
    match Topic::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("`{}` is not a topic: {error}", text.escape_debug())),
    }
}
