//! Upstreams as people write them, and as they should not.

use super::*;
use crate::config::source::Source;
use brolly_core::upstream::Probing;
use std::path::Path;

fn parse(text: &str) -> Result<Config, Failure> {
    let source = Source { name: "brolly.toml", text };
    let document = source.parse()?;
    let mut config = Config::default();
    let mut warnings = Vec::new();
    let mut clients = Clients::new(Path::new(""), &mut warnings);
    upstreams(&Section::new(source, &document), &mut config, &mut clients)?;
    Ok(config)
}

#[test]
fn an_upstream_with_everything() {
    let config = parse(
        r#"
        [upstreams.app]
        servers = ["http://127.0.0.1:8111", "app.test:81"]
        fallbacks = ["unix:/run/app.sock"]
        balance = "hash:cookie:sid"
        connections = 256
        queue = 0
        queue_timeout = "4s"
        idle_connections = 32
        idle_connection_timeout = "3s"
        connect_timeout = "2s"
        first_byte_timeout = "1s"
        idle_timeout = "500ms"
        total_timeout = "10m"
        retries = 2
        eject = { failures = 4 }
        health = { path = "/up?x", status = [200, 204], healthy = 1, unhealthy = 7 }
        slow_start = "30s"
        host = "app.example.org:8443"
        proxy_protocol = true
        [upstreams.other]
        url = "http://[::1]"
        eject = false
        host = "upstream"
        "#,
    )
    .unwrap();
    let [app, other] = config.upstreams.as_slice() else { panic!("{:?}", config.upstreams) };
    let seconds = Duration::from_secs;
    assert_eq!(app.servers, [Server::tcp("127.0.0.1", 8111), Server::tcp("app.test", 81)]);
    assert_eq!(app.fallbacks, [Server::Unix("/run/app.sock".into())]);
    assert_eq!(app.rules.balance, Balance::Hash(Key::Cookie("sid".into())));
    assert_eq!((app.rules.connections, app.rules.queue, app.rules.idle, app.retries), (256, 0, 32, 2));
    assert_eq!(
        (app.queue_timeout, app.idle_connection_timeout, app.connect_timeout),
        (seconds(4), seconds(3), seconds(2))
    );
    assert_eq!((app.first_byte_timeout, app.idle_timeout), (seconds(1), Duration::from_millis(500)));
    assert_eq!((app.total_timeout, app.rules.slow_start), (Some(seconds(600)), seconds(30)));
    assert_eq!(app.rules.eject.map(|eject| (eject.failures, eject.period)), Some((4, seconds(10))));
    assert_eq!(app.rules.probing, Probing { healthy: 1, unhealthy: 7 });
    let check = app.health.as_ref().unwrap();
    assert_eq!((&*check.path, check.interval, check.timeout, check.status.len()), ("/up?x", seconds(5), seconds(2), 2));
    assert_eq!(app.host, HostField::Name("app.example.org:8443".into()));
    assert!(app.proxy_protocol && config.wants_local_addresses);
    assert_eq!((&other.rules.eject, &other.host), (&None, &HostField::Upstream));
    let report = report(&config.upstreams);
    for line in [
        "  app    http://127.0.0.1:8111, http://app.test:81; while none is up: unix:/run/app.sock\n",
        "         hash:cookie:sid; 256 connections per server, 32 of them kept; 0 requests wait 4s at most, then 503\n",
        "         2 more attempts where nothing can have happened; after 4 failures in a row a server rests for 10s; /up?x is asked for every 5s\n",
        "  other  http://[::1]\n",
    ] {
        assert!(report.contains(line), "{line}{report}");
    }
}

#[test]
fn a_host_needs_no_dot() {
    let config = parse("[upstreams.a]\nurl = 'http://x'\nhost = 'intranet'").unwrap();
    assert_eq!(config.upstreams.first().unwrap().host, HostField::Name("intranet".into()));
}

#[test]
fn mistakes_have_a_line_and_say_what_to_write_instead() {
    let server = "[upstreams.a]\nurl = 'http://x'\n";
    for (text, message) in [
        ("[upstreams.a]", "1: `servers` is missing; write servers = [\"http://localhost:8111\"]"),
        ("[upstreams.a]\nservers = []", "2: `servers` must not be empty; write servers = [\"http://localhost:8111\"]"),
        (
            "[upstreams.a]\nservers = 'http://x'",
            "2: `servers` must be a list such as [\"http://10.0.0.1:8111\", \"unix:/run/app.sock\"]",
        ),
        (
            "[upstreams.a]\nurl = 'http://x'\nservers = ['http://y']",
            "1: there is `url` and `servers`; put all of them into `servers`",
        ),
        ("[upstreams.a]\nservers = ['http://x',\n'http://x/']", "3: `servers` names this server twice; remove one"),
        (
            "[upstreams.a]\nservers = ['http://x',\n'http://y/z']",
            "3: `servers` must end before the path; write replace = \"/z\" in the route",
        ),
        (
            "[upstreams.a]\nservers = ['unix:app.sock']",
            "2: `servers` is wrong: `unix:app.sock` is not the path of a socket; write the whole path as in \
             \"unix:/run/app.sock\"",
        ),
        (
            &format!("{server}queue_timout = '1s'"),
            "3: `queue_timout` is not a key of an upstream; did you mean `queue_timeout`?",
        ),
        (
            &format!("{server}balance = 'least-outstandin'"),
            "3: `balance` is not \"least-outstandin\"; did you mean `least-outstanding`?",
        ),
        (&format!("{server}connections = 0"), "3: `connections` must be at least 1"),
        (&format!("{server}retries = 17"), "3: `retries` must be from 0 to 16"),
        (
            &format!("{server}idle_timeout = 60"),
            "3: `idle_timeout` must be a duration such as \"500ms\", \"30s\" or \"1m30s\", not \"60\"",
        ),
        (&format!("{server}connect_timeout = '0s'"), "3: `connect_timeout` must be at least \"1ms\""),
        (
            &format!("{server}eject = 5"),
            "3: `eject` must be written eject = { failures = 5, for = \"10s\" }, or eject = false",
        ),
        (&format!("{server}eject = {{ fail = 5 }}"), "3: `fail` is not a key of `eject`; did you mean `failures`?"),
        (&format!("{server}health = '/up'"), "3: `health` must be written health = { path = \"/health\" }"),
        (&format!("{server}health = {{}}"), "3: `path` is missing; write path = \"/health\""),
        (&format!("{server}health = {{ path = 'up' }}"), "3: `path` must be a path such as \"/health\", not \"up\""),
        (&format!("{server}health = {{ path = '/', status = [99] }}"), "3: `status` must be from 200 to 599"),
        (
            &format!("{server}host = 'upstreams'"),
            "3: `host` must be \"keep\", \"upstream\" or a name such as \"app.example.org\", not \"upstreams\"",
        ),
        (&format!("{server}proxy_protocol = 2"), "3: `proxy_protocol` must be true or false, not 2"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), format!("brolly.toml:{message}"));
    }
}
