//! The eBPF object, without the programs that are not needed: the loader copies and relocates every
//! program that it finds, several times as many as are attached.

use std::{borrow::Cow, collections::BTreeSet, ops::Range};

use super::{
    existing,
    ladder::{Attach, Hook},
    survey,
};

/// Of a 64-bit ELF file's header and section headers, where the fields lie, bytes.
mod elf {
    use std::ops::Range;

    pub(super) const SHOFF: Range<usize> = 0x28..0x30;
    pub(super) const SHENTSIZE: Range<usize> = 0x3a..0x3c;
    pub(super) const SHNUM: Range<usize> = 0x3c..0x3e;
    pub(super) const SHSTRNDX: Range<usize> = 0x3e..0x40;
    pub(super) const SH_NAME: Range<usize> = 0..4;
    pub(super) const SH_FLAGS: Range<usize> = 8..16;
    pub(super) const SH_OFFSET: Range<usize> = 0x18..0x20;
    /// The section holds instructions.
    pub(super) const EXECINSTR: u8 = 4;
}

/// `object` with the programs of these hooks, of what stands in for them, and with those that are no
/// hooks. Unchanged if it is not understood: the loader says why.
pub(super) fn with<'a>(object: &'a [u8], hooks: &[Hook]) -> Cow<'a, [u8]> {
    let hooks = hooks.iter().flat_map(|hook| hook.stand_ins.iter().chain([hook]));
    let others = [survey::SECTION, existing::SECTION].map(str::to_owned);
    let wanted = hooks.map(section).chain(others).collect();
    without(object, &wanted).map_or(Cow::Borrowed(object), Cow::Owned)
}

/// The section that holds a hook's program: kprobes, which can be on several functions, are in one.
fn section(hook: &Hook) -> String {
    match hook.attach {
        Attach::Kprobe | Attach::Kretprobe => hook.attach.as_str().to_owned(),
        Attach::Fentry | Attach::Fexit | Attach::TpBtf => hook.name().replacen(':', "/", 1),
    }
}

/// Without the programs in sections that are not `wanted`; what they call stays.
fn without(object: &[u8], wanted: &BTreeSet<String>) -> Option<Vec<u8>> {
    let number = |range: Range<usize>| number(object.get(range)?);
    let (start, size) = (number(elf::SHOFF)?, number(elf::SHENTSIZE)?);
    let header = |index: usize, field: &Range<usize>| {
        let at = start.checked_add(index.checked_mul(size)?)?;
        Some(at.checked_add(field.start)?..at.checked_add(field.end)?)
    };
    let names = number(header(number(elf::SHSTRNDX)?, &elf::SH_OFFSET)?)?;
    let mut less = object.to_vec();
    for index in 0..number(elf::SHNUM)? {
        let name = names.checked_add(number(header(index, &elf::SH_NAME)?)?)?;
        let name = object.get(name..)?.split(|&byte| byte == 0).next()?;
        let name = str::from_utf8(name).ok()?;
        // `.text` is what programs call.
        if name.starts_with('.') || wanted.contains(name) {
            continue;
        }
        let flags = less.get_mut(header(index, &elf::SH_FLAGS)?)?;
        // Then it is data that nobody asks for.
        flags[0] &= !elf::EXECINSTR;
    }
    Some(less)
}

/// A little-endian number of any width.
fn number(bytes: &[u8]) -> Option<usize> {
    let value = bytes.iter().rev().try_fold(0_u64, |value, &byte| {
        value.checked_mul(256).map(|value| value | u64::from(byte))
    })?;
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            ladder::{Scope, ladder},
            load::BY_RING,
        },
        *,
    };
    use overflow_core::hook_point::HookPoint;

    /// Of the object that was built; a build without it has nothing to leave out.
    #[test]
    fn each_rung_keeps_its_programs_and_leaves_others_out() {
        let all = programs(BY_RING);
        for scope in [Scope::Everything, Scope::Counts, Scope::Overflows] {
            for rung in 0..2 {
                let steps = HookPoint::ALL.iter().filter_map(|h| ladder(*h, scope).get(rung));
                let hooks: Vec<Hook> = steps.flat_map(|step| step.hooks).copied().collect();
                let kept = programs(&with(BY_RING, &hooks));
                assert!(kept.is_subset(&all));
                // Kprobes are all in one section.
                assert!(kept.len() < all.len() || all.is_empty());
                let needed = hooks.iter().map(|hook| hook.program).chain([survey::PROGRAM]);
                for program in needed.filter(|_| !all.is_empty()) {
                    assert!(kept.contains(program), "{program}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_object_is_left_as_it_is() {
        for length in 0..128 {
            let bytes = vec![0xff; length];
            assert_eq!(with(&bytes, &[]), bytes);
        }
    }

    fn programs(object: &[u8]) -> BTreeSet<String> {
        if object.is_empty() {
            return BTreeSet::new();
        }
        aya_obj::Object::parse(object).unwrap().programs.into_keys().collect()
    }
}
