//! The SYN-ACK again: `tcp_rtx_synack`, by its tracepoint `tcp_retransmit_synack(sk, req)`, which
//! is the same on every rung.
//!
//! # Minimum kernel version
//! tp_btf: 5.10 (the tracepoint: 4.15).

use aya_ebpf::{
    btf_maps::PerCpuArray,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use overflow_common::{Kind, Rung};

use crate::report;

/// The listener and the request of this CPU's latest SYN-ACK that was sent again, for the timer that
/// sent it.
#[btf_map]
pub static RESENT: PerCpuArray<[u64; 2], 1> = PerCpuArray::new();

#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub fn tp_tcp_retransmit_synack(ctx: BtfTracePointContext) -> u32 {
    let (listener, req): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let _ = RESENT.set(0, [listener, req], 0);
    report::request(listener, req, Kind::SynAckRetransmit, Rung::Tracepoint, 0);
    0
}
