//! `import`: the configuration of another server as one of ours. So far Swindon's.
//!
//! | file | part |
//! |---|---|
//! | `yaml.rs` | Swindon's dialect of YAML: tags, merges, includes, mixins, units |
//! | `swindon.rs` | its sections but the routes |
//! | `routes.rs` | its routes, handlers and authorizers |
//! | `options.rs` | what it has, and what has no equivalent |
//! | `toml.rs` | what is written |
//!
//! What has no equivalent becomes a comment where it would stand, and is said again on standard error.

mod options;
mod routes;
mod swindon;
mod toml;
mod yaml;

use crate::failure::Failure;
use std::path::Path;

/// What an import has made of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Imported {
    /// A configuration file.
    pub(crate) toml: String,
    /// What it cannot say.
    pub(crate) notes: Vec<String>,
}

/// Reads a configuration of Swindon.
///
/// # Errors
/// It cannot be read, or is not what Swindon would accept.
pub(crate) fn swindon(path: &Path) -> Result<Imported, Failure> {
    let name = path.display().to_string();
    let root = yaml::load(path).map_err(|text| Failure::new(format!("{name}: {text}")))?;
    swindon::convert(&root, &name).map_err(|text| Failure::new(format!("{name}: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::fs;

    fn import(name: &str, files: &[(&str, &str)]) -> (String, Vec<String>) {
        let folder = std::env::temp_dir().join(format!("brolly-import-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("public/files/secret")).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text.replace("ROOT", folder.to_str().unwrap())).unwrap();
        }
        let Imported { toml, notes } = swindon(&folder.join(files[0].0)).unwrap();
        let path = folder.join("brolly.toml");
        fs::write(&path, &toml).unwrap();
        let settings = config::load(&path).unwrap_or_else(|failure| panic!("{failure}\n{toml}"));
        fs::remove_dir_all(folder).unwrap();
        (format!("{toml}\n{}", settings.report()), notes)
    }

    const MAIN: &str = r#"
listen:
- 127.0.0.1:8080
- "[::1]:8081"
max-connections: 10k
keep_alive_timeout: 1m 30s
server-name: null
set-user: www
_VARS:
  common: &common
    extra-headers: {X-Frame-Options: DENY, X-Version: 1.10}
mixins:
  app1-: app1.yaml
routing:
  localhost/empty.gif: gif
  localhost/files: files
  localhost/: proxy
  localhost/files/secret: files@local
  "*.example.com": app1-site
  www.old.example.net: strip
  "*.example.net": strip
  "*/ws": chat
  "*/sites": sites
  "*/hashed": hashed
  "*/bin": bin
  "*/~~swindon-status": state
networks:
  localhost: [127.0.0.1, "::1", 10.0.0.0/8]
authorizers:
  local: !SourceIp
    allowed-network: localhost
    forwarded-ip-header: X-Real-Ip
    accept-forwarded-headers-from: localhost
handlers:
  gif: !EmptyGif {}
  files: !Static
    <<: *common
    mode: relative_to_domain_root
    path: ROOT/public
    text-charset: utf-8
    generate-index: true
  proxy: !Proxy
    mode: forward
    ip-header: X-Real-IP
    max-payload-size: 10Mi
    stream-requests: true
    destination: be/prefix
  strip: !StripWWWRedirect
  sites: !Static
    mode: with_hostname
    path: ROOT/public
    strip-host-suffix: .example.com
    index-files: [index.html, index.htm]
  hashed: !VersionedStatic
    versioned-root: ROOT/public/files
    plain-root: ROOT/public
    version-arg: r
    version-split: [2, 6]
    version-chars: lowercase_hex
    fallback-to-plain: bad_version
  bin: !HttpBin
  state: !SelfStatus
  chat: !SwindonLattice
    session-pool: chat
    http-route: proxy
    message-handlers:
      "*": be/
      room.*: be/base
    compatibility: v0.6.2
session-pools:
  chat:
    listen: [127.0.0.1:8082]
    inactivity-handlers: [be/inactive]
    new-connection-idle-timeout: 10s
http-destinations:
  be:
    addresses: !*Include addresses.yaml
    backend-connections-per-ip-port: 0x10
    queue-size-for-503: 100_000
    keep-alive-timeout: 4 sec
    override-host-header: swindon.internal
    request-id-header: X-Request-Id
"#;

    const MIXIN: &str = "
handlers:
  app1-site: !SingleFile
    path: ROOT/app1.yaml
    content-type: text/html
";

    const ADDRESSES: &str = "[localhost:8111, !*Unpack [127.0.0.1:8112]]";

    #[test]
    fn a_file_that_uses_much_becomes_one_that_is_right() {
        let (text, notes) = import("much", &[("main.yaml", MAIN), ("app1.yaml", MIXIN), ("addresses.yaml", ADDRESSES)]);
        for line in [
            "listen = [\"127.0.0.1:8080\", \"[::1]:8081\"]",
            "server = false",
            "connections = 10000",
            "idle_timeout = \"90s\"",
            "servers = [\"http://localhost:8111\", \"http://127.0.0.1:8112\"]",
            "connections = 16  # in each thread",
            "content_bytes = \"10MiB\"\nwebsocket_message_bytes = \"10MiB\"",
            "subscriptions = 1000 ",
            "total_timeout = \"30s\"",
            "any_path = true",
            "index = []",
            "X-Version = \"1.10\"",
            "queue = 100000",
            "host = \"swindon.internal\"",
            "inactivity = [\"be/inactive\"]",
            "dialect = \"tangle\"",
            "active_when_connected = \"10s\"",
            "calls = { \"*\" = \"be\", \"room.*\" = \"be/base\" }",
            "replace = \"/prefix/\"",
            "content_bytes = \"10MiB\"",
            "request_fields = { set = { X-Real-IP = \"{client}\" } }",
            "request_id = \"X-Request-Id\"",
            "content_type = \"text/html\"",
            "[routes.otherwise]\n# handlers.proxy.stream-requests: without `buffer_requests` requests are streamed\nhandler = \"proxy\"",
            "index = [\"index.html\", \"index.htm\"]",
            "by_host = \".example.com\"",
            "parameter = \"r\", split = [2, 6], fallback = \"bad-version\" }",
            "handler = \"httpbin\"",
            "handler = \"self-status\"",
            "handler = \"status\"\nstatus = 404\nwww = \"remove\"",
            "access = { allow = [\"127.0.0.0/24\", \"::1\", \"10.0.0.0/8\"] }",
            "response_fields = { set = { X-Frame-Options = \"DENY\", X-Version = \"1.10\" } }",
            "listing = true",
            "host = \"www.old.example.net\"\nprefix = \"/\"\nhandler = \"status\"\nstatus = 404\nwww = \"remove\"",
            "host = \"example.com\"",
            "sessions of the pool chat",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        for note in ["set-user", "forwarded-ip-header", "a bare IPv4 address", "handlers.proxy.stream-requests"] {
            assert!(notes.iter().any(|text| text.contains(note)), "{note} is not in {notes:#?}");
        }
    }

    #[test]
    fn authorizers_are_inherited_from_paths_then_from_stars() {
        let main = r#"
listen: [127.0.0.1:8080]
routing:
  a.example.org/x: page@one
  a.example.org/x/y: page
  a.example.org/z: page
  "*.example.org": page@two
  "*": page@three
  b.example.net: page
  c.example.org/w: page@default
networks:
  one: [10.1.0.0/16]
  two: [10.2.0.0/16]
  three: [10.3.0.0/16]
authorizers:
  one: !SourceIp {allowed-network: one}
  two: !SourceIp {allowed-network: two}
  three: !SourceIp {allowed-network: three}
handlers:
  page: !EmptyGif
"#;
        let (text, notes) = import("authorizers", &[("main.yaml", main)]);
        assert_eq!(notes, Vec::<String>::new());
        let routes: Vec<_> = text.split("[[routes]]").skip(1).collect();
        for (host, prefix, access) in [
            ("a.example.org", "/x", Some("10.1.")),
            ("a.example.org", "/x/y", Some("10.1.")),
            ("a.example.org", "/z", Some("10.2.")),
            // No other host is tried, and what is not there is not for everybody either.
            ("a.example.org", "/", Some("10.2.")),
            ("b.example.net", "/", Some("10.3.")),
            ("c.example.org", "/w", None),
            ("c.example.org", "/", Some("10.2.")),
            ("example.org", "/", Some("10.2.")),
            ("*.example.org", "/", Some("10.2.")),
        ] {
            let head = format!("host = \"{host}\"\nprefix = \"{prefix}\"\n");
            let route = routes.iter().find(|route| route.contains(&head)).unwrap_or_else(|| panic!("{head} in {text}"));
            match access {
                Some(network) => assert!(route.contains(&format!("access = {{ allow = [\"{network}")), "{route}"),
                None => assert!(!route.contains("access = "), "{route}"),
            }
            let is_there = !matches!((host, prefix), ("a.example.org" | "c.example.org", "/"));
            assert_eq!(route.contains("empty-gif"), is_there, "{route}");
            assert_eq!(route.contains("status = 404"), !is_there, "{route}");
        }
    }

    #[test]
    fn an_empty_file_listens_on_nothing_special() {
        let (text, notes) = import("empty", &[("main.yaml", "{}")]);
        assert!(text.contains("no routes") && notes.len() == 1, "{text} {notes:?}");
    }

    #[test]
    fn mistakes_are_said() {
        let folder = std::env::temp_dir().join(format!("brolly-import-{}-mistakes", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("main.yaml");
        for (text, message) in [
            ("a: [", "did not find expected node content"),
            ("routing: []", "routing must be a mapping"),
            ("routing: {localhost: abc}", "there is no handler abc"),
            ("routing: {localhost/a/: abc}", "Path must not end with / in \"localhost/a/\""),
            ("unknown: 1", "there is no option unknown"),
            ("handlers: {a: !Unknown {}}", "there is no handler of the kind Unknown"),
            ("keep-alive-timeout: soon", "keep-alive-timeout must be a duration"),
            ("handlers: {a: !EmptyGif {typo: 1}}\nrouting: {localhost: a}", "there is no option handlers.a.typo"),
            ("http-destinations: {a: {addresses: [b], typo: 1}}", "there is no option http-destinations.a.typo"),
            ("session-pools: {a: {typo: 1}}", "there is no option session-pools.a.typo"),
            (
                "handlers: {a: !Static {path: /, generate-index: yes}}\nrouting: {localhost: a}",
                "generate-index must be true or false, not yes",
            ),
            (
                "handlers: {a: !SwindonLattice {session-pool: p, compatibility: v0.6.2}, b: !SwindonLattice {session-pool: p}}\n\
                 session-pools: {p: {}}",
                "Inconsistent `compatibility` for pool p",
            ),
            ("max-connections: 10MiB", "max-connections must be a number"),
            ("mixins: {a-: missing.yaml}", "missing.yaml: there is no such file or directory"),
            ("x: !*Include ../a.yaml", "an include cannot leave the directory"),
        ] {
            fs::write(&path, text).unwrap();
            let failure = swindon(&path).expect_err(text).to_string();
            assert!(failure.contains(message), "{text}: {failure}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
