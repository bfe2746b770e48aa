//! Requests, and one GET after the other.

use super::Load;
use super::clients::{Clients, accepted};
use std::io;
use std::net::{SocketAddr, TcpStream};

const HEAD: &str = "Host: localhost\r\nUser-Agent: brolly-benches\r\n";

/// A request for `path`.
pub(super) fn get(path: &str, accept: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{HEAD}Accept: {accept}\r\n\r\n").into_bytes()
}

/// The opening handshake of a WebSocket.
pub(super) fn upgrade(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\n{HEAD}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A publication of `data`.
pub(super) fn post(path: &str, data: &str) -> Vec<u8> {
    let length = data.len();
    format!("POST {path} HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{data}")
        .into_bytes()
}

/// One GET after the other, on several connections.
pub(super) struct Get {
    clients: Clients,
    request: Vec<u8>,
    /// Every answer is as long as the first.
    length: usize,
    /// What is missing of each answer.
    missing: Vec<usize>,
}

impl Get {
    pub(super) fn start(address: SocketAddr, path: &str, connections: usize) -> io::Result<Self> {
        let request = get(path, "*/*");
        let length = length_of_answer(address, &request)?;
        let mut clients = Clients::new(address)?;
        for index in 0..connections {
            clients.connect(index)?;
            clients.write(index, &request)?;
        }
        Ok(Self { clients, request, length, missing: vec![length; connections] })
    }
}

impl Load for Get {
    fn step(&mut self) -> io::Result<u64> {
        let mut done = 0;
        while done == 0 {
            self.clients.wait(|index, bytes, stream| {
                let missing = &mut self.missing[index];
                if *missing == self.length {
                    accepted(bytes)?;
                }
                *missing = match missing.checked_sub(bytes.len()) {
                    None => return Err(io::Error::other("an answer is longer than the first one")),
                    Some(_) if bytes.is_empty() => return Err(io::Error::other("the connection was closed")),
                    Some(0) => {
                        done += 1;
                        io::Write::write_all(stream, &self.request)?;
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

/// Of the second answer: the first one may come another way (a cache, a new connection to a backend).
fn length_of_answer(address: SocketAddr, request: &[u8]) -> io::Result<usize> {
    let mut clients = Clients::new(address)?;
    clients.connect(0)?;
    let mut length = 0;
    for _ in 0..2 {
        clients.write(0, request)?;
        let mut answer = Vec::new();
        let mut collect = |_, bytes: &[u8], _: &mut TcpStream| {
            answer.extend_from_slice(bytes);
            Ok(())
        };
        clients.wait(&mut collect)?;
        while clients.wait_for(50, &mut collect)? {}
        accepted(&answer)?;
        length = answer.len();
    }
    Ok(length)
}
