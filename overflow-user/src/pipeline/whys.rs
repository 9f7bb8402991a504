//! Which listeners became full and are to be looked at, and what the looks at them said.

use std::collections::BTreeMap;

use super::listener_totals::ListenerKey;
use overflow_core::{
    cause::{CauseId, Change, Episode, Evidence, Judgement, evidence::QueueSample},
    decode::Event,
};

/// Listeners that wait for a look; of more than a look takes, those that overflowed first.
const WAITING: usize = 64;
/// Listeners whose episodes are kept apart; the rest are looked at each time as for the first time.
const EPISODES: usize = 4096;

/// A listener: the inode numbers of its network namespace and of its socket.
pub(crate) type Socket = (u32, u64);

/// What a look adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    /// To the causes.
    pub(crate) change: Change,
    /// The cause that the time in which it was full is due to.
    pub(crate) cause: Option<CauseId>,
    /// For how long it was full since the look before, or since it became so, nanoseconds.
    pub(crate) full_ns: u64,
}

/// Listeners whose accept queue was seen full.
#[derive(Debug, Default)]
pub(crate) struct Whys {
    /// Those that nobody has looked at since, with their queue when it was full.
    waiting: BTreeMap<Socket, QueueSample>,
    /// Those that were full at their last look, with when that was.
    episodes: BTreeMap<Socket, (Episode, u64)>,
}

impl Whys {
    /// Takes note of a full queue.
    pub(crate) fn event(&mut self, key: ListenerKey, observed: &Event) {
        let ListenerKey::Socket(netns, ino) = key else { return };
        let queues = [Some(&observed.before), observed.after.as_ref()];
        let mut full = queues.into_iter().flatten().filter_map(|queue| queue.accept);
        let Some((recv_q, _)) = full.rfind(|(len, limit)| len > limit) else { return };
        let socket = (netns, u64::from(ino));
        if self.waiting.len() < WAITING {
            let sample = QueueSample { t_ns: observed.t_ns, recv_q, drops: None };
            self.waiting.entry(socket).or_insert(sample);
        }
    }

    /// Whether a listener became full that nobody has looked at.
    pub(crate) fn any_new(&self) -> bool {
        self.waiting.keys().any(|socket| !self.episodes.contains_key(socket))
    }

    /// Whether any was full when it was last looked at, or since.
    pub(crate) fn any(&self) -> bool {
        !self.waiting.is_empty() || !self.episodes.is_empty()
    }

    /// At most so many to be looked at now: the ones that nobody has looked at, then those of which
    /// that is longest ago.
    pub(crate) fn take(&mut self, most: usize) -> BTreeMap<Socket, Option<QueueSample>> {
        let mut taken = BTreeMap::new();
        while taken.len() < most
            && let Some((socket, sample)) = self.waiting.pop_first()
        {
            taken.insert(socket, Some(sample));
        }
        let mut known: Vec<(u64, Socket)> =
            self.episodes.iter().map(|(socket, (_, looked))| (*looked, *socket)).collect();
        known.sort_unstable();
        for (_, socket) in known {
            if taken.len() < most {
                taken.entry(socket).or_default();
            }
        }
        taken
    }

    /// Takes what a look said. An episode ends with the first look that finds room.
    pub(crate) fn look(&mut self, evidence: &Evidence, judgement: &Judgement) -> Looked {
        let socket = (evidence.listener.netns, evidence.listener.inode);
        let full = |sample: &&QueueSample| {
            sample.recv_q > 0
                && evidence.listener.send_q.is_some_and(|limit| sample.recv_q >= limit)
        };
        let first = evidence.queue.iter().find(full).map_or(evidence.t_ns, |sample| sample.t_ns);
        let last = evidence.queue.iter().rev().find(full).map_or(first, |sample| sample.t_ns);
        let known = self.episodes.remove(&socket);
        let (mut episode, from) = known.unwrap_or_else(|| (Episode::new(first), first));
        let change = episode.look(judgement);
        let room = !evidence.listener.at_limit() && !evidence.syn_queue_full();
        // Between two looks that find it full it is taken to have been so.
        let until = if room { last } else { evidence.t_ns };
        let cause = episode.cause();
        if !room && self.episodes.len() < EPISODES {
            self.episodes.insert(socket, (episode, until));
        }
        Looked { change, cause, full_ns: until.saturating_sub(from) }
    }

    /// Forgets one that is gone.
    pub(crate) fn forget(&mut self, socket: Socket) {
        self.episodes.remove(&socket);
    }
}

#[cfg(test)]
mod tests {
    use overflow_core::cause::{
        CauseId, judge,
        sample::{evidence, sleeping, with_threads},
    };

    use super::*;

    const MS: u64 = 1_000_000;

    /// One that is full in all samples but the last, which has this length.
    fn stuck(t_ms: u64, recv_q: u32) -> Evidence {
        let mut evidence = evidence(vec![with_threads(10, vec![sleeping(10, "flock")])]);
        evidence.listener.recv_q = recv_q;
        for (i, sample) in (0_u64..).zip(&mut evidence.queue) {
            sample.t_ns = (t_ms - 200 + 20 * i) * MS;
        }
        evidence.queue.last_mut().unwrap().recv_q = recv_q;
        evidence.t_ns = t_ms * MS;
        evidence
    }

    #[test]
    fn the_first_look_begins_an_episode_and_one_with_room_ends_it() {
        let mut whys = Whys::default();
        let look = |whys: &mut Whys, t_ms, recv_q| {
            let seen = stuck(t_ms, recv_q);
            let looked = whys.look(&seen, &judge(&seen));
            (looked.change, looked.full_ns / MS)
        };
        assert_eq!(look(&mut whys, 1_000, 129), (Change::Began, 200));
        assert_eq!(look(&mut whys, 6_000, 129), (Change::Same, 5_000));
        assert_eq!(whys.episodes[&(1, 7)].0.cause(), Some(CauseId::Blocked));
        let (change, full_ms) = look(&mut whys, 11_000, 3);
        assert!(change != Change::Began && full_ms == 4_980, "{change:?} {full_ms}");
        assert!(!whys.any());
        // Full again: another episode. One that has emptied by the time of its first look, too.
        assert_eq!(look(&mut whys, 20_000, 3), (Change::Began, 180));
        assert_eq!(look(&mut whys, 30_000, 129), (Change::Began, 200));
        assert!(whys.any());
        whys.forget((1, 7));
        assert!(!whys.any());
    }

    #[test]
    fn new_ones_are_looked_at_before_those_that_stay_full() {
        let mut whys = Whys::default();
        for inode in [8, 9] {
            let mut seen = stuck(1_000 - inode, 129);
            seen.listener.inode = inode;
            whys.look(&seen, &judge(&seen));
        }
        let full = QueueSample { t_ns: 5, recv_q: 129, drops: None };
        whys.waiting.insert((1, 7), full);
        assert!(whys.any_new());
        let taken: Vec<_> = whys.take(2).into_iter().collect();
        assert_eq!(taken, [((1, 7), Some(full)), ((1, 9), None)]);
        assert!(!whys.any_new());
    }
}
