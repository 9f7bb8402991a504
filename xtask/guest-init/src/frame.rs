//! The frames init sends: one byte of kind, four bytes of length (little endian), the payload.
//!
//! One line carries everything, so that the order of output, files and ends of jobs is kept.

use std::io::{self, Read, Write};

/// First bytes on the line; the digit changes with the protocol.
pub const MAGIC: &[u8] = b"overflow-guest 1\n";
/// Longest payload of one frame, bytes; longer output and files come in several.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// One message from the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Init has mounted and loaded everything; `uname -r` of the running kernel.
    Ready(String),
    /// Something init could not do, as a sentence; the jobs run all the same.
    Warning(String),
    /// Bytes of the running job's standard output.
    Stdout(Vec<u8>),
    /// Bytes of the running job's standard error.
    Stderr(Vec<u8>),
    /// A file the running job left in its directory begins; its relative path.
    File(String),
    /// The next bytes of that file.
    FileData(Vec<u8>),
    /// The running job ended with this exit status, 128 + n for signal n as in a shell; 127 if it
    /// could not be started.
    Exit(u8),
    /// All jobs are done; the guest powers off.
    Done,
}

impl Frame {
    /// Writes the frame, splitting what is longer than [`MAX_PAYLOAD`].
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Ready(release) => write_one(to, b'r', release.as_bytes()),
            Self::Warning(text) => write_one(to, b'w', text.as_bytes()),
            Self::Stdout(bytes) => write_split(to, b'o', bytes),
            Self::Stderr(bytes) => write_split(to, b'e', bytes),
            Self::File(name) => write_one(to, b'f', name.as_bytes()),
            Self::FileData(bytes) => write_split(to, b'd', bytes),
            Self::Exit(code) => write_one(to, b'x', &[*code]),
            Self::Done => write_one(to, b'.', &[]),
        }
    }

    /// Reads the next frame; `None` at the end of the line. Fails on anything that is no frame.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut kind = [0];
        if from.read(&mut kind)? == 0 {
            return Ok(None);
        }
        let mut len = [0; 4];
        from.read_exact(&mut len)?;
        let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
        if len > MAX_PAYLOAD {
            return Err(bad(&format!("a frame of {len} bytes")));
        }
        let mut payload = vec![0; len];
        from.read_exact(&mut payload)?;
        let frame = match kind[0] {
            b'r' => Self::Ready(text(payload)?),
            b'w' => Self::Warning(text(payload)?),
            b'o' => Self::Stdout(payload),
            b'e' => Self::Stderr(payload),
            b'f' => Self::File(text(payload)?),
            b'd' => Self::FileData(payload),
            b'x' => Self::Exit(*payload.first().ok_or_else(|| bad("an exit without status"))?),
            b'.' => Self::Done,
            other => return Err(bad(&format!("a frame of unknown kind {other:#04x}"))),
        };
        Ok(Some(frame))
    }
}

fn write_split(to: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(MAX_PAYLOAD).try_for_each(|chunk| write_one(to, kind, chunk))
}

fn write_one(to: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    let payload = &payload[..payload.len().min(MAX_PAYLOAD)];
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    to.write_all(&[kind])?;
    to.write_all(&len.to_le_bytes())?;
    to.write_all(payload)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| bad("text that is not UTF-8"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the guest sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(frames: &[Frame]) -> Vec<Frame> {
        let mut line = Vec::new();
        for frame in frames {
            frame.write(&mut line).unwrap();
        }
        let mut line = line.as_slice();
        std::iter::from_fn(|| Frame::read(&mut line).unwrap()).collect()
    }

    #[test]
    fn frames_come_back_as_sent() {
        let frames = [
            Frame::Ready("6.1.0".into()),
            Frame::Warning("no bpffs".into()),
            Frame::Stdout(b"a\nb\r\n\0".to_vec()),
            Frame::Stderr(vec![0xff; 3]),
            Frame::File("a/b.pcapng".into()),
            Frame::FileData(vec![1, 2, 3]),
            Frame::Exit(130),
            Frame::Done,
        ];
        assert_eq!(round_trip(&frames), frames);
    }

    #[test]
    fn long_output_is_split_and_nothing_is_lost() {
        let long: Vec<u8> = (0..=255).cycle().take(2 * MAX_PAYLOAD + 5).collect();
        let back = round_trip(&[Frame::Stdout(long.clone())]);
        assert_eq!(back.len(), 3);
        let joined: Vec<u8> = back
            .into_iter()
            .flat_map(|f| match f {
                Frame::Stdout(bytes) => bytes,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(joined, long);
    }

    #[test]
    fn noise_and_cut_frames_are_errors() {
        assert!(Frame::read(&mut b"[    0.0] Linux".as_slice()).is_err());
        assert!(Frame::read(&mut b"o\x05\0\0\0ab".as_slice()).is_err());
        assert!(Frame::read(&mut b"z\0\0\0\0".as_slice()).is_err());
        assert_eq!(Frame::read(&mut b"".as_slice()).unwrap(), None);
    }
}
