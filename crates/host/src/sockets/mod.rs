//! The TCP sockets of the calling thread's network namespace, connection requests included: by
//! `sock_diag`, or from procfs on kernels without it.

pub mod procfs;
pub mod sock_diag;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use overflow_core::tcp_state::TcpState;

/// Which sockets: those of one address family each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`; among them those of IPv4 connections to an IPv6 listener.
    V6,
}

impl Family {
    /// The family of sockets with this address.
    pub(crate) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv6() { Self::V6 } else { Self::V4 }
    }
}

/// A TCP socket or request. IPv4-mapped addresses are IPv4: so are their segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// This side.
    pub local: SocketAddr,
    /// The other side; all zero for a listener.
    pub peer: SocketAddr,
    /// State as numbered in include/net/tcp_states.h.
    pub state: u8,
    /// Retransmissions of the SYN-ACK or of data.
    pub retransmits: u8,
    /// `idiag_rqueue`: for a listener the accept queue's length.
    pub recv_q: u32,
    /// `idiag_wqueue`: for a listener the accept queue's limit, which procfs does not show.
    pub send_q: Option<u32>,
    /// The socket's inode; 0 for a request.
    pub inode: u64,
    /// Who made it.
    pub uid: u32,
    /// Whether an IPv6 socket takes no IPv4; procfs does not show it.
    pub v6only: bool,
    /// `sk_drops`, if it was asked for.
    pub drops: Option<u32>,
    /// The control group it was made in, where the kernel shows it.
    pub cgroup_id: Option<u64>,
}

impl TcpSocket {
    /// Whether this is a listener.
    pub fn is_listener(&self) -> bool {
        self.state == TcpState::Listen.number()
    }
}

/// Whether this error of `sock_diag` says that it is not there: `inet_diag` can be a module that
/// cannot be loaded here, or built without this family (ENOENT); without even
/// `NETLINK_SOCK_DIAG` it is EPROTONOSUPPORT.
pub fn is_unavailable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EPROTONOSUPPORT))
}
