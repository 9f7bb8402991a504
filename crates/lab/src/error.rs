//! What can go wrong in the lab: one clear sentence each, with what to do about it.

use std::{io, net::SocketAddr};

use overflow_host::ReadError;

use crate::cell::config::{MAX_CLIENTS, MAX_PREFILL};
use crate::tracing::TracingError;

/// Why a cell could not be prepared or run.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// More clients than there are source ports set aside for them.
    #[error("{0} clients are too many: one cell has source ports for {MAX_CLIENTS}; use fewer")]
    TooManyClients(u32),
    /// No client at all.
    #[error("a burst of 0 clients shows nothing: use at least 1")]
    NoClients,
    /// More prefill connections than there are source ports set aside for them.
    #[error("a prefill of {0} is too large: one cell has source ports for {MAX_PREFILL}; use less")]
    PrefillTooLarge(u32),
    /// `listen(2)` takes an `int`.
    #[error("backlog {0} does not fit listen(2): use at most {max}", max = i32::MAX)]
    Backlog(u32),
    /// Port 0 would be a different port each time.
    #[error("port 0 is not a port clients can connect to: use 1 to 65535")]
    Port,
    /// The prefill alone overflows the accept queue.
    #[error(
        "a prefill of {prefill} can never be established: the accept queue holds \
         min(backlog {backlog}, somaxconn {somaxconn}) + 1 connections; use at most {room}"
    )]
    PrefillOverflows {
        /// Connections asked for.
        prefill: u32,
        /// The `listen(2)` argument.
        backlog: u32,
        /// `net.core.somaxconn` in the server's namespace.
        somaxconn: u32,
        /// Connections the accept queue holds.
        room: u32,
    },
    /// A prefill connection was not established in time.
    #[error(
        "prefill connection {number} of {of} was not established within {timeout_s} s ({state}): \
         this kernel does not admit that many with this backlog; use a smaller prefill or a larger \
         backlog"
    )]
    Prefill {
        /// Which one, counted from 1.
        number: u32,
        /// How many were asked for.
        of: u32,
        /// How long it was waited for, seconds.
        timeout_s: u64,
        /// What was seen instead.
        state: String,
    },
    /// A capability is missing.
    #[error(
        "{what} was refused ({cause}): the lab needs CAP_SYS_ADMIN and CAP_NET_ADMIN; run it as \
         root, or inside `unshare --user --map-root-user`"
    )]
    Privilege {
        /// What was tried.
        what: &'static str,
        /// What the kernel answered.
        cause: io::Error,
    },
    /// A sysctl is global on this kernel, or not there at all.
    #[error(
        "net.{key} does not exist in a network namespace on this kernel: {why}",
        why = not_per_namespace(key)
    )]
    SysctlNotPerNamespace {
        /// Name below `net.`, with dots.
        key: String,
    },
    /// A sysctl could not be read or written.
    #[error(
        "net.{key} could not be {action} in the lab's namespace: {cause}; check that \
         /proc/sys is mounted and writable"
    )]
    Sysctl {
        /// Name below `net.`, with dots.
        key: String,
        /// `read` or `set to N`.
        action: String,
        /// What the kernel answered.
        cause: io::Error,
    },
    /// `SOCK_DESTROY` is not built in.
    #[error(
        "SOCK_DESTROY is not supported by this kernel: it was built without \
         CONFIG_INET_DIAG_DESTROY; use one built with it"
    )]
    NoDestroy,
    /// Neither way to link the namespaces works.
    #[error(
        "the two namespaces cannot be linked: {netem}; and {tun}; load the modules veth and \
         sch_netem, or tun"
    )]
    NoLink {
        /// Why veth with netem does not work.
        netem: String,
        /// Why TUN does not work.
        tun: String,
    },
    /// The listener's address is taken.
    #[error("the listener cannot use {addr} ({cause}): choose another port")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the kernel answered.
        cause: io::Error,
    },
    /// The process may not open that many files.
    #[error(
        "{need} open files are needed for this cell, but the hard limit is {hard}: use fewer \
         clients or raise RLIMIT_NOFILE (`ulimit -Hn`)"
    )]
    OpenFiles {
        /// Descriptors one cell needs.
        need: u64,
        /// The hard limit.
        hard: u64,
    },
    /// A thread of the lab ended early; its own panic message says more.
    #[error("the lab's {0} thread ended before its work was done; its panic message says why")]
    ThreadEnded(&'static str),
    /// The tracer failed; its own error says why.
    #[error(transparent)]
    Tracing(TracingError),
    /// Anything else the kernel refused.
    #[error("{what} failed")]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel answered in an unexpected form.
    #[error("{what} cannot be understood: {why}; this kernel differs from those the lab knows")]
    Parse {
        /// Where it came from.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl From<ReadError> for LabError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { path, source } => Self::Io { what: format!("reading {path}"), source },
            ReadError::Form { path, why } => Self::Parse { what: path, why },
        }
    }
}

/// Why a namespace lacks a sysctl, and what to do about it.
fn not_per_namespace(key: &str) -> &'static str {
    match key {
        // Commit f5769faeec36.
        "core.optmem_max" => {
            "until v6.8 it belongs to the whole host, whose settings the lab never changes; use v6.8 \
             or later"
        }
        // Commit f870fa0b5768.
        "mptcp.enabled" => {
            "it has no MPTCP, which is in the kernel since v5.6 but only where CONFIG_MPTCP is set; \
             use one built with it"
        }
        // Commit f9ac779f881c.
        "ipv4.tcp_migrate_req" => "it came with v5.14; use v5.14 or later",
        "ipv4.tcp_abort_on_overflow" => {
            "until v4.15 it belongs to the whole host, whose settings the lab never changes; use \
             v4.15 or later"
        }
        _ => {
            "it belongs to the whole host, whose settings the lab never changes, or is not built in; \
             use a newer kernel, or one built with it"
        }
    }
}

/// Puts the failed action's name beside an error.
pub(super) trait During<T> {
    /// `what` is a noun phrase that reads before "failed".
    fn during(self, what: impl Into<String>) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl Into<String>) -> Result<T, LabError> {
        self.map_err(|e| LabError::Io { what: what.into(), source: e.into() })
    }
}

/// The symbolic name of an error, `ECONNRESET`, or its text where it has no number.
pub(super) fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}", nix::errno::Errno::from_raw(code)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_names_are_symbolic() {
        assert_eq!(errno_name(&io::Error::from_raw_os_error(libc::ECONNRESET)), "ECONNRESET");
        assert_eq!(errno_name(&io::Error::from_raw_os_error(libc::ETIMEDOUT)), "ETIMEDOUT");
        assert_eq!(errno_name(&io::Error::other("no number")), "no number");
    }

    #[test]
    fn messages_are_one_sentence_with_the_numbers_in_them() {
        let e = LabError::PrefillOverflows { prefill: 3, backlog: 1, somaxconn: 4096, room: 2 };
        assert_eq!(
            e.to_string(),
            "a prefill of 3 can never be established: the accept queue holds min(backlog 1, \
             somaxconn 4096) + 1 connections; use at most 2"
        );
    }

    #[test]
    fn a_missing_sysctl_is_explained_by_its_own_history() {
        let text = |key: &str| LabError::SysctlNotPerNamespace { key: key.to_owned() }.to_string();
        let optmem = text("core.optmem_max");
        assert!(optmem.starts_with("net.core.optmem_max does not exist in a network namespace"));
        assert!(optmem.contains("use v6.8 or later"), "{optmem}");
        assert!(text("mptcp.enabled").contains("CONFIG_MPTCP"));
        assert!(text("ipv4.tcp_abort_on_overflow").contains("v4.15"));
        for other in ["core.optmem_max", "mptcp.enabled", "core.somaxconn"] {
            assert!(!text(other).contains("4.15"), "{other}");
        }
    }
}
