//! The gateway's table, `conformance/cases/gateway/`, with both binaries.

use crate::server::{Binary, binaries, directory};
use brolly_conformance::gateway::{Scenario, Way, play, scenarios};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Scenarios at once: most of them wait most of the time.
const AT_ONCE: usize = 8;

#[test]
fn the_gateway_table_holds_for_brolly() {
    run(&binaries()[0], Way::Plain);
}

#[test]
fn the_gateway_table_holds_for_brolly_smol() {
    run(&binaries()[1], Way::Plain);
}

#[test]
fn the_gateway_table_holds_for_brolly_over_tls() {
    run(&binaries()[0], Way::Tls);
}

#[test]
fn the_gateway_table_holds_for_brolly_smol_over_tls() {
    run(&binaries()[1], Way::Tls);
}

/// Plays all rows, or those whose names contain what `ROWS` says.
fn run(binary: &Binary, way: Way) {
    let directory = directory(&format!("gateway-{}-{way:?}", binary.name));
    let wanted = std::env::var("ROWS").unwrap_or_default();
    let mut rows = scenarios(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/gateway"));
    rows.retain(|row| row.name.contains(&wanted) && (way == Way::Plain || !row.is_plain));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            let number = next.load(Ordering::Relaxed);
            let result = play(row, way, &binary.path, &directory.join(number.to_string()));
            failed.extend(match (&row.pending, result) {
                (None, Ok(())) | (Some(_), Err(_)) => None,
                (None, Err(why)) => Some(told(row, &why)),
                (Some(_), Ok(())) => Some(told(row, "it is mended: remove the line `pending`")),
            });
        }
        failed
    };
    let failed: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let count = failed.len();
    assert!(failed.is_empty(), "{}, {way:?}: {count} of {} rows\n{}", binary.name, rows.len(), failed.join("\n"));
}

fn told(row: &Scenario, why: &str) -> String {
    format!("{}: {}\n    {}\n    {why}", row.place, row.name, row.rfc)
}
