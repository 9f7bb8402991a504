//! RHEL 7's listener-wide SYN-ACK timer: `inet_csk_reqsk_queue_prune()` of 3.10.
//!
//! Every 200 ms it looks at 3/8 of the SYN table, so a request is retransmitted 0 to 0.4 s late,
//! depending on the bucket its hash put it in. The hash is keyed by `hash_rnd`, random for each
//! listener: which of several requests stops being young first cannot be known from outside. So the
//! key is an input here. Key 0 is no hash: it spreads requests evenly, which makes one of two
//! requests stop being young at the first look, the most likely case.

use super::{
    time::{self, MS, Nanos},
    timers,
};

/// `TCP_SYNQ_INTERVAL`.
pub(crate) const INTERVAL: Nanos = 200 * MS;

/// The timer, and the place in the table where it goes on.
#[derive(Clone, Debug)]
pub(crate) struct PruneWheel {
    entries: u32,
    hash_rnd: u32,
    clock_hand: u32,
    inserted: u32,
    missed: bool,
    expires: Option<Nanos>,
}

impl PruneWheel {
    /// A table of `entries` buckets, a power of two, whose hash has the key `hash_rnd`.
    pub(super) fn new(entries: u32, hash_rnd: u32) -> Self {
        Self { entries, hash_rnd, clock_hand: 0, inserted: 0, missed: false, expires: None }
    }

    /// When the timer expires, if it runs.
    pub(super) fn expires(&self) -> Option<Nanos> {
        self.expires
    }

    /// The SYN queue is no longer empty: first look after one `TCP_TIMEOUT_INIT`.
    pub(super) fn start(&mut self, now: Nanos) {
        self.expires = Some(time::expires_exactly(now, timers::TIMEOUT_INIT));
    }

    /// The SYN queue is empty.
    pub(super) fn stop(&mut self) {
        self.expires = None;
    }

    /// Moves on to the next look.
    pub(crate) fn rearm(&mut self, now: Nanos) {
        self.expires = Some(now + INTERVAL);
    }

    /// The buckets of this look, as (first, how many), and moves the hand past them.
    pub(super) fn turn(&mut self) -> (u32, u32) {
        let budget = (2 * (self.entries / 5)).max(1);
        let first = self.clock_hand;
        self.clock_hand = (first + budget) & (self.entries - 1);
        (first, budget)
    }

    /// The bucket of the next request.
    pub(crate) fn next_bucket(&mut self) -> u32 {
        let spread = self.inserted.wrapping_mul(0x9E37_79B9).wrapping_add(1 << 31);
        let hash = if self.hash_rnd == 0 { spread } else { mix(spread ^ mix(self.hash_rnd)) };
        self.inserted += 1;
        u32::try_from((u64::from(hash) * u64::from(self.entries)) >> 32).unwrap_or(0)
    }

    /// A look left out a request that was due.
    pub(super) fn missed(&mut self) {
        self.missed = true;
    }

    /// Whether a look ever left out a request that was due: with another key it might not have.
    pub(crate) fn hash_mattered(&self) -> bool {
        self.missed
    }

    /// Whether `bucket` is among the `budget` buckets from `first`.
    pub(super) fn covers(&self, (first, budget): (u32, u32), bucket: u32) -> bool {
        (bucket.wrapping_sub(first) & (self.entries - 1)) < budget
    }
}

/// Spreads the bits of `x` over the whole word.
fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_looks_cover_the_table_of_3_10() {
        let mut wheel = PruneWheel::new(16, 0);
        let looks = [wheel.turn(), wheel.turn(), wheel.turn()];
        assert_eq!(looks, [(0, 6), (6, 6), (12, 6)]);
        for bucket in 0..16 {
            assert!(looks.iter().any(|look| wheel.covers(*look, bucket)), "bucket {bucket}");
        }
        assert!(wheel.covers((12, 6), 1) && !wheel.covers((12, 6), 2));
    }

    #[test]
    fn one_of_the_first_two_requests_is_in_the_first_look() {
        let mut wheel = PruneWheel::new(16, 0);
        let buckets = [wheel.next_bucket(), wheel.next_bucket()];
        assert_eq!(buckets.iter().filter(|b| wheel.covers((0, 6), **b)).count(), 1);
    }

    #[test]
    fn keys_put_two_requests_in_the_first_look_as_often_as_chance() {
        let mut found = [0u32; 3];
        for key in 1..=4096 {
            let mut wheel = PruneWheel::new(16, key);
            let buckets = [wheel.next_bucket(), wheel.next_bucket()];
            found[buckets.iter().filter(|b| wheel.covers((0, 6), **b)).count()] += 1;
        }
        // (10/16)^2, 2 * 6/16 * 10/16, (6/16)^2 of 4096
        for (found, expected) in found.into_iter().zip([1600, 1920, 576]) {
            assert!(found.abs_diff(expected) < 150, "{found} of {expected}");
        }
    }
}
