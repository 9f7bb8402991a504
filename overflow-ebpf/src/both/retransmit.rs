//! The SYN-ACK again: `tcp_rtx_synack`, by its tracepoint `tcp_retransmit_synack(sk, req)`, which
//! is the same on every rung.
//!
//! # Minimum kernel version
//! tp_btf: 5.10 (the tracepoint: 4.15).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use overflow_common::{Kind, Rung};

use crate::report;

#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub fn tp_tcp_retransmit_synack(ctx: BtfTracePointContext) -> u32 {
    let (listener, req): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    report::request(listener, req, Kind::SynAckRetransmit, Rung::Tracepoint, 0);
    0
}
