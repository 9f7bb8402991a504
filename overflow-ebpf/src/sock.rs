//! Which fields of `struct sock`, `struct request_sock` and `struct net` are read.

use overflow_common::{Queue, RawEvent, valid};

use crate::{
    globals::{
        ICSK_DEFER_ACCEPT, ICSK_FASTOPEN_LEN, ICSK_FASTOPEN_MAX, ICSK_QLEN, ICSK_YOUNG, INET_SPORT,
        NET_ABORT_ON_OVERFLOW, NET_FASTOPEN, NET_INUM, NET_SYNCOOKIES, REQ_NUM_RETRANS,
        REQ_NUM_TIMEOUT, REQ_RCV_NXT, REQ_RCV_WND, SOCK_ACK_BACKLOG, SOCK_DADDR, SOCK_DPORT,
        SOCK_FAMILY, SOCK_MAX_ACK_BACKLOG, SOCK_NET, SOCK_NUM, SOCK_RCV_SADDR, SOCK_SOCKET,
        SOCK_STATE, SOCK_V6_DADDR, SOCK_V6_RCV_SADDR, SOCKET_INO,
    },
    read::{self, Memory, Probed},
};

/// `AF_INET6` of include/linux/socket.h, as in `skc_family`.
pub const AF_INET6: u64 = 10;

/// `sk_state`; 0 if it cannot be read.
#[inline(always)]
pub fn state<M: Memory>(sk: u64) -> u8 {
    M::field(sk, &SOCK_STATE).unwrap_or(0) as u8
}

/// Local port, host order.
#[inline(always)]
pub fn local_port<M: Memory>(sk: u64) -> Option<u16> {
    Some(M::field(sk, &SOCK_NUM)? as u16)
}

/// Local address of `sk`, its 4 or 16 bytes into `to`, which must be zeros. 4 or 6, its IP version.
#[inline(always)]
pub fn local_address(sk: u64, to: &mut [u8; 16]) -> Option<u8> {
    if read::field(sk, &SOCK_FAMILY)? == AF_INET6 {
        read::into(read::address(sk, &SOCK_V6_RCV_SADDR)?, to);
        return Some(6);
    }
    let address = read::field(sk, &SOCK_RCV_SADDR)? as u32;
    to[..4].copy_from_slice(&address.to_ne_bytes());
    Some(4)
}

/// Inode number of the socket's network namespace.
#[inline(always)]
pub fn netns<M: Memory>(sk: u64) -> Option<u32> {
    net_inum::<M>(M::pointer(sk, &SOCK_NET)?)
}

/// Inode number of a `struct net`.
#[inline(always)]
pub fn net_inum<M: Memory>(net: u64) -> Option<u32> {
    Some(M::field(net, &NET_INUM)? as u32)
}

/// Inode number of the socket that `sk` is the inside of; 0 if it has none: a child that nobody has
/// accepted, or one that was closed.
#[inline(always)]
pub fn inode<M: Memory>(sk: u64) -> u32 {
    match M::pointer(sk, &SOCK_SOCKET) {
        // sock_alloc_inode (net/socket.c) makes both in one `struct socket_alloc`, the socket first.
        Some(socket) if socket != 0 => read::field(socket, &SOCKET_INO).unwrap_or(0) as u32,
        _ => 0,
    }
}

/// Both queues of a listener, and which of the values could be read.
#[inline(always)]
pub fn queue<M: Memory>(listener: u64) -> (Queue, u16) {
    let mut queue = Queue::default();
    let mut read = 0;
    if let (Some(len), Some(max)) =
        (M::field(listener, &SOCK_ACK_BACKLOG), M::field(listener, &SOCK_MAX_ACK_BACKLOG))
    {
        queue.ack_backlog = len as u32;
        queue.max_ack_backlog = max as u32;
        read |= valid::ACCEPT_QUEUE;
    }
    let listener = M::tcp_sock(listener);
    if listener == 0 {
        return (queue, read);
    }
    if let Some(qlen) = M::field(listener, &ICSK_QLEN) {
        queue.qlen = qlen as u32;
        read |= valid::SYN_QUEUE;
    }
    if let Some(young) = M::field(listener, &ICSK_YOUNG) {
        queue.young = young as u32;
        read |= valid::YOUNG;
    }
    (queue, read)
}

/// `TFO_SERVER_ENABLE` of include/net/tcp.h, in `net.ipv4.tcp_fastopen`.
const TFO_SERVER_ENABLE: u64 = 2;

/// Whether as many Fast Open children of the listener wait for their third ACK as it allows
/// (`tcp_fastopen_queue_check`).
#[inline(always)]
pub fn fastopen_full(listener: u64) -> bool {
    let (Some(len), Some(max), Some(net)) = (
        read::field(listener, &ICSK_FASTOPEN_LEN),
        read::field(listener, &ICSK_FASTOPEN_MAX),
        read::field(listener, &SOCK_NET),
    ) else {
        return false;
    };
    let enabled = read::field(net, &NET_FASTOPEN).unwrap_or(0) & TFO_SERVER_ENABLE;
    max != 0 && len >= max && enabled != 0
}

/// Whether the listener asked for Fast Open.
#[inline(always)]
pub fn has_fastopen(listener: u64) -> bool {
    matches!(read::field(listener, &ICSK_FASTOPEN_MAX), Some(1..))
}

/// The sysctls of the listener's namespace and its defer-accept setting, into `event`.
#[inline(always)]
pub fn settings<M: Memory>(listener: u64, event: &mut RawEvent) {
    if let Some(net) = M::pointer(listener, &SOCK_NET) {
        if let Some(value) = M::field(net, &NET_ABORT_ON_OVERFLOW) {
            event.abort_on_overflow = value as u8;
            event.valid |= valid::ABORT_ON_OVERFLOW;
        }
        if let Some(value) = M::field(net, &NET_SYNCOOKIES) {
            event.syncookies = value as u8;
            event.valid |= valid::SYNCOOKIES;
        }
    }
    let listener = M::tcp_sock(listener);
    if listener != 0
        && let Some(value) = M::field(listener, &ICSK_DEFER_ACCEPT)
    {
        event.defer_accept = value as u8;
        event.valid |= valid::DEFER_ACCEPT;
    }
}

/// Timeouts and retransmissions of a request, and what it expects, into `event`.
#[inline(always)]
pub fn request<M: Memory>(req: u64, event: &mut RawEvent) {
    event.req = req;
    if let (Some(next), Some(window)) =
        (read::field(req, &REQ_RCV_NXT), M::field(req, &REQ_RCV_WND))
    {
        event.rcv_nxt = next as u32;
        event.rcv_wnd = window as u32;
        event.valid |= valid::WINDOW;
    }
    if let (Some(timeouts), Some(retrans)) =
        (M::field(req, &REQ_NUM_TIMEOUT), M::field(req, &REQ_NUM_RETRANS))
    {
        event.num_timeout = timeouts as u8;
        event.num_retrans = retrans as u8;
        event.valid |= valid::NUM_TIMEOUT;
    }
}

/// As [`tuple`], of a child that may be closing: `tcp_set_state(TCP_CLOSE)` gives its port back
/// (`inet_put_port`), which clears `skc_num`; `inet_sport` stays.
#[inline(always)]
pub fn child_tuple(child: u64, event: &mut RawEvent) -> Option<()> {
    event.server_port = u16::from_be(read::field(child, &INET_SPORT)? as u16);
    tuple(child, event)
}

/// The peer and local address of `sk` (a child, or a request, whose `sock_common` is alike), seen
/// from the server: the peer is the client. And its network namespace.
#[inline(always)]
pub fn tuple(sk: u64, event: &mut RawEvent) -> Option<()> {
    event.netns = netns::<Probed>(sk)?;
    ends::<Probed>(sk, event)
}

/// As [`tuple`], without the namespace.
#[inline(always)]
pub fn ends<M: Memory>(sk: u64, event: &mut RawEvent) -> Option<()> {
    event.client_port = u16::from_be(M::exact::<u16>(sk, &SOCK_DPORT) as u16);
    if event.server_port == 0 {
        event.server_port = local_port::<M>(sk)?;
    }
    let v6 = M::field(sk, &SOCK_FAMILY)? == AF_INET6;
    if v6 && let Some(daddr) = read::address(sk, &SOCK_V6_DADDR) {
        let mapped = address(daddr, &mut event.client);
        address(read::address(sk, &SOCK_V6_RCV_SADDR)?, &mut event.server);
        event.family = if mapped { 4 } else { 6 };
    } else {
        let client = M::exact::<u32>(sk, &SOCK_DADDR) as u32;
        let server = M::field(sk, &SOCK_RCV_SADDR)? as u32;
        event.client[..4].copy_from_slice(&client.to_ne_bytes());
        event.server[..4].copy_from_slice(&server.to_ne_bytes());
        event.family = 4;
    }
    Some(())
}

/// The IPv6 address at `place`; true, and the IPv4 address in it, if it is `::ffff:a.b.c.d`: such a
/// connection of a dual-stack listener is the IPv4 connection that its segments show.
///
/// By words: what is copied byte by byte from the stack, 5.10's verifier refuses.
#[inline(always)]
fn address(place: u64, to: &mut [u8; 16]) -> bool {
    let mut words = [0_u64; 2];
    read::into(place, &mut words);
    let low = u64::from_be(words[1]);
    let mapped = words[0] == 0 && low >> 32 == 0xffff;
    if mapped {
        to[..4].copy_from_slice(&(low as u32).to_be_bytes());
    } else {
        to[..8].copy_from_slice(&words[0].to_ne_bytes());
        to[8..].copy_from_slice(&words[1].to_ne_bytes());
    }
    mapped
}
