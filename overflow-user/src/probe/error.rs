//! Why tracing could not start, in one sentence each.

use std::io;

use aya::{EbpfError, programs::ProgramError};
use thiserror::Error;

/// Why tracing could not start.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The binary was built without its eBPF object.
    #[error(
        "this binary was built without its eBPF programs (AYA_BUILD_SKIP was set); build it \
         again without that variable"
    )]
    NoObject,
    /// Not allowed to load programs.
    #[error(
        "not allowed to load eBPF programs ({0}); run as root, or with CAP_BPF and \
         CAP_PERFMON, before 5.11 CAP_SYS_RESOURCE too"
    )]
    Privilege(String),
    /// The kernel's types are not those that the programs are made for.
    #[error(
        "this kernel's BTF has no {0} of the size that the eBPF programs read, so nothing can be \
         traced; give the right BTF with --btf FILE, or use overflow on another kernel"
    )]
    Unfit(String),
    /// The object could not be loaded at all.
    #[error("cannot load the eBPF object: {0}")]
    Load(String),
    /// No hook point could be traced by any rung.
    #[error("no hook attaches on this kernel, so nothing can be traced; {0}")]
    NothingAttaches(String),
    /// The ring could not be opened.
    #[error("cannot read the eBPF ring: {0}")]
    Ring(#[source] io::Error),
}

impl From<EbpfError> for ProbeError {
    fn from(error: EbpfError) -> Self {
        let text = chain(&error);
        if text.contains("os error 1)") || text.contains("os error 13)") {
            Self::Privilege(text)
        } else {
            Self::Load(text)
        }
    }
}

/// Why one program was refused, short enough for a table.
pub fn refusal(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            log::debug!("verifier log:\n{log}");
            // The kernel's own statistics follow the complaint.
            let statistics = ["processed ", "stack depth", "verification time", "max_states"];
            let complaint =
                |l: &&str| !l.is_empty() && !statistics.iter().any(|s| l.starts_with(s));
            let last = log.lines().rev().find(complaint);
            match (io_error.raw_os_error(), last) {
                (Some(libc::EPERM), None) => "the kernel refuses to load it (EPERM)".to_owned(),
                (_, Some(line)) => format!("{}: {line}", errno(io_error)),
                (_, None) => format!("the kernel refuses to load it ({})", errno(io_error)),
            }
        }
        ProgramError::SyscallError(e) => format!("{} failed ({})", e.call, errno(&e.io_error)),
        other => chain(other),
    }
}

fn errno(error: &io::Error) -> String {
    match error.raw_os_error() {
        // Not a POSIX number: the kernel's own ENOTSUPP.
        Some(524) => "ENOTSUPP".to_owned(),
        Some(n) => rustix::io::Errno::from_raw_os_error(n).to_string(),
        None => error.to_string(),
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}
