//! One listener, or a `SO_REUSEPORT` group of them, with what happened there.

use std::net::SocketAddr;

use super::series::Series;
use crate::sink::trace::{Listened, Totals, Whose};
use overflow_core::{
    listeners::{Listener, Sysctls},
    verdict::VerdictId,
};

/// Which listener: inode number of its network namespace, where it listens, and which of those there.
pub(crate) type Key = (u32, SocketAddr, Whose);

/// One line of the view.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub key: Key,
    /// The group that it is a member of.
    pub group: Option<Key>,
    /// Where it listens, as `ss` writes it.
    pub place: String,
    /// The listener as it was at the last look; all of a group; all that it can be if it is not known
    /// which.
    pub listeners: Vec<Listener>,
    /// Whether it was still there at the last look.
    pub open: bool,
    /// Settings of its namespace, if known.
    pub sysctls: Option<Sysctls>,
    /// What happened since tracing began.
    pub totals: Totals,
    /// Accept queue now: (length, limit), connections; of a group, the fullest one's. `None` where nothing is known of it, or the listener is gone.
    pub recv_q: Option<(u32, u32)>,
    /// Longest accept queue that was seen, connections.
    pub longest: u32,
    /// Longest accept queue of each second.
    pub queue: Series,
    /// Overflows in each second.
    pub overflows: Series,
    /// Limit of the accept queue when it was last known.
    limit: Option<u32>,
    /// Seconds in which the accept queue was seen, and in which it was seen full.
    seen: (u64, u64),
}

/// How much of the time an accept queue was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FullShare {
    /// Measured, per cent.
    Traced(u8),
    /// Share of the seconds in which it was seen full at least once, per cent.
    Sampled(u8),
}

impl Row {
    /// A listener of which nothing is known yet.
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            group: None,
            place: key.1.to_string(),
            listeners: Vec::new(),
            open: false,
            sysctls: None,
            totals: Totals::default(),
            recv_q: None,
            longest: 0,
            queue: Series::default(),
            overflows: Series::default(),
            limit: None,
            seen: (0, 0),
        }
    }

    /// Takes what is known at the end of a second: what was looked at (empty if it is gone), what
    /// happened, and the longest queue of this second's shown events. `timed`: what enters and
    /// leaves the queue is traced, so that time spent full is measured.
    pub(crate) fn second(
        &mut self,
        looked: &[&Listener],
        happened: Option<&Listened<'_>>,
        peak: u32,
        timed: bool,
    ) {
        self.look(looked);
        let mut eventful = false;
        let mut overflows = 0;
        let mut peak = peak;
        if let Some(happened) = happened {
            peak = peak.max(self.peak(&happened.totals));
            overflows = happened.totals.overflows().saturating_sub(self.totals.overflows());
            eventful = happened.totals.events() != self.totals.events();
            // The group's row has those that are there; what happened has those that are gone too.
            if self.listeners.is_empty() {
                self.listeners = happened.listeners.iter().map(|l| (*l).clone()).collect();
                self.place.clone_from(&happened.place);
            }
            self.sysctls = happened.sysctls.or(self.sysctls);
            self.totals = happened.totals.clone().into_owned();
            self.totals.full = self.totals.full.filter(|_| timed);
        }
        // Where something happened, what was traced is newer than the last look.
        let traced_recv_q = happened.and_then(|h| h.totals.recv_q).filter(|_| eventful);
        if traced_recv_q.is_some() && !self.gone() {
            self.recv_q = traced_recv_q;
        }
        let now = traced_recv_q.or(self.recv_q);
        self.limit = now.map(|(_, limit)| limit).or(self.limit);
        let longest = now.map_or(0, |(len, _)| len).max(peak);
        self.queue.push(longest);
        self.overflows.push(u32::try_from(overflows).unwrap_or(u32::MAX));
        self.longest = self.longest.max(longest).max(self.totals.recv_q_max.unwrap_or(0));
        if let Some(limit) = self.limit.filter(|_| self.open || traced_recv_q.is_some()) {
            self.seen.0 += 1;
            self.seen.1 += u64::from(longest > limit);
        }
    }

    /// What the totals say about the longest queue since they were last taken: a new maximum, or
    /// time spent full.
    fn peak(&self, now: &Totals) -> u32 {
        let longest = now.recv_q_max.filter(|max| Some(*max) > self.totals.recv_q_max);
        let was_full = |t: &Totals| t.full.map_or(0, |f| f.total_ns);
        let filled = self.limit.filter(|_| was_full(now) > was_full(&self.totals));
        longest.unwrap_or(0).max(filled.map_or(0, |limit| limit.saturating_add(1)))
    }

    /// Takes a look at the listeners there; none if they are gone.
    pub(crate) fn look(&mut self, looked: &[&Listener]) {
        self.open = !looked.is_empty();
        self.recv_q = None;
        let Some(first) = looked.first() else { return };
        self.place = first.place();
        self.listeners = looked.iter().map(|l| (*l).clone()).collect();
        let fullest = looked.iter().max_by_key(|l| l.recv_q);
        self.recv_q = fullest.and_then(|l| Some((l.recv_q, l.send_q?)));
        self.limit = self.recv_q.map(|(_, limit)| limit);
        self.longest = self.longest.max(self.recv_q.map_or(0, |(len, _)| len));
    }

    /// Whether it was closed; one that was never seen, as in a namespace that cannot be entered,
    /// is not known to be.
    pub(crate) fn gone(&self) -> bool {
        !self.open && !self.listeners.is_empty()
    }

    /// Limit of the accept queue, if it is or was known.
    pub(crate) fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// Whether the accept queue is full now.
    pub(crate) fn full(&self) -> bool {
        self.totals.full.is_some_and(|f| f.now)
            || self.recv_q.is_some_and(|(len, limit)| len > limit)
    }

    /// Whether nothing has happened here.
    pub(crate) fn idle(&self) -> bool {
        self.longest == 0 && self.totals.events() == 0
    }

    /// Overflows in the last second.
    pub(crate) fn overflow_rate(&self) -> u32 {
        self.overflows.last(1).next().unwrap_or(0)
    }

    /// Events with a verdict that passes this test.
    pub(crate) fn count(&self, test: impl Fn(VerdictId) -> bool) -> u64 {
        let count = |(id, count): (&VerdictId, &u64)| test(*id).then_some(*count);
        self.totals.verdicts.iter().filter_map(count).sum()
    }

    /// How much of `traced_ns` the accept queue was full, if that is known.
    pub(crate) fn full_share(&self, traced_ns: u64) -> Option<FullShare> {
        let (seen, seen_full) = self.seen;
        match self.totals.full {
            Some(full) if traced_ns > 0 => {
                Some(FullShare::Traced(per_cent(full.total_ns, traced_ns)))
            }
            None if seen > 0 => Some(FullShare::Sampled(per_cent(seen_full, seen))),
            _ => None,
        }
    }
}

/// Never 0 for something, never 100 for less than everything.
fn per_cent(part: u64, whole: u64) -> u8 {
    let share = u128::from(part) * 100 / u128::from(whole.max(1));
    match (part, share) {
        (0, _) => 0,
        (_, 0) => 1,
        (_, share) => u8::try_from(share.min(100)).unwrap_or(100),
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, collections::BTreeMap};

    use super::*;
    use crate::sink::trace::Full;
    use overflow_core::listeners::sample::listener;

    fn happened(totals: &Totals) -> Listened<'_> {
        let place = "0.0.0.0:80".to_owned();
        Listened {
            netns: 1,
            local: place.parse().unwrap(),
            whose: Whose::Socket(7),
            open: true,
            sockets: 1,
            place,
            listeners: Vec::new(),
            sysctls: None,
            totals: Cow::Borrowed(totals),
            members: Vec::new(),
        }
    }

    fn dropped(count: u64, recv_q: (u32, u32)) -> Totals {
        Totals {
            verdicts: BTreeMap::from([(VerdictId::SynDropAcceptQueueFull, count)]),
            recv_q: Some(recv_q),
            recv_q_max: Some(recv_q.0),
            ..Totals::default()
        }
    }

    #[test]
    fn what_happened_is_newer_than_what_was_looked_at() {
        let key = (1, "0.0.0.0:80".parse().unwrap(), Whose::Socket(7));
        let mut row = Row::new(key);
        let looked = Listener { recv_q: 3, ..listener("0.0.0.0:80") };
        row.second(&[&looked], None, 0, true);
        assert_eq!((row.recv_q, row.full(), row.idle()), (Some((3, 128)), false, false));
        let full = dropped(40, (129, 128));
        row.second(&[&looked], Some(&happened(&full)), 129, true);
        assert_eq!((row.recv_q, row.full()), (Some((129, 128)), true));
        assert_eq!(row.overflow_rate(), 40);
        // Nothing new: the look counts again.
        row.second(&[&looked], Some(&happened(&full)), 0, true);
        assert_eq!((row.recv_q, row.overflow_rate()), (Some((3, 128)), 0));
        assert_eq!(row.queue.last(9).collect::<Vec<_>>(), [3, 129, 3]);
        assert_eq!((row.longest, row.count(VerdictId::is_dropped_syn)), (129, 40));
        assert_eq!(row.full_share(3_000_000_000), Some(FullShare::Sampled(33)));
    }

    #[test]
    fn a_listener_that_is_gone_has_no_queue() {
        let mut row = Row::new((1, "10.0.0.1:80".parse().unwrap(), Whose::Unknown));
        row.look(&[&listener("10.0.0.1:80")]);
        let full = dropped(1, (2, 1));
        row.second(&[], Some(&happened(&full)), 2, true);
        assert!(!row.open && row.recv_q.is_none() && !row.full());
        assert_eq!((row.longest, row.limit()), (2, Some(1)));
        row.second(&[], Some(&happened(&full)), 0, true);
        assert_eq!(row.queue.last(9).collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn a_second_spent_full_is_seen_though_the_queue_is_short_again() {
        let mut row = Row::new((1, "0.0.0.0:80".parse().unwrap(), Whose::Socket(7)));
        let looked = Listener { recv_q: 3, ..listener("0.0.0.0:80") };
        let full = |total_ns| Totals {
            full: Some(Full { times: 1, total_ns, ..Full::default() }),
            ..dropped(0, (1, 128))
        };
        for total_ns in [0, 5, 5] {
            let totals = full(total_ns);
            row.second(&[&looked], Some(&happened(&totals)), 0, true);
        }
        assert_eq!(row.queue.last(9).collect::<Vec<_>>(), [3, 129, 3]);
        assert_eq!(row.full_share(1000), Some(FullShare::Traced(1)));
        // Where accept() is not traced, zeros are no measurement.
        row.second(&[&looked], Some(&happened(&full(0))), 0, false);
        assert_eq!(row.full_share(1000), Some(FullShare::Sampled(25)));
    }

    #[test]
    fn one_that_was_never_seen_has_the_queue_that_was_traced() {
        let mut row = Row::new((1, "10.0.0.1:80".parse().unwrap(), Whose::Unknown));
        let full = dropped(1, (2, 1));
        row.second(&[], Some(&happened(&full)), 2, true);
        assert!(!row.gone() && row.full());
        row.second(&[], Some(&happened(&full)), 0, true);
        assert_eq!((row.gone(), row.recv_q), (false, None));
    }

    #[test]
    fn of_a_group_the_fullest_counts() {
        let mut row = Row::new((1, "0.0.0.0:80".parse().unwrap(), Whose::Socket(7)));
        let of = |recv_q| Listener { recv_q, group: 2, ..listener("0.0.0.0:80") };
        row.look(&[&of(0), &of(129)]);
        assert!(row.full() && row.listeners.len() == 2);
    }

    #[test]
    fn shares_are_not_rounded_to_nothing_or_everything() {
        let of = |part, whole| per_cent(part, whole);
        assert_eq!([of(0, 9), of(1, 1000), of(999, 1000), of(7, 7)], [0, 1, 99, 100]);
    }
}
