//! Whatever processes, control groups, namespaces and recordings call themselves: nothing that a
//! terminal acts on comes out of any sink, and JSON still says what the names are.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    rc::Rc,
};

use fastrand::Rng;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::metric::Data,
};
use overflow_common::{Kind, Path as Bits, Queue, RawEvent, Rung, valid};
use prost::Message as _;
use ratatui::{Terminal, backend::TestBackend, buffer::Cell};

use super::{
    listeners,
    metrics::{Measured, Shared, tests::pages},
    otlp::Exported,
    page::Page,
    top::{Action, Shared as SharedTop, Top, TopSink},
    trace::{Opening, Sink, TraceLines, TraceText},
};
use crate::{
    export::{Outbox, Settings, Signal},
    pipeline::{Engine, Filter, Options},
};
use overflow_core::{
    decode::Decoder,
    kernel::{Facts, Symbols},
    listeners::{Inventory, Listener, Namespace, Surroundings, Sysctls, sample},
    loss::Loss,
    model::kernels,
    owner::{Cgroup, Container, Owner, Process},
    recording::{Frame, Header, Recorder, Recording},
    text::{
        style::{self, Tone},
        untrusted::is_harmless,
    },
};

/// What hides, turns, moves or ends something, and what only stands there.
const PIECES: [&str; 26] = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b[31m",
    "\n",
    "\r",
    "\t",
    "\0",
    "\x07",
    "\x08",
    "\x7f",
    "\u{85}",
    "\u{9b}31m",
    "\u{9d}",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{feff}",
    "\u{2028}",
    "\u{e0041}",
    "\"\\",
    "nginx",
    "höher",
    "漢",
    "} \\x2d 1",
    "<script>",
    "' onload=\"x",
];
const NETNS: u32 = 7;
const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.take()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn name(rng: &mut Rng) -> String {
    let most = if rng.u8(..8) == 0 { 900 } else { 6 };
    (0..rng.usize(1..most)).map(|_| PIECES[rng.usize(..PIECES.len())]).collect()
}

fn listener(rng: &mut Rng, inode: u64, group: u32) -> Listener {
    let process = |rng: &mut Rng, pid| Process {
        pid,
        ppid: 1,
        comm: name(rng).as_str().into(),
        start: 1,
        cgroup: Cgroup {
            path: name(rng).as_str().into(),
            unit: rng.bool().then(|| name(rng).as_str().into()),
            container: rng.bool().then(|| Container {
                runtime: name(rng).as_str().into(),
                id: name(rng).as_str().into(),
            }),
            pod: rng.bool().then(|| name(rng).as_str().into()),
        },
    };
    let processes = vec![process(rng, 10), process(rng, 11)];
    let called_listen = rng.bool();
    let owner = Some(Owner { processes, pids: vec![10, 11, 12], called_listen });
    let base = sample::listener("0.0.0.0:80");
    Listener { netns: NETNS, inode, group, recv_q: 2, send_q: Some(1), owner, ..base }
}

fn inventory(rng: &mut Rng) -> Inventory {
    let group = rng.u32(1..3);
    let mut inventory = Inventory::default();
    inventory.listeners = (0..group).map(|i| listener(rng, 99 + u64::from(i), group)).collect();
    let named = Some(name(rng).as_str().into());
    let namespace = Namespace { inum: NETNS, name: named, own: false };
    let surroundings = Surroundings { namespace, sysctls: Sysctls::default(), counters: None };
    inventory.namespaces.insert(NETNS, surroundings);
    inventory.notes.push(name(rng));
    inventory.indexed()
}

fn event(t_ns: u64, client_port: u16, kind: Kind, path: u32) -> Frame {
    let queue = Queue { ack_backlog: 2, max_ack_backlog: 1, qlen: 1, young: 1 };
    let valid = valid::ACCEPT_QUEUE | valid::SYN_QUEUE | valid::AFTER | valid::SEGMENT;
    Frame::Event(RawEvent {
        t_ns,
        netns: NETNS,
        path,
        before: queue,
        after: queue,
        client_port,
        server_port: 80,
        tcp_flags: if kind == Kind::Syn { 0x02 } else { 0x10 },
        valid,
        kind: kind as u8,
        rung: Rung::Fentry as u8,
        family: 4,
        drop_reason: 2,
        ..RawEvent::EMPTY
    })
}

/// A recording as somebody else made it, read as `overflow replay` does.
fn recorded(rng: &mut Rng) -> (Header, Vec<Frame>) {
    let hook = |name: &str, rung: &str| (name.to_owned(), rung.to_owned());
    let header = Header {
        tool: name(rng),
        kernel: name(rng),
        distro: name(rng),
        drop_reasons: vec![(2, name(rng))],
        reset_reasons: vec![(2, name(rng))],
        symbols: vec![(0, u64::MAX, name(rng))],
        rungs: vec![hook("SYN", "fentry"), (name(rng), name(rng))],
        notes: vec![name(rng)],
        ..Header::default()
    };
    let null = Bits::CHECK_REQ | Bits::CHECK_REQ_NULL | Bits::SYN_RECV_SOCK_NULL;
    let frames = [
        Frame::Inventory(Box::new(inventory(rng))),
        Frame::Tick(SECOND),
        event(SECOND + 1, 1001, Kind::Syn, Bits::CONN_REQUEST | Bits::COOKIE_INIT),
        event(SECOND + 2, 1002, Kind::Ack, null),
        event(SECOND + 3, 1003, Kind::Syn, Bits::CONN_REQUEST),
        Frame::Losses(vec![(Loss::Other(name(rng)), 3)]),
        Frame::Tick(2 * SECOND),
        Frame::Tick(3 * SECOND),
        Frame::End(3 * SECOND),
    ];
    let mut bytes = Vec::new();
    let mut recorder = Recorder::new(&mut bytes, &header).unwrap();
    for frame in &frames {
        recorder.write(frame).unwrap();
    }
    drop(recorder);
    let mut recording = Recording::read(Path::new("made here"), &*bytes).unwrap();
    let read = std::iter::from_fn(|| recording.next_frame().unwrap()).collect();
    (recording.header().clone(), read)
}

fn harmless(what: &str, text: &str) {
    let mut text = text.to_owned();
    for tone in [Tone::Good, Tone::Bad, Tone::Warn, Tone::Dim, Tone::Strong] {
        let (begin, end) = tone.codes(true);
        text = text.replace(begin, "").replace(end, "");
    }
    let bad = text.chars().find(|c| *c != '\n' && !is_harmless(*c));
    assert_eq!(bad, None, "{what}: {text:?}");
}

fn played(header: &Header, frames: Vec<Frame>, options: Options, sinks: Vec<Box<dyn Sink>>) {
    let facts = Facts {
        drop_reasons: header.drop_reasons.clone(),
        reset_reasons: header.reset_reasons.clone(),
        ..Facts::default()
    };
    let ranges = header.symbols.iter().map(|(start, end, name)| (*start, *end, name.as_str()));
    let opening = Opening {
        kernel: header.kernel.clone(),
        distro: header.distro.clone(),
        rungs: header.rungs.clone(),
        filter: String::new(),
        all: options.all,
        summary: options.summary,
        notes: header.notes.clone(),
        wall_offset_ns: 0,
        utc_offset_s: 0,
    };
    let decoder = Decoder::new(&facts, Symbols::from_ranges(ranges));
    let mut engine = Engine::new(options, decoder, sinks, &opening).unwrap();
    for frame in frames {
        let _ = engine.feed(frame).unwrap();
    }
    engine.end().unwrap();
    engine.close().unwrap();
}

fn look(rng: &mut Rng) -> style::Options {
    let width = [40, 80, 200][rng.usize(..3)];
    style::Options { width, color: rng.bool(), unicode: rng.bool() }
}

#[test]
fn no_name_moves_the_cursor() {
    let mut rng = Rng::with_seed(16);
    for round in 0..60 {
        let (header, frames) = recorded(&mut rng);
        let Frame::Inventory(inventory) = &frames[0] else { panic!() };
        let summary = (round % 3 == 0).then_some(1);
        let options = Options { all: rng.bool(), summary, handshakes: true, ..Options::default() };
        let (text, json, after_top) = (Kept::default(), Kept::default(), Kept::default());
        let page = Kept::default();
        let numbers = Shared::default();
        let kernel = kernels::by_name("6.12").ok();
        let top = SharedTop::new(Top::new(
            Filter::default(),
            kernel,
            &Inventory::default(),
            look(&mut rng),
        ));
        let settings = Settings::new(Some("http://127.0.0.1:1"), &|_| None).unwrap();
        let (outbox, mut sent) = Outbox::kept();
        let sinks: Vec<Box<dyn Sink>> = vec![
            Box::new(TraceText::new(text.clone(), look(&mut rng))),
            Box::new(TraceLines::json(json.clone())),
            Box::new(Page::new(page.clone())),
            Box::new(Measured::new(numbers.clone())),
            Box::new(TopSink::new(top.clone(), after_top.clone(), look(&mut rng), || {})),
            Box::new(Exported::new(&settings, outbox, "host".to_owned(), Box::new(|| 0))),
        ];
        let unchanged = inventory.clone();
        played(&header, frames, options, sinks);
        harmless("text", &text.text());
        harmless("top's summary", &after_top.text());
        let page = page.text();
        harmless("page", &page);
        assert!(page.ends_with("</html>"));
        for page in pages(&numbers) {
            harmless("metrics", &page);
        }
        screens(&top);
        json_says(&json.text(), &unchanged, summary.is_none());
        let mut exported = 0;
        while let Ok(Some(request)) = sent.try_recv() {
            match request.signal {
                Signal::Logs => logs(&request.body),
                Signal::Metrics => metrics(&request.body),
            }
            exported += 1;
        }
        assert!(exported >= 2, "{exported}");
        listed(&unchanged, look(&mut rng));
    }
}

fn screens(top: &SharedTop) {
    for (width, height) in [(40, 12), (80, 24), (200, 60)] {
        for action in [Action::Back, Action::Details, Action::Last, Action::Back, Action::Help] {
            top.lock().act(action);
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| top.lock().draw(frame.buffer_mut())).unwrap();
            let cells = terminal.backend().buffer().content().iter().map(Cell::symbol);
            harmless("top", &cells.collect::<String>());
        }
    }
}

/// Every name is harmless as it is written, and itself when it is read.
fn json_says(text: &str, inventory: &Inventory, events: bool) {
    harmless("json", text);
    let mains = inventory.listeners.iter().filter_map(|l| l.owner.as_ref()?.main());
    let mains: Vec<_> = mains.map(|p| (p.comm.verbatim(), p.cgroup.path.verbatim())).collect();
    let mut owners = 0;
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let owner = line.get("owner").or_else(|| line["candidates"][0].get("owner"));
        if let Some(owner) = owner.filter(|owner| !owner.is_null()) {
            let text = |key| owner.get(key).and_then(|text| text.as_str()).unwrap_or_default();
            assert!(mains.contains(&(text("comm"), text("cgroup"))), "{owner}");
            owners += 1;
        }
    }
    assert!(owners > 0 || !events, "{text}");
}

fn listed(inventory: &Inventory, options: style::Options) {
    let kernel = kernels::by_name("6.12").unwrap();
    let mut out = Vec::new();
    listeners::text(&mut out, inventory, &kernel, options).unwrap();
    harmless("listeners", &String::from_utf8(out).unwrap());
    let mut out = Vec::new();
    listeners::json(&mut out, inventory, &kernel).unwrap();
    json_says(&String::from_utf8(out).unwrap(), inventory, true);
}

fn value(value: &AnyValue) {
    match value.value.as_ref().unwrap() {
        Value::StringValue(text) => harmless("otlp", &text.replace('\n', "\0")),
        Value::ArrayValue(list) => list.values.iter().for_each(self::value),
        Value::IntValue(_) | Value::BoolValue(_) | Value::DoubleValue(_) => {}
        other => panic!("{other:?}"),
    }
}

fn attributes(all: &[KeyValue]) {
    for attribute in all {
        value(attribute.value.as_ref().unwrap());
    }
}

fn logs(body: &[u8]) {
    for resource in ExportLogsServiceRequest::decode(body).unwrap().resource_logs {
        attributes(&resource.resource.unwrap().attributes);
        for record in resource.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            attributes(&record.attributes);
            value(record.body.as_ref().unwrap());
        }
    }
}

fn metrics(body: &[u8]) {
    for resource in ExportMetricsServiceRequest::decode(body).unwrap().resource_metrics {
        attributes(&resource.resource.unwrap().attributes);
        for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let points = match metric.data.as_ref().unwrap() {
                Data::Sum(sum) => &sum.data_points,
                Data::Gauge(gauge) => &gauge.data_points,
                other => panic!("{other:?}"),
            };
            for point in points {
                attributes(&point.attributes);
            }
        }
    }
}

/// Labels are told apart as their names are.
#[test]
fn no_label_is_another_ones() {
    let mut seen = BTreeMap::new();
    for name in ["a\x1b", "a\u{9b}", "a\n", "a\r", "a\u{202e}", "a"] {
        let shown = overflow_core::text::Untrusted::new(name).to_string();
        assert_eq!(seen.insert(shown, name), None);
    }
}
