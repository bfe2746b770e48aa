//! Throw-away instances of what is compared: in the foreground, on a free port of the loopback interface, with one thread or
//! worker, with nothing switched on that the work does not need. They end when they are dropped.

mod configs;

use crate::floor::Mode;
use crate::load::{Transport, Work};
use crate::process::raw;
use nix::sys::signal::{Signal, kill};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a server may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Subscribers of the fan-out.
const SUBSCRIBERS: usize = 1_000;
/// Connections of everything else.
const CONNECTIONS: usize = 64;

/// What is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// See [`floor`](crate::floor).
    Floor(Mode),
    /// brolly on tokio.
    Brolly,
    /// brolly on smol.
    BrollySmol,
    /// nginx with nchan.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Caddy.
    Caddy,
    /// fastwebsockets, on tokio.
    FastWebSockets,
    /// tungstenite, on tokio.
    Tungstenite,
    /// `ws`, on Node.js.
    Ws,
}

/// What is done with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// 14 bytes; a file where nothing shorter can be configured.
    TinyGet,
    /// A file of 1 KiB.
    File,
    /// A tiny GET that a backend answers.
    Proxied,
    /// 64 bytes, one in flight.
    Echo,
    /// 16 in flight.
    Echo16,
    /// 1 KiB, one in flight.
    EchoKib,
    /// 64 KiB, one in flight.
    Echo64Kib,
    /// One message of 100 bytes.
    FanOut,
    /// 16 at a time.
    Burst,
    /// One message to event streams.
    Events,
    /// Without a subscription.
    OpenClose,
    /// With one.
    OpenCloseSubscribed,
}

impl Task {
    /// All but echoes.
    pub const EDGE: [Self; 8] = [
        Self::TinyGet,
        Self::File,
        Self::Proxied,
        Self::FanOut,
        Self::Burst,
        Self::Events,
        Self::OpenClose,
        Self::OpenCloseSubscribed,
    ];
    /// The echoes.
    pub const ECHO: [Self; 4] = [Self::Echo, Self::Echo16, Self::EchoKib, Self::Echo64Kib];

    /// For the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TinyGet => "tiny GET, kept alive",
            Self::File => "file of 1 KiB",
            Self::Proxied => "small reverse-proxied request",
            Self::Echo => "WebSocket echo of 64 B",
            Self::Echo16 => "WebSocket echo of 64 B, 16 in flight",
            Self::EchoKib => "WebSocket echo of 1 KiB",
            Self::Echo64Kib => "WebSocket echo of 64 KiB",
            Self::FanOut => "one message of 100 B to 1,000 sockets",
            Self::Burst => "the same in bursts of 16",
            Self::Events => "one event to 1,000 event streams",
            Self::OpenClose => "open and close a WebSocket",
            Self::OpenCloseSubscribed => "the same with a subscription",
        }
    }

    /// The design's budget: CPU time relative to the floor.
    pub const fn budget(self) -> f64 {
        match self {
            Self::TinyGet => 1.1,
            Self::File => 1.4,
            Self::Proxied => 2.3,
            Self::Echo | Self::EchoKib | Self::Echo64Kib => 1.03,
            Self::Echo16 => 1.2,
            Self::FanOut | Self::Events | Self::OpenClose | Self::OpenCloseSubscribed => 1.05,
            Self::Burst => 0.33,
        }
    }

    /// The floor that it is measured from. For files and proxying that is the tiny GET; for bursts, one message.
    pub const fn floor(self) -> (Self, Mode) {
        match self {
            Self::TinyGet | Self::File | Self::Proxied => (Self::TinyGet, Mode::Http),
            Self::Echo | Self::Echo16 | Self::EchoKib | Self::Echo64Kib | Self::OpenClose => (self, Mode::Echo),
            Self::FanOut | Self::Burst => (Self::FanOut, Mode::FanOut),
            Self::Events => (self, Mode::FanOut),
            Self::OpenCloseSubscribed => (Self::OpenClose, Mode::Echo),
        }
    }

    /// What the clients do. `None` if the peer has no such thing.
    pub fn work(self, peer: Peer) -> Option<Work> {
        let get = |path: &str| Some(Work::Get { path: path.into(), connections: CONNECTIONS });
        let echo = |bytes, in_flight| match peer {
            Peer::Nginx | Peer::Haproxy | Peer::Caddy => None,
            _ => Some(Work::Echo { path: "/-/echo".into(), connections: CONNECTIONS, bytes, in_flight }),
        };
        let fan_out = |transport, burst| {
            let [subscribe, publish] = topic(peer, transport)?.map(Into::into);
            Some(Work::FanOut { subscribe, transport, publish, subscribers: SUBSCRIBERS, burst })
        };
        match self {
            Self::TinyGet => match peer {
                Peer::Floor(_) | Peer::Brolly | Peer::BrollySmol => get("/tiny.txt"),
                Peer::Nginx | Peer::Haproxy | Peer::Caddy => get("/status"),
                Peer::FastWebSockets | Peer::Tungstenite | Peer::Ws => None,
            },
            Self::File => match peer {
                Peer::Brolly | Peer::BrollySmol | Peer::Nginx | Peer::Caddy => get("/1k.bin"),
                _ => None,
            },
            Self::Proxied => match peer {
                Peer::Brolly | Peer::BrollySmol | Peer::Nginx | Peer::Caddy | Peer::Haproxy => get("/api/tiny"),
                _ => None,
            },
            Self::Echo => echo(64, 1),
            Self::Echo16 => echo(64, 16),
            Self::EchoKib => echo(1024, 1),
            Self::Echo64Kib => echo(64 * 1024, 1),
            Self::FanOut => fan_out(Transport::WebSocket, 1),
            Self::Burst => fan_out(Transport::WebSocket, 16),
            Self::Events => fan_out(Transport::EventStream, 1),
            Self::OpenClose => match peer {
                Peer::Floor(_) | Peer::Brolly | Peer::BrollySmol => {
                    Some(Work::OpenClose { path: "/-/echo".into(), connections: 16 })
                }
                _ => None,
            },
            Self::OpenCloseSubscribed => {
                let [subscribe, _] = topic(peer, Transport::WebSocket)?;
                Some(Work::OpenClose { path: subscribe.into(), connections: 16 })
            }
        }
    }
}

/// Where to subscribe and where to publish.
fn topic(peer: Peer, transport: Transport) -> Option<[&'static str; 2]> {
    match (peer, transport) {
        (Peer::Floor(_) | Peer::Brolly | Peer::BrollySmol, Transport::WebSocket) => {
            Some(["/-/ws?topic=a", "/-/publish/a"])
        }
        (Peer::Floor(_) | Peer::Brolly | Peer::BrollySmol, Transport::EventStream) => {
            Some(["/-/sse?topic=b", "/-/publish/b"])
        }
        (Peer::Nginx, Transport::WebSocket) => Some(["/sub/a", "/pub/a"]),
        (Peer::Nginx, Transport::EventStream) => Some(["/sub/b", "/pub/b"]),
        (Peer::Haproxy | Peer::Caddy | Peer::FastWebSockets | Peer::Tungstenite | Peer::Ws, _) => None,
    }
}

impl Peer {
    /// Those that have routes.
    pub const EDGE: [Self; 5] = [Self::Brolly, Self::BrollySmol, Self::Nginx, Self::Haproxy, Self::Caddy];
    /// Those that echo.
    pub const ECHO: [Self; 5] = [Self::Brolly, Self::BrollySmol, Self::FastWebSockets, Self::Tungstenite, Self::Ws];

    /// For the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor(_) => "floor",
            Self::Brolly => "brolly",
            Self::BrollySmol => "brolly-smol",
            Self::Nginx => "nginx + nchan",
            Self::Haproxy => "HAProxy",
            Self::Caddy => "Caddy",
            Self::FastWebSockets => "fastwebsockets",
            Self::Tungstenite => "tokio-tungstenite",
            Self::Ws => "Node ws",
        }
    }

    /// The program, or how to get it.
    ///
    /// # Errors
    /// It is not there.
    pub fn program(self) -> Result<PathBuf, &'static str> {
        let ours = |name: &str| std::env::current_exe().map(|exe| exe.with_file_name(name)).unwrap_or_default();
        let theirs = |name: &str| {
            let places =
                ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"].map(|place| Path::new(place).join(name));
            places.into_iter().find(|place| place.exists()).unwrap_or_default()
        };
        let build = "cargo build --release -p brolly-tokio -p brolly-smol -p brolly-benches";
        let (program, instead) = match self {
            Self::Floor(_) => (ours("floor"), build),
            Self::Brolly => (ours("brolly"), build),
            Self::BrollySmol => (ours("brolly-smol"), build),
            Self::Nginx if !Path::new(configs::NCHAN).exists() => {
                (PathBuf::new(), "apt-get install nginx libnginx-mod-nchan")
            }
            Self::Nginx => (theirs("nginx"), "apt-get install nginx libnginx-mod-nchan"),
            Self::Haproxy => (theirs("haproxy"), "apt-get install haproxy"),
            Self::Caddy => (theirs("caddy"), "apt-get install caddy"),
            Self::FastWebSockets | Self::Tungstenite => {
                let build = "cargo build --release --manifest-path benches/peers/Cargo.toml";
                (configs::peers("target/release/brolly-bench-peers"), build)
            }
            Self::Ws if !configs::peers("node_modules/ws").exists() => {
                (PathBuf::new(), "npm install --prefix benches/peers")
            }
            Self::Ws => (theirs("node"), "apt-get install nodejs"),
        };
        if program.exists() { Ok(program) } else { Err(instead) }
    }
}

/// A directory with the files that are served and all configuration, gone when it is dropped.
#[derive(Debug)]
pub struct Stage {
    directory: PathBuf,
    started: AtomicU32,
}

impl Stage {
    /// A new one.
    ///
    /// # Errors
    /// The system has no room.
    pub fn new() -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("brolly-benches-{}", std::process::id()));
        let public = directory.join("public");
        fs::create_dir_all(&public)?;
        fs::write(public.join("tiny.txt"), "Hello, world!\n")?;
        fs::write(public.join("1k.bin"), [b'x'; 1024])?;
        Ok(Self { directory, started: AtomicU32::new(0) })
    }

    /// A name in it, for whatever else is written.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts `peer` on this thread's cores, behind `wrapper` (such as valgrind). It proxies to `backend`.
    ///
    /// # Errors
    /// It is missing, or does not listen within ten seconds.
    pub fn start(&self, peer: Peer, backend: SocketAddr, wrapper: &[String]) -> io::Result<Server> {
        let program = peer.program().map_err(io::Error::other)?;
        let address = free_address()?;
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.join(format!("{number}"));
        fs::create_dir_all(&directory)?;
        let place = configs::Place { address, backend, directory: &directory, public: &self.directory.join("public") };
        let arguments = configs::arguments(peer, &place)?;
        let log = directory.join("log");
        let mut command = match wrapper {
            [] => Command::new(program),
            [wrapper, options @ ..] => {
                let mut command = Command::new(wrapper);
                command.args(options).arg(program);
                command
            }
        };
        let child = command
            .args(arguments)
            .current_dir(&directory)
            .env("GOMAXPROCS", "1")
            .envs(["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"].map(|name| (name, &directory)))
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()?;
        let mut server = Server { address, child };
        server.wait_until_it_listens().map_err(|error| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            io::Error::other(format!("{}: {error}\n{log}", peer.name()))
        })?;
        Ok(server)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, kindly at first, and waits.
    pub fn stop(&mut self) {
        let _ = kill(raw(self.child.id()), Signal::SIGTERM);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            sleep(Duration::from_millis(2));
        }
    }

    fn wait_until_it_listens(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("ended with {status}")));
            }
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other("does not listen"));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// An address that nobody listens at, just now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
