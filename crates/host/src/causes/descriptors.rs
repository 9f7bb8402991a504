//! File descriptors of a process: how many it has and may have, and its epoll sets.

use std::{collections::BTreeSet, ffi::OsString, fs, path::Path};

use overflow_core::cause::{Descriptors, Polled, evidence::FileTable};

use super::threads::text;
use crate::owner::{polled, socket_inode};

/// Epoll sets of one process that are read.
const SETS: usize = 64;

/// What is looked for in a process's descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) descriptors: Option<Descriptors>,
    /// Epoll sets with the socket's inode.
    pub(super) polled: Vec<(u64, Polled)>,
    /// Descriptors of sockets with their inodes, ascending.
    pub(super) sockets: Vec<(u64, u32)>,
}

/// Counts the descriptors of a process, and finds those of the `wanted` sockets and the epoll sets that
/// have one; looks at no more than `budget` descriptors, and takes those from it.
pub(super) fn of(proc_dir: &Path, wanted: &BTreeSet<u64>, budget: &mut usize) -> Found {
    let Ok(entries) = fs::read_dir(proc_dir.join("fd")) else { return Found::default() };
    let limit = text(&proc_dir.join("limits")).ok().and_then(|limits| open_files(&limits));
    let mut open = 0_u64;
    let mut cut = false;
    let mut sets: Vec<(u32, OsString)> = Vec::new();
    let mut sockets = Vec::new();
    for entry in entries.flatten() {
        let Some(left) = budget.checked_sub(1) else {
            cut = true;
            break;
        };
        *budget = left;
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        open += u64::from(limit.is_none_or(|limit| u64::from(fd) < limit));
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if target.as_os_str() == "anon_inode:[eventpoll]" && sets.len() < SETS {
            sets.push((fd, entry.file_name()));
        }
        let inode = target.to_str().and_then(socket_inode);
        sockets.extend(inode.filter(|inode| wanted.contains(inode)).map(|inode| (inode, fd)));
    }
    if cut {
        // Since v6.2 (commit f1f1f2569901) the folder's size is the number of its entries.
        let all = fs::metadata(proc_dir.join("fd")).map_or(0, |folder| folder.len());
        open = open.max(all);
    }
    let descriptors = limit.map(|limit| Descriptors { open, limit });
    let polled = sets.into_iter().flat_map(|(epoll, name)| {
        let files = polled(&proc_dir.join("fdinfo").join(name)).into_iter();
        let ours = files.filter(|file| wanted.contains(&file.inode));
        ours.map(move |file| (file.inode, Polled { epoll, events: file.events }))
    });
    sockets.sort_unstable();
    Found { descriptors, polled: polled.collect(), sockets }
}

/// The soft limit of `Max open files            1024                 1048576              files`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => None,
        soft => soft.parse().ok(),
    }
}

/// Files that are open in the whole system.
pub(super) fn file_table() -> Option<FileTable> {
    // `allocated unused max`; unused is 0 since v2.6.
    let text = text(Path::new("/proc/sys/fs/file-nr")).ok()?;
    let mut numbers = text.split_ascii_whitespace().filter_map(|n| n.parse().ok());
    Some(FileTable { allocated: numbers.next()?, max: numbers.nth(1)? })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd};

    use rustix::event::epoll;

    use super::*;

    #[test]
    fn the_soft_limit_is_the_one_that_counts() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max file size             unlimited            unlimited            bytes\n\
                      Max open files            1024                 1048576              files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files            unlimited            unlimited"), None);
    }

    #[test]
    fn this_process_has_descriptors_and_its_epoll_set_this_socket() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = socket_inode(link.to_str().unwrap()).unwrap();
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&set, &socket, epoll::EventData::new_u64(0), events).unwrap();
        let of = |inode, budget: &mut usize| {
            of(Path::new("/proc/self"), &BTreeSet::from([inode]), budget)
        };
        let found = of(inode, &mut 4096);
        let fds = found.descriptors.unwrap();
        assert!(fds.open > 3 && fds.open < fds.limit, "{fds:?}");
        // Errors and hang-ups are always waited for (do_epoll_ctl): EPOLLERR | EPOLLHUP.
        let own = u32::try_from(set.as_raw_fd()).unwrap();
        assert_eq!(found.sockets, [(inode, u32::try_from(socket.as_raw_fd()).unwrap())]);
        assert_eq!(found.polled, [(inode, Polled { epoll: own, events: events.bits() | 0x18 })]);
        assert_eq!(of(inode + 1, &mut 4096).polled, []);
        let mut budget = 2;
        of(inode, &mut budget);
        assert_eq!(budget, 0);
    }

    #[test]
    fn the_system_has_files_open() {
        let table = file_table().unwrap();
        assert!(table.allocated > 0 && table.allocated <= table.max);
    }
}
