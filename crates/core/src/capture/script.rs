//! Hand-made packets for tests: one short word per packet.

use std::net::SocketAddr;

use crate::packet::{Packet, flags};

/// The server of every connection.
pub const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 7, 0, 1)), 12345);

/// The client with this port.
pub fn client(port: u16) -> SocketAddr {
    ([10, 7, 0, 2], port).into()
}

/// Packets of one connection from words like `200>A`: milliseconds, `>` to the server or `<` from
/// it, and `S`, `SA`, `A`, `D` (5 bytes of data), `K` (ACK of 5 bytes), `R`, `RA`.
///
/// # Panics
///
/// Panics if a word is none of these.
pub fn packets(port: u16, script: &str) -> Vec<Packet> {
    const CLIENT_ISN: u32 = 100;
    const SERVER_ISN: u32 = u32::MAX;
    let mut packets = Vec::new();
    for word in script.split_whitespace() {
        let at = word.find(['<', '>']).expect("a direction");
        let (ms, rest) = word.split_at(at);
        let (to_server, kind) = (rest.starts_with('>'), &rest[1..]);
        let (flags, payload_len, acked) = match kind {
            "S" => (flags::SYN, 0, 0),
            "SA" => (flags::SYN | flags::ACK, 0, 1),
            "A" => (flags::ACK, 0, 1),
            "D" => (flags::ACK | flags::PSH, 5, 1),
            "K" => (flags::ACK, 0, 6),
            "R" => (flags::RST, 0, 0),
            "RA" => (flags::RST | flags::ACK, 0, 1),
            _ => panic!("{word}: unknown kind"),
        };
        let syn = u32::from(flags & flags::SYN == 0);
        let (mine, peers) =
            if to_server { (CLIENT_ISN, SERVER_ISN) } else { (SERVER_ISN, CLIENT_ISN) };
        let ack = if flags & flags::ACK == 0 { 0 } else { peers.wrapping_add(acked) };
        let (src, dst) = if to_server { (client(port), SERVER) } else { (SERVER, client(port)) };
        packets.push(Packet {
            t_ns: ms.parse::<u64>().expect("milliseconds") * 1_000_000,
            src,
            dst,
            flags,
            seq: mine.wrapping_add(syn),
            ack,
            payload_len,
            raw: Vec::new(),
        });
    }
    packets
}
