//! Observed moments -> the story of each connection. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::{
    decode::{ConnKey, Observed},
    syn_limit::{SynLimitEstimator, SynQueueLimit},
};

/// The moments of one connection, in the order they happened.
pub type History = Vec<Observed>;

/// Collects moments by connection, in bounded memory.
#[derive(Debug)]
pub struct Table {
    stories: HashMap<ConnKey, History>,
    max_connections: usize,
    max_moments: usize,
    evicted: u64,
    limit: SynLimitEstimator,
}

impl Table {
    /// A table of at most `max_connections` stories of at most `max_moments` moments each.
    pub fn new(max_connections: usize, max_moments: usize) -> Self {
        Self {
            stories: HashMap::new(),
            max_connections,
            max_moments,
            evicted: 0,
            limit: SynLimitEstimator::default(),
        }
    }

    /// Takes one moment. What does not fit is counted.
    pub fn push(&mut self, moment: Observed) {
        self.limit.learn(&moment);
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
        self.limit.limit()
    }

    /// The stories of network namespace `netns`, by connection.
    pub fn stories(&self, netns: u32) -> BTreeMap<ConnKey, &History> {
        self.stories.iter().filter(|(k, _)| k.netns == netns).map(|(k, s)| (*k, s)).collect()
    }
}
