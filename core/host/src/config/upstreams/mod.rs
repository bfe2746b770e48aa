//! The backends of the configuration file: [upstreams.NAME].

#[cfg(test)]
mod tests;

use super::report::shown;
use super::source::{Section, boolean, kind, number, string};
use super::tls::{self, Clients};
use super::units::{format_duration, parse_duration};
use crate::failure::{Failure, did_you_mean};
use crate::url::Url;
use brolly_core::config::{Config, HealthCheck, HostField, Server, Upstream};
use brolly_core::handler::edits::Edits;
use brolly_core::http1::StatusCode;
use brolly_core::upstream::{Balance, Key};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use toml::de::DeValue;

const KEYS: [&str; 21] = [
    "url",
    "servers",
    "fallbacks",
    "balance",
    "connections",
    "queue",
    "queue_timeout",
    "idle_connections",
    "idle_connection_timeout",
    "connect_timeout",
    "first_byte_timeout",
    "idle_timeout",
    "total_timeout",
    "retries",
    "eject",
    "health",
    "slow_start",
    "host",
    "proxy_protocol",
    "request_id",
    "tls",
];

const BALANCES: [&str; 6] =
    ["least-outstanding", "round-robin", "hash:client", "hash:path", "hash:cookie:NAME", "hash:field:NAME"];

/// Reads [upstreams.NAME] into `config`; says which index a name has.
pub(super) fn upstreams<'t>(
    file: &Section<'t, '_>,
    config: &mut Config,
    tls: &mut Clients<'_>,
) -> Result<BTreeMap<&'t str, usize>, Failure> {
    let mut names = BTreeMap::new();
    let Some(section) = file.table("upstreams", "[upstreams.NAME]")? else { return Ok(names) };
    for name in section.table.keys() {
        let name = name.get_ref().as_ref();
        let Some(section) = section.table(name, &format!("[upstreams.{name}]"))? else { continue };
        names.insert(name, config.upstreams.len());
        config.upstreams.push(upstream(&section, config, name, tls)?);
    }
    // What a PROXY header says besides the client.
    config.wants_local_addresses |= config.upstreams.iter().any(|upstream| upstream.proxy_protocol);
    Ok(names)
}

fn upstream(
    section: &Section<'_, '_>,
    config: &Config,
    name: &str,
    tls: &mut Clients<'_>,
) -> Result<Upstream, Failure> {
    section.only(&KEYS, "an upstream")?;
    let client = tls.read(section)?;
    let mut server = |text: &str| server(text, |host| tls::index(&mut tls.all, &client, host));
    let list = servers(section, "servers", &mut server)?;
    let one = section.get("url", |value| server(string(value)?))?;
    let mut upstream = Upstream::new(
        &config.limits,
        match (list, one) {
            (Some(_), Some(_)) => {
                return Err(section.failure("there is `url` and `servers`; put all of them into `servers`"));
            }
            (Some(servers), None) if servers.is_empty() => {
                return Err(section.wrong("servers", "must not be empty; write servers = [\"http://localhost:8111\"]"));
            }
            (Some(servers), None) => servers,
            (None, Some(server)) => vec![server],
            (None, None) => {
                return Err(section.failure("`servers` is missing; write servers = [\"http://localhost:8111\"]"));
            }
        },
    );
    upstream.fallbacks = servers(section, "fallbacks", &mut server)?.unwrap_or_default();
    let is_tls = |server: &Server| matches!(server, Server::Tcp { tls: Some(_), .. });
    if section.table.contains_key("tls") && !upstream.all().any(is_tls) {
        return Err(section.failure("`tls` is for https:// alone; write it in `servers`, or remove `tls`"));
    }
    upstream.name = name.into();
    set(section, "balance", balance, &mut upstream.rules.balance)?;
    set(section, "connections", |value| count(value, 1), &mut upstream.rules.connections)?;
    set(section, "queue", |value| count(value, 0), &mut upstream.rules.queue)?;
    set(section, "queue_timeout", duration, &mut upstream.queue_timeout)?;
    set(section, "idle_connections", |value| count(value, 0), &mut upstream.rules.idle)?;
    set(section, "idle_connection_timeout", duration, &mut upstream.idle_connection_timeout)?;
    set(section, "connect_timeout", duration, &mut upstream.connect_timeout)?;
    set(section, "first_byte_timeout", duration, &mut upstream.first_byte_timeout)?;
    set(section, "idle_timeout", duration, &mut upstream.idle_timeout)?;
    upstream.total_timeout = section.get("total_timeout", duration)?;
    set(section, "retries", retries, &mut upstream.retries)?;
    set(section, "slow_start", duration, &mut upstream.rules.slow_start)?;
    set(section, "host", host, &mut upstream.host)?;
    upstream.request_id = section.get("request_id", |value| match string(value)? {
        // What may not be edited may not be said either.
        name if Edits::default().set(name, "").is_ok() => Ok(name.into()),
        name => Err(format!("must be the name of a field such as \"X-Request-Id\", not \"{name}\"")),
    })?;
    set(section, "proxy_protocol", boolean, &mut upstream.proxy_protocol)?;
    eject(section, &mut upstream)?;
    health(section, &mut upstream)?;
    Ok(upstream)
}

/// Sets `field`, if the key is there.
fn set<'t, T>(
    section: &Section<'t, '_>,
    key: &str,
    read: impl FnOnce(&'t DeValue<'_>) -> Result<T, String>,
    field: &mut T,
) -> Result<(), Failure> {
    if let Some(value) = section.get(key, read)? {
        *field = value;
    }
    Ok(())
}

fn servers(
    section: &Section<'_, '_>,
    key: &str,
    server: &mut dyn FnMut(&str) -> Result<Server, String>,
) -> Result<Option<Vec<Server>>, Failure> {
    let example = "must be a list such as [\"http://10.0.0.1:8111\", \"unix:/run/app.sock\"]";
    let Some(list) = section.get(key, |value| value.as_array().ok_or_else(|| example.to_owned()))? else {
        return Ok(None);
    };
    let mut servers = Vec::new();
    for value in list {
        let server = section.read(key, value, |value| server(string(value)?))?;
        if servers.contains(&server) {
            return Err(section.source.failure(value.span(), format!("`{key}` names this server twice; remove one")));
        }
        servers.push(server);
    }
    Ok(Some(servers))
}

/// `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`. `tls` finds the TLS for a host.
fn server(text: &str, tls: impl FnOnce(&str) -> Option<u16>) -> Result<Server, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let example = "write the whole path as in \"unix:/run/app.sock\"";
        return match path.starts_with('/') {
            true => Ok(Server::Unix(path.into())),
            false => Err(format!("is wrong: `{text}` is not the path of a socket; {example}")),
        };
    }
    let url = Url::parse(text).map_err(|text| format!("is wrong: {text}"))?;
    match &url.path {
        Some(path) if &**path != "/" => {
            Err(format!("must end before the path; write replace = \"{path}\" in the route"))
        }
        Some(_) | None => {
            let tls = if url.is_tls { tls(&url.host) } else { None };
            Ok(Server::Tcp { host: url.host, port: url.port, tls })
        }
    }
}

fn balance(value: &DeValue<'_>) -> Result<Balance, String> {
    let text = string(value)?;
    let key = match text.split_once(':') {
        None if text == "least-outstanding" => return Ok(Balance::LeastOutstanding),
        None if text == "round-robin" => return Ok(Balance::RoundRobin),
        Some(("hash", "client")) => Some(Key::Client),
        Some(("hash", "path")) => Some(Key::Path),
        Some(("hash", key)) => match key.split_once(':') {
            Some(("cookie", name)) if is_token(name) => Some(Key::Cookie(name.into())),
            Some(("field", name)) if is_token(name) => Some(Key::Field(name.into())),
            Some(_) | None => None,
        },
        Some(_) | None => None,
    };
    key.map(Balance::Hash).ok_or_else(|| format!("is not \"{text}\"{}", did_you_mean(text, &BALANCES)))
}

/// A token, as names of fields and cookies are (RFC 9110 §5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn host(value: &DeValue<'_>) -> Result<HostField, String> {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    // More likely a slip of the pen than a machine of that name.
    let is_slip =
        |name: &str| !name.contains(['.', ':']) && ["keep", "upstream"].iter().any(|word| name.starts_with(word));
    match string(value)? {
        "keep" => Ok(HostField::Keep),
        "upstream" => Ok(HostField::Upstream),
        name if !name.is_empty() && name.bytes().all(is_host) && !is_slip(name) => Ok(HostField::Name(name.into())),
        name => Err(format!("must be \"keep\", \"upstream\" or a name such as \"app.example.org\", not \"{name}\"")),
    }
}

fn eject(section: &Section<'_, '_>, upstream: &mut Upstream) -> Result<(), Failure> {
    let example = "eject = { failures = 5, for = \"10s\" }, or eject = false";
    if section.table.get("eject").is_some_and(|value| value.get_ref().as_bool() == Some(false)) {
        upstream.rules.eject = None;
        return Ok(());
    }
    let (Some(table), Some(mut eject)) = (section.table("eject", example)?, upstream.rules.eject) else {
        return Ok(());
    };
    table.only(&["failures", "for"], "`eject`")?;
    set(&table, "failures", positive, &mut eject.failures)?;
    set(&table, "for", duration, &mut eject.period)?;
    upstream.rules.eject = Some(eject);
    Ok(())
}

fn health(section: &Section<'_, '_>, upstream: &mut Upstream) -> Result<(), Failure> {
    let Some(table) = section.table("health", "health = { path = \"/health\" }")? else { return Ok(()) };
    table.only(&["path", "interval", "timeout", "status", "healthy", "unhealthy"], "`health`")?;
    let path = table.need("path", "\"/health\"", |value| match string(value)? {
        path if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') => Ok(path),
        path => Err(format!("must be a path such as \"/health\", not \"{path}\"")),
    })?;
    let mut check = HealthCheck {
        path: path.into(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        status: Vec::new(),
    };
    set(&table, "interval", duration, &mut check.interval)?;
    set(&table, "timeout", duration, &mut check.timeout)?;
    set(&table, "healthy", positive, &mut upstream.rules.probing.healthy)?;
    set(&table, "unhealthy", positive, &mut upstream.rules.probing.unhealthy)?;
    let example = "must be a list such as [200, 204]";
    if let Some(list) = table.get("status", |value| value.as_array().ok_or_else(|| example.to_owned()))? {
        let status = |value| {
            table.read("status", value, |value| {
                let code = u16::try_from(number(value)?).ok().filter(|code| (200..600).contains(code));
                code.and_then(StatusCode::new).ok_or_else(|| "must be from 200 to 599".to_owned())
            })
        };
        check.status = list.iter().map(status).collect::<Result<_, _>>()?;
    }
    upstream.health = Some(check);
    Ok(())
}

fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let duration = match value.as_str() {
        Some(text) => parse_duration(text)?,
        None => parse_duration(&kind(value))?,
    };
    if duration.is_zero() { Err("must be at least \"1ms\"".to_owned()) } else { Ok(duration) }
}

fn count(value: &DeValue<'_>, least: usize) -> Result<usize, String> {
    let count = usize::try_from(number(value)?).unwrap_or(usize::MAX);
    if count < least { Err(format!("must be at least {least}")) } else { Ok(count) }
}

fn positive(value: &DeValue<'_>) -> Result<u32, String> {
    u32::try_from(number(value)?).ok().filter(|number| *number > 0).ok_or_else(|| "must be at least 1".to_owned())
}

fn retries(value: &DeValue<'_>) -> Result<u8, String> {
    u8::try_from(number(value)?).ok().filter(|number| *number <= 16).ok_or_else(|| "must be from 0 to 16".to_owned())
}

/// What `check` says about the upstreams.
pub(super) fn report(upstreams: &[Upstream]) -> String {
    if upstreams.is_empty() {
        return String::new();
    }
    let width = upstreams.iter().map(|upstream| upstream.name.chars().count()).max().unwrap_or(0);
    let mut text = String::from("\nupstreams, as each thread treats them:\n");
    for upstream in upstreams {
        let list = |servers: &[Server]| servers.iter().map(shown).collect::<Vec<_>>().join(", ");
        let fallbacks = match upstream.fallbacks.is_empty() {
            true => String::new(),
            false => format!("; while none is up: {}", list(&upstream.fallbacks)),
        };
        let lines = [format!("{}{fallbacks}", list(&upstream.servers)), capacity(upstream), troubles(upstream)];
        for (line, name) in lines.iter().zip([&*upstream.name, "", ""]) {
            let _ = writeln!(text, "  {name:width$}  {line}");
        }
    }
    text
}

fn capacity(upstream: &Upstream) -> String {
    let balance = match &upstream.rules.balance {
        Balance::LeastOutstanding => "least-outstanding".to_owned(),
        Balance::RoundRobin => "round-robin".to_owned(),
        Balance::Hash(Key::Client) => "hash:client".to_owned(),
        Balance::Hash(Key::Path) => "hash:path".to_owned(),
        Balance::Hash(Key::Cookie(name)) => format!("hash:cookie:{name}"),
        Balance::Hash(Key::Field(name)) => format!("hash:field:{name}"),
    };
    let (connections, idle, queue) = (upstream.rules.connections, upstream.rules.idle, upstream.rules.queue);
    let wait = format_duration(upstream.queue_timeout);
    format!(
        "{balance}; {connections} connections per server, {idle} of them kept; {queue} requests wait {wait} at most, then 503"
    )
}

fn troubles(upstream: &Upstream) -> String {
    let retries = format!("{} more attempts where nothing can have happened", upstream.retries);
    let eject = upstream.rules.eject.map(|eject| {
        format!("; after {} failures in a row a server rests for {}", eject.failures, format_duration(eject.period))
    });
    let health = upstream
        .health
        .as_ref()
        .map(|check| format!("; {} is asked for every {}", check.path, format_duration(check.interval)));
    format!("{retries}{}{}", eject.unwrap_or_default(), health.unwrap_or_default())
}
