//! Whether fentry and kprobe saw the same of the same run: every record with the path and the values
//! read, and every stage made of them, but for times and addresses.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use overflow_common::{Queue, RawEvent};
use overflow_core::{
    decode::Decoder,
    recording::{Frame, Recording},
};
use serde_json::{Value, json};

use crate::lines;

/// What one rung saw: by run, each connection without what names or dates it, sorted. Connections
/// of a burst are interchangeable; which of them comes first is the scheduler's affair.
pub type Seen = BTreeMap<String, Vec<Value>>;

/// One run on one kernel, by both rungs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Kernel, family and run.
    pub what: String,
    /// What differs first; `None` if nothing does.
    pub difference: Option<String>,
}

/// What the connections of an output are, but for times and names, with their records from the
/// `recording` of the same run: in the order in which each has them. The lengths of the queues depend
/// on whose turn it was, and timers that fire together take turns as they like: with their lengths,
/// stages and records are put together for all connections.
pub fn read(stdout: &[u8], recording: &[u8]) -> Result<Seen> {
    let text = String::from_utf8_lossy(stdout);
    let lines = text.lines().map(|line| serde_json::from_str(line).context("a line is not JSON"));
    let lines: Vec<Value> = lines.collect::<Result<_>>()?;
    let records = records(recording)?;
    let ends = hold_ends(&lines);
    let mut found = 0;
    let mut seen = Seen::new();
    let mut combined: BTreeMap<String, Combined> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["type"] == "connection") {
        let run = line["run"].as_str().context("a connection of no run")?;
        let address = |name: &str| line[name].as_str().unwrap_or_default().parse().ok();
        let key = address("client").zip(address("server"));
        let records = key.and_then(|key| records.get(&key)).map_or(&[][..], Vec::as_slice);
        // What comes after the hold depends on when the tracer was stopped.
        let end = ends.get(run).copied().unwrap_or(u64::MAX);
        let records: Vec<&RawEvent> = records.iter().take_while(|r| r.t_ns < end).collect();
        found += records.len();
        let all = combined.entry(run.to_owned()).or_default();
        all.records.extend(records.iter().map(|r| raw(r)));
        let mut comparable = comparable(line);
        for stage in comparable["stages"].as_array_mut().into_iter().flatten() {
            all.stages.push(json!({"id": stage["id"], "values": stage["values"]}));
            for length in ["sk_ack_backlog", "syn_queue_len", "syn_queue_young"] {
                if let Some(value) = stage["values"].get_mut(length) {
                    *value = Value::Null;
                }
            }
        }
        comparable["records"] = records.iter().map(|r| without_lengths(raw(r))).collect();
        seen.entry(run.to_owned()).or_default().push(comparable);
    }
    ensure!(found > 0 || recording.is_empty(), "the recording is of other connections");
    for (run, connections) in &mut seen {
        let mut all = combined.remove(run).unwrap_or_default();
        all.leave_race_out();
        connections.sort_by_cached_key(Value::to_string);
        all.records.sort_by_cached_key(Value::to_string);
        all.stages.sort_by_cached_key(Value::to_string);
        connections.push(json!({"all_records": all.records, "all_stages": all.stages}));
    }
    Ok(seen)
}

/// What happens so shortly before the end of the hold may be the listener's close already: the hold
/// is counted from before the first SYN, here from its arrival. Nanoseconds.
const NEARLY: u64 = 100_000_000;

/// When the hold of each run was nearly over, CLOCK_MONOTONIC nanoseconds.
fn hold_ends(lines: &[Value]) -> BTreeMap<&str, u64> {
    let mut begun: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["phase"] == "burst") {
        if let (Some(run), Some(t_ns)) = (line["run"].as_str(), line["t0_ns"].as_u64()) {
            let first = begun.entry(run).or_insert(t_ns);
            *first = t_ns.min(*first);
        }
    }
    let runs = lines.iter().filter(|line| line["type"] == "run");
    let end = |line| {
        let line: &Value = line;
        let run = line["run"].as_str()?;
        Some((run, begun.get(run)? + line["hold_ms"].as_u64()? * 1_000_000 - NEARLY))
    };
    runs.filter_map(end).collect()
}

/// Client and server.
type ConnectionKey = (SocketAddr, SocketAddr);

/// The records of a recording of `overflow lab --record`, by connection, in order of time; none if
/// there is no recording.
fn records(recording: &[u8]) -> Result<BTreeMap<ConnectionKey, Vec<RawEvent>>> {
    let mut records: BTreeMap<ConnectionKey, Vec<RawEvent>> = BTreeMap::new();
    if recording.is_empty() {
        return Ok(records);
    }
    let mut recording = Recording::read(Path::new("of the run"), recording)?;
    while let Some(frame) = recording.next_frame()? {
        if let Frame::Event(event) = frame {
            let key = Decoder::connection(&event).context("a record of no IP family")?;
            records.entry((key.client, key.server)).or_default().push(event);
        }
    }
    ensure!(
        recording.damaged() == 0,
        "{} frames of the recording are damaged",
        recording.damaged()
    );
    for list in records.values_mut() {
        list.sort_by_key(|event| event.t_ns);
    }
    Ok(records)
}

/// A record without times, addresses, sequence numbers and the rung itself.
fn raw(event: &RawEvent) -> Value {
    let queue = |q: Queue| {
        json!({"ack_backlog": q.ack_backlog, "max_ack_backlog": q.max_ack_backlog,
            "qlen": q.qlen, "young": q.young})
    };
    json!({"kind": event.kind, "path": event.path, "valid": event.valid,
        "before": queue(event.before), "after": queue(event.after), "family": event.family,
        "tcp_flags": event.tcp_flags, "payload_len": event.payload_len,
        "drop_reason": event.drop_reason, "reset_reason": event.reset_reason,
        "located": event.location != 0, "request": event.req != 0, "sk_state": event.sk_state,
        "abort_on_overflow": event.abort_on_overflow, "syncookies": event.syncookies,
        "num_timeout": event.num_timeout, "num_retrans": event.num_retrans,
        "defer_accept": event.defer_accept})
}

/// The record without what other connections have a say in.
fn without_lengths(mut record: Value) -> Value {
    for queue in ["before", "after"] {
        for length in ["ack_backlog", "qlen", "young"] {
            record[queue][length] = Value::Null;
        }
    }
    record
}

/// Every run that one of them saw; `place` says where it was run.
pub fn compare(place: &str, fentry: &Seen, kprobe: &Seen) -> Vec<Compared> {
    let mut runs: Vec<_> = fentry.keys().chain(kprobe.keys()).collect();
    runs.sort();
    runs.dedup();
    let one = |run: &String| Compared {
        what: format!("{place}, {run}"),
        difference: match (fentry.get(run), kprobe.get(run)) {
            (Some(a), Some(b)) => difference(a, b),
            (Some(_), None) => Some("only fentry saw it".to_owned()),
            (None, _) => Some("only kprobe saw it".to_owned()),
        },
    };
    runs.into_iter().map(one).collect()
}

/// Stages, their order, paths and values, and how often each came again.
fn comparable(connection: &Value) -> Value {
    let count = |times: &Value| times.as_array().map_or(0, Vec::len);
    let stages = connection["stages"].as_array().map_or(&[][..], Vec::as_slice);
    let stages: Vec<_> = stages
        .iter()
        .map(|stage| {
            let mut stage = stage.clone();
            stage["repeats"] = json!(count(&stage["repeats_ns"]));
            let untimed = |value: &mut Value| {
                if let Some(fields) = value.as_object_mut() {
                    fields.retain(|name, _| !name.ends_with("_ns"));
                }
            };
            untimed(&mut stage);
            untimed(&mut stage["values"]);
            stage
        })
        .collect();
    json!({
        "phase": connection["phase"],
        "stages": stages,
        "synack_retransmits": count(&connection["synack_retransmits_ns"]),
        "outcome": connection["outcome"],
    })
}

/// What all connections of a run have together.
#[derive(Default)]
struct Combined {
    /// Their records.
    records: Vec<Value>,
    /// Their stages: what each is, and the values it was made of.
    stages: Vec<Value>,
}

impl Combined {
    /// Where the application accepts meanwhile, the length of the queue that a child finds is a race
    /// between `accept()` and the next segment, which has nothing to do with the rung.
    fn leave_race_out(&mut self) {
        if !self.stages.iter().any(|stage| stage["id"] == "later.accepted_by_app") {
            return;
        }
        for stage in &mut self.stages {
            let child = stage["id"].as_str().is_some_and(|id| lines::under(id, "ack.accepted"));
            if let Some(values) = stage["values"].as_object_mut().filter(|_| child) {
                values.remove("sk_ack_backlog");
            }
        }
        for record in &mut self.records {
            for queue in ["before", "after"] {
                record[queue]["ack_backlog"] = Value::Null;
            }
        }
    }
}

fn difference(fentry: &[Value], kprobe: &[Value]) -> Option<String> {
    if fentry == kprobe {
        return None;
    }
    if fentry.len() != kprobe.len() {
        let (a, b) = (fentry.len() - 1, kprobe.len() - 1);
        return Some(format!("{a} connections by fentry, {b} by kprobe"));
    }
    let only = |one: &[Value], other: &[Value]| {
        let mut left = other.to_vec();
        let unmatched = |c: &&Value| match left.iter().position(|o| o == *c) {
            Some(at) => {
                left.swap_remove(at);
                false
            }
            None => true,
        };
        one.iter().filter(unmatched).cloned().collect::<Vec<_>>()
    };
    let (a, b) = (only(fentry, kprobe), only(kprobe, fentry));
    let first = a.iter().zip(&b).find_map(|(a, b)| first_difference("", a, b));
    Some(first.unwrap_or_default())
}

/// Where two values differ first, and by what: `/stages/1/values/syn_queue_len is 3 by fentry, 4 by
/// kprobe`.
fn first_difference(at: &str, fentry: &Value, kprobe: &Value) -> Option<String> {
    if fentry == kprobe {
        return None;
    }
    match (fentry, kprobe) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut each = a.iter().zip(b).enumerate();
            each.find_map(|(i, (a, b))| first_difference(&format!("{at}/{i}"), a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let mut names = a.keys().chain(b.keys());
            let of = |fields: &serde_json::Map<_, _>, name: &String| {
                fields.get(name).cloned().unwrap_or_default()
            };
            names.find_map(|name| {
                first_difference(&format!("{at}/{name}"), &of(a, name), &of(b, name))
            })
        }
        _ => Some(format!("{at} is {fentry} by fentry, {kprobe} by kprobe")),
    }
}

#[cfg(test)]
mod tests {
    use overflow_core::recording::{Header, Recorder};

    use super::*;

    fn line(client: u16, t_ns: u64, queue: u32, repeats: &[u64]) -> String {
        json!({"type": "connection", "run": "r", "phase": "burst",
            "client": format!("10.7.0.2:{client}"), "t0_ns": t_ns, "synack_retransmits_ns": [t_ns],
            "stages": [{"id": "ack.drop.overflow", "t_ns": t_ns, "known": "traced",
                "path": ["tcp_check_req"], "values": {"syn_queue_len": queue},
                "repeats_ns": repeats}],
            "outcome": null})
        .to_string()
    }

    fn check(fentry: &[String], kprobe: &[String], expect: Option<&str>) {
        let seen = |lines: &[String]| read(lines.join("\n").as_bytes(), &[]).unwrap();
        let compared = compare("6.1-1, ipv4", &seen(fentry), &seen(kprobe));
        let [one] = &compared[..] else { panic!("{compared:?}") };
        assert_eq!(one.what, "6.1-1, ipv4, r");
        assert_eq!(one.difference.as_deref(), expect);
    }

    #[test]
    fn times_and_order_are_no_difference() {
        let fentry = [line(1, 10, 2, &[5]), line(2, 20, 3, &[])];
        let kprobe = [line(1, 11, 3, &[]), line(2, 21, 2, &[6])];
        check(&fentry, &kprobe, None);
    }

    #[test]
    fn whose_timer_fires_first_is_no_difference() {
        let connection = |client: u16, found: u32, then: u32| {
            let stage = |id: &str, qlen: u32| json!({"id": id, "values": {"syn_queue_len": qlen}});
            let stages = [stage("syn.queued", found), stage("ack.reset.overflow", then)];
            json!({"type": "connection", "run": "r", "client": format!("10.7.0.2:{client}"),
                "stages": stages})
            .to_string()
        };
        let one = [connection(1, 0, 2), connection(2, 1, 1)];
        check(&one, &[connection(1, 0, 1), connection(2, 1, 2)], None);
        let differ = "/all_stages/1/values/syn_queue_len is 2 by fentry, 1 by kprobe";
        check(&one, &[connection(1, 0, 1), connection(2, 1, 1)], Some(differ));
    }

    #[test]
    fn a_race_with_the_application_is_no_difference() {
        let run = |queue: u32, taken: &str| {
            let stages = json!([{"id": "ack.accepted.cookie", "values": {"sk_ack_backlog": queue}},
                {"id": taken}]);
            [json!({"type": "connection", "run": "r", "stages": stages}).to_string()]
        };
        check(&run(0, "later.accepted_by_app"), &run(1, "later.accepted_by_app"), None);
        let differ = "/all_stages/0/values/sk_ack_backlog is 0 by fentry, 1 by kprobe";
        check(&run(0, "later.listener_closed"), &run(1, "later.listener_closed"), Some(differ));
    }

    #[test]
    fn values_repeats_numbers_and_silence_are() {
        let one = [line(1, 10, 2, &[])];
        let at = |what: &str| format!("/stages/0/{what}");
        let queue = "/all_stages/0/values/syn_queue_len is 2 by fentry, 3 by kprobe";
        check(&one, &[line(1, 10, 3, &[])], Some(queue));
        check(&one, &[line(1, 10, 2, &[7])], Some(&at("repeats is 0 by fentry, 1 by kprobe")));
        let absent = line(1, 10, 2, &[]).replace("\"syn_queue_len\":2", "");
        let gone = "/all_stages/0/values/syn_queue_len is 2 by fentry, null by kprobe";
        check(&one, &[absent], Some(gone));
        let two = [line(1, 10, 2, &[]), line(2, 10, 2, &[])];
        check(&one, &two, Some("1 connections by fentry, 2 by kprobe"));
        check(&one, &[], Some("only fentry saw it"));
    }

    #[test]
    fn every_value_of_a_record_counts_but_not_when_and_where_it_was_made() {
        let recording = |event: RawEvent| {
            let mut file = Vec::new();
            let mut recorder = Recorder::new(&mut file, &Header::default()).unwrap();
            recorder.write(&Frame::Event(event)).unwrap();
            recorder.write(&Frame::End(1)).unwrap();
            drop(recorder);
            file
        };
        let line = json!({"type": "connection", "run": "r", "client": "10.7.0.2:1",
            "server": "10.7.0.1:80", "stages": []});
        let seen = |event| read(line.to_string().as_bytes(), &recording(event)).unwrap();
        let mut one =
            RawEvent { client_port: 1, server_port: 80, family: 4, rung: 1, ..RawEvent::EMPTY };
        one.client[..4].copy_from_slice(&[10, 7, 0, 2]);
        one.server[..4].copy_from_slice(&[10, 7, 0, 1]);
        let differ = |other: RawEvent| compare("k", &seen(one), &seen(other))[0].difference.clone();
        assert_eq!(seen(one)["r"][0]["records"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            differ(RawEvent { t_ns: 9, sk: 9, req: 0, cpu: 1, seq: 5, rung: 2, ..one }),
            None
        );
        for other in [
            RawEvent { path: 1, ..one },
            RawEvent { valid: 1, ..one },
            RawEvent { num_timeout: 1, ..one },
            RawEvent { tcp_flags: 1, ..one },
            RawEvent { after: Queue { qlen: 1, ..one.after }, ..one },
        ] {
            let difference = differ(other).unwrap_or_default();
            assert!(difference.contains("records/0/"), "{difference}");
        }
        let cut = recording(one);
        assert!(read(line.to_string().as_bytes(), &cut[..cut.len() - 2]).is_err());
        let mut damaged = recording(one);
        // In the record, which the end follows: 17 bytes.
        let at = damaged.len() - 17 - size_of::<RawEvent>() / 2;
        damaged[at] ^= 1;
        assert!(read(line.to_string().as_bytes(), &damaged).is_err());
    }
}
