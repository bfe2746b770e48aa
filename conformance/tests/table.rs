//! The table of requests (`cases/http1/`), through whole shards: as sent, byte by byte, and in random pieces.
#![cfg(not(loom))]

use brolly_conformance::table::{self, Cuts, Group, Only, ShardWire, Verdict, hold, judge};
use brolly_core::config::Config;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn groups() -> Vec<Group> {
    table::load().unwrap_or_else(|why| panic!("{why}"))
}

fn site() -> Arc<Config> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("table-site.toml");
    fs::write(&file, table::site::CONFIG).unwrap();
    table::site::write_files(file.parent().unwrap()).unwrap();
    Arc::new(brolly_host::config::load(&file).unwrap().config)
}

#[test]
fn every_row_says_something_of_its_own() {
    let groups = groups();
    let rows: Vec<_> = groups.iter().flat_map(|group| &group.rows).collect();
    let (mut ids, mut conversations) = (BTreeMap::new(), BTreeMap::new());
    for row in &rows {
        assert_eq!(ids.insert(&row.id, ()), None, "{} is there twice", row.id);
        let said = format!(
            "{:?}",
            row.steps.iter().filter(|step| !matches!(step, table::Step::Answer(_))).collect::<Vec<_>>()
        );
        assert_eq!(conversations.insert(said, &row.id), None, "{} says what another row says", row.id);
        assert!(row.end != table::End::Either || row.expected().count() > 0, "{} requires nothing", row.id);
    }
    assert!(rows.len() >= 300, "{} rows", rows.len());
}

#[test]
fn a_shard_reacts_as_required_however_the_bytes_are_cut() {
    let (config, mut failures) = (site(), Vec::new());
    for group in groups() {
        for row in group.rows.iter().filter(|row| row.only != Only::Tls) {
            for cuts in [Cuts::Whole, Cuts::Bytes, Cuts::Random(1), Cuts::Random(2)] {
                let reaction = hold(row, &mut ShardWire::new(Arc::clone(&config), cuts));
                if let Verdict::Failed(why) | Verdict::Allowed(why) = judge(row, &reaction) {
                    failures.push(format!("{} {} ({cuts:?}): {why}", group.name, row.id));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
