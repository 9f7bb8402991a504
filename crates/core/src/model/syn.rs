//! A SYN reaches the listener: `tcp_conn_request()`, in the kernel's order of tests.

use super::{
    condition::Condition,
    listener::{ListenSock, Request},
    time::Nanos,
};
use crate::verdict::VerdictId;

/// What the listener did with a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SynAnswer {
    /// A request was queued, a SYN-ACK sent.
    Queued(Request, Condition),
    /// A SYN-ACK with a cookie was sent, nothing kept.
    Cookie(Condition),
    /// No answer.
    Dropped(VerdictId, Condition),
}

/// `tcp_conn_request()` of 3.17 and later; RHEL 7 has it too.
pub(crate) fn conn_request(sk: &mut ListenSock, now: Nanos) -> SynAnswer {
    let full = sk.syn_queue_is_full();
    let queue = sk.syn_queue_condition();
    let mut want_cookie = None;
    if sk.sysctls.syncookies == 2 || full {
        // tcp_syn_flood_action()
        if sk.sysctls.syncookies == 0 {
            sk.counters.req_q_full_drop += 1;
            sk.counters.listen_drops += 1;
            return SynAnswer::Dropped(VerdictId::SynDropSynQueueFull, queue);
        }
        sk.counters.req_q_full_do_cookies += 1;
        want_cookie = Some(if full { queue } else { Condition::CookiesAlways });
    }

    if let Some(condition) = accept_queue_refuses(sk) {
        sk.counters.listen_overflows += 1;
        sk.counters.listen_drops += 1;
        return SynAnswer::Dropped(VerdictId::SynDropAcceptQueueFull, condition);
    }

    if let Some(condition) = want_cookie {
        sk.last_cookie = Some(now);
        sk.counters.syncookies_sent += 1;
        if sk.features.cookie_counts_listen_drop {
            sk.counters.listen_drops += 1;
        }
        return SynAnswer::Cookie(condition);
    }

    let max = sk.sysctls.max_syn_backlog;
    // The kernel computes in int: more requests than the sysctl allows also is "less than".
    let free = i64::from(max) - i64::from(sk.qlen);
    if sk.sysctls.syncookies == 0 && free < i64::from(max >> 2) {
        sk.counters.listen_drops += 1;
        let condition = Condition::LastQuarter { max_syn_backlog: max, qlen: sk.qlen };
        return SynAnswer::Dropped(VerdictId::SynDropOther, condition);
    }

    SynAnswer::Queued(sk.add_request(now), queue)
}

/// The accept queue's say: full, and before 5ea8ea2cb7f1 (4.10) also more than one young request.
fn accept_queue_refuses(sk: &ListenSock) -> Option<Condition> {
    let young = sk.features.young_rule.then_some(sk.young);
    (sk.acceptq_is_full() && young.is_none_or(|young| young > 1)).then_some(
        Condition::SynAcceptQueue {
            ack_backlog: sk.ack_backlog,
            max_ack_backlog: sk.limits.max_ack_backlog,
            young,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            config::{Limits, Listener, Sysctls},
            features::Features,
        },
        *,
    };

    fn listener(features: Features, backlog: u32, syncookies: u8) -> ListenSock {
        let sysctls = Sysctls { syncookies, ..Sysctls::default() };
        let listener = Listener { backlog, ..Listener::default() };
        ListenSock::new(features, sysctls, Limits::new(&features, listener, &sysctls), 0)
    }

    fn queued(sk: &mut ListenSock, syns: u32) -> u32 {
        (0..syns).map(|_| u32::from(matches!(conn_request(sk, 0), SynAnswer::Queued(..)))).sum()
    }

    #[test]
    fn backlog_1_queues_16_on_3_10_1_on_4_4_and_2_with_the_stable_fix() {
        assert_eq!(queued(&mut listener(Features::EL7, 1, 1), 20), 16);
        assert_eq!(queued(&mut listener(Features::V4_4, 1, 1), 20), 1);
        assert_eq!(queued(&mut listener(Features::V5_4, 1, 1), 20), 1);
        assert_eq!(queued(&mut listener(Features::V5_4.above_backlog(), 1, 1), 20), 2);
    }

    #[test]
    fn backlog_0_without_cookies_never_connects_from_4_4_to_6_12_9() {
        assert_eq!(queued(&mut listener(Features::V5_4, 0, 0), 3), 0);
        assert_eq!(queued(&mut listener(Features::V5_4.above_backlog(), 0, 0), 3), 1);
        assert_eq!(queued(&mut listener(Features::EL7, 0, 0), 3), 3);
    }

    #[test]
    fn full_accept_queue_still_admits_two_young_requests_before_4_10() {
        for (features, admitted) in [(Features::EL7, 2), (Features::V4_4, 2), (Features::V4_15, 0)]
        {
            let mut sk = listener(features, 4, 0);
            sk.ack_backlog = 5;
            assert_eq!(queued(&mut sk, 4), admitted, "{features:?}");
        }
    }

    #[test]
    fn full_accept_queue_beats_the_cookie_but_the_cookie_is_counted_since_4_10() {
        let mut sk = listener(Features::V5_4, 1, 2);
        sk.ack_backlog = 2;
        let answer = conn_request(&mut sk, 0);
        assert!(matches!(answer, SynAnswer::Dropped(VerdictId::SynDropAcceptQueueFull, _)));
        assert_eq!(sk.counters.req_q_full_do_cookies, 1);
        assert_eq!(sk.counters.syncookies_sent, 0);
    }

    #[test]
    fn without_cookies_the_last_quarter_is_reserved() {
        let mut sk = listener(Features::V5_4, 1000, 0);
        assert_eq!(queued(&mut sk, 200), 97);
        assert!(matches!(conn_request(&mut sk, 0), SynAnswer::Dropped(VerdictId::SynDropOther, _)));
    }

    #[test]
    fn cookies_count_as_listen_drops_until_4_4() {
        for (features, drops) in [(Features::V4_4, 1), (Features::V4_15, 0)] {
            let mut sk = listener(features, 1, 2);
            assert!(matches!(conn_request(&mut sk, 0), SynAnswer::Cookie(_)));
            assert_eq!(sk.counters.listen_drops, drops);
        }
    }
}
