//! The configuration file of `serve` and `check`.

use super::Settings;
use super::admission::trust;
use super::limits::{Written, entries};
use super::listeners::listeners;
use super::routes::routes;
use super::sessions::pools;
use super::shaping;
use super::source::{Section, Source, boolean, kind, number};
use super::tls::{Clients, servers};
use super::upstreams::upstreams;
use crate::args::MAX_THREADS;
use crate::failure::Failure;
use crate::tls;
use brolly_core::config::{Config, Limits};
use std::num::NonZeroU16;
use std::path::Path;
use toml::de::DeValue;

/// Reads a file.
///
/// # Errors
/// It cannot be read, or it does not mean anything.
pub fn load(path: &Path) -> Result<Settings, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("cannot read the configuration file {name}: {}", crate::io::reason(&error)))
    })?;
    let directory =
        std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    read(Source { name: &name, text: &text }, &directory)
}

/// Reads the text of a file; relative paths in it begin at `directory`.
fn read(source: Source<'_>, directory: &Path) -> Result<Settings, Failure> {
    let document = source.parse()?;
    let file = Section::new(source, &document);
    file.only(
        &[
            "errors",
            "forwarded",
            "limits",
            "listen",
            "listeners",
            "log",
            "routes",
            "server",
            "session_pools",
            "threads",
            "tls",
            "trusted",
            "upstreams",
        ],
        "the file",
    )?;
    let mut config = Config { limits: limits(&file)?, ..Config::default() };
    config.log_requests = file.get("log", boolean)?.unwrap_or(true);
    trust(&file, &mut config)?;
    shaping::read_file(&file, &mut config, directory)?;
    let mut warnings = Vec::new();
    let servers = servers(&file, directory, &mut warnings)?;
    let mut clients = Clients::new(directory, &mut warnings);
    let names = upstreams(&file, &mut config, &mut clients)?;
    let clients = clients.all;
    pools(&file, &mut config, &names)?;
    routes(&file, &mut config, &names, directory)?;
    let listeners = listeners(&file, &mut config, &servers, directory)?;
    let threads = file.get("threads", |value| {
        let threads = number(value)?;
        let threads = u16::try_from(threads).ok().filter(|threads| *threads <= MAX_THREADS).and_then(NonZeroU16::new);
        threads.ok_or_else(|| format!("must be from 1 to {MAX_THREADS}"))
    })?;
    let tls = tls::Settings { servers: servers.servers, clients };
    Ok(Settings { config, listeners, tls, threads, warnings })
}

/// Reads `text` as if it were a file in `directory`.
#[cfg(test)]
pub(super) fn parse_in(text: &str, directory: &Path) -> Result<Settings, Failure> {
    read(Source { name: "brolly.toml", text }, directory)
}

fn limits(file: &Section<'_, '_>) -> Result<Limits, Failure> {
    let mut limits = Limits::default();
    let Some(section) = file.table("limits", "[limits]")? else { return Ok(limits) };
    let mut entries = entries(&mut limits);
    let keys: Vec<_> = entries.iter().map(|entry| entry.key).collect();
    section.only(&keys, "[limits]")?;
    for entry in &mut entries {
        section.get(entry.key, |value| match value {
            DeValue::String(text) => entry.set(Written::Text(text)),
            _ => match number(value) {
                Ok(number) => entry.set(Written::Number(number)),
                Err(_) => entry.set(Written::Text(&kind(value))),
            },
        })?;
    }
    Ok(limits)
}

#[cfg(test)]
pub(super) fn parse(text: &str) -> Result<Settings, Failure> {
    read(Source { name: "brolly.toml", text }, Path::new(env!("CARGO_MANIFEST_DIR")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::report::defaults;
    use brolly_core::config::{Handler, Proxy};
    use brolly_core::http1::StatusCode;

    fn listen(settings: &Settings) -> String {
        settings.listeners.iter().map(|listener| listener.place.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nothing_means_the_defaults_and_the_printed_defaults_mean_the_same() {
        let settings = parse("").unwrap();
        assert_eq!(settings, parse(&defaults()).unwrap());
        assert_eq!(settings.config.limits, Limits::default());
        assert_eq!((listen(&settings), settings.threads), ("127.0.0.1:8080".to_owned(), None));
    }

    #[test]
    fn a_whole_file() {
        let settings = parse(
            r#"
            listen = ["0.0.0.0:80", "[::]:8080"]
            threads = 3
            log = false
            limits = { connections = 50_000, heartbeat = "7s", http_head_bytes = "32KiB" }
            upstreams.app.url = "http://10.0.0.1:8111"
            upstreams.other.url = "http://localhost/"

            [[routes]]
            handler = "files"
            root = "src"
            [[routes]]
            prefix = "/api/"
            handler = "proxy"
            upstream = "other"
            replace = "/v2/"
            [[routes]]
            host = "*.Example.org"
            prefix = "/"
            handler = "redirect"
            location = "https://example.org/"
            status = 308
            [[routes]]
            host = "example.org"
            handler = "status"
            status = 410
            "#,
        )
        .unwrap();
        assert_eq!(listen(&settings), "0.0.0.0:80 [::]:8080");
        assert_eq!(settings.threads, NonZeroU16::new(3));
        let config = &settings.config;
        let expected =
            Limits { connections: 50_000, heartbeat: std::time::Duration::from_secs(7), ..Limits::default() };
        assert_eq!(config.limits.http.head_bytes, 32 * 1024);
        assert_eq!(Limits { http: expected.http, ..config.limits.clone() }, expected);
        let to = |host, path| config.routes.find(host, path).map(|route| &config.handlers[route.to.handler]);
        let other = config.upstreams.iter().position(|upstream| &*upstream.name == "other").unwrap();
        let proxy = Proxy { upstream: other, replace_prefix: Some("/v2/".into()), ..Proxy::default() };
        assert_eq!(to("x", "/api/users"), Some(&Handler::Proxy(proxy)));
        assert_eq!(to("example.org", "/x"), Some(&Handler::Status(StatusCode::GONE)));
        assert!(
            matches!(to("a.example.org", "/x"), Some(Handler::Redirect(redirect)) if redirect.status == StatusCode::PERMANENT_REDIRECT)
        );
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        assert!(matches!(to("x", "/y"), Some(Handler::Files(files)) if &*files.root == root));
        let report = settings.report();
        for line in [
            "listen:  0.0.0.0:80, [::]:8080\n",
            "threads: 3\n",
            "  any host       /api/  proxy to http://localhost/v2/, the prefix is replaced\n",
            "  *.example.org  /      redirect to https://example.org/ with 308\n",
            "connections = 50000                 # per shard; beyond: accepting stops\n",
            "  together        6.0 MiB\n",
        ] {
            assert!(report.contains(line), "{line}{report}");
        }
    }

    #[test]
    fn mistakes_have_a_line_and_say_what_to_write_instead() {
        for (text, message) in [
            ("lisen = []", "1: `lisen` is not a key of the file; did you mean `listen`?"),
            ("listen = []", "1: `listen` must not be empty"),
            ("listen = '1'", "1: `listen` must be a list such as [\"127.0.0.1:8080\"]"),
            (
                "listen = [\n'127.0.0.1:8080',\n'0.0.0.0']",
                "3: `listen` is wrong: `0.0.0.0` is not an address to listen on; write `0.0.0.0:8080`",
            ),
            ("a = ", "1: string values must be quoted, expected literal string"),
            ("a = 1\na = 2", "2: duplicate key"),
            ("threads = 0", "1: `threads` must be from 1 to 1024"),
            ("threads = 'x'", "1: `threads` must be a whole number, not \"x\""),
            ("log = 1", "1: `log` must be true or false, not 1"),
            (
                "\n[limits]\nidle_timeuot = '5s'",
                "3: `idle_timeuot` is not a key of [limits]; did you mean `idle_timeout`?",
            ),
            (
                "[limits]\nidle_timeout = -5",
                "2: `idle_timeout` must be a duration such as \"500ms\", \"30s\" or \"1m30s\", not \"-5\"",
            ),
            (
                "[limits]\ncontent_bytes = '5MB'",
                "2: `content_bytes` must be a size such as \"512B\", \"64KiB\" or \"1MiB\", not \"5MB\"",
            ),
            (
                "[limits]\nconnections = '5'",
                "2: `connections` must be a whole number such as 1000, without quotes, not \"5\"",
            ),
            ("limits = 1", "1: `limits` must be written [limits]"),
            ("routes = 1", "1: `routes` must be written [[routes]]"),
            ("routes = [1]", "1: `routes` must be written [[routes]]"),
            (
                "[upstreams.a]\nurl = 'http://x'\ntls = { name = 'y' }",
                "1: `tls` is for https:// alone; write it in `servers`, or remove `tls`",
            ),
            (
                "[upstreams.a]\nurl = 'http://x/y'",
                "2: `url` must end before the path; write replace = \"/y\" in the route",
            ),
            ("[upstreams.a]", "1: `servers` is missing; write servers = [\"http://localhost:8111\"]"),
            ("[upstreams]\na = 1", "2: `a` must be written [upstreams.a]"),
            ("[[routes]]\n", "1: `handler` is missing; write handler = \"files\""),
            ("[[routes]]\nhandler = 'fle'", "2: `handler` is not \"fle\"; did you mean `file`?"),
            ("[[routes]]\nhandler = 1", "2: `handler` must be a string in quotes, not 1"),
            (
                "[[routes]]\nhandler = 'xyzzy'",
                "2: `handler` is not \"xyzzy\"; there is `echo`, `empty-gif`, `event-stream`, `file`, `files`, `httpbin`, `long-poll`, `proxy`, \
                 `publish`, `redirect`, `script`, `self-status`, `sessions`, `status` and `websocket`",
            ),
            (
                "[[routes]]\nhandler = 'echo'\nroot = '.'",
                "3: `root` is not a key of `echo` routes; `brolly check --defaults` shows what there is",
            ),
            ("[[routes]]\nhandler = 'files'", "1: `root` is missing; write root = \"./public\""),
            (
                "[[routes]]\nhandler='files'\nroot='/no/such/directory'",
                "3: `root` is wrong: /no/such/directory: there is no such file or directory",
            ),
            (
                "[[routes]]\nhandler='files'\nroot='src'\nindex='a/b'",
                "4: `index` must be a file name such as \"index.html\"",
            ),
            ("[[routes]]\nhandler='proxy'", "1: `upstream` is missing; write upstream = \"NAME\""),
            (
                "[[routes]]\nhandler='proxy'\nupstream='a'",
                "3: `upstream` names \"a\", but there is no [upstreams.a]; add it with url = \"http://localhost:8111\"",
            ),
            (
                "upstreams.app.url='http://a'\n[[routes]]\nhandler='proxy'\nupstream='ap'",
                "4: `upstream` names \"ap\", but there is no [upstreams.ap]; did you mean `app`?",
            ),
            (
                "[[routes]]\nhandler='echo'\nprefix='a'",
                "3: `prefix` is wrong: the prefix `a` must begin with a slash; write `/a`",
            ),
            (
                "[[routes]]\nhandler='echo'\nhost='a:80'",
                "3: `host` must be a name such as \"example.org\" or \"*.example.org\", without port, not \"a:80\"",
            ),
            (
                "[[routes]]\nhandler='echo'\nprefix='/a'\n[[routes]]\nhandler='echo'\nprefix='/a/'",
                "4: there is a route for /a/ on the same host in line 1 already; remove one",
            ),
            ("[[routes]]\nhandler='status'\nstatus=100", "3: `status` must be a status from 200 to 599"),
            ("[[routes]]\nhandler='status'", "1: `status` is missing; write status = 404"),
            (
                "[[routes]]\nhandler='redirect'\nlocation='a b'",
                "3: `location` must be a path or URL in ASCII, without spaces",
            ),
            (
                "[[routes]]\nhandler='redirect'\nlocation='/'\nstatus=304",
                "4: `status` must be 301, 302, 303, 307 or 308",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("brolly.toml:{message}"));
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        assert_eq!(
            load(Path::new("/nonexistent.toml")).unwrap_err().to_string(),
            "cannot read the configuration file /nonexistent.toml: there is no such file or directory"
        );
    }
}
