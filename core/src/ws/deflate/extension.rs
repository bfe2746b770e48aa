//! Messages of one connection.

use super::codec::InflateError;
use super::{Agreed, Codec, Direction, Settings};
use crate::ws::ProtocolError;
use alloc::vec::Vec;

/// What an open connection knows about compression.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Extension {
    agreed: Agreed,
    level: u8,
    threshold: usize,
    /// The end of what was received, while messages may refer to it.
    incoming: Vec<u8>,
    /// The end of what was sent compressed.
    outgoing: Vec<u8>,
}

impl Extension {
    /// After a handshake that agreed on it.
    pub const fn new(agreed: Agreed, settings: &Settings) -> Self {
        let (level, threshold) = (settings.level, settings.threshold);
        Self { agreed, level, threshold, incoming: Vec::new(), outgoing: Vec::new() }
    }

    /// The message that a compressed payload stands for, at most `limit` bytes: no more is ever held.
    pub(crate) fn inflate(&mut self, codec: &mut Codec, data: &[u8], limit: usize) -> Result<Vec<u8>, ProtocolError> {
        let message = codec.inflate(&self.incoming, data, limit).map_err(|error| match error {
            InflateError::Invalid => ProtocolError::InvalidDeflate,
            InflateError::TooBig => ProtocolError::MessageTooBig,
        })?;
        slide(&mut self.incoming, self.agreed.incoming, &message);
        Ok(message)
    }

    /// The compressed form of a message; `None`: it is better sent as it is.
    pub(crate) fn deflate(&mut self, codec: &mut Codec, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() < self.threshold {
            return None;
        }
        let mut out = Vec::new();
        codec.deflate((self.agreed.outgoing.window_bits, self.level), &self.outgoing, payload, &mut out);
        if out.len() >= payload.len() {
            return None;
        }
        slide(&mut self.outgoing, self.agreed.outgoing, payload);
        Some(out)
    }

    /// With which window bits and level a message of this length is compressed, if it is the same for all who have the same. `Err`: it
    /// depends on the connection; `Ok(None)`: it is sent as it is.
    pub(crate) fn shares(&self, len: usize) -> Result<Option<(u8, u8)>, ()> {
        match self.agreed.outgoing {
            _ if len < self.threshold => Ok(None),
            Direction { has_context: true, .. } => Err(()),
            Direction { window_bits, .. } => Ok(Some((window_bits, self.level))),
        }
    }

    /// What is held (bytes).
    pub fn held_bytes(&self) -> usize {
        self.incoming.capacity() + self.outgoing.capacity()
    }
}

/// Keeps the last 2^bits bytes of everything.
fn slide(window: &mut Vec<u8>, direction: Direction, data: &[u8]) {
    if !direction.has_context {
        return;
    }
    let size = 1_usize << direction.window_bits;
    let data = data.get(data.len().saturating_sub(size)..).unwrap_or_default();
    let surplus = (window.len() + data.len()).saturating_sub(size);
    window.drain(..surplus);
    window.reserve_exact(data.len());
    window.extend_from_slice(data);
}
