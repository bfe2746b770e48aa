//! Swindon's options: those that have an equivalent, those that have none, and why. Anything else is a mistake there too.

use super::toml::Writer;
use super::yaml::Node;

/// The options of one part of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    known: &'static [&'static str],
    /// Without an equivalent, and why; empty: it is the only way that there is.
    others: &'static [(&'static str, &'static str)],
}

const POOL: (&str, &str) = ("pool", "files are read by a pool of threads of its own");
const ACCEPT: (&str, &str) = ("listen-error-timeout", "accepting is tried again by itself");
const DEPTH: (&str, &str) = ("pipeline-depth", "pipelined requests are bounded by limits.pipelined_bytes");
const PIPELINES: &str = "requests to backends are not pipelined";

pub(super) const FILE: Options = Options {
    known: &[
        "authorizers",
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
        "server-name",
        "session-pools",
    ],
    others: &[
        ("debug-logging", "one JSON line is logged for each request anyway"),
        ("debug-routing", "`brolly check` shows the routes; the log names the server that answered"),
        ("disk-pools", "files are read by a pool of threads of its own"),
        ("first-byte-timeout", "the first byte counts as a part of the head: limits.head_timeout"),
        ("input-body-whole-timeout", "the deadline for content grows with what has arrived: limits.content_timeout"),
        ("ldap-destinations", "LDAP is left out: Swindon never spoke it; use basic_auth or authorize"),
        ACCEPT,
        ("log-formats", "the log is JSON"),
        ("output-body-whole-timeout", "whoever reads is served"),
        DEPTH,
        ("replication", "there is no cluster yet"),
        ("set-group", "start brolly as this group, with the sockets from systemd if a port needs rights"),
        ("set-user", "start brolly as this user, with the sockets from systemd if a port needs rights"),
    ],
};

pub(super) const DESTINATION: Options = Options {
    known: &[
        "addresses",
        "backend-connections-per-ip-port",
        "keep-alive-timeout",
        "max-request-timeout",
        "override-host-header",
        "queue-size-for-503",
        "request-id-header",
    ],
    others: &[
        ("in-flight-requests-per-backend-connection", PIPELINES),
        ("load-balancing", ""),
        ("safe-pipeline-timeout", PIPELINES),
    ],
};

pub(super) const SESSION_POOL: Options = Options {
    known: &[
        "client-max-idle-timeout",
        "client-min-idle-timeout",
        "inactivity-handlers",
        "listen",
        "new-connection-idle-timeout",
    ],
    others: &[
        ("client-default-idle-timeout", "Swindon did not use it"),
        ACCEPT,
        ("max-connections", "limits.connections holds for all"),
        ("max-payload-size", "limits.content_bytes holds for all"),
        DEPTH,
    ],
};

/// The options of a kind of handler, or of authorizer; `None`: there is no such kind.
pub(super) fn of_kind(kind: &str) -> Option<Options> {
    let (known, others): (&[_], &[_]) = match kind {
        "AllowAll" | "HttpBin" | "StripWWWRedirect" | "WebsocketEcho" => (&[], &[]),
        "BaseRedirect" => (&["redirect-to-domain"], &[]),
        "EmptyGif" | "SelfStatus" => (&["extra-headers"], &[]),
        "Ldap" => (
            &[
                "additional-queries",
                "destination",
                "login-attribute",
                "login-header",
                "password-attribute",
                "search-base",
            ],
            &[],
        ),
        "Proxy" => (
            &["destination", "ip-header", "max-payload-size"],
            &[
                ("mode", ""),
                ("request-id-header", "Swindon did not use it; that of the destination counts"),
                ("response-buffer-size", "answers are streamed"),
                ("stream-requests", "without `buffer_requests` requests are streamed"),
            ],
        ),
        "SingleFile" => (&["content-type", "extra-headers", "path"], &[POOL]),
        "SourceIp" => (&["accept-forwarded-headers-from", "allowed-network", "forwarded-ip-header"], &[]),
        "Static" => (
            &["extra-headers", "generate-index", "index-files", "mode", "path", "strip-host-suffix", "text-charset"],
            &[("generated-index-max-files", "limits.file_listing_entries holds for all"), POOL],
        ),
        "SwindonLattice" => (&["compatibility", "http-route", "message-handlers", "session-pool"], &[]),
        "VersionedStatic" => (
            &[
                "extra-headers",
                "fallback-mode",
                "fallback-to-plain",
                "plain-root",
                "text-charset",
                "version-arg",
                "version-split",
                "versioned-root",
            ],
            &[POOL, ("version-chars", "")],
        ),
        _ => return None,
    };
    Some(Options { known, others })
}

impl Options {
    /// Says what has no equivalent. `place` is what the options are of, with a dot at its end; empty: the file.
    ///
    /// # Errors
    /// There is no such option.
    pub(super) fn read(&self, node: &Node, place: &str, out: &mut Writer) -> Result<(), String> {
        for (key, _) in node.mapping(place)? {
            let key = key.replace('_', "-");
            match self.others.iter().find(|(other, _)| *other == key) {
                Some((_, "")) => {}
                Some((_, reason)) => out.note(&format!("{place}{key}: {reason}")),
                None if self.known.contains(&key.as_str()) => {}
                None => return Err(format!("there is no option {place}{key}")),
            }
        }
        Ok(())
    }
}
