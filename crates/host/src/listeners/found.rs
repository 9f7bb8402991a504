//! A listening socket as one namespace shows it, before its owner is known.

use std::net::SocketAddr;

/// A listener of the namespace that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) local: SocketAddr,
    pub(super) v6only: bool,
    pub(super) inode: u64,
    pub(super) uid: u32,
    pub(super) recv_q: u32,
    pub(super) send_q: Option<u32>,
    pub(super) drops: Option<u32>,
    pub(super) cgroup_id: Option<u64>,
}
