//! Rows -> metric families: names, labels and units by the conventions of Prometheus.

use super::rows::{ListenerLabels, Row};
use crate::sink::trace::{Opening, Snapshot, Waits};

/// Causes of loss that are told apart; their number is known, this only makes sure of it.
const CAUSES: usize = 100;

/// A metric with all its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without `overflow_`, the unit and what its type adds.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// Whether it is in seconds; it has no unit otherwise.
    pub seconds: bool,
    /// All of one kind, and never none.
    pub samples: Vec<Sample>,
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: Value,
}

/// A number of some kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of something counted since the trace began.
    Count(u64),
    /// A time that adds up since the trace began, seconds.
    Seconds(f64),
    /// Now.
    Gauge(u32),
    /// Always 1; the labels tell.
    Info,
    /// How many were up to a bound, seconds, but above the one before; and the sum of all, seconds.
    Histogram {
        /// (bound, how many); the last bound is infinite.
        buckets: Vec<(f64, u64)>,
        /// All together.
        sum: f64,
    },
}

/// Families in the order of the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Families(pub Vec<Family>);

impl Families {
    pub(super) fn new(
        opening: Option<&Opening>,
        snapshot: &Snapshot<'_>,
        rows: &[Row],
        folded: usize,
    ) -> Self {
        let mut families = Self::default();
        families.about(opening);
        families.happened(rows, snapshot.accepts);
        families.queues(rows);
        let losses = snapshot.losses.iter().take(CAUSES).map(|(cause, count)| Sample {
            labels: vec![("cause", cause.id().to_owned())],
            value: Value::Count(*count),
        });
        families.add("losses", "What was lost on the way, so is missing elsewhere", losses);
        let one = |value| [Sample { labels: Vec::new(), value }];
        families.add(
            "suppressed_moments",
            "Moments that were counted but not printed",
            one(Value::Count(snapshot.suppressed)),
        );
        families.add(
            "folded_listeners",
            "Listeners without a row of their own, summed up as other",
            one(Value::Gauge(u32::try_from(folded).unwrap_or(u32::MAX))),
        );
        families
    }

    fn about(&mut self, opening: Option<&Opening>) {
        let Some(opening) = opening else { return };
        let build = Sample {
            labels: vec![
                ("version", env!("CARGO_PKG_VERSION").to_owned()),
                ("kernel", opening.kernel.clone()),
            ],
            value: Value::Info,
        };
        self.add("build", "This program and the running kernel", [build]);
        let hooks = opening.rungs.iter().map(|(moment, rung)| {
            let rung = if rung.is_empty() { "none" } else { rung };
            Sample {
                labels: vec![("moment", moment.clone()), ("rung", rung.to_owned())],
                value: Value::Info,
            }
        });
        self.add("hook", "By which means a kernel moment is traced", hooks);
    }

    fn happened(&mut self, rows: &[Row], accepts: bool) {
        let verdicts = rows.iter().flat_map(|row| {
            row.sums.verdicts.iter().map(|(id, count)| {
                let mut labels = labels(&row.whose);
                labels.push(("verdict", id.as_str().to_owned()));
                Sample { labels, value: Value::Count(*count) }
            })
        });
        self.add("listener_moments", "SYNs and third ACKs by what the kernel did", verdicts);
        self.add(
            "listener_overflows",
            "What the kernel counts as ListenOverflows",
            each(rows, |row| Some(Value::Count(row.sums.overflows))),
        );
        self.add(
            "listener_synack_retransmits",
            "SYN-ACKs sent again",
            each(rows, |row| Some(Value::Count(row.sums.synack_retransmits))),
        );
        self.add(
            "listener_phantoms",
            "Connections that clients believed established while the server had none",
            each(rows, |row| Some(Value::Count(row.sums.phantoms))),
        );
        self.add(
            "listener_accepts",
            "Connections that the application took by accept()",
            each(rows, |row| accepts.then_some(Value::Count(row.sums.accepts))),
        );
        self.add(
            "listener_full",
            "How often the accept queue became full",
            each(rows, |row| Some(Value::Count(row.sums.full?.times))),
        );
        self.add_seconds(
            "listener_full",
            "How long the accept queue was full",
            each(rows, |row| Some(Value::Seconds(seconds(row.sums.full?.total_ns)))),
        );
        self.add_seconds(
            "listener_queue_wait",
            "Time from the accept queue to accept()",
            each(rows, |row| row.sums.waits.as_ref().map(histogram)),
        );
    }

    fn queues(&mut self, rows: &[Row]) {
        self.add(
            "listener_accept_queue_length",
            "Connections that wait for accept(), ss Recv-Q; the queue is full above its limit",
            each(rows, |row| Some(Value::Gauge(row.queues?.length))),
        );
        self.add(
            "listener_accept_queue_limit",
            "The least of backlog and net.core.somaxconn, ss Send-Q",
            each(rows, |row| Some(Value::Gauge(row.queues?.limit?))),
        );
        self.add(
            "listener_accept_queue_length_max",
            "Longest accept queue that was seen since the trace began",
            each(rows, |row| row.sums.recv_q_max.map(Value::Gauge)),
        );
        self.add(
            "listener_syn_queue_length",
            "Requests in SYN_RECV",
            each(rows, |row| Some(Value::Gauge(row.queues?.syn))),
        );
        self.add(
            "listener_sockets",
            "Listening sockets that share the address by SO_REUSEPORT",
            each(rows, |row| Some(Value::Gauge(row.queues?.sockets))),
        );
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = Sample>,
    ) {
        let samples: Vec<Sample> = samples.into_iter().collect();
        if !samples.is_empty() {
            self.0.push(Family { name, help, seconds: false, samples });
        }
    }

    fn add_seconds(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = Sample>,
    ) {
        let before = self.0.len();
        self.add(name, help, samples);
        if let Some(family) = self.0.get_mut(before) {
            family.seconds = true;
        }
    }
}

fn each(rows: &[Row], value: impl Fn(&Row) -> Option<Value>) -> impl Iterator<Item = Sample> {
    rows.iter()
        .filter_map(move |row| Some(Sample { labels: labels(&row.whose), value: value(row)? }))
}

/// An unknown one is left out: to Prometheus an empty label and a missing one are the same.
fn labels(whose: &ListenerLabels) -> Vec<(&'static str, String)> {
    let netns = whose.netns.map(|n| n.to_string()).unwrap_or_default();
    let labels = [
        ("netns", &netns),
        ("listener", &whose.listener),
        ("process", &whose.process),
        ("container", &whose.container),
        ("pod_uid", &whose.pod_uid),
    ];
    let known = labels.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| (name, value.clone())).collect()
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
