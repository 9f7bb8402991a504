//! Recordings: the ring's records as they came, with all that decoding them needs, so that a
//! replay goes through the same pipeline as live tracing did.
//!
//! A file is a preamble and frames. The preamble is the magic, the format's version and the size
//! of an event; a frame is its kind, the length of its payload, the payload and a CRC-32 over all
//! three. Events keep the recording machine's byte order, which the preamble gives.

mod header;

use std::{
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use overflow_common::RawEvent;
use thiserror::Error;

use crate::{
    aggregates::Aggregates,
    audit::Look,
    cause::Evidence,
    listeners::{Inventory, Listener},
    loss::Loss,
};

pub use header::Header;

const MAGIC: &[u8; 8] = b"overflow";
/// The format's version; a reader refuses later ones.
const VERSION: u16 = 1;
/// Told apart by a reader of the other byte order.
const BYTE_ORDER: u32 = 0x0102_0304;
/// No payload is longer: a length beyond it is damage.
const MAX_PAYLOAD: u32 = 64 << 20;
/// An inventory that takes more bytes is written in parts.
const PART: usize = 8 << 20;
/// Most frames are events; the file is written and read in pieces of this many bytes, which stay in
/// the processor's cache until they are done with.
const BUFFER: usize = 64 << 10;

/// Events that are handed out at once.
const AT_ONCE: usize = 32;

/// One thing that happened, in the order in which the pipeline took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A ring record.
    Event(RawEvent),
    /// The listeners as they are from here on.
    Inventory(Box<Inventory>),
    /// A listener that no look found, or none with its owner, as it was when somebody called
    /// `listen()`. Recordings of versions that did not note that have none.
    Opened(Box<Listener>),
    /// What was counted in the kernel, at this time: CLOCK_MONOTONIC nanoseconds.
    Aggregates(u64, Box<Aggregates>),
    /// What was lost so far, by cause.
    Losses(Vec<(Loss, u64)>),
    /// The kernel's counters, after everything that they count was told. Recordings of versions
    /// that did not audit have none.
    Look(Box<Look>),
    /// What a look at the holders of a full listener showed. Recordings without `--why` have none.
    Evidence(Box<Evidence>),
    /// A second went by: CLOCK_MONOTONIC nanoseconds.
    Tick(u64),
    /// Nothing was kept from this time, CLOCK_MONOTONIC nanoseconds, to that of the next frame
    /// (`--flight`).
    Gap(u64),
    /// Tracing ended: CLOCK_MONOTONIC nanoseconds.
    End(u64),
}

/// Why a recording cannot be read, or not to its end.
#[derive(Debug, Error)]
pub enum RecordError {
    /// It cannot be opened or read.
    #[error("cannot read the recording {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else.
    #[error("{0} is not a recording of `overflow trace --record`")]
    NotARecording(PathBuf),
    /// Written by a later version, or by another build.
    #[error(
        "{path} is a recording in format {found}, and this program reads format {VERSION} with \
         events of {} bytes; replay it with the version that recorded it", size_of::<RawEvent>()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The file ends inside a frame, or before its end was recorded.
    #[error(
        "the recording {path} is cut off after {frames} frames: the recorder was killed, or the \
         disk was full; everything that it had shown is in it"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Whole frames before.
        frames: u64,
    },
    /// A frame's length makes no sense, so nothing after it can be found.
    #[error("the recording {path} is damaged at byte {at}; what comes after cannot be read")]
    Lost {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
}

/// Writes a recording.
pub struct Recorder<W: Write> {
    out: BufWriter<W>,
    /// Bytes of frames.
    written: u64,
}

impl<W: Write> Recorder<W> {
    /// Starts a recording. It holds kernel addresses and the addresses of clients: a file should be
    /// its owner's only.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(BUFFER, out);
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let size = u16::try_from(size_of::<RawEvent>()).map_err(io::Error::other)?;
        out.write_all(&size.to_le_bytes())?;
        out.write_all(&BYTE_ORDER.to_ne_bytes())?;
        let mut recorder = Self { out, written: 0 };
        recorder.put(b'H', &serde_json::to_vec(header)?)?;
        Ok(recorder)
    }

    /// Adds a frame.
    pub fn write(&mut self, frame: &Frame) -> io::Result<()> {
        match frame {
            Frame::Event(event) => self.put(b'E', event.as_bytes()),
            Frame::Inventory(inventory) => self.inventory(inventory),
            Frame::Opened(listener) => self.put(b'O', &serde_json::to_vec(listener)?),
            Frame::Aggregates(t_ns, aggregates) => {
                self.put(b'A', &serde_json::to_vec(&(t_ns, aggregates))?)
            }
            Frame::Losses(losses) => self.put(b'L', &serde_json::to_vec(losses)?),
            Frame::Look(look) => self.put(b'C', &serde_json::to_vec(look)?),
            Frame::Evidence(evidence) => self.put(b'W', &serde_json::to_vec(evidence)?),
            Frame::Tick(t_ns) => self.put(b'T', &t_ns.to_le_bytes()),
            Frame::Gap(t_ns) => self.put(b'G', &t_ns.to_le_bytes()),
            Frame::End(t_ns) => {
                self.put(b'X', &t_ns.to_le_bytes())?;
                self.out.flush()
            }
        }
    }

    /// All parts but the last are frames of their own, which only prepare for it.
    fn inventory(&mut self, inventory: &Inventory) -> io::Result<()> {
        let mut last = None;
        inventory.parts(PART, |part| match last.replace(part) {
            Some(earlier) => self.put(b'P', &earlier),
            None => Ok(()),
        })?;
        self.put(b'I', &last.unwrap_or_default())
    }

    /// Hands what was added to what it is written to.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// How long it is by now, bytes, but for its first few.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What it is written to.
    pub fn get_ref(&self) -> &W {
        self.out.get_ref()
    }

    fn put(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let head = frame_head(kind, len);
        self.written += (head.len() + payload.len() + size_of::<u32>()) as u64;
        self.out.write_all(&head)?;
        self.out.write_all(payload)?;
        self.out.write_all(&crc(head, payload).to_le_bytes())
    }
}

const fn frame_head(kind: u8, len: u32) -> [u8; 5] {
    let [a, b, c, d] = len.to_le_bytes();
    [kind, a, b, c, d]
}

/// An event's frame: its head, and where its sum is.
const EVENT: [u8; 5] = frame_head(b'E', size_of_event());
const SUM: usize = EVENT.len() + size_of::<RawEvent>();

const fn size_of_event() -> u32 {
    assert!(size_of::<RawEvent>() <= MAX_PAYLOAD as usize);
    #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
    let size = size_of::<RawEvent>() as u32;
    size
}

fn crc(head: [u8; 5], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads a recording.
pub struct Recording<R> {
    path: PathBuf,
    input: BufReader<R>,
    header: Header,
    payload: Vec<u8>,
    /// The parts of an inventory whose last one is to come.
    parts: Inventory,
    at: u64,
    frames: u64,
    damaged: u64,
    ended: bool,
}

impl<R: Read> Recording<R> {
    /// Reads the header of a recording; errors name it by `path`.
    pub fn read(path: &Path, input: R) -> Result<Self, RecordError> {
        let mut recording = Self {
            path: path.to_owned(),
            input: BufReader::with_capacity(BUFFER, input),
            header: Header::default(),
            payload: Vec::new(),
            parts: Inventory::default(),
            at: 0,
            frames: 0,
            damaged: 0,
            ended: false,
        };
        recording.preamble()?;
        match recording.frame()? {
            Some(b'H') => {
                let header: Header = serde_json::from_slice(&recording.payload)
                    .map_err(|_| RecordError::NotARecording(path.to_owned()))?;
                recording.header = header.escaped();
                recording.frames = 0;
                Ok(recording)
            }
            _ => Err(RecordError::NotARecording(path.to_owned())),
        }
    }

    /// What the recording machine was.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Frames that were damaged and left out.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The next frame; `None` after the end was recorded. Damaged frames are counted and left out.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, RecordError> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let Some(kind) = self.frame()? else {
                self.damage();
                continue;
            };
            match self.decode(kind) {
                Some(Decoded::Part) => {}
                Some(Decoded::Frame(frame)) => {
                    self.ended = matches!(frame, Frame::End(_));
                    return Ok(Some(frame));
                }
                None => self.damage(),
            }
        }
    }

    /// The next frames as long as they are sound events that have been read already, as most are:
    /// quicker than [`Self::next_frame`], which is to be asked if there are none.
    pub fn next_events(&mut self, events: &mut Vec<RawEvent>) -> bool {
        events.clear();
        if self.ended {
            return false;
        }
        let buffer = self.input.buffer();
        for frame in buffer.chunks_exact(SUM + 4).take(AT_ONCE) {
            let (summed, sum) = frame.split_at(SUM);
            if summed[..EVENT.len()] != EVENT || crc32fast::hash(summed).to_le_bytes() != *sum {
                break;
            }
            events.extend(RawEvent::from_bytes(&summed[EVENT.len()..]));
        }
        let read = events.len() * (SUM + 4);
        self.input.consume(read);
        self.at += read as u64;
        self.frames += events.len() as u64;
        !events.is_empty()
    }

    /// Counts a frame that is damaged; if it was a part, the others are of no use.
    fn damage(&mut self) {
        self.damaged += 1;
        self.parts = Inventory::default();
    }

    fn decode(&mut self, kind: u8) -> Option<Decoded> {
        if !matches!(kind, b'P' | b'I') {
            return decode(kind, &self.payload).map(Decoded::Frame);
        }
        self.parts.join(serde_json::from_slice(&self.payload).ok()?);
        if kind == b'P' {
            return Some(Decoded::Part);
        }
        let whole = std::mem::take(&mut self.parts).escaped().indexed();
        Some(Decoded::Frame(Frame::Inventory(Box::new(whole))))
    }

    fn preamble(&mut self) -> Result<(), RecordError> {
        let mut bytes = [0; 16];
        if let Err(source) = self.input.read_exact(&mut bytes) {
            return Err(if source.kind() == io::ErrorKind::UnexpectedEof {
                RecordError::NotARecording(self.path.clone())
            } else {
                RecordError::Io { path: self.path.clone(), source }
            });
        }
        self.at = 16;
        let [m @ .., v0, v1, s0, s1, o0, o1, o2, o3] = bytes;
        if m != *MAGIC {
            return Err(RecordError::NotARecording(self.path.clone()));
        }
        let version = u16::from_le_bytes([v0, v1]);
        let size = u16::from_le_bytes([s0, s1]);
        let order = u32::from_ne_bytes([o0, o1, o2, o3]);
        if (version, usize::from(size), order) == (VERSION, size_of::<RawEvent>(), BYTE_ORDER) {
            return Ok(());
        }
        let other = if order == BYTE_ORDER { "" } else { " in the other byte order" };
        let found = format!("{version} with events of {size} bytes{other}");
        Err(RecordError::Format { path: self.path.clone(), found })
    }

    /// Reads one frame into `payload`: its kind, or `None` if its sum is wrong.
    fn frame(&mut self) -> Result<Option<u8>, RecordError> {
        let start = self.at;
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let [kind, len @ ..] = head;
        let len = u32::from_le_bytes(len);
        if len > MAX_PAYLOAD {
            return Err(RecordError::Lost { path: self.path.clone(), at: start });
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(len as usize, 0);
        self.fill(&mut payload)?;
        self.payload = payload;
        let mut sum = [0; 4];
        self.fill(&mut sum)?;
        if crc(head, &self.payload) != u32::from_le_bytes(sum) {
            return Ok(None);
        }
        self.frames += 1;
        Ok(Some(kind))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RecordError> {
        self.at += bytes.len() as u64;
        self.input.read_exact(bytes).map_err(|source| {
            let path = self.path.clone();
            if source.kind() == io::ErrorKind::UnexpectedEof {
                RecordError::Truncated { path, frames: self.frames }
            } else {
                RecordError::Io { path, source }
            }
        })
    }
}

/// What a frame of the file is.
enum Decoded {
    Frame(Frame),
    /// A part of an inventory, which is to be joined by others.
    Part,
}

fn decode(kind: u8, payload: &[u8]) -> Option<Frame> {
    let number = || Some(u64::from_le_bytes(payload.try_into().ok()?));
    Some(match kind {
        b'E' => Frame::Event(RawEvent::from_bytes(payload)?),
        b'O' => Frame::Opened(serde_json::from_slice(payload).ok()?),
        b'A' => {
            let (t_ns, aggregates) = serde_json::from_slice(payload).ok()?;
            Frame::Aggregates(t_ns, aggregates)
        }
        b'L' => Frame::Losses(serde_json::from_slice(payload).ok()?),
        b'C' => Frame::Look(serde_json::from_slice(payload).ok()?),
        b'W' => Frame::Evidence(serde_json::from_slice(payload).ok()?),
        b'T' => Frame::Tick(number()?),
        b'G' => Frame::Gap(number()?),
        b'X' => Frame::End(number()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
