//! Whose listener: socket inode -> the processes that hold it, with container and unit.
//!
//! The owner is looked up from the socket, never from whoever runs on the CPU when a segment
//! arrives: in softirq that is a random victim. `listen()` is called by a process, and who that was
//! is told where nobody could be looked up.

mod cgroup;
mod opener;

use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

pub use cgroup::{Cgroup, Container, parse as parse_cgroup};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// In the pid namespace of this program.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// Its name.
    pub comm: Untrusted,
    /// When it started, clock ticks after boot.
    pub start: u64,
    /// Its control group.
    pub cgroup: Cgroup,
}

impl Process {
    /// How long all names in it are together, bytes.
    pub fn names_len(&self) -> usize {
        let Cgroup { path, unit, container, pod } = &self.cgroup;
        let container = container.iter().flat_map(|c| [&c.runtime, &c.id]);
        let names = [&self.comm, path].into_iter().chain(unit).chain(container).chain(pod);
        names.map(Untrusted::len).sum()
    }
}

/// All processes that hold one socket, or at least who opened it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The process to name first, then the others by pid: the one that the others descend from,
    /// but not pid 1 if it only opened the socket for a service.
    pub processes: Vec<Process>,
    /// Every holder's pid, ascending.
    pub pids: Vec<u32>,
    /// Whether no holder was found, and the one process here is who called `listen()`: it may have
    /// handed the socket on since then. See [`Owner::called_listen`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub called_listen: bool,
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
    pub fn unit(&self) -> Option<&Untrusted> {
        self.main()?.cgroup.unit.as_ref()
    }

    /// `nginx/1234`, and how many processes more: `nginx/1234+4`; in at most `room` characters,
    /// shortening the name first. `~nginx/1234` called `listen()`, and who holds it is not known.
    pub fn short(&self, room: usize) -> String {
        let mut text = String::new();
        self.push_short(&mut text, room);
        text
    }

    /// The same, at the end of `out`.
    pub fn push_short(&self, out: &mut String, room: usize) {
        let Some(main) = self.main() else { return out.push('?') };
        let others = self.pids.len().saturating_sub(1);
        let room = if self.called_listen {
            out.push('~');
            room.saturating_sub(1)
        } else {
            room
        };
        let begin = out.len();
        out.push_str(&main.comm.shown());
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
        out.push_str(&main.comm.shown_in(room.saturating_sub(tail.len())));
        out.push_str(&tail);
    }

    /// The owner of a socket that the processes `pids`, ascending, hold; `processes` are those that
    /// are described.
    pub fn new(pids: Vec<u32>, processes: Vec<Process>) -> Self {
        let mut owner = Self { processes, pids, called_listen: false };
        let main = owner.main_of();
        owner.processes[..=main].rotate_right(1);
        owner
    }

    /// Of these pids, ascending, alone; unchanged if none of them is described.
    #[must_use]
    pub fn only(self, pids: &[u32]) -> Self {
        let of = |pid: &u32| pids.binary_search(pid).is_ok();
        let mut processes: Vec<_> = self.processes.iter().filter(|p| of(&p.pid)).cloned().collect();
        if processes.is_empty() {
            return self;
        }
        processes.sort_unstable_by_key(|p| p.pid);
        Self::new(self.pids.into_iter().filter(of).collect(), processes)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(processes: &[(u32, u32, &str)]) -> Owner {
        let process = |(pid, ppid, comm): &(u32, u32, &str)| Process {
            pid: *pid,
            ppid: *ppid,
            comm: (*comm).into(),
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
    fn whoever_waits_is_named_alone() {
        let nginx = owner(&[(90, 100, "nginx"), (100, 1, "nginx"), (101, 100, "nginx")]);
        assert_eq!(nginx.clone().only(&[101]).short(20), "nginx/101");
        assert_eq!(nginx.clone().only(&[90, 101]).pids, [90, 101]);
        assert_eq!(nginx.clone().only(&[7]), nginx);
    }

    #[test]
    fn the_service_is_named_before_systemd() {
        let activated = owner(&[(1, 0, "systemd"), (812, 1, "sshd")]);
        assert_eq!(activated.main().unwrap().comm, *"sshd");
        assert!(activated.socket_activated());
        let waiting = owner(&[(1, 0, "systemd")]);
        assert_eq!(waiting.main().unwrap().comm, *"systemd");
    }

    #[test]
    fn names_are_shortened_before_pids() {
        let java = owner(&[(1_234_567, 1, "some-long-name")]);
        assert_eq!(java.short(30), "some-long-name/1234567");
        assert_eq!(java.short(11), "som/1234567");
        assert_eq!(java.short(3), "s/1234567");
        let many = owner(&[(77, 1, "gunicorn"), (78, 77, "gunicorn")]);
        assert_eq!(many.short(8), "gun/77+1");
        let opener = Owner { called_listen: true, ..java };
        assert_eq!(opener.short(30), "~some-long-name/1234567");
        assert_eq!(opener.short(12), "~som/1234567");
    }
}
