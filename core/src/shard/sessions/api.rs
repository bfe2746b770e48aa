//! Requests of backends, on a listener of their pool. Answered when everybody concerned has done it: what is published after a 204 to a
//! subscription reaches the subscriber.

use super::super::answer::JSON;
use super::super::slot::Exchange;
use super::super::{ConnId, Shard};
use super::connection::text_frame;
use super::{Order, Outcome, Place, Reply};
use crate::conn::Content;
use crate::handler::pool_api::{Refusal, Request, is_topic};
use crate::handler::{login, remote};
use crate::http1::{Framing, RequestHead, StatusCode};
use crate::lattice::{Delta, Name};
use crate::pubsub::{Body, Topic};
use crate::session::{PublicId, Seen, User, is_user};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A request whose content is arriving, or that waits for others.
#[derive(Debug)]
pub(in crate::shard) struct ApiCall {
    pool: usize,
    request: Request,
    pub(in crate::shard) content: Vec<u8>,
    tag: u64,
    /// How many answers are missing.
    missing: usize,
    statuses: BTreeMap<User, Seen>,
}

/// Messages in one request. Beyond: 400.
const MESSAGES: usize = 1000;
/// Users of one shard whose statuses are told without being asked for by name. Beyond: 400.
const LISTED: usize = 10_000;

/// One of several messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    topic: String,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    connection: Option<String>,
}

#[derive(Deserialize)]
struct Farewell {
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    reason: String,
}

impl Shard {
    pub(in crate::shard) fn start_api(
        &mut self,
        now: Now,
        conn: ConnId,
        (head, framing): (&RequestHead<'_>, Framing),
        index: usize,
    ) {
        let Some(pool) = self.config.pools.get(index).filter(|pool| !pool.is_stopped) else {
            return self.refuse(now, conn, StatusCode::SERVICE_UNAVAILABLE, "this pool has been stopped");
        };
        let is_strict = pool.dialect.is_strict();
        if !pool.keys.is_empty() {
            let shown = head.fields.get("authorization").and_then(login::bearer);
            if !shown.is_some_and(|shown| pool.keys.iter().any(|key| is_same(key.as_bytes(), shown))) {
                return self.refuse_api(
                    now,
                    conn,
                    StatusCode::UNAUTHORIZED,
                    "a bearer key of this pool is needed",
                    None,
                );
            }
        }
        // RFC 9110 §9.3.7: the server as a whole, for whoever may ask for anything.
        if head.target.path() == "*" {
            return self.answer_options(now, conn);
        }
        let request = match Request::parse(head.method, head.target.path()) {
            Ok(_) if head.target.query().is_some() => Err(Refusal::Unknown),
            request => request,
        };
        let request = match request {
            Ok(request) => request,
            Err(Refusal::Unknown) => {
                return self.refuse_api(now, conn, StatusCode::NOT_FOUND, "there is no such request", None);
            }
            Err(Refusal::Reserved) => {
                return self.refuse_api(now, conn, StatusCode::FORBIDDEN, "swindon.* cannot be written", None);
            }
            Err(Refusal::Method(allow)) => {
                let reason = "this method is not allowed here";
                return self.refuse_api(now, conn, StatusCode::METHOD_NOT_ALLOWED, reason, Some(allow));
            }
        };
        if let Framing::Length(length) = framing
            && length > self.content_limit(conn)
        {
            return self.refuse_api(now, conn, StatusCode::CONTENT_TOO_LARGE, "the content is too large", None);
        }
        if request.needs_json() && is_strict && !remote::is_json(head.fields.get("content-type")) {
            let reason = "Content-Type must be application/json";
            return self.refuse_api(now, conn, StatusCode::BAD_REQUEST, reason, None);
        }
        let (content, tag) = (Vec::new(), self.next_tag());
        let call = ApiCall { pool: index, request, content, tag, missing: 0, statuses: BTreeMap::new() };
        let Self { slots, timeouts, .. } = self;
        if let Some(super::super::slot::Role::Server(server)) = slots.get_mut(conn).map(|slot| &mut slot.role) {
            server.exchange = Exchange::Api(Box::new(call));
            server.conn.send_continue(now, timeouts);
        }
        if framing == Framing::Empty {
            self.perform_api(now, conn);
        }
    }

    /// The content is complete.
    pub(in crate::shard) fn perform_api(&mut self, now: Now, conn: ConnId) {
        let Some(call) = self.api_call(conn) else { return };
        let (pool, request, tag) = (call.pool, call.request.clone(), call.tag);
        let content = core::mem::take(&mut call.content);
        if request.forbids_content() && !content.is_empty() {
            return self.refuse_api(now, conn, StatusCode::BAD_REQUEST, "there must not be content", None);
        }
        let reply = Reply { to: Place { shard: self.number, conn }, tag };
        let orders = match self.orders(pool, request, &content) {
            Ok(orders) => orders,
            Err((status, reason)) => return self.refuse_api(now, conn, status, &reason, None),
        };
        if self.is_congested {
            let reason = "too much is on its way; try again";
            return self.refuse_api(now, conn, StatusCode::SERVICE_UNAVAILABLE, reason, None);
        }
        let missing = orders.len();
        if let Some(call) = self.api_call(conn) {
            call.missing = missing;
        }
        for asked in orders {
            match asked {
                Asked::Order(shard, order) => self.order(shard, pool, Some(reply), order),
                Asked::Publish(topic, body) => self.publish(conn, tag, topic, body),
            }
        }
        if missing == 0 {
            self.answer_api(now, conn);
        }
    }

    /// What a request means, and for whom.
    fn orders(&self, pool: usize, request: Request, content: &[u8]) -> Result<Vec<Asked>, (StatusCode, String)> {
        let bad = |reason: String| (StatusCode::BAD_REQUEST, reason);
        let at = |id: &str| -> Result<Option<Place>, (StatusCode, String)> {
            match PublicId::parse(id) {
                None => Err((StatusCode::NOT_FOUND, "this is no id of a connection".into())),
                Some(id) if id.node != self.config.node => {
                    Err((StatusCode::NOT_FOUND, "this connection is one of another node".into()))
                }
                Some(id) if id.shard >= self.shards => Ok(None),
                Some(id) => Ok(Some(Place { shard: id.shard, conn: ConnId::from_u64(id.conn) })),
            }
        };
        // Nobody is told apart who has just gone from who never was.
        let to = |id: &str, order: &dyn Fn(ConnId) -> Order| -> Result<Vec<Asked>, (StatusCode, String)> {
            at(id).map(|place| place.map(|place| Asked::Order(place.shard, order(place.conn))).into_iter().collect())
        };
        let topic = |name: &str| Topic::in_pool(pool as u16, name).map_err(|error| bad(error.to_string()));
        let body = |data: &[u8]| match Body::from_content(Some(b"application/json"), data) {
            Ok(body) => Ok(body),
            Err(error) => Err(bad(error.to_string())),
        };
        let name = |name: &str| Name::new(name).ok_or((StatusCode::NOT_FOUND, "there is no such namespace".into()));
        let delta = || Delta::parse(content).map_err(|error| bad(error.to_string()));
        let users = || -> Result<Vec<User>, (StatusCode, String)> {
            let users: Vec<String> = serde_json::from_slice(content).map_err(|error| bad(error.to_string()))?;
            match users.iter().find(|user| !is_user(user)) {
                Some(user) => Err(bad(format!("{user:?} is no user"))),
                None => Ok(users.into_iter().map(Into::into).collect()),
            }
        };
        let message = |label: &str, data: &[u8]| {
            let body = body(data)?;
            let data = core::str::from_utf8(body.bytes()).unwrap_or_default();
            let text = format!("[\"message\",{{\"topic\":{}}},{data}]", Value::from(label));
            Ok::<Bytes, (StatusCode, String)>(text_frame(&text))
        };
        let farewell = || -> Result<(u16, Box<str>), (StatusCode, String)> {
            let farewell = match content {
                [] => Farewell { code: None, reason: String::new() },
                // Without this an array would pass for an object.
                content if !content.trim_ascii_start().starts_with(b"{") => {
                    return Err(bad("an object is wanted".into()));
                }
                content => serde_json::from_slice(content).map_err(|error| bad(error.to_string()))?,
            };
            let code = farewell.code.unwrap_or(1000);
            if !matches!(code, 1000 | 1001 | 1008 | 1011..=1014 | 3000..=4999) || farewell.reason.len() > 123 {
                return Err(bad(
                    "code is 1000, 1001, 1008, 1011 to 1014 or 3000 to 4999; reason has 123 bytes at most".into(),
                ));
            }
            Ok((code, farewell.reason.into()))
        };
        let home = |name: &str| self.home_of(name);
        match request {
            Request::Subscribe(id, label) => {
                let topic = topic(&label)?;
                to(&id, &|conn| Order::Subscribe(conn, topic.clone()))
            }
            Request::Unsubscribe(id, label) => {
                let topic = topic(&label)?;
                to(&id, &|conn| Order::Unsubscribe(conn, topic.clone()))
            }
            Request::Subscriptions(id) => match to(&id, &Order::Subscriptions)? {
                orders if orders.is_empty() => Err((StatusCode::NOT_FOUND, "there is no such connection".into())),
                orders => Ok(orders),
            },
            Request::Publish(label) => Ok([Asked::Publish(topic(&label)?, body(content)?)].into()),
            Request::PublishAll => {
                let messages: Vec<Item<'_>> =
                    serde_json::from_slice(content).map_err(|error| bad(error.to_string()))?;
                if messages.len() > MESSAGES {
                    return Err(bad(format!("no more than {MESSAGES} messages at a time")));
                }
                let mut asked = Vec::with_capacity(messages.len());
                for Item { topic: label, data, user, connection } in messages {
                    if !is_topic(&label) {
                        return Err(bad(format!("{label:?} is no topic")));
                    }
                    let (topic, data) = (topic(&label)?, data.get().as_bytes());
                    match (user, connection) {
                        (None, None) => asked.push(Asked::Publish(topic, body(data)?)),
                        (Some(user), None) if is_user(&user) => {
                            let frame = message(&label, data)?;
                            asked.push(Asked::Order(home(&user), Order::SendUser(user.into(), frame)));
                        }
                        (Some(user), None) => return Err(bad(format!("{user:?} is no user"))),
                        (None, Some(id)) => {
                            let frame = message(&label, data)?;
                            asked.extend(to(&id, &|conn| Order::Send(conn, frame.clone()))?);
                        }
                        (Some(_), Some(_)) => return Err(bad("a message is for a user or for a connection".into())),
                    }
                }
                Ok(asked)
            }
            Request::PublishToConnection(id, label) => {
                let frame = message(&label, content)?;
                to(&id, &|conn| Order::Send(conn, frame.clone()))
            }
            Request::PublishToUser(user, label) => {
                Ok([Asked::Order(home(&user), Order::SendUser(user.into(), message(&label, content)?))].into())
            }
            Request::Attach(id, label) => {
                let (name, delta) = (name(&label)?, delta()?);
                match at(&id)? {
                    Some(place) => Ok([Asked::Order(place.shard, Order::Attach(place.conn, name, delta))].into()),
                    None => Ok([Asked::Order(home(&label), Order::Apply(name, delta))].into()),
                }
            }
            Request::Detach(id, label) => {
                let name = name(&label)?;
                to(&id, &|conn| Order::Detach(conn, name.clone()))
            }
            Request::Update(label) => Ok([Asked::Order(home(&label), Order::Apply(name(&label)?, delta()?))].into()),
            Request::Watch(id) => {
                let users = users()?;
                to(&id, &|conn| Order::Watch(conn, users.clone()))
            }
            Request::Unwatch(id) => to(&id, &Order::Unwatch),
            Request::WatchMore(user) => {
                Ok([Asked::Order(home(&user), Order::WatchOf(user.into(), None, users()?))].into())
            }
            Request::Status => {
                let orders = self.by_home(users()?).into_iter();
                Ok(orders.map(|(home, users)| Asked::Order(home, Order::Status(users))).collect())
            }
            Request::StatusOfAll => {
                let shards = 0..self.shards;
                Ok(shards.map(|shard| Asked::Order(shard, Order::StatusOfAll(LISTED))).collect())
            }
            Request::DisconnectConnection(id) => {
                let (code, reason) = farewell()?;
                to(&id, &|conn| Order::Close(conn, code, reason.clone()))
            }
            Request::DisconnectUser(user) => {
                let (code, reason) = farewell()?;
                Ok([Asked::Order(home(&user), Order::CloseUser(user.into(), code, reason))].into())
            }
        }
    }

    /// One of those who were asked has done it.
    pub(in crate::shard) fn handle_outcome(&mut self, now: Now, conn: ConnId, tag: u64, outcome: Outcome) {
        let Some(call) = self.api_call(conn).filter(|call| call.tag == tag) else { return };
        call.missing = call.missing.saturating_sub(1);
        let is_last = call.missing == 0;
        self.lend(conn);
        match outcome {
            Outcome::Done => {}
            Outcome::Refused(status, reason) => {
                let status = StatusCode::new(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                self.refuse_api(now, conn, status, &reason, None);
                return self.settle(now, conn);
            }
            Outcome::Statuses(seen) => {
                if let Some(call) = self.api_call(conn) {
                    call.statuses.extend(seen);
                }
            }
            Outcome::Topics(topics) => {
                self.answer_json(now, conn, &Value::from(topics).to_string());
                return self.settle(now, conn);
            }
        }
        if is_last {
            self.answer_api(now, conn);
        }
        self.settle(now, conn);
    }

    fn answer_api(&mut self, now: Now, conn: ConnId) {
        let Some(call) = self.api_call(conn) else { return };
        if matches!(call.request, Request::Status | Request::StatusOfAll) {
            let statuses = call.statuses.iter().map(|(user, seen)| (user.to_string(), seen.status.as_str().into()));
            let json = Value::Object(statuses.collect()).to_string();
            return self.answer_json(now, conn, &json);
        }
        self.respond(now, conn, StatusCode::NO_CONTENT, Content::None, |_| ());
        self.finish(now, conn);
    }

    fn answer_json(&mut self, now: Now, conn: ConnId, json: &str) {
        self.respond(now, conn, StatusCode::OK, Content::Full(json.as_bytes()), |head| {
            head.lines(JSON);
        });
        self.finish(now, conn);
    }

    /// `{"error": reason}`.
    pub(in crate::shard) fn refuse_api(
        &mut self,
        now: Now,
        conn: ConnId,
        status: StatusCode,
        reason: &str,
        allow: Option<&str>,
    ) {
        if let Some(line) = self.server(conn).and_then(|server| server.line.as_mut()) {
            line.reason = Some(reason.into());
        }
        let json = format!("{{\"error\":{}}}", Value::from(reason));
        self.respond(now, conn, status, Content::Full(json.as_bytes()), |head| {
            head.lines(JSON);
            if let Some(allow) = allow {
                let _ = head.field("allow", allow.as_bytes());
            }
        });
        self.finish(now, conn);
    }

    pub(in crate::shard) fn api_call(&mut self, conn: ConnId) -> Option<&mut ApiCall> {
        match &mut self.server(conn)?.exchange {
            Exchange::Api(call) => Some(call),
            _ => None,
        }
    }
}

/// A part of what a request means.
enum Asked {
    Order(u16, Order),
    Publish(Topic, Body),
}

/// In the same time wherever they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
