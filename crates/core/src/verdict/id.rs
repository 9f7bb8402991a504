//! A verdict id: its text form, and the questions that several columns of its row answer together.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Class, Counter, Ends, Family, ServerSide, Shown, VerdictId};
use crate::hook_point::HookPoint;

impl VerdictId {
    /// The id whose text form is `s`.
    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|v| v.as_str() == s)
    }

    /// Every id whose text form is `prefix` or starts with it at a dot.
    pub fn under(prefix: &str) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |id| id.is_under(prefix))
    }

    /// Whether the text form starts with `prefix` at a dot boundary: `syn.drop` covers
    /// `syn.drop.other`. For what users write; code asks for a [`Class`] or a [`Family`].
    pub fn is_under(self, prefix: &str) -> bool {
        self.as_str()
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Whether it is about a SYN.
    pub fn is_syn(self) -> bool {
        self.family() == Family::Syn
    }

    /// Whether it is about a third ACK.
    pub fn is_ack(self) -> bool {
        self.family() == Family::Ack
    }

    /// Whether it is about the time after the handshake.
    pub fn is_later(self) -> bool {
        self.family() == Family::Later
    }

    /// Whether a SYN was dropped.
    pub fn is_dropped_syn(self) -> bool {
        self.class() == Class::SynDropped
    }

    /// Whether a third ACK put a child into the accept queue.
    pub(crate) fn is_accepted(self) -> bool {
        self.class() == Class::AckAccepted
    }

    /// Whether a third ACK was dropped because the accept queue was full: its client believes that
    /// it is connected.
    pub fn is_overflow_drop(self) -> bool {
        self.class() == Class::AckDropped && self.counts(Counter::ListenOverflows)
    }

    /// Whether a child is in the accept queue after it.
    pub(crate) const fn leaves_child(self) -> bool {
        matches!(self.server_side(), ServerSide::Child)
    }

    /// Whether it is about a child, which then was there before.
    pub(crate) const fn is_of_child(self) -> bool {
        match self.shown_by() {
            Shown::By(HookPoint::ListenerClose | HookPoint::Accept | HookPoint::PeerReset) => true,
            Shown::By(
                HookPoint::Syn
                | HookPoint::ThirdAck
                | HookPoint::Reset
                | HookPoint::SynAckRetransmit
                | HookPoint::RequestRemoved,
            )
            | Shown::History
            | Shown::Silence => false,
        }
    }

    /// Whether a request may be in the SYN queue after it, and more is to come.
    pub const fn leaves_request(self) -> bool {
        matches!(self.server_side(), ServerSide::Request | ServerSide::RequestOrNothing)
    }

    /// Whether it says by itself that, and why, a request is gone. That a timer or the end of its
    /// listener removed it is concluded from the removal.
    pub(crate) const fn says_request_is_gone(self) -> bool {
        match self.ends() {
            Ends::RequestByClient | Ends::RequestUnseen => true,
            Ends::Nothing | Ends::RequestTimer | Ends::ChildByClient | Ends::ByServerReset => false,
        }
    }
}

impl fmt::Display for VerdictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
