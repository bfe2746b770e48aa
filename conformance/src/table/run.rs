//! All rows, several at a time: many of them wait.

use super::conversation::{Wire, hold};
use super::judge::{Verdict, judge};
use super::{Group, Row};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Opens the connection for a row.
pub type Connect<'c> = dyn Fn() -> io::Result<Box<dyn Wire>> + Sync + 'c;

/// How a row went.
#[derive(Clone, Debug)]
pub struct Outcome<'t> {
    /// Its group.
    pub group: &'t Group,
    /// The row.
    pub row: &'t Row,
    /// What came of it.
    pub verdict: Verdict,
}

/// Holds the conversations of all rows for which `wanted` holds, `workers` at a time, each over a connection of its own.
/// In the order of the table.
pub fn run<'t>(
    groups: &'t [Group],
    wanted: impl Fn(&Row) -> bool,
    workers: usize,
    connect: &Connect<'_>,
) -> Vec<Outcome<'t>> {
    let rows: Vec<_> = groups.iter().flat_map(|group| group.rows.iter().map(move |row| (group, row))).collect();
    let rows: Vec<_> = rows.into_iter().filter(|(_, row)| wanted(row)).collect();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((group, row)) = rows.get(at) else { return };
                    let verdict = match connect() {
                        Ok(mut wire) => judge(row, &hold(row, wire.as_mut())),
                        Err(error) => Verdict::Failed(format!("no connection: {error}")),
                    };
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((at, Outcome { group, row, verdict }));
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
