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
use std::sync::{Arc, PoisonError, RwLock};

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
    servers: RwLock<Arc<[server::Loaded]>>,
    clients: RwLock<Vec<(ServerName<'static>, Arc<ClientConfig>)>>,
}

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// One cannot be used; the sentence names it.
    pub(crate) fn load(settings: &Settings) -> Result<Self, Failure> {
        let servers = settings.servers.iter().map(server::Loaded::new).collect::<Result<_, _>>();
        let clients = client::load(&settings.clients);
        let servers = RwLock::new(servers.map_err(Failure::new)?);
        Ok(Self(Arc::new(Loaded { servers, clients: RwLock::new(clients.map_err(Failure::new)?) })))
    }

    /// New connections get what `other` has: to backends, and with `has_servers` those of listeners too; what clients of the latter may
    /// resume is forgotten then.
    pub(crate) fn adopt(&self, other: &Self, has_servers: bool) {
        if has_servers {
            *self.0.servers.write().unwrap_or_else(PoisonError::into_inner) = other.servers();
        }
        let clients = other.0.clients.read().unwrap_or_else(PoisonError::into_inner).clone();
        *self.0.clients.write().unwrap_or_else(PoisonError::into_inner) = clients;
    }

    fn servers(&self) -> Arc<[server::Loaded]> {
        Arc::clone(&self.0.servers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads certificates, keys, OCSP answers and authorities of the listeners again. Connections that are open go on. What
    /// cannot be used leaves what was there before; the sentences say what and why.
    pub(crate) fn reload(&self) -> Vec<String> {
        self.servers().iter().flat_map(server::Loaded::reload).collect()
    }

    /// The TLS of a client's connection.
    pub(crate) fn accept(&self, server: usize) -> Option<Session> {
        ServerConnection::new(self.servers().get(server)?.config()).ok().map(Session::from)
    }

    /// The TLS of a connection to a backend.
    pub(crate) fn connect(&self, client: u16) -> Option<Session> {
        let (name, config) = self.client(client)?;
        ClientConnection::new(config, name).ok().map(Session::from)
    }

    /// Who that backend has to be.
    pub(crate) fn name(&self, client: u16) -> String {
        self.client(client).map(|(name, _)| name.to_str().into_owned()).unwrap_or_default()
    }

    fn client(&self, client: u16) -> Option<(ServerName<'static>, Arc<ClientConfig>)> {
        self.0.clients.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(client)).cloned()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
