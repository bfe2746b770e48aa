//! The table of Swindon's features: each row says what became of it, and names a check that is there.

use std::fs;
use std::path::{Path, PathBuf};

/// How many rows it has at least: one that is lost would not be missed otherwise.
const ROWS: usize = 100;

#[test]
fn every_feature_has_a_check_that_exists() {
    let text = fs::read_to_string(workspace().join("core/host/docs/from-swindon.md")).unwrap();
    let (mut found, mut rows) = (Vec::new(), 0);
    for (at, line) in text.lines().enumerate() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", feature, verdict, how, check, ""] = cells[..] else { continue };
        if verdict.is_empty() || verdict.starts_with("---") {
            continue;
        }
        rows += 1;
        let wrong = match verdict {
            "same" | "better" => missing(check),
            "left out" if how.is_empty() => Some("it does not say why".to_owned()),
            "left out" if !check.is_empty() => Some("what is left out has no check".to_owned()),
            "left out" => None,
            other => Some(format!("`{other}` is no verdict")),
        };
        found.extend(wrong.map(|wrong| format!("line {}, {feature}: {wrong}", at + 1)));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert!(rows >= ROWS, "{rows} rows");
}

/// What is wrong with a check: a file in backquotes, and how the check is called there.
fn missing(check: &str) -> Option<String> {
    let parts = check.strip_prefix('`').and_then(|rest| rest.split_once("` "));
    let Some((file, name)) = parts else { return Some("no check is named".to_owned()) };
    let Ok(text) = fs::read_to_string(workspace().join(file)) else { return Some(format!("there is no {file}")) };
    let is_there = |line: &str| match file.rsplit_once('.') {
        Some((_, "rs")) => {
            line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
        }
        Some((_, "txt")) => line
            .strip_prefix("== ")
            .is_some_and(|row| row == name || row.strip_prefix(name).is_some_and(|rest| rest.starts_with(": "))),
        Some((_, "py")) => line == format!("@check(\"{name}\")"),
        Some((_, "js" | "mjs")) => {
            ["test", "check", "on"].iter().any(|word| line.starts_with(&format!("{word}(\"{name}\"")))
        }
        _ => false,
    };
    if text.lines().map(str::trim).any(is_there) { None } else { Some(format!("{file} has no check `{name}`")) }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}
