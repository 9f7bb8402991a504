//! A waiting child's end by the client's RST: `tcp_reset`, by its tracepoint `tcp_receive_reset`; where
//! a program cannot have its types, by the function itself, which passes it first.
//!
//! # Minimum kernel version
//! tp_btf: 5.5 (the tracepoint: 4.15). kprobe: 4.20.

use aya_ebpf::{
    macros::{btf_tracepoint, kprobe},
    programs::{BtfTracePointContext, ProbeContext},
};
use overflow_common::{Kind, Rung};

use crate::report;

/// (sk): the same on every rung.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tp_tcp_receive_reset(ctx: BtfTracePointContext) -> u32 {
    report::waiting_child(ctx.arg(0), Kind::PeerReset, Rung::Tracepoint, 0);
    0
}

/// (sk), and the segment since v5.10 (049fe386d353).
#[kprobe]
pub fn kprobe_tcp_reset(ctx: ProbeContext) -> u32 {
    if let Some(child) = ctx.arg(0) {
        report::waiting_child(child, Kind::PeerReset, Rung::Kprobe, 0);
    }
    0
}
