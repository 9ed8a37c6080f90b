//! What the allocator and the scheduler count, for the benches.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with a count of octets that are in use.
pub struct Metered;

/// Octets in use.
pub fn in_use() -> usize {
    IN_USE.load(Relaxed)
}

/// Most octets that were in use since the peak was forgotten.
pub fn peak() -> usize {
    PEAK.load(Relaxed)
}

/// The peak is what is in use now.
pub fn forget_peak() {
    PEAK.store(in_use(), Relaxed);
}

/// Time that this thread has spent on a processor, in milliseconds.
pub fn cpu_millis() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is one that Linux has, and `time` is ours to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn more(octets: usize) {
    PEAK.fetch_max(IN_USE.fetch_add(octets, Relaxed) + octets, Relaxed);
}

// SAFETY: every call goes on to the system's allocator with the caller's own arguments, and
// what that gives goes back unchanged, so its guarantees are ours.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `memory` came from `System` with this `layout`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        more(size);
        // SAFETY: `memory` came from `System` with this `layout`, `size` is the caller's.
        unsafe { System.realloc(memory, layout, size) }
    }
}
