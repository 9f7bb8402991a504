//! Children that wait in accept queues: since when, and in whose.
//!
//! A table of one entry for each place, which a child takes and gives back by a few stores; whom
//! another's child is in the way of makes room, and goes to a map. So nothing is looked up in a map of
//! the kernel's, and nothing put there, which would cost more than all the rest, but where two children
//! of one place wait at once.

use aya_ebpf::{
    btf_maps::{Array, LruHashMap, PerCpuArray},
    macros::btf_map,
};
use overflow_common::{Loss, Waiting};

use crate::{losses, number::Number};

/// The child that was last put at a place.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Child {
    /// Address of its `struct sock`.
    sk: u64,
    /// Since the time 0 if it waits no longer.
    waiting: Waiting,
}

/// How many places there are.
const PLACES: usize = 1 << 16;

#[btf_map]
pub static WAITING: Array<Child, PLACES> = Array::new();

/// Those that had to make room, by the address of their `struct sock`. The oldest go: those of a listener
/// that was closed are never taken.
#[btf_map]
pub static CHILDREN: LruHashMap<u64, Waiting, 65536> = LruHashMap::new();

/// For [`number`] in processes.
#[btf_map]
pub static ACCEPTED: PerCpuArray<Number, 1> = PerCpuArray::new();

/// An address as a plain number, in a process. Not compared with what it was: the compiler would then
/// calculate with that. Where the kernel is preemptible, another process may come in between.
#[inline(always)]
pub fn number(address: u64) -> Option<u64> {
    // SAFETY: this CPU's own word, written and read whole.
    ACCEPTED.get_ptr_mut(0).map(|number| unsafe { (*number).of(address) })
}

#[inline(always)]
fn place(child: u64) -> Option<&'static mut Child> {
    // Fibonacci hashing.
    let place = child.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    // SAFETY: the entry stays; whoever races for it loses how long a child waited, not memory.
    WAITING.get_ptr_mut(place as u32).map(|place| unsafe { &mut *place })
}

/// `child` was put into an accept queue.
#[inline(always)]
pub fn put(child: u64, waiting: Waiting) {
    let Some(place) = place(child) else { return };
    if place.waiting.since_ns != 0 && place.sk != child {
        core::hint::cold_path();
        let Child { sk, waiting } = *place;
        if CHILDREN.insert(sk, waiting, 0).is_err() {
            losses::count(Loss::Uncounted);
        }
    }
    *place = Child { sk: child, waiting };
}

/// Takes `child` out; zeros where it is not known: it was there before the trace, or it was taken before
/// its ACK was done with.
#[inline(always)]
pub fn take(child: u64) -> Waiting {
    if let Some(place) = place(child)
        && place.sk == child
    {
        let waiting = place.waiting;
        place.waiting.since_ns = 0;
        return waiting;
    }
    // SAFETY: copied at once.
    match unsafe { CHILDREN.get(child) }.copied() {
        Some(waiting) => {
            let _ = CHILDREN.remove(child);
            waiting
        }
        None => Waiting { sk: 0, since_ns: 0 },
    }
}

/// Whether `child` waits.
#[inline(always)]
pub fn has(child: u64) -> bool {
    match place(child) {
        Some(place) if place.sk == child => place.waiting.since_ns != 0,
        // SAFETY: only whether it is there counts.
        _ => unsafe { CHILDREN.get(child) }.is_some(),
    }
}
