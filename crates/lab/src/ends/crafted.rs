//! A client made by hand: segments that no kernel would send in that order.
//!
//! It sends from an address of the clients' subnet that belongs to nobody, through a raw socket in
//! the clients' namespace; what the server answers is read there by a packet socket.

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use etherparse::{
    Icmpv4Type, Icmpv6Type, IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader,
    TcpOptionElement, err::packet::BuildWriteError, icmpv4, icmpv6,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    io::unix::AsyncFd,
    time::{sleep, timeout},
};

use overflow_core::model::scenario::Phase;

use crate::{
    ClientView, LabError, cell::config::CRAFTED_PORT, ends::watched::watch, error::During,
};
use overflow_core::{capture::headers::tcp_segment, packet::flags};
use overflow_host::clock::monotonic_ns;

/// How long a SYN-ACK may take beyond the link's delay.
const SYNACK_TIMEOUT: Duration = Duration::from_secs(2);
/// The TSval of a SYN; those of later segments are relative to it.
const TSVAL: u32 = 1_000_000;
/// What the acknowledgement numbers of a client are relative to that never saw a SYN-ACK.
const NO_SYNACK: u32 = 0x1234_5678;
/// The window it offers, bytes.
const WINDOW: u16 = 64_000;

/// One connection made by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crafted {
    /// Whether it begins with a SYN, and waits for its SYN-ACK; else it only sends `segments`.
    pub handshake: bool,
    /// Whether its segments carry the timestamp option.
    pub timestamps: bool,
    /// What it sends after the SYN-ACK.
    pub segments: &'static [Segment],
}

/// One segment after the SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Milliseconds after the segment before.
    pub after_ms: u64,
    /// TCP flags, see [`flags`].
    pub flags: u8,
    /// Sequence number, from the first one after the SYN.
    pub seq: i32,
    /// Acknowledgement number, from the one that acknowledges the SYN-ACK.
    pub ack: i32,
    /// TSval, from the SYN's.
    pub tsval: i32,
    /// Payload, bytes.
    pub payload: usize,
    /// Nothing of all that, but an ICMP error about the SYN-ACK: that its receiver is unreachable.
    pub unreachable: bool,
}

impl Segment {
    /// The third ACK as it should be.
    pub(crate) const ACK: Self = Self {
        after_ms: 0,
        flags: flags::ACK,
        seq: 0,
        ack: 0,
        tsval: 1,
        payload: 0,
        unreachable: false,
    };
}

/// Plays crafted connection number `index` (from 0), from a thread of the clients' namespace.
pub(crate) async fn play(
    from: IpAddr,
    server: SocketAddr,
    index: u16,
    delay: Duration,
    script: Crafted,
) -> Result<ClientView, LabError> {
    let local = SocketAddr::new(from, CRAFTED_PORT + index);
    let mut hand = Hand::new(local, server, script.timestamps)?;
    if script.handshake {
        let wire = watch(packet_socket(from)?)?;
        hand.send(flags::SYN, hand.isn, 0, 0, 0)?;
        let synack = timeout(SYNACK_TIMEOUT + 2 * delay, hand.synack(&wire)).await;
        hand.peer_isn = synack
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
            .during(format!("waiting for the SYN-ACK to the crafted client {local}"))??;
    }
    for segment in script.segments {
        sleep(Duration::from_millis(segment.after_ms)).await;
        if segment.unreachable {
            hand.unreachable()?;
            continue;
        }
        let seq = hand.isn.wrapping_add(1).wrapping_add_signed(segment.seq);
        let ack = match segment.flags & flags::ACK {
            0 => 0,
            _ => hand.peer_isn.wrapping_add(1).wrapping_add_signed(segment.ack),
        };
        hand.send(segment.flags, seq, ack, segment.tsval, segment.payload)?;
    }
    Ok(ClientView {
        local,
        phase: Phase::Burst,
        connect: Err("pending".to_owned()),
        state: ClientView::CRAFTED.to_owned(),
        error: None,
    })
}

struct Hand {
    local: SocketAddr,
    server: SocketAddr,
    isn: u32,
    peer_isn: u32,
    timestamps: bool,
    raw: Socket,
}

impl Hand {
    fn new(local: SocketAddr, server: SocketAddr, timestamps: bool) -> Result<Self, LabError> {
        let what = "opening a raw socket";
        // IPPROTO_RAW: what is sent begins with the IP header, in both families.
        let raw = Protocol::from(libc::IPPROTO_RAW);
        let raw = Socket::new(Domain::for_address(local), Type::RAW, Some(raw)).during(what)?;
        // Sequence numbers of an earlier connection must not fit this one.
        let isn = u32::try_from(monotonic_ns() & 0x3fff_ffff).unwrap_or(0);
        Ok(Self { local, server, isn, peer_isn: NO_SYNACK, timestamps, raw })
    }

    fn send(&self, set: u8, seq: u32, ack: u32, ts: i32, payload: usize) -> Result<(), LabError> {
        let what = || format!("sending a crafted segment from {}", self.local);
        let has = |flag: u8| set & flag != 0;
        let mut tcp = TcpHeader::new(self.local.port(), self.server.port(), seq, WINDOW);
        (tcp.syn, tcp.rst, tcp.psh) = (has(flags::SYN), has(flags::RST), has(flags::PSH));
        (tcp.ack, tcp.acknowledgment_number) = (has(flags::ACK), ack);
        tcp.fin = has(flags::FIN);
        if self.timestamps {
            let tsval = TSVAL.wrapping_add_signed(ts);
            tcp.set_options(&[TcpOptionElement::Timestamp(tsval, 0)])
                .map_err(|e| io::Error::other(e.to_string()))
                .during(what())?;
        }
        let mut bytes = Vec::new();
        ip(self.local, self.server)
            .tcp_header(tcp)
            .write(&mut bytes, &vec![0; payload])
            .map_err(|e| io::Error::other(e.to_string()))
            .during(what())?;
        self.put(&bytes).during(what())
    }

    /// An ICMP error about the SYN-ACK, of a kind that the kernel takes for final: host unreachable,
    /// which `tcp_v4_err` is identified by its code, and for `icmpv6_err_convert` port unreachable.
    fn unreachable(&self) -> Result<(), LabError> {
        let what = || format!("sending an ICMP error from {}", self.local);
        let not_written = |e: BuildWriteError| io::Error::other(e.to_string());
        let mut quoted = Vec::new();
        let (server, port) = (self.server.port(), self.local.port());
        ip(self.server, self.local)
            .tcp_header(TcpHeader::new(server, port, self.peer_isn, WINDOW))
            .write(&mut quoted, &[])
            .map_err(not_written)
            .during(what())?;
        let mut bytes = Vec::new();
        let error = ip(self.local, self.server);
        if self.local.is_ipv4() {
            let host = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Host);
            error.icmpv4(host).write(&mut bytes, &quoted)
        } else {
            let port = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port);
            error.icmpv6(port).write(&mut bytes, &quoted)
        }
        .map_err(not_written)
        .during(what())?;
        self.put(&bytes).during(what())
    }

    fn put(&self, packet: &[u8]) -> io::Result<()> {
        // The port of a raw socket's destination is a protocol number, or 0.
        let to = SockAddr::from(SocketAddr::new(self.server.ip(), 0));
        self.raw.send_to(packet, &to).map(drop)
    }

    /// Waits for the SYN-ACK; its sequence number.
    async fn synack(&self, wire: &AsyncFd<Socket>) -> Result<u32, LabError> {
        let what = "reading the SYN-ACK to a crafted client";
        let mut buffer = vec![0; 65_536];
        loop {
            let mut ready = wire.readable().await.during(what)?;
            match ready.try_io(|socket| (&mut socket.get_ref()).read(&mut buffer)) {
                Ok(Ok(len)) => {
                    let packet = tcp_segment(0, &buffer[..len], len).map(|headers| headers.packet);
                    let mine = |p: &overflow_core::packet::Packet| {
                        (p.src, p.dst) == (self.server, self.local)
                            && p.has(flags::SYN | flags::ACK, flags::RST)
                    };
                    if let Some(packet) = packet.filter(mine) {
                        return Ok(packet.seq);
                    }
                }
                Ok(Err(error)) => return Err(error).during(what),
                Err(_would_block) => {}
            }
        }
    }
}

/// The IP header of a packet.
fn ip(from: SocketAddr, to: SocketAddr) -> PacketBuilderStep<IpHeaders> {
    const TTL: u8 = 64;
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), TTL),
        (from, to) => {
            let six = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            PacketBuilder::ipv6(six(from), six(to), TTL)
        }
    }
}

/// Everything that arrives for `address`'s family in the calling thread's namespace.
fn packet_socket(address: IpAddr) -> Result<Socket, LabError> {
    let what = "opening a packet socket";
    let protocol: u16 = if address.is_ipv6() { 0x86dd } else { 0x0800 };
    let protocol = Protocol::from(i32::from(protocol.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).during(what)?;
    socket.set_nonblocking(true).during(what)?;
    Ok(socket)
}
