//! TCP listeners of every network namespace as they were found: queues, limits, owner.

pub mod forecast;
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

use crate::owner;

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Inode number, as in `/proc/PID/ns/net` and `net->ns.inum`.
    pub inum: u32,
    /// Its name in the file system, if it has one.
    pub name: Option<String>,
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
    pub namespaces: BTreeMap<u32, Surroundings>,
    /// Every listener, by namespace, port and address.
    pub listeners: Vec<Listener>,
    /// What could not be seen, as sentences.
    pub notes: Vec<String>,
    /// Where the listeners of a (namespace, port) are in `listeners`.
    #[serde(skip)]
    index: HashMap<(u32, u16), Vec<usize>>,
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

    /// Makes [`find`](Self::find) work after the listeners were changed or read from a file.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        self.index.clear();
        for (i, listener) in self.listeners.iter().enumerate() {
            self.index.entry((listener.netns, listener.local.port())).or_default().push(i);
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
    fn an_owner_outlives_its_last_look() {
        let owner = owner::Owner { processes: Vec::new(), pids: vec![5] };
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
