//! Single segments that are dropped, or answered, where few look: what is told of them, and of the
//! next one on the same CPU.

use super::super::case::{CASE, Case, MODES, told, up_to};

/// The cases.
pub const CASES: &[Case] = &[
    // tcp_v4_conn_request drops a SYN whose route has RTCF_BROADCAST or RTCF_MULTICAST before
    // tcp_conn_request is called, by tcp_listendrop.
    Case {
        name: "syn.broadcast",
        shows: "a SYN to the subnet's broadcast address, then healthy ones on the same CPU",
        script: "
            s tun
            s listen a 5001 64
            s listen b 5002 64
            trace
            s hs 5001 40001
            s syn 5001 40002 to=10.7.0.255
            s drain 50
            s got 40002 -
            s hs 5002 40003
            s syn 5001 40004 to=10.7.0.255
            s hs 5001 40005 n=2
            s accept a n=3 all
            s accept b n=1 all",
        told: &[up_to("syn.drop.other", 2, "a").clients(40_002, 40_004)],
        counters: &[("s", "ListenDrops", 2), ("s", "ListenOverflows", 0)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "syn.multicast",
        shows: "a SYN to 224.0.0.1, then healthy ones on the same CPU",
        script: "
            s tun
            s listen a 5001 64
            trace
            s hs 5001 40001
            s syn 5001 40002 to=224.0.0.1
            s drain 50
            s got 40002 -
            s hs 5001 40003 n=2
            s accept a n=3 all",
        told: &[up_to("syn.drop.other", 1, "a").clients(40_002, 40_002)],
        counters: &[("s", "ListenDrops", 1)],
        modes: MODES,
        ..CASE
    },
    // tcp_v6_conn_request: !ipv6_unicast_destination.
    Case {
        name: "syn.multicast6",
        shows: "an IPv6 SYN to ff02::1, then healthy ones on the same CPU",
        script: "
            s tun
            s listen a 5001 64 v6
            trace
            s hs 5001 40001 v6
            s syn 5001 40002 to=ff02::1
            s drain 50
            s got 40002 -
            s hs 5001 40003 n=2 v6
            s hs 5001 40005
            s accept a n=4 all",
        told: &[up_to("syn.drop.other", 1, "a").clients(40_002, 40_002)],
        counters: &[("s", "ListenDrops", 1)],
        modes: MODES,
        ..CASE
    },
    // A full queue drops what comes after as well: the first drop must not be taken for the second.
    Case {
        name: "syn.broadcast_then_full",
        shows: "a SYN to the broadcast address, then SYNs to a full queue on the same CPU",
        script: "
            s tun
            s listen a 5001 1
            s listen b 5002 64
            trace
            s hs 5001 40001 n=2
            s syn 5002 40003 to=10.7.0.255
            s syn 5001 40004 n=3
            s syn 5002 40007 to=10.7.0.255
            s hs 5002 40008",
        told: &[
            told("syn.drop.accept_queue_full", 3, "a").clients(40_004, 40_006),
            up_to("syn.drop.other", 2, "b").clients(40_003, 40_007),
        ],
        counters: &[("s", "ListenOverflows", 3), ("s", "ListenDrops", 5)],
        modes: MODES,
        ..CASE
    },
    // tcp_v4_send_reset returns at once if th->rst: nothing is sent, wherever it is called.
    Case {
        name: "rst.never_answered",
        shows: "RSTs to a closed port, to a listener, and to a port that sent cookies",
        script: "
            s tun
            s listen a 5001 8
            trace
            s seg 5999 40001 R
            s seg 5999 40002 RA
            s seg 5001 40003 R
            s seg 5001 40004 RA
            s seg 5001 40005 R len=10
            s drain 50
            s got 40001 n=5 -
            s sysctl net.ipv4.tcp_syncookies 2
            s syn 5001 40010
            s drain 50
            s got 40010 SA
            s seg 5001 40010 RA
            s seg 5001 40011 RA
            s drain 50
            s got 40010 n=2 -",
        // A cookie by tcp_syncookies=2 is sent whatever the queue.
        all: &[told("syn.cookie", 1, "a").clients(40_010, 40_010)],
        tolerated: &["syn.cookie"],
        modes: MODES,
        ..CASE
    },
    // tcp_check_req: since a28c4fcbf774 an RST whose acknowledgement is wrong ends the request
    // (embryonic_reset, which sends nothing for an RST), or gets a challenge ACK where its sequence
    // number is not exact; before, it goes on to the listener, whose tcp_v4_send_reset returns at once.
    Case {
        name: "rst.wrong_ack_on_request",
        shows: "RST|ACK with a wrong acknowledgement on a pending request",
        script: "
            s tun
            s listen a 5001 8
            trace
            s syn 5001 40001 n=2
            s drain 50
            s got 40001 n=2 SA
            s seg 5001 40001 RA ack=99
            s seg 5001 40002 RA ack=99 seq=5
            s drain 50
            s got 40001 -
            s hs 5001 40003",
        told: &[],
        modes: MODES,
        ..CASE
    },
    // The same acknowledgement without RST goes to the listener, which answers by an RST; the request
    // stays and takes the right ACK.
    Case {
        name: "ack.wrong_ack_on_request",
        shows: "a third ACK that acknowledges something else: one RST, told once",
        script: "
            s tun
            s listen a 5001 8
            trace
            s syn 5001 40001
            s drain 50
            s got 40001 SA
            s seg 5001 40001 A ack=99
            s drain 50
            s got 40001 R
            s ack 5001 40001
            s drain 50
            s got 40001 -
            s accept a n=1 all",
        all: &[
            told("ack.reset.bad_ack", 1, "a").clients(40_001, 40_001),
            told("ack.accepted", 1, "a").clients(40_001, 40_001),
        ],
        tolerated: &["ack.reset.bad_ack"],
        modes: MODES,
        ..CASE
    },
    // tcp_v4_rcv finds the checksum wrong before it looks for a socket, or after it has found the
    // request (tcp_checksum_complete before tcp_check_req): no queue is asked.
    Case {
        name: "ack.bad_checksum",
        shows: "a third ACK with a wrong checksum while the queue is full",
        script: "
            s tun
            s listen a 5001 64
            trace
            s syn 5001 40001 n=3
            s drain 50
            s relisten a 0
            s ack 5001 40001
            s ack 5001 40002 badsum
            s ack 5001 40003 badsum
            s syn 5001 40004 badsum
            s drain 50
            s got 40004 -",
        counters: &[("s", "ListenOverflows", 0), ("s", "ListenDrops", 0)],
        modes: MODES,
        ..CASE
    },
    // Extension headers before TCP: the segment's TCP header is not behind the 40 bytes of IPv6.
    Case {
        name: "ipv6.destination_options.syn",
        shows: "IPv6 SYNs with destination options to a full accept queue",
        script: "
            s tun
            s listen a 5001 1 v6
            trace
            s hs 5001 40001 n=2 v6 ext=dst
            s syn 5001 40003 n=2 v6 ext=dst
            s drain 50
            s got 40003 n=2 -",
        told: &[told("syn.drop.accept_queue_full", 2, "a").clients(40_003, 40_004)],
        all: &[told("ack.accepted", 2, "a")],
        counters: &[("s", "ListenOverflows", 2)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "ipv6.hop_by_hop.syn",
        shows: "IPv6 SYNs with hop-by-hop options to a full accept queue",
        script: "
            s tun
            s listen a 5001 1 v6
            trace
            s hs 5001 40001 n=2 v6 ext=hop
            s syn 5001 40003 n=2 v6 ext=hop
            s drain 50
            s got 40003 n=2 -",
        told: &[told("syn.drop.accept_queue_full", 2, "a").clients(40_003, 40_004)],
        counters: &[("s", "ListenOverflows", 2)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "ipv6.destination_options.ack",
        shows: "IPv6 third ACKs with destination options to a full accept queue",
        script: "
            s tun
            s listen a 5001 64 v6
            trace
            s syn 5001 40001 n=3 v6 ext=dst
            s drain 50
            s relisten a 0
            s ack 5001 40001 n=3 v6 ext=dst
            s drain 50",
        told: &[told("ack.drop.overflow", 2, "a").clients(40_002, 40_003)],
        tolerated: &["later.phantom"],
        counters: &[("s", "ListenOverflows", 2)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "ipv6.hop_by_hop.abort",
        shows: "IPv6 third ACKs with hop-by-hop options, tcp_abort_on_overflow=1",
        script: "
            s tun
            s sysctl net.ipv4.tcp_abort_on_overflow 1
            s listen a 5001 64 v6
            trace
            s syn 5001 40001 n=3 v6 ext=hop
            s drain 50
            s got 40001 n=3 SA
            s relisten a 0
            s ack 5001 40001 n=3 v6 ext=hop
            s drain 50
            s got 40002 n=2 R",
        told: &[told("ack.reset.overflow", 2, "a").clients(40_002, 40_003)],
        counters: &[("s", "ListenOverflows", 2), ("s", "EmbryonicRsts", 2)],
        modes: MODES,
        ..CASE
    },
];
