//! The SYN: `tcp_conn_request` (net/ipv4/tcp_input.c, since v3.17) queues a request, sends a
//! cookie, or drops it without a word. Its callers are hooked, `tcp_v4_conn_request` and the like:
//! they drop SYNs to broadcast and multicast addresses, which it never sees.
//!
//! # Minimum kernel version
//! fentry/fexit and kprobe: 5.10.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use overflow_common::{Kind, Path, Rung};

use crate::{
    read::{Memory, Probed, Typed},
    state::{self, PathState},
};

fn enter<M: Memory>(skb: u64, listener: u64, rung: Rung) {
    if let Some(state) = PathState::begin::<M>(skb, listener, Kind::Syn, rung) {
        state.mark(Path::CONN_REQUEST);
    }
}

fn hashed(req: u64) {
    if let Some(state) = state::current(Kind::Syn) {
        state.mark(Path::REQSK_HASHED);
        state.event.req = req;
    }
}

fn cookie() {
    if let Some(state) = state::current(Kind::Syn) {
        state.mark(Path::COOKIE_INIT);
    }
}

fn exit<M: Memory>(listener: u64) {
    if let Some(state) = state::current(Kind::Syn) {
        state.after::<M>(listener);
        if state.has(Path::SYN_RECV_SOCK_NULL) {
            state.counted_child();
        } else if !state.has(Path::REQSK_HASHED | Path::COOKIE_INIT | Path::SYN_RECV_SOCK_CHILD) {
            state.counted();
        }
        state.finish();
    }
}

/// (sk, skb).
#[fentry(function = "tcp_v4_conn_request")]
pub fn fentry_tcp_v4_conn_request(ctx: FEntryContext) -> u32 {
    enter::<Typed>(ctx.arg(1), ctx.arg(0), Rung::Fentry);
    state::log(&ctx, "tcp_v4_conn_request");
    0
}

#[fexit(function = "tcp_v4_conn_request")]
pub fn fexit_tcp_v4_conn_request(ctx: FExitContext) -> u32 {
    exit::<Typed>(ctx.arg(0));
    0
}

/// IPv4's SYNs to a dual-stack listener pass this one and that for IPv4, whose exit ends the record.
#[fentry(function = "tcp_v6_conn_request")]
pub fn fentry_tcp_v6_conn_request(ctx: FEntryContext) -> u32 {
    enter::<Typed>(ctx.arg(1), ctx.arg(0), Rung::Fentry);
    0
}

#[fexit(function = "tcp_v6_conn_request")]
pub fn fexit_tcp_v6_conn_request(ctx: FExitContext) -> u32 {
    exit::<Typed>(ctx.arg(0));
    0
}

/// An MPTCP listener has its own in their place (net/mptcp/subflow.c).
#[fentry(function = "subflow_v4_conn_request")]
pub fn fentry_subflow_v4_conn_request(ctx: FEntryContext) -> u32 {
    enter::<Typed>(ctx.arg(1), ctx.arg(0), Rung::Fentry);
    0
}

#[fexit(function = "subflow_v4_conn_request")]
pub fn fexit_subflow_v4_conn_request(ctx: FExitContext) -> u32 {
    exit::<Typed>(ctx.arg(0));
    0
}

#[fentry(function = "subflow_v6_conn_request")]
pub fn fentry_subflow_v6_conn_request(ctx: FEntryContext) -> u32 {
    enter::<Typed>(ctx.arg(1), ctx.arg(0), Rung::Fentry);
    0
}

#[fexit(function = "subflow_v6_conn_request")]
pub fn fexit_subflow_v6_conn_request(ctx: FExitContext) -> u32 {
    exit::<Typed>(ctx.arg(0));
    0
}

/// (sk, req, timeout); no timeout since v7.0. Called for requests, not for cookies.
#[fentry(function = "inet_csk_reqsk_queue_hash_add")]
pub fn fentry_reqsk_queue_hash_add(ctx: FEntryContext) -> u32 {
    hashed(ctx.arg(1));
    0
}

/// Called through `af_ops->cookie_init_seq`, past every test that could still drop the SYN.
#[fentry(function = "cookie_v4_init_sequence")]
pub fn fentry_cookie_v4_init_sequence(_ctx: FEntryContext) -> u32 {
    cookie();
    0
}

#[fentry(function = "cookie_v6_init_sequence")]
pub fn fentry_cookie_v6_init_sequence(_ctx: FEntryContext) -> u32 {
    cookie();
    0
}

/// For both families and MPTCP's.
#[kprobe]
pub fn kprobe_conn_request(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(skb)) = (ctx.arg(0), ctx.arg(1)) {
        enter::<Probed>(skb, listener, Rung::Kprobe);
    }
    0
}

#[kretprobe]
pub fn kretprobe_conn_request(_ctx: RetProbeContext) -> u32 {
    if let Some(state) = state::current(Kind::Syn) {
        exit::<Probed>(state.event.sk);
    }
    0
}

#[kprobe]
pub fn kprobe_reqsk_queue_hash_add(ctx: ProbeContext) -> u32 {
    if let Some(req) = ctx.arg(1) {
        hashed(req);
    }
    0
}

/// For both families.
#[kprobe]
pub fn kprobe_cookie_init_sequence(_ctx: ProbeContext) -> u32 {
    cookie();
    0
}
