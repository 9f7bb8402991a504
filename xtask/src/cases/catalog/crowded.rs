//! Many listeners, and listeners that come and go by the thousand.

use super::super::case::{CASE, Case, Losses, MODES, Mode, told, up_to};

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
    // inet_csk_wait_for_connect is exclusive: one thread wakes for each child.
    Case {
        name: "acceptors.200_threads",
        shows: "200 threads wait in accept(): each accept is seen, the queue is never left full",
        script: "
            s tun
            s listen a 5041 512
            s block a 200
            trace
            s hs 5041 30000 n=300
            sleep 300",
        all: &[told("later.accepted_by_app", 300, "a")],
        counters: &[("s", "ListenDrops", 0)],
        modes: &[Mode::All, Mode::Summary],
        not_full: &["a"],
        alone: true,
        ..CASE
    },
    Case {
        name: "tables.1200_listeners_overflow",
        shows: "1,200 listeners overflow, with metrics served",
        script: "
            s tun
            s listeners l 10000 1200
            trace
            s flood 10000 1200",
        told: &[told("syn.drop.accept_queue_full", 3600, "l*")],
        counters: &[("s", "ListenOverflows", 3600)],
        modes: &[Mode::Default, Mode::Summary],
        args: &["--metrics-listen", "19464"],
        alone: true,
        ..CASE
    },
    // Whatever does not fit into the ring is lost, and must be said to be.
    Case {
        name: "tables.small_ring",
        shows: "3,000 drops in a burst through a ring of 4 KiB: told, or said to be lost",
        script: "
            s tun
            s listen a 5042 1
            trace
            s hs 5042 29000 n=2
            s syn 5042 30000 n=3000
            s drain 50",
        told: &[up_to("syn.drop.accept_queue_full", 3000, "a")],
        counters: &[("s", "ListenOverflows", 3000)],
        args: &["--ring-size", "4K"],
        losses: Losses::Complete,
        alone: true,
        ..CASE
    },
    Case {
        name: "storm.200_namespaces",
        shows: "four CPUs, 200 namespaces, listeners that come and go and drop in every way",
        script: "
            trace
            s0 cpu 0
            s1 cpu 1
            s2 cpu 2
            s3 cpu 3
            s0& storm 50 1
            s1& storm 50 2
            s2& storm 50 3
            s3& storm 50 4",
        storm: true,
        smp: true,
        modes: MODES,
        alone: true,
        ..CASE
    },
];
