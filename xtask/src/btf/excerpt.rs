//! The part of a BTF that answers overflow's questions: the structures it asks for whole, with
//! everything that lies in them by value; pointers to anything else lead to a declaration.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, Result};
use overflow_common::{ENUMERATORS, FIELDS, SLOTS};
use overflow_core::kernel::btf_kind as kind;

use super::{
    REASONS,
    types::{Type, Types},
};

/// Cuts it out of the whole.
pub fn of(whole: &[u8]) -> Result<Vec<u8>> {
    let types = Types::parse(whole)?;
    let mut cut = Cut { types: &types, kept: BTreeSet::new() };
    for id in roots(&types)? {
        cut.keep(id)?;
    }
    cut.write()
}

/// Every type that is asked for by name: all of one name, because they may disagree.
fn roots(types: &Types) -> Result<Vec<u32>> {
    let pointee = |what: &str| Some(what.strip_prefix("struct ")?.strip_suffix(" *")?.to_owned());
    let structures = FIELDS.iter().map(|row| row.structure.to_owned());
    let structures: Vec<_> =
        structures.chain(SLOTS.iter().filter_map(|row| pointee(row.what))).collect();
    let functions = SLOTS.iter().flat_map(|row| row.functions);
    let functions: Vec<_> = functions.map(|function| function.as_bytes()).collect();
    let enumerators = ENUMERATORS.iter().flat_map(|row| row.names);
    let enumerators: Vec<_> = enumerators.map(|name| name.as_bytes()).collect();
    let reasons: Vec<_> = REASONS.iter().map(|(name, _)| name.as_bytes()).collect();
    let mut roots = Vec::new();
    for (id, ty) in types.numbered() {
        let name = types.string(ty.name)?;
        let asked = match ty.kind() {
            kind::STRUCT => structures.iter().any(|known| known.as_bytes() == name),
            kind::FUNC | kind::TYPEDEF => functions.contains(&name),
            kind::ENUM | kind::ENUM64 => {
                let mut entries = ty.entry_names().filter_map(|at| types.string(at).ok());
                reasons.contains(&name) || entries.any(|entry| enumerators.contains(&entry))
            }
            _ => false,
        };
        if asked {
            roots.push(id);
        }
    }
    Ok(roots)
}

struct Cut<'a> {
    types: &'a Types,
    /// Numbers of the types that are kept as they are.
    kept: BTreeSet<u32>,
}

impl Cut<'_> {
    /// Keeps a type and all it needs by value.
    fn keep(&mut self, id: u32) -> Result<()> {
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            if id == 0 || !self.kept.insert(id) {
                continue;
            }
            let ty = self.types.get(id)?;
            if ty.kind() != kind::PTR {
                left.extend(ty.referred());
            }
            // `typedef void (*btf_trace_NAME)(…)`: the parameters are asked for.
            if self.types.string(ty.name)?.starts_with(b"btf_trace_") {
                left.extend(self.types.get(ty.size_or_id)?.referred());
            }
        }
        Ok(())
    }

    /// Where a pointer leads, without qualifiers and typedefs.
    fn stripped(&self, mut id: u32) -> Result<u32> {
        // Longer chains are of no kernel.
        for _ in 0..32 {
            let ty = self.types.get(id)?;
            match ty.kind() {
                kind::TYPEDEF | kind::CONST | kind::VOLATILE | kind::RESTRICT | kind::TYPE_TAG => {
                    id = ty.size_or_id;
                }
                _ => break,
            }
        }
        Ok(id)
    }

    fn write(&self) -> Result<Vec<u8>> {
        // In the order they had, by which the first of two of one name is chosen.
        let numbers: HashMap<u32, u32> = self.kept.iter().copied().zip(1..).collect();
        let mut written = Vec::new();
        let mut declared: HashMap<(u32, bool), u32> = HashMap::new();
        let mut declarations = Vec::new();
        for &id in &self.kept {
            let mut ty = self.types.get(id)?.clone();
            if ty.kind() == kind::PTR {
                let to = self.stripped(ty.size_or_id)?;
                let target = self.types.get(to)?;
                let union = match target.kind() {
                    kind::UNION => true,
                    kind::FWD => target.info >> 31 != 0,
                    _ => false,
                };
                let aggregate = matches!(target.kind(), kind::STRUCT | kind::UNION | kind::FWD);
                ty.size_or_id = match numbers.get(&to) {
                    Some(number) => *number,
                    None if aggregate && target.name != 0 => {
                        let next = u32::try_from(numbers.len() + declarations.len() + 1)?;
                        *declared.entry((target.name, union)).or_insert_with(|| {
                            declarations.push(declaration(target.name, union));
                            next
                        })
                    }
                    None => 0,
                };
            } else {
                let mut unknown = None;
                ty.refer(&mut |id| {
                    let number = if id == 0 { Some(0) } else { numbers.get(&id).copied() };
                    number.unwrap_or_else(|| {
                        unknown = Some(id);
                        0
                    })
                });
                let lost = unknown.map(|id| format!("type {id} is needed and was not kept"));
                lost.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))?;
            }
            written.push(ty);
        }
        written.extend(declarations);
        self.types.write(&written).context("cannot write the excerpt")
    }
}

/// `struct NAME;` or `union NAME;`.
fn declaration(name: u32, union: bool) -> Type {
    let info = u32::from(union) << 31 | u32::from(kind::FWD) << 24;
    Type { name, info, size_or_id: 0, rest: Vec::new() }
}
