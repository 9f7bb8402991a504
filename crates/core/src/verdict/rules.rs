//! The rules: one event -> the stage it is, with evidence. A table in code: each rule is
//! one exit of the kernel's functions.

use overflow_common::{Kind, Path, Rung};

use super::{
    Class, Known, Stage, Values, VerdictId,
    paths::{self, CallPath},
};
use crate::{
    decode::Event,
    packet::flags::{ACK, RST, SYN},
    syn_limit::SynQueueLimit,
    tcp_state::TcpState,
};

/// The state of a child that its listener's close disconnects.
const TCP_CLOSE: u8 = TcpState::Close.number();

/// What the rules know besides the event itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    /// Where this kernel's SYN queue limit was seen to be.
    pub syn_queue_limit: Option<SynQueueLimit>,
    /// The last handshake stage of the same connection so far.
    pub last: Option<VerdictId>,
    /// The sequence number of its request's SYN (`rcv_isn`), if one was seen.
    pub rcv_isn: Option<u32>,
    /// Whether its request is known to be gone.
    pub gone: bool,
    /// Whether the application has accepted it.
    pub accepted: bool,
}

/// What an event is, how that is known, and which way it went.
pub(crate) type Ruling = (VerdictId, Known, CallPath);

/// Which stage this event is, or `None` if it is none of its own (a SYN that meets its request,
/// the peer's RST, a retransmitted SYN-ACK).
pub(super) fn judged(event: &Event, context: Context) -> Option<Ruling> {
    let tracepoint = event.rung == Rung::Tracepoint;
    Some(match (event.kind, tracepoint) {
        (Kind::Syn, false) => syn(event, context),
        (Kind::Syn, true) => syn_by_tracepoints(event, context)?,
        (Kind::Ack, false) => ack(event, context)?,
        (Kind::Ack, true) => ack_by_tracepoints(event, context)?,
        // The application's socket, or the kernel for it, resets what was accepted long ago.
        (Kind::ActiveReset | Kind::PeerReset, _) if context.accepted => return None,
        // Its port was closed before the SYN came: no overflow, no connection.
        (Kind::Reset, _) if event.flags(SYN, ACK) => return None,
        (Kind::Reset, _) => (late_reset(event, context), Known::Traced, CallPath::Listener),
        // inet_csk_listen_stop disconnects a child, and tcp_disconnect (net/ipv4/tcp.c) sets CLOSE
        // before it sends the RST; seen from 5.10 to 7.3.
        (Kind::ActiveReset, _) => match event.sk_state {
            TCP_CLOSE => (VerdictId::LaterListenerClosed, Known::Traced, CallPath::Close),
            0 => {
                let why = "a child of an MPTCP listener, which is reset alike by its close, \
                           SOCK_DESTROY and keepalive; by far the most often by its close";
                (VerdictId::LaterListenerClosed, inferred(why), CallPath::Close)
            }
            _ => (VerdictId::LaterResetByServer, Known::Traced, CallPath::Reset),
        },
        (Kind::PeerReset, _) => (VerdictId::LaterResetInQueue, Known::Traced, CallPath::PeerReset),
        (Kind::Accept, _) => (VerdictId::LaterAcceptedByApp, Known::Traced, CallPath::Accept),
        (Kind::IcmpError, _) => {
            (VerdictId::LaterRequestIcmpError, Known::Traced, CallPath::IcmpError)
        }
        (Kind::Destroyed, _) => {
            (VerdictId::LaterRequestDestroyed, Known::Traced, CallPath::Destroyed)
        }
        (Kind::SynAckRetransmit | Kind::RequestRemoved, _) => return None,
    })
}

/// That stage with its evidence.
pub(super) fn stage(event: &Event, (id, known, call_path): Ruling) -> Stage {
    Stage {
        id,
        t_ns: event.t_ns,
        known,
        path: paths::functions(event, call_path),
        values: values(event, id),
        repeats_ns: Vec::new(),
    }
}

fn inferred(why: &'static str) -> Known {
    Known::Inferred(why.into())
}

/// `tcp_conn_request`: its three ways out.
fn syn(event: &Event, context: Context) -> Ruling {
    if event.path.has(Path::REQSK_HASHED) {
        (VerdictId::SynQueued, Known::Traced, CallPath::SynQueued)
    } else if event.path.has(Path::COOKIE_INIT) {
        (VerdictId::SynCookie, Known::Traced, CallPath::SynCookie)
    } else if event.path.has(Path::SYN_RECV_SOCK_CHILD) {
        (VerdictId::SynFastopen, Known::Traced, CallPath::SynFastopen)
    } else {
        let (id, known) = dropped_syn(event, context);
        (id, known, CallPath::SynDropped)
    }
}

/// Which test dropped a SYN: the order is that of `tcp_conn_request` (since v4.10, commit
/// 5ea8ea2cb7f1): the SYN queue if cookies are off, then the accept queue, then the rest.
fn dropped_syn(event: &Event, context: Context) -> (VerdictId, Known) {
    let before = event.before;
    if event.path.has(Path::COUNTED_DROP) {
        // This CPU's counters tell the tests apart.
        let id = if event.path.has(Path::COUNTED_OVERFLOW) {
            VerdictId::SynDropAcceptQueueFull
        } else if event.path.has(Path::COUNTED_QUEUE_FULL) {
            VerdictId::SynDropSynQueueFull
        } else {
            VerdictId::SynDropOther
        };
        return (id, Known::Traced);
    }
    if event.path.has(Path::UNCOUNTED) {
        let why = "the accept queue was full just after it; this CPU's counters, which prove it, \
                   were read for the first time";
        return (VerdictId::SynDropAcceptQueueFull, inferred(why));
    }
    let (Some((len, max)), Some(qlen)) = (before.accept, before.qlen) else {
        return (VerdictId::SynDropOther, inferred("the queues could not be read on this kernel"));
    };
    let accept_full = len > max;
    if event.syncookies == Some(0) {
        if qlen > max {
            return (VerdictId::SynDropSynQueueFull, Known::Traced);
        }
        if qlen == max {
            match context.syn_queue_limit {
                Some(SynQueueLimit::AtBacklog) => {
                    return (VerdictId::SynDropSynQueueFull, Known::Traced);
                }
                // At the limit, and nothing else explains the drop.
                None if !accept_full => {
                    return (
                        VerdictId::SynDropSynQueueFull,
                        inferred(
                            "the SYN queue was exactly at its limit, and whether this kernel \
                             tests >= or > was not seen",
                        ),
                    );
                }
                None | Some(SynQueueLimit::AboveBacklog) => {}
            }
        }
    }
    if accept_full {
        (VerdictId::SynDropAcceptQueueFull, Known::Traced)
    } else {
        (VerdictId::SynDropOther, Known::Traced)
    }
}

/// One of these is set where `tcp_check_req`'s exit was seen.
const CHECK_REQ_RETURNED: u32 =
    Path::CHECK_REQ_NULL | Path::CHECK_REQ_LISTENER | Path::CHECK_REQ_CHILD;

/// `tcp_check_req` and `cookie_v4_check`: every exit.
fn ack(event: &Event, context: Context) -> Option<Ruling> {
    let path = event.path;
    let no_child = path.has(Path::SYN_RECV_SOCK_NULL) && !path.has(Path::SYN_RECV_SOCK_CHILD);
    let full = if path.has(Path::COUNTED) {
        path.has(Path::COUNTED_OVERFLOW)
    } else {
        event.accept_queue_full() != Some(false)
    };
    let reset = path.has(Path::SEND_RESET | Path::TP_SEND_RESET);
    if path.has(Path::COOKIE_CHECK) {
        let id = if path.has(Path::COOKIE_CHECK_CHILD) {
            VerdictId::AckAcceptedCookie
        } else if path.has(Path::COOKIE_CHECK_NULL) || no_child {
            match (no_child, full) {
                (true, true) => VerdictId::AckDropOverflowCookie,
                (true, false) => VerdictId::AckDropChildFailed,
                (false, _) if path.has(Path::SYN_RECV_SOCK_CHILD) => VerdictId::AckDropLostRace,
                (false, _) => VerdictId::AckDropOther,
            }
        } else if reset {
            if path.has(Path::CHECK_REQ_LISTENER) {
                VerdictId::AckResetBadAck
            } else {
                late_reset(event, context)
            }
        } else {
            return None;
        };
        return Some((id, Known::Traced, CallPath::Cookie));
    }
    if event.flags(RST, 0) {
        // embryonic_reset answers no RST; a RST that is not exact enough leaves the request alone.
        return path.has(Path::REQSK_DROP).then_some((
            VerdictId::LaterResetByClient,
            Known::Traced,
            CallPath::Request,
        ));
    }
    if event.flags(SYN, 0) {
        // Else the client's SYN again: its SYN-ACK is resent.
        let judged = (VerdictId::AckResetBadSyn, Known::Traced, CallPath::Request);
        return reset.then_some(judged);
    }
    let mut known = Known::Traced;
    let id = if path.has(Path::CHECK_REQ_CHILD) {
        VerdictId::AckAccepted
    } else if path.has(Path::CHECK_REQ_NULL) || no_child {
        match (no_child, full, reset) {
            (true, true, false) => VerdictId::AckDropOverflow,
            (true, true, true) => VerdictId::AckResetOverflow,
            (true, false, false) => VerdictId::AckDropChildFailed,
            (true, false, true) => VerdictId::AckResetChildFailed,
            (false, _, true) => VerdictId::AckResetOther,
            (false, _, false) if path.has(Path::SYN_RECV_SOCK_CHILD) => VerdictId::AckDropLostRace,
            (false, _, false) => {
                let (id, why) = refused(event, context);
                known = why;
                id
            }
        }
    } else if path.has(Path::CHECK_REQ_LISTENER) && reset {
        VerdictId::AckResetBadAck
    } else if path.has(Path::SYN_RECV_SOCK_CHILD) && !path.has(CHECK_REQ_RETURNED) {
        // A trace of overflows alone sees no more of an ACK that recovers.
        VerdictId::AckAccepted
    } else {
        return None;
    };
    Some((id, known, CallPath::Request))
}

/// `tcp_check_req` returned NULL without trying a child: its exits in the order of its code. Seen
/// is only that it was one of these; which, the segment shows.
fn refused(event: &Event, context: Context) -> (VerdictId, Known) {
    if !event.flags(ACK, 0) {
        return (VerdictId::AckDropOther, Known::Traced);
    }
    match in_window(event, context) {
        Some(false) => return (VerdictId::AckDropOutOfWindow, Known::Traced),
        Some(true) if !deferred(event) => {
            let why = "tcp_check_req's other exits are excluded: it is in the window, no child was \
                       tried, nothing was deferred";
            return (VerdictId::AckDropPaws, inferred(why));
        }
        Some(true) | None => {}
    }
    if deferred(event) {
        (VerdictId::AckDropDeferAccept, Known::Traced)
    } else {
        (VerdictId::AckDropOther, Known::Traced)
    }
}

/// `tcp_in_window` for the segment of a request; `None` without its SYN. The window offered
/// (`rsk_rcv_wnd`) is not read: it never exceeds 65535 bytes before the handshake is over.
fn in_window(event: &Event, context: Context) -> Option<bool> {
    let offset = event.segment?.seq.wrapping_sub(context.rcv_isn?.wrapping_add(1));
    Some(offset <= 0xffff)
}

/// TCP_DEFER_ACCEPT: `num_timeout < rskq_defer_accept` and no data in the ACK.
fn deferred(event: &Event) -> bool {
    let bare = event.segment.is_some_and(|s| s.payload_len == 0);
    bare && event.num_timeout.zip(event.defer_accept).is_some_and(|(n, limit)| n < limit)
}

/// An RST from a listener, or from nobody: after an earlier stage it is the end of a connection
/// the client believed in; else the segment never had a connection here.
fn late_reset(event: &Event, context: Context) -> VerdictId {
    match context.last {
        Some(_) if context.gone => VerdictId::LaterResetNoSocket,
        // A trace of overflows alone saw its end and nothing before.
        None if context.gone && event.rung != Rung::Tracepoint => VerdictId::LaterResetNoSocket,
        // A pending request's segment meets tcp_check_req: this one found the request gone.
        Some(VerdictId::SynQueued)
            if event.rung != Rung::Tracepoint && !event.path.has(Path::CHECK_REQ) =>
        {
            VerdictId::LaterResetNoSocket
        }
        Some(VerdictId::SynCookie) => VerdictId::LaterResetNoSocket,
        Some(id) => match id.class() {
            Class::AckAccepted | Class::AckDropped | Class::AckReset => {
                VerdictId::LaterResetNoSocket
            }
            Class::SynAnswered | Class::SynDropped | Class::Later => VerdictId::AckResetOther,
        },
        None if event.path.has(Path::COOKIE_CHECK_LISTENER) => VerdictId::AckResetInvalidCookie,
        None => VerdictId::AckResetOther,
    }
}

/// The SYN without `tcp_conn_request` itself: inferred from the SYN-ACK that left meanwhile.
fn syn_by_tracepoints(event: &Event, context: Context) -> Option<Ruling> {
    let path = event.path;
    if path.has(Path::TP_KFREE_SKB) {
        // tcp_conn_request consumes what it drops; this SYN was dropped before or by a request.
        let by_request =
            context.last == Some(VerdictId::SynQueued) || path.has(Path::TP_SYNACK_REQUEST);
        let why = "freed with a drop reason, outside tcp_conn_request";
        let dropped = (VerdictId::SynDropOther, inferred(why), CallPath::SynDropped);
        return (!by_request).then_some(dropped);
    }
    Some(if path.has(Path::TP_SYNACK_FASTOPEN) {
        let why = "a SYN-ACK owned by a child left while the SYN was handled";
        (VerdictId::SynFastopen, inferred(why), CallPath::SynFastopen)
    } else if path.has(Path::TP_SYNACK_REQUEST) {
        let why = "a SYN-ACK owned by a request left while the SYN was handled";
        (VerdictId::SynQueued, inferred(why), CallPath::SynQueued)
    } else if path.has(Path::TP_SYNACK_COOKIE) {
        let why = "a SYN-ACK without a request left while the SYN was handled";
        (VerdictId::SynCookie, inferred(why), CallPath::SynCookie)
    } else {
        let (id, _) = dropped_syn(event, context);
        let why = "no SYN-ACK left while the SYN was handled; the queue from its length then";
        (id, inferred(why), CallPath::SynDropped)
    })
}

/// The third ACK without the functions that decide it: inferred from how the segment was freed.
fn ack_by_tracepoints(event: &Event, context: Context) -> Option<Ruling> {
    let path = event.path;
    let full = event.accept_queue_full() != Some(false);
    let cookie_syn =
        matches!(context.last, Some(VerdictId::SynCookie | VerdictId::AckDropOverflowCookie));
    if path.has(Path::TP_ESTABLISHED) {
        if context.last == Some(VerdictId::SynFastopen) {
            // It was in the accept queue before this ACK.
            return None;
        }
        let why = "its child became ESTABLISHED; request or cookie is known from the SYN's stage";
        return Some(if cookie_syn {
            (VerdictId::AckAcceptedCookie, inferred(why), CallPath::Cookie)
        } else {
            (VerdictId::AckAccepted, inferred(why), CallPath::Request)
        });
    }
    if event.flags(RST, 0) {
        let pending =
            matches!(context.last, Some(VerdictId::SynQueued | VerdictId::AckDropOverflow));
        let seq = event.segment.map(|s| s.seq);
        let exact = seq.is_some() && seq == context.rcv_isn.map(|isn| isn.wrapping_add(1));
        let why = "a RST exactly in sequence while its request was pending";
        return (pending && exact)
            .then(|| (VerdictId::LaterResetByClient, inferred(why), CallPath::Request));
    }
    let settled =
        matches!(context.last, Some(VerdictId::AckAccepted | VerdictId::AckAcceptedCookie));
    if !path.has(Path::TP_KFREE_SKB) || settled {
        return None;
    }
    let reason = event.drop_reason.as_deref();
    let reset = path.has(Path::TP_SEND_RESET | Path::SEND_RESET);
    // Set in tcp_check_req's listen_overflow branch and nowhere else (v6.15, a11a791ca81e).
    let listen_overflow = reason == Some("TCP_LISTEN_OVERFLOW");
    if reset {
        if event.flags(SYN, 0) {
            return Some((VerdictId::AckResetBadSyn, Known::Traced, CallPath::Request));
        }
        let pending =
            matches!(context.last, Some(VerdictId::SynQueued | VerdictId::AckDropOverflow));
        // Else the request was gone, and the listener answered.
        let aborts = event.abort_on_overflow != Some(0);
        return Some(
            if listen_overflow || (pending && full && aborts && reason != Some("TCP_FLAGS")) {
                let id =
                    if full { VerdictId::AckResetOverflow } else { VerdictId::AckResetChildFailed };
                let known = if listen_overflow {
                    Known::Traced
                } else {
                    inferred("its request was pending, the queue full, and an RST answered it")
                };
                (id, known, CallPath::Request)
            } else if context.last == Some(VerdictId::SynQueued)
                && !context.gone
                && reason == Some("TCP_FLAGS")
            {
                // Refused by the listener itself (tcp_rcv_state_process, LISTEN) although its request
                // is pending: tcp_check_req gives such a segment to the listener for its ACK number.
                (VerdictId::AckResetBadAck, Known::Traced, CallPath::Request)
            } else if context.last.is_none() {
                let why = "a listener answered an ACK by RST without any SYN of this client before";
                (VerdictId::AckResetInvalidCookie, inferred(why), CallPath::Cookie)
            } else {
                (late_reset(event, context), Known::Traced, CallPath::Listener)
            },
        );
    }
    if listen_overflow {
        let id = if full { VerdictId::AckDropOverflow } else { VerdictId::AckDropChildFailed };
        return Some((id, Known::Traced, CallPath::Request));
    }
    if event.freed_in.is_some_and(|f| f.starts_with("cookie_")) || cookie_syn {
        // NO_SOCKET inside cookie_v4_check (v6.9, commit 65be4393f363): tcp_get_cookie_sock
        // returned NULL.
        let exact =
            event.freed_in.is_some_and(|f| f.starts_with("cookie_")) && reason == Some("NO_SOCKET");
        let known = if exact {
            Known::Traced
        } else {
            inferred("it was dropped without an RST after a SYN cookie")
        };
        let id = if full { VerdictId::AckDropOverflowCookie } else { VerdictId::AckDropOther };
        return Some((id, known, CallPath::Cookie));
    }
    if matches!(context.last, Some(VerdictId::SynQueued)) {
        // Both by tcp_check_req's drop_reason argument (v6.15, commit a11a791ca81e).
        let by_reason = match reason {
            Some("TCP_RFC7323_PAWS" | "TCP_RFC7323_TSECR") => Some(VerdictId::AckDropPaws),
            Some("TCP_OVERWINDOW" | "TCP_INVALID_SEQUENCE" | "TCP_OLD_SEQUENCE") => {
                Some(VerdictId::AckDropOutOfWindow)
            }
            _ => None,
        };
        if let Some(id) = by_reason {
            return Some((id, Known::Traced, CallPath::Request));
        }
    }
    // This rung does not see how often the request timed out.
    let deferring = event.num_timeout.is_none() && event.defer_accept > Some(0);
    let bare = event.segment.is_some_and(|s| s.payload_len == 0);
    let (id, why) = if deferred(event) || (deferring && bare && !full) {
        (VerdictId::AckDropDeferAccept, "a bare ACK was dropped with TCP_DEFER_ACCEPT in force")
    } else if full && context.last.is_some() {
        (VerdictId::AckDropOverflow, "it was dropped without an RST while the queue was full")
    } else {
        (VerdictId::AckDropOther, "it was dropped while the queue had room")
    };
    Some((id, inferred(why), CallPath::Request))
}

fn values(event: &Event, id: VerdictId) -> Values {
    // What the decision saw: the entry's reading, but the exit's if only that shows it full.
    let decided = match (event.before.accept_queue_full(), event.after) {
        (Some(false), Some(after))
            if after.accept_queue_full() == Some(true) && id.class().refuses() =>
        {
            after
        }
        _ => event.before,
    };
    let read = id
        .class()
        .refuses()
        .then(|| id.is_listen_overflow() && !event.path.has(Path::COOKIE_CHECK));
    Values {
        sk_ack_backlog: decided.accept.map(|(len, _)| len),
        sk_max_ack_backlog: decided.accept.map(|(_, max)| max),
        syn_queue_len: event.before.qlen,
        syn_queue_young: event.before.young,
        syncookies: event.syncookies,
        abort_on_overflow: event.abort_on_overflow,
        abort_on_overflow_read: read,
        num_timeout: event.num_timeout,
        // Judged with the events before it: see judge.rs.
        queue_wait_ns: None,
        drop_reason: event.drop_reason.clone(),
        reset_reason: event.reset_reason.clone(),
    }
}
