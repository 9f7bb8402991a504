//! What a trace does not watch, in words and as far as another counter bounds it.

use std::collections::BTreeSet;

use super::*;

#[test]
fn what_is_not_watched_explains_the_rest_in_words() {
    // A client's RST ends a request: by default nobody reports it.
    let audit = Case::begun(Rung::Fentry, STRICT).ended(&[(EmbryonicRsts, 4)]);
    is(&audit, EmbryonicRsts, [4, 0, 0, 0, 4], 0, &["4 requests that a client's RST"]);
    // With --all it is reported, so there it is missing.
    let all = Watched { everything: true, ..STRICT };
    let audit = Case::begun(Rung::Fentry, all).ended(&[(EmbryonicRsts, 4)]);
    is(&audit, EmbryonicRsts, [4, 0, 0, 0, 0], 4, &[]);
    // A filter on a rung that does not count what it leaves out.
    let filtered = Watched { filtered: true, counts_left_out: false, ..STRICT };
    let audit = Case::begun(Rung::Tracepoint, filtered).ended(&[(ListenOverflows, 4)]);
    is(&audit, ListenOverflows, [4, 0, 0, 0, 4], 0, &["4 at listeners that were not asked for"]);
    let older = Watched { older_listeners: false, counts_left_out: false, ..STRICT };
    let audit = Case::begun(Rung::Tracepoint, older).ended(&[(ListenOverflows, 4)]);
    is(&audit, ListenOverflows, [4, 0, 0, 0, 4], 0, &["older than this trace"]);
}

#[test]
fn a_drop_that_is_missing_elsewhere_too_has_no_excuse() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    case.pending = None;
    let audit = case.ended(&[(ListenOverflows, 2), (ReqQFullDrop, 3), (ListenDrops, 9)]);
    let excuse = "4 dropped where no hook is";
    is(&audit, ListenDrops, [9, 0, 0, 0, 4], 5, &[excuse]);
    assert_eq!(audit.unaccounted(), 2 + 3 + 5);
}

#[test]
fn what_another_counter_bounds_explains_no_more() {
    let watched = Watched { counts_left_out: false, ..STRICT };
    let case = Case::begun(Rung::Tracepoint, watched);
    let audit = case.ended(&[(ListenOverflows, 5), (FastOpenPassiveFail, 2)]);
    is(&audit, ListenOverflows, [5, 0, 0, 0, 2], 3, &["2 children that Fast Open"]);
}

/// Pinned: what a trace does not promise to tell changes only on purpose.
#[test]
fn every_counter_says_what_of_it_is_not_watched() {
    let rung = |rung| HookPoint::ALL.iter().map(|h| (*h, Some(rung))).collect();
    let open_if = |surveyed: bool, watched: Watched, rungs: &BTreeMap<_, _>| -> BTreeSet<&str> {
        let unbounded = |counter: &&Counter| {
            gaps::gaps(**counter, watched, rungs, surveyed).iter().any(|gap| gap.at_most.is_none())
        };
        Counter::AUDITED.iter().filter(unbounded).map(|c| c.as_str()).collect()
    };
    let open = |watched: Watched, rungs: &BTreeMap<_, _>| open_if(true, watched, rungs);
    let fast_open = ["TCPFastOpenListenOverflow", "TCPFastOpenPassive", "TCPFastOpenPassiveFail"];
    let and = |more: &[&'static str]| fast_open.iter().chain(more).copied().collect();
    for by in [Rung::Fentry, Rung::Kprobe] {
        assert_eq!(open(STRICT, &rung(by)), and(&["EmbryonicRsts"]));
        let all = Watched { everything: true, ..STRICT };
        assert_eq!(open(all, &rung(by)), BTreeSet::new());
        assert_eq!(open_if(false, all, &rung(by)), BTreeSet::from(["ListenDrops"]));
        let all = Watched { counts_left_out: false, ..all };
        assert_eq!(open(all, &rung(by)), BTreeSet::from(["ListenDrops"]));
    }
    let tracepoints = Watched { counts_left_out: false, ..STRICT };
    let mut rungs: BTreeMap<_, _> = rung(Rung::Tracepoint);
    let cookies = ["SyncookiesSent", "TCPReqQFullDoCookies"];
    let unseen = [&["EmbryonicRsts", "ListenDrops"][..], &cookies].concat();
    assert_eq!(open(tracepoints, &rungs), and(&unseen));
    // Whatever is not attached takes its counters with it, and no others.
    rungs.insert(HookPoint::Syn, None);
    let blind = open(tracepoints, &rungs);
    assert!(blind.contains("ListenOverflows") && blind.contains("TCPReqQFullDrop"));
    let every = Watched { filtered: true, ..tracepoints };
    assert_eq!(open(every, &rungs).len(), Counter::AUDITED.len());
    // The first two are those that a full queue moves: nothing but a filter excuses them.
    assert!(!open(tracepoints, &rung(Rung::Tracepoint)).contains("ListenOverflows"));
}
