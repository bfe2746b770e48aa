//! The table of requests (`cases/http1/`) over sockets.

use crate::server::{both, directory};
use brolly_conformance::table::{self, SocketWire, Verdict};

/// Rows that wait for a deadline wait side by side.
const WORKERS: usize = 24;

#[test]
fn every_row_has_its_reaction() {
    let groups = table::load().unwrap_or_else(|why| panic!("{why}"));
    let folder = directory("table");
    both(|binary| {
        let server = binary.serve_config(&folder, table::site::CONFIG);
        let outcomes = table::run(&groups, |_| true, WORKERS, &|| {
            Ok(Box::new(SocketWire::new(Box::new(SocketWire::tcp(server.port)?))))
        });
        let failures: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| match &outcome.verdict {
                Verdict::Passed => None,
                Verdict::Allowed(why) | Verdict::Failed(why) => {
                    Some(format!("{} {}: {why}", outcome.group.name, outcome.row.id))
                }
            })
            .collect();
        assert!(failures.is_empty(), "{}, {} failures:\n{}", binary.name, failures.len(), failures.join("\n"));
        format!("{} rows\n", outcomes.len())
    });
}
