//! Many sockets and one epoll.

use super::PATIENCE;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{setsockopt, sockopt::SndBuf};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Bytes that the system keeps of what a client sends; Linux doubles it.
const SEND_BUFFER: usize = 128 * 1024;

/// Connected sockets, known by their index.
#[derive(Debug)]
pub(super) struct Clients {
    address: SocketAddr,
    epoll: Epoll,
    streams: Vec<TcpStream>,
    events: Vec<EpollEvent>,
    buffer: Vec<u8>,
}

impl Clients {
    /// None yet.
    pub(super) fn new(address: SocketAddr) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (events, buffer) = (vec![EpollEvent::empty(); 1024], vec![0; 64 * 1024]);
        Ok(Self { address, epoll, streams: Vec::new(), events, buffer })
    }

    /// `count` of them, each of which has sent `request` and got an answer: a status below 300, and a whole head.
    pub(super) fn open(address: SocketAddr, count: usize, request: &[u8]) -> io::Result<Self> {
        let mut clients = Self::new(address)?;
        // In portions, so that no backlog overflows.
        for begin in (0..count).step_by(100) {
            let portion = begin..count.min(begin + 100);
            for index in portion.clone() {
                clients.connect(index)?;
                clients.write(index, request)?;
            }
            let mut waiting = portion.len();
            let mut heads = vec![Vec::new(); count];
            while waiting > 0 {
                clients.wait(|index, bytes, _| {
                    if portion.contains(&index) && !is_head(&heads[index]) {
                        heads[index].extend_from_slice(bytes);
                        waiting -= usize::from(is_head(&heads[index]));
                    }
                    if is_head(&heads[index]) { accepted(&heads[index]) } else { Ok(()) }
                })?;
            }
        }
        Ok(clients)
    }

    /// Connects the socket `index`: a new one, or one that was closed.
    pub(super) fn connect(&mut self, index: usize) -> io::Result<()> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        // A whole message is taken at once: nobody here waits for a server that waits for us.
        setsockopt(&stream, SndBuf, &SEND_BUFFER)?;
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        if let Some(old) = self.streams.get_mut(index) {
            *old = stream;
        } else {
            self.streams.push(stream);
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn write(&mut self, index: usize, bytes: &[u8]) -> io::Result<()> {
        self.streams[index].write_all(bytes)
    }

    /// Waits until sockets are readable, and gives what was read once from each of them to `received`, which may write.
    pub(super) fn wait(
        &mut self,
        mut received: impl FnMut(usize, &[u8], &mut TcpStream) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.wait_for(PATIENCE.as_millis() as u16, &mut received)? {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer"))
        }
    }

    /// As [`wait`](Self::wait), but for no longer than this; whether there was something.
    pub(super) fn wait_for(
        &mut self,
        millis: u16,
        mut received: impl FnMut(usize, &[u8], &mut TcpStream) -> io::Result<()>,
    ) -> io::Result<bool> {
        let ready = match self.epoll.wait(&mut self.events, EpollTimeout::from(millis)) {
            Err(Errno::EINTR) => return Ok(true),
            ready => ready?,
        };
        for event in &self.events[..ready] {
            let index = event.data() as usize;
            let stream = &mut self.streams[index];
            let bytes = match stream.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                bytes => bytes?,
            };
            received(index, &self.buffer[..bytes], stream)?;
        }
        Ok(ready > 0)
    }
}

fn is_head(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == b"\r\n\r\n")
}

/// Whether the answer that begins so is a good one.
pub(super) fn accepted(head: &[u8]) -> io::Result<()> {
    match head.get(9) {
        Some(b'1' | b'2') => Ok(()),
        _ => {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            Err(io::Error::other(format!("the server answers: {:?}", String::from_utf8_lossy(line))))
        }
    }
}
