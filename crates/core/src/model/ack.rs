//! A third ACK or data reaches the server: `tcp_check_req()` where there is a request,
//! `cookie_v4_check()` where there is none.

use super::{
    condition::Condition,
    listener::{ListenSock, Request},
    time::Nanos,
};
use crate::verdict::VerdictId;

/// What a client sends once it believes it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Carries data.
    pub payload: bool,
    /// `seq == rcv_isn + 1`: nothing sent before it. The ACK of a repeated SYN-ACK comes after the
    /// data in sequence space.
    pub follows_isn: bool,
}

/// What the server did with a segment that belongs to no child socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckAnswer {
    /// The verdict.
    pub id: VerdictId,
    /// What decided it.
    pub condition: Condition,
    /// A child socket was created and queued.
    pub child: bool,
    /// An RST was sent.
    pub reset: bool,
}

/// `tcp_check_req()`: the request `req` exists. The caller removes it where a child was created or
/// an RST was sent.
pub(crate) fn check_req(sk: &mut ListenSock, req: &mut Request, segment: Segment) -> AckAnswer {
    let defer_accept = sk.limits.defer_accept;
    if req.num_timeout < defer_accept && segment.follows_isn && !segment.payload {
        req.acked = true;
        sk.counters.defer_accept_drop += 1;
        let condition = Condition::DeferAccept { num_timeout: req.num_timeout, defer_accept };
        return dropped(VerdictId::AckDropDeferAccept, condition);
    }
    if let Some(room) = syn_recv_sock(sk) {
        return accepted(VerdictId::AckAccepted, room);
    }
    // listen_overflow:
    let abort_on_overflow = sk.sysctls.abort_on_overflow;
    let condition = Condition::Overflow {
        ack_backlog: sk.ack_backlog,
        max_ack_backlog: sk.limits.max_ack_backlog,
        abort_on_overflow,
    };
    if abort_on_overflow == 0 {
        req.acked = true;
        return dropped(VerdictId::AckDropOverflow, condition);
    }
    sk.counters.embryonic_rsts += 1;
    reset(sk, VerdictId::AckResetOverflow, condition)
}

/// `cookie_v4_check()`: no request. `cookie` says whether the segment acknowledges a cookie that
/// the listener sent to this client, with the sequence number that the cookie was made of.
pub(crate) fn cookie_check(sk: &mut ListenSock, cookie: bool, now: Nanos) -> AckAnswer {
    const NO_SOCKET: VerdictId = VerdictId::LaterResetNoSocket;
    if !sk.listening {
        return reset(sk, NO_SOCKET, Condition::Closed);
    }
    if sk.sysctls.syncookies == 0 {
        return reset(sk, NO_SOCKET, Condition::CookiesOff);
    }
    let window = sk.features.cookie_window;
    let age = sk.last_cookie.map(|sent| now - sent);
    if age.is_none_or(|age| age > window) {
        return reset(sk, NO_SOCKET, Condition::NoRecentCookie { age, window });
    }
    if !cookie {
        sk.counters.syncookies_failed += 1;
        return reset(sk, NO_SOCKET, Condition::NotACookie);
    }
    sk.counters.syncookies_recv += 1;
    if let Some(room) = syn_recv_sock(sk) {
        return accepted(VerdictId::AckAcceptedCookie, room);
    }
    let condition = Condition::CookieOverflow {
        ack_backlog: sk.ack_backlog,
        max_ack_backlog: sk.limits.max_ack_backlog,
    };
    dropped(VerdictId::AckDropOverflowCookie, condition)
}

/// `tcp_v4_syn_recv_sock()`: a child for the accept queue if that has room.
fn syn_recv_sock(sk: &mut ListenSock) -> Option<Condition> {
    let (ack_backlog, max_ack_backlog) = (sk.ack_backlog, sk.limits.max_ack_backlog);
    if sk.acceptq_is_full() {
        sk.counters.listen_overflows += 1;
        sk.counters.listen_drops += 1;
        return None;
    }
    sk.ack_backlog += 1;
    Some(Condition::Room { ack_backlog, max_ack_backlog })
}

fn accepted(id: VerdictId, condition: Condition) -> AckAnswer {
    AckAnswer { id, condition, child: true, reset: false }
}

fn dropped(id: VerdictId, condition: Condition) -> AckAnswer {
    AckAnswer { id, condition, child: false, reset: false }
}

fn reset(sk: &mut ListenSock, id: VerdictId, condition: Condition) -> AckAnswer {
    sk.counters.out_rsts += 1;
    AckAnswer { id, condition, child: false, reset: true }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            config::{Limits, Listener, Sysctls},
            features::Features,
            time::SEC,
        },
        *,
    };

    const ACK: Segment = Segment { payload: false, follows_isn: true };
    const DATA: Segment = Segment { payload: true, follows_isn: true };

    fn full_listener(features: Features, sysctls: Sysctls, listener: Listener) -> ListenSock {
        let limits = Limits::new(&features, listener, &sysctls);
        let mut sk = ListenSock::new(features, sysctls, limits, 0);
        sk.ack_backlog = limits.max_ack_backlog + 1;
        sk
    }

    #[test]
    fn abort_on_overflow_decides_for_requests_on_every_kernel() {
        for features in [Features::EL7, Features::V4_4, Features::V5_4, Features::V6_5] {
            for (abort_on_overflow, id) in
                [(0, VerdictId::AckDropOverflow), (1, VerdictId::AckResetOverflow)]
            {
                let sysctls = Sysctls { abort_on_overflow, ..Sysctls::default() };
                let mut sk = full_listener(features, sysctls, Listener::default());
                let mut req = sk.add_request(0);
                assert_eq!(check_req(&mut sk, &mut req, ACK).id, id);
                assert_eq!(sk.counters.embryonic_rsts, u32::from(abort_on_overflow));
                assert_eq!(sk.counters.listen_overflows, 1);
            }
        }
    }

    #[test]
    fn cookie_overflow_is_silent_whatever_the_sysctl_on_every_kernel() {
        for features in [Features::EL7, Features::V4_4, Features::V5_4, Features::V6_5] {
            let sysctls = Sysctls { abort_on_overflow: 1, ..Sysctls::default() };
            let mut sk = full_listener(features, sysctls, Listener::default());
            sk.last_cookie = Some(0);
            let answer = cookie_check(&mut sk, true, SEC);
            assert_eq!(answer.id, VerdictId::AckDropOverflowCookie);
            assert!(!answer.reset);
        }
    }

    #[test]
    fn cookies_are_believed_for_3_s_on_3_10_and_2_min_since_3_19() {
        for (features, after, id) in [
            (Features::EL7, 3 * SEC, VerdictId::AckDropOverflowCookie),
            (Features::EL7, 3 * SEC + 1, VerdictId::LaterResetNoSocket),
            (Features::V4_4, 120 * SEC, VerdictId::AckDropOverflowCookie),
            (Features::V4_4, 120 * SEC + 1, VerdictId::LaterResetNoSocket),
        ] {
            let mut sk = full_listener(features, Sysctls::default(), Listener::default());
            sk.last_cookie = Some(0);
            assert_eq!(cookie_check(&mut sk, true, after).id, id);
        }
    }

    #[test]
    fn deferring_ignores_bare_acks_but_not_data_nor_cookies() {
        let listener = Listener { backlog: 1, defer_accept_secs: 3 };
        let features = Features::V5_4;
        let sysctls = Sysctls::default();
        let mut sk =
            ListenSock::new(features, sysctls, Limits::new(&features, listener, &sysctls), 0);
        let mut req = sk.add_request(0);
        assert_eq!(check_req(&mut sk, &mut req, ACK).id, VerdictId::AckDropDeferAccept);
        assert!(req.acked);
        let late_ack = Segment { follows_isn: false, ..ACK };
        assert!(check_req(&mut sk, &mut req, late_ack).child);
        sk.ack_backlog = 0;
        assert!(check_req(&mut sk, &mut req, DATA).child);
        sk.last_cookie = Some(0);
        assert!(cookie_check(&mut sk, true, 0).child);
    }

    #[test]
    fn without_request_and_cookies_the_answer_is_rst() {
        let sysctls = Sysctls { syncookies: 0, ..Sysctls::default() };
        let mut sk = full_listener(Features::V5_4, sysctls, Listener::default());
        let answer = cookie_check(&mut sk, false, 0);
        assert_eq!((answer.id, answer.reset), (VerdictId::LaterResetNoSocket, true));
    }
}
