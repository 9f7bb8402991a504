//! Many listeners, and listeners that come and go by the thousand.

use super::super::case::{CASE, Case, MODES, Mode, told};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "crowd.4200_listeners",
        shows: "4,200 listeners, of which the first and the last overflow",
        alone: true,
        script: "
            s tun
            s listeners l 10000 4200
            trace
            s hs 10000 40001 n=2
            s syn 10000 40003 n=2
            s hs 14199 40011 n=2
            s syn 14199 40013 n=3
            s drain 50",
        told: &[
            told("syn.drop.accept_queue_full", 2, "l0").clients(40_003, 40_004),
            told("syn.drop.accept_queue_full", 3, "l4199").clients(40_013, 40_015),
        ],
        counters: &[("s", "ListenOverflows", 5)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "crowd.opened_during_trace",
        shows: "4,200 listeners opened while the tool traces, of which the last overflows",
        alone: true,
        script: "
            s tun
            trace
            s listeners l 10000 4200
            s hs 14199 40011 n=2
            s syn 14199 40013 n=3
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 3, "l4199").clients(40_013, 40_015)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "crowd.9000_short_lived",
        shows: "9,000 listeners that come and go, each with a handshake, then one that overflows",
        alone: true,
        script: "
            s tun
            trace
            s churn 20000 20000 n=9000
            s listen a 5040 1
            s hs 5040 40001 n=2
            s syn 5040 40003 n=3
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: &[Mode::Default, Mode::Summary],
        ..CASE
    },
];
