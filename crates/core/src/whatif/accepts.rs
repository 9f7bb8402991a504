//! When the application took connections, where `accept()` itself was not traced: every segment's
//! record has the queue's length, so what was taken since the one before is known, and only the
//! times in between are not.

use overflow_common::Path;

use super::recorded::Accepts;
use crate::decode::Event;

/// The accept queue when a segment came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// CLOCK_MONOTONIC nanoseconds.
    pub(super) t_ns: u64,
    /// `sk_ack_backlog` before it.
    pub(super) len: u32,
    /// Whether it put a child into the queue.
    pub(super) child: bool,
}

/// Whether a third ACK made a child.
pub(super) fn made_child(event: &Event) -> bool {
    let null = Path::SYN_RECV_SOCK_NULL | Path::CHECK_REQ_NULL | Path::COOKIE_CHECK_NULL;
    event.path.has(
        Path::SYN_RECV_SOCK_CHILD
            | Path::CHECK_REQ_CHILD
            | Path::COOKIE_CHECK_CHILD
            | Path::TP_ESTABLISHED,
    ) && !event.path.has(null)
}

/// A time between two segments in which something was taken.
struct Window {
    from: u64,
    to: u64,
    taken: u32,
    /// Whether nothing was left.
    emptied: bool,
}

/// The times of `accept()` that these readings allow; they are in order of time.
pub(super) fn between(readings: &[Reading]) -> Accepts {
    let windows = windows(readings);
    let usual = usual_gap(&windows);
    let mut accepts = Accepts::default();
    for window in &windows {
        let n = usize::try_from(window.taken).unwrap_or(0);
        accepts.latest_ns.extend(std::iter::repeat_n(window.to, n));
        accepts.earliest_ns.extend(std::iter::repeat_n(window.from, n));
        let evenly = (window.to - window.from) / (u64::from(window.taken) + 1);
        // One that emptied its queue may have done so long before anybody came to see it.
        let gap = usual.filter(|_| window.emptied).map_or(evenly, |usual| usual.min(evenly));
        let after = accepts.likely_ns.last().map_or(0, |last| last + gap);
        let first = after.clamp(window.from, window.from + gap);
        accepts.likely_ns.extend((0..u64::from(window.taken)).map(|i| first + i * gap));
    }
    accepts
}

fn windows(readings: &[Reading]) -> Vec<Window> {
    let mut windows = Vec::new();
    let Some(first) = readings.first() else { return windows };
    let mut children = u64::from(first.len);
    let (mut taken, mut since) = (0, first.t_ns);
    for reading in readings {
        // Records of two CPUs may be out of order: what was taken is never given back.
        let now = children.saturating_sub(reading.len.into());
        if now > taken {
            windows.push(Window {
                from: since,
                to: reading.t_ns,
                taken: u32::try_from(now - taken).unwrap_or(u32::MAX),
                emptied: reading.len == 0,
            });
        }
        if now >= taken {
            since = reading.t_ns;
            taken = now;
        }
        children += u64::from(reading.child);
    }
    windows
}

/// Time for each connection while it is certain that more waited.
fn usual_gap(windows: &[Window]) -> Option<u64> {
    let mut gaps: Vec<u64> = windows
        .windows(2)
        .filter(|pair| !pair[0].emptied && !pair[1].emptied)
        .map(|pair| (pair[1].to - pair[0].to) / u64::from(pair[1].taken.max(1)))
        .collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(t_ns: u64, len: u32, child: bool) -> Reading {
        Reading { t_ns, len, child }
    }

    #[test]
    fn what_was_taken_is_what_is_missing() {
        let readings = [
            reading(0, 0, true),
            reading(10, 1, true),
            reading(20, 2, true),
            // Two of three were taken.
            reading(50, 1, false),
            reading(90, 0, false),
        ];
        let accepts = between(&readings);
        assert_eq!(accepts.latest_ns, [50, 50, 90]);
        assert_eq!(accepts.earliest_ns, [20, 20, 50]);
        assert!(accepts.likely_ns.is_sorted() && accepts.likely_ns.len() == 3);
        assert!(!accepts.traced);
    }

    #[test]
    fn those_that_waited_before_count_when_they_are_taken() {
        let readings = [reading(0, 5, false), reading(10, 3, false)];
        assert_eq!(between(&readings).latest_ns, [10, 10]);
        assert_eq!(between(&[]).latest_ns, [0_u64; 0]);
    }

    #[test]
    fn nothing_is_taken_twice_where_records_are_out_of_order() {
        let readings = [
            reading(0, 0, true),
            reading(10, 0, false),
            // Read before the one above, as it seems.
            reading(11, 1, false),
            reading(12, 0, false),
        ];
        assert_eq!(between(&readings).latest_ns, [10]);
    }

    #[test]
    fn a_queue_that_was_emptied_is_taken_to_have_gone_on_at_the_same_pace() {
        let mut readings: Vec<_> =
            (0..10).map(|i| reading(i, u32::try_from(i).unwrap(), true)).collect();
        // One each 100 while somebody looks, the last seven by the time that somebody comes again.
        readings.extend([reading(100, 9, false), reading(200, 8, false), reading(300, 7, false)]);
        readings.push(reading(100_000, 0, false));
        let accepts = between(&readings);
        assert_eq!(accepts.likely_ns.len(), 10);
        assert!(*accepts.likely_ns.last().unwrap() <= 1_200, "{:?}", accepts.likely_ns);
    }
}
