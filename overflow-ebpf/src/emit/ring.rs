//! The ring: a record is reserved in it, written and submitted.
//!
//! # Minimum kernel version
//! 5.8 (457f44363a88).

use aya_ebpf::{
    btf_maps::RingBuf, helpers::bpf_ringbuf_query, macros::btf_map, maps::ring_buf::RingBufEntry,
};
use overflow_common::{Kind, Loss, RawEvent, Rung};

use super::{WORDS, begin, clear};
use crate::{arm, losses};

/// Records on their way to user space. The size is a default; user space sets it before load.
#[btf_map]
pub static EVENTS: RingBuf<RawEvent, 262_144> = RingBuf::new();

/// `BPF_RB_NO_WAKEUP` of include/uapi/linux/bpf.h.
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`.
const FORCE_WAKEUP: u64 = 2;
/// `BPF_RB_AVAIL_DATA`.
const AVAIL_DATA: u64 = 0;
/// Bytes in the ring above which its reader is woken; it looks by itself
/// twenty times a second (`LOOK_EVERY` in probe/transport.rs).
const WAKE_ABOVE: u64 = 64 << 10;

/// Sends a copy of a record. A full ring is counted.
#[inline(always)]
pub fn record(event: &RawEvent) {
    if !arm::armed() {
        return;
    }
    match EVENTS.reserve(0) {
        Some(mut entry) => {
            copy(event, entry.as_mut_ptr());
            entry.submit(wake(event.t_ns));
        }
        None => losses::count(Loss::RingFull),
    }
}

/// A record that is written in place. It must be sent or dropped.
#[must_use]
pub struct Draft(RingBufEntry<RawEvent>);

impl Draft {
    /// Room for one. A full ring is counted.
    #[inline(always)]
    pub fn begin(kind: Kind, rung: Rung) -> Option<Self> {
        let Some(mut entry) = EVENTS.reserve(0) else {
            losses::count(Loss::RingFull);
            return None;
        };
        clear(entry.as_mut_ptr());
        let mut draft = Self(entry);
        begin(draft.event(), kind, rung);
        Some(draft)
    }

    /// The record.
    #[inline(always)]
    pub fn event(&mut self) -> &mut RawEvent {
        // SAFETY: it was written when the draft was begun.
        unsafe { self.0.assume_init_mut() }
    }

    /// Sends it.
    #[inline(always)]
    pub fn send(mut self) {
        let t_ns = self.event().t_ns;
        self.0.submit(wake(t_ns));
    }

    /// Nobody asks for it.
    #[inline(always)]
    pub fn discard(self) {
        self.0.discard(NO_WAKEUP);
    }
}

/// Copies a record word by word, as [`clear`] does.
#[inline(always)]
fn copy(from: &RawEvent, to: *mut RawEvent) {
    let from = core::ptr::from_ref(from).cast::<u64>();
    for word in 0..WORDS {
        // SAFETY: inside of the records, which are aligned to words.
        unsafe {
            let value = core::ptr::read_volatile(from.add(word));
            core::ptr::write_volatile(to.cast::<u64>().add(word), value);
        }
    }
}

/// How to submit: waking the reader only if much is waiting. To wake it for each record would cost
/// more than the record; even to look costs, so one in eight looks, by the low bits of its time.
#[inline(always)]
fn wake(t_ns: u64) -> u64 {
    if t_ns >> 4 & 7 != 0 {
        return NO_WAKEUP;
    }
    // SAFETY: the map is a ring; nothing is changed.
    let waiting =
        unsafe { bpf_ringbuf_query(core::ptr::from_ref(&EVENTS).cast_mut().cast(), AVAIL_DATA) };
    if waiting > WAKE_ABOVE { FORCE_WAKEUP } else { NO_WAKEUP }
}
