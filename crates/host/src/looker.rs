//! Looks again and again: at all listeners, at the counters of their namespaces alone, which costs
//! next to nothing because no process is looked at, or at the holders of listeners that are full.

use std::{collections::BTreeSet, io};

use overflow_core::{
    audit::{Readings, Values},
    cause::Evidence,
    listeners::{Inventory, Listener},
    owner::Process,
    verdict::Counter,
};

use crate::{
    causes::{Investigator, Socket},
    counters::Group,
    listeners::{self, SynQueues},
    netns::{self, Namespaces},
    owner,
};

/// Remembers where namespaces were found, and who accepts.
#[derive(Debug, Default)]
pub struct Looker {
    places: Namespaces,
    investigator: Investigator,
}

impl Looker {
    /// One that knows this kernel: to be made while uname(2) may be called.
    pub fn new() -> Self {
        Self { investigator: Investigator::new(), ..Self::default() }
    }

    /// One that knows this kernel as this one does, and has looked at nothing.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { investigator: self.investigator.clone(), ..Self::default() }
    }

    /// Every listener, see [`listeners::inventory`].
    pub fn listeners(
        &mut self,
        wanted: &BTreeSet<u32>,
        syn_queues: SynQueues,
    ) -> io::Result<Inventory> {
        self.places = netns::discover(wanted)?;
        listeners::of(&self.places, syn_queues)
    }

    /// What `/proc` shows of these processes; those that are gone are left out.
    pub fn processes(&self, pids: &BTreeSet<u32>) -> Vec<Process> {
        owner::described(pids)
    }

    /// Every listener with its queues and without its owner, in the namespaces that were found
    /// before; in all that there are now if `anew`.
    pub fn queues(
        &mut self,
        wanted: &BTreeSet<u32>,
        anew: bool,
        syn_queues: SynQueues,
    ) -> io::Result<Inventory> {
        if anew || self.places.by_inum.is_empty() {
            self.places = netns::discover(wanted)?;
        }
        Ok(listeners::queues(&self.places, syn_queues))
    }

    /// Those of an inventory whose accept queue is full or at its limit, or whose SYN queue is full if
    /// that was counted.
    pub fn full<'a>(&self, inventory: &'a Inventory) -> Vec<&'a Listener> {
        let full = |l: &&Listener| l.at_limit() || self.investigator.syn_queue_full(inventory, l);
        inventory.listeners.iter().filter(full).collect()
    }

    /// The same, and then those that hold anything, the fullest first.
    pub fn waiting<'a>(&self, inventory: &'a Inventory) -> Vec<&'a Listener> {
        let mut found = self.full(inventory);
        let rest = inventory.listeners.iter().filter(|l| l.recv_q > 0);
        let mut rest: Vec<&Listener> =
            rest.filter(|l| !found.iter().any(|f| std::ptr::eq(*f, *l))).collect();
        rest.sort_by_key(|l| std::cmp::Reverse(l.recv_q));
        found.append(&mut rest);
        found
    }

    /// What holds up these listeners, see [`causes`](crate::causes); those that have gone are
    /// missing.
    pub fn causes(&mut self, sockets: &[Socket]) -> io::Result<Vec<Evidence>> {
        let wanted = sockets.iter().map(|(netns, _)| *netns).collect();
        let inventory = self.listeners(&wanted, SynQueues::Left)?;
        self.investigator.look(&self.places, &inventory, sockets)
    }

    /// What holds up listeners that are full now. Who accepts from the others is remembered.
    pub fn first_causes(&mut self) -> io::Result<Vec<Evidence>> {
        let inventory = self.listeners(&BTreeSet::new(), SynQueues::Counted)?;
        let full: Vec<Socket> =
            self.full(&inventory).into_iter().map(|l| (l.netns, l.inode)).collect();
        let others: Vec<&Listener> =
            inventory.listeners.iter().filter(|l| !full.contains(&(l.netns, l.inode))).collect();
        self.investigator.acquaint(&others);
        self.investigator.look(&self.places, &inventory, &full)
    }

    /// Remembers who waits on these listeners of an inventory now.
    pub fn acquaint(&mut self, listeners: &[&Listener]) {
        self.investigator.acquaint(listeners);
    }

    /// The audited counters of every namespace that was found before; of all that there are now if
    /// `anew`, or if one of the `wanted` is not among them. One that cannot be entered is left out.
    pub fn counters(&mut self, wanted: &BTreeSet<u32>, anew: bool) -> io::Result<Readings> {
        let known = &self.places.by_inum;
        if anew || known.is_empty() || wanted.iter().any(|inum| !known.contains_key(inum)) {
            self.places = netns::discover(wanted)?;
        }
        let mut found = Readings::default();
        for (inum, place) in &self.places.by_inum {
            let Ok(Ok((values, segments))) = place.inside(audited) else {
                found.unreadable.push(*inum);
                continue;
            };
            found.namespaces.insert(*inum, values);
            found.segments.extend(segments.map(|n| (*inum, n)));
            found.hidden.extend(place.hidden.then_some(*inum));
        }
        Ok(found)
    }
}

/// The audited counters of the calling thread's namespace, and its `InSegs`.
fn audited() -> Result<(Values, Option<u64>), crate::ReadError> {
    let counters = Group::TcpExt.read()?;
    let value = |counter: &Counter| Some((*counter, *counters.get(counter.as_str())?));
    let segments = Group::Tcp.read()?.get("InSegs").copied();
    Ok((Counter::AUDITED.iter().filter_map(value).collect(), segments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_read_with_and_without_a_search() {
        let mut looker = Looker::default();
        let own = netns::own().unwrap();
        for anew in [true, false] {
            let found = looker.counters(&BTreeSet::new(), anew).unwrap();
            assert!(found.namespaces[&own].get(Counter::ListenDrops).is_some());
            assert!(!found.hidden.contains(&own));
        }
    }
}
