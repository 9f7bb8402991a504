//! `compare` on hand-made cells.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{ListenerQueue, ServerSocket, Timeline};
use overflow_core::{
    capture::script,
    verdict::{Counter, Values},
};

/// The burst starts at 0, the hold ends at 2900 ms, the listener closes at 3000 ms.
const TIMELINE: Timeline = Timeline { burst: 0, hold_end: 2_900_000_000, close: 3_000_000_000 };

/// One connection of a cell: what the tracer says (`id@ms`, more words for more stages), what the
/// wire shows, the client's state, the server's.
type Row<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

struct Cell<'a> {
    abort: u8,
    syncookies: u8,
    rows: &'a [Row<'a>],
    counters: &'a [(&'a str, u64)],
    coverage: Option<Coverage>,
}

impl Cell<'_> {
    fn judge(&self) -> Judgement {
        self.judge_with(0, 0)
    }

    fn judge_with(&self, capture_drops: u64, link_drops: u64) -> Judgement {
        let config = CellConfig {
            abort_on_overflow: self.abort,
            syncookies: self.syncookies,
            backlog: 1,
            somaxconn: None,
            clients: u32::try_from(self.rows.len()).unwrap(),
            port: 12345,
            delay: Duration::from_millis(200),
            prefill: 0,
            payload: 0,
            hold: Duration::from_millis(2900),
            ..CellConfig::SEED
        };
        let mut observation = Observation {
            server: script::SERVER,
            clients: Vec::new(),
            server_sockets: Vec::new(),
            queue: (ListenerQueue::default(), ListenerQueue { recv_q: 2, send_q: 1 }),
            counters: Counter::ALL.iter().map(|c| (c.as_str().to_owned(), 0)).collect(),
            packets: Vec::new(),
            capture_drops,
            link_drops,
            link: LinkKind::Userspace,
            notes: Vec::new(),
            global_sysctls: false,
            concurrent: true,
            attempts: 1,
            timeline: TIMELINE,
        };
        let counted: BTreeMap<String, u64> =
            self.counters.iter().map(|(c, n)| ((*c).to_owned(), *n)).collect();
        observation.counters.extend(counted);
        let mut traced = Vec::new();
        for (port, (stages, wire, state, server)) in (30001..).zip(self.rows) {
            let local = script::client(port);
            observation.packets.extend(script::packets(port, wire));
            observation.clients.push(ClientView {
                local,
                phase: Phase::Burst,
                connect: if *state == "SYN_SENT" { Err("pending".to_owned()) } else { Ok(1) },
                state: (*state).to_owned(),
                error: (*state == "CLOSE").then(|| "ECONNRESET".to_owned()),
            });
            let socket =
                server.map(|s| ServerSocket { peer: local, state: s.to_owned(), retransmits: 0 });
            observation.server_sockets.extend(socket);
            if !stages.is_empty() {
                let stages = stages.split_whitespace().map(stage).collect();
                traced.push(Connection { stages, ..blank(local, script::SERVER) });
            }
        }
        observation.packets.sort_by_key(|p| p.t_ns);
        compare(traced, &observation, &config, self.coverage.as_ref())
    }

    /// Compares each connection's stages, marked with `~` where inferred, and the objections.
    fn check(&self, verdicts: &[&str], objections: &str) {
        let judgement = self.judge();
        let line = |c: &Comparison| {
            let mark = |s: &Stage| if s.known == Known::Traced { "" } else { "~" };
            let ms = |t: &u64| (t / 1_000_000).to_string();
            let stage = |s: &Stage| {
                let mut times = vec![ms(&s.t_ns)];
                times.extend(s.repeats_ns.iter().map(ms));
                format!("{}{}@{}", mark(s), s.id, times.join(","))
            };
            c.connection.stages.iter().map(stage).collect::<Vec<_>>().join(" ")
        };
        let lines: Vec<String> = judgement.connections.iter().map(line).collect();
        assert_eq!(lines, verdicts);
        let mut whys: Vec<String> =
            judgement.connections.iter().filter_map(|c| c.why.clone()).collect();
        whys.extend(judgement.counters.iter().map(Difference::to_string));
        assert_eq!(whys.join("; "), objections);
        assert_eq!(judgement.agree(), objections.is_empty());
    }
}

fn stage(word: &str) -> Stage {
    let (id, times) = word.split_once('@').unwrap();
    let mut times = times.split(',').map(|t| t.parse::<u64>().unwrap() * 1_000_000);
    Stage {
        id: VerdictId::parse(id).unwrap(),
        t_ns: times.next().unwrap(),
        known: Known::Traced,
        path: &[],
        values: Values::default(),
        repeats_ns: times.collect(),
    }
}

const SEES_ALL: Option<Coverage> = Some(Coverage { lost: 0, blind_to: Vec::new() });

const UP: Option<&str> = Some("ESTABLISHED");
const ACCEPTED: &str = "0>S 0<SA 200>A 3000<RA";
const SILENT: &str = "0>S 0<SA 200>A";
const RESENT: &str = "0>S 0<SA 200>A 1000<SA 1200>A";
const RESET: &str = "0>S 0<SA 200>A 201<R";
const COOKIES: &[(&str, u64)] = &[
    ("ListenOverflows", 1),
    ("ListenDrops", 1),
    ("SyncookiesSent", 1),
    ("TCPReqQFullDoCookies", 1),
    ("SyncookiesRecv", 1),
    ("PassiveOpens", 2),
];

#[test]
fn a_fully_traced_cell_agrees() {
    let traced = "syn.cookie@0 ack.drop.overflow.cookie@200";
    let rows: &[Row<'_>] = &[
        ("syn.queued@0 ack.accepted@200", ACCEPTED, "ESTABLISHED", UP),
        ("syn.queued@0 ack.accepted@200", ACCEPTED, "ESTABLISHED", UP),
        (traced, SILENT, "ESTABLISHED", None),
    ];
    let cell = Cell { abort: 1, syncookies: 1, rows, counters: COOKIES, coverage: SEES_ALL };
    let verdicts = ["syn.queued@0 ack.accepted@200", "syn.queued@0 ack.accepted@200", traced];
    cell.check(&verdicts, "");
    // The same with a verdict that none of the others bears out.
    let wrong = "syn.queued@0 ack.drop.overflow@200";
    let rows = [rows[0], rows[1], (wrong, SILENT, "ESTABLISHED", None)];
    Cell { rows: &rows, ..cell }.check(
        &[verdicts[0], verdicts[1], wrong],
        "the tracer says ack.drop.overflow, the packets show silence after the third ACK, and at \
         the listener's close; TCPReqQFullDoCookies is 1, the verdicts make it 0; SyncookiesSent \
         is 1, the verdicts make it 0; SyncookiesRecv is 1, the verdicts make it 0",
    );
}

#[test]
fn without_a_tracer_everything_is_inferred() {
    let rows: &[Row<'_>] = &[
        ("", ACCEPTED, "ESTABLISHED", UP),
        ("", ACCEPTED, "ESTABLISHED", UP),
        ("", "1>S 1<SA 201>A", "ESTABLISHED", None),
    ];
    let accepted = "~syn.queued@0 ~ack.accepted@200 ~later.listener_closed@3000";
    let verdicts = [accepted, accepted, "~syn.cookie@1 ~ack.drop.overflow.cookie@201"];
    Cell { abort: 1, syncookies: 1, rows, counters: COOKIES, coverage: None }.check(&verdicts, "");

    let rows: &[Row<'_>] = &[rows[0], rows[1], ("", "1>S 1<SA 201>A 202<R", "CLOSE", None)];
    let counters: &[(&str, u64)] = &[
        ("SyncookiesSent", 0),
        ("ListenOverflows", 1),
        ("ListenDrops", 1),
        ("EmbryonicRsts", 1),
        ("OutRsts", 1),
        ("PassiveOpens", 2),
    ];
    Cell { abort: 1, syncookies: 1, rows, counters, coverage: None }
        .check(&[accepted, accepted, "~syn.queued@1 ~ack.reset.overflow@201"], "");
}

#[test]
fn a_kept_request_is_inferred_with_its_repeats() {
    let rows: &[Row<'_>] = &[
        ("", ACCEPTED, "ESTABLISHED", UP),
        ("", ACCEPTED, "ESTABLISHED", UP),
        ("", "1>S 1<SA 201>A 1001<SA 1201>A", "ESTABLISHED", Some("SYN_RECV")),
    ];
    let accepted = "~syn.queued@0 ~ack.accepted@200 ~later.listener_closed@3000";
    let counters: &[(&str, u64)] =
        &[("SyncookiesSent", 0), ("ListenOverflows", 2), ("ListenDrops", 2), ("PassiveOpens", 2)];
    Cell { abort: 0, syncookies: 1, rows, counters, coverage: None }
        .check(&[accepted, accepted, "~syn.queued@1 ~ack.drop.overflow@201,1201"], "");
}

#[test]
fn which_queue_dropped_a_syn_is_read_off_the_other_connections() {
    // Limit 1: two requests (`>`), three SYNs dropped by the SYN queue; a second later both are in
    // the accept queue, 2 > 1, and the SYN queue is empty.
    let up = ("", ACCEPTED, "ESTABLISHED", UP);
    let first = ("", "0>S 0<SA 200>A 3000<RA", "ESTABLISHED", UP);
    let second = ("", "1>S 1<SA 201>A 3000<RA", "ESTABLISHED", UP);
    let lost = ("", "2>S 1002>S 2002>S", "SYN_SENT", None);
    let counters: &[(&str, u64)] = &[
        ("SyncookiesSent", 0),
        ("ListenOverflows", 2),
        ("ListenDrops", 3),
        ("TCPReqQFullDrop", 1),
        ("PassiveOpens", 2),
    ];
    let expect = [
        "~syn.queued@0 ~ack.accepted@200 ~later.listener_closed@3000",
        "~syn.queued@1 ~ack.accepted@201 ~later.listener_closed@3000",
        "~syn.drop.syn_queue_full@2 ~syn.drop.accept_queue_full@1002,2002",
    ];
    let rows = [first, second, lost];
    let cell = Cell { abort: 0, syncookies: 0, rows: &rows, counters, coverage: None };
    cell.check(&expect, "");
    // A tracer that cannot see SYN drops changes nothing; one that can should have seen them.
    let traced = |row: Row<'static>, stages| (stages, row.1, row.2, row.3);
    let rows = [
        traced(first, "syn.queued@0 ack.accepted@200"),
        traced(second, "syn.queued@1 ack.accepted@201"),
        lost,
    ];
    let expect = ["syn.queued@0 ack.accepted@200", "syn.queued@1 ack.accepted@201", expect[2]];
    let blind = Coverage { lost: 0, blind_to: VerdictId::under("syn.drop").collect() };
    Cell { rows: &rows, coverage: Some(blind), ..cell }.check(&expect, "");
    let cell = Cell { abort: 0, syncookies: 0, rows: &rows, counters, coverage: SEES_ALL };
    cell.check(
        &expect,
        "the tracer has no verdict on it, though its hooks cover what the packets show",
    );
    let lossy = Coverage { lost: 7, blind_to: Vec::new() };
    Cell { coverage: Some(lossy), ..cell }
        .check(&expect, "the tracer has no verdict on it and lost 7 events");
    // An old queue test, `>=`: the second SYN finds one request and is dropped.
    let late = ("", "1>S 1001>S 1001<SA 1201>A 3000<RA", "ESTABLISHED", UP);
    let counters: &[(&str, u64)] =
        &[("SyncookiesSent", 0), ("ListenDrops", 1), ("TCPReqQFullDrop", 1), ("PassiveOpens", 2)];
    Cell { abort: 0, syncookies: 0, rows: &[up, late], counters, coverage: None }.check(
        &[
            "~syn.queued@0 ~ack.accepted@200 ~later.listener_closed@3000",
            "~syn.drop.syn_queue_full@1 ~syn.queued@1001 ~ack.accepted@1201 \
             ~later.listener_closed@3000",
        ],
        "",
    );
}

/// The seed experiment with cookies on 5.4, whose SYN queue is full at one request: one of the two that
/// got in came by a cookie.
#[test]
fn the_child_of_a_cookie_is_told_from_that_of_a_request() {
    let up = |wire| ("", wire, "ESTABLISHED", UP);
    let silent = |wire| ("", wire, "ESTABLISHED", None);
    let rows = [
        up("0>S 0<SA 200>A 3000<RA"),
        up("1>S 1<SA 201>A 3000<RA"),
        silent("2>S 2<SA 202>A"),
        silent("3>S 3<SA 203>A"),
    ];
    let counters: &[(&str, u64)] = &[
        ("ListenOverflows", 2),
        ("ListenDrops", 2),
        ("SyncookiesSent", 3),
        ("TCPReqQFullDoCookies", 3),
        ("SyncookiesRecv", 3),
        ("PassiveOpens", 2),
    ];
    let cell = Cell { abort: 1, syncookies: 1, rows: &rows, counters, coverage: None };
    cell.check(
        &[
            "~syn.queued@0 ~ack.accepted@200 ~later.listener_closed@3000",
            "~syn.cookie@1 ~ack.accepted.cookie@201 ~later.listener_closed@3000",
            "~syn.cookie@2 ~ack.drop.overflow.cookie@202",
            "~syn.cookie@3 ~ack.drop.overflow.cookie@203",
        ],
        "",
    );
    // A tracer that says otherwise is contradicted.
    let traced = ("syn.queued@1 ack.accepted@201", rows[1].1, rows[1].2, rows[1].3);
    let rows = [rows[0], traced, rows[2], rows[3]];
    let blind = Some(Coverage { lost: 0, blind_to: VerdictId::ALL.to_vec() });
    let judged = Cell { rows: &rows, coverage: blind, ..cell }.judge();
    assert_eq!(
        judged.connections[1].why.as_deref(),
        Some("the tracer says ack.accepted, and without it, it would be ack.accepted.cookie")
    );
}

/// Counters of no kernel: who of the two had a cookie, nobody can tell, and the sums are ranges.
#[test]
fn where_nothing_tells_request_and_cookie_apart_both_stay_open() {
    let up = |wire| ("", wire, "ESTABLISHED", UP);
    let rows = [up("0>S 0<SA 200>A 3000<RA"), up("1>S 1<SA 201>A 3000<RA")];
    let counters: &[(&str, u64)] = &[
        ("SyncookiesSent", 2),
        ("TCPReqQFullDoCookies", 2),
        ("SyncookiesRecv", 2),
        ("PassiveOpens", 2),
    ];
    let cell = Cell { abort: 0, syncookies: 1, rows: &rows, counters, coverage: None };
    cell.check(&["~later.listener_closed@3000"; 2], "");
    let judged = cell.judge();
    assert_eq!(judged.connections[0].known(), "cannot tell");
    // A counter beyond what either makes it is a contradiction nevertheless.
    let counters = [counters, &[("EmbryonicRsts", 1)]].concat();
    Cell { counters: &counters, ..cell }
        .check(&["~later.listener_closed@3000"; 2], "EmbryonicRsts is 1, the verdicts make it 0");
}

/// Its SYN made the child: there is no other answer to be inferred.
#[test]
fn a_fast_open_child_had_no_other_answer_to_its_syn() {
    let rows: &[Row<'_>] = &[("syn.fastopen@0", "0>S 0<SA 200>A 3000<RA", "ESTABLISHED", UP)];
    let counters: &[(&str, u64)] = &[("PassiveOpens", 1), ("TCPFastOpenPassive", 1)];
    let blind = Some(Coverage { lost: 0, blind_to: VerdictId::under("syn.queued").collect() });
    let cell = Cell { abort: 0, syncookies: 1, rows, counters, coverage: blind };
    let stages = &cell.judge().connections[0].connection.stages;
    assert_eq!(stages.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["syn.fastopen"]);
}

/// CentOS 7 keeps all five, and its cookies are good for a few seconds only (here without: cookies=1).
#[test]
fn centos_7_keeps_more_requests_than_the_backlog() {
    let up = |wire| ("", wire, "ESTABLISHED", UP);
    let rows = [
        up("0>S 0<SA 200>A 3000<RA"),
        up("1>S 1<SA 201>A 3000<RA"),
        ("", "2>S 2<SA 202>A 1002<SA 1202>A", "ESTABLISHED", Some("SYN_RECV")),
        ("", "3>S 3<SA 203>A 1003<SA 1203>A", "ESTABLISHED", Some("SYN_RECV")),
    ];
    let counters: &[(&str, u64)] =
        &[("ListenOverflows", 4), ("ListenDrops", 4), ("SyncookiesSent", 0), ("PassiveOpens", 2)];
    Cell { abort: 0, syncookies: 1, rows: &rows, counters, coverage: None }.check(
        &[
            "~syn.queued@0 ~ack.accepted@200 ~later.listener_closed@3000",
            "~syn.queued@1 ~ack.accepted@201 ~later.listener_closed@3000",
            "~syn.queued@2 ~ack.drop.overflow@202,1202",
            "~syn.queued@3 ~ack.drop.overflow@203,1203",
        ],
        "",
    );
}

/// Before v3.14 a cookie is good for some seconds: what its client sends then meets nothing.
#[test]
fn data_long_after_its_cookie_is_refused() {
    let up = |wire| ("", wire, "ESTABLISHED", UP);
    let rows = [
        up("0>S 0<SA 200>A 3000<RA"),
        up("1>S 1<SA 201>A 3000<RA"),
        ("", "2>S 2<SA 202>A 203>D 2400>D 2400<R", "CLOSE", None),
    ];
    let counters: &[(&str, u64)] = &[
        ("ListenOverflows", 2),
        ("ListenDrops", 2),
        ("SyncookiesSent", 1),
        ("TCPReqQFullDoCookies", 1),
        ("SyncookiesRecv", 2),
        ("SyncookiesFailed", 1),
        ("OutRsts", 1),
        ("PassiveOpens", 2),
    ];
    Cell { abort: 0, syncookies: 1, rows: &rows, counters, coverage: None }.check(
        &[
            "~syn.queued@0 ~ack.accepted@200 ~later.listener_closed@3000",
            "~syn.queued@1 ~ack.accepted@201 ~later.listener_closed@3000",
            "~syn.cookie@2 ~ack.drop.overflow.cookie@202,203 ~later.reset_no_socket@2400",
        ],
        "",
    );
}

#[test]
fn what_packets_leave_open_stays_open() {
    // Reset although the accept queue had room: overflow it was not, more the wire cannot say.
    let rows: &[Row<'_>] = &[("", RESET, "CLOSE", None)];
    let cell =
        Cell { abort: 1, syncookies: 1, rows, counters: &[("SyncookiesSent", 0)], coverage: None };
    let judgement = &cell.judge().connections[0];
    assert_eq!(judgement.verdict(), "ack.reset");
    assert_eq!(judgement.connection.stages, []);
}

#[test]
fn strangers_and_disagreeing_views_are_shown() {
    let rows: &[Row<'_>] =
        &[("syn.queued@0 ack.drop.overflow@200,1200", RESENT, "ESTABLISHED", UP)];
    let counters: &[(&str, u64)] = &[("ListenOverflows", 2), ("ListenDrops", 2)];
    let cell = Cell { abort: 0, syncookies: 1, rows, counters, coverage: SEES_ALL };
    cell.check(
        &["syn.queued@0 ack.drop.overflow@200,1200"],
        "sock_diag shows ESTABLISHED at the server where ack.drop.overflow leaves SYN_RECV",
    );
}

#[test]
fn lost_packets_void_the_packet_witness() {
    let rows: &[Row<'_>] = &[("syn.queued@0 ack.accepted@200", ACCEPTED, "ESTABLISHED", UP)];
    let cell = Cell {
        abort: 0,
        syncookies: 1,
        rows,
        counters: &[("PassiveOpens", 1)],
        coverage: SEES_ALL,
    };
    assert!(cell.judge().agree());
    let why = |capture, link| cell.judge_with(capture, link).connections[0].why.clone().unwrap();
    assert_eq!(why(3, 0), "the capture lost 3 packets, so it proves nothing");
    assert_eq!(why(0, 3), "the link itself lost 3 packets, so silence proves nothing");
}
