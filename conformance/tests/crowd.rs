//! 100,000 connections in 1,000 sessions: what happens to one user costs the same as if nobody else was there. Counted in what a driver
//! has to look at, and in comparisons within the sessions, not in time.
#![cfg(not(loom))]

use brolly_conformance::exchange::setting;
use brolly_core::session::{Sessions, Timeouts, User};
use brolly_core::shard::{Accepted, Address, ConnId, Effect, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use std::cell::Cell;
use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    static COMPARED: Cell<u64> = const { Cell::new(0) };
}

/// A connection that counts how often it is compared with another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Counted(usize);

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> Ordering {
        COMPARED.set(COMPARED.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[test]
fn sessions_look_at_nobody_but_whom_it_concerns() {
    let compared = |idle: usize| {
        let timeouts = Timeouts { connected: Duration::from_secs(3600), ..Timeouts::default() };
        let mut sessions = Sessions::<Counted>::new(timeouts);
        let now = Now::default();
        for conn in 0..idle * 100 {
            sessions.connect(now, Counted(conn), &format!("idle{}", conn % idle).as_str().into());
        }
        while sessions.poll_event().is_some() {}
        COMPARED.set(0);
        let user: User = "busy".into();
        for conn in 0..100 {
            let conn = Counted(1_000_000 + conn);
            sessions.connect(now, conn, &user);
            sessions.watch(&user, conn, &mut [User::from("idle0")].into());
            sessions.activate(now, &user, Duration::from_secs(1));
            sessions.handle_timeout(now);
            sessions.unwatch(&user, conn);
            sessions.disconnect(conn, &user);
            while sessions.poll_event().is_some() {}
        }
        COMPARED.get()
    };
    let (few, many) = (compared(1), compared(1000));
    assert!(few > 0 && few == many, "{few} comparisons with one idle session, {many} with 1,000");
}

/// A shard, and all that its driver has to look at.
struct World {
    shard: Shard,
    now: Now,
    backend: Option<ConnId>,
    /// What the backend answers next.
    answer: String,
    looks: u64,
}

impl World {
    fn new() -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crowd");
        let mut config = setting().load(
            1,
            &["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5"].map(str::to_owned),
            &directory,
        );
        config.limits.connections = 200_000;
        for pool in &mut config.pools {
            pool.timeouts.connected = Duration::from_secs(3600);
        }
        for upstream in &mut config.upstreams {
            upstream.fresh = Duration::from_secs(3600);
        }
        let now = Now { instant: Instant::from_nanos(1), unix: UnixTime::from_millis(1_700_000_000_000) };
        let shard = Shard::new(Arc::new(config), 0, 1, brolly_core::rng::Seed([3; 32]));
        Self { shard, now, backend: None, answer: String::new(), looks: 0 }
    }

    /// Does what a driver does, until nothing is left to do.
    fn drive(&mut self) {
        loop {
            if let Some(effect) = self.shard.poll_effect() {
                if let Effect::Connect { conn, to: Address::Tcp(_), .. } = effect {
                    self.backend = Some(conn);
                    self.shard.handle_connected(self.now, conn);
                }
            } else if let Some(conn) = self.shard.poll_changed() {
                self.visit(conn);
            } else if self.shard.poll_timeout().is_some_and(|at| at <= self.now.instant) {
                self.shard.handle_timeout(self.now);
            } else {
                return;
            }
            self.looks += 1;
        }
    }

    fn visit(&mut self, conn: ConnId) {
        let interest = self.shard.interest(conn);
        if interest.close {
            return self.shard.handle_closed(self.now, conn, None);
        }
        if interest.write {
            let mut slices: [&[u8]; 8] = [&[]; 8];
            let filled = self.shard.outgoing(conn, &mut slices);
            let bytes = slices[..filled].concat();
            let said = String::from_utf8_lossy(&bytes);
            let is_good =
                self.backend == Some(conn) || !said.starts_with("HTTP/1.1 4") && !said.starts_with("HTTP/1.1 5");
            assert!(is_good, "{said}");
            self.shard.handle_write(self.now, conn, bytes.len());
            if self.backend == Some(conn) {
                let answer = &self.answer;
                let text = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                    answer.len()
                );
                self.shard.handle_read(self.now, conn, &mut text.into_bytes());
            }
        }
        self.shard.handle_visited(conn);
    }

    fn accept(&mut self, listener: u16) -> ConnId {
        let peer = Some(([10, 0, 0, 1], 1024).into());
        self.shard.handle_accept(self.now, Accepted { listener, peer, local: None }).unwrap()
    }

    fn read(&mut self, conn: ConnId, text: &str) {
        self.shard.handle_read(self.now, conn, &mut text.as_bytes().to_vec());
        self.drive();
    }

    fn user(&mut self, name: &str) -> ConnId {
        let conn = self.accept(0);
        self.answer = format!("{{\"user_id\":\"{name}\"}}");
        self.read(
            conn,
            "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: v1.swindon-lattice+json\r\n\r\n",
        );
        conn
    }

    fn api(&mut self, conn: ConnId, method: &str, path: &str, content: &str) {
        let length = content.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{content}"
        );
        self.read(conn, &text);
    }

    /// What a user does, and what is done for them.
    fn live(&mut self) -> u64 {
        self.looks = 0;
        let api = self.accept(1);
        for round in 0..10 {
            let conn = self.user("busy");
            let id = format!("/v1/connection/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-{}", u128::from(conn.to_u64()) << 16);
            self.api(api, "PUT", &format!("{id}/subscriptions/a"), "");
            self.api(api, "POST", "/v1/publish/a", "1");
            self.api(api, "POST", "/v1/user/busy/publish/a", "1");
            self.api(api, "PUT", &format!("{id}/lattices/n"), "{\"private\":{\"busy\":{\"k\":{}}}}");
            self.api(api, "POST", "/v1/lattice/n", &format!("{{\"shared\":{{\"k\":{{\"x_counter\":{round}}}}}}}"));
            self.api(api, "PUT", &format!("{id}/users"), "[\"idle0\",\"nobody\"]");
            self.api(api, "POST", "/v1/users/status", "[\"idle0\",\"busy\"]");
            self.answer = "1".into();
            let call = "[\"a\",{\"request_id\":1,\"active\":5},[],{}]";
            let mut frame = vec![0x81, 0x80 | call.len() as u8, 0, 0, 0, 0];
            frame.extend_from_slice(call.as_bytes());
            self.shard.handle_read(self.now, conn, &mut frame);
            self.drive();
            self.shard.handle_closed(self.now, conn, None);
            self.drive();
        }
        self.looks
    }
}

#[test]
fn a_crowd_that_does_nothing_is_not_looked_at() {
    let looks = |connections: usize| {
        let mut world = World::new();
        for conn in 0..connections {
            world.user(&format!("idle{}", conn % 1000));
        }
        assert!(world.shard.connections() > connections);
        world.live()
    };
    let (few, many) = (looks(1), looks(100_000));
    assert!(few > 150 && few == many, "{few} looks with one idle connection, {many} with 100,000 in 1,000 sessions");
}
