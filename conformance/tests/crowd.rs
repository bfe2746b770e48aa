//! 100,000 connections in 1,000 sessions: what happens to one user costs the same as if nobody else was there. Counted in how often
//! drivers look at anything, in the simulator, and in comparisons within the sessions; for what neither shows, beside each other in time.
#![cfg(not(loom))]

use brolly_conformance::exchange::{Life, crowded, gather};
use brolly_conformance::sim::Simulated;
use brolly_core::session::{Sessions, Timeouts, User};
use brolly_core::time::Now;
use std::cell::Cell;
use std::cmp::Ordering;
use std::path::Path;
use std::time::{Duration, Instant};

/// How much longer half of all rounds may take in a crowd, for caches. A look at every connection in each turn would cost four times as much.
const FACTOR: f64 = 2.0;

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

/// Two worlds: with one idle connection, and with 100,000 in 1,000 sessions. The same users live in both. By turns, so that
/// whatever else the machine does meanwhile hits both.
#[test]
fn a_crowd_that_does_nothing_costs_nothing() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crowd");
    let mut worlds = [1, 100_000].map(|connections| {
        let mut world = Simulated::wide(&crowded(), 1, &directory);
        gather(connections, connections.min(1000), &mut world).unwrap_or_else(|why| panic!("{why}"));
        world.reseed(2);
        world
    });
    let before = worlds.each_ref().map(Simulated::looks);
    let mut ratios = Vec::new();
    let mut lives = worlds.each_mut().map(|world| Life::new(3, world));
    for _ in 0..400 {
        let [few, many] = lives.each_mut().map(|life| {
            let began = Instant::now();
            life.live_on().unwrap_or_else(|why| panic!("{why}"));
            began.elapsed().as_secs_f64()
        });
        ratios.push(many / few);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    let [few, many] = lives.map(|life| life.end().unwrap_or_else(|why| panic!("{why}")));
    assert!(few.heard > 300 && few.heard == many.heard, "{few:?}, {many:?}");
    let [few, many] = [0, 1].map(|at| worlds[at].looks() - before[at]);
    println!("{few} looks, {many} in a crowd; {median:.2} times as long");
    assert!(few > 1000 && few == many, "{few} looks without, and {many} with a crowd");
    assert!(median < FACTOR, "with a crowd it takes {median:.2} times as long");
}
