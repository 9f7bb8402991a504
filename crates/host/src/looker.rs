//! Looks again and again: at all listeners, or at the counters of their namespaces alone, which
//! costs next to nothing because no process is looked at.

use std::{collections::BTreeSet, io};

use overflow_core::{
    audit::{Readings, Values},
    listeners::Inventory,
    owner::Process,
    verdict::Counter,
};

use crate::{
    counters::Group,
    listeners,
    netns::{self, Namespaces},
    owner,
};

/// Remembers where namespaces were found.
#[derive(Debug, Default)]
pub struct Looker {
    places: Namespaces,
}

impl Looker {
    /// Every listener, see [`listeners::inventory`].
    pub fn listeners(&mut self, wanted: &BTreeSet<u32>) -> io::Result<Inventory> {
        self.places = netns::discover(wanted)?;
        listeners::of(&self.places)
    }

    /// What `/proc` shows of these processes; those that are gone are left out.
    pub fn processes(&self, pids: &BTreeSet<u32>) -> Vec<Process> {
        owner::described(pids)
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
            if let Ok(Ok((values, segments))) = place.inside(audited) {
                found.namespaces.insert(*inum, values);
                found.segments.extend(segments.map(|n| (*inum, n)));
                found.hidden.extend(place.hidden.then_some(*inum));
            }
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
