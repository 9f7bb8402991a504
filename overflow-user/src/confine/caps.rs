//! Capabilities: giving them up, and their names.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Any of these lets a process read the maps it holds, where that takes a capability at all; the
/// weaker first.
const FOR_MAPS: [CapabilitySet; 2] = [CapabilitySet::BPF, CapabilitySet::SYS_ADMIN];

/// Those that matter here; a kernel knows more.
const NAMES: &[(CapabilitySet, &str)] = &[
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::PERFMON, "CAP_PERFMON"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
    (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE"),
    (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
    (CapabilitySet::SYSLOG, "CAP_SYSLOG"),
];

/// The calling thread's capabilities.
pub fn effective() -> io::Result<CapabilitySet> {
    Ok(capabilities(None)?.effective)
}

/// The names of those among them that matter here.
pub fn names(set: CapabilitySet) -> Vec<&'static str> {
    NAMES.iter().filter(|(one, _)| set.contains(*one)).map(|(_, name)| *name).collect()
}

/// Gives up every capability of the calling thread, for good. `maps` says whether the maps it
/// holds can still be read; what that takes is kept, and returned.
///
/// Until v5.19 (commit c8644cd0efe7) every command of bpf(2) takes CAP_BPF where
/// kernel.unprivileged_bpf_disabled is set, as it is by default; since then only those that make
/// new maps and programs do.
pub(super) fn drop_all(maps: Option<&(dyn Fn() -> bool + Sync)>) -> io::Result<CapabilitySet> {
    bound_nothing();
    let kept = maps.map_or(Ok(CapabilitySet::empty()), least_for)?;
    keep(kept)?;
    Ok(kept)
}

/// The least that it takes until `readable` is true.
fn least_for(readable: &(dyn Fn() -> bool + Sync)) -> io::Result<CapabilitySet> {
    let sets = capabilities(None)?;
    let none = CapabilitySet::empty();
    for enough in std::iter::once(none).chain(FOR_MAPS.map(|one| one & sets.permitted)) {
        set_capabilities(None, CapabilitySets { effective: enough, ..sets })?;
        if readable() {
            return Ok(enough);
        }
    }
    Err(io::Error::other("the eBPF maps cannot be read"))
}

/// Gives up every capability of the calling thread but these, for good; those that it never had
/// are not missed.
pub(super) fn keep(kept: CapabilitySet) -> io::Result<()> {
    bound_nothing();
    let kept = kept & capabilities(None)?.permitted;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)?;
    if capabilities(None)? == sets { Ok(()) } else { Err(io::Error::other("some of them stay")) }
}

/// Leaves nothing to programs that this thread might start.
fn bound_nothing() {
    // Kernels before 4.3 have no ambient set.
    let _ = clear_ambient_capability_set();
    for bit in 0..u64::BITS {
        // EINVAL is one that the kernel does not know. EPERM, without CAP_SETPCAP, leaves a bound
        // that nobody can use: no_new_privs is set, and execve is refused.
        if remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn names_are_the_kernels() {
        let set = CapabilitySet::SYS_PTRACE | CapabilitySet::BPF | CapabilitySet::CHOWN;
        assert_eq!(names(set), ["CAP_BPF", "CAP_SYS_PTRACE"]);
    }

    #[test]
    fn all_are_gone_for_good() {
        let sets = thread::spawn(|| {
            keep(CapabilitySet::empty()).unwrap();
            let all = CapabilitySets {
                effective: CapabilitySet::CHOWN,
                permitted: CapabilitySet::CHOWN,
                inheritable: CapabilitySet::empty(),
            };
            assert!(set_capabilities(None, all).is_err());
            capabilities(None).unwrap()
        });
        let sets = sets.join().unwrap();
        assert!(sets.effective.is_empty() && sets.permitted.is_empty());
    }

    #[test]
    fn maps_that_need_no_capability_keep_none() {
        let kept = thread::spawn(|| drop_all(Some(&|| true)).unwrap()).join().unwrap();
        assert!(kept.is_empty());
    }

    #[test]
    fn maps_that_cannot_be_read_are_an_error() {
        assert!(thread::spawn(|| drop_all(Some(&|| false)).is_err()).join().unwrap());
    }

    #[test]
    fn what_maps_need_is_kept_if_it_was_there() {
        let with_bpf = || effective().unwrap().contains(CapabilitySet::BPF);
        let had = with_bpf();
        let kept = thread::spawn(move || drop_all(Some(&with_bpf)).ok()).join().unwrap();
        // Who never had it cannot read the maps, which is an error.
        assert_eq!(kept, had.then_some(CapabilitySet::BPF));
    }
}
