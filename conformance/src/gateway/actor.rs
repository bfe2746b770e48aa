//! Either end of a connection, playing its steps.

use super::message::{self, Fault, Framing, Message};
use super::scenario::Step;
use super::stage::{PATIENCE, Stage};
use super::transport::Transport;
use brolly_core::ws::handshake::accept_key;
use std::borrow::Cow;
use std::io::ErrorKind;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Client,
    Backend,
}

/// How the peer's direction ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Peace,
    Reset,
}

#[derive(Debug)]
pub(crate) struct Actor<'s> {
    stream: Option<Transport>,
    pub(crate) pending: Vec<u8>,
    pub(crate) end: Option<End>,
    side: Side,
    /// The message read last.
    pub(crate) last: Option<Message>,
    /// What [`Step::Same`] has seen.
    same: Option<Option<String>>,
    stage: &'s Stage,
}

impl<'s> Actor<'s> {
    pub(crate) fn new(stream: Transport, side: Side, stage: &'s Stage) -> Self {
        stream.set_timeouts(PATIENCE, PATIENCE).unwrap();
        Self { stream: Some(stream), pending: Vec::new(), end: None, side, last: None, same: None, stage }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stream.is_some() && self.end.is_none()
    }

    pub(crate) fn play(&mut self, steps: &[Step]) -> Result<(), Fault> {
        let side = self.side;
        for (at, step) in steps.iter().enumerate() {
            let told = |fault| format!("{side:?}, step {} ({}): {fault}", at + 1, brief(step));
            self.step(step).map_err(told)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Fault> {
        match step {
            Step::Send(bytes) => self.send(bytes),
            Step::Drip(bytes) => {
                for byte in bytes {
                    self.send(&[*byte])?;
                    sleep(Duration::from_millis(1));
                }
                Ok(())
            }
            Step::Pause(time) => {
                sleep(*time);
                Ok(())
            }
            Step::End => {
                // It may be gone already.
                let _ = self.stream()?.end();
                Ok(())
            }
            Step::Close { reset } => {
                // It may be gone already.
                let _ = self.stream.take().ok_or("the connection is closed")?.close(*reset);
                Ok(())
            }
            Step::Get(start) => {
                self.read_message()?;
                self.begins(start)
            }
            Step::GetHead(start) => {
                self.read_head()?;
                self.begins(start)
            }
            Step::Has(name, value) => {
                let last = self.last()?;
                let found: Vec<_> = last.all(name).collect();
                let is_there = match value {
                    // RFC 9110 §5.3: several lines are one list.
                    Some(value) => !found.is_empty() && found.join(", ") == *value,
                    None => !found.is_empty(),
                };
                is_there.then_some(()).ok_or_else(|| format!("it is not so in {last:?}"))
            }
            Step::Same(name) => {
                let now = self.last()?.get(name).map(str::to_owned);
                let before = self.same.get_or_insert_with(|| now.clone());
                (*before == now).then_some(()).ok_or_else(|| format!("it is {now:?}, and was {before:?}"))
            }
            Step::Lacks(name) => {
                let last = self.last()?;
                last.get(name).is_none().then_some(()).ok_or_else(|| format!("it is in {last:?}"))
            }
            Step::Trailer(expected) => {
                let last = self.last()?;
                let is_so = match expected {
                    Some(trailer) => last.trailers.contains(trailer),
                    None => last.trailers.is_empty(),
                };
                is_so.then_some(()).ok_or_else(|| format!("it is not so in {last:?}"))
            }
            Step::Content(expected) => {
                let content = &self.last()?.content;
                (content == expected).then_some(()).ok_or_else(|| format!("it is {}", shown(content)))
            }
            Step::ContentLength(expected) => {
                let length = self.last()?.content.len();
                (length == *expected).then_some(()).ok_or_else(|| format!("it is {length}"))
            }
            Step::Take(expected) => {
                let taken = self.take(expected.len())?;
                (taken == *expected).then_some(()).ok_or_else(|| format!("it is {}", shown(&taken)))
            }
            Step::Frame(expected) => {
                let frame = self.take_frame()?;
                (frame == *expected).then_some(()).ok_or_else(|| format!("it is {}", frame.escape_ascii()))
            }
            Step::TakeCount(count) => self.take(*count).map(drop),
            Step::SeeEnd | Step::SeeReset => {
                while self.fill(PATIENCE)? {}
                match (self.end, &self.pending[..], step) {
                    (Some(End::Peace), [], Step::SeeEnd) | (Some(End::Reset), [], Step::SeeReset) => Ok(()),
                    (end, pending, _) => Err(format!("{end:?} after {}", shown(pending))),
                }
            }
            Step::SeeCut => self.see_cut(),
            Step::SeeBreak | Step::SeeGone => {
                while self.fill(PATIENCE)? {}
                self.pending.clear();
                match (self.end, step) {
                    (Some(End::Peace), Step::SeeBreak) => Err("it has ended in peace".into()),
                    _ => Ok(()),
                }
            }
            Step::SeeNothing(time) => {
                let deadline = Instant::now() + *time;
                while self.end.is_none() && self.pending.is_empty() && Instant::now() < deadline {
                    let _ = self.fill(deadline.saturating_duration_since(Instant::now()));
                }
                match (self.end, &self.pending[..]) {
                    (None, []) => Ok(()),
                    (end, pending) => Err(format!("{end:?}, {}", shown(pending))),
                }
            }
            Step::Signal(name) => {
                self.stage.signal(name);
                Ok(())
            }
            Step::Await(name) => self.stage.wait_for(name),
            Step::Follow(name) => self.stage.has(name).then_some(()).ok_or_else(|| "that was too early".to_owned()),
        }
    }

    /// Sends what the peer may have stopped to take: then it is judged by what it says.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let bytes = self.accepted(bytes)?;
        match self.stream()?.write_all(&bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                Err(error.to_string())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// `bytes` with the `$accept` in them filled in.
    fn accepted<'b>(&self, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, Fault> {
        let Some(at) = bytes.windows(7).position(|window| window == b"$accept") else { return Ok(bytes.into()) };
        let key = self.last()?.get("sec-websocket-key").ok_or("there is no key")?;
        let mut bytes = bytes.to_vec();
        bytes.splice(at..at + 7, accept_key(key.as_bytes()));
        Ok(bytes.into())
    }

    /// A WebSocket frame: its first byte, and its payload.
    fn take_frame(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some((frame, used)) = message::frame(&self.pending, self.side == Side::Backend)? {
                self.pending.drain(..used);
                return Ok(frame);
            }
            if !self.fill(PATIENCE)? {
                return Err(format!("{:?} after {}", self.end, shown(&self.pending)));
            }
        }
    }

    /// Reads a whole message.
    pub(crate) fn read_message(&mut self) -> Result<(), Fault> {
        let framing = self.read_head()?;
        let mut message = self.last.take().unwrap_or_default();
        loop {
            if let Some(used) = message::content(framing, &self.pending, &mut message)? {
                self.pending.drain(..used);
                break;
            }
            if self.fill(PATIENCE)? {
                continue;
            }
            if framing == Framing::UntilClose && self.end == Some(End::Peace) {
                message.content = std::mem::take(&mut self.pending);
                break;
            }
            return Err(format!("{:?} in the middle of {message:?}, {}", self.end, shown(&self.pending)));
        }
        self.last = Some(message);
        Ok(())
    }

    /// Reads a head, which becomes the last message; returns the framing of what follows.
    fn read_head(&mut self) -> Result<Framing, Fault> {
        let (head, used) = loop {
            if let Some(found) = message::head(&self.pending)? {
                break found;
            }
            if !self.fill(PATIENCE)? {
                return Err(format!("{:?} instead of a message, after {}", self.end, shown(&self.pending)));
            }
        };
        self.pending.drain(..used);
        let framing = match self.side {
            Side::Client => head.check_response().and_then(|()| head.response_framing()),
            Side::Backend => head.check_request().and_then(|()| head.request_framing()),
        };
        self.last = Some(head);
        framing
    }

    /// The rest of the message whose head was read, or all of one whose head was not, must never be complete.
    fn see_cut(&mut self) -> Result<(), Fault> {
        let framing = match &self.last {
            Some(head) if head.content.is_empty() => Some(match self.side {
                Side::Client => head.response_framing()?,
                Side::Backend => head.request_framing()?,
            }),
            _ => None,
        };
        while self.fill(PATIENCE)? {}
        let pending = std::mem::take(&mut self.pending);
        let is_complete = match framing {
            Some(Framing::UntilClose) => self.end == Some(End::Peace),
            Some(framing) => message::content(framing, &pending, &mut Message::default())?.is_some(),
            None => message::head(&pending)?.is_some(),
        };
        (!is_complete)
            .then_some(())
            .ok_or_else(|| format!("{:?} after {} passes for complete", self.end, shown(&pending)))
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        while self.pending.len() < count {
            if !self.fill(PATIENCE)? {
                return Err(format!("{:?} after {}", self.end, shown(&self.pending)));
            }
        }
        Ok(self.pending.drain(..count).collect())
    }

    fn begins(&self, expected: &str) -> Result<(), Fault> {
        let last = self.last()?;
        let is_so = match (self.side, expected.strip_suffix("xx")) {
            (Side::Client, Some(class)) => last.start.starts_with(&format!("HTTP/1.1 {class}")),
            (Side::Client, None) => last.start.starts_with(&format!("HTTP/1.1 {expected} ")),
            (Side::Backend, _) => last.start == format!("{expected} HTTP/1.1"),
        };
        is_so.then_some(()).ok_or_else(|| format!("it is {last:?}"))
    }

    fn last(&self) -> Result<&Message, Fault> {
        self.last.as_ref().ok_or_else(|| "no message was read yet".into())
    }

    fn stream(&mut self) -> Result<&mut Transport, Fault> {
        self.stream.as_mut().ok_or_else(|| "the connection is closed".into())
    }

    /// Reads more; `false` at the end.
    pub(crate) fn fill(&mut self, patience: Duration) -> Result<bool, Fault> {
        if self.end.is_some() {
            return Ok(false);
        }
        let stream = self.stream()?;
        let patience = patience.max(Duration::from_millis(1));
        stream.set_timeouts(patience, PATIENCE).map_err(|error| error.to_string())?;
        let mut buffer = [0; 64 * 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => self.end = Some(End::Peace),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(format!("nothing comes after {}", shown(&self.pending)));
                }
                // A reset, or TLS that ends without saying so, or with an alert.
                Err(_) => self.end = Some(End::Reset),
            }
            return Ok(self.end.is_none());
        }
    }
}

/// Bytes for people.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let some = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]);
    format!(
        "{some:?}{}",
        if bytes.len() > 600 { format!(" and {} bytes more", bytes.len() - 600) } else { String::new() }
    )
}

fn brief(step: &Step) -> String {
    match step {
        Step::Send(bytes) | Step::Drip(bytes) => format!("sends {}", shown(bytes)),
        step => format!("{step:?}"),
    }
}
