//! The packets of one connection, sorted by what they show of a listener's decisions.

use std::{collections::HashMap, net::SocketAddr};

use overflow_core::packet::{Packet, flags};

/// One client's connection on the wire. All times are CLOCK_MONOTONIC nanoseconds at the server's
/// TCP: arrivals as captured, departures with the link's lag taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client's address, IPv4-mapped ones as IPv4.
    pub client: SocketAddr,
    /// SYNs that reached the server.
    pub syns: Vec<u64>,
    /// SYN-ACKs sent.
    pub synacks: Vec<u64>,
    /// Segments of the client that acknowledge the SYN-ACK: the third ACK, its repeats, data.
    pub acks: Vec<Ack>,
    /// RSTs without ACK flag: `tcp_v4_send_reset`'s answer to a segment that carried an ACK
    /// (RFC 9293 3.5.2), so it shows that segment was refused.
    pub resets: Vec<Reset>,
    /// RSTs with ACK flag after the handshake: `tcp_send_active_reset`, so a socket existed.
    pub active_resets: Vec<u64>,
    /// RSTs with ACK flag in answer to a SYN: nobody listens.
    pub refusals: Vec<u64>,
    /// When the client's first RST after the SYN-ACK reached the server.
    pub client_reset: Option<u64>,
    /// When the server first acknowledged data, or sent data or FIN of its own: only a socket
    /// that was created does so.
    pub served: Option<u64>,
}

/// A segment of the client after the SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Arrival at the server, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// TCP payload in bytes; 0 for a bare ACK.
    pub payload_len: u32,
}

/// A RST that refuses a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Departure from the server's TCP, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// How many of [`Flow::acks`] the capture saw before it.
    pub acks_before: usize,
}

impl Flow {
    /// Forgets what came after the listener closed, but for the RSTs of the close itself: the
    /// closed port answers for itself, not for the listener.
    pub(crate) fn end_at(&mut self, close: u64) {
        let before = |t: &u64| *t < close;
        self.syns.retain(before);
        self.synacks.retain(before);
        self.acks.retain(|a| a.t_ns < close);
        self.resets.retain(|r| r.t_ns < close);
        self.refusals.retain(before);
        self.client_reset = self.client_reset.filter(before);
        self.served = self.served.filter(before);
    }
}

/// Sorts a capture into flows, in order of each client's first packet.
///
/// `lag_ns` is how much later than TCP's sending the capture sees a departing packet: the delay
/// of a qdisc, which AF_PACKET sits behind, else 0.
pub(crate) fn flows(packets: &[Packet], server: SocketAddr, lag_ns: u64) -> Vec<Flow> {
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
            found[index].departed(packet, packet.t_ns.saturating_sub(lag_ns));
        } else {
            found[index].arrived(packet);
        }
    }
    found.into_iter().map(|b| b.flow).collect()
}

/// The address with an IPv4-mapped IPv6 address as IPv4: a dual-stack listener's `sock_diag` and
/// the wire write the same client in two ways.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// A flow with the sequence numbers needed while it is put together.
struct Building {
    flow: Flow,
    client_isn: u32,
    server_isns: Vec<u32>,
    /// Acknowledgement numbers the client sent: a refusing RST carries one as its sequence.
    acked: Vec<u32>,
}

impl Building {
    fn new(client: SocketAddr) -> Self {
        let flow = Flow {
            client,
            syns: Vec::new(),
            synacks: Vec::new(),
            acks: Vec::new(),
            resets: Vec::new(),
            active_resets: Vec::new(),
            refusals: Vec::new(),
            client_reset: None,
            served: None,
        };
        Self { flow, client_isn: 0, server_isns: Vec::new(), acked: Vec::new() }
    }

    fn arrived(&mut self, packet: &Packet) {
        if packet.has(flags::SYN, flags::ACK | flags::RST) {
            self.client_isn = packet.seq;
            self.flow.syns.push(packet.t_ns);
        } else if packet.has(flags::RST, 0) {
            if !self.server_isns.is_empty() {
                self.flow.client_reset.get_or_insert(packet.t_ns);
            }
        } else if packet.has(flags::ACK, flags::RST) {
            // A SYN too, if it carries an ACK: the client answers a SYN-ACK with it.
            self.acked.push(packet.ack);
            // A cookie's SYN-ACK may carry another sequence each minute: any of them counts.
            if self.server_isns.iter().any(|isn| packet.ack.wrapping_sub(*isn) >= 1) {
                let ack = Ack { t_ns: packet.t_ns, payload_len: packet.payload_len };
                self.flow.acks.push(ack);
            }
        }
    }

    fn departed(&mut self, packet: &Packet, t_ns: u64) {
        if packet.has(flags::SYN | flags::ACK, flags::RST) {
            self.server_isns.push(packet.seq);
            self.flow.synacks.push(t_ns);
        } else if packet.has(flags::RST | flags::ACK, 0) {
            let list = if self.flow.acks.is_empty() {
                &mut self.flow.refusals
            } else {
                &mut self.flow.active_resets
            };
            list.push(t_ns);
        } else if packet.has(flags::RST, 0) {
            if self.acked.contains(&packet.seq) {
                self.flow.resets.push(Reset { t_ns, acks_before: self.flow.acks.len() });
            }
        } else if packet.has(flags::ACK, flags::SYN) {
            // tcp_v4_reqsk_send_ack acknowledges the SYN for a mere request: only more than that
            // needs a socket.
            let acked = packet.ack.wrapping_sub(self.client_isn.wrapping_add(1));
            let data = (1..1 << 31).contains(&acked);
            if data || packet.payload_len > 0 || packet.has(flags::FIN, 0) {
                self.flow.served.get_or_insert(t_ns);
            }
        }
    }
}
