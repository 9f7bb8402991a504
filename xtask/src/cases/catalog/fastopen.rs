//! Fast Open: children that are made at the SYN, and what bounds them.

use super::super::case::{CASE, Case, MODES, told};

/// The cases.
pub const CASES: &[Case] = &[
    // tcp_try_fastopen with TFO_SERVER_COOKIE_NOT_REQD (0x200): the child is made at the SYN and
    // counts in sk_ack_backlog at once. With backlog 1 two fill the queue: nothing is dropped. The
    // third SYN meets sk_acceptq_is_full in tcp_conn_request, before tcp_try_fastopen.
    Case {
        name: "fastopen.fills_queue",
        shows: "SYNs with data fill the accept queue, without cookies; then one is dropped",
        script: "
            s tun
            s sysctl net.ipv4.tcp_fastopen 0x202
            s listen a 5070 1 fastopen=16
            trace
            s syn 5070 40001 len=10 n=2
            s drain 50
            s got 40001 n=2 SA
            s syn 5070 40003 len=10
            s drain 50
            s got 40003 -
            s accept a n=2 all
            s read a data",
        told: &[told("syn.drop.accept_queue_full", 1, "a").clients(40_003, 40_003)],
        all: &[told("syn.fastopen", 2, "a").clients(40_001, 40_002)],
        counters: &[("s", "TCPFastOpenPassive", 2), ("s", "ListenOverflows", 1)],
        modes: MODES,
        ..CASE
    },
    // The first SYN asks for a cookie (option 34 without data), a later one has it.
    Case {
        name: "fastopen.cookie",
        shows: "a SYN asks for a Fast Open cookie, another brings it with data: nothing is dropped",
        script: "
            s tun
            s sysctl net.ipv4.tcp_fastopen 2
            s listen a 5070 8 fastopen=16
            trace
            s syn 5070 40001 opt=2202
            s drain 50
            s got 40001 SA
            s ack 5070 40001
            s syn 5070 40002 cookie=40001 len=10
            s drain 50
            s got 40002 SA
            s seg 5070 40002 A seq=11
            s accept a n=2 all",
        all: &[
            told("syn.fastopen", 1, "a").clients(40_002, 40_002),
            told("ack.accepted", 1, "a").clients(40_001, 40_001),
        ],
        counters: &[("s", "TCPFastOpenPassive", 1), ("s", "ListenDrops", 0)],
        modes: MODES,
        ..CASE
    },
    // tcp_fastopen_queue_check: fastopenq.qlen >= max_qlen counts TCPFastOpenListenOverflow, and the
    // SYN becomes a request like any other.
    Case {
        name: "fastopen.queue_full",
        shows: "a full Fast Open queue: the SYN is answered without its data",
        script: "
            s tun
            s sysctl net.ipv4.tcp_fastopen 0x202
            s listen a 5070 8 fastopen=1
            trace
            s syn 5070 40001 len=10 n=2
            s drain 50
            s got 40001 n=2 SA
            s ack 5070 40002
            s accept a n=2 all",
        all: &[
            told("syn.fastopen", 1, "a").clients(40_001, 40_001),
            told("syn.fastopen_queue_full", 1, "a").clients(40_002, 40_002),
            told("ack.accepted", 1, "a").clients(40_002, 40_002),
        ],
        tolerated: &["syn.fastopen_queue_full"],
        counters: &[
            ("s", "TCPFastOpenListenOverflow", 1),
            ("s", "TCPFastOpenPassive", 1),
            ("s", "ListenDrops", 0),
        ],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "fastopen.third_ack",
        shows: "the third ACK of a Fast Open child, and its RST: of no listener",
        script: "
            s tun
            s sysctl net.ipv4.tcp_fastopen 0x202
            s listen a 5070 8 fastopen=16
            trace
            s syn 5070 40001 len=10 n=2
            s drain 50
            s seg 5070 40001 A seq=11
            s seg 5070 40002 RA seq=11
            s drain 50
            s hs 5070 40003",
        all: &[told("syn.fastopen", 2, "a").clients(40_001, 40_002)],
        counters: &[("s", "TCPFastOpenPassive", 2), ("s", "ListenDrops", 0)],
        modes: MODES,
        ..CASE
    },
];
