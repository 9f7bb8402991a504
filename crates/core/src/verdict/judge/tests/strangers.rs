//! Segments that are no third ACK: late ones of a connection that was served, or that is older than
//! the trace. The kernel answers them by RST; they say nothing of a handshake.

use super::*;

/// What a listener does with a segment that is none of its handshakes, as all hooks show it.
const REFUSED_BY_LISTENER: u32 =
    Path::COOKIE_CHECK | Path::COOKIE_CHECK_LISTENER | Path::SEND_RESET;

/// Each way in which an RST by a listener, or by nobody, is seen.
fn resets() -> [Event; 5] {
    let late = |flags, payload_len, m: Event| Event {
        segment: Some(Segment { flags, seq: 2, ack_seq: 1, payload_len }),
        ..m
    };
    [
        late(ACK, 0, ack(REFUSED_BY_LISTENER)),
        late(ACK | FIN, 0, event(Kind::Reset, Path::SEND_RESET)),
        late(ACK | PSH, 100, Event { sk: 0, sk_state: 0, ..event(Kind::Reset, Path::SEND_RESET) }),
        Event {
            drop_reason: Some("TCP_FLAGS".into()),
            ..late(ACK, 9, tp(ack(Path::TP_KFREE_SKB | Path::TP_SEND_RESET)))
        },
        late(ACK, 9, tp(event(Kind::Reset, Path::TP_SEND_RESET))),
    ]
}

#[test]
fn without_a_history_nothing_is_told() {
    for reset in resets() {
        check(vec![reset.clone()], " => none");
        // Nor counted, where it is counted without its history.
        assert_eq!(crate::verdict::of_one(&reset, None), None);
    }
}

#[test]
fn a_connection_that_was_made_is_no_handshake_any_more() {
    for reset in resets() {
        check(
            vec![syn(QUEUED), ack(TAKEN), event(Kind::Accept, 0), reset.clone()],
            "syn.queued ack.accepted later.accepted_by_app => later.accepted_by_app",
        );
        check(
            vec![syn(QUEUED), ack(TAKEN), reset.clone()],
            "syn.queued ack.accepted => ack.accepted",
        );
        // A copy of its third ACK lost a race on another CPU.
        let race = ack(Path::CHECK_REQ | Path::SYN_RECV_SOCK_CHILD | Path::CHECK_REQ_NULL);
        check(
            vec![syn(QUEUED), ack(TAKEN), race, reset.clone()],
            "syn.queued ack.accepted ack.drop.lost_race => ack.drop.lost_race",
        );
        // What a trace of overflows alone sees of one that got in at last, by a request or a cookie.
        let overflow = NO_CHILD | OVERFLOWED;
        check(
            vec![
                ack(overflow | Path::CHECK_REQ),
                ack(Path::CHECK_REQ | Path::SYN_RECV_SOCK_CHILD),
                reset.clone(),
            ],
            "ack.drop.overflow later.recovered ack.accepted => later.recovered",
        );
        check(
            vec![
                syn(COOKIE),
                ack(overflow | Path::COOKIE_CHECK),
                ack(Path::COOKIE_CHECK | Path::SYN_RECV_SOCK_CHILD),
                reset.clone(),
            ],
            "syn.cookie ack.drop.overflow.cookie later.recovered ack.accepted.cookie \
             => later.recovered",
        );
        // Its SYN was dropped; the next one was not, and nobody looked.
        check(
            vec![full(syn(Path::CONN_REQUEST)), reset],
            "syn.drop.accept_queue_full => syn.drop.accept_queue_full",
        );
    }
}

#[test]
fn a_handshake_that_came_to_nothing_ends_in_its_rst() {
    let gone = || event(Kind::RequestRemoved, Path::REQSK_TIMER);
    for reset in resets() {
        check(
            vec![syn(QUEUED), full(ack(REFUSED)), gone(), reset.clone()],
            "syn.queued ack.drop.overflow later.request_expired later.reset_no_socket \
             => later.reset_no_socket",
        );
        check(
            vec![syn(COOKIE), full(ack(COOKIE_REFUSED)), reset.clone()],
            "syn.cookie ack.drop.overflow.cookie later.reset_no_socket => later.reset_no_socket",
        );
        check(
            vec![syn(COOKIE), reset.clone()],
            "syn.cookie ack.reset.invalid_cookie => ack.reset.invalid_cookie",
        );
        // The request leaves the table as its child is made, too: that alone is no end.
        let unlinked = event(Kind::RequestRemoved, Path::REQSK_DROP);
        check(vec![unlinked, reset], " => none");
    }
}

#[test]
fn another_connection_from_the_same_port_is_another() {
    for mut reset in resets() {
        reset.segment.as_mut().unwrap().seq = 0x4000_0000;
        check(
            vec![syn(COOKIE), full(ack(COOKIE_REFUSED)), reset.clone()],
            "syn.cookie ack.drop.overflow.cookie => later.phantom",
        );
        check(
            vec![ack(NO_CHILD | OVERFLOWED | Path::CHECK_REQ | Path::SEND_RESET), reset],
            "ack.reset.overflow => ack.reset.overflow",
        );
    }
}

#[test]
fn no_rst_answers_an_rst() {
    for mut reset in resets() {
        reset.segment.as_mut().unwrap().flags = RST;
        check(
            vec![syn(COOKIE), full(ack(COOKIE_REFUSED)), reset.clone()],
            "syn.cookie ack.drop.overflow.cookie => ack.drop.overflow.cookie",
        );
        check(vec![reset], " => none");
    }
}

#[test]
fn a_connections_own_socket_resets_no_handshake() {
    for sk_state in [1, 3, 5, 6, 7] {
        let own = Event { sk_state, ..event(Kind::Reset, Path::SEND_RESET) };
        check(
            vec![syn(COOKIE), full(ack(COOKIE_REFUSED)), own],
            "syn.cookie ack.drop.overflow.cookie => later.phantom",
        );
    }
}

#[test]
fn a_child_that_mptcp_disposes_of_was_not_accepted() {
    check(
        vec![syn(QUEUED), ack(TAKEN | Path::SEND_RESET)],
        "syn.queued ack.reset.other => ack.reset.other",
    );
    // An SMC listener refuses without asking for TCP's child; abort=1 resets.
    check(
        vec![syn(QUEUED), full(ack(Path::CHECK_REQ | Path::CHECK_REQ_NULL | Path::SEND_RESET))],
        "syn.queued ack.reset.other => ack.reset.other",
    );
}

#[test]
fn a_full_queue_of_an_smc_socket_is_an_overflow() {
    let counted = Path::COUNTED | Path::COUNTED_DROP;
    let request = |more| ack(Path::CHECK_REQ | Path::CHECK_REQ_NULL | counted | more);
    check(
        vec![syn(QUEUED), request(Path::COUNTED_OVERFLOW)],
        "syn.queued ack.drop.overflow? => later.pending",
    );
    check(
        vec![syn(QUEUED), request(Path::COUNTED_OVERFLOW | Path::SEND_RESET)],
        "syn.queued ack.reset.overflow? => ack.reset.overflow",
    );
    let cookie = Path::COOKIE_CHECK | Path::COOKIE_CHECK_NULL | counted | Path::COUNTED_OVERFLOW;
    check(
        vec![syn(Path::CONN_REQUEST | Path::COOKIE_INIT), ack(cookie)],
        "syn.cookie ack.drop.overflow.cookie? => later.phantom",
    );
    // More handshakes of its own than the backlog: its queue is not full.
    check(vec![syn(QUEUED), request(0)], "syn.queued ack.drop.other? => later.pending");
}
