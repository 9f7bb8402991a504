//! The queue, where the kernel has no ring: a record is pushed, and popped by a system call of its own.
//!
//! Not perf event arrays: those want the context of each hook, have a buffer for each CPU, which user
//! space must put in order again, and say how many records were lost only in the buffer that was full.
//! A queue refuses a record that finds no room, so that its loss is counted where it happens, as the
//! ring's is.
//!
//! # Minimum kernel version
//! 4.20 (f1a2e44a3aec).

use aya_ebpf::{
    btf_maps::{PerCpuArray, Queue},
    macros::btf_map,
};
use overflow_common::{Kind, Loss, RawEvent, Rung};

use super::{begin, clear};
use crate::{arm, losses};

/// Records on their way to user space. The size is a default; user space sets it before load.
#[btf_map]
pub static EVENTS: Queue<RawEvent, 1024> = Queue::new();

/// Where a record is written that is not yet in the queue: too much for the stack beside all else.
#[btf_map]
pub static DRAFTS: PerCpuArray<RawEvent, 1> = PerCpuArray::new();

/// Sends a copy of a record. A full queue is counted.
#[inline(always)]
pub fn record(event: &RawEvent) {
    if arm::armed() {
        push(event);
    }
}

/// A record that is written in place. It must be sent or dropped.
#[must_use]
pub struct Draft(&'static mut RawEvent);

impl Draft {
    /// Room for one.
    #[inline(always)]
    pub fn begin(kind: Kind, rung: Rung) -> Option<Self> {
        let draft = DRAFTS.get_ptr_mut(0)?;
        clear(draft);
        // SAFETY: this CPU's own. Records are written in softirqs, one after the other.
        let event = unsafe { &mut *draft };
        begin(event, kind, rung);
        Some(Self(event))
    }

    /// The record.
    #[inline(always)]
    pub fn event(&mut self) -> &mut RawEvent {
        self.0
    }

    /// Sends it. A full queue is counted.
    #[inline(always)]
    pub fn send(self) {
        push(self.0);
    }

    /// Nobody asks for it.
    #[inline(always)]
    pub fn discard(self) {}
}

#[inline(always)]
fn push(event: &RawEvent) {
    if EVENTS.push(event, 0).is_err() {
        losses::count(Loss::RingFull);
    }
}
