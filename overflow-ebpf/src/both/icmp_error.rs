//! An ICMP error that ends a request: `tcp_req_err` (net/ipv4/tcp_ipv4.c), for both families.
//! `tcp_listendrop` counts it as a drop, which the next segment of this CPU is not to be blamed for.
//!
//! # Minimum kernel version
//! fentry/fexit and kprobe: 5.10.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    macros::{btf_map, fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use overflow_common::{Path, Rung};

use crate::{
    arm, audit,
    counters::Counters,
    globals::{NET_INUM, SOCK_NET},
    read::{self, Probed},
    report,
};

/// The error that this CPU is handling.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Error {
    /// The `struct net` of its request, which is gone at the end; 0 for none.
    net: u64,
    /// Not zero where it was reported.
    reported: u64,
}

#[btf_map]
pub static ERRORS: PerCpuArray<Error, 1> = PerCpuArray::new();

/// Entered; `seq` and `abort`: see [`report::icmp_error`].
#[inline(always)]
fn begins(req: u64, seq: u32, abort: u8, rung: Rung) {
    let Some(error) = ERRORS.get_ptr_mut(0) else { return };
    let net = read::field(req, &SOCK_NET).unwrap_or(0);
    let reported = u64::from(report::icmp_error(req, seq, abort, rung));
    // SAFETY: this CPU's own; errors are handled one after the other, in a softirq.
    unsafe { *error = Error { net, reported } };
}

/// Left.
#[inline(always)]
fn is_over() -> Option<()> {
    let error = ERRORS.get_ptr_mut(0)?;
    // SAFETY: as above.
    let error = unsafe { &mut *error };
    let Error { net, reported } = *error;
    error.net = 0;
    if net == 0 || arm::is_over() {
        return None;
    }
    let rise = Counters::get()?.rose::<Probed>(net);
    if !arm::armed() || !rise.any() {
        return None;
    }
    let netns = read::field(net, &NET_INUM)? as u32;
    audit::compare(netns, rise, Path::COUNTED_DROP);
    if reported == 0 {
        audit::filtered(netns, Path::COUNTED_DROP);
    }
    Some(())
}

/// (sk, seq, abort).
#[fentry(function = "tcp_req_err")]
pub fn fentry_tcp_req_err(ctx: FEntryContext) -> u32 {
    begins(ctx.arg(0), ctx.arg(1), ctx.arg(2), Rung::Fentry);
    0
}

#[fexit(function = "tcp_req_err")]
pub fn fexit_tcp_req_err(_ctx: FExitContext) -> u32 {
    let _ = is_over();
    0
}

#[kprobe]
pub fn kprobe_tcp_req_err(ctx: ProbeContext) -> u32 {
    if let (Some(req), Some(seq), Some(abort)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        begins(req, seq, abort, Rung::Kprobe);
    }
    0
}

#[kretprobe]
pub fn kretprobe_tcp_req_err(_ctx: RetProbeContext) -> u32 {
    let _ = is_over();
    0
}
