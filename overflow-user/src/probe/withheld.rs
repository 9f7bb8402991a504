//! What is withheld from the probe, as if this kernel refused it: by the variable `OVERFLOW_WITHHOLD`,
//! words with commas between. So what old kernels take is tried on those that boot.
//!
//! Each refusal is where the old kernel has it, and in its words.

use std::{env, sync::LazyLock};

use super::ladder::Attach;

/// The variable.
const VARIABLE: &str = "OVERFLOW_WITHHOLD";

/// What can be withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    /// Ring buffers: since v5.8 (457f44363a88).
    Ring,
    /// Queues: since v4.20 (f1a2e44a3aec).
    Queue,
    /// BTF-typed raw tracepoints: since v5.5 (ac4414b5ca47).
    TpBtf,
    /// BPF trampolines: since v5.5 (fec56f5890d9).
    Fentry,
    /// The kernel's own BTF, /sys/kernel/btf/vmlinux: since v5.4 (341dfcf8d78e).
    Btf,
}

impl Feature {
    const ALL: [(&'static str, Self); 5] = [
        ("ring", Self::Ring),
        ("queue", Self::Queue),
        ("tp_btf", Self::TpBtf),
        ("fentry", Self::Fentry),
        ("btf", Self::Btf),
    ];

    /// Whether it is withheld.
    pub(super) fn is_withheld(self) -> bool {
        static WITHHELD: LazyLock<Vec<Feature>> =
            LazyLock::new(|| named(&env::var(VARIABLE).unwrap_or_default()));
        WITHHELD.contains(&self)
    }
}

/// Why a hook of this kind is refused, if it is withheld: old kernels do not know the type of program.
pub(super) fn hook(attach: Attach) -> Option<String> {
    let feature = match attach {
        Attach::Fentry | Attach::Fexit => Feature::Fentry,
        Attach::TpBtf => Feature::TpBtf,
        Attach::Kprobe | Attach::Kretprobe => return None,
    };
    feature.is_withheld().then(|| "the kernel refuses to load it (EINVAL)".to_owned())
}

/// The features of these names; a name that there is not is none.
fn named(words: &str) -> Vec<Feature> {
    let known = |word: &str| Feature::ALL.iter().find(|(name, _)| *name == word);
    words.split(',').filter_map(|word| known(word.trim())).map(|(_, feature)| *feature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_go_by_their_names() {
        assert_eq!(named("ring, tp_btf,fentry"), [Feature::Ring, Feature::TpBtf, Feature::Fentry]);
        assert_eq!(named("").len() + named("no such").len(), 0);
        for (name, feature) in Feature::ALL {
            assert_eq!(named(name), [feature]);
        }
    }

    #[test]
    fn nothing_is_withheld_here() {
        assert!(Feature::ALL.iter().all(|(_, feature)| !feature.is_withheld()));
        assert_eq!(hook(Attach::TpBtf), None);
    }
}
