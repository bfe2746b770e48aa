//! See [`brolly_benches::load`].

use brolly_benches::load::{self, Transport, Until, Work};
use brolly_benches::process::{pin, ticks};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: load [--core N] [--seconds N] PID ADDRESS WORK
  get PATH CONNECTIONS
  echo PATH CONNECTIONS BYTES IN_FLIGHT
  ws SUBSCRIBE_PATH PUBLISH_PATH SUBSCRIBERS BURST
  sse SUBSCRIBE_PATH PUBLISH_PATH SUBSCRIBERS BURST
  open PATH CONNECTIONS";

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let mut option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        let value = arguments.get(at + 1).cloned();
        arguments.drain(at..arguments.len().min(at + 2));
        value
    };
    let (core, seconds) = (option("--core"), option("--seconds"));
    let Some((pid, address, work)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(core) = core.and_then(|core| core.parse().ok())
        && let Err(error) = pin(core)
    {
        eprintln!("load: core {core}: {error}");
        return ExitCode::FAILURE;
    }
    let time = Duration::from_secs_f64(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(2.0));
    let before = ticks(pid).unwrap_or_default();
    match load::run(address, pid, &work, Until::Time(time)) {
        Ok(outcome) => {
            let after = ticks(pid).unwrap_or_default();
            let (user, system) = (after.0 - before.0, after.1 - before.1);
            println!(
                "{} operations in {:.2?}: {:.3} µs of CPU each, of which {} % user",
                outcome.operations,
                outcome.took,
                outcome.micros(),
                user * 100 / (user + system).max(1)
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<(u32, SocketAddr, Work)> {
    let [pid, address, kind, rest @ ..] = arguments else { return None };
    let number = |text: &String| text.parse::<usize>().ok();
    let work = match (kind.as_str(), rest) {
        ("get", [path, connections]) => Work::Get { path: path.clone(), connections: number(connections)? },
        ("echo", [path, connections, bytes, in_flight]) => Work::Echo {
            path: path.clone(),
            connections: number(connections)?,
            bytes: number(bytes)?,
            in_flight: number(in_flight)?,
        },
        ("ws" | "sse", [subscribe, publish, subscribers, burst]) => Work::FanOut {
            subscribe: subscribe.clone(),
            transport: if kind == "ws" { Transport::WebSocket } else { Transport::EventStream },
            publish: publish.clone(),
            subscribers: number(subscribers)?,
            burst: number(burst)?,
        },
        ("open", [path, connections]) => Work::OpenClose { path: path.clone(), connections: number(connections)? },
        _ => return None,
    };
    Some((pid.parse().ok()?, address.parse().ok()?, work))
}
