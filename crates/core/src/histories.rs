//! Events -> the history of each connection. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::{
    decode::{ConnKey, Event},
    syn_limit::{SynLimitEstimator, SynQueueLimit},
};

/// The events of one connection, in the order they happened.
pub(crate) type History = Vec<Event>;

/// Collects events by connection, in bounded memory.
#[derive(Debug)]
pub struct Table {
    histories: HashMap<ConnKey, History>,
    max_connections: usize,
    max_events: usize,
    evicted: u64,
    limit: SynLimitEstimator,
}

impl Table {
    /// A table of at most `max_connections` histories of at most `max_events` events each.
    pub fn new(max_connections: usize, max_events: usize) -> Self {
        Self {
            histories: HashMap::new(),
            max_connections,
            max_events,
            evicted: 0,
            limit: SynLimitEstimator::default(),
        }
    }

    /// Takes one event. What does not fit is counted.
    pub fn push(&mut self, event: Event) {
        self.limit.learn(&event);
        let room = self.histories.len() < self.max_connections;
        let history = match self.histories.get_mut(&event.conn) {
            Some(history) => history,
            None if room => self.histories.entry(event.conn).or_default(),
            None => {
                self.evicted += 1;
                return;
            }
        };
        if history.len() < self.max_events {
            // Two CPUs write into one ring: records of one connection can arrive out of order.
            let at = history.partition_point(|m| m.t_ns <= event.t_ns);
            history.insert(at, event);
        } else {
            self.evicted += 1;
        }
    }

    /// Events that found no room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// What this kernel's SYN queue limit was seen to be, if any event showed it.
    pub fn syn_queue_limit(&self) -> Option<SynQueueLimit> {
        self.limit.limit()
    }

    /// The histories of network namespace `netns`, by connection.
    pub fn histories(&self, netns: u32) -> BTreeMap<ConnKey, &History> {
        self.histories.iter().filter(|(k, _)| k.netns == netns).map(|(k, s)| (*k, s)).collect()
    }
}
