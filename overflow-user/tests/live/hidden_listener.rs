//! A listener that nobody finds before the trace begins: only a thread is in its network namespace, and
//! nothing asks for it.

use std::{
    collections::BTreeSet,
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
    hosts::{SERVER, answered, hosts, unanswered},
    needs::Need::{Namespaces, Program, Tracing},
    trace::traced,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")] alone:
        third_acks_are_seen_though_no_syn_ack_was_sent_at_once;
}

const PORT: u16 = 23_457;
/// Four find room in the accept queue: `sk_acceptq_is_full` is `len > backlog`.
const BACKLOG: i32 = 3;
const ROOM: usize = 4;
const CLIENTS: usize = 9;

/// The first clients' SYNs become requests, the others' get cookies, and each SYN-ACK waits for the
/// client's link address: none is sent while its SYN is handled.
fn third_acks_are_seen_though_no_syn_ack_was_sent_at_once() {
    let (server, client) = hosts();
    unanswered(&server, &client);
    server.sysctl("ipv4/tcp_syncookies", "1");
    let address = SocketAddr::new(SERVER.parse().unwrap(), PORT);
    let listener = server.run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(BACKLOG).unwrap();
        TcpListener::from(socket)
    });
    let mut command = Command::new(OVERFLOW);
    command.args(["trace", "--output", "json", "--port", &PORT.to_string()]);
    let (mut child, mut stdout, mut shown) = traced(&mut command, r#""type":"run""#);
    let sockets: Vec<Socket> = client.run(move || {
        let connect = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        };
        (0..CLIENTS).map(connect).collect()
    });
    thread::sleep(Duration::from_millis(100));
    answered(&client);
    thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stdout.read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    drop((sockets, listener));
    let lines: Vec<Value> = shown.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let dropped = lines.iter().filter(|line| {
        line["type"] == "event" && line["id"].as_str().unwrap().starts_with("ack.drop")
    });
    // One with a request may be dropped again, on its next SYN-ACK.
    let clients: BTreeSet<&str> = dropped.map(|line| line["client"].as_str().unwrap()).collect();
    assert_eq!(clients.len(), CLIENTS - ROOM, "{shown}");
}
