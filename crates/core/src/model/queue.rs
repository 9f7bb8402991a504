//! The queue of coming events, in the order in which the kernel would handle them.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{ack::Segment, features::TimerWheel, time::Nanos};

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The client calls `connect()`.
    Connect,
    /// A SYN reaches the server.
    Syn,
    /// The client's SYN timer.
    SynTimer,
    /// A SYN-ACK reaches the client: of the request number `Some(n)`, or with a cookie.
    SynAck(Option<u32>),
    /// An ACK or data reaches the server.
    Segment(Segment),
    /// The client's application sends its data.
    Send,
    /// A client on the server's own processor comes to send.
    SendInTurn,
    /// The client's data timer (probe or retransmission).
    DataTimer,
    /// The server's acknowledgement of the data reaches the client.
    DataAcked,
    /// An RST reaches the client.
    Rst,
    /// An RST of the client reaches the server.
    PeerRst,
    /// The SYN-ACK timer of one request.
    RequestTimer,
    /// The listener-wide SYN-ACK timer.
    Prune,
    /// The client closes an unconnected socket.
    GiveUp,
    /// The application calls `accept()`.
    Accept,
    /// An application that takes what waits is ready for the next one.
    Serve,
    /// The server's processor comes to the next segment that waits for it.
    Ingress,
    /// The listener is closed.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    t: Nanos,
    /// Orders what happens at the same time: timers run before the packets that they send are
    /// received, because `NET_RX_SOFTIRQ` comes after `TIMER_SOFTIRQ`.
    rank: u64,
    client: u32,
    event: Event,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.t, self.rank).cmp(&(other.t, other.rank))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Coming events; keeps its memory between runs.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    heap: BinaryHeap<Reverse<Entry>>,
    pushed: u32,
    last_armed_first: bool,
}

impl EventQueue {
    /// Empties the queue for a kernel with this timer wheel.
    pub(super) fn reset(&mut self, wheel: TimerWheel) {
        self.heap.clear();
        self.pushed = 0;
        self.last_armed_first = wheel == TimerWheel::Bucketed;
    }

    /// A packet arrives, or an application acts.
    pub(super) fn at(&mut self, t: Nanos, client: usize, event: Event) {
        let rank = (1 << 32) | u64::from(self.next());
        self.push(t, rank, client, event);
    }

    /// A timer expires.
    pub(super) fn timer(&mut self, t: Nanos, client: usize, event: Event) {
        let next = self.next();
        let rank = if self.last_armed_first { u32::MAX - next } else { next };
        self.push(t, u64::from(rank), client, event);
    }

    /// The next event with its time and client.
    pub(super) fn pop(&mut self) -> Option<(Nanos, usize, Event)> {
        self.heap.pop().map(|Reverse(e)| (e.t, e.client as usize, e.event))
    }

    fn next(&mut self) -> u32 {
        self.pushed += 1;
        self.pushed
    }

    fn push(&mut self, t: Nanos, rank: u64, client: usize, event: Event) {
        let client = u32::try_from(client).unwrap_or(u32::MAX);
        self.heap.push(Reverse(Entry { t, rank, client, event }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(wheel: TimerWheel) -> Vec<usize> {
        let mut queue = EventQueue::default();
        queue.reset(wheel);
        queue.at(5, 9, Event::Syn);
        queue.timer(5, 1, Event::SynTimer);
        queue.timer(5, 2, Event::SynTimer);
        queue.at(4, 0, Event::Syn);
        std::iter::from_fn(|| queue.pop().map(|(_, client, _)| client)).collect()
    }

    #[test]
    fn timers_of_one_jiffy_run_in_reverse_since_4_8() {
        assert_eq!(order(TimerWheel::Cascading), [0, 1, 2, 9]);
        assert_eq!(order(TimerWheel::Bucketed), [0, 2, 1, 9]);
    }
}
