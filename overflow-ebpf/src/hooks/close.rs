//! The listener's close: `inet_csk_listen_stop` disconnects every child nobody accepted, and
//! `tcp_send_active_reset` (net/ipv4/tcp_output.c) resets its client. `SOCK_DESTROY` and keepalive
//! reset such a child while its listener is open. Not to be confused with the RST of an overflow,
//! which is `tcp_v4_send_reset`'s.
//!
//! # Minimum kernel version
//! fentry and kprobe: 5.10.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use overflow_common::{Event, Kind, Path, Rung};

use crate::{
    emit, filter,
    globals::{FLAG_DEAD, SOCK_FLAGS, SOCK_SOCKET, TCP_IS_MPTCP},
    read, sock, tally,
};

/// A record about `child` if it waits in the accept queue. An application's socket has a `sk_socket`,
/// an orphaned one is `SOCK_DEAD`; of a child that nobody has accepted neither is so.
#[inline(always)]
pub fn waiting(child: u64, kind: Kind, rung: Rung, bit: u32) {
    let (Some(socket), Some(flags)) =
        (read::field(child, &SOCK_SOCKET), read::field(child, &SOCK_FLAGS))
    else {
        return;
    };
    if socket != 0 || flags >> (FLAG_DEAD.load() & 63) & 1 != 0 {
        return;
    }
    // An MPTCP listener resets its children in whatever state they are (mptcp_subflow_queue_clean
    // in net/mptcp/subflow.c; seen from 6.1 to 7.3) before inet_csk_listen_stop does: it tells
    // nothing of them.
    let state = match read::field(child, &TCP_IS_MPTCP) {
        Some(1..) => 0,
        _ => sock::state(child),
    };
    child_moment(child, state, kind, rung, bit);
}

/// A record about a child socket.
#[inline(always)]
pub fn child_moment(child: u64, state: u8, kind: Kind, rung: Rung, bit: u32) {
    let mut event = Event::EMPTY;
    if sock::child_tuple(child, &mut event).is_none()
        || !filter::wants(event.server_port, event.netns)
        || !filter::wants_segment(&event)
    {
        return;
    }
    emit::begin(&mut event, kind, rung);
    event.path = bit;
    event.sk = child;
    event.sk_state = state;
    emit::record(&event);
}

/// (sk): the listener's queue is emptied now, by nobody's accept().
#[fentry(function = "inet_csk_listen_stop")]
pub fn fentry_inet_csk_listen_stop(ctx: FEntryContext) -> u32 {
    tally::closed(ctx.arg(0));
    0
}

#[kprobe]
pub fn kprobe_inet_csk_listen_stop(ctx: ProbeContext) -> u32 {
    if let Some(listener) = ctx.arg(0) {
        tally::closed(listener);
    }
    0
}

/// (sk, …): the rest differs between versions and is not needed.
#[fentry(function = "tcp_send_active_reset")]
pub fn fentry_tcp_send_active_reset(ctx: FEntryContext) -> u32 {
    waiting(ctx.arg(0), Kind::ActiveReset, Rung::Fentry, Path::SEND_RESET);
    0
}

#[kprobe]
pub fn kprobe_tcp_send_active_reset(ctx: ProbeContext) -> u32 {
    if let Some(child) = ctx.arg(0) {
        waiting(child, Kind::ActiveReset, Rung::Kprobe, Path::SEND_RESET);
    }
    0
}
