//! Pub-sub against a model: whatever happens between shards, clients and clocks, every subscriber sees exactly what it
//! should, or is told exactly what it cannot see.

mod model;
mod world;

use std::time::Duration;

use brolly_core::pubsub::{Body, Epoch, Limits, Message, Position, Positions, Topic};
use brolly_core::time::Instant;
use proptest::prelude::*;
use world::{EPOCH, TOPICS, World};

#[derive(Clone, Debug)]
enum Op {
    Advance { seconds: u64 },
    BreakNextReplay { client: u32 },
    CarryToHome { from: u16, to: u16, count: usize },
    CarryToShard { from: u16, to: u16, count: usize },
    FanOut { shard: u16, budget: usize },
    Publish { topic: usize, size: usize },
    Reconnect { client: u32, shard: u16 },
    Rewind { seconds: u64 },
    Subscribe { client: u32, shard: u16, topic: usize, since: Since },
    Unsubscribe { client: u32, topic: usize },
}

#[derive(Clone, Debug)]
enum Since {
    Back(u64),
    Future(u64),
    Nothing,
    OtherEpoch,
}

fn since() -> impl Strategy<Value = Since> {
    prop_oneof![
        3 => (0..6u64).prop_map(Since::Back),
        1 => (1..3u64).prop_map(Since::Future),
        3 => Just(Since::Nothing),
        1 => Just(Since::OtherEpoch),
    ]
}

fn op(shards: u16) -> impl Strategy<Value = Op> {
    let (client, topic, shard) = (0..4u32, 0..TOPICS.len(), move || 0..shards);
    prop_oneof![
        2 => (0..15u64).prop_map(|seconds| Op::Advance { seconds }),
        1 => client.clone().prop_map(|client| Op::BreakNextReplay { client }),
        6 => (shard(), shard(), 1..4usize).prop_map(|(from, to, count)| Op::CarryToHome { from, to, count }),
        6 => (shard(), shard(), 1..4usize).prop_map(|(from, to, count)| Op::CarryToShard { from, to, count }),
        4 => (shard(), 1..4usize).prop_map(|(shard, budget)| Op::FanOut { shard, budget }),
        7 => (topic.clone(), 0..200usize).prop_map(|(topic, size)| Op::Publish { topic, size }),
        2 => (client.clone(), shard()).prop_map(|(client, shard)| Op::Reconnect { client, shard }),
        1 => (0..5u64).prop_map(|seconds| Op::Rewind { seconds }),
        5 => (client.clone(), shard(), topic.clone(), since())
            .prop_map(|(client, shard, topic, since)| Op::Subscribe { client, shard, topic, since }),
        2 => (client, topic).prop_map(|(client, topic)| Op::Unsubscribe { client, topic }),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let durations = (0..20u64, 0..20u64);
    (0..5usize, 0..4000usize, 0..8000usize, 1..6usize, durations).prop_map(
        |(history_messages, history_bytes, total_bytes, topics, (age, linger))| Limits {
            history_messages,
            history_bytes,
            history_age: Duration::from_secs(age),
            total_bytes,
            topics,
            linger: Duration::from_secs(linger),
        },
    )
}

fn apply(world: &mut World, op: Op) {
    let topic = |index: usize| Topic::new(TOPICS[index]).unwrap();
    match op {
        Op::Advance { seconds } => {
            world.now = world.now + Duration::from_secs(seconds);
            world.pass_time();
        }
        Op::BreakNextReplay { client } => world.break_next_replay(client),
        Op::CarryToHome { from, to, count } => (0..count).for_each(|_| _ = world.carry_to_home(from, to)),
        Op::CarryToShard { from, to, count } => (0..count).for_each(|_| _ = world.carry_to_shard(from, to)),
        Op::FanOut { shard, budget } => assert!(world.fan_out(shard, budget) <= budget),
        Op::Publish { topic: index, size } => world.publish(&topic(index), size),
        Op::Reconnect { client, shard } => world.reconnect(client, shard),
        Op::Rewind { seconds } => {
            let back = Duration::from_secs(seconds).as_nanos() as u64;
            world.now = Instant::from_nanos(world.now.as_nanos().saturating_sub(back));
        }
        Op::Subscribe { client, shard, topic: index, since } => {
            let topic = topic(index);
            let counter = world.counter(&topic);
            let since = match since {
                Since::Back(messages) => Some(Position { epoch: EPOCH, offset: counter.saturating_sub(messages) }),
                // Far enough not to become true while the mail is under way.
                Since::Future(messages) => Some(Position { epoch: EPOCH, offset: u64::MAX - messages }),
                Since::Nothing => None,
                Since::OtherEpoch => Some(Position { epoch: Epoch(EPOCH.0 + 1), offset: counter }),
            };
            world.subscribe(client, shard, &topic, since);
        }
        Op::Unsubscribe { client, topic: index } => world.unsubscribe(client, &topic(index)),
    }
}

fn position() -> impl Strategy<Value = Position> {
    let number = || prop_oneof![0..20u64, any::<u64>()];
    (0..3u64, number()).prop_map(|(epoch, offset)| Position { epoch: Epoch(epoch), offset })
}

/// What a browser makes of an event (WHATWG HTML §9.2.6), written without looking at our encoder.
fn dispatched(event: &str) -> (Option<String>, String) {
    let (mut id, mut data) = (None, String::new());
    let lines = event.replace("\r\n", "\n").replace('\r', "\n");
    for line in lines.strip_suffix("\n\n").expect("a blank line at the end").split('\n') {
        assert!(!line.is_empty(), "only one event");
        match line.split_once(':').expect("no comments, no bare names") {
            ("data", value) => data += &format!("{}\n", value.strip_prefix(' ').unwrap_or(value)),
            ("id", value) => id = Some(value.strip_prefix(' ').unwrap_or(value).to_owned()),
            (name, _) => panic!("unexpected {name}"),
        }
    }
    (id, data.strip_suffix('\n').expect("data").to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_subscriber_sees_exactly_what_it_should(
        limits in limits(),
        (shards, ops) in (1..4u16).prop_flat_map(|shards| (Just(shards), prop::collection::vec(op(shards), 1..200))),
    ) {
        let mut world = World::new(shards, limits);
        for op in ops {
            apply(&mut world, op);
            world.check_limits();
        }
        world.drain();
        world.check_complete();
        world.check_end();
    }

    #[test]
    fn a_token_comes_back_as_it_went(all in prop::collection::vec(("[a-z]{1,20}", position()), 1..65)) {
        let mut positions = Positions::new();
        for (name, position) in &all {
            positions.push(&Topic::new(name).unwrap(), *position).unwrap();
        }
        let token = positions.to_string();
        prop_assert!(token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'.' | b'-')));
        let parsed = Positions::parse(token.as_bytes()).unwrap();
        prop_assert_eq!(&parsed, &positions);
        for (name, _) in &all {
            let lowest = all.iter().filter(|(of, _)| of == name).map(|(_, position)| *position).min();
            prop_assert_eq!(parsed.lookup(&Topic::new(name).unwrap()), lowest);
        }
    }

    #[test]
    fn only_what_we_would_write_is_a_token(token in "[0-3ag.-]{0,24}") {
        if let Ok(positions) = Positions::parse(token.as_bytes()) {
            prop_assert_eq!(positions.to_string(), token);
        }
    }

    #[test]
    fn no_bytes_are_too_strange_for_a_parser(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        _ = Positions::parse(&bytes);
        _ = Body::from_content(None, &bytes);
        _ = Body::from_content(Some(&bytes), b"{}");
    }

    #[test]
    fn text_stays_one_event_and_one_json_string(text in "(\\PC|[\r\n\"\\\\\u{0}:]|data: |id: ){0,40}") {
        let body = Body::from_content(Some(b"text/plain"), text.as_bytes()).unwrap();
        let position = Position { epoch: EPOCH, offset: 1 };
        let message = Message::new(&Topic::new("a").unwrap(), position, &body);
        let normalised = text.replace("\r\n", "\n").replace('\r', "\n");
        let event = std::str::from_utf8(&message.sse).unwrap();
        prop_assert_eq!(dispatched(event), (Some("e-e40c292c.1".to_owned()), normalised.clone()));
        prop_assert_eq!(dispatched(std::str::from_utf8(&message.sse_data).unwrap()), (None, normalised));
        prop_assert!(Body::from_content(Some(b"application/json"), &message.json).is_ok());
        let header = if message.ws.len() < 128 { 2 } else { 4 };
        let payload = Body::from_content(Some(b"application/json"), &message.ws[header..]);
        prop_assert!(payload.is_ok());
        prop_assert!(message.held_bytes() >= message.ws.len() + message.sse.len());
    }
}
