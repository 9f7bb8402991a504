//! TCP segments as bytes: written for the client, read from the server.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use etherparse::{
    Icmpv4Type, Icmpv6Type, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, NetSlice,
    PacketBuilder, SlicedPacket, TcpHeader, TransportSlice, icmpv4, icmpv6,
};
use guest_cases::action::Extension;

/// Flags of TCP, as in its header.
pub const SYN: u8 = 2;
/// The same.
pub const ACK: u8 = 16;

/// What is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wired {
    /// Both addresses: from, to.
    pub addresses: (IpAddr, IpAddr),
    /// Both ports: from, to.
    pub ports: (u16, u16),
    /// Flags.
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement.
    pub ack: u32,
    /// Options, padded to words.
    pub options: Vec<u8>,
    /// Bytes of data.
    pub len: usize,
}

/// The bytes of an IP packet.
pub fn write(wired: &Wired, extension: Option<Extension>, bad_checksum: bool) -> Result<Vec<u8>> {
    let mut tcp = TcpHeader::new(wired.ports.0, wired.ports.1, wired.seq, u16::MAX);
    tcp.acknowledgment_number = wired.ack;
    tcp.fin = wired.flags & 1 != 0;
    tcp.syn = wired.flags & SYN != 0;
    tcp.rst = wired.flags & 4 != 0;
    tcp.psh = wired.flags & 8 != 0;
    tcp.ack = wired.flags & ACK != 0;
    tcp.set_options_raw(&wired.options).context("too many options")?;
    let data = vec![b'x'; wired.len];
    let length = tcp.header_len() + data.len();
    let mut bytes = Vec::new();
    match wired.addresses {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = u16::try_from(length)?;
            let ip = Ipv4Header::new(length, 64, IpNumber::TCP, from.octets(), to.octets())?;
            tcp.checksum = tcp.calc_checksum_ipv4(&ip, &data)?;
            ip.write(&mut bytes)?;
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let before = extension.map(extension_header);
            let before = before.as_ref().map_or(&[][..], |(_, header)| &header[..]);
            let next = extension.map_or(IpNumber::TCP, |extension| extension_header(extension).0);
            let ip = Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: u16::try_from(length + before.len())?,
                next_header: next,
                hop_limit: 64,
                source: from.octets(),
                destination: to.octets(),
            };
            tcp.checksum = tcp.calc_checksum_ipv6(&ip, &data)?;
            ip.write(&mut bytes)?;
            bytes.extend_from_slice(before);
        }
        (from, to) => bail!("no packet goes from {from} to {to}"),
    }
    if bad_checksum {
        tcp.checksum ^= 0x5555;
    }
    tcp.write(&mut bytes)?;
    bytes.extend(data);
    Ok(bytes)
}

/// An ICMP error (host unreachable; by IPv6, administratively prohibited) about a segment that the server sent: the beginning of that
/// segment is in it.
pub fn unreachable(about: &Wired) -> Result<Vec<u8>> {
    let mut inner = write(about, None, false)?;
    let mut bytes = Vec::new();
    match about.addresses {
        (IpAddr::V4(server), IpAddr::V4(client)) => {
            inner.truncate(28);
            let packet = PacketBuilder::ipv4(client.octets(), server.octets(), 64);
            let host = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Host);
            packet.icmpv4(host).write(&mut bytes, &inner)?;
        }
        (IpAddr::V6(server), IpAddr::V6(client)) => {
            let packet = PacketBuilder::ipv6(client.octets(), server.octets(), 64);
            // tcp_v6_err ends a request only where icmpv6_err_convert says `fatal`.
            let prohibited = icmpv6::DestUnreachableCode::Prohibited;
            let prohibited = Icmpv6Type::DestinationUnreachable(prohibited);
            packet.icmpv6(prohibited).write(&mut bytes, &inner)?;
        }
        (from, to) => bail!("no packet goes from {from} to {to}"),
    }
    Ok(bytes)
}

/// Its number, and a header of eight bytes that holds nothing but padding (`PadN`) and is followed
/// by TCP.
fn extension_header(extension: Extension) -> (IpNumber, [u8; 8]) {
    let number = match extension {
        Extension::HopByHop => IpNumber::IPV6_HEADER_HOP_BY_HOP,
        Extension::Destination => IpNumber::IPV6_DESTINATION_OPTIONS,
    };
    (number, [IpNumber::TCP.0, 0, 1, 4, 0, 0, 0, 0])
}

/// Reads an IP packet; `None` if it holds no TCP.
pub fn read(bytes: &[u8]) -> Option<Wired> {
    let packet = SlicedPacket::from_ip(bytes).ok()?;
    let addresses = match packet.net? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into())
        }
        NetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { return None };
    let header = tcp.to_header();
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags = bit(header.fin, 1)
        | bit(header.syn, SYN)
        | bit(header.rst, 4)
        | bit(header.psh, 8)
        | bit(header.ack, ACK);
    Some(Wired {
        addresses,
        ports: (header.source_port, header.destination_port),
        flags,
        seq: header.sequence_number,
        ack: header.acknowledgment_number,
        options: header.options.as_slice().to_vec(),
        len: tcp.payload().len(),
    })
}

/// The data of an option, if it is among these.
pub fn option(options: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = options;
    loop {
        match rest {
            [] | [0, ..] => return None,
            [1, after @ ..] => rest = after,
            [kind, length, ..] => {
                let data = rest.get(2..usize::from(*length))?;
                if *kind == wanted {
                    return Some(data);
                }
                rest = &rest[usize::from(*length)..];
            }
            [_] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wired(v6: bool) -> Wired {
        let address = |n: u8| -> IpAddr {
            if v6 { [0xfd00, 7, 0, 0, 0, 0, 0, n.into()].into() } else { [10, 7, 0, n].into() }
        };
        Wired {
            addresses: (address(2), address(1)),
            ports: (40_000, 80),
            flags: SYN,
            seq: 1000,
            ack: 0,
            options: vec![1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9],
            len: 3,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for v6 in [false, true] {
            let wired = wired(v6);
            assert_eq!(read(&write(&wired, None, false).unwrap()), Some(wired.clone()));
            let bad = write(&wired, None, true).unwrap();
            assert_ne!(bad, write(&wired, None, false).unwrap());
        }
        for extension in [Extension::HopByHop, Extension::Destination] {
            let bytes = write(&wired(true), Some(extension), false).unwrap();
            assert_eq!(read(&bytes), Some(wired(true)));
            assert_ne!(bytes[6], 6);
        }
    }

    #[test]
    fn options_are_found() {
        let options = wired(false).options;
        assert_eq!(option(&options, 8), Some(&[0, 0, 0, 7, 0, 0, 0, 9][..]));
        assert_eq!(option(&options, 34), None);
        assert_eq!(option(&[8], 8), None);
        assert_eq!(option(&[8, 10, 0], 8), None);
        assert_eq!(option(&[34, 0, 0], 8), None);
    }
}
