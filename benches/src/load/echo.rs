//! Messages that come back.

use super::clients::Clients;
use super::{Load, http};
use crate::rig::client_frame;
use std::io;
use std::net::SocketAddr;

/// The masking key of a frame, which a server's frame has not (RFC 6455 §5.1).
const KEY: usize = 4;

/// WebSockets that send so many messages, wait for as many, and do it again.
pub(super) struct Echo {
    clients: Clients,
    frames: Vec<u8>,
    in_flight: usize,
    /// How long the echoes are.
    length: usize,
    /// What is missing of them, in bytes.
    missing: Vec<usize>,
}

impl Echo {
    pub(super) fn start(
        address: SocketAddr,
        path: &str,
        connections: usize,
        bytes: usize,
        in_flight: usize,
    ) -> io::Result<Self> {
        let mut clients = Clients::open(address, connections, &http::upgrade(path))?;
        let frame = client_frame(&vec![b'x'; bytes]);
        let length = (frame.len() - KEY) * in_flight;
        let frames = frame.repeat(in_flight);
        for index in 0..connections {
            clients.write(index, &frames)?;
        }
        Ok(Self { clients, frames, in_flight, length, missing: vec![length; connections] })
    }
}

impl Load for Echo {
    fn step(&mut self) -> io::Result<u64> {
        let mut done = 0;
        while done == 0 {
            self.clients.wait(|index, bytes, stream| {
                let missing = &mut self.missing[index];
                *missing = match missing.checked_sub(bytes.len()) {
                    None => return Err(io::Error::other("more came back than was sent")),
                    Some(_) if bytes.is_empty() => return Err(io::Error::other("the connection was closed")),
                    Some(0) => {
                        done += self.in_flight as u64;
                        io::Write::write_all(stream, &self.frames)?;
                        self.length
                    }
                    Some(missing) => missing,
                };
                Ok(())
            })?;
        }
        Ok(done)
    }
}
