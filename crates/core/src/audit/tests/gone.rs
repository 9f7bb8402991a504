//! Namespaces that were gone before anybody looked, and others with their numbers.

use super::*;

#[test]
fn a_namespace_that_was_gone_before_its_counters_were_read_says_so() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    let own = (NETNS, values(&[]));
    let mut event = event(Kind::Ack, OVERFLOW);
    event.conn.netns = 9;
    case.auditor.tell(&event, VerdictId::AckDropOverflow, true);
    case.look(Cut::Disarming, std::slice::from_ref(&own));
    case.look(Cut::Disarmed, std::slice::from_ref(&own));
    is(&case.found(9), ListenOverflows, [1, 1, 0, 0, 0], 0, &[]);
    assert!(case.found(9).unread);
}

#[test]
fn fewer_segments_than_before_are_another_namespaces() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    let mut event = event(Kind::Ack, OVERFLOW);
    event.conn.netns = 9;
    let look = |case: &mut Case, cut, segments| {
        let zero: Values = Counter::AUDITED.iter().map(|c| (*c, 0)).collect();
        let namespaces = [(9, zero), (NETNS, values(&[]))].into();
        let segments = [(9, segments)].into();
        let seen = Readings { namespaces, segments, ..Readings::default() };
        let look = Look {
            t_ns: 1,
            cut,
            watched: STRICT,
            seen,
            left_out: Vec::new(),
            read: Vec::new(),
            pending: None,
        };
        case.auditor.look(&look, &[]);
    };
    look(&mut case, Cut::Running, 50);
    // The first one dropped what its counters show no more; they stand where the next one's do.
    case.auditor.tell(&event, VerdictId::AckDropOverflow, true);
    look(&mut case, Cut::Disarming, 7);
    look(&mut case, Cut::Disarmed, 7);
    assert_eq!(of(&case.found(9), ListenOverflows).unaccounted, 0);
}

fn read(netns: u32, overflows: u64) -> Read {
    Read { netns, overflows, drops: overflows, ..Read::default() }
}

#[test]
fn where_nobody_can_look_any_more_what_hooks_have_read_is_compared() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    case.tell(OVERFLOW, Kind::Ack, VerdictId::AckDropOverflow, 3);
    case.look(Cut::Running, &[(NETNS, values(&[(ListenOverflows, 3), (ListenDrops, 3)]))]);
    let mut event = event(Kind::Ack, OVERFLOW);
    event.conn.netns = 9;
    case.auditor.tell(&event, VerdictId::AckDropOverflow, true);
    // One of the other's is missed. The process that looks answers no more.
    case.read = vec![read(NETNS, 3), read(9, 2)];
    case.look(Cut::Disarmed, &[]);
    is(&case.found(NETNS), ListenOverflows, [3, 3, 0, 0, 0], 0, &[]);
    is(&case.found(9), ListenOverflows, [2, 1, 0, 0, 0], 1, &[]);
    assert!(case.found(NETNS).unread && case.found(9).unread);
}

#[test]
fn a_namespace_that_is_gone_is_compared_while_others_are_looked_at() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    let own = (NETNS, values(&[]));
    case.read = vec![read(9, 1)];
    case.look(Cut::Running, std::slice::from_ref(&own));
    case.look(Cut::Running, std::slice::from_ref(&own));
    is(&case.found(9), ListenOverflows, [1, 0, 0, 0, 0], 1, &[]);
    assert!(case.found(9).unread && !case.found(NETNS).unread);
}

#[test]
fn what_could_not_be_read_at_the_beginning_is_audited_from_where_it_can() {
    let rose = [(9, values(&[(ListenOverflows, 50), (ListenDrops, 50)]))];
    let more = [(9, values(&[(ListenOverflows, 51), (ListenDrops, 51)]))];
    let mut blind = Case::begun(Rung::Fentry, STRICT);
    blind.auditor = Auditor::new(&rungs(Rung::Fentry), &[]);
    let mut shut_out = Case::begun(Rung::Fentry, STRICT);
    shut_out.unreadable = vec![9];
    shut_out.look(Cut::Armed, &[]);
    shut_out.unreadable.clear();
    for mut case in [blind, shut_out] {
        case.look(Cut::Running, &rose);
        case.look(Cut::Disarming, &more);
        case.look(Cut::Disarmed, &more);
        is(&case.found(9), ListenOverflows, [1, 0, 0, 0, 0], 1, &[]);
    }
}
