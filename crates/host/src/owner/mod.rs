//! Who holds a socket: every process's descriptors, and what procfs shows of the processes.

mod holders;
mod stat;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    path::Path,
};

use overflow_core::owner::{Owner, Process, parse_cgroup};

pub(crate) use holders::{pids, polled, socket_inode};

/// Processes that are described one by one; of more, only the pids are kept.
const DESCRIBED: usize = 16;

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
            owners.by_inode.insert(inode, Owner::new(pids, processes));
        }
    }
    if holders.unreadable > 0 {
        owners.notes.push(format!(
            "the open files of {} are hidden, so their listeners have no owner here; seeing them \
             takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
            processes(holders.unreadable)
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

fn process(proc_dir: &Path, pid: u32) -> Option<Process> {
    let stat = read_stat(proc_dir, pid)?;
    let cgroup = fs::read_to_string(proc_dir.join(pid.to_string()).join("cgroup"));
    let cgroup = parse_cgroup(&cgroup.unwrap_or_default());
    Some(Process { pid, ppid: stat.ppid, comm: stat.comm, start: stat.start, cgroup })
}

fn read_stat(proc_dir: &Path, pid: u32) -> Option<stat::Stat> {
    // comm may be no UTF-8.
    let bytes = fs::read(proc_dir.join(pid.to_string()).join("stat")).ok()?;
    stat::parse(&String::from_utf8_lossy(&bytes))
}

/// So many processes, in words.
pub(crate) fn processes(n: usize) -> String {
    format!("{n} process{}", if n == 1 { "" } else { "es" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described() {
        let me = process(Path::new("/proc"), std::process::id()).unwrap();
        assert_eq!(me.pid, std::process::id());
        let again = process(Path::new("/proc"), me.pid).unwrap();
        assert_eq!((again.start, again.comm), (me.start, me.comm));
    }
}
