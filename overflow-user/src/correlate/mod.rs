//! Observed moments -> the story of each connection. Pure.

use std::collections::{BTreeMap, HashMap};

use overflow_common::{Kind, Path};

use crate::decode::{ConnKey, Observed};

/// The moments of one connection, in the order they happened.
pub type Story = Vec<Observed>;

/// When this kernel holds the SYN queue for full. Not a matter of major versions: commit
/// 3479c7549fb1 (v6.13) was taken into 5.4.290, 5.10.234, 5.15.177, 6.1.125 and 6.12.10, so it is
/// learnt from what the kernel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynQueueLimit {
    /// `qlen >= sk_max_ack_backlog` (v4.4 to v6.12).
    AtBacklog,
    /// `qlen > sk_max_ack_backlog` (since 3479c7549fb1).
    AboveBacklog,
}

/// Collects moments by connection, in bounded memory.
#[derive(Debug)]
pub struct Table {
    stories: HashMap<ConnKey, Story>,
    max_connections: usize,
    max_moments: usize,
    evicted: u64,
    limit: Option<SynQueueLimit>,
}

impl Table {
    /// A table of at most `max_connections` stories of at most `max_moments` moments each.
    pub fn new(max_connections: usize, max_moments: usize) -> Self {
        Self { stories: HashMap::new(), max_connections, max_moments, evicted: 0, limit: None }
    }

    /// Takes one moment. What does not fit is counted.
    pub fn push(&mut self, moment: Observed) {
        if let Some(limit) = learn(&moment) {
            self.limit = Some(limit);
        }
        let room = self.stories.len() < self.max_connections;
        let story = match self.stories.get_mut(&moment.conn) {
            Some(story) => story,
            None if room => self.stories.entry(moment.conn).or_default(),
            None => {
                self.evicted += 1;
                return;
            }
        };
        if story.len() < self.max_moments {
            // Two CPUs write into one ring: records of one connection can arrive out of order.
            let at = story.partition_point(|m| m.t_ns <= moment.t_ns);
            story.insert(at, moment);
        } else {
            self.evicted += 1;
        }
    }

    /// Moments that found no room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// What this kernel's SYN queue limit was seen to be, if any moment showed it.
    pub fn syn_queue_limit(&self) -> Option<SynQueueLimit> {
        self.limit
    }

    /// The stories of network namespace `netns`, by connection.
    pub fn stories(&self, netns: u32) -> BTreeMap<ConnKey, &Story> {
        self.stories.iter().filter(|(k, _)| k.netns == netns).map(|(k, s)| (*k, s)).collect()
    }
}

/// What this moment shows of the kernel's SYN queue limit: a SYN that came when the queue held
/// exactly `backlog` requests shows where it is.
pub fn learn(moment: &Observed) -> Option<SynQueueLimit> {
    let (_, max) = moment.before.accept?;
    if moment.kind != Kind::Syn || moment.before.qlen? != max || moment.syncookies? == 2 {
        return None;
    }
    if moment.path.has(Path::REQSK_HASHED | Path::TP_SYNACK_REQUEST) {
        Some(SynQueueLimit::AboveBacklog)
    } else if moment.path.has(Path::COOKIE_INIT | Path::TP_SYNACK_COOKIE) {
        Some(SynQueueLimit::AtBacklog)
    } else {
        None
    }
}
