//! Clocks, listeners, timers and blocking work by smol.

use crate::listener::SmolListener;
use crate::network::SmolTimer;
use crate::stream::SmolStream;
use brolly_core::driver::{Done, Runtime, Task, Timing, Work};
use brolly_core::shard::{Accepted, Access, FileId, FileRange, IoError, Notice};
use brolly_core::time::{Instant, Now};
use brolly_host::listen::Accepting;
use brolly_host::start::Equipment;
use brolly_host::timer::Deadline;
use brolly_host::transport::Transport;
use brolly_host::work::Sorted;
use std::io;
use std::task::{Context, Poll};

/// What one shard has of smol.
#[derive(Debug)]
pub(crate) struct Smol {
    accepting: Accepting<SmolListener>,
    /// Until when accepting rests.
    rest: Deadline<SmolTimer>,
    deadline: Deadline<SmolTimer>,
    equipment: Equipment,
}

impl Smol {
    /// # Panics
    /// The system has no room for another registration.
    pub(crate) fn new(mut equipment: Equipment) -> Self {
        let listeners = std::mem::take(&mut equipment.listeners).into_iter();
        let listeners = listeners.map(|(number, bound)| Ok((number, SmolListener::new(bound)?)));
        let listeners = listeners.collect::<io::Result<_>>();
        let deadline = || Deadline::new(SmolTimer::new(), equipment.clock.clone());
        Self {
            accepting: Accepting::new(listeners.unwrap_or_else(|error| panic!("cannot listen: {error}"))),
            rest: deadline(),
            deadline: deadline(),
            equipment,
        }
    }
}

impl Timing for Smol {
    fn now(&self) -> Now {
        self.equipment.clock.now()
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        at.map_or(Poll::Pending, |at| self.deadline.poll(cx, at))
    }
}

impl Runtime for Smol {
    type Stream = Transport<SmolStream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Accepted, Self::Stream)> {
        let Self { accepting, rest, equipment, .. } = self;
        let accepted = accepting.poll(
            cx,
            &equipment.clock,
            |cx, listener: &mut SmolListener| listener.poll_accept(cx),
            |cx, until| rest.poll(cx, until),
        );
        let door = &equipment.door;
        accepted.map(|(listener, (peer, stream))| {
            let local = if door.wants_local_addresses { stream.local() } else { None };
            door.accept(Accepted { listener, peer, local }, stream)
        })
    }

    fn stop_accepting(&mut self) {
        self.accepting.stop();
    }

    fn perform(&mut self, work: Work) -> Task<Self::Stream> {
        match Sorted::new(work, &self.equipment) {
            Sorted::Blocking(job) => Box::pin(async move { smol::unblock(|| job.run()).await.take() }),
            Sorted::Connect { conn, to, tls, preface } => {
                let door = self.equipment.door.clone();
                Box::pin(async move {
                    let socket = SmolStream::connect(to.clone());
                    Done::Connected(conn, door.connect(to, tls, &preface, socket).await)
                })
            }
        }
    }

    fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        stream: &mut Self::Stream,
        range: &FileRange,
    ) -> Poll<Result<u64, IoError>> {
        match stream.plain().zip(self.equipment.files.get(range.file)) {
            Some((stream, file)) => stream.poll_send_file(cx, &file, range),
            None => Poll::Ready(Err(IoError::Other)),
        }
    }

    fn close_file(&mut self, file: FileId) {
        self.equipment.files.close(file);
    }

    fn log(&mut self, access: &Access) {
        self.equipment.log.write(access);
    }

    fn notice(&mut self, notice: &Notice) {
        self.equipment.log.notice(notice);
    }
}
