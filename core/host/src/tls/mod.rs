//! TLS, once for both runtimes: who we are, whom we trust, and the bytes in between.
//!
//! | file | what |
//! |---|---|
//! | `session.rs` | a connection: ciphertext to plaintext and back |
//! | `ahead.rs` | bytes that were read before their time |
//! | `identity.rs` | certificates, keys, authorities: from PEM files |
//! | `server.rs` | listeners: certificates by name, resumption, reloading |
//! | `client.rs` | backends |
//! | `facts.rs` | what a handshake has shown |

mod ahead;
mod client;
mod facts;
mod identity;
mod server;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use ahead::Ahead;
pub use client::Client;
pub(crate) use facts::facts;
pub use identity::Files;
pub(crate) use identity::{Mistake, check, read_authorities};
pub use server::{ClientCertificates, Server, Versions};
pub(crate) use session::{Broken, Session};

use crate::failure::Failure;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConnection};
use std::sync::Arc;

/// HTTP/1.1 is all that is spoken (RFC 7301 §6).
const ALPN: &[u8] = b"http/1.1";

/// All TLS that a process is configured with. Plain data; the files are read when it is loaded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// What listeners name by index.
    pub servers: Vec<Server>,
    /// What [`Effect::Connect`](brolly_core::shard::Effect::Connect) names by index.
    pub clients: Vec<Client>,
}

/// All TLS of a process, its files read. Cheap to clone; all threads share it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Loaded>);

#[derive(Debug)]
struct Loaded {
    servers: Vec<server::Loaded>,
    clients: Vec<(ServerName<'static>, Arc<ClientConfig>)>,
}

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// One cannot be used; the sentence names it.
    pub(crate) fn load(settings: &Settings) -> Result<Self, Failure> {
        let servers = settings.servers.iter().map(server::Loaded::new).collect::<Result<_, _>>();
        let clients = client::load(&settings.clients);
        Ok(Self(Arc::new(Loaded { servers: servers.map_err(Failure::new)?, clients: clients.map_err(Failure::new)? })))
    }

    /// Reads certificates, keys, OCSP answers and authorities of the listeners again. Connections that are open go on. What
    /// cannot be used leaves what was there before; the sentences say what and why.
    pub(crate) fn reload(&self) -> Vec<String> {
        self.0.servers.iter().flat_map(server::Loaded::reload).collect()
    }

    /// The TLS of a client's connection.
    pub(crate) fn accept(&self, server: usize) -> Option<Session> {
        ServerConnection::new(self.0.servers.get(server)?.config()).ok().map(Session::from)
    }

    /// The TLS of a connection to a backend.
    pub(crate) fn connect(&self, client: u16) -> Option<Session> {
        let (name, config) = self.0.clients.get(usize::from(client))?;
        ClientConnection::new(Arc::clone(config), name.clone()).ok().map(Session::from)
    }

    /// Who that backend has to be.
    pub(crate) fn name(&self, client: u16) -> String {
        self.0.clients.get(usize::from(client)).map(|(name, _)| name.to_str().into_owned()).unwrap_or_default()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
