//! Segments that a device hands on in lists, as every one does whose driver uses GRO: each is told of,
//! and each once.

use std::{
    collections::BTreeMap,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::{
    OVERFLOW,
    harness::tests,
    hosts::{Host, SERVER, SERVER_V6, answered, hosts, unsent},
    namespace::netns,
    needs::Need::{Namespaces, Program, Tracing},
    trace::traced,
};

tests! {
    needs [Tracing, Namespaces, Program("ip"), Program("ethtool")] alone:
        each_segment_of_a_list_is_told_of_once,
        by_ipv6_as_well,
        and_in_aggregates_too;
}

const PORT: u16 = 8080;
const CLIENTS: usize = 40;
/// The clients' own.
const FIRST_PORT: u16 = 20_000;
/// Four find room in the accept queue: `sk_acceptq_is_full` is `len > backlog`.
const BACKLOG: i32 = 3;
const ROOM: usize = 4;
/// Two have the same port, one at each address: IPv4, IPv6.
const CLIENTS_AT: [[&str; 2]; 2] = [["10.9.0.2", "10.9.0.3"], ["fd09::2", "fd09::3"]];
/// No SYN is sent again sooner: `TCP_TIMEOUT_INIT` of include/net/tcp.h is a second (v3.1, 9ad7c049f0f7),
/// of which some is gone when the first arrives.
const SENT_AGAIN_NS: u64 = 200_000_000;
/// So often is it tried until nothing is lost.
const TRIES: usize = 5;

/// Has a host's end of the cable receive by GRO. A veth device does so with segments of a peer that does
/// not segment itself (`veth_skb_is_eligible_for_gro` in drivers/net/veth.c).
fn by_gro(host: &Host) {
    host.run(|| {
        let mut ethtool = Command::new("ethtool");
        let status = ethtool.args(["-K", "cable", "gro", "on", "tso", "off"]).status().unwrap();
        assert!(status.success());
    });
}

/// Keeps the clients' SYNs until the server is there, see [`hosts`]: then all are sent at once.
fn away(server: &Host, client: &Host, v6: bool) {
    for host in [server, client] {
        // Held for as long as it takes.
        host.sysctl("ipv6/neigh/cable/retrans_time_ms", "50");
        host.sysctl("ipv6/neigh/cable/mcast_solicit", "200");
    }
    client.ip("addr add 10.9.0.3/24 dev cable");
    client.ip("addr add fd09::3/64 dev cable nodad");
    unsent(server, client);
    let link = client.cable();
    for address in ["10.9.0.3", "fd09::2", "fd09::3"] {
        server.ip(&format!("neigh add {address} lladdr {link} dev cable nud permanent"));
    }
    if v6 {
        server.ip(&format!("addr del {SERVER_V6}/64 dev cable"));
    }
}

/// The opposite of [`away`].
fn there(server: &Host, v6: bool) {
    if v6 {
        server.ip(&format!("addr add {SERVER_V6}/64 dev cable nodad"));
    } else {
        answered(server);
    }
}

/// As many clients as there are, all at once, and what a trace with these options says of them; `None`
/// if it says that something was lost.
fn lines(options: &[&str], v6: bool, cookies: bool) -> Option<Vec<Value>> {
    let (server, client) = hosts();
    by_gro(&server);
    by_gro(&client);
    away(&server, &client, v6);
    server.sysctl("ipv4/tcp_syncookies", if cookies { "1" } else { "0" });
    let listener = server.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new("::".parse().unwrap(), PORT).into()).unwrap();
        socket.listen(BACKLOG).unwrap();
        TcpListener::from(socket)
    });
    let netns = server.run(netns).to_string();
    let mut command = Command::new(OVERFLOW);
    command.args(["trace", "--output", "json", "--netns", &netns]).args(options);
    let (mut child, mut stdout, mut shown) = traced(&mut command, r#""type":"run""#);
    let sockets: Vec<Socket> = client.run(move || {
        let to = SocketAddr::new(if v6 { SERVER_V6 } else { SERVER }.parse().unwrap(), PORT);
        let from = CLIENTS_AT[usize::from(v6)].map(|address| address.parse().unwrap());
        let connect = |number: usize| {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let port = FIRST_PORT + u16::try_from(number / 2).unwrap();
            socket.bind(&SocketAddr::new(from[number % 2], port).into()).unwrap();
            let _ = socket.connect(&to.into());
            socket
        };
        (0..CLIENTS).map(connect).collect()
    });
    thread::sleep(Duration::from_millis(100));
    there(&server, v6);
    // Before any SYN is sent again.
    thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stdout.read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    drop((sockets, listener));
    let lines: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines.last().unwrap()["lost"] == 0).then_some(lines)
}

/// What the kernel counted, of which as much was told; a counter that did not rise need not be there.
fn told(lines: &[Value], counter: &str) -> u64 {
    let audit = lines.iter().find(|line| line["type"] == "audit").expect("something was counted");
    assert_ne!(audit["unread"], true, "{audit}");
    let parts = &audit["counters"][counter];
    assert_eq!(parts["rose"], parts["told"], "{counter}: {}", joined(lines));
    parts["rose"].as_u64().unwrap_or(0)
}

fn joined(lines: &[Value]) -> String {
    lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

fn check(options: &[&str], v6: bool, each_syn: bool) {
    for cookies in [true, false] {
        let lines = (0..TRIES).find_map(|_| lines(options, v6, cookies));
        let lines = lines.expect("something was lost each time");
        let context = || joined(&lines);
        // With cookies each SYN gets an answer, and the third ACKs are dropped.
        let drops = usize::try_from(told(&lines, "ListenDrops")).unwrap();
        assert!(drops >= CLIENTS - ROOM, "{}", context());
        assert_eq!(told(&lines, "SyncookiesSent") > 0, cookies, "{}", context());
        assert_eq!(lines.last().unwrap()["unaccounted"], 0, "{}", context());
        let mut syns: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for event in lines.iter().filter(|line| line["type"] == "event") {
            if event["id"].as_str().unwrap().starts_with("syn.") {
                syns.entry(event["client"].as_str().unwrap())
                    .or_default()
                    .push(event["t_ns"].as_u64().unwrap());
            }
        }
        // A machine that is slow sees them sent again.
        let apart =
            |times: &Vec<u64>| times.windows(2).all(|pair| pair[1] - pair[0] > SENT_AGAIN_NS);
        assert!(syns.values().all(apart), "{}", context());
        if each_syn {
            assert_eq!(syns.len(), CLIENTS, "{}", context());
        }
    }
}

fn each_segment_of_a_list_is_told_of_once() {
    check(&["--all"], false, true);
    check(&[], false, false);
}

fn by_ipv6_as_well() {
    check(&["--all"], true, true);
    check(&[], true, false);
}

fn and_in_aggregates_too() {
    check(&["--summary", "1"], false, false);
    check(&["--summary", "1"], true, false);
}
