//! Who called `listen()`, as an owner: what is known of a socket that nobody could look up in time.

use overflow_common::Opener;

use super::{Cgroup, Owner, Process};
use crate::text::Untrusted;

/// Nanoseconds of a clock tick of `/proc/PID/stat`: USER_HZ is 100 on every architecture that this
/// runs on (include/asm-generic/param.h).
const TICK_NS: u64 = 10_000_000;

impl Owner {
    /// Who called `listen()`, with what `/proc` shows of it now, if it is still there.
    pub fn called_listen(opener: &Opener, now: Option<Process>) -> Self {
        let process = now.filter(|process| is(process, opener)).unwrap_or_else(|| Process {
            pid: opener.pid,
            ppid: 0,
            comm: name(&opener.comm),
            start: 0,
            cgroup: Cgroup::default(),
        });
        Self { pids: vec![process.pid], processes: vec![process], called_listen: true }
    }
}

/// Whether it is the same process, and not a later one with its pid: it was there before. The clocks
/// differ by the time of suspends, after which one that is the same may be taken for another.
fn is(process: &Process, opener: &Opener) -> bool {
    let began = process.start.saturating_mul(TICK_NS);
    process.pid == opener.pid && began <= opener.t_ns
}

/// `comm` up to its zero.
fn name(comm: &[u8]) -> Untrusted {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    Untrusted::from_bytes(&comm[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opener() -> Opener {
        let mut comm = [0; 16];
        comm[..6].copy_from_slice(b"a\xff\0xyz");
        Opener { t_ns: 50 * TICK_NS, comm, pid: 7, ..Opener::default() }
    }

    fn process(pid: u32, start: u64) -> Process {
        Process { pid, ppid: 1, comm: "now".into(), start, cgroup: Cgroup::default() }
    }

    #[test]
    fn one_that_is_gone_is_known_by_pid_and_name() {
        let owner = Owner::called_listen(&opener(), None);
        assert!(owner.called_listen);
        assert_eq!((&owner.pids[..], owner.processes[0].pid), (&[7][..], 7));
        assert_eq!(owner.processes[0].comm.verbatim(), "a\u{fffd}");
    }

    #[test]
    fn another_process_with_its_pid_is_not_it() {
        let comm = |now| {
            Owner::called_listen(&opener(), Some(now)).processes[0].comm.verbatim().to_owned()
        };
        assert_eq!(comm(process(7, 50)), "now");
        // It began after the socket was opened, or is none that was asked for.
        assert_eq!(comm(process(7, 51)), "a\u{fffd}");
        assert_eq!(comm(process(8, 1)), "a\u{fffd}");
    }
}
