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
use overflow_common::{Path, Rung, Slot};

use crate::{globals::SEND_RESET_REASON, read, report, state};

/// (sk, skb), since v6.10 (and some older distribution kernels) with a reason.
#[fentry(function = "tcp_v4_send_reset")]
pub fn fentry_tcp_v4_send_reset(ctx: FEntryContext) -> u32 {
    let reason = read::slot(ctx.as_ptr(), SEND_RESET_REASON.load(), read::NO_REASON);
    report::reset(ctx.arg(0), ctx.arg(1), reason, Path::SEND_RESET, Rung::Fentry);
    state::log(&ctx, "tcp_v4_send_reset");
    0
}

#[fentry(function = "tcp_v6_send_reset")]
pub fn fentry_tcp_v6_send_reset(ctx: FEntryContext) -> u32 {
    let reason = read::slot(ctx.as_ptr(), SEND_RESET_REASON.load(), read::NO_REASON);
    report::reset(ctx.arg(0), ctx.arg(1), reason, Path::SEND_RESET, Rung::Fentry);
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
        report::reset(sk, skb, reason, Path::SEND_RESET, Rung::Kprobe);
    }
    0
}
