//! What the stages of all connections together must have done to the namespace's counters.

use std::collections::BTreeMap;

use overflow_core::verdict::{Counter, VerdictId};

use super::Comparison;

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

/// When and how the counters were read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Only what happened before it, CLOCK_MONOTONIC nanoseconds, counts; what happened within 50 ms of it
    /// may count or not.
    pub(crate) until: u64,
    /// Events were lost, so each counter may be higher.
    pub(crate) at_least: bool,
    /// So many segments of no handshake were answered by RST, of which the verdicts tell nothing.
    pub(crate) strays: u64,
    /// The kernel may count each cookie it sends as a drop (`drop_and_free` in 4.4's `tcp_conn_request`),
    /// which the catalog does not know.
    pub(crate) cookies_are_drops: bool,
}

/// Compares the counters of the server's namespace with what `connections` must have made them.
///
/// A counter the kernel does not have is left out. Empty means consistent.
pub(crate) fn differences<'a>(
    counters: &BTreeMap<String, u64>,
    connections: impl IntoIterator<Item = &'a Comparison> + Clone,
    reading: &Reading,
) -> Vec<Difference> {
    let mut expected: BTreeMap<Counter, (u64, u64)> = BTreeMap::new();
    // The cookie check fails only where a cookie was sent of late.
    expected.insert(Counter::OutRsts, (reading.strays, reading.strays));
    expected.insert(Counter::SyncookiesFailed, (0, reading.strays));
    for stage in connections.clone().into_iter().flat_map(|c| &c.connection.stages) {
        let (certain, possible) =
            reading.times(&std::iter::once(&stage.t_ns).chain(&stage.repeats_ns));
        for counter in Counter::ALL.iter().copied() {
            let (min, max) = reading.effect(stage.id, counter);
            add(&mut expected, counter, (min * certain, max * possible));
        }
    }
    for open in connections.into_iter().flat_map(|c| &c.undetermined) {
        let (certain, possible) = reading.times(&open.times.iter());
        for counter in Counter::ALL.iter().copied() {
            let effects = open.candidates.iter().map(|id| reading.effect(*id, counter));
            let min =
                if open.at_most { 0 } else { effects.clone().map(|e| e.0).min().unwrap_or(0) };
            let max = effects.map(|e| e.1).max().unwrap_or(0);
            add(&mut expected, counter, (min * certain, max * possible));
        }
    }
    let mut found = Vec::new();
    for counter in Counter::ALL.iter().copied() {
        let Some(seen) = counters.get(counter.as_str()).copied() else { continue };
        let (min, max) = expected.get(&counter).copied().unwrap_or_default();
        let max = if reading.at_least { u64::MAX } else { max };
        if seen < min || seen > max {
            found.push(Difference { counter, expected: (min, max), seen });
        }
    }
    found
}

fn add(sums: &mut BTreeMap<Counter, (u64, u64)>, counter: Counter, (min, max): (u64, u64)) {
    let sum = sums.entry(counter).or_default();
    *sum = (sum.0 + min, sum.1 + max);
}

impl Reading {
    /// How many of these times are certainly, and how many possibly, in the counters.
    fn times<'a>(&self, times: &(impl Iterator<Item = &'a u64> + Clone)) -> (u64, u64) {
        let before = |end: u64| times.clone().filter(|t| **t < end).count() as u64;
        let (certain, possible) =
            (self.until.saturating_sub(READING_NS), self.until.saturating_add(READING_NS));
        (before(certain), before(possible))
    }

    /// What one event adds to a counter, at least and at most.
    fn effect(&self, id: VerdictId, counter: Counter) -> (u64, u64) {
        let effect = id.counters().iter().find(|effect| effect.counter == counter);
        let (min, max) = effect.map_or((0, 0), |effect| (effect.min, effect.max));
        let is_drop = id == VerdictId::SynCookie && counter == Counter::ListenDrops;
        (min, if is_drop && self.cookies_are_drops { max + 1 } else { max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::Undetermined;
    use overflow_core::verdict::{Connection, Known, Stage, Values};

    const MS: u64 = 1_000_000;

    /// Times in milliseconds; the counters are read at 1000.
    fn connection(stages: &[(&str, &[u64])]) -> Comparison {
        let stage = |(id, times): &(&str, &[u64])| Stage {
            id: VerdictId::parse(id).unwrap(),
            t_ns: times[0] * MS,
            known: Known::Traced,
            path: &[],
            values: Values::default(),
            repeats_ns: times[1..].iter().map(|t| t * MS).collect(),
        };
        Comparison::of(Connection {
            client: ([10, 7, 0, 2], 30001).into(),
            server: ([10, 7, 0, 1], 12345).into(),
            stages: stages.iter().map(stage).collect(),
            ..Connection::default()
        })
    }

    const AT_1000: Reading =
        Reading { until: 1000 * MS, at_least: false, strays: 0, cookies_are_drops: false };

    fn check(stages: &[(&str, &[u64])], counters: &[(&str, u64)], at_least: bool, expect: &str) {
        let mut all: BTreeMap<String, u64> =
            Counter::ALL.iter().map(|c| (c.as_str().to_owned(), 0)).collect();
        all.extend(counters.iter().map(|(c, n)| ((*c).to_owned(), *n)));
        let found = differences(&all, &[connection(stages)], &Reading { at_least, ..AT_1000 });
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
            differences(&counters, &[], &Reading { strays: 1, ..AT_1000 }).len()
        };
        assert_eq!([seen(1, 0), seen(1, 1), seen(0, 0), seen(1, 2)], [0, 0, 1, 1]);
    }

    #[test]
    fn a_counter_the_kernel_lacks_is_left_out() {
        let found =
            differences(&BTreeMap::new(), &[connection(&[("ack.accepted", &[1])])], &AT_1000);
        assert_eq!(found, []);
    }

    #[test]
    fn what_is_open_may_be_any_of_its_candidates() {
        let mut open = connection(&[]);
        let candidates = ["syn.drop.accept_queue_full", "syn.drop.syn_queue_full"];
        open.undetermined.push(Undetermined {
            times: vec![MS, 2 * MS],
            candidates: candidates.iter().filter_map(|id| VerdictId::parse(id)).collect(),
            at_most: false,
        });
        let seen = |overflows: u64, drops: u64| {
            let counters = [("ListenOverflows", overflows), ("ListenDrops", drops)];
            let counters = counters.map(|(counter, n)| (counter.to_owned(), n)).into();
            differences(&counters, [&open], &AT_1000).len()
        };
        assert_eq!([seen(0, 2), seen(2, 2), seen(3, 2), seen(0, 1)], [0, 0, 1, 1]);
    }

    #[test]
    fn a_cookie_is_a_drop_where_sysctls_are_global() {
        let cookie = connection(&[("syn.cookie", &[1])]);
        let counters = [("ListenDrops", 1), ("SyncookiesSent", 1), ("TCPReqQFullDoCookies", 1)];
        let counters = counters.map(|(counter, n)| (counter.to_owned(), n)).into();
        let old = |cookies_are_drops| {
            differences(&counters, [&cookie], &Reading { cookies_are_drops, ..AT_1000 }).len()
        };
        assert_eq!([old(true), old(false)], [0, 1]);
    }
}
