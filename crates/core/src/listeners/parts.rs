//! An inventory in parts of a bounded size: anybody who may listen can make it as long as they like.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Inventory, Listener, Surroundings};

/// The most bytes of JSON that a character of a name takes: `\u001b`.
const OF_CHARACTER: usize = 6;
/// More than everything else of a listener and of a process takes.
const OF_LISTENER: usize = 600;
const OF_PROCESS: usize = 300;
/// A pid with its comma.
const OF_PID: usize = 11;

/// A part, which is read as an inventory.
#[derive(Serialize)]
struct Part<'a> {
    #[serde(flatten)]
    rest: Option<Rest<'a>>,
    listeners: &'a [Listener],
}

/// What only the first part has.
#[derive(Serialize)]
struct Rest<'a> {
    namespaces: &'a BTreeMap<u32, Surroundings>,
    notes: &'a [String],
}

impl Inventory {
    /// Hands over JSON of parts, of which each is read as an inventory and [`Self::join`]s those before
    /// it. None is longer than `most` bytes, but for a part of one listener, and the namespaces and
    /// notes, which stand in the first.
    pub fn parts<E: From<serde_json::Error>>(
        &self,
        most: usize,
        mut take: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = Some(Rest { namespaces: &self.namespaces, notes: &self.notes });
        let mut left = &self.listeners[..];
        loop {
            let (listeners, after) = left.split_at(fitting(left, most));
            take(serde_json::to_vec(&Part { rest: rest.take(), listeners })?)?;
            left = after;
            if left.is_empty() {
                return Ok(());
            }
        }
    }

    /// Adds a later part.
    pub fn join(&mut self, part: Self) {
        self.namespaces.extend(part.namespaces);
        self.listeners.extend(part.listeners);
        self.notes.extend(part.notes);
    }
}

/// How many of these listeners surely fit, but at least one.
fn fitting(listeners: &[Listener], most: usize) -> usize {
    let mut used = 0;
    let fit = listeners.iter().take_while(|listener| {
        used += length(listener);
        used <= most
    });
    fit.count().max(1).min(listeners.len())
}

/// As many bytes as it takes at most.
fn length(listener: &Listener) -> usize {
    let owner = listener.owner.as_ref();
    let processes = owner.into_iter().flat_map(|owner| &owner.processes);
    let names: usize = processes.map(|p| OF_PROCESS + p.names_len() * OF_CHARACTER).sum();
    OF_LISTENER + names + owner.map_or(0, |owner| owner.pids.len()) * OF_PID
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::{
        owner::{Cgroup, Owner, Process},
        text::Untrusted,
    };

    fn parts(inventory: &Inventory, most: usize) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        let take = |part| {
            parts.push(part);
            Ok::<(), serde_json::Error>(())
        };
        inventory.parts(most, take).unwrap();
        parts
    }

    /// The worst that an unprivileged user can do: long names of control characters, many processes.
    fn hog(listeners: u64) -> Inventory {
        let long = Untrusted::new(&"\x01".repeat(4096));
        let process = |pid| Process {
            pid,
            ppid: u32::MAX,
            comm: "\x01".repeat(64).as_str().into(),
            start: u64::MAX,
            cgroup: Cgroup { path: long.clone(), unit: Some(long.clone()), ..Cgroup::default() },
        };
        let owner = Owner::new((1..4000).collect(), (1..17).map(process).collect());
        let listener = |inode| Listener {
            inode,
            owner: Some(owner.clone()),
            ..sample::listener("[fd00:1111:2222:3333:4444:5555:6666:7777]:65535")
        };
        let notes = vec!["a note".to_owned()];
        Inventory {
            listeners: (0..listeners).map(listener).collect(),
            notes,
            ..Inventory::default()
        }
    }

    #[test]
    fn no_part_is_longer_than_it_may_be_and_together_they_are_the_whole() {
        const MOST: usize = 1 << 20;
        let whole = hog(250);
        let parts = parts(&whole, MOST);
        assert!(parts.len() > 10 && parts.iter().all(|part| part.len() <= MOST));
        let mut joined = Inventory::default();
        for part in &parts {
            joined.join(serde_json::from_slice(part).unwrap());
        }
        assert_eq!(joined, whole);
    }

    #[test]
    fn an_ordinary_inventory_is_one_part_as_it_is_written_whole() {
        let whole = hog(1);
        assert_eq!(parts(&whole, 1 << 20).len(), 1);
        assert_eq!(parts(&Inventory::default(), 1).len(), 1);
        // Each listener by itself where nothing fits.
        assert_eq!(parts(&hog(3), 1).len(), 3);
    }
}
