//! The hook points: places in the kernel where hooks see what became of a handshake.
//!
//! How each is attached is in the product's `probe/ladder.rs`; what it shows is in the verdicts'
//! rows ([`VerdictId::shown_by`]).

use overflow_common::Kind;

use crate::{
    table_enum::table_enum,
    verdict::{Shown, VerdictId},
};

struct Row {
    name: &'static str,
    kinds: &'static [Kind],
    /// Why it shows no verdict of its own; empty if it shows one.
    no_verdict: &'static str,
}

const fn row(name: &'static str, kinds: &'static [Kind]) -> Row {
    Row { name, kinds, no_verdict: "" }
}

table_enum! {
    /// A place in the kernel that verdicts depend on, in the order of a connection's life.
    pub enum HookPoint: Row {
        /// The SYN is queued, answered by a cookie, or dropped.
        Syn = row("SYN", &[Kind::Syn]),
        /// The third ACK is decided.
        ThirdAck = row("third ACK", &[Kind::Ack]),
        /// An RST answers a segment.
        Reset = row("RST", &[Kind::Reset]),
        /// A SYN-ACK is sent again.
        SynAckRetransmit = Row {
            no_verdict: "a SYN-ACK sent again decides nothing: its time is kept beside the stages",
            ..row("SYN-ACK retransmission", &[Kind::SynAckRetransmit])
        },
        /// A request expires or is removed.
        RequestRemoved =
            row("request removal", &[Kind::RequestRemoved, Kind::IcmpError, Kind::Destroyed]),
        /// A child is reset because its listener closes.
        ListenerClose = row("listener close", &[Kind::ActiveReset]),
        /// The application accepts a child.
        Accept = row("accept()", &[Kind::Accept]),
        /// The client resets a child that nobody has accepted.
        PeerReset = row("RST to a waiting child", &[Kind::PeerReset]),
    }
}

impl HookPoint {
    /// Its name in output, as in the JSON field `moment`.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The kinds of records that its programs write.
    pub const fn kinds(self) -> &'static [Kind] {
        self.row().kinds
    }

    /// Why it shows no verdict of its own; empty if it shows one.
    pub const fn no_verdict(self) -> &'static str {
        self.row().no_verdict
    }

    /// The verdicts that only its hooks show.
    pub fn verdicts(self) -> impl Iterator<Item = VerdictId> {
        let all = VerdictId::ALL.iter().copied();
        all.filter(move |id| id.shown_by() == Shown::By(self))
    }
}

/// The verdicts that no hook shows, where only the hook points of which `attached` says so have
/// hooks.
pub fn blind_to(attached: impl Fn(HookPoint) -> bool) -> Vec<VerdictId> {
    let unseen = HookPoint::ALL.iter().copied().filter(|hook_point| !attached(*hook_point));
    unseen.flat_map(HookPoint::verdicts).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_record_kind_is_of_one_hook_point() {
        let kinds: Vec<Kind> = HookPoint::ALL.iter().flat_map(|h| h.kinds()).copied().collect();
        let mut sorted = kinds.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, Kind::ALL);
        assert!(HookPoint::ALL.iter().all(|h| !h.kinds().is_empty()));
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = HookPoint::ALL.iter().map(|h| h.as_str()).collect();
        assert_eq!(names.len(), HookPoint::ALL.len());
    }

    #[test]
    fn a_hook_point_shows_a_verdict_or_says_why_not() {
        for hook_point in HookPoint::ALL {
            let shows = hook_point.verdicts().next().is_some();
            assert_eq!(shows, hook_point.no_verdict().is_empty(), "{hook_point:?}");
        }
    }

    /// As it was when each hook point's families of verdicts were a list of their own.
    #[test]
    fn what_each_shows_did_not_change() {
        let families: [(HookPoint, &[&str]); 8] = [
            (HookPoint::Syn, &["syn"]),
            (HookPoint::ThirdAck, &["ack", "later.migrated", "later.reset_by_client"]),
            (HookPoint::Reset, &["later.reset_no_socket"]),
            (HookPoint::SynAckRetransmit, &[]),
            (
                HookPoint::RequestRemoved,
                &[
                    "later.request_expired",
                    "later.request_orphaned",
                    "later.request_icmp_error",
                    "later.request_destroyed",
                ],
            ),
            (HookPoint::ListenerClose, &["later.listener_closed", "later.reset_by_server"]),
            (HookPoint::Accept, &["later.accepted_by_app"]),
            (HookPoint::PeerReset, &["later.reset_in_queue"]),
        ];
        for (hook_point, families) in families {
            let mut expected: Vec<_> =
                families.iter().flat_map(|family| VerdictId::under(family)).collect();
            expected.sort_unstable();
            assert_eq!(hook_point.verdicts().collect::<Vec<_>>(), expected, "{hook_point:?}");
            assert_eq!(blind_to(|attached| attached != hook_point), expected);
        }
        assert_eq!(blind_to(|_| true), []);
    }
}
