//! What all who play in one scenario share.

use super::message::Fault;
use std::collections::HashSet;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// More than anything takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Stage {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    signals: HashSet<String>,
    faults: Vec<Fault>,
    /// Scripts of backends that have not been played to the end.
    unplayed: usize,
    is_over: bool,
}

impl Stage {
    pub(crate) fn new(unplayed: usize) -> Self {
        let stage = Self::default();
        stage.change(|state| state.unplayed = unplayed);
        stage
    }

    pub(crate) fn signal(&self, name: &str) {
        self.change(|state| {
            state.signals.insert(name.to_owned());
        });
    }

    pub(crate) fn wait_for(&self, name: &str) -> Result<(), Fault> {
        match self.wait(|state| state.signals.contains(name)) {
            true => Ok(()),
            false => Err(format!("nobody said {name:?}")),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.state.lock().unwrap().signals.contains(name)
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.change(|state| state.faults.push(fault));
    }

    pub(crate) fn played(&self) {
        self.change(|state| state.unplayed -= 1);
    }

    pub(crate) fn wait_for_backends(&self) -> Result<(), Fault> {
        match self.wait(|state| state.unplayed == 0 || !state.faults.is_empty()) {
            true => Ok(()),
            false => Err("a connection to a backend did not come, or its steps were not played to the end".into()),
        }
    }

    pub(crate) fn end(&self) {
        self.change(|state| state.is_over = true);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().unwrap().is_over
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.state.lock().unwrap().faults.clone()
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        while !until(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
        true
    }
}
