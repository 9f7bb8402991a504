//! Whose listener: socket inode -> the processes that hold it, with container and unit.
//!
//! The owner is looked up from the socket, never from whoever runs on the CPU when a segment
//! arrives: in softirq that is a random victim.

mod cgroup;
mod holders;
mod stat;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::Path,
};

use serde::{Deserialize, Serialize};

pub use cgroup::{Cgroup, Container};
pub(crate) use holders::pids;

/// Processes that are described one by one; of more, only the pids are kept.
const DESCRIBED: usize = 16;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// In the pid namespace of this program.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// Its name.
    pub comm: String,
    /// When it started, clock ticks after boot.
    pub start: u64,
    /// Its control group.
    pub cgroup: Cgroup,
}

/// All processes that hold one socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The process to name first, then the others by pid: the one that the others descend from,
    /// but not pid 1 if it only opened the socket for a service.
    pub processes: Vec<Process>,
    /// Every holder's pid, ascending.
    pub pids: Vec<u32>,
}

/// The owners of many sockets.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// Socket inode to owner; a socket that nobody visible holds is missing.
    pub by_inode: HashMap<u64, Owner>,
    /// What could not be seen, as sentences.
    pub notes: Vec<String>,
}

impl Owner {
    /// The process to name first.
    pub fn main(&self) -> Option<&Process> {
        self.processes.first()
    }

    /// Whether pid 1 holds the socket for somebody: systemd's socket activation.
    pub fn socket_activated(&self) -> bool {
        self.pids.first() == Some(&1)
    }

    /// Container of the main process.
    pub fn container(&self) -> Option<&Container> {
        self.main()?.cgroup.container.as_ref()
    }

    /// systemd unit of the main process.
    pub fn unit(&self) -> Option<&str> {
        self.main()?.cgroup.unit.as_deref()
    }

    /// `nginx/1234`, and how many processes more: `nginx/1234+4`; in at most `room` characters,
    /// shortening the name first.
    pub fn short(&self, room: usize) -> String {
        let mut text = String::new();
        self.push_short(&mut text, room);
        text
    }

    /// The same, at the end of `out`.
    pub fn push_short(&self, out: &mut String, room: usize) {
        let Some(main) = self.main() else { return out.push('?') };
        let others = self.pids.len().saturating_sub(1);
        let begin = out.len();
        out.push_str(&main.comm);
        out.push('/');
        out.push_str(itoa::Buffer::new().format(main.pid));
        if others > 0 {
            out.push('+');
            out.push_str(itoa::Buffer::new().format(others));
        }
        if out[begin..].chars().count() <= room {
            return;
        }
        out.truncate(begin);
        let more = if others == 0 { String::new() } else { format!("+{others}") };
        let tail = format!("/{}", main.pid);
        let tail = if tail.len() + more.len() + 3 <= room { tail + &more } else { tail };
        out.extend(main.comm.chars().take(room.saturating_sub(tail.len()).max(1)));
        out.push_str(&tail);
    }

    fn new(pids: Vec<u32>, processes: Vec<Process>) -> Self {
        let mut owner = Self { processes, pids };
        let main = owner.main_of();
        owner.processes[..=main].rotate_right(1);
        owner
    }

    /// Where in `processes` the main one is.
    fn main_of(&self) -> usize {
        let service = |p: &Process| p.pid != 1;
        let root = |p: &Process| {
            !self.processes.iter().any(|parent| parent.pid == p.ppid && service(parent))
        };
        let at = self.processes.iter().position(|p| service(p) && root(p));
        at.or_else(|| self.processes.iter().position(service)).unwrap_or(0)
    }
}

/// Finds the owners of the sockets with these inodes. Fails only where procfs does.
pub(crate) fn find(inodes: &HashSet<u64>) -> io::Result<Owners> {
    let proc_dir = Path::new("/proc");
    let holders = holders::find(proc_dir, inodes)?;
    let mut known: HashMap<u32, Option<Process>> = HashMap::new();
    let mut owners = Owners::default();
    for (inode, pids) in holders.by_inode {
        let described = pids
            .iter()
            .take(DESCRIBED)
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

/// Whether `process` still is the process it was: pids are used again.
pub fn alive(process: &Process) -> bool {
    read_stat(Path::new("/proc"), process.pid).is_some_and(|s| s.start == process.start)
}

/// So many processes, in words.
pub(crate) fn processes(n: usize) -> String {
    format!("{n} process{}", if n == 1 { "" } else { "es" })
}

fn process(proc_dir: &Path, pid: u32) -> Option<Process> {
    let stat = read_stat(proc_dir, pid)?;
    let cgroup = fs::read_to_string(proc_dir.join(pid.to_string()).join("cgroup"));
    let cgroup = cgroup::parse(&cgroup.unwrap_or_default());
    Some(Process { pid, ppid: stat.ppid, comm: stat.comm, start: stat.start, cgroup })
}

fn read_stat(proc_dir: &Path, pid: u32) -> Option<stat::Stat> {
    // comm may be no UTF-8.
    let bytes = fs::read(proc_dir.join(pid.to_string()).join("stat")).ok()?;
    stat::parse(&String::from_utf8_lossy(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(processes: &[(u32, u32, &str)]) -> Owner {
        let process = |(pid, ppid, comm): &(u32, u32, &str)| Process {
            pid: *pid,
            ppid: *ppid,
            comm: (*comm).to_owned(),
            start: 1,
            cgroup: Cgroup::default(),
        };
        let pids = processes.iter().map(|p| p.0).collect();
        Owner::new(pids, processes.iter().map(process).collect())
    }

    #[test]
    fn the_master_is_named_before_its_workers() {
        let nginx = owner(&[(90, 100, "nginx"), (100, 1, "nginx"), (101, 100, "nginx")]);
        assert_eq!(nginx.main().unwrap().pid, 100);
        assert_eq!(nginx.short(20), "nginx/100+2");
        let pids: Vec<u32> = nginx.processes.iter().map(|p| p.pid).collect();
        assert_eq!(pids, [100, 90, 101]);
    }

    #[test]
    fn the_service_is_named_before_systemd() {
        let activated = owner(&[(1, 0, "systemd"), (812, 1, "sshd")]);
        assert_eq!(activated.main().unwrap().comm, "sshd");
        assert!(activated.socket_activated());
        let waiting = owner(&[(1, 0, "systemd")]);
        assert_eq!(waiting.main().unwrap().comm, "systemd");
    }

    #[test]
    fn names_are_shortened_before_pids() {
        let java = owner(&[(1_234_567, 1, "some-long-name")]);
        assert_eq!(java.short(30), "some-long-name/1234567");
        assert_eq!(java.short(11), "som/1234567");
        assert_eq!(java.short(3), "s/1234567");
        let many = owner(&[(77, 1, "gunicorn"), (78, 77, "gunicorn")]);
        assert_eq!(many.short(8), "gun/77+1");
    }

    #[test]
    fn this_process_is_described() {
        let me = process(Path::new("/proc"), std::process::id()).unwrap();
        assert!(alive(&me));
        assert!(!alive(&Process { start: me.start + 1, ..me }));
    }
}
