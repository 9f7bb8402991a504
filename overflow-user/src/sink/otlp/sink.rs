//! The live trace's way into requests.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    net::SocketAddr,
};

use opentelemetry_proto::tonic::{logs::v1::LogRecord, resource::v1::Resource};
use prost::Message;

use super::{
    logs::{self, ListenerLabels},
    metrics::{self, Times},
    resource,
};
use crate::{
    export::{Outbox, Request, Settings, Signal},
    sink::{
        metrics::Collector,
        trace::{Closing, Interval, Moment, Opening, Snapshot, TraceSink},
    },
};
use overflow_core::verdict::Connection;

/// Records of one request; the SDKs of OpenTelemetry send as many.
const BATCH: usize = 512;
/// Connections whose listeners are remembered until they are exported; the records of more are
/// without them.
const MAX_LABELLED: usize = 65_536;
/// Ticks come a little late rather than early.
const EARLY_NS: u64 = 100_000_000;

/// CLOCK_REALTIME minus CLOCK_MONOTONIC now, nanoseconds.
type WallOffset = Box<dyn Fn() -> i64>;

/// A sink whose numbers and abnormal handshakes are exported as well.
pub struct Exported {
    shown: Box<dyn TraceSink>,
    collector: Collector,
    outbox: Outbox,
    metrics: bool,
    logs: bool,
    every_ns: u64,
    given: BTreeMap<String, String>,
    host: String,
    resource: Resource,
    wall_offset: WallOffset,
    wall_offset_ns: i64,
    /// Whether only aggregates are shown; handshakes come all the same, to be exported.
    aggregates_only: bool,
    /// When the trace began, nanoseconds of the UNIX epoch.
    since_ns: Option<u64>,
    /// When metrics are due next, and now, CLOCK_MONOTONIC nanoseconds.
    due_ns: u64,
    now_ns: u64,
    /// The listeners of connections with an abnormal event, until these are exported: as many as the
    /// pipeline remembers. `None` where connections of two namespaces have the same addresses.
    labels: HashMap<(SocketAddr, SocketAddr), Option<ListenerLabels>>,
    records: Vec<LogRecord>,
}

impl Exported {
    /// Prints with `shown`, and hands requests to `outbox`. `host` is this host's name.
    pub fn new(
        shown: Box<dyn TraceSink>,
        settings: &Settings,
        outbox: Outbox,
        host: String,
        wall_offset: WallOffset,
    ) -> Self {
        Self {
            shown,
            collector: Collector::default(),
            outbox,
            metrics: settings.metrics.is_some(),
            logs: settings.logs.is_some(),
            every_ns: u64::try_from(settings.every.as_nanos()).unwrap_or(u64::MAX),
            given: settings.resource.clone(),
            host,
            resource: Resource::default(),
            wall_offset_ns: wall_offset(),
            wall_offset,
            aggregates_only: false,
            since_ns: None,
            due_ns: 0,
            now_ns: 0,
            labels: HashMap::new(),
            records: Vec::new(),
        }
    }

    fn wall(&self, t_ns: u64) -> u64 {
        t_ns.saturating_add_signed(self.wall_offset_ns)
    }

    fn send_metrics(&mut self, snapshot: &Snapshot<'_>) {
        let now_ns = self.wall(self.now_ns);
        let start_ns = self.since_ns.unwrap_or(now_ns);
        let times = Times { start_ns, now_ns };
        let body = metrics::request(&self.collector.families(snapshot), &self.resource, times);
        let body = body.encode_to_vec();
        self.outbox.send(Request { signal: Signal::Metrics, items: 1, body });
    }

    fn send_logs(&mut self) {
        let records = std::mem::take(&mut self.records);
        if let Ok(items @ 1..) = u32::try_from(records.len()) {
            let body = logs::request(records, &self.resource).encode_to_vec();
            self.outbox.send(Request { signal: Signal::Logs, items, body });
        }
    }
}

impl TraceSink for Exported {
    fn open(&mut self, out: &mut dyn Write, opening: &Opening) -> io::Result<()> {
        self.resource = resource(&self.given, &opening.kernel, &self.host);
        self.aggregates_only = opening.summary.is_some();
        self.collector.open(opening);
        self.shown.open(out, opening)
    }

    fn moment(&mut self, out: &mut dyn Write, moment: &Moment<'_>) -> io::Result<()> {
        if self.logs && moment.stage.id.is_abnormal() {
            let conn = moment.observed.conn;
            let key = (conn.client, conn.server);
            if self.labels.len() < MAX_LABELLED || self.labels.contains_key(&key) {
                let known = self
                    .labels
                    .entry(key)
                    .or_insert_with(|| Some(ListenerLabels::new(conn.netns, moment.listeners)));
                if known.as_ref().is_some_and(|labels| labels.netns != conn.netns) {
                    *known = None;
                }
            }
        }
        if self.aggregates_only { Ok(()) } else { self.shown.moment(out, moment) }
    }

    fn connection(&mut self, out: &mut dyn Write, connection: &Connection) -> io::Result<()> {
        if self.logs && connection.stages.iter().any(|stage| stage.id.is_abnormal()) {
            let labels = self.labels.remove(&(connection.client, connection.server)).flatten();
            let record =
                logs::record(connection, labels.as_ref(), self.now_ns, |t_ns| self.wall(t_ns));
            self.records.push(record);
            if self.records.len() >= BATCH {
                self.send_logs();
            }
        }
        if self.aggregates_only { Ok(()) } else { self.shown.connection(out, connection) }
    }

    fn suppressed(&mut self, out: &mut dyn Write, count: u64) -> io::Result<()> {
        if self.aggregates_only { Ok(()) } else { self.shown.suppressed(out, count) }
    }

    fn interval(&mut self, out: &mut dyn Write, interval: &Interval<'_>) -> io::Result<()> {
        self.shown.interval(out, interval)
    }

    fn second(&mut self, out: &mut dyn Write, snapshot: &Snapshot<'_>) -> io::Result<()> {
        self.shown.second(out, snapshot)?;
        // The host's clock can be set, and stands still for CLOCK_MONOTONIC while it sleeps.
        self.wall_offset_ns = (self.wall_offset)();
        self.now_ns = snapshot.t_ns;
        if self.since_ns.is_none() {
            self.since_ns = Some(self.wall(snapshot.t_ns));
            // The first comes soon: it shows that all is well.
            self.due_ns = snapshot.t_ns + 1_000_000_000;
        }
        if self.metrics && snapshot.t_ns.saturating_add(EARLY_NS) >= self.due_ns {
            self.due_ns = snapshot.t_ns.saturating_add(self.every_ns);
            self.send_metrics(snapshot);
        }
        self.send_logs();
        Ok(())
    }

    fn ending(&mut self, out: &mut dyn Write, snapshot: &Snapshot<'_>) -> io::Result<()> {
        self.now_ns = snapshot.t_ns;
        self.send_logs();
        if self.metrics {
            self.send_metrics(snapshot);
        }
        self.shown.ending(out, snapshot)
    }

    fn close(&mut self, out: &mut dyn Write, closing: &Closing<'_>) -> io::Result<()> {
        self.shown.close(out, closing)
    }
}
