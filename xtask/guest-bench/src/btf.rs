//! As much of the kernel's BTF as attaching by hand needs: ids of functions and tracepoints, one
//! offset, one argument's place.

use std::{collections::HashMap, fs};

use anyhow::{Context as _, Result, ensure};

const PTR: u32 = 2;
const STRUCT: u32 = 4;
const TYPEDEF: u32 = 8;
const CONST: u32 = 10;
const FUNC: u32 = 12;

/// The types of a kernel.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Byte offset of each type's common part.
    types: Vec<usize>,
    /// Functions, structures and the typedefs of tracepoints by kind and name.
    ids: HashMap<(u32, String), u32>,
}

impl Btf {
    /// That of the running kernel.
    pub fn of_this_kernel() -> Result<Self> {
        let path = "/sys/kernel/btf/vmlinux";
        Self::parse(fs::read(path).with_context(|| format!("cannot read {path}"))?)
    }

    fn parse(data: Vec<u8>) -> Result<Self> {
        ensure!(data.starts_with(&[0x9f, 0xeb]), "the kernel's BTF lacks its magic number");
        let mut btf = Self { data, strings: 0, types: vec![0], ids: HashMap::new() };
        let header = btf.u32(4)?;
        let (mut at, length) = (header + btf.u32(8)?, btf.u32(12)?);
        btf.strings = header + btf.u32(16)?;
        let end = at + length;
        while at < end {
            let id = u32::try_from(btf.types.len())?;
            btf.types.push(at);
            let (kind, vlen) = btf.kind(at)?;
            if matches!(kind, STRUCT | TYPEDEF | FUNC) {
                let name = btf.string(btf.u32(at)?)?.to_owned();
                btf.ids.entry((kind, name)).or_insert(id);
            }
            at += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    4 | 5 | 15 | 19 => 12 * vlen,
                    6 | 13 => 8 * vlen,
                    _ => 0,
                };
        }
        Ok(btf)
    }

    /// The type to attach to: a function, or a tracepoint as `btf_trace_NAME`.
    pub fn id(&self, name: &str) -> Option<u32> {
        let kind = if name.starts_with("btf_trace_") { TYPEDEF } else { FUNC };
        self.ids.get(&(kind, name.to_owned())).copied()
    }

    /// The name of a type.
    pub fn name(&self, id: u32) -> Option<String> {
        let at = *self.types.get(id as usize)?;
        self.string(self.u32(at).ok()?).ok().map(str::to_owned)
    }

    /// Byte offset of a member that lies in the structure itself.
    pub fn offset(&self, structure: &str, member: &str) -> Option<u16> {
        let id = *self.ids.get(&(STRUCT, structure.to_owned()))?;
        let at = self.types[id as usize];
        let (_, vlen) = self.kind(at).ok()?;
        let members = (0..vlen).map(|i| at + 12 + 12 * i);
        let mut named = members.filter(|&m| self.named(m, member));
        // With bitfields in the structure, the width is in the upper byte.
        let bits = self.u32(named.next()? + 8).ok()? & 0x00ff_ffff;
        u16::try_from(bits / 8).ok()
    }

    /// Which of a function's arguments is the first pointer to this structure.
    pub fn argument(&self, function: &str, structure: &str) -> Option<u16> {
        let at = self.types[self.id(function)? as usize];
        let prototype = self.types[self.u32(at + 8).ok()?];
        let (_, count) = self.kind(prototype).ok()?;
        let points_to = |argument: usize| -> Option<bool> {
            let kind = self.u32(prototype + 12 + 8 * argument + 4).ok()?;
            let pointer = self.types[kind];
            if self.kind(pointer).ok()?.0 != PTR {
                return Some(false);
            }
            let mut to = self.types[self.u32(pointer + 8).ok()?];
            if self.kind(to).ok()?.0 == CONST {
                to = self.types[self.u32(to + 8).ok()?];
            }
            Some(self.kind(to).ok()?.0 == STRUCT && self.named(to, structure))
        };
        let found = (0..count).find(|&argument| points_to(argument) == Some(true))?;
        u16::try_from(found).ok()
    }

    fn named(&self, at: usize, name: &str) -> bool {
        self.u32(at).and_then(|offset| self.string(offset)).is_ok_and(|found| found == name)
    }

    /// Kind and number of members.
    fn kind(&self, at: usize) -> Result<(u32, usize)> {
        let info = u32::try_from(self.u32(at + 4)?)?;
        Ok((info >> 24 & 0x1f, (info & 0xffff) as usize))
    }

    fn u32(&self, at: usize) -> Result<usize> {
        let bytes = self.data.get(at..at + 4).context("the kernel's BTF is cut off")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    }

    fn string(&self, offset: usize) -> Result<&str> {
        let rest = self.data.get(self.strings + offset..).context("a name outside the BTF")?;
        let end = rest.iter().position(|&b| b == 0).context("a name without end in the BTF")?;
        Ok(std::str::from_utf8(&rest[..end])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct sock { int a; int b; }` and `void f(int, struct sock *)`.
    fn blob() -> Vec<u8> {
        let strings = b"\0sock\0a\0b\0f\0int\0";
        let info = |kind: u32, vlen: u32| kind << 24 | vlen;
        let types: &[u32] = &[
            12,
            info(1, 0),
            4,
            32, // 1: int
            1,
            info(STRUCT, 2),
            8,
            6,
            1,
            0,
            8,
            1,
            32, // 2: struct sock
            0,
            info(PTR, 0),
            2, // 3: struct sock *
            0,
            info(13, 2),
            0,
            0,
            1,
            0,
            3, // 4: void (int, struct sock *)
            10,
            info(FUNC, 0),
            4, // 5: f
        ];
        let length = u32::try_from(4 * types.len()).unwrap();
        let header = [0x0001_eb9f, 24, 0, length, length, u32::try_from(strings.len()).unwrap()];
        let words = header.iter().chain(types).flat_map(|w| w.to_le_bytes());
        words.chain(strings.iter().copied()).collect()
    }

    #[test]
    fn functions_members_and_arguments_are_found() {
        let btf = Btf::parse(blob()).unwrap();
        assert_eq!((btf.id("f"), btf.id("g")), (Some(5), None));
        assert_eq!(btf.name(5).as_deref(), Some("f"));
        assert_eq!((btf.offset("sock", "b"), btf.offset("sock", "c")), (Some(4), None));
        assert_eq!(btf.argument("f", "sock"), Some(1));
        assert_eq!(btf.argument("f", "other"), None);
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let blob = blob();
        assert!(Btf::parse(blob[..40].to_vec()).is_err());
        assert!(Btf::parse(b"ELF".to_vec()).is_err());
    }
}
