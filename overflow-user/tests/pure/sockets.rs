//! A listener is a socket: whose events and counts they are, through the whole pipeline.

use std::{cell::RefCell, collections::BTreeMap, io, io::Write, rc::Rc};

use overflow::{
    pipeline::{Engine, Filter, Options},
    sink::trace::{Opening, Sink, TraceLines, TraceText},
};
use overflow_common::{Kind, Path, Queue, RawEvent, Rung, Signature, Socket, Tally, valid};
use overflow_core::{
    aggregates::Aggregates,
    decode::Decoder,
    listeners::{Inventory, Listener, Namespace, Surroundings, Sysctls},
    owner::{Cgroup, Owner, Process},
    recording::Frame,
    text::style,
};
use serde_json::{Value, json};

use crate::{expect, support::schema};

const SECOND: u64 = 1_000_000_000;
const NETNS: u32 = 7;

/// What a sink writes, kept.
#[derive(Clone, Default)]
struct Shown(Rc<RefCell<Vec<u8>>>);

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn shown(
    frames: impl IntoIterator<Item = Frame>,
    options: Options,
    sink: impl FnOnce(Shown) -> Box<dyn Sink>,
) -> String {
    let out = Shown::default();
    let opening = Opening {
        kernel: "6.12.1".to_owned(),
        distro: String::new(),
        rungs: vec![("third ACK".to_owned(), "fentry".to_owned())],
        filter: String::new(),
        all: options.all,
        summary: options.summary,
        notes: Vec::new(),
        wall_offset_ns: 0,
        utc_offset_s: 0,
    };
    let sinks = vec![sink(out.clone())];
    let mut engine = Engine::new(options, Decoder::default(), sinks, &opening).unwrap();
    for frame in frames {
        let _ = engine.feed(frame).unwrap();
    }
    engine.close().unwrap();
    let text = out.0.borrow().clone();
    String::from_utf8(text).unwrap()
}

/// The lines of these frames by type, each of which the schema admits.
fn lines(
    frames: impl IntoIterator<Item = Frame>,
    options: Options,
) -> BTreeMap<String, Vec<Value>> {
    let root = schema::shipped();
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in shown(frames, options, |out| Box::new(TraceLines::json(out))).lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        schema::check(&root, &root, &value).unwrap_or_else(|e| panic!("{line}: {e}"));
        found.entry(value["type"].as_str().unwrap().to_owned()).or_default().push(value);
    }
    found
}

fn text(frames: impl IntoIterator<Item = Frame>, options: Options) -> String {
    let opts = style::Options::default();
    let text = shown(frames, options, |out| Box::new(TraceText::new(out, opts)));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    text
}

fn listener(inode: u64, local: &str, comm: &str, pid: u32) -> Listener {
    let process = Process { pid, ppid: 1, comm: comm.into(), start: 1, cgroup: Cgroup::default() };
    Listener {
        netns: NETNS,
        local: local.parse().unwrap(),
        v6only: false,
        inode,
        uid: 0,
        recv_q: 0,
        send_q: Some(1),
        syn_recv: Some(0),
        drops: None,
        cgroup_id: None,
        group: 1,
        owner: Some(Owner::new(vec![pid], vec![process])),
    }
}

/// A `SO_REUSEPORT` group of two, the second of which is stuck.
fn pair() -> Vec<Listener> {
    let member = |inode, pid, recv_q| Listener {
        group: 2,
        recv_q,
        ..listener(inode, "0.0.0.0:80", "worker", pid)
    };
    vec![member(101, 11, 0), member(102, 12, 2)]
}

fn inventory(listeners: Vec<Listener>) -> Frame {
    let mut inventory = Inventory::default();
    inventory.listeners = listeners;
    for netns in inventory.listeners.iter().map(|l| l.netns) {
        let namespace = Namespace { inum: netns, name: None, own: false };
        let there = Surroundings { namespace, sysctls: Sysctls::default(), counters: None };
        inventory.namespaces.insert(netns, there);
    }
    Frame::Inventory(Box::new(inventory.indexed()))
}

fn octets(address: &str) -> [u8; 16] {
    let mut octets = [0; 16];
    let ip: std::net::Ipv4Addr = address.parse().unwrap();
    octets[..4].copy_from_slice(&ip.octets());
    octets
}

/// What happened to this client's segment, at the listener with this inode (0: it is not known).
fn record(ino: u32, server: &str, client_port: u16, t_ns: u64, kind: Kind, path: u32) -> RawEvent {
    let server: std::net::SocketAddrV4 = server.parse().unwrap();
    let mut event = RawEvent {
        t_ns,
        sk: 0xffff_8880_0000_1000,
        ino,
        netns: NETNS,
        path,
        client: octets("10.7.0.2"),
        server: octets(&server.ip().to_string()),
        client_port,
        server_port: server.port(),
        seq: u32::from(client_port),
        tcp_flags: if kind == Kind::Syn { 0x02 } else { 0x10 },
        valid: valid::ACCEPT_QUEUE
            | valid::SYN_QUEUE
            | valid::AFTER
            | valid::SEGMENT
            | valid::ABORT_ON_OVERFLOW
            | valid::SYNCOOKIES,
        kind: kind as u8,
        rung: Rung::Fentry as u8,
        family: 4,
        ..RawEvent::EMPTY
    };
    event.before = Queue { ack_backlog: 2, max_ack_backlog: 1, qlen: 1, young: 1 };
    event.after = event.before;
    event
}

/// A SYN that found the accept queue full.
fn dropped(ino: u32, server: &str, client_port: u16, t_ns: u64) -> Frame {
    Frame::Event(record(ino, server, client_port, t_ns, Kind::Syn, Path::CONN_REQUEST))
}

/// What names the listener: inode, the owner's pid, and where it listens.
fn named(line: &Value) -> (Option<u64>, Option<u64>, Option<&str>) {
    (line["inode"].as_u64(), line["owner"]["pid"].as_u64(), line["listener"].as_str())
}

/// Inode and number of overflows of each listener line, in the order of the inodes.
fn overflows(lines: &BTreeMap<String, Vec<Value>>) -> Vec<(Option<u64>, u64)> {
    let listeners = lines.get("listener").map_or(&[][..], Vec::as_slice);
    let mut found: Vec<_> = listeners
        .iter()
        .map(|l| (l["inodes"][0].as_u64(), l["overflows"].as_u64().unwrap()))
        .collect();
    found.sort_unstable();
    found
}

fn by_pid(pid: u32) -> Options {
    Options { filter: Filter { pids: vec![pid], ..Filter::default() }, ..Options::default() }
}

#[test]
fn two_listeners_on_one_port_at_different_addresses() {
    let frames = || {
        vec![
            inventory(vec![
                listener(1, "127.0.0.1:80", "a", 10),
                listener(2, "127.0.0.2:80", "b", 20),
            ]),
            dropped(1, "127.0.0.1:80", 1, SECOND),
            dropped(1, "127.0.0.1:80", 2, SECOND + 1),
            dropped(2, "127.0.0.2:80", 3, SECOND + 2),
        ]
    };
    let all = lines(frames(), Options::default());
    let events: Vec<_> = all["event"].iter().map(named).collect();
    let a = (Some(1), Some(10), Some("127.0.0.1:80"));
    assert_eq!(events, [a, a, (Some(2), Some(20), Some("127.0.0.2:80"))]);
    assert_eq!(overflows(&all), [(Some(1), 2), (Some(2), 1)]);
    let connections: Vec<_> = all["connection"].iter().map(named).collect();
    assert_eq!(connections, events);
    assert!(all["connection"].iter().all(|c| c["netns"] == NETNS));
    let of_b = lines(frames(), by_pid(20));
    assert_eq!((of_b["event"].len(), overflows(&of_b)), (1, vec![(Some(2), 1)]));
}

#[test]
fn the_stuck_member_of_a_group_is_named() {
    let frames = || {
        let mut frames = vec![inventory(pair())];
        frames.extend((0..3).map(|n| dropped(102, "10.7.0.1:80", n, SECOND + u64::from(n))));
        frames
    };
    let all = lines(frames(), Options::default());
    for event in &all["event"] {
        assert_eq!(named(event), (Some(102), Some(12), Some("0.0.0.0:80")));
        assert_eq!(event["reuseport_group"], 2);
        assert_eq!(event.get("candidates"), None);
    }
    let [group] = &all["listener"][..] else { panic!("{all:?}") };
    assert_eq!((&group["overflows"], &group["owner"]), (&json!(3), &Value::Null));
    assert_eq!(group["inodes"], json!([102, 101]));
    let members: Vec<_> = group["members"].as_array().unwrap().iter().collect();
    let of = |m: &Value| (m["inode"].clone(), m["owner"]["pid"].clone(), m["overflows"].clone());
    assert_eq!(of(members[0]), (json!(102), json!(12), json!(3)));
    assert_eq!(of(members[1]), (json!(101), json!(11), json!(0)));
    assert_eq!((&members[1]["recv_q"], &members[1]["send_q"]), (&json!(0), &json!(1)));
    expect::check("trace-group.txt", &text(frames(), Options::default()));
    assert_eq!(lines(frames(), by_pid(12))["event"].len(), 3);
    assert_eq!(lines(frames(), by_pid(11)).get("event"), None);
}

#[test]
fn a_restarted_server_is_another_socket() {
    let old = || listener(1, "127.0.0.1:80", "old", 10);
    let new = || listener(2, "127.0.0.1:80", "new", 20);
    let frames = || {
        vec![
            inventory(vec![old()]),
            dropped(1, "127.0.0.1:80", 1, SECOND),
            // It has restarted; nobody has looked since.
            dropped(2, "127.0.0.1:80", 2, SECOND + 1),
            inventory(vec![new()]),
            dropped(2, "127.0.0.1:80", 3, SECOND + 2),
            // Of a segment that was on its way to the old one.
            dropped(1, "127.0.0.1:80", 4, SECOND + 3),
        ]
    };
    let all = lines(frames(), Options::default());
    let place = Some("127.0.0.1:80");
    let events: Vec<_> = all["event"].iter().map(named).collect();
    let old = (Some(1), Some(10), place);
    assert_eq!(events, [old, (Some(2), None, None), (Some(2), Some(20), place), old]);
    assert_eq!(overflows(&all), [(Some(1), 2), (Some(2), 2)]);
    let shown = text(frames(), Options::default()).replace('\u{a0}', " ");
    assert!(shown.contains("127.0.0.1:80, old/10, netns 7, socket 1, closed"), "{shown}");
    assert!(shown.contains("127.0.0.1:80, new/20, netns 7, socket 2\n"), "{shown}");
}

#[test]
fn whatever_the_address_the_socket_decides() {
    let listeners = || {
        vec![
            listener(3, "[::]:80", "dual", 30),
            listener(4, "0.0.0.0:81", "wildcard", 40),
            listener(5, "10.7.0.1:81", "specific", 50),
            listener(6, "127.0.0.1:8443", "steered", 60),
        ]
    };
    let frames = || {
        vec![
            inventory(listeners()),
            dropped(3, "10.7.0.1:80", 1, SECOND),
            // By address it would be the other one's.
            dropped(4, "10.7.0.1:81", 2, SECOND + 1),
            dropped(5, "10.7.0.1:81", 3, SECOND + 2),
            // sk_lookup, TPROXY: another port.
            dropped(6, "10.7.0.1:443", 4, SECOND + 3),
        ]
    };
    let all = lines(frames(), Options::default());
    let events: Vec<_> = all["event"].iter().map(named).collect();
    assert_eq!(
        events,
        [
            (Some(3), Some(30), Some("*:80")),
            (Some(4), Some(40), Some("0.0.0.0:81")),
            (Some(5), Some(50), Some("10.7.0.1:81")),
            (Some(6), Some(60), Some("127.0.0.1:8443")),
        ]
    );
    let of = |port| {
        let filter = Filter { ports: vec![port], ..Filter::default() };
        lines(frames(), Options { filter, ..Options::default() })
            .remove("event")
            .unwrap_or_default()
    };
    assert_eq!(of(8443).iter().map(named).collect::<Vec<_>>(), events[3..]);
    assert!(of(443).is_empty());
    assert_eq!(of(81).len(), 2);
}

#[test]
fn what_cannot_be_told_apart_names_the_candidates() {
    let removed = record(0, "10.7.0.1:80", 2, SECOND + 4, Kind::RequestRemoved, Path::REQSK_TIMER);
    let queued = Path::CONN_REQUEST | Path::REQSK_HASHED;
    let frames = || {
        vec![
            inventory(pair()),
            dropped(0, "10.7.0.1:80", 1, SECOND),
            // An event that does not know it is of the same socket as those before it.
            Frame::Event(record(101, "10.7.0.1:80", 2, SECOND + 3, Kind::Syn, queued)),
            Frame::Event(removed),
        ]
    };
    let all = lines(frames(), Options { all: true, ..Options::default() });
    let unknown = &all["event"][0];
    assert_eq!(named(unknown), (None, None, Some("0.0.0.0:80")));
    let candidates = unknown["candidates"].as_array().unwrap();
    let pids: Vec<_> = candidates.iter().map(|c| c["owner"]["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, [11, 12]);
    assert!(
        all["event"][1..].iter().all(|e| named(e) == (Some(101), Some(11), Some("0.0.0.0:80")))
    );
    assert_eq!(all["event"].len(), 3, "{all:?}");
    let members = all["listener"][0]["members"].as_array().unwrap();
    let counted: Vec<_> = members.iter().map(|m| (m["inode"].as_u64(), &m["verdicts"])).collect();
    let none = json!({});
    assert_eq!(counted[0], (None, &json!({"syn.drop.accept_queue_full": 1})));
    assert_eq!(counted[1], (Some(101), &json!({"syn.queued": 1, "later.request_expired": 1})));
    assert_eq!(counted[2], (Some(102), &none));
    let shown = text(frames(), Options::default());
    assert!(shown.lines().any(|l| l.ends_with(" 2/1    1 of 2")), "{shown}");
    // Either of them may be meant.
    assert_eq!(lines(frames(), by_pid(12))["event"].len(), 1);
}

/// What the kernel counted of a socket: so many dropped third ACKs, and a queue that is full since
/// then.
fn counted(socket: Socket, drops: u64, full_since_ns: u64) -> (Signature, u64, Tally) {
    let null = Path::CHECK_REQ | Path::CHECK_REQ_NULL | Path::SYN_RECV_SOCK_NULL;
    let Socket { sk, ino, netns } = socket;
    let mut event = record(ino, "10.7.0.1:80", 1, 0, Kind::Ack, null);
    event.sk = sk;
    let tally = Tally {
        netns,
        port: 80,
        family: 4,
        len: 2,
        max: 1,
        len_max: 2,
        queued: 2,
        full_since_ns,
        full_times: 1,
        ..Tally::default()
    };
    (Signature::of(&event), drops, tally)
}

fn aggregates(t_ns: u64, sockets: &[(Socket, u64, u64)]) -> Frame {
    let mut found = Aggregates::default();
    for (socket, drops, since) in sockets {
        let (signature, count, tally) = counted(*socket, *drops, *since);
        found.counts.push((signature, count));
        found.queues.push((*socket, tally));
    }
    Frame::Aggregates(t_ns, Box::new(found))
}

fn summary() -> Options {
    Options { summary: Some(1), accepts: true, ..Options::default() }
}

#[test]
fn an_address_in_memory_that_is_used_again_adds_nothing_to_another_socket() {
    let socket = |ino, netns| Socket { sk: 0xffff_8880_0000_1000, ino, netns };
    let at = |inode, netns| Listener { netns, ..listener(inode, "0.0.0.0:80", "c", 10) };
    // Four containers, one after the other; the kernel side forgets each when it is gone.
    let frames = vec![
        inventory(vec![at(1, 7)]),
        Frame::Tick(SECOND),
        aggregates(2 * SECOND, &[(socket(1, 7), 10, 0)]),
        aggregates(3 * SECOND, &[(socket(1, 7), 11, 0), (socket(2, 7), 20, 0)]),
        aggregates(4 * SECOND, &[(socket(2, 7), 20, 0), (socket(3, 8), 30, 0)]),
        inventory(vec![at(4, 9)]),
        aggregates(5 * SECOND, &[(socket(4, 9), 40, 0)]),
        aggregates(6 * SECOND, &[]),
        // Counted from the beginning again.
        aggregates(7 * SECOND, &[(socket(4, 9), 2, 0)]),
    ];
    let all = lines(frames, summary());
    let mut found: Vec<_> = all["listener"]
        .iter()
        .map(|l| {
            let ino = l["inodes"][0].as_u64().unwrap();
            (ino, l["netns"].as_u64().unwrap(), l["overflows"].as_u64().unwrap())
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(1, 7, 11), (2, 7, 20), (3, 8, 30), (4, 9, 42)]);
}

#[test]
fn a_queue_that_a_look_shows_not_to_be_full_is_not_said_to_be() {
    let socket = Socket { sk: 1, ino: 1, netns: NETNS };
    let queue =
        |recv_q| inventory(vec![Listener { recv_q, ..listener(1, "0.0.0.0:80", "app", 10) }]);
    let since = SECOND / 2;
    let full = |frames: Vec<Frame>| {
        let all = lines(frames, summary());
        all["listener"].last().unwrap()["full"].clone()
    };
    let mut frames = vec![
        queue(2),
        Frame::Tick(SECOND),
        aggregates(2 * SECOND, &[(socket, 1, since)]),
        Frame::Tick(2 * SECOND),
    ];
    let expected = |total_ns: u64, now| json!({"times": 1, "total_ns": total_ns, "longest_ns": total_ns, "now": now});
    assert_eq!(full(frames.clone()), expected(3 * SECOND / 2, true));
    // Its accept() was entered before anything was traced.
    frames.push(queue(0));
    assert_eq!(full(frames.clone()), expected(3 * SECOND / 2, false));
    for n in 3..9 {
        frames.push(aggregates(n * SECOND, &[(socket, 1, since)]));
        frames.push(Frame::Tick(n * SECOND));
    }
    assert_eq!(full(frames.clone()), expected(3 * SECOND / 2, false));
    // Another episode is one.
    let mut again = aggregates(12 * SECOND, &[(socket, 1, 11 * SECOND)]);
    if let Frame::Aggregates(_, found) = &mut again {
        let tally = &mut found.queues[0].1;
        (tally.full_times, tally.full_ns, tally.full_longest_ns) =
            (2, 9 * SECOND - since, 9 * SECOND - since);
    }
    frames.push(again);
    // It was held for full until at most a second after the last time it was asked.
    let at_last = json!({
        "times": 2,
        "total_ns": 3 * SECOND / 2 + SECOND + SECOND,
        "longest_ns": 3 * SECOND / 2,
        "now": true,
    });
    assert_eq!(full(frames), at_last);
}

#[test]
fn many_that_are_gone_are_summed_up_and_nothing_is_lost() {
    let of = |port: u16, ino: u32, t_ns| dropped(ino, &format!("10.7.0.1:{port}"), 1, t_ns);
    let closed = |lines: &[Value]| lines.iter().filter(|l| l.get("closed").is_some()).count();
    let sum = |lines: &[Value]| lines.iter().map(|l| l["overflows"].as_u64().unwrap()).sum::<u64>();
    // One after the other at one address, and one that is there all the time.
    let mut frames = vec![inventory(vec![listener(1, "10.7.0.1:80", "stays", 10)])];
    frames.push(of(80, 1, 1));
    for n in 0..9000_u32 {
        frames.push(of(81, 1000 + n, u64::from(n) * SECOND / 100));
        if n % 100 == 0 {
            frames.push(Frame::Tick(u64::from(n) * SECOND / 100));
        }
    }
    let all = lines(frames, Options::default());
    let listeners = &all["listener"];
    assert_eq!((sum(listeners), closed(listeners)), (9001, 1));
    assert!(listeners.len() < 1000, "{}", listeners.len());
    assert!(overflows(&all).contains(&(Some(1), 1)));
    let merged = listeners.iter().find(|l| l.get("closed").is_some()).unwrap();
    assert_eq!(merged["closed"], merged["overflows"]);
    assert_eq!(merged["server"], "10.7.0.1:81");
    // Each at an address of its own.
    let mut frames = vec![inventory(vec![listener(1, "10.7.0.1:80", "stays", 10)])];
    for n in 0..8000_u16 {
        frames.push(of(1000 + n, 1000 + u32::from(n), u64::from(n) * SECOND / 100));
        if n % 500 == 0 {
            frames.push(Frame::Tick(u64::from(n) * SECOND / 100));
        }
    }
    let all = lines(frames, Options::default());
    let listeners = &all["listener"];
    assert_eq!(sum(listeners), 8000);
    assert!(listeners.len() < 6000, "{}", listeners.len());
    let other = listeners.iter().find(|l| l["server"] == "other").unwrap();
    assert_eq!(other["closed"], other["overflows"]);
}
