//! The tracepoint rung: where the functions themselves cannot be hooked, what happens around them
//! is. Each SYN, and each segment to a port that somebody listens on, is followed from
//! `netif_receive_skb` to the place where it is freed, and what fires in between sets path bits.
//!
//! It cannot see a function's return value, so what it reports is a chain of consequences; user
//! space marks such verdicts inferred, but for those whose drop reason names the branch, or that this
//! CPU's counters prove.
//!
//! # Minimum kernel version
//! tp_btf: 5.10; the listener of a dropped segment (`rx_sk`): 6.11, commit c53795d48ee8.

use aya_ebpf::{EbpfContext, macros::btf_tracepoint, programs::BtfTracePointContext};
use overflow_common::{
    Kind, Path, RawEvent, Rung,
    segment::{ACK, RST, SYN},
    valid,
};

use super::listeners;
use crate::{
    arm, audit,
    counters::Counters,
    emit, filter, followed,
    globals::{
        EMIT_ALL, REQ_LISTENER, SKB_SK, SOCK_FAMILY, SOCK_NET, STATE_ESTABLISHED, STATE_LISTEN,
        STATE_NEW_SYN_RECV, STATE_SYN_RECV, TP_KFREE_SKB_REASON, TP_KFREE_SKB_RX_SK,
        TP_SEND_RESET_REASON,
    },
    openers,
    read::{self, Memory, Probed, Typed},
    report, retry,
    skb::{self, At},
    sock,
    state::{self, PathState},
    tally,
};

/// Listeners come and go here: (sk, oldstate, newstate). A child's way to ESTABLISHED too.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn tp_inet_sock_set_state(ctx: BtfTracePointContext) -> u32 {
    set_state(ctx.arg(0), ctx.arg::<u32>(1) as u8, ctx.arg::<u32>(2) as u8);
    0
}

#[inline(always)]
fn set_state(sk: u64, old: u8, new: u8) -> Option<()> {
    let listen = STATE_LISTEN.load();
    // inet_csk_clone_lock reports a child's birth as LISTEN -> SYN_RECV: not the listener's end.
    let syn_recv = STATE_SYN_RECV.load();
    // LISTEN again is mptcp_listen's word on the MPTCP socket above the one that listens.
    if new != old && new == listen {
        openers::note(sk);
        listeners::opened(sk);
    } else if old == listen && new != syn_recv {
        listeners::closed(sk);
        tally::closed(sk);
    } else if old == syn_recv && new == STATE_ESTABLISHED.load() {
        let mut child = RawEvent::EMPTY;
        sock::ends::<Typed>(sk, &mut child)?;
        let state = followed::first_of(&child, false, false)?;
        let v6 = Typed::field(sk, &SOCK_FAMILY)? == sock::AF_INET6;
        if EMIT_ALL.load() == 0 && !retry::may_be_client::<Typed>(sk, v6) {
            followed::done(state);
            return Some(());
        }
        state.mark(Path::TP_ESTABLISHED);
        look_up(state)?;
        let netns = sock::netns::<Typed>(sk)?;
        if state.event.netns != netns {
            // Received by another namespace's device, see `skb::routed_net`.
            state.event.netns = netns;
            presume(state);
        }
        let RawEvent { netns, server_port, sk, sk_state, .. } = state.event;
        if sk != 0 && sk_state == 0 && !listeners::is_steered(netns, server_port) {
            // The only one there is, and nobody was ever seen to be handed its segments.
            state.event.sk_state = listen;
        }
        ended(state, true);
    }
    Some(())
}

/// (skb): a segment arrives. From here on it is followed.
#[btf_tracepoint(function = "netif_receive_skb")]
pub fn tp_netif_receive_skb(ctx: BtfTracePointContext) -> u32 {
    receive(ctx.arg(0));
    0
}

#[inline(always)]
fn receive(skb: u64) -> Option<()> {
    if !arm::armed() {
        return None;
    }
    let state = followed::place(skb)?;
    state.clear();
    skb::parse_by::<Typed>(skb, At::Data, &mut state.event)?;
    let syn = state.event.tcp_flags & (SYN | ACK) == SYN;
    // A SYN may be handed to a listener on another port.
    if !syn && !listeners::in_use(state.event.server_port) {
        return None;
    }
    let kind = if syn { Kind::Syn } else { Kind::Ack };
    emit::begin(&mut state.event, kind, Rung::Tracepoint);
    let net = skb::net::<Typed>(skb)?;
    state.net = net;
    if syn {
        // What it rises by from here on is this SYN's.
        let rise = Counters::get()?.begin::<Typed>(net);
        if rise.any() {
            audit::compare(sock::net_inum::<Typed>(net)?, rise, 0);
        }
    }
    if EMIT_ALL.load() != 0 {
        look_up(state)?;
    }
    state.mark(Path::TP_RECEIVE);
    followed::keep(state, skb, syn)
}

/// Whose segment it probably is, unless that is known: of most that are not reported nobody asks.
#[inline(always)]
fn look_up(state: &mut PathState) -> Option<()> {
    if state.event.netns == 0 {
        state.event.netns = sock::net_inum::<Probed>(state.net)?;
        presume(state);
    }
    Some(())
}

/// The only listener on the segment's port is probably whose it is: nothing shows it yet, so that
/// the record has no state of it. If there are several, or none, nothing is known.
#[inline(always)]
fn presume(state: &mut PathState) {
    let listener = listeners::only(state.event.netns, state.event.server_port);
    if listener != 0 {
        state.listener::<Probed>(listener);
        state.event.sk_state = 0;
    } else {
        forget(state, 0);
    }
}

/// Nothing is known of the listener; `ino` as in [`RawEvent::ino`].
#[inline(always)]
fn forget(state: &mut PathState, ino: u32) {
    let event = &mut state.event;
    event.sk = 0;
    event.ino = ino;
    event.sk_state = 0;
    event.valid &= valid::SEGMENT | valid::DROP_REASON | valid::RESET_REASON;
}

/// The segment is done with: `emit` says whether that is to be reported, if it is asked for.
#[inline(always)]
fn ended(state: &mut PathState, emit: bool) {
    followed::done(state);
    if !emit {
        return;
    }
    let RawEvent { netns, server_port, sk, path, .. } = state.event;
    let wanted = filter::wants(server_port, netns)
        && (sk == 0 || filter::wants_socket(sk, netns))
        && filter::wants_segment(&state.event);
    if wanted {
        // Whose client was left alone may try again, and is to be seen if it gets in.
        let refused = Path::TP_KFREE_SKB | Path::TP_SYNACK_COOKIE | Path::COUNTED_DROP;
        let left_alone = path & refused != 0
            && path & Path::TP_SEND_RESET == 0
            && state.event.tcp_flags & RST == 0;
        if left_alone {
            retry::may_return(&state.event);
        }
        if sk != 0 {
            state.after::<Probed>(sk);
        }
        state.finish();
    } else if path & (Path::COUNTED_DROP | Path::UNCOUNTED | Path::TP_SYNACK_COOKIE) != 0 {
        audit::filtered(netns, path);
    }
}

/// Whether it was a listener's segment: a SYN to a closed port is followed too.
#[inline(always)]
fn of_a_listener(state: &PathState) -> bool {
    state.event.sk != 0
        || state.has(Path::COUNTED_DROP)
        || listeners::any(state.event.netns, state.event.server_port)
}

/// What this CPU counted says what became of the segment, and whose it was.
#[inline(always)]
fn counted(state: &mut PathState, skb: u64) -> Option<()> {
    if let Some(net) = skb::routed_net(skb)
        && net != state.net
    {
        state.net = net;
        state.event.netns = sock::net_inum::<Probed>(net)?;
        if state.event.sk_state == 0 {
            presume(state);
        }
    }
    let rise = Counters::get()?.rose::<Probed>(state.net);
    let path = rise.path();
    if path & Path::COUNTED != 0 {
        state.mark(path);
    }
    let queue = state.event.before;
    let own = audit::own(path, queue.ack_backlog > queue.max_ack_backlog);
    audit::compare(state.event.netns, rise, own);
    if path & Path::COUNTED_DROP != 0 {
        let presumed = state.event.sk_state == 0;
        if state.event.sk == 0 {
            let mut sk = listeners::dropped_by(&state.event);
            if sk == 0 {
                sk = listeners::dropped_by_steered(state.event.netns, state.event.server_port);
            }
            if sk != 0 {
                state.listener::<Probed>(sk);
            }
        } else if listeners::dropped(state.event.sk) {
            state.event.sk_state = STATE_LISTEN.load();
        } else if presumed {
            // Somebody else's, to whom it was steered (sk_lookup, TPROXY).
            let sk = listeners::dropped_by_steered(state.event.netns, state.event.server_port);
            if sk == 0 {
                forget(state, RawEvent::NOT_AT_ADDRESS);
            } else {
                state.listener::<Probed>(sk);
            }
        }
    }
    Some(())
}

/// (skb): a segment leaves. While a SYN is handled, its SYN-ACK: owned by the request
/// (`skb_set_owner_edemux` in `tcp_make_synack`), or by nobody if it carries a cookie.
#[btf_tracepoint(function = "net_dev_queue")]
pub fn tp_net_dev_queue(ctx: BtfTracePointContext) -> u32 {
    transmit(ctx.arg(0));
    0
}

#[inline(always)]
fn transmit(skb: u64) -> Option<()> {
    if !followed::any_syn() {
        return None;
    }
    let mut out = RawEvent::EMPTY;
    skb::parse_by::<Typed>(skb, At::Output, &mut out)?;
    if out.tcp_flags & (SYN | ACK) != SYN | ACK {
        return None;
    }
    // The sender of what goes out is the server.
    let state = followed::first_of(&out, true, true)?;
    let owner = Typed::exact::<u64>(skb, &SKB_SK);
    if owner == 0 {
        state.mark(Path::TP_SYNACK_COOKIE);
        return Some(());
    }
    let its_state = sock::state::<Typed>(owner);
    if its_state == STATE_NEW_SYN_RECV.load() {
        state.mark(Path::TP_SYNACK_REQUEST);
        // The kernel's own word for whose SYN it was.
        let listener = Typed::exact::<u64>(owner, &REQ_LISTENER);
        if EMIT_ALL.load() == 0 {
            let netns = sock::netns::<Typed>(owner)?;
            if listener != 0 && !listeners::is_known(netns, state.event.server_port, listener) {
                listeners::steered(netns, state.event.server_port, listener);
            }
            return Some(());
        }
        if listener != 0 && listener != state.event.sk {
            let RawEvent { netns, server_port, sk, .. } = state.event;
            // Of several it is one of them.
            if sk != 0 || !listeners::any(netns, server_port) {
                listeners::steered(netns, server_port, listener);
            }
            state.listener::<Probed>(listener);
        }
        sock::request::<Probed>(owner, &mut state.event);
    } else if its_state == STATE_SYN_RECV.load() {
        state.mark(Path::TP_SYNACK_FASTOPEN);
    }
    Some(())
}

/// (skb[, location]): freed as if all was well. A SYN ends here, whether it was taken or dropped
/// (tcp_rcv_state_process, LISTEN).
#[btf_tracepoint(function = "consume_skb")]
pub fn tp_consume_skb(ctx: BtfTracePointContext) -> u32 {
    consumed(ctx.arg(0));
    0
}

#[inline(always)]
fn consumed(skb: u64) -> Option<()> {
    let state = followed::find(skb)?;
    if state.event.kind != Kind::Syn as u8 {
        return None;
    }
    state.mark(Path::TP_CONSUME_SKB);
    listeners::asked(state.event.server_port);
    let answered = Path::TP_SYNACK_REQUEST | Path::TP_SYNACK_COOKIE | Path::TP_SYNACK_FASTOPEN;
    if EMIT_ALL.load() == 0 && state.has(Path::TP_SYNACK_REQUEST) {
        followed::done(state);
        return Some(());
    }
    look_up(state)?;
    if !state.has(answered) {
        counted(state, skb);
        // Where nothing rose its SYN-ACK waits for its neighbour's address.
        let dropped = state.has(Path::COUNTED_DROP) || !state.has(Path::COUNTED);
        let emit = of_a_listener(state) && (dropped || EMIT_ALL.load() != 0);
        ended(state, emit);
        return Some(());
    }
    if state.event.sk != 0
        && let Some(netns) = sock::netns::<Probed>(state.event.sk)
    {
        state.event.netns = netns;
    }
    ended(state, true);
    Some(())
}

/// (skb, location[, reason[, rx_sk]]): dropped.
#[btf_tracepoint(function = "kfree_skb")]
pub fn tp_kfree_skb(ctx: BtfTracePointContext) -> u32 {
    let reason = read::slot(ctx.as_ptr(), TP_KFREE_SKB_REASON.load(), read::NO_REASON);
    let rx_sk = read::slot(ctx.as_ptr(), TP_KFREE_SKB_RX_SK.load(), 0);
    let (skb, location): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    if dropped(skb, location, reason, rx_sk).is_some() {
        state::log(&ctx, "kfree_skb");
    }
    0
}

#[inline(always)]
fn dropped(skb: u64, location: u64, reason: u64, rx_sk: u64) -> Option<()> {
    let state = followed::find(skb)?;
    // In the receive queue of a connection it was taken; what is freed is the queue, much later.
    let owner = Typed::exact::<u64>(skb, &SKB_SK);
    if owner != 0 {
        let owner = sock::state::<Typed>(owner);
        if owner != STATE_LISTEN.load() && owner != STATE_NEW_SYN_RECV.load() {
            return None;
        }
    }
    look_up(state)?;
    state.mark(Path::TP_KFREE_SKB);
    state.event.location = location;
    if reason != read::NO_REASON {
        state.event.drop_reason = reason as u32;
        state.event.valid |= valid::DROP_REASON;
    }
    if rx_sk != 0 {
        if sock::state::<Probed>(rx_sk) != STATE_LISTEN.load() {
            // A segment of an established connection, dropped for reasons of its own.
            return None;
        }
        // The kernel's own word for whose segment it was: several listeners can share a port.
        if rx_sk != state.event.sk {
            state.listener::<Probed>(rx_sk);
            state.net = read::field(rx_sk, &SOCK_NET)?;
            state.event.netns = sock::net_inum::<Probed>(state.net)?;
        }
    }
    counted(state, skb);
    let emit = of_a_listener(state);
    ended(state, emit);
    Some(())
}

/// (sk, skb[, reason]): answered by RST. Without a segment it is `tcp_send_active_reset`.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tp_tcp_send_reset(ctx: BtfTracePointContext) -> u32 {
    let (sk, skb): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let reason = read::slot(ctx.as_ptr(), TP_SEND_RESET_REASON.load(), read::NO_REASON);
    // Both can be NULL, and the verifier wants to see that each is looked at.
    if skb == 0 && sk != 0 {
        active_reset(sk);
    } else if skb != 0 {
        if let Some(state) = followed::find(skb) {
            // Before its request goes.
            let _ = look_up(state);
        }
        report::reset(sk, skb, reason, Path::TP_SEND_RESET, Rung::Tracepoint);
    }
    0
}

/// In a function of its own, for the stack.
#[inline(never)]
fn active_reset(sk: u64) -> u32 {
    report::waiting_child(sk, Kind::ActiveReset, Rung::Tracepoint, Path::TP_SEND_RESET);
    0
}
