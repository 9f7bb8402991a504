//! Whose listener it was, of one that is gone before anybody can look: who called listen() is told.

use super::super::case::{CASE, Case, MODES, told};

/// The cases.
pub const CASES: &[Case] = &[
    // inet_csk_listen_start runs in the process that calls listen(). The segments are handled within
    // write() to the TUN device, so it is open for a few milliseconds.
    Case {
        name: "owner.closed_at_once",
        shows: "a listener that is open for some milliseconds overflows and is closed",
        script: "
            s tun
            trace
            s listen a 5080 1
            s hs 5080 40001 n=2
            s syn 5080 40003 n=3
            s close a
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "owner.many_closed_at_once",
        shows: "30 such listeners, one after the other, faster than anybody can look",
        script: "
            s tun
            trace
            s brief l 21000 30
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 90, "l*")],
        counters: &[("s", "ListenOverflows", 90)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "owner.process_gone_at_once",
        shows: "the same, and the process ends with its listener",
        script: "
            s tun
            w in s
            trace
            w listen a 5081 1
            s hs 5081 40001 n=2
            s syn 5081 40003 n=3
            kill w
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "owner.ipv6",
        shows: "a dual-stack listener that is open for some milliseconds overflows for IPv4 and IPv6",
        script: "
            s tun
            trace
            s listen a 5082 1 v6
            s hs 5082 40001 n=2 v6
            s syn 5082 40003 n=2 v6
            s syn 5082 40005 n=2
            s close a
            s drain 50",
        told: &[
            told("syn.drop.accept_queue_full", 2, "a").clients(40_003, 40_004),
            told("syn.drop.accept_queue_full", 2, "a").clients(40_005, 40_006),
        ],
        counters: &[("s", "ListenOverflows", 4)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "owner.restarted",
        shows: "a server overflows, ends, and another takes its port within two seconds, then a third",
        script: "
            s tun
            w1 in s
            w2 in s
            w3 in s
            trace
            w1 listen a 5083 1
            s hs 5083 40001 n=2
            s syn 5083 40003 n=2
            sleep 700
            kill w1
            w2 listen b 5083 1
            s hs 5083 41001 n=2
            s syn 5083 41003 n=3
            sleep 700
            kill w2
            w3 listen c 5083 1
            s hs 5083 42001 n=2
            s syn 5083 42003 n=4
            s drain 50",
        told: &[
            told("syn.drop.accept_queue_full", 2, "a").clients(40_003, 40_004),
            told("syn.drop.accept_queue_full", 3, "b").clients(41_003, 41_005),
            told("syn.drop.accept_queue_full", 4, "c").clients(42_003, 42_006),
        ],
        counters: &[("s", "ListenOverflows", 9)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "owner.filter_opened_later",
        shows: "-p of a process that opens a listener during the trace, overflows and closes it at once",
        script: "
            s tun
            w in s
            trace
            s listen b 5085 1
            w listen a 5084 1
            s hs 5084 40001 n=2
            s syn 5084 40003 n=3
            w close a
            s hs 5085 41001 n=2
            s syn 5085 41003 n=3
            s close b
            w listen c 5086 1
            s hs 5086 42001 n=2
            s syn 5086 42003 n=2
            s drain 50",
        args: &["-p", "{pid:w}"],
        alone: true,
        filtered: true,
        told: &[
            told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005),
            told("syn.drop.accept_queue_full", 2, "c").clients(42_003, 42_004),
        ],
        counters: &[("s", "ListenOverflows", 8)],
        modes: MODES,
        ..CASE
    },
];
