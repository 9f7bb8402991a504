//! The request's end: `inet_csk_reqsk_queue_drop` (net/ipv4/inet_connection_sock.c). Inside a third
//! ACK's decision it is part of that record; outside, the request expired or its listener went
//! away.
//!
//! # Minimum kernel version
//! fentry and kprobe: 5.10. Where the kernel has a static `__inet_csk_reqsk_queue_drop` (seen in
//! 6.18), the timer does not pass through the global function, so the timer's own end
//! (both/timer.rs) is hooked too, and user space takes the first report.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use overflow_common::{Kind, Path, Rung};

use crate::{report, state::PathState};

fn dropped(listener: u64, req: u64, rung: Rung) {
    if let Some(state) = PathState::get()
        && state.skb != 0
        && state.event.req == req
    {
        state.mark(Path::REQSK_DROP);
        return;
    }
    report::request(listener, req, Kind::RequestRemoved, rung, Path::REQSK_DROP);
}

/// (sk, req).
#[fentry(function = "inet_csk_reqsk_queue_drop")]
pub fn fentry_reqsk_queue_drop(ctx: FEntryContext) -> u32 {
    dropped(ctx.arg(0), ctx.arg(1), Rung::Fentry);
    0
}

#[kprobe]
pub fn kprobe_reqsk_queue_drop(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(req)) = (ctx.arg(0), ctx.arg(1)) {
        dropped(listener, req, Rung::Kprobe);
    }
    0
}
