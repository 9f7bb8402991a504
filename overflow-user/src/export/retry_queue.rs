//! The requests of one signal that wait, and when to try the first of them again. It sees no clock.

use std::{collections::VecDeque, time::Duration};

use super::{DeliveryCounts, Request};

/// The waiting requests of a signal have no more than this together, bytes: some 40,000 log records,
/// or hours of metrics.
pub(super) const CAPACITY: usize = 32 << 20;
/// Time to the next attempt after the first failure; after each further one it doubles.
const FIRST: Duration = Duration::from_secs(1);
/// The longest of these times.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest `Retry-After` that is heeded; it may be longer than these times.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The collector has it, except for so many of its items, for this reason.
    Delivered { refused: u64, why: String },
    /// It will never take it.
    Refused(String),
    /// It may take it later, and not before the time of its `Retry-After`.
    Later { why: String, retry_after: Option<Duration> },
}

/// A bounded queue.
#[derive(Debug, Default)]
pub(super) struct RetryQueue {
    waiting: VecDeque<Request>,
    bytes: usize,
    /// The first is being sent, so it is not dropped.
    sending: bool,
    failures: u32,
    counts: DeliveryCounts,
}

impl RetryQueue {
    /// Adds a request; the oldest are dropped for it, since new ones are worth more.
    pub(super) fn push(&mut self, request: Request) {
        self.bytes += request.body.len();
        self.waiting.push_back(request);
        while self.bytes > CAPACITY && self.waiting.len() > 1 {
            let Some(oldest) = self.waiting.remove(usize::from(self.sending)) else { break };
            self.bytes -= oldest.body.len();
            self.counts.dropped += u64::from(oldest.items);
        }
    }

    /// The next to be sent; [`Self::attempted`] must follow.
    pub(super) fn next(&mut self) -> Option<Request> {
        let next = self.waiting.front().cloned();
        self.sending = next.is_some();
        next
    }

    /// Counts what became of it; how long to wait before the next. `random` is from 0 to 1.
    pub(super) fn attempted(&mut self, attempt: &Attempt, random: f64) -> Duration {
        self.sending = false;
        if let Attempt::Later { retry_after, .. } = attempt {
            let doubled = FIRST * 2_u32.saturating_pow(self.failures.min(10));
            self.failures += 1;
            // Many that lost the same collector do not all come back at the same time.
            let own = doubled.min(LONGEST).mul_f64(0.5 + random / 2.0);
            return retry_after.map_or(own, |asked| asked.clamp(own, LONGEST_ASKED));
        }
        self.failures = 0;
        let Some(request) = self.waiting.pop_front() else { return Duration::ZERO };
        self.bytes -= request.body.len();
        let items = u64::from(request.items);
        let refused = match attempt {
            Attempt::Delivered { refused, .. } => (*refused).min(items),
            Attempt::Refused(_) | Attempt::Later { .. } => items,
        };
        self.counts.refused += refused;
        self.counts.delivered += items - refused;
        Duration::ZERO
    }

    /// What became of all that are not waiting.
    pub(super) fn counts(&self) -> DeliveryCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Signal;

    fn request(items: u32, len: usize) -> Request {
        Request { signal: Signal::Logs, items, body: vec![0; len] }
    }

    fn later(retry_after: Option<u64>) -> Attempt {
        let retry_after = retry_after.map(Duration::from_secs);
        Attempt::Later { why: String::new(), retry_after }
    }

    const DELIVERED: Attempt = Attempt::Delivered { refused: 0, why: String::new() };

    #[test]
    fn every_item_is_counted_once() {
        let mut queue = RetryQueue::default();
        for items in [3, 4, 5] {
            queue.push(request(items, 1));
        }
        assert_eq!(queue.next().unwrap().items, 3);
        queue.attempted(&DELIVERED, 0.0);
        assert_eq!(queue.next().unwrap().items, 4);
        queue.attempted(&later(None), 0.0);
        assert_eq!(queue.next().unwrap().items, 4, "it is tried again");
        queue.attempted(&Attempt::Refused(String::new()), 0.0);
        queue.next();
        queue.attempted(&Attempt::Delivered { refused: 2, why: String::new() }, 0.0);
        assert_eq!(queue.counts(), DeliveryCounts { delivered: 6, refused: 6, dropped: 0 });
        assert!(queue.next().is_none());
    }

    #[test]
    fn the_oldest_make_room_but_not_the_one_on_its_way() {
        let mut queue = RetryQueue::default();
        queue.push(request(1, CAPACITY / 2));
        queue.push(request(2, CAPACITY / 2));
        queue.next();
        queue.push(request(4, CAPACITY / 2));
        assert_eq!((queue.counts().dropped, queue.waiting.len()), (2, 2));
        queue.attempted(&DELIVERED, 0.0);
        assert_eq!((queue.next().unwrap().items, queue.counts().delivered), (4, 1));
        queue.attempted(&later(None), 0.0);
        queue.push(request(8, 2 * CAPACITY));
        assert_eq!(queue.next().unwrap().items, 8, "one that is too large by itself is tried");
        assert_eq!(queue.counts().dropped, 6);
    }

    #[test]
    fn waits_grow_and_heed_the_collector() {
        let mut queue = RetryQueue::default();
        queue.push(request(1, 1));
        let mut wait =
            |retry_after, random| queue.attempted(&later(retry_after), random).as_millis();
        assert_eq!((wait(None, 1.0), wait(None, 0.0), wait(None, 1.0)), (1000, 1000, 4000));
        assert_eq!(wait(Some(20), 1.0), 20_000);
        assert_eq!(wait(Some(1), 1.0), 16_000, "no less than its own");
        assert_eq!((wait(None, 1.0), wait(Some(86_400), 1.0)), (30_000, 300_000));
        queue.next();
        assert_eq!(queue.attempted(&DELIVERED, 1.0), Duration::ZERO);
        queue.push(request(1, 1));
        assert_eq!(queue.attempted(&later(None), 1.0).as_millis(), 1000);
    }
}
