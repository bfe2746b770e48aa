//! What holds for all requests of a route, whatever its handler.

use super::Shaping;
use crate::route::Networks;
use crate::throttle::Allowance;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::IpAddr;

/// What has to hold before the handler of a route gets a request, and what is done to its answer. All of it is optional;
/// the default asks for nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// Who may, by network; others get 403.
    pub access: Option<Box<AccessRules>>,
    /// How much one client may have; beyond: 429.
    pub limits: Option<Box<Allowance>>,
    /// Bytes of content of a request; beyond: 413. `None`: [`Limits::content_bytes`](super::Limits::content_bytes) where
    /// it is read whole, no limit otherwise.
    pub content_bytes: Option<u64>,
    /// Who may, by name and password; others get 401.
    pub basic_auth: Option<Box<BasicAuth>>,
    /// Who may, by the word of a backend.
    pub authorize: Option<Box<Authorize>>,
    /// What is changed about the messages.
    pub shaping: Option<Box<Shaping>>,
}

/// Who may, by the client's address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccessRules {
    /// Networks that may (`true`) and may not.
    pub networks: Networks<bool>,
    /// Whether addresses of no network may.
    pub others: bool,
    /// Whether a client certificate is required.
    pub certificate: bool,
}

impl AccessRules {
    /// Whether a client of this address may. One of a Unix socket has none, and is in no network.
    pub fn allow(&self, client: Option<IpAddr>) -> bool {
        client.and_then(|client| self.networks.find(client).copied()).unwrap_or(self.others)
    }
}

/// HTTP's own login (RFC 7617).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BasicAuth {
    /// The file of users and hashes, by which the host knows it.
    pub file: Arc<str>,
    /// The value of `WWW-Authenticate` in a 401.
    pub challenge: Box<str>,
    /// Whether the backend gets `Authorization` too. The user's name it gets anyway.
    pub forward: bool,
}

/// A question to a backend before each request: 2xx lets it pass. `X-Authorization-Expires-In: SECONDS` in it ends what goes on (event
/// streams, long-polls, WebSockets) after that time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authorize {
    /// Index into [`Config::upstreams`](super::Config::upstreams).
    pub upstream: usize,
    /// The path that is asked for.
    pub path: Box<str>,
    /// Fields of the answer that the request gets; what the client says in them is removed. In lower case.
    pub copy: Arc<[Box<str>]>,
}
