//! One world: shards with their real drivers, peers, and an executor that decides by lot who is next.

use super::knobs::{Knobs, MILLISECOND, SECOND};
use super::ledger::Ledger;
use super::net::{Alarm, Canary, Net};
use super::peers::backend::Backend;
use super::peers::client::Client;
use super::peers::garbage::{Garbage, Tunnel};
use super::peers::socket::{Kind, Socket};
use super::peers::stream::{Subscriber, Transport};
use super::peers::{Cx, Peer, Phase};
use super::random::Random;
use super::runtime::SimRuntime;
use super::site;
use super::wire::Wire;
use brolly_core::config::Config;
use brolly_core::driver::{Control, Driver, READ_BUFFER, fleet};
use brolly_core::rng::Seed;
use brolly_core::shard::Usage;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

/// Polls at one instant in which no byte moves: more are a loop without an end.
const IDLE_POLLS: u32 = 5000;
/// How much a connection may hold beyond its limits: a piece of a source, the history of a topic, an answer.
const SLACK: usize = 512 * 1024;

/// A task that wants to be polled.
#[derive(Debug)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A shard's driver, until it ends.
#[derive(Debug)]
pub(crate) struct Runner {
    driver: Option<Driver<SimRuntime>>,
    flag: Arc<Flag>,
}

/// The drivers of a world.
pub(crate) fn runners(config: &Arc<Config>, net: &Rc<Net>, random: &mut Random) -> (Vec<Runner>, Control) {
    let mut seed = [0; 32];
    seed.fill_with(|| random.number() as u8);
    let (parts, control) = fleet(config, Seed(seed), net.knobs.shards);
    let runner = |(shard, parts)| Runner {
        driver: Some(Driver::new(parts, SimRuntime::new(Rc::clone(net), shard))),
        flag: Arc::new(Flag(AtomicBool::new(true))),
    };
    (parts.into_iter().enumerate().map(runner).collect(), control)
}

impl Runner {
    /// Whether it wants to be polled.
    pub(crate) fn is_awake(&self) -> bool {
        self.driver.is_some() && self.flag.0.load(Ordering::Relaxed)
    }

    pub(crate) fn poll(&mut self, net: &Net, at: usize) {
        let Self { driver: slot, flag } = self;
        let Some(driver) = slot else { return };
        net.count_look();
        flag.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(flag));
        if Pin::new(driver).poll(&mut Context::from_waker(&waker)).is_ready() {
            *slot = None;
            net.timers.borrow_mut()[at] = None;
        }
    }
}

pub(crate) struct World {
    net: Rc<Net>,
    runners: Vec<Runner>,
    control: Control,
    /// As the shards were told last, and when they get others, or the same once more: not all of them have had room for it.
    config: Arc<Config>,
    reloads: VecDeque<u64>,
    is_untold: bool,
    peers: Vec<Option<Box<dyn Peer>>>,
    /// Who takes a connection to a backend, if it is nobody by chance.
    backend: Option<MakeBackend>,
    ledger: Ledger,
    random: Random,
    phase: Phase,
    /// When everybody was told to shut down, and the grace.
    shutdown: Option<(u64, u64)>,
    is_told: bool,
    idle_polls: u32,
    moved: u64,
    polls: u64,
    steps: u64,
    peak: Peak,
}

/// Makes a backend of its end of a connection.
pub(crate) type MakeBackend = Box<dyn Fn(Wire) -> Box<dyn Peer>>;

/// The largest numbers that were seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    pub(crate) outbox: usize,
    pub(crate) leftover: usize,
    pub(crate) waiting_mail: usize,
}

/// What a world came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<String>,
    pub(crate) trace: u64,
    pub(crate) transcript: Vec<Vec<String>>,
    pub(crate) polls: u64,
    pub(crate) messages: usize,
    pub(crate) claims: usize,
    pub(crate) requests: u64,
    pub(crate) moved: u64,
    pub(crate) peak: Peak,
}

impl World {
    /// A world full of trouble.
    pub(crate) fn wild(seed: u64, canary: Option<Canary>) -> Self {
        let mut random = Random::new(seed);
        let knobs = Knobs::new(&mut random);
        let mut peers: Vec<Box<dyn Peer>> = Vec::new();
        // Some worlds are about publishing and following alone.
        let kinds = if random.chance(40) { 8 } else { 10 };
        for id in 0..random.between(2, 9) as usize {
            let own = random.fork();
            peers.push(match random.below(kinds) {
                0..3 => Box::new(Client::new(own, true)),
                3 | 4 => Box::new(Subscriber::new(own, Transport::EventStream, id)),
                5 => Box::new(Subscriber::new(own, Transport::LongPoll, id)),
                6 | 7 => {
                    let kind = random.pick(&[Kind::Calls, Kind::Calls, Kind::Calls, Kind::Echo, Kind::Relay]);
                    Box::new(Socket::new(own, kind, id))
                }
                8 => Box::new(Garbage::new(own)),
                _ => Box::new(Tunnel::new(own)),
            });
        }
        Self::new(knobs, random, peers, canary)
    }

    /// A world without trouble, in which answers do not depend on how bytes travel: that is what `travel` decides.
    pub(crate) fn quiet(seed: u64, travel: u64) -> Self {
        let mut random = Random::new(seed);
        let mut peers: Vec<Box<dyn Peer>> = Vec::new();
        for id in 0..4 {
            let own = random.fork();
            peers.push(match random.below(4) {
                0 => Box::new(Socket::new(own, Kind::Echo, id)),
                _ => Box::new(Client::new(own, false)),
            });
        }
        let mut random = Random::new(travel);
        let knobs = Knobs::quiet(&mut random);
        Self::new(knobs, random, peers, None)
    }

    /// A world of a few peers that know what they do.
    pub(crate) fn planned(knobs: Knobs, random: Random, peers: Vec<Box<dyn Peer>>, backend: MakeBackend) -> Self {
        Self { backend: Some(backend), ..Self::new(knobs, random, peers, None) }
    }

    fn new(knobs: Knobs, mut random: Random, peers: Vec<Box<dyn Peer>>, canary: Option<Canary>) -> Self {
        let config = site::config(knobs.limits.clone());
        let (shutdown, reloads) = (knobs.shutdown, knobs.reloads.clone().into());
        let net = Net::new(knobs, &mut random);
        net.canary.set(canary);
        let (runners, control) = runners(&config, &net, &mut random);
        net.runnable.borrow_mut().extend(0..peers.len());
        Self {
            runners,
            net,
            control,
            config,
            reloads,
            is_untold: false,
            peers: peers.into_iter().map(Some).collect(),
            backend: None,
            ledger: Ledger::default(),
            random,
            phase: Phase::Wild,
            shutdown,
            is_told: false,
            idle_polls: 0,
            moved: 0,
            polls: 0,
            steps: 0,
            peak: Peak::default(),
        }
    }

    /// From the first byte to the end of the last shard.
    pub(crate) fn run(mut self) -> Report {
        self.live(self.net.knobs.wild);
        self.net.is_calm.set(true);
        self.enter(Phase::Calm);
        self.live(200 * SECOND);
        self.look_for_stuck();
        self.enter(Phase::Ebb);
        self.live(200 * SECOND);
        self.look_for_stuck();
        self.ledger.settle();
        let transcripts = self.peers.iter().flatten().map(|peer| peer.transcript());
        let transcript = transcripts.filter(|transcript| !transcript.is_empty()).collect();
        self.enter(Phase::Over);
        self.live(1000 * SECOND);
        self.look_for_rest();
        if self.shutdown.is_none() {
            self.shutdown = Some((self.net.now.get(), SECOND));
        }
        self.live(20 * SECOND);
        let net = &self.net;
        Report {
            faults: self.ledger.faults().to_vec(),
            trace: net.trace.get(),
            transcript,
            polls: self.polls,
            messages: self.ledger.messages(),
            claims: self.ledger.claims(),
            requests: net.logged.get(),
            moved: net.moved.get(),
            peak: self.peak,
        }
    }

    /// So many seconds in which nobody is sent away; then nothing may be left of the connections.
    pub(crate) fn run_to_rest(mut self, seconds: u64) -> Report {
        self.net.is_calm.set(true);
        self.live(seconds * SECOND);
        self.look_for_rest();
        Report { faults: self.ledger.faults().to_vec(), polls: self.polls, ..Report::default() }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        for peer in &mut self.peers {
            if peer.as_ref().is_some_and(|peer| peer.stays() < phase) {
                *peer = None;
            }
        }
        self.net.runnable.borrow_mut().extend(0..self.peers.len());
    }

    /// Lets so many nanoseconds pass.
    fn live(&mut self, nanos: u64) {
        let end = self.net.now.get() + nanos;
        while self.ledger.faults().is_empty() {
            self.shut_down();
            self.reload();
            if self.step() {
                // Every shard is looked at again and again; after every single step would take as long as all the rest.
                if self.steps.is_multiple_of(8) {
                    self.watch();
                }
                continue;
            }
            self.look_for_unheard();
            let alarm = self.net.alarms.borrow().first_key_value().map(|((at, _), _)| *at);
            let timer = self.net.timers.borrow().iter().flatten().map(|(at, _)| *at).min();
            let order = self.shutdown.filter(|_| !self.is_told).map(|(at, _)| at);
            let next = [alarm, timer, order, self.reloads.front().copied()].into_iter().flatten().min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.go_on(at),
                None => {
                    self.net.now.set(end);
                    return;
                }
            }
        }
    }

    fn go_on(&mut self, at: u64) {
        let net = &self.net;
        net.now.set(at.max(net.now.get()));
        if net.chance(net.knobs.clock_jumps) {
            net.skew.set(self.random.below(1_000_000));
        }
        self.idle_polls = 0;
        loop {
            let Some(((at, _), alarm)) = self.net.alarms.borrow_mut().pop_first_due(net.now.get()) else { break };
            debug_assert!(at <= net.now.get());
            match alarm {
                Alarm::Peer(id) => _ = net.runnable.borrow_mut().insert(id),
                Alarm::Task(waker) => waker.wake(),
            }
        }
        for timer in net.timers.borrow_mut().iter_mut() {
            if timer.as_ref().is_some_and(|(at, _)| *at <= net.now.get())
                && let Some((_, waker)) = timer.take()
            {
                waker.wake();
            }
        }
    }

    /// Lets one of those who can do something do it; `false` if nobody can.
    fn step(&mut self) -> bool {
        let awake: Vec<usize> = (0..self.runners.len()).filter(|at| self.runners[*at].is_awake()).collect();
        let peers = self.net.runnable.borrow().len();
        if awake.is_empty() && peers == 0 {
            return false;
        }
        self.steps += 1;
        let lot = self.random.index(awake.len() + peers);
        match awake.get(lot) {
            Some(at) => self.poll(*at),
            None => self.visit(lot - awake.len()),
        }
        self.take_arrivals();
        true
    }

    fn poll(&mut self, at: usize) {
        self.polls += 1;
        self.idle_polls += 1;
        let moved = self.net.moved.get();
        if moved != self.moved {
            (self.moved, self.idle_polls) = (moved, 0);
        } else if self.idle_polls > IDLE_POLLS {
            self.ledger.fault(format!("shard {at} is polled for ever at {}", self.net.now.get()));
        }
        self.runners[at].poll(&self.net, at);
    }

    fn visit(&mut self, lot: usize) {
        let id = self.net.runnable.borrow().iter().nth(lot).copied();
        let Some(id) = id else { return };
        self.net.runnable.borrow_mut().remove(&id);
        let is_ending = self.shutdown.is_some_and(|(at, _)| at <= self.net.now.get());
        let mut cx = Cx { net: &self.net, id, phase: self.phase, ledger: &mut self.ledger, is_ending };
        if let Some(Some(peer)) = self.peers.get_mut(id) {
            peer.step(&mut cx);
        }
    }

    /// Backends come into being when somebody connects to them.
    fn take_arrivals(&mut self) {
        while let Some((_, link)) = self.net.arrivals.borrow_mut().pop_front() {
            let id = self.peers.len();
            link.borrow_mut().peer = Some(id);
            let mut random = self.random.fork();
            let wire = Wire::new(&self.net, link, id, &mut random);
            self.peers.push(Some(match &self.backend {
                Some(make) => make(wire),
                None => Box::new(Backend::new(random, wire)),
            }));
            self.net.runnable.borrow_mut().insert(id);
        }
    }

    /// The same routes, to upstreams that are others every second time: nobody may notice.
    fn reload(&mut self) {
        let now = self.net.now.get();
        if self.reloads.front().is_none_or(|at| now < *at) {
            return;
        }
        self.reloads.pop_front();
        if self.is_untold {
            return self.tell();
        }
        let mut new = Arc::unwrap_or_clone(site::config(self.net.knobs.limits.clone()));
        if self.config.generation.is_multiple_of(2) {
            new.upstreams.iter_mut().for_each(|upstream| upstream.idle_connection_timeout += Duration::from_nanos(1));
        }
        match self.config.succeeded_by(new) {
            Ok(next) => self.config = Arc::new(next),
            Err(error) => return self.ledger.fault(format!("{error:?}")),
        }
        self.tell();
    }

    /// Until all mailboxes have had room for it; not at once again, as the host does it: mail that is there has to be read first.
    fn tell(&mut self) {
        self.is_untold = !self.control.configure(&self.config);
        if self.is_untold {
            self.reloads.push_front(self.net.now.get() + MILLISECOND);
        }
    }

    fn shut_down(&mut self) {
        let Some((at, grace)) = self.shutdown else { return };
        let now = self.net.now.get();
        if now >= at && !self.is_told {
            self.is_told = self.control.shutdown(Duration::from_nanos(grace));
        }
        if now > at + grace + SECOND {
            for (shard, runner) in self.runners.iter().enumerate() {
                if let Some(driver) = &runner.driver {
                    let (usage, mail) = (driver.shard().usage(), driver.waiting_mail());
                    self.ledger.fault(format!(
                        "shard {shard} still runs {grace} ns after the shutdown at {at}: {usage:?}, {mail} in overflow"
                    ));
                    return;
                }
            }
        }
    }

    /// Nothing is larger than it may be.
    fn watch(&mut self) {
        let limits = &self.net.knobs.limits;
        for driver in self.runners.iter().filter_map(|runner| runner.driver.as_ref()) {
            let usage = driver.shard().usage();
            self.peak.outbox = self.peak.outbox.max(usage.longest_outbox);
            self.peak.leftover = self.peak.leftover.max(usage.longest_leftover);
            self.peak.waiting_mail = self.peak.waiting_mail.max(driver.waiting_mail());
            let is_in_limits = usage.connections <= limits.connections
                && usage.longest_outbox <= limits.outbox_bytes + SLACK
                && usage.longest_leftover <= limits.pipelined_bytes + READ_BUFFER
                && usage.cached_bytes <= limits.file_cache_bytes
                && usage.topics <= limits.pubsub.topics;
            if !is_in_limits {
                self.ledger.fault(format!("beyond its limits: {usage:?}"));
            }
        }
    }

    /// Before time goes on: nobody stands at the door of a shard that has room.
    fn look_for_unheard(&mut self) {
        for (shard, listener) in self.net.listeners.borrow().iter().enumerate() {
            let driver = self.runners[shard].driver.as_ref();
            let has_room = driver.is_some_and(|driver| driver.shard().is_accepting());
            if has_room && !listener.is_closed && !listener.backlog.is_empty() {
                self.ledger.fault(format!("shard {shard} has room, but leaves {} at the door", listener.backlog.len()));
            }
        }
    }

    fn look_for_stuck(&mut self) {
        if !self.ledger.faults().is_empty() || self.shutdown.is_some() {
            return;
        }
        let stuck: Vec<String> =
            self.peers.iter().flatten().filter_map(|peer| peer.stuck(&self.ledger, self.phase)).collect();
        stuck.into_iter().for_each(|what| self.ledger.fault(format!("at rest: {what}")));
    }

    /// When all have gone, nothing is left of them.
    fn look_for_rest(&mut self) {
        if !self.ledger.faults().is_empty() {
            return;
        }
        for (shard, driver) in self.runners.iter().filter_map(|runner| runner.driver.as_ref()).enumerate() {
            let usage = Usage { cached_bytes: 0, ..driver.shard().usage() };
            if usage != Usage::default() || driver.waiting_mail() > 0 {
                self.ledger.fault(format!("left over in shard {shard}: {usage:?}"));
            }
        }
        let files = self.net.files.borrow().len();
        if files > 0 {
            self.ledger.fault(format!("{files} files are open still"));
        }
    }
}

trait PopFirstDue {
    fn pop_first_due(&mut self, now: u64) -> Option<((u64, u64), Alarm)>;
}

impl PopFirstDue for std::collections::BTreeMap<(u64, u64), Alarm> {
    fn pop_first_due(&mut self, now: u64) -> Option<((u64, u64), Alarm)> {
        self.first_key_value().is_some_and(|((at, _), _)| *at <= now).then(|| self.pop_first()).flatten()
    }
}
