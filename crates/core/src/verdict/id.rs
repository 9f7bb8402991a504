//! The stable verdict ids: a contract with everybody who parses our output.
//!
//! An id is never reused and never changes its meaning; new kernel paths get new ids.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! verdict_ids {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal,)+) => {
        /// What the kernel did to a connection at one stage of its life.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum VerdictId { $($(#[doc = $doc])+ $variant,)+ }

        impl VerdictId {
            /// Every id, in the order of a connection's life.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable text form, as in JSON and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }
        }
    };
}

verdict_ids! {
    /// The SYN became a request in the SYN queue.
    SynQueued = "syn.queued",
    /// SYN queue full: answered by a SYN cookie, no request kept.
    SynCookie = "syn.cookie",
    /// Fast Open: the child was made at the SYN and is in the accept queue.
    SynFastopen = "syn.fastopen",
    /// SYN dropped because the accept queue was already full.
    SynDropAcceptQueueFull = "syn.drop.accept_queue_full",
    /// SYN dropped because the SYN queue was full and cookies are off.
    SynDropSynQueueFull = "syn.drop.syn_queue_full",
    /// SYN dropped for another reason.
    SynDropOther = "syn.drop.other",
    /// Third ACK matched its request; the child entered the accept queue.
    AckAccepted = "ack.accepted",
    /// Third ACK carried a valid cookie; the child entered the accept queue.
    AckAcceptedCookie = "ack.accepted.cookie",
    /// Accept queue full, `tcp_abort_on_overflow=0`: ACK dropped, request kept, SYN-ACK resent.
    AckDropOverflow = "ack.drop.overflow",
    /// Accept queue full, `tcp_abort_on_overflow=1`: answered by RST, request removed.
    AckResetOverflow = "ack.reset.overflow",
    /// Accept queue full in the cookie path: dropped silently, the sysctl is never read.
    AckDropOverflowCookie = "ack.drop.overflow.cookie",
    /// Bare third ACK ignored because of `TCP_DEFER_ACCEPT`.
    AckDropDeferAccept = "ack.drop.defer_accept",
    /// Child socket not created although the queue had room, `tcp_abort_on_overflow=0`.
    AckDropChildFailed = "ack.drop.child_failed",
    /// Child socket not created although the queue had room, `tcp_abort_on_overflow=1`.
    AckResetChildFailed = "ack.reset.child_failed",
    /// Third ACK of a request with a timestamp from the past (PAWS) or one never sent: dropped.
    AckDropPaws = "ack.drop.paws",
    /// Third ACK of a request with a sequence number outside of the window: dropped.
    AckDropOutOfWindow = "ack.drop.out_of_window",
    /// Its child was made, but another CPU's copy of the ACK, or the listener's close, came first.
    AckDropLostRace = "ack.drop.lost_race",
    /// Third ACK dropped for another reason.
    AckDropOther = "ack.drop.other",
    /// Third ACK of a request that acknowledges something else: answered by RST, request kept.
    AckResetBadAck = "ack.reset.bad_ack",
    /// A SYN inside the window of a request: answered by RST, request removed.
    AckResetBadSyn = "ack.reset.bad_syn",
    /// ACK without a request and without a valid cookie: answered by RST.
    AckResetInvalidCookie = "ack.reset.invalid_cookie",
    /// Third ACK answered by RST for another reason.
    AckResetOther = "ack.reset.other",
    /// The application called `accept()` on it.
    LaterAcceptedByApp = "later.accepted_by_app",
    /// A slot became free before the retries ran out.
    LaterRecovered = "later.recovered",
    /// The request ran out of SYN-ACK retransmissions.
    LaterRequestExpired = "later.request_expired",
    /// The listener went away, and the request was dropped without a word to its client.
    LaterRequestOrphaned = "later.request_orphaned",
    /// The client's own RST removed the request.
    LaterResetByClient = "later.reset_by_client",
    /// An ICMP error about its SYN-ACK removed the request.
    LaterRequestIcmpError = "later.request_icmp_error",
    /// The request was destroyed from outside (`SOCK_DESTROY`, `ss -K`).
    LaterRequestDestroyed = "later.request_destroyed",
    /// The listener went away, and the request was taken over by another of its `SO_REUSEPORT`
    /// group.
    LaterMigrated = "later.migrated",
    /// The client's RST ended the child in the accept queue, where it stays until `accept()`.
    LaterResetInQueue = "later.reset_in_queue",
    /// The kernel reset the child in the accept queue while its listener was open (`SOCK_DESTROY`,
    /// or its keepalive ran out).
    LaterResetByServer = "later.reset_by_server",
    /// The client's data met no socket and was answered by RST.
    LaterResetNoSocket = "later.reset_no_socket",
    /// The listener was closed with the connection unaccepted (`tcp_send_active_reset`).
    LaterListenerClosed = "later.listener_closed",
    /// The client believes it is connected; the server has nothing.
    LaterPhantom = "later.phantom",
    /// The observation ended while the kernel was still retrying.
    LaterPending = "later.pending",
}

impl VerdictId {
    /// The id whose text form is `s`.
    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|v| v.as_str() == s)
    }

    /// Whether a handshake on which this happened did not go as it should.
    pub fn is_abnormal(self) -> bool {
        !matches!(
            self,
            Self::SynQueued
                | Self::AckAccepted
                | Self::AckAcceptedCookie
                | Self::AckDropDeferAccept
                | Self::LaterAcceptedByApp
        )
    }

    /// Whether it is about the time after the handshake: all of `later`.
    pub fn is_later(self) -> bool {
        self >= Self::LaterAcceptedByApp
    }

    /// Whether the text form starts with `prefix` at a dot boundary: `syn.drop` covers
    /// `syn.drop.other`.
    pub fn is_under(self, prefix: &str) -> bool {
        self.as_str()
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl std::fmt::Display for VerdictId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for VerdictId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for VerdictId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("no verdict has the id {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_parse_back() {
        for (i, v) in VerdictId::ALL.iter().enumerate() {
            assert_eq!(v.is_later(), v.is_under("later"), "{v}");
            assert_eq!(VerdictId::parse(v.as_str()), Some(*v));
            assert!(VerdictId::ALL[i + 1..].iter().all(|w| w.as_str() != v.as_str()));
        }
    }

    #[test]
    fn prefixes_end_at_dots() {
        assert!(VerdictId::SynDropOther.is_under("syn.drop"));
        assert!(!VerdictId::AckAcceptedCookie.is_under("ack.acc"));
        assert!(VerdictId::AckAccepted.is_under("ack.accepted"));
    }
}
