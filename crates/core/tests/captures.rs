//! Captures of every scenario of the lab, by which the tracer's verdicts are known, judged by their
//! packets alone: whole, cut, out of order, with copies and with losses.

use std::{collections::BTreeMap, io::Read, net::SocketAddr};

use flate2::read::GzDecoder;
use overflow_core::{
    capture::{
        Segment,
        file::Reader,
        finding::Finding,
        flow::canonical,
        point::Place,
        table::{Options, Table},
    },
    verdict::VerdictId,
    wire::Line,
};

/// `overflow lab --scenario all --rung fentry --pcap`, and what it printed with `--output json`.
const CAPTURES: [(&[u8], &[u8]); 2] = [
    (
        include_bytes!("data/captures/lab-6.12.pcapng.gz"),
        include_bytes!("data/captures/lab-6.12.jsonl.gz"),
    ),
    (
        include_bytes!("data/captures/lab-5.10.223.pcapng.gz"),
        include_bytes!("data/captures/lab-5.10.223.jsonl.gz"),
    ),
];

/// A connection of the lab: its run and its client.
type Of = (String, SocketAddr);

struct Lab {
    names: Vec<String>,
    segments: Vec<Segment>,
    /// What the tracer saw of each handshake: its verdict, and every stage on the way there.
    truth: BTreeMap<Of, (VerdictId, Vec<VerdictId>)>,
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

fn labs() -> Vec<Lab> {
    let lab = |(capture, lines): &(&[u8], &[u8])| {
        let bytes = unpacked(capture);
        let mut reader = Reader::new(&bytes[..]).unwrap();
        let mut segments = Vec::new();
        while let Some(frame) = reader.next_frame().unwrap() {
            segments.push(frame.segment().expect("the lab captures TCP only"));
        }
        let name = |i: &overflow_core::capture::file::Interface| i.name.clone().unwrap();
        let names = reader.interfaces().iter().map(name).collect();
        let lines = String::from_utf8(unpacked(lines)).unwrap();
        let mut truth = BTreeMap::new();
        for line in lines.lines() {
            let Ok(Line::Connection(line)) = serde_json::from_str(line) else { continue };
            if let Some(id) = line.witnesses.as_ref().and_then(|w| w.ebpf) {
                let of = (line.run.unwrap().into_owned(), canonical(line.client));
                let stages = line.stages.iter().map(|stage| stage.id).collect();
                assert_eq!(truth.insert(of, (id, stages)), None);
            }
        }
        Lab { names, segments, truth }
    };
    CAPTURES.iter().map(lab).collect()
}

fn judge(segments: impl IntoIterator<Item = Segment>, options: Options) -> Vec<Finding> {
    let mut table = Table::new(options);
    for segment in segments {
        table.add(segment);
    }
    table.end().collect()
}

fn told(lab: &Lab, findings: &[Finding]) -> BTreeMap<Of, Finding> {
    let of = |f: &Finding| (lab.names[f.interface as usize].clone(), f.client);
    findings.iter().map(|f| (of(f), f.clone())).collect()
}

#[test]
fn the_tracers_verdict_is_among_those_that_the_packets_allow() {
    for lab in labs() {
        for at in [None, Some(Place::Server), Some(Place::Client), Some(Place::Between)] {
            let findings = judge(lab.segments.clone(), Options { at, ..Options::default() });
            let told = told(&lab, &findings);
            assert_eq!(told.len(), findings.len(), "a connection is told twice");
            let mut wrong = Vec::new();
            for (of, (truth, stages)) in &lab.truth {
                // A third ACK may come when its request is gone, and then is none to the kernel.
                let late = [VerdictId::LaterResetNoSocket];
                let is_late = truth.is_syn() && stages.contains(&late[0]);
                let truths = if is_late { &late[..] } else { std::slice::from_ref(truth) };
                match told.get(of) {
                    Some(f) if truths.iter().all(|id| f.verdicts.contains(id)) => {}
                    Some(f) => wrong.push(format!(
                        "{of:?}: {truth}, told {:?} {:?} {:?}",
                        f.evidence.pattern, f.verdicts, f.doubts
                    )),
                    None => wrong.push(format!("{of:?}: {truth}, not told")),
                }
            }
            assert!(wrong.is_empty(), "at {at:?}: {} {wrong:#?}", wrong.len());
        }
    }
}

/// The same connections as tcpdump and tshark captured them at both ends.
const TCPDUMP: [(&str, &[u8], Place); 5] = [
    ("cooked v2", include_bytes!("data/captures/server-cooked2.pcap.gz"), Place::Server),
    ("cooked v1", include_bytes!("data/captures/server-cooked1.pcap.gz"), Place::Server),
    ("snaplen 68", include_bytes!("data/captures/server-ethernet-68.pcap.gz"), Place::Unknown),
    ("nanoseconds", include_bytes!("data/captures/client-ethernet-nano.pcap.gz"), Place::Unknown),
    ("pcapng, began late", include_bytes!("data/captures/client-any.pcapng.gz"), Place::Client),
];

#[test]
fn what_tcpdump_captured_at_either_end_is_the_same() {
    for (name, packed, place) in TCPDUMP {
        let bytes = unpacked(packed);
        let mut reader = Reader::new(&bytes[..]).unwrap();
        let mut table = Table::new(Options::default());
        while let Some(frame) = reader.next_frame().unwrap() {
            frame.segment().into_iter().for_each(|segment| table.add(segment));
        }
        let late = name.ends_with("late");
        let findings: Vec<Finding> = table.end().collect();
        assert_eq!(table.counts().without_handshake, if late { 2 } else { 0 }, "{name}");
        let mut families: Vec<&str> = Vec::new();
        for finding in findings {
            families.push(finding.family());
            assert_eq!(finding.point.place, place, "{name}");
            assert_eq!(finding.server.port(), 80);
            if !finding.stands_alone() {
                assert!(finding.verdicts.contains(&VerdictId::SynDropAcceptQueueFull), "{name}");
                let day = finding.t0_ns / 86_400_000_000_000;
                assert_eq!(day, 20_787, "{name}: 30 November 2026");
            }
        }
        families.sort_unstable();
        let all = ["ack.accepted", "ack.accepted", "syn.drop", "syn.drop", "syn.drop"];
        assert_eq!(families, all[if late { 2 } else { 0 }..], "{name}");
    }
}

const SEED: u64 = 20_260_731;
const MS: u64 = 1_000_000;

/// Of what was made of a capture nothing may contradict what the tracer saw: of each connection the
/// verdicts that are named hold one of its stages, or none is named. How many were named.
fn assert_no_contradiction(lab: &Lab, findings: &[Finding], how: &str) -> usize {
    let mut named = 0;
    for finding in findings {
        let of = (lab.names[finding.interface as usize].clone(), finding.client);
        let Some((_, stages)) = lab.truth.get(&of) else { continue };
        named += usize::from(!finding.verdicts.is_empty());
        assert!(
            finding.verdicts.is_empty() || stages.iter().any(|id| finding.verdicts.contains(id)),
            "{how}: {of:?} is {stages:?}, told {:?} {:?}",
            finding.evidence.pattern,
            finding.verdicts,
        );
    }
    named
}

#[test]
fn a_capture_that_ends_early_says_nothing_of_what_came_later() {
    for lab in labs() {
        let mut named = Vec::new();
        for keep in (0..lab.segments.len()).step_by(7) {
            let findings = judge(lab.segments[..keep].to_vec(), Options::default());
            named.push(assert_no_contradiction(&lab, &findings, &format!("{keep} segments")));
        }
        assert!(named.last() > named.get(named.len() / 2), "{named:?}");
    }
}

#[test]
fn the_order_in_the_file_does_not_matter_within_a_moment_nor_do_copies() {
    let mut rng = fastrand::Rng::with_seed(SEED);
    for lab in labs() {
        let families = |findings: &[Finding]| {
            let told = told(&lab, findings);
            told.into_iter().map(|(of, f)| (of, f.verdicts)).collect::<Vec<_>>()
        };
        let whole = families(&judge(lab.segments.clone(), Options::default()));
        for round in 0..20 {
            let mut segments: Vec<(u64, Segment)> = Vec::new();
            for segment in &lab.segments {
                let late = segment.packet.t_ns + rng.u64(..40 * MS);
                segments.push((late, segment.clone()));
                // Seen again at another device, a router further.
                if rng.u8(..4) == 0 {
                    let mut copy = segment.clone();
                    copy.device = 7;
                    copy.ttl -= 1;
                    copy.packet.t_ns += rng.u64(..MS / 10);
                    segments.push((late, copy));
                }
            }
            segments.sort_by_key(|(t, _)| *t);
            let findings = judge(segments.into_iter().map(|(_, s)| s), Options::default());
            assert_eq!(families(&findings), whole, "round {round}");
        }
    }
}

#[test]
fn where_packets_are_missing_only_what_was_seen_counts() {
    let mut rng = fastrand::Rng::with_seed(SEED);
    for lab in labs() {
        let mut named = 0;
        for round in 0..100 {
            let share = rng.u32(1..=60);
            let left = lab.segments.iter().filter(|_| rng.u32(..100) >= share).cloned();
            let left: Vec<Segment> = left.collect();
            let lossy = Options { lossy: true, ..Options::default() };
            let findings = judge(left.clone(), lossy);
            named += assert_no_contradiction(&lab, &findings, &format!("round {round}"));
            // Whoever does not know of the losses can rely on what stands alone.
            let mut findings = judge(left, Options::default());
            findings.retain(Finding::stands_alone);
            assert_no_contradiction(&lab, &findings, &format!("round {round}, unknown"));
        }
        assert!(named > 1000, "{named}");
    }
}

#[test]
fn bytes_that_are_no_capture_are_refused_or_end_it_without_a_panic() {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let whole = unpacked(CAPTURES[0].0);
    let magics: [&[u8]; 5] = [
        &[0x0a, 0x0d, 0x0d, 0x0a],
        &[0xd4, 0xc3, 0xb2, 0xa1],
        &[0xa1, 0xb2, 0x3c, 0x4d],
        &[0x1f, 0x8b],
        &[],
    ];
    let (mut read, mut found, mut told) = (0, 0, 0);
    for round in 0..2000 {
        let length = rng.usize(..2000);
        let noise = std::iter::repeat_with(|| rng.u8(..)).take(length).collect::<Vec<_>>();
        let bytes = match round % 3 {
            0 => [magics[round / 3 % magics.len()], &noise].concat(),
            1 => {
                let mut bytes = whole[..rng.usize(1..=whole.len())].to_vec();
                for _ in 0..rng.usize(..20) {
                    let at = rng.usize(..bytes.len());
                    bytes[at] = rng.u8(..);
                }
                bytes
            }
            // Packets of every link type, made of nothing, but for what leads on to IP.
            _ => {
                let link = [0, 1, 9, 101, 108, 113, 239, 276][rng.usize(..8)];
                let head = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 0, link].map(u32::to_le_bytes);
                let mut bytes = head.concat();
                for packet in noise.chunks(60) {
                    let mut packet = packet.to_vec();
                    for at in [0, 12, 14, 16, 20, 23, 26] {
                        if let Some(byte) = packet.get_mut(at) {
                            *byte = [0x45, 8, 0, 6, 0x60, 0x81][rng.usize(..6)];
                        }
                    }
                    let length = u32::try_from(packet.len()).unwrap();
                    let head = [rng.u32(..), rng.u32(..), length, rng.u32(..)];
                    bytes.extend(head.map(u32::to_le_bytes).concat());
                    bytes.extend(packet);
                }
                bytes
            }
        };
        let Ok(mut reader) = Reader::new(&bytes[..]) else { continue };
        let mut table = Table::new(Options { room: 64, ..Options::default() });
        while let Ok(Some(frame)) = reader.next_frame() {
            read += 1;
            if let Some(segment) = frame.segment() {
                found += 1;
                table.add(segment);
            }
        }
        told += table.end().count();
    }
    assert!(told > 0 && read > 1000 && found > 1000, "{read} {found}");
}

#[test]
fn segments_that_no_tcp_sent_are_judged_without_a_panic_in_bounded_memory() {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let sample = labs().swap_remove(0).segments.swap_remove(0);
    for _ in 0..20 {
        let mut table = Table::new(Options { room: 50, ..Options::default() });
        for number in 0..5000 {
            let mut segment = sample.clone();
            let mut end = || SocketAddr::from(([10, 0, 0, rng.u8(..6)], rng.u16(1..20)));
            (segment.packet.src, segment.packet.dst) = (end(), end());
            segment.packet.flags = rng.u8(..32);
            segment.packet.seq = if rng.bool() { rng.u32(..3) } else { rng.u32(..) };
            segment.packet.ack = if rng.bool() { rng.u32(..3) } else { rng.u32(..) };
            segment.packet.payload_len = rng.u32(..3) * rng.u32(..2000);
            segment.packet.t_ns = match rng.u8(..4) {
                0 => rng.u64(..),
                1 => u64::MAX,
                _ => number * rng.u64(..MS),
            };
            (segment.number, segment.interface) = (number, rng.u32(..3));
            table.add(segment);
        }
        let findings: Vec<Finding> = table.end().collect();
        assert!(findings.iter().all(|f| f.t0_ns <= 1 << 62));
        assert!(table.counts().evicted > 0);
    }
}
