//! Who holds a socket: every process's descriptors, and what procfs shows of the processes.

mod holders;
pub(crate) mod stat;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use overflow_core::owner::{Owner, Process, parse_cgroup};

use crate::own_status;

pub(crate) use holders::{pids, polled, socket_inode};

/// Processes that are described one by one; of more, only the pids are kept.
const DESCRIBED: usize = 16;

/// Names of processes besides the first of each socket that one search keeps, bytes. Whoever has many
/// sockets and processes can make more of them; then some sockets' other holders are pids alone.
const NAMES: usize = 8 << 20;

/// `/proc/PID/cgroup` has a line for each hierarchy with a path of at most PATH_MAX bytes.
const MAX_CGROUP: u64 = 256 << 10;

/// The owners of many sockets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners {
    /// Socket inode to owner; a socket that nobody visible holds is missing.
    pub by_inode: HashMap<u64, Owner>,
    /// Socket inode to the pids, ascending, of those that wait for it by epoll.
    pub polled_by: HashMap<u64, Vec<u32>>,
    /// What could not be seen, as sentences.
    pub notes: Vec<String>,
}

/// Finds the owners of the sockets with these inodes. Fails only where procfs does.
pub(crate) fn find(inodes: &HashSet<u64>) -> io::Result<Owners> {
    let proc_dir = Path::new("/proc");
    let holders = holders::find(proc_dir, inodes)?;
    let mut known: HashMap<u32, Option<Process>> = HashMap::new();
    let mut names = NAMES;
    let mut owners = Owners { polled_by: holders.polled_by, ..Owners::default() };
    for (inode, pids) in holders.by_inode {
        let waiting = owners.polled_by.get(&inode).map_or(&[][..], Vec::as_slice);
        let first: BTreeSet<&u32> =
            pids.iter().take(DESCRIBED).chain(waiting.iter().take(DESCRIBED)).collect();
        let described = first
            .into_iter()
            .filter_map(|pid| known.entry(*pid).or_insert_with(|| process(proc_dir, *pid)).clone());
        let processes: Vec<Process> = described.collect();
        if !processes.is_empty() {
            let mut owner = Owner::new(pids, processes);
            keep_names(&mut owner, &mut names);
            owners.by_inode.insert(inode, owner);
        }
    }
    if holders.unreadable > 0 {
        owners.notes.push(format!(
            "the open files of {} are hidden, so their listeners have no owner here; {}",
            processes(holders.unreadable),
            what_it_takes("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")
        ));
    }
    if holders.cut {
        owners.notes.push(
            "there are more open descriptors than one search looks at, so some owners may be \
             missing"
                .to_owned(),
        );
    }
    Ok(owners)
}

/// `PROC_PID_INIT_INO` of include/linux/proc_ns.h.
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Whether this process is in the initial pid namespace, whose numbers the kernel gives to processes
/// whoever asks.
pub fn in_initial_pid_namespace() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|ns| ns.ino() == INITIAL_PID_NAMESPACE)
}

/// Describes these processes, as far as they are there.
pub(crate) fn described(pids: &BTreeSet<u32>) -> Vec<Process> {
    pids.iter().filter_map(|pid| process(Path::new("/proc"), *pid)).collect()
}

/// Leaves only the first process where the names of the others no longer fit.
fn keep_names(owner: &mut Owner, left: &mut usize) {
    let others: usize = owner.processes.iter().skip(1).map(Process::names_len).sum();
    match left.checked_sub(others) {
        Some(rest) => *left = rest,
        None => owner.processes.truncate(1),
    }
}

fn process(proc_dir: &Path, pid: u32) -> Option<Process> {
    let stat = read_stat(proc_dir, pid)?;
    // A path may be no UTF-8.
    let mut bytes = Vec::new();
    let path = proc_dir.join(pid.to_string()).join("cgroup");
    let _ = File::open(path).and_then(|file| file.take(MAX_CGROUP).read_to_end(&mut bytes));
    let cgroup = parse_cgroup(&String::from_utf8_lossy(&bytes));
    Some(Process { pid, ppid: stat.ppid, comm: stat.comm, start: stat.start, cgroup })
}

fn read_stat(proc_dir: &Path, pid: u32) -> Option<stat::Stat> {
    // comm may be no UTF-8.
    let bytes = fs::read(proc_dir.join(pid.to_string()).join("stat")).ok()?;
    stat::parse(&String::from_utf8_lossy(&bytes))
}

/// What it would take to see more; who has it already is told what else keeps it hidden.
pub(crate) fn what_it_takes(capabilities: &str) -> String {
    if own_status::may_ptrace() {
        "this process may look, but a user namespace above it or a security module keeps it"
            .to_owned()
    } else {
        format!("seeing it takes {capabilities}")
    }
}

/// So many processes, in words.
pub(crate) fn processes(n: usize) -> String {
    format!("{n} process{}", if n == 1 { "" } else { "es" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_left_out_but_for_the_first() {
        let process = |pid| Process {
            pid,
            ppid: 1,
            comm: "hog".into(),
            start: 1,
            cgroup: parse_cgroup(&format!("0::/{}\n", "a".repeat(996))),
        };
        let mut left = 2500;
        let mut kept = |n: u32| {
            let mut owner = Owner::new((2..n + 2).collect(), (2..n + 2).map(process).collect());
            keep_names(&mut owner, &mut left);
            (owner.processes.len(), owner.pids.len())
        };
        // 1000 bytes for each but the first.
        assert_eq!((kept(3), kept(2), kept(1)), ((3, 3), (1, 2), (1, 1)));
    }

    #[test]
    fn this_process_is_described() {
        let me = process(Path::new("/proc"), std::process::id()).unwrap();
        assert_eq!(me.pid, std::process::id());
        let again = process(Path::new("/proc"), me.pid).unwrap();
        assert_eq!((again.start, again.comm), (me.start, me.comm));
    }
}
