//! The processes that hold a listener, read twice.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use overflow_core::{
    cause::{ControlGroup, Evidence, Holder, On, Polled, Reading, Thread, Waiter},
    listeners::Listener,
};

use super::{
    cgroups::{Groups, Hierarchies, between},
    descriptors::{self, Found},
    threads::{Process, Task, have_ended, stat},
};
use crate::{clock::monotonic_ns, owner};

const EPOLLIN: u32 = 0x1;

/// What one look may still read.
pub(super) struct Budget {
    processes: usize,
    threads: usize,
    descriptors: usize,
}

/// Threads of one process that are read; the main one and those that are known to accept first.
const THREADS_OF_ONE: usize = 256;

impl Default for Budget {
    fn default() -> Self {
        Self { processes: 128, threads: 1024, descriptors: 1 << 18 }
    }
}

/// The holders of one listener after the first reading.
pub(super) struct Held {
    processes: Vec<Read>,
    unread: Vec<String>,
}

struct Read {
    pid: u32,
    dir: PathBuf,
    process: Process,
    comm: String,
    ppid: u32,
    thread_count: u32,
    ended: bool,
    tasks: BTreeMap<u32, Task>,
    found: Found,
    groups: Vec<ControlGroup>,
}

impl Held {
    /// Reads the threads of all holders, those first whose thread waited on the socket before.
    pub(super) fn first(
        listener: &Listener,
        waited: &[Waiter],
        hierarchies: &Hierarchies,
        budget: &mut Budget,
    ) -> Self {
        let pids = listener.owner.as_ref().map_or(&[][..], |owner| &owner.pids);
        let (known, others): (Vec<u32>, Vec<u32>) =
            pids.iter().partition(|pid| waited.iter().any(|w| w.pid == **pid));
        let (mut groups, mut unread) = (Groups::default(), Vec::new());
        let mut processes = Vec::new();
        for (i, pid) in known.iter().chain(&others).enumerate() {
            if budget.processes == 0 || budget.threads == 0 {
                let left = pids.len() - i;
                unread.push(format!("{left} more processes hold it, and were not looked at"));
                break;
            }
            budget.processes -= 1;
            processes.extend(Read::new(*pid, listener.inode, waited, budget, |dir| {
                groups.of(hierarchies, dir)
            }));
        }
        Self { processes, unread }
    }

    /// Reads them again: the holders, and what could not be read of them.
    pub(super) fn second(self, hierarchies: &Hierarchies) -> (Vec<Holder>, Vec<String>) {
        let mut groups = Groups::default();
        let mut unread = self.unread;
        let read = self.processes.into_iter().map(|read| {
            let now = groups.of(hierarchies, &read.dir);
            read.again(now)
        });
        let holders: Vec<Holder> = read.collect();
        let dark = holders.iter().filter(|h| !h.calls_readable).count();
        if dark > 0 {
            unread.push(format!(
                "the system calls of {} may not be read; that takes CAP_SYS_PTRACE",
                owner::processes(dark)
            ));
        }
        (holders, unread)
    }
}

impl Read {
    fn new(
        pid: u32,
        inode: u64,
        waited: &[Waiter],
        budget: &mut Budget,
        groups: impl FnOnce(&Path) -> Vec<ControlGroup>,
    ) -> Option<Self> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let process = Process::new(&dir, inode);
        let found = descriptors::of(&dir, inode, &mut budget.descriptors);
        let whole = stat(&dir)?;
        let mut tids = process.tids().ok()?;
        let count = tids.len();
        tids.sort_by_key(|tid| (*tid != pid && !waited.iter().any(|w| w.tid == *tid), *tid));
        tids.truncate(THREADS_OF_ONE.min(budget.threads));
        budget.threads -= tids.len();
        let groups = groups(&dir);
        let tasks: BTreeMap<u32, Task> =
            tids.into_iter().filter_map(|tid| Some((tid, process.task(tid)?))).collect();
        Some(Self {
            pid,
            process,
            comm: whole.comm,
            ppid: whole.ppid,
            thread_count: u32::try_from(count).unwrap_or(u32::MAX),
            ended: count == tasks.len() && have_ended(whole.faults, &tasks),
            tasks,
            found,
            groups,
            dir,
        })
    }

    fn again(self, groups: Vec<ControlGroup>) -> Holder {
        let mut refused = false;
        let mut threads = Vec::new();
        for (tid, first) in self.tasks {
            let Some(second) = self.process.task(tid) else { continue };
            refused |= second.refused == Some(io::ErrorKind::PermissionDenied);
            let asleep = matches!(second.reading.state, 'S' | 'D');
            threads.push(Thread {
                tid,
                comm: second.comm,
                first: first.reading,
                second: second.reading,
                stack: if asleep { self.process.stack(tid) } else { Vec::new() },
            });
        }
        let status = super::threads::text(&self.dir.join("status")).unwrap_or_default();
        Holder {
            pid: self.pid,
            ppid: self.ppid,
            comm: self.comm,
            program: program(&self.dir),
            sockets: self.found.sockets,
            descriptors: self.found.descriptors,
            tracer: tracer(&status),
            groups: between(&self.groups, groups),
            polled: self.found.polled,
            threads,
            thread_count: self.thread_count,
            threads_ended: Some(self.ended),
            calls_readable: !refused,
        }
    }
}

/// Which file it runs.
fn program(dir: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(dir.join("exe")).ok()?;
    Some((file.dev(), file.ino()))
}

/// `TracerPid: 0` of `status` is nobody.
fn tracer(status: &str) -> Option<u32> {
    let pid = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    pid.trim().parse().ok().filter(|pid| *pid != 0)
}

/// The threads that waited on the socket at either reading.
pub(super) fn waiters(evidence: &Evidence) -> Vec<Waiter> {
    let mut found = Vec::new();
    for holder in &evidence.holders {
        for thread in &holder.threads {
            if [&thread.first, &thread.second].iter().any(|r| waits(r, &holder.polled)) {
                let (pid, tid, comm) = (holder.pid, thread.tid, thread.comm.clone());
                found.push(Waiter { pid, tid, comm, t_ns: evidence.t_ns });
            }
        }
    }
    found
}

/// The threads that wait on the listener now.
pub(super) fn waiting_now(listener: &Listener, budget: &mut Budget) -> Vec<Waiter> {
    let pids = listener.owner.as_ref().map_or(&[][..], |owner| &owner.pids);
    let t_ns = monotonic_ns();
    let mut found = Vec::new();
    for pid in pids.iter().take(budget.processes) {
        let read = Read::new(*pid, listener.inode, &[], budget, |_| Vec::new());
        let Some(read) = read else { continue };
        let waiting = read.tasks.iter().filter(|(_, t)| waits(&t.reading, &read.found.polled));
        found.extend(waiting.map(|(tid, task)| Waiter {
            pid: *pid,
            tid: *tid,
            comm: task.comm.clone(),
            t_ns,
        }));
    }
    found
}

/// Whether a thread waits for connections of the listener.
fn waits(reading: &Reading, polled: &[Polled]) -> bool {
    let Some(call) = &reading.call else { return false };
    match &call.on {
        On::Listener => call.name.starts_with("accept"),
        On::Epoll(set) => polled.iter().any(|p| p.epoll == *set && p.events & EPOLLIN != 0),
        On::Futex(..) | On::File(..) | On::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use overflow_core::cause::Call;

    use super::*;

    #[test]
    fn nobody_traces_most_processes() {
        assert_eq!(tracer("Name:\tx\nTracerPid:\t0\nUid:\t0\n"), None);
        assert_eq!(tracer("Name:\tx\nTracerPid:\t812\n"), Some(812));
    }

    #[test]
    fn who_waits_in_accept_or_in_an_epoll_set_that_has_it() {
        let polled = [Polled { epoll: 4, events: 0x19 }, Polled { epoll: 5, events: 0x18 }];
        let waits = |name: &str, on| {
            let call = Some(Call { name: name.to_owned(), on });
            let reading = Reading { state: 'S', run_ns: 0, wait_ns: 0, wchan: String::new(), call };
            waits(&reading, &polled)
        };
        assert!(waits("accept4", On::Listener) && waits("epoll_wait", On::Epoll(4)));
        assert!(!waits("epoll_wait", On::Epoll(5)) && !waits("epoll_wait", On::Epoll(6)));
        assert!(!waits("read", On::Listener) && !waits("futex", On::Futex(1, 2)));
    }
}
