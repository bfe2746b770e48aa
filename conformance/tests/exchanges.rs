//! The table of exchanges with session pools (`cases/sessions/`), through whole shards.
#![cfg(not(loom))]

use brolly_conformance::exchange::{Memory, Row, Summary, live, play, rows, rows_of, setting};
use brolly_conformance::sim::Simulated;
use std::collections::BTreeSet;
use std::path::Path;

/// All rows, or those whose names contain what `ROWS` says.
fn table() -> Vec<Row> {
    let mut rows = rows(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/sessions"));
    let wanted = std::env::var("ROWS").unwrap_or_default();
    rows.retain(|row| row.name.contains(&wanted));
    rows
}

#[test]
fn one_shard_holds_the_table() {
    run(1);
}

#[test]
fn three_shards_hold_the_table() {
    run(3);
}

/// Every row in a world of its own: other shards, other sizes of what is read and written.
#[test]
fn drivers_hold_the_table_however_the_bytes_travel() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exchanges-drivers");
    let (rows, mut failed) = (table(), Vec::new());
    for (seed, row) in (1..).zip(rows.iter().filter(|row| row.shards.is_none())) {
        if let Err(why) = play(row, &mut Simulated::new(row, seed, &directory)) {
            failed.push(format!("{}: {} (seed {seed})\n    {}\n    {why}", row.place, row.name, row.fact));
        }
    }
    assert!(failed.is_empty(), "{} of {} rows\n{}", failed.len(), rows.len(), failed.join("\n"));
}

fn run(shards: u16) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("exchanges-{shards}"));
    let (rows, mut failed, mut names) = (table(), Vec::new(), BTreeSet::new());
    for row in rows.iter().filter(|row| row.shards.is_none_or(|wanted| wanted == shards)) {
        assert!(names.insert(&row.name), "{} is there twice", row.name);
        assert!(!row.fact.is_empty(), "{} stands for nothing", row.name);
        if let Err(why) = play(row, &mut Memory::new(row, shards, &directory)) {
            failed.push(format!("{}: {}\n    {}\n    {why}", row.place, row.name, row.fact));
        }
    }
    assert!(failed.is_empty(), "{} of {} rows\n{}", failed.len(), rows.len(), failed.join("\n"));
}

/// Everybody leaves for lunch: calls went behind a hundred requests about it.
#[test]
fn few_are_told_at_a_time_that_users_are_inactive() {
    let mut text = String::from("== Many become inactive at once\nfacts 7\npool inactivity = [\"app\"]\n");
    text += "pool active_when_connected = \"5s\"\nroute calls = { \"*\" = \"app\", \"other.*\" = \"other\" }\n";
    (0..40).for_each(|number| text += &format!("user u{number}\n"));
    text += "wait 5s\n";
    text += &"app gets POST /swindon/session_inactive\n".repeat(32);
    text += "app gets nothing\napp answers 200 {}\napp answers 500 {}\nwait 1ms\n";
    text += &"app gets POST /swindon/session_inactive\n".repeat(2);
    text += "app gets nothing\n";
    text += &"app answers 200 {}\n".repeat(32);
    text += "wait 1ms\n";
    text += &"app gets POST /swindon/session_inactive\napp answers 200 {}\n".repeat(6);
    text += "app gets nothing\nwait 2s\napp gets POST /swindon/session_inactive\napp answers 200 {}\nwait 60s\napp gets nothing\n";
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exchanges-many");
    for row in rows_of("many", &text) {
        play(&row, &mut Memory::new(&row, 1, &directory)).unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
fn no_more_than_a_thousand_messages_are_published_at_once() {
    let messages = |count| vec!["{\"topic\":\"a\",\"data\":1}"; count].join(",");
    let text = format!(
        "== Many\nnew: a limit\napi POST /v1/publish [{}] -> 400\napi POST /v1/publish [{}] -> 204\n",
        messages(1001),
        messages(1000)
    );
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exchanges-batch");
    for row in rows_of("batch", &text) {
        play(&row, &mut Memory::new(&row, 3, &directory)).unwrap_or_else(|why| panic!("{why}"));
    }
}

/// From one seed, with the real drivers, against a reference that is written to be understood.
#[test]
fn users_live_as_the_reference_says() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exchanges-life");
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=60).collect(),
    };
    let mut sum = Summary::default();
    for seed in seeds {
        let mut world = Simulated::new(&setting(), seed, &directory);
        let summary = live(seed, 120, &mut world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        sum.heard += summary.heard;
        sum.tellings += summary.tellings;
        sum.failures += summary.failures;
    }
    // Lives in which nothing happens prove nothing.
    assert!(sum.heard > 5000 && sum.tellings > 100 && sum.failures > 50 || std::env::var("SEED").is_ok(), "{sum:?}");
}
