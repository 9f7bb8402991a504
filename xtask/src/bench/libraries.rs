//! The libraries that a program of Debian's needs, read from its ELF file: its own loader, which knows
//! best, runs only on its own architecture.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use object::{
    Endianness,
    elf::DT_NEEDED,
    read::elf::{Dyn as _, ElfFile64},
};

use crate::arch::Arch;

/// The libraries of a program, and theirs: path in the guest, file below `root`, where packages were
/// unpacked.
pub fn of(program: &Path, root: &Path, arch: Arch) -> Result<Vec<(String, PathBuf)>> {
    let loader = arch.loader();
    let mut found = BTreeMap::from([(loader.to_owned(), root.join("usr").join(loader))]);
    let mut unread = vec![program.to_owned()];
    while let Some(file) = unread.pop() {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for name in needed(&bytes).with_context(|| format!("cannot read {}", file.display()))? {
            // Libraries may name the loader too.
            let place = format!("lib/{}/{name}", arch.multiarch());
            if loader.ends_with(&format!("/{name}")) || found.contains_key(&place) {
                continue;
            }
            let library = root.join("usr").join(&place);
            unread.push(library.clone());
            found.insert(place, library);
        }
    }
    Ok(found.into_iter().collect())
}

/// The names of `DT_NEEDED`.
fn needed(elf: &[u8]) -> Result<Vec<String>> {
    let file = ElfFile64::<Endianness>::parse(elf)?;
    let (endian, sections) = (file.endian(), file.elf_section_table());
    let Some((entries, link)) = sections.dynamic(endian, elf)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, elf, link)?;
    let mut names = Vec::new();
    for entry in entries.iter().filter(|entry| entry.d_tag.get(endian) == DT_NEEDED) {
        names.push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn a_program_needs_its_c_library() {
        let own = fs::read(env::current_exe().unwrap()).unwrap();
        assert!(needed(&own).unwrap().iter().any(|name| name.starts_with("libc.")));
        assert!(needed(b"#!/bin/sh").is_err());
    }
}
