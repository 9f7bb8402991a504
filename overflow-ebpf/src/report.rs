//! Records that hook points of both traces make: about a request, a child, an RST.

use overflow_common::{Kind, Path, RawEvent, Rung, segment::RST, valid};

use crate::{
    emit, filter, followed,
    globals::{
        FLAG_DEAD, REQ_LISTENER, REQ_SNT_ISN, SOCK_FLAGS, SOCK_SOCKET, STATE_LISTEN, TCP_IS_MPTCP,
    },
    read::{self, Probed},
    skb::{self, At},
    sock,
    state::PathState,
};

/// A record about a request, outside any segment's decision. It does not use the path state: the
/// timer can run while a segment is being followed. Whether it is asked for.
#[inline(always)]
pub fn request(listener: u64, req: u64, kind: Kind, rung: Rung, path: u32) -> bool {
    let mut event = RawEvent::EMPTY;
    if sock::tuple(req, &mut event).is_none()
        || !filter::wants(event.server_port, event.netns)
        || !filter::wants_segment(&event)
    {
        return false;
    }
    emit::begin(&mut event, kind, rung);
    event.path = path;
    sock::request::<Probed>(req, &mut event);
    if listener != 0 {
        if !filter::wants_socket(listener, event.netns) {
            return false;
        }
        event.sk = listener;
        event.ino = sock::inode::<Probed>(listener);
        event.sk_state = sock::state::<Probed>(listener);
        let (queue, read) = sock::queue::<Probed>(listener);
        event.before = queue;
        event.valid |= read;
    }
    emit::record(&event);
    true
}

/// A record about a request that somebody ended.
#[inline(always)]
pub fn ended_request(req: u64, kind: Kind, rung: Rung) -> bool {
    let listener = read::field(req, &REQ_LISTENER).unwrap_or(0);
    request(listener, req, kind, rung, 0)
}

/// An ICMP error about a segment with this sequence number. It removes the request only if it is
/// fatal (`abort`) and quotes the SYN-ACK. Whether it is reported.
#[inline(always)]
pub fn icmp_error(req: u64, seq: u32, abort: u8, rung: Rung) -> bool {
    abort & 1 != 0
        && read::field(req, &REQ_SNT_ISN) == Some(seq.into())
        && ended_request(req, Kind::IcmpError, rung)
}

/// A record about the child `sk` if it waits in the accept queue. An application's socket has a
/// `sk_socket`, an orphaned one is `SOCK_DEAD`; of a child that nobody has accepted neither is so.
#[inline(always)]
pub fn waiting_child(sk: u64, kind: Kind, rung: Rung, bit: u32) {
    let (Some(socket), Some(flags)) = (read::field(sk, &SOCK_SOCKET), read::field(sk, &SOCK_FLAGS))
    else {
        return;
    };
    if socket != 0 || flags >> (FLAG_DEAD.load() & 63) & 1 != 0 {
        return;
    }
    // An MPTCP listener resets its children in whatever state they are (mptcp_subflow_queue_clean
    // in net/mptcp/subflow.c; seen from 6.1 to 7.3) before inet_csk_listen_stop does: it shows
    // nothing of them.
    let state = match read::field(sk, &TCP_IS_MPTCP) {
        Some(1..) => 0,
        _ => sock::state::<Probed>(sk),
    };
    child(sk, state, 0, kind, rung, bit);
}

/// A record about a child socket, of `listener` if that is known.
#[inline(always)]
pub fn child(sk: u64, state: u8, listener: u64, kind: Kind, rung: Rung, bit: u32) {
    let mut event = RawEvent::EMPTY;
    if sock::child_tuple(sk, &mut event).is_none()
        || !filter::wants(event.server_port, event.netns)
        || !filter::wants_segment(&event)
    {
        return;
    }
    emit::begin(&mut event, kind, rung);
    event.path = bit;
    event.sk = sk;
    event.sk_state = state;
    if listener != 0 {
        event.ino = sock::inode::<Probed>(listener);
    }
    emit::record(&event);
}

/// An RST answers a segment; `sk` is the listener, the socket the segment belongs to, or 0; `reason`
/// may be [`read::NO_REASON`].
#[inline(always)]
pub fn reset(sk: u64, skb: u64, reason: u64, bit: u32, rung: Rung) {
    if reset_followed(skb, reason, bit, rung) == 0 {
        stray_reset(sk, skb, reason, bit, rung);
    }
}

/// An RST that answers a segment which is followed: 1 if it is. In a function of its own, for the stack.
#[inline(never)]
fn reset_followed(skb: u64, reason: u64, bit: u32, rung: Rung) -> u32 {
    if let Some(state) = PathState::get()
        && state.is_bare(skb)
    {
        state.mark(bit);
        reset_reason(&mut state.event, reason);
        return 1;
    }
    let followed = match rung {
        Rung::Tracepoint => followed::find(skb).and_then(|state| state.of(skb)),
        Rung::Fentry | Rung::Kprobe => PathState::following(skb),
    };
    if let Some(state) = followed {
        // tcp_v4_send_reset and its IPv6 twin answer no RST, though they are called.
        if state.event.tcp_flags & RST != 0 {
            return 1;
        }
        state.mark(bit);
        reset_reason(&mut state.event, reason);
        // tcp_check_req is still to return; after the other two nobody else ends the record.
        if state.has(Path::CHECK_REQ_LISTENER | Path::COOKIE_CHECK_LISTENER) {
            state.finish();
        }
        return 1;
    }
    0
}

/// An RST that answers a segment which nobody follows. In a function of its own, for the stack.
#[inline(never)]
fn stray_reset(sk: u64, skb: u64, reason: u64, bit: u32, rung: Rung) -> u32 {
    u32::from(report_stray_reset(sk, skb, reason, bit, rung).is_some())
}

#[inline(always)]
fn report_stray_reset(sk: u64, skb: u64, reason: u64, bit: u32, rung: Rung) -> Option<()> {
    // On the stack, not in this CPU's state: where there is no segment to follow, a process may be
    // working off the backlog of its socket, and a softirq begins to follow one meanwhile.
    let mut event = RawEvent::EMPTY;
    if !stray(sk) || skb::parse(skb, At::Tcp, &mut event).is_none() {
        return None;
    }
    let netns = if sk == 0 { skb::netns(skb) } else { sock::netns::<Probed>(sk) }?;
    if event.tcp_flags & RST != 0
        || !filter::wants(event.server_port, netns)
        || !filter::wants_segment(&event)
    {
        return None;
    }
    emit::begin(&mut event, Kind::Reset, rung);
    event.netns = netns;
    event.path = bit;
    if sk != 0 {
        if !filter::wants_socket(sk, netns) {
            return None;
        }
        event.sk = sk;
        event.sk_state = sock::state::<Probed>(sk);
        event.ino = sock::inode::<Probed>(sk);
    }
    reset_reason(&mut event, reason);
    emit::record(&event);
    Some(())
}

/// Whether a segment that `sk` answers by RST met nobody but a listener, or no socket at all (0).
/// Any other socket is a connection of its own, or what is left of one.
#[inline(always)]
pub fn stray(sk: u64) -> bool {
    sk == 0 || sock::state::<Probed>(sk) == STATE_LISTEN.load()
}

/// Notes why the RST is sent, if the kernel says so.
#[inline(always)]
pub fn reset_reason(event: &mut RawEvent, reason: u64) {
    if reason != read::NO_REASON {
        event.reset_reason = reason as u32;
        event.valid |= valid::RESET_REASON;
    }
}
