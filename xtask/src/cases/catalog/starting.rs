//! The tool comes and goes in the middle of a healthy load, and meets the first drop of a CPU or a
//! namespace.

use super::super::case::{CASE, Case, MODES, as_rose, if_rose, told};

/// The cases.
pub const CASES: &[Case] = &[
    // Nothing is dropped: a handshake of which the tool saw only a part says nothing.
    Case {
        name: "start.in_healthy_load",
        shows: "the tool attaches in the middle of 2,500 healthy handshakes",
        alone: true,
        script: "
            s tun
            s listen a 5015 64
            s& load 5015 20000 n=2500 a
            sleep 1200
            trace
            wait s",
        counters: &[("s", "ListenDrops", 0), ("s", "ListenOverflows", 0)],
        modes: MODES,
        not_full: &["a"],
        ..CASE
    },
    Case {
        name: "stop.in_healthy_load",
        shows: "the tool detaches in the middle of 2,500 healthy handshakes",
        alone: true,
        script: "
            s tun
            s listen a 5015 64
            trace
            s& load 5015 20000 n=2500 a
            sleep 1500
            stop
            wait s",
        counters: &[("s", "ListenDrops", 0), ("s", "ListenOverflows", 0)],
        modes: MODES,
        not_full: &["a"],
        ..CASE
    },
    // inet_csk_accept takes the child whenever its caller began to wait. With backlog 0 the queue
    // has room for one child: a child that is not seen to be taken leaves it full for ever.
    Case {
        name: "start.accept_entered_before",
        shows: "accept() was entered before the tool attached, the backlog is 0",
        alone: true,
        script: "
            s tun
            s listen a 5016 0
            s block a 1
            trace
            s hs 5016 41001
            sleep 100
            s hs 5016 41002
            sleep 1500",
        counters: &[("s", "ListenDrops", 0)],
        modes: MODES,
        // No request has room where the test is `>=`, see docs/kernel-notes.md.
        told: &[if_rose("syn.cookie", ("s", "SyncookiesSent"), "a")],
        not_full: &["a"],
        ..CASE
    },
    // tcp_conn_request: inet_csk_reqsk_queue_is_full and tcp_syncookies=0.
    Case {
        name: "first_drop.syn_queue",
        shows: "the first SYNs that a full SYN queue drops on each of four CPUs",
        alone: true,
        script: "
            s tun
            s sysctl net.ipv4.tcp_syncookies 0
            s listen a 5060 1
            trace
            s cpu 0
            s load 5060 20000 n=330 a
            s syn 5060 29000 n=2
            s syn 5060 30000 n=3
            s cpu 1
            s syn 5060 31000 n=3
            s cpu 2
            s syn 5060 32000 n=3
            s cpu 3
            s syn 5060 33000 n=3
            s drain 100
            s got 30000 n=3 -
            s got 33000 n=3 -",
        told: &[as_rose("syn.drop.syn_queue_full", ("s", "TCPReqQFullDrop"), "a")],
        modes: MODES,
        smp: true,
        ..CASE
    },
    Case {
        name: "first_drop.accept_queue",
        shows: "the first SYNs that a full accept queue drops on each of four CPUs",
        alone: true,
        script: "
            s tun
            s listen a 5061 1
            trace
            s cpu 0
            s hs 5061 29000 n=2
            s syn 5061 30000 n=3
            s cpu 1
            s syn 5061 31000 n=3
            s cpu 2
            s syn 5061 32000 n=3
            s cpu 3
            s syn 5061 33000 n=3
            s drain 100
            s got 33000 n=3 -",
        told: &[
            told("syn.drop.accept_queue_full", 3, "a").clients(30_000, 30_002),
            told("syn.drop.accept_queue_full", 3, "a").clients(31_000, 31_002),
            told("syn.drop.accept_queue_full", 3, "a").clients(32_000, 32_002),
            told("syn.drop.accept_queue_full", 3, "a").clients(33_000, 33_002),
        ],
        counters: &[("s", "ListenOverflows", 12)],
        modes: MODES,
        smp: true,
        ..CASE
    },
    // tcp_v4_syn_recv_sock: sk_acceptq_is_full, counted on the CPU that handles the segment.
    Case {
        name: "first_drop.third_ack",
        shows: "the first third ACKs that a full accept queue drops on each of four CPUs",
        alone: true,
        script: "
            s tun
            s listen a 5062 64
            trace
            s cpu 0
            s syn 5062 30000 n=13
            s drain 50
            s relisten a 0
            s ack 5062 30000
            s ack 5062 30001 n=3
            s cpu 1
            s ack 5062 30004 n=3
            s cpu 2
            s ack 5062 30007 n=3
            s cpu 3
            s ack 5062 30010 n=3
            s drain 50",
        told: &[told("ack.drop.overflow", 12, "a").clients(30_001, 30_012)],
        tolerated: &["later.phantom"],
        counters: &[("s", "ListenOverflows", 12)],
        modes: MODES,
        smp: true,
        ..CASE
    },
    Case {
        name: "first_drop.new_namespace",
        shows: "the same three in a namespace that is made during the trace",
        alone: true,
        script: "
            trace
            s tun
            s sysctl net.ipv4.tcp_syncookies 0
            s listen a 5063 1
            s listen b 5064 1
            s listen c 5065 64
            s cpu 0
            s hs 5063 29000 n=2
            s syn 5063 30000 n=3
            s cpu 1
            s syn 5063 31000 n=3
            s cpu 2
            s syn 5064 32000 n=5
            s cpu 3
            s syn 5064 33000 n=3
            s syn 5065 34000 n=4
            s drain 50
            s relisten c 0
            s ack 5065 34000 n=4
            s drain 50",
        told: &[
            told("syn.drop.accept_queue_full", 6, "a"),
            as_rose("syn.drop.syn_queue_full", ("s", "TCPReqQFullDrop"), "b"),
            told("ack.drop.overflow", 3, "c").clients(34_001, 34_003),
        ],
        tolerated: &["later.phantom"],
        counters: &[("s", "ListenOverflows", 9)],
        modes: MODES,
        smp: true,
        ..CASE
    },
];
