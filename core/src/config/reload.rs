//! A configuration that takes the place of another while connections go on.
//!
//! Connections and requests refer to handlers, policies, upstreams and pools by number. So that those that are under way may
//! keep their numbers, a new configuration is put on top of the one before:
//!
//! | what | is the same if | what is the same | what has gone |
//! |---|---|---|---|
//! | upstream | all of it is | keeps its number, connections and health | finishes what it has, and is asked no more |
//! | pool | its name is | keeps its number, users and lattices; has the new settings | stays, stopped |
//! | route | host, prefix and all of its table are | keeps its numbers; leads to upstreams and pools of that name as they are now | stays, and no route leads there |

use super::{Backend, Config, Destination, Handler, Policy, Sessions};
use crate::route::{Route, Routes};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

/// What there may be of each kind, with what has gone.
const MOST: usize = 1 << 16;

/// Too much has gone since the process began: it has to be started anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooManyChanges;

/// The numbers that upstreams and pools have somewhere else, by the numbers that they have here.
#[derive(Debug, Default)]
struct Numbers {
    upstreams: Vec<usize>,
    pools: Vec<usize>,
}

impl Config {
    /// `new`, so that it can take the place of this configuration. What belongs to the process or to its sockets stays: its name, the
    /// number of connections and of mail, what the host can do.
    ///
    /// # Errors
    /// More than 65,536 handlers, policies, upstreams or pools, with those of earlier configurations.
    pub fn succeeded_by(&self, mut new: Self) -> Result<Self, TooManyChanges> {
        let (handlers, policies, routes) =
            (mem::take(&mut new.handlers), mem::take(&mut new.policies), mem::take(&mut new.routes));
        let (upstreams, pools) = (mem::take(&mut new.upstreams), mem::take(&mut new.pools));
        let mut names = BTreeMap::new();
        let old_names = Numbers::by_name(self, &mut names);
        let mut next = Self {
            handlers: self.handlers.clone(),
            policies: self.policies.clone(),
            upstreams: self.upstreams.clone(),
            pools: self.pools.clone(),
            node: self.node,
            sends_files: self.sends_files,
            wants_local_addresses: self.wants_local_addresses,
            generation: self.generation + 1,
            ..new
        };
        (next.limits.connections, next.limits.mailbox_messages) =
            (self.limits.connections, self.limits.mailbox_messages);
        let numbers = Numbers {
            upstreams: upstreams.iter().map(|one| find_or_push(&mut next.upstreams, one, |of| of == one)).collect(),
            pools: pools.iter().map(|one| find_or_push(&mut next.pools, one, |of| of.name == one.name)).collect(),
        };
        for (number, upstream) in next.upstreams.iter_mut().enumerate() {
            if !numbers.upstreams.contains(&number) {
                upstream.health = None;
            }
        }
        next.pools.iter_mut().for_each(|pool| pool.is_stopped = true);
        for (number, mut pool) in numbers.pools.iter().zip(pools.clone()) {
            pool.inactivity.iter_mut().for_each(|backend| numbers.move_backend(backend));
            if let Some(place) = next.pools.get_mut(*number) {
                *place = pool;
            }
        }
        for listener in &mut next.listeners {
            // One whose pool is not there must not serve what others do.
            listener.pool = listener.pool.map(|pool| numbers.pools.get(pool).copied().unwrap_or(usize::MAX));
        }
        let new = Self { handlers, policies, upstreams, pools, routes, ..Self::default() };
        let new_names = Numbers::by_name(&new, &mut names);
        let old: BTreeMap<_, _> = self.routes.iter().map(|route| ((&route.host, &route.prefix), route.to)).collect();
        // Several routes may lead to the same.
        let mut known = BTreeMap::new();
        let mut routes = Routes::default();
        for route in new.routes.iter() {
            let to = *known.entry(route.to.handler).or_insert_with(|| {
                let before = old.get(&(&route.host, &route.prefix)).copied();
                let is_same = |to: &Destination| old_names.parts(self, *to) == new_names.parts(&new, route.to);
                next.lead(before.filter(is_same), numbers.parts(&new, route.to))
            });
            // They did not conflict before.
            let _ = routes.add(Route { to, ..route.clone() });
        }
        next.routes = routes;
        let most = next.handlers.len().max(next.policies.len()).max(next.upstreams.len()).max(next.pools.len());
        if most > MOST { Err(TooManyChanges) } else { Ok(next) }
    }

    /// Puts the parts of a route where they were before, or behind all others.
    fn lead(&mut self, before: Option<Destination>, parts: Parts) -> Destination {
        let (handler, otherwise, policy) = parts;
        Destination {
            handler: put(&mut self.handlers, before.map(|to| to.handler), handler),
            otherwise: otherwise.map(|part| put(&mut self.handlers, before.and_then(|to| to.otherwise), part)),
            policy: policy.map(|part| put(&mut self.policies, before.and_then(|to| to.policy), part)),
        }
    }
}

/// What a route leads to: the handler, that of other requests, the policy.
type Parts = (Handler, Option<Handler>, Option<Policy>);

impl Numbers {
    /// A number for each name, the same in all configurations.
    fn by_name(config: &Config, names: &mut BTreeMap<(bool, Box<str>), usize>) -> Self {
        let mut number = |is_pool, name: &str| {
            let next = names.len();
            *names.entry((is_pool, name.into())).or_insert(next)
        };
        Self {
            upstreams: config.upstreams.iter().map(|upstream| number(false, &upstream.name)).collect(),
            pools: config.pools.iter().map(|pool| number(true, &pool.name)).collect(),
        }
    }

    /// The parts of a route, with these numbers.
    fn parts(&self, config: &Config, to: Destination) -> Parts {
        let handler = |number: usize| config.handlers.get(number).map(|handler| self.handler(handler));
        let policy = to.policy.and_then(|number| config.policies.get(number)).cloned().map(|mut policy| {
            if let Some(authorize) = &mut policy.authorize {
                self.move_upstream(&mut authorize.upstream);
            }
            policy
        });
        (handler(to.handler).unwrap_or(Handler::Publish), to.otherwise.and_then(handler), policy)
    }

    fn handler(&self, handler: &Handler) -> Handler {
        let mut handler = handler.clone();
        match &mut handler {
            Handler::Proxy(proxy) => self.move_upstream(&mut proxy.upstream),
            Handler::Sessions(sessions) => {
                let Sessions { pool, calls, others, .. } = Arc::make_mut(sessions);
                *pool = self.pools.get(*pool).copied().unwrap_or(usize::MAX);
                calls.iter_mut().for_each(|(_, backend)| self.move_backend(backend));
                self.move_backend(others);
            }
            _ => {}
        }
        handler
    }

    fn move_backend(&self, backend: &mut Backend) {
        self.move_upstream(&mut backend.upstream);
    }

    fn move_upstream(&self, upstream: &mut usize) {
        *upstream = self.upstreams.get(*upstream).copied().unwrap_or(usize::MAX);
    }
}

fn find_or_push<T: Clone>(all: &mut Vec<T>, one: &T, is_same: impl Fn(&T) -> bool) -> usize {
    all.iter().position(is_same).unwrap_or_else(|| {
        all.push(one.clone());
        all.len() - 1
    })
}

fn put<T>(all: &mut Vec<T>, at: Option<usize>, one: T) -> usize {
    match at.and_then(|at| Some((at, all.get_mut(at)?))) {
        Some((at, place)) => {
            *place = one;
            at
        }
        None => {
            all.push(one);
            all.len() - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Authorize, HealthCheck, Limits, Listener, Proxy, Server, SessionPool, Upstream};
    use super::*;
    use crate::http1::StatusCode;
    use crate::route::HostPattern;
    use core::time::Duration;

    fn upstream(name: &str, port: u16) -> Upstream {
        let check = HealthCheck {
            path: "/".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            status: Vec::new(),
        };
        let upstream = Upstream::new(&Limits::default(), [Server::tcp("10.0.0.1", port)].into());
        Upstream { name: name.into(), health: Some(check), ..upstream }
    }

    fn pool(name: &str, inactivity: usize, keys: &[&str]) -> SessionPool {
        SessionPool {
            name: name.into(),
            inactivity: [Backend { upstream: inactivity, path: "".into() }].into(),
            keys: keys.iter().map(|key| (*key).into()).collect(),
            ..SessionPool::default()
        }
    }

    fn proxy(upstream: usize) -> Handler {
        Handler::Proxy(Proxy { upstream, ..Proxy::default() })
    }

    fn sessions(pool: usize, upstream: usize) -> Handler {
        let others = Backend { upstream, path: "/x".into() };
        Handler::Sessions(
            Sessions { pool, takes_any_protocol: false, compression: None, calls: Vec::new(), others }.into(),
        )
    }

    fn config(upstreams: &[Upstream], pools: &[SessionPool], routes: Vec<(&str, Handler, Option<Policy>)>) -> Config {
        let mut config = Config { upstreams: upstreams.into(), pools: pools.into(), ..Config::default() };
        config.listeners = [Listener { pool: Some(0), ..Listener::default() }].into();
        for (prefix, handler, policy) in routes {
            let to = Destination {
                handler: config.handlers.len(),
                otherwise: None,
                policy: policy.map(|policy| {
                    config.policies.push(policy);
                    config.policies.len() - 1
                }),
            };
            config.handlers.push(handler);
            config.routes.add(Route { host: HostPattern::Any, prefix: prefix.into(), to }).unwrap();
        }
        config
    }

    fn asks(upstream: usize) -> Option<Policy> {
        let authorize = Authorize { upstream, path: "/check".into(), copy: Arc::new([]) };
        Some(Policy { authorize: Some(authorize.into()), ..Policy::default() })
    }

    fn to(config: &Config, path: &str) -> Destination {
        config.routes.find("a", path).unwrap().to
    }

    #[test]
    fn what_is_the_same_keeps_its_number_and_the_rest_comes_behind() {
        let (a, b, b_moved) = (upstream("a", 1), upstream("b", 2), upstream("b", 3));
        let old = config(
            &[a.clone(), b.clone()],
            &[pool("p", 0, &[])],
            Vec::from([
                ("/same", proxy(0), None),
                ("/moved", proxy(1), asks(1)),
                ("/changed", Handler::Status(StatusCode::OK), None),
                ("/gone", Handler::Publish, None),
                ("/chat", sessions(0, 1), None),
            ]),
        );
        // The same in another order: `a` and `b` change their places, `b` its address.
        let new = || {
            config(
                &[b_moved.clone(), a.clone()],
                &[pool("q", 0, &[]), pool("p", 0, &["key"])],
                Vec::from([
                    ("/new", proxy(1), None),
                    ("/chat", sessions(1, 0), None),
                    ("/changed", Handler::Status(StatusCode::GONE), None),
                    ("/moved", proxy(0), asks(0)),
                    ("/same", proxy(1), None),
                ]),
            )
        };
        let next = old.succeeded_by(new()).unwrap();
        assert_eq!(to(&next, "/same"), to(&old, "/same"));
        assert_eq!(next.handlers[to(&next, "/same").handler], proxy(0));
        // The route did not change, and leads to where its upstream is now.
        assert_eq!(to(&next, "/moved"), to(&old, "/moved"));
        assert_eq!(next.handlers[to(&next, "/moved").handler], proxy(2));
        assert_eq!(next.policies[to(&next, "/moved").policy.unwrap()], asks(2).unwrap());
        assert_eq!((&next.upstreams[0], &next.upstreams[2]), (&a, &b_moved));
        assert_eq!(next.upstreams[1], Upstream { health: None, ..b.clone() });
        assert_eq!(to(&next, "/chat"), to(&old, "/chat"));
        assert_eq!(next.handlers[to(&next, "/chat").handler], sessions(0, 2));
        assert_eq!((&*next.pools[0].name, &*next.pools[0].keys), ("p", &["key".into()][..]));
        assert_eq!(next.pools[0].inactivity[0].upstream, 2);
        assert_eq!((&*next.pools[1].name, next.listeners[0].pool), ("q", Some(1)));
        // What is under way keeps what it had.
        assert_eq!(next.handlers[to(&old, "/changed").handler], Handler::Status(StatusCode::OK));
        assert_eq!(next.handlers[to(&next, "/changed").handler], Handler::Status(StatusCode::GONE));
        assert!(next.routes.find("a", "/gone").is_none());
        // Once more changes nothing but the generation.
        let again = next.succeeded_by(new()).unwrap();
        assert_eq!(Config { generation: next.generation, ..again }, next);
        // And back: what was there before is known by its name, or by all of it.
        let back = next.succeeded_by(old.clone()).unwrap();
        assert!(back.pools[1].is_stopped && !back.pools[0].is_stopped);
        assert_eq!((to(&back, "/same"), back.upstreams.len()), (to(&old, "/same"), 4));
        assert_eq!(back.upstreams[3], b);
    }

    #[test]
    fn another_policy_is_another_route() {
        let old = config(&[upstream("a", 1)], &[], Vec::from([("/", proxy(0), None)]));
        let new = config(&[upstream("a", 1)], &[], Vec::from([("/", proxy(0), asks(0))]));
        let next = old.succeeded_by(new).unwrap();
        assert_eq!(to(&next, "/"), Destination { handler: 1, otherwise: None, policy: Some(0) });
        assert_eq!(next.succeeded_by(old.clone()).unwrap().routes.find("a", "/").unwrap().to.handler, 2);
    }

    #[test]
    fn what_belongs_to_the_process_stays_and_nothing_grows_for_ever() {
        let mut old = Config::default();
        let mut new = Config { log_requests: true, ..Config::default() };
        new.limits.connections = 1;
        new.limits.subscriptions = 3;
        let next = old.succeeded_by(new).unwrap();
        assert_eq!(next.limits.connections, old.limits.connections);
        assert!(next.log_requests && next.limits.subscriptions == 3 && next.generation == 1);
        old.handlers = core::iter::repeat_n(Handler::Publish, MOST).collect();
        let new = config(&[], &[], Vec::from([("/", Handler::Publish, None)]));
        assert_eq!(old.succeeded_by(new), Err(TooManyChanges));
    }
}
