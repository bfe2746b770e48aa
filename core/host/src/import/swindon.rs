//! Swindon's sections but the routes.

use super::Imported;
use super::options;
use super::routes::{self, Site};
use super::toml::{Writer, bare, list};
use super::yaml::{Node, Value};
use std::time::Duration;

/// What Swindon takes of a message, of the content of a request of a backend, and of its answer, where nothing else is said (bytes).
const MESSAGE: u64 = 10 << 20;
/// More topics than a page needs.
const TOPICS: u64 = 1_000;

pub(super) fn convert(root: &Node, name: &str) -> Result<Imported, String> {
    let mut out = Writer::default();
    out.comment(&format!("Made from {name} by `brolly import`."));
    options::FILE.read(root, "", &mut out)?;
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
    let pools = root.section("session-pools")?;
    if connections.is_none() && pools.is_empty() && given.iter().all(|(duration, _)| duration.is_none()) {
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
    if !pools.is_empty() {
        let sizes =
            pools.iter().map(|(_, pool)| pool.number("max-payload-size")).collect::<Result<Vec<_>, String>>()?;
        // Answers of backends count too, and they have no other limit.
        out.size("content_bytes", sizes.into_iter().flatten().fold(MESSAGE, u64::max));
        out.size("websocket_message_bytes", MESSAGE);
        out.key("subscriptions", format!("{TOPICS}  # of one connection; Swindon does not count them"));
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
        // Swindon's defaults, since backends are made for them.
        let connections = destination.number("backend-connections-per-ip-port")?.unwrap_or(100);
        out.key("connections", format!("{connections}  # in each thread"));
        out.key("queue", destination.number("queue-size-for-503")?.unwrap_or(100_000));
        let idle = destination.duration("keep-alive-timeout")?;
        out.duration("idle_connection_timeout", idle.unwrap_or(Duration::from_secs(4)));
        // There, the time in the queue does not count, and has no end.
        let total = destination.duration("max-request-timeout")?.unwrap_or(Duration::from_secs(30));
        out.duration("queue_timeout", total);
        out.duration("total_timeout", total);
        if let Some(host) = destination.optional("override-host-header")? {
            out.text("host", host);
        }
        if let Some(name) = destination.optional("request-id-header")? {
            out.text("request_id", name);
        }
        options::DESTINATION.read(destination, &format!("http-destinations.{name}."), out)?;
        if let Some(address) = addresses.iter().find(|address| address.starts_with('_')) {
            out.note(&format!(
                "http-destinations.{name}.addresses: {address} is looked up as a name, not as a service"
            ));
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
        options::SESSION_POOL.read(pool, &format!("session-pools.{name}."), out)?;
        if let Some(Node { value: Value::Scalar(_), .. }) = pool.get("listen") {
            return Err(format!("session-pools.{name}: listen must be a list"));
        }
    }
    Ok(())
}
