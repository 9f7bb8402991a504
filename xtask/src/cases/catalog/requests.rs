//! What becomes of requests that wait: windows and timestamps, ICMP errors, neighbours, clients that
//! give up, listeners that go away.

use super::super::case::{CASE, Case, MODES, Mode, Need, told, up_to};

/// Since d4f2c86b2b7e (v5.14). Debian's 5.10.223 has the sysctl, but nothing that reads it.
const MIGRATION: &[Need] = &[Need { what: "TCPMigrateReqSuccess", since: Some((5, 14)) }];

/// The cases.
pub const CASES: &[Case] = &[
    // tcp_check_req: !tcp_in_window(…, rcv_nxt + tcp_synack_window(req)), and no timestamps were
    // agreed upon, so that paws_reject cannot hold.
    Case {
        name: "window.outside",
        shows: "third ACKs outside a small window, without timestamps",
        script: "
            s tun
            s listen a 5080 8 rcvbuf=2304
            trace
            s syn 5080 40001
            s drain 50
            s ack 5080 40001 seq=100000
            s drain 50
            s ack 5080 40001
            s accept a n=1 all",
        all: &[told("ack.drop.out_of_window", 1, "a").clients(40_001, 40_001)],
        tolerated: &["ack.drop.out_of_window"],
        counters: &[("s", "ListenDrops", 0), ("s", "PAWSEstab", 0)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "window.outside_timestamps",
        shows: "third ACKs outside a small window, with good timestamps",
        script: "
            s tun
            s listen a 5080 8 rcvbuf=2304
            trace
            s syn 5080 40001 ts=1000
            s drain 50
            s ack 5080 40001 seq=100000 ts=1001
            s drain 50
            s ack 5080 40001 ts=1002
            s accept a n=1 all",
        all: &[told("ack.drop.out_of_window", 1, "a").clients(40_001, 40_001)],
        tolerated: &["ack.drop.out_of_window"],
        counters: &[("s", "ListenDrops", 0), ("s", "PAWSEstab", 0)],
        modes: MODES,
        ..CASE
    },
    // tcp_paws_reject: the timestamp is older than that of the SYN.
    Case {
        name: "window.paws",
        shows: "a third ACK with an old timestamp, inside the window",
        script: "
            s tun
            s listen a 5080 8
            trace
            s syn 5080 40001 ts=100000
            s drain 50
            s ack 5080 40001 ts=99000
            s drain 50
            s ack 5080 40001 ts=100001
            s accept a n=1 all",
        all: &[told("ack.drop.paws", 1, "a").clients(40_001, 40_001)],
        tolerated: &["ack.drop.paws"],
        counters: &[("s", "ListenDrops", 0), ("s", "PAWSEstab", 1)],
        modes: MODES,
        ..CASE
    },
    // neigh_resolve_output queues the SYN-ACK until the neighbour answers: the request is there. After
    // three probes, a second each, arp_error_report sends an ICMP error to this host itself, which
    // ends the requests (tcp_req_err, tcp_listendrop).
    Case {
        name: "neighbour.silent",
        shows: "SYN-ACKs wait for a neighbour's address: their SYNs were not dropped",
        script: "
            s tap
            s listen a 5081 8
            trace
            s syn 5081 40001 n=3
            sleep 5000",
        told: &[up_to("later.request_icmp_error", 3, "a").clients(40_001, 40_003)],
        all: &[told("syn.queued", 3, "a").clients(40_001, 40_003)],
        // No tracepoint is passed before the SYN-ACK leaves.
        all_by_tracepoints: Some(&[]),
        counters: &[("s", "ListenDrops", 3)],
        modes: MODES,
        ..CASE
    },
    // tcp_v4_err → tcp_req_err: the request is removed, and tcp_listendrop counts it. It is no drop
    // of the next segment.
    Case {
        name: "icmp.on_request",
        shows: "an ICMP error ends a request, then healthy SYNs on the same CPU",
        script: "
            s tun
            s listen a 5082 8
            s listen b 5083 8
            trace
            s syn 5082 40001
            s drain 50
            s got 40001 SA
            s icmp 5082 40001
            s hs 5083 40002 n=2
            s hs 5082 40004
            s accept a n=1 all",
        told: &[up_to("later.request_icmp_error", 1, "a").clients(40_001, 40_001)],
        counters: &[("s", "ListenDrops", 1), ("s", "ListenOverflows", 0)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "icmp.on_request6",
        shows: "the same by IPv6",
        script: "
            s tun
            s listen a 5082 8 v6
            s listen b 5083 8 v6
            trace
            s syn 5082 40001 v6
            s drain 50
            s got 40001 SA
            s icmp 5082 40001 v6
            s hs 5083 40002 n=2 v6
            s hs 5082 40004 v6
            s accept a n=1 all",
        told: &[up_to("later.request_icmp_error", 1, "a").clients(40_001, 40_001)],
        counters: &[("s", "ListenDrops", 1), ("s", "ListenOverflows", 0)],
        modes: MODES,
        ..CASE
    },
    // The error stands beside a real overflow: each is counted once.
    Case {
        name: "icmp.then_full",
        shows: "an ICMP error ends a request, then SYNs to a full queue on the same CPU",
        script: "
            s tun
            s listen a 5082 1
            s listen b 5083 8
            trace
            s hs 5082 40001 n=2
            s syn 5083 40003
            s drain 50
            s icmp 5083 40003
            s syn 5082 40004 n=2
            s drain 50",
        told: &[
            told("syn.drop.accept_queue_full", 2, "a").clients(40_004, 40_005),
            up_to("later.request_icmp_error", 1, "b").clients(40_003, 40_003),
        ],
        counters: &[("s", "ListenDrops", 3), ("s", "ListenOverflows", 2)],
        modes: MODES,
        ..CASE
    },
    // The child that the FIN made is at its end already: the client had given up.
    Case {
        name: "gave_up.fin",
        shows: "a third ACK is dropped, the client closes; later its FIN completes the handshake",
        script: "
            s tun
            s listen a 5084 64
            trace
            s syn 5084 40001 n=2
            s drain 50
            s relisten a 0
            s ack 5084 40001
            s ack 5084 40002
            s seg 5084 40002 FA
            s accept a n=1 all
            s seg 5084 40002 FA
            s drain 50
            s accept a n=1 all
            s read a eof",
        told: &[
            told("ack.drop.overflow", 2, "a").clients(40_002, 40_002),
            told("later.recovered_too_late", 1, "a").clients(40_002, 40_002),
        ],
        counters: &[("s", "ListenOverflows", 2)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "gave_up.not",
        shows: "a third ACK is dropped, the client waits and its next one is taken",
        script: "
            s tun
            s listen a 5084 64
            trace
            s syn 5084 40001 n=2
            s drain 50
            s relisten a 0
            s ack 5084 40001 n=2
            s accept a n=1 all
            s ack 5084 40002
            s seg 5084 40002 PA len=10
            s drain 50
            s accept a n=1 all
            s read a data",
        told: &[
            told("ack.drop.overflow", 1, "a").clients(40_002, 40_002),
            told("later.recovered", 1, "a").clients(40_002, 40_002),
        ],
        counters: &[("s", "ListenOverflows", 1)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "gave_up.reset",
        shows: "a third ACK is dropped, the client resets: it was never served",
        script: "
            s tun
            s listen a 5084 64
            trace
            s syn 5084 40001 n=2
            s drain 50
            s relisten a 0
            s ack 5084 40001 n=2
            s seg 5084 40002 R
            s drain 50
            s accept a n=1 all
            s relisten a 64
            s hs 5084 40003",
        told: &[told("ack.drop.overflow", 1, "a").clients(40_002, 40_002)],
        counters: &[("s", "ListenOverflows", 1)],
        modes: MODES,
        ..CASE
    },
    // tcp_v4_send_reset → ip_send_unicast_reply finds no route: it is called, nothing is sent. The
    // next segment's fate has nothing to do with it.
    Case {
        name: "reset.no_route",
        shows: "tcp_abort_on_overflow=1 without a route to the client, then healthy clients",
        script: "
            s tun
            s sysctl net.ipv4.conf.all.rp_filter 0
            s sysctl net.ipv4.conf.tun0.rp_filter 0
            s sysctl net.ipv4.tcp_abort_on_overflow 1
            s listen a 5085 64
            s listen b 5086 64
            s route add 10.8.0.0/24
            trace
            s syn 5085 40001
            s syn 5085 40002 from=10.8.0.2
            s drain 50
            s got 40002 SA
            s relisten a 0
            s ack 5085 40001
            s route del 10.8.0.0/24
            s ack 5085 40002 from=10.8.0.2
            s drain 50
            s got 40002 -
            s hs 5086 40003 n=2
            s seg 5086 40003 RA
            s drain 50",
        told: &[told("ack.reset.overflow", 1, "a").clients(40_002, 40_002)],
        counters: &[("s", "ListenOverflows", 1), ("s", "ListenDrops", 1)],
        modes: MODES,
        ..CASE
    },
    // reuseport_migrate_sock in tcp_v4_rcv: the third ACK goes to the other listener.
    Case {
        name: "migration.third_ack",
        shows: "a listener closes with requests, which another of its group takes (tcp_migrate_req)",
        script: "
            s tun
            s counts TCPMigrateReqSuccess
            s sysctl net.ipv4.tcp_migrate_req 1
            one in s
            one listen a 5087 64 reuseport
            two in s
            two listen b 5087 64 reuseport
            trace
            s syn 5087 40001 n=12
            s drain 50
            s got 40001 n=12 SA
            one close a
            s ack 5087 40001 n=12
            s drain 50
            two accept b n=12 all",
        tolerated: &["later.migrated"],
        counters: &[("s", "ListenDrops", 0)],
        modes: MODES,
        needs: MIGRATION,
        ..CASE
    },
    // reqsk_timer_handler: inet_reqsk_clone gives the request to the other listener.
    Case {
        name: "migration.timer",
        shows: "the same at the requests' timer: none of them is lost",
        script: "
            s tun
            s counts TCPMigrateReqSuccess
            s sysctl net.ipv4.tcp_migrate_req 1
            one in s
            one listen a 5087 64 reuseport
            two in s
            two listen b 5087 64 reuseport
            trace
            s syn 5087 40001 n=12
            s drain 50
            one close a
            sleep 1800
            s drain 50
            s ack 5087 40001 n=12
            s drain 50
            two accept b n=12 all",
        tolerated: &["later.migrated"],
        counters: &[("s", "ListenDrops", 0)],
        modes: MODES,
        needs: MIGRATION,
        ..CASE
    },
    // Without migration they die: in tcp_v4_rcv at the third ACK (sk_state is not TCP_LISTEN), which
    // then finds the other listener and is answered by an RST.
    Case {
        name: "migration.off",
        shows: "a listener closes with requests, and none takes them over",
        script: "
            s tun
            s listen a 5088 64
            trace
            s syn 5088 40001 n=3
            s drain 50
            s got 40001 n=3 SA
            s close a
            sleep 3500
            s drain 50",
        tolerated: &["later.request_orphaned"],
        counters: &[("s", "ListenDrops", 0)],
        modes: &[Mode::Default, Mode::All],
        ..CASE
    },
];
