//! Which listeners have a row, and what it says.

use std::borrow::Cow;

use super::*;
use crate::{
    pipeline::{EVERYTHING, Filter},
    sink::trace::{Full, Waits},
};
use overflow_core::{
    listeners::{Inventory, sample},
    verdict::VerdictId,
};

fn inventory(listeners: Vec<Listener>) -> Inventory {
    let mut inventory = Inventory::default();
    inventory.listeners = listeners;
    inventory
}

fn snapshot<'a>(inventory: &'a Inventory, listeners: Vec<Listened<'a>>) -> Snapshot<'a> {
    Snapshot {
        t_ns: 0,
        listeners,
        inventory,
        filter: &EVERYTHING,
        accepts: false,
        suppressed: 0,
        losses: Vec::new(),
        audit: None,
    }
}

fn listened(place: &str, totals: &'static Totals) -> Listened<'static> {
    Listened {
        netns: 1,
        local: place.parse().unwrap(),
        whose: Whose::Socket(7),
        open: false,
        sockets: 1,
        place: place.to_owned(),
        listeners: Vec::new(),
        sysctls: None,
        totals: Cow::Borrowed(totals),
        members: Vec::new(),
    }
}

fn overflowed(n: u64) -> &'static Totals {
    let verdicts = BTreeMap::from([(VerdictId::AckDropOverflow, n)]);
    Box::leak(Box::new(Totals { verdicts, ..Totals::default() }))
}

/// Two members of a group, the first of which is stuck.
fn group(inodes: [u64; 2]) -> Vec<Listener> {
    let member = |inode, recv_q| Listener {
        inode,
        recv_q,
        send_q: Some(64),
        syn_recv: Some(2),
        group: 2,
        ..sample::listener("0.0.0.0:80")
    };
    vec![member(inodes[0], 65), member(inodes[1], 0)]
}

fn of_group(members: Vec<Listened<'static>>) -> Listened<'static> {
    let mut sum = Totals::default();
    for member in &members {
        sum.add(&member.totals);
    }
    let sum = Box::leak(Box::new(sum));
    Listened { whose: Whose::Group, members, open: true, ..listened("0.0.0.0:80", sum) }
}

fn member(ino: u32, overflows: u64, open: bool) -> Listened<'static> {
    let whose = Whose::Socket(ino);
    Listened { whose, open, ..listened("0.0.0.0:80", overflowed(overflows)) }
}

fn numbers(rows: &[Row]) -> Vec<(&str, &str, u64)> {
    rows.iter().map(|r| (&*r.labels.listener, &*r.labels.inode, r.totals.overflows())).collect()
}

#[test]
fn each_socket_of_a_group_has_its_row() {
    let inventory = inventory(group([7, 8]));
    let (rows, folded) = RowLimit::default().rows(&snapshot(&inventory, Vec::new()));
    let queues = |length| Some(Queues { length, limit: Some(64), syn: Some(2), sockets: 1 });
    assert_eq!(folded, 0);
    let seen: Vec<_> = rows.iter().map(|r| (r.labels.inode.as_str(), r.queues)).collect();
    assert_eq!(seen, [("7", queues(65)), ("8", queues(0))]);
    let unknown = Listened { whose: Whose::Unknown, ..member(0, 2, false) };
    let happened = of_group(vec![member(7, 38, true), unknown]);
    let (rows, _) = RowLimit::default().rows(&snapshot(&inventory, vec![happened]));
    let place = "0.0.0.0:80";
    assert_eq!(numbers(&rows), [(place, "7", 38), (place, "unknown", 2), (place, "8", 0)]);
}

#[test]
fn a_member_that_is_gone_for_long_is_summed_up_at_its_place() {
    let mut limit = RowLimit::default();
    let inventory = inventory(group([7, 8]));
    let mut at = |t_ns, listeners| {
        let (rows, _) = limit.rows(&Snapshot { t_ns, ..snapshot(&inventory, listeners) });
        rows.iter()
            .map(|r| (r.labels.inode.clone(), r.totals.overflows()))
            .filter(|(_, n)| *n > 0)
            .collect::<Vec<_>>()
    };
    let happened = || vec![of_group(vec![member(5, 4, false), member(7, 38, true)])];
    let both = [("5".to_owned(), 4), ("7".to_owned(), 38)];
    assert_eq!(at(1, happened()), both);
    assert_eq!(at(GONE_NS, happened()), both);
    let apart = [("closed".to_owned(), 4), ("7".to_owned(), 38)];
    assert_eq!(at(GONE_NS + 1, happened()), apart);
    // And so it stays when the socket is no longer told apart at all.
    let closed = Listened { whose: Whose::Closed, ..member(0, 4, false) };
    assert_eq!(at(GONE_NS + 2, vec![of_group(vec![closed, member(7, 38, true)])]), apart);
}

#[test]
fn one_after_the_other_at_an_address_have_one_row() {
    let now = Listener { inode: 9, recv_q: 3, ..sample::listener("0.0.0.0:80") };
    let inventory = inventory(vec![now]);
    let happened = vec![member(7, 5, false), member(9, 2, true)];
    let (rows, _) = RowLimit::default().rows(&snapshot(&inventory, happened));
    assert_eq!(numbers(&rows), [("0.0.0.0:80", "", 7)]);
    assert_eq!(rows[0].queues.unwrap().length, 3);
}

#[test]
fn old_rows_make_room_and_nothing_is_counted_twice() {
    let inventory = Inventory::default();
    let mut limit = RowLimit::default();
    let places = |ports: std::ops::Range<usize>| -> Vec<_> {
        ports.map(|n| listened(&format!("0.0.0.0:{n}"), overflowed(1))).collect()
    };
    let mut at = |t_ns, listeners: Vec<Listened<'static>>| {
        let total = listeners.len() as u64;
        let (rows, _) = limit.rows(&Snapshot { t_ns, ..snapshot(&inventory, listeners) });
        assert_eq!(rows.iter().map(|r| r.totals.overflows()).sum::<u64>(), total);
        rows
    };
    let has = |rows: &[Row], port: usize| {
        rows.iter().any(|r| r.labels.listener == format!("0.0.0.0:{port}"))
    };
    let rows = at(1, places(1..ROWS + 101));
    assert!(has(&rows, ROWS) && !has(&rows, ROWS + 1));
    let rows = at(GONE_NS, places(1..ROWS + 102));
    assert!(!has(&rows, ROWS + 101));
    // One that came while there was no room stays where it is summed up; a new one has a row.
    let rows = at(GONE_NS + 1, places(1..ROWS + 103));
    assert_eq!(rows.len(), ROWS + 1);
    assert!(has(&rows, ROWS + 102) && !has(&rows, ROWS + 101) && !has(&rows, 1));
    assert_eq!(rows.last().unwrap().totals.overflows(), 102);
    // Those that are no longer told apart are among the rest.
    let gone = Listened {
        whose: Whose::Elsewhere,
        sockets: 1000,
        ..listened("0.0.0.0:0", overflowed(1000))
    };
    let mut few = places(1100..1103);
    few.push(gone);
    let (rows, folded) = limit.rows(&snapshot(&inventory, few));
    assert_eq!(rows.iter().map(|r| r.totals.overflows()).sum::<u64>(), 1003);
    assert_eq!((rows.last().unwrap().labels.listener.as_str(), folded), ("other", 1002));
}

#[test]
fn a_queue_that_is_never_seen_to_shrink_is_not_shown() {
    let listeners = vec![sample::listener("0.0.0.0:80")];
    let inventory = inventory(listeners);
    let counted = Totals {
        recv_q: Some((9, 8)),
        full: Some(Full::default()),
        waits: Some(Waits::default()),
        ..Totals::default()
    };
    let counted = Box::leak(Box::new(counted));
    let mut snapshot = snapshot(&inventory, vec![listened("0.0.0.0:80", counted)]);
    let shown = |snapshot: &Snapshot<'_>| {
        let row = RowLimit::default().rows(snapshot).0.remove(0);
        (row.queues.unwrap().length, row.totals.full.is_some(), row.totals.waits.is_some())
    };
    assert_eq!(shown(&snapshot), (0, false, false));
    snapshot.accepts = true;
    assert_eq!(shown(&snapshot), (9, true, true));
}

#[test]
fn more_listeners_than_rows_are_summed_up_and_never_change_rows() {
    let inventory = Inventory::default();
    let many: Vec<_> =
        (0..ROWS + 2).map(|n| listened(&format!("0.0.0.0:{n}"), overflowed(1))).collect();
    let mut limit = RowLimit::default();
    let (rows, folded) = limit.rows(&snapshot(&inventory, many));
    assert_eq!((rows.len(), folded), (ROWS + 1, 2));
    let last = rows.last().unwrap();
    assert_eq!((last.labels.listener.as_str(), last.totals.overflows()), ("other", 2));
    let turned: Vec<_> =
        (0..ROWS + 2).rev().map(|n| listened(&format!("0.0.0.0:{n}"), overflowed(3))).collect();
    let (rows, _) = limit.rows(&snapshot(&inventory, turned));
    assert_eq!((rows.len(), rows.last().unwrap().totals.overflows()), (ROWS + 1, 6));
    let missing = |n: usize| !rows.iter().any(|r| r.labels.listener == format!("0.0.0.0:{n}"));
    assert!(missing(ROWS) && missing(ROWS + 1) && !missing(0));
}

#[test]
fn quiet_listeners_give_way() {
    let listeners = (1..=u16::try_from(ROWS).unwrap() + 5)
        .map(|port| sample::listener(&format!("127.0.0.1:{port}")))
        .collect();
    let inventory = inventory(listeners);
    let eventful = vec![listened("127.0.0.1:1005", overflowed(1))];
    let (rows, folded) = RowLimit::default().rows(&snapshot(&inventory, eventful));
    assert_eq!((rows.len(), folded), (ROWS + 1, 5));
    assert_eq!(
        (rows[0].labels.listener.as_str(), rows[0].totals.overflows()),
        ("127.0.0.1:1005", 1)
    );
    assert!(rows[0].queues.is_some());
}

#[test]
fn quiet_listeners_that_are_not_asked_for_have_no_row() {
    let listeners = ["0.0.0.0:80", "0.0.0.0:81"].map(sample::listener);
    let elsewhere = Listener { netns: 2, ..sample::listener("0.0.0.0:80") };
    let inventory = inventory(listeners.into_iter().chain([elsewhere]).collect());
    let rows = |filter: &Filter| {
        let snapshot = Snapshot { filter, ..snapshot(&inventory, Vec::new()) };
        let rows = RowLimit::default().rows(&snapshot).0;
        rows.iter().map(|row| (row.labels.netns, row.labels.listener.clone())).collect::<Vec<_>>()
    };
    let row = |netns, listener: &str| (Some(netns), listener.to_owned());
    assert_eq!(rows(&EVERYTHING).len(), 3);
    let netns = Filter { netns: vec![2], ..Filter::default() };
    assert_eq!(rows(&netns), [row(2, "0.0.0.0:80")]);
    let port = Filter { ports: vec![81], ..Filter::default() };
    assert_eq!(rows(&port), [row(1, "0.0.0.0:81")]);
}
