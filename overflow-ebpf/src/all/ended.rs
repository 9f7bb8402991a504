//! A waiting child's end by the client's RST: `tcp_reset`, by its tracepoint `tcp_receive_reset`.
//!
//! # Minimum kernel version
//! tp_btf: 5.10 (the tracepoint: 4.15).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use overflow_common::{Kind, Rung};

use crate::report;

/// (sk): the same on every rung.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tp_tcp_receive_reset(ctx: BtfTracePointContext) -> u32 {
    report::waiting_child(ctx.arg(0), Kind::PeerReset, Rung::Tracepoint, 0);
    0
}
