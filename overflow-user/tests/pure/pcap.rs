//! `overflow pcap` on captures of the lab and of tcpdump: what it prints, writes and refuses.

use std::{
    fs,
    io::{BufRead, BufReader, Cursor, Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use flate2::read::GzDecoder;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use overflow_core::wire::Line;
use pcap_file::pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};
use serde_json::Value;

use crate::{expect, support::schema};

const LAB: &[u8] = include_bytes!("../../../crates/core/tests/data/captures/lab-6.12.pcapng.gz");
const COOKED: &[u8] =
    include_bytes!("../../../crates/core/tests/data/captures/server-cooked2.pcap.gz");

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A file of its own, gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("overflow-pcap-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Exit code, stdout and stderr of the command with this on its standard input.
fn pcap(input: &[u8], args: &[&str]) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_overflow"))
        .arg("pcap")
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // One that has seen enough does not read the rest.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn text_is_as_it_was() {
    let (code, text, errors) = pcap(&unpacked(COOKED), &["-", "--all"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    expect::check("pcap-cooked.txt", &text);
}

#[test]
fn json_fits_the_schema_and_adds_up() {
    let (code, text, errors) = pcap(&unpacked(LAB), &["-", "--all", "--output", "json"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let schema = schema::shipped();
    let mut connections = 0;
    for (line, value) in text.lines().zip(lines(&text)) {
        schema::check(&schema, &schema, &value).unwrap_or_else(|e| panic!("{line}\n{e}"));
        let read: Line = serde_json::from_str(line).unwrap();
        connections += usize::from(matches!(read, Line::Handshake(_)));
    }
    let all = lines(&text);
    let kinds = ["handshake", "endpoint", "capture", "summary"];
    assert!(kinds.iter().all(|kind| all.iter().any(|line| line["type"] == *kind)));
    let summary = all.last().unwrap();
    assert_eq!(summary["connections"], connections);
    let of = |role: &str| {
        let sums = all.iter().filter(|line| line["role"] == role);
        sums.map(|line| line["connections"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((of("listener"), of("client")), (119, 119));
}

#[test]
fn what_is_shown_is_chosen() {
    let capture = unpacked(LAB);
    let count = |args: &[&str]| {
        let args = [&["-", "--output", "json"], args].concat();
        let (code, text, errors) = pcap(&capture, &args);
        assert_eq!(code, Some(0), "{errors}");
        lines(&text).iter().filter(|line| line["type"] == "handshake").count()
    };
    let (all, abnormal) = (count(&["--all"]), count(&[]));
    assert!(abnormal < all && abnormal > 0, "{abnormal} of {all}");
    assert_eq!(count(&["--all", "-P", "12345"]), all);
    assert_eq!(count(&["--all", "-P", "80,443"]), 0);
    assert_eq!((count(&["--all", "-4"]), count(&["--all", "-6"])), (all, 0));
    let (_, text, _) = pcap(&capture, &["-", "--lossy", "--output", "json"]);
    let lossy = lines(&text);
    let named = lossy.iter().filter(|line| line["stands_alone"] == false);
    assert!(named.clone().count() > 0);
    assert!(named.clone().all(|line| line["verdicts"] == Value::Array(Vec::new())));
}

#[test]
fn the_annotated_capture_has_the_same_packets_and_says_what_was_found() {
    let capture = Scratch::new("in.pcapng", &unpacked(LAB));
    let out = Scratch::new("out.pcapng", &[]);
    let [from, to] = [&capture.0, &out.0].map(|path| path.to_str().unwrap());
    let (code, _, errors) = pcap(&[], &[from, "--annotate", to]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let packets = |bytes: Vec<u8>| {
        let mut reader = PcapNgReader::new(Cursor::new(bytes)).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = reader.next_block() {
            let Block::EnhancedPacket(packet) = block.unwrap() else { continue };
            let comments = packet.options.iter().filter_map(|option| match option {
                EnhancedPacketOption::Comment(text) => Some(text.clone().into_owned()),
                _ => None,
            });
            let comments: Vec<String> = comments.collect();
            let data = packet.data.into_owned();
            packets.push((packet.interface_id, packet.timestamp, data, comments));
        }
        packets
    };
    let [before, after] = [&capture.0, &out.0].map(|path| packets(fs::read(path).unwrap()));
    assert_eq!(before.len(), after.len());
    let (code, _, errors) = pcap(&[], &[from, "--annotate", from]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("is the capture itself"), "{errors}");
    let mut found = 0;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.0, before.1, &before.2), (after.0, after.1, &after.2));
        assert!(after.3.starts_with(&before.3), "{:?} {:?}", before.3, after.3);
        // The tracer commented on the same packets; both must be about the same kind.
        if let ([traced], [_, packets]) = (&before.3[..], &after.3[..]) {
            found += 1;
            let refused = traced.starts_with("ack.") && packets.contains("ack.");
            let dropped = traced.starts_with("syn.") && packets.contains("syn.");
            let rst = traced.starts_with("RST of") && packets.starts_with("RST: ");
            let again = packets.contains("again") || packets.contains("sent again");
            let later = traced.starts_with("later.") && packets.starts_with("RST: ");
            assert!(refused || dropped || rst || again || later, "{traced} | {packets}");
        }
    }
    assert!(found > 30, "{found}");
}

#[test]
fn what_cannot_be_read_is_said_in_one_line() {
    let whole = unpacked(COOKED);
    let check = |bytes: &[u8], expected: &str| {
        let (code, _, errors) = pcap(bytes, &["-"]);
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.starts_with("overflow: cannot read the capture -: "), "{errors}");
        assert!(errors.contains(expected) && errors.lines().count() == 1, "{errors}");
    };
    check(&[], "it is neither pcap nor pcapng");
    check(b"hello, this is text", "it is neither pcap nor pcapng");
    check(COOKED, "it is compressed: unpack it on the way");
    check(&whole[..whole.len() - 3], "it is cut off after 29 packets");
    let (code, _, errors) = pcap(&[], &["/nonexistent.pcap"]);
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("overflow: cannot open the capture /nonexistent.pcap"), "{errors}");
    let (code, _, errors) = pcap(&whole, &["-", "--annotate", "out.pcapng"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("reads the capture a second time"), "{errors}");
    let (code, _, errors) = pcap(&whole, &["/dev/stdin", "--annotate", "out.pcapng"]);
    assert_eq!(code, Some(2), "a pipe by its name: {errors}");
    assert_eq!(pcap(&whole, &["-", "--at", "moon"]).0, Some(2));
}

#[test]
fn ctrl_c_ends_a_pipe_without_end_by_its_summary() {
    let whole = unpacked(COOKED);
    let mut child = Command::new(env!("CARGO_BIN_EXE_overflow"))
        .args(["pcap", "-", "--all", "--output", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&whole[..whole.len() - 3]).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // What is known is told at once, while the pipe stays open.
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("ack.accepted"), "{first}");
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    let last = lines.map(Result::unwrap).last().unwrap();
    assert!(last.starts_with(r#"{"type":"summary","v":1,"connections":5,"#), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(stdin);
}

#[test]
fn what_was_told_of_a_capture_that_is_cut_off_stays_told() {
    let whole = unpacked(COOKED);
    let (code, text, _) = pcap(&whole[..whole.len() - 3], &["-", "--output", "json"]);
    assert_eq!(code, Some(1));
    let all = lines(&text);
    assert_eq!(all.iter().filter(|line| line["family"] == "syn.drop").count(), 3);
    assert_eq!(all.last().unwrap()["type"], "summary");
}
