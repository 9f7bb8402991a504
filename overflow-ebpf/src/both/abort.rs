//! Somebody's `SOCK_DESTROY` ends a request: `tcp_abort` (net/ipv4/tcp.c).
//!
//! # Minimum kernel version
//! fentry and kprobe: 5.10.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use overflow_common::{Kind, Rung};

use crate::{globals::STATE_NEW_SYN_RECV, read::Probed, report, sock};

/// Entered for any TCP socket.
#[inline(always)]
fn abort(sk: u64, rung: Rung) {
    if sock::state::<Probed>(sk) == STATE_NEW_SYN_RECV.load() {
        report::ended_request(sk, Kind::Destroyed, rung);
    }
}

/// (sk, err).
#[fentry(function = "tcp_abort")]
pub fn fentry_tcp_abort(ctx: FEntryContext) -> u32 {
    abort(ctx.arg(0), Rung::Fentry);
    0
}

#[kprobe]
pub fn kprobe_tcp_abort(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        abort(sk, Rung::Kprobe);
    }
    0
}
