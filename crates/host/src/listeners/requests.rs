//! Lengths of SYN queues, which are not counted with every look.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use overflow_core::listeners::Inventory;

use super::SynQueues;

/// The kernel goes through all connections of the host to count requests, in each network namespace once
/// for each family: that may take one part in so many of the time, and at first this much more.
const SHARE: u32 = 100;
const AHEAD: Duration = Duration::from_millis(50);

/// What was counted last, and how long that took.
#[derive(Debug)]
pub struct Requests {
    /// By network namespace and socket.
    known: HashMap<(u32, u64), u32>,
    since: Instant,
    spent: Duration,
}

impl Default for Requests {
    fn default() -> Self {
        Self { known: HashMap::new(), since: Instant::now(), spent: Duration::ZERO }
    }
}

impl Requests {
    /// What the next look is to know.
    pub fn next(&self) -> SynQueues {
        self.after(self.since.elapsed())
    }

    fn after(&self, elapsed: Duration) -> SynQueues {
        let may = self.spent <= elapsed / SHARE + AHEAD;
        if may { SynQueues::Counted } else { SynQueues::Left }
    }

    /// A look that was to know this took so long.
    pub fn took(&mut self, looked: SynQueues, took: Duration) {
        if looked == SynQueues::Counted {
            self.spent += took;
        }
    }

    /// Remembers what was counted; where nothing was, it is what it was.
    pub fn fill_in(&mut self, inventory: &mut Inventory) {
        let mut known = HashMap::new();
        for listener in &mut inventory.listeners {
            let socket = (listener.netns, listener.inode);
            listener.syn_recv = listener.syn_recv.or_else(|| self.known.get(&socket).copied());
            known.extend(listener.syn_recv.map(|n| (socket, n)));
        }
        self.known = known;
    }
}

#[cfg(test)]
mod tests {
    use overflow_core::listeners::{Listener, sample::listener};

    use super::*;

    #[test]
    fn what_was_counted_stays_until_it_is_counted_again() {
        let seen = |requests: &mut Requests, inodes: [(u64, Option<u32>); 2]| {
            let listeners = inodes.map(|(inode, syn_recv)| Listener {
                inode,
                syn_recv,
                ..listener("0.0.0.0:80")
            });
            let mut inventory = Inventory::default();
            inventory.listeners.extend(listeners);
            requests.fill_in(&mut inventory);
            inventory.listeners.iter().map(|l| l.syn_recv).collect::<Vec<_>>()
        };
        let mut requests = Requests::default();
        assert_eq!(seen(&mut requests, [(1, None), (2, Some(7))]), [None, Some(7)]);
        assert_eq!(seen(&mut requests, [(2, None), (3, None)]), [Some(7), None]);
        assert_eq!(seen(&mut requests, [(2, Some(0)), (3, Some(1))]), [Some(0), Some(1)]);
    }

    #[test]
    fn it_takes_its_share_of_the_time() {
        let mut requests = Requests::default();
        assert_eq!(requests.after(Duration::ZERO), SynQueues::Counted);
        requests.took(SynQueues::Counted, Duration::from_secs(1));
        requests.took(SynQueues::Left, Duration::from_secs(9));
        assert_eq!(requests.after(Duration::from_secs(90)), SynQueues::Left);
        assert_eq!(requests.after(Duration::from_secs(96)), SynQueues::Counted);
    }
}
