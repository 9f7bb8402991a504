//! A listener's queues over time, in a bounded number of steps.

use std::collections::BTreeMap;

use overflow_core::verdict::VerdictId;

/// As many steps as a chart shows on a wide screen.
const STEPS: usize = 256;
/// The length of the first steps, nanoseconds: some 0.13 ms.
const FIRST_STEP_NS: u64 = 1 << 17;

/// What was read of the queues, and what was refused there.
///
/// Time is cut into steps of equal length; whenever there are too many, they become twice as long.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    step_ns: u64,
    steps: BTreeMap<u64, Step>,
    /// How often a queue was read.
    readings: u64,
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Longest accept queue, connections.
    pub(crate) accept: Option<u32>,
    /// Its highest limit.
    pub(crate) limit: Option<u32>,
    /// Longest SYN queue, requests.
    pub(crate) syn: Option<u32>,
    /// Segments that were refused, by verdict.
    pub(crate) refused: BTreeMap<VerdictId, u64>,
}

/// One reading of the queues.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) accept: Option<u32>,
    pub(crate) limit: Option<u32>,
    pub(crate) syn: Option<u32>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { step_ns: FIRST_STEP_NS, steps: BTreeMap::new(), readings: 0 }
    }
}

impl Timeline {
    /// Adds what was read at a time.
    pub(crate) fn read(&mut self, t_ns: u64, reading: Reading) {
        let Reading { accept, limit, syn } = reading;
        if accept.is_none() && syn.is_none() {
            return;
        }
        self.readings += 1;
        self.step(t_ns).add(&Step { accept, limit, syn, refused: BTreeMap::new() });
    }

    /// Adds a segment that was refused.
    pub(crate) fn refuse(&mut self, t_ns: u64, id: VerdictId) {
        *self.step(t_ns).refused.entry(id).or_default() += 1;
    }

    /// Each step with its beginning, nanoseconds.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (u64, &Step)> {
        self.steps.iter().map(|(n, step)| (n * self.step_ns, step))
    }

    /// How long a step is, nanoseconds.
    pub(crate) fn step_ns(&self) -> u64 {
        self.step_ns
    }

    /// How often a queue was read.
    pub(crate) fn readings(&self) -> u64 {
        self.readings
    }

    /// The same in so many steps at most.
    pub(crate) fn coarser(&self, steps: usize) -> Self {
        let mut coarse = self.clone();
        while coarse.steps.len() > steps.max(1) {
            coarse.halve();
        }
        coarse
    }

    fn halve(&mut self) {
        self.step_ns *= 2;
        for (n, step) in std::mem::take(&mut self.steps) {
            self.steps.entry(n / 2).or_default().add(&step);
        }
    }

    fn step(&mut self, t_ns: u64) -> &mut Step {
        while self.steps.len() >= STEPS && !self.steps.contains_key(&(t_ns / self.step_ns)) {
            self.halve();
        }
        self.steps.entry(t_ns / self.step_ns).or_default()
    }
}

impl Step {
    fn add(&mut self, more: &Self) {
        self.accept = self.accept.max(more.accept);
        self.limit = self.limit.max(more.limit);
        self.syn = self.syn.max(more.syn);
        for (id, n) in &more.refused {
            *self.refused.entry(*id).or_default() += n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_trace_has_no_more_steps_than_a_short_one() {
        let mut timeline = Timeline::default();
        let mut longest = 0;
        for n in 0..100_000_u64 {
            let length = u32::try_from(n % 977).unwrap();
            longest = longest.max(length);
            timeline.read(n * 36_000_000, Reading { accept: Some(length), ..Reading::default() });
            timeline.refuse(n * 36_000_000, VerdictId::AckDropOverflow);
        }
        assert!(timeline.steps().count() <= STEPS);
        assert_eq!(timeline.readings(), 100_000);
        // Nothing is forgotten: not the longest queue, and no refusal.
        assert_eq!(timeline.steps().filter_map(|(_, step)| step.accept).max(), Some(longest));
        assert_eq!(
            timeline.steps().flat_map(|(_, step)| step.refused.values()).sum::<u64>(),
            100_000
        );
    }

    #[test]
    fn the_order_of_readings_does_not_matter() {
        let times = [5_000_000_000, 1_000, 3_000_000_000];
        let made = |times: &mut dyn Iterator<Item = u64>| {
            let mut timeline = Timeline::default();
            times.for_each(|t| timeline.refuse(t, VerdictId::SynDropOther));
            timeline.steps().map(|(t, step)| (t, step.clone())).collect::<Vec<_>>()
        };
        assert_eq!(made(&mut times.iter().copied()), made(&mut times.iter().rev().copied()));
    }
}
