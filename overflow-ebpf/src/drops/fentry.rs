//! The fentry rung.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use super::{ack, reset, state::CpuState, syn};
use crate::{
    globals::{SEND_RESET_REASON, SYN_RECV_SOCK_RETURN},
    openers,
    read::{self, Typed},
    retry,
};

/// (sk, skb).
#[fexit(function = "tcp_v4_conn_request")]
pub fn drops_tcp_v4_conn_request(ctx: FExitContext) -> u32 {
    if syn::suspect::<Typed>(ctx.arg(0)) {
        look_at_v4_syn(ctx.as_ptr());
    }
    0
}

/// IPv4's SYNs to a dual-stack listener pass both, the first of which says all.
#[fexit(function = "tcp_v6_conn_request")]
pub fn drops_tcp_v6_conn_request(ctx: FExitContext) -> u32 {
    if syn::suspect::<Typed>(ctx.arg(0)) {
        look_at_v6_syn(ctx.as_ptr());
    }
    0
}

/// An MPTCP listener has its own in their place (net/mptcp/subflow.c).
#[fexit(function = "subflow_v4_conn_request")]
pub fn drops_subflow_v4_conn_request(ctx: FExitContext) -> u32 {
    if syn::suspect::<Typed>(ctx.arg(0)) {
        look_at_subflow_v4_syn(ctx.as_ptr());
    }
    0
}

#[fexit(function = "subflow_v6_conn_request")]
pub fn drops_subflow_v6_conn_request(ctx: FExitContext) -> u32 {
    if syn::suspect::<Typed>(ctx.arg(0)) {
        look_at_subflow_v6_syn(ctx.as_ptr());
    }
    0
}

/// Functions of their own for each: 5.10 takes no function that programs of different types share.
macro_rules! look_at_syn {
    ($($name:ident)+) => {
        $(#[inline(never)]
        fn $name(ctx: *mut c_void) -> u32 {
            let ctx = FExitContext::new(ctx);
            syn::look::<Typed>(ctx.arg(0), ctx.arg(1))
        })+
    };
}
look_at_syn!(look_at_v4_syn look_at_v6_syn look_at_subflow_v4_syn look_at_subflow_v6_syn);

/// (sk, …): `listen()`.
#[fentry(function = "inet_csk_listen_start")]
pub fn drops_inet_csk_listen_start(ctx: FEntryContext) -> u32 {
    openers::note(ctx.arg(0));
    0
}

/// (skb, mss): called past every test that could still drop the SYN.
#[fentry(function = "cookie_v4_init_sequence")]
pub fn drops_cookie_v4_init_sequence(ctx: FEntryContext) -> u32 {
    CpuState::cookie(ctx.arg(0));
    0
}

#[fentry(function = "cookie_v6_init_sequence")]
pub fn drops_cookie_v6_init_sequence(ctx: FEntryContext) -> u32 {
    CpuState::cookie(ctx.arg(0));
    0
}

/// (sk, skb, req, …).
#[fexit(function = "tcp_v4_syn_recv_sock")]
pub fn drops_tcp_v4_syn_recv_sock(ctx: FExitContext) -> u32 {
    if child(&ctx) == 0 {
        refused_v4(ctx.as_ptr());
    } else if retry::may_be_client::<Typed>(ctx.arg(2), false) {
        accepted_v4(ctx.as_ptr());
    }
    0
}

#[fexit(function = "tcp_v6_syn_recv_sock")]
pub fn drops_tcp_v6_syn_recv_sock(ctx: FExitContext) -> u32 {
    if child(&ctx) == 0 {
        refused_v6(ctx.as_ptr());
    } else if retry::may_be_client::<Typed>(ctx.arg(2), true) {
        accepted_v6(ctx.as_ptr());
    }
    0
}

#[inline(always)]
fn child(ctx: &FExitContext) -> u64 {
    read::slot(ctx.as_ptr(), SYN_RECV_SOCK_RETURN.load(), 0)
}

#[inline(never)]
fn refused_v4(ctx: *mut c_void) -> u32 {
    let ctx = FExitContext::new(ctx);
    ack::refused::<Typed>(ctx.arg(0), ctx.arg(1), ctx.arg(2), false)
}

#[inline(never)]
fn refused_v6(ctx: *mut c_void) -> u32 {
    let ctx = FExitContext::new(ctx);
    ack::refused::<Typed>(ctx.arg(0), ctx.arg(1), ctx.arg(2), true)
}

#[inline(never)]
fn accepted_v4(ctx: *mut c_void) -> u32 {
    let ctx = FExitContext::new(ctx);
    ack::accepted::<Typed>(ctx.arg(0), ctx.arg(1), ctx.arg(2), false)
}

#[inline(never)]
fn accepted_v6(ctx: *mut c_void) -> u32 {
    let ctx = FExitContext::new(ctx);
    ack::accepted::<Typed>(ctx.arg(0), ctx.arg(1), ctx.arg(2), true)
}

/// (sk, skb[, reason]).
#[fentry(function = "tcp_v4_send_reset")]
pub fn drops_tcp_v4_send_reset(ctx: FEntryContext) -> u32 {
    let reason = read::slot(ctx.as_ptr(), SEND_RESET_REASON.load(), read::NO_REASON);
    reset::send_reset::<Typed>(ctx.arg(0), ctx.arg(1), reason);
    0
}

#[fentry(function = "tcp_v6_send_reset")]
pub fn drops_tcp_v6_send_reset(ctx: FEntryContext) -> u32 {
    let reason = read::slot(ctx.as_ptr(), SEND_RESET_REASON.load(), read::NO_REASON);
    reset::send_reset::<Typed>(ctx.arg(0), ctx.arg(1), reason);
    0
}
