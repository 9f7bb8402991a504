//! The rules of the tracepoint rung: a chain of consequences -> the stage it is. What is not seen is
//! inferred, in words; this CPU's counters, where the record has them, are proof.

use overflow_common::Path;

use super::{
    Context, Known, Ruling, VerdictId, deferred, dropped_syn, inferred, is_bare, late_reset,
    paths::CallPath, was_reset,
};
use crate::{
    decode::Event,
    packet::flags::{RST, SYN},
};

/// Why a segment was freed, by its drop reason, where that can be `tcp_check_req`, the cookie check
/// or the listener. Any other reason is one of the ways before them (`ip_rcv`, `tcp_v4_rcv`: a bad
/// checksum, a socket filter, IPsec, a signature), by which nothing was decided.
const OF_A_HANDSHAKE: [&str; 11] = [
    "NOT_SPECIFIED",
    "NO_SOCKET",
    "TCP_FLAGS",
    "TCP_LISTEN_OVERFLOW",
    "TCP_RFC7323_PAWS",
    "TCP_RFC7323_TSECR",
    "TCP_OVERWINDOW",
    "TCP_INVALID_SEQUENCE",
    "TCP_OLD_SEQUENCE",
    // cookie_v4_check (v6.9, commit 6be49deaa095).
    "SECURITY_HOOK",
    "IP_OUTNOROUTES",
];

/// The SYN without `tcp_conn_request` itself: inferred from the SYN-ACK that left meanwhile.
pub(super) fn syn(event: &Event, context: Context) -> Option<Ruling> {
    let path = event.path;
    if path.has(Path::TP_KFREE_SKB) {
        // tcp_conn_request consumes what it drops: this SYN was dropped before, or by a request.
        let by_request =
            context.last == Some(VerdictId::SynQueued) || path.has(Path::TP_SYNACK_REQUEST);
        if by_request || !path.has(Path::COUNTED_DROP) {
            return None;
        }
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
        let (id, known) = dropped_syn(event, context);
        let known = if path.has(Path::COUNTED_DROP) {
            known
        } else if path.has(Path::COUNTED) || id == VerdictId::SynDropOther {
            // Its SYN-ACK may wait for the neighbour's address, or in a queue of its device.
            return None;
        } else {
            inferred("no SYN-ACK left while the SYN was handled; the queue from its length then")
        };
        (id, known, CallPath::SynDropped)
    })
}

/// The third ACK without the functions that decide it: inferred from how the segment was freed.
pub(super) fn ack(event: &Event, context: Context) -> Option<Ruling> {
    let path = event.path;
    if path.has(Path::TP_ESTABLISHED) {
        return established(context);
    }
    if event.flags(RST, 0) {
        let seq = event.segment.map(|s| s.seq);
        let exact = seq.is_some() && seq == context.isn.map(|isn| isn.wrapping_add(1));
        let why = "a RST exactly in sequence while its request was pending";
        return (context.pending() && exact)
            .then(|| (VerdictId::LaterResetByClient, inferred(why), CallPath::Request));
    }
    let reason = event.drop_reason.as_deref();
    let decided = reason.is_none_or(|reason| OF_A_HANDSHAKE.contains(&reason));
    if !path.has(Path::TP_KFREE_SKB) || context.child || !decided {
        return None;
    }
    if was_reset(event) { reset(event, context) } else { dropped(event, context) }
}

/// A child became ESTABLISHED.
fn established(context: Context) -> Option<Ruling> {
    Some(match context.last {
        // It was in the accept queue before this ACK.
        Some(VerdictId::SynFastopen) => return None,
        Some(VerdictId::SynCookie | VerdictId::AckDropOverflowCookie) => {
            let why = "its child became ESTABLISHED, and its SYN was answered by a cookie";
            (VerdictId::AckAcceptedCookie, inferred(why), CallPath::Cookie)
        }
        Some(_) => {
            let why = "its child became ESTABLISHED, and its SYN had become a request";
            (VerdictId::AckAccepted, inferred(why), CallPath::Request)
        }
        None => {
            let why = "its child became ESTABLISHED; what had become of its SYN was not seen, and \
                       mostly that is a request";
            (VerdictId::AckAccepted, inferred(why), CallPath::Request)
        }
    })
}

/// Set in tcp_check_req's listen_overflow branch and nowhere else (v6.15, a11a791ca81e).
fn is_listen_overflow(event: &Event) -> bool {
    event.drop_reason.as_deref() == Some("TCP_LISTEN_OVERFLOW")
}

/// Whether the accept queue was full: by this CPU's counters, else by its length.
fn full(event: &Event) -> bool {
    if event.path.has(Path::COUNTED) {
        event.path.has(Path::COUNTED_OVERFLOW)
    } else {
        event.accept_queue_full() != Some(false)
    }
}

fn reset(event: &Event, context: Context) -> Option<Ruling> {
    let path = event.path;
    let reason = event.drop_reason.as_deref();
    let full = full(event);
    let no_child = if full { VerdictId::AckResetOverflow } else { VerdictId::AckResetChildFailed };
    // Nothing but tcp_check_req resets what syn_recv_sock has refused and counted.
    if is_listen_overflow(event) || path.has(Path::COUNTED_DROP | Path::COUNTED_OVERFLOW) {
        return Some((no_child, Known::Traced, CallPath::Request));
    }
    let its_request = context.pending() && !context.gone && context.is_its(event);
    if event.flags(SYN, 0) {
        let bad_syn = (VerdictId::AckResetBadSyn, Known::Traced, CallPath::Request);
        return its_request.then_some(bad_syn);
    }
    let aborts = event.abort_on_overflow != Some(0);
    let uncounted = !path.has(Path::COUNTED);
    if its_request && uncounted && full && aborts && reason != Some("TCP_FLAGS") {
        let why = "its request was pending, the queue full, and an RST answered it";
        return Some((no_child, inferred(why), CallPath::Request));
    }
    // Refused by the listener itself (tcp_rcv_state_process, LISTEN) although its request is
    // pending: tcp_check_req gives such a segment to the listener for its ACK number.
    if context.last == Some(VerdictId::SynQueued) && its_request && reason == Some("TCP_FLAGS") {
        return Some((VerdictId::AckResetBadAck, Known::Traced, CallPath::Request));
    }
    late_reset(event, context).map(|id| (id, Known::Traced, CallPath::Listener))
}

fn dropped(event: &Event, context: Context) -> Option<Ruling> {
    let path = event.path;
    let reason = event.drop_reason.as_deref();
    let full = full(event);
    let freed_by_cookie_check = event.freed_in.is_some_and(|f| f.starts_with("cookie_"));
    let cookie_syn =
        matches!(context.last, Some(VerdictId::SynCookie | VerdictId::AckDropOverflowCookie));
    let by_cookie = freed_by_cookie_check || (cookie_syn && context.is_its(event));
    let counted = path.has(Path::COUNTED_DROP | Path::COUNTED_OVERFLOW);
    if is_listen_overflow(event) || (counted && !by_cookie) {
        let id = if full { VerdictId::AckDropOverflow } else { VerdictId::AckDropChildFailed };
        let known = if is_listen_overflow(event) || context.last.is_some() {
            Known::Traced
        } else {
            inferred(
                "this CPU counted it as no child made; that a request waited for it, its SYN would \
                 have shown",
            )
        };
        return Some((id, known, CallPath::Request));
    }
    if by_cookie {
        // NO_SOCKET inside cookie_v4_check (v6.9, commit 65be4393f363): tcp_get_cookie_sock
        // returned NULL.
        let exact = freed_by_cookie_check && reason == Some("NO_SOCKET");
        let (id, known) = match (counted, full) {
            (true, true) => (VerdictId::AckDropOverflowCookie, Known::Traced),
            (true, false) => (VerdictId::AckDropChildFailed, Known::Traced),
            (false, true) if exact => (VerdictId::AckDropOverflowCookie, Known::Traced),
            (false, true) => {
                let why = "it was dropped without an RST after a SYN cookie";
                (VerdictId::AckDropOverflowCookie, inferred(why))
            }
            (false, false) => {
                let why = "it was dropped after a SYN cookie, and nothing shows a full queue";
                (VerdictId::AckDropOther, inferred(why))
            }
        };
        return Some((id, known, CallPath::Cookie));
    }
    // Whose handshake was not seen is no third ACK by any evidence. One that was met its request:
    // anything else with an ACK the listener answers by RST.
    if !context.last.is_some_and(VerdictId::leaves_request) {
        return None;
    }
    if context.pending() {
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
        if context.is_far(event) {
            let why = "it was dropped, and lies outside of any window that a SYN-ACK can offer";
            return Some((VerdictId::AckDropOutOfWindow, inferred(why), CallPath::Request));
        }
    }
    // This rung does not see how often the request timed out.
    let deferring = event.num_timeout.is_none() && event.defer_accept > Some(0);
    let (id, why) = if deferred(event) || (deferring && is_bare(event) && !full) {
        (VerdictId::AckDropDeferAccept, "a bare ACK was dropped with TCP_DEFER_ACCEPT in force")
    } else if full {
        (VerdictId::AckDropOverflow, "it was dropped without an RST while the queue was full")
    } else if path.has(Path::COUNTED) {
        (VerdictId::AckDropOther, "it was dropped, and no counter of a full queue rose")
    } else {
        (VerdictId::AckDropOther, "it was dropped while the queue had room")
    };
    Some((id, inferred(why), CallPath::Request))
}
