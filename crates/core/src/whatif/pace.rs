//! The application's pace, from when it took connections and when they came.

use super::recorded::Member;
use crate::model::{
    application::{Busy, Pace, Turns, WAKE_UP},
    time::{MS, Nanos},
};

/// An application that leaves a connection for longer than this, although it has nothing else to
/// take, is busy with what it took before.
const AT_ONCE: Nanos = 2 * MS;

/// The pace that a socket's application showed; times are relative to `begin_ns`, and nothing is
/// known of it after `until`. `accepts` are those times of the member that are to be believed.
pub(super) fn of(member: &Member, accepts: &[u64], begin_ns: u64, until: Nanos) -> Pace {
    let relative = |t: u64| t.cast_signed() - begin_ns.cast_signed();
    let mut children: Vec<Nanos> =
        member.clients.iter().filter_map(|client| client.child_ns).map(relative).collect();
    children.sort_unstable();
    // Who waited before it began.
    let before = usize::try_from(member.waiting_before).unwrap_or(0);
    children.splice(0..0, std::iter::repeat_n(0, before));
    let mut pace = Pace::default();
    let mut wake_ups = Vec::new();
    let mut accepts = accepts.iter().map(|t| relative(*t)).peekable();
    let mut last: Option<Nanos> = None;
    let mut children = children.into_iter().peekable();
    while let Some(from) = children.next() {
        let mut waiting = 1_usize;
        let mut busy = Busy { from, accepts: Vec::new() };
        while waiting > 0 {
            let Some(accept) = accepts.next() else {
                // It took nothing more; or nobody looked any more, which says nothing.
                if member.accepts.traced {
                    busy.accepts.push(until + 1);
                }
                break;
            };
            let accept = accept.max(from);
            while children.next_if(|child| *child <= accept).is_some() {
                waiting += 1;
            }
            if let Some(before) = busy.accepts.last() {
                pace.gaps.push((*before, accept - before));
            }
            busy.accepts.push(accept);
            waiting -= 1;
        }
        let Some(&first) = busy.accepts.first() else { continue };
        if first - from > AT_ONCE {
            // Busy before anything waited.
            busy.from = last.unwrap_or(Nanos::MIN);
            if let Some(last) = last.filter(|_| first <= until) {
                pace.gaps.push((last, first - last));
            }
        } else {
            wake_ups.push(first - from);
        }
        last = busy.accepts.last().copied();
        // The first of several things that it found waiting ended what it did before.
        match pace.busy.last_mut() {
            Some(earlier) if earlier.accepts.last() >= Some(&busy.from) => {
                earlier.accepts.append(&mut busy.accepts);
            }
            _ => pace.busy.push(busy),
        }
    }
    pace.gaps.sort_unstable();
    wake_ups.sort_unstable();
    // Some were still busy for a little while.
    pace.wake_up = wake_ups.get(wake_ups.len() / 4).copied().unwrap_or(WAKE_UP);
    pace
}

/// What the application did after each connection: what something waited for, as it was seen; else,
/// as much as it did on average of what there was time for.
pub(super) fn turns(pace: &Pace, until: Nanos) -> Turns {
    let mut seen: Vec<Nanos> =
        pace.gaps.iter().map(|(_, gap)| *gap).filter(|g| *g <= until).collect();
    seen.sort_unstable();
    let usual = |room: Nanos| {
        let fits = &seen[..seen.partition_point(|gap| *gap <= room)];
        let usual = fits.get(fits.len() / 2).copied();
        usual.unwrap_or(if seen.is_empty() { 0 } else { room })
    };
    let mut turns =
        Turns { from: Nanos::MIN, gaps: Vec::new(), again_from: 0, wake_up: pace.wake_up };
    if let Some(first) = pace.busy.first()
        && let Some(accept) = first.accepts.first()
        && accept.saturating_sub(first.from) > AT_ONCE
    {
        turns.from = *accept;
    }
    let all = pace.busy.iter().flat_map(|busy| {
        let waits = busy.accepts.len() - 1;
        busy.accepts.iter().enumerate().map(move |(i, t)| (*t, i < waits, busy.from))
    });
    let all: Vec<(Nanos, bool, Nanos)> = all.filter(|(t, ..)| *t <= until).collect();
    for (i, (t, waits, _)) in all.iter().enumerate() {
        let next = all.get(i + 1);
        turns.gaps.push(match next {
            Some((next, ..)) if *waits => next - t,
            // Something came to an idle application.
            Some((_, _, from)) => usual(from.saturating_sub(*t).max(0)),
            // Nothing more was taken. What it did before tells whether that says anything.
            None if *waits && until - t > 2 * seen.last().copied().unwrap_or(0) => until + 1,
            None => usual(until - t),
        });
    }
    if all.is_empty() && !pace.busy.is_empty() {
        turns.from = until + 1;
    }
    // As many as since it was held up last are behind it once it begins again.
    let held_up = |gap: &Nanos| *gap <= until && *gap > long(&seen);
    let since = turns.gaps.iter().rev().position(held_up);
    let first = turns.gaps.iter().position(held_up);
    turns.again_from = since.filter(|since| Some(*since) <= first).unwrap_or(0);
    turns
}

/// A gap that is longer than this holds an application up whose gaps are these, ascending.
fn long(gaps: &[Nanos]) -> Nanos {
    HELD_UP * gaps.get(gaps.len() / 2).copied().unwrap_or(0).max(MS)
}

/// A gap that is this many times as long as the usual one holds the application up.
const HELD_UP: Nanos = 8;
/// Fewer of these say nothing of when they come.
const FEWEST: usize = 3;
/// Times must be more regular than numbers by this.
const MARGIN: f64 = 2.0;

/// Whether what holds the application up comes after so many connections rather than at its time: it
/// does unless it was seen often, and at more regular times than numbers. What is held up once comes
/// at the same number and time anyway, as long as nobody was refused before.
pub(super) fn comes_in_turn(pace: &Pace) -> bool {
    let mut usual: Vec<Nanos> = pace.gaps.iter().map(|(_, gap)| *gap).collect();
    usual.sort_unstable();
    let long = long(&usual);
    let held_up: Vec<Nanos> =
        pace.gaps.iter().filter(|(_, gap)| *gap > long).map(|(t, _)| *t).collect();
    if held_up.len() < FEWEST {
        return true;
    }
    let accepts: Vec<Nanos> =
        pace.busy.iter().flat_map(|busy| busy.accepts.iter().copied()).collect();
    let between = |at: &dyn Fn(Nanos) -> f64| -> Vec<f64> {
        held_up.windows(2).map(|pair| at(pair[1]) - at(pair[0])).collect()
    };
    #[allow(clippy::cast_precision_loss)] // only compared
    let by_number = between(&|t| accepts.partition_point(|accept| *accept <= t) as f64);
    #[allow(clippy::cast_precision_loss)]
    let by_time = between(&|t| t as f64);
    variation(&by_number) <= MARGIN * variation(&by_time).max(f64::MIN_POSITIVE)
}

/// Standard deviation as a part of the mean.
#[allow(clippy::cast_precision_loss)] // only compared
fn variation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (squares / n).sqrt() / mean.abs().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatif::{
        fate::Fate,
        recorded::{Accepts, Arrived},
    };

    /// Children at these milliseconds.
    fn member(children: &[u64]) -> Member {
        let ms = |t: &u64| t * 1_000_000;
        let client = |t: &u64| Arrived {
            client: ([10, 7, 0, 2], 1).into(),
            syn_ns: ms(t),
            rtt_ns: None,
            sent_data: false,
            child_ns: Some(ms(t)),
            fate: Fate::AtOnce,
        };
        Member {
            clients: children.iter().map(client).collect(),
            accepts: Accepts { traced: true, ..Accepts::default() },
            ..Member::default()
        }
    }

    /// Children and accepts at these milliseconds.
    fn pace(children: &[u64], accepts: &[u64]) -> Pace {
        let accepts: Vec<u64> = accepts.iter().map(|t| t * 1_000_000).collect();
        of(&member(children), &accepts, 0, 1000 * MS)
    }

    fn in_ms(busy: &Busy) -> (Nanos, Vec<Nanos>) {
        (busy.from / MS, busy.accepts.iter().map(|t| t / MS).collect())
    }

    #[test]
    fn something_waits_from_a_child_to_the_accept_that_empties_the_queue() {
        let pace = pace(&[0, 1, 2, 50], &[1, 11, 21, 50]);
        let busy: Vec<_> = pace.busy.iter().map(in_ms).collect();
        assert_eq!(busy, [(0, vec![1, 11, 21]), (50, vec![50])]);
        assert_eq!(pace.gaps, [(MS, 10 * MS), (11 * MS, 10 * MS)]);
    }

    #[test]
    fn who_takes_late_was_busy_before() {
        let pace = pace(&[300, 500, 520], &[400, 500, 550]);
        let busy: Vec<_> = pace.busy.iter().map(in_ms).collect();
        assert_eq!(busy[0], (Nanos::MIN / MS, vec![400]));
        // 550 began at 500, which it took at once.
        assert_eq!(busy[1], (500, vec![500, 550]));
        assert_eq!(pace.gaps, [(500 * MS, 50 * MS)]);
    }

    #[test]
    fn turns_are_what_it_did_after_each() {
        let children: Vec<u64> = (0..9).collect();
        let accepts = [0, 1, 2, 300, 301, 302, 600, 601, 602];
        let turns = turns(&pace(&children, &accepts), 1000 * MS);
        let gaps: Vec<_> = turns.gaps.iter().map(|gap| gap / MS).collect();
        assert_eq!(gaps[..8], [1, 1, 298, 1, 1, 298, 1, 1]);
        assert!(comes_in_turn(&pace(&children, &accepts)), "two pauses say nothing");
    }

    #[test]
    fn what_comes_after_so_many_is_told_from_what_comes_at_its_time() {
        let held_up_at = |accepts: &[u64]| {
            let children = vec![0; accepts.len()];
            comes_in_turn(&pace(&children, accepts))
        };
        // After each fifth, which takes as long as it does.
        assert!(held_up_at(&[
            0, 1, 2, 3, 4, 104, 105, 106, 107, 108, 508, 509, 510, 511, 512, 612
        ]));
        // Each 200 ms, however many were taken.
        assert!(!held_up_at(&[
            0, 1, 100, 101, 102, 103, 104, 105, 106, 107, 300, 500, 501, 502, 700, 701
        ]));
    }

    #[test]
    fn who_takes_nothing_more_is_stuck_to_the_end() {
        let pace = pace(&[0, 1], &[1]);
        assert_eq!(in_ms(&pace.busy[0]), (0, vec![1, 1000]));
        assert!(pace.busy[0].accepts[1] > 1000 * MS);
    }
}
