//! `table`: the table of requests (`cases/http1/`) against both binaries, and beside them what other people run.

mod backend;
mod servers;

use super::binaries::{self, NAMES};
use brolly_conformance::table::{self, Group, Only, Outcome, Row, SocketWire, Verdict};
use servers::Server;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Rows that wait for a deadline wait side by side.
const WORKERS: usize = 24;

/// What is to be run.
pub(crate) struct Plan {
    binaries: Vec<&'static str>,
    peers: bool,
    only: Option<String>,
}

impl Plan {
    /// Reads the command line after `table`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut plan = Self { binaries: NAMES.to_vec(), peers: false, only: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--binary" => {
                    let name = value()?;
                    let known = NAMES.into_iter().find(|known| known == name);
                    plan.binaries = vec![known.ok_or_else(|| format!("there is no binary `{name}`"))?];
                }
                "--only" => plan.only = Some(value()?.clone()),
                "--peers" => plan.peers = true,
                other => return Err(format!("`table` does not know `{other}`")),
            }
        }
        Ok(plan)
    }

    /// Holds the conversations with all servers, prints the table, and leaves the rows in `artefacts/table/`.
    pub(crate) fn run(self) -> ExitCode {
        match self.outcome() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        }
    }

    /// Whether all rows pass on brolly.
    fn outcome(&self) -> Result<bool, String> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = home.parent().unwrap_or(home);
        let groups = table::load()?;
        let binaries = binaries::build(root, &self.binaries, "dev")?;
        let folder = binaries.target.join("conformance/table");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut results = Vec::new();
        for binary in &binaries.list {
            let server = servers::brolly(binary.name, &binary.path, &folder)?;
            results.push(self.ask(&groups, &server));
        }
        let is_passed =
            results.iter().flat_map(|result| &result.outcomes).all(|outcome| outcome.verdict == Verdict::Passed);
        if self.peers {
            let backend = backend::start().map_err(|error| format!("no backend: {error}"))?;
            for server in servers::peers(&home.join("cases"), &folder, backend)? {
                results.push(self.ask(&groups, &server));
            }
        }
        let artefacts = root.join("artefacts/table");
        let summary = summary(&groups, &results);
        let files = [("summary.md", &summary), ("rows.md", &rows(&groups, &results))];
        fs::create_dir_all(&artefacts).map_err(|error| format!("{}: {error}", artefacts.display()))?;
        for (name, text) in files {
            fs::write(artefacts.join(name), text).map_err(|error| format!("{name}: {error}"))?;
        }
        println!("\n{summary}\nEach row: {}", artefacts.join("rows.md").display());
        Ok(is_passed)
    }

    fn ask<'t>(&self, groups: &'t [Group], server: &Server) -> Results<'t> {
        let is_ours = NAMES.contains(&&server.name[..]);
        let is_chosen = |id: &str| self.only.as_ref().is_none_or(|only| id.contains(&only[..]));
        let wanted = |row: &Row| match row.only {
            Only::Everybody | Only::Plain => is_chosen(&row.id),
            Only::Brolly => is_chosen(&row.id) && is_ours,
            Only::Tls => false,
        };
        let outcomes = table::run(groups, wanted, WORKERS, &|| {
            Ok(Box::new(SocketWire::new(Box::new(SocketWire::tcp(server.port)?))))
        });
        println!("{}: {} rows", server.name, outcomes.len());
        for Outcome { group, row, verdict } in outcomes.iter().filter(|_| is_ours) {
            if let Verdict::Failed(why) | Verdict::Allowed(why) = verdict {
                println!("  {} {}: {why}", group.name, row.id);
            }
        }
        Results { name: server.name.clone(), outcomes }
    }
}

/// How one server did.
struct Results<'t> {
    name: String,
    outcomes: Vec<Outcome<'t>>,
}

impl Results<'_> {
    /// Rows of a group (or of all) that passed, that went otherwise but safely, and that went wrong.
    fn counts(&self, group: Option<&str>) -> [usize; 3] {
        let mut counts = [0; 3];
        for outcome in self.outcomes.iter().filter(|outcome| group.is_none_or(|group| group == outcome.group.name)) {
            match outcome.verdict {
                Verdict::Passed => counts[0] += 1,
                Verdict::Allowed(_) => counts[1] += 1,
                Verdict::Failed(_) => counts[2] += 1,
            }
        }
        counts
    }
}

/// A line for each group, a column for each server.
fn summary(groups: &[Group], results: &[Results<'_>]) -> String {
    let mut text = String::from("| as required / otherwise, but safe / wrong |");
    for result in results {
        let _ = write!(text, " {} |", result.name);
    }
    let _ = write!(text, "\n|---|{}\n", "---|".repeat(results.len()));
    let mut line = |title: &str, group: Option<&str>| {
        let _ = write!(text, "| {title} |");
        for result in results {
            let [passed, allowed, failed] = result.counts(group);
            let _ = write!(text, " {passed} / {allowed} / {failed} |");
        }
        text.push('\n');
    };
    for group in groups {
        line(&group.title, Some(&group.name));
    }
    line("**all**", None);
    text
}

/// A line for each row that somebody did not pass.
fn rows(groups: &[Group], results: &[Results<'_>]) -> String {
    let mut text = String::from(
        "# Rows that not everybody passes\n\nWhat is not said passed. *Safe* means: refused\nin another way, or what the RFC allows too.\n",
    );
    for group in groups {
        let _ = write!(text, "\n## {}\n\n", group.title);
        for row in &group.rows {
            let mut said = String::new();
            for result in results {
                match result.outcomes.iter().find(|outcome| outcome.row.id == row.id).map(|outcome| &outcome.verdict) {
                    Some(Verdict::Allowed(why)) => _ = writeln!(said, "  - {}: safe: {why}", result.name),
                    Some(Verdict::Failed(why)) => _ = writeln!(said, "  - {}: **wrong**: {why}", result.name),
                    Some(Verdict::Passed) | None => {}
                }
            }
            if !said.is_empty() {
                let why = row.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                let _ = write!(text, "- `{}` {}{why}. RFC {}\n{said}", row.id, row.title, row.rfc);
            }
        }
    }
    text
}
