//! The application's pace, from when it took connections and when they came.

use super::recorded::Member;
use crate::model::{
    application::{Busy, Pace, WAKE_UP},
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
                // It took nothing more while anybody looked.
                busy.accepts.push(until + 1);
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
        let first = busy.accepts[0];
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
    pace.wake_up = wake_ups.get(wake_ups.len() / 2).copied().unwrap_or(WAKE_UP);
    pace
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatif::{
        fate::Fate,
        recorded::{Accepts, Arrived},
    };

    /// Children and accepts at these milliseconds.
    fn pace(children: &[u64], accepts: &[u64]) -> Pace {
        let ms = |t: &u64| t * 1_000_000;
        let client = |t: &u64| Arrived {
            client: ([10, 7, 0, 2], 1).into(),
            syn_ns: ms(t),
            rtt_ns: None,
            sent_data: false,
            child_ns: Some(ms(t)),
            fate: Fate::AtOnce,
        };
        let member = Member {
            clients: children.iter().map(client).collect(),
            accepts: Accepts::default(),
            ..Member::default()
        };
        let accepts: Vec<u64> = accepts.iter().map(ms).collect();
        of(&member, &accepts, 0, 1000 * MS)
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
    fn who_takes_nothing_more_is_stuck_to_the_end() {
        let pace = pace(&[0, 1], &[1]);
        assert_eq!(in_ms(&pace.busy[0]), (0, vec![1, 1000]));
        assert!(pace.busy[0].accepts[1] > 1000 * MS);
    }
}
