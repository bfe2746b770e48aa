//! What shards do about each other's mail, and the end of the shard.

use super::proxy::Purpose;
use super::slot::{Exchange, Role};
use super::{Busy, ConnId, Effect, Mail, Receipt, Shard};
use crate::time::Now;
use crate::ws::CloseCode;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

const SHUTTING_DOWN: &str = "the server is shutting down";

impl Shard {
    /// Mail from another shard, or from the host.
    pub fn handle_mail(&mut self, now: Now, mail: Mail) {
        self.handle_mail_now(now, mail);
        self.work(now);
    }

    pub(super) fn send(&mut self, to: u16, mail: Mail) {
        if to == self.number {
            self.loopback.push_back(mail);
        } else {
            self.effects.push_back(Effect::Send { to, mail });
        }
    }

    pub(super) fn handle_mail_now(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Change(change) => self.handle_change(now, *change),
            Mail::Changed { conn, tag, changed } => self.handle_changed(now, conn, tag, *changed),
            Mail::Configure(config) => self.prepare(config),
            Mail::Configured(generation) => self.handle_configured(now, generation),
            Mail::Count { from, conn, tag } => {
                let counts = Box::new(self.counts());
                self.send(from, Mail::Counted { conn, tag, counts });
            }
            Mail::Counted { conn, tag, counts } => self.handle_counted(now, conn, tag, &counts),
            Mail::Deliver(message) => self.subscribers.deliver(message),
            Mail::Drained => self.drained += 1,
            Mail::Enter { from, conn, tag, client } => {
                let entered = self.enter(now, client);
                self.send(from, Mail::Entered { conn, tag, client, entered });
            }
            Mail::Entered { conn, tag, client, entered } => self.handle_entered(now, conn, (tag, client), entered),
            Mail::Exit(client) => self.exit(now, client),
            Mail::Join { from, conn, member, topic, since } => {
                let joined = self.home.join(now.instant, &topic, from, since).ok();
                self.send(from, Mail::Joined { conn, member, topic, joined });
            }
            Mail::Joined { conn, member, topic, joined } => self.handle_joined(now, conn, member, topic, joined),
            Mail::Leave { from, topic } => self.home.leave(now.instant, &topic, from),
            Mail::Publish { from, conn, tag, topic, .. } if self.is_congested => {
                self.send(from, Mail::Published { conn, tag, topic, receipt: Err(Busy) });
            }
            Mail::Publish { from, conn, tag, topic, body } => {
                let receipt = match self.home.publish(now.instant, &topic, &body) {
                    Ok(published) => {
                        let message = published.message;
                        let audience: smallvec::SmallVec<[u16; 16]> = self.home.audience(&topic).collect();
                        for shard in audience {
                            self.send(shard, Mail::Deliver(Arc::clone(&message)));
                        }
                        Ok(Receipt { position: message.position, subscribers: published.subscribers })
                    }
                    Err(_) => Err(Busy),
                };
                self.send(from, Mail::Published { conn, tag, topic, receipt });
            }
            Mail::Published { conn, tag, topic, receipt } => self.handle_published(now, conn, tag, &topic, receipt),
            Mail::Take { from, conn, client, bytes } => {
                let taken = self.take_bytes(now, client, bytes);
                self.send(from, Mail::Taken { conn, client, taken });
            }
            Mail::Taken { conn, client, taken } => self.handle_taken(now, conn, client, taken),
            Mail::Session(mail) => self.handle_session_mail(now, *mail),
            Mail::Shutdown(grace) => self.handle_shutdown(now, grace),
        }
    }

    /// Stops accepting, ends what has no end of its own, and lets the rest finish, for `grace` at most.
    pub fn handle_shutdown(&mut self, now: Now, grace: Duration) {
        let at = now.instant + grace;
        self.shutdown = Some(self.shutdown.map_or(at, |earlier| earlier.min(at)));
        for conn in self.slots.ids() {
            self.lend(conn);
            self.end_gently(now, conn);
            self.settle(now, conn);
        }
        self.work(now);
    }

    /// Whatever opens when the shutdown has begun is ended like what was open then.
    pub(super) fn end_if_shutting_down(&mut self, now: Now, conn: ConnId) {
        if self.shutdown.is_some() {
            self.end_gently(now, conn);
        }
    }

    fn end_gently(&mut self, now: Now, conn: ConnId) {
        let Self { slots, rng, timeouts, .. } = self;
        let Some(slot) = slots.get_mut(conn) else { return };
        match &mut slot.role {
            Role::Client(client) if matches!(client.purpose, Purpose::Idle | Purpose::Probe) => client.conn.abort(),
            Role::Client(_) | Role::Errand(_) | Role::Tunnel(_) => {}
            Role::Server(server) => {
                server.conn.finish();
                match server.exchange {
                    Exchange::Poll(_) => self.answer_poll(now, conn),
                    Exchange::Stream(_) => self.end_stream(now, conn, SHUTTING_DOWN),
                    Exchange::Api(_)
                    | Exchange::Entering(_)
                    | Exchange::Greeting(_)
                    | Exchange::Idle
                    | Exchange::Asking(_)
                    | Exchange::Opening(_)
                    | Exchange::Sending(_)
                    | Exchange::Proxying(_)
                    | Exchange::Publishing(_)
                    | Exchange::Published(_)
                    | Exchange::Counting(_)
                    | Exchange::Verifying(_) => {}
                }
            }
            Role::WebSocket(socket) => {
                socket.conn.close(now, timeouts, CloseCode::GOING_AWAY, SHUTTING_DOWN, || rng.next_key());
            }
        }
    }

    /// The grace time is over.
    pub(super) fn abort_all(&mut self, now: Now) {
        for conn in self.slots.ids() {
            let Some(slot) = self.slots.get_mut(conn) else { continue };
            match &mut slot.role {
                Role::Client(client) => client.conn.abort(),
                Role::Errand(_) => self.drop_errand(now, conn),
                Role::Server(server) => server.conn.abort(),
                Role::Tunnel(tunnel) => tunnel.conn.abort(),
                Role::WebSocket(socket) => socket.conn.abort(),
            }
            self.settle(now, conn);
        }
    }

    /// Tells all shards, this one too, when the last connection has gone: topics whose home is here are needed until
    /// nobody has connections any more.
    pub(super) fn say_drained(&mut self) {
        if self.shutdown.is_some() && self.slots.is_empty() && !self.has_said_drained {
            self.has_said_drained = true;
            self.drained += 1;
            for shard in (0..self.shards).filter(|shard| *shard != self.number) {
                self.effects.push_back(Effect::Send { to: shard, mail: Mail::Drained });
            }
        }
    }
}
