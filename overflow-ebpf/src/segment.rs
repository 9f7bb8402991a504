//! Addresses, ports and flags of a segment, from its headers. Offsets here are the wire format's
//! (RFC 791, 8200, 9293), not the kernel's.

use overflow_common::{Event, Loss, valid};

use crate::{
    emit,
    globals::{DEV_NET, SKB_DATA, SKB_DEV, SKB_HEAD, SKB_NETWORK_HEADER},
    read::{self, Memory, Probed},
    sock,
};

const IPPROTO_TCP: u8 = 6;

/// TCP header flags.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// ACK.
pub const ACK: u8 = 0x10;

#[repr(C)]
#[derive(Clone, Copy)]
struct Ipv4 {
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
struct Ipv6 {
    version_class: [u8; 4],
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

/// What one read gets: enough of most segments, those of IPv4 without options.
#[repr(C)]
#[derive(Clone, Copy)]
struct Headers {
    ip: [u8; size_of::<Ipv4>()],
    tcp_after_ipv4: Tcp,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Tcp {
    source: u16,
    destination: u16,
    seq: u32,
    ack_seq: u32,
    offset: u8,
    flags: u8,
}

impl Headers {
    const EMPTY: Self = Self {
        ip: [0; size_of::<Ipv4>()],
        tcp_after_ipv4: Tcp { source: 0, destination: 0, seq: 0, ack_seq: 0, offset: 0, flags: 0 },
    };
}

impl Ipv6 {
    const EMPTY: Self = Self {
        version_class: [0; 4],
        payload_length: 0,
        next_header: 0,
        hop_limit: 0,
        source: [0; 16],
        destination: [0; 16],
    };
}

/// Where the IP header of `skb` is.
#[derive(Clone, Copy)]
pub enum At {
    /// `network_header` is set: anywhere above the IP layer, and on the way out.
    NetworkHeader,
    /// `data` points at it: in `netif_receive_skb`, before the header offsets are set.
    Data,
}

/// Parses the headers of `skb` into `event`, as seen from the server: the sender is the client.
/// `None` if it is no TCP segment; unreadable headers are counted.
#[inline(always)]
pub fn parse(skb: u64, at: At, event: &mut Event) -> Option<()> {
    parse_by::<Probed>(skb, at, event)
}

/// As [`parse`]; `M` is how `skb` may be read.
#[inline(always)]
pub fn parse_by<M: Memory>(skb: u64, at: At, event: &mut Event) -> Option<()> {
    let ip = match at {
        At::NetworkHeader => M::word(skb, &SKB_HEAD)? + M::word(skb, &SKB_NETWORK_HEADER)?,
        At::Data => M::word(skb, &SKB_DATA)?,
    };
    let mut headers = Headers::EMPTY;
    if !read::into(ip, &mut headers) {
        return None;
    }
    let version = headers.ip[0] >> 4;
    let mut tcp = headers.tcp_after_ipv4;
    let tcp_length = if version == 4 {
        // SAFETY: plain bytes, long enough, of a structure without padding or alignment.
        let header: Ipv4 = unsafe { headers.ip.as_ptr().cast::<Ipv4>().read_unaligned() };
        if header.protocol != IPPROTO_TCP {
            return None;
        }
        let length = u32::from(header.version_ihl & 0xf) * 4;
        if length != size_of::<Ipv4>() as u32 {
            read::into(ip + u64::from(length), &mut tcp);
        }
        event.client[..4].copy_from_slice(&header.source);
        event.server[..4].copy_from_slice(&header.destination);
        u32::from(u16::from_be(header.total_length)).wrapping_sub(length)
    } else if version == 6 {
        let mut header = Ipv6::EMPTY;
        read::into(ip, &mut header);
        if header.next_header != IPPROTO_TCP {
            // Extension headers before TCP are not followed.
            return None;
        }
        read::into(ip + size_of::<Ipv6>() as u64, &mut tcp);
        event.client = header.source;
        event.server = header.destination;
        u32::from(u16::from_be(header.payload_length))
    } else {
        // What a device receives need not be IP (ARP); what TCP is handed must be.
        if matches!(at, At::NetworkHeader) {
            emit::count(Loss::BadHeader);
        }
        return None;
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

/// Inode number of the network namespace of the device that `skb` is on.
#[inline(always)]
pub fn netns(skb: u64) -> Option<u32> {
    let device = read::field(skb, &SKB_DEV)?;
    if device == 0 {
        return None;
    }
    sock::net_inum(read::field(device, &DEV_NET)?)
}
