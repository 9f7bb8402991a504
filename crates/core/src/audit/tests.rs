//! Made-up counters beside events as hooks report them: each way in which a rise is accounted for,
//! and what is left where none does.

use overflow_common::{Kind, Path, RawEvent, Rung, Signature, Socket, Tally};

use super::*;
use crate::loss::Loss;
use Counter::{
    EmbryonicRsts, FastOpenListenOverflow, FastOpenPassiveFail, ListenDrops, ListenOverflows,
    ReqQFullDoCookies, ReqQFullDrop, SyncookiesSent,
};

const NETNS: u32 = 7;
const STRICT: Watched =
    Watched { everything: false, filtered: false, counts_left_out: true, older_listeners: true };
/// What an ACK goes through that finds the queue full, as the default trace reports it.
const OVERFLOW: u32 = Path::CHECK_REQ
    | Path::SYN_RECV_SOCK_NULL
    | Path::COUNTED
    | Path::COUNTED_DROP
    | Path::COUNTED_OVERFLOW;

fn rungs(rung: Rung) -> Vec<(String, String)> {
    let named = |h: &HookPoint| (h.as_str().to_owned(), rung.as_str().to_owned());
    HookPoint::ALL.iter().map(named).collect()
}

fn event(kind: Kind, path: u32) -> Event {
    let raw = RawEvent {
        t_ns: 5,
        netns: NETNS,
        path,
        kind: kind as u8,
        rung: Rung::Fentry as u8,
        family: 4,
        ..RawEvent::EMPTY
    };
    Decoder::default().decode(&raw).unwrap()
}

fn values(of: &[(Counter, u64)]) -> Values {
    // Those that are not named are there, and stay where they were.
    let others = Counter::AUDITED.iter().map(|c| (*c, 100));
    others.chain(of.iter().map(|(c, n)| (*c, 100 + n))).collect()
}

/// An audit in the making.
struct Case {
    auditor: Auditor,
    watched: Watched,
    left_out: Vec<(u32, u32, u64)>,
    read: Vec<Read>,
    pending: Option<Vec<Read>>,
    losses: Vec<(Loss, u64)>,
    unreadable: Vec<u32>,
}

impl Case {
    /// Begun by looks at counters that stand at 100 each.
    fn begun(rung: Rung, watched: Watched) -> Self {
        let auditor = Auditor::new(&rungs(rung), &[]);
        let mut case = Self {
            auditor,
            watched,
            left_out: Vec::new(),
            read: Vec::new(),
            pending: Some(Vec::new()),
            losses: Vec::new(),
            unreadable: Vec::new(),
        };
        case.look(Cut::Arming, &[(NETNS, values(&[]))]);
        case.look(Cut::Armed, &[(NETNS, values(&[]))]);
        case
    }

    fn tell(&mut self, path: u32, kind: Kind, id: VerdictId, times: usize) {
        for _ in 0..times {
            self.auditor.tell(&event(kind, path), id, true);
        }
    }

    fn look(&mut self, cut: Cut, namespaces: &[(u32, Values)]) {
        let seen = Readings {
            namespaces: namespaces.iter().cloned().collect(),
            unreadable: self.unreadable.clone(),
            ..Readings::default()
        };
        let look = Look {
            t_ns: 1,
            cut,
            watched: self.watched,
            seen,
            left_out: self.left_out.clone(),
            read: self.read.clone(),
            pending: self.pending.clone(),
        };
        self.auditor.look(&look, &self.losses);
    }

    /// The end, with what counters rose by.
    fn ended(mut self, rose: &[(Counter, u64)]) -> NamespaceAudit {
        self.look(Cut::Disarming, &[(NETNS, values(rose))]);
        self.look(Cut::Disarmed, &[(NETNS, values(rose))]);
        self.found(NETNS)
    }

    fn found(&self, netns: u32) -> NamespaceAudit {
        self.auditor.audits().unwrap().into_iter().find(|a| a.netns == netns).unwrap()
    }
}

fn of(audit: &NamespaceAudit, counter: Counter) -> Balance {
    audit.balances.iter().find(|b| b.counter == counter).unwrap().clone()
}

/// `rose = told + left_out + lost + unwatched + unaccounted` of a counter, and why.
#[track_caller]
fn is(audit: &NamespaceAudit, counter: Counter, parts: [u64; 5], unaccounted: i64, why: &[&str]) {
    let b = of(audit, counter);
    assert_eq!([b.rose, b.told, b.left_out, b.lost, b.unwatched], parts, "{b:?}");
    assert_eq!(b.unaccounted, unaccounted, "{b:?}");
    assert_eq!(b.why.len(), why.len(), "{b:?}");
    for (has, part) in b.why.iter().zip(why) {
        assert!(has.contains(part), "{has:?} lacks {part:?}");
    }
}

#[test]
fn what_is_told_and_counted_is_equal() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    // Each repetition of an ACK counts, and is told, for itself.
    case.tell(OVERFLOW, Kind::Ack, VerdictId::AckDropOverflow, 3);
    case.tell(Path::COOKIE_INIT, Kind::Syn, VerdictId::SynCookie, 2);
    let rose =
        [(ListenOverflows, 3), (ListenDrops, 3), (SyncookiesSent, 2), (ReqQFullDoCookies, 2)];
    let audit = case.ended(&rose);
    assert_eq!(audit.unaccounted(), 0);
    is(&audit, ListenOverflows, [3, 3, 0, 0, 0], 0, &[]);
    is(&audit, SyncookiesSent, [2, 2, 0, 0, 0], 0, &[]);
    assert!(of(&audit, ReqQFullDrop).is_quiet());
}

#[test]
fn what_nothing_accounts_for_is_unaccounted() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    case.tell(OVERFLOW, Kind::Ack, VerdictId::AckDropOverflow, 7);
    let audit = case.ended(&[(ListenOverflows, 10), (ListenDrops, 10)]);
    is(&audit, ListenOverflows, [10, 7, 0, 0, 0], 3, &[]);
    assert_eq!(audit.unaccounted(), 6);
}

#[test]
fn what_was_told_and_never_counted_is_unaccounted_too() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    let dropped = Path::CONN_REQUEST;
    case.tell(dropped, Kind::Syn, VerdictId::SynDropAcceptQueueFull, 2);
    let audit = case.ended(&[(ListenDrops, 1)]);
    is(&audit, ListenOverflows, [0, 2, 0, 0, 0], -2, &[]);
    is(&audit, ListenDrops, [1, 2, 0, 0, 0], -1, &[]);
    // It may have counted as a cookie first, and did not.
    is(&audit, ReqQFullDoCookies, [0, 0, 0, 0, 0], 0, &[]);
}

#[test]
fn this_cpus_counters_say_what_a_drop_added() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    // tcp_v6_conn_request drops some SYNs without counting them; these were counted.
    let counted = Path::CONN_REQUEST | Path::COUNTED | Path::COUNTED_DROP;
    case.tell(counted, Kind::Syn, VerdictId::SynDropOther, 2);
    is(&case.ended(&[(ListenDrops, 1)]), ListenDrops, [1, 2, 0, 0, 0], -1, &[]);
    let mut case = Case::begun(Rung::Fentry, STRICT);
    case.tell(Path::CONN_REQUEST, Kind::Syn, VerdictId::SynDropOther, 2);
    is(&case.ended(&[(ListenDrops, 1)]), ListenDrops, [1, 1, 0, 0, 0], 0, &[]);
}

#[test]
fn a_child_that_fast_open_did_not_get_is_told_with_its_syn() {
    let watched = Watched { everything: true, ..STRICT };
    let mut case = Case::begun(Rung::Fentry, watched);
    let queued = Path::CONN_REQUEST | Path::SYN_RECV_SOCK_NULL | Path::REQSK_HASHED;
    case.tell(queued, Kind::Syn, VerdictId::SynQueued, 1);
    let rose = [(ListenOverflows, 1), (ListenDrops, 1), (FastOpenPassiveFail, 1)];
    assert_eq!(case.ended(&rose).unaccounted(), 0);
}

#[test]
fn what_the_kernel_side_left_out_explains_as_much_as_it_was() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    case.tell(OVERFLOW, Kind::Ack, VerdictId::AckDropOverflow, 1);
    case.left_out = vec![
        (NETNS, LeftOut::FilteredOverflow as u32, 4),
        (NETNS, LeftOut::FilteredDrop as u32, 1),
        (NETNS, LeftOut::FilteredQueueFull as u32, 2),
        (NETNS, LeftOut::UnaskedCookie as u32, 9),
        (NETNS, LeftOut::FilteredReset as u32, 3),
        (NETNS, LeftOut::UnseenDrop as u32, 5),
        (NETNS, LeftOut::FastOpenOverflow as u32, 1),
        // Of a later version.
        (NETNS, u32::MAX, 1000),
    ];
    case.pending = Some(vec![Read { netns: NETNS, drops: 1, ..Read::default() }]);
    let audit = case.ended(&[
        (ListenOverflows, 6),
        (ListenDrops, 15),
        (ReqQFullDrop, 2),
        (SyncookiesSent, 9),
        (ReqQFullDoCookies, 9),
        (EmbryonicRsts, 2),
    ]);
    let (asked, fast_open) = ("not asked for", "1 children that Fast Open");
    is(
        &audit,
        ListenOverflows,
        [6, 1, 5, 0, 0],
        0,
        &[&format!("4 at listeners that were {asked}"), fast_open],
    );
    is(
        &audit,
        ListenDrops,
        [15, 1, 14, 0, 0],
        0,
        &["7 at listeners", fast_open, "6 dropped where no hook"],
    );
    is(&audit, ReqQFullDrop, [2, 0, 2, 0, 0], 0, &[asked]);
    is(&audit, SyncookiesSent, [9, 0, 9, 0, 0], 0, &["9 SYN cookies that tcp_syncookies=2"]);
    // Another CPU may have removed a request first: up to three.
    is(&audit, EmbryonicRsts, [2, 0, 2, 0, 0], 0, &[asked]);
}

#[test]
fn records_that_were_not_asked_for_explain_too() {
    let mut case = Case::begun(Rung::Tracepoint, STRICT);
    case.auditor.tell(&event(Kind::Ack, OVERFLOW), VerdictId::AckDropOverflow, false);
    case.auditor.tell_unknown(NETNS);
    let audit = case.ended(&[(ListenOverflows, 2), (ListenDrops, 2)]);
    is(&audit, ListenOverflows, [2, 0, 2, 0, 0], 0, &["2 at listeners that were not asked for"]);
    let mut case = Case::begun(Rung::Tracepoint, STRICT);
    case.auditor.tell_unknown(NETNS);
    assert_eq!(case.ended(&[]).unaccounted(), 0);
}

#[test]
fn losses_explain_up_to_their_number_and_once() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    case.losses = vec![
        (Loss::Kernel(overflow_common::Loss::RingFull), 2),
        (Loss::NotShown, 100),
        (Loss::HookMissed, 1),
    ];
    let rose = values(&[(ListenOverflows, 2)]);
    case.look(Cut::Disarming, &[(NETNS, rose.clone()), (8, values(&[]))]);
    case.look(Cut::Disarmed, &[(NETNS, rose), (8, values(&[]))]);
    let (first, second) = (case.found(NETNS), case.found(8));
    is(&first, ListenOverflows, [2, 0, 0, 2, 0], 0, &["2 lost: ebpf ring_full"]);
    // It was made while tracing, so all that it has is a rise.
    is(&second, ListenOverflows, [100, 0, 0, 1, 0], 99, &["1 lost: ebpf hook_missed"]);
}

#[test]
fn a_full_ring_hides_nothing_that_the_kernel_counts() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    case.losses = vec![(Loss::Kernel(overflow_common::Loss::RingFull), 50)];
    let aggregates = aggregates(&[(4, 80)]);
    case.auditor.tell_counts(&aggregates, &mut Decoder::default(), None, |_| true);
    let audit = case.ended(&[(ListenOverflows, 5), (ListenDrops, 5)]);
    is(&audit, ListenOverflows, [5, 4, 0, 0, 0], 1, &[]);
}

/// Overflows by (count, inode of the listener's socket).
fn aggregates(of: &[(u64, u32)]) -> Aggregates {
    let raw = |ino: u32| RawEvent {
        sk: ino.into(),
        ino,
        path: OVERFLOW,
        kind: Kind::Ack as u8,
        rung: Rung::Fentry as u8,
        tcp_flags: 0x10,
        ..RawEvent::EMPTY
    };
    let tally = |ino: u32| {
        let port = u16::try_from(ino).unwrap();
        let tally = Tally { netns: NETNS, port, family: 4, ..Tally::default() };
        (Socket { sk: ino.into(), ino, netns: NETNS }, tally)
    };
    Aggregates {
        counts: of.iter().map(|(n, ino)| (Signature::of(&raw(*ino)), *n)).collect(),
        queues: of.iter().map(|(_, ino)| tally(*ino)).collect(),
    }
}

#[test]
fn counts_of_sockets_that_are_gone_stay_told() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    let decoder = &mut Decoder::default();
    // The second one is not asked for; the third is closed, and a fourth takes its room.
    let meant = |place: &Place| place.ino != 81;
    for counts in [
        &[(2, 80), (3, 81), (4, 82)][..],
        &[(5, 80), (3, 81)],
        &[(5, 80), (3, 81), (1, 83)],
        // Its counts began anew.
        &[(6, 80), (4, 81), (2, 82)],
    ] {
        case.auditor.tell_counts(&aggregates(counts), decoder, None, meant);
    }
    let audit = case.ended(&[(ListenOverflows, 17), (ListenDrops, 17)]);
    is(&audit, ListenOverflows, [17, 13, 4, 0, 0], 0, &["4 at listeners that were not asked for"]);
}

#[test]
fn a_rise_is_a_range_where_counting_and_reading_cross() {
    let looks = |case: &mut Case, before: u64, after: u64| {
        case.look(Cut::Disarming, &[(NETNS, values(&[(ListenOverflows, before)]))]);
        case.look(Cut::Disarmed, &[(NETNS, values(&[(ListenOverflows, after)]))]);
    };
    // While the hooks were armed 2 came, and 3 while they were disarmed: from 5 to 10 may be told.
    for (told, unaccounted) in [(4, 1), (5, 0), (7, 0), (10, 0), (11, -1)] {
        let mut case = Case::begun(Rung::Fentry, STRICT);
        case.look(Cut::Armed, &[(NETNS, values(&[(ListenOverflows, 2)]))]);
        case.tell(OVERFLOW, Kind::Ack, VerdictId::AckDropOverflow, told);
        looks(&mut case, 7, 10);
        let found = of(&case.found(NETNS), ListenOverflows);
        assert_eq!(found.unaccounted, unaccounted, "{told} told");
        assert_eq!(found.rose, found.told.saturating_add_signed(unaccounted));
    }
}

#[test]
fn while_it_runs_only_what_lasts_is_unaccounted() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    let unaccounted = |case: &mut Case, rose: u64| {
        case.look(Cut::Running, &[(NETNS, values(&[(ListenOverflows, rose)]))]);
        of(&case.found(NETNS), ListenOverflows).unaccounted
    };
    case.tell(OVERFLOW, Kind::Ack, VerdictId::AckDropOverflow, 1);
    assert_eq!(unaccounted(&mut case, 3), 0, "two may be under way");
    case.tell(OVERFLOW, Kind::Ack, VerdictId::AckDropOverflow, 1);
    assert_eq!(unaccounted(&mut case, 4), 2, "two were missing before as well");
    case.tell(OVERFLOW, Kind::Ack, VerdictId::AckDropOverflow, 3);
    assert_eq!(unaccounted(&mut case, 4), 0, "and what is told in advance is no defect");
    let audit = case.ended(&[(ListenOverflows, 6), (ListenDrops, 6)]);
    is(&audit, ListenOverflows, [6, 5, 0, 0, 0], 1, &[]);
}

#[test]
fn namespaces_come_and_go() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    let zero = |of: &[(Counter, u64)]| -> Values {
        let others = Counter::AUDITED.iter().map(|c| (*c, 0));
        others.chain(of.iter().copied()).collect()
    };
    let own = (NETNS, values(&[]));
    // A namespace that was made meanwhile began at zero.
    case.look(Cut::Running, &[own.clone(), (9, zero(&[(ListenOverflows, 10)]))]);
    case.look(Cut::Running, &[own.clone(), (9, zero(&[(ListenOverflows, 10)]))]);
    assert!(case.found(9).appeared);
    is(&case.found(9), ListenOverflows, [10, 0, 0, 0, 0], 10, &[]);
    // It goes away, and what was found stays.
    case.look(Cut::Running, std::slice::from_ref(&own));
    is(&case.found(9), ListenOverflows, [10, 0, 0, 0, 0], 10, &[]);
    // Its number is given again: the counters begin anew, and the rise goes on.
    case.look(Cut::Running, &[own.clone(), (9, zero(&[(ListenOverflows, 1)]))]);
    is(&case.found(9), ListenOverflows, [10, 0, 0, 0, 0], 10, &[]);
    // What the first one counted after it was last seen may have been told.
    for _ in 0..14 {
        let mut event = event(Kind::Ack, OVERFLOW);
        event.conn.netns = 9;
        case.auditor.tell(&event, VerdictId::AckDropOverflow, true);
    }
    let last = [own, (9, zero(&[(ListenOverflows, 2)]))];
    case.look(Cut::Disarming, &last);
    case.look(Cut::Disarmed, &last);
    is(&case.found(9), ListenOverflows, [14, 14, 0, 0, 0], 0, &[]);
}

#[test]
fn a_namespace_that_was_hidden_is_audited_from_where_it_was_found() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    let look = |cut, rose: u64| Look {
        t_ns: 1,
        cut,
        watched: STRICT,
        seen: Readings {
            namespaces: BTreeMap::from([(9, values(&[(ListenOverflows, rose)]))]),
            hidden: vec![9],
            unreadable: vec![],
            ..Readings::default()
        },
        left_out: Vec::new(),
        read: Vec::new(),
        pending: None,
    };
    case.auditor.look(&look(Cut::Running, 50), &[]);
    case.auditor.look(&look(Cut::Disarming, 52), &[]);
    case.auditor.look(&look(Cut::Disarmed, 52), &[]);
    is(&case.found(9), ListenOverflows, [2, 0, 0, 0, 0], 2, &[]);
}

#[test]
fn other_namespaces_than_the_ones_asked_for_are_left_alone() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    case.auditor = Auditor::new(&rungs(Rung::Fentry), &[8]);
    case.look(Cut::Disarmed, &[(NETNS, values(&[(ListenDrops, 3)])), (8, values(&[]))]);
    let found: Vec<u32> = case.auditor.audits().unwrap().iter().map(|a| a.netns).collect();
    assert_eq!(found, [8]);
}

#[test]
fn without_a_look_there_is_no_audit() {
    let mut auditor = Auditor::new(&rungs(Rung::Fentry), &[]);
    auditor.tell(&event(Kind::Ack, OVERFLOW), VerdictId::AckDropOverflow, true);
    assert_eq!(auditor.audits(), None);
}

#[test]
fn a_look_is_written_and_read_alike() {
    let look = Look {
        t_ns: 5,
        cut: Cut::Disarmed,
        watched: STRICT,
        seen: Readings {
            namespaces: BTreeMap::from([(7, values(&[(FastOpenListenOverflow, 1)]))]),
            hidden: vec![7],
            unreadable: vec![],
            ..Readings::default()
        },
        left_out: vec![(7, 1, 2)],
        read: vec![Read { netns: 7, drops: 3, ..Read::default() }],
        pending: Some(vec![Read { netns: 7, unknown: 1, ..Read::default() }]),
    };
    let text = serde_json::to_string(&look).unwrap();
    assert_eq!(serde_json::from_str::<Look>(&text).unwrap(), look);
    // A counter that this version does not audit is left out.
    let read: Values = serde_json::from_str(r#"{"ListenDrops":4,"OfTomorrow":5}"#).unwrap();
    assert_eq!(read, [(ListenDrops, 4)].into_iter().collect());
}

mod exact;
mod gone;
mod unwatched;
