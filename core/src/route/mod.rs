//! Where a request goes: by host, then by the longest path prefix of whole segments. And where it comes from.

mod client;
mod forwarded;
mod networks;

pub use client::{Client, Forwarding, Hop, Malformed};
pub use ipnet::IpNet;
pub use networks::Networks;

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Which hosts a route is for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum HostPattern {
    /// This host alone, without port, in lower case.
    Exact(Box<str>),
    /// Every host that ends with `.` and this: written `*.example.org`.
    Suffix(Box<str>),
    /// Every host, and requests without one.
    Any,
}

/// A host pattern, a path prefix and what they lead to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Route<T> {
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths: this one and those below it. `/a` and `/a/` are the same; `/ab` is not below `/a`.
    pub prefix: Box<str>,
    /// What it leads to.
    pub to: T,
}

/// Two routes with the same host pattern and the same prefix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conflict;

/// Routes in the order in which they are tried: exact hosts, longer suffixes, any; then longer prefixes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Routes<T>(Vec<Route<T>>);

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Routes<T> {
    /// Adds a route.
    ///
    /// # Errors
    /// There is one with the same host pattern and prefix already.
    pub fn add(&mut self, mut route: Route<T>) -> Result<(), Conflict> {
        route.prefix = route.prefix.trim_end_matches('/').into();
        match self.0.binary_search_by(|other| order(other, &route)) {
            Ok(_) => Err(Conflict),
            Err(at) => {
                self.0.insert(at, route);
                Ok(())
            }
        }
    }

    /// The route for `host` (without port; any case) and the decoded, normalised `path`.
    pub fn find(&self, host: &str, path: &str) -> Option<&Route<T>> {
        self.0.iter().find(|route| route.host.matches(host) && below(path, &route.prefix).is_some())
    }

    /// All routes, in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &Route<T>> {
        self.0.iter()
    }
}

/// The rest of `path` below `prefix`, with its leading slash, or empty; `None` if it is not below it.
pub fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn order<T>(a: &Route<T>, b: &Route<T>) -> core::cmp::Ordering {
    let rank = |host: &HostPattern| match host {
        HostPattern::Exact(_) => (0, 0),
        HostPattern::Suffix(suffix) => (1, usize::MAX - suffix.len()),
        HostPattern::Any => (2, 0),
    };
    let longest = |prefix: &str| usize::MAX - prefix.len();
    (rank(&a.host), longest(&a.prefix), &a.host, &a.prefix).cmp(&(
        rank(&b.host),
        longest(&b.prefix),
        &b.host,
        &b.prefix,
    ))
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Suffix(suffix) => {
                let (host, suffix) = (host.as_bytes(), suffix.as_bytes());
                host.len().checked_sub(suffix.len() + 1).and_then(|dot| host.split_at_checked(dot)).is_some_and(
                    |(_, tail)| {
                        tail.split_first().is_some_and(|(dot, tail)| *dot == b'.' && tail.eq_ignore_ascii_case(suffix))
                    },
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(list: &[(HostPattern, &str)]) -> Routes<usize> {
        let mut routes = Routes::default();
        for (to, (host, prefix)) in list.iter().enumerate() {
            routes.add(Route { host: host.clone(), prefix: (*prefix).into(), to }).unwrap();
        }
        routes
    }

    #[test]
    fn host_comes_before_path_and_prefixes_match_whole_segments() {
        let routes = routes(&[
            (HostPattern::Any, "/"),
            (HostPattern::Any, "/api/"),
            (HostPattern::Any, "/api/users"),
            (HostPattern::Suffix("example.org".into()), "/"),
            (HostPattern::Exact("www.example.org".into()), "/docs"),
        ]);
        let find = |host, path| routes.find(host, path).map(|route| route.to);
        assert_eq!(find("x", "/"), Some(0));
        assert_eq!(find("x", "/apiary"), Some(0));
        assert_eq!(find("x", "/api"), Some(1));
        assert_eq!(find("x", "/api/users/1"), Some(2));
        assert_eq!(find("x", "/api/usersadmin"), Some(1));
        assert_eq!(find("WWW.example.org", "/docs/a"), Some(4));
        assert_eq!(find("www.example.org", "/api"), Some(3));
        assert_eq!(find("example.org", "/api"), Some(1));
        assert_eq!(find("xexample.org", "/"), Some(0));
    }

    #[test]
    fn the_same_route_twice_is_a_conflict() {
        let mut routes = routes(&[(HostPattern::Any, "/a")]);
        assert_eq!(routes.add(Route { host: HostPattern::Any, prefix: "/a/".into(), to: 1 }), Err(Conflict));
    }
}
