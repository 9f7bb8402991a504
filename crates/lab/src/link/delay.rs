//! A line of packets that each wait the same time: pure, time is given.

use std::collections::VecDeque;

/// Packets on their way, oldest first.
#[derive(Debug)]
pub(crate) struct DelayLine {
    delay_ns: u64,
    limit: usize,
    held: VecDeque<(u64, Vec<u8>)>,
}

impl DelayLine {
    /// Holds each packet `delay_ns`, and no more than `limit` of them.
    pub(crate) fn new(delay_ns: u64, limit: usize) -> Self {
        Self { delay_ns, limit, held: VecDeque::new() }
    }

    /// Takes a packet at time `now_ns`; `false` if the line is full and the packet lost.
    #[must_use]
    pub(crate) fn push(&mut self, now_ns: u64, packet: &[u8]) -> bool {
        if self.held.len() >= self.limit {
            return false;
        }
        self.held.push_back((now_ns.saturating_add(self.delay_ns), packet.to_vec()));
        true
    }

    /// When the next packet is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.held.front().map(|(due, _)| *due)
    }

    /// The next packet, if it is due at `now_ns`.
    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        if self.next_due()? > now_ns {
            return None;
        }
        self.held.pop_front().map(|(_, packet)| packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_waits_exactly_the_delay_and_order_stays() {
        let mut line = DelayLine::new(200, 10);
        assert!(line.push(1000, b"a") && line.push(1000, b"b") && line.push(1050, b"c"));
        assert_eq!(line.next_due(), Some(1200));
        assert_eq!(line.pop_due(1199), None);
        assert_eq!(line.pop_due(1200).as_deref(), Some(&b"a"[..]));
        assert_eq!(line.pop_due(1200).as_deref(), Some(&b"b"[..]));
        assert_eq!(line.pop_due(1249), None);
        assert_eq!(line.pop_due(9999).as_deref(), Some(&b"c"[..]));
        assert_eq!((line.pop_due(9999), line.next_due()), (None, None));
    }

    #[test]
    fn a_full_line_loses_the_newcomer() {
        let mut line = DelayLine::new(1, 1);
        assert!(line.push(0, b"a"));
        assert!(!line.push(0, b"b"));
        assert_eq!(line.pop_due(1).as_deref(), Some(&b"a"[..]));
        assert!(line.push(1, b"c"));
    }
}
