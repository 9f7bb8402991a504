//! What the tracepoint rung can say, and where it says nothing.

use super::*;

#[test]
fn on_tracepoints_a_reset_may_have_ended_the_request() {
    let mut reset = tp(ack(Path::TP_RECEIVE | Path::TP_KFREE_SKB));
    reset.segment = Some(Segment { flags: RST, seq: 100, ack_seq: 0, payload_len: 0 });
    let mut answered = tp(ack(Path::TP_KFREE_SKB | Path::TP_SEND_RESET));
    answered.drop_reason = Some("TCP_FLAGS".into());
    let queued = tp(syn(Path::TP_SYNACK_REQUEST | Path::TP_CONSUME_SKB));
    check(vec![queued.clone(), answered.clone()], "syn.queued? ack.reset.bad_ack => later.pending");
    check(
        vec![queued, reset, answered],
        "syn.queued? later.reset_no_socket => later.reset_no_socket",
    );
}

#[test]
fn tracepoints_say_what_they_can() {
    let reason = |m: Event, reason: &str| Event { drop_reason: Some(reason.into()), ..tp(m) };
    let freed = |path| full(ack(Path::TP_RECEIVE | Path::TP_KFREE_SKB | path));
    check(
        vec![tp(syn(Path::TP_SYNACK_REQUEST)), tp(ack(Path::TP_ESTABLISHED))],
        "syn.queued? ack.accepted? => ack.accepted",
    );
    check(
        vec![tp(syn(Path::TP_SYNACK_COOKIE)), tp(ack(Path::TP_ESTABLISHED))],
        "syn.cookie? ack.accepted.cookie? => ack.accepted.cookie",
    );
    check(
        vec![tp(syn(Path::TP_SYNACK_REQUEST)), reason(freed(0), "TCP_LISTEN_OVERFLOW")],
        "syn.queued? ack.drop.overflow => later.pending",
    );
    check(
        vec![
            tp(syn(Path::TP_SYNACK_REQUEST)),
            reason(freed(Path::TP_SEND_RESET), "TCP_LISTEN_OVERFLOW"),
        ],
        "syn.queued? ack.reset.overflow => ack.reset.overflow",
    );
    let in_cookie = Event { freed_in: Some("cookie_v4_check"), ..reason(freed(0), "NO_SOCKET") };
    check(
        vec![tp(syn(Path::TP_SYNACK_COOKIE)), in_cookie],
        "syn.cookie? ack.drop.overflow.cookie => later.phantom",
    );
    // Without the reason (before v6.15) the branch is not seen.
    check(
        vec![tp(syn(Path::TP_SYNACK_REQUEST)), reason(freed(0), "NOT_SPECIFIED")],
        "syn.queued? ack.drop.overflow? => later.pending",
    );
    check(
        vec![tp(full(syn(Path::TP_CONSUME_SKB)))],
        "syn.drop.accept_queue_full? => syn.drop.accept_queue_full",
    );
    // A segment of an accepted connection that is dropped for its own reasons is no third ACK.
    check(
        vec![
            tp(syn(Path::TP_SYNACK_REQUEST)),
            tp(ack(Path::TP_ESTABLISHED)),
            reason(freed(0), "TCP_OLD_DATA"),
        ],
        "syn.queued? ack.accepted? => ack.accepted",
    );
}

/// A third ACK's end with this drop reason.
fn freed(path: u32, reason: &str) -> Event {
    let event = tp(ack(Path::TP_RECEIVE | Path::TP_KFREE_SKB | path));
    Event { drop_reason: Some(reason.into()), ..event }
}

/// A SYN's end.
fn gone(path: u32) -> Event {
    tp(syn(Path::TP_RECEIVE | Path::TP_CONSUME_SKB | path))
}

const OF_QUEUE: u32 = Path::COUNTED | Path::COUNTED_DROP | Path::COUNTED_OVERFLOW;

#[test]
fn counters_prove_what_became_of_a_syn() {
    let syn_queue = Path::COUNTED | Path::COUNTED_DROP | Path::COUNTED_QUEUE_FULL;
    check(vec![gone(OF_QUEUE)], "syn.drop.accept_queue_full => syn.drop.accept_queue_full");
    check(vec![gone(syn_queue)], "syn.drop.syn_queue_full => syn.drop.syn_queue_full");
    check(vec![full(gone(Path::COUNTED | Path::COUNTED_DROP))], "syn.drop.other => syn.drop.other");
    // Nothing was dropped: its SYN-ACK waits for the neighbour, however full the queue is.
    check(vec![full(gone(Path::COUNTED))], " => none");
    // Without counters a full queue is all there is to go by.
    check(vec![gone(0)], " => none");
    // Damaged, or not let in: it never came to tcp_conn_request.
    let damaged = Event { drop_reason: Some("TCP_CSUM".into()), ..tp(syn(Path::TP_KFREE_SKB)) };
    check(vec![full(damaged.clone())], " => none");
    let counted =
        Event { path: Path(damaged.path.0 | Path::COUNTED | Path::COUNTED_DROP), ..damaged };
    check(vec![counted], "syn.drop.other => syn.drop.other");
}

#[test]
fn a_syn_ack_that_waited_shows_when_it_is_sent_again() {
    let again = || tp(event(Kind::SynAckRetransmit, 0));
    check(
        vec![gone(Path::COUNTED), again(), freed(OF_QUEUE, "NOT_SPECIFIED")],
        "syn.queued? ack.drop.overflow => later.pending",
    );
    check(
        vec![gone(Path::COUNTED), tp(ack(Path::TP_ESTABLISHED))],
        "ack.accepted? => ack.accepted",
    );
}

#[test]
fn counters_prove_what_became_of_a_third_ack() {
    let queued = || tp(syn(Path::TP_SYNACK_REQUEST));
    let cookie = || tp(syn(Path::TP_SYNACK_COOKIE));
    let no_child = Path::COUNTED | Path::COUNTED_DROP;
    check(
        vec![queued(), freed(OF_QUEUE, "NOT_SPECIFIED")],
        "syn.queued? ack.drop.overflow => later.pending",
    );
    check(
        vec![queued(), full(freed(no_child, "NOT_SPECIFIED"))],
        "syn.queued? ack.drop.child_failed => later.pending",
    );
    check(
        vec![queued(), freed(OF_QUEUE | Path::TP_SEND_RESET, "NOT_SPECIFIED")],
        "syn.queued? ack.reset.overflow => ack.reset.overflow",
    );
    check(
        vec![queued(), full(freed(no_child | Path::TP_SEND_RESET, "TCP_LISTEN_OVERFLOW"))],
        "syn.queued? ack.reset.child_failed => ack.reset.child_failed",
    );
    check(
        vec![cookie(), freed(OF_QUEUE, "NOT_SPECIFIED")],
        "syn.cookie? ack.drop.overflow.cookie => later.phantom",
    );
    check(
        vec![cookie(), full(freed(no_child, "NO_SOCKET"))],
        "syn.cookie? ack.drop.child_failed => later.phantom",
    );
    // No counter rose, so no queue was full.
    check(
        vec![queued(), full(freed(Path::COUNTED, "NOT_SPECIFIED"))],
        "syn.queued? ack.drop.other? => later.pending",
    );
    // Of this one nobody saw the SYN; that no child was made is counted all the same.
    check(vec![freed(OF_QUEUE, "NOT_SPECIFIED")], "ack.drop.overflow? => later.pending");
}

#[test]
fn a_segment_far_from_its_requests_window_met_it_all_the_same() {
    let far = |reason| {
        let mut event = freed(0, reason);
        event.segment.as_mut().unwrap().seq = 1_000_000;
        vec![tp(syn(Path::TP_SYNACK_REQUEST)), event]
    };
    check(far("TCP_OVERWINDOW"), "syn.queued? ack.drop.out_of_window => later.pending");
    check(far("NOT_SPECIFIED"), "syn.queued? ack.drop.out_of_window? => later.pending");
}

#[test]
fn what_never_came_to_a_queue_is_not_told() {
    let queued = || tp(syn(Path::TP_SYNACK_REQUEST));
    for reason in ["TCP_CSUM", "SOCKET_FILTER", "XFRM_POLICY", "TCP_MD5FAILURE", "NETFILTER_DROP"] {
        check(vec![queued(), full(freed(0, reason))], "syn.queued? => later.pending");
    }
    // Nothing shows that it was a third ACK.
    check(vec![full(freed(0, "NOT_SPECIFIED"))], " => none");
    check(vec![full(freed(Path::TP_SEND_RESET, "TCP_FLAGS"))], " => none");
    check(vec![freed(Path::TP_SEND_RESET, "NOT_SPECIFIED")], " => none");
}
