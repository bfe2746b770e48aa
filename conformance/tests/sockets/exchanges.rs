//! The table of exchanges with session pools, `conformance/cases/sessions/`, with both binaries.

use crate::server::{Binary, binaries, directory};
use brolly_conformance::exchange::{Row, Sockets, play, rows};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Rows at once: most of them wait most of the time.
const AT_ONCE: usize = 4;

#[test]
fn brolly_holds_the_exchanges() {
    run(&binaries()[0]);
}

#[test]
fn brolly_smol_holds_the_exchanges() {
    run(&binaries()[1]);
}

/// Plays all rows, or those whose names contain what `ROWS` says.
fn run(binary: &Binary) {
    let directory = directory(&format!("exchanges-{}", binary.name));
    let wanted = std::env::var("ROWS").unwrap_or_default();
    let mut rows = rows(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/sessions"));
    rows.retain(|row| row.name.contains(&wanted) && !row.is_for_shards);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            let own = directory.join(row.place.replace([':', '.'], "-"));
            let result = Sockets::new(row, 2, &binary.path, &own).and_then(|mut world| play(row, &mut world));
            failed.extend(result.err().map(|why| told(row, &why)));
        }
        failed
    };
    let failed: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{}: {} of {} rows\n{}", binary.name, failed.len(), rows.len(), failed.join("\n"));
}

fn told(row: &Row, why: &str) -> String {
    format!("{}: {}\n    {}\n    {why}", row.place, row.name, row.fact)
}
