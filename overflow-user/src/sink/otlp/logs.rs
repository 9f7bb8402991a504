//! An abnormal handshake -> a log record.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    resource::v1::Resource,
};

use super::{attribute, list, number, scope, string, text};
use crate::sink::trace::certain_owner;
use overflow_core::{
    cause::CauseId,
    explain::Lang,
    listeners::Listener,
    owner::Owner,
    verdict::{Connection, Known, Stage, VerdictId},
};

/// What kind of record it is.
const EVENT: &str = "overflow.handshake";

/// The listener of a handshake, as it was known when something first went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListenerLabels {
    /// Inode number of the network namespace.
    pub(super) netns: u32,
    /// Where it listens, if it is known.
    listener: Option<String>,
    /// Inode number of its socket, if it is known which one it is.
    pub(super) inode: Option<u32>,
    process: Option<(String, u32)>,
    /// Whether that is who called `listen()`, and no holder is known.
    called_listen: bool,
    container: Option<String>,
    pod: Option<String>,
}

impl ListenerLabels {
    /// What is known of this socket, or, where it is not known, of all the listeners that it can be.
    pub(super) fn new(netns: u32, inode: Option<u32>, listeners: &[&Listener]) -> Self {
        let first = listeners.first();
        let owner = certain_owner(listeners.iter().copied());
        let main = owner.and_then(Owner::main);
        Self {
            netns,
            listener: first.map(|l| l.place()),
            inode,
            process: main.map(|p| (p.comm.to_string(), p.pid)),
            called_listen: owner.is_some_and(|owner| owner.called_listen),
            container: main.and_then(|p| Some(p.cgroup.container.as_ref()?.id.to_string())),
            pod: main.and_then(|p| Some(p.cgroup.pod.as_ref()?.to_string())),
        }
    }

    /// Whether what is known of the listener now is more than this: the socket, or its owner.
    pub(super) fn is_less_than(&self, inode: Option<u32>, listeners: &[&Listener]) -> bool {
        let better = || {
            let owner = certain_owner(listeners.iter().copied());
            owner.is_some_and(|owner| {
                self.process.is_none() || self.called_listen && !owner.called_listen
            })
        };
        match (self.inode, inode) {
            (None, Some(_)) => true,
            (known, now) => known == now && known.is_some() && better(),
        }
    }

    fn attributes(&self, to: &mut Vec<KeyValue>) {
        to.push(text("overflow.netns", self.netns.to_string()));
        to.extend(self.listener.as_deref().map(|place| text("overflow.listener", place)));
        to.extend(self.inode.map(|ino| text("overflow.listener.inode", ino.to_string())));
        if let Some((comm, pid)) = &self.process {
            to.push(text("overflow.process", comm.as_str()));
            to.push(number("process.pid", *pid));
            if self.called_listen {
                to.push(attribute("overflow.process.called_listen", Value::BoolValue(true)));
            }
        }
        to.extend(self.container.as_deref().map(|id| text("container.id", id)));
        to.extend(self.pod.as_deref().map(|uid| text("k8s.pod.uid", uid)));
    }
}

/// The record of one handshake. `wall` makes nanoseconds of the UNIX epoch of CLOCK_MONOTONIC.
pub(super) fn record(
    connection: &Connection,
    labels: Option<&ListenerLabels>,
    cause: Option<CauseId>,
    now_ns: u64,
    wall: impl Fn(u64) -> u64,
) -> LogRecord {
    let severity = severity(connection);
    let mut attributes = vec![
        text("client.address", connection.client.ip().to_canonical().to_string()),
        number("client.port", connection.client.port()),
        text("server.address", connection.server.ip().to_canonical().to_string()),
        number("server.port", connection.server.port()),
        text("network.transport", "tcp"),
        text("network.type", network(connection.client)),
        list("overflow.stages", connection.stages.iter().map(|s| s.id.as_str())),
    ];
    attributes.extend(connection.outcome.map(|id| text("overflow.outcome", id.as_str())));
    attributes.extend(connection.handshake().into_iter().flat_map(decisive));
    let resent = i64::try_from(connection.synack_retransmits_ns.len()).unwrap_or(i64::MAX);
    attributes.push(number("overflow.synack_retransmits", resent));
    if let Some(labels) = labels {
        labels.attributes(&mut attributes);
    }
    attributes.extend(cause.map(|id| text("overflow.cause", id.as_str())));
    let body = string(&sentence(connection));
    LogRecord {
        time_unix_nano: connection.stages.iter().map(|s| s.t_ns).min().map_or(0, &wall),
        observed_time_unix_nano: wall(now_ns),
        severity_number: severity.into(),
        severity_text: if severity == SeverityNumber::Warn { "WARN" } else { "INFO" }.to_owned(),
        body: Some(AnyValue { value: Some(body) }),
        attributes,
        event_name: EVENT.to_owned(),
        ..LogRecord::default()
    }
}

/// The records as one request.
pub(super) fn request(records: Vec<LogRecord>, resource: &Resource) -> ExportLogsServiceRequest {
    let scope_logs =
        vec![ScopeLogs { scope: Some(scope()), log_records: records, ..ScopeLogs::default() }];
    let resource = Some(resource.clone());
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }],
    }
}

/// What the stage that decided the handshake rests on.
fn decisive(stage: &Stage) -> Vec<KeyValue> {
    let values = &stage.values;
    let mut found = vec![text("overflow.verdict", stage.id.as_str())];
    match &stage.known {
        Known::Traced => found.push(text("overflow.known", "traced")),
        Known::Inferred(why) => {
            found.push(text("overflow.known", "inferred"));
            found.push(text("overflow.inferred_from", why.to_string()));
        }
    }
    if !stage.path.is_empty() {
        found.push(list("overflow.path", stage.path.iter().copied()));
    }
    let numbers = [
        ("overflow.accept_queue.length", values.sk_ack_backlog),
        ("overflow.accept_queue.limit", values.sk_max_ack_backlog),
        ("overflow.syn_queue.length", values.syn_queue_len),
        ("overflow.tcp_syncookies", values.syncookies.map(u32::from)),
        ("overflow.tcp_abort_on_overflow", values.abort_on_overflow.map(u32::from)),
    ];
    found.extend(numbers.into_iter().filter_map(|(name, value)| Some(number(name, value?))));
    found.extend(values.drop_reason.as_deref().map(|r| text("overflow.drop_reason", r)));
    found.extend(values.reset_reason.as_deref().map(|r| text("overflow.reset_reason", r)));
    let again = i64::try_from(stage.repeats_ns.len()).unwrap_or(i64::MAX);
    found.push(number("overflow.repeats", again));
    found
}

/// A handshake that came through after all is no warning, unless the connection was never accepted.
fn severity(connection: &Connection) -> SeverityNumber {
    if connection.outcome.is_some_and(VerdictId::came_through) {
        SeverityNumber::Info
    } else {
        SeverityNumber::Warn
    }
}

/// What happened, stage by stage, in the words that reports have.
fn sentence(connection: &Connection) -> String {
    let mut parts: Vec<String> = Vec::new();
    for stage in &connection.stages {
        let words = stage.id.label(Lang::En);
        parts.push(match stage.repeats_ns.len() {
            0 => words.to_owned(),
            n => format!("{words} ({} times)", n + 1),
        });
    }
    let last = connection.stages.last().map(|s| s.id);
    let outcome = connection.outcome.filter(|id| Some(*id) != last && id.is_later());
    parts.extend(outcome.map(|id| {
        // The label is about a lab's listener, which is closed in the end.
        let pending = id == VerdictId::LaterPending;
        if pending { "no further event was seen" } else { id.label(Lang::En) }.to_owned()
    }));
    format!("{} to {}: {}", connection.client, connection.server, parts.join("; "))
}

fn network(address: SocketAddr) -> &'static str {
    if address.ip().to_canonical().is_ipv4() { "ipv4" } else { "ipv6" }
}

#[cfg(test)]
mod tests {

    use super::*;
    use overflow_core::verdict::Values;

    fn stage(id: VerdictId, t_ns: u64, repeats_ns: Vec<u64>) -> Stage {
        let values = Values {
            sk_ack_backlog: Some(2),
            sk_max_ack_backlog: Some(1),
            abort_on_overflow: Some(1),
            ..Values::default()
        };
        Stage { id, t_ns, known: Known::Traced, path: &[], values, repeats_ns }
    }

    fn connection(stages: Vec<Stage>, outcome: VerdictId) -> Connection {
        Connection {
            client: "[::ffff:192.0.2.1]:4000".parse().unwrap(),
            server: "[2001:db8::1]:80".parse().unwrap(),
            stages,
            outcome: Some(outcome),
            ..Connection::default()
        }
    }

    fn value<'a>(record: &'a LogRecord, name: &str) -> Option<&'a Value> {
        let found = record.attributes.iter().find(|a| a.key == name)?;
        found.value.as_ref()?.value.as_ref()
    }

    #[test]
    fn a_phantom_is_reported_whole() {
        let stages = vec![
            stage(VerdictId::SynCookie, 10, vec![]),
            stage(VerdictId::AckDropOverflowCookie, 30, vec![40, 50]),
        ];
        let connection = connection(stages, VerdictId::LaterPhantom);
        let record = record(
            &connection,
            Some(&ListenerLabels::new(7, Some(9), &[])),
            Some(CauseId::Stopped),
            99,
            |t| t + 1000,
        );
        assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), (1010, 1099));
        assert_eq!(record.severity_number(), SeverityNumber::Warn);
        assert_eq!(
            record.body.as_ref().unwrap().value,
            Some(Value::StringValue(
                "[::ffff:192.0.2.1]:4000 to [2001:db8::1]:80: answered by a SYN cookie, no request \
                 kept; ACK dropped silently, nothing kept (3 times); the client believes it is \
                 connected, the server has nothing"
                    .to_owned()
            ))
        );
        let text = |s: &str| Value::StringValue(s.to_owned());
        for (name, expected) in [
            ("client.address", text("192.0.2.1")),
            ("client.port", Value::IntValue(4000)),
            ("server.address", text("2001:db8::1")),
            ("network.type", text("ipv4")),
            ("overflow.outcome", text("later.phantom")),
            ("overflow.verdict", text("ack.drop.overflow.cookie")),
            ("overflow.accept_queue.length", Value::IntValue(2)),
            ("overflow.repeats", Value::IntValue(2)),
            ("overflow.netns", text("7")),
            ("overflow.listener.inode", text("9")),
            ("overflow.cause", text("cause.stopped")),
        ] {
            assert_eq!(value(&record, name), Some(&expected), "{name}");
        }
        let Some(Value::ArrayValue(stages)) = value(&record, "overflow.stages") else { panic!() };
        assert_eq!(stages.values.len(), 2);
        assert_eq!(value(&record, "overflow.drop_reason"), None);
    }

    #[test]
    fn what_came_through_is_no_warning() {
        let stages = vec![
            stage(VerdictId::AckDropOverflow, 1, vec![]),
            stage(VerdictId::LaterRecovered, 2, vec![]),
            stage(VerdictId::AckAccepted, 2, vec![]),
        ];
        let connection = connection(stages, VerdictId::LaterRecovered);
        let severity =
            |connection: &Connection| record(connection, None, None, 3, |t| t).severity_number();
        assert_eq!(severity(&connection), SeverityNumber::Info);
        let mut stages = connection.stages.clone();
        stages.push(stage(VerdictId::LaterListenerClosed, 4, vec![]));
        let outcome = Some(VerdictId::LaterListenerClosed);
        let closed = Connection { stages, outcome, ..connection.clone() };
        assert_eq!(severity(&closed), SeverityNumber::Warn);
    }
}
