//! A small BTF reader: where fields lie, which arguments functions take, what enumerators are
//! called. The loader's own reader keeps its types private.
//!
//! Every index and length comes from a file that may be damaged or hostile, so every access is
//! checked and every walk is bounded.

use overflow_common::{Field, Slot};
use thiserror::Error;

use super::btf_kind as kind;
use names::{Names, hash, hash_at};

mod names;

/// Deeper nesting of structures or modifiers does not occur in a kernel; a cycle does in bad data.
const MAX_DEPTH: u32 = 32;

/// What is wrong with a BTF blob, or with a question asked of it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    /// The blob does not have the form of BTF.
    #[error("the BTF data is damaged at byte {offset}: {what}")]
    Damaged {
        /// Byte offset from the start of the blob.
        offset: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// The other byte order: made for another machine.
    #[error("the BTF data is in big-endian byte order, for another machine")]
    ByteOrder,
    /// Two structures of one name disagree about the field.
    #[error("this kernel has {count} structures named {name} that disagree about {path}")]
    Ambiguous {
        /// The structure's name.
        name: String,
        /// The member path asked for.
        path: String,
        /// How many structures bear the name.
        count: usize,
    },
}

type Result<T> = std::result::Result<T, BtfError>;

/// A parsed BTF blob.
#[derive(Clone)]
pub struct Btf {
    data: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Byte offset of each type; type 0 is void and has none.
    types: Vec<u32>,
    /// Byte offset of each enum without a name.
    anonymous_enums: Vec<u32>,
    by_name: Names,
}

#[derive(Clone, Copy)]
struct Type {
    at: usize,
    kind: u8,
    vlen: usize,
    kind_flag: bool,
    size_or_id: u32,
}

struct Member {
    name: u32,
    type_id: u32,
    bit_offset: u32,
    /// Width of a bitfield, 0 for a whole member.
    bit_size: u32,
}

impl Btf {
    /// Parses a blob as found in `/sys/kernel/btf/vmlinux`.
    pub fn parse(data: Vec<u8>) -> Result<Self> {
        let damaged = |offset, what| BtfError::Damaged { offset, what };
        let header = |i: usize| -> Result<usize> {
            let bytes = data.get(8 + 4 * i..12 + 4 * i).ok_or(damaged(0, "a header"))?;
            Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
        };
        match data.get(..8) {
            Some([0x9f, 0xeb, ..]) => {}
            Some([0xeb, 0x9f, ..]) => return Err(BtfError::ByteOrder),
            _ => return Err(damaged(0, "the BTF magic number")),
        }
        let header_length = u32::from_le_bytes([data[4], data[5], data[6], data[7]]) as usize;
        let section = |offset: usize, length: usize| -> Result<std::ops::Range<usize>> {
            let start = header_length.checked_add(offset);
            let end = start.and_then(|s| s.checked_add(length));
            match (start, end) {
                (Some(start), Some(end)) if end <= data.len() => Ok(start..end),
                _ => Err(damaged(8, "sections inside the file")),
            }
        };
        let types_range = section(header(0)?, header(1)?)?;
        let strings = section(header(2)?, header(3)?)?;

        // A type takes 20 bytes or more.
        let count = types_range.len() / 20;
        let mut types = Vec::with_capacity(count);
        let mut by_name = Names::with_capacity(count);
        let mut anonymous_enums = Vec::new();
        let names = &data[strings.clone()];
        types.push(0);
        by_name.push(0, None);
        let mut at = types_range.start;
        while at < types_range.end {
            let (ty, name) = type_in(&data, at)?;
            let id = u32::try_from(types.len()).map_err(|_| damaged(at, "fewer types"))?;
            let offset = u32::try_from(at).map_err(|_| damaged(at, "a smaller file"))?;
            types.push(offset);
            if name == 0 && ty.kind == kind::ENUM {
                anonymous_enums.push(offset);
            }
            let hash = if name != 0 && is_found_by_name(ty.kind) {
                let terminated = damaged(name as usize, "a terminated string");
                Some(hash_at(names, name as usize).ok_or(terminated)?)
            } else {
                None
            };
            by_name.push(id, hash);
            at += 12 + Self::trailer(ty).ok_or(damaged(at, "a known type kind"))?;
        }
        if at != types_range.end {
            return Err(damaged(at, "the last type to end with its section"));
        }
        Ok(Self { data, strings, types, anonymous_enums, by_name })
    }

    /// Bytes that follow a type's common part.
    fn trailer(ty: Type) -> Option<usize> {
        Some(match ty.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::PTR
            | kind::FWD
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => 0,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * ty.vlen,
            kind::ENUM | kind::FUNC_PROTO => 8 * ty.vlen,
            _ => return None,
        })
    }

    fn u32_at(&self, at: usize) -> Result<u32> {
        let bytes = self
            .data
            .get(at..at.saturating_add(4))
            .ok_or(BtfError::Damaged { offset: at, what: "four more bytes" })?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn type_at(&self, at: usize) -> Result<Type> {
        type_in(&self.data, at).map(|(ty, _)| ty)
    }

    fn get(&self, id: u32) -> Result<Option<Type>> {
        match self.types.get(id as usize) {
            Some(0) => Ok(None),
            Some(&at) => self.type_at(at as usize).map(Some),
            None => Err(BtfError::Damaged { offset: id as usize, what: "a type with this id" }),
        }
    }

    fn string(&self, offset: u32) -> Result<&[u8]> {
        let damaged = BtfError::Damaged { offset: offset as usize, what: "a terminated string" };
        let start = self.strings.start.saturating_add(offset as usize);
        let rest = self.data.get(start..self.strings.end).ok_or(damaged.clone())?;
        let end = rest.iter().position(|&b| b == 0).ok_or(damaged)?;
        Ok(&rest[..end])
    }

    fn name_at(&self, at: usize) -> Result<&[u8]> {
        self.string(self.u32_at(at)?)
    }

    /// Ids of the types of `kind` named `name`.
    fn find(&self, kind: u8, name: &str) -> impl Iterator<Item = u32> {
        self.by_name.get(hash(name.as_bytes())).filter(move |&id| {
            let named = |at: usize| {
                let (ty, known) = (self.type_at(at).ok()?, self.name_at(at).ok()?);
                Some(ty.kind == kind && known == name.as_bytes())
            };
            self.types.get(id as usize).and_then(|&at| named(at as usize)) == Some(true)
        })
    }

    /// Follows typedefs and qualifiers.
    fn strip(&self, mut id: u32) -> Result<Option<Type>> {
        for _ in 0..MAX_DEPTH {
            match self.get(id)? {
                Some(ty)
                    if matches!(
                        ty.kind,
                        kind::TYPEDEF
                            | kind::VOLATILE
                            | kind::CONST
                            | kind::RESTRICT
                            | kind::TYPE_TAG
                    ) =>
                {
                    id = ty.size_or_id;
                }
                other => return Ok(other),
            }
        }
        Err(BtfError::Damaged { offset: id as usize, what: "an end of a chain of typedefs" })
    }

    fn members(&self, ty: Type) -> impl Iterator<Item = Result<Member>> {
        (0..ty.vlen).map(move |i| {
            let at = ty.at + 12 + 12 * i;
            let offset = self.u32_at(at + 8)?;
            // With the kind flag set, the upper byte is the width of a bitfield.
            let (bit_size, bit_offset) =
                if ty.kind_flag { (offset >> 24, offset & 0x00ff_ffff) } else { (0, offset) };
            Ok(Member {
                name: self.u32_at(at)?,
                type_id: self.u32_at(at + 4)?,
                bit_offset,
                bit_size,
            })
        })
    }

    /// The member `name` of `ty`, descending into anonymous members; its offset is from `ty`.
    fn member(&self, ty: Type, name: &str, depth: u32) -> Result<Option<Member>> {
        if depth > MAX_DEPTH {
            return Err(BtfError::Damaged { offset: ty.at, what: "structures that end" });
        }
        for member in self.members(ty) {
            let member = member?;
            let member_name = self.string(member.name)?;
            if member_name == name.as_bytes() {
                return Ok(Some(member));
            }
            if member_name.is_empty()
                && let Some(inner) = self.strip(member.type_id)?
                && matches!(inner.kind, kind::STRUCT | kind::UNION)
                && let Some(found) = self.member(inner, name, depth + 1)?
            {
                let bit_offset = member.bit_offset.saturating_add(found.bit_offset);
                return Ok(Some(Member { bit_offset, ..found }));
            }
        }
        Ok(None)
    }

    /// Where the member at the dotted `path` of structure `name` lies; `None` if this kernel has
    /// no such structure or member.
    pub(crate) fn field(&self, name: &str, path: &str) -> Result<Option<Field>> {
        let mut places = Vec::new();
        for id in self.find(kind::STRUCT, name) {
            places.push(self.field_of(id, path)?);
        }
        match places.split_first() {
            None => Ok(None),
            Some((first, rest)) if rest.iter().all(|p| p == first) => Ok(*first),
            Some(_) => Err(BtfError::Ambiguous {
                name: name.to_owned(),
                path: path.to_owned(),
                count: places.len(),
            }),
        }
    }

    fn field_of(&self, id: u32, path: &str) -> Result<Option<Field>> {
        let mut ty = self.get(id)?;
        let mut bits: u32 = 0;
        let mut width = 0;
        for part in path.split('.') {
            let Some(outer) = ty.filter(|t| matches!(t.kind, kind::STRUCT | kind::UNION)) else {
                return Ok(None);
            };
            let Some(member) = self.member(outer, part, 0)? else { return Ok(None) };
            bits = bits.saturating_add(member.bit_offset);
            width = member.bit_size;
            ty = self.strip(member.type_id)?;
        }
        let Some(ty) = ty else { return Ok(None) };
        if width == 0 {
            let size = match ty.kind {
                kind::PTR | kind::STRUCT | kind::UNION | kind::ARRAY => 8,
                kind::INT | kind::ENUM | kind::ENUM64 => ty.size_or_id,
                _ => return Ok(None),
            };
            let known = [1u8, 2, 4, 8].into_iter().find(|&s| u32::from(s) == size);
            return Ok(known.map(|size| Field::whole(bits / 8, size)));
        }
        // The smallest aligned little-endian integer that holds the whole bitfield.
        for size in [1u8, 2, 4, 8] {
            let bytes = u32::from(size);
            let start = bits / 8 / bytes * bytes;
            let shift = bits - start * 8;
            if shift + width <= bytes * 8
                && let (Ok(shift), Ok(width)) = (u8::try_from(shift), u8::try_from(width))
            {
                return Ok(Some(Field::bits(start, size, shift, width)));
            }
        }
        Ok(None)
    }

    /// Id of the kernel's function of this name (one that is not always inlined).
    pub fn function(&self, name: &str) -> Option<u32> {
        self.find(kind::FUNC, name).next()
    }

    /// Id of the typedef of this name.
    pub fn typedef(&self, name: &str) -> Option<u32> {
        self.find(kind::TYPEDEF, name).next()
    }

    /// Parameter types of a function, or of a tracepoint given as `btf_trace_NAME` (without the
    /// leading `__data`). `None` if the kernel has neither.
    fn parameters(&self, name: &str) -> Result<Option<Vec<u32>>> {
        if name.starts_with("btf_trace_") {
            let Some(id) = self.typedef(name) else { return Ok(None) };
            let Some(pointer) = self.strip(id)?.filter(|t| t.kind == kind::PTR) else {
                return Ok(None);
            };
            let types = self.prototype(pointer.size_or_id)?;
            return Ok(types.map(|t| t.into_iter().skip(1).collect()));
        }
        let Some(id) = self.function(name) else { return Ok(None) };
        let Some(function) = self.get(id)? else { return Ok(None) };
        self.prototype(function.size_or_id)
    }

    fn prototype(&self, id: u32) -> Result<Option<Vec<u32>>> {
        let Some(proto) = self.strip(id)?.filter(|t| t.kind == kind::FUNC_PROTO) else {
            return Ok(None);
        };
        (0..proto.vlen).map(|i| self.u32_at(proto.at + 16 + 8 * i)).collect::<Result<_>>().map(Some)
    }

    /// A parameter's type as in C: `enum NAME`, `struct NAME *`; other types do not matter here.
    fn c_name(&self, id: u32) -> Result<String> {
        let Some(ty) = self.strip(id)? else { return Ok(String::new()) };
        Ok(match ty.kind {
            kind::ENUM | kind::ENUM64 => {
                format!("enum {}", String::from_utf8_lossy(self.name_at(ty.at)?))
            }
            kind::PTR => match self.strip(ty.size_or_id)? {
                Some(to) if to.kind == kind::STRUCT => {
                    format!("struct {} *", String::from_utf8_lossy(self.name_at(to.at)?))
                }
                _ => String::new(),
            },
            _ => String::new(),
        })
    }

    /// The slot of a function's first parameter of type `what`, or of its return value (`what` =
    /// `return`). Missing if the kernel has no such function or parameter.
    pub(crate) fn slot(&self, function: &str, what: &str) -> Result<Slot> {
        let Some(parameters) = self.parameters(function)? else { return Ok(Slot::MISSING) };
        let mut index = (what == "return").then_some(parameters.len());
        for (i, id) in parameters.iter().enumerate() {
            if index.is_none() && self.c_name(*id)? == what {
                index = Some(i);
            }
        }
        Ok(index
            .and_then(|i| u8::try_from(i).ok())
            .filter(|&i| i <= Slot::MAX)
            .map_or(Slot::MISSING, Slot))
    }

    /// Enumerators of the enum `name`, with their values.
    pub(crate) fn enumerators(&self, name: &str) -> Result<Vec<(String, i64)>> {
        for kind in [kind::ENUM, kind::ENUM64] {
            if let Some(id) = self.find(kind, name).next()
                && let Some(ty) = self.get(id)?
            {
                return self.variants(ty);
            }
        }
        Ok(Vec::new())
    }

    /// The value of an enumerator of an enum without a name of its own.
    pub(crate) fn anonymous_enumerator(&self, enumerator: &str) -> Result<Option<i64>> {
        for &at in &self.anonymous_enums {
            let ty = self.type_at(at as usize)?;
            for i in 0..ty.vlen {
                let at = ty.at + 12 + 8 * i;
                if self.name_at(at)? == enumerator.as_bytes() {
                    return Ok(Some(i64::from(self.u32_at(at + 4)?.cast_signed())));
                }
            }
        }
        Ok(None)
    }

    fn variants(&self, ty: Type) -> Result<Vec<(String, i64)>> {
        let wide = ty.kind == kind::ENUM64;
        let step = if wide { 12 } else { 8 };
        (0..ty.vlen)
            .map(|i| {
                let at = ty.at + 12 + step * i;
                let name = String::from_utf8_lossy(self.name_at(at)?).into_owned();
                let low = self.u32_at(at + 4)?;
                let value = if wide {
                    (u64::from(self.u32_at(at + 8)?) << 32 | u64::from(low)).cast_signed()
                } else if ty.kind_flag {
                    i64::from(low.cast_signed())
                } else {
                    i64::from(low)
                };
                Ok((name, value))
            })
            .collect()
    }
}

/// The type whose description begins at `at`, and the offset of its name.
fn type_in(data: &[u8], at: usize) -> Result<(Type, u32)> {
    let common = data.get(at..).and_then(|rest| rest.first_chunk::<12>());
    let common = common.ok_or(BtfError::Damaged { offset: at, what: "twelve more bytes" })?;
    let word =
        |i: usize| u32::from_le_bytes([common[i], common[i + 1], common[i + 2], common[i + 3]]);
    let info = word(4);
    let ty = Type {
        at,
        kind: info.to_le_bytes()[3] & 0x1f,
        vlen: (info & 0xffff) as usize,
        kind_flag: info >> 31 != 0,
        size_or_id: word(8),
    };
    Ok((ty, word(0)))
}

/// Whether [`Btf::find`] is ever asked for types of this kind.
fn is_found_by_name(kind: u8) -> bool {
    matches!(kind, kind::STRUCT | kind::ENUM | kind::ENUM64 | kind::FUNC | kind::TYPEDEF)
}

#[cfg(test)]
mod tests;
