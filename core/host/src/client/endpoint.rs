//! WebSockets to one server, over any runtime.

use crate::failure::Failure;
use crate::timer::{Alarm, Timer};
use crate::tls::{self, Broken, Tls};
use crate::transport::Transport;
use crate::url::Url;
use crate::work::resolve;
use brolly_core::config::Limits;
use brolly_core::driver::{OpenError, Stream, Timing, WebSocketClient};
use brolly_core::rng::Seed;
use brolly_core::shard::{Address, IoError};
use brolly_core::ws::handshake::Request;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;

/// What a client needs of a runtime.
pub trait Network {
    /// A connected socket.
    type Stream: Stream;
    /// A timer.
    type Timer: Timer;

    /// A new timer, set to whatever.
    fn timer(&self) -> Self::Timer;

    /// Opens a connection, without a deadline of its own.
    fn connect(&self, to: Address) -> impl Future<Output = Result<Self::Stream, IoError>>;

    /// Runs on a thread that may block.
    fn unblock<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> impl Future<Output = Result<R, IoError>>;

    /// Drives a future on this thread, which is not one of the runtime's.
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}

/// An open WebSocket on a runtime.
pub type WebSocket<N> = WebSocketClient<Transport<<N as Network>::Stream>, Alarm<<N as Network>::Timer>>;

/// Where WebSockets lead: a server, and with `wss://` whom it has to be. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: Url,
    query: Option<Box<str>>,
    tls: Option<Tls>,
}

/// Why there is no WebSocket.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConnectError {
    /// No connection: what the last of the server's addresses had to say.
    Io(IoError),
    /// A connection, and no WebSocket on it.
    Open(OpenError),
    /// TLS could not be agreed on, or the server is somebody else.
    Tls(rustls::Error),
}

impl Endpoint {
    /// The server of a URL that begins with `ws://` or `wss://`; its path is what is asked for where nothing else is said.
    /// With `wss`, the server shows a certificate for the host, signed by one of `authorities` (a PEM file), or of the
    /// system's. The file is read here and not again.
    ///
    /// # Errors
    /// A sentence about what cannot be used.
    pub fn new(url: Url, authorities: Option<PathBuf>) -> Result<Self, Failure> {
        let client = url.is_tls.then(|| tls::Client { name: url.host.clone(), authorities, certificate: None });
        let load = |client| Tls::load(&tls::Settings { servers: Vec::new(), clients: vec![client] });
        Ok(Self { tls: client.map(load).transpose()?, url, query: None })
    }

    /// As [`new`](Self::new), from the text of a URL, with the authorities of the system. It may have a query.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let (base, query) = text.split_once('?').map_or((text, None), |(base, query)| (base, Some(query)));
        let url = Url::parse_any(base).map_err(Failure::new)?;
        if !url.is_websocket {
            return Err(Failure::new(format!("`{text}` is no WebSocket; write it as in `ws://{}`", url.authority())));
        }
        Ok(Self { query: query.map(Into::into), ..Self::new(url, None)? })
    }

    /// Where that is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Opens a WebSocket; the addresses of the host are tried one after the other, for
    /// [`Limits::connect_timeout`](Limits) each. Of `request`, `host` and `target` may be empty: they are the URL's then.
    ///
    /// # Errors
    /// There is none.
    pub async fn connect<N: Network>(
        &self,
        network: &N,
        limits: &Limits,
        request: &Request<'_>,
    ) -> Result<WebSocket<N>, ConnectError> {
        let (mut seed, mut alarm) = ([0; 32], Alarm::new(network.timer()));
        getrandom::fill(&mut seed).map_err(|_| ConnectError::Io(IoError::Other))?;
        let stream = self.reach(network, limits, &mut alarm).await?;
        let (host, target) = (self.url.authority(), self.target());
        let host = if request.host.is_empty() { &host } else { request.host };
        let target = if request.target.is_empty() { &target } else { request.target };
        let request = Request { host, target, ..*request };
        WebSocketClient::open(stream, alarm, limits, Seed(seed), &request).await.map_err(ConnectError::Open)
    }

    async fn reach<N: Network>(
        &self,
        network: &N,
        limits: &Limits,
        alarm: &mut Alarm<N::Timer>,
    ) -> Result<Transport<N::Stream>, ConnectError> {
        let (host, port) = (self.url.host.clone(), self.url.port);
        let resolved = network.unblock(move || resolve(&host, port));
        let addresses =
            within(alarm, limits, async { resolved.await.and_then(|found| found).map_err(ConnectError::Io) });
        let mut result = Err(ConnectError::Io(IoError::NotFound));
        for address in addresses.await? {
            result = within(alarm, limits, self.reach_one(network, address)).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn reach_one<N: Network>(&self, network: &N, to: SocketAddr) -> Result<Transport<N::Stream>, ConnectError> {
        let stream = network.connect(Address::Tcp(to)).await.map_err(ConnectError::Io)?;
        let Some(tls) = &self.tls else { return Ok(Transport::Plain(stream)) };
        let session = tls.connect(0).ok_or(ConnectError::Io(IoError::Tls))?;
        Transport::connected(stream, session).await.map_err(|broken| match broken {
            Broken::Stream(error) => ConnectError::Io(error),
            Broken::Tls(error) => ConnectError::Tls(error),
        })
    }

    fn target(&self) -> String {
        let path = self.url.path.as_deref().unwrap_or("/");
        self.query.as_ref().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }
}

/// What comes of `future`, if that is known in the time that a connection may take.
async fn within<R>(
    timing: &mut impl Timing,
    limits: &Limits,
    future: impl Future<Output = Result<R, ConnectError>>,
) -> Result<R, ConnectError> {
    let at = timing.now().instant + limits.connect_timeout;
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => timing.poll_timer(cx, Some(at)).map(|()| Err(ConnectError::Io(IoError::TimedOut))),
    })
    .await
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "no TLS: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}
