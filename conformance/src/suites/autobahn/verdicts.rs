//! What the suite found, and whether it is what was expected.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The name of what is tested in the reports.
pub(super) const AGENT: &str = "brolly";
const GOOD: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];

/// Verdicts by case: on the messages, and on the close handshake.
pub(super) type Results = BTreeMap<Case, [String; 2]>;

/// The number of a case, which sorts as numbers do.
pub(super) type Case = Vec<u32>;

/// Reads the report's index.
pub(super) fn parse(report: &str) -> Result<Results, String> {
    let report: Value = serde_json::from_str(report).map_err(|error| format!("the report is not JSON: {error}"))?;
    let cases = report.get(AGENT).and_then(Value::as_object).ok_or("the report has no results")?;
    let verdict = |result: &Value, key| result.get(key).and_then(Value::as_str).unwrap_or("nothing").to_owned();
    let read = |(case, result): (&String, &Value)| {
        Ok((number(case)?, ["behavior", "behaviorClose"].map(|key| verdict(result, key))))
    };
    cases.iter().map(read).collect()
}

pub(super) fn number(case: &str) -> Result<Case, String> {
    case.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| format!("`{case}` is not a case"))
}

fn name(case: &[u32]) -> String {
    case.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Fails on any verdict that is bad, on any change of a case or its verdict, and on any of `asked` that did not run.
pub(super) fn compare(actual: &Results, asked: &[String], expected: &Path, written: &Path) -> Result<usize, String> {
    fs::write(written, display(actual)).map_err(|error| error.to_string())?;
    let text = fs::read_to_string(expected).map_err(|error| format!("cannot read {}: {error}", expected.display()))?;
    let known: BTreeMap<String, [String; 2]> =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", expected.display()))?;
    let known: Results =
        known.into_iter().map(|(case, verdict)| Ok((number(&case)?, verdict))).collect::<Result<_, String>>()?;
    let mut wrong = String::new();
    let mut note = |case: &[u32], text: &str| {
        let _ = write!(wrong, "\n  case {}: {text}", name(case));
    };
    for (case, verdict) in actual {
        if verdict.iter().any(|verdict| !GOOD.contains(&verdict.as_str())) {
            note(case, &format!("{verdict:?}"));
        } else if known.get(case) != Some(verdict) {
            note(case, &format!("{verdict:?}, expected {:?}", known.get(case)));
        }
    }
    for case in asked {
        let case = number(case)?;
        if !actual.contains_key(&case) {
            note(&case, "did not run");
        }
    }
    if wrong.is_empty() { Ok(actual.len()) } else { Err(format!("what was found is in {}:{wrong}", written.display())) }
}

/// As the file of expected results is written: a case a line, in order.
fn display(results: &Results) -> String {
    let line = |(case, verdict): (&Case, &[String; 2])| format!("  {}: {}", json!(name(case)), json!(verdict));
    format!("{{\n{}\n}}\n", results.iter().map(line).collect::<Vec<_>>().join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"brolly": {
        "10.1.1": {"behavior": "OK", "behaviorClose": "OK", "duration": 1, "remoteCloseCode": 1000, "reportfile": "x"},
        "2.1": {"behavior": "NON-STRICT", "behaviorClose": "INFORMATIONAL"}
    }}"#;

    fn directory(name: &str) -> std::path::PathBuf {
        let directory = std::env::temp_dir().join(format!("brolly-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn results_are_in_numeric_order_and_survive_writing() {
        let results = parse(REPORT).unwrap();
        assert_eq!(results.keys().map(|case| name(case)).collect::<Vec<_>>(), ["2.1", "10.1.1"]);
        let directory = directory("written");
        fs::write(directory.join("expected"), display(&results)).unwrap();
        let (expected, actual) = (directory.join("expected"), directory.join("actual"));
        assert_eq!(compare(&results, &["2.1".into()], &expected, &actual), Ok(2));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn every_difference_is_found() {
        let known = parse(REPORT).unwrap();
        let directory = directory("different");
        let (expected, actual) = (directory.join("expected"), directory.join("actual"));
        let check = |expected_text: &str, results: &Results, word: &str| {
            fs::write(&expected, expected_text).unwrap();
            let asked = ["2.1".into(), "10.1.1".into()];
            assert!(compare(results, &asked, &expected, &actual).unwrap_err().contains(word), "{word}");
        };
        let mut fewer = known.clone();
        fewer.remove([2, 1].as_slice());
        check(&display(&known), &fewer, "case 2.1: did not run");
        check(&display(&fewer), &known, "case 2.1: [\"NON-STRICT\", \"INFORMATIONAL\"], expected None");
        let mut bad = known.clone();
        bad.insert(vec![2, 1], ["OK".into(), "UNCLEAN".into()]);
        // A bad verdict stays bad when it is expected.
        check(&display(&bad), &bad, "case 2.1: [\"OK\", \"UNCLEAN\"]");
        let mut better = known.clone();
        better.insert(vec![2, 1], ["OK".into(), "OK".into()]);
        check(&display(&known), &better, "case 2.1: [\"OK\", \"OK\"], expected Some");
        assert!(parse("{}").is_err());
        fs::remove_dir_all(directory).unwrap();
    }
}
