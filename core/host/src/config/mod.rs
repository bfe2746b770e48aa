//! From arguments or a file to what the shards are told to do.

mod admission;
mod compression;
mod file;
mod files;
mod limits;
mod listeners;
#[cfg(test)]
mod mistakes;
mod policy;
mod report;
mod routes;
mod sessions;
mod shaping;
mod source;
mod tls;
mod units;
mod upstreams;

pub(crate) use units::{format_duration, format_size, rough_size};

use crate::args::{Behind, Dev, Open};
use crate::assets;
use crate::failure::Failure;
use crate::listen::{self, Place};
use crate::tls::Client;
use brolly_core::config::{Compression, Config, Files, Handler, Listener, Proxy, Server, Upstream, WebSocket};
use brolly_core::route::{HostPattern, Route};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;

pub use file::load;
pub use report::defaults;
pub(crate) use report::shown;

/// Everything that a server is started with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// For the shards.
    pub config: Config,
    /// Where to listen; the same number as in the configuration for the shards.
    pub listeners: Vec<listen::Listener>,
    /// Certificates and so on.
    pub tls: crate::tls::Settings,
    /// How many shards; `None`: as many as there are cores.
    pub threads: Option<NonZeroU16>,
    /// What works, and yet should be known.
    pub warnings: Vec<String>,
}

impl Settings {
    /// `demo`: the chat room under `/`, and the realtime endpoints.
    pub fn demo(open: &Open) -> Self {
        let mut config = Config { listeners: vec![Listener::default()], ..Config::default() };
        mount(&mut config, "/", Handler::Memory(assets::demo()));
        realtime(&mut config);
        Self {
            config,
            listeners: plain(open),
            tls: crate::tls::Settings::default(),
            threads: open.threads,
            warnings: Vec::new(),
        }
    }

    /// `dev`: a directory under `/`, backends, and the realtime endpoints. A backend may take `/` instead.
    ///
    /// # Errors
    /// The directory is missing, or a prefix is there twice.
    pub fn dev(dev: &Dev) -> Result<Self, Failure> {
        let mut config = Config { listeners: vec![Listener::default()], log_requests: true, ..Config::default() };
        let mut clients = Vec::new();
        let root = directory(&dev.dir).map_err(|text| Failure::new(format!("cannot serve this directory: {text}")))?;
        realtime(&mut config);
        for one in &dev.mounts {
            let handler = match &one.behind {
                Behind::Directory(path) => {
                    let root = directory(path);
                    let root = root.map_err(|text| Failure::new(format!("cannot serve this directory: {text}")))?;
                    Handler::Files(Arc::new(Files::new(&root)))
                }
                Behind::Backend(url) => {
                    let client =
                        if url.is_tls { tls::index(&mut clients, &Client::default(), &url.host) } else { None };
                    let server = Server::Tcp { host: url.host.clone(), port: url.port, tls: client };
                    let known = |upstream: &Upstream| upstream.servers.contains(&server);
                    let upstream = config.upstreams.iter().position(known).unwrap_or_else(|| {
                        let mut upstream = Upstream::new(&config.limits, vec![server.clone()]);
                        upstream.name = (&*one.prefix).into();
                        config.upstreams.push(upstream);
                        config.upstreams.len() - 1
                    });
                    Handler::Proxy(Proxy { upstream, replace_prefix: url.path.clone(), ..Proxy::default() })
                }
            };
            let host = one.host.clone().map_or(HostPattern::Any, HostPattern::Exact);
            if !mount_at(&mut config, host, &one.prefix, handler) {
                let host = one.host.as_deref().unwrap_or_default();
                return Err(Failure::new(format!("the prefix `{host}{}` is taken already; write it once", one.prefix)));
            }
        }
        mount(&mut config, "/", Handler::Files(Arc::new(Files::new(&root))));
        Ok(Self {
            config,
            listeners: plain(&dev.open),
            tls: crate::tls::Settings { servers: Vec::new(), clients },
            threads: dev.open.threads,
            warnings: Vec::new(),
        })
    }
}

/// The one listener of an open server.
fn plain(open: &Open) -> Vec<listen::Listener> {
    vec![listen::Listener::plain(Place::Tcp(open.listen))]
}

/// What `demo` and `dev` have under `/-/`.
fn realtime(config: &mut Config) {
    mount(config, "/-", Handler::Memory(assets::script()));
    mount(config, "/-/sse", Handler::EventStream { compress: false });
    mount(config, "/-/poll", Handler::LongPoll);
    let compression = Some(Compression::default());
    mount(config, "/-/ws", Handler::WebSocket(WebSocket { compression, ..WebSocket::default() }));
    mount(config, "/-/publish", Handler::Publish);
    mount(config, "/-/echo", Handler::Echo(compression));
}

/// Adds a route for every host, unless there is one.
fn mount(config: &mut Config, prefix: &str, handler: Handler) -> bool {
    mount_at(config, HostPattern::Any, prefix, handler)
}

fn mount_at(config: &mut Config, host: HostPattern, prefix: &str, handler: Handler) -> bool {
    let route = Route { host, prefix: prefix.into(), to: config.handlers.len().into() };
    let added = config.routes.add(route).is_ok();
    if added {
        config.handlers.push(handler);
    }
    added
}

/// The absolute path of a directory that exists. Symbolic links stay as they are: what they lead to may be exchanged.
fn directory(path: &Path) -> Result<Arc<str>, String> {
    let shown = path.display();
    let absolute = std::path::absolute(path).map_err(|_| "it has no name".to_owned())?;
    match std::fs::metadata(&absolute) {
        Ok(found) if !found.is_dir() => return Err(format!("{shown} is not a directory; name the one it is in")),
        Ok(_) => {}
        Err(error) => return Err(format!("{shown}: {}", crate::io::reason(&error))),
    }
    absolute.to_str().map(Arc::from).ok_or_else(|| format!("{shown} is not valid UTF-8; rename it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, parse};

    fn dev(line: &str) -> Result<Settings, Failure> {
        match parse("brolly", line.split_whitespace().map(Into::into)) {
            Ok(Command::Dev(dev)) => Settings::dev(&dev),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn dev_has_the_directory_the_backends_and_the_endpoints() {
        let settings = dev(
            "brolly dev src /api/=http://localhost:8111 /v2=http://localhost:8111/x/ /y=http://[::1] /docs/=./examples \
                 app.localhost/a=../host/src app.localhost=http://localhost:8111",
        )
        .unwrap();
        let config = settings.config;
        assert!(config.log_requests);
        let to = |path| config.routes.find("any", path).map(|route| &config.handlers[route.to.handler]);
        let proxy = |upstream, replace: Option<&str>| {
            Handler::Proxy(Proxy { upstream, replace_prefix: replace.map(Into::into), ..Proxy::default() })
        };
        assert_eq!(to("/api/a"), Some(&proxy(0, None)));
        assert_eq!(to("/v2"), Some(&proxy(0, Some("/x/"))));
        assert_eq!(to("/y"), Some(&proxy(1, None)));
        assert_eq!(config.upstreams[1].servers, [Server::tcp("::1", 80)]);
        assert_eq!(to("/-/publish/a/b"), Some(&Handler::Publish));
        assert_eq!(to("/-/brolly.js"), Some(&Handler::Memory(assets::script())));
        let Some(Handler::Files(files)) = to("/other") else { panic!("no files") };
        assert!(Path::new(&*files.root).is_absolute() && files.root.ends_with("/src"));
        let Some(Handler::Files(files)) = to("/docs/a") else { panic!("no files") };
        assert!(files.root.ends_with("/examples"));
        let at_host = |path| config.routes.find("app.localhost", path).map(|route| &config.handlers[route.to.handler]);
        assert!(matches!(at_host("/a/b"), Some(Handler::Files(files)) if files.root.ends_with("/src")));
        assert_eq!(at_host("/docs/a"), Some(&proxy(0, None)));
    }

    #[test]
    fn a_backend_may_have_everything() {
        let settings = dev("brolly dev src /=http://localhost:8111").unwrap();
        let found = settings.config.routes.find("any", "/x").map(|route| &settings.config.handlers[route.to.handler]);
        assert!(matches!(found, Some(Handler::Proxy(_))));
    }

    #[test]
    fn dev_says_what_is_wrong() {
        for (line, message) in [
            (
                "brolly dev /no/such/directory",
                "cannot serve this directory: /no/such/directory: there is no such file or directory",
            ),
            (
                "brolly dev Cargo.toml",
                "cannot serve this directory: Cargo.toml is not a directory; name the one it is in",
            ),
            ("brolly dev src /a=http://a /a/=http://b", "the prefix `/a/` is taken already; write it once"),
            ("brolly dev src a.b=http://a a.b/=./src", "the prefix `a.b/` is taken already; write it once"),
            (
                "brolly dev src /a=./missing",
                "cannot serve this directory: ./missing: there is no such file or directory",
            ),
            ("brolly dev src /-/ws=http://a", "the prefix `/-/ws` is taken already; write it once"),
        ] {
            assert_eq!(dev(line).unwrap_err().to_string(), message);
        }
    }
}
