//! What CentOS 7's kernel makes of a burst whose SYNs all come before the first third ACK.
//!
//! Read in RHEL 7's 3.10.0 source and checked by running it: its SYN queue is a table sized at
//! `listen()` (reqsk_queue_alloc), not the listener's backlog.

use super::Counts;
use crate::lab::CellConfig;

/// Requests the SYN queue of a listener with this limit holds: 2 to the power of
/// `max_qlen_log`, as reqsk_queue_alloc (3.10) computes it. A `tcp_max_syn_backlog` below the
/// limit would lower it further; its default is above any backlog this small.
pub(super) fn syn_queue_limit(limit: u32) -> u32 {
    limit.max(8).saturating_add(1).checked_next_power_of_two().unwrap_or(u32::MAX)
}

/// The burst's first answer, before any retransmission. `None` when the prefill fills the accept
/// queue: then what becomes of a SYN depends on how many requests are young, which changes with
/// time.
pub(super) fn predict(config: &CellConfig, limit: u32) -> Option<Counts> {
    if config.prefill > limit {
        return None;
    }
    let clients = config.clients;
    let requests = if config.syncookies == 2 { 0 } else { clients.min(syn_queue_limit(limit)) };
    let rest = clients - requests;
    let cookies = if config.syncookies == 0 { 0 } else { rest };
    // sk_acceptq_is_full is `>` there too: one more than the limit fits.
    let room = limit.saturating_add(1) - config.prefill;
    let accepted_requests = requests.min(room);
    let accepted_cookies = cookies.min(room - accepted_requests);
    let overflow = requests - accepted_requests;
    let abort = config.abort_on_overflow != 0;
    Some(Counts {
        accepted: accepted_requests + accepted_cookies,
        reset: if abort { overflow } else { 0 },
        dropped: if abort { 0 } else { overflow },
        cookie_dropped: cookies - accepted_cookies,
        syn_dropped: rest - cookies,
        other: 0,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(backlog: u32, prefill: u32, clients: u32, syncookies: u8, abort: u8, expect: &str) {
        let config = CellConfig {
            abort_on_overflow: abort,
            syncookies,
            backlog,
            somaxconn: None,
            clients,
            port: 12345,
            delay: Duration::from_millis(200),
            prefill,
            payload: 0,
            hold: Duration::from_secs(2),
            ..CellConfig::SEED
        };
        let got = predict(&config, backlog).map(|c| c.to_string());
        assert_eq!(got.as_deref().unwrap_or("-"), expect);
    }

    /// Each line was measured on 3.10.0-1160: see the ground truth of the kernel model.
    #[test]
    fn as_measured_on_3_10_0_1160() {
        check(1, 0, 5, 1, 1, "2 accepted, 3 reset");
        check(1, 0, 5, 1, 0, "2 accepted, 3 retried");
        check(1, 0, 5, 0, 1, "2 accepted, 3 reset");
        check(1, 1, 5, 1, 1, "1 accepted, 4 reset");
        check(1, 0, 20, 1, 0, "2 accepted, 14 retried, 4 silent");
        check(4, 4, 10, 1, 1, "1 accepted, 9 reset");
        check(16, 0, 20, 1, 0, "17 accepted, 3 retried");
        check(1, 2, 5, 1, 1, "-");
    }

    #[test]
    fn the_syn_queue_has_a_floor_of_16() {
        for (limit, expect) in [(0, 16), (1, 16), (8, 16), (16, 32), (128, 256), (511, 512)] {
            assert_eq!(syn_queue_limit(limit), expect);
        }
    }
}
