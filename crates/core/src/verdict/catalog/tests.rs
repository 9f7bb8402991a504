//! The catalog against its own rules, against the documents, and against what it replaced.

use std::collections::BTreeSet;

use super::VerdictId;
use crate::{
    explain::Lang,
    text::style::Tone,
    verdict::{Class, ClientSide, Counter, Ends, Family, ServerSide, Shown, WirePattern},
};

fn sorted(ids: &[VerdictId]) -> Vec<VerdictId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

mod documents;

#[test]
fn an_ids_first_words_are_its_class() {
    for id in VerdictId::ALL {
        let words = match id.class() {
            Class::SynAnswered => "syn",
            Class::SynDropped => "syn.drop",
            Class::AckAccepted => "ack.accepted",
            Class::AckDropped => "ack.drop",
            Class::AckReset => "ack.reset",
            Class::Later => "later",
        };
        assert!(id.is_under(words), "{id} is not {words}");
        assert!(id.is_under(id.family().as_str()), "{id}");
        assert_eq!(id.is_dropped_syn(), id.is_under("syn.drop"), "{id}");
        assert_eq!(id.is_later(), id.is_under("later"), "{id}");
    }
}

#[test]
fn every_verdict_is_given_by_a_rule() {
    let rules = [include_str!("../rules.rs"), include_str!("../judge.rs")];
    for id in VerdictId::ALL {
        let named = format!("VerdictId::{id:?}");
        let given = |text: &str| {
            let mut rest = text.split(&named).skip(1);
            rest.any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        };
        assert!(rules.iter().any(|text| given(text)), "no rule gives {id}");
    }
}

#[test]
fn families_follow_a_connections_life() {
    let order = |id: &VerdictId| match id.family() {
        Family::Syn => 0,
        Family::Ack => 1,
        Family::Later => 2,
    };
    assert!(VerdictId::ALL.is_sorted_by_key(order));
}

#[test]
fn labels_are_there_and_unlike_in_both_languages() {
    for lang in [Lang::En, Lang::Zh] {
        let labels: BTreeSet<&str> = VerdictId::ALL.iter().map(|id| id.label(lang)).collect();
        assert_eq!(labels.len(), VerdictId::ALL.len());
        assert!(labels.iter().all(|label| !label.is_empty() && !label.ends_with(['.', '。'])));
    }
    let chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    assert!(VerdictId::ALL.iter().all(|id| id.label(Lang::Zh).contains(chinese)));
}

#[test]
fn columns_do_not_contradict_each_other() {
    for id in VerdictId::ALL {
        assert_eq!(
            id.is_later(),
            id.wire_patterns().is_empty(),
            "{id}: only segments have a pattern"
        );
        let follows = matches!(id.shown_by(), Shown::History | Shown::Silence);
        assert!(!follows || id.is_later(), "{id}: a segment's fate is seen");
        if id.ends() != Ends::Nothing {
            assert!(id.is_later(), "{id}");
            assert_eq!(id.server_side(), ServerSide::Nothing, "{id}");
        }
        assert_eq!(id.tone() == Tone::Good, id.came_through() && id.tone() != Tone::Plain, "{id}");
        assert_eq!(id.tone() == Tone::Warn, id.class() == Class::AckReset, "{id}");
        assert!(id.after().is_none_or(VerdictId::is_syn) && (id.after().is_none() || id.is_ack()));
        let counters: BTreeSet<Counter> = id.counters().iter().map(|e| e.counter).collect();
        assert_eq!(counters.len(), id.counters().len(), "{id} names a counter twice");
        assert!(id.counters().iter().all(|effect| effect.min <= effect.max), "{id}");
    }
}

#[test]
fn every_counter_is_moved_by_a_verdict() {
    for counter in Counter::ALL {
        assert!(VerdictId::ALL.iter().any(|id| id.counts(*counter)
            || id.counters().iter().any(|effect| effect.counter == *counter)));
    }
}

#[test]
fn patterns_are_named_by_what_they_admit() {
    for pattern in WirePattern::ALL {
        let text = pattern.text();
        match (VerdictId::parse(text), VerdictId::under(text).next()) {
            (Some(id), _) => assert!(pattern.admits(id), "{text}"),
            // A family: where silence was watched too briefly, even an RST may have been missed, and
            // where nothing broke it, the child may have been made at the SYN.
            (None, Some(_))
                if !matches!(pattern, WirePattern::AckSilentShort | WirePattern::AckUnanswered) =>
            {
                assert!(pattern.admitted().all(|id| id.is_under(text)), "{text}");
            }
            (None, _) => {}
        }
    }
}

/// The lists as they were before the catalog, of the verdicts that there were then: writing it
/// changed nothing. New verdicts need not be named here.
mod pinned {
    use ClientSide as C;
    use ServerSide as S;
    use VerdictId as V;

    use super::*;

    const BEFORE: &str = "
        syn.queued syn.cookie syn.fastopen syn.drop.accept_queue_full \
        syn.drop.syn_queue_full syn.drop.other ack.accepted ack.accepted.cookie \
        ack.drop.overflow ack.reset.overflow ack.drop.overflow.cookie ack.drop.defer_accept \
        ack.drop.child_failed ack.reset.child_failed ack.drop.paws ack.drop.out_of_window \
        ack.drop.lost_race ack.drop.other ack.reset.bad_ack ack.reset.bad_syn \
        ack.reset.invalid_cookie ack.reset.other later.accepted_by_app later.recovered \
        later.request_expired later.request_orphaned later.reset_by_client \
        later.request_icmp_error later.request_destroyed later.migrated later.reset_in_queue \
        later.reset_by_server later.reset_no_socket later.listener_closed later.phantom \
        later.pending";

    fn ids(test: impl Fn(VerdictId) -> bool) -> Vec<VerdictId> {
        let before = BEFORE.split_whitespace().map(|id| VerdictId::parse(id).unwrap());
        before.filter(|id| test(*id)).collect()
    }

    #[test]
    fn wire_patterns() {
        let check = |pattern: WirePattern, expected: &[V]| {
            assert_eq!(ids(|id| pattern.admits(id)), sorted(expected), "{pattern:?}");
        };
        check(WirePattern::NoSyn, &[]);
        check(WirePattern::SynRefused, &[]);
        check(
            WirePattern::SynUnanswered,
            &[V::SynDropAcceptQueueFull, V::SynDropSynQueueFull, V::SynDropOther],
        );
        // Since then no verdict is given without a handshake.
        check(WirePattern::StrayReset, &[]);
        check(WirePattern::SynAckOnly, &[V::SynQueued, V::SynCookie]);
        check(
            WirePattern::AckReset,
            &[
                V::AckResetOverflow,
                V::AckResetChildFailed,
                V::AckResetBadAck,
                V::AckResetBadSyn,
                V::AckResetInvalidCookie,
                V::AckResetOther,
            ],
        );
        check(
            WirePattern::AckResent,
            &[
                V::AckDropOverflow,
                V::AckDropDeferAccept,
                V::AckDropChildFailed,
                V::AckDropPaws,
                V::AckDropOutOfWindow,
                V::AckDropLostRace,
                V::AckDropOther,
            ],
        );
        check(
            WirePattern::AckSilent,
            &[
                V::AckResetChildFailed,
                V::AckResetOther,
                V::AckDropOverflowCookie,
                V::AckDropChildFailed,
                V::AckDropLostRace,
                V::AckDropOther,
            ],
        );
        check(
            WirePattern::AckSilentShort,
            &[
                V::AckResetChildFailed,
                V::AckResetOther,
                V::AckDropOverflow,
                V::AckDropOverflowCookie,
                V::AckDropDeferAccept,
                V::AckDropChildFailed,
                V::AckDropPaws,
                V::AckDropOutOfWindow,
                V::AckDropLostRace,
                V::AckDropOther,
            ],
        );
        check(
            WirePattern::AckThenClientReset,
            &[
                V::AckAccepted,
                V::AckAcceptedCookie,
                V::AckDropOverflow,
                V::AckDropOverflowCookie,
                V::AckDropDeferAccept,
                V::AckDropChildFailed,
                V::AckDropPaws,
                V::AckDropOutOfWindow,
                V::AckDropLostRace,
                V::AckDropOther,
            ],
        );
        check(
            WirePattern::DataReset,
            &[
                V::AckDropOverflow,
                V::AckDropOverflowCookie,
                V::AckDropDeferAccept,
                V::AckDropChildFailed,
                V::AckDropOther,
                V::AckResetOverflow,
                V::AckResetChildFailed,
                V::AckResetInvalidCookie,
                V::AckResetOther,
            ],
        );
        check(WirePattern::Accepted, &[V::AckAccepted, V::AckAcceptedCookie, V::SynFastopen]);
    }

    #[test]
    fn counters() {
        let check = |of: &[V], expected: &[(&str, u64, u64)]| {
            for id in of {
                let effects = id.counters().iter().map(|e| (e.counter.as_str(), e.min, e.max));
                assert_eq!(effects.collect::<Vec<_>>(), expected, "{id}");
            }
        };
        check(&[V::SynCookie], &[("SyncookiesSent", 1, 1), ("TCPReqQFullDoCookies", 1, 1)]);
        check(
            &[V::SynDropAcceptQueueFull],
            &[("ListenOverflows", 1, 1), ("ListenDrops", 1, 1), ("TCPReqQFullDoCookies", 0, 1)],
        );
        check(&[V::SynDropSynQueueFull], &[("TCPReqQFullDrop", 1, 1), ("ListenDrops", 1, 1)]);
        check(
            &[V::SynDropOther],
            &[
                ("ListenDrops", 0, 1),
                ("TCPReqQFullDoCookies", 0, 1),
                ("TCPFastOpenListenOverflow", 0, 1),
                ("TCPFastOpenPassive", 0, 1),
                ("TCPFastOpenPassiveFail", 0, 1),
            ],
        );
        check(
            &[V::SynQueued],
            &[("TCPFastOpenListenOverflow", 0, 1), ("TCPFastOpenPassiveFail", 0, 1)],
        );
        check(&[V::SynFastopen], &[("PassiveOpens", 1, 1), ("TCPFastOpenPassive", 1, 1)]);
        check(&[V::AckAccepted], &[("PassiveOpens", 1, 1)]);
        check(&[V::AckAcceptedCookie], &[("PassiveOpens", 1, 1), ("SyncookiesRecv", 1, 1)]);
        check(&[V::AckDropOverflow], &[("ListenOverflows", 1, 1), ("ListenDrops", 1, 1)]);
        check(
            &[V::AckResetOverflow],
            &[
                ("ListenOverflows", 1, 1),
                ("ListenDrops", 1, 1),
                ("EmbryonicRsts", 1, 1),
                ("OutRsts", 1, 1),
            ],
        );
        check(
            &[V::AckDropOverflowCookie],
            &[("ListenOverflows", 1, 1), ("ListenDrops", 1, 1), ("SyncookiesRecv", 1, 1)],
        );
        check(&[V::AckDropDeferAccept], &[("TCPDeferAcceptDrop", 1, 1)]);
        check(
            &[V::AckDropChildFailed],
            &[("ListenDrops", 1, 1), ("PassiveOpens", 0, 1), ("SyncookiesRecv", 0, 1)],
        );
        check(
            &[V::AckResetChildFailed],
            &[
                ("ListenDrops", 1, 1),
                ("PassiveOpens", 0, 1),
                ("EmbryonicRsts", 1, 1),
                ("OutRsts", 0, 1),
            ],
        );
        check(
            &[V::AckDropOther],
            &[
                ("ListenDrops", 0, 1),
                ("ListenOverflows", 0, 1),
                ("SyncookiesRecv", 0, 1),
                ("PassiveOpens", 0, 1),
            ],
        );
        check(&[V::AckDropLostRace], &[("PassiveOpens", 0, 1), ("SyncookiesRecv", 0, 1)]);
        check(&[V::AckResetBadSyn], &[("OutRsts", 1, 1), ("EmbryonicRsts", 0, 1)]);
        check(
            &[V::AckResetInvalidCookie],
            &[("OutRsts", 1, 1), ("SyncookiesFailed", 0, 1), ("SyncookiesRecv", 0, 1)],
        );
        check(&[V::LaterResetByClient], &[("EmbryonicRsts", 0, 1)]);
        check(
            &[V::AckResetOther],
            &[
                ("ListenDrops", 0, 1),
                ("PassiveOpens", 0, 1),
                ("OutRsts", 0, 1),
                ("EmbryonicRsts", 0, 1),
                ("SyncookiesFailed", 0, 1),
                ("SyncookiesRecv", 0, 1),
            ],
        );
        check(&[V::AckResetBadAck], &[("OutRsts", 1, 1), ("SyncookiesFailed", 0, 1)]);
        check(
            &[V::LaterResetNoSocket],
            &[("OutRsts", 1, 1), ("SyncookiesFailed", 0, 1), ("EmbryonicRsts", 0, 1)],
        );
        check(&[V::LaterListenerClosed, V::LaterResetByServer], &[("OutRsts", 1, 1)]);
        check(&[V::LaterRequestIcmpError], &[("ListenDrops", 1, 1)]);
        check(
            &[
                V::AckDropPaws,
                V::AckDropOutOfWindow,
                V::LaterAcceptedByApp,
                V::LaterRecovered,
                V::LaterRequestExpired,
                V::LaterRequestOrphaned,
                V::LaterRequestDestroyed,
                V::LaterResetInQueue,
                V::LaterMigrated,
                V::LaterPhantom,
                V::LaterPending,
            ],
            &[],
        );
    }

    #[test]
    fn what_counts_as_listen_overflows() {
        assert_eq!(
            ids(|id| id.counts(Counter::ListenOverflows)),
            [
                V::SynDropAcceptQueueFull,
                V::AckDropOverflow,
                V::AckResetOverflow,
                V::AckDropOverflowCookie,
            ]
        );
        let dropped = [V::AckDropOverflow, V::AckDropOverflowCookie];
        assert_eq!(ids(VerdictId::is_overflow_drop), dropped);
    }

    #[test]
    fn what_both_ends_have() {
        let check = |server, client, of: &[V]| {
            for id in of {
                assert_eq!((id.server_side(), id.client_side()), (server, client), "{id}");
            }
            of.len()
        };
        let seen = [
            check(S::Child, C::Connected, &[V::AckAccepted, V::AckAcceptedCookie, V::SynFastopen]),
            check(S::Request, C::Connected, &[V::AckDropOverflow, V::AckDropDeferAccept]),
            check(
                S::Request,
                C::Unknown,
                &[V::AckDropPaws, V::AckDropOutOfWindow, V::AckResetBadAck, V::SynQueued],
            ),
            check(S::Nothing, C::Connected, &[V::AckDropOverflowCookie]),
            check(
                S::Nothing,
                C::Reset,
                &[V::AckResetOverflow, V::AckResetBadSyn, V::AckResetInvalidCookie],
            ),
            check(
                S::Nothing,
                C::Connecting,
                &[V::SynDropAcceptQueueFull, V::SynDropSynQueueFull, V::SynDropOther],
            ),
            check(
                S::Nothing,
                C::Unknown,
                &[
                    V::SynCookie,
                    V::AckResetChildFailed,
                    V::AckResetOther,
                    V::LaterRequestExpired,
                    V::LaterRequestOrphaned,
                    V::LaterResetByClient,
                    V::LaterRequestIcmpError,
                    V::LaterRequestDestroyed,
                    V::LaterResetInQueue,
                    V::LaterResetByServer,
                    V::LaterResetNoSocket,
                    V::LaterListenerClosed,
                ],
            ),
            check(S::RequestOrNothing, C::Connected, &[V::AckDropChildFailed, V::AckDropOther]),
            check(
                S::Unknown,
                C::Unknown,
                &[
                    V::AckDropLostRace,
                    V::LaterAcceptedByApp,
                    V::LaterRecovered,
                    V::LaterMigrated,
                    V::LaterPhantom,
                    V::LaterPending,
                ],
            ),
        ];
        assert_eq!(seen.iter().sum::<usize>(), ids(|_| true).len());
    }

    #[test]
    fn what_is_left_and_what_ends() {
        let accepted = [V::SynFastopen, V::AckAccepted, V::AckAcceptedCookie];
        assert_eq!(ids(VerdictId::leaves_child), accepted);
        let unfinished = [
            V::SynQueued,
            V::AckDropOverflow,
            V::AckDropChildFailed,
            V::AckDropDeferAccept,
            V::AckDropPaws,
            V::AckDropOutOfWindow,
            V::AckResetBadAck,
            V::AckDropOther,
        ];
        assert_eq!(ids(VerdictId::leaves_request), sorted(&unfinished));
        let ends = [
            V::LaterRequestExpired,
            V::LaterRequestOrphaned,
            V::LaterResetByClient,
            V::LaterRequestIcmpError,
            V::LaterRequestDestroyed,
            V::LaterResetInQueue,
            V::LaterResetByServer,
            V::LaterResetNoSocket,
            V::LaterListenerClosed,
        ];
        assert_eq!(ids(|id| id.ends() != Ends::Nothing), ends);
        let says = [V::LaterResetByClient, V::LaterRequestIcmpError, V::LaterRequestDestroyed];
        assert_eq!(ids(VerdictId::says_request_is_gone), says);
        let unseen = [V::LaterRequestIcmpError, V::LaterRequestDestroyed];
        assert_eq!(ids(|id| id.ends() == Ends::RequestUnseen), unseen);
    }

    #[test]
    fn what_is_healthy() {
        // Fast Open has become one of them since.
        let healthy = [
            V::SynQueued,
            V::SynFastopen,
            V::AckAccepted,
            V::AckAcceptedCookie,
            V::AckDropDeferAccept,
            V::LaterAcceptedByApp,
        ];
        assert_eq!(ids(|id| !id.is_abnormal()), healthy);
        let through = [
            V::SynFastopen,
            V::AckAccepted,
            V::AckAcceptedCookie,
            V::LaterAcceptedByApp,
            V::LaterRecovered,
        ];
        assert_eq!(ids(VerdictId::came_through), through);
        let plain = [V::SynQueued, V::LaterAcceptedByApp];
        assert_eq!(ids(|id| id.tone() == Tone::Plain), plain);
        let reads = [
            V::AckDropOverflow,
            V::AckResetOverflow,
            V::AckDropChildFailed,
            V::AckResetChildFailed,
        ];
        assert_eq!(ids(VerdictId::is_listen_overflow), reads);
        let silent = [V::LaterPhantom, V::LaterPending];
        assert_eq!(ids(|id| id.shown_by() == Shown::Silence), silent);
    }
}
