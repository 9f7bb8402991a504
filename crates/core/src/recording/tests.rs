//! Recordings written, damaged and read again.

use std::{env, fs, process};

use super::*;
use crate::listeners::sample::listener;

/// A file that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("overflow-record-{}-{name}", process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn header() -> Header {
    Header {
        kernel: "6.12.1".to_owned(),
        drop_reasons: vec![(40, "TCP_LISTEN_OVERFLOW".to_owned())],
        symbols: vec![(1, 9, "cookie_v4_check".to_owned())],
        ..Header::default()
    }
}

fn frames() -> Vec<Frame> {
    let mut inventory = Inventory::default();
    inventory.listeners.push(listener("0.0.0.0:80"));
    vec![
        Frame::Inventory(Box::new(inventory.indexed())),
        Frame::Event(Event { t_ns: 5, client_port: 4711, ..Event::EMPTY }),
        Frame::Tick(1_000_000_000),
        Frame::Losses(vec![("ring_full".to_owned(), 3)]),
        Frame::Event(Event { t_ns: 6, ..Event::EMPTY }),
        Frame::End(2_000_000_000),
    ]
}

fn write(path: &Path) {
    let mut recorder = Recorder::create(path, &header()).unwrap();
    for frame in frames() {
        recorder.write(&frame).unwrap();
    }
}

/// Both ways to read it must agree.
fn read(path: &Path) -> (Vec<Frame>, u64, Option<RecordError>) {
    let said = |error: &Option<RecordError>| error.as_ref().map(ToString::to_string);
    let (quick, slow) = (read_by(path, true), read_by(path, false));
    assert_eq!((&quick.0, quick.1, said(&quick.2)), (&slow.0, slow.1, said(&slow.2)));
    slow
}

fn read_by(path: &Path, quick: bool) -> (Vec<Frame>, u64, Option<RecordError>) {
    let mut recording = match Recording::open(path) {
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
    let file = Scratch::new("whole");
    write(&file.0);
    assert_eq!(Recording::open(&file.0).unwrap().header(), &header());
    let (got, damaged, error) = read(&file.0);
    assert_eq!((got, damaged), (frames(), 0));
    assert!(error.is_none());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file.0).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn every_cut_is_noticed() {
    let file = Scratch::new("cut");
    write(&file.0);
    let whole = fs::read(&file.0).unwrap();
    for len in 0..whole.len() {
        fs::write(&file.0, &whole[..len]).unwrap();
        let (got, _, error) = read(&file.0);
        assert!(error.is_some(), "{len} of {} bytes pass for whole", whole.len());
        assert_eq!(got, frames()[..got.len()], "after {len} bytes");
    }
}

#[test]
fn every_damaged_byte_is_noticed() {
    let file = Scratch::new("damaged");
    write(&file.0);
    let whole = fs::read(&file.0).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&file.0, &bytes).unwrap();
        let (got, damaged, error) = read(&file.0);
        assert!(damaged > 0 || error.is_some(), "byte {at} can be changed unseen");
        assert!(got.iter().all(|frame| frames().contains(frame)), "byte {at}");
    }
}

#[test]
fn a_damaged_frame_is_left_out_and_counted() {
    let file = Scratch::new("frame");
    write(&file.0);
    let mut bytes = fs::read(&file.0).unwrap();
    let needle = 4711_u16.to_ne_bytes();
    let at = bytes.windows(2).position(|w| w == needle).unwrap();
    bytes[at] ^= 1;
    fs::write(&file.0, &bytes).unwrap();
    let (got, damaged, error) = read(&file.0);
    let mut expected = frames();
    expected.remove(1);
    assert_eq!((got, damaged), (expected, 1));
    assert!(error.is_none());
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let file = Scratch::new("other");
    let refusal = |bytes: &[u8]| {
        fs::write(&file.0, bytes).unwrap();
        Recording::open(&file.0).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refusal(b"").contains("is no recording"));
    assert!(refusal(b"not a recording at all").contains("is no recording"));
    write(&file.0);
    let mut later = fs::read(&file.0).unwrap();
    later[8] = 2;
    assert!(refusal(&later).contains("format 2"), "{}", refusal(&later));
}
