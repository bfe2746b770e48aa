//! `listen` and `[[listeners]]`: where clients connect. `listen` is short for listeners that need nothing but an address;
//! both may be there.

use super::sessions;
use super::source::{Section, boolean, string};
use super::tls::Servers;
use crate::args::{DEFAULT_LISTEN, parse_listen};
use crate::failure::{Failure, did_you_mean};
use crate::listen::{Listener, Place};
use brolly_core::config::{self, Config};
use std::path::Path;

/// Who may connect to a Unix socket: the user and the group.
const DEFAULT_MODE: u32 = 0o660;

/// Reads all listeners, for the host and for the shards.
pub(super) fn listeners(
    file: &Section<'_, '_>,
    config: &mut Config,
    tls: &Servers,
    directory: &Path,
) -> Result<Vec<Listener>, Failure> {
    let (mut all, mut pools) = (short(file)?, Vec::new());
    for section in file.tables("listeners")? {
        section.only(&["address", "mode", "proxy_protocol", "session_pool", "tls"], "a listener")?;
        let place = place(&section, directory)?;
        if let Some(other) =
            all.iter().find(|other| other.place == place && !matches!(place, Place::Tcp(a) if a.port() == 0))
        {
            return Err(section.failure(format!("there is another listener on {}; remove one", other.place)));
        }
        let server = section.get("tls", |value| server(string(value)?, tls))?;
        let proxy_protocol = section.get("proxy_protocol", boolean)?.unwrap_or(false);
        if proxy_protocol && config.trusted.is_empty() && !config.trusts_unix {
            return Err(section.failure(
                "`proxy_protocol` needs to know whose word counts; write trusted = [\"10.0.0.0/8\"] at the top of the file",
            ));
        }
        let pool = section.get("session_pool", |value| sessions::index(value, &config.pools))?;
        pools.resize(all.len(), None);
        pools.push(pool);
        all.push(Listener { place, tls: server, proxy_protocol });
    }
    if all.is_empty() {
        all.push(Listener::plain(Place::Tcp(parse_listen(DEFAULT_LISTEN).map_err(Failure::new)?)));
    }
    let hsts = |server: usize| tls.hsts.get(server).cloned().flatten();
    pools.resize(all.len(), None);
    let plain = |(listener, pool): (&Listener, &Option<usize>)| config::Listener {
        is_tls: listener.tls.is_some(),
        hsts: listener.tls.and_then(hsts),
        pool: *pool,
    };
    config.listeners = all.iter().zip(&pools).map(plain).collect();
    config.https_port = https_port(&all);
    Ok(all)
}

/// The port of the first listener with TLS, unless one has the usual port. Those that the system chooses are not known yet.
fn https_port(all: &[Listener]) -> Option<u16> {
    let port = |listener: &Listener| match listener.place {
        Place::Tcp(address) if listener.tls.is_some() => Some(address.port()).filter(|port| *port != 0),
        Place::Tcp(_) | Place::Unix { .. } | Place::Systemd(_) => None,
    };
    let mut ports = all.iter().filter_map(port).peekable();
    let first = ports.peek().copied();
    first.filter(|_| ports.all(|port| port != 443))
}

/// `listen`.
fn short(file: &Section<'_, '_>) -> Result<Vec<Listener>, Failure> {
    let list = file.get("listen", |value| match value.as_array() {
        None => Err("must be a list such as [\"127.0.0.1:8080\"]".to_owned()),
        Some(list) if list.is_empty() => Err("must not be empty".to_owned()),
        Some(list) => Ok(list),
    })?;
    let listener = |value| {
        let address = file
            .read("listen", value, |value| parse_listen(string(value)?).map_err(|text| format!("is wrong: {text}")))?;
        Ok(Listener::plain(Place::Tcp(address)))
    };
    list.into_iter().flatten().map(listener).collect()
}

fn place(section: &Section<'_, '_>, directory: &Path) -> Result<Place, Failure> {
    let mode = section.get("mode", |value| {
        let text = string(value)?;
        let is_octal = text.len() == 3 && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|_| is_octal)
            .ok_or_else(|| format!("must be three octal digits such as \"660\", not \"{text}\""))
    })?;
    let place = section.need("address", "\"127.0.0.1:8080\"", |value| {
        let text = string(value)?;
        match text.split_once(':') {
            Some(("unix", "")) => Err("must name a path, as in \"unix:/run/brolly.sock\"".to_owned()),
            Some(("unix", path)) => Ok(Place::Unix { path: directory.join(path), mode: mode.unwrap_or(DEFAULT_MODE) }),
            Some(("systemd", name)) if !name.is_empty() => Ok(Place::Systemd(Some(name.into()))),
            None if text == "systemd" => Ok(Place::Systemd(None)),
            _ => parse_listen(text).map(Place::Tcp).map_err(|text| format!("is wrong: {text}")),
        }
    })?;
    if mode.is_some() && !matches!(place, Place::Unix { .. }) {
        return Err(section.failure(format!("`mode` is for Unix sockets, which {place} is not; remove it")));
    }
    Ok(place)
}

fn server(name: &str, tls: &Servers) -> Result<usize, String> {
    let found = tls.servers.iter().position(|server| *server.name == *name);
    found.ok_or_else(|| match tls.servers.as_slice() {
        [] => format!(
            "names \"{name}\", but there is no [tls.{name}]; add it with certificates = [{{ chain = \"cert.pem\", key = \
             \"cert.key\" }}]"
        ),
        servers => {
            let known: Vec<_> = servers.iter().map(|server| &*server.name).collect();
            format!("names \"{name}\", but there is no [tls.{name}]{}", did_you_mean(name, &known))
        }
    })
}
