//! Child processes with a time limit. What they started ends with them, and nothing else does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);
/// Between asking to end and ending by force.
const GRACE: Duration = Duration::from_secs(5);

/// Runs `command` to its end; `None` when `limit` passed before. Its output goes where ours goes.
pub(super) fn run(command: &mut Command, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let mut child = Guard(command.stdin(Stdio::null()).spawn()?);
    child.wait(limit)
}

/// Runs `command` and gives what it printed if it succeeded, else what it complained about.
pub(super) fn quietly(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A child that is ended, with everything below it, when this is dropped.
pub(super) struct Guard(pub(super) Child);

impl Guard {
    /// Waits for the end, for at most `limit`.
    pub(super) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(POLL);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        // Whoever is asked politely can end its own children; the rest is ended by force, one by one.
        let family = descendants(self.0.id());
        signal("TERM", self.0.id());
        let _ = self.wait(GRACE);
        let now = processes();
        for (pid, process) in &family {
            if now.get(pid).is_some_and(|same| same.started == process.started) {
                signal("KILL", *pid);
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("sh").args(["-c", r#"kill -s "$0" "$1" 2>/dev/null"#, name, &pid.to_string()]).status();
}

struct Process {
    parent: u32,
    /// In clock ticks since boot: tells apart two processes that had the same id one after the other.
    started: u64,
}

fn descendants(root: u32) -> BTreeMap<u32, Process> {
    let mut left = processes();
    let mut found = BTreeMap::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children: Vec<u32> =
            left.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| *pid).collect();
        for pid in children {
            found.extend(left.remove_entry(&pid));
            parents.push(pid);
        }
    }
    found
}

fn processes() -> BTreeMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries.flatten().filter_map(|entry| process(&entry.file_name().into_string().ok()?)).collect()
}

/// Parent and start of a process by proc(5); its name, in parentheses, may contain anything.
fn process(pid: &str) -> Option<(u32, Process)> {
    let number = pid.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((number, Process { parent, started }))
}
