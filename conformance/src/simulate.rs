//! `simulate [--worlds N] [--seed S]`: worlds of the [simulator](crate::sim), one after the other on all cores.

use crate::sim::{self, Failure, Summary};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Worlds if nothing is said.
const WORLDS: u64 = 10_000;
/// Failures after which there is no need for more.
const FAILURES: usize = 5;
/// How long a world may take: a thousand times what it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the subcommand with what follows its name.
pub fn simulate(arguments: &[String]) -> ExitCode {
    let (worlds, seed) = match parse(arguments) {
        Ok(parsed) => parsed,
        Err(wrong) => {
            eprintln!("simulate: {wrong}; usage: simulate [--worlds N] [--seed S]");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let (summary, failures) = run(worlds, seed);
    for failure in &failures {
        println!("{failure}\n");
    }
    println!("{} worlds in {:.1} s: {summary:?}", summary.worlds, began.elapsed().as_secs_f64());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the worlds `seed..seed + worlds`.
pub fn run(worlds: u64, seed: u64) -> (Summary, Vec<Failure>) {
    let (next, results) = (AtomicU64::new(0), Mutex::new((Summary::default(), Vec::new())));
    let work = || {
        let mut summary = Summary::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= worlds {
                break;
            }
            let running = Running::new(seed.wrapping_add(number));
            if let Err(failure) = sim::run(running.seed, &mut summary)
                && let Ok(mut results) = results.lock()
            {
                results.1.push(failure);
                if results.1.len() >= FAILURES {
                    next.store(worlds, Ordering::Relaxed);
                }
            }
        }
        if let Ok(mut results) = results.lock() {
            results.0.merge(&summary);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            // A panic in a world prints nothing by itself: it becomes a failure.
            scope.spawn(work);
        }
    });
    results.into_inner().unwrap_or_default()
}

/// A world that runs. One that does not end says so: a loop inside of a single poll cannot be left in any other way.
struct Running {
    seed: u64,
    is_done: mpsc::Sender<()>,
}

impl Running {
    fn new(seed: u64) -> Self {
        let (is_done, done) = mpsc::channel();
        thread::spawn(move || {
            if done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("world {seed} does not end; replay: simulate --worlds 1 --seed {seed}");
                std::process::exit(1);
            }
        });
        Self { seed, is_done }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.is_done.send(());
    }
}

fn parse(arguments: &[String]) -> Result<(u64, u64), String> {
    let (mut worlds, mut seed) = (WORLDS, 1);
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a number"))?;
        let value = value.parse().map_err(|_| format!("{name}: {value:?} is no number"))?;
        match name.as_str() {
            "--worlds" => worlds = value,
            "--seed" => seed = value,
            _ => return Err(format!("{name:?} is unknown")),
        }
    }
    Ok((worlds, seed))
}
