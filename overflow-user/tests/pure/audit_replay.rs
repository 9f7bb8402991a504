//! The audit of recordings made here: events beside counters, in text, JSON and on stderr.

use overflow_common::{Kind, LeftOut, Path as Bits};
use overflow_core::{
    audit::{Cut, Look, Readings, Values, Watched},
    loss::Loss,
    recording::Frame,
    verdict::Counter,
};
use serde_json::{Value, json};

use crate::{
    support::schema,
    trace_replay::{SECOND, event, frames, record, replay, text},
};

/// A look at the namespace of these recordings, whose counters rose by so much.
fn look(cut: Cut, rose: &[(Counter, u64)], left_out: &[(LeftOut, u64)]) -> Frame {
    let stood = Counter::AUDITED.iter().map(|counter| (*counter, 1000));
    let values: Values = stood.chain(rose.iter().map(|(c, n)| (*c, 1000 + n))).collect();
    Frame::Look(Box::new(Look {
        t_ns: 3 * SECOND,
        cut,
        watched: Watched { counts_left_out: true, older_listeners: true, ..Watched::default() },
        seen: Readings {
            namespaces: [(7, values)].into(),
            hidden: Vec::new(),
            ..Readings::default()
        },
        left_out: left_out.iter().map(|(kind, n)| (7, *kind as u32, *n)).collect(),
        read: Vec::new(),
        pending: Some(Vec::new()),
    }))
}

/// Those events, with looks around them.
fn audited(rose: &[(Counter, u64)], left_out: &[(LeftOut, u64)], losses: u64) -> Vec<Frame> {
    let mut frames = frames();
    let end = frames.pop().unwrap();
    frames.insert(0, look(Cut::Arming, &[], &[]));
    frames.insert(1, look(Cut::Armed, &[], &[]));
    if losses > 0 {
        let loss = Loss::Kernel(overflow_common::Loss::RingFull);
        frames.push(Frame::Losses(vec![(loss, losses)]));
    }
    frames.push(look(Cut::Disarming, rose, left_out));
    frames.push(look(Cut::Disarmed, rose, left_out));
    frames.push(end);
    frames
}

/// What those events move: three ACKs and three SYNs that find the queue full, one cookie.
const TOLD: [(Counter, u64); 4] = [
    (Counter::ListenOverflows, 6),
    (Counter::ListenDrops, 6),
    (Counter::SyncookiesSent, 1),
    (Counter::ReqQFullDoCookies, 1),
];

/// Stdout without line breaks, and stderr.
fn shown(name: &str, frames: &[Frame], options: &[&str]) -> (String, String) {
    let recorded = record(name, frames);
    let output = replay(&recorded.0, options);
    assert!(output.status.success());
    let flat = text(&output.stdout).replace('\u{a0}', " ");
    (flat.split_whitespace().collect::<Vec<_>>().join(" "), text(&output.stderr))
}

/// The `audit` lines and the summary.
fn lines(name: &str, frames: &[Frame], options: &[&str]) -> (Vec<Value>, Value) {
    let recorded = record(name, frames);
    let root = schema::shipped();
    let output = replay(&recorded.0, &[&["--output", "json"], options].concat());
    let all: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &all {
        schema::check(&root, &root, line).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
    let audits = all.iter().filter(|line| line["type"] == "audit").cloned().collect();
    (audits, all.last().unwrap().clone())
}

#[test]
fn what_is_told_is_what_was_counted() {
    let (out, err) = shown("audit-equal", &audited(&TOLD, &[], 0), &[]);
    let expected = "audit netns 7: ListenOverflows 6 = 6 told, ListenDrops 6 = 6 told, \
                    TCPReqQFullDoCookies 1 = 1 told, SyncookiesSent 1 = 1 told";
    assert!(out.ends_with(expected), "{out}");
    assert_eq!(err, "");
    let (audits, summary) = lines("audit-equal-json", &audited(&TOLD, &[], 0), &[]);
    assert_eq!((audits.len(), &summary["unaccounted"]), (1, &json!(0)));
    let drops = json!({"rose": 6, "told": 6, "left_out": 0, "lost": 0, "unwatched": 0,
                       "unaccounted": 0, "why": []});
    assert_eq!(audits[0]["counters"]["ListenDrops"], drops);
    assert_eq!(audits[0]["counters"].as_object().unwrap().len(), Counter::AUDITED.len());
}

#[test]
fn what_was_missed_is_said_in_every_way() {
    let mut rose = TOLD;
    rose[0].1 = 9;
    rose[1].1 = 9;
    let frames = audited(&rose, &[], 0);
    let (out, err) = shown("audit-missed", &frames, &[]);
    assert!(out.contains("ListenOverflows 9 = 6 told + 3 UNACCOUNTED"), "{out}");
    assert!(err.contains("netns 7: ListenOverflows +3, ListenDrops +3"), "{err}");
    let (audits, summary) = lines("audit-missed-json", &frames, &[]);
    assert_eq!((&audits[0]["unaccounted"], &summary["unaccounted"]), (&json!(6), &json!(6)));
    assert_eq!(audits[0]["counters"]["ListenOverflows"]["unaccounted"], 3);
}

/// The events as recorded, and one of them taken away: as if no hook had told it.
#[test]
fn one_record_taken_away_is_missed_by_name() {
    let drop = |frame: &Frame| match frame {
        Frame::Event(event) => event.path & Bits::SYN_RECV_SOCK_NULL != 0,
        _ => false,
    };
    let whole = audited(&TOLD, &[], 0);
    let place = whole.iter().position(drop).expect("a third ACK that was dropped");
    let (_, summary) = lines("audit-whole", &whole, &[]);
    assert_eq!(summary["unaccounted"], 0);
    let mut frames = whole;
    frames.remove(place);
    let (out, err) = shown("audit-one-less", &frames, &[]);
    assert!(out.contains("ListenOverflows 6 = 5 told + 1 UNACCOUNTED"), "{out}");
    assert!(out.contains("ListenDrops 6 = 5 told + 1 UNACCOUNTED"), "{out}");
    assert!(err.contains("netns 7: ListenOverflows +1, ListenDrops +1"), "{err}");
}

#[test]
fn what_was_told_too_much_is_said_too() {
    let mut rose = TOLD;
    rose[0].1 = 5;
    let (out, err) = shown("audit-too-much", &audited(&rose, &[], 0), &[]);
    assert!(out.contains("ListenOverflows 5 = 6 told - 1 UNACCOUNTED"), "{out}");
    assert!(err.contains("ListenOverflows -1"), "{err}");
}

#[test]
fn what_was_left_out_or_lost_explains() {
    let mut rose = TOLD;
    rose[0].1 = 10;
    rose[1].1 = 10;
    let frames = audited(&rose, &[(LeftOut::FilteredOverflow, 3)], 1);
    let (audits, summary) = lines("audit-explained", &frames, &[]);
    assert_eq!(summary["unaccounted"], 0);
    let expected = json!({"rose": 10, "told": 6, "left_out": 3, "lost": 1, "unwatched": 0,
                          "unaccounted": 0,
                          "why": ["3 at listeners that were not asked for",
                                  "1 lost: ebpf ring_full"]});
    assert_eq!(audits[0]["counters"]["ListenOverflows"], expected);
    let (out, _) = shown("audit-explained-text", &frames, &[]);
    assert!(out.contains("ListenOverflows 10 = 6 told + 4 explained"), "{out}");
    assert!(out.contains("3 at listeners that were not asked for; 1 lost"), "{out}");
}

#[test]
fn a_filter_of_the_replay_leaves_out_what_it_hides() {
    for filter in [["-P", "81"], ["-p", "4"], ["-6", "-4"]] {
        let filter = if filter[0] == "-6" { &filter[..1] } else { &filter[..] };
        let (out, err) = shown("audit-filter", &audited(&TOLD, &[], 0), filter);
        assert!(out.contains("Nothing to report in 2.5 s, although the kernel counted"), "{out}");
        let all = "ListenOverflows 6 = 0 told + 6 explained";
        assert!(out.contains(all) && !out.contains("UNACCOUNTED"), "{filter:?}: {out}");
        assert!(out.contains("6 at listeners that were not asked for"), "{out}");
        assert_eq!(err, "");
    }
    // Of another namespace nothing is said at all.
    let (out, _) = shown("audit-netns", &audited(&TOLD, &[], 0), &["--netns", "8"]);
    assert!(!out.contains("netns 7"), "{out}");
}

#[test]
fn events_that_a_limit_hides_are_told() {
    let limited = ["--max-events-per-second", "2"];
    let (_, summary) = lines("audit-limit", &audited(&TOLD, &[], 0), &limited);
    assert_eq!(summary["unaccounted"], 0);
    // After the last event that is wanted nothing is told, so nothing is compared.
    let (out, err) = shown("audit-max", &audited(&TOLD, &[], 0), &["--max-events", "2"]);
    assert!(out.ends_with("audit not done: the kernel's counters were not read."), "{out}");
    assert_eq!(err, "");
}

#[test]
fn a_lasting_gap_is_told_while_it_lasts_and_once() {
    let mut frames = audited(&TOLD, &[], 0);
    let missed = [(Counter::ListenOverflows, 2), (Counter::ListenDrops, 2)];
    for at in [3, 4, 5] {
        frames.insert(at, look(Cut::Running, &missed, &[]));
    }
    let (audits, summary) = lines("audit-lasts", &frames, &[]);
    // What was missing then was told later, so nothing is in the end.
    assert_eq!((audits.len(), &summary["unaccounted"]), (2, &json!(0)), "{audits:?}");
    assert_eq!((&audits[0]["t_ns"], &audits[0]["unaccounted"]), (&json!(3 * SECOND), &json!(4)));
    let (out, _) = shown("audit-lasts-text", &frames, &[]);
    assert_eq!(out.matches("UNACCOUNTED").count(), 2, "{out}");
}

#[test]
fn silence_is_a_line_and_so_is_no_audit() {
    let end = Frame::End(2 * SECOND);
    let cuts = [Cut::Arming, Cut::Armed, Cut::Disarming, Cut::Disarmed];
    let mut quiet: Vec<Frame> = cuts.map(|cut| look(cut, &[], &[])).into();
    quiet.push(end.clone());
    let (out, _) = shown("audit-quiet", &quiet, &[]);
    assert!(
        out.ends_with("audit no counter of an overflow rose, in 1 network namespace."),
        "{out}"
    );
    let (audits, summary) = lines("audit-quiet-json", &quiet, &[]);
    assert_eq!((audits.len(), &summary["unaccounted"]), (0, &json!(0)));
    let old = [event(SECOND, 1, Kind::Syn, Bits::CONN_REQUEST), end];
    let (audits, summary) = lines("audit-none", &old, &[]);
    assert_eq!((audits.len(), summary.get("unaccounted")), (0, None));
}
