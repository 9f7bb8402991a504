//! What becomes of a connection after its handshake, and of a request without one.

use super::*;

/// The listener's close: its child is CLOSE before it is reset.
fn close() -> Event {
    Event { sk_state: 7, ..event(Kind::ActiveReset, Path::SEND_RESET) }
}

#[test]
fn ended_from_outside() {
    let removed = || event(Kind::RequestRemoved, Path::REQSK_DROP);
    check(
        vec![syn(QUEUED), event(Kind::IcmpError, 0), removed()],
        "syn.queued later.request_icmp_error => later.request_icmp_error",
    );
    let late = Path::COOKIE_CHECK | Path::COOKIE_CHECK_LISTENER | Path::SEND_RESET;
    check(
        vec![syn(QUEUED), full(ack(REFUSED)), event(Kind::Destroyed, 0), removed(), ack(late)],
        "syn.queued ack.drop.overflow later.request_destroyed later.reset_no_socket \
         => later.reset_no_socket",
    );
    // The client sends its SYN again, and the second request has an end of its own.
    let expired = || event(Kind::RequestRemoved, Path::REQSK_TIMER);
    check(
        vec![
            syn(QUEUED),
            event(Kind::IcmpError, 0),
            removed(),
            syn(QUEUED),
            full(ack(REFUSED)),
            expired(),
        ],
        "syn.queued later.request_icmp_error syn.queued ack.drop.overflow later.request_expired \
         => later.request_expired",
    );
    check(
        vec![event(Kind::IcmpError, 0), full(ack(REFUSED)), expired()],
        "later.request_icmp_error ack.drop.overflow later.request_expired \
         => later.request_expired",
    );
    check(
        vec![syn(QUEUED), expired(), syn(QUEUED), full(ack(REFUSED))],
        "syn.queued later.request_expired syn.queued ack.drop.overflow => later.pending",
    );
    // What a trace of overflows alone sees of it.
    check(
        vec![event(Kind::Destroyed, 0), event(Kind::Reset, Path::SEND_RESET)],
        "later.request_destroyed later.reset_no_socket => later.reset_no_socket",
    );
    check(
        vec![syn(QUEUED), ack(TAKEN), event(Kind::Accept, 0), event(Kind::PeerReset, 0)],
        "syn.queued ack.accepted later.accepted_by_app => later.accepted_by_app",
    );
    // Seen is that it was removed, not by what.
    check(vec![syn(QUEUED), removed()], "syn.queued => syn.queued");
    let established = Event { sk_state: 1, ..close() };
    check(
        vec![syn(QUEUED), ack(TAKEN), established],
        "syn.queued ack.accepted later.reset_by_server => later.reset_by_server",
    );
    // MPTCP's listener resets its children twice, whatever state they are in.
    let by_mptcp = Event { sk_state: 0, ..close() };
    check(
        vec![syn(QUEUED), ack(TAKEN), by_mptcp, close()],
        "syn.queued ack.accepted later.listener_closed?+1 => later.listener_closed",
    );
    check(
        vec![syn(QUEUED), ack(TAKEN), event(Kind::PeerReset, 0), event(Kind::Accept, 0)],
        "syn.queued ack.accepted later.reset_in_queue later.accepted_by_app \
         => later.accepted_by_app",
    );
}

#[test]
fn later_life() {
    let retransmit = || event(Kind::SynAckRetransmit, 0);
    check(
        vec![
            syn(QUEUED),
            full(ack(REFUSED)),
            retransmit(),
            full(ack(REFUSED)),
            ack(TAKEN),
            close(),
        ],
        "syn.queued ack.drop.overflow+1 later.recovered ack.accepted later.listener_closed \
         => later.listener_closed",
    );
    check(
        vec![syn(QUEUED), full(ack(REFUSED)), ack(TAKEN)],
        "syn.queued ack.drop.overflow later.recovered ack.accepted => later.recovered",
    );
    check(
        vec![
            syn(QUEUED),
            full(ack(REFUSED)),
            event(Kind::RequestRemoved, Path::REQSK_DROP),
            event(Kind::RequestRemoved, Path::REQSK_TIMER),
        ],
        "syn.queued ack.drop.overflow later.request_expired => later.request_expired",
    );
    let orphaned = Event { sk_state: 7, ..event(Kind::RequestRemoved, Path::REQSK_TIMER) };
    check(
        vec![syn(QUEUED), full(ack(REFUSED)), orphaned],
        "syn.queued ack.drop.overflow later.request_orphaned => later.request_orphaned",
    );
    // What the application accepted is its own to reset.
    check(
        vec![syn(QUEUED), ack(TAKEN), event(Kind::Accept, 0), close()],
        "syn.queued ack.accepted later.accepted_by_app => later.accepted_by_app",
    );
    check(
        vec![syn(QUEUED), ack(TAKEN), event(Kind::Accept, 0)],
        "syn.queued ack.accepted later.accepted_by_app => later.accepted_by_app",
    );
}

#[test]
fn time_in_the_queue_counts_from_the_child_that_got_in() {
    let wait = |history: &[(Kind, u32, u64)]| {
        let at = |&(kind, path, t_ns): &(Kind, u32, u64)| {
            let m = Event { t_ns, ..event(kind, path) };
            // The queue was full at the first ACK, and had room at the next.
            if path & Path::CHECK_REQ_NULL == 0 { m } else { full(m) }
        };
        let history: Vec<_> = history.iter().map(at).collect();
        let connection = judge(key(), &history, None);
        let accepted = connection.stages.last().unwrap();
        assert_eq!(accepted.id, VerdictId::LaterAcceptedByApp);
        accepted.values.queue_wait_ns
    };
    let syn = (Kind::Syn, Path::CONN_REQUEST | Path::REQSK_HASHED, 0);
    let null = Path::CHECK_REQ | Path::CHECK_REQ_NULL | Path::SYN_RECV_SOCK_NULL;
    let child = Path::CHECK_REQ | Path::CHECK_REQ_CHILD | Path::SYN_RECV_SOCK_CHILD;
    let accept = (Kind::Accept, 0, 900);
    assert_eq!(wait(&[syn, (Kind::Ack, null, 200), (Kind::Ack, child, 700), accept]), Some(200));
    let fast_open = Path::CONN_REQUEST | Path::SYN_RECV_SOCK_CHILD;
    assert_eq!(wait(&[(Kind::Syn, fast_open, 100), accept]), Some(800));
    assert_eq!(wait(&[accept]), None);
}

#[test]
fn whether_it_recovered_is_for_the_client_to_say() {
    let closing = |m: Event| {
        let mut m = m;
        m.segment.as_mut().unwrap().flags = ACK | FIN;
        m
    };
    let refused = || full(ack(REFUSED));
    check(
        vec![syn(QUEUED), refused(), closing(ack(TAKEN))],
        "syn.queued ack.drop.overflow later.recovered_too_late ack.accepted \
         => later.recovered_too_late",
    );
    check(
        vec![syn(QUEUED), refused(), closing(ack(TAKEN)), event(Kind::Accept, 0)],
        "syn.queued ack.drop.overflow later.recovered_too_late ack.accepted later.accepted_by_app \
         => later.recovered_too_late",
    );
    let by_cookie = Path::COOKIE_CHECK | Path::COOKIE_CHECK_CHILD;
    check(
        vec![syn(COOKIE), full(ack(COOKIE_REFUSED)), closing(ack(by_cookie))],
        "syn.cookie ack.drop.overflow.cookie later.recovered_too_late ack.accepted.cookie \
         => later.recovered_too_late",
    );
    // Closed, or reset, after it got in and before accept() came.
    for sk_state in [7, 8] {
        let taken_too_late = Event { sk_state, ..event(Kind::Accept, 0) };
        check(
            vec![syn(QUEUED), refused(), ack(TAKEN), taken_too_late.clone()],
            "syn.queued ack.drop.overflow later.recovered ack.accepted later.accepted_by_app \
             => later.recovered_too_late",
        );
        // Of those that never waited for room nothing is said.
        check(
            vec![syn(QUEUED), ack(TAKEN), taken_too_late],
            "syn.queued ack.accepted later.accepted_by_app => later.accepted_by_app",
        );
    }
    let in_time = Event { sk_state: 1, ..event(Kind::Accept, 0) };
    check(
        vec![syn(QUEUED), refused(), ack(TAKEN), in_time],
        "syn.queued ack.drop.overflow later.recovered ack.accepted later.accepted_by_app \
         => later.accepted_by_app",
    );
    check(
        vec![syn(QUEUED), refused(), ack(TAKEN), event(Kind::PeerReset, 0)],
        "syn.queued ack.drop.overflow later.recovered ack.accepted later.reset_in_queue \
         => later.reset_in_queue",
    );
    // A client that has closed believes in no phantom.
    check(
        vec![syn(COOKIE), full(ack(COOKIE_REFUSED)), closing(full(ack(COOKIE_REFUSED)))],
        "syn.cookie ack.drop.overflow.cookie+1 => ack.drop.overflow.cookie",
    );
    check(
        vec![closing(ack(NO_CHILD | OVERFLOWED | Path::COOKIE_CHECK))],
        "ack.drop.overflow.cookie => ack.drop.overflow.cookie",
    );
}

#[test]
fn a_request_that_moved_at_its_timer_is_not_gone() {
    let moved =
        || Event { sk: 77, ..event(Kind::RequestRemoved, Path::REQSK_TIMER | Path::REQSK_HASHED) };
    let expired = event(Kind::RequestRemoved, Path::REQSK_TIMER);
    let other = || Event { sk: 77, ..full(ack(REFUSED)) };
    check(
        vec![syn(QUEUED), full(ack(REFUSED)), moved(), other(), expired],
        "syn.queued ack.drop.overflow later.migrated ack.drop.overflow later.request_expired \
         => later.request_expired",
    );
    check(
        vec![syn(QUEUED), moved(), Event { sk: 77, ..ack(TAKEN) }],
        "syn.queued later.migrated ack.accepted => ack.accepted",
    );
    // Whether a clone took its place does not show while TCP_DEFER_ACCEPT sends no SYN-ACK.
    let orphaned = Event { sk_state: 7, ..event(Kind::RequestRemoved, Path::REQSK_TIMER) };
    let bare = Event { defer_accept: Some(2), ..ack(Path::CHECK_REQ | Path::CHECK_REQ_NULL) };
    check(
        vec![syn(QUEUED), bare, orphaned],
        "syn.queued ack.drop.defer_accept later.request_orphaned? => later.request_orphaned",
    );
}
