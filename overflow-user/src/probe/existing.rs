//! Has the eBPF side learn the listeners that are there already, for the tracepoint rung: it sees a
//! listener only when it is opened.

use std::{
    collections::BTreeSet,
    io::{self, Read as _},
};

use aya::{
    Btf, Ebpf,
    programs::{Iter, ProgramError, links::LinkError},
};
use overflow_host::netns;

use super::{climb::NOT_IN_OBJECT, error::refusal};

/// The eBPF program, and what it iterates over.
const PROGRAM: &str = "iter_tcp";
pub(super) const ITERATED: &str = "tcp";
/// The section of the object that it is in.
pub(super) const SECTION: &str = "iter/tcp";

/// Learns all of them, in every namespace that can be entered; in one where only threads are, if it is
/// `wanted`. What could not be learnt, as sentences.
pub(super) fn learn(ebpf: &mut Ebpf, btf: Option<&Btf>, wanted: &BTreeSet<u32>) -> Vec<String> {
    match learn_each(ebpf, btf, wanted) {
        Ok(refused) if refused.is_empty() => Vec::new(),
        Ok(refused) => vec![format!(
            "listeners opened before the trace are not known in {} network namespaces ({}): \
             restart their processes",
            refused.len(),
            refused[0]
        )],
        Err(why) => vec![format!(
            "on the tracepoint rung only listeners opened from now on are traced ({why}): restart \
             their processes"
        )],
    }
}

/// Why it did not work, for each namespace where it did not.
fn learn_each(
    ebpf: &mut Ebpf,
    btf: Option<&Btf>,
    wanted: &BTreeSet<u32>,
) -> Result<Vec<String>, String> {
    let btf = btf.ok_or("this kernel shows no BTF of its own")?;
    let program = ebpf.program_mut(PROGRAM).ok_or(NOT_IN_OBJECT)?;
    let program: &mut Iter = program.try_into().map_err(|e: ProgramError| refusal(&e))?;
    program.load(ITERATED, btf).map_err(|e| refusal(&e))?;
    let mut refused = Vec::new();
    for namespace in netns::all(wanted).map_err(|e| e.to_string())? {
        let link =
            program.attach().and_then(|id| program.take_link(id)).map_err(|e| refusal(&e))?;
        // An iterator is of the namespace that it is made in.
        let read = namespace.inside(|| {
            let mut file = link.into_file().map_err(|e: LinkError| e.to_string())?;
            // It ends at the first socket that is no listener, with a byte.
            file.read(&mut [0]).map_err(|e| e.to_string())
        });
        match read {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => refused.push(why),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => refused.push(error.to_string()),
        }
    }
    Ok(refused)
}
