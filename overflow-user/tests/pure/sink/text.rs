//! The report for people.

use overflow_core::{
    loss::Loss,
    text::style::Options,
    verdict::{Connection, VerdictId},
    wire::LinkKind,
};
use overflow_lab::{
    report::{Report, text::report},
    witness::Coverage,
};

use crate::{
    expect,
    support::reports::{self, Cell, Handshake},
};

fn render(sample: &Report, opts: Options) -> String {
    let mut text = Vec::new();
    report(&mut text, sample, opts).unwrap();
    String::from_utf8(text).unwrap()
}

/// Compares with the expect file, and holds the promises that every report keeps.
fn check(name: &str, sample: &Report) {
    let text = render(sample, Options::default());
    let ascii = render(sample, Options { unicode: false, ..Options::default() });
    for text in [&text, &ascii] {
        let wide: Vec<&str> = text.lines().filter(|l| l.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{name}: wider than 80 columns: {wide:#?}");
        assert!(text.lines().all(|l| l.trim_end() == l), "{name}: trailing spaces");
    }
    assert!(ascii.is_ascii(), "{name}: not ASCII");
    let color = render(sample, Options { color: true, ..Options::default() });
    assert_eq!(uncolored(&color), text, "{name}: colour changes the text");
    expect::check(name, &text);
}

fn uncolored(text: &str) -> String {
    let mut plain = String::new();
    for (at, part) in text.split("\x1b[").enumerate() {
        plain.push_str(if at == 0 { part } else { part.split_once('m').unwrap().1 });
    }
    plain
}

#[test]
fn the_seed_experiment() {
    check("lab-seed.txt", &reports::seed());
}

#[test]
fn requests_and_cookies_in_one_burst() {
    use Handshake::{Accepted as A, Cookie as C, Kept as K, Reset as R};
    let cells = [Cell::new(0, 1, 1, &[A, K, C, C, C]), Cell::new(1, 1, 1, &[A, R, C, C, C])];
    check("lab-prefill.txt", &reports::report(cells.map(|c| c.report(|_, _| ())).into()));
}

#[test]
fn many_clients_are_grouped() {
    let mut handshakes = vec![Handshake::Accepted, Handshake::Accepted];
    handshakes.resize(300, Handshake::Cookie);
    let cell = Cell::new(1, 1, 0, &handshakes).report(|_, _| ());
    check("lab-crowd.txt", &reports::report(vec![cell]));
}

#[test]
fn without_a_tracer_it_says_so() {
    use Handshake::{Accepted as A, Cookie as C, SynDropped as S};
    let cell = |syncookies, handshakes: &[Handshake]| {
        let mut cell = Cell::new(1, syncookies, 0, handshakes);
        cell.coverage = None;
        cell.link = LinkKind::Userspace;
        cell.report(|seen, _| {
            seen.notes.push("this kernel has no sch_netem, so a forwarder delays".to_owned());
        })
    };
    let cells = vec![cell(1, &[A, A, C, C, C]), cell(0, &[A, A, S, S, S])];
    check("lab-untraced.txt", &reports::report(cells));
}

#[test]
fn trouble_is_loud() {
    use Handshake::{Accepted as A, Cookie as C};
    let mut cell = Cell::new(1, 1, 0, &[A, A, C, C, C]);
    cell.coverage = Some(Coverage { lost: 3, blind_to: Vec::new() });
    cell.losses = vec![(Loss::from_id("events for which the ring had no room"), 3)];
    let cell = cell.report(|seen, traced: &mut Vec<Connection>| {
        seen.concurrent = false;
        seen.attempts = 3;
        // One verdict wrong, one connection unseen, one counter off.
        traced[3].stages[1].id = VerdictId::AckResetOverflow;
        traced.remove(4);
        *seen.counters.get_mut("SyncookiesRecv").unwrap() = 1;
    });
    check("lab-trouble.txt", &reports::report(vec![cell]));
}
