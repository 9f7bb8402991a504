//! The connections of a capture while it is read, in bounded memory.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    net::SocketAddr,
};

use super::{
    Segment,
    finding::{Circumstances, Finding},
    flow::canonical,
    live::Live,
    point::{Place, Point, Signs},
};
use crate::packet::flags;

/// How long a connection may be quiet before it is judged, nanoseconds: SYNs and SYN-ACKs are sent
/// again after 64 s at most, with six retries (`tcp_syn_retries`, `tcp_synack_retries`).
const QUIET_NS: u64 = 70_000_000_000;
/// How often that is looked for, nanoseconds of the capture's time.
const SWEEP_NS: u64 = 10_000_000_000;
/// Within what time segments are put in order, and how many at most: CPUs and interfaces stamp
/// independently, and files have them in the order of arrival.
const ORDER_NS: u64 = 100_000_000;
const ORDERED: usize = 4096;
/// How many connections of the same two ends may stand beside each other, at different interfaces.
const SAME_ENDS: usize = 256;
/// How many servers' signs of the place are kept.
const SERVERS: usize = 65_536;
/// Later times are taken for this one, the year 2116: sums of times stay within their type.
const LATEST_NS: u64 = 1 << 62;

/// What is judged, and how much is remembered.
#[derive(Clone, Debug)]
pub struct Options {
    /// Servers' ports; none is all.
    pub ports: Vec<u16>,
    /// Only IPv4 (`Some(true)`) or only IPv6.
    pub ipv4: Option<bool>,
    /// Where it was captured, if somebody knows.
    pub at: Option<Place>,
    /// Whether packets are known to be missing.
    pub lossy: bool,
    /// Connections remembered at once, at most.
    pub room: usize,
}

/// What was counted besides connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// TCP segments that were asked for.
    pub segments: u64,
    /// Of them, copies of segments that were there already.
    pub copies: u64,
    /// Pairs of ends with segments, but no handshake: they were connected when the capture began, or
    /// are a port scanner's.
    pub without_handshake: u64,
    /// Connections judged before they were quiet for long, for want of room.
    pub evicted: u64,
}

/// The connections of a capture.
#[derive(Debug)]
pub struct Table {
    options: Options,
    order: BinaryHeap<Reverse<Ordered>>,
    connections: HashMap<[SocketAddr; 2], Vec<Entry>>,
    entries: usize,
    signs: HashMap<(u32, SocketAddr), Signs>,
    /// The time of the last segment at each interface.
    ends: HashMap<u32, u64>,
    now: u64,
    swept: u64,
    counts: Counts,
    finished: Vec<Finding>,
}

/// A segment by its time.
#[derive(Debug)]
struct Ordered(Segment);

#[derive(Debug)]
enum Entry {
    Under(Box<Live>),
    Over(Over),
}

/// A connection of which nothing more needs to be known, or of which nothing can be.
#[derive(Clone, Debug)]
struct Over {
    interfaces: Vec<u32>,
    /// The number of its SYN.
    isn: Option<u32>,
    last_ns: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { ports: Vec::new(), ipv4: None, at: None, lossy: false, room: 65_536 }
    }
}

impl Table {
    /// An empty table.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            order: BinaryHeap::new(),
            connections: HashMap::new(),
            entries: 0,
            signs: HashMap::new(),
            ends: HashMap::new(),
            now: 0,
            swept: 0,
            counts: Counts::default(),
            finished: Vec::new(),
        }
    }

    /// Adds the next segment of the capture.
    pub fn add(&mut self, mut segment: Segment) {
        if !self.wanted(&segment) {
            return;
        }
        self.counts.segments += 1;
        segment.packet.t_ns = segment.packet.t_ns.min(LATEST_NS);
        self.now = self.now.max(segment.packet.t_ns);
        self.order.push(Reverse(Ordered(segment)));
        while let Some(Reverse(first)) = self.order.peek() {
            if self.order.len() <= ORDERED && first.0.packet.t_ns + ORDER_NS > self.now {
                break;
            }
            let Some(Reverse(first)) = self.order.pop() else { break };
            self.take(&first.0);
        }
    }

    /// Nothing more comes: what is left, judged one by one.
    pub fn end(&mut self) -> impl Iterator<Item = Finding> {
        while let Some(Reverse(first)) = self.order.pop() {
            self.take(&first.0);
        }
        let mut left: Vec<Entry> =
            self.connections.drain().flat_map(|(_, entries)| entries).collect();
        self.entries = 0;
        left.sort_by_key(Entry::began);
        let finished = self.findings();
        let this = &*self;
        finished.into_iter().chain(left.into_iter().filter_map(|entry| this.judged(entry)))
    }

    /// What was found since this was asked last.
    pub fn findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.finished)
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many connections are remembered now: never more than there is room for.
    pub fn remembered(&self) -> usize {
        self.entries
    }

    /// Packets are missing: nothing that rests on silence is said from now on.
    pub fn lose(&mut self) {
        self.options.lossy = true;
    }

    fn wanted(&self, segment: &Segment) -> bool {
        let (src, dst) = (canonical(segment.packet.src), canonical(segment.packet.dst));
        let ports = &self.options.ports;
        self.options.ipv4.is_none_or(|ipv4| src.is_ipv4() == ipv4)
            && (ports.is_empty() || ports.contains(&src.port()) || ports.contains(&dst.port()))
    }

    fn take(&mut self, segment: &Segment) {
        let t_ns = segment.packet.t_ns;
        let end = self.ends.entry(segment.interface).or_default();
        *end = (*end).max(t_ns);
        let mut ends = [canonical(segment.packet.src), canonical(segment.packet.dst)];
        ends.sort_unstable();
        let mut entries = self.connections.remove(&ends).unwrap_or_default();
        self.entries -= entries.len();
        self.take_among(&mut entries, segment);
        self.entries += entries.len();
        self.connections.insert(ends, entries);
        if self.entries > self.options.room {
            self.make_room();
        } else if t_ns.saturating_sub(self.swept) > SWEEP_NS {
            self.swept = t_ns;
            let quiet_since = t_ns.saturating_sub(QUIET_NS);
            // What is over is kept: its later segments are none of a connection that began before
            // the capture.
            self.sweep(|entry| match entry {
                Entry::Under(live) => live.last_ns < quiet_since,
                Entry::Over(_) => false,
            });
        }
    }

    /// Finds the connection of a segment among those of its ends.
    fn take_among(&mut self, entries: &mut Vec<Entry>, segment: &Segment) {
        let at = |entry: &&mut Entry| match entry {
            Entry::Under(live) => live.interfaces.contains(&segment.interface),
            Entry::Over(over) => over.interfaces.contains(&segment.interface),
        };
        let fits = |entry: &Entry| matches!(entry, Entry::Under(live) if live.fits(segment));
        let packet = &segment.packet;
        let syn = packet.has(flags::SYN, flags::RST);
        if let Some(entry) = entries.iter_mut().rev().find(at) {
            match entry {
                Entry::Under(live) if live.begins_anew(segment) => {
                    let mut next = Box::new(Live::new(segment, false));
                    next.disordered = packet.t_ns < live.last_ns;
                    let last = std::mem::replace(entry, Entry::Under(next));
                    self.finish(last);
                    self.grow(entry, segment);
                }
                Entry::Under(_) => self.grow(entry, segment),
                Entry::Over(over) => {
                    let disordered = packet.t_ns < over.last_ns;
                    over.last_ns = over.last_ns.max(packet.t_ns);
                    let again = over.isn == Some(packet.seq) || packet.has(flags::ACK, 0);
                    if syn && !again {
                        let mut live = Box::new(Live::new(segment, false));
                        live.disordered = disordered;
                        *entry = Entry::Under(live);
                        self.grow(entry, segment);
                    }
                }
            }
        } else if let Some(at) = entries.iter().position(fits) {
            let entry = &mut entries[at];
            if let Entry::Under(live) = entry {
                live.seen_at(segment.interface);
            }
            self.grow(entry, segment);
        } else if entries.len() == SAME_ENDS {
            self.counts.evicted += 1;
        } else if syn {
            let from_server = packet.has(flags::ACK, 0);
            entries.push(Entry::Under(Box::new(Live::new(segment, from_server))));
            if let Some(entry) = entries.last_mut() {
                self.grow(entry, segment);
            }
        } else {
            self.counts.without_handshake += 1;
            let (interfaces, last_ns) = (vec![segment.interface], packet.t_ns);
            entries.push(Entry::Over(Over { interfaces, isn: None, last_ns }));
        }
    }

    /// Adds a segment to its connection, which may be over with it.
    fn grow(&mut self, entry: &mut Entry, segment: &Segment) {
        let Entry::Under(live) = entry else { return };
        if live.is_copy(segment) {
            self.counts.copies += 1;
            // A copy that this host sends on shows where it is as well.
            self.signs(live, segment).add(segment, live.is_from_server(segment), is_syn(segment));
            return;
        }
        let (synacks, acks) = live.answers();
        live.add(segment);
        let from_server = live.is_from_server(segment);
        let signs = self.signs(live, segment);
        signs.add(segment, from_server, is_syn(segment));
        let flow = &live.building.flow;
        if synacks == 0
            && let ([syn], [synack]) = (&flow.syns[..], &flow.synacks[..])
        {
            signs.answered(synack.saturating_sub(*syn));
        }
        if acks == 0
            && let ([synack], [ack]) = (&flow.synacks[..], &flow.acks[..])
        {
            signs.acknowledged(ack.t_ns.saturating_sub(*synack));
        }
        // A socket was seen: whatever comes later, it changes nothing.
        if flow.served.is_some() && !flow.acks.is_empty() {
            let over = Over {
                interfaces: live.interfaces.clone(),
                isn: live.building.client_isn,
                last_ns: live.last_ns,
            };
            let last = std::mem::replace(entry, Entry::Over(over));
            self.finish(last);
        }
    }

    fn signs(&mut self, live: &Live, segment: &Segment) -> &mut Signs {
        let room = self.signs.len() < SERVERS;
        let server = if room { live.server } else { SocketAddr::from(([0; 4], 0)) };
        self.signs.entry((segment.interface, server)).or_default()
    }

    fn finish(&mut self, entry: Entry) {
        let finding = self.judged(entry);
        self.finished.extend(finding);
    }

    fn judged(&self, entry: Entry) -> Option<Finding> {
        let Entry::Under(live) = entry else { return None };
        if !self.options.ports.is_empty() && !self.options.ports.contains(&live.server.port()) {
            return None;
        }
        let interface = live.interfaces[0];
        let signs = self.signs.get(&(interface, live.server)).copied().unwrap_or_default();
        let point = self.options.at.map_or_else(|| signs.point(), Point::given);
        let with = Circumstances {
            point,
            lag_ns: live.lag_ns().or(signs.to_server_ns).unwrap_or(0),
            until: self.ends.get(&interface).copied().unwrap_or(self.now),
            lossy: self.options.lossy,
        };
        Some(Finding::of(&live, with))
    }

    /// Lets go of the eighth of all connections that was quiet for longest.
    fn make_room(&mut self) {
        let mut times: Vec<u64> = self.connections.values().flatten().map(Entry::last_ns).collect();
        let (_, limit, _) = { times.select_nth_unstable(self.options.room / 8) };
        let limit = *limit;
        let under = self.sweep(|entry| entry.last_ns() <= limit);
        self.counts.evicted += under;
    }

    /// Finishes what `gone` says; how many connections were still under way.
    fn sweep(&mut self, gone: impl Fn(&Entry) -> bool) -> u64 {
        let mut leaving = Vec::new();
        self.connections.retain(|_, entries| {
            leaving.extend(entries.extract_if(.., |entry| gone(entry)));
            !entries.is_empty()
        });
        self.entries -= leaving.len();
        leaving.sort_by_key(Entry::began);
        let under = leaving.iter().filter(|e| matches!(e, Entry::Under(_))).count();
        for entry in leaving {
            self.finish(entry);
        }
        under as u64
    }
}

fn is_syn(segment: &Segment) -> bool {
    segment.packet.has(flags::SYN, flags::RST)
}

impl Entry {
    /// The order in which they are told.
    fn began(&self) -> (u64, u64) {
        match self {
            Self::Under(live) => (live.t0_ns, live.number),
            Self::Over(over) => (over.last_ns, 0),
        }
    }

    fn last_ns(&self) -> u64 {
        match self {
            Self::Under(live) => live.last_ns,
            Self::Over(over) => over.last_ns,
        }
    }
}

impl Ordered {
    fn key(&self) -> (u64, u64) {
        (self.0.packet.t_ns, self.0.number)
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
