//! The runtime of a simulated shard: the same traits as the real ones.

use super::knobs::{MILLISECOND, SECOND};
use super::net::{Alarm, Canary, Net, Shared};
use super::site;
use brolly_core::config::Coding;
use brolly_core::driver::{Done, Runtime, Stream, Task, Timing, Work};
use brolly_core::handler::files::{Codings, Stamp};
use brolly_core::shard::{Accepted, Access, Address, Completion, FileId, FileRange, FileRequest, IoError, Opened};
use brolly_core::time::{Instant, Now, UnixTime};
use bytes::Bytes;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What `OpenFile` reads of a file at once.
const FIRST: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct SimRuntime {
    net: Rc<Net>,
    shard: usize,
}

impl SimRuntime {
    pub(crate) fn new(net: Rc<Net>, shard: usize) -> Self {
        Self { net, shard }
    }

    fn later(&self, done: impl FnOnce(&Rc<Net>) -> Done<SimStream> + 'static) -> Task<SimStream> {
        let net = &self.net;
        let delay = if net.is_calm.get() { 0 } else { net.random.borrow_mut().below(net.knobs.delay + 1) };
        // Sometimes at once, sometimes in another turn of the same instant.
        let is_ready = delay == 0 && net.random.borrow_mut().chance(50);
        let at = net.now.get() + delay;
        Box::pin(Later { net: Rc::clone(net), at, is_armed: is_ready, done: Some(Box::new(done)) })
    }
}

impl Timing for SimRuntime {
    fn now(&self) -> Now {
        self.net.count_look();
        self.net.clocks()
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        self.net.count_look();
        let timer = &mut self.net.timers.borrow_mut()[self.shard];
        *timer = at.map(|at| (at.as_nanos(), cx.waker().clone()));
        match at {
            Some(at) if at.as_nanos() <= self.net.now.get() => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl Runtime for SimRuntime {
    type Stream = SimStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Accepted, SimStream)> {
        self.net.count_look();
        let mut listeners = self.net.listeners.borrow_mut();
        let listener = &mut listeners[self.shard];
        match listener.backlog.pop_front() {
            Some((accepted, link)) if !listener.is_closed => {
                Poll::Ready((accepted, SimStream { net: Rc::clone(&self.net), link }))
            }
            _ => {
                listener.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn stop_accepting(&mut self) {
        let backlog = {
            let listener = &mut self.net.listeners.borrow_mut()[self.shard];
            listener.is_closed = true;
            std::mem::take(&mut listener.backlog)
        };
        for (_, link) in backlog {
            drop(SimStream { net: Rc::clone(&self.net), link });
        }
    }

    fn perform(&mut self, work: Work) -> Task<SimStream> {
        self.net.count_look();
        let net = Rc::clone(&self.net);
        let knobs = &net.knobs;
        let is_broken = match &work {
            Work::Connect { to, .. } => (is_dead(to) && !net.is_calm.get()) || net.chance(knobs.connect_failures),
            Work::ListDirectory { .. }
            | Work::OpenFile { .. }
            | Work::PrefetchFile { .. }
            | Work::ReadFile { .. }
            | Work::Verify { .. } => net.chance(knobs.file_failures),
            Work::Resolve { .. } => net.chance(knobs.resolve_failures),
        };
        let error = net.random.borrow_mut().pick(&[IoError::Other, IoError::TimedOut]);
        match work {
            Work::Connect { conn, .. } if is_broken => {
                let error = net.random.borrow_mut().pick(&[IoError::ConnectionRefused, IoError::TimedOut]);
                self.later(move |_| Done::Connected(conn, Err(error)))
            }
            Work::Connect { conn, to, .. } => self.later(move |net| {
                let link = net.link(None);
                net.note(link.borrow().number << 3 | 7, []);
                net.arrivals.borrow_mut().push_back((to, Rc::clone(&link)));
                Done::Connected(conn, Ok(SimStream { net: Rc::clone(net), link }))
            }),
            Work::ListDirectory { op, .. }
            | Work::OpenFile { op, .. }
            | Work::PrefetchFile { op, .. }
            | Work::ReadFile { op, .. }
            | Work::Resolve { op, .. }
            | Work::Verify { op, .. }
                if is_broken =>
            {
                self.later(move |_| Done::Completed(op, Err(error)))
            }
            Work::ListDirectory { op, .. } => self.later(move |_| Done::Completed(op, Err(IoError::NotFound))),
            Work::OpenFile { op, file } => self.later(move |net| Done::Completed(op, open(net, &file))),
            Work::PrefetchFile { op, .. } => self.later(move |_| Done::Completed(op, Ok(Completion::Prefetched))),
            Work::ReadFile { op, file, offset, len } => self.later(move |net| {
                let files = net.files.borrow();
                let Some(content) = files.get(&file.0) else { return Done::Completed(op, Err(IoError::Other)) };
                let rest = content.get(offset as usize..).unwrap_or_default();
                // A short read is the sign of a file that has shrunk.
                let len = if net.chance(net.knobs.file_failures) { len / 3 } else { len };
                let piece = rest.get(..len as usize).unwrap_or(rest);
                Done::Completed(op, Ok(Completion::Read(Bytes::copy_from_slice(piece))))
            }),
            Work::Verify { op, user, password, .. } => {
                let is_right = user == password.0;
                self.later(move |_| Done::Completed(op, Ok(Completion::Verified(is_right))))
            }
            Work::Resolve { op, port, .. } => self.later(move |_| {
                let addresses = [1, 2].map(|last| SocketAddr::from(([10, 1, 0, last], port))).to_vec();
                Done::Completed(op, Ok(Completion::Resolved(addresses)))
            }),
        }
    }

    fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        stream: &mut SimStream,
        range: &FileRange,
    ) -> Poll<Result<u64, IoError>> {
        let content = self.net.files.borrow().get(&range.file.0).cloned().expect("an open file");
        let piece = &content[range.offset as usize..][..range.len as usize];
        assert!(!piece.is_empty(), "nothing to send");
        // A file that has shrunk.
        if self.net.chance(self.net.knobs.file_failures) {
            return Poll::Ready(Ok(0));
        }
        stream.poll_write(cx, &[piece]).map_ok(|written| written as u64)
    }

    fn close_file(&mut self, file: FileId) {
        if self.net.canary.get() != Some(Canary::LeakedFile) {
            let closed = self.net.files.borrow_mut().remove(&file.0);
            assert!(closed.is_some(), "file {} was closed twice", file.0);
        }
    }

    fn log(&mut self, _: &Access) {
        self.net.logged.set(self.net.logged.get() + 1);
    }
}

fn open(net: &Net, request: &FileRequest) -> Result<Completion, IoError> {
    if &*request.path == "dir" {
        return Ok(Completion::Directory);
    }
    let content = site::file(&request.path).ok_or(IoError::NotFound)?;
    let modified = UnixTime::from_millis(1_600_000_000_000);
    let stamp = Stamp { len: content.len() as u64, modified, identity: [0; 3] };
    if request.known == Some((Coding::Identity, stamp)) {
        return Ok(Completion::Unchanged { available: Codings::default() });
    }
    let first = Bytes::copy_from_slice(content.get(..FIRST).unwrap_or(&content));
    let file = (content.len() > FIRST).then(|| {
        let number = net.next_number();
        net.files.borrow_mut().insert(number, content);
        FileId(number)
    });
    Ok(Completion::Opened(Opened::new(file, stamp, first)))
}

type Work1 = Box<dyn FnOnce(&Rc<Net>) -> Done<SimStream>>;

/// Work that is done at some time.
struct Later {
    net: Rc<Net>,
    at: u64,
    is_armed: bool,
    done: Option<Work1>,
}

impl Future for Later {
    type Output = Done<SimStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.net.now.get() < this.at || !this.is_armed {
            this.is_armed = true;
            this.net.alarm(this.at, Alarm::Task(cx.waker().clone()));
            return Poll::Pending;
        }
        this.done.take().map_or(Poll::Pending, |done| Poll::Ready(done(&this.net)))
    }
}

/// A server that nobody has started yet.
fn is_dead(to: &Address) -> bool {
    matches!(to, Address::Tcp(SocketAddr::V4(address)) if address.ip().octets()[3] == 13)
}

/// A shard's end of a connection.
#[derive(Debug)]
pub(crate) struct SimStream {
    net: Rc<Net>,
    link: Shared,
}

impl SimStream {
    /// Whether the network lets the shard wait for nothing.
    fn is_pending(&self, cx: &Context<'_>) -> bool {
        let net = &self.net;
        if !net.chance(net.knobs.pending) {
            return false;
        }
        let delay = {
            let mut random = net.random.borrow_mut();
            match (random.chance(net.knobs.stalls), random.chance(30)) {
                (true, _) => random.below(45 * SECOND),
                (false, true) => 0,
                (false, false) => random.below(5 * MILLISECOND),
            }
        };
        net.alarm(net.now.get() + delay, Alarm::Task(cx.waker().clone()));
        true
    }
}

impl Stream for SimStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        self.net.count_look();
        if self.link.borrow().is_reset {
            return Poll::Ready(Err(IoError::ConnectionReset));
        }
        if self.is_pending(cx) {
            return Poll::Pending;
        }
        let (net, link) = (&self.net, &mut *self.link.borrow_mut());
        if link.up.bytes.is_empty() {
            if link.up.fin {
                net.note(link.number << 3, []);
                return Poll::Ready(Ok(0));
            }
            if net.canary.get() != Some(Canary::LostWakeUp) || link.number % 3 > 0 {
                link.up.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let limit = link.up.bytes.len().min(buffer.len());
        let size = if link.patience > 0 { net.knobs.reads.pick(&mut net.random.borrow_mut(), limit) } else { limit };
        link.patience = link.patience.saturating_sub(1);
        for (to, byte) in buffer.iter_mut().zip(link.up.bytes.iter()).take(size) {
            *to = *byte;
        }
        let is_repeated = net.canary.get() == Some(Canary::RepeatedRead) && net.random.borrow_mut().chance(5);
        if !is_repeated {
            link.up.bytes.drain(..size);
        }
        net.note(link.number << 3 | 1, buffer[..size].iter().copied());
        net.moved.set(net.moved.get() + size as u64);
        net.wake_peer(link);
        Poll::Ready(Ok(size))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        self.net.count_look();
        assert!(!slices.is_empty() && slices.iter().all(|slice| !slice.is_empty()), "nothing to write");
        {
            let link = self.link.borrow();
            assert!(!link.down.fin, "a write after the end of the direction");
            if link.is_reset || link.peer_gone {
                return Poll::Ready(Err(IoError::ConnectionReset));
            }
        }
        if self.is_pending(cx) {
            return Poll::Pending;
        }
        let (net, link) = (&self.net, &mut *self.link.borrow_mut());
        let capacity = net.knobs.capacity.max(if link.patience == 0 { 65_536 } else { 1 });
        let room = capacity.saturating_sub(link.down.bytes.len());
        if room == 0 {
            link.down.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let limit = room.min(total);
        let size = if link.patience > 0 { net.knobs.writes.pick(&mut net.random.borrow_mut(), limit) } else { limit };
        link.patience = link.patience.saturating_sub(1);
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).take(size);
        net.note(link.number << 3 | 2, bytes.clone());
        link.down.bytes.extend(bytes);
        if net.canary.get() == Some(Canary::LostByte) && net.random.borrow_mut().chance(5) {
            link.down.bytes.pop_back();
        }
        net.moved.set(net.moved.get() + size as u64);
        net.wake_peer(link);
        Poll::Ready(Ok(size))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        self.net.count_look();
        if self.is_pending(cx) {
            return Poll::Pending;
        }
        let link = &mut *self.link.borrow_mut();
        assert!(!link.down.fin, "a direction was ended twice");
        link.down.fin = true;
        self.net.note(link.number << 3 | 3, []);
        self.net.wake_peer(link);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let link = &mut *self.link.borrow_mut();
        link.shard_gone = true;
        link.down.fin = true;
        self.net.note(link.number << 3 | 4, []);
        self.net.wake_peer(link);
    }
}
