//! What the samples of an accept queue show of arrivals and accepts.

use super::evidence::Evidence;

/// Ages of connections are read in ticks of the kernel, of at most 10 ms (CONFIG_HZ), and a little
/// before the second reading ends, nanoseconds.
const COARSE_NS: u64 = 20_000_000;

/// Whether `accept()` took anything between the readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepting {
    /// Nothing.
    No,
    /// At least so many connections.
    AtLeast(u64),
    /// Nothing shows it either way.
    Unknown,
}

/// Arrivals and accepts between the readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What `accept()` took.
    pub accepting: Accepting,
    /// The most that it can have taken, where that is known.
    pub at_most: Option<u64>,
    /// What was dropped at the listener.
    pub dropped: Option<u32>,
    /// The same in the second half of the time.
    pub dropped_late: Option<u32>,
    /// Whether the queue was full, or at its limit, in every sample.
    pub full_throughout: bool,
    /// Whether it has room in the last sample, and had none before.
    pub drained: bool,
}

impl Flow {
    /// What the evidence shows.
    pub fn of(evidence: &Evidence) -> Self {
        let limit = evidence.listener.send_q.unwrap_or(u32::MAX);
        let queue = &evidence.queue;
        let at_limit = |recv_q: u32| recv_q >= limit && recv_q > 0;
        let middle = queue.get(queue.len() / 2).map_or(0, |s| s.t_ns);
        let late = || queue.iter().filter(move |s| s.t_ns >= middle);
        let was_full = queue.iter().any(|s| at_limit(s.recv_q));
        Self {
            accepting: accepting(evidence),
            at_most: at_most(evidence),
            dropped: rise(queue.iter().map(|s| s.drops)),
            dropped_late: rise(late().map(|s| s.drops)),
            full_throughout: !queue.is_empty() && queue.iter().all(|s| at_limit(s.recv_q)),
            drained: was_full && queue.last().is_some_and(|s| !at_limit(s.recv_q)),
        }
    }

    /// Whether it is known that `accept()` took something.
    pub fn accepts(self) -> bool {
        matches!(self.accepting, Accepting::AtLeast(_))
    }
}

fn accepting(evidence: &Evidence) -> Accepting {
    let queue = &evidence.queue;
    let (Some(first), Some(last)) = (queue.first(), queue.last()) else {
        return Accepting::Unknown;
    };
    // Only accept() and the listener's end take anything out (reqsk_queue_remove).
    let steps = queue.windows(2).map(|w| u64::from(w[0].recv_q.saturating_sub(w[1].recv_q)));
    let shorter: u64 = steps.sum();
    // A queue that was full took in another one only after accept() had made room.
    let limit = evidence.listener.send_q.unwrap_or(u32::MAX);
    let refilled = first.recv_q > limit
        && evidence.waiting.is_some_and(|w| {
            let came = evidence.t_ns.saturating_sub(w.newest_ns);
            came > first.t_ns.saturating_add(COARSE_NS) && w.count >= last.recv_q
        });
    let at_least = shorter.max(u64::from(refilled));
    if at_least > 0 {
        return Accepting::AtLeast(at_least);
    }
    let stood_still = first.recv_q > limit
        && evidence.full_for_ns().is_some_and(|full| {
            evidence.t_ns.saturating_sub(full).saturating_add(COARSE_NS) <= first.t_ns
        });
    if at_most(evidence) == Some(0) || stood_still { Accepting::No } else { Accepting::Unknown }
}

/// Each child that was made is counted before it enters a queue: of this namespace's.
fn at_most(evidence: &Evidence) -> Option<u64> {
    let (first, last) = (evidence.queue.first()?, evidence.queue.last()?);
    let came = evidence.rises?.passive_opens.saturating_add(first.recv_q.into());
    Some(came.saturating_sub(u64::from(last.recv_q)))
}

/// How much the last of these is above the first.
fn rise(mut drops: impl Iterator<Item = Option<u32>>) -> Option<u32> {
    let first = drops.next()??;
    let last = drops.last().unwrap_or(Some(first))?;
    Some(last.wrapping_sub(first))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            evidence::{QueueSample, Rises, Waiting},
            sample::evidence,
        },
        *,
    };

    const MS: u64 = 1_000_000;

    /// Samples 20 ms apart, the last at the time of the second reading.
    fn samples(recv_q: &[u32], drops: &[u32]) -> Evidence {
        let mut evidence = evidence(Vec::new());
        let begin = evidence.t_ns - 20 * MS * (recv_q.len() as u64 - 1);
        let times = (0_u64..).map(|i| begin + 20 * MS * i);
        evidence.queue = times
            .zip(recv_q.iter().zip(drops))
            .map(|(t_ns, (recv_q, drops))| QueueSample {
                t_ns,
                recv_q: *recv_q,
                drops: Some(*drops),
            })
            .collect();
        evidence.listener.recv_q = *recv_q.last().unwrap();
        evidence
    }

    fn rises(passive_opens: u64) -> Rises {
        Rises { passive_opens, ..Rises::default() }
    }

    #[test]
    fn a_queue_that_gets_shorter_is_accepted_from() {
        let flow = Flow::of(&samples(&[129, 127, 129, 126], &[4, 4, 4, 4]));
        assert_eq!(flow.accepting, Accepting::AtLeast(5));
        assert!(flow.drained && !flow.full_throughout);
    }

    #[test]
    fn a_full_queue_in_a_namespace_without_new_children_is_not() {
        let mut still = samples(&[129, 129, 129], &[4, 5, 9]);
        assert_eq!(Flow::of(&still).accepting, Accepting::Unknown);
        still.rises = Some(rises(3));
        assert_eq!(Flow::of(&still).accepting, Accepting::Unknown);
        still.rises = Some(rises(0));
        let flow = Flow::of(&still);
        assert_eq!(
            (flow.accepting, flow.dropped, flow.dropped_late),
            (Accepting::No, Some(5), Some(4))
        );
        assert!(flow.full_throughout && !flow.drained);
    }

    #[test]
    fn the_newest_connection_tells_since_when_it_is_full() {
        let mut full = samples(&[129, 129, 129], &[4, 4, 4]);
        let waiting = |newest_ns, count| Some(Waiting { count, oldest_ns: 90_000 * MS, newest_ns });
        full.waiting = waiting(60 * MS, 129);
        assert_eq!(Flow::of(&full).accepting, Accepting::No);
        assert_eq!(full.full_for_ns(), Some(60 * MS));
        // It came between the samples, so there was room.
        full.waiting = waiting(19 * MS, 129);
        assert_eq!(Flow::of(&full).accepting, Accepting::AtLeast(1));
        // Too close to the first sample for clocks of 10 ms.
        for newest in [21, 59] {
            full.waiting = waiting(newest * MS, 129);
            assert_eq!(Flow::of(&full).accepting, Accepting::Unknown);
        }
        // Some of them were not seen, so the newest may be among these.
        full.waiting = waiting(60 * MS, 128);
        assert_eq!((Flow::of(&full).accepting, full.full_for_ns()), (Accepting::Unknown, None));
    }

    #[test]
    fn without_samples_nothing_is_known() {
        let mut none = samples(&[129], &[4]);
        none.queue.clear();
        let flow = Flow::of(&none);
        assert_eq!((flow.accepting, flow.dropped), (Accepting::Unknown, None));
        assert!(!flow.full_throughout && !flow.drained);
    }
}
