//! What confinement amounts to, in words.

use super::{Confinement, names};

impl Confinement {
    /// All of it in one line, for `doctor`.
    pub fn in_words(&self) -> String {
        let kept = match &names(self.kept)[..] {
            [] => "no capabilities".to_owned(),
            kept => format!("no capabilities but {}", kept.join(", ")),
        };
        let seccomp = if self.seccomp { "seccomp" } else { "no seccomp" };
        let landlock = self.landlock.map_or("no Landlock".to_owned(), |v| format!("Landlock {v}"));
        format!("{kept}, no new privileges, {seccomp}, {landlock}")
    }

    /// What is missing here of what holds the process that exports, as sentences.
    pub fn sender_gaps(&self) -> Vec<String> {
        let mut gaps = self.gaps();
        // 4 is AccessNet::ConnectTcp's version.
        if self.landlock.is_some_and(|version| version < 4) {
            gaps.push(
                "the process that exports is not held to the collector's port: that takes \
                 Landlock 4, of v6.7"
                    .to_owned(),
            );
        }
        gaps
    }

    /// What is missing here, as sentences; empty on a kernel that has it all.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        let kept = names(self.kept);
        if !kept.is_empty() {
            gaps.push(format!(
                "{} is kept while tracing: before v5.19 the kernel asks for it when a map is read",
                kept.join(", ")
            ));
        }
        match (self.landlock, self.seccomp) {
            (None, true) => gaps.push(
                "this kernel has no Landlock (since v5.13, if among its lsm=): files are kept shut \
                 by seccomp alone"
                    .to_owned(),
            ),
            (Some(_), false) => gaps.push(
                "this kernel has no seccomp filters: every system call stays possible, without \
                 capabilities and with Landlock"
                    .to_owned(),
            ),
            (None, false) => gaps.push(
                "this kernel has neither Landlock nor seccomp filters: capabilities are dropped, \
                 nothing else"
                    .to_owned(),
            ),
            (Some(_), true) => {}
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::CapabilitySet;

    use super::*;

    const FULL: Confinement =
        Confinement { kept: CapabilitySet::empty(), landlock: Some(6), seccomp: true };

    #[test]
    fn only_what_is_missing_is_a_gap() {
        assert_eq!(FULL.in_words(), "no capabilities, no new privileges, seccomp, Landlock 6");
        assert!(FULL.gaps().is_empty());
        let old = Confinement { kept: CapabilitySet::BPF, landlock: None, ..FULL };
        assert_eq!(
            old.in_words(),
            "no capabilities but CAP_BPF, no new privileges, seccomp, no Landlock"
        );
        assert_eq!(old.gaps().len(), 2);
        assert!(old.gaps()[0].starts_with("CAP_BPF is kept"));
        assert!(FULL.sender_gaps().is_empty());
        let older = Confinement { landlock: Some(3), ..FULL };
        assert!(older.gaps().is_empty() && older.sender_gaps()[0].contains("Landlock 4"));
    }
}
