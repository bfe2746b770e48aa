//! What the system says about a process: CPU time and memory; and which core it runs on.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::ClockId;
use nix::unistd::Pid;
use std::io;
use std::time::Duration;

/// Keeps this thread, and the processes it starts from now on, on one core.
///
/// # Errors
/// There is no such core.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// User and system CPU time of a process since it began, all threads together, also those that have ended.
///
/// `/proc/PID/stat` has the same in steps of 10 ms, which is too coarse.
///
/// # Errors
/// There is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(raw(pid))?;
    Ok(clock.now()?.into())
}

/// How much of it was spent in user mode, as a share of the whole, from `/proc/PID/stat`.
///
/// # Errors
/// There is no such process.
pub fn ticks(pid: u32) -> io::Result<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses, in which anything may stand; user and system time are the 14th and 15th.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_ascii_whitespace().skip(11).map(|field| field.parse().unwrap_or(0));
    Ok((fields.next().unwrap_or(0), fields.next().unwrap_or(0)))
}

/// Anonymous memory of a process that is in RAM: heap and stacks, without the program itself, in bytes.
///
/// # Errors
/// There is no such process.
pub fn memory(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no RssAnon in /proc/PID/status"))
}

pub(crate) fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}
