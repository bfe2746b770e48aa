//! Upstreams against what their words promise.

use super::*;
use crate::rng::Seed;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;

type Of = Upstream<u32, u32>;
type Endpoints = BTreeMap<u32, EndpointId<u32, u32>>;

fn rules() -> Rules {
    Rules {
        balance: Balance::LeastOutstanding,
        connections: 4,
        idle: 2,
        queue: 3,
        eject: Some(Eject { failures: 2, period: Duration::from_secs(10) }),
        probing: Probing { healthy: 2, unhealthy: 3 },
        slow_start: Duration::ZERO,
    }
}

fn at(seconds: u64) -> Instant {
    Instant::default() + Duration::from_secs(seconds)
}

fn of(servers: &[u32], fallbacks: &[u32]) -> (Of, Rng, Endpoints) {
    let upstream = Of::new(servers.iter().copied().map(Some), fallbacks.iter().copied().map(Some));
    let endpoints = upstream.endpoints().map(|(id, endpoint)| (*endpoint.address(), id)).collect();
    (upstream, Rng::new(Seed([3; 32]), 0), endpoints)
}

const ANY: Wanted<'static, u32, u32> = Wanted { key: 0, tried: &[], idle_for: Some(Duration::MAX) };

/// Which address gets the next request, over a new connection.
fn next(upstream: &mut Of, now: Instant, rules: &Rules, rng: &mut Rng, wanted: &Wanted<'_, u32, u32>) -> u32 {
    match upstream.place(now, rules, rng, wanted) {
        Placed::New { address, .. } => address,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_server_with_the_fewest_requests_is_next() {
    let (mut upstream, mut rng, _) = of(&[1, 2, 3], &[]);
    let mut got = BTreeMap::new();
    for _ in 0..12 {
        *got.entry(next(&mut upstream, at(0), &rules(), &mut rng, &ANY)).or_insert(0) += 1;
    }
    assert_eq!(got, BTreeMap::from([(1, 4), (2, 4), (3, 4)]));
    assert_eq!(upstream.place(at(0), &rules(), &mut rng, &ANY), Placed::Full);
}

#[test]
fn turns_are_taken() {
    let (mut upstream, mut rng, _) = of(&[1, 2, 3], &[9]);
    let rules = Rules { balance: Balance::RoundRobin, ..rules() };
    let got: Vec<_> = (0..6).map(|_| next(&mut upstream, at(0), &rules, &mut rng, &ANY)).collect();
    assert_eq!(got, [1, 2, 3, 1, 2, 3]);
}

/// A request that goes on to the next server takes that one's turn, and nobody else's.
#[test]
fn no_turn_is_skipped_because_of_a_retry() {
    let (mut upstream, mut rng, ids) = of(&[1, 2, 3], &[]);
    let rules = Rules { balance: Balance::RoundRobin, ..rules() };
    assert_eq!(next(&mut upstream, at(0), &rules, &mut rng, &ANY), 1);
    let retry = Wanted { tried: &[ids[&1]], ..ANY };
    assert_eq!(next(&mut upstream, at(0), &rules, &mut rng, &retry), 2);
    let got: Vec<_> = (0..4).map(|_| next(&mut upstream, at(0), &rules, &mut rng, &ANY)).collect();
    assert_eq!(got, [3, 1, 2, 3]);
}

/// Rendezvous hashing: who is not concerned does not move.
#[test]
fn keys_stay_where_they_are() {
    let rules = Rules { balance: Balance::Hash(Key::Path), connections: 10_000, ..rules() };
    let servers: Vec<u32> = (0..10).collect();
    let homes = |servers: &[u32]| {
        let (mut upstream, mut rng, _) = of(servers, &[]);
        let home = |key| next(&mut upstream, at(0), &rules, &mut rng, &Wanted { key: hash(&key), ..ANY });
        (0..2000).map(home).collect::<Vec<_>>()
    };
    let (all, fewer) = (homes(&servers), homes(&servers[..9]));
    let counts = servers.iter().map(|server| all.iter().filter(|home| *home == server).count());
    assert!(counts.clone().all(|count| (120..290).contains(&count)), "{:?}", counts.collect::<Vec<_>>());
    assert!(all.iter().zip(&fewer).all(|(before, after)| before == after || *before == 9));
}

#[test]
fn a_failing_server_rests_but_never_all_of_them() {
    let (mut upstream, mut rng, ids) = of(&[1, 2], &[]);
    let rules = rules();
    let fail = |upstream: &mut Of, now, address| {
        upstream.endpoint_mut(ids[&address]).is_some_and(|of| of.health.failed(now, rules.eject))
    };
    assert!(!fail(&mut upstream, at(0), 1), "once is not often");
    assert!(fail(&mut upstream, at(0), 1) && !fail(&mut upstream, at(0), 1), "it rests already");
    let free = Rules { connections: 1000, ..rules.clone() };
    assert!((0..20).all(|_| next(&mut upstream, at(1), &free, &mut rng, &ANY) == 2));
    assert!(!fail(&mut upstream, at(1), 2) && fail(&mut upstream, at(1), 2));
    let got: BTreeSet<_> = (0..40).map(|_| next(&mut upstream, at(2), &free, &mut rng, &ANY)).collect();
    assert_eq!(got, BTreeSet::from([1, 2]), "none is up: all are used");
    // The rest is over, and one more failure is enough.
    assert!(upstream.endpoint(ids[&1]).unwrap().health.is_up(at(10)));
    assert!(fail(&mut upstream, at(10), 1));
    upstream.endpoint_mut(ids[&1]).unwrap().health.succeeded();
    assert!(!fail(&mut upstream, at(30), 1));
}

#[test]
fn fallbacks_are_asked_while_no_server_is_up() {
    let (mut upstream, mut rng, ids) = of(&[1], &[8, 9]);
    let rules = Rules { connections: 1000, ..rules() };
    assert!((0..20).all(|_| next(&mut upstream, at(0), &rules, &mut rng, &ANY) == 1));
    for _ in 0..3 {
        let _ = upstream.endpoint_mut(ids[&1]).unwrap().health.probed(at(0), false, &rules);
    }
    assert_eq!(upstream.endpoint(ids[&1]).unwrap().state(at(0)), State::Down);
    let got: BTreeSet<_> = (0..40).map(|_| next(&mut upstream, at(1), &rules, &mut rng, &ANY)).collect();
    assert_eq!(got, BTreeSet::from([8, 9]));
    for _ in 0..2 {
        let _ = upstream.endpoint_mut(ids[&1]).unwrap().health.probed(at(2), true, &rules);
    }
    assert_eq!(next(&mut upstream, at(3), &rules, &mut rng, &ANY), 1);
    // The request that it has just failed goes elsewhere all the same.
    let tried = [ids[&1]];
    assert_ne!(next(&mut upstream, at(3), &rules, &mut rng, &Wanted { tried: &tried, ..ANY }), 1);
}

#[test]
fn probes_count_in_a_row() {
    let (mut health, rules) = (Health::default(), rules());
    let probes = [false, false, true, false, false, false, true, false, true, true];
    let states: Vec<_> = probes.into_iter().map(|is_good| health.probed(at(0), is_good, &rules)).collect();
    let mut expected = vec![None; 10];
    (expected[5], expected[9]) = (Some(State::Down), Some(State::Up));
    assert_eq!(states, expected);
}

#[test]
fn a_server_that_comes_back_gets_more_and_more() {
    let rules =
        Rules { slow_start: Duration::from_secs(100), balance: Balance::RoundRobin, connections: 100_000, ..rules() };
    let (mut upstream, mut rng, ids) = of(&[1, 2], &[]);
    for is_good in [false, false, false, true, true] {
        let _ = upstream.endpoint_mut(ids[&1]).unwrap().health.probed(at(0), is_good, &rules);
    }
    let mut share = |now| (0..1000).filter(|_| next(&mut upstream, now, &rules, &mut rng, &ANY) == 1).count();
    let shares = [0, 50, 100].map(|seconds| share(at(seconds)));
    assert!(shares[0] < 120 && (250..420).contains(&shares[1]) && shares[2] == 500, "{shares:?}");
}

#[test]
fn idle_connections_are_used_latest_first_and_only_while_they_are_good_enough() {
    let (mut upstream, mut rng, ids) = of(&[1], &[]);
    let (rules, id) = (rules(), ids[&1]);
    for conn in 1..=3 {
        assert_eq!(next(&mut upstream, at(0), &rules, &mut rng, &Wanted { idle_for: None, ..ANY }), 1);
        assert_eq!(upstream.keep(at(conn.into()), &rules, id, conn), (conn == 3).then_some(1), "two are kept");
        if conn == 3 {
            upstream.closed(id, 1);
        }
    }
    let fresh = |seconds| Wanted { idle_for: Some(Duration::from_secs(seconds)), ..ANY };
    assert_eq!(upstream.place(at(5), &rules, &mut rng, &fresh(2)), Placed::Reused(id, 3));
    assert_eq!(next(&mut upstream, at(5), &rules, &mut rng, &fresh(2)), 1, "2 is idle for 3 seconds");
    assert_eq!(next(&mut upstream, at(5), &rules, &mut rng, &Wanted { idle_for: None, ..ANY }), 1);
    // Four are open, one of them idle: it has to go for another.
    let placed = upstream.place(at(5), &rules, &mut rng, &fresh(2));
    assert_eq!(placed, Placed::New { endpoint: id, address: 1, instead_of: Some(2) });
    upstream.closed(id, 2);
    assert_eq!(upstream.place(at(5), &rules, &mut rng, &ANY), Placed::Full);
    assert_eq!(upstream.endpoint(id).unwrap().outstanding(), 4);
}

#[test]
fn names_are_looked_up_again_and_old_addresses_finish_what_they_have() {
    let mut upstream = Of::new([None].into_iter(), [].into_iter());
    let (mut rng, rules) = (Rng::new(Seed([3; 32]), 0), rules());
    assert_eq!(upstream.place(at(0), &rules, &mut rng, &ANY), Placed::Nowhere);
    assert_eq!((upstream.due_lookup(at(0)), upstream.due_lookup(at(0))), (Some(0), None));
    assert_eq!(upstream.place(at(0), &rules, &mut rng, &ANY), Placed::Unresolved);
    assert!(upstream.resolved(0, Some(vec![1, 2]), at(30)).is_empty());
    assert_eq!(upstream.due_lookup(at(29)), None);
    let ids: Endpoints = upstream.endpoints().map(|(id, of)| (*of.address(), id)).collect();
    // One connection of each is idle, one of 1 is in use.
    for (conn, address) in [(10, 1), (20, 2), (11, 1)] {
        let tried = [ids[&(3 - address)]];
        assert_eq!(
            next(&mut upstream, at(0), &rules, &mut rng, &Wanted { tried: &tried, idle_for: None, ..ANY }),
            address
        );
        if conn != 11 {
            assert_eq!(upstream.keep(at(0), &rules, ids[&address], conn), None);
        }
    }
    // A look-up that fails changes nothing.
    assert_eq!(upstream.due_lookup(at(30)), Some(0));
    assert!(upstream.resolved(0, None, at(31)).is_empty());
    assert_eq!(upstream.endpoints().count(), 2);
    assert_eq!(upstream.due_lookup(at(31)), Some(0));
    assert_eq!(upstream.resolved(0, Some(vec![2, 3]), at(61)), [10]);
    upstream.closed(ids[&1], 10);
    assert_eq!(upstream.endpoint(ids[&1]).unwrap().state(at(31)), State::Leaving);
    let got: BTreeSet<_> =
        (0..4).map(|_| next(&mut upstream, at(32), &rules, &mut rng, &Wanted { idle_for: None, ..ANY })).collect();
    assert_eq!(got, BTreeSet::from([2, 3]));
    assert_eq!(upstream.keep(at(33), &rules, ids[&1], 11), Some(11), "nothing of it is kept");
    upstream.closed(ids[&1], 11);
    assert!(upstream.endpoint(ids[&1]).is_none());
}

#[test]
fn probes_are_spread_and_one_at_a_time() {
    let (mut upstream, mut rng, ids) = of(&[1, 2, 3, 4], &[]);
    let interval = Duration::from_secs(8);
    assert_eq!(upstream.due_probe(at(0), interval, &mut rng), None);
    let first: BTreeSet<_> = upstream.endpoints().map(|(_, of)| of.probe_at().unwrap()).collect();
    assert!(first.len() == 4 && first.iter().all(|at| *at < self::at(8)));
    let mut probed = BTreeSet::new();
    while let Some(id) = upstream.due_probe(at(8), interval, &mut rng) {
        assert!(probed.insert(id));
    }
    assert_eq!(probed, ids.into_values().collect());
    assert_eq!((upstream.due_probe(at(99), interval, &mut rng), upstream.next_probe()), (None, None));
    for id in &probed {
        upstream.endpoint_mut(*id).unwrap().end_probe();
    }
    assert_eq!(upstream.next_probe(), Some(at(16)));
}

#[test]
fn who_waits_longest_is_next() {
    let mut queue = Queue::default();
    (0..5).for_each(|who| queue.push(who));
    queue.remove(2);
    let first = queue.pop().unwrap();
    queue.put_back(first);
    let mut order = Vec::new();
    while let Some(who) = queue.pop() {
        order.push(who);
    }
    assert_eq!((order, queue.is_empty()), (vec![0, 1, 3, 4], true));
}
