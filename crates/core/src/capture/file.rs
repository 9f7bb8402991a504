//! Capture files, pcap and pcapng, read as they come: from a file, or from a pipe without end.

use std::io::{self, BufReader, Cursor, Read};

use pcap_file::{PcapError, pcap::PcapReader};
use thiserror::Error;

use super::{
    Segment, headers,
    link::{Direction, Link},
    pcapng::{Block, Blocks, Failure, Options},
};

/// More interfaces than any capture has; a damaged one may claim them.
const MOST_INTERFACES: usize = 65_536;
/// How much of a pcapng is read at once, bytes.
const BUFFER: usize = 1 << 18;
/// What pcapng and both byte orders of both resolutions of pcap begin with.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const PCAP: [u32; 2] = [0xa1b2_c3d4, 0xa1b2_3c4d];
/// What gzip, zstd, xz, and LZ4 begin with.
const COMPRESSED: [&[u8]; 4] =
    [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7', b'z', b'X'], &[4, 0x22, 0x4d, 0x18]];

/// Why a capture cannot be read, or not further.
#[derive(Debug, Error)]
pub enum FileError {
    /// Neither pcap nor pcapng.
    #[error("it is neither pcap nor pcapng")]
    NotACapture,
    /// It has to be unpacked first.
    #[error("it is compressed: unpack it on the way, as in `zcat FILE | overflow pcap -`")]
    Compressed,
    /// The system refuses.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// It ends in the middle of a packet.
    #[error("it is cut off after {0} packets")]
    Cut(u64),
    /// It has bytes that make no sense.
    #[error("it is damaged after {packets} packets: {why}")]
    Damaged {
        /// Packets read before.
        packets: u64,
        /// What is wrong, in a few words.
        why: String,
    },
}

/// An interface of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, where the file has one.
    pub name: Option<String>,
    /// The number of its link type.
    pub link: u32,
    /// `if_tsresol`: as in the file.
    resolution: u8,
    /// `if_tsoffset`, seconds.
    offset_s: i64,
    /// How many bytes of a packet it captures, at most; 0 for all.
    snaplen: u32,
}

/// A packet of a capture, from its link-layer header on.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// From 1, as Wireshark counts.
    pub number: u64,
    /// Its interface, from 0, over all sections of the file.
    pub interface: u32,
    /// When it was captured, nanoseconds since 1970.
    pub t_ns: u64,
    /// The number of its link type.
    pub link: u32,
    /// What was captured of it.
    pub data: &'a [u8],
    /// How long it was, bytes.
    pub wire_len: u32,
    /// Which way it went, where the file says so.
    pub direction: Option<Direction>,
    /// The comments that it has already, a line each.
    pub comment: &'a str,
}

/// A capture that is being read.
pub struct Reader<R: Read> {
    format: Format<R>,
    interfaces: Vec<Interface>,
    /// Of [`Self::interfaces`], where those of the current section begin.
    section: usize,
    packet: Packet,
    data: Vec<u8>,
    comment: String,
    /// Packets that each of [`Self::interfaces`] says it dropped: of none that the file does not have.
    drops: Vec<u64>,
}

enum Format<R: Read> {
    Pcap { reader: PcapReader<Input<R>>, nanoseconds: bool },
    PcapNg(Blocks<BufReader<Input<R>>>),
}

type Input<R> = io::Chain<Cursor<Vec<u8>>, Patient<R>>;

/// Reads on where a signal interrupted.
struct Patient<R>(R);

/// What is known of the packet in [`Reader::data`].
#[derive(Clone, Copy, Default)]
struct Packet {
    number: u64,
    interface: usize,
    t_ns: u64,
    wire_len: u32,
    direction: Option<Direction>,
}

impl<R: Read> Reader<R> {
    /// Reads the head of a capture.
    pub fn new(input: R) -> Result<Self, FileError> {
        let mut input = Patient(input);
        let mut magic = Vec::new();
        input.by_ref().take(4).read_to_end(&mut magic).map_err(FileError::Io)?;
        if COMPRESSED.iter().any(|begins| magic.starts_with(begins)) {
            return Err(FileError::Compressed);
        }
        let head: [u8; 4] = magic.as_slice().try_into().map_err(|_| FileError::NotACapture)?;
        let number = u32::from_be_bytes(head);
        let input = Cursor::new(magic).chain(input);
        let mut interfaces = Vec::new();
        let format = if head == PCAPNG {
            Format::PcapNg(Blocks::new(BufReader::with_capacity(BUFFER, input)))
        } else if PCAP.iter().any(|magic| [*magic, magic.swap_bytes()].contains(&number)) {
            let reader = PcapReader::new(input).map_err(|e| failure(e, 0))?;
            let header = reader.header();
            // The upper half says how long the frame check sequence is.
            let link = u32::from(header.datalink) & 0xffff;
            interfaces.push(Interface { name: None, link, resolution: 9, offset_s: 0, snaplen: 0 });
            let nanoseconds = header.ts_resolution == pcap_file::TsResolution::NanoSecond;
            Format::Pcap { reader, nanoseconds }
        } else {
            return Err(FileError::NotACapture);
        };
        let mut reader = Self {
            format,
            interfaces,
            section: 0,
            packet: Packet::default(),
            data: Vec::new(),
            comment: String::new(),
            drops: Vec::new(),
        };
        reader.block(0)?;
        Ok(reader)
    }

    /// The next packet; `None` at the end.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FileError> {
        if !self.read()? {
            return Ok(None);
        }
        self.packet.number += 1;
        let Packet { number, interface, t_ns, wire_len, direction } = self.packet;
        let link = self.interfaces.get(interface).map_or(u32::MAX, |i| i.link);
        let interface = u32::try_from(interface).unwrap_or(u32::MAX);
        let (data, comment) = (&self.data[..], self.comment.as_str());
        Ok(Some(Frame { number, interface, t_ns, link, data, wire_len, direction, comment }))
    }

    /// The interfaces so far.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// How many packets the capture says it lost, so far.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    fn read(&mut self) -> Result<bool, FileError> {
        let so_far = self.packet.number;
        self.comment.clear();
        match &mut self.format {
            Format::Pcap { reader, nanoseconds } => {
                let Some(packet) = reader.next_raw_packet() else { return Ok(false) };
                let packet = packet.map_err(|e| failure(e, so_far))?;
                let fraction = u64::from(packet.ts_frac) * if *nanoseconds { 1 } else { 1000 };
                self.packet.t_ns = u64::from(packet.ts_sec) * 1_000_000_000 + fraction;
                self.packet.wire_len = packet.orig_len;
                self.data.clear();
                self.data.extend_from_slice(&packet.data);
                Ok(true)
            }
            Format::PcapNg(_) => loop {
                match self.block(so_far)? {
                    None => return Ok(false),
                    Some(true) => return Ok(true),
                    Some(false) => {}
                }
            },
        }
    }

    /// Reads a block; whether it was a packet, `None` at the end.
    fn block(&mut self, so_far: u64) -> Result<Option<bool>, FileError> {
        let Format::PcapNg(blocks) = &mut self.format else { return Ok(None) };
        let failed = |failure| failed(failure, so_far);
        let Some(block) = blocks.next().map_err(failed)? else { return Ok(None) };
        let packet = &mut self.packet;
        match block {
            Block::Section => self.section = self.interfaces.len(),
            Block::Interface { link, snaplen, options } => {
                if self.interfaces.len() == MOST_INTERFACES {
                    let why = format!("it has more than {MOST_INTERFACES} interfaces");
                    return Err(FileError::Damaged { packets: so_far, why });
                }
                self.interfaces.push(Interface::of(link, snaplen, options).map_err(failed)?);
                self.drops.push(0);
            }
            Block::Packet { interface, units, wire_len, data, mut options } => {
                packet.interface = self.section + interface;
                packet.t_ns = self.interfaces.get(packet.interface).map_or(0, |i| i.ns(units));
                packet.wire_len = wire_len;
                packet.direction = None;
                while let Some((code, value)) = options.next().map_err(failed)? {
                    match code {
                        COMMENT => {
                            if !self.comment.is_empty() {
                                self.comment.push('\n');
                            }
                            self.comment.push_str(&value.text());
                        }
                        EPB_FLAGS => packet.direction = value.u32().and_then(way),
                        EPB_DROPCOUNT => {
                            if let Some(drops) = self.drops.get_mut(packet.interface) {
                                *drops = drops.saturating_add(value.u64().unwrap_or(0));
                            }
                        }
                        _ => {}
                    }
                }
                self.data.clear();
                self.data.extend_from_slice(data);
                return Ok(Some(true));
            }
            // It has no time of its own.
            Block::Simple { wire_len, data } => {
                packet.interface = self.section;
                packet.wire_len = wire_len;
                packet.direction = None;
                let snaplen = self.interfaces.get(self.section).map_or(0, |i| i.snaplen);
                let captured = if snaplen == 0 { wire_len } else { wire_len.min(snaplen) };
                self.data.clear();
                self.data.extend_from_slice(&data[..data.len().min(captured as usize)]);
                return Ok(Some(true));
            }
            Block::Statistics { interface, mut options } => {
                let mut most = 0;
                while let Some((code, value)) = options.next().map_err(failed)? {
                    if matches!(code, ISB_IFDROP | ISB_OSDROP) {
                        most = most.max(value.u64().unwrap_or(0));
                    }
                }
                if let Some(drops) = self.drops.get_mut(self.section + interface) {
                    *drops = most.max(*drops);
                }
            }
            Block::Other => {}
        }
        Ok(Some(false))
    }
}

/// Codes of options.
const COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;
const ISB_IFDROP: u16 = 5;
const ISB_OSDROP: u16 = 7;

impl Interface {
    fn of(link: u16, snaplen: u32, mut options: Options<'_>) -> Result<Self, Failure> {
        let mut interface =
            Self { name: None, link: link.into(), resolution: 6, offset_s: 0, snaplen };
        while let Some((code, value)) = options.next()? {
            match code {
                IF_NAME => interface.name = Some(value.text()),
                IF_TSRESOL => interface.resolution = value.u8().unwrap_or(6),
                IF_TSOFFSET => interface.offset_s = value.u64().map_or(0, u64::cast_signed),
                _ => {}
            }
        }
        Ok(interface)
    }

    /// A time of the file as nanoseconds.
    fn ns(&self, units: u64) -> u64 {
        const NS: u128 = 1_000_000_000;
        let exponent = u32::from(self.resolution & 0x7f);
        let ns = if self.resolution & 0x80 == 0 {
            10_u128.checked_pow(exponent).map_or(0, |per_s| u128::from(units) * NS / per_s)
        } else {
            (u128::from(units) * NS) >> exponent
        };
        // Either way it is far from the end of the type: 64 bits of units, of seconds at most.
        let offset = u128::from(self.offset_s.unsigned_abs()) * NS;
        let ns = if self.offset_s < 0 { ns.saturating_sub(offset) } else { ns + offset };
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

impl Frame<'_> {
    /// Its TCP segment; `None` if it is something else, of another link type than those that are
    /// read, or cut before the end of the TCP header's flags.
    pub fn segment(&self) -> Option<Segment> {
        let network = Link::of(self.link)?.network(self.data)?;
        let before = network.ip.as_ptr().addr() - self.data.as_ptr().addr();
        let wire_len = (self.wire_len as usize).saturating_sub(before);
        let headers = headers::tcp_segment(self.t_ns, network.ip, wire_len)?;
        Some(Segment {
            packet: headers.packet,
            number: self.number,
            interface: self.interface,
            device: network.ifindex.unwrap_or(0),
            direction: network.direction.or(self.direction),
            ttl: headers.ttl,
            ip_id: headers.ip_id,
        })
    }
}

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// The direction in `epb_flags`.
fn way(flags: u32) -> Option<Direction> {
    match flags & 3 {
        1 => Some(Direction::In),
        2 => Some(Direction::Out),
        _ => None,
    }
}

fn failed(failure: Failure, packets: u64) -> FileError {
    match failure {
        Failure::Cut => FileError::Cut(packets),
        Failure::Damaged(why) => FileError::Damaged { packets, why: why.to_owned() },
        Failure::Io(error) => FileError::Io(error),
    }
}

fn failure(error: PcapError, packets: u64) -> FileError {
    match error {
        PcapError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            FileError::Cut(packets)
        }
        PcapError::IoError(e) => FileError::Io(e),
        PcapError::IncompleteBuffer => FileError::Cut(packets),
        PcapError::InvalidField(_)
        | PcapError::Utf8Error(_)
        | PcapError::FromUtf8Error(_)
        | PcapError::InvalidInterfaceId(_) => {
            FileError::Damaged { packets, why: error.to_string().to_lowercase() }
        }
    }
}
