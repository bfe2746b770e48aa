//! Bounded mailboxes: the only way in which shards talk.
//!
//! The queue is `concurrent-queue`; what is added here is who wakes whom. loom checks it (`conformance/tests/loom/`).

use concurrent_queue::{ConcurrentQueue, PushError};
use core::fmt;
use core::task::Waker;

#[cfg(not(loom))]
use alloc::sync::Arc;
#[cfg(not(loom))]
use atomic_waker::AtomicWaker;
#[cfg(not(loom))]
use core::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(loom)]
use loom::future::AtomicWaker;
#[cfg(loom)]
use loom::sync::Arc;
#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};

/// A mailbox for up to `capacity` messages (at least one) whose arrivals wake `waker`.
///
/// The storage for all of them is allocated now. At the limit the sender keeps its message ([`SendError::Full`]) and must
/// hold back what produces more; [`Sender::wake_when_room`] says when to try again. Nothing is dropped.
///
/// ```
/// use brolly_core::{driver::wakeups::Wakeups, mailbox::{self, SendError}};
/// use std::sync::Arc;
///
/// let wakeups = Arc::new(Wakeups::new(8));
/// let (sender, receiver) = mailbox::channel(1, wakeups.waker(7));
/// assert_eq!(sender.send("one"), Ok(()));
/// assert_eq!(sender.send("two"), Err(SendError::Full("two")));
///
/// wakeups.take(|slot| {
///     assert_eq!(slot, 7);
///     assert_eq!(receiver.receive(), Some("one"));
///     assert_eq!(receiver.receive(), None);
/// });
/// receiver.close();
/// assert_eq!(sender.send("two"), Err(SendError::Closed("two")));
/// ```
pub fn channel<T>(capacity: usize, waker: Waker) -> (Sender<T>, Receiver<T>) {
    let mailbox = Arc::new(Mailbox {
        messages: ConcurrentQueue::bounded(capacity.max(1)),
        receiver: waker,
        waiting: ConcurrentQueue::unbounded(),
    });
    (Sender { mailbox: Arc::clone(&mailbox), room: Arc::default() }, Receiver { mailbox })
}

/// Puts messages into a mailbox. One per sending shard: clone it for the next.
pub struct Sender<T> {
    mailbox: Arc<Mailbox<T>>,
    room: Arc<Room>,
}

impl<T> Sender<T> {
    /// Delivers `message` and wakes the receiver; or gives it back, without any effect. Messages of one sender arrive in
    /// the order in which they were sent.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.mailbox.messages.push(message)?;
        self.mailbox.receiver.wake_by_ref();
        Ok(())
    }

    /// Asks for one call of `waker` when there may be room, or the mailbox was closed; replaces the one asked for before.
    ///
    /// Try [`send`](Self::send) once more *after* this: room that was made before it wakes nobody. The wake-up comes when the
    /// receiver has emptied the mailbox, so that a busy pair exchanges batches and not single messages.
    pub fn wake_when_room(&self, waker: &Waker) {
        self.room.register(waker);
        if !self.room.waiting.swap(true, Ordering::AcqRel) {
            // Cannot fail: it has no limit of its own, and this flag allows one entry for each sender.
            let _ = self.mailbox.waiting.push(Arc::clone(&self.room));
        }
        // Pairs with the fence in `notify_room`: we wrote `waiting` and will read `messages`, the receiver wrote
        // `messages` and reads `waiting`. At least one of us sees what the other wrote.
        fence(Ordering::SeqCst);
    }

    /// Whether [`send`](Self::send) refuses for good.
    pub fn is_closed(&self) -> bool {
        self.mailbox.messages.is_closed()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { mailbox: Arc::clone(&self.mailbox), room: Arc::default() }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.mailbox).finish()
    }
}

/// Takes messages out of a mailbox. Dropping it closes the mailbox and drops the messages in it.
pub struct Receiver<T> {
    mailbox: Arc<Mailbox<T>>,
}

impl<T> Receiver<T> {
    /// The oldest message. After `None`, every further message wakes the receiver; stop earlier only with the intention to
    /// come back without being woken.
    ///
    /// A message that another thread is in the middle of sending is waited for, spinning: a few instructions of that thread.
    pub fn receive(&self) -> Option<T> {
        let message = self.mailbox.messages.pop().ok();
        if message.is_none() {
            self.mailbox.notify_room();
        }
        message
    }

    /// Refuses all further messages, for good. What was accepted before is still there: [`receive`](Self::receive) until it
    /// returns `None`, and each message was either received here or given back to its sender.
    pub fn close(&self) {
        self.mailbox.messages.close();
        self.mailbox.notify_room();
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.mailbox.messages.is_closed()
    }

    /// How many messages are waiting; a moment later it may be another number.
    pub fn len(&self) -> usize {
        self.mailbox.messages.len()
    }

    /// Whether no message is waiting; a moment later one may be.
    pub fn is_empty(&self) -> bool {
        self.mailbox.messages.is_empty()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        while self.receive().is_some() {}
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.mailbox).finish()
    }
}

/// Why a message was not accepted, and the message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SendError<T> {
    /// The receiver is gone or going; this mailbox accepts nothing any more.
    Closed(T),
    /// There is no room now.
    Full(T),
}

impl<T> SendError<T> {
    /// The message that was not accepted.
    pub fn into_message(self) -> T {
        match self {
            Self::Closed(message) | Self::Full(message) => message,
        }
    }
}

impl<T> From<PushError<T>> for SendError<T> {
    fn from(error: PushError<T>) -> Self {
        match error {
            PushError::Closed(message) => Self::Closed(message),
            PushError::Full(message) => Self::Full(message),
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "the mailbox is closed",
            Self::Full(_) => "the mailbox is full",
        })
    }
}

impl<T: fmt::Debug> core::error::Error for SendError<T> {}

struct Mailbox<T> {
    messages: ConcurrentQueue<T>,
    receiver: Waker,
    /// Senders that wait for room, each at most once.
    waiting: ConcurrentQueue<Arc<Room>>,
}

impl<T> Mailbox<T> {
    /// Wakes the senders that wait, after room was made.
    fn notify_room(&self) {
        // Pairs with the fence in `wake_when_room`.
        fence(Ordering::SeqCst);
        // Only those who wait now: a sender that finds the mailbox full again waits for the next time.
        for _ in 0..self.waiting.len() {
            let Ok(room) = self.waiting.pop() else { break };
            // First the flag, so that a sender that asks from here on queues itself again. A swap and not a store: if a
            // sender found the flag still set, this acquires the waker that it registered before.
            room.waiting.swap(false, Ordering::AcqRel);
            room.waker.wake();
        }
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.messages.len(), self.messages.capacity())
    }
}

/// Where one sender waits for room.
#[derive(Default)]
struct Room {
    waiting: AtomicBool,
    waker: AtomicWaker,
}

impl Room {
    fn register(&self, waker: &Waker) {
        #[cfg(not(loom))]
        self.waker.register(waker);
        #[cfg(loom)]
        self.waker.register_by_ref(waker);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::task::Wake;
    use core::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wakes {
        fn count(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counted() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    #[test]
    fn keeps_the_order_and_wakes_only_for_what_was_accepted() {
        let (wakes, waker) = counted();
        let (sender, receiver) = channel(2, waker);
        assert_eq!([1, 2, 3].map(|n| sender.send(n)), [Ok(()), Ok(()), Err(SendError::Full(3))]);
        assert_eq!((receiver.len(), wakes.count()), (2, 2));
        assert_eq!([(); 3].map(|()| receiver.receive()), [Some(1), Some(2), None]);
        assert!(receiver.is_empty());
    }

    #[test]
    fn what_was_accepted_before_the_close_is_received_after_it() {
        let (sender, receiver) = channel(2, Waker::noop().clone());
        assert_eq!(sender.send(1), Ok(()));
        receiver.close();
        assert!(sender.is_closed() && receiver.is_closed());
        assert_eq!(sender.send(2).map_err(SendError::into_message), Err(2));
        assert_eq!([(); 2].map(|()| receiver.receive()), [Some(1), None]);
    }

    #[test]
    fn each_waiting_sender_is_woken_once_the_mailbox_is_empty_or_closed() {
        let ((one, first), (other, second)) = (counted(), counted());
        let (sender, receiver) = channel(1, Waker::noop().clone());
        let peer = sender.clone();
        for round in 1..4 {
            assert_eq!(sender.send(0), Ok(()));
            sender.wake_when_room(&first);
            sender.wake_when_room(&first);
            peer.wake_when_room(&second);
            assert_eq!(receiver.receive(), Some(0));
            assert_eq!((one.count(), other.count()), (round - 1, round - 1));
            assert_eq!(receiver.receive(), None);
            assert_eq!((one.count(), other.count()), (round, round));
        }
        peer.wake_when_room(&second);
        drop(receiver);
        assert_eq!((one.count(), other.count()), (3, 4));
    }

    #[test]
    fn a_dropped_receiver_drops_its_messages() {
        let message = Arc::new(());
        let (sender, receiver) = channel(0, Waker::noop().clone());
        assert!(sender.send(Arc::clone(&message)).is_ok());
        drop(receiver);
        assert_eq!(Arc::strong_count(&message), 1);
        assert!(matches!(sender.send(message), Err(SendError::Closed(_))));
    }
}
