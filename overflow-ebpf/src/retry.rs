//! Whether third ACKs that are taken are to be looked at: some client was refused lately, and may try
//! again. Whose SYN was dropped is remembered, since nothing in the kernel tells when it gets in.

use core::mem::offset_of;

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use overflow_common::RawEvent;

use crate::{
    atomic::{Marks, Word},
    globals::{SOCK_DADDR, SOCK_DPORT, SOCK_V6_DADDR},
    read::Memory,
};

/// What may be tried again.
#[repr(C)]
struct Pending {
    /// Set once a third ACK was dropped, a SYN, or one answered by a cookie, whose client may try again:
    /// from then on third ACKs that are taken are looked at too, for those that recover.
    any: Word,
    /// Set once a client was refused that is remembered in [`REFUSED`].
    remembered: Word,
    /// By [`bucket`] of the client: one of these, or one that shares its bucket.
    clients: Marks<BUCKETS>,
}

/// User space clears it when none of them can any more; a section of its own is a map of its own.
#[unsafe(link_section = ".data.retry_pending")]
static PENDING: Pending =
    Pending { any: Word::new(0), remembered: Word::new(0), clients: Marks::new() };

/// So many that a thousand refused clients are no reason to look at more than one healthy handshake
/// in sixty.
const BUCKETS: usize = 1 << 16;

/// Clients that were refused lately, by a hash of both ends, in rows of [`IN_A_ROW`]: where a row has no
/// place left, one of those that are there is forgotten, and nobody sees when it gets in. No map of
/// the kernel's: to put something there costs as much as all the rest of a record.
#[btf_map]
static REFUSED: Array<[u64; IN_A_ROW], 32768> = Array::new();

/// Of 20,000 clients that were refused lately, one in a million finds its row full.
const IN_A_ROW: usize = 8;
const ROWS: u64 = 32768;

/// Whether a client was refused lately, or sent a cookie.
#[inline(always)]
pub fn pending() -> bool {
    PENDING.any.load() != 0
}

/// Whether the client of this request may be one of those that were refused lately, or sent a cookie.
/// For nearly all others that is known at once, by its bucket. `v6`: it has an IPv6 address.
#[inline(always)]
pub fn may_be_client<M: Memory>(req: u64, v6: bool) -> bool {
    if !pending() {
        return false;
    }
    let address = if v6 {
        M::exact::<u32>(req + LAST_WORD as u64, &SOCK_V6_DADDR)
    } else {
        M::exact::<u32>(req, &SOCK_DADDR)
    };
    PENDING.clients.is_set(bucket(address, M::exact::<u16>(req, &SOCK_DPORT)))
}

/// Whether a client was refused lately that is remembered.
#[inline(always)]
pub fn remembered() -> bool {
    PENDING.remembered.load() != 0
}

/// The client of this segment may try again: its third ACK was dropped, or its SYN answered by a cookie.
#[inline(always)]
pub fn may_return(event: &RawEvent) {
    let at = if event.family == 6 { LAST_WORD } else { 0 };
    let client = &event.client;
    let address = u32::from_ne_bytes([client[at], client[at + 1], client[at + 2], client[at + 3]]);
    PENDING.clients.set(bucket(address.into(), event.client_port.to_be().into()));
    PENDING.any.store(1);
}

/// The client of this segment was refused, and nothing but this will tell when it gets in.
#[inline(always)]
pub fn refused(event: &RawEvent) {
    may_return(event);
    PENDING.remembered.store(1);
    let key = key(event);
    let Some(row) = row(key) else { return };
    let mut at = (key >> 1) as usize % IN_A_ROW;
    for (place, there) in row.iter().enumerate() {
        let there = there.load();
        if there == key {
            return;
        }
        if there == 0 {
            at = place;
            break;
        }
    }
    // Another CPU may take the same place at once: one of both is forgotten.
    row[at].store(key);
}

/// Whether the client of this segment was refused lately.
#[inline(always)]
pub fn was_refused(event: &RawEvent) -> bool {
    if !remembered() {
        return false;
    }
    let key = key(event);
    row(key).is_some_and(|row| row.iter().any(|there| there.load() == key))
}

/// Where the client with this number is, if it is there.
#[inline(always)]
fn row(key: u64) -> Option<&'static [Word; IN_A_ROW]> {
    // SAFETY: words that are read and written whole.
    REFUSED.get_ptr_mut((key >> 32 & (ROWS - 1)) as u32).map(|row| unsafe { &*row.cast() })
}

/// Where the last four bytes of an IPv6 address are.
const LAST_WORD: usize = 12;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The bucket of a client, by four bytes of its address and its port, as they lie in memory.
#[inline(always)]
fn bucket(address: u64, port: u64) -> usize {
    // Fibonacci hashing.
    ((address << 16 | port).wrapping_mul(GOLDEN) >> 48) as usize
}

/// A number of the connection's, another for every other but for one in 2^64.
#[inline(always)]
fn key(event: &RawEvent) -> u64 {
    const CLIENT: usize = offset_of!(RawEvent, client) / size_of::<u64>();
    // Both addresses, one after the other. By words: the compiler's own way through their bytes is
    // ten times as long.
    let words = core::ptr::from_ref(event).cast::<u64>();
    let ports = u64::from(event.client_port) << 16 | u64::from(event.server_port);
    let mut key = u64::from(event.netns) << 32 | ports;
    for at in CLIENT..CLIENT + 4 {
        // SAFETY: inside of the record, which is aligned to words.
        let word = unsafe { core::ptr::read_volatile(words.add(at)) };
        key = (key ^ word).wrapping_mul(GOLDEN);
        key ^= key >> 29;
    }
    // Nobody has 0.
    key | 1
}

const _: () = assert!(
    offset_of!(RawEvent, client) % size_of::<u64>() == 0
        && offset_of!(RawEvent, server) == offset_of!(RawEvent, client) + 16
);
