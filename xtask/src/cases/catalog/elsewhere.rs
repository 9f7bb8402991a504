//! Segments that do not come to TCP as they came to the host, or not at all, and connections that
//! somebody ends from outside: netfilter's rules, signatures, SOCK_DESTROY.

use super::super::case::{CASE, Case, MODES, Need, told};

/// Modules of all of Debian's kernels; their rules need no tool.
const REDIRECT: &[Need] = &[Need { what: "Redirect", since: Some((5, 10)) }];
const TPROXY: &[Need] = &[Need { what: "Tproxy", since: Some((5, 10)) }];
const DESTROY: &[Need] = &[Need { what: "SOCK_DESTROY", since: Some((5, 10)) }];
const MD5: &[Need] = &[Need { what: "TCP_MD5SIG", since: Some((5, 10)) }];

/// Two children fill the queue of the listener, and three SYNs more come.
const FULL_FOR_SYNS: Case = Case {
    told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
    counters: &[("s", "ListenOverflows", 3), ("s", "ListenDrops", 3)],
    modes: MODES,
    ..CASE
};

/// One child fills the queue of the listener, which was made shorter, and two ACKs more come.
const FULL_FOR_ACKS: Case = Case {
    told: &[told("ack.drop.overflow", 2, "a").clients(40_002, 40_003)],
    counters: &[("s", "ListenOverflows", 2), ("s", "ListenDrops", 2)],
    modes: MODES,
    ..CASE
};

/// The cases.
pub const CASES: &[Case] = &[
    // nf_nat_redirect_ipv4 gives the segment the listener's port; the client knows another one.
    Case {
        name: "redirect.syn",
        shows: "SYNs that nftables redirects to another port find the queue full",
        script: "
            s tun
            s redirect 5120 5121
            s listen a 5121 1
            s listen b 5122 8
            trace
            s hs 5120 40001 n=2
            s syn 5120 40003 n=3
            s drain 50
            s hs 5122 40010
            s accept b n=1 all
            s accept a n=2 all",
        needs: REDIRECT,
        ..FULL_FOR_SYNS
    },
    Case {
        name: "redirect.third_ack",
        shows: "third ACKs that nftables redirects to another port find the queue full",
        script: "
            s tun
            s redirect 5120 5121
            s listen a 5121 8
            s listen b 5122 8
            trace
            s syn 5120 40001 n=3
            s drain 50
            s got 40001 n=3 SA
            s relisten a 0
            s ack 5120 40001
            s ack 5120 40002 n=2
            s drain 50
            s hs 5122 40010
            s accept b n=1 all
            s accept a n=1 all",
        needs: REDIRECT,
        ..FULL_FOR_ACKS
    },
    // nf_tproxy_get_sock_v4 finds the listener, and the segment keeps its own port.
    Case {
        name: "tproxy.syn",
        shows: "SYNs that nftables gives to a transparent listener on another port find its queue full",
        script: "
            s tun
            s tproxy 5120 5121
            s listen a 5121 1 transparent
            s listen b 5122 8
            trace
            s hs 5120 40001 n=2
            s syn 5120 40003 n=3
            s drain 50
            s hs 5122 40010
            s accept b n=1 all
            s accept a n=2 all",
        needs: TPROXY,
        ..FULL_FOR_SYNS
    },
    Case {
        name: "tproxy.third_ack",
        shows: "the same of third ACKs",
        script: "
            s tun
            s tproxy 5120 5121
            s listen a 5121 8 transparent
            s listen b 5122 8
            trace
            s syn 5120 40001 n=3
            s drain 50
            s got 40001 n=3 SA
            s relisten a 0
            s ack 5120 40001
            s ack 5120 40002 n=2
            s drain 50
            s hs 5122 40010
            s accept b n=1 all
            s accept a n=1 all",
        needs: TPROXY,
        ..FULL_FOR_ACKS
    },
    // tcp_abort: of a request nothing is sent (inet_csk_reqsk_queue_drop), of a child an RST.
    Case {
        name: "destroy.both",
        shows: "ss -K ends a request whose ACK was dropped, and a child that waits",
        script: "
            s tun
            s listen a 5123 8
            trace
            s syn 5123 40001 n=3
            s drain 50
            s got 40001 n=3 SA
            s relisten a 1
            s ack 5123 40001
            s ack 5123 40002
            s ack 5123 40003
            s destroy 5123 40003
            s destroy 5123 40001
            s drain 50
            s got 40003 -
            s accept a n=2 all
            s hs 5123 40004",
        told: &[
            told("ack.drop.overflow", 1, "a").clients(40_003, 40_003),
            told("later.request_destroyed", 1, "a").clients(40_003, 40_003),
            told("later.reset_by_server", 1, "a").clients(40_001, 40_001),
        ],
        // A request ends without a segment, and no tracepoint is passed.
        by_tracepoints: Some(&[
            told("ack.drop.overflow", 1, "a").clients(40_003, 40_003),
            told("later.reset_by_server", 1, "a").clients(40_001, 40_001),
        ]),
        counters: &[("s", "ListenOverflows", 1), ("s", "ListenDrops", 1)],
        modes: MODES,
        needs: DESTROY,
        ..CASE
    },
    // tcp_v4_rcv drops them before the listener's queues are looked at (tcp_inbound_md5_hash); only
    // `sk_drops` counts.
    Case {
        name: "md5.unsigned",
        shows: "SYNs without the signature that the listener asks for, then healthy ones",
        script: "
            s tun
            s listen a 5124 1 md5
            s listen b 5125 8
            trace
            s syn 5124 40001 n=3
            s drain 50
            s got 40001 n=3 -
            s hs 5125 40004
            s accept b n=1 all",
        // By tracepoints they are SYNs that were dropped for another reason.
        tolerated: &["syn.drop.other"],
        counters: &[("s", "ListenDrops", 0), ("s", "TCPMD5NotFound", 3)],
        modes: MODES,
        needs: MD5,
        ..CASE
    },
];
