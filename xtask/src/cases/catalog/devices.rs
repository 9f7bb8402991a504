//! Where a segment's device or port says nothing of its listener: virtual devices of containers,
//! programs that steer.

use super::super::case::{CASE, Case, MODES, Need, told};

/// Modules, which the kernels here all have.
const MACVLAN: &[Need] = &[Need { what: "macvlan", since: Some((5, 10)) }];
const IPVLAN: &[Need] = &[Need { what: "ipvlan", since: Some((5, 10)) }];
const VLAN: &[Need] = &[Need { what: "vlan", since: Some((5, 10)) }];

/// Debian's 5.10 is built without it.
const MPTCP: &[Need] = &[Need { what: "MPTCP", since: Some((6, 1)) }];

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
];
