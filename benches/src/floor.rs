//! The floor: a bare epoll loop that does the read and write calls of some work, and nothing else. No parser, no timer, no
//! state but what the calls need. Nobody who does the work can be below it by much.

use crate::load::MARK;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{setsockopt, sockopt::TcpNoDelay};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Which work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// One write for each read that ends with a blank line.
    Http,
    /// A WebSocket that sends frames back: one write for each read.
    Echo,
    /// One write to each subscriber for each `POST`; subscribers are WebSockets or event streams.
    FanOut,
}

impl Mode {
    /// What it is called on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Echo => "ws",
            Self::FanOut => "fanout",
        }
    }

    /// By name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Http, Self::Echo, Self::FanOut].into_iter().find(|mode| mode.name() == name)
    }
}

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n\
    date: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 14\r\n\r\nHello, world!\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const EVENT_STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nconnection: close\r\n\r\n:\n\n";
/// FIN and the opcode of a Close frame.
const CLOSE: u8 = 0x88;
/// About as long as the frame and the event with which brolly delivers 100 bytes.
const MESSAGE: usize = 164;
const LISTENER: u64 = u64::MAX;

/// Serves until the process is ended.
///
/// # Errors
/// The system refuses to go on.
pub fn serve(mode: Mode, listener: &TcpListener) -> io::Result<()> {
    // What is accepted inherits it.
    setsockopt(listener, TcpNoDelay, &true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut floor = Floor { mode, epoll, sockets: Vec::new(), free: Vec::new(), wires: Wires::new() };
    let mut buffer = vec![0; 64 * 1024];
    let mut events = [EpollEvent::empty(); 1024];
    loop {
        let ready = match floor.epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            ready => ready?,
        };
        for event in &events[..ready] {
            match event.data() {
                LISTENER => floor.accept(listener.accept()?.0)?,
                index => floor.read(index as usize, &mut buffer),
            }
        }
    }
}

struct Floor {
    mode: Mode,
    epoll: Epoll,
    sockets: Vec<Option<Socket>>,
    free: Vec<usize>,
    wires: Wires,
}

struct Socket {
    stream: TcpStream,
    kind: Kind,
    /// How much of a frame is still to come.
    rest: usize,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Http,
    WebSocket,
    EventStream,
}

/// Answers that are known before the question.
struct Wires {
    frame: Vec<u8>,
    event: Vec<u8>,
}

impl Floor {
    fn accept(&mut self, stream: TcpStream) -> io::Result<()> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.sockets.len() - 1
        });
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        self.sockets[index] = Some(Socket { stream, kind: Kind::Http, rest: 0 });
        Ok(())
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) {
        let Some(mut socket) = self.sockets[index].take() else { return };
        let is_open = match socket.stream.read(buffer) {
            Ok(bytes @ 1..) => self.answer(&mut socket, &buffer[..bytes]).unwrap_or(false),
            Ok(0) | Err(_) => false,
        };
        if is_open {
            self.sockets[index] = Some(socket);
        } else {
            self.free.push(index);
        }
    }

    /// Whether the socket stays open.
    fn answer(&mut self, socket: &mut Socket, input: &[u8]) -> io::Result<bool> {
        match (socket.kind, self.mode) {
            (Kind::Http, Mode::Http) => {
                if input.ends_with(b"\r\n\r\n") {
                    socket.stream.write_all(RESPONSE)?;
                }
            }
            (Kind::Http, Mode::FanOut) if input.starts_with(b"POST") => {
                let posts = input.windows(5).filter(|window| window == b"POST ").count();
                for _ in 0..posts {
                    self.publish()?;
                    socket.stream.write_all(RESPONSE)?;
                }
            }
            (Kind::Http, Mode::Echo | Mode::FanOut) => {
                let is_websocket = input.windows(9).any(|window| window.eq_ignore_ascii_case(b"websocket"));
                socket.kind = if is_websocket { Kind::WebSocket } else { Kind::EventStream };
                socket.stream.write_all(if is_websocket { SWITCHING } else { EVENT_STREAM })?;
            }
            (Kind::WebSocket, _) if socket.rest == 0 && input.first() == Some(&CLOSE) => {
                socket.stream.write_all(&[CLOSE, 0])?;
                return Ok(false);
            }
            (Kind::WebSocket, _) => {
                let echoed = echoed(input, &mut socket.rest);
                socket.stream.write_all(&input[..echoed])?;
            }
            (Kind::EventStream, _) => {}
        }
        Ok(true)
    }

    fn publish(&mut self) -> io::Result<()> {
        for socket in self.sockets.iter_mut().flatten() {
            match socket.kind {
                Kind::Http => {}
                Kind::WebSocket => socket.stream.write_all(&self.wires.frame)?,
                Kind::EventStream => socket.stream.write_all(&self.wires.event)?,
            }
        }
        Ok(())
    }
}

impl Wires {
    fn new() -> Self {
        let mut data = vec![b'x'; MESSAGE];
        data[0] = MARK;
        let frame = [&[0x81, 126, 0, MESSAGE as u8][..], &data].concat();
        let event = [b"data: ", &data[..], b"\n\n"].concat();
        Self { frame, event }
    }
}

/// How many bytes go back for `input`: all but the masking keys. The clients only count. `rest` is what is still to come of the
/// frame that was begun; a header that is cut in two is not understood.
fn echoed(input: &[u8], rest: &mut usize) -> usize {
    const KEY: usize = 4;
    let (mut at, mut keys) = (*rest, 0);
    while let Some(header) = input.get(at..).filter(|header| !header.is_empty()) {
        let length = match header {
            [_, 0xFE, a, b, ..] => 4 + usize::from(u16::from_be_bytes([*a, *b])),
            [_, 0xFF, _, _, _, _, _, a, b, c, ..] => 10 + u32::from_be_bytes([0, *a, *b, *c]) as usize,
            [_, length, ..] => 2 + usize::from(length & 0x7F),
            [_] | [] => 0,
        };
        keys += KEY;
        at += KEY + length;
    }
    *rest = at - input.len();
    input.len() - keys.min(input.len())
}
