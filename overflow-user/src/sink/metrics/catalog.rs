//! Every metric: a row each, from which the page, OTLP and the test of docs/metrics.md take what
//! they need. To add one, add a row here and one to the document.

use super::rows::Row;
use crate::sink::trace::{Opening, Snapshot, Waits};
use overflow_core::{
    audit::{Balance, NamespaceAudit},
    cause::CauseId,
};

/// What precedes every name on the page.
pub(super) const PREFIX: &str = "overflow";
/// Causes of loss that are shown; their number is known, this only makes sure of it.
const CAUSES: usize = 100;

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Name on the page, without `overflow_`, the unit and what its kind adds.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Whether it is in seconds; on the page it has no unit otherwise.
    pub seconds: bool,
    /// What it is called in OpenTelemetry; `None` where the resource says it.
    pub otlp: Option<Otlp>,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// When it can be relied on.
    pub exact: Exact,
    /// Its labels, apart from those of a listener.
    pub labels: &'static [Label],
    /// Where its numbers come from.
    pub(super) source: Source,
}

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of something counted, or a time that adds up, since the trace began.
    Counter,
    /// Now.
    Gauge,
    /// How many took how long, since the trace began.
    Histogram,
    /// Always 1; the labels say everything.
    Info,
}

/// Name and unit in OpenTelemetry: dots for namespaces, units apart from names. Where one of its
/// conventions names the same thing, its name is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The name.
    pub name: &'static str,
    /// The unit, UCUM.
    pub unit: &'static str,
}

/// When a metric can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exact {
    /// Always.
    Always,
    /// Where the kernel side counts (`--summary`, `--all`); elsewhere while no record is lost.
    Counted,
    /// While no record is lost.
    Records,
    /// While no record is lost and no connection is forgotten before its end.
    Connections,
    /// Where accept() is traced; it is absent elsewhere.
    Accept,
    /// With `--why`, as far as holders were looked at: some seconds apart.
    Why,
    /// When the listeners were last looked at, at most five seconds ago; where something happened
    /// and the kernel side counts, now.
    Looked,
}

/// What a label is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// On the page.
    pub name: &'static str,
    /// The attribute in OpenTelemetry, or of the resource where that says it.
    pub otlp: &'static str,
}

/// Where the numbers of a metric come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// One number for each listener, if it is known.
    Listener(fn(&Row) -> Option<Value>),
    /// Several for each listener, with the values of the metric's own labels.
    ListenerBy(fn(&Row) -> Vec<Labelled>),
    /// Of the whole trace, with the values of the metric's own labels.
    Trace(fn(&Reading<'_>) -> Vec<Labelled>),
}

/// A number with the values of a metric's own labels, in their order.
pub(super) type Labelled = (Vec<String>, Value);

/// What is known of the whole trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    /// What is known at the beginning.
    pub opening: Option<&'a Opening>,
    /// Everything that is known this second.
    pub snapshot: &'a Snapshot<'a>,
    /// Listeners without a row of their own.
    pub folded: usize,
}

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of something counted since the trace began.
    Count(u64),
    /// A time that adds up since the trace began, seconds.
    Seconds(f64),
    /// Now.
    Gauge(u32),
    /// Always 1; the labels say everything.
    Info,
    /// How many were up to a bound, seconds, but above the one before; and the sum of all, seconds.
    Histogram {
        /// (bound, how many); the last bound is infinite.
        buckets: Vec<(f64, u64)>,
        /// All together.
        sum: f64,
    },
}

/// The labels of a listener.
pub(in crate::sink) static LISTENER: [Label; 6] = [
    Label { name: "netns", otlp: "overflow.netns" },
    Label { name: "listener", otlp: "overflow.listener" },
    Label { name: "inode", otlp: "overflow.listener.inode" },
    Label { name: "process", otlp: "overflow.process" },
    Label { name: "container", otlp: "container.id" },
    Label { name: "pod_uid", otlp: "k8s.pod.uid" },
];

/// The labels of what is audited.
static AUDITED: [Label; 2] = [
    Label { name: "netns", otlp: "overflow.netns" },
    Label { name: "counter", otlp: "overflow.counter" },
];
/// Network namespaces whose audit is shown; those where most is unaccounted come first, then those
/// where most rose.
const NAMESPACES: usize = 100;

/// All metrics, in the order of the page.
pub(in crate::sink) static CATALOG: &[Metric] = &[
    Metric {
        name: "build",
        kind: Kind::Info,
        seconds: false,
        otlp: None,
        help: "This program and the running kernel",
        exact: Exact::Always,
        labels: &[
            Label { name: "version", otlp: "service.version" },
            Label { name: "kernel", otlp: "os.version" },
        ],
        source: Source::Trace(|reading| {
            let labels = |opening: &Opening| {
                vec![env!("CARGO_PKG_VERSION").to_owned(), opening.kernel.clone()]
            };
            reading.opening.map(|opening| (labels(opening), Value::Info)).into_iter().collect()
        }),
    },
    Metric {
        name: "hook",
        kind: Kind::Info,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.hook.info", unit: "1" }),
        help: "How each hook point is traced",
        exact: Exact::Always,
        labels: &[
            Label { name: "moment", otlp: "overflow.hook.moment" },
            Label { name: "rung", otlp: "overflow.hook.rung" },
        ],
        source: Source::Trace(|reading| {
            let rungs = reading.opening.into_iter().flat_map(|opening| &opening.rungs);
            let name = |rung: &str| if rung.is_empty() { "none" } else { rung }.to_owned();
            rungs.map(|(point, rung)| (vec![point.clone(), name(rung)], Value::Info)).collect()
        }),
    },
    Metric {
        name: "listener_moments",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.moments", unit: "{segment}" }),
        help: "SYNs and third ACKs by what the kernel did",
        exact: Exact::Counted,
        labels: &[Label { name: "verdict", otlp: "overflow.verdict" }],
        source: Source::ListenerBy(|row| {
            let verdicts = row.totals.verdicts.iter();
            verdicts.map(|(id, n)| (vec![id.as_str().to_owned()], Value::Count(*n))).collect()
        }),
    },
    Metric {
        name: "listener_overflows",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.overflows", unit: "{segment}" }),
        help: "What the kernel counts as ListenOverflows",
        exact: Exact::Counted,
        labels: &[],
        source: Source::Listener(|row| Some(Value::Count(row.totals.overflows()))),
    },
    Metric {
        name: "listener_synack_retransmits",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.synack_retransmits", unit: "{segment}" }),
        help: "SYN-ACKs retransmitted",
        exact: Exact::Records,
        labels: &[],
        source: Source::Listener(|row| Some(Value::Count(row.totals.synack_retransmits))),
    },
    Metric {
        name: "listener_phantoms",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.phantoms", unit: "{connection}" }),
        help: "Connections that clients believed established while the server had none",
        exact: Exact::Connections,
        labels: &[],
        source: Source::Listener(|row| Some(Value::Count(row.totals.phantoms))),
    },
    Metric {
        name: "listener_accepts",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.accepts", unit: "{connection}" }),
        help: "Connections that the application took by accept()",
        exact: Exact::Accept,
        labels: &[],
        source: Source::Listener(|row| Some(Value::Count(row.totals.accepts()))),
    },
    Metric {
        name: "listener_full",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.full", unit: "{spell}" }),
        help: "How often the accept queue became full",
        exact: Exact::Accept,
        labels: &[],
        source: Source::Listener(|row| Some(Value::Count(row.totals.full?.times))),
    },
    Metric {
        // On the page its unit distinguishes it from the one above, which is not part of a name in OTLP.
        name: "listener_full",
        kind: Kind::Counter,
        seconds: true,
        otlp: Some(Otlp { name: "overflow.listener.full_time", unit: "s" }),
        help: "How long the accept queue was full",
        exact: Exact::Accept,
        labels: &[],
        source: Source::Listener(|row| Some(Value::Seconds(seconds(row.totals.full?.total_ns)))),
    },
    Metric {
        name: "listener_full_by_cause",
        kind: Kind::Counter,
        seconds: true,
        otlp: Some(Otlp { name: "overflow.listener.full_time_by_cause", unit: "s" }),
        help: "How long the accept queue was full, by why it became so; with --why",
        exact: Exact::Why,
        labels: &[Label { name: "cause", otlp: "overflow.cause" }],
        source: Source::ListenerBy(|row| {
            let causes = row.totals.full_by_cause.iter();
            let labelled = |(cause, ns): (&CauseId, &u64)| {
                (vec![cause.as_str().to_owned()], Value::Seconds(seconds(*ns)))
            };
            causes.map(labelled).collect()
        }),
    },
    Metric {
        name: "listener_queue_wait",
        kind: Kind::Histogram,
        seconds: true,
        otlp: Some(Otlp { name: "overflow.listener.queue_wait", unit: "s" }),
        help: "Time from the accept queue to accept()",
        exact: Exact::Accept,
        labels: &[],
        source: Source::Listener(|row| row.totals.waits.as_ref().map(histogram)),
    },
    Metric {
        name: "listener_accept_queue_length",
        kind: Kind::Gauge,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.accept_queue.length", unit: "{connection}" }),
        help: "Connections that wait for accept(), ss Recv-Q; the queue is full above its limit",
        exact: Exact::Looked,
        labels: &[],
        source: Source::Listener(|row| Some(Value::Gauge(row.queues?.length))),
    },
    Metric {
        name: "listener_accept_queue_limit",
        kind: Kind::Gauge,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.accept_queue.limit", unit: "{connection}" }),
        help: "The least of backlog and net.core.somaxconn, ss Send-Q",
        exact: Exact::Looked,
        labels: &[],
        source: Source::Listener(|row| Some(Value::Gauge(row.queues?.limit?))),
    },
    Metric {
        name: "listener_accept_queue_length_max",
        kind: Kind::Gauge,
        seconds: false,
        otlp: Some(Otlp {
            name: "overflow.listener.accept_queue.length_max",
            unit: "{connection}",
        }),
        help: "Longest accept queue that was seen since the trace began",
        exact: Exact::Counted,
        labels: &[],
        source: Source::Listener(|row| row.totals.recv_q_max.map(Value::Gauge)),
    },
    Metric {
        name: "listener_syn_queue_length",
        kind: Kind::Gauge,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.syn_queue.length", unit: "{request}" }),
        help: "Requests in SYN_RECV",
        exact: Exact::Looked,
        labels: &[],
        source: Source::Listener(|row| row.queues?.syn.map(Value::Gauge)),
    },
    Metric {
        name: "listener_sockets",
        kind: Kind::Gauge,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.listener.sockets", unit: "{socket}" }),
        help: "1 for each listening socket, of which several can share an address",
        exact: Exact::Looked,
        labels: &[],
        source: Source::Listener(|row| Some(Value::Gauge(row.queues?.sockets))),
    },
    Metric {
        name: "losses",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.losses", unit: "{item}" }),
        help: "What was lost on the way, so is missing elsewhere",
        exact: Exact::Always,
        labels: &[Label { name: "cause", otlp: "overflow.loss.cause" }],
        source: Source::Trace(|reading| {
            let losses = reading.snapshot.losses.iter().take(CAUSES);
            losses.map(|(cause, n)| (vec![cause.id().to_owned()], Value::Count(*n))).collect()
        }),
    },
    Metric {
        name: "audit_rose",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.audit.rose", unit: "{count}" }),
        help: "What a kernel counter rose by since the trace began",
        exact: Exact::Looked,
        labels: &AUDITED,
        source: Source::Trace(|reading| audited(reading, |b| Value::Count(b.rose))),
    },
    Metric {
        name: "audit_told",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.audit.told", unit: "{count}" }),
        help: "What of it verdicts account for",
        exact: Exact::Looked,
        labels: &AUDITED,
        source: Source::Trace(|reading| audited(reading, |b| Value::Count(b.told))),
    },
    Metric {
        name: "audit_explained",
        kind: Kind::Gauge,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.audit.explained", unit: "{count}" }),
        help: "What of it was left out, lost, or is not watched",
        exact: Exact::Looked,
        labels: &AUDITED,
        source: Source::Trace(|reading| audited(reading, |b| gauge(b.explained()))),
    },
    Metric {
        name: "audit_unaccounted",
        kind: Kind::Gauge,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.audit.unaccounted", unit: "{count}" }),
        help: "By how much it is not what was told, and nothing explains it",
        exact: Exact::Looked,
        labels: &AUDITED,
        source: Source::Trace(|reading| audited(reading, |b| gauge(b.unaccounted.unsigned_abs()))),
    },
    Metric {
        name: "suppressed_moments",
        kind: Kind::Counter,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.suppressed_moments", unit: "{segment}" }),
        help: "Events that were counted but not printed",
        exact: Exact::Always,
        labels: &[],
        source: Source::Trace(|reading| {
            vec![(Vec::new(), Value::Count(reading.snapshot.suppressed))]
        }),
    },
    Metric {
        name: "folded_listeners",
        kind: Kind::Gauge,
        seconds: false,
        otlp: Some(Otlp { name: "overflow.folded_listeners", unit: "{listener}" }),
        help: "Listeners without a row of their own, summed up as other",
        exact: Exact::Always,
        labels: &[],
        source: Source::Trace(|reading| {
            vec![(Vec::new(), Value::Gauge(u32::try_from(reading.folded).unwrap_or(u32::MAX)))]
        }),
    },
];

impl Kind {
    /// What it adds to a name on the page.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }
}

/// A number of each counter of each network namespace.
fn audited(reading: &Reading<'_>, value: impl Fn(&Balance) -> Value) -> Vec<Labelled> {
    let mut audits: Vec<&NamespaceAudit> = reading.snapshot.audit.into_iter().flatten().collect();
    let rose = |a: &NamespaceAudit| a.balances.iter().map(|b| b.rose).max();
    audits.sort_by_key(|a| std::cmp::Reverse((a.unaccounted(), rose(a))));
    audits.truncate(NAMESPACES);
    audits.sort_by_key(|audit| audit.netns);
    let all = audits.into_iter().flat_map(|a| a.balances.iter().map(move |b| (a.netns, b)));
    let labelled = |(netns, balance): (u32, &Balance)| {
        (vec![netns.to_string(), balance.counter.as_str().to_owned()], value(balance))
    };
    all.map(labelled).collect()
}

fn gauge(value: u64) -> Value {
    Value::Gauge(u32::try_from(value).unwrap_or(u32::MAX))
}

/// Bounds are powers of two, microseconds.
fn histogram(waits: &Waits) -> Value {
    let last = waits.buckets.len() - 1;
    let bound = |i: usize| if i == last { f64::INFINITY } else { seconds(1000 << i) };
    let buckets = waits.buckets.iter().enumerate().map(|(i, n)| (bound(i), *n)).collect();
    Value::Histogram { buckets, sum: seconds(waits.total_ns) }
}

fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}
