//! The kernel's retransmission schedules, both sides of the handshake.

use super::{
    features::{Features, TailLossProbe},
    time::{JIFFY, MS, Nanos, SEC},
};

/// `TCP_TIMEOUT_INIT`: first timeout of a SYN and of a SYN-ACK.
pub(crate) const TIMEOUT_INIT: Nanos = SEC;
/// `TCP_RTO_MAX`.
pub(crate) const RTO_MAX: Nanos = 120 * SEC;
/// `TCP_RTO_MIN`.
pub(crate) const RTO_MIN: Nanos = 200 * MS;
/// `TCP_DELACK_MAX`.
const DELACK_MAX: Nanos = 200 * MS;

/// The client's timeout after its `sent`th SYN (1 is the first): doubled each time, except that
/// the first `tcp_syn_linear_timeouts` timeouts do not back off (`tcp_retransmit_timer`, 6.5).
///
/// SYNs thus leave at 0, 1, 3, 7 s, or since 6.5 at 0, 1, 2, 3, 4, 5, 7 s.
pub(crate) fn syn_timeout(features: &Features, sent: u8) -> Nanos {
    let backoff = (sent - 1).saturating_sub(features.syn_linear_timeouts);
    shifted(TIMEOUT_INIT, backoff)
}

/// `reqsk_timeout()`: the server's timeout of a request that timed out `num_timeout` times.
pub(crate) fn synack_timeout(num_timeout: u8) -> Nanos {
    shifted(TIMEOUT_INIT, num_timeout)
}

/// The client's retransmission timeout after one round trip of `rtt`: `srtt + max(4 * mdev,
/// TCP_RTO_MIN)` with `mdev = rtt / 2` (`tcp_rtt_estimator`, `__tcp_set_rto`).
pub(crate) fn data_rto(rtt: Nanos) -> Nanos {
    rtt + (2 * rtt).max(RTO_MIN)
}

/// The client's tail loss probe timeout, never later than its retransmission timeout
/// (`tcp_schedule_loss_probe`).
pub(crate) fn probe_timeout(features: &Features, rtt: Nanos) -> Nanos {
    let probe = match features.tail_loss_probe {
        TailLossProbe::DelayedAck => (2 * rtt).max(rtt * 3 / 2 + DELACK_MAX),
        TailLossProbe::RtoMin => 2 * rtt + RTO_MIN,
    };
    probe.min(data_rto(rtt)).max(JIFFY)
}

/// The next timeout of the client's data: the probe does not back off, retransmissions do.
pub(crate) fn next_data_timeout(rtt: Nanos, retransmits: u8) -> Nanos {
    shifted(data_rto(rtt), retransmits.saturating_sub(1))
}

/// Retransmissions after which a request is dropped: `tcp_synack_retries`, but fewer (never below
/// 2) while old requests fill more than half of the queue.
///
/// `inet_csk_reqsk_queue_prune` (3.10) and `reqsk_timer_handler` (4.1 and later) share the loop;
/// `crowded` is their different test of "more than half".
pub(crate) fn retries_allowed(retries: u8, crowded: bool, qlen: u32, young: u32) -> u8 {
    let mut allowed = retries;
    if crowded {
        let mut young = young << 1;
        while allowed > 2 && qlen >= young {
            allowed -= 1;
            young <<= 1;
        }
    }
    allowed
}

/// `rskq_defer_accept`: `TCP_DEFER_ACCEPT` seconds as a number of SYN-ACK timeouts
/// (`secs_to_retrans`).
pub(crate) fn defer_accept_timeouts(seconds: u32) -> u8 {
    if seconds == 0 {
        return 0;
    }
    let seconds = Nanos::from(seconds) * SEC;
    let (mut timeouts, mut timeout, mut period) = (1u8, TIMEOUT_INIT, TIMEOUT_INIT);
    while seconds > period && timeouts < u8::MAX {
        timeouts += 1;
        timeout = (timeout << 1).min(RTO_MAX);
        period += timeout;
    }
    timeouts
}

fn shifted(timeout: Nanos, backoff: u8) -> Nanos {
    (timeout << backoff.min(20)).min(RTO_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syns(features: &Features, until: Nanos) -> Vec<Nanos> {
        let mut at = vec![0];
        let mut t = 0;
        for sent in 1.. {
            t += syn_timeout(features, sent);
            if t >= until {
                break;
            }
            at.push(t / SEC);
        }
        at
    }

    #[test]
    fn syns_back_off_until_6_4() {
        assert_eq!(syns(&Features::EL7, 64 * SEC), [0, 1, 3, 7, 15, 31, 63]);
        assert_eq!(syns(&Features::V5_4, 8 * SEC), [0, 1, 3, 7]);
    }

    #[test]
    fn first_four_timeouts_are_linear_since_6_5() {
        assert_eq!(syns(&Features::V6_5, 30 * SEC), [0, 1, 2, 3, 4, 5, 7, 11, 19]);
    }

    #[test]
    fn synacks_back_off_to_the_maximum() {
        assert_eq!([0, 1, 2].map(synack_timeout), [SEC, 2 * SEC, 4 * SEC]);
        assert_eq!(synack_timeout(9), RTO_MAX);
    }

    #[test]
    fn data_of_a_200_ms_path_is_probed_after_500_ms_on_3_10() {
        let rtt = 200 * MS;
        assert_eq!(probe_timeout(&Features::EL7, rtt), 500 * MS);
        assert_eq!(probe_timeout(&Features::V5_4, rtt), 600 * MS);
        let rest: Vec<_> = (1..4).map(|n| next_data_timeout(rtt, n) / MS).collect();
        assert_eq!(rest, [600, 1200, 2400]);
    }

    #[test]
    fn old_requests_shorten_the_retries() {
        assert_eq!(retries_allowed(5, false, 16, 0), 5);
        assert_eq!(retries_allowed(5, true, 16, 0), 2);
        assert_eq!(retries_allowed(5, true, 16, 8), 4);
        assert_eq!(retries_allowed(5, true, 16, 9), 5);
        assert_eq!(retries_allowed(1, true, 16, 0), 1);
    }

    #[test]
    fn deferring_is_counted_in_timeouts() {
        assert_eq!([0, 1, 2, 3, 4, 7, 8].map(defer_accept_timeouts), [0, 1, 2, 2, 3, 3, 4]);
    }
}
