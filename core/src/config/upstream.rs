//! A named destination: its servers, and how they are treated.

use super::Limits;
use crate::conn::Patience;
use crate::http1::StatusCode;
use crate::upstream::{Balance, Eject, Probing, Rules};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

/// Servers that do the same, and what their answers may take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// For people.
    pub name: Box<str>,
    /// At least one.
    pub servers: Vec<Server>,
    /// Asked while none of the servers is up.
    pub fallbacks: Vec<Server>,
    /// Connections, the queue, balance, rest.
    pub rules: Rules,
    /// How long a request waits for a connection. Then 503.
    pub queue_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_connection_timeout: Duration,
    /// See [`Limits::upstream_fresh`].
    pub fresh: Duration,
    /// To connect, look-up and TLS included. Then the next server, or 504.
    pub connect_timeout: Duration,
    /// From the end of a request to the first byte of the answer. Then 504.
    pub first_byte_timeout: Duration,
    /// Between two pieces of an answer. Then it is cut.
    pub idle_timeout: Duration,
    /// From the request to the end of the answer. Then 504, or it is cut. Upgraded connections have none.
    pub total_timeout: Option<Duration>,
    /// See [`Limits::upstream_retries`].
    pub retries: u8,
    /// Whether servers are asked how they are.
    pub health: Option<HealthCheck>,
    /// What `Host` says.
    pub host: HostField,
    /// The field in which a request has its id besides `X-Barium`; what clients say in it is removed.
    pub request_id: Option<Box<str>>,
    /// Whether each connection begins with a PROXY header, version 2. Such connections are not kept.
    pub proxy_protocol: bool,
}

/// One server. A name may have several addresses; each is balanced, and rests, for itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Server {
    /// Over TCP.
    Tcp {
        /// A name, or an IP address without brackets.
        host: Box<str>,
        /// The port.
        port: u16,
        /// The TLS of the connection, by its index; `None`: plain.
        tls: Option<u16>,
    },
    /// Over a Unix socket, plain.
    Unix(Box<str>),
}

/// The requests that tell whether a server is up. Each shard asks for itself, over a connection of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    /// What is asked for with GET.
    pub path: Box<str>,
    /// From one question to the next, for each address.
    pub interval: Duration,
    /// For the whole exchange. Beyond: it has failed.
    pub timeout: Duration,
    /// Which answers are good; none: all 2xx.
    pub status: Vec<StatusCode>,
}

/// What `Host` says to a backend.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum HostField {
    /// What the client said.
    #[default]
    Keep,
    /// The name of the server that is asked.
    Upstream,
    /// Always this.
    Name(Box<str>),
}

impl Server {
    /// A plain TCP server.
    pub fn tcp(host: &str, port: u16) -> Self {
        Self::Tcp { host: host.into(), port, tls: None }
    }

    /// What belongs into `Host`: brackets around IPv6, no port if it is the scheme's.
    pub fn authority(&self) -> Box<str> {
        match self {
            Self::Tcp { host, port, tls } => {
                let default = if tls.is_some() { 443 } else { 80 };
                match (matches!(host.parse(), Ok(IpAddr::V6(_))), *port == default) {
                    (false, true) => host.clone(),
                    (false, false) => format!("{host}:{port}").into(),
                    (true, true) => format!("[{host}]").into(),
                    (true, false) => format!("[{host}]:{port}").into(),
                }
            }
            // RFC 9110 §7.2 has no word for it; this is what others say.
            Self::Unix(_) => "localhost".into(),
        }
    }
}

impl Upstream {
    /// These servers, with the defaults that `limits` gives.
    pub fn new(limits: &Limits, servers: Vec<Server>) -> Self {
        Self {
            name: Box::default(),
            servers,
            fallbacks: Vec::new(),
            rules: Rules {
                balance: Balance::LeastOutstanding,
                connections: limits.upstream_connections,
                idle: limits.upstream_idle,
                queue: limits.upstream_queue,
                eject: Some(Eject { failures: 5, period: Duration::from_secs(10) }),
                probing: Probing::default(),
                slow_start: Duration::ZERO,
            },
            queue_timeout: limits.upstream_queue_timeout,
            idle_connection_timeout: limits.upstream_idle_timeout,
            fresh: limits.upstream_fresh,
            connect_timeout: limits.connect_timeout,
            first_byte_timeout: limits.upstream_timeout,
            idle_timeout: limits.upstream_timeout,
            total_timeout: None,
            retries: limits.upstream_retries,
            health: None,
            host: HostField::Keep,
            request_id: None,
            proxy_protocol: false,
        }
    }

    /// How long its servers may be silent.
    pub fn patience(&self) -> Patience {
        Patience { first_byte: self.first_byte_timeout, idle: self.idle_timeout }
    }

    /// What `Host` says to one of its servers if the client has not said anything that is kept.
    pub fn authority(&self, server: usize) -> Box<str> {
        match &self.host {
            HostField::Name(name) => name.clone(),
            HostField::Keep | HostField::Upstream => self.all().nth(server).map(Server::authority).unwrap_or_default(),
        }
    }

    /// All servers, fallbacks behind the others.
    pub fn all(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().chain(&self.fallbacks)
    }
}
