//! `overflow replay` on recordings made here: what each output shows, and what damage does.
//! No kernel, no root.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use overflow_common::{Kind, Path as Bits, Queue, RawEvent, Rung, valid};
use overflow_core::{
    listeners::{Inventory, Listener, Namespace, Surroundings, Sysctls},
    owner::{Cgroup, Container, Owner, Process},
    recording::{Frame, Header},
    wire::Line,
};
use overflow_host::{files::Existing, recordings};

use crate::{expect, support::schema};

pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) struct Recorded(pub(crate) PathBuf);

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A listener of nginx in a container with two workers.
pub(crate) fn listener() -> Listener {
    let process = |pid, ppid| Process {
        pid,
        ppid,
        comm: "nginx".into(),
        start: 1,
        cgroup: Cgroup {
            path: "/docker/0123".into(),
            container: Some(Container { runtime: "docker".into(), id: "0123".into() }),
            ..Cgroup::default()
        },
    };
    Listener {
        netns: 7,
        local: "0.0.0.0:80".parse().unwrap(),
        v6only: false,
        inode: 99,
        uid: 33,
        recv_q: 2,
        send_q: Some(1),
        syn_recv: Some(0),
        drops: Some(0),
        cgroup_id: None,
        group: 1,
        owner: Some(Owner::new(
            vec![10, 11, 12],
            vec![process(10, 1), process(11, 10), process(12, 10)],
        )),
    }
}

pub(crate) fn event(t_ns: u64, client_port: u16, kind: Kind, path: u32) -> Frame {
    let queue = Queue { ack_backlog: 2, max_ack_backlog: 1, qlen: 1, young: 1 };
    let mut event = RawEvent {
        t_ns,
        netns: 7,
        path,
        before: queue,
        after: queue,
        client_port,
        server_port: 80,
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
        syncookies: 1,
        ..RawEvent::EMPTY
    };
    event.client[..4].copy_from_slice(&[10, 7, 0, 2]);
    event.server[..4].copy_from_slice(&[10, 7, 0, 1]);
    Frame::Event(event)
}

/// A cookie whose third ACK is lost, an ACK dropped twice with its request kept, three dropped
/// SYNs, a healthy handshake, an RST of somebody else.
pub(crate) fn frames() -> Vec<Frame> {
    let mut inventory = Inventory::default();
    inventory.listeners.push(listener());
    let null = Bits::CHECK_REQ | Bits::CHECK_REQ_NULL | Bits::SYN_RECV_SOCK_NULL;
    let cookie_null = Bits::COOKIE_CHECK | Bits::COOKIE_CHECK_NULL | Bits::SYN_RECV_SOCK_NULL;
    let Frame::Event(stray) = event(SECOND + 6, 9, Kind::Reset, Bits::SEND_RESET) else { panic!() };
    vec![
        Frame::Inventory(Box::new(inventory.indexed())),
        Frame::Tick(SECOND),
        event(SECOND + 1, 1001, Kind::Syn, Bits::CONN_REQUEST | Bits::COOKIE_INIT),
        event(SECOND + 2, 1001, Kind::Ack, cookie_null),
        event(SECOND + 3, 1002, Kind::Ack, null),
        event(SECOND + 4, 1003, Kind::Syn, Bits::CONN_REQUEST | Bits::REQSK_HASHED),
        event(SECOND + 5, 1003, Kind::Ack, Bits::CHECK_REQ | Bits::CHECK_REQ_CHILD),
        Frame::Event(RawEvent { server_port: 4711, ..stray }),
        Frame::Tick(2 * SECOND),
        event(2 * SECOND + 1, 1002, Kind::SynAckRetransmit, 0),
        event(2 * SECOND + 2, 1002, Kind::Ack, null),
        event(2 * SECOND + 3, 2001, Kind::Syn, Bits::CONN_REQUEST),
        event(2 * SECOND + 4, 2002, Kind::Syn, Bits::CONN_REQUEST),
        event(2 * SECOND + 5, 2003, Kind::Syn, Bits::CONN_REQUEST),
        Frame::Tick(3 * SECOND),
        Frame::End(3 * SECOND + SECOND / 2),
    ]
}

pub(crate) fn record(name: &str, frames: &[Frame]) -> Recorded {
    let path = env::temp_dir().join(format!("overflow-replay-{}-{name}.rec", std::process::id()));
    let header = Header {
        tool: "overflow".to_owned(),
        kernel: "6.12.1".to_owned(),
        wall_offset_ns: 43_199 * 1_000_000_000,
        rungs: vec![
            ("SYN".to_owned(), "fentry".to_owned()),
            ("third ACK".to_owned(), "fentry".to_owned()),
            ("RST".to_owned(), "fentry".to_owned()),
            ("request removal".to_owned(), "fentry".to_owned()),
            ("accept()".to_owned(), String::new()),
        ],
        notes: vec!["not observable here: accept(); see `overflow doctor`".to_owned()],
        ..Header::default()
    };
    let mut recorder = recordings::create(&path, Existing::Overwritten, &header).unwrap();
    for frame in frames {
        recorder.write(frame).unwrap();
    }
    Recorded(path)
}

pub(crate) fn replay(file: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_overflow"))
        .arg("replay")
        .arg(file)
        .args(options)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn abnormal_events_a_line_each_then_the_listener() {
    let recorded = record("text", &frames());
    let output = replay(&recorded.0, &[]);
    assert!(output.status.success() && output.stderr.is_empty());
    let shown = text(&output.stdout);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    expect::check("trace-replay.txt", &shown);
}

#[test]
fn aggregates_alone() {
    let recorded = record("summary", &frames());
    let output = replay(&recorded.0, &["--summary", "1"]);
    expect::check("trace-replay-summary.txt", &text(&output.stdout));
}

#[test]
fn json_lines_are_as_documented() {
    let recorded = record("json", &frames());
    let output = replay(&recorded.0, &["--output", "json", "--all"]);
    let shown = text(&output.stdout);
    let root = schema::shipped();
    let mut kinds = Vec::new();
    for line in shown.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        schema::check(&root, &root, &value).unwrap_or_else(|e| panic!("{line}: {e}"));
        let read: Line = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
        kinds.push(value["type"].as_str().unwrap().to_owned());
    }
    let count = |kind: &str| kinds.iter().filter(|k| *k == kind).count();
    // Seven abnormal events, two of the healthy handshake; six connections.
    assert_eq!((count("event"), count("connection")), (9, 6));
    assert_eq!((count("listener"), count("summary"), count("loss")), (1, 1, 0));
    let listener = shown.lines().find(|l| l.contains(r#""type":"listener""#)).unwrap();
    let listener: serde_json::Value = serde_json::from_str(listener).unwrap();
    assert_eq!(listener["overflows"], 6);
    assert_eq!(listener["owner"]["pids"], serde_json::json!([10, 11, 12]));
    assert_eq!(listener["owner"]["container"], "0123");
}

/// Whoever was there before a gap is not the one that comes from the same port after it.
#[test]
fn nobody_is_followed_through_a_gap() {
    let refused = |t_ns| event(t_ns, 4711, Kind::Syn, Bits::CONN_REQUEST);
    let with = |between: &[Frame]| {
        let mut frames = vec![Frame::Tick(SECOND), refused(SECOND + 1), refused(2 * SECOND)];
        frames.extend_from_slice(between);
        frames.extend([refused(3 * SECOND), Frame::End(4 * SECOND)]);
        let recorded = record("gap", &frames);
        let shown = text(&replay(&recorded.0, &["--output", "json"]).stdout);
        let lines = shown.lines().map(|line| serde_json::from_str(line).unwrap());
        let clients = lines.filter(|line: &serde_json::Value| line["type"] == "connection");
        clients.map(|line| line["stages"].as_array().unwrap().len()).collect::<Vec<_>>()
    };
    assert_eq!(with(&[]).len(), 1);
    assert_eq!(with(&[Frame::Gap(2 * SECOND + 1)]).len(), 2);
}

/// The server took them all and an administrator changed a setting, which no event shows.
#[test]
fn the_summary_says_what_was_last_looked_at() {
    let mut frames = frames();
    let look = |recv_q, abort| {
        let mut inventory = Inventory::default();
        inventory.listeners.push(Listener { recv_q, ..listener() });
        let namespace = Namespace { inum: 7, name: None, own: true };
        let sysctls = Sysctls { abort_on_overflow: Some(abort), ..Sysctls::default() };
        inventory.namespaces.insert(7, Surroundings { namespace, sysctls, counters: None });
        Frame::Inventory(Box::new(inventory.indexed()))
    };
    frames[0] = look(2, 0);
    frames.insert(frames.len() - 1, look(0, 1));
    let recorded = record("looked", &frames);
    let shown = text(&replay(&recorded.0, &[]).stdout).replace('\u{a0}', " ");
    assert!(shown.contains("Recv-Q 0/1 (max 2)") && shown.contains("abort=1"), "{shown}");
    let shown = text(&replay(&recorded.0, &["--output", "json"]).stdout);
    let listener = shown.lines().find(|l| l.contains(r#""type":"listener""#)).unwrap();
    assert!(listener.contains(r#""recv_q":0,"send_q":1,"#), "{listener}");
    assert!(listener.contains(r#""net.ipv4.tcp_abort_on_overflow":1"#), "{listener}");
}

#[test]
fn a_phantom_counts_once_for_each_handshake() {
    let null = Bits::CHECK_REQ | Bits::CHECK_REQ_NULL | Bits::SYN_RECV_SOCK_NULL;
    let cookie_null = Bits::COOKIE_CHECK | Bits::COOKIE_CHECK_NULL | Bits::SYN_RECV_SOCK_NULL;
    let taken = Bits::CHECK_REQ | Bits::CHECK_REQ_CHILD;
    let (queued, cookie) =
        (Bits::CONN_REQUEST | Bits::REQSK_HASHED, Bits::CONN_REQUEST | Bits::COOKIE_INIT);
    let mut frames = frames();
    let end = frames.len() - 2;
    let more = [
        // Dropped, dropped again with data, then taken: one, that recovered.
        (3001, Kind::Syn, queued),
        (3001, Kind::Ack, null),
        (3001, Kind::Ack, null),
        (3001, Kind::Ack, taken),
        // The client comes again from the same port, and what it sends finds no room either.
        (3001, Kind::Syn, cookie),
        (3001, Kind::Ack, cookie_null),
        (3001, Kind::Ack, cookie_null),
        // Reset: the client knows.
        (3002, Kind::Syn, queued),
        (3002, Kind::Ack, null | Bits::SEND_RESET),
    ];
    let times = 2 * SECOND + 10..;
    let more = times.zip(more).map(|(t_ns, (port, kind, path))| event(t_ns, port, kind, path));
    frames.splice(end..end, more);
    let recorded = record("phantoms", &frames);
    let shown = text(&replay(&recorded.0, &["--output", "json"]).stdout);
    let listener = shown.lines().find(|l| l.contains(r#""type":"listener""#)).unwrap();
    let listener: serde_json::Value = serde_json::from_str(listener).unwrap();
    assert_eq!(listener["verdicts"]["ack.reset.overflow"], 1, "{shown}");
    assert_eq!(listener["verdicts"]["later.recovered"], 1, "{shown}");
    assert_eq!((&listener["phantoms"], &listener["overflows"]), (&4.into(), &11.into()), "{shown}");
    let shown = text(&replay(&recorded.0, &[]).stdout).replace('\u{a0}', " ");
    assert!(shown.contains(" phantoms 4 (1 recovered),"), "{shown}");
}

#[test]
fn filters_choose_by_owner_and_address() {
    let recorded = record("filter", &frames());
    let lines = |options: &[&str]| {
        text(&replay(&recorded.0, options).stdout).lines().filter(|l| l.starts_with("12:")).count()
    };
    assert_eq!(lines(&[]), 7);
    for all in [["-P", "80"], ["-p", "12"], ["--cgroup", "/docker"], ["--addr", "10.7.0.1"]] {
        assert_eq!(lines(&all), 7, "{all:?}");
    }
    for none in [["-P", "81"], ["-p", "13"], ["--cgroup", "/lxc"], ["--netns", "8"]] {
        assert_eq!(lines(&none), 0, "{none:?}");
    }
    assert_eq!((lines(&["-4"]), lines(&["-6"])), (7, 0));
}

#[test]
fn limits_are_kept_and_what_they_hide_is_counted() {
    let recorded = record("limits", &frames());
    let limited = text(&replay(&recorded.0, &["--max-events-per-second", "2"]).stdout);
    assert_eq!(limited.matches("more in this second are not shown").count(), 2, "{limited}");
    assert!(limited.contains("\n3 events were counted but not shown.\n"), "{limited}");
    assert!(limited.contains("ListenOverflows 6,"), "{limited}");
    let stopped = text(&replay(&recorded.0, &["--max-events", "3"]).stdout);
    assert_eq!(stopped.lines().filter(|l| l.starts_with("12:")).count(), 3);
}

#[test]
fn a_cut_recording_shows_what_it_has_and_fails() {
    let recorded = record("cut", &frames());
    let bytes = fs::read(&recorded.0).unwrap();
    fs::write(&recorded.0, &bytes[..bytes.len() - 20]).unwrap();
    let output = replay(&recorded.0, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout).lines().filter(|l| l.starts_with("12:")).count(), 7);
    assert!(text(&output.stderr).contains("cut off after 14 frames"), "{}", text(&output.stderr));
}

#[test]
fn a_damaged_recording_is_counted_and_fails() {
    let recorded = record("damaged", &frames());
    let mut bytes = fs::read(&recorded.0).unwrap();
    let event = size_of::<RawEvent>();
    // In the last event, which the last tick and the end follow: 17 bytes each.
    let at = bytes.len() - 34 - event / 2;
    bytes[at] ^= 0xff;
    fs::write(&recorded.0, &bytes).unwrap();
    let output = replay(&recorded.0, &["--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    let loss = r#"{"type":"loss","v":1,"what":"damaged frames of the recording","count":1,"meaning":"Frames of a recording whose sum is wrong."}"#;
    assert!(shown.lines().any(|l| l == loss), "{shown}");
    let said = text(&output.stderr);
    let mut said = said.lines();
    assert_eq!(said.next(), Some("overflow: lost 1 damaged frames of the recording"));
    let meaning =
        "overflow: damaged frames of the recording: Frames of a recording whose sum is wrong.";
    assert_eq!(said.collect::<Vec<_>>(), [meaning]);
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let many: Vec<Frame> = (0..20_000)
        .map(|i| event(SECOND + i, 1 + (i % 60_000) as u16, Kind::Syn, Bits::CONN_REQUEST))
        .chain([Frame::End(2 * SECOND)])
        .collect();
    let recorded = record("pipe", &many);
    let mut child = Command::new(env!("CARGO_BIN_EXE_overflow"))
        .arg("replay")
        .arg(&recorded.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
}
