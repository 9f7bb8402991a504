//! The request's end: `inet_csk_reqsk_queue_drop` (net/ipv4/inet_connection_sock.c) inside a third
//! ACK's decision is part of that record; outside, and in `reqsk_timer_handler`, the request
//! expired or its listener went away.
//!
//! # Minimum kernel version
//! fentry/fexit and kprobe: 5.10. Where the kernel has a static `__inet_csk_reqsk_queue_drop` (seen
//! in 6.18), the timer does not pass through the global function,
//! so both places are watched and user space takes the first report.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use overflow_common::{Kind, Path, Rung};

use super::retransmit::request_moment;
use crate::{
    globals::{REQ_LISTENER, REQ_TIMER, SOCK_NODE_PPREV},
    maps::TIMERS,
    read,
    state::PathState,
};

fn dropped(listener: u64, req: u64, rung: Rung) {
    if let Some(state) = PathState::get()
        && state.skb != 0
        && state.event.req == req
    {
        state.mark(Path::REQSK_DROP);
        return;
    }
    request_moment(listener, req, Kind::RequestRemoved, rung, Path::REQSK_DROP);
}

/// `timer` is `&req->rsk_timer`. A request that the handler has just dropped is no longer in the
/// ehash table: its node's `pprev` is NULL. Its memory is still a request (SLAB_TYPESAFE_BY_RCU).
fn timer_done(timer: u64, rung: Rung) {
    let place = REQ_TIMER.load();
    if !place.exists() {
        return;
    }
    let req = timer - place.offset();
    if read::field(req, &SOCK_NODE_PPREV) == Some(0) {
        let listener = read::field(req, &REQ_LISTENER).unwrap_or(0);
        request_moment(listener, req, Kind::RequestRemoved, rung, Path::REQSK_TIMER);
    }
}

/// (sk, req).
#[fentry(function = "inet_csk_reqsk_queue_drop")]
pub fn fentry_reqsk_queue_drop(ctx: FEntryContext) -> u32 {
    dropped(ctx.arg(0), ctx.arg(1), Rung::Fentry);
    0
}

/// (timer) since v4.15.
#[fexit(function = "reqsk_timer_handler")]
pub fn fexit_reqsk_timer_handler(ctx: FExitContext) -> u32 {
    timer_done(ctx.arg(0), Rung::Fentry);
    0
}

#[kprobe]
pub fn kprobe_reqsk_queue_drop(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(req)) = (ctx.arg(0), ctx.arg(1)) {
        dropped(listener, req, Rung::Kprobe);
    }
    0
}

/// A kretprobe has no arguments: the timer is kept for it. Timers run one after the other on
/// their CPU.
#[kprobe]
pub fn kprobe_reqsk_timer_handler(ctx: ProbeContext) -> u32 {
    if let Some(timer) = ctx.arg::<u64>(0) {
        let _ = TIMERS.set(0, timer, 0);
    }
    0
}

#[kretprobe]
pub fn kretprobe_reqsk_timer_handler(_ctx: RetProbeContext) -> u32 {
    if let Some(timer) = TIMERS.get(0).copied()
        && timer != 0
    {
        timer_done(timer, Rung::Kprobe);
    }
    0
}
