//! Addresses, ports and flags of a segment, from its headers. Offsets here are the wire format's
//! (RFC 791, 8200, 9293), not the kernel's.

use core::mem::MaybeUninit;

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
    ip: Ipv4,
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
        At::NetworkHeader => {
            M::exact::<u64>(skb, &SKB_HEAD) + M::exact::<u16>(skb, &SKB_NETWORK_HEADER)
        }
        At::Data => M::exact::<u64>(skb, &SKB_DATA),
    };
    let mut headers = MaybeUninit::uninit();
    if !read::fill::<Headers>(ip, &mut headers) {
        return None;
    }
    // SAFETY: the helper has written it.
    let headers = unsafe { headers.assume_init_ref() };
    let version = headers.ip.version_ihl >> 4;
    let mut tcp = headers.tcp_after_ipv4;
    let tcp_length = if version == 4 {
        let header = &headers.ip;
        if header.protocol != IPPROTO_TCP {
            return None;
        }
        let length = u32::from(header.version_ihl & 0xf) * 4;
        if length != size_of::<Ipv4>() as u32 {
            let mut at = MaybeUninit::uninit();
            read::fill::<Tcp>(ip + u64::from(length), &mut at);
            // SAFETY: as above.
            tcp = unsafe { at.assume_init() };
        }
        event.client[..4].copy_from_slice(&header.source);
        event.server[..4].copy_from_slice(&header.destination);
        u32::from(u16::from_be(header.total_length)).wrapping_sub(length)
    } else if version == 6 {
        let mut header = MaybeUninit::uninit();
        read::fill::<Ipv6>(ip, &mut header);
        // SAFETY: as above.
        let header = unsafe { header.assume_init_ref() };
        if header.next_header != IPPROTO_TCP {
            // Extension headers before TCP are not followed.
            return None;
        }
        let mut at = MaybeUninit::uninit();
        read::fill::<Tcp>(ip + size_of::<Ipv6>() as u64, &mut at);
        // SAFETY: as above.
        tcp = unsafe { at.assume_init() };
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
