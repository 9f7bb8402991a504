//! One connection while its capture is read.

use std::net::SocketAddr;

use super::{
    Segment,
    finding::{Mark, MarkKind},
    flow::{Building, WINDOW, canonical},
    link::Direction,
};
use crate::packet::flags;

/// How many packets of a connection are worth a comment, at most.
const MARKS: usize = 32;
/// At how many interfaces a connection is known to pass, at most.
const INTERFACES: usize = 64;
/// How many segments are remembered to recognize copies of them.
const RECENT: usize = 8;
/// A copy that another interface saw, or that went through a router meanwhile, comes sooner than a
/// retransmission: `TCP_RTO_MIN` is 200 ms.
const COPY_ELSEWHERE_NS: u64 = 150_000_000;
/// A copy at the same place is one of a mirror port.
const COPY_HERE_NS: u64 = 1_000_000;

/// A connection under way.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) interfaces: Vec<u32>,
    pub(super) number: u64,
    pub(super) t0_ns: u64,
    pub(super) last_ns: u64,
    pub(super) building: Building,
    pub(super) marks: Vec<Mark>,
    /// RSTs with the server's address whose TTL no other segment of the server has.
    pub(super) foreign_resets: u32,
    /// Whether segments of these ends came in another order than that of their times, by more than is put in
    /// order.
    pub(super) disordered: bool,
    /// Whether the client acknowledged something before any SYN-ACK was seen.
    acked_unseen: bool,
    server_ttl: Option<u8>,
    recent: Vec<Recent>,
}

/// A segment that was seen just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recent {
    t_ns: u64,
    device: (u32, u32, Option<Direction>),
    ttl: u8,
    from_server: bool,
    same: (u32, u32, u8, u32, u16),
}

impl Live {
    /// Begins with its first segment, a SYN or SYN-ACK.
    pub(super) fn new(segment: &Segment, from_server: bool) -> Self {
        let (src, dst) = (canonical(segment.packet.src), canonical(segment.packet.dst));
        let (client, server) = if from_server { (dst, src) } else { (src, dst) };
        Self {
            client,
            server,
            interfaces: vec![segment.interface],
            number: segment.number,
            t0_ns: segment.packet.t_ns,
            last_ns: segment.packet.t_ns,
            building: Building::new(client),
            marks: Vec::new(),
            foreign_resets: 0,
            disordered: false,
            acked_unseen: false,
            server_ttl: None,
            recent: Vec::new(),
        }
    }

    /// Whether the server sent this segment of it.
    pub(super) fn is_from_server(&self, segment: &Segment) -> bool {
        canonical(segment.packet.src) == self.server
    }

    /// Whether a segment that another interface saw belongs to it: numbers tell.
    pub(super) fn fits(&self, segment: &Segment) -> bool {
        let Some(isn) = self.building.client_isn else { return false };
        let packet = &segment.packet;
        let near = |number: u32, from: u32| number.wrapping_sub(from) < WINDOW;
        if self.is_from_server(segment) {
            packet.has(flags::ACK, 0) && near(packet.ack, isn)
        } else if packet.has(flags::SYN, flags::ACK) {
            packet.seq == isn
        } else {
            let server = &self.building.server_isns;
            near(packet.seq, isn)
                && (server.is_empty() || server.iter().any(|isn| near(packet.ack, *isn)))
        }
    }

    /// Another interface sees it too.
    pub(super) fn seen_at(&mut self, interface: u32) {
        if self.interfaces.len() < INTERFACES {
            self.interfaces.push(interface);
        }
    }

    /// Whether a SYN begins the client's next connection from the same port. One inside of the
    /// window may be a stray one that meets this connection's request.
    pub(super) fn begins_anew(&self, segment: &Segment) -> bool {
        let packet = &segment.packet;
        if !packet.has(flags::SYN, flags::ACK | flags::RST) || self.is_from_server(segment) {
            return false;
        }
        let Some(isn) = self.building.client_isn else { return true };
        let ahead = packet.seq.wrapping_sub(isn);
        let quiet = packet.t_ns.saturating_sub(self.last_ns) > 1_000_000_000;
        let over = self.building.flow.client_reset.is_some() || quiet;
        ahead != 0 && (ahead > 0xffff || over)
    }

    /// Whether it is a copy of a segment that was seen just now: at another interface, before or
    /// behind a router, or twice by a mirror port.
    pub(super) fn is_copy(&mut self, segment: &Segment) -> bool {
        let packet = &segment.packet;
        let this = Recent {
            t_ns: packet.t_ns,
            device: (segment.interface, segment.device, segment.direction),
            ttl: segment.ttl,
            from_server: self.is_from_server(segment),
            same: (packet.seq, packet.ack, packet.flags, packet.payload_len, segment.ip_id),
        };
        let copies = |seen: &Recent| {
            let elsewhere = (seen.device, seen.ttl) != (this.device, this.ttl);
            let within = if elsewhere { COPY_ELSEWHERE_NS } else { COPY_HERE_NS };
            (seen.same, seen.from_server) == (this.same, this.from_server)
                && this.t_ns.abs_diff(seen.t_ns) < within
        };
        if self.recent.iter().any(copies) {
            return true;
        }
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(this);
        false
    }

    /// Adds a segment that is no copy.
    pub(super) fn add(&mut self, segment: &Segment) {
        let packet = &segment.packet;
        self.disordered |= packet.t_ns < self.last_ns;
        self.last_ns = self.last_ns.max(packet.t_ns);
        let from_server = self.is_from_server(segment);
        let synacks = self.building.flow.synacks.len();
        let kind = if packet.has(flags::RST, 0) {
            Some(if from_server { MarkKind::ServerRst } else { MarkKind::ClientRst })
        } else if from_server && packet.has(flags::SYN | flags::ACK, 0) {
            Some(if synacks == 0 { MarkKind::SynAck } else { MarkKind::SynAckAgain })
        } else if from_server {
            None
        } else if packet.has(flags::SYN, flags::ACK) {
            let first = self.building.flow.syns.is_empty();
            Some(if first { MarkKind::Syn } else { MarkKind::SynAgain })
        } else {
            let third = packet.has(flags::ACK, 0) && self.building.flow.acks.is_empty();
            (third && synacks > 0).then_some(MarkKind::Ack)
        };
        if let Some(kind) = kind
            && self.marks.len() < MARKS
        {
            self.marks.push(Mark { number: segment.number, kind });
        }
        if from_server {
            if packet.has(flags::RST, 0) {
                self.foreign_resets += u32::from(self.server_ttl.is_some_and(|t| t != segment.ttl));
            } else {
                self.server_ttl = Some(segment.ttl);
            }
            self.building.departed(packet);
        } else {
            self.acked_unseen |= synacks == 0 && packet.has(flags::ACK, flags::RST);
            self.building.arrived(packet);
        }
    }

    /// How many SYN-ACKs and ACKs to them were seen.
    pub(super) fn answers(&self) -> (usize, usize) {
        (self.building.flow.synacks.len(), self.building.flow.ack_count)
    }

    /// How long its own SYN-ACK took, where one SYN was answered at once: the way to the server and
    /// back, nanoseconds.
    pub(super) fn lag_ns(&self) -> Option<u64> {
        let flow = &self.building.flow;
        let lag = flow.synacks.first()?.checked_sub(*flow.syns.first()?)?;
        // Of a file that is not in order the second one may be the earlier.
        let again = flow.syns.get(1).map_or(u64::MAX, |syn| syn.saturating_sub(flow.syns[0]));
        (lag < again.min(1_000_000_000)).then_some(lag)
    }

    /// Whether the capture evidently lacks one direction of it, or its beginning.
    pub(super) fn is_one_sided(&self) -> bool {
        self.building.flow.syns.is_empty()
            || (self.acked_unseen && self.building.flow.synacks.is_empty())
    }
}
