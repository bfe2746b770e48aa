//! A WebSocket that follows topics: `["hello", {}, {position, recovery}]`, then `["message", {topic, position}, data]`.

use super::{ConnectError, EVENT_BYTES, End, Endpoint, Network, Recovery, Source, refusal, unwritten};
use crate::failure::Failure;
use crate::log::say;
use crate::url::Url;
use brolly_core::config::Limits;
use brolly_core::driver::{Ending, Message, OpenError};
use brolly_core::pubsub::Positions;
use brolly_core::ws::ProtocolError;
use brolly_core::ws::handshake::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write;

/// The topics of one server, from wherever the last message was.
pub(super) struct Socket<'n, N> {
    endpoint: Endpoint,
    network: &'n N,
    target: String,
    limits: Limits,
    position: Positions,
}

impl<'n, N: Network> Socket<'n, N> {
    /// `topics` is the query.
    pub(super) fn new(endpoint: Endpoint, network: &'n N, topics: &str) -> Self {
        let base = endpoint.url().path.as_deref().unwrap_or_default().trim_end_matches('/');
        let target = format!("{base}/-/ws?{topics}");
        let mut limits = Limits::default();
        limits.websocket.message_bytes = EVENT_BYTES;
        Self { endpoint, network, target, limits, position: Positions::new() }
    }

    async fn read(&mut self, has_begun: &mut bool, out: &mut impl Write) -> Result<(), End> {
        let target = match self.position.is_empty() {
            true => self.target.clone(),
            false => format!("{}&position={}", self.target, self.position),
        };
        let request = Request { target: &target, ..Request::default() };
        let opened = self.endpoint.connect(self.network, &self.limits, &request).await;
        let mut socket = opened.map_err(|error| ended(self.endpoint.url(), error))?;
        loop {
            let Message::Text(text) = socket.next().await.map_err(lost)? else { continue };
            match serde_json::from_str(&text) {
                Ok(Said("hello", _, data)) => {
                    *has_begun = true;
                    let hello: Hello<'_> = serde_json::from_str(data.get()).map_err(|_| unexpected(&text))?;
                    self.position = Positions::parse(hello.position.as_bytes()).map_err(|_| unexpected(&text))?;
                    hello.recovery.iter().flatten().for_each(Recovery::say);
                }
                Ok(Said("message", meta, data)) => {
                    let message: Meta<'_> = serde_json::from_str(meta.get()).map_err(|_| unexpected(&text))?;
                    writeln!(out, "{data}").and_then(|()| out.flush()).map_err(|error| unwritten(&error))?;
                    let newer = Positions::parse(message.position.as_bytes());
                    newer.and_then(|newer| self.position.advance(&newer)).map_err(|_| unexpected(&text))?;
                }
                Ok(Said(..)) => {}
                Err(_) => say(&format!("{}: not a message: {text}", self.endpoint.url())),
            }
        }
    }
}

impl<N: Network> Source for Socket<'_, N> {
    fn follow(&mut self, has_begun: &mut bool, out: &mut impl Write) -> Result<(), End> {
        let network = self.network;
        network.block_on(self.read(has_begun, out))
    }
}

/// `["type", {meta}, data]`.
#[derive(Deserialize)]
struct Said<'a>(&'a str, #[serde(borrow)] &'a RawValue, #[serde(borrow)] &'a RawValue);

#[derive(Deserialize)]
struct Hello<'a> {
    #[serde(borrow)]
    position: Cow<'a, str>,
    #[serde(borrow)]
    recovery: Option<Vec<Recovery<'a>>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    position: Cow<'a, str>,
}

fn lost(ending: Ending) -> End {
    match ending {
        Ending::Failed(ProtocolError::MessageTooBig) => {
            End::Final(Failure::new(format!("a message is longer than {EVENT_BYTES} bytes")))
        }
        ending => End::Lost(ending.to_string()),
    }
}

fn ended(url: &Url, error: ConnectError) -> End {
    match error {
        ConnectError::Open(OpenError::Refused(refused)) => refusal(url, refused.status, &refused.content),
        error => End::Lost(error.to_string()),
    }
}

fn unexpected(text: &str) -> End {
    End::Final(Failure::new(format!("this does not look like brolly: {text}")))
}
