//! Addresses, ports and flags of a segment, from its headers. Offsets here are the wire format's
//! (RFC 791, 8200, 9293), not the kernel's. Pure: where the bytes come from is a [`Source`].

use core::mem::MaybeUninit;

use crate::{Plain, RawEvent, valid};

const IPPROTO_TCP: u8 = 6;
/// IPv6 extension headers (RFC 8200, RFC 4302) that may stand before TCP.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
/// Of more than so many the last are not followed. RFC 8200 knows no use for more.
const EXTENSIONS: usize = 8;

/// Bytes of an IPv6 header without extensions.
const IPV6_LENGTH: u32 = 40;
const _: () = assert!(size_of::<Ipv6>() == IPV6_LENGTH as usize);

/// TCP header flags.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// ACK.
pub const ACK: u8 = 0x10;

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ipv4 {
    version_ihl: u8,
    tos: u8,
    total_length: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: [u8; 4],
    destination: [u8; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ipv6 {
    version_class: [u8; 4],
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

/// How every extension header begins.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Extension {
    next_header: u8,
    /// In units that depend on the header.
    length: u8,
    /// In a fragment header: the offset's 13 bits, and whether more fragments follow.
    fragment: u16,
}

/// What one read gets: enough of most segments, those of IPv4 without options.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Headers {
    ip: Ipv4,
    tcp_after_ipv4: Tcp,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Tcp {
    source: u16,
    destination: u16,
    seq: u32,
    ack_seq: u32,
    offset: u8,
    flags: u8,
}

/// Where a segment's bytes come from.
pub trait Source {
    /// Reads a `T` at `offset`, counted from the IP header's first byte, into `place`: all zeros
    /// and `false` if it cannot be read.
    fn fill<'a, T: Plain>(&self, offset: u64, place: &'a mut MaybeUninit<T>) -> (&'a T, bool);

    /// Where the TCP header is, counted likewise, where the kernel has found that out: behind IPv6's
    /// extension headers. 0 where it has not. To follow those headers costs a verifier more than all
    /// the rest of a program.
    fn tcp_header(&self) -> u32;

    /// Takes note of why [`parse`] finds no segment. Called where that shows: handed back, it would
    /// be a value to be compared with, for each segment.
    fn refuse(&self, why: NoSegment);
}

/// Why something is no TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSegment {
    /// Its headers cannot be read.
    Unreadable,
    /// It has no IP header.
    NotIp,
    /// It is of another protocol, or a fragment without the TCP header.
    NotTcp,
}

/// Parses the headers of a segment into `event`, as seen from the server: the sender is the client.
/// `None` if it is no TCP segment.
#[inline(always)]
pub fn parse(source: &impl Source, event: &mut RawEvent) -> Option<()> {
    let refuse = |why| {
        source.refuse(why);
        None
    };
    let mut headers = MaybeUninit::uninit();
    let (headers, whole) = source.fill::<Headers>(0, &mut headers);
    if !whole {
        return refuse(NoSegment::Unreadable);
    }
    let version = headers.ip.version_ihl >> 4;
    let mut tcp = headers.tcp_after_ipv4;
    let tcp_length = if version == 4 {
        let header = &headers.ip;
        if header.protocol != IPPROTO_TCP {
            return refuse(NoSegment::NotTcp);
        }
        let length = u32::from(header.version_ihl & 0xf) * 4;
        if length as usize != size_of::<Ipv4>() {
            let mut at = MaybeUninit::uninit();
            tcp = *source.fill::<Tcp>(length.into(), &mut at).0;
        }
        event.client[..4].copy_from_slice(&header.source);
        event.server[..4].copy_from_slice(&header.destination);
        u32::from(u16::from_be(header.total_length)).wrapping_sub(length)
    } else if version == 6 {
        let mut header = MaybeUninit::uninit();
        let (header, _) = source.fill::<Ipv6>(0, &mut header);
        let mut before = 0;
        let known = source.tcp_header();
        if known != 0 {
            before = known.wrapping_sub(IPV6_LENGTH);
        } else if header.next_header != IPPROTO_TCP {
            before = extensions(source, header.next_header);
            if before == 0 {
                return refuse(NoSegment::NotTcp);
            }
        }
        let mut at = MaybeUninit::uninit();
        tcp = *source.fill::<Tcp>(size_of::<Ipv6>() as u64 + u64::from(before), &mut at).0;
        event.client = header.source;
        event.server = header.destination;
        u32::from(u16::from_be(header.payload_length)).wrapping_sub(before)
    } else {
        return refuse(NoSegment::NotIp);
    };
    event.family = version;
    event.client_port = u16::from_be(tcp.source);
    event.server_port = u16::from_be(tcp.destination);
    event.seq = u32::from_be(tcp.seq);
    event.ack_seq = u32::from_be(tcp.ack_seq);
    event.tcp_flags = tcp.flags;
    event.payload_len = tcp_length.wrapping_sub(u32::from(tcp.offset >> 4) * 4);
    event.valid |= valid::SEGMENT;
    Some(())
}

/// How many bytes of extension headers stand before the TCP header, `first` being the kind of the
/// first; 0 if there is none behind them.
#[inline(always)]
fn extensions(source: &impl Source, first: u8) -> u32 {
    let (mut kind, mut bytes) = (first, 0_u32);
    for _ in 0..EXTENSIONS {
        let mut at = MaybeUninit::uninit();
        let (header, _) =
            source.fill::<Extension>(size_of::<Ipv6>() as u64 + u64::from(bytes), &mut at);
        let length = u32::from(header.length);
        bytes += match kind {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (length + 1) * 8,
            AUTHENTICATION => (length + 2) * 4,
            // Only the first fragment has what comes next.
            FRAGMENT if u16::from_be(header.fragment) >> 3 == 0 => 8,
            _ => return 0,
        };
        kind = header.next_header;
        if kind == IPPROTO_TCP {
            return bytes;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// Bytes of a segment and whatever lies behind it in memory, why it was refused, and where its
    /// TCP header is, if that is known.
    struct Bytes<'a>(&'a [u8], Cell<Option<NoSegment>>, u32);

    impl Source for Bytes<'_> {
        fn fill<'a, T: Plain>(&self, offset: u64, place: &'a mut MaybeUninit<T>) -> (&'a T, bool) {
            let offset = usize::try_from(offset).unwrap();
            let bytes = self.0.get(offset..).and_then(|bytes| bytes.get(..size_of::<T>()));
            let zeros = [0; 64];
            let from = bytes.unwrap_or(&zeros[..size_of::<T>()]);
            // SAFETY: just as many bytes as there is room for, and any bytes are a `T`.
            let value = unsafe {
                let to = place.as_mut_ptr().cast::<u8>();
                core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
                place.assume_init_ref()
            };
            (value, bytes.is_some())
        }

        fn tcp_header(&self) -> u32 {
            self.2
        }

        fn refuse(&self, why: NoSegment) {
            assert_eq!(self.1.replace(Some(why)), None);
        }
    }

    /// Room for the longest headers here, and zeros behind them.
    struct Packet {
        bytes: [u8; 192],
        len: usize,
    }

    impl Packet {
        fn push(&mut self, bytes: &[u8]) {
            self.bytes[self.len..][..bytes.len()].copy_from_slice(bytes);
            self.len += bytes.len();
        }

        /// With `words` 32-bit words of header, 5 without options.
        fn ipv4(words: u8, total_length: u16, protocol: u8) -> Self {
            let mut packet = Self { bytes: [0; 192], len: 0 };
            packet.push(&[0x40 | words, 0]);
            packet.push(&total_length.to_be_bytes());
            packet.push(&[0x12, 0x34, 0x40, 0, 64, protocol, 0xab, 0xcd]);
            packet.push(&[192, 0, 2, 1, 198, 51, 100, 2]);
            for _ in 5..words {
                packet.push(&[1; 4]);
            }
            packet
        }

        fn ipv6(payload_length: u16, next_header: u8) -> Self {
            let mut packet = Self { bytes: [0; 192], len: 0 };
            packet.push(&[0x60, 0, 0, 0]);
            packet.push(&payload_length.to_be_bytes());
            packet.push(&[next_header, 64]);
            packet.push(&CLIENT_V6);
            packet.push(&SERVER_V6);
            packet
        }

        /// With `words` 32-bit words of header, 5 without options.
        fn tcp(mut self, words: u8, flags: u8) -> Self {
            self.push(&40_000_u16.to_be_bytes());
            self.push(&443_u16.to_be_bytes());
            self.push(&0x0102_0304_u32.to_be_bytes());
            self.push(&0xfffe_fdfc_u32.to_be_bytes());
            self.push(&[words << 4, flags, 0xff, 0xff]);
            self
        }

        fn parse(&self) -> Result<RawEvent, NoSegment> {
            parse_bytes(&self.bytes)
        }
    }

    fn parse_bytes(bytes: &[u8]) -> Result<RawEvent, NoSegment> {
        parse_at(bytes, 0)
    }

    /// With the TCP header where it is known to be.
    fn parse_at(bytes: &[u8], tcp_header: u32) -> Result<RawEvent, NoSegment> {
        let mut event = RawEvent::EMPTY;
        let bytes = Bytes(bytes, Cell::new(None), tcp_header);
        let parsed = parse(&bytes, &mut event);
        assert_eq!(parsed.is_none(), bytes.1.get().is_some());
        if let Some(why) = bytes.1.get() {
            assert_eq!(event, RawEvent::EMPTY);
            return Err(why);
        }
        Ok(event)
    }

    const CLIENT_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const SERVER_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    /// What [`Packet::tcp`] says.
    fn has_tcp(event: &RawEvent, flags: u8) {
        assert_eq!((event.client_port, event.server_port), (40_000, 443));
        assert_eq!((event.seq, event.ack_seq), (0x0102_0304, 0xfffe_fdfc));
        assert_eq!((event.tcp_flags, event.valid), (flags, valid::SEGMENT));
    }

    #[test]
    fn ipv4_without_options() {
        let event = Packet::ipv4(5, 20 + 40, IPPROTO_TCP).tcp(10, SYN).parse().unwrap();
        has_tcp(&event, SYN);
        assert_eq!((event.family, event.payload_len), (4, 0));
        assert_eq!(event.client, [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(event.server, [198, 51, 100, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn ipv4_options_are_skipped() {
        for words in 6..=15 {
            let length = u16::from(words) * 4 + 20 + 7;
            let event = Packet::ipv4(words, length, IPPROTO_TCP).tcp(5, ACK).parse().unwrap();
            has_tcp(&event, ACK);
            assert_eq!(event.payload_len, 7, "{words} words");
        }
    }

    #[test]
    fn ipv6() {
        let event = Packet::ipv6(32 + 100, IPPROTO_TCP).tcp(8, ACK | RST).parse().unwrap();
        has_tcp(&event, ACK | RST);
        assert_eq!((event.family, event.payload_len), (6, 100));
        assert_eq!((event.client, event.server), (CLIENT_V6, SERVER_V6));
    }

    #[test]
    fn ipv6_extension_headers_are_skipped() {
        let extended = |payload: u16, chain: &[&[u8]]| {
            let mut packet = Packet::ipv6(payload, chain[0][0]);
            for (i, header) in chain.iter().enumerate() {
                let next = chain.get(i + 1).map_or(IPPROTO_TCP, |next| next[0]);
                packet.push(&[next]);
                packet.push(&header[1..]);
            }
            let tcp_header = u32::try_from(packet.len).unwrap();
            let packet = packet.tcp(5, SYN);
            let walked = packet.parse();
            // Where it is known, nothing is walked.
            let known = parse_at(&packet.bytes, tcp_header);
            assert!(walked.is_err() || walked == known);
            assert!(known.is_ok());
            walked
        };
        let options: &[u8] = &[DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0];
        let hop_by_hop: &[u8] = &[HOP_BY_HOP, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let authentication: &[u8] = &[AUTHENTICATION, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let first: &[u8] = &[FRAGMENT, 0, 0, 1, 0, 0, 0, 9];
        let later: &[u8] = &[FRAGMENT, 0, 0, 9, 0, 0, 0, 9];
        for (bytes, chain) in [
            (8, &[options][..]),
            (16, &[hop_by_hop]),
            (12, &[authentication]),
            (8, &[first]),
            (44, &[hop_by_hop, options, authentication, first]),
        ] {
            let event = extended(bytes + 20 + 3, chain).unwrap();
            has_tcp(&event, SYN);
            assert_eq!((event.family, event.payload_len), (6, 3), "{chain:?}");
        }
        assert_eq!(extended(28, &[later]), Err(NoSegment::NotTcp));
        assert_eq!(extended(100, &[options; EXTENSIONS + 1]), Err(NoSegment::NotTcp));
        assert!(extended(100, &[options; EXTENSIONS]).is_ok());
    }

    #[test]
    fn what_is_not_tcp_says_so_and_claims_no_segment() {
        const UDP: u8 = 17;
        assert_eq!(Packet::ipv4(5, 60, UDP).tcp(5, SYN).parse(), Err(NoSegment::NotTcp));
        assert_eq!(Packet::ipv6(40, UDP).tcp(5, SYN).parse(), Err(NoSegment::NotTcp));
        // A header that leads to no other: its kind is a port here.
        assert_eq!(Packet::ipv6(40, HOP_BY_HOP).tcp(5, SYN).parse(), Err(NoSegment::NotTcp));
        // ARP for Ethernet and IPv4 begins with hardware type 1.
        let mut arp = Packet { bytes: [0; 192], len: 0 };
        arp.push(&[0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(arp.parse(), Err(NoSegment::NotIp));
        assert_eq!(parse_bytes(&[0x45; 35]), Err(NoSegment::Unreadable));
    }

    #[test]
    fn payload_is_what_the_ip_header_says_without_the_headers() {
        let payload = |ip: u8, tcp: u8, total: u16| {
            Packet::ipv4(ip, total, IPPROTO_TCP).tcp(tcp, ACK).parse().unwrap().payload_len
        };
        assert_eq!(payload(5, 5, 40), 0);
        assert_eq!(payload(5, 5, 41), 1);
        assert_eq!(payload(5, 8, 1500), 1448);
        assert_eq!(payload(15, 15, u16::MAX), 65_535 - 120);
    }

    /// A length that the headers contradict must not stop a program, and is no empty payload.
    #[test]
    fn lengths_that_contradict_each_other_wrap() {
        let short = Packet::ipv4(5, 30, IPPROTO_TCP).tcp(5, ACK).parse().unwrap();
        assert_eq!(short.payload_len, 0_u32.wrapping_sub(10));
        let shorter = Packet::ipv4(5, 0, IPPROTO_TCP).tcp(15, ACK).parse().unwrap();
        assert_eq!(shorter.payload_len, 0_u32.wrapping_sub(80));
        // A jumbogram (RFC 2675), as the kernel's BIG TCP makes them, says 0.
        let jumbo = Packet::ipv6(0, IPPROTO_TCP).tcp(8, ACK).parse().unwrap();
        assert_eq!(jumbo.payload_len, 0_u32.wrapping_sub(32));
    }

    /// A TCP header that cannot be read is one of zeros: the read is counted elsewhere.
    #[test]
    fn a_tcp_header_out_of_reach_is_empty() {
        let packet = Packet::ipv4(15, 80, IPPROTO_TCP).tcp(5, SYN);
        let event = parse_bytes(&packet.bytes[..62]).unwrap();
        assert_eq!((event.client_port, event.tcp_flags, event.payload_len), (0, 0, 20));
    }
}
