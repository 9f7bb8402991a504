//! Where every CPU's counters were read by hooks or by the survey at the end, one event more or less
//! than was told is seen.

use super::*;

const QUEUE_FULL: u32 =
    Path::CONN_REQUEST | Path::COUNTED | Path::COUNTED_DROP | Path::COUNTED_QUEUE_FULL;
const OTHER: u32 = Path::CONN_REQUEST | Path::COUNTED | Path::COUNTED_DROP;

fn read(netns: u32, [overflows, drops, queue_full]: [u64; 3]) -> Read {
    Read { netns, overflows, drops, queue_full, unknown: 0 }
}

/// What is unaccounted when one record of this kind is taken away from a trace that is complete, and
/// when one is told twice.
fn without_and_with(path: u32, kind: Kind, id: VerdictId, rose: &[(Counter, u64)]) -> [u64; 2] {
    [2, 4].map(|told| {
        let mut case = Case::begun(Rung::Fentry, STRICT);
        case.tell(path, kind, id, told);
        // What no hook saw is no excuse for it.
        case.left_out = vec![(NETNS, LeftOut::UnseenDrop as u32, 1)];
        case.pending = Some(vec![read(NETNS, [0, 2, 0])]);
        let seen = |c: Counter| if c == ListenDrops { 3 } else { 0 };
        let rose: Vec<_> = rose.iter().map(|(c, n)| (*c, n + seen(*c))).collect();
        let audit = case.ended(&rose);
        let of = |c| of(&audit, c).unaccounted.unsigned_abs();
        assert_eq!(audit.unaccounted(), rose.iter().map(|(c, _)| of(*c)).sum::<u64>());
        of(ListenDrops)
    })
}

#[test]
fn one_record_taken_away_is_one_unaccounted() {
    let overflow = [(ListenOverflows, 3), (ListenDrops, 3)];
    let id = VerdictId::AckDropOverflow;
    assert_eq!(without_and_with(OVERFLOW, Kind::Ack, id, &overflow), [1, 1]);
    let full = [(ReqQFullDrop, 3), (ListenDrops, 3)];
    let id = VerdictId::SynDropSynQueueFull;
    assert_eq!(without_and_with(QUEUE_FULL, Kind::Syn, id, &full), [1, 1]);
    // A drop that moves ListenDrops alone is not excused by drops that no hook saw.
    let id = VerdictId::SynDropOther;
    assert_eq!(without_and_with(OTHER, Kind::Syn, id, &[(ListenDrops, 3)]), [1, 1]);
}

#[test]
fn while_it_runs_what_no_hook_saw_is_a_number_too() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    case.pending = Some(vec![read(NETNS, [0, 2, 0])]);
    for _ in 0..2 {
        case.look(Cut::Running, &[(NETNS, values(&[(ListenDrops, 3)]))]);
    }
    is(&case.found(NETNS), ListenDrops, [3, 0, 2, 0, 0], 1, &["2 dropped where no hook is"]);
    // A hook has looked: now it is counted there.
    case.pending = Some(Vec::new());
    case.left_out = vec![(NETNS, LeftOut::UnseenDrop as u32, 3)];
    let audit = case.ended(&[(ListenDrops, 3)]);
    is(&audit, ListenDrops, [3, 0, 3, 0, 0], 0, &["3 dropped where no hook is"]);
}

/// What no hook has read by the end is pending at both of the last looks, and counts once: in a
/// namespace that nobody could read either.
#[test]
fn what_is_pending_is_counted_once() {
    for alive in [false, true] {
        let mut case = Case::begun(Rung::Fentry, STRICT);
        case.pending = Some(vec![read(NETNS, [0, 36, 0])]);
        let seen = [(NETNS, values(&[(ListenDrops, 36)]))];
        let seen = if alive { &seen[..] } else { &[] };
        for cut in [Cut::Running, Cut::Disarming, Cut::Disarmed] {
            case.look(cut, seen);
        }
        let why = ["36 dropped where no hook is"];
        is(&case.found(NETNS), ListenDrops, [36, 0, 36, 0, 0], 0, &why);
    }
}

/// A namespace that was made while tracing, alive at the end or gone: what hooks read of its counters
/// is compared with what was told, and so is what was read of others with its number before.
#[test]
fn namespaces_that_were_made_meanwhile_are_compared_with_what_hooks_read() {
    let own = (NETNS, values(&[]));
    let zero = |rose: u64| -> Values {
        let set = |c: &Counter| matches!(c, ListenOverflows | ListenDrops);
        Counter::AUDITED.iter().map(|c| (*c, if set(c) { rose } else { 0 })).collect()
    };
    let audit = |told: u64, read_of_it: u64, alive: Option<u64>| {
        let mut case = Case::begun(Rung::Fentry, STRICT);
        let mut event = event(Kind::Ack, OVERFLOW);
        event.conn.netns = 9;
        for _ in 0..told {
            case.auditor.tell(&event, VerdictId::AckDropOverflow, true);
        }
        case.read = vec![read(9, [read_of_it, read_of_it, 0])];
        let seen: Vec<_> = [own.clone()].into_iter().chain(alive.map(|n| (9, zero(n)))).collect();
        case.look(Cut::Disarming, &seen);
        case.look(Cut::Disarmed, &seen);
        of(&case.found(9), ListenOverflows)
    };
    for alive in [None, Some(5), Some(2)] {
        assert_eq!(audit(5, 5, alive).unaccounted, 0);
        assert_eq!(audit(6, 5, alive).unaccounted, -1);
        assert_eq!(audit(4, 5, alive).unaccounted, 1);
    }
    // Counted since hooks looked, and neither told nor pending.
    assert_eq!(audit(5, 5, Some(6)).unaccounted, 1);
}

#[test]
fn what_was_left_out_before_an_account_begins_is_not_part_of_it() {
    let mut case = Case::begun(Rung::Fentry, STRICT);
    let mut look = |cut, rose: u64, unseen: u64| {
        let namespaces = BTreeMap::from([(9, values(&[(ListenDrops, rose)]))]);
        let seen = Readings { namespaces, hidden: vec![9], ..Readings::default() };
        let left_out = vec![(9, LeftOut::UnseenDrop as u32, unseen)];
        let (read, pending) = (vec![read(9, [0, unseen, 0])], Some(Vec::new()));
        let look = Look { t_ns: 1, cut, watched: STRICT, seen, left_out, read, pending };
        case.auditor.look(&look, &[]);
    };
    look(Cut::Running, 50, 40);
    look(Cut::Disarming, 53, 43);
    look(Cut::Disarmed, 53, 43);
    is(&case.found(9), ListenDrops, [3, 0, 3, 0, 0], 0, &["3 dropped where no hook is"]);
}
