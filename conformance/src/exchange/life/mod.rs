//! Many users for a while, from one seed: what each client hears is what the [`Reference`] says.
//!
//! What changes who hears what (connections, subscriptions, time) happens alone. Calls, publishes and updates happen several at once, in
//! whatever order they arrive: what everybody has heard in the end does not depend on it.

mod backend;
mod client;
mod crowd;
mod updates;

pub use crowd::{crowded, gather};

use super::reference::{CONNECTED, EXPIRY, Reference, View};
use super::row::{Row, rows_of};
use super::wire::{API, HANDSHAKE, Wire, masked, merged, request};
use super::world::{Door, Fault, World};
use crate::sim::random::Random;
use backend::Plan;
use client::Client;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

const USERS: [&str; 5] = ["ann", "bob", "eve", "kim", "joe"];
const TOPICS: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 2] = ["board", "rooms"];
const SECOND: Duration = Duration::from_secs(1);

/// How much happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Times at which all clients were compared with the reference.
    pub comparisons: usize,
    /// Answers, messages, and values of lattices and statuses that were there then.
    pub heard: usize,
    /// Times a backend was told that a user is inactive.
    pub tellings: usize,
    /// Requests that a backend failed to answer.
    pub failures: usize,
}

/// The pool in which users live.
pub fn setting() -> Row {
    pool("")
}

/// The same, with more settings.
fn pool(more: &str) -> Row {
    let (connected, expiry) = (CONNECTED.as_millis(), EXPIRY.as_millis());
    let text = format!(
        "== life\npool inactivity = [\"app\"]\npool active_when_connected = \"{connected}ms\"\npool lattice_expiry = \"{expiry}ms\"\n{more}"
    );
    rows_of("life", &text).remove(0)
}

/// Plays `rounds` of a life.
///
/// # Errors
/// Somebody heard something else than the reference says.
pub fn live(seed: u64, rounds: usize, world: &mut dyn World) -> Result<Summary, Fault> {
    let mut life = Life::new(seed, world);
    (0..rounds).try_for_each(|_| life.live_on())?;
    life.end()
}

/// Users, a backend, and what both do, decided by a seed.
pub struct Life<'w> {
    world: &'w mut dyn World,
    random: Random,
    reference: Reference,
    clients: BTreeMap<usize, Client>,
    backends: Vec<Wire>,
    /// What the backend does about a call, by its number, or about who wants to be let in (0).
    planned: BTreeMap<u64, Plan>,
    numbers: u64,
    summary: Summary,
    can_fail: bool,
}

impl<'w> Life<'w> {
    /// Nobody has come yet.
    pub fn new(seed: u64, world: &'w mut dyn World) -> Self {
        Self {
            world,
            random: Random::new(seed),
            reference: Reference::default(),
            clients: BTreeMap::new(),
            backends: Vec::new(),
            planned: BTreeMap::new(),
            numbers: 0,
            summary: Summary::default(),
            can_fail: true,
        }
    }

    /// One thing happens, and what everybody has heard is compared.
    ///
    /// # Errors
    /// It is something else than the reference says.
    pub fn live_on(&mut self) -> Result<(), Fault> {
        let round = self.summary.comparisons;
        let done = self.round().and_then(|what| self.compare().map_err(|fault| format!("{what}: {fault}")));
        done.map_err(|fault| format!("round {round}: {fault}"))
    }

    /// Whoever has to hear of inactivity hears of it in the end.
    ///
    /// # Errors
    /// As for one round, or nobody was told.
    pub fn end(mut self) -> Result<Summary, Fault> {
        self.can_fail = false;
        // Longer than the longest wait between two attempts.
        self.wait(300)?;
        self.compare()?;
        match self.reference.owed.first() {
            Some(user) => Err(format!("nobody was told that {user} is inactive")),
            None => Ok(self.summary),
        }
    }
}

impl Life<'_> {
    /// Something happens.
    fn round(&mut self) -> Result<String, Fault> {
        match self.random.below(12) {
            0 | 1 => self.connect(),
            2 => self.leave(),
            3 => self.subscribe(),
            4 => self.attach(),
            5 => self.watch(),
            6 | 7 => {
                let seconds = self.random.between(1, 6);
                self.wait(seconds)?;
                Ok(format!("wait of {seconds} s"))
            }
            _ => self.traffic(),
        }
    }

    fn client(&mut self) -> Option<usize> {
        let known: Vec<usize> = self.clients.keys().copied().collect();
        (!known.is_empty()).then(|| self.random.pick(&known))
    }

    fn connect(&mut self) -> Result<String, Fault> {
        if self.clients.len() >= 8 {
            return self.leave();
        }
        let user = self.random.pick(&USERS);
        self.numbers += 1;
        let number = self.numbers as usize;
        let is_let_in = !self.random.chance(15);
        let plan = match is_let_in {
            true => Plan::Answer(200, "application/json", format!("{{\"user_id\":\"{user}\"}}")),
            false if self.random.chance(50) => Plan::HangUp,
            false => Plan::Answer(403, "text/plain", "no".into()),
        };
        self.planned.insert(0, plan);
        let mut wire = Wire::new(self.world.open(Door::Web)?);
        self.world.write(wire.end, &request("GET /ws", &merged(HANDSHAKE, &Vec::new()), ""));
        wire.fill(self.world);
        let id = self.serve()?.ok_or("nobody asked whether to let in")?;
        let (head, said) = wire.greeting(self.world)?;
        let expected =
            if is_let_in { format!("[\"hello\",{{}},{{\"user_id\":\"{user}\"}}]") } else { "[\"fatal_error\"".into() };
        if head.status()? != 101 || !said.starts_with(&expected) {
            return Err(format!("{head:?}, {said}"));
        }
        if is_let_in {
            self.clients.insert(number, Client { wire, id, view: View::default() });
            self.reference.connect(number, user);
        } else {
            self.world.close(wire.end);
        }
        Ok(format!("{user} comes as {number}: {is_let_in}"))
    }

    fn leave(&mut self) -> Result<String, Fault> {
        let Some(number) = self.client() else { return Ok("nobody leaves".into()) };
        if let Some(client) = self.clients.remove(&number) {
            if self.random.chance(50) {
                self.world.write(client.wire.end, &masked(0x88, &1000_u16.to_be_bytes()));
            }
            self.world.close(client.wire.end);
        }
        self.reference.disconnect(number);
        Ok(format!("{number} leaves"))
    }

    fn subscribe(&mut self) -> Result<String, Fault> {
        let Some(number) = self.client() else { return Ok("nobody subscribes".into()) };
        let topic = self.random.pick(&TOPICS);
        let is_on = self.random.chance(70);
        let topics = &mut self.reference.clients.get_mut(&number).ok_or("nobody")?.topics;
        let method = if is_on { "PUT" } else { "DELETE" };
        _ = if is_on { topics.insert(topic.into()) } else { topics.remove(topic) };
        let path = format!("{method} /v1/connection/{}/subscriptions/{topic}", self.id(number));
        self.api(vec![(path, String::new())])?;
        Ok(format!("{method} of {topic} for {number}"))
    }

    fn attach(&mut self) -> Result<String, Fault> {
        let Some(number) = self.client() else { return Ok("nobody is attached".into()) };
        let name = self.random.pick(&NAMES);
        let path = format!("/v1/connection/{}/lattices/{name}", self.id(number));
        if self.random.chance(70) {
            let delta = self.delta();
            self.reference.attach(number, name, &delta);
            self.api(vec![(format!("PUT {path}"), delta.json())])?;
            return Ok(format!("{number} attached to {name} with {}", delta.json()));
        }
        self.reference.detach(number, name);
        self.api(vec![(format!("DELETE {path}"), String::new())])?;
        let Self { world, clients, .. } = self;
        if let Some(client) = clients.get_mut(&number) {
            client.hear(*world)?;
            client.view.lattices.remove(name);
        }
        Ok(format!("{number} detached from {name}"))
    }

    fn watch(&mut self) -> Result<String, Fault> {
        let Some(number) = self.client() else { return Ok("nobody watches".into()) };
        let path = format!("/v1/connection/{}/users", self.id(number));
        if self.random.chance(70) {
            let users: Vec<&str> = USERS.into_iter().filter(|_| self.random.chance(50)).collect();
            self.reference.watch(number, &users);
            self.api(vec![(format!("PUT {path}"), Json::from(users.clone()).to_string())])?;
            return Ok(format!("{number} watches {users:?}"));
        }
        self.reference.unwatch(number);
        self.api(vec![(format!("DELETE {path}"), String::new())])?;
        Ok(format!("{number} watches nobody"))
    }

    /// Several things at once.
    fn traffic(&mut self) -> Result<String, Fault> {
        let (mut requests, mut what) = (Vec::new(), String::from("at once:"));
        let mut speakers = BTreeSet::new();
        for _ in 0..self.random.between(1, 6) {
            self.numbers += 1;
            let data = self.numbers.to_string();
            let topic = self.random.pick(&TOPICS);
            match self.random.below(8) {
                0 | 1 => {
                    let is_one = |_: usize, client: &super::reference::Client| client.topics.contains(topic);
                    self.reference.tell(topic, &data, is_one);
                    requests.push((format!("POST /v1/publish/{topic}"), data));
                }
                2 => {
                    let user = self.random.pick(&USERS);
                    self.reference.tell(topic, &data, |_, client| client.user == user);
                    requests.push((format!("POST /v1/user/{user}/publish/{topic}"), data));
                }
                3 => {
                    let Some(number) = self.client() else { continue };
                    self.reference.tell(topic, &data, |of, _| of == number);
                    requests.push((format!("POST /v1/connection/{}/publish/{topic}", self.id(number)), data));
                }
                4 | 5 => {
                    let (name, delta) = (self.random.pick(&NAMES), self.delta());
                    self.reference.update(name, &delta);
                    requests.push((format!("POST /v1/lattice/{name}"), delta.json()));
                }
                _ => {
                    // Each client says one thing at a time: what it says comes in this order then.
                    let Some(number) = self.client().filter(|number| speakers.insert(*number)) else { continue };
                    what += &format!(" {}", self.call(number)?);
                }
            }
        }
        requests.iter().for_each(|(start, content)| what += &format!(" {start} {content};"));
        self.api(requests)?;
        Ok(what)
    }

    fn call(&mut self, client: usize) -> Result<String, Fault> {
        let number = self.numbers;
        let active = self.random.chance(30).then(|| self.random.between(1, 9));
        let meta = match active {
            Some(seconds) => format!("\"active\":{seconds},\"request_id\":{number}"),
            None => format!("\"request_id\":{number}"),
        };
        let error = |added: &str, data: &str| format!("[\"error\",{{{added},{meta}}},{data}]");
        let (plan, answer) = match self.random.below(10) {
            0 => (Plan::HangUp, error("\"error_kind\":\"http_error\",\"http_error\":500", "null")),
            1 => {
                let plan = Plan::Answer(200, "text/plain", "1".into());
                (plan, error("\"error_kind\":\"http_error\",\"http_error\":500", "null"))
            }
            2 => {
                let answer = error("\"error_kind\":\"data_error\"", "\"EOF while parsing a list at line 1 column 1\"");
                (Plan::Answer(200, "application/json", "[".into()), answer)
            }
            3 | 4 => {
                let status = self.random.pick(&[201, 400, 403, 404, 500, 503]);
                let added = format!("\"error_kind\":\"http_error\",\"http_error\":{status}");
                (Plan::Answer(status, "application/json", format!("[{number}]")), error(&added, &format!("[{number}]")))
            }
            _ => {
                let result = format!("[\"result\",{{{meta}}},{{\"n\":{number}}}]");
                (Plan::Answer(200, "application/json", format!("{{\"n\":{number}}}")), result)
            }
        };
        self.planned.insert(number, plan);
        let text = format!("[\"m.{number}\",{{{meta}}},[],{{}}]");
        let wire = &self.clients.get(&client).ok_or("nobody")?.wire;
        self.world.write(wire.end, &masked(0x81, text.as_bytes()));
        let of = self.reference.clients.get_mut(&client).ok_or("nobody")?;
        of.view.answers.insert(number, answer.clone());
        let user = of.user.clone();
        if let Some(seconds) = active {
            self.reference.keep_active(&user, Duration::from_secs(seconds));
        }
        Ok(format!("{client} says {text}, {answer};"))
    }

    fn wait(&mut self, seconds: u64) -> Result<(), Fault> {
        for _ in 0..seconds {
            self.reference.advance(self.reference.now + SECOND);
            self.world.wait(SECOND);
            self.serve()?;
            let Self { world, clients, .. } = self;
            clients.values_mut().try_for_each(|client| client.hear(*world))?;
        }
        Ok(())
    }

    /// Requests of backends, all at once, each on a connection of its own.
    fn api(&mut self, requests: Vec<(String, String)>) -> Result<(), Fault> {
        let mut wires = Vec::new();
        for (start, content) in requests {
            let own: &[(&str, &str)] = if content.is_empty() { &[("host", "api")] } else { API };
            let wire = Wire::new(self.world.open(Door::Api)?);
            self.world.write(wire.end, &request(&start, &merged(own, &Vec::new()), &content));
            wires.push((start, wire));
        }
        self.serve()?;
        for (start, mut wire) in wires {
            wire.fill(self.world);
            let answer = wire.message(false)?.ok_or_else(|| format!("{start} was not answered"))?;
            if answer.status()? != 204 {
                return Err(format!("{start}: {answer:?}"));
            }
            self.world.close(wire.end);
        }
        Ok(())
    }

    /// What everybody has heard is what the reference says.
    fn compare(&mut self) -> Result<(), Fault> {
        self.serve()?;
        let Self { world, clients, reference, summary, .. } = self;
        for (number, client) in clients.iter_mut() {
            client.hear(*world)?;
            client.view.messages.sort();
            let expected = reference.view(*number);
            if client.view != expected {
                return Err(format!("client {number} heard\n  {:?}\nand not\n  {expected:?}", client.view));
            }
            let View { answers, messages, lattices, statuses } = &mut client.view;
            summary.heard += answers.len() + messages.len() + statuses.len();
            summary.heard += lattices.values().flat_map(|state| state.values().map(BTreeMap::len)).sum::<usize>();
            answers.clear();
            messages.clear();
            if let Some(of) = reference.clients.get_mut(number) {
                of.view.answers.clear();
                of.view.messages.clear();
            }
        }
        summary.comparisons += 1;
        Ok(())
    }

    fn id(&self, number: usize) -> String {
        self.clients.get(&number).map(|client| client.id.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Life<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life").field("summary", &self.summary).finish_non_exhaustive()
    }
}
