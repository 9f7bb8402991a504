//! What was counted in the kernel -> verdicts by socket, and each accept queue over time. Pure.

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

/// What was counted of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// SYNs, third ACKs and accept()s by verdict.
    pub verdicts: BTreeMap<VerdictId, u64>,
    /// Where it listens.
    pub local: Option<SocketAddr>,
    /// Accept queue when it last changed, (length, limit).
    pub recv_q: Option<(u32, u32)>,
    /// Longest accept queue.
    pub recv_q_max: u32,
    /// When the queue was full.
    pub full: Full,
    /// Since when it is full, CLOCK_MONOTONIC nanoseconds; `None` if it is not.
    pub full_since_ns: Option<u64>,
    /// How long children waited in it.
    pub waits: Waits,
}

impl Aggregates {
    /// Judges the counts: what was counted of each socket. `now_ns` ends the current episodes.
    pub fn sockets(
        &self,
        decoder: &mut Decoder,
        limit: Option<SynQueueLimit>,
        now_ns: u64,
    ) -> BTreeMap<Socket, ListenerCounts> {
        // A closed listener's address in memory soon is another's.
        let owners: HashMap<(u64, u32), Socket> =
            self.queues.iter().map(|(socket, _)| ((socket.sk, socket.ino), *socket)).collect();
        let mut sockets: BTreeMap<Socket, ListenerCounts> = BTreeMap::new();
        for (signature, count) in &self.counts {
            let Some(socket) = owners.get(&(signature.sk, signature.ino)) else { continue };
            let Some(event) = decoder.decode(&signature.to_event()) else { continue };
            if let Some(id) = verdict::of_one(&event, limit) {
                let counts = sockets.entry(*socket).or_default();
                add(counts.verdicts.entry(id).or_default(), *count);
            }
        }
        for (socket, tally) in &self.queues {
            sockets.entry(*socket).or_default().take(tally, now_ns);
        }
        sockets
    }
}

impl ListenerCounts {
    fn take(&mut self, tally: &Tally, now_ns: u64) {
        let since = Some(tally.full_since_ns).filter(|since| *since != 0);
        let episode = since.map_or(0, |since| now_ns.saturating_sub(since));
        self.local = Some(local(tally));
        self.full = Full {
            times: tally.full_times,
            total_ns: tally.full_ns.saturating_add(episode),
            longest_ns: tally.full_longest_ns.max(episode),
            now: since.is_some(),
        };
        self.full_since_ns = since;
        self.recv_q_max = tally.len_max;
        let changed = tally.queued.max(tally.accepted) > 0;
        self.recv_q = changed.then_some((tally.len, tally.max));
        if tally.accepted > 0 {
            add(self.verdicts.entry(VerdictId::LaterAcceptedByApp).or_default(), tally.accepted);
        }
        self.waits = Waits { buckets: tally.waits, total_ns: tally.wait_ns };
    }
}

/// Sums of a recording that anybody may have made up stop at the end of the numbers.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

impl Full {
    /// Adds what is more.
    pub fn add(&mut self, more: &Self) {
        add(&mut self.times, more.times);
        add(&mut self.total_ns, more.total_ns);
        self.longest_ns = self.longest_ns.max(more.longest_ns);
        self.now |= more.now;
    }

    /// The same with nothing counted yet; the longest episode is that of the whole time.
    #[must_use]
    pub fn begun_anew(self) -> Self {
        Self { times: 0, total_ns: 0, ..self }
    }
}

impl Waits {
    /// Adds what is more.
    pub fn add(&mut self, more: &Self) {
        add(&mut self.total_ns, more.total_ns);
        for (sum, n) in self.buckets.iter_mut().zip(more.buckets) {
            add(sum, n);
        }
    }

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
    use overflow_common::{Kind, Path, RawEvent, Rung, valid};

    use super::*;

    #[test]
    fn healthy_handshakes_are_judged_by_what_stands_for_them() {
        let socket = Socket { sk: 7, ino: 1, netns: 2 };
        for rung in [Rung::Fentry, Rung::Kprobe] {
            let signature = |kind| Signature::of_healthy(socket, kind, rung);
            let counts = vec![(signature(Kind::Syn), 5), (signature(Kind::Ack), 4)];
            let tally = Tally { family: 4, ..Tally::default() };
            let aggregates = Aggregates { counts, queues: vec![(socket, tally)] };
            let sockets = aggregates.sockets(&mut Decoder::default(), None, 0);
            assert_eq!(
                sockets[&socket].verdicts,
                BTreeMap::from([(VerdictId::SynQueued, 5), (VerdictId::AckAccepted, 4)])
            );
        }
    }

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
        let sockets = aggregates.sockets(&mut Decoder::default(), None, 100);
        assert_eq!(sockets.len(), 1);
        let socket = &sockets[&Socket { sk: 7, ino: 80, netns: 1 }];
        assert_eq!(socket.local, Some("127.0.0.0:80".parse().unwrap()));
        let verdicts: Vec<_> = socket.verdicts.iter().map(|(id, n)| (id.as_str(), *n)).collect();
        assert_eq!(verdicts, [("ack.drop.overflow", 300), ("ack.reset.overflow", 2)]);
        let full = Full { times: 1, total_ns: 60, longest_ns: 60, now: true };
        assert_eq!((socket.full, socket.recv_q), (full, Some((3, 2))));
    }

    /// Four containers whose listeners got one address in memory, one after the other: none may have
    /// what another one did.
    #[test]
    fn an_address_in_memory_that_is_used_again_is_another_socket() {
        let mut event = RawEvent {
            sk: 7,
            path: Path::CHECK_REQ | Path::CHECK_REQ_NULL | Path::SYN_RECV_SOCK_NULL,
            valid: valid::ACCEPT_QUEUE | valid::ABORT_ON_OVERFLOW | valid::SEGMENT,
            kind: 2,
            rung: 1,
            tcp_flags: 0x10,
            ..RawEvent::EMPTY
        };
        event.before.ack_backlog = 2;
        event.before.max_ack_backlog = 1;
        let of = |ino| Signature::of(&RawEvent { ino, ..event });
        let tally =
            |netns, len_max| Tally { netns, port: 80, family: 4, len_max, ..Tally::default() };
        let sockets = [(80, 1, 10), (81, 1, 20), (82, 2, 30), (83, 2, 40)];
        let aggregates = Aggregates {
            counts: sockets.map(|(ino, _, n)| (of(ino), n)).to_vec(),
            queues: sockets
                .map(|(ino, netns, _)| (Socket { sk: 7, ino, netns }, tally(netns, ino)))
                .to_vec(),
        };
        let found = aggregates.sockets(&mut Decoder::default(), None, 100);
        let dropped = |(socket, counts): (&Socket, &ListenerCounts)| {
            (socket.ino, socket.netns, counts.verdicts[&VerdictId::AckDropOverflow])
        };
        let mut each: Vec<_> = found.iter().map(dropped).collect();
        each.sort_unstable();
        assert_eq!(each, sockets);
        assert!(found.iter().all(|(socket, counts)| counts.recv_q_max == socket.ino));
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
