//! The kernel counters that verdicts move, by their `nstat` names.

use crate::table_enum::table_enum;

table_enum! {
    /// A counter of the listener's network namespace.
    pub enum Counter: &'static str {
        /// Third ACKs and SYNs that met a full accept queue.
        ListenOverflows = "ListenOverflows",
        /// SYNs and third ACKs dropped for any reason (`tcp_listendrop`).
        ListenDrops = "ListenDrops",
        /// SYNs dropped because the SYN queue was full.
        ReqQFullDrop = "TCPReqQFullDrop",
        /// SYNs to be answered by a cookie because the SYN queue was full.
        ReqQFullDoCookies = "TCPReqQFullDoCookies",
        /// SYN cookies sent.
        SyncookiesSent = "SyncookiesSent",
        /// Valid SYN cookies received.
        SyncookiesRecv = "SyncookiesRecv",
        /// Invalid SYN cookies received.
        SyncookiesFailed = "SyncookiesFailed",
        /// Requests ended by an RST.
        EmbryonicRsts = "EmbryonicRsts",
        /// RSTs sent.
        OutRsts = "OutRsts",
        /// Children made.
        PassiveOpens = "PassiveOpens",
        /// Bare third ACKs ignored because of `TCP_DEFER_ACCEPT`.
        DeferAcceptDrop = "TCPDeferAcceptDrop",
        /// SYNs whose Fast Open was refused because its own queue was full.
        FastOpenListenOverflow = "TCPFastOpenListenOverflow",
        /// Children made at the SYN, by Fast Open.
        FastOpenPassive = "TCPFastOpenPassive",
        /// SYNs with data whose cookie was wrong, or whose child could not be made.
        FastOpenPassiveFail = "TCPFastOpenPassiveFail",
    }
}

impl Counter {
    /// Those that only listeners move, so that a trace of all of them has to account for each rise:
    /// what the audit compares ([`crate::audit`]).
    pub const AUDITED: &[Self] = &[
        Self::ListenOverflows,
        Self::ReqQFullDrop,
        // After those whose every rise is one of its own.
        Self::ListenDrops,
        Self::ReqQFullDoCookies,
        Self::SyncookiesSent,
        Self::EmbryonicRsts,
        Self::FastOpenListenOverflow,
        Self::FastOpenPassive,
        Self::FastOpenPassiveFail,
    ];

    /// Its `nstat` name, without the prefix `Tcp` or `TcpExt`.
    pub const fn as_str(self) -> &'static str {
        self.row()
    }

    /// The counter with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|counter| counter.as_str() == name)
    }
}

/// What one occurrence of a verdict adds to a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The counter.
    pub counter: Counter,
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
}

/// Each occurrence counts.
pub(super) const fn always(counter: Counter) -> Effect {
    Effect { counter, min: 1, max: 1 }
}

/// An occurrence may count.
pub(super) const fn maybe(counter: Counter) -> Effect {
    Effect { counter, min: 0, max: 1 }
}
