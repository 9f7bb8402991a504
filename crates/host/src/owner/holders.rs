//! Which processes hold a socket: `/proc/PID/fd` of every process, read once for all sockets. And
//! which of them wait for it by epoll: nginx's workers all hold the sockets of a `SO_REUSEPORT` group,
//! and each looks at its own.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// The most descriptors one search looks at; what it did not see is reported.
const MAX_DESCRIPTORS: usize = 8 << 20;

/// Bytes that are read of what one epoll descriptor waits for; about 70 stand for one file.
const MAX_EPOLL: u64 = 4 << 20;

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    /// Socket inode to the processes that hold it, ascending.
    pub by_inode: HashMap<u64, Vec<u32>>,
    /// The same of those that have it in an epoll set.
    pub polled_by: HashMap<u64, Vec<u32>>,
    /// Processes whose descriptors may not be read.
    pub unreadable: usize,
    /// Whether the search was cut short at its bound.
    pub cut: bool,
}

/// Searches the processes below `proc_dir` (`/proc`) for holders of `wanted` sockets.
pub(super) fn find(proc_dir: &Path, wanted: &HashSet<u64>) -> io::Result<Holders> {
    let mut holders = Holders::default();
    let mut budget = MAX_DESCRIPTORS;
    if wanted.is_empty() {
        return Ok(holders);
    }
    for pid in pids(proc_dir)? {
        let Ok(fds) = fs::read_dir(proc_dir.join(pid.to_string()).join("fd")).inspect_err(|e| {
            // A process that ended meanwhile holds nothing.
            holders.unreadable += usize::from(e.kind() == io::ErrorKind::PermissionDenied);
        }) else {
            continue;
        };
        let (mut epolls, mut holds) = (Vec::new(), false);
        for fd in fds.flatten() {
            let Some(left) = budget.checked_sub(1) else {
                holders.cut = true;
                return Ok(holders);
            };
            budget = left;
            let Ok(target) = fs::read_link(fd.path()) else { continue };
            let Some(target) = target.to_str() else { continue };
            if target == "anon_inode:[eventpoll]" {
                epolls.push(fd.file_name());
            }
            let Some(inode) = socket_inode(target) else { continue };
            if wanted.contains(&inode) {
                holds = true;
                let pids = holders.by_inode.entry(inode).or_default();
                if pids.last() != Some(&pid) {
                    pids.push(pid);
                }
            }
        }
        for epoll in epolls.iter().filter(|_| holds) {
            let info = proc_dir.join(pid.to_string()).join("fdinfo").join(epoll);
            for file in polled(&info).into_iter().filter(|file| wanted.contains(&file.inode)) {
                let pids = holders.polled_by.entry(file.inode).or_default();
                if pids.last() != Some(&pid) {
                    pids.push(pid);
                }
            }
        }
    }
    Ok(holders)
}

/// A file in an epoll set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PolledFile {
    pub(crate) inode: u64,
    /// `EPOLLIN` and its like.
    pub(crate) events: u32,
}

/// The files that an epoll descriptor waits for: `tfd: 7 events: 19 data: 7 pos:0 ino:2f1c
/// sdev:8` a line, in hexadecimal (`ep_show_fdinfo` of fs/eventpoll.c, with the inode since v4.13,
/// commit 77493f04b74c). None where that cannot be read.
pub(crate) fn polled(info: &Path) -> Vec<PolledFile> {
    let mut text = String::new();
    let read = File::open(info).and_then(|file| file.take(MAX_EPOLL).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let files = text.lines().filter(|line| line.starts_with("tfd:"));
    files.filter_map(polled_file).collect()
}

fn polled_file(line: &str) -> Option<PolledFile> {
    let mut words = line.split_ascii_whitespace();
    let events = words.by_ref().skip_while(|word| *word != "events:").nth(1)?;
    let inode = words.find_map(|word| word.strip_prefix("ino:"))?;
    Some(PolledFile {
        inode: u64::from_str_radix(inode, 16).ok()?,
        events: u32::from_str_radix(events, 16).ok()?,
    })
}

/// Every process below `proc_dir`, ascending.
pub(crate) fn pids(proc_dir: &Path) -> io::Result<Vec<u32>> {
    let entries = fs::read_dir(proc_dir)?;
    let mut pids: Vec<u32> =
        entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// `socket:[12345]`.
pub(crate) fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd, process};

    use rustix::event::epoll;

    use super::*;

    #[test]
    fn only_sockets_are_sockets() {
        assert_eq!(socket_inode("socket:[12345]"), Some(12345));
        for other in ["pipe:[12345]", "socket:[]", "socket:[1", "/dev/null", "anon_inode:[x]"] {
            assert_eq!(socket_inode(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_of_an_epoll_set_has_its_events_and_inode() {
        let line = "tfd:        7 events: 80000019 data:                7  pos:0 ino:2f1c sdev:8";
        assert_eq!(polled_file(line), Some(PolledFile { inode: 0x2f1c, events: 0x8000_0019 }));
        assert_eq!(polled_file("tfd: 7 events: 19 data: 7"), None);
    }

    #[test]
    fn what_an_epoll_set_waits_for_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = socket_inode(link.to_str().unwrap()).unwrap();
        let polled_by = || {
            let found = find(Path::new("/proc"), &HashSet::from([inode])).unwrap();
            found.polled_by.get(&inode).cloned()
        };
        assert_eq!(polled_by(), None);
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        epoll::add(&set, &socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN).unwrap();
        assert_eq!(polled_by(), Some(vec![process::id()]));
    }

    #[test]
    fn finds_this_process_by_its_own_socket() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = socket_inode(link.to_str().unwrap()).unwrap();
        let second = socket.try_clone().unwrap();
        let holders = find(Path::new("/proc"), &HashSet::from([inode])).unwrap();
        assert_eq!(holders.by_inode[&inode], [process::id()]);
        drop((socket, second));
        let holders = find(Path::new("/proc"), &HashSet::from([inode])).unwrap();
        assert!(holders.by_inode.is_empty());
    }
}
