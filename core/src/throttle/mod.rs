//! How much one client may have: requests, connections and bytes, counted for each address.
//!
//! Addresses that have their full share back are forgotten, and when there are too many, those that were idle longest are:
//! the table is bounded, and nothing is done for entries that nobody asks for.

mod rate;

pub use rate::{Bucket, Rate};

use crate::time::Instant;
use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

/// How much each client may have. Every part is optional.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Allowance {
    /// Requests.
    pub requests: Option<Rate>,
    /// Requests that are answered at the same time, and upgraded connections.
    pub connections: Option<u32>,
    /// Bytes that are written to it.
    pub bandwidth: Option<Rate>,
}

/// A client in the eyes of one allowance.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientKey {
    /// Which allowance.
    pub allowance: usize,
    /// IPv6: the first 64 bits, which is what one household or machine gets (RFC 6177). `None`: those of whom nothing is
    /// known share one.
    network: Option<IpAddr>,
}

impl ClientKey {
    /// The client with this address.
    pub fn new(allowance: usize, address: Option<IpAddr>) -> Self {
        let network = address.map(|address| match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address @ IpAddr::V4(_) => address,
        });
        Self { allowance, network }
    }

    /// Which of `shards` shards counts for this client, so that it gets no more with several of them; 0 if there are none.
    pub fn home(&self, shards: u16) -> u16 {
        let bits = match self.network {
            Some(IpAddr::V4(address)) => address.to_bits().into(),
            Some(IpAddr::V6(address)) => (address.to_bits() >> 64) as u64,
            None => 0,
        };
        // Fibonacci hashing (Knuth 6.4): neighbours are spread.
        let hash = (bits ^ self.allowance as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        hash.checked_rem(shards.into()).map_or(0, |home| home as u16)
    }
}

/// All clients that have taken something lately.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Throttle {
    clients: BTreeMap<ClientKey, Client>,
    /// Clients without a request at hand, by when they had the last one.
    idle: BTreeMap<u64, ClientKey>,
    clock: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Client {
    requests: Bucket,
    bytes: Bucket,
    connections: u32,
    /// Its place among the idle.
    idle_since: Option<u64>,
}

impl Throttle {
    /// A client begins a request; [`leave`](Self::leave) ends it. No more than `limit` clients without a request at hand
    /// are remembered.
    ///
    /// # Errors
    /// It may not: how long until it may, as far as that is known.
    pub fn enter(
        &mut self,
        now: Instant,
        key: ClientKey,
        allowance: &Allowance,
        limit: usize,
    ) -> Result<(), Option<Duration>> {
        let client = self.clients.entry(key).or_default();
        let entered = match (allowance.connections, &allowance.requests) {
            (Some(connections), _) if client.connections >= connections => Err(None),
            (_, Some(rate)) => client.requests.take(rate, now, 1).map_err(|at| Some(at.duration_since(now))),
            (_, None) => Ok(()),
        };
        if entered.is_ok() {
            client.connections += 1;
        }
        self.file(now, key, limit);
        entered
    }

    /// A client has ended a request.
    pub fn leave(&mut self, now: Instant, key: ClientKey, limit: usize) {
        if let Some(client) = self.clients.get_mut(&key) {
            client.connections = client.connections.saturating_sub(1);
            self.file(now, key, limit);
        }
    }

    /// Takes bytes that may be written to a client.
    ///
    /// # Errors
    /// They will be there at this time.
    pub fn take_bytes(
        &mut self,
        now: Instant,
        key: ClientKey,
        rate: &Rate,
        bytes: u64,
        limit: usize,
    ) -> Result<(), Instant> {
        let taken = self.clients.entry(key).or_default().bytes.take(rate, now, bytes);
        self.file(now, key, limit);
        taken
    }

    /// How many clients are known.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether no client is known.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Puts a client where it belongs: among the busy, among the idle, or nowhere.
    fn file(&mut self, now: Instant, key: ClientKey, limit: usize) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        if let Some(since) = client.idle_since.take() {
            self.idle.remove(&since);
        }
        if client.connections > 0 {
            return;
        }
        if client.requests.is_full(now) && client.bytes.is_full(now) {
            self.clients.remove(&key);
            return;
        }
        self.clock += 1;
        client.idle_since = Some(self.clock);
        self.idle.insert(self.clock, key);
        while self.idle.len() > limit
            && let Some((_, oldest)) = self.idle.pop_first()
        {
            self.clients.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> ClientKey {
        ClientKey::new(0, address.parse().ok())
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn one_household_is_one_client() {
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:0:0:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_ne!(key("192.0.2.1"), ClientKey::new(1, "192.0.2.1".parse().ok()));
    }

    #[test]
    fn clients_are_spread_over_the_shards() {
        let mut load = [0; 4];
        for number in 0..4000_u32 {
            load[usize::from(ClientKey::new(0, Some(IpAddr::V4(number.into()))).home(4))] += 1;
        }
        assert!(load.iter().all(|clients| (800..1200).contains(clients)), "{load:?}");
        assert_eq!((key("192.0.2.1").home(0), key("192.0.2.1").home(1)), (0, 0));
    }

    #[test]
    fn requests_and_connections_are_counted_apart_and_given_back() {
        let rate = Rate { units: 1, period: Duration::from_secs(1), burst: 3 };
        let allowance = Allowance { requests: Some(rate), connections: Some(2), bandwidth: None };
        let mut throttle = Throttle::default();
        let enter = |throttle: &mut Throttle, millis| throttle.enter(at(millis), key("192.0.2.1"), &allowance, 9);
        assert_eq!(enter(&mut throttle, 0), Ok(()));
        assert_eq!(enter(&mut throttle, 0), Ok(()));
        assert_eq!(enter(&mut throttle, 0), Err(None));
        throttle.leave(at(0), key("192.0.2.1"), 9);
        assert_eq!(enter(&mut throttle, 0), Ok(()));
        throttle.leave(at(0), key("192.0.2.1"), 9);
        throttle.leave(at(0), key("192.0.2.1"), 9);
        assert_eq!(enter(&mut throttle, 250), Err(Some(Duration::from_millis(750))));
        assert_eq!(throttle.enter(at(0), key("192.0.2.2"), &allowance, 9), Ok(()));
        assert_eq!(enter(&mut throttle, 1000), Ok(()));
        throttle.leave(at(5000), key("192.0.2.1"), 9);
        throttle.leave(at(5000), key("192.0.2.2"), 9);
        assert!(throttle.is_empty() && throttle.idle.is_empty(), "{throttle:?}");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_was_idle_longest() {
        let rate = Rate { units: 1, period: Duration::from_secs(1000), burst: 1 };
        let allowance = Allowance { requests: Some(rate), connections: None, bandwidth: Some(rate) };
        let mut throttle = Throttle::default();
        let address = |number: u32| ClientKey::new(0, Some(IpAddr::V4(number.into())));
        // One that stays, whatever happens.
        throttle.enter(at(0), address(0), &allowance, 3).unwrap();
        for number in 1..10 {
            throttle.enter(at(0), address(number), &allowance, 3).unwrap();
            throttle.leave(at(0), address(number), 3);
            assert!(throttle.len() <= 4 && throttle.idle.len() <= 3);
        }
        assert!(throttle.enter(at(0), address(9), &allowance, 3).is_err());
        assert_eq!(throttle.enter(at(0), address(6), &allowance, 3), Ok(()));
        assert!(throttle.enter(at(0), address(0), &allowance, 3).is_err());
        assert_eq!(throttle.take_bytes(at(0), address(0), &rate, 1, 3), Ok(()));
        assert!(throttle.take_bytes(at(0), address(0), &rate, 1, 3).is_err());
    }
}
