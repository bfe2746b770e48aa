//! A whole shard, driven by hand: what must hold for any splitting and interleaving, and bugs that were found.
#![cfg(not(loom))]

use brolly_core::config::{Config, Handler, Limits};
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route, Routes};
use brolly_core::shard::{ConnId, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

fn at(seconds: u64) -> Now {
    Now { instant: Instant::from_nanos((1 + seconds) * 1_000_000_000), unix: UnixTime::from_millis(seconds * 1000) }
}

fn config(limits: Limits) -> Arc<Config> {
    let handlers = vec![
        ("/echo", Handler::Echo),
        ("/ws", Handler::WebSocket),
        ("/sse", Handler::EventStream),
        ("/poll", Handler::LongPoll),
        ("/publish", Handler::Publish),
    ];
    let mut routes = Routes::default();
    for (to, (prefix, _)) in handlers.iter().enumerate() {
        routes.add(Route { host: HostPattern::Any, prefix: (*prefix).into(), to }).unwrap();
    }
    let handlers = handlers.into_iter().map(|(_, handler)| handler).collect();
    Arc::new(Config { limits, routes, handlers, ..Config::default() })
}

fn shard(limits: Limits) -> Shard {
    Shard::new(config(limits), 0, 1, Seed([7; 32]))
}

fn accept(shard: &mut Shard, now: Now) -> ConnId {
    shard.handle_accept(now, SocketAddr::from(([10, 0, 0, 1], 1024))).unwrap()
}

/// Deadlines that passed were due for ever: `handle_timeout` never came back.
#[test]
fn a_reader_that_does_not_read_is_dropped() {
    let limits = Limits { write_timeout: Duration::from_secs(3), ..Limits::default() };
    let mut shard = shard(limits);
    let conn = accept(&mut shard, at(0));
    shard.handle_read(at(0), conn, &mut b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n".to_vec());
    assert!(shard.interest(conn).write && !shard.interest(conn).close);
    shard.handle_timeout(at(4));
    assert!(shard.interest(conn).close, "the write deadline has passed");
    assert_eq!(shard.poll_changed(), Some(conn));
    shard.handle_closed(at(4), conn, None);
    assert_eq!(shard.usage().connections, 0);
}
