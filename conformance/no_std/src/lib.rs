//! The proof that `brolly-core` needs no operating system: this library has a panic handler and an allocator of its own, of
//! which a program can have only one, so it does not build if anything below it links `std`. `tests/purity.rs` builds it.
#![no_std]

extern crate alloc;

use alloc::sync::Arc;
use brolly_core::driver::wakeups::Wakeups;
use brolly_core::mailbox;
use brolly_core::outbox::Outbox;
use brolly_core::rng::{Rng, Seed};
use brolly_core::shard::wheel::Wheel;
use brolly_core::time::Instant;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

const HEAP: usize = 1 << 20;

/// Gives memory out once.
struct Bump {
    heap: UnsafeCell<[u8; HEAP]>,
    used: AtomicUsize,
}

// SAFETY: `heap` is only reached through the ranges that `alloc` gives out, and no two of them overlap.
unsafe impl Sync for Bump {}

// SAFETY: `used` only grows, so each range is given out once; it is in bounds and aligned, or null is returned.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.heap.get().cast::<u8>();
        let mut offset = 0;
        let claimed = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            offset = used + start.wrapping_add(used).align_offset(layout.align());
            offset.checked_add(layout.size()).filter(|end| *end <= HEAP)
        });
        if claimed.is_ok() { start.wrapping_add(offset) } else { ptr::null_mut() }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { heap: UnsafeCell::new([0; HEAP]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Uses the core as a firmware would; 1 if it did what it should.
#[unsafe(no_mangle)]
pub extern "C" fn brolly_no_std_main(now: u64) -> u8 {
    let now = Instant::from_nanos(now);
    let mut wheel = Wheel::new();
    wheel.insert(now, 5u32);

    let wakeups = Arc::new(Wakeups::new(8));
    let (sender, receiver) = mailbox::channel(2, wakeups.waker(3));
    let sent = sender.send(Rng::new(Seed([7; 32]), 0).next_uuid()).is_ok();

    let mut outbox = Outbox::new();
    wakeups.take(|_| {
        while let Some(uuid) = receiver.receive() {
            outbox.extend(uuid.as_bytes());
        }
    });
    let fired = wheel.poll_timeout().and_then(|wake| wheel.pop_due(wake));
    u8::from(sent && fired == Some((now, 5)) && outbox.len() == 16)
}
