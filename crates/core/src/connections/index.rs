//! Where a connection's block is: a table of four bytes for each, by open addressing. Of the table
//! of a general library, half would stand empty at a million: its size is a power of two.

use super::blocks::Id;

/// A slot is a block's number plus 2, and above it as many bits of the hash as fit.
const NUMBER_BITS: u32 = 21;
const EMPTY: u32 = 0;
/// Something was here; a search goes on.
const GONE: u32 = 1;
const FIRST: u32 = 2;

/// The table does not begin smaller.
const LEAST: usize = 1 << 10;

/// The table.
pub(crate) struct Index {
    slots: Vec<u32>,
    /// Slots that are not empty.
    filled: usize,
    most: usize,
}

impl Index {
    /// For at most so many numbers, each below 2^21 - 2.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Vec::new(), filled: 0, most }
    }

    /// The number with this hash that `is` the one.
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(Id) -> bool) -> Option<Id> {
        let tag = tag(hash);
        for at in self.probe(hash) {
            let slot = self.slots[at];
            if slot == EMPTY {
                break;
            }
            if slot >> NUMBER_BITS == tag && slot != GONE {
                let id = (slot & ((1 << NUMBER_BITS) - 1)) - FIRST;
                if is(id) {
                    return Some(id);
                }
            }
        }
        None
    }

    /// A number that may have this hash, where it is looked for first.
    pub(super) fn guess(&self, hash: u64) -> Option<Id> {
        let slot = self.slots[self.probe(hash).next()?];
        (slot >> NUMBER_BITS == tag(hash) && slot > GONE)
            .then(|| (slot & ((1 << NUMBER_BITS) - 1)) - FIRST)
    }

    /// Whether a number more needs the table to be built anew, with [`Self::rebuild`].
    pub(crate) fn is_full(&self) -> bool {
        (self.filled + 1) * 8 > self.slots.len() * 7
    }

    /// Builds the table anew from all numbers with their hashes, of which there are so many, with
    /// room for more.
    pub(crate) fn rebuild(&mut self, count: usize, all: impl Iterator<Item = (u64, Id)>) {
        // A quarter stays free when there are as many as there can be.
        let limit = (self.most + 1).div_ceil(3) * 4;
        // In few steps: each puts all numbers in again.
        let slots = ((count + 1) * 4).next_power_of_two().clamp(LEAST, limit.max(LEAST));
        // The old one first: both at once would be half as much again.
        self.slots = Vec::new();
        self.slots = vec![EMPTY; slots];
        self.filled = 0;
        for (hash, id) in all {
            self.insert(hash, id);
        }
    }

    /// Adds a number that is not there; the table must not be full.
    pub(super) fn insert(&mut self, hash: u64, id: Id) {
        let free = self.probe(hash).find(|at| self.slots[*at] <= GONE);
        let at = free.expect("a table that is not full has a free slot");
        self.filled += usize::from(self.slots[at] == EMPTY);
        self.slots[at] = tag(hash) << NUMBER_BITS | (id + FIRST);
    }

    /// Removes a number that is there.
    pub(super) fn remove(&mut self, hash: u64, id: Id) {
        let slot = tag(hash) << NUMBER_BITS | (id + FIRST);
        let mut probe = self.probe(hash);
        let at = probe.find(|at| self.slots[*at] == slot).expect("only what is there is removed");
        let last = probe.next().is_none_or(|next| self.slots[next] == EMPTY);
        drop(probe);
        self.slots[at] = if last { EMPTY } else { GONE };
        self.filled -= usize::from(last);
    }

    /// Forgets all, and gives the memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.most);
    }

    /// The slots in which a hash is looked for, in order.
    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let size = self.slots.len();
        // The lower half of the hash, scaled to the table: the tag is of the upper one.
        let home = ((hash & 0xffff_ffff) * size as u64) >> 32;
        let home = usize::try_from(home).unwrap_or(0);
        (home..size).chain(0..home)
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> (32 + NUMBER_BITS)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        let hash = |id: u32| u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = Index::new(3000);
        let mut there = Vec::new();
        let mut rng = fastrand::Rng::with_seed(4);
        for round in 0..40_000 {
            let id = rng.u32(..4000);
            if let Some(at) = there.iter().position(|x| *x == id) {
                assert_eq!(index.find(hash(id), |x| x == id), Some(id), "{round}");
                index.remove(hash(id), id);
                there.swap_remove(at);
            } else if there.len() < 3000 {
                if index.is_full() {
                    index.rebuild(there.len(), there.iter().map(|id| (hash(*id), *id)));
                }
                index.insert(hash(id), id);
                there.push(id);
            }
            assert_eq!(index.find(hash(id), |x| x == id).is_some(), there.contains(&id));
            assert!(index.slots.len() <= 4004);
        }
        assert!(there.iter().all(|id| index.find(hash(*id), |x| x == *id) == Some(*id)));
        index.clear();
        assert_eq!(index.find(hash(1), |_| true), None);
    }
}
