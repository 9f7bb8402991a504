//! The requests of one signal that wait, and when to try the first of them again. It sees no clock.

use std::{collections::VecDeque, time::Duration};

use super::{DeliveryCounts, Request};

/// Requests of a signal that wait are no more than this together, bytes: some 40,000 log records, or
/// hours of metrics.
pub(super) const ROOM: usize = 32 << 20;
/// After the first failure this long; after each further one twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// And no longer.
const LONGEST: Duration = Duration::from_secs(30);
/// A collector may ask for more, but for no more than this.
const ASKED: Duration = Duration::from_mins(5);

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The collector has it, but for so many of its items, and says why.
    Delivered { refused: u64, why: String },
    /// It will never take it.
    Refused(String),
    /// It may take it later, not before the time it asks for.
    Later { why: String, after: Option<Duration> },
}

/// A bounded queue.
#[derive(Debug, Default)]
pub(super) struct RetryQueue {
    waiting: VecDeque<Request>,
    bytes: usize,
    /// The first is being sent, so it is not dropped.
    sending: bool,
    failures: u32,
    fate: DeliveryCounts,
}

impl RetryQueue {
    /// Adds a request; the oldest make room for it, since new ones tell more.
    pub(super) fn push(&mut self, request: Request) {
        self.bytes += request.body.len();
        self.waiting.push_back(request);
        while self.bytes > ROOM && self.waiting.len() > 1 {
            let Some(oldest) = self.waiting.remove(usize::from(self.sending)) else { break };
            self.bytes -= oldest.body.len();
            self.fate.dropped += u64::from(oldest.items);
        }
    }

    /// The next to be sent; [`Self::after`] must follow.
    pub(super) fn next(&mut self) -> Option<Request> {
        let next = self.waiting.front().cloned();
        self.sending = next.is_some();
        next
    }

    /// Notes what became of it; how long to wait before the next. `random` is from 0 to 1.
    pub(super) fn after(&mut self, attempt: &Attempt, random: f64) -> Duration {
        self.sending = false;
        if let Attempt::Later { after, .. } = attempt {
            let doubled = FIRST * 2_u32.saturating_pow(self.failures.min(10));
            self.failures += 1;
            // Many that lost the same collector do not all come back at the same time.
            let own = doubled.min(LONGEST).mul_f64(0.5 + random / 2.0);
            return after.map_or(own, |asked| asked.clamp(own, ASKED));
        }
        self.failures = 0;
        let Some(request) = self.waiting.pop_front() else { return Duration::ZERO };
        self.bytes -= request.body.len();
        let items = u64::from(request.items);
        let refused = match attempt {
            Attempt::Delivered { refused, .. } => (*refused).min(items),
            _ => items,
        };
        self.fate.refused += refused;
        self.fate.delivered += items - refused;
        Duration::ZERO
    }

    /// What became of all that are not waiting.
    pub(super) fn fate(&self) -> DeliveryCounts {
        self.fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Signal;

    fn request(items: u32, len: usize) -> Request {
        Request { signal: Signal::Logs, items, body: vec![0; len] }
    }

    fn later(after: Option<u64>) -> Attempt {
        Attempt::Later { why: String::new(), after: after.map(Duration::from_secs) }
    }

    const DELIVERED: Attempt = Attempt::Delivered { refused: 0, why: String::new() };

    #[test]
    fn every_item_has_one_fate() {
        let mut lane = RetryQueue::default();
        for items in [3, 4, 5] {
            lane.push(request(items, 1));
        }
        assert_eq!(lane.next().unwrap().items, 3);
        lane.after(&DELIVERED, 0.0);
        assert_eq!(lane.next().unwrap().items, 4);
        lane.after(&later(None), 0.0);
        assert_eq!(lane.next().unwrap().items, 4, "it is tried again");
        lane.after(&Attempt::Refused(String::new()), 0.0);
        lane.next();
        lane.after(&Attempt::Delivered { refused: 2, why: String::new() }, 0.0);
        assert_eq!(lane.fate(), DeliveryCounts { delivered: 6, refused: 6, dropped: 0 });
        assert!(lane.next().is_none());
    }

    #[test]
    fn the_oldest_make_room_but_not_the_one_on_its_way() {
        let mut lane = RetryQueue::default();
        lane.push(request(1, ROOM / 2));
        lane.push(request(2, ROOM / 2));
        lane.next();
        lane.push(request(4, ROOM / 2));
        assert_eq!((lane.fate().dropped, lane.waiting.len()), (2, 2));
        lane.after(&DELIVERED, 0.0);
        assert_eq!((lane.next().unwrap().items, lane.fate().delivered), (4, 1));
        lane.after(&later(None), 0.0);
        lane.push(request(8, 2 * ROOM));
        assert_eq!(lane.next().unwrap().items, 8, "one that is too large by itself is tried");
        assert_eq!(lane.fate().dropped, 6);
    }

    #[test]
    fn waits_grow_and_heed_the_collector() {
        let mut lane = RetryQueue::default();
        lane.push(request(1, 1));
        let mut wait = |after, random| lane.after(&later(after), random).as_millis();
        assert_eq!((wait(None, 1.0), wait(None, 0.0), wait(None, 1.0)), (1000, 1000, 4000));
        assert_eq!(wait(Some(20), 1.0), 20_000);
        assert_eq!(wait(Some(1), 1.0), 16_000, "no less than its own");
        assert_eq!((wait(None, 1.0), wait(Some(86_400), 1.0)), (30_000, 300_000));
        lane.next();
        assert_eq!(lane.after(&DELIVERED, 1.0), Duration::ZERO);
        lane.push(request(1, 1));
        assert_eq!(lane.after(&later(None), 1.0).as_millis(), 1000);
    }
}
