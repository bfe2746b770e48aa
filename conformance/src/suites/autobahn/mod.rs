//! The Autobahn test suite against both roles: as a client of the echo endpoint, and as a server of the echo client that
//! each runtime has as an example. Cases are independent, and Python is the slow part: two processes share them.

mod verdicts;

use super::binaries::{self, Binary};
use super::child::{self, Guard};
use super::{Bench, Outcome, tools};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use verdicts::{AGENT, Results, compare, parse};

/// Section 9 sends messages of up to 16 MiB; the default limit is lower.
const CONFIG: &str = r#"
listen = ["127.0.0.1:PORT"]
log = false

[limits]
websocket_message_bytes = "16MiB"

[[routes]]
prefix = "/-/echo"
handler = "echo"
compression = { context_takeover = true, threshold = "0B" }
"#;
/// Processes of the suite at a time.
const SHARDS: usize = 2;
/// How long a server may take to listen.
const START: Duration = Duration::from_secs(15);
/// Prints the cases that match a list of patterns.
const LIST: &str = "
import json, sys
from autobahntestsuite.case import Cases, CaseBasename, CaseCategories, CaseSubCategories
from autobahntestsuite.caseset import CaseSet
cases = CaseSet('Case', CaseBasename, Cases, CaseCategories, CaseSubCategories)
print(json.dumps(cases.parseSpecCases({'cases': json.loads(sys.argv[1]), 'exclude-cases': []})))
";

/// Which end of the connection is tested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Role {
    pub(super) const ALL: [Self; 2] = [Self::Server, Self::Client];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

pub(super) fn run(bench: &Bench, binary: &Binary, limit: Duration) -> Outcome {
    let wstest = match tools::wstest(bench) {
        Ok(wstest) => wstest,
        Err(missing) => return Outcome::Missing(missing),
    };
    let expected = bench.home().join("autobahn/expected.json");
    let deadline = Instant::now() + limit;
    let test = |role: Role| {
        let artefacts = bench.artefacts("autobahn", binary).join(role.name());
        let _ = fs::remove_dir_all(&artefacts);
        fs::create_dir_all(&artefacts).map_err(text)?;
        let cases = cases(&wstest, bench.only.as_deref())?;
        let client = match role {
            Role::Client => Some(binaries::example(&bench.root, binary)?),
            Role::Server => None,
        };
        let began = Instant::now();
        let rig = Rig { wstest: &wstest, artefacts: &artefacts, deadline };
        let actual = match &client {
            Some(client) => rig.test_client(client, &cases)?,
            None => rig.test_server(&binary.path, &cases)?,
        };
        let count = compare(&actual, &cases, &expected, &artefacts.join("actual.json"))?;
        let took = began.elapsed().as_secs();
        println!("{count} cases of the {} as expected in {took} s; reports in {}", role.name(), artefacts.display());
        Ok(())
    };
    match bench.roles.iter().try_for_each(|role| test(*role).map_err(|why: String| format!("{}: {why}", role.name()))) {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed(why),
    }
}

/// The cases that are wanted, in order.
fn cases(wstest: &Path, only: Option<&str>) -> Result<Vec<String>, String> {
    let patterns: Vec<&str> = only.unwrap_or("*").split(',').collect();
    let mut list = Command::new(wstest.with_file_name("python"));
    list.args(["-c", LIST]).arg(json!(patterns).to_string());
    let printed = child::quietly(&mut list)?;
    let cases: Vec<String> = serde_json::from_str(&printed).map_err(|error| format!("{error}: {printed}"))?;
    if cases.is_empty() { Err(format!("no case matches {}", patterns.join(","))) } else { Ok(cases) }
}

/// The cases of each process. Costs grow within a section, so the order turns with each round.
fn deal(cases: &[String]) -> Vec<Vec<&String>> {
    let mut hands = vec![Vec::new(); SHARDS];
    for (round, cases) in cases.chunks(SHARDS).enumerate() {
        let turned = |place| if round % 2 == 0 { place } else { SHARDS - 1 - place };
        cases.iter().enumerate().for_each(|(place, case)| hands[turned(place)].push(case));
    }
    hands.retain(|hand| !hand.is_empty());
    hands
}

/// What the processes of one test have in common.
struct Rig<'r> {
    wstest: &'r Path,
    artefacts: &'r Path,
    deadline: Instant,
}

impl Rig<'_> {
    /// brolly serves, and the suite asks.
    fn test_server(&self, binary: &Path, cases: &[String]) -> Result<Results, String> {
        let port = free_port().map_err(text)?;
        let config = self.artefacts.join("brolly.toml");
        fs::write(&config, CONFIG.replace("PORT", &port.to_string())).map_err(text)?;
        let mut server = self.start(Command::new(binary).args(["serve", "--config"]).arg(&config), "server.log")?;
        listening(port, &mut server)?;
        let url = format!("ws://127.0.0.1:{port}/-/echo");
        self.share(cases, |number, spec| {
            spec["servers"] = json!([{"agent": AGENT, "url": url}]);
            // It exits with 0 whatever it found.
            let mut suite = self.suite("fuzzingclient", number, spec)?;
            suite.wait(self.left()).map_err(text)?.map(drop).ok_or_else(|| "not over in time".into())
        })
    }

    /// The suite serves, and our client asks.
    fn test_client(&self, client: &Path, cases: &[String]) -> Result<Results, String> {
        self.share(cases, |number, spec| {
            let port = free_port().map_err(text)?;
            let url = format!("ws://127.0.0.1:{port}");
            spec["url"] = json!(url);
            let mut suite = self.suite("fuzzingserver", number, spec)?;
            listening(port, &mut suite)?;
            let log = format!("client-{number}.log");
            let mut client = self.start(Command::new(client).args([&url, AGENT]), &log)?;
            match client.wait(self.left()).map_err(text)? {
                Some(status) if status.success() => Ok(()),
                Some(_) => Err(format!("the client failed; see {log}")),
                None => Err("not over in time".into()),
            }
        })
    }

    /// Deals the cases to several processes; what they found together.
    fn share(
        &self,
        cases: &[String],
        play: impl Fn(usize, &mut Value) -> Result<(), String> + Sync,
    ) -> Result<Results, String> {
        let play = |number: usize, cases: &[&String]| {
            let report = self.report(number);
            let mut spec = json!({
                "outdir": report.to_string_lossy(),
                "cases": cases,
                "exclude-cases": [],
                "exclude-agent-cases": {},
            });
            play(number, &mut spec)?;
            let found = fs::read_to_string(report.join("index.json"));
            parse(&found.map_err(|_| format!("there is no report; see wstest-{number}.log"))?)
        };
        let mut all = Results::new();
        for found in thread::scope(|scope| {
            let hands = deal(cases).into_iter().enumerate();
            let threads: Vec<_> = hands.map(|(number, hand)| scope.spawn(move || play(number, &hand))).collect();
            threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
        }) {
            all.extend(found.map_err(|_| "a process of the suite was lost".to_owned())??);
        }
        Ok(all)
    }

    fn suite(&self, mode: &str, number: usize, spec: &Value) -> Result<Guard, String> {
        let file = self.artefacts.join(format!("{mode}-{number}.json"));
        fs::write(&file, spec.to_string()).map_err(text)?;
        let mut suite = Command::new(self.wstest);
        // No web pages beside it.
        suite.args(["-m", mode, "-u", "0", "-s"]).arg(&file).current_dir(self.artefacts);
        self.start(&mut suite, &format!("wstest-{number}.log"))
    }

    fn start(&self, command: &mut Command, log: &str) -> Result<Guard, String> {
        let log = File::create(self.artefacts.join(log)).map_err(text)?;
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(text)?).stderr(log);
        command.spawn().map(Guard).map_err(text)
    }

    /// Where a process writes its report; `index.html` is for people.
    fn report(&self, number: usize) -> PathBuf {
        self.artefacts.join(format!("report-{number}"))
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn text(error: io::Error) -> String {
    error.to_string()
}

fn free_port() -> io::Result<u16> {
    TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}

fn listening(port: u16, server: &mut Guard) -> Result<(), String> {
    let deadline = Instant::now() + START;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline || !matches!(server.0.try_wait(), Ok(None)) {
            return Err("the server does not listen; see its log".into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_dealt_once_and_the_order_turns() {
        let cases: Vec<String> = (1..=5).map(|case| format!("1.{case}")).collect();
        let hands = deal(&cases);
        assert_eq!(hands[0], ["1.1", "1.4", "1.5"]);
        assert_eq!(hands[1], ["1.2", "1.3"]);
        assert_eq!(deal(&cases[..1]).len(), 1);
    }
}
