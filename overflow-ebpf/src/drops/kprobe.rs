//! The kprobe rung. A return probe does not get the arguments: the entry notes them.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use overflow_common::Slot;

use super::{
    ack, reset,
    state::{Arguments, CpuState},
    syn,
};
use crate::{
    globals::SEND_RESET_REASON,
    openers,
    read::{self, Probed},
    retry,
};

/// (sk, …): `listen()`.
#[kprobe]
pub fn kprobe_drops_listen_start(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        openers::note(sk);
    }
    0
}

/// (sk, skb), for both families and MPTCP's.
#[kprobe]
pub fn kprobe_drops_conn_request(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(skb), Some(state)) = (ctx.arg(0), ctx.arg(1), CpuState::get()) {
        state.conn_request = (sk, skb);
    }
    0
}

#[kretprobe]
pub fn kretprobe_drops_conn_request(_ctx: RetProbeContext) -> u32 {
    if let Some(state) = CpuState::get() {
        let (sk, skb) = state.conn_request;
        state.conn_request.0 = 0;
        if sk != 0 && syn::suspect::<Probed>(sk) {
            look_at_syn(sk, skb);
        }
    }
    0
}

#[inline(never)]
fn look_at_syn(sk: u64, skb: u64) -> u32 {
    syn::look::<Probed>(sk, skb)
}

/// For both families.
#[kprobe]
pub fn kprobe_drops_cookie_init_sequence(ctx: ProbeContext) -> u32 {
    if let Some(skb) = ctx.arg(0) {
        CpuState::cookie(skb);
    }
    0
}

/// For both families: the IPv6 function calls the IPv4 one with the same arguments.
#[kprobe]
pub fn kprobe_drops_syn_recv_sock(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(skb), Some(req), Some(state)) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), CpuState::get())
    {
        state.syn_recv_sock = Arguments { sk, skb, req };
    }
    0
}

#[kretprobe]
pub fn kretprobe_drops_v4_syn_recv_sock(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret(), false);
    0
}

#[kretprobe]
pub fn kretprobe_drops_v6_syn_recv_sock(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret(), true);
    0
}

#[inline(always)]
fn returned(child: u64, v6: bool) {
    if child == 0 {
        refused(v6);
    } else if retry::pending() {
        accepted(v6);
    }
}

#[inline(never)]
fn refused(v6: bool) -> u32 {
    let Some(state) = CpuState::get() else { return 0 };
    let Arguments { sk, skb, req } = state.syn_recv_sock;
    // Not twice: the return of the IPv6 function follows that of the IPv4 one which it called.
    state.syn_recv_sock.sk = 0;
    if sk == 0 { 0 } else { ack::refused::<Probed>(sk, skb, req, v6) }
}

#[inline(never)]
fn accepted(v6: bool) -> u32 {
    let Some(state) = CpuState::get() else { return 0 };
    let Arguments { sk, skb, req } = state.syn_recv_sock;
    if sk == 0 || !retry::may_be_client::<Probed>(req, v6) {
        0
    } else {
        ack::accepted::<Probed>(sk, skb, req, v6)
    }
}

/// For both families.
#[kprobe]
pub fn kprobe_drops_send_reset(ctx: ProbeContext) -> u32 {
    let reason = match (SEND_RESET_REASON.load(), ctx.arg::<u32>(2)) {
        (Slot(2), Some(reason)) => reason.into(),
        _ => read::NO_REASON,
    };
    if let (Some(sk), Some(skb)) = (ctx.arg(0), ctx.arg(1)) {
        reset::send_reset::<Probed>(sk, skb, reason);
    }
    0
}
