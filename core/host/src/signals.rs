//! What the operator says to the running process, and what it says to its service manager.

use crate::listen::{Paths, systemd};
use crate::log::say;
use crate::reload::Reload;
use brolly_core::driver::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::time::Duration;
use std::{io, process, thread};

/// How long connections may take to end once the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// TERM and INT: the first lets everything end in peace, the second ends the process. HUP reads all files again.
///
/// # Errors
/// There is no room for another thread, or signals cannot be handled.
pub(crate) fn handle(control: Control, mut reload: Reload, paths: Paths) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&reload.is_stopping))?;
    }
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let wait = move || {
        let mut is_stopping = false;
        loop {
            for signal in signals.wait() {
                match signal {
                    SIGHUP if !is_stopping => reload.run(),
                    SIGHUP => {}
                    _ if is_stopping => end(signal, &paths),
                    _ => is_stopping = true,
                }
            }
            if is_stopping {
                systemd::stopping();
                say(&format!("stopping, within {} seconds; once more to stop at once", GRACE.as_secs()));
                while !control.shutdown(GRACE) {
                    if let Some(signal) = signals.pending().find(|signal| *signal != SIGHUP) {
                        end(signal, &paths);
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
    };
    if let Some(interval) = systemd::watchdog() {
        let report = move || loop {
            systemd::alive();
            thread::sleep(interval);
        };
        thread::Builder::new().name("watchdog".into()).spawn(report)?;
    }
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}

fn end(signal: i32, paths: &Paths) -> ! {
    paths.remove();
    process::exit(128 + signal);
}
