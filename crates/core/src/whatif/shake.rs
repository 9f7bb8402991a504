//! The same load with the small differences that another run of it has: nobody's clock, processor or
//! scheduler repeats itself. What such differences change cannot be predicted, and is part of the
//! bounds.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::{
    application::Application,
    scenario::Scenario,
    time::{MS, Nanos, US},
};

/// How often a load is shaken.
pub const SHAKES: usize = 12;
/// A client connects so much earlier or later.
const CONNECTS: Nanos = 100 * US;
/// A client sends so much later, or twice as much: where many have one processor, or none has been woken
/// for long, these are several jiffies.
const SENDS: Nanos = 8 * MS;
/// A timer's jiffy is known to one jiffy.
const JIFFY: Nanos = 4 * MS;
/// What the application does takes so much longer or shorter, parts of a hundred.
const WORKS: Nanos = 5;
/// What the server's only processor does takes so much longer or shorter, parts of a hundred.
const COSTS: Nanos = 30;
/// It keeps an application waiting for so much longer or shorter, parts of a hundred.
const HOLDS: Nanos = 60;

/// One such difference after the other, by lot; the same seed gives the same ones.
pub(super) struct Lot {
    seed: u64,
    drawn: u64,
}

impl Lot {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// From `-most` to `most`.
    pub(super) fn within(&mut self, most: Nanos) -> Nanos {
        let mut hasher = DefaultHasher::new();
        (self.seed, self.drawn).hash(&mut hasher);
        self.drawn += 1;
        let all = 2 * most.unsigned_abs() + 1;
        Nanos::try_from(hasher.finish() % all).unwrap_or(0) - most
    }

    /// Where the timer wheel's buckets begin, `wheel` long; anywhere if that is not known.
    pub(super) fn jiffies(&mut self, known: Option<i64>, wheel: Nanos) -> i64 {
        match known {
            Some(at) => at + self.within(JIFFY),
            None => self.within(wheel / 2),
        }
    }

    fn longer(&mut self, time: Nanos) -> Nanos {
        time.saturating_add(time / 100 * self.within(WORKS))
    }
}

/// Changes a load a little.
pub(super) fn shake(scenario: &mut Scenario, lot: &mut Lot) {
    // A client's program sends in its own time, which decides in which jiffy its timers expire.
    let sends = SENDS * (lot.within(1) + 1);
    for client in &mut scenario.clients {
        client.connect += lot.within(CONNECTS);
        client.app_delay += lot.within(sends).abs();
    }
    if let Some(processor) = &mut scenario.processor {
        let factor = lot.within(COSTS);
        processor.costs = processor.costs.longer(factor);
        processor.preempts ^= lot.within(2) == 0;
        processor.hold += processor.hold / 100 * lot.within(HOLDS);
    }
    match &mut scenario.application {
        Some(Application::InTurn(turns)) => {
            turns.gaps.iter_mut().for_each(|gap| *gap = lot.longer(*gap));
            turns.wake_up += lot.within(turns.wake_up / 2);
        }
        Some(Application::AtPace(pace)) => {
            pace.gaps.iter_mut().for_each(|(_, gap)| *gap = lot.longer(*gap));
            pace.wake_up += lot.within(pace.wake_up / 2);
        }
        Some(Application::AsSeen(_)) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_shakes_alike_again_and_no_further_than_it_may() {
        let drawn = |seed| {
            let mut lot = Lot::new(seed);
            (0..1000).map(|_| lot.within(7)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_eq!((drawn(1).iter().min(), drawn(1).iter().max()), (Some(&-7), Some(&7)));
        assert_eq!(Lot::new(1).within(0), 0);
    }

    #[test]
    fn timers_are_anywhere_if_nobody_knows_and_near_where_they_are_known() {
        let mut lot = Lot::new(3);
        for _ in 0..100 {
            assert!((lot.jiffies(Some(1 << 40), 1000 * MS) - (1 << 40)).abs() <= JIFFY);
        }
        let anywhere = (0..100).map(|_| lot.jiffies(None, 1000 * MS));
        assert!(anywhere.max() > Some(400 * MS));
    }
}
