//! The application: when it takes connections out of the accept queue.
//!
//! What a recording shows of it are the times at which it called `accept()`. With other settings it
//! would have found another queue, so its times differ too; these are ways to tell how.

use super::time::{Nanos, US};

/// From a connection's arrival to the return of an `accept()` that waits for it, where it was not
/// measured.
pub const WAKE_UP: Nanos = 50 * US;

/// When the next connection is taken, where one waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Application {
    /// It takes the n-th connection no earlier than it took the n-th in the recording, and after the
    /// last one none: the least that it can do for certain.
    AsSeen(Vec<Nanos>),
    /// While it was busy, as it was seen to; while it was idle, as fast as it was when busy. What holds
    /// it up comes at its time: a stopped process, a garbage collection.
    AtPace(Pace),
    /// It does the same after the n-th connection as in the recording. What holds it up comes with a
    /// connection: a slow request, a log that is written after so many.
    InTurn(Turns),
}

/// What an application did after each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// When it took the first one at the earliest.
    pub from: Nanos,
    /// From each `accept()` until it was ready for the next, in order.
    pub gaps: Vec<Nanos>,
    /// After the last of them it goes on with this one, counted from 0.
    pub again_from: usize,
    /// From an arrival to its `accept()` while idle.
    pub wake_up: Nanos,
}

/// What an application showed of its pace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Times during which it was busy: something waited, and it took it at these times. Ascending and
    /// apart.
    pub busy: Vec<Busy>,
    /// (when, how long until it took the next one) while something waited, ascending. Empty where
    /// nothing ever waited for long enough to show it: then it takes everything at once.
    pub gaps: Vec<(Nanos, Nanos)>,
    /// From an arrival to its `accept()` while idle.
    pub wake_up: Nanos,
}

/// A time during which something waited all along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Since when.
    pub from: Nanos,
    /// When it took something, ascending; the last one ends it.
    pub accepts: Vec<Nanos>,
}

impl Pace {
    /// One that takes so many connections a second, evenly, whenever one waits.
    pub fn steady(per_second: f64) -> Self {
        #[allow(clippy::cast_possible_truncation)] // whole nanoseconds
        let gap = (1e9 / per_second).min(1e18) as Nanos;
        Self { busy: Vec::new(), gaps: vec![(0, gap)], wake_up: WAKE_UP }
    }
}

/// An application at work.
#[derive(Debug, Default)]
pub(super) struct Worker {
    taken: usize,
    last: Option<Nanos>,
    /// How many gaps it has gone through.
    gaps: usize,
    /// Whether an `accept()` is under way.
    pub(super) due: bool,
    /// When one returns that waited for what came last; `None` if the application was not waiting.
    pub(super) awake: Option<Nanos>,
}

impl Worker {
    /// Empties it for another run.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// When it takes the first of those that wait now; `None` for never.
    pub(super) fn next(&mut self, application: &Application, now: Nanos) -> Option<Nanos> {
        self.awake = None;
        match application {
            Application::AsSeen(accepts) => Some((*accepts.get(self.taken)?).max(now)),
            Application::AtPace(pace) => Some(self.at_pace(pace, now)),
            Application::InTurn(turns) => Some(self.in_turn(turns, now)),
        }
    }

    /// It has taken one.
    pub(super) fn took(&mut self, now: Nanos) {
        self.taken += 1;
        self.last = Some(now);
        self.due = false;
    }

    fn in_turn(&mut self, turns: &Turns, now: Nanos) -> Nanos {
        let ready = match (self.last, turns.gaps.len()) {
            (None, _) | (_, 0) => turns.from,
            (Some(last), n) => {
                let (at, again) = (self.taken - 1, turns.again_from.min(n - 1));
                last + turns.gaps[if at < n { at } else { again + (at - n) % (n - again) }]
            }
        };
        if ready <= now {
            return *self.awake.insert(now + turns.wake_up);
        }
        ready
    }

    fn at_pace(&mut self, pace: &Pace, now: Nanos) -> Nanos {
        let begun = pace.busy.partition_point(|busy| busy.from <= now);
        // Taken up to now, at the same instant more than once where it was seen so.
        let seen = |busy: &Busy| {
            let at = busy.accepts.partition_point(|t| *t < now || Some(*t) <= self.last);
            busy.accepts.get(at).copied()
        };
        if let Some(t) = begun.checked_sub(1).and_then(|i| seen(&pace.busy[i])) {
            return t;
        }
        let gap = self.gap(pace);
        let ready = self.last.map_or(now, |last| last + gap);
        let idle = ready.max(now + pace.wake_up);
        if ready <= now {
            self.awake = Some(idle);
        }
        // It was seen to be busy by then: it goes on as it did.
        match pace.busy.get(begun) {
            Some(busy) if idle >= busy.from => busy.accepts.first().map_or(idle, |t| (*t).max(now)),
            _ => idle,
        }
    }

    /// Those that were seen, one after the other, from the time on that it is.
    fn gap(&mut self, pace: &Pace) -> Nanos {
        let Some(last) = self.last.filter(|_| !pace.gaps.is_empty()) else { return 0 };
        let at = pace.gaps.partition_point(|(t, _)| *t <= last);
        // The latest before, and round again through all of them.
        let from = at.saturating_sub(1);
        let (_, gap) = pace.gaps[(from + self.gaps) % pace.gaps.len()];
        self.gaps += 1;
        gap
    }
}

#[cfg(test)]
mod tests {
    use super::{super::time::MS, *};

    /// When a worker takes `count` connections that wait since `now`.
    fn taken(application: &Application, now: Nanos, count: usize) -> Vec<Nanos> {
        let mut worker = Worker::default();
        let mut now = now;
        let mut one = || {
            now = worker.next(application, now)?;
            worker.took(now);
            Some(now / MS)
        };
        std::iter::from_fn(&mut one).take(count).collect()
    }

    #[test]
    fn as_seen_never_runs_ahead_of_the_recording() {
        let seen = Application::AsSeen(vec![10 * MS, 20 * MS, 30 * MS]);
        assert_eq!(taken(&seen, 0, 9), [10, 20, 30]);
        assert_eq!(taken(&seen, 25 * MS, 9), [25, 25, 30]);
    }

    #[test]
    fn at_pace_goes_on_as_fast_as_it_was() {
        let busy = Busy { from: 0, accepts: vec![500 * MS, 510 * MS, 520 * MS] };
        let gaps = vec![(500 * MS, 10 * MS), (510 * MS, 10 * MS)];
        let pace = Application::AtPace(Pace { busy: vec![busy], gaps, wake_up: 0 });
        // It began late, and had three to take; with more of them it takes more.
        assert_eq!(taken(&pace, 0, 5), [500, 510, 520, 530, 540]);
        assert_eq!(taken(&pace, 600 * MS, 3), [600, 610, 620]);
    }

    #[test]
    fn a_pause_that_was_seen_is_kept() {
        let busy = |from: Nanos, accepts: &[Nanos]| Busy {
            from: from * MS,
            accepts: accepts.iter().map(|t| t * MS).collect(),
        };
        let busy = vec![busy(0, &[1, 2]), busy(4, &[300, 301])];
        let gaps = vec![(MS, MS), (300 * MS, MS)];
        let pace = Application::AtPace(Pace { busy, gaps, wake_up: 0 });
        assert_eq!(taken(&pace, 0, 6), [1, 2, 3, 300, 301, 302]);
    }

    #[test]
    fn in_turn_does_the_same_after_each_connection() {
        let turns = Turns { from: 100 * MS, gaps: vec![MS, 50 * MS], again_from: 0, wake_up: 0 };
        let turns = Application::InTurn(turns);
        assert_eq!(taken(&turns, 0, 5), [100, 101, 151, 152, 202]);
        assert_eq!(taken(&turns, 300 * MS, 3), [300, 301, 351]);
    }

    #[test]
    fn in_turn_goes_on_where_it_would_have() {
        let gaps = vec![MS, 50 * MS, 2 * MS];
        let turns = Application::InTurn(Turns { from: 0, gaps, again_from: 1, wake_up: 0 });
        assert_eq!(taken(&turns, 0, 7), [0, 1, 51, 53, 103, 105, 155]);
    }

    #[test]
    fn a_steady_rate_is_kept() {
        let steady = Application::AtPace(Pace { wake_up: 0, ..Pace::steady(100.0) });
        assert_eq!(taken(&steady, 5 * MS, 4), [5, 15, 25, 35]);
    }
}
