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
    counters::Counters,
    globals::{BARE, SKB_PROTOCOL},
    read::{Memory, Probed, Typed},
    skb,
    state::{self, PathState},
    tally,
};

fn enter<M: Memory>(skb: u64, listener: u64, rung: Rung) {
    let state = if BARE.load() != 0 {
        PathState::begin_bare::<M>(skb, listener, Kind::Syn, rung)
    } else {
        PathState::begin::<M>(skb, listener, Kind::Syn, rung)
    };
    if let Some(state) = state {
        state.mark(Path::CONN_REQUEST);
    }
}

fn hashed(req: u64) {
    if BARE.load() != 0 {
        PathState::pass(Path::REQSK_HASHED);
    } else if let Some(state) = state::current(Kind::Syn) {
        state.mark(Path::REQSK_HASHED);
        state.event.req = req;
    }
}

fn exit<M: Memory>(listener: u64) {
    if let Some(state) = state::current(Kind::Syn) {
        state.after::<M>(listener);
        if state.has(Path::SYN_RECV_SOCK_NULL) {
            state.counted_child(Counters::rose_at_socket(listener));
        } else if !state.has(Path::REQSK_HASHED | Path::COOKIE_INIT | Path::SYN_RECV_SOCK_CHILD) {
            state.counted();
        }
        state.finish();
    }
}

/// Where healthy SYNs are only counted, nothing is read of one that became a request. What carries data may
/// have been tried by Fast Open.
#[inline(always)]
fn exit_bare<M: Memory>(state: &mut PathState, listener: u64, skb: u64) {
    if state.event.path == Path::CONN_REQUEST | Path::REQSK_HASHED
        && !skb::syn_has_data::<M>(skb)
        && let Some(healthy) = tally::healthy(&state.event)
    {
        healthy.syns += 1;
        state.skb = 0;
        return;
    }
    if state.complete::<M>(listener, skb) {
        exit::<M>(listener);
    }
}

/// At the exit, where the entry is not hooked. IPv4's SYNs to a dual-stack listener pass both exits, the
/// first of which says all.
#[inline(always)]
fn fexit<M: Memory>(listener: u64, skb: u64, v6: bool) {
    if BARE.load() == 0 {
        exit::<M>(listener);
    } else if !(v6 && M::exact::<u16>(skb, &SKB_PROTOCOL) == skb::ETH_P_IP)
        && let Some(state) = PathState::end_bare::<M>(skb, listener, Rung::Fentry)
    {
        exit_bare::<M>(state, listener, skb);
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
    fexit::<Typed>(ctx.arg(0), ctx.arg(1), false);
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
    fexit::<Typed>(ctx.arg(0), ctx.arg(1), true);
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
    fexit::<Typed>(ctx.arg(0), ctx.arg(1), false);
    0
}

#[fentry(function = "subflow_v6_conn_request")]
pub fn fentry_subflow_v6_conn_request(ctx: FEntryContext) -> u32 {
    enter::<Typed>(ctx.arg(1), ctx.arg(0), Rung::Fentry);
    0
}

#[fexit(function = "subflow_v6_conn_request")]
pub fn fexit_subflow_v6_conn_request(ctx: FExitContext) -> u32 {
    fexit::<Typed>(ctx.arg(0), ctx.arg(1), true);
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
    PathState::pass(Path::COOKIE_INIT);
    0
}

#[fentry(function = "cookie_v6_init_sequence")]
pub fn fentry_cookie_v6_init_sequence(_ctx: FEntryContext) -> u32 {
    PathState::pass(Path::COOKIE_INIT);
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
        let (listener, skb) = (state.event.sk, state.skb);
        if BARE.load() == 0 {
            exit::<Probed>(listener);
        } else {
            exit_bare::<Probed>(state, listener, skb);
        }
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
    PathState::pass(Path::COOKIE_INIT);
    0
}
