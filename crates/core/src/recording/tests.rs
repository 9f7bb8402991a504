//! Recordings written, damaged and read again.

use super::*;
use crate::{
    audit::{Cut, Readings, Watched},
    cause::sample::{evidence, holder},
    listeners::{Listener, sample::listener},
    owner::{Cgroup, Owner, Process},
    verdict::Counter,
};

/// What errors call it.
const NAME: &str = "trace.rec";

fn header() -> Header {
    Header {
        kernel: "6.12.1".to_owned(),
        drop_reasons: vec![(40, "TCP_LISTEN_OVERFLOW".to_owned())],
        symbols: vec![(1, 9, "cookie_v4_check".to_owned())],
        ..Header::default()
    }
}

fn look() -> Look {
    let seen = Readings {
        namespaces: [(7, [(Counter::ListenDrops, 41)].into_iter().collect())].into(),
        hidden: Vec::new(),
        unreadable: vec![3],
        ..Readings::default()
    };
    Look {
        t_ns: 1,
        cut: Cut::Armed,
        watched: Watched::default(),
        seen,
        left_out: Vec::new(),
        read: Vec::new(),
        pending: None,
    }
}

fn frames() -> Vec<Frame> {
    let mut inventory = Inventory::default();
    inventory.listeners.push(listener("0.0.0.0:80"));
    vec![
        Frame::Inventory(Box::new(inventory.indexed())),
        Frame::Event(RawEvent { t_ns: 5, client_port: 4711, ..RawEvent::EMPTY }),
        Frame::Tick(1_000_000_000),
        Frame::Gap(1_500_000_000),
        Frame::Look(Box::new(look())),
        Frame::Evidence(Box::new(evidence(vec![holder(10)]))),
        Frame::Losses(vec![(Loss::Kernel(overflow_common::Loss::RingFull), 3)]),
        Frame::Opened(Box::new(listener("[::]:443"))),
        Frame::Event(RawEvent { t_ns: 6, ..RawEvent::EMPTY }),
        Frame::End(2_000_000_000),
    ]
}

fn written() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut recorder = Recorder::new(&mut bytes, &header()).unwrap();
    for frame in frames() {
        recorder.write(&frame).unwrap();
    }
    drop(recorder);
    bytes
}

fn open(bytes: &[u8]) -> Result<Recording<&[u8]>, RecordError> {
    Recording::read(Path::new(NAME), bytes)
}

/// Both ways to read it must agree.
fn read(bytes: &[u8]) -> (Vec<Frame>, u64, Option<RecordError>) {
    let said = |error: &Option<RecordError>| error.as_ref().map(ToString::to_string);
    let (quick, slow) = (read_by(bytes, true), read_by(bytes, false));
    assert_eq!((&quick.0, quick.1, said(&quick.2)), (&slow.0, slow.1, said(&slow.2)));
    slow
}

fn read_by(bytes: &[u8], quick: bool) -> (Vec<Frame>, u64, Option<RecordError>) {
    let mut recording = match open(bytes) {
        Ok(recording) => recording,
        Err(error) => return (Vec::new(), 0, Some(error)),
    };
    let (mut frames, mut events) = (Vec::new(), Vec::new());
    loop {
        if quick && recording.next_events(&mut events) {
            frames.extend(events.iter().copied().map(Frame::Event));
            continue;
        }
        match recording.next_frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, recording.damaged(), None),
            Err(error) => return (frames, recording.damaged(), Some(error)),
        }
    }
}

#[test]
fn what_was_written_is_read() {
    let whole = written();
    assert_eq!(open(&whole).unwrap().header(), &header());
    let (got, damaged, error) = read(&whole);
    assert_eq!((got, damaged), (frames(), 0));
    assert!(error.is_none());
}

#[test]
fn every_cut_is_noticed() {
    let whole = written();
    for len in 0..whole.len() {
        let (got, _, error) = read(&whole[..len]);
        assert!(error.is_some(), "{len} of {} bytes pass for whole", whole.len());
        assert_eq!(got, frames()[..got.len()], "after {len} bytes");
    }
}

#[test]
fn every_damaged_byte_is_noticed() {
    let whole = written();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        let (got, damaged, error) = read(&bytes);
        assert!(damaged > 0 || error.is_some(), "byte {at} can be changed unseen");
        assert!(got.iter().all(|frame| frames().contains(frame)), "byte {at}");
    }
}

#[test]
fn a_damaged_frame_is_left_out_and_counted() {
    let mut bytes = written();
    let needle = 4711_u16.to_ne_bytes();
    let at = bytes.windows(2).position(|w| w == needle).unwrap();
    bytes[at] ^= 1;
    let (got, damaged, error) = read(&bytes);
    let mut expected = frames();
    expected.remove(1);
    assert_eq!((got, damaged), (expected, 1));
    assert!(error.is_none());
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let refusal = |bytes: &[u8]| open(bytes).map(|_| ()).unwrap_err().to_string();
    assert!(refusal(b"").contains("is not a recording"));
    assert!(refusal(b"not a recording at all").contains("is not a recording"));
    let mut later = written();
    later[8] = 2;
    assert!(refusal(&later).contains("format 2"), "{}", refusal(&later));
}

/// Anybody who may listen can make an inventory so long.
#[test]
fn a_long_inventory_is_read_as_it_was_written() {
    let name = "\x01".repeat(1000);
    let process = |pid| Process {
        pid,
        ppid: 1,
        comm: "hog".into(),
        start: 1,
        cgroup: Cgroup { path: name.as_str().into(), ..Cgroup::default() },
    };
    let owner = Some(Owner::new((1..17).collect(), (1..17).map(process).collect()));
    let of = |inode| Listener { inode, owner: owner.clone(), ..listener("0.0.0.0:80") };
    let mut inventory = Inventory::default();
    inventory.listeners = (0..200).map(of).collect();
    let inventory = inventory.indexed();
    let mut bytes = Vec::new();
    let mut recorder = Recorder::new(&mut bytes, &header()).unwrap();
    let written = [Frame::Inventory(Box::new(inventory)), frames().remove(0), Frame::End(9)];
    for frame in &written {
        recorder.write(frame).unwrap();
    }
    drop(recorder);
    assert!(bytes.len() > 2 * PART);
    let (frames, damaged, error) = read(&bytes);
    assert!(frames == written && damaged == 0 && error.is_none());
    // A part that is damaged takes the others with it, and nothing that comes after.
    bytes[1000] ^= 1;
    let (frames, damaged, error) = read(&bytes);
    assert!(frames[1..] == written[1..] && damaged == 1 && error.is_none());
    let Frame::Inventory(left) = &frames[0] else { panic!() };
    assert!(left.listeners.len() < 200);
}
