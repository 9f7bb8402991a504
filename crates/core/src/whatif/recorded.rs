//! What a recording holds of each listener: clients, accepts, settings.

use std::net::SocketAddr;

use super::fate::Fate;
use crate::{listeners::Sysctls, model::processor::Costs, syn_limit::SynQueueLimit};

/// A recording, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// `uname -r` of the recording machine.
    pub kernel: String,
    /// What its SYN queue limit was seen to be.
    pub syn_queue_limit: Option<SynQueueLimit>,
    /// Every address that a client came to, by network namespace and address.
    pub places: Vec<Place>,
    /// How the clients' SYN timers back off, where it was seen: `true` for those of a kernel since 6.5
    /// (`tcp_syn_linear_timeouts`).
    pub linear_syns: Option<bool>,
    /// When `jiffies` was a multiple of 4096, CLOCK_MONOTONIC nanoseconds; `None` where it is
    /// not known.
    pub jiffies_ns: Option<i64>,
    /// From one segment to the next where they came as fast as they were worked off, nanoseconds; 0 where
    /// they never did.
    pub spacing_ns: u64,
    /// The same by what was done with a segment.
    pub costs: Costs,
    /// Processors of the recording machine, where they are known.
    pub processors: Option<u32>,
    /// Records that were lost.
    pub lost: u64,
    /// Clients that began before the recording.
    pub begun_before: u64,
    /// Gaps after which it begins anew: all this is of what came after the last one.
    pub gaps: u64,
}

/// An address that is listened at, by one socket or by an `SO_REUSEPORT` group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Where it listens, as `ss` writes it.
    pub local: String,
    /// Its port.
    pub port: u16,
    /// Who holds it, in short; empty where nobody is known.
    pub owner: String,
    /// The namespace's settings.
    pub sysctls: Sysctls,
    /// The sockets.
    pub members: Vec<Member>,
    /// From the first to the last moment of the recording, CLOCK_MONOTONIC nanoseconds.
    pub period_ns: (u64, u64),
}

/// One listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// `sk_max_ack_backlog` as last read.
    pub max_ack_backlog: u32,
    /// Whether it was another one before.
    pub limit_changed: bool,
    /// `rskq_defer_accept`, SYN-ACK timeouts; 0 is off.
    pub defer_accept: u8,
    /// Its clients, by their first SYN.
    pub clients: Vec<Arrived>,
    /// When the application took connections.
    pub accepts: Accepts,
    /// Connections in its accept queue when the recording began.
    pub waiting_before: u32,
    /// When it was closed with connections in its queue, CLOCK_MONOTONIC nanoseconds.
    pub closed_ns: Option<u64>,
}

/// When the application took connections, ascending, CLOCK_MONOTONIC nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// Each at the latest then.
    pub latest_ns: Vec<u64>,
    /// Each at the earliest then; the same where `accept()` was traced.
    pub earliest_ns: Vec<u64>,
    /// Each then, most likely.
    pub likely_ns: Vec<u64>,
    /// Whether `accept()` itself was traced. Otherwise the queue's length at each segment shows how
    /// many were taken since the one before.
    pub traced: bool,
}

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its address.
    pub client: SocketAddr,
    /// When its first SYN came, CLOCK_MONOTONIC nanoseconds.
    pub syn_ns: u64,
    /// From a SYN that was answered to its third ACK, nanoseconds.
    pub rtt_ns: Option<u64>,
    /// Whether it sent data before the server had taken it.
    pub sent_data: bool,
    /// When its child entered the accept queue, CLOCK_MONOTONIC nanoseconds.
    pub child_ns: Option<u64>,
    /// What became of it by the end.
    pub fate: Fate,
}
