//! The page as a scraper gets it, and who gets it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{
    catalog::{CATALOG, Exact, LISTENER, Label, Metric, PREFIX, Source},
    encode::{Format, encode},
    *,
};
use crate::pipeline::EVERYTHING;
use crate::sink::trace::{
    Full, Listened, Message, Opening, Sink as _, Snapshot, Totals, Waits, Whose,
};
use overflow_core::{
    audit::{Balance, NamespaceAudit},
    cause::CauseId,
    clients::HurtClients,
    listeners::{Inventory, Listener, sample},
    loss::Loss,
    owner::{Cgroup, Container, Owner, Process},
    verdict::{Counter, VerdictId},
};

impl Metric {
    /// Its name as Prometheus has it: `overflow_listener_full_seconds_total`.
    fn prometheus(&self) -> String {
        let unit = if self.seconds { "_seconds" } else { "" };
        format!("{PREFIX}_{}{unit}{}", self.name, self.kind.suffix())
    }
}

fn owned(comm: &str) -> Listener {
    let cgroup = Cgroup {
        container: Some(Container { runtime: "docker".into(), id: "web".into() }),
        pod: Some("8b1f".into()),
        ..Cgroup::default()
    };
    let process = Process { pid: 9, ppid: 1, comm: comm.into(), start: 0, cgroup };
    let owner = Some(Owner::new(vec![9], vec![process]));
    Listener { recv_q: 3, send_q: Some(2), owner, ..sample::listener("0.0.0.0:80") }
}

/// Compares with a file of `tests/data`; `UPDATE_EXPECT=1` writes it.
pub(in crate::sink) fn expect(name: &str, got: &str) {
    let path = format!("{}/tests/data/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let got = got.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &got).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    for (got, expected) in got.lines().zip(expected.lines()) {
        assert_eq!(got, expected, "{name}; UPDATE_EXPECT=1 writes it, then look at the diff");
    }
    assert_eq!(got.len(), expected.len(), "{name} is longer or shorter than it was");
}

/// The page in both formats.
pub(in crate::sink) fn pages(numbers: &Shared) -> [String; 2] {
    [Format::OpenMetrics, Format::Classic].map(|f| encode(&numbers.families(), f).unwrap())
}

/// The page after one second, of a listener that was full.
pub(in crate::sink) fn shared(comm: &str) -> Shared {
    let shared = Shared::default();
    let mut sink = Measured::new(shared.clone());
    let opening = Opening {
        kernel: "6.12.1".to_owned(),
        distro: String::new(),
        rungs: vec![
            ("third ACK".to_owned(), "fentry".to_owned()),
            ("SYN".to_owned(), String::new()),
        ],
        filter: String::new(),
        all: true,
        summary: None,
        notes: Vec::new(),
        wall_offset_ns: 0,
        utc_offset_s: 0,
    };
    sink.handle(Message::Open(&opening)).unwrap();
    let mut waits = Waits { total_ns: 1_500_000, ..Waits::default() };
    waits.buckets[10] = 2;
    waits.buckets[Waits::BUCKETS - 1] = 1;
    let totals = Totals {
        verdicts: BTreeMap::from([
            (VerdictId::AckDropOverflow, 7),
            (VerdictId::SynDropAcceptQueueFull, 4),
            (VerdictId::LaterAcceptedByApp, 3),
        ]),
        recv_q_max: Some(3),
        recv_q: Some((3, 2)),
        syn_queue_max: Some(4),
        synack_retransmits: 5,
        phantoms: 4,
        hurt: 6,
        clients: HurtClients::default(),
        full: Some(Full { times: 2, total_ns: 2_500_000_000, ..Full::default() }),
        full_by_cause: BTreeMap::from([(CauseId::Stopped, 1_500_000_000)]),
        waits: Some(waits),
    };
    let listener = owned(comm);
    let mut inventory = Inventory::default();
    inventory.listeners = vec![listener.clone(), sample::listener("[::1]:22")];
    let listened = Listened {
        netns: 1,
        local: listener.local,
        whose: Whose::Socket(7),
        open: true,
        sockets: 1,
        place: listener.place(),
        listeners: vec![&listener],
        sysctls: None,
        totals: Cow::Borrowed(&totals),
        members: Vec::new(),
    };
    let balance = Balance {
        counter: Counter::ListenDrops,
        rose: 45,
        told: 38,
        left_out: 4,
        lost: 0,
        unwatched: 0,
        unaccounted: 3,
        why: vec!["4 at listeners that were not asked for".to_owned()],
    };
    let audit =
        NamespaceAudit { netns: 1, appeared: false, unread: false, balances: vec![balance] };
    let snapshot = Snapshot {
        t_ns: 1,
        listeners: vec![listened],
        inventory: &inventory,
        filter: &EVERYTHING,
        accepts: true,
        suppressed: 0,
        losses: vec![(Loss::Kernel(overflow_common::Loss::RingFull), 6)],
        audit: Some(&[audit]),
    };
    sink.handle(Message::Second(&snapshot)).unwrap();
    shared
}

fn has(page: &str, line: &str) {
    assert!(page.lines().any(|l| l == line), "{line} is missing in\n{page}");
}

#[test]
fn both_formats_have_the_same_samples() {
    let shared = shared("nginx");
    let open = encode(&shared.families(), Format::OpenMetrics).unwrap();
    let classic = encode(&shared.families(), Format::Classic).unwrap();
    let samples = |page: &str| -> Vec<String> {
        page.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(samples(&open), samples(&classic));
    let labels =
        r#"netns="1",listener="0.0.0.0:80",process="nginx",container="web",pod_uid="8b1f""#;
    for line in [
        r#"overflow_build_info{version="0.1.0",kernel="6.12.1"} 1"#,
        r#"overflow_hook_info{moment="third ACK",rung="fentry"} 1"#,
        r#"overflow_hook_info{moment="SYN",rung="none"} 1"#,
        &format!(r#"overflow_listener_moments_total{{{labels},verdict="ack.drop.overflow"}} 7"#),
        &format!("overflow_listener_overflows_total{{{labels}}} 11"),
        r#"overflow_listener_overflows_total{netns="1",listener="[::1]:22"} 0"#,
        &format!("overflow_listener_accepts_total{{{labels}}} 3"),
        &format!("overflow_listener_synack_retransmits_total{{{labels}}} 5"),
        &format!("overflow_listener_phantoms_total{{{labels}}} 4"),
        &format!("overflow_listener_full_total{{{labels}}} 2"),
        &format!("overflow_listener_full_seconds_total{{{labels}}} 2.5"),
        &format!("overflow_listener_accept_queue_length{{{labels}}} 3"),
        &format!("overflow_listener_accept_queue_limit{{{labels}}} 2"),
        &format!("overflow_listener_queue_wait_seconds_sum{{{labels}}} 0.0015"),
        &format!("overflow_listener_queue_wait_seconds_count{{{labels}}} 3"),
        &format!(r#"overflow_listener_queue_wait_seconds_bucket{{le="0.000512",{labels}}} 0"#),
        &format!(r#"overflow_listener_queue_wait_seconds_bucket{{le="0.001024",{labels}}} 2"#),
        &format!(r#"overflow_listener_queue_wait_seconds_bucket{{le="+Inf",{labels}}} 3"#),
        r#"overflow_losses_total{cause="ebpf ring_full"} 6"#,
        r#"overflow_audit_rose_total{netns="1",counter="ListenDrops"} 45"#,
        r#"overflow_audit_told_total{netns="1",counter="ListenDrops"} 38"#,
        r#"overflow_audit_explained{netns="1",counter="ListenDrops"} 4"#,
        r#"overflow_audit_unaccounted{netns="1",counter="ListenDrops"} 3"#,
        "overflow_suppressed_moments_total 0",
        "overflow_folded_listeners 0",
    ] {
        has(&classic, line);
    }
}

#[test]
fn each_format_names_families_its_own_way() {
    let families = shared("nginx").families();
    let open = encode(&families, Format::OpenMetrics).unwrap();
    has(&open, "# TYPE overflow_listener_full_seconds counter");
    has(&open, "# UNIT overflow_listener_full_seconds seconds");
    has(&open, "# TYPE overflow_build info");
    assert!(open.ends_with("\n# EOF\n"));
    let classic = encode(&families, Format::Classic).unwrap();
    has(&classic, "# TYPE overflow_listener_full_seconds_total counter");
    has(&classic, "# TYPE overflow_build_info gauge");
    has(&classic, "# TYPE overflow_listener_queue_wait_seconds histogram");
    assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"));
    let both = "text/plain;q=0.5,application/openmetrics-text;version=1.0.0";
    assert_eq!(Format::accepted(both), Format::OpenMetrics);
    assert_eq!(Format::accepted("*/*"), Format::Classic);
}

#[test]
fn the_page_in_both_formats() {
    let families = shared("nginx").families();
    expect("metrics", &encode(&families, Format::Classic).unwrap());
    expect("metrics-openmetrics", &encode(&families, Format::OpenMetrics).unwrap());
}

#[test]
fn a_process_cannot_forge_lines_by_its_name() {
    let page = encode(&shared("a\"} 1\nb\\").families(), Format::Classic).unwrap();
    assert!(page.contains(r#",process="a\"} 1\\u000ab\\","#), "{page}");
    assert!(!page.lines().any(|l| l.starts_with('b')));
}

/// What a server on loopback answers to one request.
fn answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn only_the_page_is_served() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = endpoint.address().unwrap();
        let serving = tokio::spawn(endpoint.serve(shared("nginx")));
        let asked = tokio::task::spawn_blocking(move || {
            let get = |what: &str| answer(address, &format!("{what} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let page = get("GET /metrics");
            assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
            assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
            assert!(page.contains("\noverflow_folded_listeners 0\n"), "{page}");
            let open = answer(
                address,
                "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n",
            );
            assert!(open.contains("application/openmetrics-text") && open.ends_with("# EOF\n"));
            assert!(get("HEAD /metrics").ends_with("\r\n\r\n"));
            assert!(get("GET /").contains("metrics are at /metrics"));
            assert!(get("GET /etc/passwd").starts_with("HTTP/1.1 404"));
            assert!(get("POST /metrics").starts_with("HTTP/1.1 405"));
            assert!(answer(address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
            let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(40_000));
            let mut refused = TcpStream::connect(address).unwrap();
            let _ = refused.write_all(long.as_bytes());
            let mut head = String::new();
            let _ = refused.read_to_string(&mut head);
            assert!(!head.starts_with("HTTP/1.1 200"), "{head}");
            // Those that say nothing do not keep others out while there is room.
            let silent: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
            assert!(get("GET /metrics").starts_with("HTTP/1.1 200"));
            for stream in silent {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        asked.await.unwrap();
        serving.abort();
    });
}

/// Those that say nothing, that never finish asking, that never read, and that ask for too much.
#[test]
fn whoever_is_slow_keeps_nobody_from_the_page() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = endpoint.address().unwrap();
        let serving = tokio::spawn(endpoint.serve(shared("nginx")));
        let asked = tokio::task::spawn_blocking(move || {
            let headers = "X: y\r\n".repeat(100);
            let many = answer(address, &format!("GET /metrics HTTP/1.1\r\n{headers}\r\n"));
            assert!(many.starts_with("HTTP/1.1 431"), "{many}");
            let asking =
                ["", "GET /met", "GET /metrics HTTP/1.1\r\nX-", "GET /metrics HTTP/1.1\r\n\r\n"];
            let slow: Vec<_> = (0..200)
                .map(|i| {
                    let mut stream = TcpStream::connect(address).unwrap();
                    // Those that were here for longest may have been left already.
                    let _ = stream.write_all(asking[i % asking.len()].as_bytes());
                    stream
                })
                .collect();
            let began = Instant::now();
            for _ in 0..10 {
                let page = answer(address, "GET /metrics HTTP/1.1\r\n\r\n");
                assert!(page.starts_with("HTTP/1.1 200") && page.ends_with('\n'), "{page}");
            }
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
            // Without anybody else, too, they are left in the end.
            let mut last = &slow[197];
            last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut rest = Vec::new();
            let _ = last.read_to_end(&mut rest);
            assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
            assert!(!rest.starts_with(b"HTTP/1.1 200"));
        });
        asked.await.unwrap();
        serving.abort();
    });
}

#[test]
fn every_metric_is_served_as_the_catalog_says() {
    let families = shared("nginx").families();
    let served: Vec<String> = families.0.iter().map(|f| f.metric.prometheus()).collect();
    let catalog: Vec<String> = CATALOG.iter().map(Metric::prometheus).collect();
    assert_eq!(served, catalog, "let the listener of these tests have numbers of every metric");
    let page = encode(&families, Format::Classic).unwrap();
    for (family, name) in families.0.iter().zip(&catalog) {
        has(&page, &format!("# HELP {name} {}", family.metric.help));
        let allowed: Vec<&Label> = match family.metric.source {
            Source::Trace(_) => family.metric.labels.iter().collect(),
            Source::Listener(_) | Source::ListenerBy(_) => {
                LISTENER.iter().chain(family.metric.labels).collect()
            }
        };
        for sample in &family.samples {
            let labels: Vec<&Label> = sample.labels.iter().map(|(label, _)| *label).collect();
            assert!(labels.iter().all(|label| allowed.contains(label)), "{name} {labels:?}");
            let mut own = family.metric.labels.iter();
            assert!(own.all(|label| labels.contains(&label)), "{name} {labels:?}");
            let kind = match sample.value {
                Value::Count(_) | Value::Seconds(_) => Kind::Counter,
                Value::Gauge(_) => Kind::Gauge,
                Value::Info => Kind::Info,
                Value::Histogram { .. } => Kind::Histogram,
            };
            assert_eq!(kind, family.metric.kind, "{name}");
        }
    }
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<String> = CATALOG.iter().map(Metric::prometheus).collect();
    assert_eq!(names.len(), CATALOG.len());
    let otlp = || CATALOG.iter().filter_map(|m| Some(m.otlp?.name));
    assert_eq!(otlp().collect::<BTreeSet<_>>().len(), otlp().count());
    for metric in CATALOG {
        if let Some(otlp) = metric.otlp {
            assert_eq!(otlp.unit == "s", metric.seconds, "{}", otlp.name);
        }
    }
}

#[test]
fn rules_and_dashboard_use_what_is_served() {
    let mut served: BTreeSet<String> = BTreeSet::new();
    for metric in CATALOG {
        let name = metric.prometheus();
        if metric.kind == Kind::Histogram {
            served.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
        }
        served.insert(name);
    }
    for text in [
        include_str!("../../../../docs/metrics.md"),
        include_str!("../../../../deploy/prometheus-alerts.yaml"),
        include_str!("../../../../deploy/grafana-dashboard.json"),
    ] {
        let used: BTreeSet<String> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
            .filter(|word| word.starts_with("overflow_"))
            .map(str::to_owned)
            .collect();
        assert!(used.len() > 5, "{used:?}");
        let unknown: Vec<_> = used.difference(&served).collect();
        assert!(unknown.is_empty(), "nobody serves {unknown:?}");
    }
}

/// The rows of the document's tables that begin with this word.
fn documented(begin: &str) -> Vec<&'static str> {
    let lines = include_str!("../../../../docs/metrics.md").lines();
    lines.filter(|line| line.starts_with(&format!("| `{begin}"))).collect()
}

#[test]
fn the_document_has_a_row_for_each_metric() {
    let rows = documented("overflow_");
    for metric in CATALOG {
        let labels: Vec<&str> = metric.labels.iter().map(|label| label.name).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        };
        let begin = format!("| `{}{labels}` | {kind} |", metric.prometheus());
        let row = rows.iter().find(|row| row.starts_with(&begin));
        let row = row.unwrap_or_else(|| panic!("docs/metrics.md has no row {begin} ... |"));
        // When it can be relied on is what the footnotes are about.
        let note = match metric.exact {
            Exact::Accept => Some('¹'),
            Exact::Connections => Some('²'),
            Exact::Why => Some('³'),
            Exact::Always | Exact::Counted | Exact::Records | Exact::Looked => None,
        };
        let has = row.trim_end_matches([' ', '|']).chars().last();
        assert_eq!(has.filter(|c| "¹²³".contains(*c)), note, "{row}");
    }
    assert_eq!(rows.len(), CATALOG.len());
}

#[test]
fn the_document_has_the_names_of_opentelemetry_beside() {
    let rows = documented("overflow.");
    for metric in CATALOG {
        let Some(otlp) = metric.otlp else { continue };
        let row = format!("| `{}` | `{}` | `{}` |", otlp.name, otlp.unit, metric.prometheus());
        assert!(rows.contains(&row.as_str()), "docs/metrics.md has no row {row}");
    }
    let own = CATALOG.iter().filter(|m| m.otlp.is_some()).flat_map(|m| m.labels);
    let lines: Vec<&str> = include_str!("../../../../docs/metrics.md").lines().collect();
    for label in LISTENER.iter().chain(own) {
        let (attribute, name) = (format!("`{}`", label.otlp), format!("`{}`", label.name));
        let row = lines.iter().find(|line| line.contains(&attribute) && line.contains(&name));
        assert!(row.is_some(), "docs/metrics.md has no row of {attribute} and {name}");
    }
}
