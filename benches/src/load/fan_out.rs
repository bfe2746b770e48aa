//! One publisher, many subscribers.

use super::clients::{Clients, accepted};
use super::{Idle, Load, MARK, http};
use std::io;
use std::net::SocketAddr;

/// The length of the data of a message (bytes).
const DATA: usize = 100;

/// Publishes so many messages, waits until every subscriber has them, and does it again.
pub(super) struct FanOut {
    subscribers: Clients,
    publisher: Clients,
    publications: Vec<u8>,
    burst: usize,
}

impl FanOut {
    pub(super) fn start(address: SocketAddr, Idle(subscribers): Idle, path: &str, burst: usize) -> io::Result<Self> {
        let mut publisher = Clients::new(address)?;
        publisher.connect(0)?;
        let text = "a line of a chat room as people write it, not long and not short";
        let data = format!("{{\"mark\":\"{}\",\"text\":\"{text:.<width$}\"}}", MARK as char, width = DATA - 22);
        debug_assert_eq!(data.len(), DATA);
        let publications = http::post(path, &data).repeat(burst);
        let mut this = Self { subscribers, publisher, publications, burst };
        // Whatever follows the head, such as a greeting.
        while this.subscribers.wait_for(200, |_, _, _| Ok(()))? {}
        Ok(this)
    }
}

impl Load for FanOut {
    fn step(&mut self) -> io::Result<u64> {
        self.publisher.write(0, &self.publications)?;
        let wanted = self.subscribers.len() * self.burst;
        let mut deliveries = 0;
        while deliveries < wanted {
            self.subscribers.wait(|_, bytes, _| {
                deliveries += bytes.iter().filter(|byte| **byte == MARK).count();
                if bytes.is_empty() { Err(io::Error::other("a subscriber was thrown out")) } else { Ok(()) }
            })?;
        }
        if deliveries > wanted {
            return Err(io::Error::other("messages were delivered twice"));
        }
        let mut answers = Vec::new();
        let status = b"HTTP/1.1 ";
        while answers.windows(status.len()).filter(|window| window == status).count() < self.burst {
            self.publisher.wait(|_, bytes, _| {
                answers.extend_from_slice(bytes);
                accepted(&answers)
            })?;
        }
        Ok(wanted as u64)
    }
}
