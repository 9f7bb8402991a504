//! The kernel's BTF as the loader needs it to name what it attaches to: nothing but the functions
//! and tracepoints of the ladders, each at the id it has in the whole. The loader's own parse of
//! 100,000 types, and its search through them for each program, take longer than all the rest.

use std::collections::BTreeMap;

use aya::{Btf as AyaBtf, Endianness};

use super::ladder::{Attach, Hook};
use overflow_core::kernel::Btf;

/// Kinds of include/uapi/linux/btf.h.
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const FUNC: u32 = 12;

/// The targets of `hooks`, and the iterator over what is `iterated`, that `kernel`, the running kernel's own BTF, has. `None` if the loader
/// does not understand it.
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
    AyaBtf::parse(&blob(&wanted), Endianness::default()).ok()
}

/// A BTF file with these types, (kind, name) by id, and forward declarations in between.
fn blob(wanted: &BTreeMap<u32, (u32, String)>) -> Vec<u8> {
    let last = wanted.last_key_value().map_or(0, |(&id, _)| id);
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
    use super::*;

    #[test]
    fn what_is_wanted_is_found_at_its_id_and_nothing_else() {
        let wanted = BTreeMap::from([
            (3, (FUNC, "tcp_conn_request".to_owned())),
            (70_000, (TYPEDEF, "btf_trace_tcp_retransmit_synack".to_owned())),
        ]);
        let bytes = blob(&wanted);
        assert!(AyaBtf::parse(&bytes, Endianness::default()).is_ok());
        let btf = Btf::parse(bytes).unwrap();
        assert_eq!(btf.function("tcp_conn_request"), Some(3));
        assert_eq!(btf.typedef("btf_trace_tcp_retransmit_synack"), Some(70_000));
        assert_eq!(btf.function("btf_trace_tcp_retransmit_synack"), None);
        assert_eq!(btf.function(""), None);
    }
}
