//! The types of a BTF blob, as records that can be copied: what an excerpt is made of. overflow-core's
//! reader answers questions instead; that both agree is checked for each excerpt.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};
use overflow_core::kernel::btf_kind as kind;

const HEADER: usize = 24;

/// A type; numbers of types and offsets of names are those of its blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    pub name: u32,
    /// `struct btf_type`'s word of kind, kind flag and number of entries.
    pub info: u32,
    /// A size or the number of a type, by kind.
    pub size_or_id: u32,
    /// What follows, by kind: members, enumerators, parameters.
    pub rest: Vec<u32>,
}

/// A parsed blob.
pub struct Types {
    /// By number; 0 is void.
    pub types: Vec<Type>,
    strings: Vec<u8>,
}

impl Type {
    /// Its kind.
    pub fn kind(&self) -> u8 {
        self.info.to_le_bytes()[3] & 0x1f
    }

    fn entries(&self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Words after the common part.
    fn words(&self) -> Result<usize> {
        Ok(match self.kind() {
            kind::INT | kind::VAR | kind::DECL_TAG => 1,
            kind::PTR
            | kind::FWD
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => 0,
            kind::ARRAY => 3,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 3 * self.entries(),
            kind::ENUM | kind::FUNC_PROTO => 2 * self.entries(),
            other => bail!("BTF of kind {other}, which is not known here"),
        })
    }

    /// Where the numbers of other types stand: whether in `size_or_id`, and at which words.
    fn references(&self) -> (bool, Vec<usize>) {
        let each = |step: usize, at: usize| (0..self.entries()).map(|i| step * i + at).collect();
        match self.kind() {
            kind::ARRAY => (false, vec![0, 1]),
            kind::STRUCT | kind::UNION => (false, each(3, 1)),
            kind::FUNC_PROTO => (true, each(2, 1)),
            kind::INT | kind::ENUM | kind::ENUM64 | kind::FLOAT | kind::FWD | kind::DATASEC => {
                (false, Vec::new())
            }
            _ => (true, Vec::new()),
        }
    }

    /// Where the names of members, enumerators and parameters stand.
    fn names(&self) -> Vec<usize> {
        let step = match self.kind() {
            kind::STRUCT | kind::UNION | kind::ENUM64 => 3,
            kind::ENUM | kind::FUNC_PROTO => 2,
            _ => return Vec::new(),
        };
        (0..self.entries()).map(|i| step * i).collect()
    }

    /// The types it refers to.
    pub fn referred(&self) -> Vec<u32> {
        let (own, words) = self.references();
        let words = words.into_iter().filter_map(|at| self.rest.get(at).copied());
        own.then_some(self.size_or_id).into_iter().chain(words).collect()
    }

    /// Changes the types it refers to.
    pub fn refer(&mut self, to: &mut dyn FnMut(u32) -> u32) {
        let (own, words) = self.references();
        if own {
            self.size_or_id = to(self.size_or_id);
        }
        for at in words {
            self.rest[at] = to(self.rest[at]);
        }
    }

    /// Offsets of the names of its members, enumerators or parameters.
    pub fn entry_names(&self) -> impl Iterator<Item = u32> {
        self.names().into_iter().filter_map(|at| self.rest.get(at).copied())
    }
}

impl Types {
    /// Reads a blob.
    pub fn parse(blob: &[u8]) -> Result<Self> {
        let word = |at: usize| -> Result<u32> {
            let bytes = blob.get(at..at + 4).context("the BTF is cut off")?;
            Ok(u32::from_le_bytes(bytes.try_into()?))
        };
        let size = |at: usize| -> Result<usize> { Ok(usize::try_from(word(at)?)?) };
        ensure!(blob.starts_with(&[0x9f, 0xeb]), "the BTF lacks its magic number");
        let header = size(4)?;
        let (mut at, strings) = (header + size(8)?, header + size(16)?);
        let end = at + size(12)?;
        let strings = blob.get(strings..strings + size(20)?).context("the BTF is cut off")?;
        let void = Type { name: 0, info: 0, size_or_id: 0, rest: Vec::new() };
        let mut types = vec![void];
        while at < end {
            let (name, info, size_or_id) = (word(at)?, word(at + 4)?, word(at + 8)?);
            let mut ty = Type { name, info, size_or_id, rest: Vec::new() };
            at += 12;
            for _ in 0..ty.words()? {
                ty.rest.push(word(at)?);
                at += 4;
            }
            types.push(ty);
        }
        Ok(Self { types, strings: strings.to_vec() })
    }

    /// The type of this number.
    pub fn get(&self, id: u32) -> Result<&Type> {
        self.types.get(id as usize).with_context(|| format!("the BTF has no type {id}"))
    }

    /// A name by its offset.
    pub fn string(&self, offset: u32) -> Result<&[u8]> {
        let rest = self.strings.get(offset as usize..).context("a name beyond the BTF's names")?;
        rest.split(|byte| *byte == 0).next().context("a name without end")
    }

    /// The types with their numbers, beginning with 1.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Type)> {
        (0..).zip(&self.types).skip(1)
    }

    /// A blob of these types, whose numbers and names are of `self`; they must refer only to each
    /// other, by their places in the list, the first being 1.
    pub fn write(&self, types: &[Type]) -> Result<Vec<u8>> {
        let mut strings = vec![0];
        let mut places: HashMap<Vec<u8>, u32> = HashMap::from([(Vec::new(), 0)]);
        let mut place = |offset: u32| -> Result<u32> {
            let name = self.string(offset)?;
            if let Some(place) = places.get(name) {
                return Ok(*place);
            }
            let at = u32::try_from(strings.len())?;
            strings.extend([name, &[0]].concat());
            places.insert(name.to_vec(), at);
            Ok(at)
        };
        let mut body = Vec::new();
        for ty in types {
            let mut ty = ty.clone();
            ty.name = place(ty.name)?;
            for at in ty.names() {
                ty.rest[at] = place(ty.rest[at])?;
            }
            for word in [ty.name, ty.info, ty.size_or_id].iter().chain(&ty.rest) {
                body.extend(word.to_le_bytes());
            }
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len());
        let types_length = length(&body)?;
        let header = [HEADER.try_into()?, 0, types_length, types_length, length(&strings)?];
        let header = header.map(u32::to_le_bytes).concat();
        Ok([&[0x9f, 0xeb, 1, 0], &header[..], &body, &strings].concat())
    }
}
