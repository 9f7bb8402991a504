//! The listener's close: `inet_csk_listen_stop` disconnects every child nobody accepted, and
//! `tcp_send_active_reset` (net/ipv4/tcp_output.c) resets its client. `SOCK_DESTROY` and keepalive
//! reset such a child while its listener is open. Not to be confused with the RST of an overflow,
//! which is `tcp_v4_send_reset`'s.
//!
//! # Minimum kernel version
//! fentry and kprobe: 5.10.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use overflow_common::{Kind, Path, Rung};

use crate::{report, tally};

/// (sk): the listener's queue is emptied now, by nobody's accept().
#[fentry(function = "inet_csk_listen_stop")]
pub fn fentry_inet_csk_listen_stop(ctx: FEntryContext) -> u32 {
    tally::closed(ctx.arg(0));
    0
}

#[kprobe]
pub fn kprobe_inet_csk_listen_stop(ctx: ProbeContext) -> u32 {
    if let Some(listener) = ctx.arg(0) {
        tally::closed(listener);
    }
    0
}

/// (sk, …): the rest differs between versions and is not needed.
#[fentry(function = "tcp_send_active_reset")]
pub fn fentry_tcp_send_active_reset(ctx: FEntryContext) -> u32 {
    report::waiting_child(ctx.arg(0), Kind::ActiveReset, Rung::Fentry, Path::SEND_RESET);
    0
}

#[kprobe]
pub fn kprobe_tcp_send_active_reset(ctx: ProbeContext) -> u32 {
    if let Some(child) = ctx.arg(0) {
        report::waiting_child(child, Kind::ActiveReset, Rung::Kprobe, Path::SEND_RESET);
    }
    0
}
