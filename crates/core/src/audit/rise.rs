//! How far a namespace's counters rose while the trace was at work, as far as looks can tell.

use super::{Cut, Values};
use crate::verdict::Counter;

/// The readings that a rise is the difference of.
#[derive(Clone, Debug, Default)]
pub(super) struct Rise {
    /// What earlier namespaces with this number rose by: numbers are given again.
    carried: Values,
    /// The reading from which the rise is counted for certain, and the one before it, from which it
    /// is counted at most; zeros where the namespace was made after the trace began.
    armed: Values,
    arming: Values,
    /// The last reading before the hooks ceased to judge.
    last: Values,
    /// `InSegs` then.
    segments: u64,
    /// And the one after it, if there was one.
    disarmed: Option<Values>,
    appeared: bool,
    /// Whether more may have been counted than any look saw.
    open: bool,
    /// Whether it begins at a look, while what came before is told and read as well.
    begins_later: bool,
}

impl Rise {
    /// Of a namespace that is first seen at this cut. One that is first seen while the trace is at
    /// work was made meanwhile: it began at zero.
    pub(super) fn new(cut: Cut) -> Self {
        let appeared = !matches!(cut, Cut::Arming | Cut::Armed);
        // Others may have had its number before, and gone before anybody looked: what was told of them is
        // told of it.
        Self { appeared, open: appeared, ..Self::default() }
    }

    /// Of a namespace whose past nobody saw: the rise begins here.
    pub(super) fn from_here(values: &Values) -> Self {
        Self {
            armed: values.clone(),
            arming: values.clone(),
            last: values.clone(),
            appeared: true,
            // What was told of events before this look may come after it.
            open: true,
            begins_later: true,
            ..Self::default()
        }
    }

    /// `segments`: `InSegs` of the namespace, if it was read.
    pub(super) fn take(&mut self, cut: Cut, values: &Values, segments: Option<u64>) {
        let another =
            values.fell_since(&self.last) || segments < Some(self.segments) && segments.is_some();
        self.segments = segments.unwrap_or(0);
        match cut {
            Cut::Arming => {
                self.arming = values.clone();
                self.armed = values.clone();
            }
            Cut::Armed => self.armed = values.clone(),
            Cut::Disarmed => {
                self.open |= another;
                self.disarmed = Some(values.clone());
                return;
            }
            Cut::Running | Cut::Disarming => {
                if another {
                    let known = Counter::AUDITED.iter().copied();
                    self.carried = known.filter_map(|c| Some((c, self.of(c, false)?.0))).collect();
                    (self.arming, self.armed) = Default::default();
                    self.appeared = true;
                    // What the old one counted since it was last looked at nobody knows.
                    self.open = true;
                }
            }
        }
        self.last = values.clone();
    }

    /// At least, and at most: `None` for no limit, while the trace is at work. `None` for a counter
    /// that this kernel lacks.
    pub(super) fn of(&self, counter: Counter, last: bool) -> Option<(u64, Option<u64>)> {
        let of = |values: &Values| values.get(counter).unwrap_or(0);
        let now = self.last.get(counter)?;
        let carried = of(&self.carried);
        let least = carried.saturating_add(now.saturating_sub(of(&self.armed)));
        let end = self.disarmed.as_ref().filter(|_| last && !self.open);
        let most = end
            .map(|end| carried.saturating_add(of(end).max(now).saturating_sub(of(&self.arming))));
        Some((least, most))
    }

    pub(super) fn begins_later(&self) -> bool {
        self.begins_later
    }

    pub(super) fn appeared(&self) -> bool {
        self.appeared
    }
}
