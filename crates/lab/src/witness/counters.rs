//! What the stages of all connections together must have done to the namespace's counters.

use std::collections::BTreeMap;

use overflow_core::verdict::{Connection, Counter};

/// A counter that is not what the stages make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The counter.
    pub counter: Counter,
    /// The least and the most that the stages allow.
    pub expected: (u64, u64),
    /// What the namespace counted.
    pub seen: u64,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { counter, expected: (min, max), seen } = self;
        let counter = counter.as_str();
        if min == max {
            write!(f, "{counter} is {seen}, the verdicts make it {min}")
        } else if *max == u64::MAX {
            write!(f, "{counter} is {seen}, the verdicts make it at least {min}")
        } else {
            write!(f, "{counter} is {seen}, the verdicts make it {min} to {max}")
        }
    }
}

/// How exactly `until` is the time the counters were read.
pub(super) const READING_NS: u64 = 50_000_000;

/// Compares the counters of the server's namespace with what `connections` must have made them.
///
/// Only what happened before `until`, CLOCK_MONOTONIC nanoseconds, counts: the counters were read
/// then; what happened within 50 ms of it may count or not. `at_least`: events were lost,
/// so each counter may be higher. `strays`: so many segments of no handshake were answered by RST,
/// of which the verdicts tell nothing. A counter the kernel does not have is left out. Empty means
/// consistent.
pub(crate) fn differences<'a>(
    counters: &BTreeMap<String, u64>,
    connections: impl Iterator<Item = &'a Connection>,
    until: u64,
    at_least: bool,
    strays: u64,
) -> Vec<Difference> {
    let mut expected: BTreeMap<Counter, (u64, u64)> = BTreeMap::new();
    // The cookie check fails only where a cookie was sent of late.
    expected.insert(Counter::OutRsts, (strays, strays));
    expected.insert(Counter::SyncookiesFailed, (0, strays));
    for stage in connections.flat_map(|c| &c.stages) {
        let before = |end: u64| {
            let times = std::iter::once(&stage.t_ns).chain(&stage.repeats_ns);
            times.filter(|t| **t < end).count() as u64
        };
        let certain = before(until.saturating_sub(READING_NS));
        let possible = before(until.saturating_add(READING_NS));
        for effect in stage.id.counters() {
            let sum = expected.entry(effect.counter).or_default();
            sum.0 += effect.min * certain;
            sum.1 += effect.max * possible;
        }
    }
    let mut found = Vec::new();
    for counter in Counter::ALL.iter().copied() {
        let Some(seen) = counters.get(counter.as_str()).copied() else { continue };
        let (min, max) = expected.get(&counter).copied().unwrap_or_default();
        let max = if at_least { u64::MAX } else { max };
        if seen < min || seen > max {
            found.push(Difference { counter, expected: (min, max), seen });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use overflow_core::verdict::{Known, Stage, Values, VerdictId};

    const MS: u64 = 1_000_000;

    /// Times in milliseconds; the counters are read at 1000.
    fn connection(stages: &[(&str, &[u64])]) -> Connection {
        let stage = |(id, times): &(&str, &[u64])| Stage {
            id: VerdictId::parse(id).unwrap(),
            t_ns: times[0] * MS,
            known: Known::Traced,
            path: &[],
            values: Values::default(),
            repeats_ns: times[1..].iter().map(|t| t * MS).collect(),
        };
        Connection {
            client: ([10, 7, 0, 2], 30001).into(),
            server: ([10, 7, 0, 1], 12345).into(),
            stages: stages.iter().map(stage).collect(),
            ..Connection::default()
        }
    }

    fn check(stages: &[(&str, &[u64])], counters: &[(&str, u64)], at_least: bool, expect: &str) {
        let mut all: BTreeMap<String, u64> =
            Counter::ALL.iter().map(|c| (c.as_str().to_owned(), 0)).collect();
        all.extend(counters.iter().map(|(c, n)| ((*c).to_owned(), *n)));
        let found = differences(&all, [connection(stages)].iter(), 1000 * MS, at_least, 0);
        let found: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(found.join("; "), expect);
    }

    #[test]
    fn cookie_overflows_count_a_cookie_and_an_overflow() {
        let stages: &[(&str, &[u64])] =
            &[("syn.cookie", &[1]), ("ack.drop.overflow.cookie", &[2, 3]), ("later.phantom", &[9])];
        let mut counters = vec![
            ("ListenOverflows", 2),
            ("ListenDrops", 2),
            ("SyncookiesSent", 1),
            ("TCPReqQFullDoCookies", 1),
            ("SyncookiesRecv", 2),
        ];
        check(stages, &counters, false, "");
        counters[0].1 = 3;
        check(stages, &counters, false, "ListenOverflows is 3, the verdicts make it 2");
        check(stages, &counters, true, "");
        counters[4].1 = 1;
        check(stages, &counters, true, "SyncookiesRecv is 1, the verdicts make it at least 2");
    }

    #[test]
    fn a_reset_counts_embryonic_and_sent() {
        let counters =
            [("ListenOverflows", 1), ("ListenDrops", 1), ("EmbryonicRsts", 1), ("OutRsts", 1)];
        check(&[("ack.reset.overflow", &[1])], &counters, false, "");
        check(
            &[("ack.drop.overflow", &[1])],
            &counters,
            false,
            "EmbryonicRsts is 1, the verdicts make it 0; OutRsts is 1, the verdicts make it 0",
        );
    }

    #[test]
    fn a_syn_that_found_both_queues_full_may_count_as_a_cookie() {
        let stages: &[(&str, &[u64])] = &[("syn.drop.accept_queue_full", &[1, 2])];
        for cookies in 0..=3 {
            let expect = if cookies == 3 {
                "TCPReqQFullDoCookies is 3, the verdicts make it 0 to 2"
            } else {
                ""
            };
            let counters =
                [("ListenOverflows", 2), ("ListenDrops", 2), ("TCPReqQFullDoCookies", cookies)];
            check(stages, &counters, false, expect);
        }
    }

    #[test]
    fn what_came_after_the_counters_were_read_does_not_count() {
        check(
            &[("ack.accepted", &[1]), ("later.listener_closed", &[2000])],
            &[("PassiveOpens", 1)],
            false,
            "",
        );
        check(
            &[("ack.accepted", &[1]), ("later.listener_closed", &[900])],
            &[("PassiveOpens", 1)],
            false,
            "OutRsts is 0, the verdicts make it 1",
        );
    }

    #[test]
    fn what_came_just_as_the_counters_were_read_may_count() {
        for drops in 0..=3 {
            let expect = match drops {
                0 => {
                    "ListenOverflows is 0, the verdicts make it 1 to 2; \
                     ListenDrops is 0, the verdicts make it 1 to 2"
                }
                3 => {
                    "ListenOverflows is 3, the verdicts make it 1 to 2; \
                     ListenDrops is 3, the verdicts make it 1 to 2"
                }
                _ => "",
            };
            let counters = [("ListenOverflows", drops), ("ListenDrops", drops)];
            check(&[("syn.drop.accept_queue_full", &[1, 1001])], &counters, false, expect);
        }
    }

    #[test]
    fn a_stray_segment_counts_its_rst() {
        let seen = |resets, failed| {
            let counters = [("OutRsts", resets), ("SyncookiesFailed", failed)];
            let counters = counters.map(|(counter, n)| (counter.to_owned(), n)).into();
            differences(&counters, [].iter(), 1000 * MS, false, 1).len()
        };
        assert_eq!([seen(1, 0), seen(1, 1), seen(0, 0), seen(1, 2)], [0, 0, 1, 1]);
    }

    #[test]
    fn a_counter_the_kernel_lacks_is_left_out() {
        let found = differences(
            &BTreeMap::new(),
            [connection(&[("ack.accepted", &[1])])].iter(),
            1000 * MS,
            false,
            0,
        );
        assert_eq!(found, []);
    }
}
