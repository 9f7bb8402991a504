//! The segments that this CPU has received and not yet handled, for the tracepoint rung. They are
//! several: a list of segments is received whole, `netif_receive_skb` for each, before the first of them
//! reaches TCP (`__netif_receive_skb_list_core` in net/core/dev.c). Every device whose driver uses GRO
//! hands lists of up to `net.core.gro_normal_batch` to the stack, 8 if nobody set it
//! (`gro_normal_list`, v5.4, commit 323ebb61e32b), and never more than it received at once. They are
//! handled in the order in which they were received.

use core::mem::offset_of;

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overflow_common::RawEvent;

use crate::{number::Number, state::PathState};

/// So many are told apart, as a device receives at once (`NAPI_POLL_WEIGHT` of
/// include/linux/netdevice.h); a power of two. Of more, the first ones are followed no longer.
const MOST: usize = 64;
/// Most segments that are freed are followed by nobody: that is seen by their bucket.
const BUCKETS: usize = 64;
/// No place.
const NONE: u32 = u32::MAX;

/// What is looked for among them: their states are too large to look through.
#[repr(C)]
pub struct Index {
    /// Address of the `struct sk_buff`; 0 where there is none.
    skbs: [u64; MOST],
    /// [`ports`] of each.
    ports: [u32; MOST],
    /// How many there are, by [`bucket`] of the address.
    buckets: [u8; BUCKETS],
    /// A bit for each that is a SYN.
    syns: u64,
    /// How many were done with: what was received before the last of them is, too.
    done: u32,
    /// How many were received.
    received: u32,
    /// Where the one is that was looked for: verifiers follow each number that they know, and take what
    /// was in a map for any.
    found: u32,
    padding: u32,
    number: Number,
}

#[btf_map]
pub static INDEX: PerCpuArray<Index, 1> = PerCpuArray::new();

#[btf_map]
pub static FOLLOWED: PerCpuArray<PathState, MOST> = PerCpuArray::new();

/// Fibonacci hashing, as structures of one slab need it.
#[inline(always)]
fn bucket(skb: u64) -> usize {
    (skb.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize & (BUCKETS - 1)
}

/// Both ports of a segment.
#[inline(always)]
fn ports(client: u16, server: u16) -> u32 {
    u32::from(client) << 16 | u32::from(server)
}

/// Where the segment is that was received after `number` others.
#[inline(always)]
fn place_of(number: u32) -> usize {
    number as usize & (MOST - 1)
}

#[inline(always)]
fn state(place: usize) -> Option<&'static mut PathState> {
    // SAFETY: as for the index.
    FOLLOWED.get_ptr_mut(place as u32 & (MOST as u32 - 1)).map(|state| unsafe { &mut *state })
}

impl Index {
    #[inline(always)]
    fn get() -> Option<&'static mut Self> {
        // SAFETY: this CPU's own. Segments are received and handled in softirqs, one after the other; a
        // process that frees one in between only looks for it.
        INDEX.get_ptr_mut(0).map(|index| unsafe { &mut *index })
    }

    /// Where `skb` is.
    #[inline(always)]
    fn find(&mut self, skb: u64) -> Option<usize> {
        if self.buckets[bucket(self.number.of(skb))] == 0 {
            return None;
        }
        // They are handled in order: nearly always it is the first that is not done with.
        let first = place_of(self.done);
        if self.skbs[first] == skb {
            return Some(first);
        }
        for place in 0..MOST {
            if self.skbs[place] == skb {
                // SAFETY: a place in a map's value; volatile so that the number is forgotten.
                return Some(unsafe {
                    core::ptr::write_volatile(&raw mut self.found, place as u32);
                    core::ptr::read_volatile(&raw const self.found) as usize & (MOST - 1)
                });
            }
        }
        None
    }

    #[inline(always)]
    fn forget(&mut self, place: usize) {
        let place = place & (MOST - 1);
        let skb = core::mem::take(&mut self.skbs[place]);
        if skb != 0 {
            // The compiler may know that it is the pointer that was looked for.
            let count = &mut self.buckets[bucket(self.number.of(skb))];
            *count = count.saturating_sub(1);
        }
        self.syns &= !(1 << place);
    }
}

/// Where to note what is known of `skb`, which was just received: it is followed once [`keep`] is told
/// so.
#[inline(always)]
pub fn place(skb: u64) -> Option<&'static mut PathState> {
    let index = Index::get()?;
    // A segment that was freed unseen may have had this address.
    if let Some(place) = index.find(skb) {
        index.forget(place);
    }
    let place = place_of(index.received);
    index.forget(place);
    let state = state(place)?;
    state.skb = 0;
    state.number = index.received.into();
    Some(state)
}

/// The segment whose state [`place`] gave is `skb`, and is followed.
#[inline(always)]
pub fn keep(state: &mut PathState, skb: u64, syn: bool) -> Option<()> {
    let index = Index::get()?;
    let place = place_of(index.received);
    let address = index.number.of(skb);
    index.skbs[place] = address;
    let count = &mut index.buckets[bucket(address)];
    *count = count.saturating_add(1);
    index.ports[place] = ports(state.event.client_port, state.event.server_port);
    index.syns |= u64::from(syn) << place;
    index.received = index.received.wrapping_add(1);
    if index.received.wrapping_sub(index.done) > MOST as u32 {
        index.done = index.received.wrapping_sub(MOST as u32);
    }
    state.skb = skb;
    Some(())
}

/// The state of `skb`, by its address alone: its headers may be gone by the time it is freed, and
/// between arrival and free the address cannot be used again.
#[inline(always)]
pub fn find(skb: u64) -> Option<&'static mut PathState> {
    if skb == 0 {
        return None;
    }
    let place = Index::get()?.find(skb)?;
    state(place).filter(|state| state.skb == skb)
}

/// Whether any SYN is followed.
#[inline(always)]
pub fn any_syn() -> bool {
    Index::get().is_some_and(|index| index.syns != 0)
}

/// The state of the first segment, of those not done with, that `event`'s client sent: of SYNs alone, or
/// of any. `reply` is whether `event` is what the server sends, so that its client is the server.
///
/// One to the same server's address goes first: what is redirected bears another there.
#[inline(always)]
pub fn first_of(event: &RawEvent, reply: bool, syn: bool) -> Option<&'static mut PathState> {
    let index = Index::get()?;
    let (client, server) = (offset_of!(RawEvent, client), offset_of!(RawEvent, server));
    let (from, to, ports) = if reply {
        (server, client, ports(event.server_port, event.client_port))
    } else {
        (client, server, ports(event.client_port, event.server_port))
    };
    let (done, waiting) = (index.done, index.received.wrapping_sub(index.done));
    index.found = NONE;
    for after in 0..MOST as u32 {
        if after >= waiting {
            break;
        }
        let place = place_of(done.wrapping_add(after));
        let is_syn = index.syns >> place & 1 != 0;
        if index.ports[place] != ports || index.skbs[place] == 0 || (syn && !is_syn) {
            continue;
        }
        let followed = state(place)?;
        if differ(&followed.event, client, event, from)
            | u32::from(followed.event.family ^ event.family)
            != 0
        {
            continue;
        }
        if differ(&followed.event, server, event, to) == 0 {
            return Some(followed);
        }
        if index.found == NONE {
            index.found = place as u32;
        }
    }
    if index.found == NONE { None } else { state(index.found as usize) }
}

/// 0 if the address at `one_at` in `one` is the one at `other_at` in `other`: without a branch, as
/// verifiers follow each.
#[inline(always)]
fn differ(one: &RawEvent, one_at: usize, other: &RawEvent, other_at: usize) -> u32 {
    let word = |event: &RawEvent, at: usize| {
        let words = core::ptr::from_ref(event).cast::<u32>();
        // SAFETY: inside of the record, which is aligned to more than that.
        unsafe { words.add(at / size_of::<u32>()).read() }
    };
    (0..4).fold(0, |bits, nth| {
        let at = nth * size_of::<u32>();
        bits | word(one, one_at + at) ^ word(other, other_at + at)
    })
}

/// This segment is done with, and so are those that were received before it. Not for one that a process
/// frees, which a softirq may interrupt: its place is taken by another soon.
#[inline(always)]
pub fn done(state: &mut PathState) {
    state.skb = 0;
    let Some(index) = Index::get() else { return };
    let number = state.number as u32;
    index.forget(place_of(number));
    if number.wrapping_sub(index.done) < MOST as u32 {
        index.done = number.wrapping_add(1);
    }
}
