//! Drivers over simulated sockets as a stage for the table of exchanges: bytes travel in random pieces, whoever is ready is polled in
//! random order, and time stands still until somebody waits.

use super::knobs::{Knobs, Sizes};
use super::net::{Alarm, Net};
use super::random::Random;
use super::wire::Wire;
use super::world::{Runner, runners};
use crate::exchange::{Door, End, Route, Row, World};
use brolly_core::driver::Control;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The addresses of the upstreams, in the order of [`crate::exchange::UPSTREAMS`]; nobody is ever at the last.
const UPSTREAMS: [&str; 3] = ["10.1.0.1:80", "10.1.0.2:80", "10.1.0.13:80"];

/// Shards with their real drivers, and the other ends of their connections.
#[derive(Debug)]
pub struct Simulated {
    net: Rc<Net>,
    runners: Vec<Runner>,
    control: Control,
    wires: Vec<Option<Wire>>,
    /// Connections to backends that nobody has accepted yet: whose, and which.
    arrived: Vec<(usize, usize)>,
    random: Random,
}

impl Simulated {
    /// A world of this seed with the configuration of a row, for which a file is written to `directory`.
    ///
    /// # Panics
    /// The configuration is not understood.
    pub fn new(row: &Row, seed: u64, directory: &Path) -> Self {
        let mut random = Random::new(seed);
        Self::with(Knobs::quiet(&mut random), random, row, directory)
    }

    /// A world of three shards in which bytes travel in one go, so that what is done does not depend on how many they are.
    ///
    /// # Panics
    /// The configuration is not understood.
    pub fn wide(row: &Row, seed: u64, directory: &Path) -> Self {
        let mut random = Random::new(seed);
        let quiet = Knobs::quiet(&mut random);
        let knobs = Knobs { shards: 3, reads: Sizes::Full, writes: Sizes::Full, capacity: 1 << 20, ..quiet };
        Self::with(knobs, random, row, directory)
    }

    fn with(knobs: Knobs, mut random: Random, row: &Row, directory: &Path) -> Self {
        let [app, other, dead] = UPSTREAMS.map(str::to_owned);
        let addresses = ["127.0.0.1:1".into(), "127.0.0.1:2".into(), app, other, dead];
        let config = Arc::new(row.load(knobs.shards, &addresses, directory));
        let net = Net::new(knobs, &mut random);
        let (runners, control) = runners(&config, &net, &mut random);
        Self { net, runners, control, wires: Vec::new(), arrived: Vec::new(), random }
    }

    /// What comes is decided by this seed, whatever was before.
    pub fn reseed(&mut self, seed: u64) {
        self.random = Random::new(seed);
        *self.net.random.borrow_mut() = self.random.fork();
    }

    /// How often a driver was polled or asked its runtime for something: clocks, sockets, timers, files.
    pub fn looks(&self) -> u64 {
        self.net.looks.get()
    }

    /// Lets happen what can happen now.
    fn settle(&mut self) {
        loop {
            while let Some(number) = self.net.runnable.borrow_mut().pop_first() {
                if let Some(Some(wire)) = self.wires.get_mut(number) {
                    wire.pump();
                }
            }
            let awake: Vec<usize> = (0..self.runners.len()).filter(|at| self.runners[*at].is_awake()).collect();
            let now = self.net.now.get();
            if !awake.is_empty() {
                let at = self.random.pick(&awake);
                self.runners[at].poll(&self.net, at);
                self.take_arrivals();
            } else if self.net.alarms.borrow().first_key_value().is_some_and(|((at, _), _)| *at <= now) {
                self.go_on(now);
            } else {
                return;
            }
        }
    }

    fn take_arrivals(&mut self) {
        while let Some((to, link)) = self.net.arrivals.borrow_mut().pop_front() {
            let Some(upstream) = UPSTREAMS.iter().position(|address| format!("{to}") == *address) else { continue };
            let number = self.wires.len();
            link.borrow_mut().peer = Some(number);
            self.arrived.push((upstream, number));
            let wire = Wire::new(&self.net, link, number, &mut self.random);
            self.wires.push(Some(wire));
            self.net.runnable.borrow_mut().insert(number);
        }
    }

    /// When something wants to happen next.
    fn next(&self) -> Option<u64> {
        let alarm = self.net.alarms.borrow().first_key_value().map(|((at, _), _)| *at);
        let timer = self.net.timers.borrow().iter().flatten().map(|(at, _)| *at).min();
        alarm.into_iter().chain(timer).min()
    }

    fn go_on(&self, at: u64) {
        self.net.now.set(at.max(self.net.now.get()));
        let due = |at: u64| at <= self.net.now.get();
        while let Some(entry) = self.net.alarms.borrow_mut().first_entry()
            && due(entry.key().0)
        {
            match entry.remove() {
                Alarm::Peer(number) => _ = self.net.runnable.borrow_mut().insert(number),
                Alarm::Task(waker) => waker.wake(),
            }
        }
        for timer in self.net.timers.borrow_mut().iter_mut() {
            if let Some((_, waker)) = timer.take_if(|(at, _)| due(*at)) {
                waker.wake();
            }
        }
    }
}

impl World for Simulated {
    fn open(&mut self, door: Door) -> Result<End, String> {
        let number = self.wires.len();
        let link = self.net.connect_to(u16::from(door == Door::Api), number).ok_or("nobody listens")?;
        let wire = Wire::new(&self.net, link, number, &mut self.random);
        self.wires.push(Some(wire));
        Ok(End(number))
    }

    fn accept(&mut self, upstream: &str) -> Option<End> {
        self.settle();
        let upstream = crate::exchange::UPSTREAMS.iter().position(|name| *name == upstream)?;
        let at = self.arrived.iter().position(|(of, _)| *of == upstream)?;
        Some(End(self.arrived.remove(at).1))
    }

    fn write(&mut self, end: End, bytes: &[u8]) {
        if let Some(wire) = &mut self.wires[end.0] {
            wire.send(bytes);
            self.net.runnable.borrow_mut().insert(end.0);
        }
    }

    fn read(&mut self, end: End, into: &mut Vec<u8>) -> bool {
        self.settle();
        let Some(wire) = &mut self.wires[end.0] else { return false };
        into.append(&mut wire.inbox);
        !wire.is_over
    }

    fn close(&mut self, end: End) {
        self.settle();
        self.wires[end.0] = None;
        self.settle();
    }

    fn rest(&mut self) -> bool {
        false
    }

    fn wait(&mut self, time: Duration) {
        let until = self.net.now.get() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        loop {
            self.settle();
            match self.next().filter(|at| *at <= until) {
                Some(at) => self.go_on(at),
                None => break,
            }
        }
        self.net.now.set(until);
        self.settle();
    }

    fn shut_down(&mut self) {
        self.control.shutdown(Duration::from_secs(10));
        self.settle();
    }

    fn hold(&mut self, _: Option<Route>) -> bool {
        false
    }
}
