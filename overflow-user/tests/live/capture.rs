//! The annotated capture of a hand-made report, read back here and by tshark.

use std::{fs, io::Cursor, process::Command};

use overflow_core::wire::LinkKind;
use overflow_lab::report::pcapng;
use pcap_file::pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};

use crate::{
    harness::tests,
    needs::Need::Program,
    support::reports::{self, Cell, Handshake},
};

tests! {
    needs []: every_stage_finds_its_packet, a_time_before_1970_is_refused;
    needs [Program("tshark")]: tshark_reads_it;
}

/// CLOCK_REALTIME minus CLOCK_MONOTONIC of the sample: its burst is at 2026-01-01 00:01:40.
const WALL_OFFSET: i64 = 1_767_225_600_000_000_000;

fn capture() -> Vec<u8> {
    use Handshake::{Accepted as A, Cookie as C, Kept as K, Reset as R, SynDropped as S};
    let mut tun = Cell::new(1, 1, 1, &[A, R, C]);
    tun.link = LinkKind::Userspace;
    let cells = vec![
        Cell::new(0, 1, 1, &[A, K, C]).report(|_, _| ()),
        tun.report(|_, _| ()),
        Cell::new(0, 0, 0, &[A, A, S]).report(|_, _| ()),
    ];
    pcapng::report(Vec::new(), &reports::report(cells), WALL_OFFSET).unwrap()
}

/// Each packet as interface, nanoseconds since 1970 and comment.
fn packets(file: &[u8]) -> Vec<(u32, u128, String)> {
    let mut reader = PcapNgReader::new(Cursor::new(file)).unwrap();
    let mut all = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block.unwrap() else { continue };
        let comment = packet.options.iter().find_map(|o| match o {
            EnhancedPacketOption::Comment(text) => Some(text.to_string()),
            _ => None,
        });
        all.push((packet.interface_id, packet.timestamp.as_nanos(), comment.unwrap_or_default()));
    }
    all
}

fn every_stage_finds_its_packet() {
    let all = packets(&capture());
    let check = |interface: u32, text: &str, expect: usize| {
        let found = all.iter().filter(|(id, _, c)| *id == interface && c.contains(text)).count();
        assert_eq!(found, expect, "{text} on {interface}");
    };
    for interface in 0..2 {
        check(interface, "ack.accepted (traced): Recv-Q", 2);
        check(interface, "syn.queued (traced)", 3);
        check(interface, "syn.cookie (traced)", 1);
        check(interface, "ack.drop.overflow.cookie (traced): Recv-Q 2 > 1, tcp_abort_on", 1);
        check(interface, "later.listener_closed (traced)", 2);
    }
    check(0, "ack.drop.overflow (traced)", 1);
    check(0, "ack.drop.overflow again", 1);
    check(0, "SYN-ACK retransmitted by the kernel's timer", 1);
    check(1, "ack.reset.overflow (traced)", 1);
    check(1, "RST of ack.reset.overflow", 1);
    check(2, "syn.drop.syn_queue_full (traced)", 1);
    check(2, "syn.drop.accept_queue_full (traced)", 1);
    let first = u128::from(reports::BURST) - 1_000_000_000 + u128::from(WALL_OFFSET.unsigned_abs());
    assert_eq!(all[0].1, first);
}

fn a_time_before_1970_is_refused() {
    let report = reports::seed();
    assert!(pcapng::report(Vec::new(), &report, i64::MIN).is_err());
}

fn tshark_reads_it() {
    let path = std::env::temp_dir().join(format!("overflow-sink-{}.pcapng", std::process::id()));
    fs::write(&path, capture()).unwrap();
    let tshark = |args: &[&str]| {
        let out = Command::new("tshark").arg("-r").arg(&path).args(args).output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "frame.time_epoch"];
    let more = ["-e", "frame.comment", "-e", "tcp.checksum.status", "-e", "tcp.flags"];
    let checked = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
    let (ok, rows) = tshark(&[&fields[..], &more, &checked].concat());
    let (_, verbose) = tshark(&["-V", "-c", "1"]);
    fs::remove_file(&path).unwrap();
    assert!(ok, "tshark refuses the file");
    let rows: Vec<Vec<&str>> = rows.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(rows.len(), packets(&capture()).len());
    assert_eq!(rows[0][0], "abort=0,syncookies=1");
    assert_eq!(rows[0][1], "1767225699.000000000");
    assert!(rows[0][2].starts_with("syn.queued (traced): SYN-Q 0 ≤ 1"), "{:?}", rows[0]);
    assert!(rows.iter().all(|r| r[3] == "1"), "a TCP checksum is wrong");
    assert!(rows.iter().any(|r| r[0] == "abort=0,syncookies=0"));
    assert!(verbose.contains("Raw IP"), "{verbose}");
}
