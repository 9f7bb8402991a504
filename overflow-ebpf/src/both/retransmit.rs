//! The SYN-ACK again: `tcp_rtx_synack(sk, req)`, by its tracepoint `tcp_retransmit_synack(sk, req)`,
//! which is the same on every rung; where a program cannot have its types, by the function itself.
//!
//! # Minimum kernel version
//! tp_btf: 5.5 (the tracepoint: 4.15). kprobe: 4.20.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    macros::{btf_map, btf_tracepoint, kprobe, kretprobe},
    programs::{BtfTracePointContext, ProbeContext, RetProbeContext},
};
use overflow_common::{Kind, Rung};

use crate::report;

/// The listener and the request of this CPU's latest SYN-ACK that was sent again, for the timer that
/// sent it.
#[btf_map]
pub static RESENT: PerCpuArray<[u64; 2], 1> = PerCpuArray::new();

#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub fn tp_tcp_retransmit_synack(ctx: BtfTracePointContext) -> u32 {
    resent(ctx.arg(0), ctx.arg(1), Rung::Tracepoint);
    0
}

#[inline(always)]
fn resent(listener: u64, req: u64, rung: Rung) {
    let _ = RESENT.set(0, [listener, req], 0);
    report::request(listener, req, Kind::SynAckRetransmit, rung, 0);
}

/// The listener and the request whose SYN-ACK this CPU is sending again, for the kretprobe at the end. It
/// is sent in softirqs, one after the other.
#[btf_map]
pub static RESENDING: PerCpuArray<[u64; 2], 1> = PerCpuArray::new();

#[kprobe]
pub fn kprobe_tcp_rtx_synack(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(req)) = (ctx.arg(0), ctx.arg(1)) {
        let _ = RESENDING.set(0, [listener, req], 0);
    }
    0
}

/// It returns 0 where the SYN-ACK was sent, and the tracepoint is passed there alone.
#[kretprobe]
pub fn kretprobe_tcp_rtx_synack(ctx: RetProbeContext) -> u32 {
    let Some([listener, req]) = RESENDING.get(0).copied() else { return 0 };
    let _ = RESENDING.set(0, [0; 2], 0);
    let error: u64 = ctx.ret();
    if req != 0 && error as u32 == 0 {
        resent(listener, req, Rung::Kprobe);
    }
    0
}
