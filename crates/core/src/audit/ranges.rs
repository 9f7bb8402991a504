//! Counters' values as they were read, and sums that are known as a range.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::verdict::Counter;

/// The audited counters of a namespace; one that its kernel lacks is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, u64>", into = "BTreeMap<String, u64>")]
pub struct Values(BTreeMap<Counter, u64>);

/// The counters of all namespaces, read one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings {
    /// By inode number of the namespace.
    pub namespaces: BTreeMap<u32, Values>,
    /// `InSegs` of each, where it was read: it falls where a namespace is another than before.
    #[serde(default)]
    pub segments: BTreeMap<u32, u64>,
    /// Those that only a look at all threads found: they may be older than the trace.
    #[serde(default)]
    pub hidden: Vec<u32>,
    /// Those that are there and could not be entered or read: what they counted before they can be is
    /// not known.
    #[serde(default)]
    pub unreadable: Vec<u32>,
}

/// At least and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: u64,
    pub(super) most: u64,
}

/// A range for each counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges([Range; Counter::ALL.len()]);

impl Values {
    /// The value, if this kernel has the counter.
    pub fn get(&self, counter: Counter) -> Option<u64> {
        self.0.get(&counter).copied()
    }

    /// Whether one of them fell: then they are another namespace's.
    pub(super) fn fell_since(&self, earlier: &Self) -> bool {
        self.0.iter().any(|(counter, now)| earlier.get(*counter).is_some_and(|then| *now < then))
    }
}

impl FromIterator<(Counter, u64)> for Values {
    fn from_iter<T: IntoIterator<Item = (Counter, u64)>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// By their `nstat` names; of others nothing is audited.
impl From<BTreeMap<String, u64>> for Values {
    fn from(named: BTreeMap<String, u64>) -> Self {
        let audited = |name: &str| Counter::AUDITED.iter().copied().find(|c| c.as_str() == name);
        named.iter().filter_map(|(name, value)| Some((audited(name)?, *value))).collect()
    }
}

impl From<Values> for BTreeMap<String, u64> {
    fn from(values: Values) -> Self {
        values.0.into_iter().map(|(counter, value)| (counter.as_str().to_owned(), value)).collect()
    }
}

impl Range {
    pub(super) const fn exactly(count: u64) -> Self {
        Self { least: count, most: count }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            least: self.least.saturating_add(other.least),
            most: self.most.saturating_add(other.most),
        }
    }
}

impl Ranges {
    pub(super) fn of(&self, counter: Counter) -> Range {
        self.0[counter as usize]
    }

    pub(super) fn add(&mut self, counter: Counter, more: Range) {
        let sum = &mut self.0[counter as usize];
        *sum = sum.plus(more);
    }

    pub(super) fn append(&mut self, more: &Self) {
        for (sum, more) in self.0.iter_mut().zip(&more.0) {
            *sum = sum.plus(*more);
        }
    }
}
