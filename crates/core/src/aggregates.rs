//! What was counted in the kernel -> verdicts by listener, and each accept queue over time. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use overflow_common::{Signature, Socket, Tally};
use serde::{Deserialize, Serialize};

use crate::{
    decode::Decoder,
    syn_limit::SynQueueLimit,
    verdict::{self, VerdictId},
};

/// What the eBPF side counted since it was attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregates {
    /// SYNs and third ACKs by what they went through.
    pub counts: Vec<(Signature, u64)>,
    /// Accept queues by listener.
    pub queues: Vec<(Socket, Tally)>,
}

/// When an accept queue was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Full {
    /// How often it became full.
    pub times: u64,
    /// How long it was full in all, the current episode included, nanoseconds.
    pub total_ns: u64,
    /// The longest episode, nanoseconds.
    pub longest_ns: u64,
    /// Whether it is full now.
    pub now: bool,
}

/// Time from a child's way into the accept queue to `accept()`, as a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many waited less than 2^n microseconds, and no less than half of that; the last one
    /// has all that waited longer.
    pub buckets: [u64; Tally::WAITS],
    /// All of it together, nanoseconds.
    pub total_ns: u64,
}

/// What was counted of the listeners at one local address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// SYNs, third ACKs and accept()s by verdict.
    pub verdicts: BTreeMap<VerdictId, u64>,
    /// Accept queue when it last changed, (length, limit), of the listener that was fullest.
    pub recv_q: Option<(u32, u32)>,
    /// Longest accept queue.
    pub recv_q_max: u32,
    /// When the queue was full.
    pub full: Full,
    /// How long children waited in it.
    pub waits: Waits,
}

impl Aggregates {
    /// Judges the counts and adds up what belongs to one local address: (inode number of the
    /// network namespace, address). `now_ns` ends the current episodes.
    pub fn places(
        &self,
        decoder: &mut Decoder,
        limit: Option<SynQueueLimit>,
        now_ns: u64,
    ) -> BTreeMap<(u32, SocketAddr), ListenerCounts> {
        // A closed listener's address in memory soon is another's.
        let locals: HashMap<(u64, u32), (u32, SocketAddr)> = self
            .queues
            .iter()
            .map(|(socket, tally)| ((socket.sk, socket.ino), (tally.netns, local(tally))))
            .collect();
        let mut places: BTreeMap<_, ListenerCounts> = BTreeMap::new();
        for (signature, count) in &self.counts {
            let Some(at) = locals.get(&(signature.sk, signature.ino)) else { continue };
            let Some(event) = decoder.decode(&signature.to_event()) else { continue };
            if let Some(id) = verdict::of_one(&event, limit) {
                let places = places.entry(*at).or_default();
                add(places.verdicts.entry(id).or_default(), *count);
            }
        }
        for (_, tally) in &self.queues {
            places.entry((tally.netns, local(tally))).or_default().add(tally, now_ns);
        }
        places
    }
}

impl ListenerCounts {
    fn add(&mut self, tally: &Tally, now_ns: u64) {
        let episode = match tally.full_since_ns {
            0 => 0,
            since => now_ns.saturating_sub(since),
        };
        add(&mut self.full.times, tally.full_times);
        add(&mut self.full.total_ns, tally.full_ns.saturating_add(episode));
        self.full.longest_ns = self.full.longest_ns.max(tally.full_longest_ns).max(episode);
        self.full.now |= tally.full_since_ns != 0;
        self.recv_q_max = self.recv_q_max.max(tally.len_max);
        if tally.queued.max(tally.accepted) > 0
            && self.recv_q.is_none_or(|(len, _)| tally.len >= len)
        {
            self.recv_q = Some((tally.len, tally.max));
        }
        if tally.accepted > 0 {
            add(self.verdicts.entry(VerdictId::LaterAcceptedByApp).or_default(), tally.accepted);
        }
        add(&mut self.waits.total_ns, tally.wait_ns);
        for (sum, n) in self.waits.buckets.iter_mut().zip(tally.waits) {
            add(sum, n);
        }
    }
}

/// Sums of a recording that anybody may have made up stop at the end of the numbers.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

impl Full {
    /// What was added since `earlier`; the longest episode is that of the whole time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            times: self.times.saturating_sub(earlier.times),
            total_ns: self.total_ns.saturating_sub(earlier.total_ns),
            ..*self
        }
    }
}

impl Waits {
    /// How many buckets there are.
    pub const BUCKETS: usize = Tally::WAITS;

    /// How many waited.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets;
        for (n, before) in buckets.iter_mut().zip(earlier.buckets) {
            *n = n.saturating_sub(before);
        }
        Self { buckets, total_ns: self.total_ns.saturating_sub(earlier.total_ns) }
    }

    /// The bound below which `per_mille` of all waited, microseconds: a power of two, `None` where
    /// it is not known, or nobody waited.
    pub fn below(&self, per_mille: u64) -> Option<u64> {
        let count: u128 = self.buckets.iter().copied().map(u128::from).sum();
        let mut seen = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            seen += u128::from(*n);
            if count > 0 && seen * 1000 >= count * u128::from(per_mille) {
                return (i + 1 < self.buckets.len()).then(|| 1 << i);
            }
        }
        None
    }
}

/// Where a listener listens.
pub(crate) fn local(tally: &Tally) -> SocketAddr {
    let [a, b, c, d, ..] = tally.address;
    let address: IpAddr = if tally.family == 6 {
        Ipv6Addr::from(tally.address).into()
    } else {
        Ipv4Addr::new(a, b, c, d).into()
    };
    SocketAddr::new(address, tally.port)
}

#[cfg(test)]
mod tests {
    use overflow_common::{Path, RawEvent, Rung, valid};

    use super::*;

    #[test]
    fn counts_are_judged_as_their_events_would_be() {
        let mut event = RawEvent {
            sk: 7,
            ino: 80,
            path: Path::CHECK_REQ | Path::CHECK_REQ_NULL | Path::SYN_RECV_SOCK_NULL,
            valid: valid::ACCEPT_QUEUE | valid::ABORT_ON_OVERFLOW | valid::SEGMENT,
            kind: 2,
            rung: 1,
            tcp_flags: 0x10,
            ..RawEvent::EMPTY
        };
        event.before.ack_backlog = 129;
        event.before.max_ack_backlog = 128;
        let dropped = Signature::of(&event);
        event.path |= Path::SEND_RESET;
        let reset = Signature::of(&event);
        // Of a listener that was at this address before.
        let earlier = Signature { ino: 81, ..reset };
        // Only its history shows what it was: its record is counted, and this is not.
        event.rung = Rung::Tracepoint as u8;
        event.path = Path::TP_RECEIVE | Path::TP_KFREE_SKB;
        let freed = Signature::of(&event);
        let mut tally = Tally { netns: 1, port: 80, family: 4, len: 3, max: 2, ..Tally::default() };
        tally.address[0] = 127;
        tally.queued = 5;
        tally.full_times = 1;
        tally.full_since_ns = 40;
        let aggregates = Aggregates {
            counts: vec![(dropped, 300), (reset, 2), (earlier, 5), (freed, 7)],
            queues: vec![(Socket { sk: 7, ino: 80, netns: 1 }, tally)],
        };
        let places = aggregates.places(&mut Decoder::default(), None, 100);
        let place = &places[&(1, "127.0.0.0:80".parse().unwrap())];
        let verdicts: Vec<_> = place.verdicts.iter().map(|(id, n)| (id.as_str(), *n)).collect();
        assert_eq!(verdicts, [("ack.drop.overflow", 300), ("ack.reset.overflow", 2)]);
        let full = Full { times: 1, total_ns: 60, longest_ns: 60, now: true };
        assert_eq!((place.full, place.recv_q), (full, Some((3, 2))));
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let mut waits = Waits::default();
        assert_eq!(waits.below(500), None);
        waits.buckets[3] = 90;
        waits.buckets[10] = 10;
        assert_eq!(
            (waits.below(500), waits.below(900), waits.below(990)),
            (Some(8), Some(8), Some(1024))
        );
        waits.buckets[Tally::WAITS - 1] = 1000;
        assert_eq!(waits.below(990), None);
    }
}
