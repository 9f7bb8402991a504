//! Whether third ACKs that are taken are to be looked at: some client was refused lately, and may try
//! again. Whose SYN was dropped is remembered, since nothing in the kernel tells when it gets in.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use overflow_common::RawEvent;

use crate::atomic::Word;

/// What may be tried again.
#[repr(C)]
struct Pending {
    /// Set once a third ACK was dropped, a SYN, or one answered by a cookie, whose client may try again:
    /// from then on third ACKs that are taken are looked at too, for those that recover.
    any: Word,
    /// Set once a client was refused that is remembered in [`REFUSED`].
    remembered: Word,
}

/// User space clears it when none of them can any more; a section of its own is a map of its own.
#[unsafe(link_section = ".data.retry_pending")]
static PENDING: Pending = Pending { any: Word::new(0), remembered: Word::new(0) };

/// Clients that were refused lately, by a hash of both ends. Of more, those refused longest ago are
/// forgotten, and nobody sees when they get in.
#[btf_map]
static REFUSED: LruHashMap<u64, u8, 65536> = LruHashMap::new();

/// Whether a client was refused lately, or sent a cookie.
#[inline(always)]
pub fn pending() -> bool {
    PENDING.any.load() != 0
}

/// Whether a client was refused lately that is remembered.
#[inline(always)]
pub fn remembered() -> bool {
    PENDING.remembered.load() != 0
}

/// A third ACK was dropped, or a SYN answered by a cookie.
#[inline(always)]
pub fn set_pending() {
    PENDING.any.store(1);
}

/// The client of this segment was refused, and nothing but this will tell when it gets in.
#[inline(always)]
pub fn refused(event: &RawEvent) {
    set_pending();
    PENDING.remembered.store(1);
    let _ = REFUSED.insert(key(event), 1, 0);
}

/// Whether the client of this segment was refused lately.
#[inline(always)]
pub fn was_refused(event: &RawEvent) -> bool {
    // SAFETY: the value is a plain byte that is only ever there or not.
    remembered() && unsafe { REFUSED.get(key(event)) }.is_some()
}

/// A number of the connection's, another for every other but for one in 2^64.
#[inline(always)]
fn key(event: &RawEvent) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |bytes: &[u8; 16], at: usize| {
        let mut word = 0_u64;
        for i in 0..8 {
            word = word << 8 | u64::from(bytes[at + i]);
        }
        word
    };
    let ports = u64::from(event.client_port) << 16 | u64::from(event.server_port);
    let words = [
        word(&event.client, 0),
        word(&event.client, 8),
        word(&event.server, 0),
        word(&event.server, 8),
        u64::from(event.netns) << 32 | ports,
    ];
    let mut key = 0_u64;
    for word in words {
        key = (key ^ word).wrapping_mul(GOLDEN);
        key ^= key >> 29;
    }
    key
}
