//! Bytes from an IP header on -> a TCP segment; pure.

use std::net::{IpAddr, SocketAddr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use overflow_core::packet::{Packet, flags};

/// The TCP segment in `raw`, or `None` for anything else (ARP, ICMP, router solicitations).
pub(crate) fn tcp_segment(t_ns: u64, raw: &[u8]) -> Option<Packet> {
    let packet = SlicedPacket::from_ip(raw).ok()?;
    let (src, dst) = match packet.net? {
        NetSlice::Ipv4(ip) => {
            (IpAddr::V4(ip.header().source_addr()), IpAddr::V4(ip.header().destination_addr()))
        }
        NetSlice::Ipv6(ip) => {
            (IpAddr::V6(ip.header().source_addr()), IpAddr::V6(ip.header().destination_addr()))
        }
        NetSlice::Arp(_) => return None,
    };
    let TransportSlice::Tcp(tcp) = packet.transport? else { return None };
    Some(Packet {
        t_ns,
        src: SocketAddr::new(src, tcp.source_port()),
        dst: SocketAddr::new(dst, tcp.destination_port()),
        flags: [
            (tcp.fin(), flags::FIN),
            (tcp.syn(), flags::SYN),
            (tcp.rst(), flags::RST),
            (tcp.psh(), flags::PSH),
            (tcp.ack(), flags::ACK),
        ]
        .into_iter()
        .filter_map(|(set, bit)| set.then_some(bit))
        .sum(),
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        payload_len: u32::try_from(tcp.payload().len()).ok()?,
        raw: raw.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn bytes(
        builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>,
        data: &[u8],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        builder.write(&mut bytes, data).unwrap();
        bytes
    }

    #[test]
    fn ipv4_with_payload() {
        let raw = bytes(
            PacketBuilder::ipv4([10, 7, 0, 2], [10, 7, 0, 1], 64)
                .tcp(30001, 12345, 0xffff_fff0, 500)
                .ack(77)
                .psh(),
            b"hello",
        );
        let packet = tcp_segment(9, &raw).unwrap();
        assert_eq!(packet.src, "10.7.0.2:30001".parse().unwrap());
        assert_eq!(packet.dst, "10.7.0.1:12345".parse().unwrap());
        assert_eq!(packet.flags, flags::ACK | flags::PSH);
        assert_eq!((packet.seq, packet.ack, packet.payload_len), (0xffff_fff0, 77, 5));
        assert_eq!((packet.t_ns, packet.raw), (9, raw));
    }

    #[test]
    fn ipv6_syn() {
        let raw = bytes(PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1, 2, 3, 4).syn(), &[]);
        let packet = tcp_segment(0, &raw).unwrap();
        assert!(packet.src.is_ipv6() && packet.has(flags::SYN, flags::ACK));
        assert_eq!(packet.payload_len, 0);
    }

    #[test]
    fn link_padding_is_not_payload() {
        let mut raw = bytes(PacketBuilder::ipv4([1; 4], [2; 4], 64).tcp(1, 2, 3, 4).rst(), &[]);
        raw.extend([0; 6]);
        let packet = tcp_segment(0, &raw).unwrap();
        assert_eq!((packet.flags, packet.payload_len), (flags::RST, 0));
    }

    #[test]
    fn what_is_not_tcp_is_left_out() {
        let mut udp = Vec::new();
        PacketBuilder::ipv4([1; 4], [2; 4], 64).udp(1, 2).write(&mut udp, &[0; 8]).unwrap();
        assert_eq!(tcp_segment(0, &udp), None);
        assert_eq!(tcp_segment(0, &[]), None);
        assert_eq!(tcp_segment(0, &[0x45, 0, 0]), None);
    }
}
