//! Overflows alone, at a cost nobody notices: two hooks on a healthy handshake's way, which look and
//! return, and a few where only what was hurt passes.
//!
//! A SYN is judged at `tcp_conn_request`'s exit, a third ACK at `tcp_v4_syn_recv_sock`'s. Whether it
//! was this segment that was dropped, and for which queue, this CPU's counters prove
//! (`watch/counters.rs`): no other hook has to see the way in between.
//!
//! # Minimum kernel version
//! fexit and kprobe: 5.10. `tcp_v4_syn_recv_sock` with seven arguments as in `child.rs`.

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use overflow_common::{Event, Kind, Path, Rung, Slot, valid};

use super::reset;
use crate::{
    emit, filter,
    globals::{
        ICSK_QLEN, NET_ABORT_ON_OVERFLOW, NET_INUM, NET_SYNCOOKIES, REQ_ACKED, REQ_LISTENER,
        REQ_NUM_RETRANS, REQ_NUM_TIMEOUT, SEND_RESET_REASON, SKB_PROTOCOL, SOCK_ACK_BACKLOG,
        SOCK_MAX_ACK_BACKLOG, SOCK_NET, SOCK_NUM, STATE_LISTEN, SYN_RECV_SOCK_RETURN,
    },
    maps::HURT,
    read::{self, Memory, Probed, Typed},
    segment::{self, ACK, At, SYN},
    state::PathState,
    watch::{Arguments, Watch},
};

/// `ETH_P_IP`, as it stands in `skb->protocol`.
const ETH_P_IP: u64 = 0x0800_u16.to_be() as u64;

/// `tcp_conn_request` is over.
#[inline(always)]
fn conn_request<M: Memory>(sk: u64, skb: u64, rung: Rung) {
    let Some(watch) = Watch::get() else { return };
    let changed = watch.changed::<M>(sk);
    if changed || watch.cookie == skb {
        hurt_syn::<M>(sk, skb, rung);
    }
}

/// Not inlined: registers and stack that only this needs would cost the healthy ones too.
#[inline(never)]
fn hurt_syn<M: Memory>(sk: u64, skb: u64, rung: Rung) -> u32 {
    u32::from(report_syn::<M>(sk, skb, rung).is_some())
}

#[inline(always)]
fn report_syn<M: Memory>(sk: u64, skb: u64, rung: Rung) -> Option<()> {
    let watch = Watch::get()?;
    let cookie = watch.cookie == skb;
    watch.cookie = 0;
    let net = M::word(sk, &SOCK_NET)?;
    let counted = watch.counted::<M>(net);
    let (len, max) = (M::word(sk, &SOCK_ACK_BACKLOG)?, M::word(sk, &SOCK_MAX_ACK_BACKLOG)?);
    let syncookies = M::word(net, &NET_SYNCOOKIES);
    let mut path = Path::CONN_REQUEST;
    if cookie {
        // With 2 every SYN is answered so, and nothing is the matter.
        if syncookies == Some(2) {
            return None;
        }
        path |= Path::COOKIE_INIT;
    } else if counted & Path::COUNTED == 0 {
        // The first look at these counters proves nothing about this SYN; its queue may.
        if len <= max {
            return None;
        }
        path |= Path::UNCOUNTED;
    } else if counted & Path::COUNTED_DROP == 0 {
        return None;
    } else {
        path |= counted;
    }
    let (port, netns) = (M::word(sk, &SOCK_NUM)? as u16, M::word(net, &NET_INUM)? as u32);
    if !filter::wants(port, netns) {
        return None;
    }
    emit::in_place(Kind::Syn, rung, |event| {
        event.path = path;
        listener(event, sk, netns, len, max);
        if let Some(value) = syncookies {
            event.syncookies = value as u8;
            event.valid |= valid::SYNCOOKIES;
        }
        if counted & Path::COUNTED_OVERFLOW == 0
            && let Some(qlen) = read::field(sk, &ICSK_QLEN)
        {
            event.before.qlen = qlen as u32;
            event.valid |= valid::SYN_QUEUE;
        }
        segment::parse_by::<M>(skb, At::NetworkHeader, event).is_some()
            && filter::wants_segment(event)
    });
    Some(())
}

/// `tcp_v4_syn_recv_sock`, or its IPv6 twin, is over.
#[inline(always)]
fn syn_recv_sock<M: Memory>(of: Arguments, child: u64, v6: bool, rung: Rung) {
    if child != 0 {
        if HURT.get(0).is_some_and(|hurt| *hurt != 0) {
            recovered::<M>(of.sk, of.skb, of.req, v6, rung);
        }
    } else {
        hurt_ack::<M>(of.sk, of.skb, of.req, v6, rung);
    }
}

/// No child: the third ACK is dropped, or answered by RST.
#[inline(never)]
fn hurt_ack<M: Memory>(sk: u64, skb: u64, req: u64, v6: bool, rung: Rung) -> u32 {
    u32::from(report_ack::<M>(sk, skb, req, v6, rung).is_some())
}

#[inline(always)]
fn report_ack<M: Memory>(sk: u64, skb: u64, req: u64, v6: bool, rung: Rung) -> Option<()> {
    let watch = Watch::get()?;
    // tcp_v6_syn_recv_sock hands IPv4 segments of a dual-stack listener to its IPv4 twin, which
    // has told already.
    if v6 && M::word(skb, &SKB_PROTOCOL)? == ETH_P_IP {
        return None;
    }
    let net = M::word(sk, &SOCK_NET)?;
    let counted = watch.counted::<M>(net);
    let (len, max) = (M::word(sk, &SOCK_ACK_BACKLOG)?, M::word(sk, &SOCK_MAX_ACK_BACKLOG)?);
    let (port, netns) = (M::word(sk, &SOCK_NUM)? as u16, M::word(net, &NET_INUM)? as u32);
    if !filter::wants(port, netns) {
        return None;
    }
    // cookie_v4_check makes a request that knows no listener.
    let by_request = M::word(req, &REQ_LISTENER)? != 0;
    let abort = M::word(net, &NET_ABORT_ON_OVERFLOW);
    let fill = |event: &mut Event| {
        event.path = counted | Path::SYN_RECV_SOCK_NULL;
        event.path |= if by_request { Path::CHECK_REQ } else { Path::COOKIE_CHECK };
        event.req = req;
        listener(event, sk, netns, len, max);
        if let Some(value) = abort {
            event.abort_on_overflow = value as u8;
            event.valid |= valid::ABORT_ON_OVERFLOW;
        }
        segment::parse_by::<M>(skb, At::NetworkHeader, event).is_some()
            && filter::wants_segment(event)
            // Fast Open tries a child at the SYN, which then goes on without it.
            && event.tcp_flags & (SYN | ACK) != SYN
    };
    if by_request && abort.is_some_and(|value| value != 0) {
        // The RST is to follow at once, and proves that the sysctl was read.
        let state = PathState::get()?;
        state.reset(Kind::Ack, rung);
        if fill(&mut state.event) {
            watch.reset_due = skb;
        }
        return Some(());
    }
    watch.reset_due = 0;
    if by_request && let Some(hurt) = HURT.get_ptr_mut(0) {
        // SAFETY: a word of a map that user space and other CPUs only ever write whole.
        unsafe { core::ptr::write_volatile(hurt, 1) };
    }
    emit::in_place(Kind::Ack, rung, fill);
    Some(())
}

/// A child was made: of a request whose third ACK was dropped before? `acked` is set then, and by
/// TCP_DEFER_ACCEPT (`tcp_check_req`).
#[inline(never)]
fn recovered<M: Memory>(sk: u64, skb: u64, req: u64, v6: bool, rung: Rung) -> u32 {
    u32::from(report_recovery::<M>(sk, skb, req, v6, rung).is_some())
}

#[inline(always)]
fn report_recovery<M: Memory>(sk: u64, skb: u64, req: u64, v6: bool, rung: Rung) -> Option<()> {
    if read::field(req, &REQ_ACKED)? == 0 || M::word(req, &REQ_LISTENER)? == 0 {
        return None;
    }
    if v6 && M::word(skb, &SKB_PROTOCOL)? == ETH_P_IP {
        return None;
    }
    let net = M::word(sk, &SOCK_NET)?;
    let (port, netns) = (M::word(sk, &SOCK_NUM)? as u16, M::word(net, &NET_INUM)? as u32);
    if !filter::wants(port, netns) {
        return None;
    }
    let (len, max) = (M::word(sk, &SOCK_ACK_BACKLOG)?, M::word(sk, &SOCK_MAX_ACK_BACKLOG)?);
    emit::in_place(Kind::Ack, rung, |event| {
        event.path = Path::CHECK_REQ | Path::SYN_RECV_SOCK_CHILD;
        event.req = req;
        listener(event, sk, netns, len, max);
        if let (Some(timeouts), Some(retrans)) =
            (read::field(req, &REQ_NUM_TIMEOUT), read::field(req, &REQ_NUM_RETRANS))
        {
            event.num_timeout = timeouts as u8;
            event.num_retrans = retrans as u8;
            event.valid |= valid::NUM_TIMEOUT;
        }
        segment::parse_by::<M>(skb, At::NetworkHeader, event).is_some()
            && filter::wants_segment(event)
    });
    Some(())
}

#[inline(always)]
fn listener(event: &mut Event, sk: u64, netns: u32, len: u64, max: u64) {
    event.sk = sk;
    event.sk_state = STATE_LISTEN.load();
    event.netns = netns;
    event.before.ack_backlog = len as u32;
    event.before.max_ack_backlog = max as u32;
    event.valid |= valid::ACCEPT_QUEUE;
}

/// A cookie is being made for this SYN.
#[inline(always)]
fn cookie(skb: u64) {
    if let Some(watch) = Watch::get() {
        watch.cookie = skb;
    }
}

/// An RST answers a segment: the one that just got no child, or any other.
#[inline(always)]
fn send_reset(sk: u64, skb: u64, reason: u64, rung: Rung) {
    let Some(watch) = Watch::get() else { return };
    if watch.reset_due == skb
        && skb != 0
        && let Some(state) = PathState::get()
    {
        watch.reset_due = 0;
        state.mark(Path::SEND_RESET);
        reset::with_reason(state, reason);
        emit::record(&state.event);
        return;
    }
    reset::send_reset(sk, skb, reason, Path::SEND_RESET, rung);
}

/// (rsk_ops, af_ops, sk, skb), the same in every version since v3.17.
#[fexit(function = "tcp_conn_request")]
pub fn watch_tcp_conn_request(ctx: FExitContext) -> u32 {
    conn_request::<Typed>(ctx.arg(2), ctx.arg(3), Rung::Fentry);
    0
}

/// (skb, mss): called past every test that could still drop the SYN.
#[fentry(function = "cookie_v4_init_sequence")]
pub fn watch_cookie_v4_init_sequence(ctx: FEntryContext) -> u32 {
    cookie(ctx.arg(0));
    0
}

#[fentry(function = "cookie_v6_init_sequence")]
pub fn watch_cookie_v6_init_sequence(ctx: FEntryContext) -> u32 {
    cookie(ctx.arg(0));
    0
}

/// (sk, skb, req, …).
#[fexit(function = "tcp_v4_syn_recv_sock")]
pub fn watch_tcp_v4_syn_recv_sock(ctx: FExitContext) -> u32 {
    let child = read::slot(ctx.as_ptr(), SYN_RECV_SOCK_RETURN.load(), 0);
    syn_recv_sock::<Typed>(arguments(&ctx), child, false, Rung::Fentry);
    0
}

#[fexit(function = "tcp_v6_syn_recv_sock")]
pub fn watch_tcp_v6_syn_recv_sock(ctx: FExitContext) -> u32 {
    let child = read::slot(ctx.as_ptr(), SYN_RECV_SOCK_RETURN.load(), 0);
    syn_recv_sock::<Typed>(arguments(&ctx), child, true, Rung::Fentry);
    0
}

#[inline(always)]
fn arguments(ctx: &FExitContext) -> Arguments {
    Arguments { sk: ctx.arg(0), skb: ctx.arg(1), req: ctx.arg(2) }
}

/// (sk, skb[, reason]).
#[fentry(function = "tcp_v4_send_reset")]
pub fn watch_tcp_v4_send_reset(ctx: FEntryContext) -> u32 {
    let reason = read::slot(ctx.as_ptr(), SEND_RESET_REASON.load(), read::NO_REASON);
    send_reset(ctx.arg(0), ctx.arg(1), reason, Rung::Fentry);
    0
}

#[fentry(function = "tcp_v6_send_reset")]
pub fn watch_tcp_v6_send_reset(ctx: FEntryContext) -> u32 {
    let reason = read::slot(ctx.as_ptr(), SEND_RESET_REASON.load(), read::NO_REASON);
    send_reset(ctx.arg(0), ctx.arg(1), reason, Rung::Fentry);
    0
}

#[kprobe]
pub fn kprobe_watch_conn_request(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(skb), Some(watch)) = (ctx.arg(2), ctx.arg(3), Watch::get()) {
        watch.conn_request = Arguments { sk, skb, req: 0 };
    }
    0
}

#[kretprobe]
pub fn kretprobe_watch_conn_request(_ctx: RetProbeContext) -> u32 {
    if let Some(watch) = Watch::get() {
        let Arguments { sk, skb, .. } = watch.conn_request;
        watch.conn_request.sk = 0;
        if sk != 0 {
            conn_request::<Probed>(sk, skb, Rung::Kprobe);
        }
    }
    0
}

/// For both families.
#[kprobe]
pub fn kprobe_watch_cookie_init_sequence(ctx: ProbeContext) -> u32 {
    if let Some(skb) = ctx.arg(0) {
        cookie(skb);
    }
    0
}

/// For both families: the IPv6 function calls the IPv4 one with the same arguments.
#[kprobe]
pub fn kprobe_watch_syn_recv_sock(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(skb), Some(req), Some(watch)) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), Watch::get())
    {
        watch.syn_recv_sock = Arguments { sk, skb, req };
    }
    0
}

#[kretprobe]
pub fn kretprobe_watch_v4_syn_recv_sock(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret(), false);
    0
}

#[kretprobe]
pub fn kretprobe_watch_v6_syn_recv_sock(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret(), true);
    0
}

#[inline(always)]
fn returned(child: u64, v6: bool) {
    if let Some(watch) = Watch::get() {
        let of = watch.syn_recv_sock;
        if of.sk != 0 {
            syn_recv_sock::<Probed>(of, child, v6, Rung::Kprobe);
        }
    }
}

/// For both families.
#[kprobe]
pub fn kprobe_watch_send_reset(ctx: ProbeContext) -> u32 {
    let reason = match (SEND_RESET_REASON.load(), ctx.arg::<u32>(2)) {
        (Slot(2), Some(reason)) => reason.into(),
        _ => read::NO_REASON,
    };
    if let (Some(sk), Some(skb)) = (ctx.arg(0), ctx.arg(1)) {
        send_reset(sk, skb, reason, Rung::Kprobe);
    }
    0
}
