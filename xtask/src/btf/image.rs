//! The BTF inside a kernel image, however that is packed.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    exec,
    tools::{self, GZIP, LZ4, Tool, XZ, ZSTD},
    workspace,
};

/// `BTF_MAGIC` in little-endian order, and `BTF_VERSION` (include/uapi/linux/btf.h).
const MAGIC: &[u8] = &[0x9f, 0xeb, 1];

/// Reads an image: a bzImage of x86, or a plain, gzipped or self-unpacking Image of arm64.
pub fn btf(image: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    if let Some(btf) = find(&bytes) {
        return Ok(btf.to_vec());
    }
    let kernel = unpack(payload(&bytes).context("its header is cut off")?)?;
    let btf = find(&kernel).context("it holds no BTF: it was built without it")?;
    Ok(btf.to_vec())
}

/// The packed kernel: where the header of the image says.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let u32_at = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(4..8)? == b"zimg" {
        // drivers/firmware/efi/libstub/zboot-header.S
        return image.get(u32_at(8)?..)?.get(..u32_at(12)?);
    }
    if image.get(0x202..0x206)? == b"HdrS" {
        // Documentation/arch/x86/boot.rst: setup_sects (4 if it is 0), payload_offset, payload_length.
        let sectors = usize::from(*image.get(0x1f1)?);
        let protected = 512 * (1 + if sectors == 0 { 4 } else { sectors });
        return image.get(protected + u32_at(0x248)?..)?.get(..u32_at(0x24c)?);
    }
    Some(image)
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    let tool = unpacker(packed).context("it is packed in a way that is not known here")?;
    tools::ensure(&[tool])?;
    let dir = workspace::target().join("btf");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = dir.join(format!("packed.{}", std::process::id()));
    fs::write(&file, packed).with_context(|| format!("cannot write {}", file.display()))?;
    // A size follows the packed data, which some of them complain of.
    let unpacked = exec::capture(Command::new(tool.program()).arg("-dc").arg(&file));
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    let unpacked = unpacked?;
    if unpacked.stdout.is_empty() {
        bail!("{} cannot unpack it: {}", tool.program(), exec::complaint(&unpacked.stderr));
    }
    ensure!(unpacked.stdout.len() > packed.len(), "{} unpacked a part only", tool.program());
    Ok(unpacked.stdout)
}

/// By the magic numbers of lib/decompress.c.
fn unpacker(packed: &[u8]) -> Option<Tool> {
    let kinds: [(&[u8], Tool); 4] = [
        (&[0x1f, 0x8b], GZIP),
        (&[0xfd, b'7', b'z', b'X', b'Z'], XZ),
        (&[0x02, 0x21, 0x4c, 0x18], LZ4),
        (&[0x28, 0xb5, 0x2f, 0xfd], ZSTD),
    ];
    kinds.into_iter().find(|(magic, _)| packed.starts_with(magic)).map(|(_, tool)| tool)
}

/// The longest piece that has BTF's form: the kernel's own, beside which there may be small ones.
fn find(bytes: &[u8]) -> Option<&[u8]> {
    let mut best: Option<&[u8]> = None;
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(MAGIC.len()).position(|window| window == MAGIC) {
        let blob = blob(&bytes[from + at..]);
        if let Some(blob) = blob.filter(|blob| best.is_none_or(|best| blob.len() > best.len())) {
            best = Some(blob);
        }
        from += at + 1;
    }
    best
}

/// As long as `struct btf_header` at its beginning says, if what it says can be.
fn blob(bytes: &[u8]) -> Option<&[u8]> {
    let u32_at = |at: usize| {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let header = u32_at(4)?;
    let (types, types_length) = (u32_at(8)?, u32_at(12)?);
    let (strings, strings_length) = (u32_at(16)?, u32_at(20)?);
    let plausible = (24..256).contains(&header)
        && types == 0
        && strings == types_length
        && types_length >= 12
        && strings_length >= 2;
    // The first string is empty.
    let start = header.checked_add(strings)?;
    let blob = bytes.get(..start.checked_add(strings_length)?)?;
    (plausible && blob.get(start) == Some(&0) && blob.last() == Some(&0)).then_some(blob)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(types: u32, strings: u32) -> Vec<u8> {
        let words = [24, 0, types, types, strings].map(u32::to_le_bytes).concat();
        [&[0x9f, 0xeb, 1, 0], &words[..]].concat()
    }

    #[test]
    fn the_longest_blob_is_found_among_others() {
        let small = [header(12, 2), vec![0; 14]].concat();
        let large = [header(24, 3), vec![7; 24], vec![0, 7, 0]].concat();
        let cut = header(1 << 20, 1 << 20);
        let image = [&b"\x7fELF"[..], &small, &cut, &large, b"more"].concat();
        assert_eq!(find(&image), Some(&large[..]));
        assert_eq!(find(b"nothing \x9f\xeb\x01"), None);
    }

    #[test]
    fn payloads_are_where_headers_say() {
        let mut efi = b"MZ\0\0zimg\x10\0\0\0\x04\0\0\0packed".to_vec();
        efi.truncate(20);
        assert_eq!(payload(&efi), Some(&b"pack"[..]));
        let mut bz = vec![0u8; 0x250];
        bz[0x1f1] = 1;
        bz[0x202..0x206].copy_from_slice(b"HdrS");
        bz[0x248] = 4;
        bz[0x24c] = 3;
        bz.resize(1024, 0);
        bz.extend(b"1234abcdef");
        assert_eq!(payload(&bz), Some(&b"abc"[..]));
        assert_eq!(payload(&bz[..0x240]), None);
    }
}
