//! Connections while they are talked about: each new moment is judged in the light of the earlier
//! ones. Bounded in connections, in moments each, and in time. Pure: time is in the moments.

use std::collections::{HashMap, VecDeque};

use crate::{
    correlate::SynQueueLimit,
    decode::{ConnKey, Observed},
    verdict::{self, Connection},
};

/// After so long without a moment nothing more is expected: no SYN-ACK retransmission waits longer
/// than TCP_RTO_MAX, 120 s.
const IDLE_NS: u64 = 130_000_000_000;

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections; the one that was quiet for longest is forgotten first.
    pub connections: usize,
    /// Moments of one connection; then the latest takes the place of the one before it.
    pub moments: usize,
}

impl Bounds {
    /// Of a live trace: some 30 MiB when full of connections with a moment or two.
    pub const LIVE: Self = Self { connections: 1 << 15, moments: 48 };
}

struct Story {
    moments: Vec<Observed>,
    /// When it was last heard of, by its latest moment.
    last_ns: u64,
    /// Whether any of it was shown.
    shown: bool,
}

/// The connections.
pub struct Stories {
    by_key: HashMap<ConnKey, Story>,
    /// Every connection once, in the order in which it is to be looked at again.
    queue: VecDeque<(u64, ConnKey)>,
    bounds: Bounds,
    forgotten: u64,
    merged: u64,
}

impl Stories {
    /// Nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        Self { by_key: HashMap::new(), queue: VecDeque::new(), bounds, forgotten: 0, merged: 0 }
    }

    /// Whether anything is remembered of this connection.
    pub fn knows(&self, key: &ConnKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// Adds a moment and judges its connection anew. `over` is handed connections that had to be
    /// forgotten for it.
    pub fn add(
        &mut self,
        moment: &Observed,
        limit: Option<SynQueueLimit>,
        over: &mut Vec<Connection>,
    ) -> Connection {
        let key = moment.conn;
        if !self.by_key.contains_key(&key) {
            while self.by_key.len() >= self.bounds.connections {
                self.forgotten += 1;
                over.extend(self.pop(limit));
            }
            self.queue.push_back((moment.t_ns, key));
        }
        let story = self.by_key.entry(key).or_insert_with(|| Story {
            moments: Vec::with_capacity(1),
            last_ns: moment.t_ns,
            shown: false,
        });
        story.last_ns = story.last_ns.max(moment.t_ns);
        if story.moments.len() >= self.bounds.moments {
            story.moments.pop();
            self.merged += 1;
        }
        // Several CPUs write into one ring: records of one connection can arrive out of order.
        let at = story.moments.partition_point(|m| m.t_ns <= moment.t_ns);
        story.moments.insert(at, moment.clone());
        verdict::judge(key, &story.moments, limit)
    }

    /// Notes that a moment of this connection was shown; true for the first time.
    pub fn mark_shown(&mut self, key: &ConnKey) -> bool {
        self.by_key.get_mut(key).is_some_and(|story| !std::mem::replace(&mut story.shown, true))
    }

    /// The connections of which nothing was heard for so long that nothing will be; those of which
    /// nothing was shown are just forgotten.
    pub fn expire(&mut self, now_ns: u64, limit: Option<SynQueueLimit>) -> Vec<Connection> {
        let mut over = Vec::new();
        while let Some(&(queued_ns, key)) = self.queue.front() {
            if queued_ns.saturating_add(IDLE_NS) > now_ns {
                break;
            }
            match self.by_key.get(&key) {
                Some(story) if story.last_ns > queued_ns => {
                    let last_ns = story.last_ns;
                    self.queue.pop_front();
                    // Back in line; the order is near enough to that of the last moments.
                    self.queue.push_back((last_ns, key));
                }
                _ => over.extend(self.pop(limit)),
            }
        }
        over
    }

    /// All that are left, in the order in which they began.
    pub fn finish(&mut self, limit: Option<SynQueueLimit>) -> Vec<Connection> {
        let mut left: Vec<(ConnKey, Story)> = self.by_key.drain().collect();
        self.queue.clear();
        left.sort_by_key(|(key, story)| (story.moments.first().map(|m| m.t_ns), *key));
        let shown = left.into_iter().filter(|(_, story)| story.shown);
        shown.map(|(key, story)| verdict::judge(key, &story.moments, limit)).collect()
    }

    /// What memory did not suffice for, by cause.
    pub fn losses(&self) -> [(&'static str, u64); 2] {
        [
            ("connections forgotten early, too many at once", self.forgotten),
            ("moments of one connection, too many to keep", self.merged),
        ]
    }

    fn pop(&mut self, limit: Option<SynQueueLimit>) -> Option<Connection> {
        let (_, key) = self.queue.pop_front()?;
        let story = self.by_key.remove(&key)?;
        story.shown.then(|| verdict::judge(key, &story.moments, limit))
    }
}

#[cfg(test)]
mod tests {
    use overflow_common::{Event, Path};

    use super::*;
    use crate::{decode::Decoder, verdict::VerdictId};

    fn dropped_syn(client_port: u16, t_ns: u64) -> Observed {
        let event = Event {
            t_ns,
            client_port,
            kind: 1,
            rung: 1,
            family: 4,
            path: Path::CONN_REQUEST,
            ..Event::EMPTY
        };
        Decoder::default().decode(&event).unwrap()
    }

    #[test]
    fn the_quietest_is_forgotten_and_counted() {
        let mut stories = Stories::new(Bounds { connections: 2, moments: 4 });
        let mut over = Vec::new();
        for port in [1, 2, 3] {
            let moment = dropped_syn(port, u64::from(port));
            let connection = stories.add(&moment, None, &mut over);
            assert_eq!(connection.outcome, Some(VerdictId::SynDropOther));
            assert!(stories.mark_shown(&moment.conn));
            assert!(!stories.mark_shown(&moment.conn));
        }
        assert_eq!(over.iter().map(|c| c.client.port()).collect::<Vec<_>>(), [1]);
        assert_eq!(stories.losses()[0].1, 1);
        let left = stories.finish(None);
        assert_eq!(left.iter().map(|c| c.client.port()).collect::<Vec<_>>(), [2, 3]);
        assert!(stories.finish(None).is_empty());
    }

    #[test]
    fn silence_ends_a_connection_but_a_word_keeps_it() {
        let mut stories = Stories::new(Bounds { connections: 9, moments: 4 });
        let mut over = Vec::new();
        for (port, t_ns) in [(1, 0), (2, 0), (1, IDLE_NS / 2)] {
            let moment = dropped_syn(port, t_ns);
            stories.add(&moment, None, &mut over);
            stories.mark_shown(&moment.conn);
        }
        assert!(stories.expire(IDLE_NS - 1, None).is_empty());
        let ended = stories.expire(IDLE_NS, None);
        assert_eq!(ended.iter().map(|c| c.client.port()).collect::<Vec<_>>(), [2]);
        let ended = stories.expire(IDLE_NS * 2, None);
        assert_eq!(ended[0].stages[0].repeats_ns, [IDLE_NS / 2]);
        assert!(over.is_empty());
    }

    #[test]
    fn moments_are_bounded_too() {
        let mut stories = Stories::new(Bounds { connections: 9, moments: 3 });
        let mut last = None;
        for t_ns in 0..10 {
            last = Some(stories.add(&dropped_syn(1, t_ns), None, &mut Vec::new()));
        }
        assert_eq!(last.unwrap().stages[0].repeats_ns, [1, 9]);
        assert_eq!(stories.losses()[1].1, 7);
    }
}
