//! Where a segment's device or port says nothing of its listener: virtual devices of containers,
//! programs that steer.

use overflow_core::verdict::Counter;

use super::super::case::{CASE, Case, MODES, Mode, Need, told};

/// Modules, which the kernels here all have.
const MACVLAN: &[Need] = &[Need { what: "macvlan", since: Some((5, 10)) }];
const IPVLAN: &[Need] = &[Need { what: "ipvlan", since: Some((5, 10)) }];
const VLAN: &[Need] = &[Need { what: "vlan", since: Some((5, 10)) }];

/// Debian's 5.10 is built without it.
const MPTCP: &[Need] = &[Need { what: "MPTCP", since: Some((6, 1)) }];

/// Of a module that Debian's kernels have.
const SMC: &[Need] = &[Need { what: "smc_tcp_syn_recv_sock", since: Some((5, 18)) }];

/// A container with a listener; its neighbour by the device below; a client on the other end of the
/// link. What overflows is the container's.
const CONTAINER: Case = Case {
    told: &[told("syn.drop.accept_queue_full", 3, "a")],
    counters: &[("s", "ListenOverflows", 3), ("below", "ListenOverflows", 0)],
    modes: MODES,
    alone: true,
    // SYNs are sent again after a second.
    ..CASE
};

/// The listener is a socket of the kernel's own, below the SMC socket that a process holds.
const SMC_SCRIPT: &str = "
    s tun
    s listen a 5093 1 smc
    trace
    s hs 5093 40001 n=2
    sleep 200
    s syn 5093 40003 n=3
    s drain 50
    s ack 5093 40003 n=3
    s drain 50";

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "device.macvlan",
        shows: "a container's listener behind a macvlan device overflows",
        script: "
            s sysctl net.ipv4.tcp_syncookies 1
            client sysctl net.ipv4.tcp_syncookies 1
            below veth client
            below up veth0 10.9.0.1
            client up veth1 10.9.0.2
            below device macvlan s
            s up dev0 10.9.0.3
            s listen a 5090 1
            below listen b 5090 1
            trace
            client connect 10.9.0.3:5090 n=5
            sleep 200",
        needs: MACVLAN,
        ..CONTAINER
    },
    Case {
        name: "device.ipvlan",
        shows: "a container's listener behind an ipvlan device overflows",
        script: "
            s sysctl net.ipv4.tcp_syncookies 1
            client sysctl net.ipv4.tcp_syncookies 1
            below veth client
            below up veth0 10.9.0.1
            client up veth1 10.9.0.2
            below device ipvlan s
            s up dev0 10.9.0.3
            s listen a 5090 1
            below listen b 5090 1
            trace
            client connect 10.9.0.3:5090 n=5
            sleep 200",
        needs: IPVLAN,
        ..CONTAINER
    },
    Case {
        name: "device.vlan",
        shows: "a container's listener behind a VLAN device overflows",
        script: "
            s sysctl net.ipv4.tcp_syncookies 1
            client sysctl net.ipv4.tcp_syncookies 1
            below veth client
            below up veth0 10.9.0.1
            client up veth1 10.9.0.2
            client device vlan self
            client up dev0 10.9.7.2
            below device vlan s
            s up dev0 10.9.7.1
            s listen a 5090 1
            below listen b 5090 1
            trace
            client connect 10.9.7.1:5090 n=5
            sleep 200",
        needs: VLAN,
        ..CONTAINER
    },
    // bpf_sk_lookup_run_v4 in __inet_lookup_listener: the listener has another port than the segment.
    Case {
        name: "steered.sk_lookup",
        shows: "an sk_lookup program gives SYNs of port 7777 to the listener of another port",
        script: "
            s tun
            other in s
            other listen b 7777 64
            s listen a 5091 1
            s steer 7777 a
            trace
            s hs 7777 40001 n=2
            s syn 7777 40003 n=3
            s drain 50
            s got 40003 n=3 -",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        ..CASE
    },
    Case {
        name: "steered.third_ack",
        shows: "the same at third ACKs",
        script: "
            s tun
            s listen a 5091 64
            s steer 7777 a
            trace
            s syn 7777 40001 n=3
            s drain 50
            s relisten a 0
            s ack 7777 40001 n=3
            s drain 50",
        told: &[told("ack.drop.overflow", 2, "a").clients(40_002, 40_003)],
        tolerated: &["later.phantom"],
        counters: &[("s", "ListenOverflows", 2)],
        modes: MODES,
        ..CASE
    },
    // subflow_v4_conn_request calls tcp_conn_request: the queue is that of the listener's first
    // subflow, a socket of the kernel's own that no process holds.
    Case {
        name: "mptcp.plain_client",
        shows: "an MPTCP listener whose queue is full, SYNs of plain TCP",
        script: "
            s tun
            s listen a 5092 1 mptcp
            trace
            s hs 5092 40001 n=2
            s syn 5092 40003 n=3
            s drain 50
            s got 40003 n=3 -",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        needs: MPTCP,
        ..CASE
    },
    // MP_CAPABLE, version 1, HMAC-SHA256; the client falls back to TCP by its third ACK without keys.
    Case {
        name: "mptcp.capable_client",
        shows: "an MPTCP listener whose queue is full, SYNs with MP_CAPABLE",
        script: "
            s tun
            s listen a 5092 1 mptcp
            trace
            s syn 5092 40001 n=2 opt=1e040101
            s drain 50
            s ack 5092 40001 n=2
            s syn 5092 40003 n=3 opt=1e040101
            s drain 50
            s got 40003 n=3 -",
        told: &[told("syn.drop.accept_queue_full", 3, "a").clients(40_003, 40_005)],
        counters: &[("s", "ListenOverflows", 3)],
        modes: MODES,
        needs: MPTCP,
        ..CASE
    },
    // subflow_v4_route_req answers a MP_JOIN whose token nobody has by an RST, and gives tcp_conn_request
    // no route, which drops the SYN.
    Case {
        name: "mptcp.unknown_join",
        shows: "SYNs with MP_JOIN and a token that nobody has, then healthy ones on the same CPU",
        script: "
            s tun
            s listen a 5092 64 mptcp
            trace
            s hs 5092 40001
            s syn 5092 40002 n=3 opt=1e0c100101020304a1a2a3a4
            s drain 50
            s got 40002 n=3 RA
            s hs 5092 40005 n=2",
        told: &[told("syn.drop.other", 3, "a").clients(40_002, 40_004)],
        counters: &[("s", "ListenDrops", 3), ("s", "ListenOverflows", 0)],
        modes: MODES,
        needs: MPTCP,
        ..CASE
    },
    // smc_listen_work takes connections off the listener's queue and puts them into the SMC socket's.
    // Since 5.18 (commit 8270d9c21041) smc_tcp_syn_recv_sock looks at that one, before TCP makes a child:
    // a trace of overflows alone has a hook there by tracepoints only, and the audit says so.
    Case {
        name: "smc.third_ack",
        shows: "third ACKs that find the queue of an SMC listener full",
        script: SMC_SCRIPT,
        told: &[
            told("syn.cookie", 1, "a").clients(40_005, 40_005),
            told("ack.drop.overflow", 2, "a").clients(40_003, 40_004),
            told("ack.drop.overflow.cookie", 1, "a").clients(40_005, 40_005),
        ],
        counters: &[("s", "ListenDrops", 3), ("s", "ListenOverflows", 3)],
        modes: &[Mode::All, Mode::Summary],
        needs: SMC,
        ..CASE
    },
    Case {
        name: "smc.overflows_alone",
        shows: "the same, traced as it is by default",
        script: SMC_SCRIPT,
        told: &[told("syn.cookie", 1, "a").clients(40_005, 40_005)],
        by_tracepoints: Some(&[
            told("syn.cookie", 1, "a").clients(40_005, 40_005),
            told("ack.drop.overflow", 2, "a").clients(40_003, 40_004),
            told("ack.drop.overflow.cookie", 1, "a").clients(40_005, 40_005),
        ]),
        unseen: &[("s", Counter::ListenDrops, 3), ("s", Counter::ListenOverflows, 3)],
        counters: &[("s", "ListenDrops", 3), ("s", "ListenOverflows", 3)],
        needs: SMC,
        ..CASE
    },
];
