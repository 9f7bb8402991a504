//! Segments that come late, to a connection that the application has closed: they are of no
//! handshake, and nothing is told of one.

use super::super::case::{CASE, Case, MODES};

/// A listener that has sent no cookie; inet_lookup_listener finds it for whatever comes late, and
/// tcp_rcv_state_process answers an ACK in TCP_LISTEN by an RST.
const LATE: Case = Case { modes: MODES, ..CASE };

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "late.after_reset",
        shows: "data, FIN, ACK and RST to a connection that was closed by an RST (linger 0)",
        script: "
            s tun
            s listen a 5030 64
            trace
            s hs 5030 40001 n=4
            s accept a n=4 all
            s hangup a reset
            s drain 50
            s got 40001 n=4 SA RA
            s seg 5030 40001 PA len=10
            s seg 5030 40002 FA
            s seg 5030 40003 A
            s seg 5030 40004 R
            s drain 50
            s got 40001 n=3 R
            s got 40004 -
            s hs 5030 40005",
        ..LATE
    },
    Case {
        name: "late.after_more_data",
        shows: "the same, after data was exchanged: no sequence number is a handshake's",
        script: "
            s tun
            s listen a 5030 64
            trace
            s hs 5030 40001 n=2
            s seg 5030 40001 PA len=10
            s seg 5030 40002 PA len=10
            s accept a n=2 all
            s read a data
            s hangup a reset
            s drain 50
            s seg 5030 40001 PA seq=11 len=10
            s seg 5030 40002 FA seq=11
            s drain 50",
        ..LATE
    },
    // tcp_close: data that was not read is answered by an RST (TCPAbortOnClose).
    Case {
        name: "late.after_unread_data",
        shows: "data to a connection that was closed with data unread",
        script: "
            s tun
            s listen a 5030 64
            trace
            s hs 5030 40001
            s seg 5030 40001 PA len=10
            s accept a n=1 all
            s hangup a
            s drain 50
            s seg 5030 40001 PA seq=11 len=10
            s drain 50
            s hs 5030 40002",
        counters: &[("s", "TCPAbortOnClose", 1)],
        ..LATE
    },
    // FIN_WAIT2 ends after tcp_fin_timeout (tcp_time_wait); then the listener is found.
    Case {
        name: "late.after_fin_timeout",
        shows: "data to a connection that was closed, and whose FIN_WAIT2 is over",
        script: "
            s tun
            s sysctl net.ipv4.tcp_fin_timeout 1
            s listen a 5030 64
            trace
            s hs 5030 40001
            s accept a n=1 all
            s hangup a
            s drain 50
            s got 40001 SA FA
            s seg 5030 40001 A ack=2
            sleep 4000
            s seg 5030 40001 PA ack=2 len=10
            s seg 5030 40001 FA seq=11 ack=2
            s drain 50",
        ..LATE
    },
    Case {
        name: "late.older_than_trace",
        shows: "data, FIN, ACK and RST to connections that came and went before the trace",
        script: "
            s tun
            s listen a 5030 64
            s hs 5030 40001 n=6
            s accept a n=6 all
            s hangup a reset
            s drain 50
            s got 40001 n=6 SA RA
            trace
            s seg 5030 40001 PA len=10
            s seg 5030 40002 FA
            s seg 5030 40003 A
            s seg 5030 40004 R
            s seg 5030 40005 PA seq=1000 len=10
            s seg 5030 40006 A seq=1000
            s drain 50
            s got 40001 n=3 R
            s got 40004 -
            s hs 5030 40007",
        ..LATE
    },
    Case {
        name: "late.open_since_before_trace",
        shows: "a connection older than the trace is closed with data unread, then data comes",
        script: "
            s tun
            s listen a 5030 64
            s hs 5030 40001
            s accept a n=1 all
            s seg 5030 40001 PA len=10
            s drain 50
            trace
            s hangup a
            s drain 50
            s seg 5030 40001 PA seq=11 len=10
            s seg 5030 40001 FA seq=21
            s drain 50",
        ..LATE
    },
    Case {
        name: "late.ipv6",
        shows: "data, FIN and ACK by IPv6 to a connection that was closed by an RST",
        script: "
            s tun
            s listen a 5030 64 v6
            trace
            s hs 5030 40001 n=3 v6
            s accept a n=3 all
            s hangup a reset
            s drain 50
            s seg 5030 40001 PA len=10 v6
            s seg 5030 40002 FA v6
            s seg 5030 40003 A v6
            s drain 50
            s got 40001 n=3 SA RA R",
        ..LATE
    },
];
