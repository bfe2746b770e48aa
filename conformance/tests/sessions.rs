//! Sessions against a model that is written for clarity: the same events at the same times.

use brolly_core::session::{Event, Presence, Sessions, Status, Timeouts, User, home};
use brolly_core::time::{Instant, Now, UnixTime};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Op {
    Connect(usize, u8),
    Disconnect(usize, u8),
    Activate(usize, u64),
    Attach(usize, u8),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..3_usize, 0..3_u8).prop_map(|(user, conn)| Op::Connect(user, conn)),
        3 => (0..3_usize, 0..3_u8).prop_map(|(user, conn)| Op::Disconnect(user, conn)),
        2 => (0..3_usize, 0..20_u64).prop_map(|(user, seconds)| Op::Activate(user, seconds)),
        1 => (0..3_usize, 0..2_u8).prop_map(|(user, lattice)| Op::Attach(user, lattice)),
        3 => (1..12_u64).prop_map(Op::Wait),
    ]
}

/// One user, second by second.
#[derive(Clone, Debug, Default)]
struct ModelUser {
    /// Seconds that are left; `None`: inactive.
    active: Option<u64>,
    conns: BTreeSet<u8>,
    lattices: BTreeSet<std::sync::Arc<str>>,
}

fn timeouts() -> Timeouts {
    Timeouts { connected: 5 * SECOND, shortest: 2 * SECOND, longest: 9 * SECOND }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn sessions_do_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        let users: [User; 3] = ["ann", "bob", "eve"].map(User::from);
        let mut sessions = Sessions::<(usize, u8)>::new(timeouts());
        let mut model: [Option<ModelUser>; 3] = [None, None, None];
        let mut now = Now { instant: Instant::default(), unix: UnixTime::default() };
        for op in ops {
            let mut expected = Vec::new();
            let changed = |user: usize, status| Event::Changed { user: users[user].clone(), status };
            let extend = |user: usize, of: &mut ModelUser, seconds: u64, events: &mut Vec<Event>| {
                if of.active.is_none() {
                    events.push(changed(user, Status::Active));
                }
                of.active = Some(of.active.unwrap_or_default().max(seconds));
            };
            let end = |user: usize, of: ModelUser, events: &mut Vec<Event>| {
                events.push(changed(user, Status::Offline));
                let lattices = of.lattices;
                events.push(Event::Ended { user: users[user].clone(), lattices, watched: BTreeSet::new() });
            };
            match op {
                Op::Connect(user, conn) => {
                    sessions.connect(now, (user, conn), &users[user]);
                    let of = model[user].get_or_insert_default();
                    of.conns.insert(conn);
                    extend(user, of, 5, &mut expected);
                }
                Op::Disconnect(user, conn) => {
                    sessions.disconnect((user, conn), &users[user]);
                    if let Some(of) = &mut model[user] {
                        of.conns.remove(&conn);
                        if of.conns.is_empty() && of.active.is_none() {
                            end(user, model[user].take().unwrap(), &mut expected);
                        }
                    }
                }
                Op::Activate(user, seconds) => {
                    sessions.activate(now, &users[user], Duration::from_secs(seconds));
                    if let Some(of) = &mut model[user] {
                        extend(user, of, seconds.clamp(2, 9), &mut expected);
                    }
                }
                Op::Attach(user, lattice) => {
                    let name = lattice.to_string().into();
                    prop_assert_eq!(sessions.attach(&users[user], &name), model[user].is_some());
                    if let Some(of) = &mut model[user] {
                        of.lattices.insert(name);
                    }
                }
                Op::Wait(seconds) => {
                    for _ in 0..seconds {
                        now.instant = now.instant + SECOND;
                        sessions.handle_timeout(now);
                        for user in 0..3 {
                            let Some(of) = &mut model[user] else { continue };
                            let Some(left) = &mut of.active else { continue };
                            *left -= 1;
                            if *left > 0 {
                                continue;
                            }
                            of.active = None;
                            expected.push(Event::Inactive { user: users[user].clone() });
                            if of.conns.is_empty() {
                                end(user, model[user].take().unwrap(), &mut expected);
                            } else {
                                expected.push(changed(user, Status::Inactive));
                            }
                        }
                    }
                }
            }
            let events: Vec<_> = std::iter::from_fn(|| sessions.poll_event()).collect();
            prop_assert_eq!(events, expected);
            let soonest = model.iter().flatten().filter_map(|of| of.active).min();
            prop_assert_eq!(sessions.poll_timeout(), soonest.map(|left| now.instant + Duration::from_secs(left)));
            for (user, of) in users.iter().zip(&model) {
                let status = of.as_ref().map_or(Status::Offline, |of| match of.active {
                    Some(_) => Status::Active,
                    None => Status::Inactive,
                });
                prop_assert_eq!(sessions.status(user), status);
                let conns: Vec<u8> = sessions.connections(user).map(|(_, conn)| conn).collect();
                prop_assert_eq!(conns, of.iter().flat_map(|of| of.conns.iter().copied()).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn watchers_are_told_newer_stamps_whatever_the_clock_says() {
    let (ann, bob): (User, User) = ("ann".into(), "bob".into());
    let mut presence = Presence::default();
    presence.watch(&bob, &ann);
    let stamps: Vec<u64> = [5, 5, 3, 9]
        .map(|millis| presence.stamp(UnixTime::from_millis(millis), &bob, Status::Active).stamp)
        .into_iter()
        .collect();
    assert_eq!(stamps, [5, 6, 7, 9]);
    assert_eq!(presence.watchers("bob").collect::<Vec<_>>(), [&ann]);
    presence.unwatch(&bob, &ann);
    assert_eq!(presence, Presence::default());
}

#[test]
fn homes_are_spread() {
    let mut load = BTreeMap::new();
    for number in 0..4000 {
        *load.entry(home(&format!("user{number}"), 4)).or_insert(0) += 1;
    }
    assert!(load.len() == 4 && load.values().all(|users| (800..1200).contains(users)), "{load:?}");
    assert_eq!(home("ann", 0), 0);
}
