//! The socket options that no library wraps.

use std::{io, os::fd::AsFd};

use nix::{
    getsockopt_impl, setsockopt_impl, sockopt_impl,
    sys::socket::{getsockopt, setsockopt},
};

use crate::{LabError, ListenerQueue, error::During};

sockopt_impl!(
    /// The first 32 bytes of `struct tcp_info` (include/uapi/linux/tcp.h); the kernel copies as
    /// much as it is asked for, and these have not moved since 2.6.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u8; 32]
);

sockopt_impl!(
    /// `struct tpacket_stats`: packets seen and dropped since the last reading.
    PacketStatistics,
    GetOnly,
    libc::SOL_PACKET,
    libc::PACKET_STATISTICS,
    [u32; 2]
);

sockopt_impl!(
    /// Seconds a bare third ACK is ignored for; the kernel turns them into SYN-ACK timeouts
    /// (`secs_to_retrans` in net/ipv4/tcp.c).
    DeferAccept,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    i32
);

sockopt_impl!(
    /// The most fast-open children that may wait for their third ACK.
    FastOpen,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_FASTOPEN,
    i32
);

/// Has a listener ignore bare third ACKs for `seconds`.
pub(crate) fn set_defer_accept(socket: &impl AsFd, seconds: u32) -> io::Result<()> {
    Ok(setsockopt(socket, DeferAccept, &seconds.cast_signed())?)
}

/// Lets a listener make up to `max` children at their SYN.
pub(crate) fn set_fast_open(socket: &impl AsFd, max: u32) -> io::Result<()> {
    Ok(setsockopt(socket, FastOpen, &max.cast_signed())?)
}

/// A socket's TCP state (`tcpi_state`), as numbered in include/net/tcp_states.h.
pub(crate) fn tcp_state(socket: &impl AsFd) -> Result<u8, LabError> {
    let info = getsockopt(socket, TcpInfo).during("reading TCP_INFO")?;
    Ok(info[0])
}

/// A listener's queue: the kernel reports it as `tcpi_unacked` and `tcpi_sacked`
/// (`tcp_get_info` in net/ipv4/tcp.c, since 2.6.29).
pub(crate) fn listener_queue(socket: &impl AsFd) -> Result<ListenerQueue, LabError> {
    let info = getsockopt(socket, TcpInfo).during("reading TCP_INFO of the listener")?;
    let word = |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
    Ok(ListenerQueue { recv_q: word(24), send_q: word(28) })
}

/// Packets a capture socket dropped since this was last asked.
pub(crate) fn capture_drops(socket: &impl AsFd) -> Result<u64, LabError> {
    let [_seen, drops] =
        getsockopt(socket, PacketStatistics).during("reading PACKET_STATISTICS")?;
    Ok(u64::from(drops))
}
