//! Another configuration takes the place of the one before, while connections go on.
//!
//! Shards write to each other about policies, pools and so on by number. So each first gets to know what is new, tells all others, and
//! uses it once all have said the same: no mail is about something that its reader does not know.
//!
//! | what goes on | if its route is the same | if not |
//! |---|---|---|
//! | a request with an end | is finished as it began | likewise |
//! | an event stream | goes on | `brolly.end`, with the reason |
//! | a long-poll that waits | goes on | the answer, with what there is |
//! | a WebSocket that ends here | goes on; its calls go to backends as they are now | close code 1012; 4001 if its pool has gone |
//! | a WebSocket that is being authorised | goes on | 503 |
//! | a switch of protocols that a backend has not answered yet | goes on | 503 instead of its 101; any other answer is finished |
//! | a tunnel | goes on | the end of the connection |

use super::authorize::End;
use super::calls::SocketKind;
use super::slot::{Exchange, Role, Slot};
use super::{ConnId, Mail, Shard, proxy, sessions};
use crate::config::Config;
use crate::http1::StatusCode;
use crate::time::{Instant, Now};
use crate::ws::CloseCode;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

pub(super) const CHANGED: &str = "the configuration has changed";
/// Of the codes for applications (RFC 6455 §7.4.2), as Swindon documents it.
const STOPPED: End = End { code: CloseCode::new(4001), reason: "session_pool_stopped" };
const RESTART: End = End { code: CloseCode::RESTART, reason: CHANGED };

/// The configuration that comes next.
#[derive(Debug, Default)]
pub(super) struct Next {
    config: Option<Arc<Config>>,
    /// The latest generation that this shard knows.
    prepared: u64,
    /// How many shards have each generation.
    known: BTreeMap<u64, u16>,
}

impl Shard {
    /// Gets to know what is new in a configuration, and says so.
    pub(super) fn prepare(&mut self, config: Arc<Config>) {
        if config.generation <= self.next.prepared {
            return;
        }
        self.next.prepared = config.generation;
        self.upstreams.extend(config.upstreams.iter().skip(self.upstreams.len()).map(proxy::state));
        self.pools.extend(config.pools.iter().skip(self.pools.len()).map(sessions::Pool::new));
        let generation = config.generation;
        self.next.config = Some(config);
        for shard in 0..self.shards {
            self.send(shard, Mail::Configured(generation));
        }
    }

    /// A shard knows what is new.
    pub(super) fn handle_configured(&mut self, now: Now, generation: u64) {
        let known = self.next.known.entry(generation).or_default();
        *known += 1;
        if *known < self.shards {
            return;
        }
        self.next.known.retain(|other, _| *other > generation);
        if let Some(config) = self.next.config.take_if(|config| config.generation == generation) {
            self.adopt(now, &config);
        }
    }

    fn adopt(&mut self, now: Now, config: &Arc<Config>) {
        (self.timeouts, self.http) = (config.limits.timeouts(), config.limits.http);
        self.home.set_limits(config.limits.pubsub);
        for (pool, configured) in self.pools.iter_mut().zip(&config.pools) {
            pool.adopt(configured);
        }
        // Names that were not looked up yet, servers that were not asked yet.
        self.upkeep = config.upstreams.iter().any(|of| of.health.is_some()).then(Instant::default);
        self.config = Arc::clone(config);
        let routes = config.routes.iter().flat_map(|route| [Some(route.to.handler), route.to.otherwise]);
        let current: BTreeSet<_> = routes.flatten().filter_map(|handler| u32::try_from(handler).ok()).collect();
        for conn in self.slots.ids() {
            let is_past = |slot: &Slot| slot.handler != u32::MAX && !current.contains(&slot.handler);
            if self.slots.get(conn).is_some_and(is_past) {
                self.lend(conn);
                self.end_past(now, conn);
                self.settle(now, conn);
            }
        }
    }

    /// The route of a connection is not there any more, or another one.
    fn end_past(&mut self, now: Now, conn: ConnId) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let end = match &mut slot.role {
            Role::WebSocket(socket) => match &socket.kind {
                SocketKind::Session(talk) if self.config.pools.get(talk.pool).is_none_or(|pool| pool.is_stopped) => {
                    STOPPED
                }
                _ => RESTART,
            },
            Role::Server(server) => match &mut server.exchange {
                Exchange::Greeting(_) => return self.refuse(now, conn, StatusCode::SERVICE_UNAVAILABLE, CHANGED),
                Exchange::Poll(_) | Exchange::Stream(_) => RESTART,
                Exchange::Proxying(call) => return call.is_past = true,
                // They end by themselves, or find their route anew.
                _ => return,
            },
            Role::Tunnel(_) => RESTART,
            Role::Client(_) | Role::Errand(_) => return,
        };
        self.end_ongoing(now, conn, &end);
    }
}
