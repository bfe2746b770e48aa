//! WebSockets that are opened and closed at once.

use super::clients::{Clients, accepted};
use super::{Load, http};
use std::io;
use std::net::{Shutdown, SocketAddr};

/// A masked Close frame with the code 1000.
const CLOSE: [u8; 8] = [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2];

/// Connects, shakes hands, closes, connects again.
pub(super) struct OpenClose {
    clients: Clients,
    request: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Step {
    /// The handshake was sent.
    Opening,
    /// The Close frame was sent.
    Closing,
    /// The server has closed.
    Closed,
}

impl OpenClose {
    pub(super) fn start(address: SocketAddr, path: &str, connections: usize) -> io::Result<Self> {
        let (mut clients, request) = (Clients::new(address)?, http::upgrade(path));
        for index in 0..connections {
            clients.connect(index)?;
            clients.write(index, &request)?;
        }
        Ok(Self { clients, request, steps: vec![Step::Opening; connections] })
    }
}

impl Load for OpenClose {
    fn step(&mut self) -> io::Result<u64> {
        let mut closed = Vec::new();
        while closed.is_empty() {
            self.clients.wait(|index, bytes, stream| {
                let step = &mut self.steps[index];
                match (*step, bytes) {
                    (Step::Opening, []) => return Err(io::Error::other("the connection was closed")),
                    (Step::Opening, head) => {
                        accepted(head)?;
                        io::Write::write_all(stream, &CLOSE)?;
                        *step = Step::Closing;
                    }
                    // The server ends first (RFC 6455 §7.1.1).
                    (Step::Closing, []) => {
                        let _ = stream.shutdown(Shutdown::Both);
                        *step = Step::Closed;
                        closed.push(index);
                    }
                    (Step::Closing | Step::Closed, _) => {}
                }
                Ok(())
            })?;
        }
        for index in &closed {
            self.clients.connect(*index)?;
            self.clients.write(*index, &self.request)?;
            self.steps[*index] = Step::Opening;
        }
        Ok(closed.len() as u64)
    }
}
