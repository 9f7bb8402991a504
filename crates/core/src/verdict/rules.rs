//! The rules: one event -> the stage it is, with evidence. A table in code: each rule is
//! one exit of the kernel's functions.

mod by_tracepoints;

use overflow_common::{Kind, Path, Rung};

use super::{
    Class, Known, Stage, Values, VerdictId,
    paths::{self, CallPath},
};
use crate::{
    decode::{Event, Timestamps},
    packet::flags::{ACK, FIN, RST, SYN},
    syn_limit::SynQueueLimit,
    tcp_state::TcpState,
};

/// The state of a child that its listener's close disconnects.
const TCP_CLOSE: u8 = TcpState::Close.number();
/// A listener's state.
const TCP_LISTEN: u8 = TcpState::Listen.number();

/// What the rules know besides the event itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    /// Where this kernel's SYN queue limit was seen to be.
    pub syn_queue_limit: Option<SynQueueLimit>,
    /// The last handshake stage of the same connection so far.
    pub last: Option<VerdictId>,
    /// The sequence number of its SYN (`rcv_isn`), if the SYN or a third ACK was seen.
    pub isn: Option<u32>,
    /// Whether its request is known to be gone, and no child came of it.
    pub gone: bool,
    /// Whether a child came of its handshake: what follows is the life of a connection.
    pub child: bool,
    /// Whether the application has accepted it.
    pub accepted: bool,
}

impl Context {
    /// Whether a request of it may be in the SYN queue.
    fn pending(self) -> bool {
        matches!(self.last, Some(VerdictId::SynQueued | VerdictId::AckDropOverflow))
    }

    /// Whether a segment can be of this very handshake, see [`is_of`].
    fn is_its(self, event: &Event) -> bool {
        is_of(self.isn, event)
    }

    /// Whether no window that a SYN-ACK can offer has room for a segment.
    fn is_far(self, event: &Event) -> bool {
        let Some((segment, isn)) = event.segment.zip(self.isn) else { return false };
        let offset = segment.seq.wrapping_sub(isn.wrapping_add(1)).cast_signed();
        let reaches = offset.wrapping_add_unsigned(segment.payload_len);
        offset > 0xffff || (offset < 0 && reaches <= 0)
    }
}

/// Whether a segment can be of the handshake whose SYN had the sequence number `isn`, if that is
/// known: a client that nobody has acknowledged anything but its SYN sends no more than the window
/// of a SYN-ACK, which is not scaled. The port may have had other connections before and after.
pub(super) fn is_of(isn: Option<u32>, event: &Event) -> bool {
    event.segment.zip(isn).is_none_or(|(segment, isn)| {
        let distance = segment.seq.wrapping_sub(isn);
        distance.min(distance.wrapping_neg()) <= 0x1_0000
    })
}

/// What an event is, how that is known, and which way it went.
pub(crate) type Ruling = (VerdictId, Known, CallPath);

/// Which stage this event is, or `None` if it is none of its own (a SYN that meets its request,
/// the peer's RST, a retransmitted SYN-ACK).
pub(super) fn judged(event: &Event, context: Context) -> Option<Ruling> {
    let tracepoint = event.rung == Rung::Tracepoint;
    Some(match (event.kind, tracepoint) {
        (Kind::Syn, false) => syn(event, context),
        (Kind::Syn, true) => by_tracepoints::syn(event, context)?,
        (Kind::Ack, false) => ack(event, context)?,
        (Kind::Ack, true) => by_tracepoints::ack(event, context)?,
        // The application's socket, or the kernel for it, resets what was accepted long ago.
        (Kind::ActiveReset | Kind::PeerReset, _) if context.accepted => return None,
        // Its port was closed before the SYN came: no overflow, no connection.
        (Kind::Reset, _) if event.flags(SYN, ACK) => return None,
        (Kind::Reset, _) => (late_reset(event, context)?, Known::Traced, CallPath::Listener),
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

pub(super) fn inferred(why: &'static str) -> Known {
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
        let why = "the accept queue was full just after it; this CPU's counters, which would prove \
                   it, were read for the first time, or hold drops that no hook saw";
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

/// One of these is set where the exit of `cookie_v4_check` or `cookie_v6_check` was seen.
const COOKIE_CHECK_RETURNED: u32 =
    Path::COOKIE_CHECK_NULL | Path::COOKIE_CHECK_LISTENER | Path::COOKIE_CHECK_CHILD;

/// Whether an RST answered it. `tcp_v4_send_reset` and its IPv6 twin, once entered, answer no RST.
fn was_reset(event: &Event) -> bool {
    event.path.has(Path::SEND_RESET | Path::TP_SEND_RESET) && !event.flags(RST, 0)
}

const FULL_ELSEWHERE: &str = "no child of TCP's own making was asked for, and ListenOverflows rose: the \
                              accept queue that is full is the one of the SMC socket above";

/// `tcp_check_req` and `cookie_v4_check`: every exit.
fn ack(event: &Event, context: Context) -> Option<Ruling> {
    let path = event.path;
    let no_child = path.has(Path::SYN_RECV_SOCK_NULL) && !path.has(Path::SYN_RECV_SOCK_CHILD);
    let full = if path.has(Path::COUNTED) {
        path.has(Path::COUNTED_OVERFLOW)
    } else {
        event.accept_queue_full() != Some(false)
    };
    let reset = was_reset(event);
    let tried = path.has(Path::SYN_RECV_SOCK_NULL | Path::SYN_RECV_SOCK_CHILD);
    // smc_tcp_syn_recv_sock (net/smc/af_smc.c, v5.18, commit 8270d9c21041) has TCP make no child where
    // the SMC socket's own accept queue is full, and counts it as TCP does.
    let full_elsewhere = !tried && path.has(Path::COUNTED_OVERFLOW);
    if path.has(Path::COOKIE_CHECK) {
        let mut known = Known::Traced;
        let id = if path.has(Path::COOKIE_CHECK_CHILD) {
            VerdictId::AckAcceptedCookie
        } else if path.has(Path::COOKIE_CHECK_NULL) || no_child {
            match (no_child, full) {
                (true, true) => VerdictId::AckDropOverflowCookie,
                (true, false) => VerdictId::AckDropChildFailed,
                (false, _) if path.has(Path::SYN_RECV_SOCK_CHILD) => VerdictId::AckDropLostRace,
                (false, _) if full_elsewhere => {
                    known = inferred(FULL_ELSEWHERE);
                    VerdictId::AckDropOverflowCookie
                }
                (false, _) => VerdictId::AckDropOther,
            }
        } else if reset {
            if path.has(Path::CHECK_REQ_LISTENER) {
                VerdictId::AckResetBadAck
            } else {
                late_reset(event, context)?
            }
        } else if path.has(Path::SYN_RECV_SOCK_CHILD) && !path.has(COOKIE_CHECK_RETURNED) {
            // A trace of overflows alone sees no more of an ACK that recovers.
            VerdictId::AckAcceptedCookie
        } else {
            return None;
        };
        return Some((id, known, CallPath::Cookie));
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
        if reset {
            // dispose_child of subflow_syn_recv_sock (net/mptcp/subflow.c, since v5.8): it resets a
            // refused MP_JOIN, and returns the dead child all the same.
            VerdictId::AckResetOther
        } else {
            VerdictId::AckAccepted
        }
    } else if path.has(Path::CHECK_REQ_NULL) || no_child {
        match (no_child, full, reset) {
            (true, true, false) => VerdictId::AckDropOverflow,
            (true, true, true) => VerdictId::AckResetOverflow,
            (true, false, false) => VerdictId::AckDropChildFailed,
            (true, false, true) => VerdictId::AckResetChildFailed,
            (false, _, _) if full_elsewhere => {
                known = inferred(FULL_ELSEWHERE);
                if reset { VerdictId::AckResetOverflow } else { VerdictId::AckDropOverflow }
            }
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
/// is only that it was one of these; which, the segment and its request show.
fn refused(event: &Event, context: Context) -> (VerdictId, Known) {
    match event.timestamps {
        Some(Timestamps::Old | Timestamps::EchoUnsent) => {
            return (VerdictId::AckDropPaws, Known::Traced);
        }
        Some(Timestamps::Good) | None => {}
    }
    // Where the request's window was not read: no SYN-ACK offers more than 65535 bytes.
    let in_window = event.in_window.or(context.is_far(event).then_some(false));
    if in_window == Some(false) {
        return (VerdictId::AckDropOutOfWindow, Known::Traced);
    }
    if !event.flags(ACK, 0) {
        return (VerdictId::AckDropOther, Known::Traced);
    }
    if deferred(event) {
        return (VerdictId::AckDropDeferAccept, Known::Traced);
    }
    let why = match (in_window, event.timestamps) {
        // smc_tcp_syn_recv_sock (net/smc/af_smc.c, v5.18) counts handshakes of its own, and calls
        // TCP's function only below the limit.
        (Some(_), Some(_)) => {
            "its window, timestamps and TCP_DEFER_ACCEPT do not explain it: tcp_check_req asked for \
             no child of TCP's own making, as an SMC or MPTCP listener may refuse one"
        }
        (Some(_), None) => {
            "it is in the window, no child was tried and nothing was deferred; whether its \
             timestamp was too old could not be read"
        }
        (None, _) => "no child was tried; which window its request offered could not be read",
    };
    (VerdictId::AckDropOther, inferred(why))
}

/// TCP_DEFER_ACCEPT: `num_timeout < rskq_defer_accept` and nothing in the ACK that takes a sequence
/// number (`end_seq == rcv_isn + 1`).
fn deferred(event: &Event) -> bool {
    is_bare(event) && event.num_timeout.zip(event.defer_accept).is_some_and(|(n, limit)| n < limit)
}

/// Neither data nor FIN.
fn is_bare(event: &Event) -> bool {
    event.flags(0, FIN) && event.segment.is_some_and(|s| s.payload_len == 0)
}

/// An RST from a listener, or from nobody. Every segment that finds no socket of its connection is
/// answered so: late data of one that the application has closed or reset, or of one that is older
/// than the trace. It is a stage only where this connection's own handshake came to nothing before,
/// as the trace saw it.
fn late_reset(event: &Event, context: Context) -> Option<VerdictId> {
    // A connection's own socket (from its backlog, say, or in TIME_WAIT).
    let of_connection = event.kind == Kind::Reset && !matches!(event.sk_state, 0 | TCP_LISTEN);
    if event.flags(RST, 0) || of_connection || context.child || !context.is_its(event) {
        return None;
    }
    let tracepoint = event.rung == Rung::Tracepoint;
    let Some(last) = context.last else {
        // A trace of overflows alone saw its end and nothing before.
        return (context.gone && !tracepoint).then_some(VerdictId::LaterResetNoSocket);
    };
    if context.gone {
        return Some(VerdictId::LaterResetNoSocket);
    }
    if last == VerdictId::SynCookie {
        return Some(VerdictId::AckResetInvalidCookie);
    }
    match last.class() {
        // A pending request's segment meets tcp_check_req: this one found the request gone.
        // Tracepoints show neither.
        Class::SynAnswered if tracepoint => Some(VerdictId::AckResetOther),
        Class::SynAnswered | Class::AckDropped | Class::AckReset => {
            Some(VerdictId::LaterResetNoSocket)
        }
        // No SYN-ACK, no third ACK; and what came of a child is a connection.
        Class::SynDropped | Class::AckAccepted | Class::Later => None,
    }
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
