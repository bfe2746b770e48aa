//! From an accepted socket to a connection of the shard, the same for both runtimes.

use crate::listen::Listener;
use crate::log::say;
use crate::tls::{Broken, Tls};
use crate::transport::Transport;
use brolly_core::config::Config;
use brolly_core::driver::Stream;
use brolly_core::route::Networks;
use brolly_core::shard::{Accepted, Address, IoError};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long nobody is told the same again.
const SILENCE: Duration = Duration::from_secs(10);

/// What is known about the connections that come in and go out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door {
    listeners: Arc<[Listener]>,
    trusted: Arc<RwLock<Trusted>>,
    /// Whether connections are asked for their own end's address.
    pub wants_local_addresses: bool,
    tls: Tls,
    /// When somebody was told.
    said: Arc<Mutex<Option<Instant>>>,
}

/// Who may say for whom they speak.
#[derive(Clone, Debug)]
struct Trusted {
    networks: Networks,
    unix: bool,
}

impl Trusted {
    fn new(config: &Config) -> Self {
        Self { networks: config.trusted.clone(), unix: config.trusts_unix }
    }
}

impl Door {
    pub(crate) fn new(config: &Config, listeners: &[Listener], tls: Tls) -> Self {
        let wants_local_addresses = config.wants_local_addresses;
        let trusted = Arc::new(RwLock::new(Trusted::new(config)));
        Self { listeners: listeners.into(), trusted, wants_local_addresses, tls, said: Arc::default() }
    }

    /// Goes by another configuration, as far as it is not about sockets.
    pub(crate) fn adopt(&self, config: &Config) {
        *self.trusted.write().unwrap_or_else(PoisonError::into_inner) = Trusted::new(config);
    }

    /// The connection behind a socket that a listener has taken. A listener that wants a PROXY header wants it from peers
    /// that are trusted: who could write any address into it must not get in otherwise.
    pub fn accept<S: Stream>(&self, accepted: Accepted, stream: S) -> (Accepted, Transport<S>) {
        let Some(listener) = self.listeners.get(usize::from(accepted.listener)) else {
            return (accepted, Transport::refused(stream));
        };
        if listener.proxy_protocol && !self.is_trusted(accepted.peer) {
            return (accepted, Transport::refused(stream));
        }
        let session = listener.tls.map(|server| self.tls.accept(server));
        let transport = match session {
            Some(None) => Transport::refused(stream),
            session => Transport::accepted(stream, listener.proxy_protocol, session.flatten()),
        };
        (accepted, transport)
    }

    /// Whether a peer may say for whom it speaks.
    fn is_trusted(&self, peer: Option<SocketAddr>) -> bool {
        let trusted = self.trusted.read().unwrap_or_else(PoisonError::into_inner);
        let is_trusted = peer.map_or(trusted.unix, |peer| trusted.networks.contains(peer.ip()));
        if !is_trusted {
            let who = peer.map_or("unix".to_owned(), |peer| peer.ip().to_canonical().to_string());
            self.say(|| format!("refused {who}: only those in `trusted` may send a PROXY header"));
        }
        is_trusted
    }

    /// Opens a connection to a backend: the socket, what goes out before all, then TLS.
    pub async fn connect<S: Stream>(
        self,
        to: Address,
        tls: Option<u16>,
        preface: &[u8],
        socket: impl Future<Output = Result<S, IoError>>,
    ) -> Result<Transport<S>, IoError> {
        let mut stream = socket.await?;
        let mut unsent = preface;
        while !unsent.is_empty() {
            let written = poll_fn(|cx| stream.poll_write(cx, &[unsent])).await?;
            unsent = unsent.get(written..).filter(|_| written > 0).ok_or(IoError::Other)?;
        }
        let Some(tls) = tls else { return Ok(Transport::Plain(stream)) };
        let session = self.tls.connect(tls).ok_or(IoError::Tls)?;
        Transport::connected(stream, session).await.map_err(|broken| {
            if let Broken::Tls(error) = &broken {
                self.say(|| format!("no TLS with {to}, {}: {error}", self.tls.name(tls)));
            }
            broken.into()
        })
    }

    fn say(&self, text: impl FnOnce() -> String) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| said.elapsed() >= SILENCE) {
            *said = Some(Instant::now());
            say(&text());
        }
    }
}
