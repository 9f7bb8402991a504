//! Clients that are hurt: what the closing lines say became of each.

use super::super::case::{CASE, Case, MODES, told};

/// Verdicts on the way; how many of each is not what these cases are about.
const WAYS: &[&str] = &[
    "syn.cookie",
    "ack.reset.invalid_cookie",
    "later.recovered",
    "later.recovered_too_late",
    "later.reset_no_socket",
];

/// The cases.
pub const CASES: &[Case] = &[
    // Which SYN gets in after one was dropped nothing in the kernel remembers.
    Case {
        name: "clients.dropped_syn",
        shows: "three clients whose SYN is dropped: one gets in, two send no more; a healthy one",
        script: "
            s tun
            s listen a 5070 1
            trace
            s hs 5070 40001 n=2
            s syn 5070 40003 n=3
            s accept a n=1
            sleep 1100
            s hs 5070 40003
            s accept a n=2 all
            s hs 5070 40006
            s accept a n=1 all
            sleep 3500
            stop",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        hurt: &[("a", "delayed", 1), ("a", "never_served", 2)],
        ..HURT
    },
    // tcp_check_req, listen_overflow; a FIN is a third ACK too.
    Case {
        name: "clients.dropped_ack",
        shows: "third ACKs that find the queue full: one gets in late, one gives up, one still waits",
        script: "
            s tun
            s sysctl net.ipv4.tcp_abort_on_overflow 0
            s listen a 5071 64
            trace
            s syn 5071 40001 n=5
            s drain 50
            s relisten a 1
            s ack 5071 40001 n=5
            s seg 5071 40004 FA
            s accept a n=2 all
            s ack 5071 40003
            s accept a n=1 all
            stop",
        told: &[told("ack.drop.overflow", 4, "a").clients(40_003, 40_005)],
        hurt: &[("a", "delayed", 1), ("a", "gave_up", 1), ("a", "waiting", 1)],
        ..HURT
    },
    Case {
        name: "clients.reset",
        shows: "third ACKs that are answered by RST, however often the client tries again",
        script: "
            s tun
            s sysctl net.ipv4.tcp_abort_on_overflow 1
            s listen a 5072 64
            trace
            s syn 5072 40001 n=4
            s drain 50
            s relisten a 1
            s ack 5072 40001 n=4
            s ack 5072 40004
            s drain 50
            s accept a n=2 all
            stop",
        told: &[told("ack.reset.overflow", 2, "a").clients(40_003, 40_004)],
        hurt: &[("a", "reset", 2)],
        ..HURT
    },
    // cookie_v4_check: the sysctl is never read, and nothing is kept.
    Case {
        name: "clients.phantoms",
        shows: "cookies whose third ACK finds the queue full: two believe, one closes, one gets in",
        script: "
            s tun
            s sysctl net.ipv4.tcp_syncookies 2
            s listen a 5073 1
            trace
            s syn 5073 40001 n=6
            s drain 50
            s ack 5073 40001 n=6
            s seg 5073 40003 PA len=10
            s seg 5073 40004 FA
            s accept a n=2 all
            s seg 5073 40005 PA len=10
            s accept a n=1 all
            stop",
        told: &[told("ack.drop.overflow.cookie", 6, "a").clients(40_003, 40_006)],
        hurt: &[("a", "phantom", 2), ("a", "gave_up", 1), ("a", "delayed", 1)],
        ..HURT
    },
];

const HURT: Case = Case { modes: MODES, alone: true, tolerated: WAYS, ..CASE };
