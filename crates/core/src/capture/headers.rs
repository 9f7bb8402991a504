//! Bytes from an IP header on -> a TCP segment, whole or cut by the capture's snaplen.

use std::net::SocketAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use crate::packet::Packet;

/// What a TCP header has to have been captured of: up to its flags.
const NEEDED: usize = 14;

/// A TCP segment, with what its IP header says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The segment; its `raw` is empty.
    pub packet: Packet,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
}

/// The TCP segment in `ip`, or `None` for anything else (ARP, ICMP, a fragment without the TCP
/// header, a header of which the capture has too little).
///
/// `wire_len` is how long the packet was on the wire, bytes from the IP header on: it stands in for
/// the length in an IP header that has none, as that of a segment which the network card is yet to
/// cut.
pub fn tcp_segment(t_ns: u64, ip: &[u8], wire_len: usize) -> Option<Headers> {
    let (addresses, ttl, ip_id, length, before) = match ip.first()? >> 4 {
        4 => {
            let header = Ipv4HeaderSlice::from_slice(ip).ok()?;
            if header.fragments_offset().value() != 0 {
                return None;
            }
            let addresses = [header.source_addr().into(), header.destination_addr().into()];
            let before = behind(ip, header.slice().len(), header.protocol().0)?;
            let length = usize::from(header.total_len());
            (addresses, header.ttl(), header.identification(), length, before)
        }
        6 => {
            let header = Ipv6HeaderSlice::from_slice(ip).ok()?;
            let addresses = [header.source_addr().into(), header.destination_addr().into()];
            let before = behind(ip, header.slice().len(), header.next_header().0)?;
            let payload = usize::from(header.payload_length());
            let length = if payload == 0 { 0 } else { payload + header.slice().len() };
            (addresses, header.hop_limit(), 0, length, before)
        }
        _ => return None,
    };
    let tcp = ip.get(before..).filter(|tcp| tcp.len() >= NEEDED)?;
    let length = if length == 0 { wire_len } else { length };
    let options_end = usize::from(tcp[12] >> 4) * 4;
    let payload_len = length.saturating_sub(before + options_end);
    let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
    let number = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
    let packet = Packet {
        t_ns,
        src: SocketAddr::new(addresses[0], port(0)),
        dst: SocketAddr::new(addresses[1], port(2)),
        flags: tcp[13] & FLAGS,
        seq: number(4),
        ack: number(8),
        payload_len: u32::try_from(payload_len).ok()?,
        raw: Vec::new(),
    };
    Some(Headers { packet, ttl, ip_id })
}

/// Where the TCP header begins, `kind` being the protocol of what begins at `at`: extension headers
/// (RFC 8200, RFC 4302) are skipped. `None` if it is another protocol, or a later fragment.
///
/// Not etherparse's iterator over extension headers: in 0.21 it reads beyond a slice that was cut.
fn behind(ip: &[u8], mut at: usize, mut kind: u8) -> Option<usize> {
    loop {
        if kind == TCP {
            return Some(at);
        }
        let header = ip.get(at..at + 4)?;
        at += match kind {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(header[1]) + 1) * 8,
            AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
            FRAGMENT if u16::from_be_bytes([header[2], header[3]]) >> 3 == 0 => 8,
            _ => return None,
        };
        kind = header[0];
    }
}

/// IANA protocol numbers of what may stand before TCP, and of TCP.
const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
/// FIN, SYN, RST, PSH and ACK: what [`crate::packet::flags`] names.
const FLAGS: u8 = 0x1f;

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};

    use super::*;
    use crate::packet::flags;

    fn bytes(builder: PacketBuilderStep<TcpHeader>, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        builder.write(&mut bytes, data).unwrap();
        bytes
    }

    fn parse(raw: &[u8]) -> Option<Headers> {
        tcp_segment(9, raw, raw.len())
    }

    #[test]
    fn ipv4_with_payload() {
        let raw = bytes(
            PacketBuilder::ipv4([10, 7, 0, 2], [10, 7, 0, 1], 63)
                .tcp(30001, 12345, 0xffff_fff0, 500)
                .ack(77)
                .psh(),
            b"hello",
        );
        let headers = parse(&raw).unwrap();
        let packet = &headers.packet;
        assert_eq!(packet.src, "10.7.0.2:30001".parse().unwrap());
        assert_eq!(packet.dst, "10.7.0.1:12345".parse().unwrap());
        assert_eq!(packet.flags, flags::ACK | flags::PSH);
        assert_eq!((packet.seq, packet.ack, packet.payload_len), (0xffff_fff0, 77, 5));
        assert_eq!((packet.t_ns, headers.ttl), (9, 63));
    }

    #[test]
    fn ipv6_syn() {
        let raw = bytes(PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1, 2, 3, 4).syn(), &[]);
        let packet = parse(&raw).unwrap().packet;
        assert!(packet.src.is_ipv6() && packet.has(flags::SYN, flags::ACK));
        assert_eq!(packet.payload_len, 0);
    }

    #[test]
    fn ipv6_extension_headers_are_skipped_but_later_fragments_have_no_segment() {
        let plain = bytes(PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1, 2, 3, 4).ack(9), b"12");
        for (header, found) in [
            ([60, 0, 1, 4, 0, 0, 0, 0], false),
            ([6, 0, 1, 4, 0, 0, 0, 0], true),
            ([6, 0, 0, 1, 0, 0, 0, 9], true),
            ([6, 0, 0, 9, 0, 0, 0, 9], false),
        ] {
            // A fragment header has the offset where destination options have their padding.
            let first = if header[3] == 4 { 60 } else { 44 };
            let mut raw = [&plain[..40], &header, &plain[40..]].concat();
            raw[5] += 8;
            raw[6] = first;
            let length = parse(&raw).map(|h| h.packet.payload_len);
            assert_eq!(length, found.then_some(2), "{header:?}");
        }
    }

    #[test]
    fn link_padding_is_not_payload() {
        let mut raw = bytes(PacketBuilder::ipv4([1; 4], [2; 4], 64).tcp(1, 2, 3, 4).rst(), &[]);
        raw.extend([0; 6]);
        let packet = parse(&raw).unwrap().packet;
        assert_eq!((packet.flags, packet.payload_len), (flags::RST, 0));
    }

    #[test]
    fn a_cut_segment_has_the_length_that_it_had_on_the_wire() {
        let raw = bytes(PacketBuilder::ipv4([1; 4], [2; 4], 64).tcp(1, 2, 3, 4).ack(5), &[7; 1000]);
        for snaplen in 0..raw.len() {
            let headers = tcp_segment(0, &raw[..snaplen], raw.len());
            let length = headers.map(|h| h.packet.payload_len);
            assert_eq!(length, (snaplen >= 20 + NEEDED).then_some(1000), "{snaplen}");
        }
    }

    #[test]
    fn a_length_that_is_not_set_yet_is_that_of_the_wire() {
        let mut raw = bytes(PacketBuilder::ipv4([1; 4], [2; 4], 64).tcp(1, 2, 3, 4).ack(5), b"xyz");
        raw[2..4].fill(0);
        assert_eq!(parse(&raw).unwrap().packet.payload_len, 3);
        assert_eq!(tcp_segment(0, &raw, 70_000).unwrap().packet.payload_len, 70_000 - 40);
    }

    #[test]
    fn what_is_not_tcp_is_left_out() {
        let mut udp = Vec::new();
        PacketBuilder::ipv4([1; 4], [2; 4], 64).udp(1, 2).write(&mut udp, &[0; 8]).unwrap();
        assert_eq!(parse(&udp), None);
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[0x45, 0, 0]), None);
        let mut fragment = bytes(PacketBuilder::ipv4([1; 4], [2; 4], 64).tcp(1, 2, 3, 4), &[0; 40]);
        fragment[7] = 5;
        assert_eq!(parse(&fragment), None);
    }
}
