//! `overflow replay --since --until -q`: a part of a recording, and less around it. The recording is that of
//! `trace_replay`: three abnormal events from 12:00:00 on, four from 12:00:01 on.

use serde_json::Value;

use crate::trace_replay::{Recorded, frames, record, replay, text};

fn lines(recorded: &Recorded, options: &[&str]) -> usize {
    let shown = text(&replay(&recorded.0, options).stdout);
    shown.lines().filter(|line| line.starts_with("12:")).count()
}

#[test]
fn what_is_outside_is_neither_shown_nor_counted() {
    let recorded = record("part", &frames());
    assert_eq!(lines(&recorded, &[]), 7);
    for since in ["12:00:01", "1s", "1970-01-01T12:00:01Z"] {
        assert_eq!(lines(&recorded, &["--since", since]), 4, "{since}");
        assert_eq!(lines(&recorded, &["--until", since]), 3, "{since}");
    }
    assert_eq!(lines(&recorded, &["--since", "12:00:00", "--until", "12:00:01.000000003"]), 4);
    assert_eq!(lines(&recorded, &["--since", "12:00:03"]), 0);
    let closing = |options: &[&str]| {
        let options = [options, &["--output", "json"]].concat();
        let shown = text(&replay(&recorded.0, &options).stdout);
        let lines: Vec<Value> = shown.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let of = |kind: &str| lines.iter().find(|line| line["type"] == kind).cloned();
        let hurt = |line: &Value| line["clients"]["hurt"].clone();
        let (listener, summary) = (of("listener").unwrap(), of("summary").unwrap());
        assert_eq!(hurt(&listener), hurt(&summary));
        (listener["overflows"].clone(), hurt(&summary))
    };
    // Of five clients in all one is refused in both parts.
    assert_eq!(closing(&[]), (6.into(), 5.into()));
    assert_eq!(closing(&["--since", "12:00:01"]), (4.into(), 4.into()));
    assert_eq!(closing(&["--until", "12:00:01"]), (2.into(), 2.into()));
}

/// What came before still helps to judge: an ACK is dropped again, and its SYN was seen.
#[test]
fn the_events_of_a_part_are_judged_as_those_of_the_whole() {
    let recorded = record("part-judged", &frames());
    let all = text(&replay(&recorded.0, &["-q"]).stdout);
    let part = text(&replay(&recorded.0, &["-q", "--since", "12:00:01"]).stdout);
    let events = |text: &str| {
        let later = text.lines().filter(|line| line.starts_with("12:00:01"));
        later.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(events(&part), events(&all));
    assert!(part.contains("in 1.5 s:"), "{part}");
}

#[test]
fn a_part_is_not_audited_and_says_so() {
    let recorded = record("part-audit", &frames());
    let shown = text(&replay(&recorded.0, &["--until", "12:00:01"]).stdout);
    assert!(
        shown.contains("audit  not done: the kernel's counters are those of the whole"),
        "{shown}"
    );
}

#[test]
fn aggregates_begin_with_the_part() {
    let recorded = record("part-summary", &frames());
    let shown = text(&replay(&recorded.0, &["--summary", "1", "--since", "12:00:01"]).stdout);
    assert!(!shown.lines().any(|line| line.starts_with("12:00:00 ")), "{shown}");
    assert!(
        shown.contains("ListenOverflows 4,") && !shown.contains("ListenOverflows 6,"),
        "{shown}"
    );
}

#[test]
fn quiet_leaves_out_header_and_notes_and_nothing_else() {
    let recorded = record("quiet", &frames());
    let loud = text(&replay(&recorded.0, &[]).stdout);
    let quiet = text(&replay(&recorded.0, &["-q"]).stdout);
    assert!(loud.contains("\nnote: ") && loud.ends_with(&quiet), "{quiet}");
    assert!(quiet.starts_with("12:00:00 "), "{quiet}");
}

#[test]
fn a_moment_that_is_none_is_refused() {
    let recorded = record("part-refused", &frames());
    let output = replay(&recorded.0, &["--since", "noon"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("expected a time of the day"),
        "{}",
        text(&output.stderr)
    );
}
