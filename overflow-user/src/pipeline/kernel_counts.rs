//! What the kernel counted of its sockets, since it was last asked. It counts from the beginning, and
//! forgets a socket that is closed.

use std::collections::{HashMap, HashSet};

use overflow_common::Socket;
use overflow_core::{aggregates::ListenerCounts, listeners::Inventory};

/// An accept queue that the kernel side holds for full, and that a look showed not to be: an
/// accept() that was entered before its hook was attached is not seen, and neither is what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    /// Which of its episodes: since when, CLOCK_MONOTONIC nanoseconds.
    since_ns: u64,
    /// When the look was.
    at_ns: u64,
    /// The queue then.
    queue: (u32, u32),
}

/// A socket as the kernel side last counted it.
struct Known {
    /// Where it is counted.
    number: usize,
    /// The latest numbers, as they are told.
    told: ListenerCounts,
    ended: Option<Ended>,
    /// Time that the kernel side counts too much: of episodes before this one, and of this one.
    excess_ns: (u64, u64),
    /// The longest episode of the kernel side that was not so long.
    wrong_longest_ns: u64,
}

/// All of them.
#[derive(Default)]
pub(super) struct KernelCounts {
    sockets: HashMap<Socket, Known>,
}

impl KernelCounts {
    /// Takes what was counted of a socket until `now_ns`: what it is more than before. What is no
    /// count (the queue, its longest) is as it is.
    pub(super) fn take(
        &mut self,
        socket: Socket,
        number: usize,
        now: ListenerCounts,
        now_ns: u64,
    ) -> ListenerCounts {
        let known = self.sockets.entry(socket).or_insert_with(|| Known {
            number,
            told: ListenerCounts::default(),
            ended: None,
            excess_ns: (0, 0),
            wrong_longest_ns: 0,
        });
        known.number = number;
        let now = known.corrected(now, now_ns);
        let mut more = now.clone();
        more.verdicts.retain(|id, count| {
            *count = count.saturating_sub(known.told.verdicts.get(id).copied().unwrap_or(0));
            *count > 0
        });
        more.full.times = now.full.times.saturating_sub(known.told.full.times);
        more.full.total_ns = now.full.total_ns.saturating_sub(known.told.full.total_ns);
        more.waits = now.waits.since(&known.told.waits);
        // An episode's end can be a little before the time at which it was last looked at.
        let total_ns = known.told.full.total_ns.max(now.full.total_ns);
        known.told = now;
        known.told.full.total_ns = total_ns;
        more
    }

    /// Forgets all but these sockets. One that comes again is counted from the beginning.
    pub(super) fn retain(&mut self, sockets: &HashSet<Socket>) {
        self.sockets.retain(|socket, _| sockets.contains(socket));
    }

    /// Where this one is counted.
    pub(super) fn number(&self, socket: &Socket) -> Option<usize> {
        Some(self.sockets.get(socket)?.number)
    }

    /// Where any are counted.
    pub(super) fn numbers(&self) -> HashSet<usize> {
        self.sockets.values().map(|known| known.number).collect()
    }

    /// Whether any is full.
    pub(super) fn any_full(&self) -> bool {
        self.sockets.values().any(|known| known.told.full.now)
    }

    /// Those that are said to be full and are not, as a look shows that is later than what the kernel
    /// side last said: which, and their queues.
    pub(super) fn contradicted(
        &self,
        inventory: &Inventory,
    ) -> impl Iterator<Item = (Socket, (u32, u32))> {
        let full = self.sockets.iter().filter(|(_, known)| known.told.full.now);
        full.filter_map(|(socket, _)| {
            let listener = inventory.find_socket(socket.netns, socket.ino)?;
            let limit = listener.send_q?;
            (!listener.full()).then_some((*socket, (listener.recv_q, limit)))
        })
    }

    /// Takes a look, `now_ns`: ends the episodes that it shows to be over. Where those are counted, and
    /// the queues.
    pub(super) fn look(&mut self, inventory: &Inventory, now_ns: u64) -> Vec<(usize, (u32, u32))> {
        let over: Vec<_> = self.contradicted(inventory).collect();
        let mut ended = Vec::new();
        for (socket, queue) in over {
            let Some(known) = self.sockets.get_mut(&socket) else { continue };
            let Some(since_ns) = known.told.full_since_ns else { continue };
            known.ended = Some(Ended { since_ns, at_ns: now_ns, queue });
            known.told.full.now = false;
            ended.push((known.number, queue));
        }
        ended
    }
}

impl Known {
    /// The kernel side's numbers without the time in which its queue was not full.
    fn corrected(&mut self, mut now: ListenerCounts, now_ns: u64) -> ListenerCounts {
        let longest_ns = now.full.longest_ns;
        match self.ended {
            Some(ended) if now.full_since_ns == Some(ended.since_ns) => {
                self.excess_ns.1 = now_ns.saturating_sub(ended.at_ns);
                self.wrong_longest_ns = longest_ns;
                now.full.now = false;
                now.recv_q = Some(ended.queue);
            }
            // It has seen the end, at or after the last time it was asked.
            Some(_) => {
                if self.excess_ns.1 > 0 {
                    self.wrong_longest_ns = longest_ns;
                }
                self.excess_ns = (self.excess_ns.0 + self.excess_ns.1, 0);
                self.ended = None;
            }
            None => {}
        }
        now.full.total_ns = now.full.total_ns.saturating_sub(self.excess_ns.0 + self.excess_ns.1);
        if longest_ns <= self.wrong_longest_ns {
            now.full.longest_ns = self.told.full.longest_ns;
        }
        now
    }
}
