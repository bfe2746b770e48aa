//! What systemd hands over, and what it wants to know (sd_listen_fds(3), sd_notify(3)). Without systemd, nothing happens.

use super::Bound;
use listenfd::ListenFd;
use rustix::net::sockopt;
use sd_notify::NotifyState;
use std::env;
use std::time::Duration;

/// The sockets that were handed over, with their names (`FileDescriptorName=`, otherwise that of the unit).
pub(super) fn inherited(are_wanted: bool) -> Vec<(String, Bound)> {
    if !are_wanted {
        return Vec::new();
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut fds = ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..fds.len() {
        let name = names.next().unwrap_or_default();
        let tcp = fds.take_tcp_listener(at).ok().flatten().map(Bound::Tcp);
        let bound = tcp.or_else(|| fds.take_unix_listener(at).ok().flatten().map(Bound::Unix));
        // What is inherited may block; accepting must not.
        let is_ready = bound.as_ref().is_some_and(|bound| match bound {
            Bound::Tcp(listener) => {
                let _ = sockopt::set_tcp_nodelay(listener, true);
                listener.set_nonblocking(true).is_ok()
            }
            Bound::Unix(listener) => listener.set_nonblocking(true).is_ok(),
        });
        sockets.extend(bound.filter(|_| is_ready).map(|bound| (name, bound)));
    }
    sockets
}

/// Tells the service manager something, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(false, states);
}

/// Everything is ready.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Files are being read again; [`ready`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// The end has begun.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// How often the watchdog wants to hear something; half of what it puts up with.
pub(crate) fn watchdog() -> Option<Duration> {
    let mut micros = 0;
    sd_notify::watchdog_enabled(false, &mut micros).then(|| Duration::from_micros(micros / 2))
}

/// Says that the process lives.
pub(crate) fn alive() {
    notify(&[NotifyState::Watchdog]);
}
