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
        let seen = Readings { namespaces, segments: [(9, segments)].into(), hidden: vec![] };
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
