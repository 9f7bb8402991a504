//! The hook points, places in the kernel where hooks see what became of a handshake, and the kinds
//! of records that their programs write.
//!
//! How each is attached is in the product's `probe/ladder.rs`; what it shows is in the verdicts'
//! rows ([`VerdictId::shown_by`]).

use overflow_common::{Kind, Path, Rung};

use crate::{
    decode::Event,
    table_enum::table_enum,
    verdict::{Shown, VerdictId},
};

struct Row {
    name: &'static str,
    kinds: &'static [Kind],
}

const fn row(name: &'static str, kinds: &'static [Kind]) -> Row {
    Row { name, kinds }
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
        /// A SYN-ACK is sent again. That decides nothing: its time is kept beside the stages.
        SynAckRetransmit = row("SYN-ACK retransmission", &[Kind::SynAckRetransmit]),
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

    /// The verdicts that only its hooks show.
    pub(crate) fn verdicts(self) -> impl Iterator<Item = VerdictId> {
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

/// Whom a record is about, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A listener that is there.
    Listener,
    /// A listener's request; the listener may be gone.
    Request,
    /// Anybody's segment or socket.
    Anybody,
}

/// How the kernel side counts what a record of this kind reports (overflow-ebpf/src/tally/mod.rs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// By what it went through.
    Signatures,
    /// By accept queue.
    Accepts,
    /// It does not.
    No,
}

/// Whom a record of this kind is about.
pub const fn about(kind: Kind) -> About {
    match kind {
        Kind::Syn | Kind::Ack | Kind::SynAckRetransmit => About::Listener,
        Kind::RequestRemoved | Kind::IcmpError | Kind::Destroyed => About::Request,
        Kind::Reset | Kind::ActiveReset | Kind::Accept | Kind::PeerReset => About::Anybody,
    }
}

/// How the kernel side counts what a record of this kind reports.
pub const fn counted(kind: Kind) -> Counted {
    match kind {
        Kind::Syn | Kind::Ack => Counted::Signatures,
        Kind::Accept => Counted::Accepts,
        Kind::Reset
        | Kind::SynAckRetransmit
        | Kind::RequestRemoved
        | Kind::ActiveReset
        | Kind::IcmpError
        | Kind::Destroyed
        | Kind::PeerReset => Counted::No,
    }
}

/// The kernel function, or on the tracepoint rung the tracepoint, at which an event's record ended.
pub fn function(event: &Event) -> &'static str {
    let v6 = event.conn.client.is_ipv6();
    let path = event.path;
    if event.rung == Rung::Tracepoint {
        if matches!(event.kind, Kind::Reset | Kind::ActiveReset) {
            return "tcp_send_reset";
        }
        for (bit, name) in [
            (Path::TP_KFREE_SKB, "kfree_skb"),
            (Path::TP_CONSUME_SKB, "consume_skb"),
            (Path::TP_ESTABLISHED, "inet_sock_set_state"),
        ] {
            if path.has(bit) {
                return name;
            }
        }
    }
    match event.kind {
        Kind::Syn => "tcp_conn_request",
        Kind::Ack if path.has(Path::COOKIE_CHECK) && v6 => "cookie_v6_check",
        Kind::Ack if path.has(Path::COOKIE_CHECK) => "cookie_v4_check",
        Kind::Ack => "tcp_check_req",
        Kind::Reset if v6 => "tcp_v6_send_reset",
        Kind::Reset => "tcp_v4_send_reset",
        Kind::SynAckRetransmit => "tcp_retransmit_synack",
        Kind::RequestRemoved if path.has(Path::REQSK_TIMER) => "reqsk_timer_handler",
        Kind::RequestRemoved => "inet_csk_reqsk_queue_drop",
        Kind::ActiveReset => "tcp_send_active_reset",
        Kind::Accept => "inet_csk_accept",
        Kind::IcmpError => "tcp_req_err",
        Kind::Destroyed => "tcp_abort",
        Kind::PeerReset => "tcp_receive_reset",
    }
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
    fn each_hook_point_but_one_shows_a_verdict() {
        for hook_point in HookPoint::ALL {
            let shows = hook_point.verdicts().next().is_some();
            assert_eq!(shows, *hook_point != HookPoint::SynAckRetransmit, "{hook_point:?}");
        }
    }

    /// Pinned: what a trace without these hooks is blind to changes only on purpose.
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
