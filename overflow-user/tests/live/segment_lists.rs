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
    hosts::{Host, SERVER, answered, hosts, unsent},
    namespace::netns,
    needs::Need::{Namespaces, Program, Tracing},
    trace::traced,
};

tests! {
    needs [Tracing, Namespaces, Program("ip"), Program("ethtool")] alone:
        each_segment_of_a_list_is_told_of_once,
        and_in_aggregates_too;
}

const PORT: u16 = 8080;
const CLIENTS: usize = 40;
/// Four find room in the accept queue: `sk_acceptq_is_full` is `len > backlog`.
const BACKLOG: i32 = 3;
const ROOM: usize = 4;
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

/// As many clients as there are, all at once, and what a trace with these options says of them; `None`
/// if it says that something was lost.
fn lines(options: &[&str], cookies: bool) -> Option<Vec<Value>> {
    let (server, client) = hosts();
    by_gro(&server);
    by_gro(&client);
    unsent(&server, &client);
    server.sysctl("ipv4/tcp_syncookies", if cookies { "1" } else { "0" });
    let listener = server.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(SERVER.parse().unwrap(), PORT).into()).unwrap();
        socket.listen(BACKLOG).unwrap();
        TcpListener::from(socket)
    });
    let netns = server.run(netns).to_string();
    let mut command = Command::new(OVERFLOW);
    command.args(["trace", "--output", "json", "--netns", &netns]).args(options);
    let (mut child, mut stdout, mut shown) = traced(&mut command, r#""type":"run""#);
    let sockets: Vec<Socket> = client.run(|| {
        let connect = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&SocketAddr::new(SERVER.parse().unwrap(), PORT).into());
            socket
        };
        (0..CLIENTS).map(connect).collect()
    });
    thread::sleep(Duration::from_millis(100));
    answered(&server);
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
    let parts = &audit["counters"][counter];
    assert_eq!(parts["rose"], parts["told"], "{counter}: {parts}");
    parts["rose"].as_u64().unwrap_or(0)
}

fn check(options: &[&str], each_syn: bool) {
    for cookies in [true, false] {
        let lines = (0..TRIES).find_map(|_| lines(options, cookies));
        let lines = lines.expect("something was lost each time");
        let context = || lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        // With cookies each SYN gets an answer, and the third ACKs are dropped.
        let drops = usize::try_from(told(&lines, "ListenDrops")).unwrap();
        assert!(drops >= CLIENTS - ROOM, "{}", context());
        assert_eq!(told(&lines, "SyncookiesSent") > 0, cookies, "{}", context());
        assert_eq!(lines.last().unwrap()["unaccounted"], 0, "{}", context());
        let mut syns: BTreeMap<&str, usize> = BTreeMap::new();
        for event in lines.iter().filter(|line| line["type"] == "event") {
            if event["id"].as_str().unwrap().starts_with("syn.") {
                *syns.entry(event["client"].as_str().unwrap()).or_default() += 1;
            }
        }
        assert!(syns.values().all(|times| *times == 1), "{}", context());
        if each_syn {
            assert_eq!(syns.len(), CLIENTS, "{}", context());
        }
    }
}

fn each_segment_of_a_list_is_told_of_once() {
    check(&["--all"], true);
    check(&[], false);
}

fn and_in_aggregates_too() {
    check(&["--summary", "1"], false);
}
