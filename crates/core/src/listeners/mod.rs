//! TCP listeners of every network namespace as they were found: queues, limits, owner.

pub mod forecast;
mod parts;
#[cfg(any(test, feature = "samples"))]
pub mod sample;
mod settings;
mod socket;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use serde::{Deserialize, Serialize};

pub use forecast::{Forecast, forecast};
pub use settings::{Counters, Sysctls};
pub use socket::Listener;

use crate::{owner, text::Untrusted};

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Inode number, as in `/proc/PID/ns/net` and `net->ns.inum`.
    pub inum: u32,
    /// Its name in the file system, if it has one.
    pub name: Option<Untrusted>,
    /// Whether it is this program's own.
    pub own: bool,
}

/// One namespace as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// Which.
    pub namespace: Namespace,
    /// Its settings.
    pub sysctls: Sysctls,
    /// Its counters; `None` where procfs does not show them.
    pub counters: Option<Counters>,
}

/// All listeners that could be found, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The namespaces that could be entered, by inode number.
    #[serde(default)]
    pub namespaces: BTreeMap<u32, Surroundings>,
    /// Every listener, by namespace, port and address.
    pub listeners: Vec<Listener>,
    /// What could not be seen, as sentences.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Where the listeners of a (namespace, port) are in `listeners`.
    #[serde(skip)]
    index: HashMap<(u32, u16), Vec<usize>>,
    /// Where a socket is in `listeners`, by (namespace, inode).
    #[serde(skip)]
    sockets: HashMap<(u32, u64), usize>,
}

/// Those of the `among` listeners that match `server` best.
pub fn best(
    listeners: &[Listener],
    among: impl Iterator<Item = usize>,
    server: SocketAddr,
) -> Vec<usize> {
    let scored: Vec<(u8, usize)> =
        among.filter_map(|i| Some((listeners[i].matches(server)?, i))).collect();
    let top = scored.iter().map(|(score, _)| *score).max();
    scored.into_iter().filter(|(score, _)| Some(*score) == top).map(|(_, i)| i).collect()
}

impl Inventory {
    /// The listeners that connections to `server` in namespace `netns` belong to: one, or all of a
    /// group that shares the address; empty if none was known.
    pub fn find(&self, netns: u32, server: SocketAddr) -> Vec<&Listener> {
        self.find_places(netns, server).into_iter().map(|i| &self.listeners[i]).collect()
    }

    /// The same, by where they are in `listeners`.
    pub fn find_places(&self, netns: u32, server: SocketAddr) -> Vec<usize> {
        let Some(there) = self.index.get(&(netns, server.port())) else { return Vec::new() };
        best(&self.listeners, there.iter().copied(), server)
    }

    /// The listener that this socket is, by inode number, wherever it listens; `None` if it was not
    /// there.
    pub fn find_socket(&self, netns: u32, ino: u32) -> Option<&Listener> {
        self.find_socket_place(netns, ino).map(|i| &self.listeners[i])
    }

    /// The same, by where it is in `listeners`.
    pub fn find_socket_place(&self, netns: u32, ino: u32) -> Option<usize> {
        self.sockets.get(&(netns, u64::from(ino))).copied()
    }

    /// All that share this listener's address by `SO_REUSEPORT`, itself among them.
    pub fn group<'a>(&'a self, of: &'a Listener) -> impl Iterator<Item = &'a Listener> {
        let there = self.index.get(&(of.netns, of.local.port())).map_or(&[][..], Vec::as_slice);
        there.iter().map(|i| &self.listeners[*i]).filter(|l| l.shares_address(of))
    }

    /// Keeps the owners of an earlier inventory for sockets that nobody seems to hold any more: a
    /// listener can be closed between being listed and being looked for in `/proc/PID/fd`.
    pub fn inherit_owners(&mut self, earlier: Self) {
        if self.listeners.iter().all(|l| l.owner.is_some()) {
            return;
        }
        let mut known: HashMap<(u32, u64), owner::Owner> = earlier
            .listeners
            .into_iter()
            .filter_map(|l| Some(((l.netns, l.inode), l.owner?)))
            .collect();
        for listener in self.listeners.iter_mut().filter(|l| l.owner.is_none()) {
            listener.owner = known.remove(&(listener.netns, listener.inode));
        }
    }

    /// Gives each socket that nobody seems to hold the owner that is known of it otherwise.
    pub fn fill_owners(&mut self, known: impl Fn(u32, u32) -> Option<owner::Owner>) {
        for listener in self.listeners.iter_mut().filter(|l| l.owner.is_none()) {
            let ino = u32::try_from(listener.inode).ok();
            listener.owner = ino.and_then(|ino| known(listener.netns, ino));
        }
    }

    /// Where a process holds all sockets of a `SO_REUSEPORT` group, as the parent of workers does, names
    /// first whoever holds one of them and not all: that is whose socket it is.
    pub fn tell_members_apart(&mut self) {
        let mut held: HashMap<(u32, SocketAddr, bool), HashMap<u32, u32>> = HashMap::new();
        for listener in self.listeners.iter().filter(|l| l.group > 1) {
            let group = held.entry((listener.netns, listener.local, listener.v6only)).or_default();
            for pid in listener.owner.iter().flat_map(|owner| &owner.pids) {
                *group.entry(*pid).or_default() += 1;
            }
        }
        for listener in self.listeners.iter_mut().filter(|l| l.group > 1) {
            let group = &held[&(listener.netns, listener.local, listener.v6only)];
            let Some(owner) = &mut listener.owner else { continue };
            let all = |p: &owner::Process| group.get(&p.pid) >= Some(&listener.group);
            if owner.main().is_some_and(all)
                && let Some(own) = owner.processes.iter().position(|p| !all(p))
            {
                owner.processes[..=own].rotate_right(1);
            }
        }
    }

    /// Makes [`find`](Self::find) and its like work after the listeners were changed or read from a file.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        self.index.clear();
        self.sockets.clear();
        for (i, listener) in self.listeners.iter().enumerate() {
            self.sockets.insert((listener.netns, listener.inode), i);
            self.index.entry((listener.netns, listener.local.port())).or_default().push(i);
        }
        self
    }

    /// With notes that may be shown, if this came from another process or a file; names are so by
    /// their type.
    #[must_use]
    pub fn escaped(mut self) -> Self {
        for note in &mut self.notes {
            *note = Untrusted::new(note).to_string();
        }
        self
    }

    /// The settings of the program's own namespace.
    pub fn own_sysctls(&self) -> Option<Sysctls> {
        self.namespaces.values().find(|s| s.namespace.own).map(|s| s.sysctls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_wherever_it_listens() {
        let at = |netns, inode, local| Listener { netns, inode, ..sample::listener(local) };
        let listeners = vec![
            at(1, 7, "127.0.0.1:80"),
            at(1, 8, "127.0.0.2:80"),
            at(1, 9, "0.0.0.0:80"),
            at(1, 10, "0.0.0.0:80"),
            Listener { v6only: true, ..at(1, 11, "[::]:80") },
            at(2, 9, "[::]:443"),
        ];
        let found = Inventory { listeners, ..Inventory::default() }.indexed();
        let local = |netns, ino| found.find_socket(netns, ino).map(|l| l.local.to_string());
        assert_eq!(local(1, 8).as_deref(), Some("127.0.0.2:80"));
        assert_eq!(local(1, 9).as_deref(), Some("0.0.0.0:80"));
        // The same inode number in another namespace is another socket.
        assert_eq!(local(2, 9).as_deref(), Some("[::]:443"));
        assert_eq!((local(1, 12), local(2, 7)), (None, None));
        let group = |ino| -> Vec<u64> {
            found.group(found.find_socket(1, ino).unwrap()).map(|l| l.inode).collect()
        };
        assert_eq!((group(7), group(10), group(11)), (vec![7], vec![9, 10], vec![11]));
    }

    #[test]
    fn a_worker_is_named_before_the_parent_that_holds_all_of_its_group() {
        let owner = |pids: &[u32]| {
            let process = |pid: &u32| owner::Process {
                pid: *pid,
                ppid: if *pid == 10 { 1 } else { 10 },
                comm: "nginx".into(),
                start: 1,
                cgroup: owner::Cgroup::default(),
            };
            owner::Owner::new(pids.to_vec(), pids.iter().map(process).collect())
        };
        let of = |inode, group, pids: &[u32]| Listener {
            inode,
            group,
            owner: Some(owner(pids)),
            ..sample::listener("0.0.0.0:80")
        };
        let main = |listeners: Vec<Listener>| -> Vec<u32> {
            let mut inventory = Inventory { listeners, ..Inventory::default() };
            inventory.tell_members_apart();
            let mains = inventory.listeners.iter().map(|l| l.owner.as_ref().unwrap().main());
            mains.map(|main| main.unwrap().pid).collect()
        };
        assert_eq!(main(vec![of(1, 2, &[10, 11]), of(2, 2, &[10, 12])]), [11, 12]);
        // Nobody is whose it is more than others; and a listener alone is its parent's.
        assert_eq!(main(vec![of(1, 2, &[10, 11, 12]), of(2, 2, &[10, 11, 12])]), [10, 10]);
        assert_eq!(main(vec![of(1, 1, &[10, 11])]), [10]);
    }

    #[test]
    fn an_owner_outlives_its_last_look() {
        let owner = owner::Owner { pids: vec![5], ..owner::Owner::default() };
        let with = |inode, owner: Option<&owner::Owner>| Inventory {
            listeners: vec![Listener {
                inode,
                owner: owner.cloned(),
                ..sample::listener("0.0.0.0:1")
            }],
            ..Inventory::default()
        };
        let mut same = with(3, None);
        same.inherit_owners(with(3, Some(&owner)));
        assert_eq!(same.listeners[0].owner, Some(owner.clone()));
        let mut other = with(4, None);
        other.inherit_owners(with(3, Some(&owner)));
        assert_eq!(other.listeners[0].owner, None);
    }
}
