//! A listening socket as the kernel shows it to user space.

use std::net::{IpAddr, SocketAddr};

use overflow_common::Opener;
use serde::{Deserialize, Serialize};

use crate::owner::{Owner, Process};

/// A listener, its queues, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Where it listens; the address is unspecified for every local address.
    pub local: SocketAddr,
    /// `IPV6_V6ONLY`: a listener on `::` without it takes IPv4 connections too.
    pub v6only: bool,
    /// Inode number of the socket, as in `/proc/PID/fd`.
    pub inode: u64,
    /// User that opened it.
    pub uid: u32,
    /// Accept queue length, connections (`ss` Recv-Q, `sk_ack_backlog`).
    pub recv_q: u32,
    /// Accept queue limit, connections (`ss` Send-Q, `sk_max_ack_backlog`); it is full above it.
    pub send_q: Option<u32>,
    /// Requests in SYN_RECV that arrived for it, if they were counted; those of a group of
    /// `SO_REUSEPORT` listeners are shown for each of the group, since nothing tells them apart.
    pub syn_recv: Option<u32>,
    /// `sk_drops`: what was dropped at this socket since it was opened, overflows among it.
    pub drops: Option<u32>,
    /// Id of the v2 control group that opened it.
    pub cgroup_id: Option<u64>,
    /// How many listeners share its address and port (`SO_REUSEPORT`); 1 for most.
    pub group: u32,
    /// Who holds it; `None` if nobody visible does.
    pub owner: Option<Owner>,
}

impl Listener {
    /// A listener that no look found, as it was when somebody called `listen()`: `now` is what
    /// `/proc` shows of that process. `port` is that of a segment for it, where the socket had none
    /// yet.
    pub fn opened(
        (netns, ino): (u32, u32),
        opener: &Opener,
        port: u16,
        now: Option<Process>,
    ) -> Self {
        let port = if opener.port == 0 { port } else { opener.port };
        let [a, b, c, d, ..] = opener.address;
        let ip = match opener.family {
            6 => IpAddr::from(opener.address),
            _ => IpAddr::from([a, b, c, d]),
        };
        Self {
            netns,
            local: SocketAddr::new(ip, port),
            v6only: opener.v6only != 0,
            inode: ino.into(),
            uid: opener.uid,
            recv_q: 0,
            send_q: None,
            syn_recv: None,
            drops: None,
            cgroup_id: None,
            group: 1,
            owner: Some(Owner::called_listen(opener, now)),
        }
    }

    /// Whether connections to `server` can be this listener's, and how well its address matches:
    /// the kernel takes the best match (`inet_lookup_listener`, `compute_score`).
    pub fn matches(&self, server: SocketAddr) -> Option<u8> {
        if self.local.port() != server.port() {
            return None;
        }
        match (self.local.ip(), server.ip()) {
            (mine, theirs) if mine == theirs => Some(2),
            (IpAddr::V4(mine), IpAddr::V4(_)) if mine.is_unspecified() => Some(1),
            (IpAddr::V6(mine), IpAddr::V6(_)) if mine.is_unspecified() => Some(1),
            (IpAddr::V6(mine), IpAddr::V4(_)) if mine.is_unspecified() && !self.v6only => Some(0),
            _ => None,
        }
    }

    /// Whether both listen at one address, as those of a `SO_REUSEPORT` group do.
    pub fn shares_address(&self, other: &Self) -> bool {
        (self.netns, self.local, self.v6only) == (other.netns, other.local, other.v6only)
    }

    /// `ss`'s way to write it: `*:8080`, `127.0.0.1:80`, `[::]:22`.
    pub fn place(&self) -> String {
        place(self.local, self.v6only)
    }

    /// Whether the accept queue is full or holds as many as were asked for; it takes one more.
    pub fn at_limit(&self) -> bool {
        self.recv_q > 0 && self.send_q.is_some_and(|limit| self.recv_q >= limit)
    }

    /// Whether so many requests are in SYN_RECV, or more, that the SYN queue is full at `limit`, as far
    /// as both are known.
    pub fn syn_queue_full(&self, limit: Option<u32>) -> bool {
        self.syn_recv.zip(limit).is_some_and(|(requests, limit)| limit > 0 && requests >= limit)
    }

    /// Whether the accept queue is full: `sk_ack_backlog > sk_max_ack_backlog`.
    pub fn full(&self) -> bool {
        self.send_q.is_some_and(|limit| self.recv_q > limit)
    }
}

fn place(local: SocketAddr, v6only: bool) -> String {
    match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("0.0.0.0:{}", local.port()),
        IpAddr::V6(ip) if ip.is_unspecified() && !v6only => format!("*:{}", local.port()),
        _ => local.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample::listener, *};

    #[test]
    fn the_best_address_matches_best() {
        let score = |local: &str, server: &str| listener(local).matches(server.parse().unwrap());
        assert_eq!(score("10.0.0.1:80", "10.0.0.1:80"), Some(2));
        assert_eq!(score("0.0.0.0:80", "10.0.0.1:80"), Some(1));
        assert_eq!(score("[::]:80", "10.0.0.1:80"), Some(0));
        assert_eq!(score("[::]:80", "[fd00::1]:80"), Some(1));
        assert_eq!(score("10.0.0.2:80", "10.0.0.1:80"), None);
        assert_eq!(score("0.0.0.0:80", "[fd00::1]:80"), None);
        assert_eq!(score("0.0.0.0:81", "10.0.0.1:80"), None);
        let v6only = Listener { v6only: true, ..listener("[::]:80") };
        assert_eq!(v6only.matches("10.0.0.1:80".parse().unwrap()), None);
    }

    #[test]
    fn a_listener_is_known_by_what_was_noted_at_listen() {
        let opener = Opener { port: 80, family: 4, pid: 7, ..Opener::default() };
        let found = Listener::opened((1, 33), &opener, 8080, None);
        assert_eq!((found.netns, found.inode, &*found.place()), (1, 33, "0.0.0.0:80"));
        assert_eq!(found.owner.unwrap().pids, [7]);
        // It was not bound; and `IPV6_V6ONLY` is the only thing that ss writes otherwise.
        let opener = Opener { port: 0, family: 6, ..opener };
        assert_eq!(Listener::opened((1, 33), &opener, 8080, None).place(), "*:8080");
        let opener = Opener { v6only: 1, ..opener };
        assert_eq!(Listener::opened((1, 33), &opener, 8080, None).place(), "[::]:8080");
    }

    #[test]
    fn places_are_written_as_by_ss() {
        assert_eq!(listener("[::]:80").place(), "*:80");
        assert_eq!(listener("0.0.0.0:80").place(), "0.0.0.0:80");
        assert_eq!(Listener { v6only: true, ..listener("[::]:80") }.place(), "[::]:80");
    }
}
