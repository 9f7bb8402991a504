//! The blocks of a pcapng file, as they come (draft-ietf-opsawg-pcapng).
//!
//! Not pcap-file's reader: in 2.0 it refuses a whole file for a list of options without its end mark, which the
//! format allows, and for what nobody here asks for: a comment that is no UTF-8, a time zone, names of hosts
//! without their end.

use std::io::{self, BufRead, Read};

/// No block with packets or interfaces is longer, bytes; Wireshark takes none that is.
const LONGEST: u32 = 16 << 20;
/// Before a block's body its type and length, behind it the length again.
const AROUND: u32 = 12;
const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Blocks that are being read.
pub(super) struct Blocks<R> {
    input: R,
    big_endian: bool,
    body: Vec<u8>,
}

/// Why no more can be read.
pub(super) enum Failure {
    /// The file ends in the middle of a block.
    Cut,
    /// It has bytes that make no sense.
    Damaged(&'static str),
    /// The system refuses.
    Io(io::Error),
}

/// What is asked of a block.
pub(super) enum Block<'a> {
    /// A section begins: interfaces are counted anew.
    Section,
    /// An interface.
    Interface { link: u16, snaplen: u32, options: Options<'a> },
    /// A packet; its time in the units of its interface.
    Packet { interface: usize, units: u64, wire_len: u32, data: &'a [u8], options: Options<'a> },
    /// A packet of the section's first interface, which may have cut it: what a block has to the end, with padding.
    Simple { wire_len: u32, data: &'a [u8] },
    /// What an interface counted.
    Statistics { interface: usize, options: Options<'a> },
    /// Anything else.
    Other,
}

/// A block's options: code and value.
#[derive(Clone, Copy)]
pub(super) struct Options<'a>(Fields<'a>);

/// Bytes in the byte order of their section.
#[derive(Clone, Copy)]
struct Fields<'a> {
    rest: &'a [u8],
    big_endian: bool,
}

impl<R: BufRead> Blocks<R> {
    /// From the first byte on.
    pub(super) fn new(input: R) -> Self {
        Self { input, big_endian: false, body: Vec::new() }
    }

    /// The next block; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Block<'_>>, Failure> {
        if self.input.fill_buf().map_err(Failure::Io)?.is_empty() {
            return Ok(None);
        }
        let [kind, length, first] = [self.word()?, self.word()?, self.word()?];
        // A section says by its third word in which byte order all of it is.
        if u32::from_be_bytes(kind) == SECTION {
            self.big_endian = match first {
                order if u32::from_be_bytes(order) == BYTE_ORDER => true,
                order if u32::from_le_bytes(order) == BYTE_ORDER => false,
                _ => return Err(Failure::Damaged("a section without its byte order")),
            };
        }
        let big_endian = self.big_endian;
        let number = |bytes| number(bytes, big_endian);
        let (kind, length) = (number(kind), number(length));
        let Some(rest) = length.checked_sub(AROUND) else {
            return Err(Failure::Damaged("a block shorter than its own head"));
        };
        // Some writers do not count the padding.
        let rest = rest.next_multiple_of(4);
        self.body.clear();
        let mut again = first;
        if rest > 0 {
            self.body.extend(first);
            self.take(rest - 4, is_read(kind))?;
            again = self.word()?;
        }
        if number(again) != length {
            return Err(Failure::Damaged("a block whose two lengths differ"));
        }
        if !is_read(kind) {
            return Ok(Some(Block::Other));
        }
        let fields = Fields { rest: &self.body, big_endian };
        fields.block(kind).map(Some).ok_or(Failure::Damaged("a block too short for what it holds"))
    }

    /// Reads so many bytes on; what nobody asks for is not kept.
    fn take(&mut self, length: u32, keep: bool) -> Result<(), Failure> {
        if keep && length > LONGEST {
            return Err(Failure::Damaged("a block of more than 16 MiB"));
        }
        let mut rest = self.input.by_ref().take(length.into());
        let taken = if keep {
            rest.read_to_end(&mut self.body).map(|n| n as u64)
        } else {
            io::copy(&mut rest, &mut io::sink())
        };
        if taken.map_err(Failure::Io)? < length.into() { Err(Failure::Cut) } else { Ok(()) }
    }

    fn word(&mut self) -> Result<[u8; 4], Failure> {
        let mut word = [0; 4];
        match self.input.read_exact(&mut word) {
            Ok(()) => Ok(word),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(Failure::Cut),
            Err(e) => Err(Failure::Io(e)),
        }
    }
}

/// Whether a block of this type is asked for.
fn is_read(kind: u32) -> bool {
    matches!(kind, SECTION | 1 | 2 | 3 | 5 | 6)
}

fn number(bytes: [u8; 4], big_endian: bool) -> u32 {
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

impl<'a> Fields<'a> {
    /// The block of this body; `None` if it is too short.
    fn block(mut self, kind: u32) -> Option<Block<'a>> {
        Some(match kind {
            SECTION => Block::Section,
            1 => {
                let (link, _reserved, snaplen) = (self.u16()?, self.u16()?, self.u32()?);
                Block::Interface { link, snaplen, options: Options(self) }
            }
            3 => Block::Simple { wire_len: self.u32()?, data: self.rest },
            5 => {
                let (interface, _time) = (self.u32()? as usize, self.time()?);
                Block::Statistics { interface, options: Options(self) }
            }
            // 2 is obsolete: after its interface it counts drops.
            2 | 6 => {
                let interface = if kind == 6 {
                    self.u32()? as usize
                } else {
                    let (interface, _drops) = (self.u16()?, self.u16()?);
                    interface.into()
                };
                let units = self.time()?;
                let (captured, wire_len) = (self.u32()? as usize, self.u32()?);
                let data = self.bytes(captured)?;
                Block::Packet { interface, units, wire_len, data, options: Options(self) }
            }
            _ => Block::Other,
        })
    }

    /// So many bytes, and the padding behind them.
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let bytes = self.rest.get(..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..)?;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(if self.big_endian { u16::from_be_bytes(*bytes) } else { u16::from_le_bytes(*bytes) })
    }

    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(number(*bytes, self.big_endian))
    }

    /// The upper half comes first in either byte order.
    fn time(&mut self) -> Option<u64> {
        Some(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }
}

impl<'a> Options<'a> {
    /// The next option; `None` at the end of the list, be it marked or that of the block.
    pub(super) fn next(&mut self) -> Result<Option<(u16, Value<'a>)>, Failure> {
        let Self(fields) = self;
        if fields.rest.is_empty() {
            return Ok(None);
        }
        let mut option = || {
            let (code, length) = (fields.u16()?, fields.u16()?.into());
            let bytes = fields.bytes(length)?;
            Some((code, Value(Fields { rest: bytes, big_endian: fields.big_endian })))
        };
        match option() {
            Some((0, _)) => Ok(None),
            Some(option) => Ok(Some(option)),
            None => Err(Failure::Damaged("an option longer than its block")),
        }
    }
}

/// An option's value; what has not the length of what is asked for is none.
#[derive(Clone, Copy)]
pub(super) struct Value<'a>(Fields<'a>);

impl Value<'_> {
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(self.0.rest).into_owned()
    }

    pub(super) fn u8(self) -> Option<u8> {
        if let [byte] = self.0.rest { Some(*byte) } else { None }
    }

    pub(super) fn u32(mut self) -> Option<u32> {
        self.0.u32().filter(|_| self.0.rest.is_empty())
    }

    pub(super) fn u64(self) -> Option<u64> {
        let bytes = self.0.rest.try_into().ok()?;
        let big_endian = self.0.big_endian;
        Some(if big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests;
