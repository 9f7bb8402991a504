//! The tracepoint rung: where the functions themselves cannot be hooked, what happens around them
//! is. Each segment to a known listener is followed from `netif_receive_skb` to the place where it
//! is freed, and what fires in between sets path bits.
//!
//! It cannot see a function's return value, so what it reports is a chain of consequences; user
//! space marks such verdicts inferred, but for those whose drop reason names the branch.
//!
//! # Minimum kernel version
//! tp_btf: 5.10; the listener of a dropped segment (`rx_sk`): 6.11, commit c53795d48ee8.

use aya_ebpf::{
    EbpfContext,
    btf_maps::HashMap,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use overflow_common::{
    Kind, Path, RawEvent, Rung,
    segment::{ACK, SYN},
    valid,
};

use crate::{
    arm, filter,
    globals::{
        EMIT_ALL, SKB_SK, STATE_ESTABLISHED, STATE_LISTEN, STATE_NEW_SYN_RECV, STATE_SYN_RECV,
        TP_KFREE_SKB_REASON, TP_KFREE_SKB_RX_SK, TP_SEND_RESET_REASON,
    },
    read, report,
    skb::{self, At},
    sock,
    state::{self, PathState},
};

/// Where a listener listens.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Place {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Its port, host order.
    pub port: u32,
}

/// Listeners seen by `inet_sock_set_state`: where they listen to the address of the `struct sock`.
#[btf_map]
pub static LISTENERS: HashMap<Place, u64, 4096> = HashMap::new();

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
    if new != old && (new == listen || (old == listen && new != syn_recv)) {
        let key = Place { netns: sock::netns(sk)?, port: sock::local_port(sk)?.into() };
        if new == listen {
            let _ = LISTENERS.insert(key, sk, 0);
            return Some(());
        }
        // SAFETY: the value is copied at once.
        let known = unsafe { LISTENERS.get(key) }.copied();
        // Another listener of its SO_REUSEPORT group may have taken the place.
        if known == Some(sk) {
            let _ = LISTENERS.remove(key);
        }
    } else if old == syn_recv && new == STATE_ESTABLISHED.load() {
        let port = sock::local_port(sk)?;
        let state = PathState::get()?;
        if state.skb != 0 && state.event.server_port == port {
            let mut child = RawEvent::EMPTY;
            sock::tuple(sk, &mut child)?;
            if child.client_port == state.event.client_port {
                state.mark(Path::TP_ESTABLISHED);
                state.after();
                if EMIT_ALL.load() != 0 {
                    state.finish();
                } else {
                    state.skb = 0;
                }
            }
        }
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
    let state = PathState::get()?;
    state.skb = 0;
    if !arm::armed() {
        return None;
    }
    state.reset(Kind::Ack, Rung::Tracepoint);
    let netns = skb::netns(skb)?;
    skb::parse(skb, At::Data, &mut state.event)?;
    let port = state.event.server_port;
    if !filter::wants(port, netns) || !filter::wants_segment(&state.event) {
        return None;
    }
    // SAFETY: the value is copied at once; a listener that goes away meanwhile leaves an address
    // that reads fail on or that the record's other values contradict.
    let listener = *unsafe { LISTENERS.get(Place { netns, port: port.into() }) }?;
    if state.event.tcp_flags & (SYN | ACK) == SYN {
        state.event.kind = Kind::Syn as u8;
    }
    state.event.netns = netns;
    state.listener(listener);
    state.mark(Path::TP_RECEIVE);
    state.skb = skb;
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
    let state = PathState::get()?;
    if state.skb == 0 || state.event.kind != Kind::Syn as u8 {
        return None;
    }
    let mut out = RawEvent::EMPTY;
    skb::parse(skb, At::NetworkHeader, &mut out)?;
    let answer = out.tcp_flags & (SYN | ACK) == SYN | ACK
        && out.client_port == state.event.server_port
        && out.server_port == state.event.client_port;
    if !answer {
        return None;
    }
    let owner = read::field(skb, &SKB_SK)?;
    if owner != 0 && sock::state(owner) == STATE_NEW_SYN_RECV.load() {
        state.mark(Path::TP_SYNACK_REQUEST);
        state.event.req = owner;
        sock::request(owner, &mut state.event);
    } else if owner != 0 && sock::state(owner) == STATE_SYN_RECV.load() {
        state.mark(Path::TP_SYNACK_FASTOPEN);
    } else if owner == 0 {
        state.mark(Path::TP_SYNACK_COOKIE);
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
    let state = followed(skb)?;
    if state.event.kind != Kind::Syn as u8 {
        state.skb = 0;
        return None;
    }
    state.mark(Path::TP_CONSUME_SKB);
    state.after();
    if EMIT_ALL.load() != 0 || !state.has(Path::TP_SYNACK_REQUEST) {
        state.finish();
    } else {
        state.skb = 0;
    }
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
    let state = followed(skb)?;
    // In the receive queue of a connection it was taken; what is freed is the queue, much later.
    let owner = read::field(skb, &SKB_SK).unwrap_or(0);
    if owner != 0 {
        let owner = sock::state(owner);
        if owner != STATE_LISTEN.load() && owner != STATE_NEW_SYN_RECV.load() {
            state.skb = 0;
            return None;
        }
    }
    state.mark(Path::TP_KFREE_SKB);
    state.event.location = location;
    if reason != read::NO_REASON {
        state.event.drop_reason = reason as u32;
        state.event.valid |= valid::DROP_REASON;
    }
    if rx_sk != 0 {
        if sock::state(rx_sk) != STATE_LISTEN.load() {
            // A segment of an established connection, dropped for reasons of its own.
            state.skb = 0;
            return None;
        }
        // The kernel's own word for whose segment it was: several listeners can share a port.
        state.event.sk = rx_sk;
        state.event.sk_state = STATE_LISTEN.load();
    }
    state.after();
    state.finish();
    Some(())
}

/// The followed state, by the segment's address alone: its headers may be gone by the time it is
/// freed, and between arrival and free the address cannot be used again.
#[inline(always)]
fn followed(skb: u64) -> Option<&'static mut PathState> {
    let state = PathState::get()?;
    if state.skb == skb && skb != 0 { Some(state) } else { None }
}

/// (sk, skb[, reason]): answered by RST. Without a segment it is `tcp_send_active_reset`.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tp_tcp_send_reset(ctx: BtfTracePointContext) -> u32 {
    let (sk, skb): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let reason = read::slot(ctx.as_ptr(), TP_SEND_RESET_REASON.load(), read::NO_REASON);
    // Both can be NULL, and the verifier wants to see that each is looked at.
    if skb == 0 && sk != 0 {
        report::waiting_child(sk, Kind::ActiveReset, Rung::Tracepoint, Path::TP_SEND_RESET);
    } else if skb != 0 {
        report::reset(sk, skb, reason, Path::TP_SEND_RESET, Rung::Tracepoint);
    }
    0
}
