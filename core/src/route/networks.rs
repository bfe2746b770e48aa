//! Sets of addresses, written as networks: the longest prefix that contains an address decides.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;
use ipnet::IpNet;

/// What is known about networks of any prefix length, IPv4 and IPv6. An IPv4-mapped address (RFC 4291 §2.5.5.2) is the
/// IPv4 address: it is how a dual-stack socket names its peer.
///
/// A look-up takes a step for each prefix length that is in use, however many networks there are.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Networks<T = ()> {
    /// By prefix length, the longest first; then by the first address.
    lengths: Vec<(u8, BTreeMap<IpAddr, T>)>,
}

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Self { lengths: Vec::new() }
    }
}

impl<T> Networks<T> {
    /// Says something about a network; returns what was said about the same one before.
    pub fn insert(&mut self, network: IpNet, value: T) -> Option<T> {
        let network = canonical(network);
        let length = network.prefix_len();
        let at = match self.lengths.binary_search_by(|(other, _)| length.cmp(other)) {
            Ok(at) => at,
            Err(at) => {
                self.lengths.insert(at, (length, BTreeMap::new()));
                at
            }
        };
        self.lengths.get_mut(at)?.1.insert(network.network(), value)
    }

    /// What was said about the smallest network that contains `address`.
    pub fn find(&self, address: IpAddr) -> Option<&T> {
        let address = address.to_canonical();
        self.lengths.iter().find_map(|(length, networks)| {
            // Longer than an IPv4 address is: no network for this one.
            networks.get(&IpNet::new(address, *length).ok()?.network())
        })
    }

    /// Whether one of the networks contains `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.find(address).is_some()
    }

    /// All networks and what was said about them, the smallest first.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &T)> {
        self.lengths.iter().flat_map(|(length, networks)| {
            networks.iter().filter_map(|(first, value)| Some((IpNet::new(*first, *length).ok()?, value)))
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
}

/// A network of mapped addresses as the IPv4 network that it is.
fn canonical(network: IpNet) -> IpNet {
    match (network.network().to_canonical(), network.prefix_len().checked_sub(96)) {
        (first @ IpAddr::V4(_), Some(length)) if matches!(network, IpNet::V6(_)) => {
            IpNet::new(first, length).unwrap_or(network)
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, Seed};
    use core::net::{Ipv4Addr, Ipv6Addr};

    fn networks(list: &[(&str, bool)]) -> Networks<bool> {
        let mut networks = Networks::default();
        for (network, verdict) in list {
            networks.insert(network.parse().unwrap(), *verdict);
        }
        networks
    }

    #[test]
    fn the_longest_prefix_decides_whatever_the_order() {
        let networks = networks(&[
            ("10.0.0.0/8", true),
            ("10.66.0.0/16", false),
            ("10.66.6.6/32", true),
            ("fd00::/8", true),
            ("fd00:66::/33", false),
            ("::1/128", true),
        ]);
        let find = |address: &str| networks.find(address.parse().unwrap()).copied();
        assert_eq!(find("10.1.2.3"), Some(true));
        assert_eq!(find("10.66.2.3"), Some(false));
        assert_eq!(find("10.66.6.6"), Some(true));
        assert_eq!(find("11.0.0.0"), None);
        assert_eq!(find("::ffff:10.66.1.1"), Some(false));
        assert_eq!(find("fd12::1"), Some(true));
        assert_eq!(find("fd00:66::1"), Some(false));
        assert_eq!(find("fd00:66:8000::1"), Some(true));
        assert_eq!(find("::1"), Some(true));
        assert_eq!(find("::2"), None);
    }

    #[test]
    fn families_are_apart_and_mapped_networks_are_ipv4() {
        let every6 = networks(&[("::/0", true)]);
        assert!(every6.contains("::1".parse().unwrap()) && !every6.contains("127.0.0.1".parse().unwrap()));
        assert!(!every6.contains("::ffff:127.0.0.1".parse().unwrap()));
        let mapped = networks(&[("::ffff:10.0.0.0/104", true)]);
        assert!(mapped.contains("10.9.9.9".parse().unwrap()) && !mapped.contains("11.0.0.0".parse().unwrap()));
        assert_eq!(mapped.iter().next().map(|(network, _)| network), Some("10.0.0.0/8".parse().unwrap()));
    }

    #[test]
    fn a_look_up_finds_what_a_look_at_each_network_finds() {
        let mut rng = Rng::new(Seed([3; 32]), 0);
        for _ in 0..200 {
            let mut networks = Networks::default();
            let mut list = Vec::new();
            // Few different bits, so that networks meet.
            let address = |rng: &mut Rng| match rng.next_u64() % 2 {
                0 => IpAddr::V4(Ipv4Addr::from_bits((rng.next_u64() & 0xc000_0103) as u32)),
                _ => IpAddr::V6(Ipv6Addr::from_bits(u128::from(rng.next_u64() & 0xc000_0000_0000_0103) << 64 | 1)),
            };
            for number in 0..12 {
                let first = address(&mut rng);
                let length = rng.next_u64() % if first.is_ipv4() { 33 } else { 129 };
                let network = IpNet::new(first, length as u8).unwrap().trunc();
                list.retain(|(known, _)| *known != network);
                list.push((network, number));
                networks.insert(network, number);
            }
            for _ in 0..50 {
                let address = address(&mut rng);
                let matching = list.iter().filter(|(network, _)| network.contains(&address));
                let expected = matching.max_by_key(|(network, _)| network.prefix_len()).map(|(_, number)| number);
                assert_eq!(networks.find(address), expected, "{address} in {list:?}");
            }
        }
    }
}
