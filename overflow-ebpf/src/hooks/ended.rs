//! A request's or a waiting child's end from outside of the handshake: an ICMP error (`tcp_req_err`,
//! net/ipv4/tcp_ipv4.c, for both families), somebody's `SOCK_DESTROY` (`tcp_abort`, net/ipv4/tcp.c),
//! the client's RST (`tcp_reset`, by its tracepoint `tcp_receive_reset`).
//!
//! # Minimum kernel version
//! fentry and kprobe: 5.10. tp_btf: 5.10 (the tracepoint: 4.15).

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, kprobe},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext},
};
use overflow_common::{Kind, Rung};

use super::{close, retransmit::request_moment};
use crate::{
    globals::{REQ_LISTENER, REQ_SNT_ISN, STATE_NEW_SYN_RECV},
    read, sock,
};

/// An ICMP error about a segment with this sequence number. It removes the request only if it is
/// fatal (`abort`) and quotes the SYN-ACK.
#[inline(always)]
pub fn icmp_error(req: u64, seq: u32, abort: u8, rung: Rung) {
    if abort & 1 != 0 && read::field(req, &REQ_SNT_ISN) == Some(seq.into()) {
        removed(req, Kind::IcmpError, rung);
    }
}

/// Entered for any TCP socket.
#[inline(always)]
fn abort(sk: u64, rung: Rung) {
    if sock::state(sk) == STATE_NEW_SYN_RECV.load() {
        removed(sk, Kind::Destroyed, rung);
    }
}

#[inline(always)]
fn removed(req: u64, kind: Kind, rung: Rung) {
    let listener = read::field(req, &REQ_LISTENER).unwrap_or(0);
    request_moment(listener, req, kind, rung, 0);
}

/// (sk, seq, abort).
#[fentry(function = "tcp_req_err")]
pub fn fentry_tcp_req_err(ctx: FEntryContext) -> u32 {
    icmp_error(ctx.arg(0), ctx.arg(1), ctx.arg(2), Rung::Fentry);
    0
}

#[kprobe]
pub fn kprobe_tcp_req_err(ctx: ProbeContext) -> u32 {
    if let (Some(req), Some(seq), Some(abort)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        icmp_error(req, seq, abort, Rung::Kprobe);
    }
    0
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

/// (sk): the same on every rung.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tp_tcp_receive_reset(ctx: BtfTracePointContext) -> u32 {
    close::waiting(ctx.arg(0), Kind::PeerReset, Rung::Tracepoint, 0);
    0
}
