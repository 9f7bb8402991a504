//! What CentOS 7's kernel makes of a burst whose SYNs all come before the first third ACK.
//!
//! Read in RHEL 7's 3.10.0 source and checked by running it: its SYN queue is a table sized at
//! `listen()` (reqsk_queue_alloc), not the listener's backlog.

use std::fmt;

use super::Facts;
use crate::{lab::CellConfig, verdict::VerdictId};

/// How the connections of a burst ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: u32,
    pub(super) reset: u32,
    /// Third ACK dropped, request kept.
    pub(super) dropped: u32,
    pub(super) cookie_dropped: u32,
    pub(super) syn_dropped: u32,
    pub(super) other: u32,
}

impl Counts {
    /// The counts of what was found.
    pub(super) fn of(cell: &Facts<'_>) -> Self {
        let mut counts = Self::default();
        for connection in &cell.connections {
            *match connection.handshake().map(|s| s.id) {
                Some(id) if id.is_under("ack.accepted") => &mut counts.accepted,
                Some(VerdictId::AckResetOverflow) => &mut counts.reset,
                Some(VerdictId::AckDropOverflow) => &mut counts.dropped,
                Some(VerdictId::AckDropOverflowCookie) => &mut counts.cookie_dropped,
                Some(id) if id.is_under("syn.drop") => &mut counts.syn_dropped,
                _ => &mut counts.other,
            } += 1;
        }
        counts
    }

    /// The counts but for the one difference tcp_abort_on_overflow is there to make.
    pub(super) fn without_abort(self) -> Self {
        Self { reset: self.reset + self.dropped, dropped: 0, ..self }
    }

    /// Which ways to be lost occur at all.
    pub(super) fn kinds(self) -> [bool; 4] {
        [self.reset, self.dropped, self.cookie_dropped, self.syn_dropped].map(|n| n > 0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.accepted, "accepted"),
            (self.reset, "reset"),
            (self.dropped, "dropped and retried"),
            (self.cookie_dropped, "dropped silently"),
            (self.syn_dropped, "without SYN-ACK"),
            (self.other, "otherwise"),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        f.write_str(&parts.join(", "))
    }
}

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
        };
        let got = predict(&config, backlog).map(|c| c.to_string());
        assert_eq!(got.as_deref().unwrap_or("-"), expect);
    }

    /// Each line was measured on 3.10.0-1160: see the ground truth of the kernel model.
    #[test]
    fn as_measured_on_3_10_0_1160() {
        check(1, 0, 5, 1, 1, "2 accepted, 3 reset");
        check(1, 0, 5, 1, 0, "2 accepted, 3 dropped and retried");
        check(1, 0, 5, 0, 1, "2 accepted, 3 reset");
        check(1, 1, 5, 1, 1, "1 accepted, 4 reset");
        check(1, 0, 20, 1, 0, "2 accepted, 14 dropped and retried, 4 dropped silently");
        check(4, 4, 10, 1, 1, "1 accepted, 9 reset");
        check(16, 0, 20, 1, 0, "17 accepted, 3 dropped and retried");
        check(1, 2, 5, 1, 1, "-");
    }

    #[test]
    fn the_syn_queue_has_a_floor_of_16() {
        for (limit, expect) in [(0, 16), (1, 16), (8, 16), (16, 32), (128, 256), (511, 512)] {
            assert_eq!(syn_queue_limit(limit), expect);
        }
    }
}
