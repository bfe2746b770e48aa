//! Swindon's routes, handlers and authorizers.
//!
//! Three things differ. There, the longest entry for a host decides, and no other host is tried: here each host gets a route for all
//! paths. There, `*.example.org` means `example.org` too: here that is a route of its own. And a handler there may be named by
//! several routes: here each route says all of it.

use super::options;
use super::toml::{Writer, list, quote, table};
use super::yaml::Node;
use std::collections::BTreeMap;

/// A route: `HOST/PATH`, a handler, an authorizer.
#[derive(Clone, Copy, Debug)]
struct Route<'n> {
    host: &'n str,
    /// Without a slash at the end; empty for all paths.
    path: &'n str,
    handler: &'n str,
    authorizer: Option<&'n str>,
}

/// The parts of the file that routes refer to.
#[derive(Debug)]
pub(super) struct Site<'n> {
    root: &'n Node,
    handlers: BTreeMap<&'n str, &'n Node>,
    authorizers: BTreeMap<&'n str, &'n Node>,
    routes: Vec<Route<'n>>,
}

impl<'n> Site<'n> {
    pub(super) fn new(root: &'n Node) -> Result<Self, String> {
        let section = |name| -> Result<BTreeMap<&str, &Node>, String> {
            Ok(root.section(name)?.iter().map(|(name, node)| (name.as_str(), node)).collect())
        };
        let (handlers, authorizers) = (section("handlers")?, section("authorizers")?);
        for handler in handlers.values() {
            let kind = handler.tag.as_deref().unwrap_or_default();
            if options::of_kind(kind).is_none() {
                return Err(format!("there is no handler of the kind {kind}"));
            }
        }
        let mut routes = Vec::new();
        for (key, node) in root.section("routing")? {
            let target = node.text(key)?;
            if target.contains("->") || target.contains('=') {
                return Err(format!("{key}: Swindon reads no more than HANDLER and @AUTHORIZER"));
            }
            let (handler, authorizer) = match target.split_once('@') {
                Some((handler, authorizer)) => (handler.trim(), Some(authorizer.trim())),
                None => (target.trim(), None),
            };
            let (host, path) = key.split_at(key.find('/').unwrap_or(key.len()));
            if path.len() > 1 && path.ends_with('/') {
                return Err(format!("Path must not end with / in {key:?}"));
            }
            if handler != "default" && !handlers.contains_key(handler) {
                return Err(format!("there is no handler {handler}"));
            }
            let is_strip = handlers.get(handler).is_some_and(|of| of.tag.as_deref() == Some("StripWWWRedirect"));
            if is_strip && !host.starts_with("www.") && !host.starts_with('*') {
                return Err(format!(
                    "Host {host:?} does not start with `www.` (required for StripWWWRedirect handler)"
                ));
            }
            if let Some(name) = authorizer.filter(|name| *name != "default" && !authorizers.contains_key(*name)) {
                return Err(format!("there is no authorizer {name}"));
            }
            routes.push(Route { host, path: path.trim_end_matches('/'), handler, authorizer });
        }
        Ok(Self { root, handlers, authorizers, routes })
    }

    /// Whether the backends of a pool speak the older dialect.
    pub(super) fn is_tangle(&self, pool: &str) -> Result<bool, String> {
        let mut found = None;
        for handler in self.handlers.values() {
            if handler.tag.as_deref() == Some("SwindonLattice") && handler.optional("session-pool")? == Some(pool) {
                let is_tangle = version(handler)? < (0, 7);
                if found.replace(is_tangle).is_some_and(|other| other != is_tangle) {
                    return Err(format!("Inconsistent `compatibility` for pool {pool}"));
                }
            }
        }
        Ok(found.unwrap_or(false))
    }

    /// Who is believed about whom a request is from: the networks that some authorizer believes.
    pub(super) fn trusted(&self, out: &mut Writer) -> Result<Vec<String>, String> {
        let mut trusted = Vec::new();
        for (name, authorizer) in &self.authorizers {
            let Some(field) = authorizer.optional("forwarded-ip-header")? else { continue };
            if !field.eq_ignore_ascii_case("x-forwarded-for") {
                out.note(&format!(
                    "authorizers.{name}.forwarded-ip-header: the client is read from X-Forwarded-For, not from {field}; who sends no other is taken for the client"
                ));
            }
            if let Some(network) = authorizer.optional("accept-forwarded-headers-from")? {
                trusted.extend(self.network(network, out)?);
            }
        }
        trusted.sort();
        trusted.dedup();
        Ok(trusted)
    }

    /// The networks of a name, as Swindon reads them.
    fn network(&self, name: &str, out: &mut Writer) -> Result<Vec<String>, String> {
        let networks = self.root.get("networks").ok_or("there are no networks")?;
        if networks.get(name).is_none() {
            return Err(format!("there is no network {name}"));
        }
        let network = |text: &str| match (text.split_once('/'), text.parse::<std::net::Ipv4Addr>()) {
            (None, Ok(address)) => {
                let [a, b, c, _] = address.octets();
                out.note(&format!("networks.{name}: to Swindon a bare IPv4 address means all of {a}.{b}.{c}.0/24; write {text}/32 for one"));
                format!("{a}.{b}.{c}.0/24")
            }
            _ => text.to_owned(),
        };
        Ok(networks.texts(name)?.into_iter().map(network).collect())
    }

    /// The authorizer of a route: its own, that of the nearest path above it, of the host's stars, of all hosts, the default.
    fn authorizer(&self, route: &Route<'n>) -> Option<(&'n str, &'n Node)> {
        let own = |host: &str| {
            let above = |other: &&Route<'_>| {
                other.host == host
                    && other.authorizer.is_some()
                    && route.path.strip_prefix(other.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            self.routes.iter().filter(above).max_by_key(|other| other.path.len()).and_then(|other| other.authorizer)
        };
        let root = |host: &str| {
            let is_root = |other: &&Route<'_>| other.host == host && other.path.is_empty();
            self.routes.iter().find(is_root).and_then(|other| other.authorizer)
        };
        let mut found = own(route.host);
        let mut domain = Some(route.host.trim_start_matches("*.")).filter(|host| *host != "*");
        while let (None, Some(name)) = (found, domain) {
            found = root(&format!("*.{name}"));
            domain = name.split_once('.').map(|(_, parent)| parent);
        }
        let name = found.or_else(|| root("*")).unwrap_or("default");
        self.authorizers.get_key_value(name).map(|(name, node)| (*name, *node))
    }

    /// All routes, with those that Swindon does not need to be told.
    fn all(&self) -> Vec<Route<'n>> {
        let mut all = self.routes.clone();
        let has = |all: &[Route<'_>], host: &str, path: Option<&str>| {
            all.iter().any(|route| route.host == host && path.is_none_or(|path| route.path == path))
        };
        for route in &self.routes {
            // No other host is tried.
            if route.host != "*" && !has(&all, route.host, Some("")) {
                all.push(Route { path: "", handler: "default", authorizer: None, ..*route });
            }
        }
        for route in all.clone() {
            if let Some(apex) = route.host.strip_prefix("*.")
                && !has(&self.routes, apex, None)
            {
                all.push(Route { host: apex, ..route });
            }
        }
        all
    }
}

pub(super) fn write(site: &Site<'_>, out: &mut Writer) -> Result<(), String> {
    for route in site.all() {
        out.section("[[routes]]");
        if route.host != "*" {
            out.text("host", route.host);
        }
        out.text("prefix", if route.path.is_empty() { "/" } else { route.path });
        let handler = site.handlers.get(route.handler).copied();
        let plain = handler.map(|handler| handler.optional("http-route")).transpose()?.flatten();
        let plain = plain.map(|name| site.handlers.get(name).map(|handler| (name, *handler)).ok_or(name));
        let plain = plain.filter(|of| *of != Err("default"));
        let plain = plain.transpose().map_err(|name| format!("there is no http route handler {name}"))?;
        match handler {
            Some(handler) => {
                write_handler(&route, route.handler, handler, out)?;
                write_policy(site, plain.map_or(handler, |(_, plain)| plain), out)?;
            }
            None => missing(out),
        }
        if let Some((name, authorizer)) = site.authorizer(&route) {
            write_authorizer(site, name, authorizer, out)?;
        }
        match (plain, handler.and_then(|handler| handler.tag.as_deref())) {
            (Some((name, plain)), _) => {
                out.section("[routes.otherwise]");
                write_handler(&route, name, plain, out)?;
            }
            (None, Some("SwindonLattice" | "WebsocketEcho")) => {
                out.section("[routes.otherwise]");
                missing(out);
            }
            (None, _) => {}
        }
    }
    Ok(())
}

/// Nothing is here.
fn missing(out: &mut Writer) {
    out.text("handler", "status");
    out.key("status", 404);
}

fn write_authorizer(site: &Site<'_>, name: &str, authorizer: &Node, out: &mut Writer) -> Result<(), String> {
    let kind = authorizer.tag.as_deref();
    if let Some(options) = kind.and_then(options::of_kind) {
        options.read(authorizer, &format!("authorizers.{name}."), out)?;
    }
    match kind {
        Some("SourceIp") => {
            let allowed = site.network(authorizer.needed("allowed-network")?, out)?;
            out.key("access", format!("{{ allow = {} }}", list(&allowed)));
        }
        Some("Ldap") => {
            out.note(
                "authorizers: LDAP is left out; nobody is let in here until basic_auth or authorize takes its place",
            );
            out.key("access", "{ allow = [] }");
        }
        Some("AllowAll") | None => {}
        Some(other) => return Err(format!("there is no authorizer of the kind {other}")),
    }
    Ok(())
}

/// The handler and its own keys.
fn write_handler(route: &Route<'_>, name: &str, handler: &Node, out: &mut Writer) -> Result<(), String> {
    let kind = handler.tag.as_deref().unwrap_or_default();
    if let Some(options) = options::of_kind(kind) {
        options.read(handler, &format!("handlers.{name}."), out)?;
    }
    match kind {
        "Proxy" => write_proxy(route, handler, out)?,
        "Static" => write_static(route, handler, handler.needed("path")?, out)?,
        "SingleFile" => {
            out.text("handler", "file");
            out.text("path", handler.needed("path")?);
            out.key("any_path", "true");
            out.text("symlinks", "anywhere");
            if let Some(content_type) = handler.optional("content-type")? {
                out.text("content_type", content_type);
            }
        }
        "VersionedStatic" => {
            write_static(route, handler, handler.needed("plain-root")?, out)?;
            let fallback = match handler.optional("fallback-to-plain")?.unwrap_or("never") {
                "always" => "no-file".into(),
                fallback => fallback.replace('_', "-"),
            };
            let (root, parameter) = (handler.needed("versioned-root")?, handler.needed("version-arg")?);
            let (root, parameter, fallback) = (quote(root), quote(parameter), quote(&fallback));
            let split = handler.texts("version-split")?.join(", ");
            let versions =
                format!("{{ root = {root}, parameter = {parameter}, split = [{split}], fallback = {fallback} }}");
            out.key("versions", versions);
        }
        "EmptyGif" => out.text("handler", "empty-gif"),
        "BaseRedirect" => redirect(handler.needed("redirect-to-domain")?, out),
        "StripWWWRedirect" => {
            missing(out);
            out.text("www", "remove");
        }
        "SwindonLattice" => write_sessions(handler, out)?,
        "WebsocketEcho" => out.text("handler", "echo"),
        "HttpBin" => out.text("handler", "httpbin"),
        "SelfStatus" => out.text("handler", "self-status"),
        // Checked before.
        _ => {}
    }
    Ok(())
}

/// What routes have whatever their handler.
fn write_policy(site: &Site<'_>, handler: &Node, out: &mut Writer) -> Result<(), String> {
    if handler.tag.as_deref() == Some("Proxy") {
        let destination = handler.needed("destination")?;
        let (upstream, _) = destination.split_at(destination.find('/').unwrap_or(destination.len()));
        if site.root.get("http-destinations").and_then(|all| all.get(upstream)).is_none() {
            return Err(format!("there is no http destination {upstream}"));
        }
        out.size("content_bytes", handler.number("max-payload-size")?.unwrap_or(10 << 20));
        if let Some(name) = handler.optional("ip-header")? {
            out.key("request_fields", format!("{{ set = {} }}", table(&[(name, "{client}")])));
        }
    }
    let fields = handler.section("extra-headers")?;
    let fields = fields
        .iter()
        .map(|(name, value)| Ok((name.as_str(), value.text(name)?)))
        .collect::<Result<Vec<_>, String>>()?;
    if !fields.is_empty() {
        out.key("response_fields", format!("{{ set = {} }}", table(&fields)));
    }
    Ok(())
}

fn write_proxy(route: &Route<'_>, handler: &Node, out: &mut Writer) -> Result<(), String> {
    let destination = handler.needed("destination")?;
    let (upstream, path) = destination.split_at(destination.find('/').unwrap_or(destination.len()));
    out.text("handler", "proxy");
    out.text("upstream", upstream);
    if !matches!(path, "" | "/") {
        // There, it comes before the whole path.
        out.text("replace", &format!("{}{}/", path.trim_end_matches('/'), route.path));
    }
    // There, requests were always read whole.
    out.key("buffer_requests", "true");
    Ok(())
}

fn write_static(route: &Route<'_>, handler: &Node, path: &str, out: &mut Writer) -> Result<(), String> {
    let mode = handler.optional("mode")?.or(handler.optional("fallback-mode")?).unwrap_or("relative_to_route");
    let root = match mode {
        "relative_to_route" | "with_hostname" => path.to_owned(),
        "relative_to_domain_root" => format!("{path}{}", route.path),
        other => return Err(format!("handlers.{}.mode: there is no mode {other}", route.handler)),
    };
    out.text("handler", "files");
    out.text("root", &root);
    out.text("symlinks", "anywhere");
    if mode == "with_hostname" {
        match handler.optional("strip-host-suffix")? {
            Some(suffix) => out.text("by_host", suffix),
            None => out.key("by_host", "true"),
        }
    }
    match handler.texts("index-files")?.as_slice() {
        [one] => out.text("index", one),
        all => out.key("index", list(all)),
    }
    if handler.flag("generate-index")? {
        out.key("listing", "true");
    }
    if handler.is_null("text-charset") {
        out.key("charset", "false");
    } else if let Some(charset) = handler.optional("text-charset")? {
        out.text("charset", charset);
    }
    out.key("precompressed", list(&["br", "gzip"]));
    Ok(())
}

fn write_sessions(handler: &Node, out: &mut Writer) -> Result<(), String> {
    out.text("handler", "sessions");
    out.text("pool", handler.needed("session-pool")?);
    let calls = handler.section("message-handlers")?;
    let call =
        |(pattern, to): &(String, Node)| Ok(format!("{} = {}", quote(pattern), quote(&backend(to.text(pattern)?))));
    let calls = calls.iter().map(call).collect::<Result<Vec<_>, String>>()?;
    out.key("calls", format!("{{ {} }}", calls.join(", ")));
    if version(handler)? < (0, 6) {
        out.key("any_protocol", "true");
    }
    // It compares no `Origin`, and pages of other hosts may depend on that.
    out.comment("as in Swindon, pages of every origin may connect, with the cookies of their users: better name yours");
    if handler.optional("http-route")?.is_some() {
        out.comment("this also says for the requests of `otherwise` which pages may read the answers, in place of their backend");
    }
    out.key("cors", "{ origins = [\"*\"] }");
    Ok(())
}

fn redirect(host: &str, out: &mut Writer) {
    out.text("handler", "redirect");
    out.text("location", &format!("http://{host}"));
    out.key("keep_path", "true");
    out.key("status", 301);
}

/// `DESTINATION/path`, where a slash alone means nothing.
pub(super) fn backend(destination: &str) -> String {
    let (upstream, path) = destination.split_at(destination.find('/').unwrap_or(destination.len()));
    if path == "/" { upstream.into() } else { format!("{upstream}{path}") }
}

/// Major and minor of `compatibility`, `v0.7.0` by default.
fn version(handler: &Node) -> Result<(u32, u32), String> {
    let text = handler.optional("compatibility")?.unwrap_or("v0.7.0");
    let mut parts = text.trim_start_matches('v').split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(format!("compatibility must be a version such as v0.7.0, not {text}")),
    }
}
