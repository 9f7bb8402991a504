//! The way out: hand a record over, or count why not. Each object has one way: the ring, or the queue of
//! kernels that have no ring.

#[cfg(not(feature = "ring"))]
mod queue;
#[cfg(feature = "ring")]
mod ring;

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use overflow_common::{Kind, RawEvent, Rung};

#[cfg(not(feature = "ring"))]
pub use queue::{Draft, record};
#[cfg(feature = "ring")]
pub use ring::{Draft, record};

/// Starts a record: what it is about, by which rung, when and where.
#[inline(always)]
pub fn begin(event: &mut RawEvent, kind: Kind, rung: Rung) {
    event.kind = kind as u8;
    event.rung = rung as u8;
    stamp(event);
}

/// When and where.
#[inline(always)]
pub fn stamp(event: &mut RawEvent) {
    // SAFETY: helpers without arguments.
    unsafe {
        event.t_ns = bpf_ktime_get_ns();
        event.cpu = bpf_get_smp_processor_id();
    }
}

/// What a record consists of.
const WORDS: usize = size_of::<RawEvent>() / size_of::<u64>();

/// Makes a record empty: all zeros, as [`RawEvent::EMPTY`]. Word by word: the compiler's own copies of
/// this length are loops over bytes, at ten times the cost of all the rest.
#[inline(always)]
pub fn clear(to: *mut RawEvent) {
    for word in 0..WORDS {
        // SAFETY: inside of the record, which is aligned to words. Volatile, or the compiler makes
        // a loop over bytes of it again.
        unsafe { core::ptr::write_volatile(to.cast::<u64>().add(word), 0) };
    }
}

/// An empty record at `place`.
#[inline(always)]
pub fn blank(place: &mut MaybeUninit<RawEvent>) -> &mut RawEvent {
    clear(place.as_mut_ptr());
    // SAFETY: it was just written.
    unsafe { place.assume_init_mut() }
}
