//! Recordings that are cut, damaged, incomplete or made up, through the whole pipeline: nothing
//! panics, every loss is reported, and what is reported of a connection never contradicts the whole.
//!
//! `tests/data/lab-6.12.rec.gz` is what `overflow lab --scenario all --rung fentry --record` wrote on
//! Debian's 6.12.118.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env, fs,
    fs::File,
    io::{self, Read as _, Write},
    path::PathBuf,
    process::Command,
    rc::Rc,
};

use fastrand::Rng;
use overflow::{
    pipeline::{Engine, Options},
    sink::trace::{Opening, Sink, TraceLines, TraceText},
};
use overflow_common::{Kind, RawEvent, Signature, Socket, Tally};
use overflow_core::{
    aggregates::Aggregates,
    decode::Decoder,
    kernel::{Facts, Symbols},
    loss::Loss,
    recording::{Frame, Header, RecordError},
    text::{style, untrusted::is_harmless},
    verdict::VerdictId,
};
use overflow_host::{files::Existing, recordings};
use serde_json::Value;

use crate::support::connections::{Reported, assert_consistent, connections};

/// The dice always fall alike; a failure says which throw it was.
const SEED: u64 = 20_261_122;

/// A file that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("overflow-hostile-{}-{name}.rec", std::process::id())))
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(&self.0, bytes).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn recorded() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/lab-6.12.rec.gz");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

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

/// What a recording says, how many frames of it were damaged, and how it ended.
fn read(scratch: &Scratch) -> Result<(Header, Vec<Frame>, u64, Option<RecordError>), RecordError> {
    let mut recording = recordings::open(&scratch.0)?;
    let mut frames = Vec::new();
    let error = loop {
        match recording.next_frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    Ok((recording.header().clone(), frames, recording.damaged(), error))
}

fn whole() -> (Header, Vec<Frame>) {
    let scratch = Scratch::new(&format!("whole-{}", fastrand::u64(..)));
    scratch.write(&recorded());
    let (header, frames, damaged, error) = read(&scratch).unwrap();
    assert!(damaged == 0 && error.is_none());
    (header, frames)
}

/// Everything that is reported of these frames, a JSON object a line.
fn play(header: &Header, frames: impl IntoIterator<Item = Frame>, options: Options) -> Vec<Value> {
    let text = shown_by(header, frames, options, |out| Box::new(TraceLines::json(out)));
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn shown_by(
    header: &Header,
    frames: impl IntoIterator<Item = Frame>,
    options: Options,
    sink: impl FnOnce(Shown) -> Box<dyn Sink>,
) -> String {
    let facts = Facts {
        drop_reasons: header.drop_reasons.clone(),
        reset_reasons: header.reset_reasons.clone(),
        ..Facts::default()
    };
    let ranges = header.symbols.iter().map(|(start, end, name)| (*start, *end, name.as_str()));
    let decoder = Decoder::new(&facts, Symbols::from_ranges(ranges));
    let out = Shown::default();
    let opening = Opening {
        kernel: header.kernel.clone(),
        distro: header.distro.clone(),
        rungs: header.rungs.clone(),
        filter: String::new(),
        all: options.all,
        summary: options.summary,
        notes: header.notes.clone(),
        wall_offset_ns: header.wall_offset_ns,
        utc_offset_s: header.utc_offset_s,
    };
    let mut engine = Engine::new(options, decoder, vec![sink(out.clone())], &opening).unwrap();
    for frame in frames {
        if engine.feed(frame).unwrap().is_break() {
            break;
        }
    }
    engine.close().unwrap();
    String::from_utf8(out.0.take()).unwrap()
}

fn everything() -> Options {
    Options { all: true, accepts: true, ..Options::default() }
}

#[test]
fn lost_records_leave_gaps_and_make_nothing_up() {
    let (header, frames) = whole();
    let all = play(&header, frames.clone(), everything());
    let truth = connections(&all);
    assert!(truth.len() > 90, "{}", truth.len());
    let mut rng = Rng::with_seed(SEED);
    let mut open = 0;
    for round in 0..150 {
        let share = [0.01, 0.1, 0.5][round % 3];
        let lost =
            |frame: &Frame, rng: &mut Rng| matches!(frame, Frame::Event(_)) && rng.f64() < share;
        let mut kept: Vec<_> = frames.iter().filter(|f| !lost(f, &mut rng)).cloned().collect();
        let count = (frames.len() - kept.len()) as u64;
        let at = kept.len() - 1;
        kept.insert(at, Frame::Losses(vec![(Loss::from_id("ebpf ring_full"), count)]));
        let lines = play(&header, kept, everything());
        assert_consistent(&lines, &truth, &format!("round {round}"));
        let loss = lines.iter().find(|line| line["type"] == "loss");
        assert_eq!(loss.map_or(0, |line| line["count"].as_u64().unwrap()), count, "round {round}");
        open += connections(&lines).values().filter(|reported| reported.outcome.is_none()).count();
    }
    assert!(open > 0, "nothing was ever left open");
}

#[test]
fn what_follows_from_silence_stands_for_connections_after_the_loss() {
    let (header, mut frames) = whole();
    // Late data makes a phantom's end; without its RST the phantom stays one.
    frames.retain(|f| !matches!(f, Frame::Event(e) if e.kind == Kind::Reset as u8));
    frames.insert(1, Frame::Losses(vec![(Loss::from_id("ebpf ring_full"), 1)]));
    let lines = play(&header, frames, everything());
    let phantoms = connections(&lines);
    let phantoms = phantoms.values().filter(|t| t.outcome == Some(VerdictId::LaterPhantom));
    assert!(phantoms.count() > 0);
}

#[test]
fn a_cut_recording_tells_the_beginning_of_the_whole() {
    let bytes = recorded();
    let (header, frames) = whole();
    let truth = connections(&play(&header, frames.clone(), everything()));
    let scratch = Scratch::new("cut");
    let mut rng = Rng::with_seed(SEED);
    let lengths = (0..40).chain((0..80).map(|_| rng.usize(..bytes.len())));
    for length in lengths.chain([bytes.len() - 1]) {
        scratch.write(&bytes[..length]);
        match read(&scratch) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok((_, got, damaged, error)) => {
                let error = error.unwrap_or_else(|| panic!("{length} bytes pass for the whole"));
                assert!(error.to_string().contains("is cut off"), "{length}: {error}");
                assert_eq!((damaged, &got[..]), (0, &frames[..got.len()]), "{length}");
                // As `replay` does where the end is missing.
                assert_consistent_part(&header, got, &truth, &format!("{length} bytes"));
            }
        }
    }
}

#[test]
fn a_damaged_recording_is_noticed_and_tells_no_tales() {
    let bytes = recorded();
    let (header, frames) = whole();
    let truth = connections(&play(&header, frames, everything()));
    let scratch = Scratch::new("damaged");
    let mut rng = Rng::with_seed(SEED);
    let (mut refused, mut cut, mut counted) = (0, 0, 0);
    for round in 0..200 {
        let mut changed = bytes.clone();
        for _ in 0..rng.usize(1..=4) {
            let at = rng.usize(..changed.len());
            changed[at] ^= rng.u8(1..);
        }
        scratch.write(&changed);
        match read(&scratch) {
            Err(_) => refused += 1,
            Ok((_, got, damaged, error)) => {
                assert!(damaged > 0 || error.is_some(), "round {round} went unnoticed");
                cut += usize::from(error.is_some());
                counted += usize::from(damaged > 0);
                assert_consistent_part(&header, got, &truth, &format!("round {round}"));
            }
        }
    }
    assert!(refused > 0 && cut > 0 && counted > 0, "{refused} {cut} {counted}");
}

/// Plays what could be read of a recording that is not whole.
fn assert_consistent_part(
    header: &Header,
    mut frames: Vec<Frame>,
    truth: &BTreeMap<(String, String), Reported>,
    at: &str,
) {
    let loss = Frame::Losses(vec![(Loss::from_id("records missing"), 1)]);
    frames.push(loss);
    assert_consistent(&play(header, frames, everything()), truth, at);
}

/// Frames with valid sums that no kernel ever wrote.
fn made_up(frames: &[Frame], rng: &mut Rng) -> Vec<Frame> {
    let number = |rng: &mut Rng| match rng.u8(..6) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - rng.u64(..1 << 40),
        3 => rng.u64(..200_000_000_000),
        4 => 1 << rng.u32(..64),
        _ => rng.u64(..),
    };
    let event = |rng: &mut Rng| {
        let events =
            frames.iter().filter_map(|f| if let Frame::Event(e) = f { Some(e) } else { None });
        let events: Vec<_> = events.collect();
        let mut event = *events[rng.usize(..events.len())];
        let mut bytes = *event.as_bytes();
        for _ in 0..rng.usize(..12) {
            bytes[rng.usize(..event.as_bytes().len())] = rng.u8(..);
        }
        event = RawEvent::from_bytes(&bytes).unwrap();
        if rng.u8(..4) == 0 {
            event.t_ns = number(rng);
        }
        event
    };
    let length = rng.usize(1..60);
    (0..length)
        .map(|_| match rng.u8(..20) {
            0 => Frame::Tick(number(rng)),
            1 => Frame::Losses(vec![(
                Loss::from_id(&String::from_utf8_lossy(&[rng.u8(..)])),
                number(rng),
            )]),
            2 => Frame::End(number(rng)),
            3 => {
                let sk = event(rng).sk;
                let tally = Tally {
                    len: rng.u32(..),
                    len_max: rng.u32(..),
                    family: rng.u8(..8),
                    full_since_ns: number(rng),
                    full_times: number(rng),
                    full_ns: number(rng),
                    full_longest_ns: number(rng),
                    queued: number(rng),
                    accepted: number(rng),
                    wait_ns: number(rng),
                    waits: [(); Tally::WAITS].map(|()| number(rng)),
                    ..Tally::default()
                };
                let socket = Socket { sk, ino: rng.u32(..), netns: tally.netns };
                let signature = Signature { sk, ino: socket.ino, ..Signature::of(&event(rng)) };
                let counts = vec![(signature, number(rng)), (signature, number(rng))];
                let queues = vec![(socket, tally), (Socket { sk: number(rng), ..socket }, tally)];
                Frame::Aggregates(number(rng), Box::new(Aggregates { counts, queues }))
            }
            _ => Frame::Event(event(rng)),
        })
        .collect()
}

#[test]
fn what_no_kernel_wrote_is_told_without_a_panic() {
    let (mut header, frames) = whole();
    let mut rng = Rng::with_seed(SEED);
    for round in 0..1500 {
        header.symbols = vec![(rng.u64(..), rng.u64(..), "tcp_v4_rcv".to_owned())];
        header.wall_offset_ns = rng.i64(..);
        header.utc_offset_s = rng.i32(..);
        let frames = made_up(&frames, &mut rng);
        let options = Options {
            all: rng.bool(),
            accepts: rng.bool(),
            summary: rng.bool().then(|| rng.u64(1..=86_400)),
            max_events: rng.bool().then(|| rng.u64(1..20)),
            max_events_per_second: rng.bool().then(|| rng.u64(1..5)),
            ..Options::default()
        };
        let shown = shown_by(&header, frames.clone(), options.clone(), |out| {
            Box::new(TraceText::new(out, style::Options::default()))
        });
        assert!(!shown.is_empty() && !shown.contains('\x1b'), "round {round}: {shown}");
        let lines = play(&header, frames, options);
        let last = lines.last().unwrap_or_else(|| panic!("round {round}"));
        assert_eq!(last["type"], "summary", "round {round}");
    }
}

#[test]
fn the_command_says_what_is_wrong_and_fails() {
    let bytes = recorded();
    let scratch = Scratch::new("command");
    let mut rng = Rng::with_seed(SEED);
    let replay = |options: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_overflow"))
            .arg("replay")
            .arg(&scratch.0)
            .args(options)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        // A signal has no code; a panic's is 101.
        (output.status.code(), errors, output.stdout)
    };
    scratch.write(&bytes);
    let (code, errors, whole) = replay(&["--all"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    // Events begin with the time of day.
    let events = |shown: &[u8]| {
        let text = String::from_utf8(shown.to_vec()).unwrap();
        let event = |line: &&str| line.as_bytes().get(2) == Some(&b':');
        text.lines().filter(event).map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = events(&whole);
    for _ in 0..12 {
        let length = rng.usize(..bytes.len());
        scratch.write(&bytes[..length]);
        let (code, errors, shown) = replay(&["--all"]);
        assert_eq!(code, Some(1), "{length} bytes: {errors}");
        // What cannot even be begun is said in one line; a cut is told as a loss, too.
        let lines = errors.lines().count();
        assert!(errors.starts_with("overflow: ") && (lines == 1 || lines == 3), "{errors}");
        assert!(lines == 1 || errors.contains("lost 1 end of the recording"), "{errors}");
        assert!(whole.starts_with(&events(&shown)), "{length} bytes");
    }
    for _ in 0..12 {
        let mut changed = bytes.clone();
        let at = rng.usize(..changed.len());
        changed[at] ^= rng.u8(1..);
        scratch.write(&changed);
        let (code, errors, _) = replay(&["--output", "json"]);
        assert_eq!(code, Some(1), "byte {at}: {errors}");
        assert!(errors.starts_with("overflow: "), "byte {at}: {errors}");
    }
    let (header, frames) = self::whole();
    for round in 0..12 {
        let mut recorder = recordings::create(&scratch.0, Existing::Overwritten, &header).unwrap();
        for frame in made_up(&frames, &mut rng).into_iter().chain([Frame::End(1)]) {
            recorder.write(&frame).unwrap();
        }
        drop(recorder);
        let (code, errors, _) = replay([&["--all"][..], &["--summary", "1"]][round % 2]);
        assert_eq!(code, Some(0), "round {round}: {errors}");
    }
}

/// A file that somebody sent may have any name.
#[test]
fn an_error_shows_the_name_of_a_file_escaped() {
    let name = format!("overflow-{}-\u{1b}[31m\u{7}\u{202e}\n", std::process::id());
    let path = env::temp_dir().join(name);
    fs::write(&path, b"no recording").unwrap();
    for command in ["replay", "pcap"] {
        let output = Command::new(env!("CARGO_BIN_EXE_overflow")).arg(command).arg(&path).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert_eq!(said.lines().count(), 1, "{said:?}");
        assert!(said.contains("\\u001b[31m\\u0007\\u202e\\u000a"), "{said:?}");
        assert!(said.trim_end().chars().all(is_harmless), "{said:?}");
    }
    fs::remove_file(&path).unwrap();
}
