//! The processes that hold a listener, read twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use overflow_core::{
    cause::{ControlGroup, Holder, On, Polled, Reading, Thread, Waiter},
    listeners::Listener,
};

use super::{
    cgroups::{Groups, Hierarchies, between},
    descriptors::{self, Found},
    threads::{Process, Task, have_ended, of_listener, stat},
};
use crate::owner;

const EPOLLIN: u32 = 0x1;

/// What one look may still read.
struct Budget {
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

/// The processes that hold some listeners, after the first reading: each is read once, however many
/// it holds.
pub(super) struct Held {
    processes: Vec<Read>,
    /// Those that were too many.
    left: BTreeSet<u32>,
}

/// They after the second reading.
pub(super) struct Seen {
    processes: BTreeMap<u32, (Holder, Found)>,
    left: BTreeSet<u32>,
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
    /// Reads the threads of all holders, those first that are known to accept.
    pub(super) fn first(
        listeners: &[&Listener],
        waited: &[Waiter],
        hierarchies: &Hierarchies,
    ) -> Self {
        let wanted: BTreeSet<u64> = listeners.iter().map(|l| l.inode).collect();
        let held = listeners.iter().filter_map(|l| l.owner.as_ref()).flat_map(|o| &o.pids);
        let holders: BTreeSet<u32> = held.copied().collect();
        let (known, others): (Vec<u32>, Vec<u32>) =
            holders.iter().partition(|pid| waited.iter().any(|w| w.pid == **pid));
        let mut budget = Budget::default();
        let mut groups = Groups::default();
        let (mut processes, mut left) = (Vec::new(), BTreeSet::new());
        for pid in known.into_iter().chain(others) {
            if budget.processes == 0 || budget.threads == 0 {
                left.insert(pid);
                continue;
            }
            budget.processes -= 1;
            processes.extend(Read::new(pid, &wanted, waited, &mut budget, |dir| {
                groups.of(hierarchies, dir)
            }));
        }
        Self { processes, left }
    }

    /// Reads them again.
    pub(super) fn second(self, hierarchies: &Hierarchies) -> Seen {
        let mut groups = Groups::default();
        let read = self.processes.into_iter().map(|read| {
            let now = groups.of(hierarchies, &read.dir);
            (read.pid, read.again(now))
        });
        Seen { processes: read.collect(), left: self.left }
    }
}

impl Seen {
    /// The holders of one listener, and what could not be read of them.
    pub(super) fn of(&self, listener: &Listener) -> (Vec<Holder>, Vec<String>) {
        let pids = listener.owner.as_ref().map_or(&[][..], |owner| &owner.pids);
        let of = |pid: &u32| self.processes.get(pid);
        let holders: Vec<Holder> =
            pids.iter().filter_map(of).map(|(h, found)| of_one(h, found, listener.inode)).collect();
        let mut unread = Vec::new();
        let left = pids.iter().filter(|pid| self.left.contains(pid)).count();
        if left > 0 {
            unread.push(format!("{left} more processes hold it, and were not looked at"));
        }
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

/// A process as the holder of this listener.
fn of_one(holder: &Holder, found: &Found, inode: u64) -> Holder {
    let mut holder = holder.clone();
    let ours = |of: u64| of == inode;
    holder.polled = found.polled.iter().filter(|(of, _)| ours(*of)).map(|(_, p)| *p).collect();
    holder.sockets = found.sockets.iter().filter(|(of, _)| ours(*of)).map(|(_, fd)| *fd).collect();
    for thread in &mut holder.threads {
        for reading in [&mut thread.first, &mut thread.second] {
            reading.call = reading.call.take().map(|call| of_listener(call, inode));
        }
    }
    holder
}

impl Read {
    fn new(
        pid: u32,
        wanted: &BTreeSet<u64>,
        waited: &[Waiter],
        budget: &mut Budget,
        groups: impl FnOnce(&Path) -> Vec<ControlGroup>,
    ) -> Option<Self> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let process = Process::new(&dir);
        let found = descriptors::of(&dir, wanted, &mut budget.descriptors);
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

    fn again(self, groups: Vec<ControlGroup>) -> (Holder, Found) {
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
        let holder = Holder {
            pid: self.pid,
            ppid: self.ppid,
            comm: self.comm,
            program: program(&self.dir),
            sockets: Vec::new(),
            descriptors: self.found.descriptors,
            tracer: tracer(&status),
            groups: between(&self.groups, groups),
            polled: Vec::new(),
            threads,
            thread_count: self.thread_count,
            threads_ended: Some(self.ended),
            calls_readable: !refused,
        };
        (holder, self.found)
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

/// The threads of these holders that waited on the socket at either reading.
pub(super) fn waiters(holders: &[Holder], t_ns: u64) -> Vec<Waiter> {
    let mut found = Vec::new();
    for holder in holders {
        for thread in &holder.threads {
            if [&thread.first, &thread.second].iter().any(|r| waits(r, &holder.polled)) {
                let (pid, tid, comm) = (holder.pid, thread.tid, thread.comm.clone());
                found.push(Waiter { pid, tid, comm, t_ns });
            }
        }
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
