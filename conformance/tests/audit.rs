//! `conformance/websocket.md` names a check for each thing that the RFCs ask for: all of these checks exist.

use std::fs;
use std::path::Path;

#[test]
fn every_check_that_the_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = fs::read_to_string(root.join("conformance/websocket.md")).unwrap();
    let autobahn: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(root.join("conformance/autobahn/expected.json")).unwrap()).unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| §");
    for line in table.lines().filter(is_row) {
        rows += 1;
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, checks] = cells[..] else { panic!("not three cells: {line}") };
        let checks: Vec<&str> = checks.split('`').skip(1).step_by(2).collect();
        if checks.is_empty() {
            wrong.push(format!("nothing checks: {line}"));
        }
        wrong.extend(checks.iter().filter_map(|check| missing(root, &autobahn, check)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(rows > 60, "{rows} rows were found");
}

/// What is wrong with the name of a check.
fn missing(root: &Path, autobahn: &serde_json::Value, check: &str) -> Option<String> {
    if let Some(section) = check.strip_prefix("autobahn ").and_then(|cases| cases.strip_suffix('*')) {
        let has = autobahn.as_object()?.keys().any(|case| case.starts_with(section));
        return (!has).then(|| format!("{check}: there are no such cases"));
    }
    let Some((file, name)) = check.split_once(": ") else { return Some(format!("{check}: names no file")) };
    let Ok(text) = fs::read_to_string(root.join(file)) else { return Some(format!("{check}: there is no such file")) };
    let is_there = match file.rsplit_once('.') {
        // A test or a fuzz target, and not the beginning of another's name.
        Some((_, "rs")) => text.contains(&format!("fn {name}(")),
        Some((_, "txt")) => text.lines().any(|line| line.starts_with("== ") && line.contains(name)),
        _ => text.lines().any(|line| {
            let line = line.trim_start();
            (line.starts_with("@check(") || line.starts_with("check(")) && line.contains(name)
        }),
    };
    (!is_there).then(|| format!("{check}: there is no such check"))
}
