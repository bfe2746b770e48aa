//! A row from its beginning to its end.

use super::row::{Expected, Row, Step};
use super::wire::{API, HANDSHAKE, Wire, masked, merged, request};
use super::world::{Door, Fault, World};
use crate::gateway::{Message, frame, shown};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Plays a row.
///
/// # Errors
/// What was not as it must be, in words.
pub fn play(row: &Row, world: &mut dyn World) -> Result<(), Fault> {
    let mut play = Play { world, clients: BTreeMap::new(), backends: BTreeMap::new(), names: BTreeMap::new() };
    for (line, step) in &row.steps {
        play.step(step).map_err(|fault| format!("line {line}: {fault}"))?;
    }
    play.nobody_says_more().map_err(|fault| format!("at the end: {fault}"))
}

struct Play<'w> {
    world: &'w mut dyn World,
    /// Clients and API connections.
    clients: BTreeMap<String, Wire>,
    backends: BTreeMap<String, Backend>,
    /// What names in expected text stand for.
    names: BTreeMap<String, String>,
}

#[derive(Default)]
struct Backend {
    wires: Vec<Wire>,
    /// Which of them wait for an answer, by turns.
    asked: VecDeque<usize>,
}

impl Backend {
    /// Who has waited longest for an answer, and does still.
    fn next_to_answer(&mut self, world: &mut dyn World) -> Option<usize> {
        loop {
            let at = self.asked.pop_front()?;
            let wire = self.wires.get_mut(at)?;
            wire.fill(world);
            if wire.is_open {
                return Some(at);
            }
        }
    }
}

impl Play<'_> {
    fn step(&mut self, step: &Step) -> Result<(), Fault> {
        match step {
            Step::Opens(name, path, fields) => {
                let mut wire = Wire::new(self.world.open(Door::Web)?);
                wire.unanswered = 1;
                // Another connection of the same name has another id.
                self.names.remove(name);
                let path = self.filled(path)?;
                self.world.write(wire.end, &request(&format!("GET {path}"), &merged(HANDSHAKE, fields), ""));
                self.clients.insert(name.clone(), wire);
                Ok(())
            }
            Step::Api(name, start, json, fields) => {
                let (start, json) = (self.filled(start)?, self.filled(json)?);
                if !self.clients.contains_key(name) {
                    let wire = Wire::new(self.world.open(Door::Api)?);
                    self.clients.insert(name.clone(), wire);
                }
                let own: &[(&str, &str)] = if json.is_empty() { &[("host", "api")] } else { API };
                let Self { world, clients, .. } = self;
                let wire = clients.get_mut(name).ok_or("nobody")?;
                wire.unanswered += 1;
                world.write(wire.end, &request(&start, &merged(own, fields), &json));
                Ok(())
            }
            Step::Answered(name, expected) => self.answered(name, expected),
            Step::NotAnswered(name) => {
                let Self { world, clients, .. } = self;
                let wire = clients.get_mut(name).ok_or("nobody")?;
                wire.fill(*world);
                wire.inbox.is_empty().then_some(()).ok_or_else(|| format!("{name} got {}", shown(&wire.inbox)))
            }
            Step::Says(name, text) => {
                let text = self.filled(text)?;
                self.send(name, &masked(0x81, text.as_bytes()))
            }
            Step::Sends(name, bytes) => match self.backends.get_mut(name) {
                Some(backend) => {
                    let at = backend.next_to_answer(self.world).ok_or("nobody waits for an answer")?;
                    backend.asked.push_front(at);
                    self.world.write(backend.wires[at].end, bytes);
                    Ok(())
                }
                None => self.send(name, bytes),
            },
            Step::Hears(name, text) => {
                let frame = self.next_frame(name)?;
                let (opcode, payload) = frame.split_first().ok_or("no frame")?;
                let heard = String::from_utf8_lossy(payload);
                match opcode {
                    0x81 => self.is_like(text, &heard),
                    _ => Err(format!("the frame {}", frame.escape_ascii())),
                }
            }
            Step::HearsNothing(name) => self.hears_nothing(name),
            Step::Closes(name, code, reason) => {
                let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
                match self.backends.get_mut(name) {
                    Some(_) => Err("a backend just `leaves`".into()),
                    None => self.send(name, &masked(0x88, &payload)),
                }
            }
            Step::IsClosed(name, code, reason) => {
                let expected = [&[0x88][..], &code.to_be_bytes(), reason.as_bytes()].concat();
                let frame = self.next_frame(name)?;
                self.clients.get_mut(name).ok_or("nobody")?.is_closing = true;
                (frame == expected).then_some(()).ok_or_else(|| format!("the frame {}", frame.escape_ascii()))
            }
            Step::Leaves(name) => {
                if let Some(backend) = self.backends.get_mut(name) {
                    let at = backend.next_to_answer(self.world).ok_or("nobody waits for an answer")?;
                    backend.wires[at].is_open = false;
                    self.world.close(backend.wires[at].end);
                    return Ok(());
                }
                let wire = self.clients.remove(name).ok_or("nobody")?;
                self.world.close(wire.end);
                Ok(())
            }
            Step::SeesEnd(name) => {
                let Self { world, clients, .. } = self;
                let wire = clients.get_mut(name).ok_or("nobody")?;
                loop {
                    wire.fill(*world);
                    if !wire.inbox.is_empty() {
                        return Err(format!("it got {}", shown(&wire.inbox)));
                    }
                    if !wire.is_open {
                        return Ok(());
                    }
                    if !world.rest() {
                        return Err("the connection stays open".into());
                    }
                }
            }
            Step::Asked(name, expected) => self.asked(name, expected),
            Step::NotAsked(name) => self.not_asked(name),
            Step::Answers(name, status, json, fields) => {
                let json = self.filled(json)?;
                let Self { world, backends, .. } = self;
                let backend = backends.get_mut(name).ok_or("it was not asked")?;
                let at = backend.next_to_answer(*world).ok_or("nobody waits for an answer")?;
                let own: &[(&str, &str)] = if json.is_empty() { &[] } else { &[("content-type", "application/json")] };
                let mut text = format!("HTTP/1.1 {status} X\r\n");
                merged(own, fields).iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
                let framing =
                    if *status == 204 { String::new() } else { format!("content-length: {}\r\n", json.len()) };
                self.world.write(backend.wires[at].end, format!("{text}{framing}\r\n{json}").as_bytes());
                Ok(())
            }
            Step::Wait(time) => {
                let mut left = *time;
                while !left.is_zero() {
                    let part = left.min(LIVELINESS);
                    self.world.wait(part);
                    left -= part;
                    self.answer_pings()?;
                }
                Ok(())
            }
            Step::ShutDown => {
                self.world.shut_down();
                Ok(())
            }
            Step::Hold(held) => self.world.hold(*held).then_some(()).ok_or_else(|| "mail cannot be held".into()),
        }
    }

    fn answered(&mut self, name: &str, expected: &Expected) -> Result<(), Fault> {
        let Self { world, clients, .. } = self;
        let wire = clients.get_mut(name).ok_or("nobody")?;
        let message = loop {
            wire.fill(*world);
            if let Some(message) = wire.message(false)? {
                break message;
            }
            if !wire.is_open || !world.rest() {
                return Err(format!("{name} got no answer, but {}", shown(&wire.inbox)));
            }
        };
        wire.unanswered = wire.unanswered.saturating_sub(1);
        let status = message.status()?;
        wire.is_socket = status == 101;
        let is_api = name.starts_with("api");
        if status.to_string() != expected.start {
            return Err(format!("{message:?}"));
        }
        // Whoever looks at no more than the status is right, and whoever reads on is told why.
        let is_told =
            serde_json::from_slice::<serde_json::Value>(&message.content).is_ok_and(|json| json["error"].is_string());
        if is_api && status >= 400 && !(is_told && message.get("content-type") == Some("application/json")) {
            return Err(format!("no reason in {message:?}"));
        }
        self.check(&message, expected)
    }

    /// Fields and content.
    fn check(&mut self, message: &Message, expected: &Expected) -> Result<(), Fault> {
        for (name, value) in &expected.fields {
            let found: Vec<_> = message.all(name).collect();
            if found.len() != 1 {
                return Err(format!("{name} in {message:?}"));
            }
            self.is_like(value, found[0])?;
        }
        if let Some(name) = expected.missing.iter().find(|name| message.get(name).is_some()) {
            return Err(format!("{name} in {message:?}"));
        }
        match &expected.content {
            Some(content) => self.is_like(content, &String::from_utf8_lossy(&message.content)),
            None => Ok(()),
        }
    }

    fn asked(&mut self, name: &str, expected: &Expected) -> Result<(), Fault> {
        let message = loop {
            let Self { world, backends, .. } = self;
            let backend = backends.entry(name.into()).or_default();
            while let Some(end) = world.accept(name) {
                backend.wires.push(Wire::new(end));
            }
            let mut found = None;
            for (at, wire) in backend.wires.iter_mut().enumerate() {
                wire.fill(*world);
                if let Some(message) = wire.message(true)? {
                    backend.asked.push_back(at);
                    found = Some(message);
                    break;
                }
            }
            if let Some(message) = found {
                break message;
            }
            // In memory a connection may have come while the others were read.
            if let Some(end) = world.accept(name) {
                backend.wires.push(Wire::new(end));
            } else if !world.rest() {
                return Err("no request came".into());
            }
        };
        if message.start != format!("{} HTTP/1.1", expected.start) {
            return Err(format!("{message:?}"));
        }
        self.check(&message, expected)
    }

    fn not_asked(&mut self, name: &str) -> Result<(), Fault> {
        let Self { world, backends, .. } = self;
        let backend = backends.entry(name.into()).or_default();
        for wire in &mut backend.wires {
            wire.fill(*world);
        }
        while let Some(end) = world.accept(name) {
            backend.wires.push(Wire::new(end));
        }
        for wire in &mut backend.wires {
            wire.fill(*world);
            if !wire.inbox.is_empty() {
                return Err(format!("{name} was asked {}", shown(&wire.inbox)));
            }
        }
        Ok(())
    }

    fn send(&mut self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let wire = self.clients.get(name).ok_or("nobody")?;
        self.world.write(wire.end, bytes);
        Ok(())
    }

    /// The first byte of a frame, and its payload.
    fn next_frame(&mut self, name: &str) -> Result<Vec<u8>, Fault> {
        let Self { world, clients, .. } = self;
        let wire = clients.get_mut(name).ok_or("nobody")?;
        loop {
            wire.fill(*world);
            if let Some((frame, used)) = frame(&wire.inbox, false)? {
                wire.inbox.drain(..used);
                // Whoever is alive answers pings; nobody has to hear of it.
                if frame[0] != 0x89 {
                    return Ok(frame);
                }
                world.write(wire.end, &masked(0x8A, &frame[1..]));
                continue;
            }
            if !wire.is_open || !world.rest() {
                let state = if wire.is_open { "open" } else { "closed" };
                return Err(format!("{name} ({state}) heard nothing more after {}", shown(&wire.inbox)));
            }
        }
    }

    /// Whoever waits is alive all the same.
    fn answer_pings(&mut self) -> Result<(), Fault> {
        let Self { world, clients, .. } = self;
        for wire in clients.values_mut().filter(|wire| wire.is_socket) {
            wire.fill(*world);
            let (mut at, mut kept) = (0, Vec::new());
            while let Some((frame, used)) = frame(&wire.inbox[at..], false)? {
                match frame.split_first() {
                    Some((0x89, payload)) => world.write(wire.end, &masked(0x8A, payload)),
                    _ => kept.extend_from_slice(&wire.inbox[at..at + used]),
                }
                at += used;
            }
            kept.extend_from_slice(&wire.inbox[at..]);
            wire.inbox = kept;
        }
        Ok(())
    }

    fn hears_nothing(&mut self, name: &str) -> Result<(), Fault> {
        self.send(name, &masked(0x89, b"?"))?;
        let frame = self.next_frame(name)?;
        (frame == b"\x8A?").then_some(()).ok_or_else(|| format!("{name} heard {}", shown(&frame)))
    }

    fn nobody_says_more(&mut self) -> Result<(), Fault> {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        for name in names {
            let wire = &mut self.clients.get_mut(&name).ok_or("nobody")?;
            wire.fill(self.world);
            if wire.unanswered > 0 {
                return Err(format!("{name} waits for an answer"));
            }
            if wire.is_socket && wire.is_open && !wire.is_closing {
                self.hears_nothing(&name)?;
            } else if !wire.inbox.is_empty() {
                return Err(format!("{name} also got {}", shown(&wire.inbox)));
            }
        }
        for name in super::row::UPSTREAMS {
            self.not_asked(name)?;
        }
        Ok(())
    }

    /// `text` with what its names stand for.
    fn filled(&self, text: &str) -> Result<String, Fault> {
        let mut filled = String::new();
        for (index, part) in text.split('$').enumerate() {
            if index == 0 {
                filled += part;
                continue;
            }
            let (name, rest) = name_of(part);
            filled += self.names.get(name).ok_or_else(|| format!("${name} stands for nothing yet"))?;
            filled += rest;
        }
        Ok(filled)
    }

    /// Whether text is as expected; names that are new stand for what is found from now on.
    fn is_like(&mut self, expected: &str, found: &str) -> Result<(), Fault> {
        let wrong = || format!("it is {found}\n      and not {expected}");
        let mut parts = expected.split('$');
        let mut rest = parts.next().and_then(|part| found.strip_prefix(part)).ok_or_else(wrong)?;
        for part in parts {
            let (name, literal) = name_of(part);
            let is_stamp = name == "stamp";
            let is_allowed = |c: char| {
                if is_stamp { c.is_ascii_digit() || c == '.' } else { c.is_ascii_alphanumeric() || "_-".contains(c) }
            };
            let length = rest.find(|c| !is_allowed(c)).unwrap_or(rest.len());
            let (value, after) = rest.split_at(length);
            let known = self.names.get(name).is_none_or(|known| known == value);
            if value.is_empty() || !known {
                return Err(wrong());
            }
            if !is_stamp {
                self.names.insert(name.into(), value.into());
            }
            rest = after.strip_prefix(literal).ok_or_else(wrong)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(wrong()) }
    }
}

/// How often sockets are looked after while everybody waits.
const LIVELINESS: Duration = Duration::from_secs(5);
fn name_of(part: &str) -> (&str, &str) {
    part.split_at(part.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).unwrap_or(part.len()))
}
