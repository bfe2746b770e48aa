//! A client for the Autobahn test suite (`wstest -m fuzzingserver`): sends every message back, in every case.

use brolly_core::config::{Compression, Limits};
use brolly_core::driver::{Message, OpenError};
use brolly_core::ws::handshake::Request;
use brolly_host::client::{ConnectError, Endpoint, Network};
use std::error::Error;

/// Runs all cases of the server that the first argument names (`ws://127.0.0.1:9001`), as the agent that the second names.
pub(crate) fn main(network: &impl Network) -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "Usage: PROGRAM ws://HOST:PORT AGENT";
    let (server, agent) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    network.block_on(all(network, &Endpoint::parse(&server)?, &agent))
}

async fn all(network: &impl Network, server: &Endpoint, agent: &str) -> Result<(), Box<dyn Error>> {
    let count = said(network, server, "/getCaseCount").await?;
    let count: u32 = count.ok_or("the server does not say how many cases there are")?.parse()?;
    for case in 1..=count {
        said(network, server, &format!("/runCase?case={case}&agent={agent}")).await?;
    }
    said(network, server, &format!("/updateReports?agent={agent}")).await?;
    Ok(())
}

/// Sends every message back until the server has enough; returns the first text.
async fn said(network: &impl Network, server: &Endpoint, target: &str) -> Result<Option<String>, Box<dyn Error>> {
    let mut limits = Limits::default();
    // Section 9 sends messages of up to 16 MiB.
    limits.websocket.message_bytes = 16 * 1024 * 1024;
    // Everything is compressed that the server lets be.
    let compression = Compression { context_takeover: true, threshold: 0, ..Compression::default() };
    let request = Request { target, compression: Some(&compression), ..Request::default() };
    let mut socket = match server.connect(network, &limits, &request).await {
        Ok(socket) => socket,
        Err(ConnectError::Open(OpenError::Refused(refusal))) => {
            return Err(format!("{target}: {} {}", refusal.status, String::from_utf8_lossy(&refusal.content)).into());
        }
        Err(error) => return Err(format!("{target}: {error}").into()),
    };
    let mut first = None;
    // How it ends is the server's to judge.
    while let Ok(message) = socket.next().await {
        if socket.feed(&message).await.is_err() {
            break;
        }
        if let Message::Text(text) = message {
            first.get_or_insert(text);
        }
    }
    Ok(first)
}
