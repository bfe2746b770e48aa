//! What holds for all requests of a route, whatever its handler.

use super::Shaping;
use crate::route::Networks;
use alloc::boxed::Box;
use core::net::IpAddr;

/// What has to hold before the handler of a route gets a request, and what is done to its answer. All of it is optional;
/// the default asks for nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// Who may, by network; others get 403.
    pub access: Option<Box<AccessRules>>,
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
}

impl AccessRules {
    /// Whether a client of this address may. One of a Unix socket has none, and is in no network.
    pub fn allow(&self, client: Option<IpAddr>) -> bool {
        client.and_then(|client| self.networks.find(client).copied()).unwrap_or(self.others)
    }
}
