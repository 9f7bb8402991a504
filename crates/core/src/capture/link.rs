//! From a captured frame to its IP packet: the link types that tcpdump and Wireshark write TCP with.
//!
//! Numbers are those of the tcpdump.org registry of link-layer header types; what such a header
//! looks like is described there, one page per type.

use crate::table_enum::table_enum;

struct Row {
    numbers: &'static [u32],
    name: &'static str,
}

table_enum! {
    /// What a frame begins with.
    pub enum Link: Row {
        /// BSD loopback: the address family in the byte order of the machine that captured.
        Null = Row { numbers: &[0], name: "BSD loopback" },
        /// Ethernet, with or without VLAN tags.
        Ethernet = Row { numbers: &[1], name: "Ethernet" },
        /// PPP, with or without HDLC-like framing.
        Ppp = Row { numbers: &[9, 50], name: "PPP" },
        /// An IP packet of either version; 12 and 14 are what some systems write for 101.
        Raw = Row { numbers: &[12, 14, 101, 228, 229], name: "raw IP" },
        /// OpenBSD loopback: the address family in network byte order.
        Loop = Row { numbers: &[108], name: "OpenBSD loopback" },
        /// `tcpdump -i any` before libpcap 1.10.
        Cooked = Row { numbers: &[113], name: "Linux cooked v1" },
        /// `tcpdump -i nflog:GROUP`.
        Nflog = Row { numbers: &[239], name: "NFLOG" },
        /// `tcpdump -i any`: as [`Self::Cooked`], with the interface.
        Cooked2 = Row { numbers: &[276], name: "Linux cooked v2" },
    }
}

/// Which way a packet went, as the capturing host saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came from outside.
    In,
    /// This host sent it.
    Out,
}

/// The IP packet of a frame, and what the link-layer header says besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network<'a> {
    /// From the IP header on; any link-layer padding is still behind it.
    pub ip: &'a [u8],
    /// Which way it went, where the link type says so.
    pub direction: Option<Direction>,
    /// The interface's index on the capturing host, where the link type says so.
    pub ifindex: Option<u32>,
}

impl Link {
    /// The link type of this number, if it is one that is read.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|link| link.row().numbers.contains(&number))
    }

    /// Its name, in a few words.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The IP packet in a frame; `None` for anything else (ARP, LLDP, a cut header).
    pub fn network(self, frame: &[u8]) -> Option<Network<'_>> {
        let plain = |ip| Network { ip, direction: None, ifindex: None };
        match self {
            // The family's number differs from system to system; the IP header has its version.
            Self::Null | Self::Loop => frame.get(4..).map(plain),
            Self::Raw => Some(plain(frame)),
            Self::Ethernet => by_ether_type(be16(frame, 12)?, frame.get(14..)?).map(plain),
            Self::Ppp => ppp(frame.strip_prefix(&[0xff, 0x03]).unwrap_or(frame)).map(plain),
            Self::Cooked => Some(Network {
                ip: by_ether_type(be16(frame, 14)?, frame.get(16..)?)?,
                direction: cooked_direction(be16(frame, 0)?),
                ifindex: None,
            }),
            Self::Cooked2 => Some(Network {
                ip: by_ether_type(be16(frame, 0)?, frame.get(20..)?)?,
                direction: cooked_direction(u16::from(*frame.get(10)?)),
                ifindex: Some(u32::from_be_bytes(frame.get(4..8)?.try_into().ok()?)),
            }),
            Self::Nflog => nflog(frame.get(4..)?).map(plain),
        }
    }
}

/// `sll_pkttype`: PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST, PACKET_OUTGOING
/// (packet(7)).
fn cooked_direction(kind: u16) -> Option<Direction> {
    match kind {
        0 => Some(Direction::In),
        4 => Some(Direction::Out),
        _ => None,
    }
}

/// What lies behind an EtherType: tags and labels are skipped.
fn by_ether_type(mut kind: u16, mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match kind {
            0x0800 | 0x86dd => return Some(rest),
            // IEEE 802.1Q, 802.1ad (QinQ), and what was used for QinQ before it.
            0x8100 | 0x88a8 | 0x9100 => {
                kind = be16(rest, 2)?;
                rest = rest.get(4..)?;
            }
            // PPPoE session (RFC 2516).
            0x8864 => return ppp(rest.get(6..)?),
            // MPLS (RFC 3032): labels up to the bottom of the stack.
            0x8847 | 0x8848 => loop {
                let last = rest.get(2)? & 1 == 1;
                rest = rest.get(4..)?;
                if last {
                    return Some(rest);
                }
            },
            _ => return None,
        }
    }
}

/// The protocol field of PPP (RFC 1661), which may be one byte.
fn ppp(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [0x21 | 0x57, ip @ ..] | [0x00, 0x21 | 0x57, ip @ ..] => Some(ip),
        _ => None,
    }
}

/// The attribute NFULA_PAYLOAD (9) of an NFLOG message; lengths are in the byte order of the machine
/// that captured, and only one of the two makes sense.
fn nflog(mut rest: &[u8]) -> Option<&[u8]> {
    const PAYLOAD: u16 = 9;
    const LITTLE: fn([u8; 2]) -> u16 = u16::from_le_bytes;
    let read = if rest.get(1)? == &0 { LITTLE } else { u16::from_be_bytes };
    loop {
        let head: [u8; 4] = rest.get(..4)?.try_into().ok()?;
        let [length, kind] = [[head[0], head[1]], [head[2], head[3]]].map(read);
        let length = usize::from(length);
        if kind == PAYLOAD {
            return rest.get(4..length.min(rest.len()));
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: [u8; 3] = [0x45, 0, 7];

    fn check(link: u32, header: &[u8], direction: Option<Direction>, ifindex: Option<u32>) {
        let frame = [header, &IP].concat();
        let network = Link::of(link).unwrap().network(&frame);
        assert_eq!(network, Some(Network { ip: &IP, direction, ifindex }), "{link}");
        // A cut header is no packet, and no panic.
        for length in 0..header.len() {
            let cut = Link::of(link).unwrap().network(&frame[..length]);
            assert!(cut.is_none_or(|n| n.ip.len() < length.max(1)), "{link} cut to {length}");
        }
    }

    #[test]
    fn each_link_type() {
        let ethernet = |types: &[u8]| [&[2; 12], types].concat();
        check(1, &ethernet(&[8, 0]), None, None);
        check(1, &ethernet(&[0x81, 0, 0, 5, 0x86, 0xdd]), None, None);
        check(1, &ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]), None, None);
        check(1, &ethernet(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 5, 0, 0x21]), None, None);
        check(1, &ethernet(&[0x88, 0x47, 0, 1, 0, 64, 0, 1, 1, 64]), None, None);
        check(0, &[2, 0, 0, 0], None, None);
        check(108, &[0, 0, 0, 2], None, None);
        check(101, &[], None, None);
        check(12, &[], None, None);
        check(9, &[0xff, 3, 0, 0x21], None, None);
        check(9, &[0x57], None, None);
        let cooked = |kind| [0, kind, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0];
        check(113, &cooked(4), Some(Direction::Out), None);
        check(113, &cooked(0), Some(Direction::In), None);
        check(113, &cooked(3), None, None);
        let cooked = [8, 0, 0, 0, 0, 0, 1, 2, 0, 1, 4, 6, 1, 2, 3, 4, 5, 6, 0, 0];
        check(276, &cooked, Some(Direction::Out), Some(258));
    }

    #[test]
    fn nflog_finds_its_payload_in_either_byte_order() {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let head = |length: u16, kind: u16| [order(length), order(kind)].concat();
            let prefix = [head(6, 10), b"p\0\0\0".to_vec()].concat();
            let frame = [vec![2, 0, 0, 1], prefix, head(7, 9), IP.to_vec()].concat();
            assert_eq!(Link::Nflog.network(&frame).unwrap().ip, IP);
        }
        assert_eq!(Link::Nflog.network(&[2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn what_is_no_ip_is_none() {
        let arp = [&[2; 12][..], &[8, 6], &IP].concat();
        assert_eq!(Link::Ethernet.network(&arp), None);
        assert_eq!(Link::of(105), None, "a radio's frames are not read");
    }
}
