//! Which processes hold a socket: `/proc/PID/fd` of every process, read once for all sockets.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::Path,
};

/// The most descriptors one search looks at; what it did not see is reported.
const MAX_DESCRIPTORS: usize = 8 << 20;

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    /// Socket inode to the processes that hold it, ascending.
    pub by_inode: HashMap<u64, Vec<u32>>,
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
        for fd in fds.flatten() {
            let Some(left) = budget.checked_sub(1) else {
                holders.cut = true;
                return Ok(holders);
            };
            budget = left;
            let Ok(target) = fs::read_link(fd.path()) else { continue };
            let Some(inode) = target.to_str().and_then(socket_inode) else { continue };
            if wanted.contains(&inode) {
                let pids = holders.by_inode.entry(inode).or_default();
                if pids.last() != Some(&pid) {
                    pids.push(pid);
                }
            }
        }
    }
    Ok(holders)
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
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd, process};

    use super::*;

    #[test]
    fn only_sockets_are_sockets() {
        assert_eq!(socket_inode("socket:[12345]"), Some(12345));
        for other in ["pipe:[12345]", "socket:[]", "socket:[1", "/dev/null", "anon_inode:[x]"] {
            assert_eq!(socket_inode(other), None, "{other}");
        }
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
