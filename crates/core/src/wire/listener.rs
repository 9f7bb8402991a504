//! `listener`: one listener in sum, of the lab, of a trace, or as it stands.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{Clients, Counts, Owner, VERSION};

/// A `listener` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener<'a> {
    /// Format version.
    pub v: u32,
    /// The cell's name; absent outside the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Cow<'a, str>>,
    /// Address and port, as `ss` writes them.
    pub server: Cow<'a, str>,
    /// Accept queue length before the burst, connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recv_q_before: Option<u32>,
    /// Accept queue length, `ss` Recv-Q, connections.
    pub recv_q: u32,
    /// Accept queue limit, `ss` Send-Q, connections.
    pub send_q: u32,
    /// Handshakes or events by verdict.
    pub verdicts: Counts<'a>,
    /// Counter deltas of its namespace, zeroes left out; absent outside the lab.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: Counts<'a>,
    /// Inode number of its network namespace; this and what follows is absent in the lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// What a trace saw there.
    #[serde(flatten)]
    pub traced: Option<Traced<'a>>,
    /// The socket, as `overflow listeners` sees it.
    #[serde(flatten)]
    pub socket: Option<Socket<'a>>,
    /// Who holds it, `null` if nobody visible does.
    #[serde(default, deserialize_with = "super::present", skip_serializing_if = "Option::is_none")]
    pub owner: Option<Option<Owner<'a>>>,
    /// Settings of its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<Counts<'a>>,
    /// What this kernel will do when the queues are full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_overflow: Option<Cow<'a, str>>,
    /// What somebody should know or do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Vec<String>>,
}

/// What a trace saw at a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced<'a> {
    /// End of the interval, CLOCK_MONOTONIC nanoseconds; absent over all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_ns: Option<u64>,
    /// Length of the interval, or of all the time, milliseconds.
    pub duration_ms: u64,
    /// Events that the kernel counts as `ListenOverflows`.
    pub overflows: u64,
    /// Connections that their client believed established while the server had none.
    pub phantoms: u64,
    /// Clients that were hurt; earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients<'a>>,
    /// Longest accept queue seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recv_q_max: Option<u32>,
    /// Longest SYN queue seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_queue_max: Option<u32>,
    /// SYN-ACKs sent again.
    pub synack_retransmits: u64,
    /// Children taken by accept().
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts: Option<u64>,
    /// When the accept queue was full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Full>,
    /// From the way into the accept queue to accept().
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_wait: Option<QueueWait>,
    /// Socket inodes of the listeners at that address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inodes: Vec<u64>,
    /// How many sockets that are gone are counted together; absent where each is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<u64>,
    /// Of a `SO_REUSEPORT` group, each of it; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member<'a>>,
}

/// What happened at a member of a `SO_REUSEPORT` group. All of them together are the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member<'a> {
    /// Inode number of its socket; absent where these are events of which that is not known, or of
    /// sockets that are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// How many sockets that are gone are counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<u64>,
    /// Accept queue length and limit, connections; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recv_q: Option<u32>,
    /// See `recv_q`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_q: Option<u32>,
    /// Events by verdict.
    pub verdicts: Counts<'a>,
    /// Events that the kernel counts as `ListenOverflows`.
    pub overflows: u64,
    /// Connections that their client believed established while the server had none.
    pub phantoms: u64,
    /// Clients that were hurt; earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients<'a>>,
    /// Longest accept queue seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recv_q_max: Option<u32>,
    /// When the accept queue was full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Full>,
    /// Who holds it, `null` if nobody visible does.
    pub owner: Option<Owner<'a>>,
}

/// When the accept queue was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {
    /// How often it became so.
    pub times: u64,
    /// For how long in all, nanoseconds.
    pub total_ns: u64,
    /// For how long at most, nanoseconds.
    pub longest_ns: u64,
    /// Whether it is.
    pub now: bool,
}

/// Time in the accept queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueWait {
    /// Children that were taken.
    pub count: u64,
    /// Their time together, nanoseconds.
    pub total_ns: u64,
    /// How many waited less than so many microseconds, and no less than half of it.
    pub below_us: BTreeMap<String, u64>,
}

/// A listening socket as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket<'a> {
    /// Its namespace's name in the file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns_name: Option<Cow<'a, str>>,
    /// Its inode.
    pub inode: u64,
    /// The user that opened it.
    pub uid: u32,
    /// Requests in SYN_RECV.
    pub syn_recv: u32,
    /// Requests at which this kernel holds the SYN queue for full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_queue_limit: Option<u32>,
    /// `sk_drops`: segments dropped there since it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops: Option<u32>,
    /// Listeners that share the address.
    pub reuseport_group: u32,
}

impl<'a> Listener<'a> {
    /// A listener with its queue and nothing else.
    pub fn new(server: Cow<'a, str>, recv_q: u32, send_q: u32) -> Self {
        Self {
            v: VERSION,
            run: None,
            server,
            recv_q_before: None,
            recv_q,
            send_q,
            verdicts: Counts::new(),
            counters: Counts::new(),
            netns: None,
            traced: None,
            socket: None,
            owner: None,
            sysctls: None,
            on_overflow: None,
            advice: None,
        }
    }
}
