//! What the lab saw of one cell, apart from eBPF: plain data for the witnesses.

use std::{collections::BTreeMap, net::SocketAddr};

use overflow_core::{model::scenario::Phase, packet::Packet, wire::LinkKind};

/// What a client believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// The client's own address.
    pub local: SocketAddr,
    /// Prefill or burst.
    pub phase: Phase,
    /// `Ok(nanoseconds)` from `connect()` to established, or how `connect()` ended: an errno name
    /// such as `ECONNRESET`, or `pending` at the end of the hold.
    pub connect: Result<u64, String>,
    /// TCP state by `TCP_INFO` at the end of the hold, in `ss` words (`ESTABLISHED`, `SYN_SENT`,
    /// `CLOSE`), or [`CRAFTED`](Self::CRAFTED).
    pub state: String,
    /// The pending socket error at the end of the hold, an errno name, if any.
    pub error: Option<String>,
}

impl ClientView {
    /// The state of a client that is no socket: its segments were made by hand.
    pub(crate) const CRAFTED: &str = "crafted";

    /// Whether its segments were made by hand, so that nobody believes anything.
    pub(crate) fn is_crafted(&self) -> bool {
        self.state == Self::CRAFTED
    }
}

/// One socket of the server's namespace by `sock_diag`, at the end of the hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSocket {
    /// The client's address.
    pub peer: SocketAddr,
    /// State in `ss` words: `ESTABLISHED` (in the accept queue), `SYN_RECV` (a request).
    pub state: String,
    /// SYN-ACK or data retransmissions (`idiag_retrans`).
    pub retransmits: u8,
}

/// The listener by `sock_diag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerQueue {
    /// Accept queue length (`ss` Recv-Q).
    pub recv_q: u32,
    /// Accept queue limit (`ss` Send-Q).
    pub send_q: u32,
}

/// Points in time, CLOCK_MONOTONIC nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Just before the first `connect()` of the burst.
    pub burst: u64,
    /// End of the hold: views and counters were read here.
    pub hold_end: u64,
    /// The listener was closed here.
    pub close: u64,
}

/// Everything the lab saw of one cell, apart from eBPF.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The server's address.
    pub server: SocketAddr,
    /// Every client, prefill first, then burst in order of `connect()`.
    pub clients: Vec<ClientView>,
    /// The server's sockets at the end of the hold.
    pub server_sockets: Vec<ServerSocket>,
    /// The listener's queue before the burst and at the end of the hold.
    pub queue: (ListenerQueue, ListenerQueue),
    /// Deltas of the namespace's TcpExt and Tcp counters by their `nstat` names without prefix
    /// (`ListenOverflows`, `OutRsts`), from before the prefill to the end of the hold; zero deltas
    /// included.
    pub counters: BTreeMap<String, u64>,
    /// Packets at the server's interface, in order, up to after the close.
    pub packets: Vec<Packet>,
    /// Packets the capture lost by its own account; 0 is a precondition for the packet witness.
    pub capture_drops: u64,
    /// Packets the link itself lost (full device queue, full delay line, failed write); 0 is a
    /// precondition for every conclusion about who dropped what.
    pub link_drops: u64,
    /// How the delay was made.
    pub link: LinkKind,
    /// What a reader must know to judge this observation, one sentence each: why the link is not
    /// the preferred one, that a source was missing and what stood in for it.
    pub notes: Vec<String>,
    /// Whether sysctls that the cell sets are the whole host's on this kernel, as before v4.15.
    pub global_sysctls: bool,
    /// Whether every SYN of the burst reached the server before the first third ACK of the burst,
    /// and every step of a script came in time; otherwise this is another experiment than the one
    /// asked for.
    pub concurrent: bool,
    /// How often the cell was run until the burst was concurrent; 1 is the normal case.
    pub attempts: u32,
    /// When what happened.
    pub timeline: Timeline,
}
