//! Listeners that share a port: SO_REUSEPORT, several addresses, both families.

use super::super::case::{CASE, Case, MODES, as_rose, told};

/// One worker accepts, the other is stuck; 40 clients one after the other.
const PAIR: &str = "
    s tun
    good in s
    good listen g 5014 64 reuseport
    stuck in s
    stuck listen b 5014 1 reuseport
    trace
    s hs 5014 30000 n=40 any
    s drain 50";

/// What the stuck worker's socket dropped, and no other: a SYN's hash chooses the socket
/// (reuseport_select_sock), and nothing else of its group is asked when that is full.
const STUCK: Case = Case {
    script: PAIR,
    told: &[as_rose("syn.drop.accept_queue_full", ("s", "ListenOverflows"), "b")],
    ..CASE
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "reuseport.stuck_worker",
        shows: "one of two workers with SO_REUSEPORT does not accept",
        modes: MODES,
        ..STUCK
    },
    Case {
        name: "reuseport.filter_stuck",
        shows: "the same, traced with -p of the one that does not accept",
        alone: true,
        args: &["-p", "{pid:stuck}"],
        ..STUCK
    },
    Case {
        name: "reuseport.filter_healthy",
        shows: "the same, traced with -p of the one that accepts: nothing is told",
        alone: true,
        args: &["-p", "{pid:good}"],
        filtered: true,
        told: &[],
        ..STUCK
    },
    Case {
        name: "reuseport.opened_during_trace",
        shows: "the same, opened while the tool traces",
        script: "
            s tun
            trace
            stuck in s
            stuck listen b 5014 1 reuseport
            good in s
            good listen g 5014 64 reuseport
            s hs 5014 30000 n=40 any
            s drain 50",
        modes: MODES,
        ..STUCK
    },
    Case {
        name: "reuseport.four_members",
        shows: "one of four workers with SO_REUSEPORT does not accept",
        script: "
            s tun
            w1 in s
            w1 listen a 5014 64 reuseport
            w2 in s
            w2 listen c 5014 64 reuseport
            stuck in s
            stuck listen b 5014 1 reuseport
            w4 in s
            w4 listen d 5014 64 reuseport
            trace
            s hs 5014 30000 n=60 any
            s drain 50",
        modes: MODES,
        ..STUCK
    },
    Case {
        name: "reuseport.two_groups",
        shows: "two groups on one port at different addresses, a member of one does not accept",
        script: "
            s tun
            w1 in s
            w1 listen a 5014 64 reuseport ip=10.7.0.10
            w2 in s
            w2 listen c 5014 64 reuseport ip=10.7.0.10
            good in s
            good listen g 5014 64 reuseport ip=10.7.0.1
            stuck in s
            stuck listen b 5014 1 reuseport ip=10.7.0.1
            trace
            s hs 5014 30000 n=40 any
            s hs 5014 31000 n=20 to=10.7.0.10
            s drain 50",
        modes: MODES,
        ..STUCK
    },
    Case {
        name: "reuseport.third_ack",
        shows: "third ACKs that the full queue of one of two workers drops",
        script: "
            s tun
            good in s
            good listen g 5014 128 reuseport
            stuck in s
            stuck listen b 5014 128 reuseport
            trace
            s syn 5014 30000 n=40
            s drain 50
            s got 30000 n=40 SA
            stuck relisten b 0
            s ack 5014 30000 n=40
            s drain 50",
        told: &[as_rose("ack.drop.overflow", ("s", "ListenOverflows"), "b")],
        tolerated: &["later.phantom"],
        modes: MODES,
        ..CASE
    },
    // inet_lhash2_lookup: the listener's own address must match.
    Case {
        name: "addresses.one_overflows",
        shows: "two listeners on one port at different addresses, one overflows",
        script: "
            s tun
            one in s
            one listen a 5020 1 ip=10.7.0.1
            two in s
            two listen b 5020 64 ip=10.7.0.10
            trace
            s hs 5020 40001 n=2
            s hs 5020 40011 n=2 to=10.7.0.10
            s syn 5020 40003 n=3
            s hs 5020 40013 n=2 to=10.7.0.10
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "addresses.other_opened_later",
        shows: "the same, the idle listener is opened while the tool traces",
        script: "
            s tun
            one in s
            one listen a 5020 1 ip=10.7.0.1
            trace
            two in s
            two listen b 5020 64 ip=10.7.0.10
            s hs 5020 40001 n=2
            s syn 5020 40003 n=3
            s hs 5020 40013 n=2 to=10.7.0.10
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "addresses.other_closed",
        shows: "the same, the idle listener is closed before the other overflows",
        script: "
            s tun
            one in s
            one listen a 5020 1 ip=10.7.0.1
            two in s
            two listen b 5020 64 ip=10.7.0.10
            trace
            two close b
            s hs 5020 40001 n=2
            s syn 5020 40003 n=3
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
    // inet_lookup_listener looks at the address first, and at INADDR_ANY only then. Both have
    // SO_REUSEPORT only because they could not listen on one port otherwise; they are two groups.
    Case {
        name: "addresses.wildcard_beside",
        shows: "a wildcard listener overflows beside one with an address",
        script: "
            s tun
            any in s
            any listen a 5021 1 reuseport
            one in s
            one listen b 5021 64 reuseport ip=10.7.0.1
            trace
            s hs 5021 40001 n=2 to=10.7.0.10
            s hs 5021 40011 n=2
            s syn 5021 40003 n=3 to=10.7.0.10
            s hs 5021 40013 n=2
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "addresses.specific_beside",
        shows: "a listener with an address overflows beside a wildcard one",
        script: "
            s tun
            any in s
            any listen a 5021 64 reuseport
            one in s
            one listen b 5021 1 reuseport ip=10.7.0.1
            trace
            s hs 5021 40001 n=2 to=10.7.0.10
            s hs 5021 40011 n=2
            s syn 5021 40013 n=3
            s hs 5021 40003 n=2 to=10.7.0.10
            s drain 50",
        told: &[told("syn.drop.accept_queue_full", 3, "b").clients(40_013, 40_015)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
    // compute_score prefers a socket of AF_INET for an IPv4 SYN (net/ipv4/inet_hashtables.c).
    Case {
        name: "families.dual_stack_beside",
        shows: "[::] with both families beside 0.0.0.0: each overflows for its own family",
        script: "
            s tun
            six in s
            six listen a 5022 1 reuseport v6
            four in s
            four listen b 5022 1 reuseport
            trace
            s hs 5022 40001 n=2 v6
            s hs 5022 40011 n=2
            s syn 5022 40003 n=2 v6
            s syn 5022 40013 n=3
            s drain 50",
        told: &[
            told("syn.drop.accept_queue_full", 2, "a").clients(40_003, 40_004),
            told("syn.drop.accept_queue_full", 3, "b").clients(40_013, 40_015),
        ],
        counters: &[("s", "ListenOverflows", 5)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "families.mapped",
        shows: "IPv4 clients of a dual-stack listener: SYNs and third ACKs",
        script: "
            s tun
            s listen a 5023 64 v6
            trace
            s syn 5023 40001 n=3
            s drain 50
            s relisten a 0
            s ack 5023 40001 n=3
            s syn 5023 40004 n=2
            s drain 50",
        told: &[
            told("ack.drop.overflow", 2, "a").clients(40_002, 40_003),
            told("syn.drop.accept_queue_full", 2, "a").clients(40_004, 40_005),
        ],
        tolerated: &["later.phantom"],
        counters: &[("s", "ListenOverflows", 4)],
        modes: MODES,
        ..CASE
    },
    // The address of a `struct sock` is soon used again (SLAB_TYPESAFE_BY_RCU); its inode is not.
    Case {
        name: "reopened.same_namespace",
        shows: "a listener overflows, is closed and opened again at once, and overflows",
        script: "
            s tun
            s listen a 5024 1
            trace
            s hs 5024 40001 n=2
            s syn 5024 40003 n=2
            s close a
            s listen b 5024 1
            s hs 5024 41001 n=2
            s syn 5024 41003 n=3
            s drain 50",
        told: &[
            told("syn.drop.accept_queue_full", 2, "a").clients(40_003, 40_004),
            told("syn.drop.accept_queue_full", 3, "b").clients(41_003, 41_005),
        ],
        counters: &[("s", "ListenOverflows", 5)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "reopened.other_namespace",
        shows: "a listener overflows and is closed; one in another namespace takes its place",
        script: "
            s tun
            s listen a 5024 1
            t tun
            trace
            s hs 5024 40001 n=2
            s syn 5024 40003 n=2
            s close a
            t listen b 5024 1
            t hs 5024 41001 n=2
            t syn 5024 41003 n=3
            t drain 50",
        told: &[
            told("syn.drop.accept_queue_full", 2, "a").clients(40_003, 40_004),
            told("syn.drop.accept_queue_full", 3, "b").clients(41_003, 41_005),
        ],
        counters: &[("s", "ListenOverflows", 2), ("t", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
];
