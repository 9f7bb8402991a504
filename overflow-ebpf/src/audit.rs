//! What the kernel counted and no event reports: user space compares its reports with the
//! namespace's counters, and these are the difference.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overflow_common::{LeftOut, LeftOutKey, Loss, Path};

use crate::{atomic, counters::Rise, losses};

/// How often each was left out.
#[btf_map]
pub static AUDIT: HashMap<LeftOutKey, u64, 8192> = HashMap::new();

/// Something of network namespace `netns` was left out `n` times.
#[inline(never)]
pub fn left_out(netns: u32, what: LeftOut, n: u64) -> u32 {
    let key = LeftOutKey { netns, what: what as u32 };
    if AUDIT.get_ptr_mut(key).is_none() {
        // Another CPU may be first.
        let _ = AUDIT.insert(key, 0, 1);
    }
    match AUDIT.get_ptr_mut(key) {
        // SAFETY: an aligned word of a map's value, which stays while the program runs.
        Some(count) => unsafe { atomic::add(count, n) },
        None => losses::count(Loss::Uncounted),
    }
    0
}

/// A segment that is not asked for was dropped, as its path says.
#[inline(always)]
pub fn filtered(netns: u32, path: u32) {
    if path & (Path::TP_SEND_RESET | Path::SEND_RESET) != 0
        && path & (Path::COUNTED_DROP | Path::UNCOUNTED) != 0
    {
        left_out(netns, LeftOut::FilteredReset, 1);
    }
    let what = if path & (Path::COOKIE_INIT | Path::TP_SYNACK_COOKIE) != 0 {
        LeftOut::FilteredCookie
    } else if path & (Path::COUNTED_OVERFLOW | Path::UNCOUNTED) != 0 {
        LeftOut::FilteredOverflow
    } else if path & Path::COUNTED_QUEUE_FULL != 0 {
        LeftOut::FilteredQueueFull
    } else {
        LeftOut::FilteredDrop
    };
    left_out(netns, what, 1);
}

/// What the counters rose by beyond what the segment with this path accounts for: no hook saw it.
#[inline(always)]
pub fn unseen(netns: u32, rise: Rise, path: u32) {
    let own = |bits: u32| u64::from(path & bits != 0);
    let overflows = own(Path::COUNTED_OVERFLOW | Path::UNCOUNTED);
    let queue_full = own(Path::COUNTED_QUEUE_FULL);
    let drops = overflows | queue_full | own(Path::COUNTED_DROP);
    if rise.is_known() && rise.drops > drops {
        rest(netns, LeftOut::UnseenDrop, rise.drops - drops);
        rest(netns, LeftOut::UnseenOverflow, rise.overflows.wrapping_sub(overflows));
        rest(netns, LeftOut::UnseenQueueFull, rise.queue_full.wrapping_sub(queue_full));
    }
}

#[inline(always)]
fn rest(netns: u32, what: LeftOut, n: u64) {
    if n.cast_signed() > 0 {
        left_out(netns, what, n);
    }
}
