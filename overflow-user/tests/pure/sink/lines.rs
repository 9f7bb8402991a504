//! The JSON lines against schema and documentation.

use std::{borrow::Cow, collections::BTreeSet};

use overflow::sink::why;
use overflow_core::{
    audit::{Balance, NamespaceAudit},
    capture::{
        Segment,
        finding::Finding,
        script,
        sums::Sums,
        table::{Options, Table},
    },
    cause::{CauseId, Change, Evidence, evidence::Waiting, judge, sample},
    loss::Loss,
    verdict::{Counter, Values, VerdictId},
    wire::{
        self, Audit, Capture, Client, Connection, Doctor, Ended, Endpoint, Event, Functions,
        HookPoint, Line, Open, Paragraph, Scenario, TOOL, Topic, VERSION, Whatif, line, prediction,
    },
};
use overflow_lab::report::{Report, lines as lab_lines};
use serde_json::{Value, json};

use crate::{
    expect,
    support::{
        reports::{self, Cell, Handshake},
        schema,
    },
};

fn lines(report: &Report) -> Vec<String> {
    let mut text = Vec::new();
    lab_lines::report(&mut wire::Json::new(&mut text), report).unwrap();
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

fn parsed(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// A report in which every kind of line and nearly every field occurs.
fn eventful() -> Vec<String> {
    use Handshake::{Accepted as A, Cookie as C, Kept as K, Reset as R, SynDropped as S};
    let mut untraced = Cell::new(0, 0, 0, &[A, A, S]);
    untraced.coverage = None;
    let mut lossy = Cell::new(1, 1, 1, &[A, R, C]);
    lossy.config.somaxconn = Some(128);
    lossy.losses = vec![(Loss::from_id("events"), 2)];
    let wrong = Cell::new(0, 1, 1, &[A, K, C]).report(|seen, traced| {
        traced[2].stages[1].id = VerdictId::AckResetOverflow;
        traced[2].stages[1].values.drop_reason = Some("TCP_LISTEN_OVERFLOW".into());
        seen.notes.push("a note".to_owned());
    });
    let cells = vec![untraced.report(|_, _| ()), lossy.report(|_, _| ()), wrong];
    let mut all = lines(&reports::report(cells));

    let mut text = Vec::new();
    let seed = reports::seed();
    let connection = &seed.cells[0].judgement.connections[2].connection;
    let values = Values { sk_ack_backlog: Some(2), ..Values::default() };
    let event = Event {
        v: VERSION,
        run: None,
        t_ns: 5,
        hook: "tcp_check_req".into(),
        client: Some(connection.client),
        server: None,
        path: Functions::Known(&["tcp_v4_rcv"]),
        values: Cow::Borrowed(&values),
        netns: None,
        id: None,
        known: None,
        why: None,
        listener: None,
        inode: None,
        reuseport_group: None,
        owner: None,
        candidates: Vec::new(),
    };
    line(&mut text, &Line::Event(event)).unwrap();
    let ended = Ended {
        run: "abort=1".into(),
        holds: Some(true),
        stories: vec!["syn.queued > ack.accepted".to_owned()],
        differences: Cow::default(),
        unavailable: None,
    };
    for ended in [None, Some(ended)] {
        let (scenario, shows) = ("centos7".into(), "one line".into());
        line(&mut text, &Line::Scenario(Scenario { v: VERSION, scenario, shows, ended })).unwrap();
    }
    let client = Client {
        v: VERSION,
        client: connection.client,
        server: connection.server,
        connect_ns: Some(200_000_000),
        connect_error: None,
        state: "ESTABLISHED".into(),
        error: None,
    };
    line(&mut text, &Line::Client(client)).unwrap();
    line(&mut text, &Line::Connection(Connection::of(connection))).unwrap();
    let balance = Balance {
        counter: Counter::ListenDrops,
        rose: 4,
        told: 5,
        left_out: 0,
        lost: 0,
        unwatched: 0,
        unaccounted: -1,
        why: vec!["1 too many".to_owned()],
    };
    let audit = NamespaceAudit { netns: 7, appeared: true, unread: false, balances: vec![balance] };
    for t_ns in [None, Some(5)] {
        line(&mut text, &Line::Audit(Audit::of(&audit, t_ns))).unwrap();
    }
    let hook_point = HookPoint {
        moment: "SYN".into(),
        rung: Some("tracepoint".into()),
        attached: vec!["tp_btf:kfree_skb".into()],
        refused_hooks: [("fentry:a".into(), "why".into())].into(),
        refused_rungs: [("fentry".into(), "why".into())].into(),
        blind: "some".into(),
    };
    let doctor = Doctor {
        v: VERSION,
        tool: TOOL.into(),
        kernel: "6.12.1".into(),
        distro: "".into(),
        btf: "/sys/kernel/btf/vmlinux".into(),
        missing_fields: vec!["sock.x".into()],
        hook_points: vec![hook_point],
        missing_capabilities: vec!["CAP_BPF".into()],
        confinement: Some("none".into()),
        gaps: Vec::new(),
    };
    line(&mut text, &Line::Doctor(doctor)).unwrap();
    let topic = Topic {
        v: VERSION,
        name: "syn.cookie".into(),
        lang: "zh".into(),
        title: "cookie".into(),
        paragraphs: vec![Paragraph { label: "Kernel".into(), text: "It does.".into() }],
    };
    line(&mut text, &Line::Topic(topic)).unwrap();
    for (evidence, change) in causes() {
        why::json(&mut text, &evidence, &judge(&evidence), change.as_ref()).unwrap();
    }
    let recorded_setting = Some(wire::Asked { backlog: Some(8), ..wire::Asked::default() });
    let listener = "*:80".into();
    let whatif = Whatif { v: VERSION, netns: 7, listener, recorded_setting, ..Whatif::default() };
    line(&mut text, &Line::Whatif(whatif)).unwrap();
    let handshake = handshake();
    line(&mut text, &Line::Handshake(wire::Handshake::of(&handshake, Some("eth0")))).unwrap();
    let mut sums = Sums::default();
    sums.add(&handshake);
    let address = handshake.server.to_string();
    line(&mut text, &Line::Endpoint(Endpoint::of("listener", address, &sums.all))).unwrap();
    let capture = Capture {
        v: VERSION,
        tool: TOOL.into(),
        file: "-".into(),
        packets: 5,
        segments: 4,
        copies: 0,
        others: 1,
        without_handshake: 0,
        doubts: sums.doubts.iter().map(|(doubt, n)| Open::of(*doubt, *n)).collect(),
    };
    line(&mut text, &Line::Capture(capture)).unwrap();
    all.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
    all
}

/// Evidence with a cause, with none, and without an owner.
fn causes() -> Vec<(Evidence, Option<Change>)> {
    let stuck = sample::with_threads(10, vec![sample::sleeping(10, "flock")]);
    let known = Evidence {
        waiting: Some(Waiting { count: 129, oldest_ns: 9_000_000_000, newest_ns: 5_000_000_000 }),
        ..sample::evidence(vec![stuck])
    };
    let hidden = Evidence { unread: vec!["hidden".to_owned()], ..sample::evidence(vec![]) };
    vec![
        (known.clone(), None),
        (known, Some(Change::Changed(vec![CauseId::Stopped]))),
        (sample::evidence(vec![sample::holder(10)]), Some(Change::Same)),
        (hidden, Some(Change::Began)),
    ]
}

/// A third ACK that was dropped, and a RST in answer to data, as packets show them.
fn handshake() -> Finding {
    let mut table = Table::new(Options::default());
    let packets = script::packets(30001, "0>S 1000>S 1000<SA 1200>A 2000<SA 2200>A 9000>D 9000<R");
    for (packet, number) in packets.into_iter().zip(1..) {
        let (interface, device, direction, ttl, ip_id) = (0, 0, None, 64, 0);
        table.add(Segment { packet, number, interface, device, direction, ttl, ip_id });
    }
    table.end().next().unwrap()
}

#[test]
fn every_line_fits_the_schema() {
    let schema = schema::shipped();
    let mut kinds = BTreeSet::new();
    for (line, value) in eventful().iter().zip(parsed(&eventful())) {
        schema::check(&schema, &schema, &value).unwrap_or_else(|e| panic!("{line}\n{e}"));
        assert!(line.starts_with("{\"type\":\""), "{line}");
        kinds.insert(value["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds, Line::KINDS.map(str::to_owned).into());
}

#[test]
fn every_line_is_read_and_written_alike() {
    for text in eventful() {
        let read: Line = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let mut written = Vec::new();
        line(&mut written, &read).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), format!("{text}\n"));
    }
}

#[test]
fn documentation_schema_and_types_have_the_same_kinds() {
    let docs = include_str!("../../../../docs/events.md");
    let headings = docs.lines().filter_map(|line| line.strip_prefix("## "));
    let all = [&Line::KINDS[..], &prediction::Line::KINDS].concat();
    assert_eq!(headings.collect::<Vec<_>>(), all);
    let intro = docs.split("\n## ").next().unwrap();
    assert!(
        intro.contains("which of the nineteen\nkinds") && all.len() == 19,
        "the introduction counts the kinds"
    );
    let schema = schema::shipped();
    let kinds = schema["oneOf"].as_array().unwrap().iter().map(|kind| kind["$ref"].as_str());
    let kinds: Vec<_> = kinds.map(|kind| kind.unwrap().trim_start_matches("#/$defs/")).collect();
    assert_eq!(kinds, all);
    for kind in all {
        assert_eq!(schema["$defs"][kind]["properties"]["type"]["const"], kind);
    }
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    let schema = schema::shipped();
    let good = parsed(&lines(&reports::seed()));
    let connection = good.iter().find(|l| l["type"] == "connection").unwrap();
    let check = |path: &str, value: Value| {
        let mut bad = connection.clone();
        *bad.pointer_mut(path).unwrap() = value;
        assert!(schema::check(&schema, &schema, &bad).is_err(), "{path}");
    };
    check("/v", json!(2));
    check("/agree", json!("yes"));
    check("/stages/0/id", json!("syn.unheard_of"));
    check("/stages/0/t_ns", json!(-1));
    check("/stages/0/known", json!("guessed"));
    check("/witnesses", json!({}));
    let mut bad = connection.clone();
    bad["surprise"] = json!(1);
    assert!(schema::check(&schema, &schema, &bad).is_err());
}

#[test]
fn schema_knows_every_verdict() {
    let schema = schema::shipped();
    let ids: Vec<Value> = VerdictId::ALL.iter().map(|id| json!(id.as_str())).collect();
    assert_eq!(schema["$defs"]["verdict"]["enum"], Value::Array(ids));
}

#[test]
fn schema_knows_every_cause() {
    let schema = schema::shipped();
    let ids: Vec<Value> = CauseId::ALL.iter().map(|id| json!(id.as_str())).collect();
    assert_eq!(schema["$defs"]["cause_id"]["enum"], Value::Array(ids));
}

#[test]
fn every_field_of_the_schema_is_documented() {
    let docs = include_str!("../../../../docs/events.md");
    let schema = schema::shipped();
    for (kind, def) in schema["$defs"].as_object().unwrap() {
        for (name, _) in def["properties"].as_object().into_iter().flatten() {
            // Every line has these two; they are in the introduction.
            let known = name == "type" || name == "v";
            let ticked = [format!("`{name}`"), format!(".{name}`")];
            assert!(
                known || ticked.iter().any(|t| docs.contains(t)),
                "{kind}: {name} is not in docs/events.md"
            );
        }
    }
}

#[test]
fn a_connection_reads_as_the_design_has_it() {
    let all = lines(&reports::seed());
    let cookie = all.iter().find(|l| l.contains("30003") && l.contains("abort=1,syncookies=1"));
    expect::check("connection.json", &format!("{}\n", cookie.unwrap()));
}

#[test]
fn the_summary_counts_what_was_printed() {
    let all = parsed(&eventful());
    let summary = all.iter().find(|l| l["type"] == "summary").unwrap();
    let printed = all.iter().filter(|l| l["type"] == "connection" && l["run"].is_string());
    let disagree = printed.clone().filter(|l| l["agree"] == false).count();
    assert_eq!(summary["connections"], printed.count());
    assert_eq!(summary["disagreements"], disagree);
    assert!(disagree > 0);
    assert_eq!(summary["agree"], false);
    assert_eq!(summary["lost"], 2);
}
