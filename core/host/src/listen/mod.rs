//! Listening sockets: bound before any thread starts, so that whoever starts the server sees what is wrong.

mod open;
pub(crate) mod systemd;

pub(crate) use open::{Local, Paths, Sockets, open};

use crate::clock::Clock;
use crate::io::reason;
use crate::log::say;
use brolly_core::shard::Address;
use brolly_core::time::Instant;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Connections that may wait to be accepted, as far as the system allows.
const BACKLOG: i32 = 4096;
/// How long accepting rests after it failed for want of something.
const REST: Duration = Duration::from_millis(50);
/// How long nobody is told again.
const SILENCE: Duration = Duration::from_secs(10);
/// Whether accepted sockets need not be told to send without delay, because the listener was.
pub const IS_NODELAY_INHERITED: bool = cfg!(target_os = "linux");

/// Where clients connect, and how they speak there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// The address.
    pub place: Place,
    /// The certificates and so on: an index into the servers of [`tls::Settings`](crate::tls::Settings).
    pub tls: Option<usize>,
    /// Whether each connection begins with a PROXY header, before TLS.
    pub proxy_protocol: bool,
}

impl Listener {
    /// Plain HTTP.
    pub fn plain(place: Place) -> Self {
        Self { place, tls: None, proxy_protocol: false }
    }
}

/// Where a listener is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// An IP address and a port. `[::]` takes IPv4, too.
    Tcp(SocketAddr),
    /// A path.
    Unix {
        /// Absolute. The file is made, and removed in the end.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Sockets that systemd has opened: those of a name, or all that nobody has taken before.
    Systemd(Option<Box<str>>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Systemd(None) => f.write_str("systemd"),
            Self::Systemd(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}

/// A listening socket, non-blocking.
#[derive(Debug)]
pub enum Bound {
    /// TCP, whose connections are told to send without delay where [`IS_NODELAY_INHERITED`].
    Tcp(TcpListener),
    /// A path.
    Unix(UnixListener),
}

impl Bound {
    /// Another handle of the same socket.
    ///
    /// # Errors
    /// There is no room for another descriptor.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }
}

impl From<Bound> for Socket {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Tcp(listener) => listener.into(),
            Bound::Unix(listener) => OwnedFd::from(listener).into(),
        }
    }
}

/// Accepts a connection, for runtimes that do not do so themselves: non-blocking and without delay in one call. `None`:
/// the other end is a Unix socket, which has no address.
///
/// # Errors
/// There is none ([`WouldBlock`](ErrorKind::WouldBlock)), or accept(2) failed.
pub fn accept(listener: &Socket) -> io::Result<(Socket, Option<SocketAddr>)> {
    #[cfg(target_os = "linux")]
    let (socket, peer) = {
        use rustix::net::{AddressFamily, SocketFlags, acceptfrom_with};
        let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let peer = match peer {
            Some(peer) if peer.address_family() == AddressFamily::UNIX => None,
            peer => Some(peer.and_then(|peer| peer.try_into().ok()).ok_or(ErrorKind::ConnectionAborted)?),
        };
        (Socket::from(socket), peer)
    };
    #[cfg(not(target_os = "linux"))]
    let (socket, peer) = {
        let (socket, peer) = listener.accept()?;
        socket.set_nonblocking(true)?;
        (socket, peer.as_socket())
    };
    if !IS_NODELAY_INHERITED && peer.is_some() {
        // If it fails, the connection is gone, and reading will say so.
        let _ = socket.set_tcp_nodelay(true);
    }
    Ok((socket, peer))
}

/// Begins to connect, for runtimes that do not do so themselves: non-blocking and without delay. Once the socket is
/// writable, its error says how it went.
///
/// # Errors
/// It has failed already.
pub fn connect(to: &Address) -> io::Result<Socket> {
    let (socket, to) = match to {
        Address::Tcp(to) => {
            let socket = Socket::new(Domain::for_address(*to), Type::STREAM, None)?;
            socket.set_tcp_nodelay(true)?;
            (socket, SockAddr::from(*to))
        }
        Address::Unix(path) => (Socket::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(&**path)?),
    };
    socket.set_nonblocking(true)?;
    match socket.connect(&to) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        Ok(()) | Err(_) => Ok(socket),
    }
}

/// Allows as many open files as the administrator does: each connection is one.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // If not, it stays as it is; accepting says when that is too little.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Several listeners as one, and what happens when the system cannot accept. For any runtime.
#[derive(Debug)]
pub struct Accepting<L> {
    listeners: Vec<(u16, L)>,
    next: usize,
    /// Accepting rests until then.
    rest: Option<Instant>,
    /// When somebody was told.
    said: Option<Instant>,
}

impl<L> Accepting<L> {
    /// All of `listeners`, with their numbers.
    pub fn new(listeners: Vec<(u16, L)>) -> Self {
        Self { listeners, next: 0, rest: None, said: None }
    }

    /// Closes the listeners.
    pub fn stop(&mut self) {
        self.listeners.clear();
        self.rest = None;
    }

    /// The next connection of any listener, in turn, and which one that is. `accept` polls one of them; `sleep` is ready
    /// when the time has come.
    pub fn poll<S>(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        mut accept: impl FnMut(&mut Context<'_>, &mut L) -> Poll<io::Result<S>>,
        mut sleep: impl FnMut(&mut Context<'_>, Instant) -> Poll<()>,
    ) -> Poll<(u16, S)> {
        loop {
            if let Some(until) = self.rest {
                ready!(sleep(cx, until));
                self.rest = None;
            }
            let mut pending = 0;
            while pending < self.listeners.len() {
                self.next = (self.next + 1) % self.listeners.len();
                let (number, listener) = &mut self.listeners[self.next];
                match accept(cx, listener) {
                    Poll::Pending => pending += 1,
                    Poll::Ready(Ok(stream)) => return Poll::Ready((*number, stream)),
                    Poll::Ready(Err(error)) if is_of_the_peer(&error) => {}
                    Poll::Ready(Err(error)) => {
                        let now = clock.instant();
                        if self.said.is_none_or(|said| now.duration_since(said) >= SILENCE) {
                            self.said = Some(now);
                            say(&format!("cannot accept connections: {}; trying again", reason(&error)));
                        }
                        self.rest = Some(now + REST);
                        break;
                    }
                }
            }
            if self.rest.is_none() {
                return Poll::Pending;
            }
        }
    }
}

/// Whether the connection failed, not the listener (accept(2)).
fn is_of_the_peer(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::OPNOTSUPP
                | Errno::PERM
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::task::Waker;

    #[test]
    fn listeners_take_turns_and_a_failing_one_rests() {
        let clock = Clock::start();
        let mut accepting = Accepting::new(vec![(0, "a"), (1, "b"), (2, "c")]);
        let calls = RefCell::new(String::new());
        let slept = RefCell::new(Vec::new());
        let mut poll = |answers: &mut dyn FnMut(&str) -> Poll<io::Result<u8>>, is_time: bool| {
            let accept = |_: &mut Context<'_>, listener: &mut &str| {
                calls.borrow_mut().push_str(listener);
                answers(listener)
            };
            accepting.poll(&mut Context::from_waker(Waker::noop()), &clock, accept, |_, until| {
                slept.borrow_mut().push(until);
                if is_time { Poll::Ready(()) } else { Poll::Pending }
            })
        };
        let error = |errno: Errno| Poll::Ready(Err(errno.into()));
        assert_eq!(poll(&mut |_| Poll::Ready(Ok(1)), false), Poll::Ready((1, 1)));
        assert_eq!(poll(&mut |_| Poll::Ready(Ok(2)), false), Poll::Ready((2, 2)));
        assert_eq!(poll(&mut |_| Poll::Pending, false), Poll::Pending);
        assert_eq!(calls.take(), "bcabc");
        let mut peers = 3;
        let reset = &mut |_: &str| {
            peers -= 1;
            if peers > 0 { error(Errno::CONNABORTED) } else { Poll::Ready(Ok(3)) }
        };
        assert_eq!(poll(reset, false), Poll::Ready((2, 3)));
        assert!(slept.borrow().is_empty());
        assert_eq!(poll(&mut |_| error(Errno::MFILE), false), Poll::Pending);
        calls.take();
        assert_eq!(poll(&mut |_| Poll::Ready(Ok(4)), false), Poll::Pending);
        assert_eq!(calls.take(), "", "resting");
        assert_eq!(poll(&mut |_| Poll::Ready(Ok(4)), true), Poll::Ready((1, 4)));
        assert!(slept.borrow().iter().all(|until| until.duration_since(clock.instant()) <= REST));
        accepting.stop();
        let mut cx = Context::from_waker(Waker::noop());
        let polled = accepting.poll(&mut cx, &clock, |_, _| Poll::Ready(Ok(5)), |_, _| Poll::Ready(()));
        assert_eq!(polled, Poll::Pending);
    }
}
