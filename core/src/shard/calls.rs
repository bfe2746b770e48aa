//! WebSockets: the opening handshake, the echo, calls.

use super::follow::Members;
use super::relay::Relay;
use super::sessions::Talk;
use super::slot::{Exchange, Role, Slot};
use super::{Busy, ConnId, Receipt, Shard};
use crate::config::{Compression, Handler};
use crate::conn::{WebSocketConn, WebSocketEvent, into_bytes};
use crate::handler::call::{self, Call, Refused, Request};
use crate::handler::follow::{Since, Topics, Wanted, write_recovery};
use crate::handler::origin::write_id;
use crate::handler::websocket::{accept, may_open};
use crate::http1::{FieldLines, Framing, RequestHead, StatusCode};
use crate::pubsub::{Body, Joined, MemberId, Message, Positions, Topic};
use crate::time::Now;
use crate::ws::deflate::{self, Extension};
use crate::ws::{CloseCode, Opcode, Role as Side, handshake};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use smallvec::SmallVec;

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) conn: WebSocketConn,
    pub(super) members: Members,
    pub(super) kind: SocketKind,
    /// What is not answered yet. No memory while there is nothing.
    pub(super) joins: Vec<Joining>,
    /// Publish calls that are not answered yet: the tag, and the meta object of the call.
    pub(super) publishes: Vec<(u64, Box<str>)>,
}

/// What the answer to an opening handshake says.
#[derive(Debug)]
pub(super) struct Handshake {
    accept: [u8; 28],
    pub(super) subprotocol: Option<Box<str>>,
    /// What was agreed on, and how that is said.
    extension: Option<(Extension, String)>,
}

/// What a WebSocket is for.
#[derive(Debug)]
pub(super) enum SocketKind {
    Calls,
    Echo,
    /// Nothing: it is told why, and closed.
    Refused,
    /// It ends here, and its messages go to a backend or come from one.
    Relay(Relay),
    Session(Box<Talk>),
}

/// A WebSocket's subscriptions that are not answered yet: the answer comes first, then the messages.
#[derive(Debug)]
pub(super) struct Joining {
    /// The meta object of the call; none for the greeting.
    pub(super) meta: Option<Box<str>>,
    pub(super) members: Members,
    /// Those of them whose home has not answered.
    pub(super) waiting: Members,
    pub(super) since: Since,
    pub(super) starts: Positions,
    pub(super) recovery: Vec<u8>,
    pub(super) held: Vec<Arc<Message>>,
}

impl Shard {
    pub(super) fn start_websocket(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        framing: Framing,
        handler: &Handler,
    ) {
        let (subprotocols, compression): (SmallVec<[&str; 4]>, _) = match handler {
            Handler::WebSocket(settings) => {
                (settings.subprotocols.iter().map(|name| &**name).collect(), settings.compression)
            }
            Handler::Echo(compression) => (SmallVec::new(), *compression),
            _ => (SmallVec::new(), None),
        };
        let handshake = match self.accept_websocket(conn, head, framing, (&subprotocols, compression.as_ref())) {
            Ok(handshake) => handshake,
            Err(refusal) => return self.refuse_websocket(now, conn, refusal),
        };
        let wanted = match Wanted::parse(
            head.target.query().unwrap_or_default(),
            &head.fields,
            self.config.limits.subscriptions,
        ) {
            Ok(wanted) => wanted,
            Err(reason) => return self.refuse(now, conn, StatusCode::BAD_REQUEST, &reason),
        };
        let is_echo = matches!(handler, Handler::Echo(_));
        let kind = if is_echo { SocketKind::Echo } else { SocketKind::Calls };
        if self.open_websocket(now, conn, handshake, kind) && !is_echo {
            self.join_socket(now, conn, None, &wanted.topics, wanted.since);
        }
        self.end_if_shutting_down(now, conn);
    }

    /// Switches protocols; says whether it has.
    pub(super) fn open_websocket(&mut self, now: Now, conn: ConnId, handshake: Handshake, kind: SocketKind) -> bool {
        let Handshake { accept, subprotocol, extension } = handshake;
        let (extension, answer) = extension.unzip();
        let Self { slots, timeouts, config, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return false };
        let (Role::Server(server), listener) = (&mut slot.role, slot.listener) else { return false };
        let switched = server.conn.switch_protocols(now, timeouts, |head| {
            head.lines(FieldLines::new("connection: upgrade\r\nupgrade: websocket\r\n"));
            write_id(server.id, head.field("sec-websocket-accept", &accept)?)?;
            if let Some(answer) = &answer {
                head.field("sec-websocket-extensions", answer.as_bytes())?;
            }
            if let Some(subprotocol) = &subprotocol {
                head.field("sec-websocket-protocol", subprotocol.as_bytes())?;
            }
            server.shape.apply(config, listener, head);
            Ok(())
        });
        if switched.is_err() {
            server.conn.abort();
            return false;
        }
        if let Some(line) = &mut server.line {
            line.status = 101;
        }
        let out = core::mem::take(server.conn.outbox());
        server.exchange = Exchange::Idle;
        self.keep_grant(conn);
        self.finish(now, conn);
        let limits = self.config.limits.websocket;
        let socket = Socket {
            conn: WebSocketConn::new(now, Side::Server, limits, &self.timeouts, out).with_extension(extension),
            members: Members::new(),
            kind,
            joins: Vec::new(),
            publishes: Vec::new(),
        };
        if let Some(slot) = self.slots.get_mut(conn) {
            slot.role = Role::WebSocket(socket);
        }
        true
    }

    /// The server's side of the opening handshake, with what the route says about origins.
    pub(super) fn accept_websocket(
        &self,
        conn: ConnId,
        head: &RequestHead<'_>,
        framing: Framing,
        (subprotocols, compression): (&[&str], Option<&Compression>),
    ) -> Result<Handshake, handshake::Refusal> {
        let accepted = accept(head, framing, subprotocols)?;
        let offers = head.fields.all("sec-websocket-extensions");
        let agreed = compression.and_then(|settings| Some((settings, deflate::accept(offers, settings)?)));
        let handshake = Handshake {
            accept: accepted.accept,
            subprotocol: accepted.subprotocol.map(Into::into),
            extension: agreed.map(|(settings, (agreed, answer))| (Extension::new(agreed, settings), answer)),
        };
        let Some(Slot { role: Role::Server(server), .. }) = self.slots.get(conn) else { return Ok(handshake) };
        let is_page = head.fields.get("origin").is_some();
        if is_page && !may_open(&head.fields, self.asked_host(conn, head), server.shape.cors(&self.config)) {
            return Err(handshake::Refusal::Origin);
        }
        Ok(handshake)
    }

    pub(super) fn refuse_websocket(&mut self, now: Now, conn: ConnId, refusal: handshake::Refusal) {
        let status = StatusCode::new(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
        self.refuse_with(now, conn, status, &refusal.to_string(), |head| {
            if let Some(version) = refusal.version() {
                head.lines(FieldLines::new("upgrade: websocket\r\nconnection: upgrade\r\n"));
                let _ = head.field("sec-websocket-version", version.as_bytes());
            }
        });
    }

    pub(super) fn handle_websocket_event(&mut self, now: Now, conn: ConnId, event: WebSocketEvent<'_>) {
        let Self { slots, timeouts, rng, codec, .. } = self;
        let Some(Role::WebSocket(socket)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        match (event, &socket.kind) {
            (event, SocketKind::Relay(relay)) => {
                let relay = *relay;
                self.handle_relay_event(now, conn, relay, event);
            }
            (WebSocketEvent::Text(text), SocketKind::Echo) => {
                socket.conn.send(now, timeouts, codec, Opcode::Text, into_bytes(text), || rng.next_key());
            }
            (WebSocketEvent::Binary(data), SocketKind::Echo) => {
                socket.conn.send(now, timeouts, codec, Opcode::Binary, data, || rng.next_key());
            }
            (WebSocketEvent::Text(text), SocketKind::Calls) => self.handle_call(now, conn, &text),
            (WebSocketEvent::Binary(data), SocketKind::Calls) => match core::str::from_utf8(&data) {
                Ok(text) => self.handle_call(now, conn, &Cow::Borrowed(text)),
                Err(_) => self.send_text(now, conn, &call::refused("{}", "a call is JSON").0),
            },
            (WebSocketEvent::Text(text), SocketKind::Session(_)) => self.handle_remote_call(now, conn, &text),
            (WebSocketEvent::Binary(_), SocketKind::Session(_)) => {
                let reason = "calls are text";
                socket.conn.close(now, timeouts, CloseCode::UNSUPPORTED, reason, || rng.next_key());
            }
            (WebSocketEvent::Text(_) | WebSocketEvent::Binary(_), SocketKind::Refused) => {}
            // Messages are asked for whole.
            (WebSocketEvent::Piece { .. }, _) => {}
            (WebSocketEvent::Closed(_) | WebSocketEvent::Failed(_), _) => {
                let members = core::mem::take(&mut socket.members);
                socket.joins = Vec::new();
                let kind = core::mem::replace(&mut socket.kind, SocketKind::Refused);
                self.leave(&members);
                if let SocketKind::Session(talk) = kind {
                    self.end_talk(now, conn, *talk);
                }
            }
        }
    }

    fn handle_call(&mut self, now: Now, conn: ConnId, text: &str) {
        let limit = self.config.limits.subscriptions;
        let Call { meta, request } = match Call::parse(text) {
            Ok(call) => call,
            Err(Refused(error)) => return self.send_text(now, conn, &error),
        };
        let refusal = match request {
            Request::Subscribe(names, position) => match topics(&names) {
                Err(reason) => reason,
                Ok(topics) => {
                    let Some(socket) = self.socket(conn) else { return };
                    if socket.members.len() + topics.len() > limit {
                        alloc::format!("no more than {limit} topics at a time")
                    } else {
                        let since = Since::parse(position.as_bytes());
                        return self.join_socket(now, conn, Some(meta), &topics, since);
                    }
                }
            },
            Request::Unsubscribe(names) => match topics(&names) {
                Err(reason) => reason,
                Ok(topics) => {
                    self.leave_topics(conn, &topics);
                    // A subscription to nothing else has nothing to wait for.
                    self.answer_joining(now, conn);
                    return self.send_text(now, conn, &call::result(&meta, "{}"));
                }
            },
            Request::Publish(name, data) => match Topic::new(&name) {
                Err(error) => error.to_string(),
                Ok(topic) => {
                    let tag = self.next_tag();
                    let limit = self.config.limits.calls;
                    let Some(socket) = self.socket(conn) else { return };
                    if socket.publishes.len() < limit {
                        socket.publishes.push((tag, meta));
                        return self.publish(conn, tag, topic, Body::Json(Bytes::copy_from_slice(data.as_bytes())));
                    }
                    alloc::format!("no more than {limit} calls at a time")
                }
            },
        };
        self.send_text(now, conn, &call::refused(&meta, &refusal).0);
    }

    /// Subscribes; the greeting (no meta) or the result follows when all homes have answered. A topic that is followed
    /// already is followed anew, from the new position.
    fn join_socket(&mut self, now: Now, conn: ConnId, meta: Option<Box<str>>, topics: &[Topic], since: Since) {
        self.leave_topics(conn, topics);
        let members = self.follow(conn, topics, &since);
        let Some(socket) = self.socket(conn) else { return };
        socket.members.extend_from_slice(&members);
        let waiting = members.clone();
        let (starts, recovery, held) = (Positions::new(), Vec::new(), Vec::new());
        socket.joins.push(Joining { meta, members, waiting, since, starts, recovery, held });
        // Also those whose last topic has just been left.
        self.answer_joining(now, conn);
    }

    fn leave_topics(&mut self, conn: ConnId, topics: &[Topic]) {
        let Self { slots, subscribers, .. } = self;
        let Some(Role::WebSocket(socket)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        let mut left = Members::new();
        socket.members.retain(|member| {
            let is_one = subscribers.topic(*member).is_some_and(|topic| topics.contains(topic));
            if is_one {
                left.push(*member);
            }
            !is_one
        });
        // Whoever waits for one of them waits no longer: the home's answer will find it gone.
        for joining in &mut socket.joins {
            joining.members.retain(|member| !left.contains(member));
            joining.waiting.retain(|member| !left.contains(member));
            joining.held.retain(|message| !topics.contains(&message.topic));
        }
        self.leave(&left);
    }

    pub(super) fn joined_socket(
        &mut self,
        now: Now,
        conn: ConnId,
        member: MemberId,
        topic: &Topic,
        joined: Option<Joined>,
    ) {
        let Some(Role::WebSocket(socket)) = self.slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
        let Some(joining) = socket.joins.iter_mut().find(|joining| joining.members.contains(&member)) else { return };
        joining.waiting.retain(|of| *of != member);
        let is_last = joining.waiting.is_empty();
        match joined {
            Some(joined) => {
                let recovery = joining.since.recovery(&joined);
                if let Some(recovery) = recovery {
                    if !joining.recovery.is_empty() {
                        joining.recovery.push(b',');
                    }
                    write_recovery(topic, recovery, &mut joining.recovery);
                }
                // The answer comes before the messages that were missed: its position must be before them too.
                let _ = joining.starts.push(topic, joined.start());
                joining.held.extend(joined.missed);
                self.subscribers.joined(member, joined.position);
            }
            None => {
                joining.members.retain(|of| *of != member);
                socket.members.retain(|of| *of != member);
                self.subscribers.unsubscribe(member);
            }
        }
        if is_last {
            self.answer_joining(now, conn);
        }
    }

    /// Answers the subscriptions that have been answered by all homes.
    pub(super) fn answer_joining(&mut self, now: Now, conn: ConnId) {
        while let Some(socket) = self.socket(conn)
            && let Some(index) = socket.joins.iter().position(|joining| joining.waiting.is_empty())
        {
            let joining = socket.joins.remove(index);
            if socket.joins.is_empty() {
                socket.joins = Vec::new();
            }
            let recovery = match joining.since.is_resume() {
                true => ["[", &String::from_utf8_lossy(&joining.recovery), "]"].concat(),
                false => "null".into(),
            };
            let data = alloc::format!("{{\"position\":\"{}\",\"recovery\":{recovery}}}", joining.starts);
            let text = match &joining.meta {
                Some(meta) => call::result(meta, &data),
                None => ["[\"hello\",{},", &data, "]"].concat(),
            };
            self.send_text(now, conn, &text);
            let Self { slots, timeouts, codec, framed, .. } = self;
            let Some(Role::WebSocket(socket)) = slots.get_mut(conn).map(|slot| &mut slot.role) else { return };
            for message in &joining.held {
                socket.conn.send_shared(now, timeouts, codec, super::follow::framed(framed, message));
            }
        }
    }

    pub(super) fn answer_publish_call(
        &mut self,
        now: Now,
        conn: ConnId,
        tag: u64,
        topic: &Topic,
        receipt: Result<Receipt, Busy>,
    ) {
        let Some(socket) = self.socket(conn) else { return };
        let Some(index) = socket.publishes.iter().position(|(of, _)| *of == tag) else { return };
        let (_, meta) = socket.publishes.swap_remove(index);
        let answer = match receipt {
            Ok(receipt) => {
                let receipt = super::publish::receipt_json(topic, receipt);
                call::result(&meta, &String::from_utf8_lossy(&receipt))
            }
            Err(Busy) => call::error(&meta, "busy", "too much is on its way; try again").0,
        };
        self.send_text(now, conn, &answer);
    }

    pub(super) fn send_text(&mut self, now: Now, conn: ConnId, text: &str) {
        let Self { slots, timeouts, rng, codec, .. } = self;
        if let Some(Role::WebSocket(socket)) = slots.get_mut(conn).map(|slot| &mut slot.role) {
            socket.conn.send(now, timeouts, codec, Opcode::Text, text.as_bytes(), || rng.next_key());
        }
    }

    fn socket(&mut self, conn: ConnId) -> Option<&mut Socket> {
        match &mut self.slots.get_mut(conn)?.role {
            Role::WebSocket(socket) => Some(socket),
            Role::Client(_) | Role::Errand(_) | Role::Server(_) | Role::Tunnel(_) => None,
        }
    }
}

/// Topics by name, each once.
fn topics(names: &[String]) -> Result<Topics, String> {
    let mut topics = Topics::new();
    for name in names {
        let topic = Topic::new(name).map_err(|error| alloc::format!("{name:?}: {error}"))?;
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    Ok(topics)
}
