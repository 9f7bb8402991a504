//! The packets of one connection, sorted by what they show of a listener's decisions.

use std::{collections::HashMap, mem, net::SocketAddr};

use crate::packet::{Packet, flags};

/// How many segments of each kind are remembered, and different sequence numbers: far more than a
/// handshake has, and no more than a capture without end may cost.
const REMEMBERED: usize = 64;
/// How far a handshake's numbers can lie from those of its SYN and SYN-ACK: far more than the first
/// window of data.
pub(super) const WINDOW: u32 = 1 << 20;

/// One client's connection on the wire. All times are nanoseconds of the capture's clock, as seen by
/// the server's TCP: arrivals as captured, departures with the capture point's lag taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client's address, IPv4-mapped ones as IPv4.
    pub client: SocketAddr,
    /// SYNs that reached the server.
    pub syns: Vec<u64>,
    /// SYN-ACKs sent.
    pub synacks: Vec<u64>,
    /// Segments of the client that acknowledge the SYN-ACK: the third ACK, its repeats, data; the
    /// first of them.
    pub acks: Vec<Ack>,
    /// How many such segments there were.
    pub ack_count: usize,
    /// RSTs without ACK flag: `tcp_v4_send_reset`'s answer to a segment that carried an ACK
    /// (RFC 9293 3.5.2), so it shows that segment was refused.
    pub resets: Vec<Reset>,
    /// RSTs with ACK flag after the handshake: `tcp_send_active_reset`, so a socket existed.
    pub active_resets: Vec<u64>,
    /// RSTs with ACK flag in answer to a SYN: nobody listens.
    pub refusals: Vec<u64>,
    /// When the client's first RST after the SYN-ACK reached the server.
    pub client_reset: Option<u64>,
    /// When the client first sent data or a FIN, which a socket would acknowledge.
    pub sent: Option<u64>,
    /// When the server first acknowledged data, or sent data or FIN of its own: only a socket
    /// that was created does so.
    pub served: Option<u64>,
}

/// A segment of the client after the SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Arrival at the server, nanoseconds.
    pub t_ns: u64,
    /// TCP payload in bytes; 0 for a bare ACK.
    pub payload_len: u32,
    /// Whether it closes the client's direction.
    pub fin: bool,
}

impl Ack {
    /// Whether it is more than an ACK: a socket would have to acknowledge it.
    pub const fn is_more(&self) -> bool {
        self.payload_len > 0 || self.fin
    }
}

/// A RST that refuses a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Departure from the server's TCP, nanoseconds.
    pub t_ns: u64,
    /// How many of [`Flow::acks`] the capture saw before it.
    pub acks_before: usize,
}

impl Flow {
    /// Takes off what the capture sees departing segments late by: the delay of a qdisc, which
    /// AF_PACKET sits behind, or the way to the server and back.
    pub(super) fn take_off(&mut self, lag_ns: u64) {
        let departures = self.synacks.iter_mut().chain(&mut self.active_resets);
        let departures = departures.chain(&mut self.refusals).chain(&mut self.served);
        for t in departures.chain(self.resets.iter_mut().map(|r| &mut r.t_ns)) {
            *t = t.saturating_sub(lag_ns);
        }
    }

    /// Forgets what came after the listener closed, but for the RSTs of the close itself: the
    /// closed port answers for itself, not for the listener.
    pub(super) fn end_at(&mut self, close: u64) {
        let before = |t: &u64| *t < close;
        self.syns.retain(before);
        self.synacks.retain(before);
        let kept = self.acks.iter().filter(|a| a.t_ns < close).count();
        self.ack_count -= self.acks.len() - kept;
        self.acks.retain(|a| a.t_ns < close);
        self.resets.retain(|r| r.t_ns < close);
        self.refusals.retain(before);
        self.client_reset = self.client_reset.filter(before);
        self.sent = self.sent.filter(before);
        self.served = self.served.filter(before);
    }
}

/// Sorts a capture into flows, in order of each client's first packet.
///
/// `lag_ns` is how much later than TCP's sending the capture sees a departing packet.
pub fn flows(packets: &[Packet], server: SocketAddr, lag_ns: u64) -> Vec<Flow> {
    let server = canonical(server);
    let mut found: Vec<Building> = Vec::new();
    let mut index_of: HashMap<SocketAddr, usize> = HashMap::new();
    for packet in packets {
        let (src, dst) = (canonical(packet.src), canonical(packet.dst));
        let (client, from_server) = if dst == server {
            (src, false)
        } else if src == server {
            (dst, true)
        } else {
            continue;
        };
        let index = *index_of.entry(client).or_insert_with(|| {
            found.push(Building::new(client));
            found.len() - 1
        });
        if from_server {
            found[index].departed(packet);
        } else {
            found[index].arrived(packet);
        }
    }
    let flow = |building: Building| {
        let mut flow = building.flow;
        flow.take_off(lag_ns);
        flow
    };
    found.into_iter().map(flow).collect()
}

/// The address with an IPv4-mapped IPv6 address as IPv4: a dual-stack listener's `sock_diag` and
/// the wire write the same client in two ways.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// A flow with the sequence numbers needed while it is put together.
#[derive(Clone, Debug)]
pub(super) struct Building {
    /// As far as it is known; departures at the times at which they were captured.
    pub(super) flow: Flow,
    /// The sequence number of the client's last SYN.
    pub(super) client_isn: Option<u32>,
    /// The sequence numbers of SYN-ACKs: a cookie may be another one each minute.
    pub(super) server_isns: Vec<u32>,
    /// Acknowledgement numbers the client sent: a refusing RST carries one as its sequence.
    acked: Vec<u32>,
    /// What the client acknowledged before any SYN-ACK was seen, which a capture may have late.
    early: Vec<(u32, Ack)>,
}

impl Building {
    pub(super) fn new(client: SocketAddr) -> Self {
        let flow = Flow {
            client,
            syns: Vec::new(),
            synacks: Vec::new(),
            acks: Vec::new(),
            ack_count: 0,
            resets: Vec::new(),
            active_resets: Vec::new(),
            refusals: Vec::new(),
            client_reset: None,
            sent: None,
            served: None,
        };
        Self {
            flow,
            client_isn: None,
            server_isns: Vec::new(),
            acked: Vec::new(),
            early: Vec::new(),
        }
    }

    /// The client sent it.
    pub(super) fn arrived(&mut self, packet: &Packet) {
        if packet.has(flags::SYN, flags::ACK | flags::RST) {
            self.client_isn = Some(packet.seq);
            remember(&mut self.flow.syns, packet.t_ns);
        } else if packet.has(flags::RST, 0) {
            if !self.server_isns.is_empty() {
                self.flow.client_reset.get_or_insert(packet.t_ns);
            }
        } else if packet.has(flags::ACK, flags::RST) {
            // A SYN too, if it carries an ACK: the client answers a SYN-ACK with it.
            if !self.acked.contains(&packet.ack) {
                remember(&mut self.acked, packet.ack);
            }
            let fin = packet.has(flags::FIN, 0);
            let ack = Ack { t_ns: packet.t_ns, payload_len: packet.payload_len, fin };
            if self.server_isns.is_empty() {
                remember(&mut self.early, (packet.ack, ack));
            } else if self.server_isns.iter().any(|isn| packet.ack.wrapping_sub(*isn) >= 1) {
                self.acknowledges(ack);
            }
        }
    }

    fn acknowledges(&mut self, ack: Ack) {
        remember(&mut self.flow.acks, ack);
        self.flow.ack_count += 1;
        if ack.is_more() {
            self.flow.sent.get_or_insert(ack.t_ns);
        }
    }

    /// The server sent it.
    pub(super) fn departed(&mut self, packet: &Packet) {
        let t_ns = packet.t_ns;
        if packet.has(flags::SYN | flags::ACK, flags::RST) {
            if !self.server_isns.contains(&packet.seq) {
                remember(&mut self.server_isns, packet.seq);
            }
            remember(&mut self.flow.synacks, t_ns);
            self.client_isn.get_or_insert(packet.ack.wrapping_sub(1));
            for (number, ack) in mem::take(&mut self.early) {
                if (1..WINDOW).contains(&number.wrapping_sub(packet.seq)) {
                    self.acknowledges(ack);
                }
            }
            // Fast Open: only a child takes the data of a SYN.
            if self.acknowledged(packet) > 0 {
                self.flow.served.get_or_insert(t_ns);
            }
        } else if packet.has(flags::RST | flags::ACK, 0) {
            let list = if self.flow.acks.is_empty() {
                &mut self.flow.refusals
            } else {
                &mut self.flow.active_resets
            };
            remember(list, t_ns);
        } else if packet.has(flags::RST, 0) {
            if self.acked.contains(&packet.seq) {
                let reset = Reset { t_ns, acks_before: self.flow.acks.len() };
                remember(&mut self.flow.resets, reset);
            }
        } else if packet.has(flags::ACK, flags::SYN) {
            // tcp_v4_reqsk_send_ack acknowledges the SYN for a mere request: only more than that
            // needs a socket.
            let data = self.acknowledged(packet) > 0;
            if data || packet.payload_len > 0 || packet.has(flags::FIN, 0) {
                self.flow.served.get_or_insert(t_ns);
            }
        }
    }

    /// How many bytes behind the client's SYN a segment of the server acknowledges; 0 for fewer.
    fn acknowledged(&self, packet: &Packet) -> u32 {
        let syn = self.client_isn.unwrap_or(0).wrapping_add(1);
        let bytes = packet.ack.wrapping_sub(syn);
        if bytes < 1 << 31 { bytes } else { 0 }
    }
}

fn remember<T>(list: &mut Vec<T>, what: T) {
    if list.len() < REMEMBERED {
        list.push(what);
    }
}
