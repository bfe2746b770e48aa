//! The shards of one process, and the thread that gives them orders.

use super::wakeups::Wakeups;
use super::{MAIL, TASKS, task_slots};
use crate::config::Config;
use crate::mailbox::{self, Receiver, SendError, Sender};
use crate::rng::Seed;
use crate::shard::Mail;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// What the driver of one shard is made of; to be sent to its thread.
#[derive(Debug)]
pub struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) number: u16,
    pub(super) seed: Seed,
    pub(super) wakeups: Arc<Wakeups>,
    pub(super) inbox: Receiver<Mail>,
    pub(super) peers: Vec<Sender<Mail>>,
}

/// Gives orders to all shards, from any thread.
#[derive(Clone, Debug)]
pub struct Control(Vec<Sender<Mail>>);

/// The parts of `shards` shards (at least one) that know each other. The seed decides all randomness.
pub fn fleet(config: &Arc<Config>, seed: Seed, shards: u16) -> (Vec<Parts>, Control) {
    let connections = config.limits.connections;
    let slots = TASKS + task_slots(connections) + connections;
    let (mut inboxes, mut senders) = (Vec::new(), Vec::new());
    for _ in 0..shards.max(1) {
        let wakeups = Arc::new(Wakeups::new(slots));
        let (sender, inbox) = mailbox::channel(config.limits.mailbox_messages, wakeups.waker(MAIL));
        inboxes.push((wakeups, inbox));
        senders.push(sender);
    }
    let parts = (0..).zip(inboxes).map(|(number, (wakeups, inbox))| Parts {
        config: Arc::clone(config),
        number,
        seed,
        wakeups,
        inbox,
        peers: senders.clone(),
    });
    (parts.collect(), Control(senders))
}

impl Control {
    /// Gives all shards another configuration, made with [`Config::succeeded_by`] of the one that they have. `false` if a mailbox was
    /// full: give it to them again a little later; those who have it already do not mind.
    pub fn configure(&self, config: &Arc<Config>) -> bool {
        let mail = || Mail::Configure(Arc::clone(config));
        let told = self.0.iter().map(|shard| !matches!(shard.send(mail()), Err(SendError::Full(_))));
        told.fold(true, |all, one| all & one)
    }

    /// Tells all shards to stop accepting, to finish what is under way, and to end after `grace` at the latest. `false`
    /// if a mailbox was full: tell them again a little later; those who know already do not mind.
    pub fn shutdown(&self, grace: Duration) -> bool {
        let told = self.0.iter().map(|shard| !matches!(shard.send(Mail::Shutdown(grace)), Err(SendError::Full(_))));
        told.fold(true, |all, one| all & one)
    }
}
