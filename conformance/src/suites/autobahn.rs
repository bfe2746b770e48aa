//! The Autobahn test suite as a fuzzing client against the echo endpoint, compared with what is expected.

use super::binaries::Binary;
use super::child::{self, Guard};
use super::{Bench, Outcome, tools};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const AGENT: &str = "brolly";
/// Section 9 sends messages of up to 16 MiB; the default limit is lower.
const CONFIG: &str = r#"
listen = ["127.0.0.1:PORT"]
log = false

[limits]
websocket_message_bytes = "16MiB"

[[routes]]
prefix = "/-/echo"
handler = "echo"
"#;
const GOOD: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];
/// How long the server may take to listen.
const START: Duration = Duration::from_secs(15);

/// Verdicts by case: on the messages, and on the close handshake.
type Results = BTreeMap<Case, [String; 2]>;

/// The number of a case, which sorts as numbers do.
type Case = Vec<u32>;

pub(super) fn run(bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    let wstest = match tools::wstest(bench) {
        Ok(wstest) => wstest,
        Err(missing) => return Outcome::Missing(missing),
    };
    let expected = bench.home().join("autobahn/expected.json");
    let artefacts = bench.artefacts("autobahn", binary);
    let checked = fs::create_dir_all(&artefacts)
        .map_err(|error| error.to_string())
        .and_then(|()| collect(&wstest, binary, &artefacts, limit))
        .and_then(|actual| compare(&actual, &expected, &artefacts.join("actual.json")));
    match checked {
        Ok(cases) => {
            println!("{cases} cases as expected; report in {}", artefacts.display());
            Outcome::Passed
        }
        Err(why) => Outcome::Failed(why),
    }
}

/// Runs all cases and reads the report.
fn collect(wstest: &Path, binary: &Binary, artefacts: &Path, limit: Duration) -> Result<Results, String> {
    let text = |error: io::Error| error.to_string();
    let port = free_port().map_err(text)?;
    let log = File::create(artefacts.join("server.log")).map_err(text)?;
    let mut command = Command::new(&binary.path);
    let config = artefacts.join("brolly.toml");
    fs::write(&config, CONFIG.replace("PORT", &port.to_string())).map_err(text)?;
    command.args(["serve", "--config"]).arg(&config).stdin(Stdio::null());
    let mut server = Guard(command.stdout(log.try_clone().map_err(text)?).stderr(log).spawn().map_err(text)?);
    listening(port, &mut server)?;

    let reports = artefacts.join("report");
    let _ = fs::remove_dir_all(&reports);
    let spec = artefacts.join("fuzzingclient.json");
    let url = format!("ws://127.0.0.1:{port}/-/echo");
    let wanted = json!({
        "outdir": reports.to_string_lossy(),
        "servers": [{"agent": AGENT, "url": url}],
        "cases": ["*"],
        // Compression, which is not offered.
        "exclude-cases": ["12.*", "13.*"],
        "exclude-agent-cases": {},
    });
    fs::write(&spec, wanted.to_string()).map_err(text)?;
    let mut client = Command::new(wstest);
    client.args(["-m", "fuzzingclient", "-s"]).arg(&spec).current_dir(artefacts);
    client.stdout(File::create(artefacts.join("wstest.log")).map_err(text)?);
    // It exits with 0 whatever it found.
    if child::run(&mut client, limit).map_err(text)?.is_none() {
        return Err(format!("not over after {} s", limit.as_secs()));
    }
    let report = fs::read_to_string(reports.join("index.json"));
    parse(&report.map_err(|_| format!("there is no report; see {}", artefacts.join("wstest.log").display()))?)
}

fn free_port() -> io::Result<u16> {
    TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}

fn listening(port: u16, server: &mut Guard) -> Result<(), String> {
    let deadline = Instant::now() + START;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline || !matches!(server.0.try_wait(), Ok(None)) {
            return Err("the server does not listen; see server.log".into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Reads the report's index.
fn parse(report: &str) -> Result<Results, String> {
    let report: Value = serde_json::from_str(report).map_err(|error| format!("the report is not JSON: {error}"))?;
    let cases = report.get(AGENT).and_then(Value::as_object).ok_or("the report has no results")?;
    let verdict = |result: &Value, key| result.get(key).and_then(Value::as_str).unwrap_or("nothing").to_owned();
    let read = |(case, result): (&String, &Value)| {
        Ok((number(case)?, ["behavior", "behaviorClose"].map(|key| verdict(result, key))))
    };
    cases.iter().map(read).collect()
}

fn number(case: &str) -> Result<Case, String> {
    case.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| format!("`{case}` is not a case"))
}

fn name(case: &[u32]) -> String {
    case.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Fails on any verdict that is bad, and on any change of a case or its verdict.
fn compare(actual: &Results, expected: &Path, written: &Path) -> Result<usize, String> {
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
    for case in known.keys().filter(|case| !actual.contains_key(*case)) {
        note(case, "did not run");
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
        assert_eq!(compare(&results, &directory.join("expected"), &directory.join("actual")), Ok(2));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn every_difference_is_found() {
        let known = parse(REPORT).unwrap();
        let directory = directory("different");
        let (expected, actual) = (directory.join("expected"), directory.join("actual"));
        let check = |expected_text: &str, results: &Results, word: &str| {
            fs::write(&expected, expected_text).unwrap();
            assert!(compare(results, &expected, &actual).unwrap_err().contains(word), "{word}");
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
