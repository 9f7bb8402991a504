//! The counters as the kernel side reads them: at each drop, on the CPU that counted it.

use overflow_common::{CountersRead, LeftOut};
use serde::{Deserialize, Serialize};

use crate::verdict::Counter;

/// What was read of a namespace's counters. Of all namespaces that had its number, one after the
/// other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Inode number of the namespace.
    pub netns: u32,
    /// `ListenOverflows`.
    pub overflows: u64,
    /// `ListenDrops`.
    pub drops: u64,
    /// `TCPReqQFullDrop`.
    pub queue_full: u64,
    /// How often they had risen by nobody knows how much.
    pub unknown: u64,
}

impl Read {
    /// What the kernel side counted of the namespace with this inode number.
    pub const fn new(netns: u32, read: CountersRead) -> Self {
        let CountersRead { overflows, drops, queue_full, unknown } = read;
        Self { netns, overflows, drops, queue_full, unknown }
    }

    /// What it rose by; `None` of a counter that is not read, and where it is not known.
    pub(super) fn of(self, counter: Counter) -> Option<u64> {
        let count = match counter {
            Counter::ListenOverflows => self.overflows,
            Counter::ListenDrops => self.drops,
            Counter::ReqQFullDrop => self.queue_full,
            Counter::ReqQFullDoCookies
            | Counter::SyncookiesSent
            | Counter::SyncookiesRecv
            | Counter::SyncookiesFailed
            | Counter::EmbryonicRsts
            | Counter::OutRsts
            | Counter::PassiveOpens
            | Counter::DeferAcceptDrop
            | Counter::FastOpenListenOverflow
            | Counter::FastOpenPassive
            | Counter::FastOpenPassiveFail => return None,
        };
        (self.unknown == 0).then_some(count)
    }

    pub(super) fn plus(self, more: Self) -> Self {
        Self {
            netns: more.netns,
            overflows: self.overflows.saturating_add(more.overflows),
            drops: self.drops.saturating_add(more.drops),
            queue_full: self.queue_full.saturating_add(more.queue_full),
            unknown: self.unknown.saturating_add(more.unknown),
        }
    }

    /// As what no hook saw.
    pub(super) const fn unseen(self) -> [(LeftOut, u64); 3] {
        [
            (LeftOut::UnseenOverflow, self.overflows),
            (LeftOut::UnseenDrop, self.drops),
            (LeftOut::UnseenQueueFull, self.queue_full),
        ]
    }
}
