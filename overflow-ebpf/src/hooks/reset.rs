//! The RST: `tcp_v4_send_reset` / `tcp_v6_send_reset` answer a segment. Inside a third ACK's
//! decision it is part of that record (`tcp_abort_on_overflow=1`); elsewhere it is a record of its
//! own: a late segment met nothing but the listener.
//!
//! # Minimum kernel version
//! fentry and kprobe: 5.10.

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use overflow_common::{Event, Kind, Path, Rung, Slot, valid};

use crate::{
    filter,
    globals::SEND_RESET_REASON,
    read,
    segment::{self, At},
    sock,
    state::{self, PathState},
};

/// `sk` is the listener, the socket the segment belongs to, or 0; `reason` may be
/// [`read::NO_REASON`].
#[inline(always)]
pub fn send_reset(sk: u64, skb: u64, reason: u64, bit: u32, rung: Rung) {
    if let Some(state) = PathState::following(skb) {
        state.mark(bit);
        with_reason(&mut state.event, reason);
        // tcp_check_req is still to return; after the other two nobody else ends the record.
        if state.has(Path::CHECK_REQ_LISTENER | Path::COOKIE_CHECK_LISTENER) {
            state.finish();
        }
        return;
    }
    let Some(state) = PathState::get() else { return };
    state.reset(Kind::Reset, rung);
    if segment::parse(skb, At::NetworkHeader, &mut state.event).is_none() {
        return;
    }
    let netns = if sk == 0 { segment::netns(skb) } else { sock::netns(sk) };
    let Some(netns) = netns else { return };
    if !filter::wants(state.event.server_port, netns) || !filter::wants_segment(&state.event) {
        return;
    }
    state.event.netns = netns;
    if sk != 0 {
        state.event.sk = sk;
        state.event.sk_state = sock::state(sk);
    }
    state.mark(bit);
    with_reason(&mut state.event, reason);
    state.finish();
}

/// Notes why the RST is sent, if the kernel says so.
#[inline(always)]
pub fn with_reason(event: &mut Event, reason: u64) {
    if reason != read::NO_REASON {
        event.reset_reason = reason as u32;
        event.valid |= valid::RESET_REASON;
    }
}

/// (sk, skb), since v6.10 (and some older distribution kernels) with a reason.
#[fentry(function = "tcp_v4_send_reset")]
pub fn fentry_tcp_v4_send_reset(ctx: FEntryContext) -> u32 {
    let reason = read::slot(ctx.as_ptr(), SEND_RESET_REASON.load(), read::NO_REASON);
    send_reset(ctx.arg(0), ctx.arg(1), reason, Path::SEND_RESET, Rung::Fentry);
    state::log(&ctx, "tcp_v4_send_reset");
    0
}

#[fentry(function = "tcp_v6_send_reset")]
pub fn fentry_tcp_v6_send_reset(ctx: FEntryContext) -> u32 {
    let reason = read::slot(ctx.as_ptr(), SEND_RESET_REASON.load(), read::NO_REASON);
    send_reset(ctx.arg(0), ctx.arg(1), reason, Path::SEND_RESET, Rung::Fentry);
    0
}

/// For both families.
#[kprobe]
pub fn kprobe_send_reset(ctx: ProbeContext) -> u32 {
    let reason = match (SEND_RESET_REASON.load(), ctx.arg::<u32>(2)) {
        (Slot(2), Some(reason)) => reason.into(),
        _ => read::NO_REASON,
    };
    if let (Some(sk), Some(skb)) = (ctx.arg(0), ctx.arg(1)) {
        send_reset(sk, skb, reason, Path::SEND_RESET, Rung::Kprobe);
    }
    0
}
