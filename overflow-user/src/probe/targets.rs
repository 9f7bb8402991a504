//! The kernel's BTF as the loader needs it to name what it attaches to: nothing but the functions
//! and tracepoints of the ladders, each at the id it has in the whole. The loader's own parse of
//! 100,000 types, and its search through them for each program, take longer than all the rest.

use std::collections::BTreeMap;

use aya::{Btf as AyaBtf, Endianness};
use aya_obj::btf::{BtfType, Func, FuncLinkage};

use super::ladder::{Attach, Hook};
use overflow_core::kernel::Btf;

/// Kinds of include/uapi/linux/btf.h.
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const FUNC: u32 = 12;

/// The targets of `hooks`, and the iterator over what is `iterated`, that `kernel`, the running kernel's
/// own BTF, has. `None` if the loader does not understand it.
pub(super) fn of<'a>(
    kernel: &Btf,
    hooks: impl Iterator<Item = &'a Hook>,
    iterated: &str,
) -> Option<AyaBtf> {
    let mut wanted = BTreeMap::new();
    let iterator = format!("bpf_iter_{iterated}");
    if let Some(id) = kernel.function(&iterator) {
        wanted.insert(id, (FUNC, iterator));
    }
    for hook in hooks {
        let (id, kind, name) = match hook.attach {
            Attach::Fentry | Attach::Fexit => {
                (kernel.function(hook.target), FUNC, hook.target.to_owned())
            }
            Attach::TpBtf => {
                let name = format!("btf_trace_{}", hook.target);
                (kernel.typedef(&name), TYPEDEF, name)
            }
            Attach::Kprobe | Attach::Kretprobe => continue,
        };
        if let Some(id) = id {
            wanted.insert(id, (kind, name));
        }
    }
    with(&wanted)
}

/// BTF with these types, (kind, name) by id. The loader makes no type definition of its own, so all up to
/// the last of these is parsed; functions come later in a kernel, and those are added, at a tenth of
/// the cost.
fn with(wanted: &BTreeMap<u32, (u32, String)>) -> Option<AyaBtf> {
    let parsed = wanted.iter().rfind(|(_, (kind, _))| *kind == TYPEDEF).map_or(0, |(&id, _)| id);
    let mut btf = AyaBtf::parse(&blob(wanted, parsed), Endianness::default()).ok()?;
    let mut last = parsed;
    for (&id, (_, name)) in wanted.range(parsed + 1..) {
        for _ in last + 1..id {
            btf.add_type(BtfType::Unknown);
        }
        let name = btf.add_string(name);
        btf.add_type(BtfType::Func(Func::new(name, 0, FuncLinkage::Global)));
        last = id;
    }
    Some(btf)
}

/// A BTF file with these types up to id `last`, and forward declarations in between.
fn blob(wanted: &BTreeMap<u32, (u32, String)>, last: u32) -> Vec<u8> {
    let mut types: Vec<u8> = Vec::with_capacity(last as usize * 12);
    let mut strings = vec![0_u8];
    for id in 1..=last {
        let (name, kind) = match wanted.get(&id) {
            Some((kind, name)) => {
                let at = strings.len();
                strings.extend(name.bytes().chain([0]));
                (u32::try_from(at).unwrap_or(0), *kind)
            }
            None => (0, FWD),
        };
        for word in [name, kind << 24, 0] {
            types.extend(word.to_ne_bytes());
        }
    }
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    // struct btf_header: magic, version, flags, hdr_len; then offset and length of both sections.
    let mut blob = Vec::with_capacity(24 + types.len() + strings.len());
    blob.extend(0xeb9f_u16.to_ne_bytes());
    blob.extend([1, 0]);
    for word in [24, 0, length(&types), length(&types), length(&strings)] {
        blob.extend(word.to_ne_bytes());
    }
    blob.extend(types);
    blob.extend(strings);
    blob
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;

    #[test]
    fn what_is_wanted_is_found_at_its_id_and_nothing_else() {
        let function = |name: &str| (FUNC, name.to_owned());
        let wanted = BTreeMap::from([
            (3, function("tcp_abort")),
            (40_000, (TYPEDEF, "btf_trace_tcp_retransmit_synack".to_owned())),
            (40_001, function("tcp_conn_request")),
            (70_000, function("tcp_check_req")),
        ]);
        for skipped in 0..wanted.len() {
            let wanted: BTreeMap<_, _> = wanted.clone().into_iter().skip(skipped).collect();
            let btf = with(&wanted).unwrap();
            for (&id, (kind, name)) in &wanted {
                let (kind, other) = if *kind == FUNC {
                    (BtfKind::Func, BtfKind::Typedef)
                } else {
                    (BtfKind::Typedef, BtfKind::Func)
                };
                assert_eq!(btf.id_by_type_name_kind(name, kind).ok(), Some(id), "{name}");
                assert!(btf.id_by_type_name_kind(name, other).is_err(), "{name}");
            }
            assert!(btf.id_by_type_name_kind("", BtfKind::Func).is_err());
        }
    }
}
