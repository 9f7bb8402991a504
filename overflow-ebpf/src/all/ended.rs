//! A request's or a waiting child's end by the network: an ICMP error (`tcp_req_err`,
//! net/ipv4/tcp_ipv4.c, for both families), the client's RST (`tcp_reset`, by its tracepoint
//! `tcp_receive_reset`).
//!
//! # Minimum kernel version
//! fentry and kprobe: 5.10. tp_btf: 5.10 (the tracepoint: 4.15).

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, kprobe},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext},
};
use overflow_common::{Kind, Rung};

use crate::report;

/// (sk, seq, abort).
#[fentry(function = "tcp_req_err")]
pub fn fentry_tcp_req_err(ctx: FEntryContext) -> u32 {
    report::icmp_error(ctx.arg(0), ctx.arg(1), ctx.arg(2), Rung::Fentry);
    0
}

#[kprobe]
pub fn kprobe_tcp_req_err(ctx: ProbeContext) -> u32 {
    if let (Some(req), Some(seq), Some(abort)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        report::icmp_error(req, seq, abort, Rung::Kprobe);
    }
    0
}

/// (sk): the same on every rung.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tp_tcp_receive_reset(ctx: BtfTracePointContext) -> u32 {
    report::waiting_child(ctx.arg(0), Kind::PeerReset, Rung::Tracepoint, 0);
    0
}
