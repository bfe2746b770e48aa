//! One end of a connection that a test holds, and what is written there.

use super::row::Lines;
use super::world::{End, Fault, World};
use crate::gateway::{Framing, Message, content, frame, head, shown};

pub(super) const HANDSHAKE: &[(&str, &str)] = &[
    ("host", "a"),
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-protocol", "v1.swindon-lattice+json"),
];
pub(super) const API: &[(&str, &str)] = &[("host", "api"), ("content-type", "application/json")];

/// Our end of a connection, and what has come that nobody has looked at.
pub(super) struct Wire {
    pub(super) end: End,
    pub(super) inbox: Vec<u8>,
    pub(super) is_open: bool,
    pub(super) is_socket: bool,
    /// It was told to go: nobody answers its pings.
    pub(super) is_closing: bool,
    /// For how many requests no answer was expected yet.
    pub(super) unanswered: usize,
}

impl Wire {
    pub(super) fn new(end: End) -> Self {
        Self { end, inbox: Vec::new(), is_open: true, is_socket: false, is_closing: false, unanswered: 0 }
    }

    pub(super) fn fill(&mut self, world: &mut dyn World) {
        self.is_open &= world.read(self.end, &mut self.inbox);
    }

    /// A whole message, if it is there.
    pub(super) fn message(&mut self, is_request: bool) -> Result<Option<Message>, Fault> {
        let Some((mut message, used)) = head(&self.inbox)? else { return Ok(None) };
        let framing = match is_request {
            true => message.check_request().and_then(|()| message.request_framing())?,
            false => message.check_response().and_then(|()| message.response_framing())?,
        };
        if is_request && !matches!(framing, Framing::Length(_)) {
            return Err(format!("WSGI servers want a length: {message:?}"));
        }
        let Some(rest) = content(framing, &self.inbox[used..], &mut message)? else { return Ok(None) };
        self.inbox.drain(..used + rest);
        Ok(Some(message))
    }

    /// The answer to an opening handshake, and the first message after it.
    pub(super) fn greeting(&mut self, world: &mut dyn World) -> Result<(Message, String), Fault> {
        self.fill(world);
        let head = self.message(false)?.ok_or_else(|| format!("no answer, but {}", shown(&self.inbox)))?;
        let (frame, used) = frame(&self.inbox, false)?.ok_or("nothing was said")?;
        self.inbox.drain(..used);
        Ok((head, String::from_utf8_lossy(&frame[1..]).into_owned()))
    }
}

/// `own` fields; others take their place, come twice with a `+` before the value, or go if they are empty.
pub(super) fn merged(own: &[(&str, &str)], others: &Lines) -> Lines {
    let is_replaced = |name: &str| others.iter().any(|(other, value)| other == name && !value.starts_with('+'));
    let kept = own.iter().filter(|(name, _)| !is_replaced(name)).map(|(name, value)| ((*name).into(), (*value).into()));
    let added = others.iter().filter(|(_, value)| !value.is_empty());
    kept.chain(added.map(|(name, value)| (name.clone(), value.trim_start_matches('+').into()))).collect()
}

pub(super) fn request(start: &str, fields: &Lines, content: &str) -> Vec<u8> {
    let mut text = format!("{start} HTTP/1.1\r\n");
    fields.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    let is_framed = fields.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
    if !content.is_empty() && !is_framed {
        text += &format!("content-length: {}\r\n", content.len());
    }
    format!("{text}\r\n{content}").into_bytes()
}

/// A whole answer of a backend.
pub(super) fn response(status: u16, kind: &str, content: &str) -> Vec<u8> {
    let length = content.len();
    format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{content}").into_bytes()
}

/// A frame of a client; its key is 0, so that it can be read.
pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut frame = match length {
        0..126 => vec![first, 0x80 | length as u8],
        126..65536 => [&[first, 0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, 0x80 | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
