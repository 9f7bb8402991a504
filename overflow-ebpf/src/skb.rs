//! What is read of a `struct sk_buff`: its headers and its network namespace.

use core::mem::MaybeUninit;

use aya_ebpf::Global;
use overflow_common::{
    Field, Loss, Plain, RawEvent,
    segment::{self, NoSegment, Source},
};

use crate::{
    globals::{
        CB_END_SEQ, CB_SEQ, DEV_NET, DST_DEV, SKB_CB, SKB_DATA, SKB_DEV, SKB_DST, SKB_HEAD,
        SKB_NETWORK_HEADER, SKB_TRANSPORT_HEADER,
    },
    losses,
    read::{self, Memory, Probed},
    sock,
};

/// `ETH_P_IP`, as it stands in `skb->protocol`.
pub const ETH_P_IP: u64 = 0x0800_u16.to_be() as u64;

/// Where the IP header of `skb` is.
#[derive(Clone, Copy)]
pub enum At {
    /// `network_header` and `transport_header` are set: in TCP, where what comes in is a segment.
    Tcp,
    /// `network_header` is, on the way out, where other protocols' packets are seen too.
    Output,
    /// `data` points at it: in `netif_receive_skb`, before the header offsets are set.
    Data,
}

/// A segment in the kernel's memory.
struct Segment {
    /// The address of its IP header.
    ip: u64,
    /// See [`Source::tcp_header`].
    tcp: u32,
    at: At,
}

impl Source for Segment {
    #[inline(always)]
    fn tcp_header(&self) -> u32 {
        self.tcp
    }

    #[inline(always)]
    fn fill<'a, T: Plain>(&self, offset: u64, place: &'a mut MaybeUninit<T>) -> (&'a T, bool) {
        read::fill(self.ip + offset, place)
    }

    #[inline(always)]
    fn refuse(&self, why: NoSegment) {
        match (why, self.at) {
            // TCP is handed nothing but IP.
            (NoSegment::NotIp, At::Tcp) => losses::count(Loss::BadHeader),
            // What a device receives or sends may be anything, ARP for one; a failed read is counted where it
            // was made.
            (NoSegment::NotIp, At::Data | At::Output)
            | (NoSegment::NotTcp | NoSegment::Unreadable, _) => {}
        }
    }
}

/// Parses the headers of `skb` into `event`, as seen from the server: the sender is the client.
/// `None` if it is no TCP segment; unreadable headers are counted.
#[inline(always)]
pub fn parse(skb: u64, at: At, event: &mut RawEvent) -> Option<()> {
    parse_by::<Probed>(skb, at, event)
}

/// As [`parse`]; `M` is how `skb` may be read.
#[inline(always)]
pub fn parse_by<M: Memory>(skb: u64, at: At, event: &mut RawEvent) -> Option<()> {
    let (ip, tcp) = match at {
        At::Tcp => {
            let ip = M::exact::<u16>(skb, &SKB_NETWORK_HEADER);
            let tcp = M::exact::<u16>(skb, &SKB_TRANSPORT_HEADER);
            (M::exact::<u64>(skb, &SKB_HEAD) + ip, tcp.wrapping_sub(ip) as u32)
        }
        At::Output => {
            (M::exact::<u64>(skb, &SKB_HEAD) + M::exact::<u16>(skb, &SKB_NETWORK_HEADER), 0)
        }
        At::Data => (M::exact::<u64>(skb, &SKB_DATA), 0),
    };
    segment::parse(&Segment { ip, tcp, at }, event)
}

/// Whether the SYN in `skb` carries data, by what TCP keeps of it beside it (`TCP_SKB_CB`): the SYN itself
/// takes one sequence number.
#[inline(always)]
pub fn syn_has_data<M: Memory>(skb: u64) -> bool {
    let of_cb =
        |field: &Global<Field>| M::exact::<u32>(skb + field.load().offset(), &SKB_CB) as u32;
    of_cb(&CB_END_SEQ).wrapping_sub(of_cb(&CB_SEQ)) != 1
}

/// Inode number of the network namespace of the device that `skb` is on.
#[inline(always)]
pub fn netns(skb: u64) -> Option<u32> {
    sock::net_inum::<Probed>(net::<Probed>(skb)?)
}

/// The `struct net` of the device that `skb` is on.
#[inline(always)]
pub fn net<M: Memory>(skb: u64) -> Option<u64> {
    net_of_device::<M>(M::pointer(skb, &SKB_DEV)?)
}

/// The `struct net` that `skb` was routed in, once it was: a container's VLAN or macvlan device hands
/// on what another namespace's device received.
#[inline(always)]
pub fn routed_net(skb: u64) -> Option<u64> {
    // SKB_DST_NOREF of include/linux/skbuff.h.
    let dst = read::field(skb, &SKB_DST)? & !1;
    if dst == 0 {
        return None;
    }
    net_of_device::<Probed>(read::field(dst, &DST_DEV)?)
}

#[inline(always)]
fn net_of_device<M: Memory>(device: u64) -> Option<u64> {
    if device == 0 { None } else { M::pointer(device, &DEV_NET) }
}
