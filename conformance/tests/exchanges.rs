//! The table of exchanges with session pools (`cases/sessions/`), through whole shards.
#![cfg(not(loom))]

use brolly_conformance::exchange::{Memory, Row, play, rows, rows_of};
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
