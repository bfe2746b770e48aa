//! A WebSocket of a session pool: a backend says who it is. The 101 goes out when the answer is known, with `hello` or
//! `fatal_error` behind it: browsers hide HTTP errors, and close codes, from scripts.

use super::super::calls::{Handshake, SocketKind};
use super::super::follow::{self, Members};
use super::super::proxy::Answer;
use super::super::slot::{Exchange, Role, Slot};
use super::super::{ConnId, Shard};
use super::{Matter, Order, Place, Reply, Talk};
use crate::config::Sessions;
use crate::handler::remote::{self, Verdict};
use crate::http1::{Framing, RequestHead, StatusCode};
use crate::pubsub::Message;
use crate::session::PublicId;
use crate::time::Now;
use crate::ws::deflate::SharedFrame;
use crate::ws::{CloseCode, Opcode};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::mem;

/// The protocol's registered name.
const SUBPROTOCOL: &str = "v1.swindon-lattice+json";

/// A WebSocket that is not open yet. Its backend may already subscribe it.
#[derive(Debug)]
pub(in crate::shard) struct Greeting {
    pub(in crate::shard) pool: usize,
    /// Index into the handlers.
    handler: usize,
    handshake: Handshake,
    errand: Option<ConnId>,
    pub(in crate::shard) members: Members,
    /// What was published meanwhile.
    pub(in crate::shard) held: Vec<Held>,
    /// More than that: some of it is lost.
    pub(in crate::shard) is_overflown: bool,
    /// What is to be done once the user is known.
    pub(super) orders: Vec<(Order, Option<Reply>)>,
}

/// A message that waits for `hello` to be said.
#[derive(Debug)]
pub(in crate::shard) enum Held {
    /// On a topic that the connection follows.
    Message(Arc<Message>),
    /// To this connection alone, framed.
    Frame(Bytes),
}

impl Held {
    /// How long its frame is (bytes).
    fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.ws.len(),
            Self::Frame(frame) => frame.len(),
        }
    }
}

impl Greeting {
    /// Holds a message, so many and so many bytes at most; after one that found no room, none.
    pub(in crate::shard) fn hold(&mut self, message: Held, count: usize, bytes: usize) {
        let held: usize = self.held.iter().map(Held::len).sum();
        self.is_overflown |= self.held.len() >= count || (held > 0 && held + message.len() > bytes);
        if !self.is_overflown {
            self.held.push(message);
        }
    }
}

impl Shard {
    pub(in crate::shard) fn start_session(
        &mut self,
        now: Now,
        conn: ConnId,
        (head, framing): (&RequestHead<'_>, Framing),
        (handler, sessions): (usize, &Sessions),
    ) {
        let wanted = (&[SUBPROTOCOL][..], sessions.compression.as_ref());
        let handshake = match self.accept_websocket(conn, head, framing, wanted) {
            Ok(handshake) => handshake,
            Err(refusal) => return self.refuse_websocket(now, conn, refusal),
        };
        if head.fields.get("sec-websocket-protocol").is_none_or(<[u8]>::is_empty) && !sessions.takes_any_protocol {
            let reason = "Sec-WebSocket-Protocol is missing: v1.swindon-lattice+json is spoken here";
            return self.refuse(now, conn, StatusCode::BAD_REQUEST, reason);
        }
        let greeting = Greeting {
            pool: sessions.pool,
            handler,
            handshake,
            errand: None,
            members: Members::new(),
            held: Vec::new(),
            is_overflown: false,
            orders: Vec::new(),
        };
        if let Some(server) = self.server(conn) {
            server.exchange = Exchange::Greeting(Box::new(greeting));
        }
        let one = |name| {
            let mut values = head.fields.all(name);
            let value = values.next();
            if values.next().is_none() { Ok(value) } else { Err(StatusCode::BAD_REQUEST) }
        };
        let (Ok(cookie), Ok(authorization)) = (one("cookie"), one("authorization")) else {
            return self.open_session(now, conn, remote::fatal(400, "null"));
        };
        let id = self.public_id(conn).to_string();
        let query = head.target.query().unwrap_or_default();
        let content = remote::authorization(&id, cookie, authorization, query);
        let timeout = self.config.limits.authorize_timeout;
        let Some(pool) = self.config.pools.get(sessions.pool) else { return };
        let method = [pool.dialect.prefix(), ".authorize_connection"].concat();
        let backend = sessions.backend(&method).clone();
        let errand = self.post(now, &backend, &method, None, content, timeout, Matter::Authorize(conn));
        match (errand, self.greeting(conn)) {
            (Some(errand), Some(greeting)) => greeting.errand = Some(errand),
            (Some(_), None) => {}
            (None, _) => self.open_session(now, conn, remote::fatal(503, "null")),
        }
        // The connection is watched meanwhile, so that a client that goes is noticed.
    }

    /// The backend has answered, or has not.
    pub(super) fn handle_authorized(&mut self, now: Now, conn: ConnId, outcome: Result<Answer, StatusCode>) {
        let Some(greeting) = self.greeting(conn) else { return };
        greeting.errand = None;
        let pool = greeting.pool;
        let is_strict = self.config.pools.get(pool).is_some_and(|pool| pool.dialect.is_strict());
        let verdict = match outcome {
            Ok(answer) => {
                let is_json = !is_strict || remote::is_json(answer.content_type.as_deref());
                remote::verdict(answer.status, is_json, &answer.content)
            }
            Err(StatusCode::SERVICE_UNAVAILABLE) => remote::fatal(503, "null"),
            Err(_) => remote::fatal(500, "null"),
        };
        self.lend(conn);
        self.open_session(now, conn, verdict);
        self.settle(now, conn);
    }

    fn open_session(&mut self, now: Now, conn: ConnId, verdict: Verdict) {
        let Some(Slot { role: Role::Server(server), .. }) = self.slots.get_mut(conn) else { return };
        let greeting = match mem::replace(&mut server.exchange, Exchange::Idle) {
            Exchange::Greeting(greeting) => *greeting,
            other => return server.exchange = other,
        };
        let Greeting { pool, handler, handshake, members, held, is_overflown, orders, .. } = greeting;
        let (kind, text, code) = match verdict {
            Verdict::Hello(user, hello) => {
                let dialect = self.config.pools.get(pool).map(|pool| pool.dialect);
                let talk = Talk::new(pool, handler, user.into(), server.id, dialect);
                (SocketKind::Session(Box::new(talk)), hello, None)
            }
            Verdict::Fatal(text, code) => (SocketKind::Refused, text, Some(code)),
        };
        if !self.open_websocket(now, conn, handshake, kind) {
            return self.leave(&members);
        }
        let Self { slots, rng, timeouts, codec, framed, .. } = self;
        let Some(Slot { role: Role::WebSocket(socket), .. }) = slots.get_mut(conn) else { return };
        socket.conn.send(now, timeouts, codec, Opcode::Text, text.as_bytes(), || rng.next_key());
        if let Some(code) = code {
            socket.conn.close(now, timeouts, CloseCode::new(code), "backend_error", || rng.next_key());
            self.leave(&members);
            for (_, reply) in orders {
                self.reply(reply, super::Outcome::Done);
            }
            return;
        }
        for message in held {
            match message {
                Held::Message(message) => {
                    socket.conn.send_shared(now, timeouts, codec, follow::framed(framed, &message));
                }
                Held::Frame(frame) => socket.conn.send_shared(now, timeouts, codec, &mut SharedFrame::new(frame)),
            }
        }
        socket.members = members;
        if is_overflown {
            let reason = "more was published than could be held";
            socket.conn.close(now, timeouts, CloseCode::TRY_AGAIN_LATER, reason, || rng.next_key());
        }
        if let Some(user) = self.talk(conn).map(|talk| Arc::clone(&talk.user)) {
            let place = Place { shard: self.number, conn };
            self.order(self.home_of(&user), pool, None, Order::Connected(user, place));
        }
        for (order, reply) in orders {
            self.handle_order(now, pool, reply, order);
        }
        self.end_if_shutting_down(now, conn);
    }

    /// The client has gone before it was let in.
    pub(in crate::shard) fn abandon_greeting(&mut self, now: Now, greeting: Greeting) {
        if let Some(errand) = greeting.errand {
            self.drop_errand(now, errand);
        }
        self.leave(&greeting.members);
        for (_, reply) in greeting.orders {
            self.reply(reply, super::Outcome::Done);
        }
    }

    pub(super) fn greeting(&mut self, conn: ConnId) -> Option<&mut Greeting> {
        match &mut self.server(conn)?.exchange {
            Exchange::Greeting(greeting) => Some(greeting),
            _ => None,
        }
    }

    pub(super) fn public_id(&self, conn: ConnId) -> PublicId {
        PublicId { node: self.config.node, shard: self.number, conn: conn.to_u64() }
    }
}
