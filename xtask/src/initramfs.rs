//! Writes an initramfs: a cpio archive in the "newc" format of the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const REGULAR: u32 = 0o100_644;
const SYMLINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive being written.
pub struct Initramfs<W: Write = BufWriter<File>> {
    to: W,
    inodes: u32,
}

impl Initramfs {
    /// Begins an archive in a file.
    pub fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { to: BufWriter::new(file), inodes: 0 })
    }
}

impl<W: Write> Initramfs<W> {
    /// A directory; parents come first.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY, &[], (0, 0))
    }

    /// A program.
    pub fn executable(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.entry(name, EXECUTABLE, bytes, (0, 0))
    }

    /// A plain file.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.entry(name, REGULAR, bytes, (0, 0))
    }

    /// A symbolic link.
    pub fn symlink(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.entry(name, SYMLINK, to.as_bytes(), (0, 0))
    }

    /// `/dev/console`, without which process 1 starts with no standard error.
    pub fn console(&mut self) -> io::Result<()> {
        self.entry("dev/console", CHARACTER_DEVICE, &[], (5, 1))
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[], (0, 0))?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn entry(&mut self, name: &str, mode: u32, bytes: &[u8], rdev: (u32, u32)) -> io::Result<()> {
        self.inodes += 1;
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor,
        // namesize, check
        let fields = [self.inodes, mode, 0, 0, 1, 0, size, 0, 0, rdev.0, rdev.1, name_size, 0];
        self.to.write_all(b"070701")?;
        for field in fields {
            write!(self.to, "{field:08x}")?;
        }
        self.to.write_all(name.as_bytes())?;
        self.to.write_all(&[0])?;
        // The header has 110 bytes; name and data are each padded to four.
        self.pad(110 + name.len() + 1)?;
        self.to.write_all(bytes)?;
        self.pad(bytes.len())
    }

    fn pad(&mut self, len: usize) -> io::Result<()> {
        self.to.write_all(&[0; 3][..len.wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_and_end_with_the_trailer() {
        let mut archive = Initramfs { to: Vec::new(), inodes: 0 };
        archive.directory("bin").unwrap();
        archive.file("bin/a", b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let name_at = |at: usize, name: &[u8]| {
            assert_eq!(&bytes[at..at + 6], b"070701");
            assert_eq!(&bytes[at + 110..at + 110 + name.len()], name);
        };
        name_at(0, b"bin\0");
        name_at(116, b"bin/a\0");
        assert_eq!(&bytes[116 + 54..116 + 62], b"00000005");
        assert_eq!(&bytes[116 + 116..116 + 121], b"hello");
        name_at(116 + 116 + 8, b"TRAILER!!!\0");
        assert_eq!(bytes.len() % 4, 0);
    }
}
