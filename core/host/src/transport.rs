//! What lies between a socket and HTTP: nothing, a PROXY header, TLS, or both in this order. Once for all runtimes.

use crate::clock::unix_seconds;
use crate::tls::{Ahead, Broken, Session, facts};
use brolly_core::driver::Stream;
use brolly_core::proxy_protocol::{self, Endpoints};
use brolly_core::shard::{Introduction, IoError};
use brolly_core::text::date;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A connected socket as the driver sees it.
#[derive(Debug)]
pub enum Transport<S> {
    /// The bytes of the socket are those of HTTP.
    Plain(S),
    /// Something comes before them, or encrypts them.
    Layered(Box<Layered<S>>),
}

/// A socket with a PROXY header in front, or with TLS around.
#[derive(Debug)]
pub struct Layered<S> {
    base: Ahead<S>,
    session: Option<Session>,
    stage: Stage,
    endpoints: Option<Endpoints>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// A PROXY header is due.
    Header,
    /// The first byte tells TLS from plain HTTP.
    FirstByte,
    Handshake,
    /// Plain HTTP where TLS was expected is told so (so many bytes of it have gone); then the client is listened to until it
    /// has gone.
    Refusal(usize),
    Farewell,
    /// Nobody is to be let in.
    Refused,
    Open,
}

impl<S> Transport<S> {
    /// The socket, if the bytes of HTTP pass through it as they are.
    pub fn plain(&mut self) -> Option<&mut S> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Layered(layered) => layered.session.is_none().then_some(layered.base.stream()),
        }
    }
}

impl<S: Stream> Transport<S> {
    /// The connection of a client.
    pub(crate) fn accepted(stream: S, has_header: bool, session: Option<Session>) -> Self {
        let stage = if has_header { Stage::Header } else { Stage::FirstByte };
        match (has_header, session) {
            (false, None) => Self::Plain(stream),
            (_, session) => {
                Self::Layered(Box::new(Layered { base: Ahead::new(stream), session, stage, endpoints: None }))
            }
        }
    }

    /// A connection that is not wanted: its introduction fails.
    pub(crate) fn refused(stream: S) -> Self {
        let (base, stage) = (Ahead::new(stream), Stage::Refused);
        Self::Layered(Box::new(Layered { base, session: None, stage, endpoints: None }))
    }

    /// The connection to a backend, its handshake done.
    pub(crate) async fn connected(stream: S, mut session: Session) -> Result<Self, Broken> {
        let mut base = Ahead::new(stream);
        poll_fn(|cx| session.poll_handshake(&mut base, cx)).await?;
        let layered = Layered { base, session: Some(session), stage: Stage::Open, endpoints: None };
        Ok(Self::Layered(Box::new(layered)))
    }
}

impl<S: Stream> Layered<S> {
    fn poll_introduction(&mut self, cx: &mut Context<'_>) -> Poll<Result<Introduction, IoError>> {
        loop {
            self.stage = match (self.stage, &mut self.session) {
                (Stage::Header, _) => match proxy_protocol::decode(self.base.bytes()) {
                    Ok(Some(header)) => {
                        self.base.consume(header.len);
                        self.endpoints = header.endpoints;
                        Stage::FirstByte
                    }
                    Ok(None) => {
                        ready!(self.base.poll_more(cx))?;
                        Stage::Header
                    }
                    Err(_) => return Poll::Ready(Err(IoError::Other)),
                },
                (Stage::FirstByte, None) => Stage::Open,
                (Stage::FirstByte, Some(_)) => match self.base.bytes().first() {
                    None => {
                        ready!(self.base.poll_more(cx))?;
                        Stage::FirstByte
                    }
                    // A method begins like this, and no record of TLS.
                    Some(byte) if byte.is_ascii_alphabetic() => Stage::Refusal(0),
                    Some(_) => Stage::Handshake,
                },
                (Stage::Handshake, Some(session)) => {
                    ready!(session.poll_handshake(&mut self.base, cx)).map_err(IoError::from)?;
                    Stage::Open
                }
                (Stage::Refusal(written), _) => match refusal().as_bytes().get(written..) {
                    None | Some([]) => {
                        ready!(self.base.poll_shutdown(cx))?;
                        Stage::Farewell
                    }
                    Some(rest) => Stage::Refusal(written + ready!(self.base.poll_write(cx, &[rest]))?),
                },
                (Stage::Farewell, _) => {
                    for _ in 0..16 {
                        self.base.consume(usize::MAX);
                        ready!(self.base.poll_more(cx))?;
                    }
                    // A sender that is quicker than we are must not keep the others waiting.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                (Stage::Refused, _) => return Poll::Ready(Err(IoError::PermissionDenied)),
                (Stage::Open | Stage::Handshake, session) => {
                    let tls = session.as_ref().map(|session| Arc::new(facts(session.connection())));
                    return Poll::Ready(Ok(Introduction { proxied: self.endpoints, tls }));
                }
            };
        }
    }
}

/// The answer to plain HTTP where TLS is spoken.
fn refusal() -> String {
    let date = date::format(unix_seconds());
    let text = "this port speaks TLS; ask for it with https://\n";
    format!(
        "HTTP/1.1 400 Bad Request\r\ndate: {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{text}",
        String::from_utf8_lossy(&date),
        text.len()
    )
}

impl<S: Stream> Stream for Transport<S> {
    fn poll_introduction(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Introduction>, IoError>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(None)),
            Self::Layered(layered) => layered.poll_introduction(cx).map_ok(Some),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        match self {
            Self::Plain(stream) => stream.poll_read(cx, buffer),
            Self::Layered(layered) => match &mut layered.session {
                Some(session) => session.poll_read(&mut layered.base, cx, buffer),
                None => layered.base.poll_read(cx, buffer),
            },
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        match self {
            Self::Plain(stream) => stream.poll_write(cx, slices),
            Self::Layered(layered) => match &mut layered.session {
                Some(session) => session.poll_write(&mut layered.base, cx, slices),
                None => layered.base.poll_write(cx, slices),
            },
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        match self {
            Self::Plain(stream) => stream.poll_shutdown(cx),
            Self::Layered(layered) => match &mut layered.session {
                Some(session) => session.poll_shutdown(&mut layered.base, cx),
                None => layered.base.poll_shutdown(cx),
            },
        }
    }

    fn farewell(&mut self) {
        if let Self::Layered(layered) = self
            && let (Stage::Open, Some(session)) = (layered.stage, &mut layered.session)
        {
            session.farewell(&mut layered.base);
        }
    }

    fn reset(&mut self) {
        match self {
            Self::Plain(stream) => stream.reset(),
            Self::Layered(layered) => layered.base.reset(),
        }
    }
}
