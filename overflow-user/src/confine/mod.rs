//! Confinement: once the programs are attached, the process that reads what came from the network
//! can no longer touch the host.
//!
//! Three walls, one behind the other: no capabilities and no new privileges (`caps`), no files
//! (`landlock`), and only the system calls of a reader and writer of descriptors that are open
//! already (`seccomp`). What must go on seeing the host, finding the owners of listeners, is
//! done by a process of its own ([`Attribution`]), which never sees a packet; so is sending to a
//! collector ([`crate::export`]), by one that sees neither.
//!
//! A refused call gets EPERM; it does not kill the process. The attempt gains nothing either way,
//! and code that meets a refusal can say so and finish the summary.

pub mod attribution;
mod caps;
pub mod landlock;
pub(crate) mod seccomp;
pub(crate) mod second_process;
pub(crate) mod wire;
mod describe;

use std::{fs, io, thread, time::Duration};

use nix::sys::signal::SigSet;
use rustix::{
    process::Pid,
    thread::{CapabilitySet, set_no_new_privs},
};
use thiserror::Error;

pub use attribution::Attribution;
pub use caps::{effective, names};

/// What a process goes on doing once it is confined, besides reading and writing descriptors that
/// are open already.
#[derive(Clone, Copy, Default)]
pub struct Needs<'a> {
    /// It uses eBPF maps that it has open; this reads some and says whether that worked.
    pub maps: Option<&'a (dyn Fn() -> bool + Sync)>,
    /// It ends this child of its own.
    pub ends: Option<Pid>,
    /// It answers on TCP sockets that are listening already.
    pub network: bool,
    /// It draws on the terminal it has open, from a thread that begins later.
    pub terminal: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Capabilities that had to stay.
    pub kept: CapabilitySet,
    /// The kernel's Landlock version, as far as it is used here.
    pub landlock: Option<i32>,
    /// Whether system calls are filtered; not on a kernel without seccomp filters.
    pub seccomp: bool,
}

/// Why a process cannot be confined.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// Threads that exist already would stay as they are.
    #[error("{0} threads are running already, and only the calling one would be confined")]
    Threads(usize),
    /// A step failed.
    #[error("{step}: {cause}; --no-confine does without, for debugging")]
    Step {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
}

impl ConfineError {
    /// A step that failed, as a function of why.
    pub(crate) fn step(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Self::Step { step, cause }
    }
}

/// Confines this process, for good. It must have no other threads.
pub fn confine(needs: &Needs) -> Result<Confinement, ConfineError> {
    alone()?;
    thread_itself(needs)
}

/// What [`confine`] would do here, found out by a thread that is confined and ends.
pub fn rehearse(needs: &Needs) -> Result<Confinement, ConfineError> {
    tried(|| thread_itself(needs))
}

/// Confines a process that sends to these TCP ports of any host, and finds hosts by their names, for
/// good. It must have no other threads.
pub(crate) fn confine_sender(ports: &[u16]) -> Result<Confinement, ConfineError> {
    alone()?;
    sender_itself(ports)
}

/// What [`confine_sender`] would do here, found out like [`rehearse`].
pub fn rehearse_sender() -> Result<Confinement, ConfineError> {
    tried(|| sender_itself(&[4318]))
}

/// Leaves the end of the calling process to the one at the other end of its pipes, and to SIGKILL.
pub(crate) fn ignore_signals() -> Result<(), ConfineError> {
    SigSet::all().thread_block().map_err(|e| ConfineError::step("cannot block signals")(e.into()))
}

fn tried(
    confined: impl FnOnce() -> Result<Confinement, ConfineError> + Send,
) -> Result<Confinement, ConfineError> {
    thread::scope(|scope| {
        let failed = |_| io::Error::other("the thread that tries it failed");
        let tried = scope.spawn(confined).join().map_err(failed);
        tried.map_err(ConfineError::step("cannot try confinement"))?
    })
}

fn thread_itself(needs: &Needs) -> Result<Confinement, ConfineError> {
    set_no_new_privs(true).map_err(|e| ConfineError::step("cannot set no_new_privs")(e.into()))?;
    // First, since reading a map for the first time opens a file: the number of CPUs.
    let kept =
        caps::drop_all(needs.maps).map_err(ConfineError::step("cannot drop capabilities"))?;
    let landlock = landlock::restrict().map_err(ConfineError::step("cannot apply Landlock"))?;
    let seccomp = seccomp::restrict(seccomp::reader(needs))
        .map_err(ConfineError::step("cannot filter system calls"))?;
    Ok(Confinement { kept, landlock, seccomp })
}

fn sender_itself(ports: &[u16]) -> Result<Confinement, ConfineError> {
    set_no_new_privs(true).map_err(|e| ConfineError::step("cannot set no_new_privs")(e.into()))?;
    let kept = CapabilitySet::empty();
    caps::keep(kept).map_err(ConfineError::step("cannot drop capabilities"))?;
    let landlock =
        landlock::restrict_sender(ports).map_err(ConfineError::step("cannot apply Landlock"))?;
    let seccomp = seccomp::restrict(seccomp::sender())
        .map_err(ConfineError::step("cannot filter system calls"))?;
    Ok(Confinement { kept, landlock, seccomp })
}

/// Fails if there are other threads; one that was just joined may still be on its way out.
fn alone() -> Result<(), ConfineError> {
    const TRIES: usize = 100;
    let threads = || fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    for _ in 0..TRIES {
        if threads() <= 1 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(ConfineError::Threads(threads()))
}

#[cfg(test)]
mod tests;
