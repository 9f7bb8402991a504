//! The lab on the running kernel: what packets, counters, `sock_diag` and the clients must show,
//! and that nothing is left of a cell that is killed.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use overflow_core::{
    model::scenario::Phase,
    packet::{Packet, flags},
};
use overflow_lab::{Cell, CellConfig, LabError, Observation};

use crate::{
    harness::tests,
    needs::Need::{Kernel, Namespaces},
};

tests! {
    // Since 6.13 the SYN queue takes one request more than the backlog, as the numbers assume; a
    // stable kernel before that may or may not have the change.
    needs [Namespaces, Kernel(6, 13)] alone: two_cells_side_by_side;
    needs [Namespaces] alone: prefill_and_payload, a_killed_cell_leaves_nothing;
    needs [Namespaces]: a_prefill_that_cannot_fit_is_refused_before_it_is_tried;
}

const DELAY: Duration = Duration::from_millis(200);

fn seed(syncookies: u8, hold: Duration) -> CellConfig {
    CellConfig {
        abort_on_overflow: 1,
        syncookies,
        backlog: 1,
        somaxconn: None,
        clients: 5,
        port: 12345,
        delay: DELAY,
        prefill: 0,
        payload: 0,
        hold,
        ..CellConfig::SEED
    }
}

fn prepare(config: CellConfig, subnet: u8) -> Cell {
    Cell::prepare(config, subnet).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs cells side by side as the command does: on a multi-thread runtime, each in a task.
fn run(configs: Vec<CellConfig>) -> Vec<Observation> {
    let cells: Vec<_> = configs.into_iter().zip(1..).map(|(c, s)| prepare(c, s)).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let observations = runtime.block_on(async {
        let tasks: Vec<_> = cells.into_iter().map(|c| tokio::spawn(c.run(|_| ()))).collect();
        let mut observations = Vec::new();
        for task in tasks {
            observations.push(task.await.unwrap().unwrap());
        }
        observations
    });
    for o in &observations {
        assert!(o.concurrent, "the burst was not one: {:?}", o.packets);
        assert_eq!((o.capture_drops, o.link_drops), (0, 0));
        assert_eq!((o.queue.0.recv_q, o.queue.0.send_q), (0, 1));
    }
    observations
}

fn states(observation: &Observation) -> Vec<&str> {
    observation.clients.iter().map(|c| c.state.as_str()).collect()
}

fn count(packets: &[Packet], set: u8, clear: u8) -> usize {
    packets.iter().filter(|p| p.has(set, clear)).count()
}

fn two_cells_side_by_side() {
    let hold = Duration::from_secs(2);
    let observations = run(vec![seed(1, hold), seed(0, hold)]);
    let [with, without] = &observations[..] else { panic!("two cells") };

    // With SYN cookies everybody believes to be connected, the server knows of two.
    assert_eq!(states(with), ["ESTABLISHED"; 5]);
    assert_eq!(with.server_sockets.len(), 2);
    assert!(with.server_sockets.iter().all(|s| s.state == "ESTABLISHED"));
    assert_eq!((with.queue.1.recv_q, with.queue.1.send_q), (2, 1));
    assert_eq!(with.counters["ListenOverflows"], 3);
    assert_eq!(with.counters["SyncookiesSent"], 3);
    assert_eq!(with.counters["SyncookiesRecv"], 3);
    let (open, closed): (Vec<_>, Vec<_>) =
        with.packets.iter().cloned().partition(|p| p.t_ns < with.timeline.close);
    assert_eq!(count(&open, flags::SYN, flags::ACK), 5);
    assert_eq!(count(&open, flags::SYN | flags::ACK, 0), 5);
    assert_eq!(count(&open, flags::ACK, flags::SYN), 5);
    assert_eq!(count(&open, flags::RST, 0), 0, "abort=1 must not reset in the cookie path");
    assert_eq!(count(&closed, flags::RST, 0), 2, "the two accepted are reset by the close");

    // Without them three SYNs are dropped: their clients know nothing.
    assert_eq!(states(without)[..2], ["ESTABLISHED"; 2]);
    assert_eq!(states(without)[2..], ["SYN_SENT"; 3]);
    assert!(without.clients[2..].iter().all(|c| c.connect == Err("pending".into())));
    assert_eq!(without.server_sockets.len(), 2);
    assert_eq!(without.counters["TCPReqQFullDrop"], 3);
    assert_eq!(without.counters["SyncookiesSent"], 0);

    for observation in &observations {
        delayed_by(observation, DELAY);
        in_order_of_ports(observation);
        checksums_are_right(observation);
    }
}

/// Every third ACK comes the delay after its SYN-ACK was sent, and not much more.
fn delayed_by(observation: &Observation, delay: Duration) {
    for client in observation.clients.iter().filter(|c| c.connect.is_ok()) {
        let first = |from_client: bool, set, clear| {
            let end = |p: &Packet| if from_client { p.src } else { p.dst };
            let mut own = observation.packets.iter().filter(|p| end(p) == client.local);
            own.find(|p| p.has(set, clear)).unwrap().t_ns
        };
        let syn = first(true, flags::SYN, flags::ACK);
        let third_ack = first(true, flags::ACK, flags::SYN);
        let took = Duration::from_nanos(third_ack - syn);
        assert!(took >= delay, "{}: {took:?}", client.local);
        assert!(took < delay + Duration::from_millis(150), "{}: {took:?}", client.local);
    }
}

/// The SYNs of a burst come in the order of `connect()`, which is that of the source ports.
fn in_order_of_ports(observation: &Observation) {
    let mut seen = BTreeSet::new();
    let syns = observation.packets.iter().filter(|p| p.has(flags::SYN, flags::ACK));
    let ports: Vec<_> = syns.map(|p| p.src.port()).filter(|p| seen.insert(*p)).collect();
    assert!(ports.is_sorted(), "{ports:?}");
}

/// What is captured can be written to a pcap as it is: no checksum was left to hardware.
fn checksums_are_right(observation: &Observation) {
    for packet in &observation.packets {
        let sliced = SlicedPacket::from_ip(&packet.raw).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
            (sliced.net, sliced.transport)
        else {
            panic!("{packet:?}");
        };
        let ip = ip.header().to_header();
        let right = tcp.to_header().calc_checksum_ipv4(&ip, tcp.payload()).unwrap();
        // Zero may stand as 0xffff, its other form in ones' complement (skb_checksum_help).
        assert_eq!(tcp.checksum() % 0xffff, right % 0xffff, "{packet:?}");
    }
}

fn prefill_and_payload() {
    let config = CellConfig {
        backlog: 2,
        prefill: 2,
        clients: 2,
        payload: 7,
        delay: Duration::from_millis(50),
        ..seed(1, Duration::from_millis(600))
    };
    let cell = prepare(config, 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let o = runtime.block_on(cell.run(|_| ())).unwrap();
    assert_eq!(o.queue.0.recv_q, 2, "the prefill is in the queue before the burst");
    assert_eq!(o.queue.1.recv_q, 3, "one slot was left");
    let phases: Vec<_> = o.clients.iter().map(|c| c.phase).collect();
    assert_eq!(phases, [Phase::Prefill, Phase::Prefill, Phase::Burst, Phase::Burst]);
    let ports: Vec<_> = o.clients.iter().map(|c| c.local.port()).collect();
    assert_eq!(ports, [20001, 20002, 30001, 30002]);
    assert!(o.timeline.burst < o.timeline.hold_end && o.timeline.hold_end <= o.timeline.close);
    let data: BTreeSet<_> = o
        .packets
        .iter()
        .filter(|p| p.dst == o.server && p.payload_len == 7)
        .map(|p| p.src.port())
        .collect();
    assert_eq!(data, BTreeSet::from([30001, 30002]), "burst clients send, prefill clients do not");
}

fn a_prefill_that_cannot_fit_is_refused_before_it_is_tried() {
    let config = CellConfig { prefill: 3, ..seed(1, Duration::ZERO) };
    match Cell::prepare(config, 1) {
        Err(LabError::PrefillOverflows { prefill: 3, backlog: 1, room: 2, .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Set for the child that runs a cell, which is this program.
const CHILD: &str = "OVERFLOW_TEST_RUN_CELL";

/// Whether this process is that child.
pub fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Runs a cell for a minute; says where, and what it does.
pub fn run_cell() {
    let cell = prepare(seed(1, Duration::from_mins(1)), 9);
    println!("netns {}", cell.server_netns_inum());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _ = runtime.block_on(cell.run(|progress| println!("progress {progress:?}")));
}

/// What a cell could leave on the host: interfaces, mounts, named namespaces, sysctls.
fn host() -> Vec<String> {
    let interfaces: BTreeSet<_> = fs::read_dir("/sys/class/net")
        .map(|dir| dir.map(|e| e.unwrap().file_name()).collect())
        .unwrap_or_default();
    let named: BTreeSet<_> = fs::read_dir("/run/netns")
        .map(|dir| dir.map(|e| e.unwrap().file_name()).collect())
        .unwrap_or_default();
    let sysctls =
        ["net/ipv4/tcp_abort_on_overflow", "net/ipv4/tcp_syncookies", "net/core/somaxconn"];
    let mut host = vec![format!("{interfaces:?}"), format!("{named:?}")];
    host.push(fs::read_to_string("/proc/self/mountinfo").unwrap());
    host.extend(sysctls.map(|s| fs::read_to_string(format!("/proc/sys/{s}")).unwrap_or_default()));
    host
}

/// Network namespaces of every thread of every process.
fn net_namespaces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(tasks) = fs::read_dir(process.path().join("task")) else { continue };
        for task in tasks.flatten() {
            if let Ok(link) = fs::read_link(task.path().join("ns/net")) {
                found.insert(link.to_string_lossy().into_owned());
            }
        }
    }
    found
}

fn a_killed_cell_leaves_nothing() {
    let before = host();
    let mut child = Command::new(env::current_exe().unwrap())
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut inum = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("netns ") {
            inum = Some(format!("net:[{number}]"));
        }
        if line == "progress Burst" {
            break;
        }
    }
    let inum = inum.expect("the child runs a cell");
    assert!(net_namespaces().contains(&inum), "the cell runs in {inum}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!net_namespaces().contains(&inum));
    assert_eq!(host(), before);
}
