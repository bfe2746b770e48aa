//! Opening the listening sockets of all shards.

use super::systemd::inherited;
use super::{BACKLOG, Bound, Listener, Place};
use crate::failure::Failure;
use crate::io::reason;
use rustix::net::sockopt;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Whether the system spreads connections over several sockets of one port, so that each shard has its own. Their number
/// follows from the addresses of the peers: even for many, uneven for few. What waits in the socket of a shard that closes
/// it is reset.
const SPREADS: bool = cfg!(target_os = "linux");

/// The listening sockets of a process.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// One list for each shard; with the listener's number.
    pub(crate) shards: Vec<Vec<(u16, Bound)>>,
    /// Where it listens, with the listener's number.
    pub(crate) addresses: Vec<(u16, Local)>,
    pub(crate) paths: Paths,
}

/// An address that is listened on, with the port that the system chose.
#[derive(Clone, Debug)]
pub(crate) enum Local {
    Tcp(SocketAddr),
    Unix(String),
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// The files of our Unix sockets: removed in the end, unless somebody has taken the path over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths(Vec<(PathBuf, Maker)>);

/// The file itself, and when it was made: inodes are used again.
type Maker = (u64, i64, i64);

fn maker(path: &Path) -> io::Result<Maker> {
    fs::symlink_metadata(path).map(|found| (found.ino(), found.ctime(), found.ctime_nsec()))
}

impl Paths {
    pub(crate) fn remove(&self) {
        for (path, made) in &self.0 {
            if maker(path).is_ok_and(|found| found == *made) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Opens all listeners for so many shards; `instead` is what to do if an address cannot be had.
///
/// # Errors
/// A sentence that names the address, the reason, and `instead`.
pub(crate) fn open(listeners: &[Listener], shards: u16, instead: &str) -> Result<Sockets, Failure> {
    let mut sockets =
        Sockets { shards: (0..shards).map(|_| Vec::new()).collect(), addresses: Vec::new(), paths: Paths::default() };
    let mut from_systemd = inherited(listeners.iter().any(|listener| matches!(listener.place, Place::Systemd(_))));
    for (number, listener) in (0..).zip(listeners) {
        match &listener.place {
            Place::Tcp(address) => {
                let only6 = is_ipv4_apart(*address, listeners);
                let opened = open_tcp(*address, only6, shards).map_err(|error| complain(*address, &error, instead))?;
                sockets.add(number, opened.into_iter().map(Bound::Tcp).collect())?;
            }
            Place::Unix { path, mode } => {
                let listener = open_unix(path, *mode, instead)?;
                sockets.paths.0.extend(maker(path).map(|made| (path.clone(), made)));
                sockets.add(number, vec![Bound::Unix(listener)])?;
            }
            Place::Systemd(name) => {
                let is_meant = |of: &str| name.as_ref().is_none_or(|name| **name == *of);
                let mine: Vec<_> = from_systemd.extract_if(.., |(of, _)| is_meant(of)).collect();
                if mine.is_empty() {
                    return Err(Failure::new(format!(
                        "systemd has handed over no sockets for `{}`; start the service by its .socket unit (ListenStream=, \
                         FileDescriptorName=)",
                        listener.place
                    )));
                }
                mine.into_iter().try_for_each(|(_, bound)| sockets.add(number, vec![bound]))?;
            }
        }
    }
    Ok(sockets)
}

impl Sockets {
    /// The sockets of one listener: one for each shard, or one that all share.
    fn add(&mut self, number: u16, mut bound: Vec<Bound>) -> Result<(), Failure> {
        let shared = |error: io::Error| Failure::new(format!("cannot share a listening socket: {}", reason(&error)));
        while let [first, ..] = bound.as_slice()
            && bound.len() < self.shards.len()
        {
            bound.push(first.try_clone().map_err(shared)?);
        }
        self.addresses.extend(bound.first().and_then(local).map(|local| (number, local)));
        for (shard, bound) in self.shards.iter_mut().zip(bound) {
            shard.push((number, bound));
        }
        Ok(())
    }
}

fn local(bound: &Bound) -> Option<Local> {
    match bound {
        Bound::Tcp(listener) => listener.local_addr().ok().map(Local::Tcp),
        Bound::Unix(listener) => {
            let path = listener.local_addr().ok()?.as_pathname()?.display().to_string();
            Some(Local::Unix(path))
        }
    }
}

fn complain(address: SocketAddr, error: &io::Error, instead: &str) -> Failure {
    let what = match error.kind() {
        ErrorKind::AddrInUse => format!("port {} on {} is taken", address.port(), address.ip()),
        ErrorKind::AddrNotAvailable => format!("{} is not an address of this machine", address.ip()),
        ErrorKind::PermissionDenied => format!("port {} is for the administrator alone", address.port()),
        _ => format!("cannot listen on {address}: {}", reason(error)),
    };
    Failure::new(format!("{what}; {instead}"))
}

/// `[::]` takes IPv4 too, whatever the system's default, unless another listener takes the port there.
fn is_ipv4_apart(address: SocketAddr, listeners: &[Listener]) -> bool {
    let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        || address.port() != 0 && listeners.iter().any(|listener| listener.place == Place::Tcp(ipv4))
}

/// One socket for each shard, or one.
fn open_tcp(address: SocketAddr, only6: bool, shards: u16) -> io::Result<Vec<TcpListener>> {
    let bind = |address: SocketAddr, is_one_of_many| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // This allows the port to be used while connections of the server before are closing.
        socket.set_reuse_address(true)?;
        if is_one_of_many {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(only6)?;
        }
        socket.bind(&address.into())?;
        Ok::<_, io::Error>(socket)
    };
    // Alone at first: it would not be noticed otherwise that another process of ours has the port.
    let first = bind(address, false)?;
    if !SPREADS || shards < 2 {
        return listen(first).map(|one| vec![one]);
    }
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    drop(first);
    (0..shards).map(|_| listen(bind(address, true)?)).collect()
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    // See IS_NODELAY_INHERITED.
    sockopt::set_tcp_nodelay(&socket, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket file that was left behind is replaced, one that somebody listens on is not.
fn open_unix(path: &Path, mode: u32, instead: &str) -> Result<UnixListener, Failure> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Failure::new(format!("{shown} is there already, and is not a socket; {instead}")));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(Failure::new(format!("somebody listens on {shown} already; {instead}"))),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => _ = fs::remove_file(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Failure::new(format!("{shown} is there already: {}; {instead}", reason(&error))));
            }
        },
        Err(_) => {}
    }
    let open = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Before anybody can connect.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        Ok(UnixListener::from(OwnedFd::from(socket)))
    };
    open().map_err(|error: io::Error| Failure::new(format!("cannot listen on {shown}: {}; {instead}", reason(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn tcp(address: &str) -> Listener {
        Listener::plain(Place::Tcp(address.parse().unwrap()))
    }

    fn opened(listeners: &[Listener], shards: u16) -> Result<Sockets, String> {
        open(listeners, shards, "choose another").map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_reason_and_the_way_out_are_said() {
        for shards in [1, 3] {
            let first = opened(&[tcp("127.0.0.1:0")], shards).unwrap();
            assert_eq!(first.shards.len(), usize::from(shards));
            let (0, Local::Tcp(address)) = first.addresses[0].clone() else { panic!("{first:?}") };
            for others in [1, 2] {
                assert_eq!(
                    opened(&[tcp(&address.to_string())], others).unwrap_err(),
                    format!("port {} on 127.0.0.1 is taken; choose another", address.port())
                );
            }
            let peer = TcpStream::connect(address).unwrap();
            let accepted = first.shards.iter().flatten().find_map(|(_, bound)| match bound {
                Bound::Tcp(listener) => listener.accept().ok(),
                Bound::Unix(_) => None,
            });
            assert!(!super::super::IS_NODELAY_INHERITED || accepted.unwrap().0.nodelay().unwrap());
            drop(peer);
        }
        assert_eq!(
            opened(&[tcp("192.0.2.1:0")], 1).unwrap_err(),
            "192.0.2.1 is not an address of this machine; choose another"
        );
    }

    #[test]
    fn every_ipv6_address_means_ipv4_too_unless_that_is_somebody_elses() {
        let all6 = tcp("[::]:8080");
        let address = |listener: &Listener| match listener.place {
            Place::Tcp(address) => address,
            _ => panic!("not TCP"),
        };
        assert!(!is_ipv4_apart(address(&all6), &[all6.clone(), tcp("0.0.0.0:81")]));
        assert!(is_ipv4_apart(address(&all6), &[all6.clone(), tcp("0.0.0.0:8080")]));
        assert!(is_ipv4_apart("[::1]:80".parse().unwrap(), &[]));
    }

    #[test]
    fn unix_sockets_have_their_mode_and_leave_no_file() {
        let directory = std::env::temp_dir().join(format!("brolly-unix-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.sock");
        let listener = Listener::plain(Place::Unix { path: path.clone(), mode: 0o640 });
        let first = opened(std::slice::from_ref(&listener), 2).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(
            opened(std::slice::from_ref(&listener), 1).unwrap_err(),
            format!("somebody listens on {} already; choose another", path.display())
        );
        let paths = first.paths.clone();
        drop(first);
        assert!(path.exists(), "closing alone leaves the file");
        let second = opened(std::slice::from_ref(&listener), 1).unwrap();
        paths.remove();
        assert!(path.exists(), "it belongs to the second");
        second.paths.remove();
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        assert_eq!(
            opened(std::slice::from_ref(&listener), 1).unwrap_err(),
            format!("{} is there already, and is not a socket; choose another", path.display())
        );
        fs::remove_dir_all(&directory).unwrap();
    }
}
