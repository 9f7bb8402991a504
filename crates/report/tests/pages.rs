//! Pages of runs that were recorded, and of runs that nobody wishes to see: what they say, that a
//! browser reads them without complaint, that they stay small, and that no name gets out of its place.

use std::{borrow::Cow, collections::BTreeSet, io::Read as _, net::SocketAddr};

use flate2::read::GzDecoder;
use html5ever::{driver::ParseOpts, parse_document, tendril::TendrilSink as _};
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use overflow_core::{
    explain::Lang,
    verdict::{Values, VerdictId},
    wire::{
        Asked as WhatifAsked, Connection, Event, Functions, Known, Line, Lines as _, Listener,
        Owner, Stage, Whatif, WhatifClients,
    },
};
use overflow_report::Collector;

/// What every scenario of the lab printed on two kernels.
const RUNS: [&[u8]; 2] = [
    include_bytes!("../../core/tests/data/captures/lab-6.12.jsonl.gz"),
    include_bytes!("../../core/tests/data/captures/lab-5.10.223.jsonl.gz"),
];

fn unpacked(packed: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    text
}

fn lines(text: &str) -> Vec<Line<'_>> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn page(lines: &[Line<'_>]) -> String {
    let mut run = Collector::default();
    for line in lines {
        run.line(line).unwrap();
    }
    run.page()
}

/// A page as a browser reads it.
struct Read {
    text: String,
    /// Names of elements, and each attribute as `name=value`.
    elements: BTreeSet<String>,
    attributes: BTreeSet<String>,
}

fn read(page: &str) -> Read {
    let dom =
        parse_document(RcDom::default(), ParseOpts::default()).from_utf8().one(page.as_bytes());
    let errors = dom.errors.borrow();
    assert!(errors.is_empty(), "{errors:?}");
    let (text, elements) = (String::new(), BTreeSet::new());
    let mut read = Read { text, elements, attributes: BTreeSet::new() };
    walk(&dom.document, &mut read);
    read
}

fn walk(node: &Handle, read: &mut Read) {
    match &node.data {
        NodeData::Text { contents } => {
            read.text += &contents.borrow();
            read.text.push('\n');
        }
        NodeData::Element { name, attrs, .. } => {
            read.elements.insert(name.local.to_string());
            let attrs = attrs.borrow();
            read.attributes.extend(attrs.iter().map(|a| format!("{}={}", a.name.local, a.value)));
        }
        _ => {}
    }
    node.children.borrow().iter().for_each(|child| walk(child, read));
}

#[test]
fn a_page_names_every_verdict_of_its_run() {
    for run in RUNS {
        let text = unpacked(run);
        let lines = lines(&text);
        let page = page(&lines);
        let read = read(&page);
        let mut connections = 0;
        for line in &lines {
            let Line::Connection(connection) = line else { continue };
            connections += 1;
            for id in connection.stages.iter().map(|stage| stage.id).chain(connection.outcome) {
                assert!(read.text.contains(id.label(Lang::En)), "{id} of {}", connection.client);
                assert!(read.text.contains(id.as_str()), "{id} of {}", connection.client);
            }
            assert!(read.text.contains(&connection.client.to_string()), "{}", connection.client);
        }
        assert!(connections > 100, "{connections}");
        assert!(page.len() < 500_000, "{} bytes", page.len());
    }
}

#[test]
fn evidence_stands_beside_what_it_shows() {
    let text = unpacked(RUNS[0]);
    let read = read(&page(&lines(&text)));
    for words in [
        "tcp_v4_rcv → tcp_check_req → tcp_v4_syn_recv_sock",
        "Recv-Q 2 > 1, tcp_abort_on_overflow=1 read",
        "net.ipv4.tcp_abort_on_overflow",
        "ListenOverflows",
        "third ACK",
        "; packets, counters and sockets agree with the tracer",
    ] {
        assert!(read.text.contains(words), "{words}");
    }
}

/// A page brings all it needs, and nothing in it runs.
#[test]
fn a_page_loads_nothing() {
    let text = unpacked(RUNS[1]);
    let page = page(&lines(&text));
    let read = read(&page);
    for element in ["script", "img", "link", "iframe", "object", "form", "foreignObject"] {
        assert!(!read.elements.contains(element), "{element}");
    }
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    assert!(read.attributes.iter().any(|a| a.starts_with("content=") && a.contains(policy)));
    for attribute in &read.attributes {
        let (name, value) = attribute.split_once('=').unwrap();
        assert!(!name.starts_with("on") && name != "src" && name != "style", "{attribute}");
        assert!(name != "href" || value.starts_with('#'), "{attribute}");
    }
    assert!(!page.contains("url(") && !page.contains("@import"));
}

/// One event and one connection of a listener, whose names are whatever somebody likes.
fn named(name: &str, n: u32) -> [Line<'_>; 2] {
    let id = VerdictId::AckDropOverflow;
    let values = Values {
        sk_ack_backlog: Some(n % 7),
        sk_max_ack_backlog: Some(3),
        drop_reason: Some(name.into()),
        ..Values::default()
    };
    let owner = Owner {
        pid: 1,
        comm: name.into(),
        pids: vec![1].into(),
        unit: Some(name.into()),
        runtime: None,
        container: None,
        pod: None,
        cgroup: name.into(),
        socket_activated: false,
        called_listen: false,
    };
    let [_, _, high, low] = n.to_be_bytes();
    let client = SocketAddr::from(([10, 0, high, low], 4000));
    let server = SocketAddr::from(([10, 7, 0, 1], 80));
    let event = Event {
        v: 1,
        run: None,
        t_ns: u64::from(n) * 1_000_000,
        hook: name.into(),
        client: Some(client),
        server: Some(server),
        path: Functions::Read(vec![name.to_owned()]),
        values: Cow::Owned(values.clone()),
        netns: Some(7),
        id: Some(id),
        known: Some(Known::Traced),
        why: None,
        listener: Some(name.into()),
        inode: Some(9),
        reuseport_group: None,
        owner: Some(owner.clone()),
        candidates: Vec::new(),
    };
    let stage = Stage {
        id,
        t_ns: 0,
        known: Known::Inferred,
        why: Some(name.into()),
        path: Functions::Read(vec![name.to_owned()]),
        values: Cow::Owned(values),
        repeats_ns: vec![5; (n % 50) as usize],
    };
    let connection = Connection {
        stages: vec![stage],
        outcome: Some(id),
        t0_ns: Some(u64::from(n) * 1_000_000),
        netns: Some(7),
        listener: Some(name.into()),
        owner: Some(owner),
        client_view: Some(name.into()),
        disagreement: Some(name.into()),
        v: 1,
        run: None,
        phase: None,
        client,
        server,
        synack_retransmits_ns: Vec::new(),
        gave_up: false,
        still_trying: false,
        inode: Some(9),
        reuseport_group: None,
        candidates: Vec::new(),
        client_error: None,
        server_view: None,
        witnesses: None,
        agree: None,
    };
    [Line::Event(event), Line::Connection(connection)]
}

/// Whatever names hold: the page has the elements and attributes of one with a harmless name.
#[test]
fn no_name_gets_out_of_its_place() {
    let harmless = read(&page(&named("nginx", 1)));
    let mut random = fastrand::Rng::with_seed(5);
    let pieces = [
        "<script>alert(1)</script>",
        "\"",
        "'",
        "--><",
        "]]>",
        "</style>",
        "</svg>",
        "&lt;",
        "\u{202e}",
        "\x1b[2J",
        "\0",
        "漢",
        "<!--",
        " onload=x ",
        "javascript:",
        "=",
        ">",
        "`",
        "a",
    ];
    for _ in 0..300 {
        let name: String =
            (0..random.usize(1..8)).map(|_| pieces[random.usize(..pieces.len())]).collect();
        let page = page(&named(&name, 1));
        let read = read(&page);
        assert_eq!(read.elements, harmless.elements, "{name:?}");
        let names = |read: &Read| -> BTreeSet<String> {
            let names = read.attributes.iter().map(|a| a.split_once('=').unwrap().0.to_owned());
            names.collect()
        };
        assert_eq!(names(&read), names(&harmless), "{name:?}");
        assert!(!page.contains(['\u{202e}', '\x1b', '\0']), "{name:?}");
    }
}

/// A flood of clients at many listeners makes no large page, and all of them are in its numbers.
#[test]
fn a_long_trace_makes_no_large_page() {
    let mut run = Collector::default();
    let places: Vec<String> = (0..200).map(|n| format!("10.9.0.{n}:80")).collect();
    for n in 0..40_000_u32 {
        for line in &named(&places[n as usize % places.len()], n) {
            run.line(line).unwrap();
        }
    }
    let page = run.page();
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(read(&page).text.contains("40000 clients were hurt"));
}

#[test]
fn who_still_tries_is_not_lost_yet() {
    let line = |trying: &str| {
        format!(
            r#"{{"type":"connection","v":1,"client":"10.0.0.1:1","server":"10.0.0.2:80","t0_ns":5,"stages":[{{"id":"syn.drop.accept_queue_full","t_ns":0,"known":"traced"}}],"outcome":"syn.drop.accept_queue_full"{trying},"netns":7}}"#
        )
    };
    for (trying, said, not) in [
        (r#","still_trying":true"#, "1 still trying", "1 never served"),
        ("", "1 never served", "1 still trying"),
    ] {
        let page = page(&lines(&line(trying)));
        assert!(page.contains(said) && !page.contains(not), "{trying}: {page}");
    }
}

#[test]
fn a_trace_in_which_nothing_happened_says_so() {
    let read = read(&page(&[Line::Listener(Listener::new("0.0.0.0:80".into(), 0, 128))]));
    assert!(read.text.contains("Nothing happened to any client that was watched"));
}

/// A listener that is full, why it is, and counters that do not add up.
const TRACE: &str = r#"
{"type":"run","v":1,"tool":"overflow 0.1.0","kernel":"6.12.1","distro":null,"filter":"port 80","all":false,"wall_offset_ns":0,"hooks":[{"moment":"third ACK","rung":"fentry"}],"notes":["not observable here: accept()"]}
{"type":"cause","v":1,"t_ns":9000000000,"looked_ns":100000000,"netns":7,"listener":"0.0.0.0:80","inode":9,"recv_q":129,"send_q":128,"syn_recv":3,"full_ns":2000000000,"owner":null,"causes":[{"id":"cause.stopped","evidence":["nginx (pid 10) was stopped by a signal"],"values":{"pid":10},"advice":"continue it: kill -CONT 10"}],"ruled_out":{"cause.flood":"no SYN cookie was sent"},"unknown":{"cause.memory":"the control group cannot be read"},"unread":["/proc/11/stack: permission denied"]}
{"type":"loss","v":1,"what":"records that found the ring full","count":5,"meaning":"Some events are missing."}
{"type":"audit","v":1,"netns":7,"appeared":false,"unaccounted":2,"counters":{"ListenOverflows":{"rose":9,"told":6,"left_out":0,"lost":1,"unwatched":0,"unaccounted":2,"why":["1 of records that found the ring full"]}}}
{"type":"summary","v":1,"connections":6,"verdicts":{},"clients":{"hurt":6,"delayed":0,"delayed_below_s":{},"longest_delay_ns":0,"never_served":0,"gave_up":0,"reset":0,"phantom":6,"waiting":0},"lost":5,"unaccounted":2}
"#;

#[test]
fn causes_losses_and_the_audit_have_their_place() {
    let read = read(&page(&lines(TRACE.trim())));
    for words in [
        "6 clients were hurt",
        "6 phantom",
        "Recv-Q 129 of 128, full for 2.0\u{a0}s at least",
        "nginx (pid 10) was stopped by a signal",
        "continue it: kill -CONT 10",
        "no SYN cookie was sent",
        "the control group cannot be read",
        "/proc/11/stack: permission denied",
        "not observable here: accept()",
        "records that found the ring full",
        "Some events are missing.",
        "1 of records that found the ring full",
        " of the kernel's counters unaccounted",
        "Healthy handshakes were not watched: ",
    ] {
        assert!(read.text.contains(words), "{words}: {}", read.text);
    }
}

/// A line of `overflow whatif`: so many clients not in, and between which numbers.
fn whatif(setting: WhatifAsked<'static>, [likely, least, most]: [u64; 3]) -> Line<'static> {
    let clients = |not_in| Some(WhatifClients { clients: 40, not_in, ..WhatifClients::default() });
    Line::Whatif(Whatif {
        netns: 7,
        listener: "*:80".into(),
        owner: Some("<b>web</b>[9]".into()),
        recorded: (setting == WhatifAsked::default()).then(|| clients(31)).flatten(),
        recorded_setting: (setting == WhatifAsked::default())
            .then(|| WhatifAsked { backlog: Some(8), ..WhatifAsked::default() }),
        setting,
        at_pace: clients(likely),
        least: clients(least),
        most: clients(most),
        ..Whatif::default()
    })
}

#[test]
fn what_if_is_a_table_of_settings() {
    let backlog = |n| WhatifAsked { backlog: Some(n), ..WhatifAsked::default() };
    let lines = [
        whatif(WhatifAsked::default(), [30, 29, 32]),
        whatif(backlog(16), [12, 8, 14]),
        whatif(backlog(64), [0, 0, 0]),
    ];
    let page = page(&lines);
    let read = read(&page);
    assert!(page.contains("<h1>1 of 2 settings would have hurt nobody</h1>"), "{}", read.text);
    for words in ["as recorded", "the same, by the model", "backlog 16", "*:80", "recorded with"] {
        assert!(read.text.contains(words), "{words}: {}", read.text);
    }
    assert!(page.contains("<dd>backlog 8</dd>"), "{page}");
    assert!(page.contains("12 <span class=\"meaning\">8–14</span>"), "{page}");
    assert!(read.text.contains("<b>web</b>[9]") && !read.elements.contains("b"), "{page}");
}
