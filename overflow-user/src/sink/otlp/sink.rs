//! The live trace's way into requests.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use opentelemetry_proto::tonic::{logs::v1::LogRecord, resource::v1::Resource};
use prost::Message as _;

use super::{
    causes::Causes,
    logs::{self, ListenerLabels},
    metrics::{self, Times},
    resource,
};
use crate::{
    export::{Outbox, Request, Settings, Signal},
    sink::{
        metrics::Collector,
        trace::{Finished, JudgedEvent, Message, Opening, Sink, Snapshot},
    },
};
use overflow_core::decode::ConnKey;

/// Records of one request; the SDKs of OpenTelemetry send as many.
const BATCH: usize = 512;
/// Connections whose listeners are remembered until they are exported; the records of more have what is
/// known at their end.
const MAX_LABELLED: usize = 65_536;
/// Ticks come a little late rather than early.
const EARLY_NS: u64 = 100_000_000;

/// CLOCK_REALTIME minus CLOCK_MONOTONIC now, nanoseconds.
type WallOffset = Box<dyn Fn() -> i64>;

/// Exports the numbers and the abnormal handshakes of a trace.
pub struct Exported {
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
    /// When the trace began, nanoseconds of the UNIX epoch.
    since_ns: Option<u64>,
    /// When metrics are due next, and now, CLOCK_MONOTONIC nanoseconds.
    due_ns: u64,
    now_ns: u64,
    /// The listeners of connections with an abnormal event, until these are exported: as they were
    /// known then, which can be better than what is known at the end.
    labels: HashMap<ConnKey, ListenerLabels>,
    /// Why listeners were full.
    causes: Causes,
    records: Vec<LogRecord>,
}

impl Exported {
    /// Hands requests to `outbox`. `host` is this host's name.
    pub fn new(settings: &Settings, outbox: Outbox, host: String, wall_offset: WallOffset) -> Self {
        Self {
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
            since_ns: None,
            due_ns: 0,
            now_ns: 0,
            labels: HashMap::new(),
            causes: Causes::default(),
            records: Vec::new(),
        }
    }

    fn open(&mut self, opening: &Opening) {
        self.resource = resource(&self.given, &opening.kernel, &self.host);
        self.collector.open(opening);
    }

    fn event(&mut self, judged: &JudgedEvent<'_>) {
        if !self.logs || !judged.stage.id.is_abnormal() {
            return;
        }
        let key = judged.observed.conn;
        let labels = || ListenerLabels::new(key.netns, judged.socket, judged.listeners);
        let room = self.labels.len() < MAX_LABELLED;
        match self.labels.get_mut(&key) {
            Some(known) if known.is_less_than(judged.socket, judged.listeners) => *known = labels(),
            None if room => _ = self.labels.insert(key, labels()),
            Some(_) | None => {}
        }
    }

    fn connection(&mut self, finished: &Finished<'_>) {
        let connection = finished.connection;
        if !self.logs || !connection.stages.iter().any(|stage| stage.id.is_abnormal()) {
            return;
        }
        let (netns, client, server) = (finished.netns, connection.client, connection.server);
        let labels = self
            .labels
            .remove(&ConnKey { netns, client, server })
            .filter(|known| !known.is_less_than(finished.socket, finished.listeners))
            .unwrap_or_else(|| ListenerLabels::new(netns, finished.socket, finished.listeners));
        let cause = self.causes.of(netns, labels.inode, connection);
        let record =
            logs::record(connection, Some(&labels), cause, self.now_ns, |t_ns| self.wall(t_ns));
        self.records.push(record);
        if self.records.len() >= BATCH {
            self.send_logs();
        }
    }

    fn second(&mut self, snapshot: &Snapshot<'_>) {
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
    }

    fn ending(&mut self, snapshot: &Snapshot<'_>) {
        self.now_ns = snapshot.t_ns;
        self.send_logs();
        if self.metrics {
            self.send_metrics(snapshot);
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

impl Sink for Exported {
    fn handle(&mut self, message: Message<'_>) -> io::Result<()> {
        match message {
            Message::Open(opening) => self.open(opening),
            Message::Event(judged) => self.event(judged),
            Message::Connection(finished) => self.connection(finished),
            Message::Cause(caused) => self.causes.look(caused),
            Message::Second(snapshot) => self.second(snapshot),
            Message::Ending(snapshot) => self.ending(snapshot),
            // The numbers have what was left out and what happened in an interval; what is printed
            // is not this sink's.
            Message::Suppressed(_)
            | Message::Interval(_)
            | Message::Audit(_)
            | Message::Close(_)
            | Message::Flush => {}
        }
        Ok(())
    }

    fn wants_connections(&self) -> bool {
        self.logs
    }
}
