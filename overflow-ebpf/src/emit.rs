//! The way out: copy a record into the ring, or count why not.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use overflow_common::{Event, Kind, Loss, Rung};

use crate::maps::{EVENTS, LOSSES};

/// Starts a record: what it is about, by which rung, when and where.
#[inline(always)]
pub fn begin(event: &mut Event, kind: Kind, rung: Rung) {
    event.kind = kind as u8;
    event.rung = rung as u8;
    // SAFETY: helpers without arguments.
    unsafe {
        event.t_ns = bpf_ktime_get_ns();
        event.cpu = bpf_get_smp_processor_id();
    }
}

/// Sends one record. A full ring is counted.
#[inline(always)]
pub fn record(event: &Event) {
    match EVENTS.reserve(0) {
        Some(mut entry) => {
            entry.write(*event);
            entry.submit(0);
        }
        None => count(Loss::RingFull),
    }
}

/// Counts one loss.
#[inline(always)]
pub fn count(loss: Loss) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: the slot is this CPU's own, and programs on one CPU do not preempt each other
        // inside one attach point; a race with another hook can lose a count, not memory safety.
        unsafe { *counter += 1 };
    }
}
