//! Swindon's sections but the routes.

use super::Imported;
use super::routes::{self, Site};
use super::toml::{Writer, bare, list};
use super::yaml::{Node, Value};
use std::time::Duration;

/// The options that have an equivalent, here or in `routes.rs`.
const KNOWN: [&str; 14] = [
    "authorizers",
    "first-byte-timeout",
    "handlers",
    "headers-timeout",
    "http-destinations",
    "input-body-byte-timeout",
    "keep-alive-timeout",
    "listen",
    "max-connections",
    "mixins",
    "networks",
    "output-body-byte-timeout",
    "routing",
    "session-pools",
];
/// The options that have none, and why.
const OTHERS: [(&str, &str); 15] = [
    ("debug-logging", "one JSON line is logged for each request anyway"),
    ("debug-routing", "`brolly check` shows the routes; the log names the server that answered"),
    ("disk-pools", "files are read by a pool of threads of its own"),
    ("input-body-whole-timeout", "the deadline for content grows with what has arrived: limits.content_timeout"),
    ("ldap-destinations", "LDAP is left out: Swindon never spoke it; use basic_auth or authorize"),
    ("listen-error-timeout", "accepting is tried again by itself"),
    ("log-formats", "the log is JSON"),
    ("output-body-whole-timeout", "whoever reads is served"),
    ("pipeline-depth", "pipelined requests are bounded by limits.pipelined_bytes"),
    ("replication", "there is no cluster yet"),
    ("server-name", ""),
    ("set-group", "start brolly as this group, with the sockets from systemd if a port needs rights"),
    ("set-user", "start brolly as this user, with the sockets from systemd if a port needs rights"),
    ("load-balancing", ""),
    ("in-flight-requests-per-backend-connection", ""),
];

pub(super) fn convert(root: &Node, name: &str) -> Result<Imported, String> {
    let mut out = Writer::default();
    out.comment(&format!("Made from {name} by `brolly import`."));
    for (key, _) in root.mapping("the file")? {
        let key = key.replace('_', "-");
        match OTHERS.iter().find(|(other, _)| *other == key) {
            Some((_, "")) => {}
            Some((_, reason)) => out.note(&format!("{key}: {reason}")),
            None if KNOWN.contains(&key.as_str()) => {}
            None => return Err(format!("there is no option {key}")),
        }
    }
    let site = Site::new(root)?;
    top(root, &site, &mut out)?;
    limits(root, &mut out)?;
    pool_listeners(root, &mut out)?;
    destinations(root, &mut out)?;
    pools(root, &site, &mut out)?;
    routes::write(&site, &mut out)?;
    let (toml, notes) = out.finish();
    Ok(Imported { toml, notes })
}

fn top(root: &Node, site: &Site<'_>, out: &mut Writer) -> Result<(), String> {
    let listen = root.texts("listen")?.into_iter().map(|address| listen(address, out)).collect::<Vec<_>>();
    match listen.as_slice() {
        [] => out.note("listen: Swindon would listen on nothing; this listens on 127.0.0.1:8080"),
        listen => out.key("listen", list(listen)),
    }
    if root.is_null("server-name") {
        out.key("server", "false");
    } else if let Some(name) = root.optional("server-name")? {
        out.text("server", name);
    }
    let trusted = site.trusted(out)?;
    if !trusted.is_empty() {
        out.key("trusted", list(&trusted));
    }
    Ok(())
}

/// An address to listen on: names stand for addresses that may change, which ours do not.
fn listen(address: &str, out: &mut Writer) -> String {
    let address = if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
    match address.rsplit_once(':') {
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        Some((host, port)) if host.parse::<std::net::Ipv4Addr>().is_err() && !host.starts_with('[') => {
            out.note(&format!("listen: {host} is a name; write its address"));
            format!("127.0.0.1:{port}")
        }
        _ => address,
    }
}

fn limits(root: &Node, out: &mut Writer) -> Result<(), String> {
    let times = [
        ("headers-timeout", "head_timeout"),
        ("input-body-byte-timeout", "content_timeout"),
        ("keep-alive-timeout", "idle_timeout"),
        ("output-body-byte-timeout", "write_timeout"),
    ];
    let connections = root.number("max-connections")?;
    let given = times.iter().map(|(from, to)| Ok((root.duration(from)?, *to))).collect::<Result<Vec<_>, String>>()?;
    // The first byte counts as a part of the head.
    root.duration("first-byte-timeout")?;
    if connections.is_none() && given.iter().all(|(duration, _)| duration.is_none()) {
        return Ok(());
    }
    out.section("[limits]");
    if let Some(connections) = connections {
        out.key("connections", format!("{connections}  # in each thread, WebSockets and backends included"));
    }
    for (duration, key) in given {
        if let Some(duration) = duration {
            out.duration(key, duration);
        }
    }
    Ok(())
}

fn pool_listeners(root: &Node, out: &mut Writer) -> Result<(), String> {
    for (name, pool) in root.section("session-pools")? {
        for address in pool.texts("listen")? {
            let address = listen(address, out);
            out.section("[[listeners]]");
            out.text("address", &address);
            out.text("session_pool", name);
        }
    }
    Ok(())
}

fn destinations(root: &Node, out: &mut Writer) -> Result<(), String> {
    for (name, destination) in root.section("http-destinations")? {
        out.section(&format!("[upstreams.{}]", bare(name)));
        let addresses = destination.texts("addresses")?;
        if addresses.is_empty() {
            return Err(format!("http-destinations.{name}: addresses is missing"));
        }
        let servers: Vec<_> = addresses.iter().map(|address| format!("http://{address}")).collect();
        out.key("servers", list(&servers));
        let numbers = [("backend-connections-per-ip-port", "connections"), ("queue-size-for-503", "queue")];
        for (from, to) in numbers {
            if let Some(number) = destination.number(from)? {
                out.key(to, number);
            }
        }
        if let Some(duration) = destination.duration("keep-alive-timeout")? {
            out.duration("idle_connection_timeout", duration);
        }
        let total = destination.duration("max-request-timeout")?;
        out.duration("total_timeout", total.unwrap_or(Duration::from_secs(30)));
        if let Some(host) = destination.optional("override-host-header")? {
            out.text("host", host);
        }
        if let Some(name) = destination.optional("request-id-header")? {
            out.text("request_id", name);
        }
        for key in ["in-flight-requests-per-backend-connection", "safe-pipeline-timeout"] {
            if destination.get(key).is_some() {
                out.note(&format!("http-destinations.{name}.{key}: requests to backends are not pipelined"));
            }
        }
    }
    Ok(())
}

fn pools(root: &Node, site: &Site<'_>, out: &mut Writer) -> Result<(), String> {
    for (name, pool) in root.section("session-pools")? {
        out.section(&format!("[session_pools.{}]", bare(name)));
        let inactivity: Vec<_> = pool.texts("inactivity-handlers")?.into_iter().map(routes::backend).collect();
        if !inactivity.is_empty() {
            out.key("inactivity", list(&inactivity));
        }
        let times = [
            ("new-connection-idle-timeout", "active_when_connected"),
            ("client-min-idle-timeout", "active_at_least"),
            ("client-max-idle-timeout", "active_at_most"),
        ];
        for (from, to) in times {
            if let Some(duration) = pool.duration(from)? {
                out.duration(to, duration);
            }
        }
        if site.is_tangle(name)? {
            out.text("dialect", "tangle");
        }
        for (key, reason) in [
            ("max-payload-size", "limits.content_bytes holds for all"),
            ("max-connections", "limits.connections holds for all"),
            ("pipeline-depth", "limits.pipelined_bytes holds for all"),
            ("client-default-idle-timeout", "Swindon did not use it"),
        ] {
            if pool.get(key).is_some() {
                out.note(&format!("session-pools.{name}.{key}: {reason}"));
            }
        }
        if let Some(Node { value: Value::Scalar(_), .. }) = pool.get("listen") {
            return Err(format!("session-pools.{name}: listen must be a list"));
        }
    }
    Ok(())
}
