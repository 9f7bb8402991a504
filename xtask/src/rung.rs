//! The rungs of the ladder by which the tool traces.

use clap::ValueEnum;

/// `--rung` of `overflow trace` and of `overflow lab`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// fentry/fexit.
    Fentry,
    /// kprobe/kretprobe.
    Kprobe,
    /// BTF tracepoints.
    Tracepoint,
}

impl Rung {
    /// As on the command line and in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }
}
