//! Why tracing could not start, in one sentence each.

use std::{error::Error, fmt, io};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use overflow_common::Rung;

/// Why tracing could not start.
#[derive(Debug, thiserror::Error)]
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
    Privilege(LoadError),
    /// The kernel's types are not those that the programs are made for.
    #[error(
        "this kernel's BTF has no {0} of the size that the eBPF programs read, so nothing can be \
         traced; give the right BTF with --btf FILE, or use overflow on another kernel"
    )]
    Unfit(String),
    /// The kernel lacks what the programs cannot do without, and since when kernels have it.
    #[error(
        "this kernel has {0}: nothing can be traced here, but `overflow lab` infers verdicts without \
         it"
    )]
    TooOld(&'static str),
    /// The object could not be loaded at all.
    #[error("cannot load the eBPF object")]
    Load(#[source] LoadError),
    /// No hook point could be traced by any rung.
    #[error("no hook attaches on this kernel, so nothing can be traced; {0}")]
    NothingAttaches(String),
    /// The rung that was asked for does not trace all that it is there for.
    #[error(
        "the {} rung cannot be used here: its hooks for the {hook_point} do not attach ({why}); \
         `overflow doctor` shows what does, and without --rung the best of it is taken",
        rung.as_str()
    )]
    RungRefused {
        /// The rung.
        rung: Rung,
        /// What it would have traced.
        hook_point: &'static str,
        /// The first refusal.
        why: String,
    },
    /// The ring could not be opened.
    #[error("cannot read the eBPF ring")]
    Ring(#[source] io::Error),
}

/// What is wrong with the loaded object. The loader's errors name their causes themselves, so each
/// is one line here, and the end of the chain.
#[derive(Debug)]
pub enum LoadError {
    /// The kernel or the loader refuses it.
    Object(EbpfError),
    /// It has no map of this name.
    NoMap(&'static str),
    /// A map is not what it should be.
    Map(&'static str, MapError),
    /// A map cannot be written.
    Write(MapError),
    /// The ring was taken already.
    RingTaken,
    /// Its log cannot be read.
    Logs(aya_log::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(error) => f.write_str(&chain(error)),
            Self::NoMap(name) => write!(f, "the eBPF object has no map {name}"),
            Self::Map(name, error) => write!(f, "{name}: {}", chain(error)),
            Self::Write(error) => f.write_str(&chain(error)),
            Self::RingTaken => f.write_str("the ring was taken already"),
            Self::Logs(error) => write!(f, "the eBPF log cannot be read: {}", chain(error)),
        }
    }
}

impl Error for LoadError {}

impl From<LoadError> for ProbeError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Object(object) if denied(&object) => {
                Self::Privilege(LoadError::Object(object))
            }
            LoadError::Object(object) if is_read_only_data_refused(&object) => {
                Self::TooOld("no read-only data for eBPF programs, which Linux has since 5.2")
            }
            other => Self::Load(other),
        }
    }
}

/// Whether the kernel denied something for want of rights.
fn denied(error: &(dyn Error + 'static)) -> bool {
    let by = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES));
    // The loader's transparent variants are no links of the chain: what they hold is skipped.
    let held: Option<&(dyn Error + 'static)> =
        match (error.downcast_ref::<MapError>(), error.downcast_ref::<ProgramError>()) {
            (Some(MapError::IoError(e)), _) | (_, Some(ProgramError::IOError(e))) => Some(e),
            (_, Some(ProgramError::MapError(e))) => Some(e),
            _ => None,
        };
    error.downcast_ref::<io::Error>().is_some_and(by) || held.or(error.source()).is_some_and(denied)
}

/// Whether the kernel knows no maps that programs cannot write to (`BPF_F_RDONLY_PROG`, 591fe9888d78),
/// in which all constants are.
fn is_read_only_data_refused(error: &EbpfError) -> bool {
    match error {
        EbpfError::MapError(MapError::CreateError { name, io_error }) => {
            name.ends_with(".rodata") && io_error.raw_os_error() == Some(libc::EINVAL)
        }
        _ => false,
    }
}

/// `ENOTSUPP`: the kernel's own, not a POSIX number.
const ENOTSUPP: i32 = 524;

/// Why a hook is not attached where its function cannot be found.
pub(super) const NO_FUNCTION: &str = "this kernel has no such function, or has it inlined";

/// Why a function has no kprobe.
pub(super) fn kprobe_refusal(error: &ProgramError) -> String {
    match errno_of(error) {
        Some(libc::ENOENT) => NO_FUNCTION.to_owned(),
        _ => refusal(error),
    }
}

/// The number that a system call failed with.
fn errno_of(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
        _ => None,
    }
}

/// Why a function has no BPF trampoline, on an architecture of this name, if the kernel says no more
/// than `ENOTSUPP`.
///
/// On arm64 a trampoline in a function of the kernel needs ftrace's direct calls: 2aa6ac03516d, v6.4.
/// Before v6.0 there was none at all (efc9909fdce0). Direct calls need CALL_OPS, which no kernel with
/// CONFIG_CFI has (baaf553d3bc3).
pub(super) fn trampoline_refusal(error: &ProgramError, arch: &str) -> String {
    match (errno_of(error), arch) {
        (Some(ENOTSUPP), "aarch64") => "no function of this kernel can have a BPF trampoline: on \
            arm64 that takes Linux 6.4 with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"
            .to_owned(),
        _ => refusal(error),
    }
}

/// Why one program was refused, short enough for a table.
pub(super) fn refusal(error: &ProgramError) -> String {
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
        Some(ENOTSUPP) => "ENOTSUPP".to_owned(),
        Some(n) => rustix::io::Errno::from_raw_os_error(n).to_string(),
        None => error.to_string(),
    }
}

/// One of the loader's errors with its causes on one line. Some of its errors name their cause and
/// have it as their source too, others do not.
fn chain(error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    /// Each way to hold it that the loader has.
    fn objects(errno: i32) -> [EbpfError; 4] {
        let io = || io::Error::from_raw_os_error(errno);
        let created = || MapError::CreateError { name: "EVENTS".to_owned(), io_error: io() };
        [
            EbpfError::MapError(created()),
            EbpfError::MapError(MapError::IoError(io())),
            EbpfError::ProgramError(ProgramError::IOError(io())),
            EbpfError::ProgramError(ProgramError::MapError(MapError::IoError(io()))),
        ]
    }

    #[test]
    fn a_want_of_rights_is_found_wherever_it_is() {
        for errno in [libc::EPERM, libc::EACCES] {
            for error in objects(errno) {
                let error = ProbeError::from(LoadError::Object(error));
                assert!(matches!(error, ProbeError::Privilege(_)), "{error:?}");
            }
        }
        for error in objects(libc::ENOMEM) {
            let error = ProbeError::from(LoadError::Object(error));
            assert!(matches!(error, ProbeError::Load(_)), "{error:?}");
        }
    }

    #[test]
    fn a_kernel_without_read_only_data_is_too_old() {
        let refused = |name: &str, errno| {
            let io_error = io::Error::from_raw_os_error(errno);
            let error = MapError::CreateError { name: name.to_owned(), io_error };
            ProbeError::from(LoadError::Object(EbpfError::MapError(error))).to_string()
        };
        assert_eq!(
            refused(".rodata", libc::EINVAL),
            "this kernel has no read-only data for eBPF programs, which Linux has since 5.2: nothing \
             can be traced here, but `overflow lab` infers verdicts without it"
        );
        assert_eq!(refused(".rodata", libc::ENOMEM), "cannot load the eBPF object");
        assert_eq!(refused("EVENTS", libc::EINVAL), "cannot load the eBPF object");
    }

    fn refused(errno: i32) -> ProgramError {
        let io_error = io::Error::from_raw_os_error(errno);
        ProgramError::SyscallError(SyscallError { call: "perf_event_open", io_error })
    }

    #[test]
    fn a_kprobe_on_nothing_says_so() {
        assert_eq!(kprobe_refusal(&refused(libc::ENOENT)), NO_FUNCTION);
        assert!(kprobe_refusal(&refused(libc::EACCES)).starts_with("perf_event_open failed"));
    }

    #[test]
    fn arm64_says_which_kernel_has_trampolines() {
        let why = trampoline_refusal(&refused(524), "aarch64");
        assert!(why.contains("takes Linux 6.4 with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"));
        let why = trampoline_refusal(&refused(524), "x86_64");
        assert_eq!(why, "perf_event_open failed (ENOTSUPP)");
        assert!(!trampoline_refusal(&refused(libc::EPERM), "aarch64").contains("6.4"));
    }

    #[test]
    fn a_cause_that_the_loader_names_is_printed_once() {
        let [created, ..] = objects(libc::ENOMEM);
        assert_eq!(
            LoadError::Object(created).to_string(),
            "map error: failed to create map `EVENTS`: Cannot allocate memory (os error 12)"
        );
        let [_, io, ..] = objects(libc::ENOMEM);
        assert_eq!(
            LoadError::Object(io).to_string(),
            "map error: Cannot allocate memory (os error 12)"
        );
    }
}
