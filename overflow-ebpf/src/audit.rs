//! What the kernel counted and no event reports: user space compares its reports with the
//! namespace's counters, and these are the difference.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overflow_common::{Kind, LeftOut, LeftOutKey, Loss, Path, RawEvent};

use crate::{
    atomic,
    counters::{Counters, Rise},
    losses,
};

/// How often each was left out.
#[btf_map]
pub static AUDIT: HashMap<LeftOutKey, u64, 8192> = HashMap::new();

/// Something of network namespace `netns` was left out `n` times.
#[inline(never)]
pub fn left_out(netns: u32, what: LeftOut, n: u64) -> u32 {
    let key = LeftOutKey { netns, what: what as u32 };
    let known = AUDIT.get_ptr_mut(key).or_else(|| {
        // Another CPU may be first.
        let _ = AUDIT.insert(key, 0, 1);
        AUDIT.get_ptr_mut(key)
    });
    match known {
        // SAFETY: an aligned word of a map's value, which stays while the program runs.
        Some(count) => unsafe { atomic::add(count, n) },
        None => losses::count(Loss::Uncounted),
    }
    0
}

/// What a segment itself was counted for, where its CPU's counters had risen by more than one drop of
/// different kinds: that is what user space will say of it, from its queue.
#[inline(always)]
pub fn own(path: u32, full: bool) -> u32 {
    if path & Path::UNCOUNTED == 0 {
        path
    } else if full {
        Path::COUNTED_DROP | Path::COUNTED_OVERFLOW
    } else {
        Path::COUNTED_DROP
    }
}

/// A segment that is not asked for was dropped, as its path says.
#[inline(always)]
pub fn filtered(netns: u32, path: u32) {
    if path & (Path::TP_SEND_RESET | Path::SEND_RESET) != 0 && path & Path::COUNTED_DROP != 0 {
        left_out(netns, LeftOut::FilteredReset, 1);
    }
    dropped(netns, path);
}

#[inline(always)]
fn dropped(netns: u32, path: u32) {
    let what = if path & (Path::COOKIE_INIT | Path::TP_SYNACK_COOKIE) != 0 {
        LeftOut::FilteredCookie
    } else if path & Path::COUNTED_OVERFLOW != 0 {
        LeftOut::FilteredOverflow
    } else if path & Path::COUNTED_QUEUE_FULL != 0 {
        LeftOut::FilteredQueueFull
    } else {
        LeftOut::FilteredDrop
    };
    left_out(netns, what, 1);
}

/// A segment of a listener that is not asked for has come to its end, where every handshake is
/// followed. `fast_open`: its listener has it.
#[inline(always)]
pub fn unwanted(event: &RawEvent, fast_open: bool) {
    let RawEvent { netns, path, .. } = *event;
    if event.kind == Kind::Syn as u8 {
        if path & Path::SYN_RECV_SOCK_NULL != 0 {
            let full = path & Path::COUNTED_OVERFLOW != 0;
            let what = if full { LeftOut::FastOpenOverflow } else { LeftOut::FastOpenDrop };
            left_out(netns, what, 1);
            return;
        }
        if fast_open {
            left_out(netns, LeftOut::FilteredFastOpen, 1);
        }
    } else if path & (Path::REQSK_DROP | Path::SEND_RESET) != 0 {
        left_out(netns, LeftOut::FilteredReset, 1);
    }
    if path & (Path::COUNTED_DROP | Path::COOKIE_INIT) != 0 {
        dropped(netns, path);
    }
}

/// The counters were read: how far they rose is noted, and what of it is more than the segment with
/// this path accounts for, which no hook saw.
#[inline(always)]
pub fn compare(netns: u32, rise: Rise, path: u32) {
    if !rise.any() {
        return;
    }
    if let Some(counters) = Counters::get() {
        counters.note(netns, rise);
    }
    if !rise.is_known() {
        return;
    }
    let Rise { overflows, drops, queue_full, .. } = rise;
    let own = |bits: u32| u64::from(path & bits != 0);
    let own_overflows = own(Path::COUNTED_OVERFLOW);
    let own_queue_full = own(Path::COUNTED_QUEUE_FULL);
    let own_drops = own_overflows | own_queue_full | own(Path::COUNTED_DROP);
    if drops > own_drops {
        rest(netns, LeftOut::UnseenDrop, drops - own_drops);
        rest(netns, LeftOut::UnseenOverflow, overflows.wrapping_sub(own_overflows));
        rest(netns, LeftOut::UnseenQueueFull, queue_full.wrapping_sub(own_queue_full));
    }
}

#[inline(always)]
fn rest(netns: u32, what: LeftOut, n: u64) {
    if n.cast_signed() > 0 {
        left_out(netns, what, n);
    }
}
