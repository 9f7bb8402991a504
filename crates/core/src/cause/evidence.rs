//! What two looks at a listener and its holders showed, a short time apart.

use serde::{Deserialize, Serialize};

use super::task::{Holder, Waiter};
use crate::listeners::{Listener, Sysctls};

/// Who waits for `accept()` for longer waits for a server that does not call it.
const LONG_NS: u64 = 1_000_000_000;

/// Everything that was read about one listener. What could not be read is `None` or missing, and
/// [`Self::unread`] says why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When the second reading was finished, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// From the first reading of each thread to the second, nanoseconds.
    pub apart_ns: u64,
    /// The listener at the second reading, with its owner.
    pub listener: Listener,
    /// Its accept queue between the readings, in order of time.
    pub queue: Vec<QueueSample>,
    /// The connections that wait for `accept()`; `None` where they cannot be told apart from those
    /// of other listeners.
    pub waiting: Option<Waiting>,
    /// What its namespace's counters rose by between the readings.
    pub rises: Option<Rises>,
    /// Requests in SYN_RECV that got their SYN-ACK again at least once.
    pub resent: Option<u32>,
    /// Requests at which this kernel holds the SYN queue for full.
    pub syn_queue_limit: Option<u32>,
    /// Settings of its namespace.
    pub sysctls: Sysctls,
    /// The other listeners of its `SO_REUSEPORT` group.
    pub members: Vec<Member>,
    /// Every process that holds it, as far as processes may be looked at.
    pub holders: Vec<Holder>,
    /// Threads that were seen to wait on this socket at an earlier look.
    pub waited: Vec<Waiter>,
    /// The system's table of open files, for ENFILE.
    pub file_table: Option<FileTable>,
    /// What could not be read, as sentences.
    pub unread: Vec<String>,
}

/// The accept queue at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSample {
    /// CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// Connections in it, `sk_ack_backlog`.
    pub recv_q: u32,
    /// `sk_drops`, where it is shown.
    pub drops: Option<u32>,
}

/// Connections in an accept queue, by `tcpi_last_data_sent`: until `accept()` the server sends
/// nothing, so that it is their age (`lsndtime` is set in `tcp_create_openreq_child`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// How many.
    pub count: u32,
    /// Age of the oldest, nanoseconds: what `accept()` would return next.
    pub oldest_ns: u64,
    /// Age of the newest, nanoseconds.
    pub newest_ns: u64,
}

/// Rises of counters of a network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rises {
    /// `PassiveOpens`: children made, of all its listeners.
    pub passive_opens: u64,
    /// `SyncookiesSent`.
    pub cookies_sent: u64,
    /// `SyncookiesRecv`: valid cookies that came back.
    pub cookies_back: u64,
}

/// Another listener of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its inode.
    pub inode: u64,
    /// Connections in its accept queue.
    pub recv_q: u32,
    /// Its limit.
    pub send_q: Option<u32>,
    /// Who holds it, in short.
    pub owner: String,
}

/// `/proc/sys/fs/file-nr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTable {
    /// Open files of the whole system.
    pub allocated: u64,
    /// `fs.file-max`.
    pub max: u64,
}

impl Evidence {
    /// Whether the accept queue is full: `sk_ack_backlog > sk_max_ack_backlog`.
    pub fn full(&self) -> bool {
        self.listener.full()
    }

    /// Whether the accept queue is at its limit in some sample, or held somebody for so long that
    /// nobody seems to accept.
    pub fn waits_for_accept(&self) -> bool {
        let limit = self.listener.send_q.unwrap_or(u32::MAX);
        let at_limit = |sample: &QueueSample| sample.recv_q > 0 && sample.recv_q >= limit;
        let long = self.waiting.is_some_and(|waiting| waiting.oldest_ns >= LONG_NS);
        self.queue.iter().any(at_limit) || (long && self.queue.iter().all(|s| s.recv_q > 0))
    }

    /// Whether the SYN queue is.
    pub fn syn_queue_full(&self) -> bool {
        self.listener.syn_queue_full(self.syn_queue_limit)
    }

    /// For how long the accept queue has been full at least, nanoseconds. It was full when its
    /// newest connection came: had `accept()` made room since, it would not be full now.
    pub fn full_for_ns(&self) -> Option<u64> {
        let waiting = self.waiting.filter(|_| self.full())?;
        (waiting.count >= self.listener.recv_q).then_some(waiting.newest_ns)
    }
}
