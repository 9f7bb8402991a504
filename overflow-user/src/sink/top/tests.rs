//! Frames of the view, at several sizes, and what keys do to them.

use std::{borrow::Cow, collections::BTreeMap, env, fs, io};

use overflow_common::RawEvent;
use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::pipeline::EVERYTHING;
use crate::sink::trace::{
    Full, JudgedEvent, Listened, Message, Opening, Sink as _, Snapshot, Totals, Waits, Whose,
};
use overflow_core::{
    audit::{Balance, NamespaceAudit},
    cause::CauseId,
    clients::HurtClients,
    decode::{Decoder, Event},
    hook_point::HookPoint,
    listeners::{Listener, Namespace, Surroundings, Sysctls, sample},
    loss::Loss,
    model::{kernels, release::Release},
    owner::{Cgroup, Owner, Process},
    verdict::{Counter, Known, Stage, Values, VerdictId},
};

const SECOND: u64 = 1_000_000_000;
const NETNS: u32 = 4_026_531_840;

/// Compares with a file of `tests/data`; `UPDATE_EXPECT=1` writes it.
fn expect(name: &str, got: &str) {
    let path = format!("{}/tests/data/top-{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, got).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        got, expected,
        "{name} differs; run again with UPDATE_EXPECT=1 and look at the diff"
    );
}

/// What a terminal of this size shows.
fn shown(top: &Shared, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| top.lock().draw(frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..height).map(line).fold(String::new(), |text, line| text + &line + "\n")
}

fn listener(local: &str, comm: &str, pid: u32) -> Listener {
    let cgroup =
        Cgroup { unit: Some(format!("{comm}.service").as_str().into()), ..Cgroup::default() };
    let process = Process { pid, ppid: 1, comm: comm.into(), start: 1, cgroup };
    let pids = (pid..pid + 3).collect();
    let owner = Owner::new(pids, vec![process]);
    Listener { netns: NETNS, owner: Some(owner), drops: Some(7), ..sample::listener(local) }
}

fn sysctls() -> Sysctls {
    Sysctls {
        somaxconn: Some(4096),
        abort_on_overflow: Some(0),
        syncookies: Some(1),
        max_syn_backlog: Some(512),
        synack_retries: Some(5),
    }
}

fn inventory(listeners: Vec<Listener>) -> Inventory {
    let namespace = Namespace { inum: NETNS, name: None, own: true };
    let here = Surroundings { namespace, sysctls: sysctls(), counters: None };
    let namespaces = BTreeMap::from([(NETNS, here)]);
    let mut inventory = Inventory::default();
    (inventory.namespaces, inventory.listeners) = (namespaces, listeners);
    inventory.indexed()
}

fn host() -> Vec<Listener> {
    vec![
        Listener { recv_q: 3, ..listener("0.0.0.0:22", "sshd", 812) },
        Listener { send_q: Some(4096), ..listener("127.0.0.1:5432", "postgres", 4_194_303) },
        Listener { recv_q: 129, syn_recv: Some(2), ..listener("[::]:8080", "nginx", 1234) },
    ]
}

/// A segment of this client.
fn segment(client_port: u16, t_ns: u64) -> Event {
    let mut event = RawEvent {
        t_ns,
        netns: NETNS,
        client_port,
        server_port: 8080,
        kind: 1,
        rung: 1,
        family: 4,
        ..RawEvent::EMPTY
    };
    event.client[..4].copy_from_slice(&[10, 7, 0, 2]);
    event.server[..4].copy_from_slice(&[10, 7, 0, 1]);
    Decoder::default().decode(&event).unwrap()
}

/// What the kernel did to it, with a full queue.
fn stage(id: VerdictId, t_ns: u64) -> Stage {
    let values =
        Values { sk_ack_backlog: Some(129), sk_max_ack_backlog: Some(128), ..Values::default() };
    let (known, path, repeats_ns) = (Known::Traced, &[], Vec::new());
    Stage { id, t_ns, known, path, values, repeats_ns }
}

fn opening() -> Opening {
    Opening {
        kernel: "6.12.117+deb13-cloud-amd64".to_owned(),
        distro: String::new(),
        rungs: vec![(HookPoint::Accept.as_str().to_owned(), "fentry".to_owned())],
        filter: String::new(),
        all: false,
        summary: None,
        notes: vec!["only listeners opened from now on are traced: start them anew".to_owned()],
        wall_offset_ns: 0,
        utc_offset_s: 0,
    }
}

/// A view after the beginning, with its sink.
fn begin(listeners: Vec<Listener>) -> (Shared, TopSink<io::Sink>) {
    let release = "6.12.117";
    let kernel = kernels::by_release(release, &Release::parse(release).unwrap()).unwrap();
    let options = Options::default();
    let top = Top::new(Filter::default(), Some(kernel), &inventory(listeners), options);
    let shared = Shared::new(top);
    let mut sink = TopSink::new(shared.clone(), io::sink(), options, || {});
    sink.handle(Message::Open(&opening())).unwrap();
    (shared, sink)
}

fn second(
    sink: &mut TopSink<io::Sink>,
    t_ns: u64,
    inventory: &Inventory,
    happened: &[(&Listener, Totals)],
) {
    let listeners = happened.iter().map(|(listener, totals)| Listened {
        netns: NETNS,
        local: listener.local,
        whose: Whose::Socket(7),
        open: true,
        sockets: 1,
        place: listener.place(),
        listeners: vec![*listener],
        sysctls: Some(sysctls()),
        totals: Cow::Borrowed(totals),
        members: Vec::new(),
    });
    let snapshot = Snapshot {
        t_ns,
        listeners: listeners.collect(),
        inventory,
        filter: &EVERYTHING,
        accepts: false,
        suppressed: 0,
        losses: Vec::new(),
        audit: None,
    };
    sink.handle(Message::Second(&snapshot)).unwrap();
}

/// What an audit that leaves so many unaccounted came to.
fn audited(unaccounted: i64) -> [NamespaceAudit; 1] {
    let balance = Balance {
        counter: Counter::ListenDrops,
        rose: 9,
        told: 9_u64.saturating_add_signed(-unaccounted),
        left_out: 0,
        lost: 0,
        unwatched: 0,
        unaccounted,
        why: Vec::new(),
    };
    [NamespaceAudit { netns: NETNS, appeared: false, unread: false, balances: vec![balance] }]
}

fn full_totals(n: u64) -> Totals {
    let mut waits = Waits::default();
    (waits.buckets[9], waits.buckets[10], waits.buckets[12]) = (40, 20, 1);
    waits.total_ns = 30_000_000;
    Totals {
        verdicts: BTreeMap::from([
            (VerdictId::SynDropAcceptQueueFull, 1_200 * n),
            (VerdictId::AckDropOverflowCookie, 2),
            (VerdictId::AckResetOverflow, 3),
        ]),
        recv_q: Some((129, 128)),
        recv_q_max: Some(129),
        syn_queue_max: Some(4),
        synack_retransmits: 5,
        phantoms: 2,
        hurt: 3,
        clients: HurtClients::default(),
        full_by_cause: BTreeMap::from([
            (CauseId::Overload, SECOND / 10),
            (CauseId::Blocked, n * SECOND / 2),
        ]),
        full: Some(Full { times: 2, total_ns: n * SECOND / 2, longest_ns: SECOND, now: true }),
        waits: Some(waits),
    }
}

/// Twelve seconds with a listener that overflows.
fn busy() -> (Shared, TopSink<io::Sink>) {
    let (top, mut sink) = begin(host());
    for n in 1..=12_u32 {
        let mut listeners = host();
        listeners[0].recv_q = n * 11;
        let inventory = inventory(listeners);
        let nginx = &host()[2];
        let t_ns = u64::from(n) * SECOND;
        if n >= 4 {
            let observed = segment(40_000 + u16::try_from(n).unwrap(), t_ns - 1);
            let id = match n {
                7 => VerdictId::AckDropOverflowCookie,
                9 => VerdictId::AckResetOverflow,
                _ => VerdictId::SynDropAcceptQueueFull,
            };
            let stage = &stage(id, t_ns - 1);
            let judged = JudgedEvent {
                t_ns: t_ns - 1,
                observed: &observed,
                stage,
                socket: Some(7),
                listeners: &[nginx],
            };
            sink.handle(Message::Event(&judged)).unwrap();
            second(&mut sink, t_ns, &inventory, &[(nginx, full_totals(n.into()))]);
        } else {
            second(&mut sink, t_ns, &inventory, &[]);
        }
    }
    (top, sink)
}

fn press(top: &Shared, actions: &[Action]) {
    for action in actions {
        assert!(!top.lock().act(*action), "{action:?} does not quit");
    }
}

#[test]
fn the_screen_of_80_by_24() {
    let (top, _sink) = busy();
    expect("80x24", &shown(&top, 80, 24));
}

#[test]
fn a_narrow_and_a_wide_screen() {
    let (top, _sink) = busy();
    expect("40x12", &shown(&top, 40, 12));
    expect("140x30", &shown(&top, 140, 30));
}

#[test]
fn details_of_a_listener() {
    let (top, _sink) = busy();
    press(&top, &[Action::Details]);
    expect("details", &shown(&top, 80, 44));
    press(&top, &[Action::Last]);
    let end = shown(&top, 80, 24);
    assert!(end.contains("10.7.0.2:40004"), "{end}");
    press(&top, &[Action::Back]);
    assert!(shown(&top, 80, 24).contains("LISTENER"));
}

#[test]
fn before_anything_happens_the_notes_are_shown() {
    let (top, _sink) = begin(host());
    let screen = shown(&top, 80, 24);
    assert!(screen.contains("None so far."), "{screen}");
    assert!(screen.contains("note: only listeners opened from now on"), "{screen}");
    press(&top, &[Action::Help]);
    expect("help", &shown(&top, 80, 24));
}

#[test]
fn no_size_is_too_small_to_draw() {
    let (top, mut sink) = busy();
    let (inventory, losses) = (inventory(host()), vec![(Loss::from_id("records"), 4)]);
    let snapshot = Snapshot {
        t_ns: 13 * SECOND,
        listeners: Vec::new(),
        inventory: &inventory,
        filter: &EVERYTHING,
        accepts: false,
        suppressed: 0,
        losses,
        audit: Some(&audited(3)),
    };
    sink.handle(Message::Second(&snapshot)).unwrap();
    for page in [Action::Back, Action::Details, Action::Help] {
        press(&top, &[page]);
        for width in 1..=90 {
            for height in 1..=26 {
                shown(&top, width, height);
            }
        }
    }
    press(&top, &[Action::Back]);
    let screen = shown(&top, 80, 24);
    assert!(
        screen.contains("lost: 4 records") && screen.contains("full, 3 unaccounted"),
        "{screen}"
    );
}

#[test]
fn the_audit_is_in_the_title() {
    let (top, mut sink) = busy();
    assert!(!shown(&top, 80, 24).contains("unaccounted"));
    let inventory = inventory(host());
    let snapshot = Snapshot {
        t_ns: 13 * SECOND,
        listeners: Vec::new(),
        inventory: &inventory,
        filter: &EVERYTHING,
        accepts: false,
        suppressed: 0,
        losses: Vec::new(),
        audit: Some(&audited(0)),
    };
    sink.handle(Message::Second(&snapshot)).unwrap();
    let screen = shown(&top, 80, 24);
    assert!(screen.lines().next().unwrap().contains(", 0 unaccounted"), "{screen}");
}

#[test]
fn the_mark_stays_with_its_listener_when_the_order_changes() {
    let (top, _sink) = busy();
    let marked = || {
        let screen = shown(&top, 80, 24);
        let line = screen.lines().find(|line| line.starts_with('>')).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(marked(), ">*:8080", "the one that overflows comes first");
    press(&top, &[Action::Down]);
    assert_eq!(marked(), ">0.0.0.0:22");
    press(&top, &[Action::Reverse]);
    assert_eq!(marked(), ">0.0.0.0:22");
    press(&top, &[Action::Last]);
    assert_eq!(marked(), ">*:8080");
    press(&top, &[Action::First, Action::SortPrevious, Action::SortPrevious]);
    let screen = shown(&top, 80, 24);
    assert!(screen.contains("sort:Recv-Q reversed"), "{screen}");
    assert!(screen.lines().nth(2).unwrap().contains("127.0.0.1:5432"), "{screen}");
}

#[test]
fn idle_listeners_can_be_hidden_and_the_screen_held() {
    let (top, mut sink) = busy();
    press(&top, &[Action::Idle]);
    let screen = shown(&top, 80, 24);
    assert!(!screen.contains(":5432") && screen.contains("2 listeners"), "{screen}");
    press(&top, &[Action::Pause]);
    let held = shown(&top, 80, 24);
    assert!(held.contains("PAUSED"), "{held}");
    second(&mut sink, 20 * SECOND, &inventory(Vec::new()), &[]);
    assert_eq!(shown(&top, 80, 24), held);
    press(&top, &[Action::Pause]);
    let screen = shown(&top, 80, 24);
    assert!(screen.contains("No TCP listener.") && screen.contains("00:00:20"), "{screen}");
}

#[test]
fn without_unicode_all_is_ascii_and_without_colour_there_is_none() {
    let (top, _sink) = busy();
    top.lock().options.unicode = false;
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    for page in [Action::Back, Action::Details, Action::Help] {
        press(&top, &[page]);
        terminal.draw(|frame| top.lock().draw(frame.buffer_mut())).unwrap();
        for cell in terminal.backend().buffer().content() {
            assert!(cell.symbol().is_ascii(), "{}", cell.symbol());
            assert_eq!(cell.fg, ratatui::style::Color::Reset);
        }
    }
}

#[test]
fn a_group_stands_above_its_members() {
    let member = |inode, comm: &str, pid, recv_q| Listener {
        inode,
        recv_q,
        group: 2,
        ..listener("0.0.0.0:443", comm, pid)
    };
    let mut listeners = host();
    listeners.extend([member(4711, "worker", 70, 0), member(4712, "stuck", 80, 129)]);
    let (top, mut sink) = begin(listeners.clone());
    let group = [&listeners[3], &listeners[4]];
    let shown_of = |whose, listeners: Vec<_>, totals, members| Listened {
        netns: NETNS,
        local: group[0].local,
        whose,
        open: true,
        sockets: 1,
        place: group[0].place(),
        listeners,
        sysctls: Some(sysctls()),
        totals: Cow::Owned(totals),
        members,
    };
    let stuck = shown_of(Whose::Socket(4712), vec![group[1]], full_totals(1), Vec::new());
    let all = shown_of(Whose::Group, group.to_vec(), full_totals(1), vec![stuck]);
    let observed = segment(40_000, SECOND);
    let stage = &stage(VerdictId::SynDropAcceptQueueFull, SECOND);
    let judged = JudgedEvent {
        t_ns: SECOND,
        observed: &observed,
        stage,
        socket: Some(4712),
        listeners: &[group[1]],
    };
    sink.handle(Message::Event(&judged)).unwrap();
    let inventory = inventory(listeners.clone());
    let snapshot = Snapshot {
        t_ns: 2 * SECOND,
        listeners: vec![all],
        inventory: &inventory,
        filter: &EVERYTHING,
        accepts: true,
        suppressed: 0,
        losses: Vec::new(),
        audit: None,
    };
    sink.handle(Message::Second(&snapshot)).unwrap();
    expect("group", &shown(&top, 80, 20));
    // The stuck one is the first of the group, whatever the lines are ordered by.
    press(&top, &[Action::Down, Action::Details]);
    let details = shown(&top, 80, 50);
    assert!(details.contains("stuck/80+2") && details.contains("10.7.0.2:40000"), "{details}");
    press(&top, &[Action::Back, Action::Up, Action::Details]);
    let details = shown(&top, 80, 50);
    assert!(details.contains("worker/70") && details.contains("10.7.0.2:40000"), "{details}");
}
